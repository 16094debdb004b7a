/* turn.h - the end of a turn of the loop: place, commit, acknowledge, hand over, forget - in
 * this order, in one function. docs/architecture.md, "One turn of the loop".
 *
 * turn_request() asks for a turn; it runs once, when nothing else is pending. If the commit
 * fails, the turn is tried again each second and nothing that depends on it happens meanwhile. */
#ifndef CORE_TURN_H
#define CORE_TURN_H

#include "intake.h"
#include "test_jobs.h"

struct turn;

struct turn_figures {
	uint64_t turns, failed;
	char error[160]; /* why the last commit failed; "" while all is well */
	bool blocked; /* the broker is kept waiting: journal full or not writable */
	uint64_t blocked_realtime_usec; /* since when; 0: it is not */
};

struct turn_parts { /* borrowed; broker may be NULL for a while (reload) */
	struct journal *journal;
	struct intake *intake;
	struct dispatcher *dispatcher;
	struct test_jobs *tests; /* NULL: there are none */
	struct broker *broker;
};

int turn_new(sd_event *loop, const struct turn_parts *parts, struct turn **ret, struct lsn_error *err);
void turn_free(struct turn *turn);
void turn_set_broker(struct turn *turn, struct broker *broker);
void turn_request(void *turn);

/* turn_batch - the broker has read a batch: acknowledge it at the end of this turn. */
void turn_batch(struct turn *turn);

/* turn_disconnected - what was read but not acknowledged will come again. */
void turn_disconnected(struct turn *turn);

/* turn_idle - nothing waits for a commit. */
bool turn_idle(const struct turn *turn);
const struct turn_figures *turn_get_figures(const struct turn *turn);

#endif
