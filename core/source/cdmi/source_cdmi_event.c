/* source_cdmi_event.c - events on the scripts collection. The payload says which script an event
 * is about, because topics lose '#', '+' and surplus slashes. The state of a script is read from
 * the archive. The event only says when to look, and which publications should wait for that. */
#include "cleanup.h"
#include "json_tolerant.h"
#include "log.h"
#include "registry.h"
#include "script.h"
#include "source_cdmi_private.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <string.h>

struct news { /* what an event says */
	struct topic_parts parts;
	json_t *payload;
	const json_t *state, *pre, *post; /* state: post, or pre of a delete */
	/* relative to the collection; "" is the collection itself */
	char path[2 * SCRIPT_NAME_MAX];
};

/* --------------------------------------------------------------------------------- which script */

void collapse_path(const char *path, char *to, size_t size)
{
	size_t used = 0;

	while (*path) {
		path += strspn(path, "/");
		size_t level = strcspn(path, "/");
		if (level == 0 || used + level + 2 > size)
			break;
		to[used++] = '/';
		memcpy(to + used, path, level);
		used += level;
		path += level;
	}
	to[used] = 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);
	return text && strlen(text) == json_string_length(value) ? text : NULL;
}

enum where { ELSEWHERE, OURS, UNKNOWN };

static enum where news_path(const struct cdmi_source *source, struct news *news)
{
	const char *container = text_of(news->state, "container"), *name = text_of(news->state, "name");
	const char *full = text_of(news->state, "path"); /* Radon's */
	char whole[3 * SCRIPT_NAME_MAX], path[3 * SCRIPT_NAME_MAX];
	size_t root_size = strlen(source->root);

	if (!full && (!container || !name))
		return UNKNOWN;
	if ((full ? strlen(full) : strlen(container) + strlen(name)) + 2 > sizeof whole)
		return ELSEWHERE; /* too long for a script */
	(void)snprintf(whole, sizeof whole, "%s%s%s", full ? full : container, full ? "" : "/", full ? "" : name);
	collapse_path(whole, path, sizeof path);
	if (!str_startswith(path, source->root) || (path[root_size] != '/' && path[root_size]))
		return ELSEWHERE; /* "/scripts+" has the topics of "/scripts" */
	const char *rest = path + root_size + (path[root_size] == '/');
	if (strlen(rest) >= sizeof news->path)
		return ELSEWHERE;
	memcpy(news->path, rest, strlen(rest) + 1);
	return OURS;
}

/* news_unmark - a reference has its bare name in listings, and NAME? in events. */
static void news_unmark(struct news *news)
{
	const char *url = text_of(news->state, "url");
	size_t size = strlen(news->path);

	if (news->parts.object == TOPIC_RESOURCE && size > 1 && news->path[size - 1] == '?' && url &&
	    !str_startswith(url, "cassandra://"))
		news->path[size - 1] = 0;
}

static bool name_is_usable(const struct cdmi_source *source, const char *path)
{
	const char *at = path, *slash;

	if (strlen(path) > SCRIPT_NAME_MAX || (strchr(path, '/') && !source->base.config->recursive))
		return false;
	while ((slash = strchr(at, '/'))) {
		if (!cdmi_name_ok(at, (size_t)(slash - at)))
			return false;
		at = slash + 1;
	}
	return cdmi_name_ok(at, strlen(at));
}

/* ----------------------------------------------------------------------------------------- gone */

static void drop_below(struct cdmi_source *source, const char *prefix)
{
	struct fetch *fetch, *next;

	for (fetch = TAILQ_FIRST(&source->all); fetch; fetch = next) {
		next = TAILQ_NEXT(fetch, all);
		if (str_startswith(fetch->name, prefix))
			fetch_drop(fetch);
	}
}

/* commit_withdrawal - at once: the next event must not run a deleted script. */
static void commit_withdrawal(struct cdmi_source *source, bool all)
{
	struct lsn_error err = { 0 };

	if (offer_commit(source, all, &err) < 0) {
		source_fail(source, err.message, false);
		return;
	}
	/* A listing may be from before; or there is room for another now. */
	source->scan.soon |= source->scan.running || source->full;
	source->stored = true;
}

static void withdraw_script(struct cdmi_source *source, const char *path)
{
	struct fetch *fetch = fetch_find(source, path);

	if (fetch)
		fetch_drop(fetch);
	registry_begin(source->registry);
	registry_withdraw(source->registry, path);
	commit_withdrawal(source, false);
}

/* withdraw_below - PATH is a sub-collection, or "" for the collection itself. */
static void withdraw_below(struct cdmi_source *source, const char *path)
{
	_cleanup_free_ char *prefix = NULL;

	if (asprintf(&prefix, "%s/", path) < 0) {
		prefix = NULL;
		source_fail(source, "out of memory", false);
		return;
	}
	drop_below(source, *path ? prefix : "");
	registry_begin(source->registry);
	if (*path)
		registry_withdraw_below(source->registry, prefix);
	commit_withdrawal(source, !*path);
}

/* ------------------------------------------------------------------------------- new or changed */

/* announce_filters - what the event says the script's filters will be: publications that match one
 * wait for the fetch. */
static void announce_filters(struct fetch *fetch, const struct news *news)
{
	const char *problem, *topics[SCRIPT_FILTERS_MAX + 1];
	size_t count = cdmi_topics(news->state, topics, &problem), size = 1;

	for (size_t i = 0; i < count; i++)
		size += strlen(topics[i]) + 1;
	free(fetch->filters);
	fetch->filters = count > 0 ? calloc(1, size) : NULL;
	char *end = fetch->filters;
	for (size_t i = 0; end && i < count; i++) {
		memcpy(end, topics[i], strlen(topics[i]) + 1);
		size_t length = topic_normalise_filter(end);
		if (topic_check_filter(end, length, NULL) >= 0)
			end += length + 1;
		else
			*end = '\0';
	}
	if (end)
		*end = '\0'; /* behind the last */
	if (end == fetch->filters) /* none is valid */
		free(TAKE_PTR(fetch->filters));
}

static bool announced_matches(const struct fetch *fetch, const char *topic)
{
	for (const char *filter = fetch->filters; filter; filter = filters_after(filter))
		if (topic_matches(filter, topic))
			return true;
	return false;
}

/* announce_content - `url` changes exactly when the content is replaced. So a change of metadata
 * only does not require another read of the content. */
static void announce_content(struct fetch *fetch, const struct news *news)
{
	const struct registry_entry *entry = registry_find(fetch->source->registry, fetch->name);
	const char *url = text_of(news->state, "url"), *before = text_of(news->pre, "url");
	struct mark mark = { 0 };

	if (entry)
		(void)mark_parse(entry->source_key, &mark);
	bool same = url && (mark.url[0] ? streq(url, mark.url) : before && streq(url, before));
	fetch->content |= !same;
	free(fetch->url);
	fetch->url = url && strlen(url) < sizeof mark.url && !strpbrk(url, " \t\r\n\v\f") ? strdup(url) : NULL;
}

static size_t known_scripts(const struct registry *registry)
{
	size_t count = 0;

	for (int state = 0; state < SCRIPT_STATE_MAX; state++)
		count += registry_count(registry, (enum script_state)state);
	return count;
}

static void fetch_refresh(struct cdmi_source *source, const struct news *news)
{
	if (source->away && !source->scan.running) {
		/* The archive works, or it could not have published this event. But after a
		 * refused login an event must not cause an attempt, because anybody can cause
		 * events. */
		if (!source->login_refused)
			source->scan.soon = true;
		return;
	}
	if (!registry_find(source->registry, news->path) &&
	    known_scripts(source->registry) >= source->base.config->scripts_max) {
		source->full = true;
		source_note(
			source,
			"the collection holds more scripts than [scripts] scripts_max allows: a new one is not read");
		return;
	}
	struct fetch *fetch = fetch_get(source, news->path);
	if (!fetch) {
		source_fail(source, "out of memory", false);
		return;
	}
	fetch_announce(fetch);
	announce_filters(fetch, news);
	announce_content(fetch, news);
	fetch_go(fetch);
}

/* ------------------------------------------------------------------------------------- an event */

static void on_collection(struct cdmi_source *source, const struct news *news)
{
	if (news->parts.operation == TOPIC_DELETE)
		withdraw_below(source, news->path);
	else if (!*news->path || (news->parts.operation == TOPIC_CREATE && source->base.config->recursive))
		source->scan.soon = true;
}

static void on_script(struct cdmi_source *source, struct news *news)
{
	news_unmark(news);
	if (!name_is_usable(source, news->path))
		return;
	if (news->parts.operation == TOPIC_DELETE)
		withdraw_script(source, news->path);
	else
		fetch_refresh(source, news);
}

static void on_news(struct cdmi_source *source, struct news *news)
{
	switch (news_path(source, news)) {
	case ELSEWHERE: break;
	/* it concerns the collection, but how is not said */
	case UNKNOWN: source->scan.soon = true; break;
	case OURS:
		if (news->parts.object == TOPIC_COLLECTION)
			on_collection(source, news);
		else if (*news->path)
			on_script(source, news);
		break;
	}
}

static const json_t *filled_object(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_object_size(value) > 0 ? value : NULL;
}

void source_event(struct source *base, const char *topic, size_t topic_size, const void *payload, size_t payload_size)
{
	struct cdmi_source *source = (struct cdmi_source *)base;
	struct news news = { 0 };

	topic_split(((struct cdmi_source *)base)->base.config->events, topic, topic_size, &news.parts);
	news.payload = json_load_tolerant(payload, payload_size, NULL);
	news.pre = filled_object(news.payload, "pre");
	news.post = filled_object(news.payload, "post");
	news.state = news.post ? news.post : news.pre;
	if (!news.state) /* Radon's */
		news.state = filled_object(news.payload, "new") ? filled_object(news.payload, "new")
								: filled_object(news.payload, "obj");
	if (news.parts.done)
		on_news(source, &news);
	json_decref(news.payload);
	source->step(source);
}

bool source_busy_for(struct source *base, const char *topic, size_t topic_size)
{
	struct cdmi_source *source = (struct cdmi_source *)base;
	const struct fetch *fetch = NULL;

	(void)topic_size;
	TAILQ_FOREACH (fetch, &source->announced, announced_link) {
		const struct registry_entry *entry = registry_find(source->registry, fetch->name);
		if (announced_matches(fetch, topic) ||
		    (entry && entry->script && script_filter_for(entry->script, topic)))
			return true;
	}
	return false;
}
