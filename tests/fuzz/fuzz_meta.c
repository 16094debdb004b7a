/* fuzz_meta.c - .meta files beside scripts, written by whoever may write scripts. */
#include "fuzz.h"

#include "meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size);
	struct meta meta = { 0 };
	struct lsn_error err = { 0 };

	if (meta_parse("a.py.meta", text, size, &meta, &err) == 0) {
		must(meta.count <= META_KEYS_MAX);
		for (size_t i = 0; i < meta.count; i++) {
			must(meta.keys[i].key && meta.keys[i].value);
			must(meta_get(&meta, meta.keys[i].key));
		}
		(void)meta_get(&meta, "topic");
		meta_clear(&meta);
	} else
		must(err.message[0]);
	free(text);
	return 0;
}
