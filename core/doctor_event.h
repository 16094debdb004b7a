/* doctor_event.h - what `listenerctl doctor` publishes on the topics of real events, to see whether
 * they reach the daemon. Whoever takes it for an event runs nothing for it.
 *
 * It is known by its payload, which no archive makes: it is no JSON. A daemon that was started
 * again in the meantime knows it, too. */
#ifndef CORE_DOCTOR_EVENT_H
#define CORE_DOCTOR_EVENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOCTOR_EVENT_SIZE 64 /* of a payload, the NUL included */
#define DOCTOR_EVENTS_MAX 64 /* of one examination */

/* what an examination waits for; in memory that it shares with the daemon */
struct doctor_events {
	uint64_t token; /* of this examination */
	_Atomic uint64_t arrived; /* bit N: number N of them */
};

/* doctor_event_payload - of number N (below DOCTOR_EVENTS_MAX). */
void doctor_event_payload(char buf[DOCTOR_EVENT_SIZE], uint64_t token, unsigned n);

/* doctor_event_take - is PAYLOAD one?
 * Then it is noted in EVENTS (NULL: nobody waits) if it is of that examination. */
bool doctor_event_take(struct doctor_events *events, const void *payload, size_t size);

#endif
