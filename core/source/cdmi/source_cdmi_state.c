/* source_cdmi_state.c - notes what went wrong, and keeps lists of names. It is the lowest part
 * of the source: it changes state and calls no other part. */
#include "log.h"
#include "source_cdmi_private.h"
#include "util.h"
#include <string.h>

bool name_push(struct name_list *list, const char *name)
{
	size_t size = strlen(name) + 1;
	struct name_item *item = malloc(sizeof *item + size);

	if (!item)
		return false;
	memcpy(item->name, name, size);
	STAILQ_INSERT_TAIL(list, item, link);
	return true;
}

void names_clear(struct name_list *list)
{
	struct name_item *item;

	while ((item = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		free(item);
	}
}

void source_note(struct cdmi_source *source, const char *what)
{
	char text[sizeof source->figures.error];

	if (source->scan.running)
		source->scan.errors++;
	else
		source->figures.errors++;
	(void)snprintf(text, sizeof text, "%s", what);
	if (!streq(source->figures.error, text))
		log_warning("source=cdmi: %s", what);
	memcpy(source->figures.error, text, sizeof text);
}

void source_fail(struct cdmi_source *source, const char *what, bool login_refused)
{
	struct trouble *trouble = &source->trouble;

	if (trouble->set)
		return;
	trouble->set = true;
	trouble->login_refused = login_refused;
	(void)snprintf(trouble->what, sizeof trouble->what, "%s", what);
}
