/* source_cdmi_mark.c - what the registry keeps with each script, as its source_key. */
#include "registry.h"
#include "source_cdmi_private.h"
#include "util.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A hexadecimal number and the blank behind it; what follows, or NULL. */
static const char *mark_number(const char *text, uint64_t *ret)
{
	char *end;

	*ret = strtoull(text, &end, 16);
	return end > text && *end == ' ' ? end + 1 : NULL;
}

bool mark_parse(const char *text, struct mark *ret)
{
	size_t id_size = strcspn(text, " ");

	*ret = (struct mark){ 0 };
	if (id_size == 0 || id_size >= sizeof ret->id || !text[id_size])
		return false;
	memcpy(ret->id, text, id_size);
	text = mark_number(text + id_size + 1, &ret->content_hash);
	text = text ? mark_number(text, &ret->metadata_hash) : NULL;
	if (text)
		(void)snprintf(ret->url, sizeof ret->url, "%s", text);
	return text;
}

/* An object without a usable ID is known by "-". */
static const char *object_id(const json_t *object)
{
	const char *id = json_string_value(cdmi_get(object, "objectID"));
	return id && *id && strlen(id) <= 128 && !id[strcspn(id, " \t\r\n\v\f")] ? id : "-";
}

void mark_write(const struct fetch *fetch, char *buf)
{
	const struct registry_entry *entry = registry_find(fetch->source->registry, fetch->name);
	const char *id = object_id(fetch->object);
	struct mark old = { 0 };

	/* The URL of a content is never used again for another, so an older one does no harm:
	 * what we have is that or newer. */
	bool same = entry && mark_parse(entry->source_key, &old) && streq(old.id, id);
	(void)snprintf(buf, MARK_TEXT_SIZE, "%s %" PRIx64 " %" PRIx64 " %s", id, cdmi_content_hash(fetch->object),
		       cdmi_metadata_hash(fetch->object),
		       fetch->url ? fetch->url
		       : same     ? old.url
				  : "");
}
