/* lane.c - see lane.h. */
#include "lane.h"
#include "table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lane_new(const char *name, struct table *objects, struct lane **ret)
{
	struct lane *lane = calloc(1, sizeof *lane);

	if (!lane || !(lane->name = strdup(name))) {
		free(lane);
		return -ENOMEM;
	}
	jobs_init(&lane->queue, JOBS_LANE);
	jobs_init(&lane->out, JOBS_LANE);
	jobs_init(&lane->backoff, JOBS_LANE);
	jobs_init(&lane->startable, JOBS_STAGE);
	lane->objects = objects;
	*ret = lane;
	return 0;
}

bool lane_is_empty(const struct lane *lane)
{
	return lane->queue.length == 0 && lane->out.length == 0 && lane->backoff.length == 0 && lane->spilled == 0;
}

void lane_free(struct lane *lane)
{
	if (!lane)
		return;
	assert(lane->queue.length == 0 && lane->out.length == 0 && lane->backoff.length == 0);
	free(lane->name);
	free(lane);
}

/* --------------------------------------------------------------------------- chains of an
 * object */

static uint64_t object_key(const struct lane *lane, uint64_t object)
{
	return object ^ (uint64_t)(uintptr_t)lane * UINT64_C(0xD6E8FEB86659FD93);
}

static struct job *chain_first(const struct lane *lane, uint64_t object)
{
	struct table_link *link = table_find(lane->objects, object_key(lane, object));

	for (; link; link = table_next(link)) {
		struct job *job = container_of(link, struct job, by_object);
		if (job->lane == lane && job->object == object)
			return job;
	}
	return NULL;
}

void lane_refresh(struct job *job)
{
	struct lane *lane = job->lane;
	bool startable = job_is_in(job, &lane->queue) && !job->settling && chain_first(lane, job->object) == job;

	if (startable == job_is_in(job, &lane->startable))
		return;
	jobs_take(job, JOBS_STAGE);
	if (startable)
		jobs_insert(&lane->startable, job);
}

static void chain_insert(struct lane *lane, struct job *job)
{
	struct job *first = chain_first(lane, job->object);

	if (first && first->abi.id < job->abi.id) {
		while (first->later && first->later->abi.id < job->abi.id)
			first = first->later;
		job->later = first->later;
		first->later = job;
		return;
	}
	if (first)
		table_remove(lane->objects, &first->by_object);
	job->later = first;
	table_add(lane->objects, &job->by_object, object_key(lane, job->object));
	if (first)
		lane_refresh(first);
}

static void chain_remove(struct lane *lane, struct job *job)
{
	struct job *first = chain_first(lane, job->object), *next = job->later;

	job->later = NULL;
	if (first != job) {
		while (first->later != job)
			first = first->later;
		first->later = next;
		return;
	}
	table_remove(lane->objects, &job->by_object);
	if (!next)
		return;
	table_add(lane->objects, &next->by_object, object_key(lane, next->object));
	lane_refresh(next);
}

/* ------------------------------------------------------------------------------------------
 * lists */

static struct jobs *list_for(struct lane *lane, enum job_state state)
{
	switch (state) {
	case JOB_QUEUED: return &lane->queue;
	case JOB_BACKOFF: return &lane->backoff;
	default: assert(state < JOB_FINISHED); return &lane->out;
	}
}

void lane_move(struct job *job)
{
	struct jobs *list = list_for(job->lane, job->state);

	if (job_is_in(job, list))
		return;
	jobs_take(job, JOBS_LANE);
	if (list == &job->lane->queue)
		jobs_insert(list, job);
	else
		jobs_add(list, job);
	lane_refresh(job);
}

void lane_enter(struct lane *lane, struct job *job)
{
	assert(!job->lane);
	job->lane = lane;
	chain_insert(lane, job);
	lane_move(job);
}

void lane_leave(struct job *job)
{
	struct lane *lane = job->lane;

	jobs_take(job, JOBS_LANE);
	if (job_is_in(job, &lane->startable))
		jobs_take(job, JOBS_STAGE);
	chain_remove(lane, job);
	job->lane = NULL;
}
