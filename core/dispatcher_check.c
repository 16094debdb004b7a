/* dispatcher_check.c - what must hold between any two calls; for tests. */
#include "dispatcher_private.h"
#include "executors.h"
#include "hold.h"
#include "job.h"

#include <stddef.h>

static bool stage_fits(const struct dispatcher *d, const struct job *job)
{
	const struct jobs *stage = job->in[JOBS_STAGE].list;

	switch (job->state) {
	case JOB_QUEUED:
		if (!job->lane)
			return stage == &d->leaving;
		return job->settling ? stage == &d->settling : !stage || stage == &job->lane->startable;
	case JOB_STARTING: return stage == &d->starting;
	case JOB_RUNNING:
	case JOB_RECOVERING: return stage == &d->running;
	case JOB_BACKOFF: return job->settling ? stage == &d->settling : !stage && job->alarmed;
	default: return stage == &d->leaving || (stage == &d->owed && !LIST_EMPTY(&job->runs));
	}
}

static bool lane_fits(const struct job *job)
{
	const struct jobs *list = job->in[JOBS_LANE].list;

	if (!job->lane)
		return !list && (job->state == JOB_QUEUED || job->state >= JOB_FINISHED);
	switch (job->state) {
	case JOB_QUEUED: return list == &job->lane->queue;
	case JOB_BACKOFF: return list == &job->lane->backoff;
	default: return list == &job->lane->out;
	}
}

static const char *check_job(const struct dispatcher *d, const struct job *job)
{
	bool out = job->state == JOB_STARTING || job->state == JOB_RUNNING;

	if (!stage_fits(d, job))
		return "a job is in a stage that does not fit its state";
	if (!lane_fits(job))
		return "a job is in a list of its lane that does not fit its state";
	if (out != (job->run != NULL))
		return "a job is out without a run, or has a run without being out";
	if (job->run && (job->run->job != job || job->run->abi.attempt != job->abi.attempt))
		return "a job's run is another job's, or another attempt";
	return NULL;
}

static const char *check_list(const struct jobs *jobs)
{
	const struct job *job;
	unsigned length = 0;

	JOBS_FOREACH(job, jobs)
	length++;
	return length == jobs->length ? NULL : "a list does not know its length";
}

/* check_holds - nothing that is held may start, and nothing waits for a hold that has ended. */
static const char *check_holds(const struct dispatcher *d, const struct lane *lane)
{
	const struct job *job;

	if (lane->where == LANE_HELD && d->holds.wide == 0)
		return "a lane is held, and there is no hold";
	JOBS_FOREACH(job, &lane->startable)
	if (holds_has_object(&d->holds, job->object) || loop_brake_blocks(&d->brake, job->object))
		return "a job about an object that is held or braked may start";
	return NULL;
}

static const char *check_lane(const struct dispatcher *d, const struct lane *lane, unsigned *out, unsigned *jobs)
{
	const struct jobs *const lists[] = { &lane->queue, &lane->out, &lane->backoff, &lane->startable };
	const char *wrong = NULL;

	for (size_t i = 0; !wrong && i < sizeof lists / sizeof lists[0]; i++)
		wrong = check_list(lists[i]);
	*out += lane->out.length;
	*jobs += lane->queue.length + lane->out.length + lane->backoff.length;
	if (!wrong && lane->startable.length > 0 && lane->out.length < d->config->per_script_max &&
	    (lane->where == LANE_IDLE || lane->where == LANE_VACANT))
		wrong = "a lane with a job that may start waits for nothing";
	if (!wrong && lane_is_empty(lane) != (lane->where == LANE_VACANT))
		wrong = "an empty lane is kept, or a lane with jobs goes";
	return wrong ? wrong : check_holds(d, lane);
}

static const char *check_lanes(const struct dispatcher *d)
{
	const struct lane *lane;
	const char *wrong = NULL;
	unsigned out = 0, jobs = 0, outside = 0;
	const struct job *job;

	TAILQ_FOREACH (lane, &d->lanes, all)
		if (!wrong)
			wrong = check_lane(d, lane, &out, &jobs);
	if (!wrong && out != dispatcher_running(d))
		wrong = "the lanes have other jobs out than the dispatcher";
	outside = d->leaving.length + d->owed.length;
	if (!wrong && jobs + outside != d->jobs.count)
		wrong = "a job in memory has no owner";
	JOBS_FOREACH(job, &d->leaving)
	if (!wrong && job->lane)
		wrong = "a job that leaves is in a lane";
	return wrong;
}

const char *dispatcher_check(const struct dispatcher *d)
{
	const struct jobs *const lists[] = { &d->starting, &d->running, &d->settling, &d->leaving, &d->owed };
	const char *wrong = check_lanes(d);

	for (size_t i = 0; !wrong && i < sizeof lists / sizeof lists[0]; i++)
		wrong = check_list(lists[i]);
	for (size_t i = 0; !wrong && i < d->jobs.size; i++)
		for (const struct table_link *link = d->jobs.buckets[i]; !wrong && link; link = link->next)
			wrong = check_job(d, container_of(link, struct job, by_id));
	return wrong;
}
