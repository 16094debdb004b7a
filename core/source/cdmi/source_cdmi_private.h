/* source_cdmi_private.h - the parts of the CDMI source, lowest first:
 *
 *   source_cdmi_state.c   what went wrong, lists of names
 *   source_cdmi_mark.c    what the registry keeps with each script
 *   source_cdmi_fetch.c   looks at one script: metadata, content if it is new, retry
 *   source_cdmi_offer.c   hands what was found to the registry
 *   source_cdmi_scan.c    full scans: lists the collection, has every script looked at
 *   source_cdmi_event.c   events on the collection: what they are about is looked at or withdrawn
 *   source_cdmi.c         the step, the timers, making it
 *
 * Callbacks and events only change state: a fetch is done, a scan is wanted, something failed. Each
 * ends with source->step(), cdmi_step() of source_cdmi.c, which does all that follows. Only the
 * step frees fetches that ended, and only the step ends a scan or gives the archive up. */
#ifndef CORE_SOURCE_CDMI_PRIVATE_H
#define CORE_SOURCE_CDMI_PRIVATE_H

#include "cdmi.h"
#include "host.h"
#include "source.h"
#include <sys/queue.h>

enum fetch_where { FETCH_IDLE, FETCH_QUEUED, FETCH_FLYING, FETCH_SLEEPING, FETCH_DONE };
enum fetch_end {
	FETCH_OFFER,
	FETCH_KEEP, /* as the registry has it */
	FETCH_GONE,
	FETCH_PROBLEM,
	FETCH_AWAY, /* a problem that a later look may not have */
};

struct fetch { /* one script being looked at */
	TAILQ_ENTRY(fetch) link; /* queue or done */
	TAILQ_ENTRY(fetch) announced_link; /* if event */
	TAILQ_ENTRY(fetch) all;
	struct cdmi_source *source;
	enum fetch_where where;
	enum fetch_end end;
	bool scan; /* the running scan waits for it */
	bool event; /* an event announced it */
	bool content; /* the content must be read even if an older one is stored */
	/* its problem is in the content: no need to read that again before something changes */
	bool settled;
	bool again; /* something changed while it was under way: look again */
	unsigned attempts;
	char *name; /* relative to the collection */
	char *filters; /* the normalised topics that the event announced, as in struct script; or NULL */
	char *url; /* content version that the event announced, or NULL */
	struct http_exchange *exchange; /* while flying */
	struct lsn_timer *timer; /* while sleeping */
	json_t *object; /* the metadata reply */
	void *value; /* the content */
	size_t value_size;
	char *problem;
};
TAILQ_HEAD(fetch_list, fetch);

struct name_item {
	STAILQ_ENTRY(name_item) link;
	char name[];
};
STAILQ_HEAD(name_list, name_item);

/* What the registry keeps with each script, as its source_key: which object it is, and marks of
 * what was read. */
struct mark {
	char id[129];
	char url[300]; /* content version as events name it, "" if unknown */
	uint64_t content_hash, metadata_hash;
};
#define MARK_TEXT_SIZE 512

struct scan {
	bool running, deep;
	bool soon; /* an event asks for a scan */
	bool again; /* something happened that its listing may not show: scan once more */
	bool everything; /* the server does not list the children alone */
	bool other_dialect; /* with or without the version header: both were tried */
	bool noted; /* something was left out: its reason stays in figures.error */
	unsigned left; /* folders and fetches that it waits for */
	/* counted in figures when it is over: until then nobody must take it for failed */
	unsigned errors;
	size_t scripts, folders; /* counted against the limits */
	struct name_list todo; /* folders to be listed, relative: "" or "sub/" */
	struct http_exchange *listing;
	char *listing_path;
	struct name_list seen; /* scripts that this scan or an event found alive */
};

struct trouble { /* source_fail() */
	bool set, login_refused;
	char what[600];
};

struct cdmi_source {
	struct source base;
	char *root; /* the configured collection, one leading slash, none at the end */
	struct registry *registry;
	struct host *host;
	const struct lsn_host *services;
	struct http *http;
	void (*changed)(void *data);
	void *changed_data;
	void (*step)(struct cdmi_source *source); /* last in each callback */
	struct trouble trouble;
	bool stored; /* the registry was updated since the last step */
	bool versioned; /* send the CDMI version header */

	struct fetch_list all, queue, done, announced;
	void *by_name; /* tsearch() tree of struct fetch */
	unsigned flying, done_count;
	unsigned done_announced; /* of those an event announced */
	size_t done_bytes;
	unsigned strikes; /* scripts in a row that no usable reply came for */

	struct scan scan;
	bool away, login_refused;
	bool full; /* scripts were left out for want of room */
	/* the next scan reads all content: what is stored may be old without a sign of it */
	bool deep_due;
	uint64_t deep_monotonic_usec; /* the last deep scan that succeeded */
	struct lsn_timer *rescan_timer, *retry_timer;
	uint64_t rescan_due_usec; /* monotonic, of rescan_timer */
	uint64_t backoff_usec, retry_usec;
	struct source_figures figures;
};

/* source_cdmi_state.c */

/* source_note - something went wrong: count it, show it, log it if it is news. */
void source_note(struct cdmi_source *source, const char *what);

/* source_fail - the archive (or our journal) cannot be worked with, because of WHAT.
 * The step gives it up; of several failures before it the first counts. */
void source_fail(struct cdmi_source *source, const char *what, bool login_refused);
bool name_push(struct name_list *list, const char *name); /* false: no memory */
void names_clear(struct name_list *list);

/* source_cdmi_scan.c */
void scan_start(struct cdmi_source *source, bool deep);

/* scan_next - start the next listing. */
void scan_next(struct cdmi_source *source);
bool scan_is_over(const struct cdmi_source *source);

/* scan_store - what it did not see is withdrawn; the scan ends. False: source_fail() was called. */
bool scan_store(struct cdmi_source *source);
void scan_abort(struct cdmi_source *source);

/* source_cdmi_event.c */
void source_event(struct source *base, const char *topic, size_t topic_size, const void *payload, size_t payload_size);
bool source_busy_for(struct source *base, const char *topic, size_t topic_size);

/* collapse_path - PATH without empty levels, with one leading slash and none at the end; cut to
 * SIZE. */
void collapse_path(const char *path, char *to, size_t size);

/* source_cdmi_fetch.c */

/* fetch_get - the fetch of NAME, made (idle) if there is none.
 * NULL: no memory. */
struct fetch *fetch_get(struct cdmi_source *source, const char *name);
struct fetch *fetch_find(struct cdmi_source *source, const char *name);

/* fetch_announce - an event is about it. */
void fetch_announce(struct fetch *fetch);

/* fetch_go - queue it, or look again after what is under way. */
void fetch_go(struct fetch *fetch);

/* fetch_end_now - without looking: PROBLEM is known. */
void fetch_end_now(struct fetch *fetch, const char *problem);

/* fetch_next - start queued fetches up to the limit. */
void fetch_next(struct cdmi_source *source);

/* fetch_drop - forget it in any state. The scan no longer waits for it. */
void fetch_drop(struct fetch *fetch);

/* source_cdmi_offer.c */

/* offer_due - it is time to hand over what is done: the batch is full, an announced script is
 * among it, or nothing more is under way. */
bool offer_due(const struct cdmi_source *source);

/* offer_done - hand it over; the fetches are freed. */
void offer_done(struct cdmi_source *source);

/* offer_commit - registry_end() for all parts. */
int offer_commit(struct cdmi_source *source, bool full, struct lsn_error *err);

/* source_cdmi_mark.c */

/* mark_write - what FETCH has read, as text for the registry; MARK_TEXT_SIZE bytes. */
void mark_write(const struct fetch *fetch, char *buf);
bool mark_parse(const char *text, struct mark *ret); /* false: no mark */

#endif
