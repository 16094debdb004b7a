/* source_cdmi.c - scripts that live in a CDMI collection: making the source, what is known about
 * it, the archive away and back.
 *
 * A scan lists the collection and reads every object's metadata. Content is read when it is new:
 * for objects the registry has no content of, when an event or the server's own marks
 * (cdmi_mtime and the like) say that it changed, and for all objects in a deep scan. Scans are
 * deep at start, after a session that the broker did not keep, after the archive was away, and
 * once a day: whenever an event may have been missed.
 *
 * What a scan did not see is withdrawn only at the end of a scan that saw everything. An archive
 * that cannot be worked with ends the scan: nothing is withdrawn, the cached scripts serve, and
 * it is tried again after 1, 2, 4 ... 60 seconds, sooner if the archive publishes an event. */
#include "http.h"
#include "log.h"
#include "registry.h"
#include "script.h"
#include "source_cdmi_private.h"
#include "util.h"
#include <errno.h>
#include <search.h>
#include <string.h>

#define BACKOFF_MIN_USEC USEC_PER_SEC
#define BACKOFF_MAX_USEC (60 * USEC_PER_SEC)
#define LOGIN_BACKOFF_USEC (30 * USEC_PER_SEC) /* accounts get locked */
#define RETRY_MIN_USEC (5 * USEC_PER_SEC)
#define RETRY_MAX_USEC (300 * USEC_PER_SEC)
#define SOON_USEC (250 * USEC_PER_MSEC)
#define DEEP_EVERY_USEC (24 * 3600 * USEC_PER_SEC)

static struct cdmi_source *cdmi_of(const struct source *source) { return (struct cdmi_source *)(uintptr_t)source; }

/* --------------------------------------------------------------------------------------- timers */

static void timer_stop(struct cdmi_source *source, struct lsn_timer **timer)
{
	if (*timer)
		source->services->timer_cancel(source->services->handle, *timer);
	*timer = NULL;
}

static void on_rescan_timer(void *data)
{
	struct cdmi_source *source = data;

	source->rescan_timer = NULL;
	scan_start(source, now_monotonic_usec() - source->deep_monotonic_usec > DEEP_EVERY_USEC);
	source->step(source);
}

/* rescan_in - 0: not by time. */
static void rescan_in(struct cdmi_source *source, uint64_t delay_usec)
{
	timer_stop(source, &source->rescan_timer);
	source->rescan_due_usec = now_monotonic_usec() + delay_usec;
	if (delay_usec && source->services->timer(source->services->handle, delay_usec, on_rescan_timer, source,
						  &source->rescan_timer) < 0)
		log_error("out of memory: no rescan of the scripts collection by time");
}

static void push_failed(void *data, const struct registry_entry *entry)
{
	if (entry->state == SCRIPT_FETCH_FAILED)
		(void)name_push(data, entry->name); /* no memory: the next scan will do */
}

/* on_retry_timer - scripts that could not be read, while the rest of the archive could. */
static void on_retry_timer(void *data)
{
	struct cdmi_source *source = data;
	struct name_list failed = STAILQ_HEAD_INITIALIZER(failed);
	struct name_item *item;

	source->retry_timer = NULL;
	if (source->away)
		return;
	registry_each(source->registry, push_failed, &failed);
	STAILQ_FOREACH (item, &failed, link) {
		struct fetch *fetch = fetch_get(source, item->name);
		if (fetch && fetch->where == FETCH_IDLE)
			fetch_go(fetch);
	}
	names_clear(&failed);
	source->step(source);
}

static void retry_in(struct cdmi_source *source)
{
	if (source->retry_timer)
		return;
	if (source->services->timer(source->services->handle, source->retry_usec, on_retry_timer, source,
				    &source->retry_timer) < 0)
		log_error("out of memory: scripts that could not be read wait for the next rescan");
	source->retry_usec = source->retry_usec * 2 < RETRY_MAX_USEC ? source->retry_usec * 2 : RETRY_MAX_USEC;
}

/* ---------------------------------------------------------------------------------------- state */

static void drop_fetches(struct cdmi_source *source)
{
	struct fetch *fetch;

	while ((fetch = TAILQ_FIRST(&source->all))) {
		source->deep_due |= fetch->content; /* what an event said must not be forgotten */
		fetch_drop(fetch);
	}
}

/* go_away - the archive (or our journal) does not work: forget everything that is under way, and
 * scan again later. */
static void go_away(struct cdmi_source *source)
{
	bool login_refused = source->trouble.login_refused;

	source_note(source, source->trouble.what);
	source->trouble.set = false;
	source->away = true;
	/* it may return with other content, after events that it could not publish */
	source->deep_due = true;
	source->login_refused = login_refused;
	source->strikes = 0;
	scan_abort(source);
	drop_fetches(source);
	timer_stop(source, &source->retry_timer);
	rescan_in(source, login_refused ? LOGIN_BACKOFF_USEC : source->backoff_usec);
	source->backoff_usec = source->backoff_usec * 2 < BACKOFF_MAX_USEC ? source->backoff_usec * 2
									   : BACKOFF_MAX_USEC;
}

/* come_back - a scan saw everything. */
static void come_back(struct cdmi_source *source)
{
	if (source->away)
		log_notice("source=cdmi: the archive can be read again");
	source->away = source->login_refused = false;
	source->figures.scanned_realtime_usec = now_realtime_usec();
	source->backoff_usec = BACKOFF_MIN_USEC;
	if (source->scan.deep)
		source->deep_monotonic_usec = now_monotonic_usec();
	rescan_in(source, source->base.config->rescan_usec);
}

/* scan_settle - the registry was updated: retry what could not be read. */
static void scan_settle(struct cdmi_source *source)
{
	size_t failed = registry_count(source->registry, SCRIPT_FETCH_FAILED);

	if (failed > 0 && !source->away) {
		retry_in(source);
	} else if (failed == 0) {
		timer_stop(source, &source->retry_timer);
		source->retry_usec = RETRY_MIN_USEC;
		if (!source->away && !source->scan.running && !source->scan.noted)
			source->figures.error[0] = 0;
	}
}

/* ------------------------------------------------------------------------------------- its step */

/* plan_scan - an event asks for a scan: again after the one that runs, else soon, so that a burst
 * of events makes one scan. */
static void plan_scan(struct cdmi_source *source)
{
	bool soon = source->scan.soon;

	source->scan.soon = false;
	if (soon && source->scan.running)
		source->scan.again = true;
	else if (soon && (!source->rescan_timer || source->rescan_due_usec > now_monotonic_usec() + SOON_USEC))
		rescan_in(source, SOON_USEC);
	if (source->scan.running)
		timer_stop(source, &source->rescan_timer);
}

static void finish_scan(struct cdmi_source *source)
{
	if (scan_store(source))
		come_back(source);
}

/* start_more - start the next scan if one is wanted, the next listing, and as many fetches as
 * are allowed. */
static void start_more(struct cdmi_source *source)
{
	if (source->scan.again && !source->scan.running) {
		source->scan.again = false;
		scan_start(source, false);
		timer_stop(source, &source->rescan_timer);
	}
	scan_next(source);
	fetch_next(source);
}

/* cdmi_step - all that follows from what callbacks and events have changed, in this order: hand
 * over what is done, end the scan, start what is next, forget everything if the archive is away,
 * tell the daemon. */
static void cdmi_step(struct cdmi_source *source)
{
	bool told = false;

	plan_scan(source);
	do {
		if (offer_due(source))
			offer_done(source);
		if (!source->trouble.set && scan_is_over(source))
			finish_scan(source);
		if (!source->trouble.set && source->stored)
			scan_settle(source);
		told |= source->stored;
		source->stored = false;
		if (!source->trouble.set)
			start_more(source);
	} while (!source->trouble.set && (offer_due(source) || scan_is_over(source)));
	told |= source->trouble.set;
	if (source->trouble.set)
		go_away(source);
	if (told)
		source->changed(source->changed_data);
}

/* ------------------------------------------------------------------------------- what it
 * answers */

static const char *state_name(const struct cdmi_source *source)
{
	if (source->scan.running)
		return "scanning";
	if (source->away)
		return "away";
	return registry_count(source->registry, SCRIPT_FETCH_FAILED) > 0 ? "incomplete" : "current";
}

static void cdmi_figures(const struct source *base, struct source_figures *ret)
{
	const struct cdmi_source *source = cdmi_of(base);

	*ret = source->figures;
	(void)snprintf(ret->state, sizeof ret->state, "%s", state_name(source));
}

/* ------------------------------------------------------------------------------------- its life */

static void cdmi_rescan(struct source *base)
{
	struct cdmi_source *source = cdmi_of(base);

	scan_start(source, false);
	cdmi_step(source);
}

static void cdmi_revalidate(struct source *base)
{
	struct cdmi_source *source = cdmi_of(base);

	/* A broker that often reconnects must not cause an attempt each time while the login is
	 * refused. The scan that is due reads everything. */
	if (!source->login_refused || source->scan.running) {
		scan_start(source, true);
		cdmi_step(source);
	}
}

static void cdmi_free(struct source *base)
{
	struct cdmi_source *source = cdmi_of(base);

	if (source->services) {
		timer_stop(source, &source->rescan_timer);
		timer_stop(source, &source->retry_timer);
	}
	scan_abort(source);
	drop_fetches(source);
	http_free(source->http);
	(void)host_free(source->host);
	free(source->root);
	free(source);
}

static const struct source_ops cdmi_ops = {
	.free = cdmi_free,
	.rescan = cdmi_rescan,
	.revalidate = cdmi_revalidate,
	.event = source_event,
	.busy_for = source_busy_for,
	.figures = cdmi_figures,
};

static struct cdmi_source *source_alloc(const struct source_config *config)
{
	struct cdmi_source *source = calloc(1, sizeof *source);

	if (!source)
		return NULL;
	source->base.ops = &cdmi_ops;
	source->step = cdmi_step;
	source->base.config = config;
	source->versioned = !cdmi_is_v2(config->url);
	source->backoff_usec = BACKOFF_MIN_USEC;
	source->retry_usec = RETRY_MIN_USEC;
	TAILQ_INIT(&source->all);
	TAILQ_INIT(&source->queue);
	TAILQ_INIT(&source->done);
	TAILQ_INIT(&source->announced);
	STAILQ_INIT(&source->scan.todo);
	STAILQ_INIT(&source->scan.seen);
	source->figures.kind = "cdmi";
	(void)snprintf(source->figures.where, sizeof source->figures.where, "%s%s", config->url, config->collection);
	size_t size = strlen(config->collection) + 2;
	source->root = malloc(size);
	if (!source->root) {
		free(source);
		return NULL;
	}
	collapse_path(config->collection, source->root, size);
	return source;
}

static int source_connect(struct cdmi_source *source, sd_event *loop, struct lsn_error *err)
{
	const struct source_config *config = source->base.config;
	int r = host_new(loop, "", "cdmi", "", "", NULL, &source->host, err);

	if (r < 0)
		return r;
	source->services = host_services(source->host);
	const struct http_options options = { .user = config->user,
					      .password = config->password,
					      .ca_file = config->ca_file,
					      .verify = config->verify,
					      .max_connections = config->fetches,
					      .max_redirects = 2 };
	return http_new(source->services, &options, &source->http, err);
}

int source_cdmi_new(sd_event *loop, const struct source_config *config, struct registry *registry,
		    void (*changed)(void *data), void *data, struct source **ret, struct lsn_error *err)
{
	struct cdmi_source *source = source_alloc(config);

	if (!source)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	source->registry = registry;
	source->changed = changed;
	source->changed_data = data;
	int r = source_connect(source, loop, err);
	if (r < 0) {
		cdmi_free(&source->base);
		return r;
	}
	scan_start(source, true);
	cdmi_step(source);
	*ret = &source->base;
	return 0;
}
