/* source_cdmi_offer.c - what was found goes to the registry: in batches during a scan, at once
 * if an event announced it. */
#include "cleanup.h"
#include "failpoint.h"
#include "registry.h"
#include "script.h"
#include "source_cdmi_private.h"
#include "util.h"
#include <errno.h>
#include <string.h>

#define BATCH_COUNT 64
#define EVENT_BATCH_COUNT 8
#define BATCH_BYTES ((size_t)4 << 20)

/* ------------------------------------------------------------------------------------ one offer */

/* meta_value - as text; what is no text is shown to the parsers as JSON, so that the author sees
 * what is wrong. *RET_OWNED: free it. */
static const char *meta_value(const json_t *value, char **ret_owned)
{
	*ret_owned = NULL;
	if (json_is_array(value) && json_array_size(value) == 1)
		value = json_array_get(value, 0);
	if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value))
		return json_string_value(value);
	*ret_owned = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	return *ret_owned;
}

struct meta_set {
	struct registry_meta *list;
	char **owned;
	size_t count;
};

static void meta_set_done(struct meta_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		free(set->owned[i]);
	free(set->owned);
	free(set->list);
}

static int meta_set_fill(struct meta_set *set, const json_t *object)
{
	json_t *metadata = (json_t *)(uintptr_t)cdmi_get(object, "metadata"), *value;
	size_t size = json_object_size(metadata) + 1;
	const char *key;

	set->list = calloc(size, sizeof *set->list);
	set->owned = calloc(size, sizeof *set->owned);
	if (!set->list || !set->owned)
		return -ENOMEM;
	json_object_foreach (metadata, key, value) {
		if (streq(key, "topic") || str_startswith(key, "cdmi_"))
			continue;
		const char *text = meta_value(value, &set->owned[set->count]);
		if (!text)
			return -ENOMEM;
		set->list[set->count++] = (struct registry_meta){ key, text };
	}
	return 0;
}

static int offer_whole(const struct fetch *fetch, const char *mark, struct lsn_error *err)
{
	_cleanup_(meta_set_done) struct meta_set meta = { 0 };
	const char *problem, *topics[SCRIPT_FILTERS_MAX + 1];
	size_t count = cdmi_topics(fetch->object, topics, &problem);
	int r = meta_set_fill(&meta, fetch->object);

	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	const struct registry_offer offer = { .name = fetch->name,
					      .source_key = mark,
					      .topic = topics[0],
					      .more_topics = count > 0 ? topics + 1 : NULL,
					      .content = fetch->value,
					      .size = fetch->value_size,
					      .meta = meta.list,
					      .meta_count = meta.count };
	return registry_offer(fetch->source->registry, &offer, err);
}

static int offer(const struct fetch *fetch, struct lsn_error *err)
{
	struct registry *registry = fetch->source->registry;
	char mark[MARK_TEXT_SIZE] = "";

	if (fetch->end == FETCH_KEEP)
		return 0;
	if (fetch->end == FETCH_GONE) {
		registry_withdraw(registry, fetch->name);
		return 0;
	}
	if (fetch->end == FETCH_OFFER || fetch->settled)
		mark_write(fetch, mark);
	if (fetch->end == FETCH_OFFER)
		return offer_whole(fetch, mark, err);
	const struct registry_offer problem = { .name = fetch->name,
						.source_key = mark,
						.problem = fetch->problem ? fetch->problem : "out of memory",
						.problem_is_fetch = fetch->end == FETCH_AWAY };
	return registry_offer(registry, &problem, err);
}

/* -------------------------------------------------------------------------------------- batches */

int offer_commit(struct cdmi_source *source, bool full, struct lsn_error *err)
{
	failpoint("after-scan");
	int r = registry_end_all(source->registry, full, err);
	failpoint("after-scan-commit");
	return r;
}

static int offer_all(struct cdmi_source *source, struct lsn_error *err)
{
	struct fetch *fetch;
	bool news = false;
	int r = 0;

	TAILQ_FOREACH (fetch, &source->done, link)
		news |= fetch->end != FETCH_KEEP;
	if (!news)
		return 0;
	registry_begin(source->registry);
	TAILQ_FOREACH (fetch, &source->done, link)
		if (r >= 0)
			r = offer(fetch, err);
	int end = offer_commit(source, false, r >= 0 ? err : NULL);
	return r < 0 ? r : end;
}

/* dismiss - a fetch whose result is in the registry. */
static bool dismiss(struct cdmi_source *source, struct fetch *fetch)
{
	if (source->scan.running && fetch->end != FETCH_GONE && !name_push(&source->scan.seen, fetch->name))
		return false;
	fetch_drop(fetch);
	return true;
}

void offer_done(struct cdmi_source *source)
{
	struct lsn_error err = { 0 };
	struct fetch *fetch;

	if (offer_all(source, &err) < 0) {
		source_fail(source, err.message, false);
		return;
	}
	while ((fetch = TAILQ_FIRST(&source->done)))
		if (!dismiss(source, fetch)) {
			source_fail(source, "out of memory", false);
			return;
		}
	source->stored = true;
}

/* Publications may wait for a script that was announced. If many are announced at once, a few
 * share one commit. */
bool offer_due(const struct cdmi_source *source)
{
	const struct fetch *next = TAILQ_FIRST(&source->queue);
	bool announced = source->done_announced > 0;

	if (source->done_count == 0)
		return false;
	return (announced && !(next && next->event)) ||
	       source->done_count >= (announced ? EVENT_BATCH_COUNT : BATCH_COUNT) ||
	       source->done_bytes >= BATCH_BYTES || (source->flying == 0 && !next);
}
