/* source.h - where scripts come from: a folder or a CDMI collection. A source watches its place
 * and reports to the registry; it never runs anything. */
#ifndef CORE_SOURCE_H
#define CORE_SOURCE_H

#include "registry.h"
#include "topic.h"
#include <systemd/sd-event.h>

enum source_kind { SOURCE_DIRECTORY, SOURCE_CDMI, SOURCE_KIND_MAX };

struct source_config {
	enum source_kind kind;
	char *directory; /* SOURCE_DIRECTORY: absolute path */
	char *url; /* SOURCE_CDMI: up to and without the collection, "https://host/api/cdmi" */
	char *user, *password; /* NULL: none */
	char *ca_file;
	bool verify;
	uint64_t timeout_usec; /* per request */
	unsigned fetches; /* in parallel */
	/* archive path of the scripts collection, "/scripts": no event on it or below it runs a
	 * script. This holds for every source */
	char *collection;
	enum topic_dialect events; /* whose topics and payloads the archive publishes */
	bool recursive;
	uint64_t rescan_usec; /* a full scan at least so often; 0: never by time */
	size_t scripts_max, size_max;
};

struct source_figures {
	const char *kind;
	char where[256];
	char state[32]; /* "current", "scanning", "away" */
	uint64_t scanned_realtime_usec; /* the last full scan that succeeded, 0: none yet */
	uint64_t scans, fetches, errors;
	char error[256]; /* the last error, "" once a scan has succeeded */
};

struct source;

/* What every kind of source offers. */
struct source_ops {
	void (*free)(struct source *source);
	/* rescan - a full scan soon. */
	void (*rescan)(struct source *source);
	/* revalidate - a full scan that also reads again what seems unchanged: events may have
	 * been missed. NULL: as rescan. */
	void (*revalidate)(struct source *source);
	/* event - an event on the scripts collection: look again at what it is about. PAYLOAD is
	 * the event's. */
	void (*event)(struct source *source, const char *topic, size_t topic_size, const void *payload,
		      size_t payload_size);
	/* busy_for - a fetch is under way whose script could match TOPIC: events published after
	 * the script's own event should wait. */
	bool (*busy_for)(struct source *source, const char *topic, size_t topic_size);
	void (*figures)(const struct source *source, struct source_figures *ret);
};
struct source {
	const struct source_ops *ops;
	/* Borrowed. After a reload it is set to the new one, which has the same values. */
	const struct source_config *config;
};

/* Makers, one per kind; each starts its first scan by itself.
 * CHANGED is called after every registry_end() that changed something, and when busy_for() may
 * have become false.
 * 0, or a negative errno with ERR. */
int source_directory_new(sd_event *loop, const struct source_config *config, struct registry *registry,
			 void (*changed)(void *data), void *data, struct source **ret, struct lsn_error *err);
int source_cdmi_new(sd_event *loop, const struct source_config *config, struct registry *registry,
		    void (*changed)(void *data), void *data, struct source **ret, struct lsn_error *err);
void source_free(struct source *source); /* NULL is allowed */

#endif
