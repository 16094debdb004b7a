/* pulse.h - does the engine still answer? A request may take as long as the engine needs, so a
 * request without a reply says nothing. While one is out the engine is asked for /_ping, which an
 * engine that works answers at once, on a connection of its own. An engine that does not answer is
 * silent, until it answers anything.
 *
 * Nothing is asked and no timer runs while no request is out and the engine is not silent. Loop
 * thread only. */
#ifndef DOCKER_SANDBOX_PULSE_H
#define DOCKER_SANDBOX_PULSE_H

#include <listener/executor.h>
#include <stdbool.h>

struct pulse;

struct pulse_hooks {
	void (*changed)(void *data); /* pulse_silent() has changed */
	/* a /_ping found nobody: there is no engine */
	void (*nobody)(void *data, const struct lsn_error *why);
	void *data;
};

int pulse_new(const struct lsn_host *host, const char *socket, const struct pulse_hooks *hooks, struct pulse **ret,
	      struct lsn_error *err);
void pulse_free(struct pulse *pulse); /* NULL is allowed */

/* pulse_begun - a request is out. pulse_ended - one is no more; ANSWERED: by a reply. */
void pulse_begun(struct pulse *pulse);
void pulse_ended(struct pulse *pulse, bool answered);

/* pulse_silent - the engine does not answer; *RET_SINCE_USEC (CLOCK_MONOTONIC): it has not since
 * then. */
bool pulse_silent(const struct pulse *pulse, uint64_t *ret_since_usec);

#endif
