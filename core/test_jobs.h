/* test_jobs.h - runs for an author who tries a script: through the executor that would run it, in a
 * place like any other, but outside of lanes and journal. What a test job came to is told to whom
 * asked for it, and then forgotten; nothing of it outlives the daemon.
 *
 *     test_jobs_start()    the executor exists and knows test jobs; the job waits
 *     test_jobs_place()    in each turn, before the dispatcher's jobs: a waiting one gets a place
 *                          and is handed over at once, for there is no intent to be committed
 *     test_jobs_done()     the executor reports
 *
 * A test job comes first at a free place, so that a backlog cannot hold it up. How many there are
 * at the same time is bounded.
 *
 * Like the dispatcher this has no timers: time passes in test_jobs_place() alone.
 *
 * Loop thread only. */
#ifndef CORE_TEST_JOBS_H
#define CORE_TEST_JOBS_H

#include "content.h"
#include "event.h"
#include "executors.h"
#include "journal.h"
#include "script.h"

struct test_jobs;
struct test_job;

struct test_jobs_hooks {
	void (*turn)(void *data); /* something changed: have a turn soon */
	void *data;
};

/* How a test job ended. */
struct test_job_end {
	/* NULL: there was no run, or nobody knows how it ended, and ERR says why */
	const struct lsn_result *result;
	const struct lsn_error *err;
	uint64_t job, event; /* the numbers that the script was told */
	uint64_t waited_usec; /* for a place */
	const char *executor, *place; /* "": none */
};
typedef void (*test_job_end_fn)(void *data, const struct test_job_end *end);

struct test_job_order {
	struct script *script; /* borrowed */
	struct event *event; /* borrowed; gets its id; its payload is not looked at */
	struct content *payload, *bytes; /* of the event and of the script; borrowed */
	const char *executor; /* the name of the one that would run it */
	uint64_t wait_usec; /* give up if there is no place for so long */
	unsigned tests_max; /* test jobs at the same time, this one included */
	test_job_end_fn fn;
	void *data;
};

/* JOURNAL gives out numbers, and nothing else. 0, -ENOMEM. */
int test_jobs_new(struct journal *journal, struct executors *executors, const struct test_jobs_hooks *hooks,
		  struct test_jobs **ret);

/* test_jobs_free - the instances of the executors must be gone, or detached.
 * Nobody is told anything. */
void test_jobs_free(struct test_jobs *tests);

/* test_jobs_start - ORDER is copied; its objects are referenced.
 * FN is called once, from the loop and never from in here, unless the job is cancelled before.
 * An executor that has a problem for some seconds ends it, with the problem as the reason.
 * 0 and *RET, valid until then; or with ERR: -EBUSY (too many, or none allowed), -ENOENT (no such
 * executor), -EPROTONOSUPPORT (it knows no test jobs), -ESHUTDOWN, -ENOMEM. */
int test_jobs_start(struct test_jobs *tests, const struct test_job_order *order, struct test_job **ret,
		    struct lsn_error *err);

/* test_job_cancel - nobody wants to know any more: FN is not called. A run is ended. */
void test_job_cancel(struct test_job *test);

/* test_jobs_place - what waits gets a place if there is one; what is due is dealt with. */
void test_jobs_place(struct test_jobs *tests);

/* test_jobs_next_usec - CLOCK_MONOTONIC: when something is due by itself; UINT64_MAX: never. */
uint64_t test_jobs_next_usec(const struct test_jobs *tests);

/* test_jobs_want - does a test job wait for a place of EXECUTOR, for SCRIPT_VERSION (NULL: any)?
 * Then there is a turn soon. */
bool test_jobs_want(struct test_jobs *tests, const struct executor *executor, const char *script_version);

/* test_jobs_done - RUN is reported. False: it is none of a test job. */
bool test_jobs_done(struct test_jobs *tests, struct run *run, const struct lsn_result *result);

/* test_jobs_idle - there are none. */
bool test_jobs_idle(const struct test_jobs *tests);

/* test_jobs_stop - the daemon ends: all are told so, runs are ended, and none starts any more. */
void test_jobs_stop(struct test_jobs *tests);

#endif
