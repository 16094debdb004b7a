/* event.h - one MQTT message accepted by the listener. Immutable once made, shared by its jobs
 * through references. */
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include <cleanup.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define EVENT_DIGEST_SIZE 16

enum event_state {
	EVENT_ACCEPTED, /* matched scripts, or record_unmatched is on */
	EVENT_REJECTED, /* recorded with the reason, never run */
	EVENT_STATE_MAX
};

struct event {
	unsigned refs;
	uint64_t id; /* > 0, rising; from journal_next_event_id() */
	uint64_t received_realtime_usec;
	enum event_state state;
	char reason[120]; /* EVENT_REJECTED: why */
	int qos; /* as delivered */
	size_t topic_size, payload_size;
	/* NUL-terminated beyond topic_size; for rejected events it may be ill-formed and is
	 * stored as bytes */
	char *topic;
	/* NULL with size 0, and once the journal has it; for rejected events cut to what is kept */
	void *payload;
	uint64_t object; /* event_object()'s answer, 0: not asked yet */
	bool stored; /* the journal has a row */
	bool dirty; /* waits for the journal's next commit */
	TAILQ_ENTRY(event) marked; /* the journal's */
};
TAILQ_HEAD(event_list, event);

/* event_new - copies TOPIC and PAYLOAD; state ACCEPTED, received now, id 0 (the caller's to
 * set).
 * One reference is the caller's.
 * 0, -ENOMEM. */
int event_new(const void *topic, size_t topic_size, const void *payload, size_t payload_size, struct event **ret);
struct event *event_ref(struct event *event);
struct event *event_unref(struct event *event); /* NULL is allowed; returns NULL */

/* event_drop_payload - the journal has it: a job that waits keeps none in memory. payload_size
 * stays. */
void event_drop_payload(struct event *event);

/* event_object - a hash (never 0, the same after a restart) that names the object an event is
 * about, equal for create, update and delete of the same: the topic below its operation, that is
 * type and identifier; for users, whose topics carry now the id and now the name, the payload's
 * uuid in place of the identifier.
 * Worked out once per event. */
uint64_t event_object(const struct event *event);

DEFINE_CLEANUP(struct event *, event_unrefp, event_unref)
#define _cleanup_event_ _cleanup_(event_unrefp)

#endif
