/* intake.h - from publications to events and jobs. It rejects what cannot be an event, recognises
 * repeats, makes no job for an event on the scripts collection, and matches the rest.
 *
 * While the source is fetching a script that an earlier publication announced, a publication that
 * this script could match is deferred. It stays unacknowledged, and so does each publication after
 * it, in their order, until the fetch is over or 3 seconds have passed. */
#ifndef CORE_INTAKE_H
#define CORE_INTAKE_H

#include "broker.h"
#include "dispatcher.h"
#include "doctor_event.h"
#include "record.h"
#include "window.h"

struct intake;

struct intake_counters {
	uint64_t events; /* taken, repeats not counted */
	uint64_t decisions[DECISION_MAX]; /* publications by what became of them */
	uint64_t unknown_repeats; /* sent again, as the broker says, and not known here: they ran */
	uint64_t doubtful; /* perhaps repeats, of a broker that does not say so: they ran */
	uint64_t jobs;
	uint64_t payload_bytes; /* of all publications that were decided */
	uint64_t last_realtime_usec; /* when the last was decided; 0: none yet */
	uint64_t deferred; /* publications that had to wait for a fetch */
};

struct intake_parts { /* borrowed; the pointers may be replaced with intake_set_parts() */
	struct journal *journal;
	struct registry *registry;
	struct dispatcher *dispatcher;
	struct source *source;
	const struct config *config;
};

/* intake_new - loads the window from the journal.
 * PARTS is copied; what it points to is borrowed.
 * 0, -ENOMEM, or the journal's error, with ERR. */
int intake_new(const struct intake_parts *parts, struct intake **ret, struct lsn_error *err);

/* intake_free - NULL is allowed.
 * Deferred publications are dropped: the broker sends them again. */
void intake_free(struct intake *intake);

/* intake_set_parts - after a reload: PARTS replaces the parts that were given before. */
void intake_set_parts(struct intake *intake, const struct intake_parts *parts);

/* intake_expect - EVENTS (borrowed; NULL: none any more) notes what an examination publishes. */
void intake_expect(struct intake *intake, struct doctor_events *events);

/* intake_connected - a new connection to the broker, before its first publication.
 * SESSION_PRESENT: the broker has kept our session, so it may repeat publications. */
void intake_connected(struct intake *intake, bool session_present);

/* intake_message - one publication, in the order of delivery: it becomes an event with its jobs, a
 * repeat, a rejected event, or it is deferred. */
void intake_message(struct intake *intake, const struct broker_message *message);

/* intake_window_entries - how many publications are remembered, so that they are recognised when
 * they are sent again. */
unsigned intake_window_entries(unsigned receive_max);

/* intake_grow_window - make room for ENTRIES publications that may be repeated, between two
 * connections.
 * It never shrinks before the next start: the broker may still repeat as many as it was allowed
 * to send before.
 * 0, -ENOMEM (then all stays as it was). */
int intake_grow_window(struct intake *intake, size_t entries);

/* intake_release - try the deferred publications again.
 * Returns true if none is left: then what was read may be acknowledged once committed.
 * If it returns false, *RET_WAIT_USEC is the longest time until the next call. */
bool intake_release(struct intake *intake, uint64_t *ret_wait_usec);

/* intake_save - give the window to the journal if it changed. */
int intake_save(struct intake *intake);

/* intake_must_save - is it time for intake_save()? True if the broker has used so many packet ids
 * since the last one that it may soon use one that the saved window has. */
bool intake_must_save(const struct intake *intake);
const struct intake_counters *intake_get_counters(const struct intake *intake);

/* intake_get_record - what became of the last publications. */
const struct record *intake_get_record(const struct intake *intake);

#endif
