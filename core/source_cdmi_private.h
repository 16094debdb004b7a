/* source_cdmi_private.h - shared by source_cdmi.c (the source: scans, events, state) and source_cdmi_fetch.c (one script: metadata, content, retry). */
#ifndef CORE_SOURCE_CDMI_PRIVATE_H
#define CORE_SOURCE_CDMI_PRIVATE_H

#include "cdmi.h"
#include "host.h"
#include "source.h"
#include <sys/queue.h>

enum fetch_end { FETCH_OFFER, FETCH_GONE, FETCH_PROBLEM, FETCH_AWAY /* a problem that a later scan may not have */ };

struct fetch { /* one script being looked at */
	TAILQ_ENTRY(fetch) link; /* queue, flying, sleeping or done */
	TAILQ_ENTRY(fetch) all;
	struct cdmi_source *source;
	char *name; /* relative to the collection */
	bool scan; /* the running scan waits for it */
	bool event; /* an event announced it */
	bool content; /* the content must be read even if an older one is stored */
	bool again; /* something changed while it was under way: look again */
	bool done;
	char *filter; /* the normalised topic that the event announced, or NULL */
	char *url; /* content version that the event announced, or NULL */
	unsigned attempts;
	struct http_exchange *exchange;
	struct lsn_timer *timer;
	enum fetch_end end;
	json_t *object; /* the metadata reply */
	void *value; /* the content */
	size_t value_size;
	char problem[300];
};
TAILQ_HEAD(fetch_list, fetch);

struct folder { /* a container to be listed */
	STAILQ_ENTRY(folder) link;
	char *path; /* relative: "" or "sub/" */
};

struct seen {
	STAILQ_ENTRY(seen) link;
	char name[];
};

struct cdmi_source {
	struct source base;
	struct source_config config;
	struct registry *registry;
	struct host *host;
	const struct lsn_host *services;
	struct http *http;
	void (*changed)(void *data);
	void *changed_data;
	bool versioned; /* send the CDMI version header */

	struct fetch_list all, queue, done;
	void *by_name; /* tsearch() tree of struct fetch */
	unsigned flying, done_count, announced; /* announced: fetches that events asked for */

	bool scanning, deep, scan_again, scan_again_deep, scan_failed;
	unsigned scan_left; /* folders and fetches that the scan waits for */
	size_t scan_count;
	STAILQ_HEAD(, folder) folders;
	struct http_exchange *listing;
	char *listing_path;
	STAILQ_HEAD(, seen) seen; /* names that this scan or an event found alive */
	struct lsn_timer *rescan_timer;
	uint64_t backoff_usec;
	struct source_figures figures;
};

/* fetch_get - the fetch of NAME, made (idle) if there is none. NULL: no memory. */
struct fetch *fetch_get(struct cdmi_source *source, const char *name);
struct fetch *fetch_find(struct cdmi_source *source, const char *name);
/* fetch_go - queue it, or look again after what is under way. */
void fetch_go(struct fetch *fetch);
/* fetch_drop - forget it, whatever it is doing. */
void fetch_drop(struct fetch *fetch);
/* fetch_next - start queued fetches up to the limit. */
void fetch_next(struct cdmi_source *source);
/* fetch_mark - the registry's source_key for what was fetched. */
void fetch_mark(const struct fetch *fetch, char *buf, size_t size);
/* The stored content version in a source_key, "" if unknown. */
const char *mark_url(const char *source_key, char *buf, size_t size);

/* source_cdmi.c: a fetch has ended; source_flush hands what has ended to the registry. */
void source_fetched(struct cdmi_source *source, struct fetch *fetch);
void source_trouble(struct cdmi_source *source, const char *what);

#endif
