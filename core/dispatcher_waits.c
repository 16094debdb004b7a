/* dispatcher_waits.c - what a job waits for, worked out when somebody asks. */
#include "dispatcher_private.h"
#include "executors.h"
#include "hold.h"
#include "job.h"
#include "util.h"

#include <inttypes.h>
#include <string.h>

const char *const wait_reason_names[WAIT_REASON_MAX] = {
	[WAIT_NOTHING] = "nothing",
	[WAIT_HELD] = "held",
	[WAIT_ORDER] = "order",
	[WAIT_BACKOFF] = "backoff",
	[WAIT_RATE] = "rate",
	[WAIT_LOOP_BRAKE] = "loop-brake",
	[WAIT_SCRIPT_LIMIT] = "script-limit",
	[WAIT_LIMIT] = "limit",
	[WAIT_EXECUTOR_MISSING] = "executor-missing",
	[WAIT_EXECUTOR_DOWN] = "executor-down",
	[WAIT_EXECUTOR_FULL] = "executor-full",
	[WAIT_SHORTAGE] = "shortage",
	[WAIT_STOPPED] = "stopped",
};

static void wait_set(struct wait *wait, enum wait_reason reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void wait_set(struct wait *wait, enum wait_reason reason, const char *format, ...)
{
	va_list ap;

	wait->reason = reason;
	va_start(ap, format);
	(void)vsnprintf(wait->text, sizeof wait->text, format, ap);
	va_end(ap);
	utf8_trim(wait->text);
}

static struct executor *wait_executor(const struct dispatcher *d, const char *name)
{
	struct executor *executor = d->executors ? executors_find(d->executors, name) : NULL;

	return executor && !executor_draining(executor) ? executor : NULL;
}

/* wait_if_held - a hold keeps such a job of SCRIPT about OBJECT. */
static bool wait_if_held(const struct dispatcher *d, const char *script, uint64_t object, struct wait *wait)
{
	const struct hold *hold = holds_find(&d->holds, script, wait->executor, object);
	char text[HOLD_TEXT_SIZE];

	if (!hold)
		return false;
	hold_tell(hold, text);
	wait->hold = hold->id;
	wait_set(wait, WAIT_HELD, "%s", text);
	return true;
}

/* wait_if_down - the executor NAME runs no jobs: say why. */
static bool wait_if_down(const struct dispatcher *d, const char *name, struct wait *wait)
{
	struct executor *executor = wait_executor(d, name);

	if (!executor) {
		wait_set(wait, WAIT_EXECUTOR_MISSING, "executor '%s' is not configured", name);
		return true;
	}
	const struct executor_health *health = executor_get_health(executor);
	if (health->problem[0])
		wait_set(wait, WAIT_EXECUTOR_DOWN, "executor %s runs nothing: %s", name, health->problem);
	return health->problem[0];
}

/* wait_if_limit - LANE (NULL: none yet) or all jobs have reached their limit. */
static bool wait_if_limit(const struct dispatcher *d, const struct lane *lane, struct wait *wait)
{
	unsigned running = dispatcher_running(d);

	if (lane && lane->out.length >= d->config->per_script_max) {
		wait_set(wait, WAIT_SCRIPT_LIMIT, "%u of %u jobs of the script run, see [dispatcher] per_script",
			 lane->out.length, d->config->per_script_max);
		return true;
	}
	if (running < d->config->running_max)
		return false;
	wait_set(wait, WAIT_LIMIT, "%u of %u jobs of all scripts run, see [dispatcher] max_running", running,
		 d->config->running_max);
	return true;
}

/* wait_full - LANE's executor, which has no problem, has refused a place. */
static void wait_full(const struct dispatcher *d, const struct lane *lane, struct wait *wait)
{
	const char *name = lane->stalled_for;
	struct executor *executor = wait_executor(d, name);
	const struct executor_health *health = executor_get_health(executor);
	unsigned running = executor_running(executor), most = executor_get_config(executor)->concurrency;

	if (most > 0 && running >= most)
		wait_set(wait, WAIT_EXECUTOR_FULL, "%u of %u places of executor %s are in use", running, most, name);
	else if (health->pool[0])
		wait_set(wait, WAIT_EXECUTOR_FULL, "executor %s has no place free, %u jobs run (%s)", name, running,
			 health->pool);
	else
		wait_set(wait, WAIT_EXECUTOR_FULL, "executor %s has no place free, %u jobs run%s%s", name, running,
			 lane->refusal[0] ? ": " : "", lane->refusal);
}

/* wait_for_executor - NAME has refused LANE (NULL: none yet), or is asked next. */
static void wait_for_executor(const struct dispatcher *d, const struct lane *lane, const char *name, struct wait *wait)
{
	size_t used;

	if (wait_if_down(d, name, wait))
		;
	else if (lane && lane->where == LANE_STALLED)
		wait_full(d, lane, wait);
	else if (lane && lane->where == LANE_PAUSED)
		wait_set(wait, WAIT_SHORTAGE, "the start did not succeed and is tried again soon: %s", lane->refusal);
	if (streq(name, wait->executor))
		return;
	used = strlen(wait->text);
	(void)snprintf(wait->text + used, sizeof wait->text - used, "; an earlier job of the script waits for it");
	utf8_trim(wait->text);
}

/* wait_if_rated - the rate of LANE's script is used up. */
static bool wait_if_rated(const struct lane *lane, struct wait *wait)
{
	uint64_t now = now_monotonic_usec();

	if (!lane || lane->where != LANE_RATED)
		return false;
	wait_set(wait, WAIT_RATE, "the script's rate is used up; the next one starts in %.1f s, see rate and rate_max",
		 lane->rate_usec > now ? (double)(lane->rate_usec - now) / (double)USEC_PER_SEC : 0.0);
	return true;
}

/* wait_if_braked - about OBJECT. */
static bool wait_if_braked(const struct dispatcher *d, uint64_t object, struct wait *wait)
{
	if (!loop_brake_blocks(&d->brake, object))
		return false;
	wait_set(wait, WAIT_LOOP_BRAKE,
		 "events about this object came while scripts ran on it; it starts after a pause, unless scripts cause "
		 "these events");
	return true;
}

/* wait_for_place - LANE (NULL: none yet) has a job that could start. */
static void wait_for_place(const struct dispatcher *d, const struct lane *lane, struct wait *wait)
{
	const char *name = lane && lane->where == LANE_STALLED ? lane->stalled_for : wait->executor;

	if (d->stopped)
		wait_set(wait, WAIT_STOPPED, "the daemon is stopping and starts nothing more");
	else if (wait_if_rated(lane, wait))
		return;
	else if (wait_if_limit(d, lane, wait))
		return;
	else if (*name)
		wait_for_executor(d, lane, name, wait);
	else
		wait_set(wait, WAIT_NOTHING, "it waits in the journal, behind earlier jobs of the script");
}

/* wait_for_earlier - FIRST, of the same object, comes first: what about that one? */
static void wait_for_earlier(const struct dispatcher *d, const struct lane *lane, const struct job *first,
			     struct wait *wait)
{
	struct wait its = { 0 };

	memcpy(its.executor, wait->executor, sizeof its.executor);
	if (first->state == JOB_QUEUED && job_is_in(first, &lane->startable))
		wait_for_place(d, lane, &its);
	wait->earlier = first->abi.id;
	wait_set(wait, WAIT_ORDER,
		 "job %" PRIu64 " of the script is about the same object and comes first (%s%s%.300s)", first->abi.id,
		 job_state_names[first->state == JOB_STARTING ? JOB_RUNNING : first->state], its.text[0] ? ": " : "",
		 its.text);
}

static void wait_in_backoff(const struct job *job, struct wait *wait)
{
	uint64_t now = now_realtime_usec(), due = job->not_before_realtime_usec;

	wait_set(wait, WAIT_BACKOFF, "attempt %u ended without success; the next is due in %.1f s", job->abi.attempt,
		 due > now ? (double)(due - now) / (double)USEC_PER_SEC : 0.0);
}

/* lane_executor - the one that JOB (NULL: it is in the journal only) is for, as far as memory
 * knows; "". */
static const char *lane_executor(const struct dispatcher *d, const struct lane *lane, const struct job *job)
{
	const struct job *any = job ? job : jobs_first(&lane->queue);

	return any ? dispatcher_executor_for(d->config, any->script) : lane->stalled_for;
}

void dispatcher_get_wait(const struct dispatcher *d, const char *script, uint64_t id, uint64_t object, struct wait *ret)
{
	const struct lane *lane = dispatcher_find_lane(d, script);
	const struct job *job = dispatcher_find(d, id);

	*ret = (struct wait){ .reason = WAIT_NOTHING };
	if (!lane || (job && job->state != JOB_QUEUED && job->state != JOB_BACKOFF))
		return;
	const struct job *first = lane_first(lane, object);
	(void)snprintf(ret->executor, sizeof ret->executor, "%s", lane_executor(d, lane, job));
	if (wait_if_held(d, script, object, ret))
		return;
	if (first && first->abi.id < id)
		wait_for_earlier(d, lane, first, ret);
	else if (job && job->state == JOB_BACKOFF)
		wait_in_backoff(job, ret);
	else if (wait_if_braked(d, object, ret))
		return;
	else if (!job || !job->settling)
		wait_for_place(d, lane, ret);
}

void dispatcher_foresee(const struct dispatcher *d, const struct script *script, uint64_t object, struct wait *ret)
{
	const struct lane *lane = dispatcher_find_lane(d, script->name);
	const struct job *first = lane ? lane_first(lane, object) : NULL;

	*ret = (struct wait){ .reason = WAIT_NOTHING };
	(void)snprintf(ret->executor, sizeof ret->executor, "%s", dispatcher_executor_for(d->config, script));
	if (wait_if_held(d, script->name, object, ret))
		return;
	if (first)
		wait_for_earlier(d, lane, first, ret);
	else if (!wait_if_braked(d, object, ret))
		wait_for_place(d, lane, ret);
}

/* -------------------------------------------------------------------------------------- figures */

/* lane_refuser - the executor that has refused LANE's first job; "". */
static const char *lane_refuser(const struct dispatcher *d, const struct lane *lane)
{
	const struct job *job = jobs_first(&lane->startable);

	if (lane->where == LANE_STALLED)
		return lane->stalled_for;
	return lane->where == LANE_PAUSED && job ? dispatcher_executor_for(d->config, job->script) : "";
}

void dispatcher_count_waiting(const struct dispatcher *d, const char *executor, struct dispatcher_waiting *ret)
{
	const struct executor *in_force = wait_executor(d, executor);
	uint64_t worked = in_force ? executor_worked_usec(in_force) : 0;
	const struct lane *lane;
	const struct job *job;

	*ret = (struct dispatcher_waiting){ .refusal = "" };
	TAILQ_FOREACH (lane, &d->lanes, all) {
		uint64_t since = lane->stalled_since > worked ? lane->stalled_since : worked;
		if (!streq(lane_refuser(d, lane), executor))
			continue;
		ret->jobs += lane->queue.length + lane->spilled;
		if (lane->startable.length == 0 || (ret->since_usec && since >= ret->since_usec))
			continue;
		ret->since_usec = since;
		ret->refusal = lane->refusal;
	}
	JOBS_FOREACH(job, &d->running)
	ret->running += job->run && job->run->executor == in_force;
}

void dispatcher_each_storm(const struct dispatcher *d, void (*fn)(void *data, const char *script, uint64_t jobs),
			   void *data)
{
	const struct lane *lane;

	TAILQ_FOREACH (lane, &d->lanes, all) {
		uint64_t jobs = lane->queue.length + lane->spilled;
		if (d->config->storm_warn > 0 && jobs >= d->config->storm_warn)
			fn(data, lane->name, jobs);
	}
}

void dispatcher_each_missing(const struct dispatcher *d, void (*fn)(void *data, const char *executor), void *data)
{
	const struct lane *lane;
	const char *last = "";

	TAILQ_FOREACH (lane, &d->stalled, ring) {
		if (!streq(lane->stalled_for, last) && !wait_executor(d, lane->stalled_for))
			fn(data, lane->stalled_for);
		last = lane->stalled_for;
	}
}
