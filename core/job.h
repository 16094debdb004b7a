/* job.h - one event for one script revision, and its state machine. The dispatcher moves jobs,
 * the journal stores them; nobody else writes to them.
 *
 *   QUEUED ──▶ STARTING ──▶ RUNNING ──▶ FINISHED        STARTING: the intent waits for its commit
 *     ▲ ▲         │           │  ╲                      RUNNING: handed to an executor
 *     │ └─────────┘           ▼   ▶ LOST                BACKOFF: waits for its next attempt
 *     ├──────────────────  BACKOFF                      RECOVERING: after a restart, the executor is being asked
 *     └────────────────── RECOVERING ──▶ RUNNING, FINISHED, LOST
 *
 * Not drawn: STARTING and RECOVERING may end in BACKOFF, QUEUED in FINISHED (cancelled, refused)
 * or BACKOFF (refused, to be tried again), BACKOFF in FINISHED (cancelled), STARTING in FINISHED
 * or LOST; and FINISHED and LOST go back to QUEUED on an operator's word. job.c has the table. */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include "event.h"
#include "script.h"
#include <sys/queue.h>

enum job_state {
	JOB_QUEUED,
	JOB_STARTING,
	JOB_RUNNING,
	JOB_RECOVERING,
	JOB_BACKOFF,
	JOB_FINISHED, /* see result->outcome */
	JOB_LOST,
	JOB_STATE_MAX
};
extern const char *const job_state_names[JOB_STATE_MAX]; /* "queued" ... */

#define JOB_OUTPUT_LIMIT_BYTES (64 * 1024) /* kept per stream with output = capture */

/* A copy of what an executor reported, owned by the job. */
struct job_result {
	struct lsn_result r; /* r.out and r.err point into the bytes that follow the struct */
};

struct job {
	/* what executors see; abi.id, abi.attempt, ... are the job's own fields */
	struct lsn_job abi;
	unsigned refs;
	enum job_state state;
	struct event *event;
	struct script *script;
	uint64_t object; /* event_object(): jobs of one script for one object keep their order */
	uint64_t created_realtime_usec;
	uint64_t not_before_realtime_usec; /* JOB_BACKOFF: when the next attempt is due */
	char executor[EXECUTOR_NAME_SIZE]; /* which runs or ran it, "" before */
	char place[LSN_PLACE_SIZE];
	struct job_result *result; /* of the last attempt; NULL before it ends */
	bool stored; /* the journal has a row */
	bool dirty; /* waits for the journal's next commit */
	bool chased; /* the dispatcher's: cancelled because it is overdue */
	TAILQ_ENTRY(job) queue; /* the dispatcher's */
	TAILQ_ENTRY(job) active; /* the dispatcher's */
	TAILQ_ENTRY(job) marked; /* the journal's */
	void *instance; /* the dispatcher's: instance that holds it */
};
TAILQ_HEAD(job_list, job);

/* job_new - state QUEUED, attempt 0, created now, ABI part filled but for the descriptors (-1);
 * one reference for the caller; takes references of EVENT and SCRIPT.
 * 0, -ENOMEM. */
int job_new(uint64_t id, struct event *event, struct script *script, struct job **ret);
struct job *job_ref(struct job *job);
struct job *job_unref(struct job *job); /* NULL is allowed; returns NULL */

/* job_set_state - checks the move against the table (a forbidden move is our own mistake:
 * assert), logs "old -> new" at debug level.
 * STARTING drops the result of the attempt before. */
void job_set_state(struct job *job, enum job_state state);

/* job_set_result - copies RESULT and its output; replaces an earlier one, also if RESULT was
 * made from it.
 * 0, -ENOMEM: the old one stays. */
int job_set_result(struct job *job, const struct lsn_result *result);

#endif
