/* fuzz_values.c - the values of INI files and metadata: durations, sizes, numbers, truths;
 * quoting and UTF-8. */
#include "fuzz.h"

#include <util.h>

static void quoting(const char *text, size_t size)
{
	for (size_t room = 1; room < 40; room += 7) {
		char *buf = malloc(room);
		must(str_quote(buf, room, text, size) == buf);
		must(memchr(buf, 0, room));
		for (const char *p = buf; *p; p++)
			must((unsigned char)*p >= ' ' && *p != 0x7f);
		free(buf);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size);
	struct lsn_error err;
	uint64_t number;
	bool truth;

	if (parse_duration(text, &number, &err) < 0)
		must(err.message[0] && memchr(err.message, 0, sizeof err.message));
	if (parse_size(text, &number, &err) < 0)
		must(err.message[0]);
	if (parse_bool(text, &truth, &err) < 0)
		must(err.message[0]);
	if (parse_uint(text, 1000, &number, &err) == 0)
		must(number <= 1000);
	if (utf8_valid(text, size))
		must(strlen(text) == size);
	quoting(text, size);
	free(text);
	return 0;
}
