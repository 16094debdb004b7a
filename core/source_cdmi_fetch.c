/* source_cdmi_fetch.c - one script: its metadata, and if its topic is usable and the content is new, its content by a second request. */
#include "source_cdmi_private.h"
#include "log.h"
#include "util.h"
#include <errno.h>
#include <search.h>
#include <string.h>

#define ATTEMPTS_MAX 4
#define FIRST_DELAY_USEC (250 * USEC_PER_MSEC)
#define METADATA_MAX ((size_t)1 << 20)

static int by_name(const void *a, const void *b) { return strcmp(((const struct fetch *)a)->name, ((const struct fetch *)b)->name); }

struct fetch *fetch_find(struct cdmi_source *source, const char *name)
{
	struct fetch key = {.name = (char *)(uintptr_t)name};
	struct fetch **found = tfind(&key, &source->by_name, by_name);
	return found ? *found : NULL;
}

struct fetch *fetch_get(struct cdmi_source *source, const char *name)
{
	struct fetch *fetch = fetch_find(source, name);

	if (fetch)
		return fetch;
	fetch = calloc(1, sizeof *fetch);
	if (!fetch || !(fetch->name = strdup(name)) || !tsearch(fetch, &source->by_name, by_name)) {
		if (fetch)
			free(fetch->name);
		free(fetch);
		return NULL;
	}
	fetch->source = source;
	TAILQ_INSERT_TAIL(&source->all, fetch, all);
	return fetch;
}

static bool is_flying(const struct fetch *fetch) { return fetch->exchange; }

static void clear_result(struct fetch *fetch)
{
	json_decref(fetch->object);
	fetch->object = NULL;
	free(fetch->value);
	fetch->value = NULL;
	fetch->value_size = 0;
	fetch->problem[0] = 0;
}

enum where { IDLE, QUEUED, SLEEPING, FLYING, DONE };

static enum where where_is(const struct fetch *fetch)
{
	const struct fetch *f;

	if (fetch->done)
		return DONE;
	if (is_flying(fetch))
		return FLYING;
	if (fetch->timer)
		return SLEEPING;
	TAILQ_FOREACH(f, &fetch->source->queue, link)
		if (f == fetch)
			return QUEUED;
	return IDLE;
}

void fetch_drop(struct fetch *fetch)
{
	struct cdmi_source *source = fetch->source;

	switch (where_is(fetch)) {
	case QUEUED: TAILQ_REMOVE(&source->queue, fetch, link); break;
	case DONE:
		TAILQ_REMOVE(&source->done, fetch, link);
		source->done_count--;
		break;
	case FLYING:
		http_cancel(fetch->exchange);
		source->flying--;
		break;
	case SLEEPING: source->services->timer_cancel(source->services->handle, fetch->timer); break;
	case IDLE: break;
	}
	source->announced -= fetch->event;
	(void)tdelete(fetch, &source->by_name, by_name);
	TAILQ_REMOVE(&source->all, fetch, all);
	clear_result(fetch);
	free(fetch->filter);
	free(fetch->url);
	free(fetch->name);
	free(fetch);
}

void fetch_go(struct fetch *fetch)
{
	struct cdmi_source *source = fetch->source;

	switch (where_is(fetch)) {
	case FLYING:
	case DONE: fetch->again = true; break;
	case SLEEPING:
	case QUEUED: break;
	case IDLE:
		TAILQ_INSERT_TAIL(&source->queue, fetch, link);
		fetch_next(source);
		break;
	}
}

static void finish(struct fetch *fetch, enum fetch_end end)
{
	struct cdmi_source *source = fetch->source;

	if (fetch->again) { /* what was read may be old already */
		fetch->again = false;
		fetch->attempts = 0;
		clear_result(fetch);
		TAILQ_INSERT_TAIL(&source->queue, fetch, link);
	} else {
		fetch->end = end;
		fetch->done = true;
		TAILQ_INSERT_TAIL(&source->done, fetch, link);
		source->done_count++;
		source_fetched(source, fetch);
	}
	fetch_next(source);
}

static void on_retry(void *data)
{
	struct fetch *fetch = data;

	fetch->timer = NULL;
	TAILQ_INSERT_TAIL(&fetch->source->queue, fetch, link);
	fetch_next(fetch->source);
}

/* try_later - false: it was tried often enough. */
static bool try_later(struct fetch *fetch)
{
	const struct lsn_host *services = fetch->source->services;

	if (++fetch->attempts >= ATTEMPTS_MAX)
		return false;
	clear_result(fetch);
	return services->timer(services->handle, FIRST_DELAY_USEC << fetch->attempts, on_retry, fetch, &fetch->timer) >= 0;
}

/* marked_child - listings mark references with '?' and broken objects with '#'; a name may also really end so. */
static const char *marked_child(const char *name)
{
	size_t size = strlen(name);
	char last = size ? name[size - 1] : 0;

	if (last == '?')
		return "it is a reference, not a script";
	return last == '#' ? "the archive lists it as broken" : NULL;
}

static void fail(struct fetch *fetch, enum cdmi_verdict verdict, const struct lsn_error *err)
{
	const char *mark = marked_child(fetch->name);

	(void)snprintf(fetch->problem, sizeof fetch->problem, "%s", err->message);
	switch (verdict) {
	case CDMI_GONE:
		if (mark) {
			(void)snprintf(fetch->problem, sizeof fetch->problem, "%s", mark);
			finish(fetch, FETCH_PROBLEM);
		} else if (!fetch->event || !try_later(fetch)) { /* an announced object may take a moment to be readable */
			finish(fetch, FETCH_GONE);
		} else {
			fetch_next(fetch->source);
		}
		return;
	case CDMI_RETRY:
		if (try_later(fetch)) {
			fetch_next(fetch->source);
			return;
		}
		source_trouble(fetch->source, fetch->problem);
		finish(fetch, FETCH_AWAY);
		return;
	case CDMI_LOGIN:
		source_trouble(fetch->source, fetch->problem);
		finish(fetch, FETCH_AWAY);
		return;
	case CDMI_REFERENCE: (void)snprintf(fetch->problem, sizeof fetch->problem, "it is a reference, not a script"); break;
	default: break;
	}
	finish(fetch, FETCH_PROBLEM);
}

static void landed(struct fetch *fetch)
{
	fetch->exchange = NULL;
	fetch->source->flying--;
	fetch->source->figures.fetches++;
}

static void on_content(void *data, const struct http_reply *reply)
{
	struct fetch *fetch = data;
	struct lsn_error err = {0};

	landed(fetch);
	enum cdmi_verdict verdict = cdmi_judge(reply, CDMI_CONTENT, NULL, &err);
	if (verdict == CDMI_BAD) /* cut off at our own limit */
		(void)snprintf(err.message, sizeof err.message, "it is larger than [scripts] size_max = %zu bytes", fetch->source->config.size_max);
	if (verdict != CDMI_OK) {
		fail(fetch, verdict, &err);
		return;
	}
	fetch->value = malloc(reply->body_size + 1);
	if (!fetch->value) {
		(void)lsn_error_set(&err, -ENOMEM, "out of memory");
		fail(fetch, CDMI_RETRY, &err);
		return;
	}
	memcpy(fetch->value, reply->body, reply->body_size);
	fetch->value_size = reply->body_size;
	/* What Indigo says of an object that was created empty. */
	if (fetch->value_size == 4 && memcmp(fetch->value, "None", 4) == 0)
		fetch->value_size = 0;
	finish(fetch, FETCH_OFFER);
}

static int start(struct fetch *fetch, enum cdmi_mode mode, http_fn fn)
{
	struct cdmi_source *source = fetch->source;
	_cleanup_free_ char *path = NULL, *url = NULL;

	if (asprintf(&path, "%s/%s", source->config.collection, fetch->name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (!(url = cdmi_url(source->config.url, path, mode)))
		return -ENOMEM;
	const struct http_request request = {.method = "GET",
					     .url = url,
					     .headers = cdmi_headers(mode, source->versioned),
					     .timeout_usec = source->config.timeout_usec,
					     .max_body = mode == CDMI_CONTENT ? source->config.size_max : 2 * source->config.size_max + METADATA_MAX};
	int r = http_start(source->http, &request, fn, fetch, &fetch->exchange);
	if (r >= 0)
		source->flying++;
	return r;
}

static const char *object_id(const struct fetch *fetch)
{
	const char *id = json_string_value(cdmi_get(fetch->object, "objectID"));
	return id && strlen(id) <= 128 ? id : "";
}

const char *mark_url(const char *source_key, char *buf, size_t size)
{
	const char *url = strchr(source_key, ' ');

	(void)snprintf(buf, size, "%s", url ? url + 1 : "");
	return buf;
}

void fetch_mark(const struct fetch *fetch, char *buf, size_t size)
{
	const struct registry_entry *entry = registry_find(fetch->source->registry, fetch->name);
	char old[256] = "";

	if (!fetch->url && entry && !fetch->value)
		(void)mark_url(entry->source_key, old, sizeof old);
	(void)snprintf(buf, size, "%s %s", object_id(fetch), fetch->url ? fetch->url : old);
}

/* have_content - the stored content is this object's, as far as anybody said. */
static bool have_content(const struct fetch *fetch)
{
	const struct registry_entry *entry = registry_find(fetch->source->registry, fetch->name);
	const char *id = object_id(fetch);
	size_t size = strlen(id);

	if (fetch->content || (fetch->scan && fetch->source->deep) || !entry || !entry->script)
		return false;
	return strncmp(entry->source_key, id, size) == 0 && entry->source_key[size] == ' ';
}

static void on_metadata(void *data, const struct http_reply *reply)
{
	struct fetch *fetch = data;
	struct lsn_error err = {0};
	const char *problem;

	landed(fetch);
	enum cdmi_verdict verdict = cdmi_judge(reply, CDMI_OBJECT, &fetch->object, &err);
	if (verdict != CDMI_OK) {
		fail(fetch, verdict, &err);
		return;
	}
	if (!cdmi_topic(fetch->object, &problem)) {
		(void)snprintf(fetch->problem, sizeof fetch->problem, "%s", problem ? problem : "");
		finish(fetch, problem ? FETCH_PROBLEM : FETCH_OFFER);
		return;
	}
	int r = cdmi_value(fetch->object, &fetch->value, &fetch->value_size, &err);
	if (r == -EINVAL)
		fail(fetch, CDMI_BAD, &err);
	else if (r >= 0 || have_content(fetch))
		finish(fetch, FETCH_OFFER);
	else if (start(fetch, CDMI_CONTENT, on_content) < 0)
		fail(fetch, CDMI_RETRY, &(struct lsn_error){.message = "out of memory"});
}

void fetch_next(struct cdmi_source *source)
{
	struct fetch *fetch;

	while (source->flying < source->config.fetches && (fetch = TAILQ_FIRST(&source->queue))) {
		TAILQ_REMOVE(&source->queue, fetch, link);
		if (start(fetch, CDMI_OBJECT, on_metadata) < 0)
			fail(fetch, CDMI_RETRY, &(struct lsn_error){.message = "out of memory"});
	}
}
