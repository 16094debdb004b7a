/* source_cdmi_fetch.c - looks at one script: its metadata, and if its topic is usable and the
 * content is new, its content by a second request.
 *
 *   IDLE -> QUEUED -> FLYING (one request after the other) -> DONE -> handed over and freed
 *              ^         |  no usable reply: SLEEPING, then again; too often: DONE, as a problem
 *              +---------+--- announced again meanwhile: what was read may be old already */
#include "cleanup.h"
#include "http.h"
#include "registry.h"
#include "script.h"
#include "source_cdmi_private.h"
#include "util.h"
#include <errno.h>
#include <search.h>
#include <string.h>

#define ATTEMPTS_MAX 5
/* then three times as long each: 4 s in all, three tries in the first second and a half */
#define FIRST_DELAY_USEC (100 * USEC_PER_MSEC)
#define STRIKES_MAX 16
#define METADATA_MAX ((size_t)1 << 20)

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct fetch *)a)->name, ((const struct fetch *)b)->name);
}

struct fetch *fetch_find(struct cdmi_source *source, const char *name)
{
	struct fetch key = { .name = (char *)(uintptr_t)name };
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

void fetch_announce(struct fetch *fetch)
{
	if (!fetch->event) {
		TAILQ_INSERT_TAIL(&fetch->source->announced, fetch, announced_link);
		fetch->source->done_announced += fetch->where == FETCH_DONE;
	}
	fetch->event = true;
	fetch->attempts = 0;
}

static void clear_result(struct fetch *fetch)
{
	json_decref(fetch->object);
	fetch->object = NULL;
	free(TAKE_PTR(fetch->value));
	fetch->value_size = 0;
	free(TAKE_PTR(fetch->problem));
	fetch->settled = false;
}

/* fetch_leave - out of where it is, to IDLE. */
static void fetch_leave(struct fetch *fetch)
{
	struct cdmi_source *source = fetch->source;

	switch (fetch->where) {
	case FETCH_QUEUED: TAILQ_REMOVE(&source->queue, fetch, link); break;
	case FETCH_DONE:
		TAILQ_REMOVE(&source->done, fetch, link);
		source->done_count--;
		source->done_announced -= fetch->event;
		source->done_bytes -= fetch->value_size;
		break;
	case FETCH_FLYING:
		if (fetch->exchange)
			http_cancel(fetch->exchange);
		fetch->exchange = NULL;
		source->flying--;
		break;
	case FETCH_SLEEPING:
		source->services->timer_cancel(source->services->handle, fetch->timer);
		fetch->timer = NULL;
		break;
	case FETCH_IDLE: break;
	}
	fetch->where = FETCH_IDLE;
}

void fetch_drop(struct fetch *fetch)
{
	struct cdmi_source *source = fetch->source;

	fetch_leave(fetch);
	if (fetch->event)
		TAILQ_REMOVE(&source->announced, fetch, announced_link);
	source->scan.left -= fetch->scan;
	(void)tdelete(fetch, &source->by_name, by_name);
	TAILQ_REMOVE(&source->all, fetch, all);
	clear_result(fetch);
	free(fetch->filters);
	free(fetch->url);
	free(fetch->name);
	free(fetch);
}

/* fetch_enqueue - what was announced goes first: publications may be waiting for it. */
static void fetch_enqueue(struct fetch *fetch)
{
	fetch_leave(fetch);
	fetch->where = FETCH_QUEUED;
	if (fetch->event)
		TAILQ_INSERT_HEAD(&fetch->source->queue, fetch, link);
	else
		TAILQ_INSERT_TAIL(&fetch->source->queue, fetch, link);
}

void fetch_go(struct fetch *fetch)
{
	switch (fetch->where) {
	case FETCH_FLYING: fetch->again = true; break;
	case FETCH_QUEUED:
	case FETCH_SLEEPING:
		if (fetch->event)
			fetch_enqueue(fetch);
		break;
	case FETCH_DONE:
		fetch_enqueue(fetch);
		clear_result(fetch); /* what was read is never handed over */
		break;
	case FETCH_IDLE: fetch_enqueue(fetch); break;
	}
}

static void fetch_finish(struct fetch *fetch, enum fetch_end end)
{
	struct cdmi_source *source = fetch->source;

	if (fetch->again) {
		fetch->again = false;
		fetch->attempts = 0;
		clear_result(fetch);
		fetch_enqueue(fetch);
		return;
	}
	fetch_leave(fetch);
	fetch->end = end;
	fetch->where = FETCH_DONE;
	TAILQ_INSERT_TAIL(&source->done, fetch, link);
	source->done_count++;
	source->done_announced += fetch->event;
	source->done_bytes += fetch->value_size;
}

void fetch_end_now(struct fetch *fetch, const char *problem)
{
	fetch_leave(fetch);
	clear_result(fetch);
	fetch->problem = strdup(problem);
	fetch_finish(fetch, FETCH_PROBLEM);
}

/* -------------------------------------------------------------------------------- when it fails */

static void on_retry(void *data)
{
	struct fetch *fetch = data;
	struct cdmi_source *source = fetch->source;

	fetch->timer = NULL;
	fetch->where = FETCH_IDLE;
	fetch_enqueue(fetch);
	source->step(source);
}

/* try_later - false: it was tried often enough. */
static bool try_later(struct fetch *fetch)
{
	const struct lsn_host *services = fetch->source->services;
	uint64_t delay_usec = FIRST_DELAY_USEC;

	for (unsigned i = 0; i < fetch->attempts; i++)
		delay_usec *= 3;
	if (++fetch->attempts >= ATTEMPTS_MAX)
		return false;
	fetch_leave(fetch);
	clear_result(fetch);
	if (services->timer(services->handle, delay_usec, on_retry, fetch, &fetch->timer) < 0)
		return false;
	fetch->where = FETCH_SLEEPING;
	return true;
}

/* is_unreachable - the archive is the cause, not this script. */
static bool is_unreachable(const struct lsn_error *err)
{
	return err->code == -ECONNREFUSED || err->code == -EHOSTUNREACH || err->code == -ENETUNREACH ||
	       err->code == -EACCES;
}

/* no_reply - there was no answer about the script. Try a few times. Then report the script, or
 * the archive if this happens to all scripts, as unreachable. */
static void no_reply(struct fetch *fetch, const struct lsn_error *err)
{
	struct cdmi_source *source = fetch->source;

	if (fetch->attempts == 0)
		source->strikes++;
	if (source->strikes < STRIKES_MAX && try_later(fetch))
		return;
	if (source->strikes >= STRIKES_MAX || is_unreachable(err)) {
		source_fail(source, err->message, false);
		return;
	}
	free(fetch->problem);
	fetch->problem = strdup(err->message);
	source_note(source, err->message);
	fetch_finish(fetch, FETCH_AWAY);
}

static void fetch_refuse(struct fetch *fetch, const char *why)
{
	free(fetch->problem);
	fetch->problem = strdup(why);
	fetch_finish(fetch, FETCH_PROBLEM);
}

/* fetch_missing - 404 or 410. Listings mark references with '?' and broken objects with '#'. A
 * name may also really end in one of them, so it was requested. */
static void fetch_missing(struct fetch *fetch)
{
	size_t size = strlen(fetch->name);
	char last = size ? fetch->name[size - 1] : 0;
	/* 404 for the content only: the two requests are not atomic */
	bool described = fetch->object;

	if ((fetch->event || described) && try_later(fetch))
		return; /* what was announced may take a moment to be readable */
	if (fetch->event)
		fetch_finish(fetch, FETCH_GONE);
	else if (last == '?')
		fetch_refuse(fetch, "it is a reference, not a script");
	else
		fetch_refuse(fetch, "the archive lists it, but says that it is not there when it is read");
}

static void fetch_fail(struct fetch *fetch, enum cdmi_verdict verdict, const struct lsn_error *err)
{
	if (verdict == CDMI_RETRY) {
		no_reply(fetch, err);
		return;
	}
	fetch->source->strikes = 0;
	if (verdict == CDMI_LOGIN)
		source_fail(fetch->source, err->message, true);
	else if (verdict == CDMI_GONE)
		fetch_missing(fetch);
	else
		fetch_refuse(fetch, err->message);
}

/* ----------------------------------------------------------------------------- its two requests */

static int fetch_request(struct fetch *fetch, enum cdmi_mode mode, http_fn fn)
{
	struct cdmi_source *source = fetch->source;
	_cleanup_free_ char *path = NULL, *url = NULL;

	if (asprintf(&path, "%s/%s", source->root, fetch->name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (!(url = cdmi_url(source->base.config->url, path, mode)))
		return -ENOMEM;
	const struct http_request request = { .method = "GET",
					      .url = url,
					      .headers = cdmi_headers(mode, source->versioned),
					      .timeout_usec = source->base.config->timeout_usec,
					      .max_body = mode == CDMI_CONTENT
								  ? source->base.config->size_max
								  : 2 * source->base.config->size_max + METADATA_MAX };
	return http_start(source->http, &request, fn, fetch, &fetch->exchange);
}

/* fetch_start - a request of a fetch that flies. */
static void fetch_start(struct fetch *fetch, enum cdmi_mode mode, http_fn fn)
{
	struct lsn_error err = { 0 };
	int r = fetch_request(fetch, mode, fn);

	if (r >= 0)
		return;
	(void)lsn_error_set(&err, r, "cannot ask for it: %s", strerror(-r));
	fetch_fail(fetch, r == -EINVAL ? CDMI_FAULT : CDMI_RETRY, &err);
}

static void take_content(struct fetch *fetch, const struct http_reply *reply)
{
	struct lsn_error err = { 0 };
	enum cdmi_verdict verdict = cdmi_judge(reply, CDMI_CONTENT, NULL, &err);

	fetch->settled = err.code == -EFBIG;
	if (fetch->settled)
		(void)lsn_error_set(&err, -EFBIG, "it is larger than [scripts] size_max = %zu bytes",
				    fetch->source->base.config->size_max);
	if (verdict == CDMI_OK && !(fetch->value = malloc(reply->body_size + 1))) {
		verdict = CDMI_RETRY;
		(void)lsn_error_set(&err, -ENOMEM, "out of memory");
	}
	if (verdict != CDMI_OK) {
		fetch_fail(fetch, verdict, &err);
		return;
	}
	fetch->source->strikes = 0;
	memcpy(fetch->value, reply->body, reply->body_size);
	fetch->value_size = reply->body_size;
	/* What Indigo says of an object that was created empty. */
	if (fetch->value_size == 4 && memcmp(fetch->value, "None", 4) == 0)
		fetch->value_size = 0;
	fetch_finish(fetch, FETCH_OFFER);
}

static void on_content(void *data, const struct http_reply *reply)
{
	struct fetch *fetch = data;
	struct cdmi_source *source = fetch->source;

	fetch->exchange = NULL;
	source->figures.fetches++;
	take_content(fetch, reply);
	source->step(source);
}

enum need { NEED_NOTHING, NEED_OFFER, NEED_CONTENT };

/* what_is_needed - for a script with a usable topic and no inline value. The content in the
 * registry is current if the object and the marks of its content are the same and no event says
 * otherwise. What was refused is not read again before something about it changes. */
static enum need what_is_needed(const struct fetch *fetch)
{
	const struct registry_entry *entry = registry_find(fetch->source->registry, fetch->name);
	char text[MARK_TEXT_SIZE];
	struct mark now, old;

	mark_write(fetch, text);
	if (fetch->content || !entry || !mark_parse(text, &now) || !mark_parse(entry->source_key, &old))
		return NEED_CONTENT;
	if (streq(text, entry->source_key) && (entry->state == SCRIPT_REFUSED || entry->state == SCRIPT_ACTIVE))
		return NEED_NOTHING;
	return entry->script && streq(now.id, old.id) && now.content_hash == old.content_hash ? NEED_OFFER
											      : NEED_CONTENT;
}

static void take_metadata(struct fetch *fetch, const struct http_reply *reply)
{
	struct lsn_error err = { 0 };
	const char *problem, *topics[SCRIPT_FILTERS_MAX + 1];
	enum cdmi_verdict verdict = cdmi_judge(reply, CDMI_OBJECT, &fetch->object, &err);

	if (verdict != CDMI_OK) {
		fetch_fail(fetch, verdict, &err);
		return;
	}
	fetch->source->strikes = 0;
	if (cdmi_topics(fetch->object, topics, &problem) == 0) {
		if (problem)
			fetch_refuse(fetch, problem);
		else
			fetch_finish(fetch, FETCH_OFFER);
		return;
	}
	int r = cdmi_value(fetch->object, &fetch->value, &fetch->value_size, &err);
	if (r != -ENODATA) {
		if (r == -ENOMEM)
			fetch_fail(fetch, CDMI_RETRY, &(struct lsn_error){ r, "out of memory" });
		else if (r < 0)
			fetch_refuse(fetch, err.message);
		else
			fetch_finish(fetch, FETCH_OFFER);
		return;
	}
	enum need need = what_is_needed(fetch);
	if (need == NEED_CONTENT)
		fetch_start(fetch, CDMI_CONTENT, on_content);
	else
		fetch_finish(fetch, need == NEED_OFFER ? FETCH_OFFER : FETCH_KEEP);
}

static void on_metadata(void *data, const struct http_reply *reply)
{
	struct fetch *fetch = data;
	struct cdmi_source *source = fetch->source;

	fetch->exchange = NULL;
	source->figures.fetches++;
	take_metadata(fetch, reply);
	source->step(source);
}

void fetch_next(struct cdmi_source *source)
{
	struct fetch *fetch;

	while (!source->trouble.set && source->flying < source->base.config->fetches &&
	       (fetch = TAILQ_FIRST(&source->queue))) {
		fetch_leave(fetch);
		fetch->where = FETCH_FLYING;
		source->flying++;
		fetch_start(fetch, CDMI_OBJECT, on_metadata);
	}
}
