/* dispatcher_jobs.c - which job is where. Its state decides who owns a job in memory:
 *
 *     QUEUED               its lane's queue; or `leaving`, until the journal has it
 *     STARTING             its lane's out, and `starting`
 *     RUNNING, RECOVERING  its lane's out, and `running`
 *     BACKOFF              its lane's backoff, and `alarms`
 *     FINISHED, LOST       `leaving`, then `owed` while an attempt is unreported
 *
 * QUEUED and BACKOFF jobs are in `settling` while the result of their last attempt waits for the
 * commit. What leaves memory does so in dispatcher_flush(), when the journal has it: so a row is
 * never read while memory knows better, and a job is in memory once. */
#include "dispatcher_private.h"
#include "event.h"
#include "executors.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "util.h"

#include <assert.h>
#include <stdlib.h>

/* One turn reads waiting jobs for so long; then others have theirs. */
#define REFILL_USEC (5 * USEC_PER_MSEC)
#define REFILL_RETRY_USEC USEC_PER_SEC

struct job *dispatcher_find(const struct dispatcher *d, uint64_t id)
{
	struct table_link *link = table_find(&d->jobs, id);

	return link ? container_of(link, struct job, by_id) : NULL;
}

static void job_drop(struct dispatcher *d, struct job *job)
{
	table_remove(&d->jobs, &job->by_id);
	(void)job_unref(job);
}

void dispatcher_alarm(struct dispatcher *d, struct job *job, uint64_t usec)
{
	if (job->alarmed)
		heap_remove(&d->alarms, &job->alarm);
	job->alarmed = usec != LSN_NEVER;
	if (job->alarmed)
		heap_insert(&d->alarms, &job->alarm, usec);
}

void dispatcher_set_spilled(struct dispatcher *d, struct lane *lane, uint64_t count)
{
	if (lane->spilled == 0 && count > 0)
		TAILQ_INSERT_TAIL(&d->spilled, lane, spill);
	else if (lane->spilled > 0 && count == 0)
		TAILQ_REMOVE(&d->spilled, lane, spill);
	lane->spilled = count;
}

/* ------------------------------------------------------------------------------------- its
 * owner */

/* waits_in_journal - rows up to read_until are in memory; those beyond are read when their turn
 * comes. Not a job that an executor still has to report: there must be no second one of it. */
static bool waits_in_journal(const struct dispatcher *d, const struct lane *lane, const struct job *job)
{
	if (!LIST_EMPTY(&job->runs))
		return false;
	return job->abi.id > lane->read_until && (lane->spilled > 0 || lane->queue.length >= d->config->window);
}

/* lane_trim - many that came back have made the queue long: its end waits in the journal again. */
static void lane_trim(struct dispatcher *d, struct lane *lane)
{
	struct job *last;

	while (lane->queue.length > 2 * d->config->window && (last = TAILQ_LAST(&lane->queue.list, job_list)) &&
	       last->stored && !last->dirty && !last->settling && LIST_EMPTY(&last->runs)) {
		lane->read_until = last->abi.id - 1;
		dispatcher_set_spilled(d, lane, lane->spilled + 1);
		lane_leave(last);
		job_drop(d, last);
	}
}

static void lane_take(struct lane *lane, struct job *job)
{
	if (job->lane)
		lane_move(job);
	else
		lane_enter(lane, job);
}

static void own_waiting(struct dispatcher *d, struct lane *lane, struct job *job)
{
	if (waits_in_journal(d, lane, job)) {
		if (job->lane)
			lane_leave(job);
		dispatcher_set_spilled(d, lane, lane->spilled + 1);
		jobs_add(&d->leaving, job);
		return;
	}
	if (lane->spilled == 0 && lane->read_until < job->abi.id)
		lane->read_until = job->abi.id;
	lane_take(lane, job);
	if (job->settling)
		jobs_add(&d->settling, job);
	lane_trim(d, lane);
}

static void own_backoff(struct dispatcher *d, struct lane *lane, struct job *job)
{
	lane_take(lane, job);
	if (job->settling)
		jobs_add(&d->settling, job);
	else
		dispatcher_alarm(d, job, job->due_usec);
}

static void job_own(struct dispatcher *d, struct lane *lane, struct job *job)
{
	switch (job->state) {
	case JOB_QUEUED: own_waiting(d, lane, job); break;
	case JOB_BACKOFF: own_backoff(d, lane, job); break;
	case JOB_STARTING:
	case JOB_RUNNING:
	case JOB_RECOVERING:
		lane_take(lane, job);
		jobs_add(job->state == JOB_STARTING ? &d->starting : &d->running, job);
		break;
	default:
		if (job->lane)
			lane_leave(job);
		jobs_add(&d->leaving, job);
	}
}

static struct lane *lane_of(struct dispatcher *d, const struct job *job)
{
	struct lane *lane = job->lane;

	if (!lane && job->state < JOB_FINISHED && !(lane = dispatcher_lane(d, job->script->name)))
		abort(); /* it was made before */
	return lane;
}

void dispatcher_take_in(struct dispatcher *d, struct job *job)
{
	struct lane *lane = lane_of(d, job);

	assert(!dispatcher_find(d, job->abi.id));
	table_add(&d->jobs, &job->by_id, job->abi.id);
	job_own(d, lane, job);
	if (lane)
		dispatcher_touch(d, lane);
}

static bool is_out(enum job_state state)
{
	return state == JOB_STARTING || state == JOB_RUNNING || state == JOB_RECOVERING;
}

void dispatcher_set(struct dispatcher *d, struct job *job, enum job_state state)
{
	bool was_out = is_out(job->state);
	struct lane *lane = job->lane;

	dispatcher_alarm(d, job, LSN_NEVER);
	jobs_take(job, JOBS_STAGE);
	job_set_state(job, state);
	if (!lane)
		lane = lane_of(d, job);
	if (state != JOB_RUNNING) /* the journal has the intent already */
		journal_put_job(d->journal, job);
	job_own(d, lane, job);
	if (lane)
		dispatcher_touch(d, lane);
	if (was_out && !is_out(state))
		dispatcher_place_freed(d, job->executor);
	if (state != JOB_STARTING && state != JOB_RUNNING) /* those are the turn's own doing */
		d->hooks.turn(d->hooks.data);
}

/* ----------------------------------------------------------------------------- memory and
 * journal */

static void settle(struct dispatcher *d, struct job *job)
{
	jobs_take(job, JOBS_STAGE);
	job->settling = false;
	if (job->state == JOB_BACKOFF)
		dispatcher_alarm(d, job, job->due_usec);
	else
		lane_refresh(job);
	dispatcher_touch(d, job->lane);
}

void dispatcher_flush(struct dispatcher *d)
{
	struct job *job;

	while ((job = jobs_first(&d->settling)))
		settle(d, job);
	while ((job = jobs_first(&d->leaving))) {
		jobs_take(job, JOBS_STAGE);
		job->settling = false;
		if (job->state >= JOB_FINISHED && !LIST_EMPTY(&job->runs))
			jobs_add(&d->owed, job);
		else
			job_drop(d, job);
	}
}

struct refill {
	struct dispatcher *dispatcher;
	struct lane *lane;
	unsigned count;
};

static uint64_t due_again(const struct dispatcher *d, const struct job *job)
{
	uint64_t now = now_realtime_usec(), at = job->not_before_realtime_usec;
	uint64_t wait = at > now ? at - now : 0, most = dispatcher_retry_delay(d, job);

	/* whatever the clock has done since */
	return now_monotonic_usec() + (wait < most ? wait : most);
}

static void refilled(void *data, struct job *job)
{
	struct refill *refill = data;
	struct lane *lane = refill->lane;

	refill->count++;
	lane->read_until = job->abi.id;
	if (lane->spilled > 1)
		lane->spilled--; /* it is settled below whether there are more */
	if (dispatcher_find(refill->dispatcher, job->abi.id)) { /* it came back before its turn */
		(void)job_unref(job);
		return;
	}
	if (job->state == JOB_BACKOFF)
		job->due_usec = due_again(refill->dispatcher, job);
	dispatcher_take_in(refill->dispatcher, job);
}

/* refill_lane - bring waiting jobs of LANE back into memory when it runs low. */
static void refill_lane(struct dispatcher *d, struct lane *lane)
{
	unsigned want = d->config->window - lane->queue.length;
	struct refill refill = { .dispatcher = d, .lane = lane };
	struct lsn_error err = { 0 };

	if (journal_load_queued(d->journal, lane->name, lane->read_until, want, refilled, &refill, &err) < 0) {
		log_error("cannot read waiting jobs script=%s, trying again: %s", lane->name, err.message);
		d->refill_usec = now_monotonic_usec() + REFILL_RETRY_USEC;
		return;
	}
	if (refill.count < want)
		dispatcher_set_spilled(d, lane, 0);
	dispatcher_touch(d, lane);
}

void dispatcher_refill(struct dispatcher *d)
{
	uint64_t now = now_monotonic_usec(), until = now + REFILL_USEC;
	struct lane *lane, *next;

	if (now < d->refill_usec)
		return;
	d->refill_usec = 0;
	for (lane = TAILQ_FIRST(&d->spilled); lane && d->refill_usec == 0; lane = next) {
		next = TAILQ_NEXT(lane, spill);
		if (lane->queue.length > d->config->window / 2)
			continue;
		if (now_monotonic_usec() >= until) {
			d->hooks.turn(d->hooks.data);
			return;
		}
		refill_lane(d, lane);
		if (lane->spilled > 0) { /* others first, next time */
			TAILQ_REMOVE(&d->spilled, lane, spill);
			TAILQ_INSERT_TAIL(&d->spilled, lane, spill);
			if (lane->queue.length <= d->config->window / 2) /* what came backs off */
				d->hooks.turn(d->hooks.data);
		}
	}
}
