/* job.h - one event for one script revision, and its state machine. The dispatcher moves jobs,
 * the journal stores them; nobody else writes to them.
 *
 *   QUEUED ──▶ STARTING ──▶ RUNNING ──▶ FINISHED        STARTING: the intent waits for its commit
 *     ▲ ▲         │           │  ╲                      RUNNING: handed to an executor
 *     │ └─────────┘           ▼   ▶ LOST                BACKOFF: waits for its next attempt
 *     ├──────────────────  BACKOFF                      RECOVERING: the executor is being asked
 *     └────────────────── RECOVERING ──▶ RUNNING, FINISHED, LOST
 *
 * Not drawn: every unfinished state may end in FINISHED, LOST or BACKOFF; FINISHED and LOST go back
 * to QUEUED on an operator's word; LOST goes to FINISHED or BACKOFF when an executor reports after
 * all. job.c has the table. */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include "event.h"
#include "heap.h"
#include "script.h"
#include "table.h"
#include <sys/queue.h>

enum job_state {
	JOB_QUEUED,
	JOB_STARTING,
	JOB_RUNNING,
	JOB_RECOVERING,
	JOB_BACKOFF,
	JOB_FINISHED, /* see outcome */
	JOB_LOST,
	JOB_STATE_MAX
};
extern const char *const job_state_names[JOB_STATE_MAX]; /* "queued", "starting" and so on */

#define JOB_OUTPUT_LIMIT_BYTES (64 * 1024) /* kept per stream with output = capture, unless told */
#define JOB_OUTPUT_LIMIT_MAX_BYTES (256 * 1024) /* so that an answer to `show` has room for the attempts */

/* What an attempt came to, copied from an executor's report for the journal. */
struct job_result {
	TAILQ_ENTRY(job_result) marked; /* the journal's */
	uint64_t job;
	unsigned attempt;
	char executor[EXECUTOR_NAME_SIZE];
	char place[LSN_PLACE_SIZE];
	struct lsn_result r; /* r.out and r.err point into the bytes that follow the struct */
};
TAILQ_HEAD(job_result_list, job_result);

/* Lists of jobs that know their length, and jobs that know their lists: a job is in at most one
 * list of each kind. */
enum jobs_kind {
	JOBS_LANE, /* the lists of a lane: what waits, is out, backs off */
	JOBS_STAGE, /* the lists of the dispatcher: what happens next */
	JOBS_KIND_MAX
};

struct jobs {
	TAILQ_HEAD(job_list, job) list;
	enum jobs_kind kind;
	unsigned length;
};

struct lane;
struct run;

struct job {
	struct lsn_job
		/* abi.id, abi.attempt, ... are the job's own fields; executors see a copy, see
		 * struct run */
		abi;
	unsigned refs;
	enum job_state state;
	struct event *event;
	struct script *script;
	uint64_t object; /* event_object(): jobs of one script for one object keep their order */
	uint64_t created_realtime_usec;
	uint64_t not_before_realtime_usec; /* JOB_BACKOFF: when the next attempt is due */
	char executor[EXECUTOR_NAME_SIZE]; /* which runs or ran it, "" before */
	char place[LSN_PLACE_SIZE];
	char *unreadable; /* why the journal cannot read its event or script; NULL: it can */

	/* how it ended: FINISHED and LOST */
	enum lsn_outcome outcome;
	char *message; /* NULL: none */

	/* the journal's */
	bool stored; /* it has a row */
	bool dirty; /* waits for the next commit */
	/* the row of an attempt beyond abi.attempt, if there is one, goes at the next commit */
	bool withdrawn;
	enum job_state stored_state; /* of the row */
	TAILQ_ENTRY(job) marked;
	TAILQ_ENTRY(job) loaded;

	/* the dispatcher's */
	struct lane *lane; /* while it waits, is out or backs off */
	struct run *run; /* its current attempt, while that is out */
	/* attempts that executors have not reported: the current one, and ones given up */
	LIST_HEAD(run_list, run) runs;
	/* the result of its last attempt waits for the commit: the next must not begin before */
	bool settling;
	bool watched; /* its attempt is one that the loop brake knows of */
	bool chased; /* overdue: its executor has been told to cancel */
	unsigned refusals; /* in a row: submits that failed for a passing reason */
	unsigned unbegun; /* in a row: attempts that were handed over and never began, so their executors */
	/* CLOCK_MONOTONIC; BACKOFF: the next attempt; RUNNING: its executor is overdue for good */
	uint64_t due_usec;
	struct {
		TAILQ_ENTRY(job) link;
		struct jobs *list; /* NULL: in none of this kind */
	} in[JOBS_KIND_MAX];
	struct heap_node alarm; /* when it must be looked at: BACKOFF, RUNNING */
	bool alarmed; /* stands in the heap */
	struct table_link by_id;
	struct table_link by_object; /* the first unfinished job of a script for an object */
	struct job *later; /* the next one for the same object */
};

/* job_new - state QUEUED, attempt 0, created now, ABI part filled but for the descriptors (-1);
 * one reference for the caller; takes references of EVENT and SCRIPT.
 * 0, -ENOMEM. */
int job_new(uint64_t id, struct event *event, struct script *script, struct job **ret);
struct job *job_ref(struct job *job);
struct job *job_unref(struct job *job); /* NULL is allowed; returns NULL */

/* job_set_state - checks the move against the table (a forbidden move is our own mistake:
 * assert), logs "old -> new" at debug level. */
void job_set_state(struct job *job, enum job_state state);

/* job_set_end - remember OUTCOME and MESSAGE ("": none) for the job's row.
 * Without memory the message is left out. */
void job_set_end(struct job *job, enum lsn_outcome outcome, const char *message);

/* job_say_result - for the job's row: RESULT's message; for a failure without one the last line of
 * stderr, as far as that was captured. */
void job_say_result(const struct lsn_result *result, char ret[LSN_MESSAGE_SIZE]);

/* job_result_new - a copy of RESULT and its output; the caller's to free().
 * 0, -ENOMEM. */
int job_result_new(const struct lsn_result *result, struct job_result **ret);

/* jobs_init - an empty list. */
void jobs_init(struct jobs *jobs, enum jobs_kind kind);

/* jobs_add - JOB, which is in no list of the kind, at the end. */
void jobs_add(struct jobs *jobs, struct job *job);

/* jobs_insert - likewise at its place by id. */
void jobs_insert(struct jobs *jobs, struct job *job);

/* jobs_take - JOB out of the list of KIND that it is in, if any. */
void jobs_take(struct job *job, enum jobs_kind kind);

static inline struct job *jobs_first(const struct jobs *jobs) { return TAILQ_FIRST(&jobs->list); }
static inline bool job_is_in(const struct job *job, const struct jobs *jobs)
{
	return job->in[jobs->kind].list == jobs;
}

/* JOBS_FOREACH - the list must not change meanwhile. */
#define JOBS_FOREACH(job, jobs) TAILQ_FOREACH (job, &(jobs)->list, in[(jobs)->kind].link)

#endif
