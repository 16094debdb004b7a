/* dispatcher_private.h - shared by dispatcher.c (starting), dispatcher_end.c (ending, retry,
 * cancel) and dispatcher_recover.c. */
#ifndef CORE_DISPATCHER_PRIVATE_H
#define CORE_DISPATCHER_PRIVATE_H

#include "dispatcher.h"
#include "lane.h"
#include "script.h"

struct forget { /* a result that the executor may drop once it is committed */
	uint64_t job;
	char executor[EXECUTOR_NAME_SIZE], place[LSN_PLACE_SIZE];
};

struct dispatcher {
	sd_event *loop;
	struct journal *journal;
	struct executors *executors;
	const struct dispatch_config *config;
	struct dispatcher_hooks hooks;
	void *lanes_by_name; /* tsearch() tree of struct lane */
	struct lane_list lanes, ready, stalled;
	struct job_list starting; /* wait for the commit; linked by job->queue */
	struct job_list backoff; /* linked by job->queue */
	unsigned running; /* reserved or handed over, and not done */
	uint64_t ended; /* runs, since the start */
	bool stopped;
	bool settling; /* some lane has a job that waits for the next commit */
	bool spilling; /* some lane has jobs that wait in the journal only */
	struct forget *forgets;
	size_t forget_count, forget_size;
	sd_event_source *backoff_timer, *overdue_timer;
};

/* lane_for - the lane of a script, made on first use.
 * NULL: out of memory. */
struct lane *dispatcher_lane(struct dispatcher *d, const char *script);

/* The job gives up its place among the active ones of its lane. */
void dispatcher_leave(struct dispatcher *d, struct job *job);

/* dispatcher_spill - JOB (its reference taken over) waits in the journal only until the lane has
 * room. */
void dispatcher_spill(struct dispatcher *d, struct lane *lane, struct job *job);

/* The lane may have something to start: give it a turn. */
void dispatcher_wake(struct dispatcher *d, struct lane *lane);

/* dispatcher_requeue - JOB (not active, its reference taken over) is QUEUED again. */
void dispatcher_requeue(struct dispatcher *d, struct job *job);

/* dispatcher_wait - JOB is in state BACKOFF: keep it among the lane's active ones, so that later
 * jobs for the same object wait for it. */
void dispatcher_wait(struct dispatcher *d, struct lane *lane, struct job *job);

/* dispatcher_end - JOB (not active any more, its reference taken over) has ended with RESULT:
 * record, and decide what comes next. */
void dispatcher_end(struct dispatcher *d, struct job *job, const struct lsn_result *result);
void dispatcher_end_with(struct dispatcher *d, struct job *job, enum lsn_outcome outcome, const char *message);
int dispatcher_forget_later(struct dispatcher *d, const struct job *job);
void dispatcher_arm_overdue(struct dispatcher *d);

#endif
