/* fuzz_cdmi.c - what an archive answers: the first byte chooses how it was asked, the second the
 * status; the rest is the body. */
#include "fuzz.h"

#include <util.h>

#include "cdmi.h"

static void look_at_container(const json_t *json)
{
	struct lsn_error err;
	const json_t *children = cdmi_children(json, &err), *item;
	size_t i;

	if (!children)
		return;
	json_array_foreach (children, i, item) {
		const char *name = json_string_value(item);
		if (!name || !cdmi_name_ok(name, json_string_length(item)))
			continue;
		must(!strchr(name, '/') && !streq(name, "..") && *name);
		char *url = cdmi_url("https://archive/api/cdmi", name, CDMI_OBJECT);
		must(url);
		for (const char *p = url; *p; p++)
			must((unsigned char)*p > ' ' && (unsigned char)*p < 0x7f);
		free(url);
	}
}

static void look_at_object(const json_t *json)
{
	struct lsn_error err;
	const char *problem = NULL, *topics[SCRIPT_FILTERS_MAX + 1];
	void *value = NULL;
	size_t size;

	size_t count = cdmi_topics(json, topics, &problem);
	must(!topics[count] && (count == 0 || !problem));
	for (size_t i = 0; i < count; i++)
		must(*topics[i]);
	if (cdmi_value(json, &value, &size, &err) == 0) {
		must(((char *)value)[size] == 0);
		free(value);
	}
	(void)cdmi_metadata_hash(json);
	(void)cdmi_content_hash(json);
	(void)cdmi_get(json, "objectname");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const long statuses[] = { 200, 301, 302, 401, 403, 404, 406, 500 };
	struct lsn_error err;
	json_t *json = NULL;

	if (size < 2)
		return 0;
	enum cdmi_mode mode = data[0] % 3;
	char *body = fuzz_copy(data + 2, size - 2);
	struct http_reply reply = { .status = statuses[data[1] % ELEMENTSOF(statuses)],
				    .body = body,
				    .body_size = size - 2,
				    .location = "",
				    .content_type = data[0] & 4 ? "application/cdmi-object" : "" };
	enum cdmi_verdict verdict = cdmi_judge(&reply, mode, mode == CDMI_CONTENT ? NULL : &json, &err);
	if (verdict == CDMI_OK && mode != CDMI_CONTENT) {
		must(json_is_object(json));
		look_at_container(json);
		look_at_object(json);
	} else
		must(!json);
	json_decref(json);
	free(body);
	return 0;
}
