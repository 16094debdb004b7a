/* dispatcher_end.c - the ending half of the dispatcher: what an outcome means for a job, further
 * attempts, cancel, jobs that never report, and jobs that an earlier daemon left behind. */
#include "dispatcher_private.h"
#include "executors.h"
#include "failpoint.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "script.h"
#include "util.h"
#include <errno.h>
#include <string.h>

#define OVERDUE_CHECK_USEC (5 * USEC_PER_SEC)
/* past its time limit an executor is asked to cancel a job that it did not report */
#define OVERDUE_CANCEL_USEC (30 * USEC_PER_SEC)
#define OVERDUE_LOST_USEC (60 * USEC_PER_SEC) /* ... and past this it is given up */

int dispatcher_forget_later(struct dispatcher *d, const struct job *job)
{
	if (d->forget_count == d->forget_size) {
		size_t size = d->forget_size ? 2 * d->forget_size : 64;
		struct forget *more = reallocarray(d->forgets, size, sizeof *more);
		if (!more)
			return -ENOMEM;
		d->forgets = more;
		d->forget_size = size;
	}
	struct forget *forget = &d->forgets[d->forget_count++];
	forget->job = job->abi.id;
	memcpy(forget->executor, job->executor, sizeof forget->executor);
	memcpy(forget->place, job->place, sizeof forget->place);
	return 0;
}

/* ------------------------------------------------------------------------------------- back-off */

static void arm_backoff(struct dispatcher *d);

static int on_backoff(sd_event_source *source, uint64_t usec, void *data)
{
	struct dispatcher *d = data;
	uint64_t now = now_realtime_usec();
	struct job *job, *next;

	(void)source;
	(void)usec;
	for (job = TAILQ_FIRST(&d->backoff); job; job = next) {
		next = TAILQ_NEXT(job, queue);
		if (job->not_before_realtime_usec > now)
			continue;
		TAILQ_REMOVE(&d->backoff, job, queue);
		struct lane *lane = dispatcher_lane(d, job->script->name);
		TAILQ_REMOVE(&lane->active, job, active);
		dispatcher_requeue(d, job);
	}
	arm_backoff(d);
	return 0;
}

static void arm_backoff(struct dispatcher *d)
{
	uint64_t first = UINT64_MAX, now = now_realtime_usec();
	struct job *job;

	TAILQ_FOREACH (job, &d->backoff, queue)
		if (job->not_before_realtime_usec < first)
			first = job->not_before_realtime_usec;
	if (first == UINT64_MAX)
		return;
	uint64_t due = now_monotonic_usec() + (first > now ? first - now : 0);
	if (!d->backoff_timer)
		(void)sd_event_add_time(d->loop, &d->backoff_timer, CLOCK_MONOTONIC, due, 0, on_backoff, d);
	else
		(void)sd_event_source_set_time(d->backoff_timer, due);
	if (d->backoff_timer)
		(void)sd_event_source_set_enabled(d->backoff_timer, SD_EVENT_ONESHOT);
	else
		log_error("out of memory for the back-off timer: attempts wait for a restart");
}

static uint64_t retry_delay(const struct dispatcher *d, const struct job *job)
{
	unsigned shift = job->abi.attempt > 1 ? job->abi.attempt - 1 : 0;
	uint64_t delay = job->script->settings.retry_delay_usec << (shift > 20 ? 20 : shift),
		 max = d->config->retry_delay_max_usec;

	return max > 0 && delay > max ? max : delay;
}

void dispatcher_wait(struct dispatcher *d, struct lane *lane, struct job *job)
{
	TAILQ_INSERT_TAIL(&lane->active, job, active);
	TAILQ_INSERT_TAIL(&d->backoff, job, queue);
	arm_backoff(d);
}

static void back_off(struct dispatcher *d, struct job *job)
{
	job->not_before_realtime_usec = now_realtime_usec() + retry_delay(d, job);
	job_set_state(job, JOB_BACKOFF);
	journal_put_job(d->journal, job);
	dispatcher_wait(d, dispatcher_lane(d, job->script->name), job);
}

/* ----------------------------------------------------------------------------------------- ends */

static void close_job(struct dispatcher *d, struct job *job, enum job_state state)
{
	job_set_state(job, state);
	journal_put_job(d->journal, job);
	log_line(state == JOB_LOST ? LSN_LOG_WARNING : LSN_LOG_INFO,
		 "job=%llu event=%llu script=%s executor=%s attempt=%u outcome=%s duration=%.3fs%s%s",
		 (unsigned long long)job->abi.id, (unsigned long long)job->abi.event, job->script->name, job->executor,
		 job->abi.attempt, outcome_names[job->result->r.outcome], (double)job->result->r.duration_usec / 1e6,
		 job->result->r.message[0] ? " message=" : "", job->result->r.message);
	job_unref(job);
}

static bool may_retry(const struct job *job, uint32_t outcome)
{
	return job->abi.attempt <= job->script->settings.retries &&
	       (job->script->settings.retry_on & (UINT32_C(1) << outcome));
}

static bool wants_rerun(const struct dispatcher *d, const struct job *job)
{
	enum on_lost on_lost = job->script->settings.on_lost;
	const struct executor *executor = on_lost == ON_LOST_EXECUTOR ? executors_find(d->executors, job->executor)
								      : NULL;

	return executor ? executor_get_config(executor)->on_lost == ON_LOST_RERUN : on_lost == ON_LOST_RERUN;
}

void dispatcher_end(struct dispatcher *d, struct job *job, const struct lsn_result *result)
{
	struct lane *lane = dispatcher_lane(d, job->script->name);
	uint32_t outcome = result->outcome < LSN_OUTCOME_MAX ? result->outcome : LSN_OUTCOME_ERROR;

	if (outcome == LSN_OUTCOME_NOT_STARTED) {
		job->abi.attempt -= job->abi.attempt > 0;
		if (job->place[0] && dispatcher_forget_later(d, job) < 0)
			log_error("out of memory: executor=%s keeps a place for job=%llu", job->executor,
				  (unsigned long long)job->abi.id);
		dispatcher_requeue(d, job);
		return;
	}
	d->ended++;
	if (job_set_result(job, result) < 0) {
		log_error("out of memory for the output of job=%llu, recording the outcome only",
			  (unsigned long long)job->abi.id);
		struct lsn_result bare = *result;
		bare.out = bare.err = NULL;
		bare.out_size = bare.err_size = 0;
		bare.out_truncated = bare.err_truncated = 1;
		if (job_set_result(job, &bare) < 0)
			/* a few hundred bytes: the journal still says "running", the next daemon
			 * recovers it */
			abort();
	}
	if (job->place[0] && dispatcher_forget_later(d, job) < 0)
		log_error("out of memory: executor=%s keeps the result of job=%llu", job->executor,
			  (unsigned long long)job->abi.id);
	failpoint("after-result");
	if (outcome == LSN_OUTCOME_LOST && wants_rerun(d, job))
		dispatcher_requeue(d, job);
	else if (may_retry(job, outcome))
		back_off(d, job);
	else
		close_job(d, job, outcome == LSN_OUTCOME_LOST ? JOB_LOST : JOB_FINISHED);
	dispatcher_wake(d, lane);
}

void dispatcher_end_with(struct dispatcher *d, struct job *job, enum lsn_outcome outcome, const char *message)
{
	struct lsn_result result = { .version = LSN_ABI_VERSION, .size = sizeof result, .outcome = outcome };

	result.started_realtime_usec = job->abi.started_realtime_usec;
	(void)snprintf(result.message, sizeof result.message, "%s", message);
	dispatcher_end(d, job, &result);
}

void dispatcher_done(void *dispatcher, struct executor *executor, struct job *job, const struct lsn_result *result)
{
	struct dispatcher *d = dispatcher;

	if (job->state == JOB_LOST) { /* given up as overdue */
		log_warning("executor=%s reported job=%llu after it was given up, ignoring", executor_name(executor),
			    (unsigned long long)job->abi.id);
		job_unref(job);
		return;
	}
	dispatcher_leave(d, job);
	dispatcher_end(d, job, result);
	/* A place became free; lanes that wait for one are asked again even if the executor does
	 * not say so. */
	if (!TAILQ_EMPTY(&d->stalled))
		dispatcher_ready(d, executor);
}

/* -------------------------------------------------------------------------------------- overdue */

static void give_up(struct dispatcher *d, struct job *job)
{
	log_error("executor=%s did not report job=%llu a minute after its time limit: giving it up as lost. The "
		  "executor is faulty.",
		  job->executor, (unsigned long long)job->abi.id);
	dispatcher_leave(d, job);
	(void)job_ref(job); /* the executor may still hold its address */
	dispatcher_end_with(d, job, LSN_OUTCOME_LOST, "the executor did not report the end of the job");
}

/* job_chase - deal with one overdue job of LANE. True: one was; the lists may have changed under us. */
static bool job_chase(struct dispatcher *d, struct lane *lane, uint64_t now)
{
	struct job *job;

	TAILQ_FOREACH (job, &lane->active, active) {
		uint64_t limit = job->abi.started_realtime_usec + job->abi.timeout_usec;
		if (job->state != JOB_RUNNING || !job->abi.started_realtime_usec || now <= limit + OVERDUE_CANCEL_USEC)
			continue;
		if (now > limit + OVERDUE_LOST_USEC) {
			give_up(d, job);
			return true;
		}
		if (job->instance && !job->chased) {
			job->chased = true;
			executor_cancel(job->instance, job);
			return true;
		}
	}
	return false;
}

static int on_job_overdue(sd_event_source *source, uint64_t usec, void *data)
{
	struct dispatcher *d = data;
	uint64_t now = now_realtime_usec();
	struct lane *lane;

	(void)source;
	(void)usec;
	TAILQ_FOREACH (lane, &d->lanes, all)
		while (job_chase(d, lane, now))
			;
	if (d->running > 0)
		dispatcher_arm_overdue(d);
	return 0;
}

void dispatcher_arm_overdue(struct dispatcher *d)
{
	int enabled = SD_EVENT_OFF;

	if (d->overdue_timer && sd_event_source_get_enabled(d->overdue_timer, &enabled) > 0)
		return;
	if (!d->overdue_timer)
		(void)sd_event_add_time_relative(d->loop, &d->overdue_timer, CLOCK_MONOTONIC, OVERDUE_CHECK_USEC,
						 USEC_PER_SEC, on_job_overdue, d);
	else
		(void)sd_event_source_set_time_relative(d->overdue_timer, OVERDUE_CHECK_USEC);
	if (d->overdue_timer)
		(void)sd_event_source_set_enabled(d->overdue_timer, SD_EVENT_ONESHOT);
}

/* ------------------------------------------------------------------------------ after a restart */

static void recover_one(void *data, struct job *job)
{
	struct dispatcher *d = data;
	struct lane *lane = dispatcher_lane(d, job->script->name);
	struct executor *executor = d->executors ? executors_find(d->executors, job->executor) : NULL;
	struct lsn_error err = { 0 };

	if (!lane)
		abort(); /* no memory at start: the next start tries again */
	TAILQ_INSERT_TAIL(&lane->active, job, active);
	lane->running++;
	d->running++;
	int r = executor ? executor_recover(executor, job, &err)
			 : lsn_error_set(&err, -ENOENT, "its executor is no longer configured: it cannot be asked");
	if (r >= 0) {
		job_set_state(job, JOB_RUNNING);
		return;
	}
	dispatcher_leave(d, job);
	dispatcher_end_with(d, job, LSN_OUTCOME_LOST,
			    r == -ENOSYS ? "the daemon died while it ran, and its executor cannot tell how it ended"
					 : err.message);
}

static void found_waiting(void *data, const char *script, uint64_t jobs)
{
	struct dispatcher *d = data;
	struct lane *lane = dispatcher_lane(d, script);

	if (!lane)
		abort();
	lane->spilled = jobs;
	d->spilling = true;
	dispatcher_wake(d, lane);
}

int dispatcher_recover(struct dispatcher *d, struct lsn_error *err)
{
	int r = journal_load_running(d->journal, recover_one, d, err);

	if (r >= 0)
		r = journal_list_waiting(d->journal, found_waiting, d, err);
	if (d->running > 0)
		dispatcher_arm_overdue(d);
	return r;
}

/* ------------------------------------------------------------------------ on an operator's word */

static struct job *find_in_memory(struct dispatcher *d, uint64_t id, struct lane **ret_lane)
{
	struct lane *lane;
	struct job *job;

	TAILQ_FOREACH (lane, &d->lanes, all) {
		*ret_lane = lane;
		TAILQ_FOREACH (job, &lane->active, active)
			if (job->abi.id == id)
				return job;
		TAILQ_FOREACH (job, &lane->queue, queue)
			if (job->abi.id == id)
				return job;
	}
	return NULL;
}

int dispatcher_retry(struct dispatcher *d, uint64_t id, struct lsn_error *err)
{
	struct lane *lane;
	struct job *job;

	if (find_in_memory(d, id, &lane))
		return lsn_error_set(err, -EBUSY, "job %llu has not ended: nothing to retry", (unsigned long long)id);
	int r = journal_load_job(d->journal, id, &job, err);
	if (r < 0)
		return r;
	if (job->state != JOB_FINISHED && job->state != JOB_LOST) {
		job_unref(job);
		return lsn_error_set(err, -EBUSY, "job %llu is waiting for its turn: nothing to retry",
				     (unsigned long long)id);
	}
	if (job->result && job->result->r.outcome == LSN_OUTCOME_SUCCESS) {
		job_unref(job);
		return lsn_error_set(err, -EINVAL, "job %llu succeeded: nothing to retry; replay makes a new job of it",
				     (unsigned long long)id);
	}
	if (!dispatcher_lane(d, job->script->name)) {
		job_unref(job);
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	dispatcher_requeue(d, job);
	return 0;
}

static int cancel_running(struct job *job, struct lsn_error *err)
{
	const struct lsn_executor_module *module = job->instance ? executor_module(job->instance) : NULL;

	if (!module || !module->cancel)
		return lsn_error_set(err, -EOPNOTSUPP, "executor %s cannot cancel jobs", job->executor);
	executor_cancel(job->instance, job);
	return 0;
}

int dispatcher_cancel(struct dispatcher *d, uint64_t id, struct lsn_error *err)
{
	struct lane *lane;
	struct job *job = find_in_memory(d, id, &lane);

	if (job && (job->state == JOB_RUNNING || job->state == JOB_RECOVERING))
		return cancel_running(job, err);
	if (job && job->state == JOB_STARTING)
		return lsn_error_set(err, -EBUSY, "job %llu is being started: try again", (unsigned long long)id);
	if (job && job->state == JOB_BACKOFF) {
		TAILQ_REMOVE(&d->backoff, job, queue);
		TAILQ_REMOVE(&lane->active, job, active);
		job_set_state(job, JOB_QUEUED);
	} else if (job) {
		lane_remove(lane, job);
	} else {
		int r = journal_load_job(d->journal, id, &job, err);
		if (r < 0)
			return r;
		if (job->state == JOB_FINISHED || job->state == JOB_LOST) {
			job_unref(job);
			return lsn_error_set(err, -EALREADY, "job %llu has ended already", (unsigned long long)id);
		}
		if (!dispatcher_lane(d, job->script->name)) {
			job_unref(job);
			return lsn_error_set(err, -ENOMEM, "out of memory");
		}
	}
	dispatcher_end_with(d, job, LSN_OUTCOME_CANCELLED, "cancelled by an operator before it started");
	return 0;
}
