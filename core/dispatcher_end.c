/* dispatcher_end.c - what an attempt came to and what becomes of its job: recorded, tried again,
 * ended; reports that come late, and ones that do not come. */
#include "dispatcher_private.h"
#include "event.h"
#include "executors.h"
#include "failpoint.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "script.h"
#include "util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LATE_NOTE "reported after it had been given up as lost"
#define UNBEGUN_MAX 6 /* attempts in a row that may be said not to have begun */

void dispatcher_begun(struct job *job, struct run *run)
{
	job->run = run;
	LIST_INSERT_HEAD(&job->runs, run, of_job);
}

void dispatcher_unbegun(struct job *job)
{
	LIST_REMOVE(job->run, of_job);
	job->run = NULL;
}

/* ----------------------------------------------------------------------------------------- ends */

static void job_close(struct dispatcher *d, struct job *job, enum lsn_outcome outcome, const char *message)
{
	job_set_end(job, outcome, message);
	dispatcher_set(d, job, outcome == LSN_OUTCOME_LOST ? JOB_LOST : JOB_FINISHED);
}

void dispatcher_close(struct dispatcher *d, struct job *job, enum lsn_outcome outcome, const char *message)
{
	log_info("job=%" PRIu64 " event=%" PRIu64 " script=%s outcome=%s message=%s", job->abi.id, job->abi.event,
		 job->script->name, outcome_names[outcome], message);
	job_close(d, job, outcome, message);
}

static bool may_retry(const struct job *job, uint32_t outcome)
{
	return job->abi.attempt <= job->script->settings.retries &&
	       (job->script->settings.retry_on & (UINT32_C(1) << outcome));
}

static bool wants_rerun(const struct dispatcher *d, const struct job *job)
{
	enum on_lost on_lost = job->script->settings.on_lost;
	const struct executor *executor =
		on_lost == ON_LOST_EXECUTOR && d->executors ? executors_find(d->executors, job->executor) : NULL;

	return executor ? executor_get_config(executor)->on_lost == ON_LOST_RERUN : on_lost == ON_LOST_RERUN;
}

uint64_t dispatcher_retry_delay(const struct dispatcher *d, const struct job *job)
{
	unsigned shift = job->abi.attempt > 1 ? job->abi.attempt - 1 : 0;
	uint64_t delay = job->script->settings.retry_delay_usec << (shift > 20 ? 20 : shift),
		 max = d->config->retry_delay_max_usec;

	return max > 0 && delay > max ? max : delay;
}

static void back_off(struct dispatcher *d, struct job *job)
{
	uint64_t delay = dispatcher_retry_delay(d, job);

	job->due_usec = now_monotonic_usec() + delay;
	/* for a daemon that comes after us */
	job->not_before_realtime_usec = now_realtime_usec() + delay;
	dispatcher_set(d, job, JOB_BACKOFF);
}

/* decide - JOB's last attempt came to RESULT, which is recorded. */
static void decide(struct dispatcher *d, struct job *job, const struct lsn_result *result)
{
	job->settling = true;
	if (result->outcome == LSN_OUTCOME_LOST && wants_rerun(d, job)) {
		dispatcher_set(d, job, JOB_QUEUED);
	} else if (may_retry(job, result->outcome)) {
		back_off(d, job);
	} else {
		job->settling = false;
		log_line(result->outcome == LSN_OUTCOME_LOST ? LSN_LOG_WARNING : LSN_LOG_INFO,
			 "job=%" PRIu64 " event=%" PRIu64
			 " script=%s executor=%s attempt=%u outcome=%s duration=%.3fs%s%s",
			 job->abi.id, job->abi.event, job->script->name, job->executor, job->abi.attempt,
			 outcome_names[result->outcome], (double)result->duration_usec / 1e6,
			 result->message[0] ? " message=" : "", result->message);
		char message[LSN_MESSAGE_SIZE];
		job_say_result(result, message);
		job_close(d, job, result->outcome, message);
	}
}

/* record - for the row of ATTEMPT. */
static void record(struct dispatcher *d, const struct job *job, unsigned attempt, const char *executor,
		   const char *place, const struct lsn_result *result)
{
	struct job_result *copy;
	struct lsn_result bare = *result;

	bare.out = bare.err = NULL;
	bare.out_size = bare.err_size = 0;
	if (job->script->settings.output == OUTPUT_FAILURES && result->outcome == LSN_OUTCOME_SUCCESS) {
		bare.out_truncated = bare.err_truncated = 0;
		result = &bare;
	}
	if (job_result_new(result, &copy) < 0) {
		log_error("out of memory for the output of job=%" PRIu64 ", recording the outcome only", job->abi.id);
		bare.out_truncated = bare.err_truncated = 1;
		if (job_result_new(&bare, &copy) < 0)
			/* a few hundred bytes: the journal still says "running", the next daemon
			 * recovers it */
			abort();
	}
	copy->job = job->abi.id;
	copy->attempt = attempt;
	(void)snprintf(copy->executor, sizeof copy->executor, "%s", executor);
	(void)snprintf(copy->place, sizeof copy->place, "%s", place);
	journal_put_result(d->journal, copy);
}

/* not_started - the attempt never began: its number is free again. */
static void not_started(struct dispatcher *d, struct job *job)
{
	struct lane *lane = job->lane;

	job->abi.attempt -= job->abi.attempt > 0;
	job->withdrawn = true;
	/* its place is told to forget after the commit, and only then may be used again */
	job->settling = true;
	dispatcher_set(d, job, JOB_QUEUED);
	job->refusals = job->unbegun - 1; /* the first may go on at once */
	if (lane && job->refusals > 0)
		dispatcher_pause(d, lane, job, "the executor reports that the attempt never began");
}

/* never_starts - too often in a row: who says so may be wrong, or not be whom we take it for. The
 * job must not run again and again on its word. */
static void never_starts(struct dispatcher *d, struct job *job, const struct lsn_result *report)
{
	char message[sizeof report->message];

	(void)snprintf(message, sizeof message, "%u attempts in a row never began; the last: %.150s", job->unbegun,
		       report->message);
	dispatcher_attempt_failed(d, job, LSN_OUTCOME_ERROR, message);
}

void dispatcher_attempt_ended(struct dispatcher *d, struct job *job, const struct lsn_result *result)
{
	if (result->outcome == LSN_OUTCOME_NOT_STARTED) {
		if (++job->unbegun < UNBEGUN_MAX)
			not_started(d, job);
		else
			never_starts(d, job, result);
		return;
	}
	job->unbegun = 0;
	d->ended++;
	tally_ended(&d->tally, job->lane->tally, job->executor, job->abi.id, result);
	record(d, job, job->abi.attempt, job->executor, job->place, result);
	failpoint("after-result");
	decide(d, job, result);
}

void dispatcher_attempt_failed(struct dispatcher *d, struct job *job, enum lsn_outcome outcome, const char *message)
{
	struct lsn_result result = { .version = LSN_ABI_VERSION, .size = sizeof result, .outcome = outcome };

	result.started_realtime_usec = job->abi.started_realtime_usec;
	(void)snprintf(result.message, sizeof result.message, "%s", message);
	utf8_trim(result.message);
	dispatcher_attempt_ended(d, job, &result);
}

/* -------------------------------------------------------------------------------------- reports */

/* withdraw_next - JOB's next attempt is reserved but not submitted: it is not wanted any more. */
static void withdraw_next(struct job *job)
{
	struct run *next = job->run;

	dispatcher_unbegun(job);
	executor_release(next);
	job->abi.attempt--;
	job->withdrawn = true;
}

/* is_open - what the last attempt came to is not known otherwise. */
static bool is_open(const struct job *job)
{
	return job->state == JOB_QUEUED || job->state == JOB_BACKOFF || job->state == JOB_STARTING ||
	       job->state == JOB_LOST;
}

/* report_late - RUN was given up as lost, and is reported after all. */
static void report_late(struct dispatcher *d, struct run *run, const struct lsn_result *result)
{
	struct job *job = run->job;
	struct lsn_result noted = *result;

	log_warning("executor=%s reported job=%" PRIu64 " attempt=%u after it was given up: %s",
		    executor_name(run->executor), job->abi.id, run->abi.attempt, outcome_names[result->outcome]);
	if (result->outcome == LSN_OUTCOME_LOST || result->outcome == LSN_OUTCOME_NOT_STARTED)
		return; /* nothing that would not have been done already */
	if (!noted.message[0])
		(void)snprintf(noted.message, sizeof noted.message, "%s", LATE_NOTE);
	record(d, job, run->abi.attempt, executor_name(run->executor), run->place, &noted);
	if (job->state == JOB_STARTING && job->abi.attempt == run->abi.attempt + 1)
		withdraw_next(job);
	if (job->abi.attempt != run->abi.attempt || !is_open(job)) {
		d->hooks.turn(d->hooks.data);
		return; /* a further attempt has been submitted, and counts */
	}
	(void)snprintf(job->executor, sizeof job->executor, "%s", executor_name(run->executor));
	memcpy(job->place, run->place, sizeof job->place);
	decide(d, job, &noted);
}

void dispatcher_done(void *dispatcher, struct run *run, const struct lsn_result *result)
{
	struct dispatcher *d = dispatcher;
	struct job *job = run->job;

	TAILQ_INSERT_TAIL(&d->reported, run, reported);
	if (job->run == run) {
		dispatcher_unbegun(job);
		dispatcher_attempt_ended(d, job, result);
	} else {
		LIST_REMOVE(run, of_job);
		report_late(d, run, result);
		if (job_is_in(job, &d->owed) && LIST_EMPTY(&job->runs)) { /* nothing more to come */
			jobs_take(job, JOBS_STAGE);
			jobs_add(&d->leaving, job);
		}
	}
	/* A place and descriptors are free; who waits for them is asked again even if the
	 * executor does not say so. */
	(void)dispatcher_ready_for(d, run->executor, NULL);
	dispatcher_shortage_over(d);
}

/* -------------------------------------------------------------------------------------- what is due */

void dispatcher_watch(struct dispatcher *d, struct job *job)
{
	uint64_t grace = executor_grace_usec(job->run);
	uint64_t limit = usec_add(now_monotonic_usec(), job->abi.timeout_usec);

	job->chased = false;
	job->due_usec = grace == LSN_NEVER ? LSN_NEVER : usec_add(limit, grace);
	dispatcher_alarm(d, job, grace == LSN_NEVER ? LSN_NEVER : usec_add(limit, grace / 2));
}

static void give_up(struct dispatcher *d, struct job *job)
{
	log_error("executor=%s did not report job=%" PRIu64
		  " within the time it may take after the job's limit: giving this attempt up as lost",
		  job->executor, job->abi.id);
	job->run = NULL; /* stays in job->runs */
	dispatcher_attempt_failed(d, job, LSN_OUTCOME_LOST, "the executor did not report the end of the job");
}

static void job_chase(struct dispatcher *d, struct job *job)
{
	if (job->chased) {
		give_up(d, job);
		return;
	}
	job->chased = true;
	dispatcher_alarm(d, job, job->due_usec);
	executor_cancel(job->run);
}

void dispatcher_ring(struct dispatcher *d, uint64_t now_usec)
{
	struct heap_node *node;

	while ((node = heap_first(&d->alarms)) && node->key <= now_usec) {
		struct job *job = container_of(node, struct job, alarm);
		dispatcher_alarm(d, job, LSN_NEVER);
		if (job->state == JOB_BACKOFF)
			dispatcher_set(d, job, JOB_QUEUED);
		else
			job_chase(d, job);
	}
}
