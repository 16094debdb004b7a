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

void dispatcher_list(struct dispatcher *d, struct lane *lane)
{
	if (lane->listed == lane_may_read(lane))
		return;
	lane->listed = !lane->listed;
	if (lane->listed)
		TAILQ_INSERT_TAIL(&d->spilled, lane, spill);
	else
		TAILQ_REMOVE(&d->spilled, lane, spill);
}

void dispatcher_set_spilled(struct dispatcher *d, struct lane *lane, uint64_t count)
{
	lane->spilled = count;
	dispatcher_list(d, lane);
}

/* -------------------------------------------------------------------------------- its owner */

/* is_beyond - JOB comes after what memory has room for: its row is read when its turn comes. */
static bool is_beyond(const struct dispatcher *d, const struct lane *lane, const struct job *job)
{
	return job->abi.id > lane->read_until && (lane->spilled > 0 || lane->queue.length >= d->config->window);
}

/* lane_let - JOB is the lane's no more. */
static void lane_let(struct dispatcher *d, struct job *job)
{
	struct lane *lane = job->lane;

	if (!lane)
		return;
	lane_leave(job);
	dispatcher_list(d, lane);
}

void dispatcher_put_back(struct dispatcher *d, struct job *job)
{
	lane_let(d, job);
	job_drop(d, job);
}

/* lane_trim - many that came back have made the queue long: its end waits in the journal again. */
static void lane_trim(struct dispatcher *d, struct lane *lane)
{
	struct job *last;

	while (lane->queue.length > 2 * d->config->window && (last = TAILQ_LAST(&lane->queue.list, job_list)) &&
	       last->stored && !last->dirty && !last->settling && LIST_EMPTY(&last->runs)) {
		lane->read_until = last->abi.id - 1;
		dispatcher_set_spilled(d, lane, lane->spilled + 1);
		dispatcher_put_back(d, last);
	}
}

static void lane_take(struct lane *lane, struct job *job)
{
	if (job->lane)
		lane_move(job);
	else
		lane_enter(lane, job);
}

/* own_waiting - rows up to read_until are in memory or were passed over. A job that an executor
 * still has to report stays in memory: there must be no second one of it. */
static void own_waiting(struct dispatcher *d, struct lane *lane, struct job *job)
{
	bool may_go = LIST_EMPTY(&job->runs);
	bool passed = may_go && lane_passes(lane, job->object, job->abi.id), beyond = may_go && is_beyond(d, lane, job);

	if (lane->spilled == 0 && lane->read_until < job->abi.id && (passed || !beyond))
		lane->read_until = job->abi.id;
	if (passed || beyond) {
		lane_let(d, job);
		if (job->abi.id > lane->read_until)
			dispatcher_set_spilled(d, lane, lane->spilled + 1);
		jobs_add(&d->leaving, job);
		return;
	}
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
	default: lane_let(d, job); jobs_add(&d->leaving, job);
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
	bool was_out = is_out(job->state), out = is_out(state);
	struct lane *lane = job->lane;

	dispatcher_alarm(d, job, LSN_NEVER);
	jobs_take(job, JOBS_STAGE);
	job_set_state(job, state);
	if (was_out != out)
		dispatcher_loop_run(d, job, out);
	if (!lane)
		lane = lane_of(d, job);
	if (state != JOB_RUNNING) /* the journal has the intent already */
		journal_put_job(d->journal, job);
	job_own(d, lane, job);
	if (lane)
		dispatcher_touch(d, lane);
	if (was_out && !out)
		dispatcher_place_freed(d, job->executor);
	if (state != JOB_STARTING && state != JOB_RUNNING) /* those are the turn's own doing */
		d->hooks.turn(d->hooks.data);
}

/* --------------------------------------------------------------------------- memory and journal */

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
