/* dispatcher_private.h - what the files of the dispatcher share.
 *
 *   dispatcher.c          lanes, turns, places, hand-over
 *   dispatcher_jobs.c     which job is where; memory and journal
 *   dispatcher_refill.c   waiting jobs come back from the journal
 *   dispatcher_end.c      results, further attempts, what is due
 *   dispatcher_operate.c  retry and cancel
 *   dispatcher_holds.c    holds begin and end, and what they keep
 *   dispatcher_loops.c    the loop brake at work
 *   dispatcher_recover.c  what the last daemon left
 *   dispatcher_waits.c    what a job waits for, for people
 *   dispatcher_load.c     what a script has to do, for people
 *   dispatcher_check.c    what must hold, for tests
 *
 * A job in memory has one owner, which follows from its state; dispatcher_set() is the only
 * function that changes either. */
#ifndef CORE_DISPATCHER_PRIVATE_H
#define CORE_DISPATCHER_PRIVATE_H

#include "dispatcher.h"
#include "heap.h"
#include "lane.h"
#include "loop_brake.h"
#include "table.h"
#include "tally.h"

#define LOOP_NOTES 64

struct loop_note { /* a script took part in a loop */
	char script[64];
	uint64_t usec; /* CLOCK_MONOTONIC */
};

struct dispatcher {
	struct journal *journal;
	struct executors *executors;
	const struct dispatch_config *config;
	struct dispatcher_hooks hooks;
	struct contents *contents;

	struct table jobs; /* all that are in memory, by id; holds a reference of each */
	struct lane_objects objects;
	struct jobs starting; /* wait for the commit */
	struct jobs running; /* RUNNING, RECOVERING */
	/* QUEUED or BACKOFF after an attempt whose result waits for the commit */
	struct jobs settling;
	/* ended, or waiting in the journal only: gone from memory after the commit */
	struct jobs leaving;
	struct jobs owed; /* ended, but an executor has not reported an attempt that was given up */
	struct heap alarms; /* jobs: the next attempt is due, the executor is overdue */
	struct run_queue reported; /* may be forgotten after the commit */

	void *lanes_by_name; /* tsearch() tree */
	struct lane_list lanes;
	struct lane_list ready, stalled, vacant; /* by lane->where */
	struct lane_list spilled; /* those that may read from the journal */
	struct heap pauses; /* lanes that are PAUSED or RATED */
	struct holds holds;
	struct loop_brake brake;
	uint64_t looped_event; /* id of the last one that the brake was told of */
	struct loop_note *loops; /* LOOP_NOTES, a ring; NULL: none yet */
	size_t loop_count; /* that were ever noted */
	uint64_t turn_began_usec, turn_took_usec; /* CLOCK_MONOTONIC; of the last whole turn */
	uint64_t refill_usec; /* reading waiting jobs failed: not before then */

	uint64_t ended; /* runs, since the start */
	struct tally tally;
	bool stopped;
};

/* --------------------------------------------------------------------------------- dispatcher.c */

/* dispatcher_lane - the lane of a script, made on first use.
 * NULL: out of memory. */
struct lane *dispatcher_lane(struct dispatcher *d, const char *script);

/* dispatcher_find_lane - the lane of a script that has jobs, or NULL. */
struct lane *dispatcher_find_lane(const struct dispatcher *d, const char *script);

/* dispatcher_lane_move - NAME: of the executor, with LANE_STALLED. */
void dispatcher_lane_move(struct dispatcher *d, struct lane *lane, enum lane_where where);

/* dispatcher_touch - something about LANE has changed: it gets a turn if it has something to
 * start, and goes if it is empty. */
void dispatcher_touch(struct dispatcher *d, struct lane *lane);

/* dispatcher_pause - LANE's JOB was refused for a passing reason: for a while. */
void dispatcher_pause(struct dispatcher *d, struct lane *lane, struct job *job, const char *why);

/* dispatcher_place_freed - EXECUTOR may have one place more: of the lanes that wait for it the one
 * that has waited longest is asked; what does not use it passes it on. dispatcher_shortage_over -
 * there may be descriptors and memory. */
void dispatcher_place_freed(struct dispatcher *d, const char *executor);
void dispatcher_shortage_over(struct dispatcher *d);

/* ---------------------------------------------------------------------------- dispatcher_jobs.c */

/* dispatcher_find - a job in memory, or NULL. */
struct job *dispatcher_find(const struct dispatcher *d, uint64_t id);

/* dispatcher_take_in - JOB (its reference is taken over), of which there is none in memory, to
 * the owner that its state asks for.
 * Its lane must exist. */
void dispatcher_take_in(struct dispatcher *d, struct job *job);

/* dispatcher_set - JOB of ours has STATE from now on: to the owner that this asks for, and
 * marked in the journal.
 * Wakes who waits for what becomes free.
 * Where it is not in a lane and goes to one, that must exist. */
void dispatcher_set(struct dispatcher *d, struct job *job, enum job_state state);

/* dispatcher_alarm - JOB (BACKOFF or RUNNING) is to be looked at then; LSN_NEVER. */
void dispatcher_alarm(struct dispatcher *d, struct job *job, uint64_t usec);

/* dispatcher_flush - after a commit: what settles has settled, what leaves is gone. */
void dispatcher_flush(struct dispatcher *d);

/* dispatcher_set_spilled - about so many jobs of LANE wait in the journal only, beyond those that
 * were read. */
void dispatcher_set_spilled(struct dispatcher *d, struct lane *lane, uint64_t count);

/* dispatcher_list - LANE stands in the list of those that may read from the journal, or not, as
 * lane_may_read() says. */
void dispatcher_list(struct dispatcher *d, struct lane *lane);

/* dispatcher_put_back - JOB, which waits and is stored, waits in the journal only. */
void dispatcher_put_back(struct dispatcher *d, struct job *job);

/* --------------------------------------------------------------------------- dispatcher_loops.c */

/* dispatcher_reconsider - OBJECT is held or braked now, or it is not any more. */
void dispatcher_reconsider(struct dispatcher *d, uint64_t object);

/* dispatcher_loop_event - EVENT makes a job; told once or more.
 * dispatcher_loop_run - an attempt of JOB is out, or is not any more. */
void dispatcher_loop_event(struct dispatcher *d, const struct event *event);
void dispatcher_loop_run(struct dispatcher *d, struct job *job, bool out);

/* dispatcher_end_loop_pauses - those that are over: runs go on, or the object is held. */
void dispatcher_end_loop_pauses(struct dispatcher *d, uint64_t now_usec);

/* --------------------------------------------------------------------------- dispatcher_holds.c */

/* dispatcher_load_holds - those of the last daemon; before anything may start. */
int dispatcher_load_holds(struct dispatcher *d, struct lsn_error *err);

/* dispatcher_is_held - a hold that is not one of JOB's object stands between JOB and a place. */
bool dispatcher_is_held(const struct dispatcher *d, const struct job *job);

/* dispatcher_expire_holds - end those whose time is over. dispatcher_holds_usec - when the next
 * one's is: CLOCK_MONOTONIC, UINT64_MAX: never. */
void dispatcher_expire_holds(struct dispatcher *d);
uint64_t dispatcher_holds_usec(const struct dispatcher *d);

/* -------------------------------------------------------------------------- dispatcher_refill.c */

/* dispatcher_refill - after a commit: lanes that ran low get waiting jobs from the journal. */
void dispatcher_refill(struct dispatcher *d);

/* ----------------------------------------------------------------------------- dispatcher_end.c */

/* dispatcher_begun - RUN is JOB's current attempt. dispatcher_unbegun - it is no more. */
void dispatcher_begun(struct job *job, struct run *run);
void dispatcher_unbegun(struct job *job);

/* dispatcher_attempt_ended - JOB's current attempt came to RESULT: record, and decide what comes
 * next. */
void dispatcher_attempt_ended(struct dispatcher *d, struct job *job, const struct lsn_result *result);

/* dispatcher_attempt_failed - likewise, of our own knowledge. */
void dispatcher_attempt_failed(struct dispatcher *d, struct job *job, enum lsn_outcome outcome, const char *message);

/* dispatcher_close - JOB ends without an attempt that would say how. */
void dispatcher_close(struct dispatcher *d, struct job *job, enum lsn_outcome outcome, const char *message);

/* dispatcher_watch - JOB has been handed over, or found again: its executor is overdue some time
 * after its whole limit. How much of that an earlier daemon saw only the wall clock could tell,
 * and that may have been set since. */
void dispatcher_watch(struct dispatcher *d, struct job *job);

/* dispatcher_retry_delay - before JOB's next attempt. */
uint64_t dispatcher_retry_delay(const struct dispatcher *d, const struct job *job);

/* dispatcher_ring - deal with what is due. */
void dispatcher_ring(struct dispatcher *d, uint64_t now_usec);

#endif
