/* lane.c - see lane.h. */
#include "lane.h"
#include "table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lane_new(const char *name, struct lane_objects *objects, struct lane **ret)
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
	TAILQ_INIT(&lane->passed);
	TAILQ_INIT(&lane->returning);
	lane->objects = objects;
	*ret = lane;
	return 0;
}

bool lane_may_read(const struct lane *lane) { return lane->spilled > 0 || !TAILQ_EMPTY(&lane->returning); }

bool lane_is_empty(const struct lane *lane)
{
	return lane->queue.length == 0 && lane->out.length == 0 && lane->backoff.length == 0 && !lane_may_read(lane) &&
	       TAILQ_EMPTY(&lane->passed);
}

void lane_free(struct lane *lane)
{
	struct passed *passed;

	if (!lane)
		return;
	assert(lane->queue.length == 0 && lane->out.length == 0 && lane->backoff.length == 0);
	while ((passed = TAILQ_FIRST(&lane->returning)) || (passed = TAILQ_FIRST(&lane->passed)))
		lane_returned(passed, UINT64_MAX);
	free(lane->name);
	free(lane);
}

/* ------------------------------------------------------------------------ chains of an object */

static uint64_t object_key(const struct lane *lane, uint64_t object)
{
	return object ^ (uint64_t)(uintptr_t)lane * UINT64_C(0xD6E8FEB86659FD93);
}

struct job *lane_first(const struct lane *lane, uint64_t object)
{
	struct table_link *link = table_find(&lane->objects->first, object_key(lane, object));

	for (; link; link = table_next(link)) {
		struct job *job = container_of(link, struct job, by_object);
		if (job->lane == lane && job->object == object)
			return job;
	}
	return NULL;
}

static bool is_held(const struct lane *lane, uint64_t object)
{
	const struct lane_objects *objects = lane->objects;

	return (objects->holds && holds_has_object(objects->holds, object)) ||
	       (objects->brake && loop_brake_blocks(objects->brake, object));
}

void lane_refresh(struct job *job)
{
	struct lane *lane = job->lane;
	bool startable = job_is_in(job, &lane->queue) && !job->settling && lane_first(lane, job->object) == job &&
			 !is_held(lane, job->object);

	if (startable == job_is_in(job, &lane->startable))
		return;
	jobs_take(job, JOBS_STAGE);
	if (startable)
		jobs_insert(&lane->startable, job);
}

static struct passed *passed_find(const struct lane *lane, uint64_t object)
{
	struct table_link *link = table_find(&lane->objects->passed, object_key(lane, object));

	for (; link; link = table_next(link)) {
		struct passed *passed = container_of(link, struct passed, by_object);
		if (passed->lane == lane && passed->object == object)
			return passed;
	}
	return NULL;
}

static void passed_move(struct passed *passed, bool returning)
{
	struct lane *lane = passed->lane;

	TAILQ_REMOVE(passed->returning ? &lane->returning : &lane->passed, passed, link);
	passed->returning = returning;
	TAILQ_INSERT_TAIL(returning ? &lane->returning : &lane->passed, passed, link);
}

/* passed_back - no job about OBJECT is in memory: its rows come back, unless it is held. */
static void passed_back(struct lane *lane, uint64_t object)
{
	struct passed *passed = passed_find(lane, object);

	if (passed)
		passed_move(passed, !is_held(lane, object));
}

void lane_reconsider(struct lane *lane, uint64_t object)
{
	struct job *first = lane_first(lane, object);

	if (first)
		lane_refresh(first);
	else
		passed_back(lane, object);
}

static void chain_insert(struct lane *lane, struct job *job)
{
	struct job *first = lane_first(lane, job->object);

	if (first && first->abi.id < job->abi.id) {
		while (first->later && first->later->abi.id < job->abi.id)
			first = first->later;
		job->later = first->later;
		first->later = job;
		return;
	}
	if (first)
		table_remove(&lane->objects->first, &first->by_object);
	job->later = first;
	table_add(&lane->objects->first, &job->by_object, object_key(lane, job->object));
	if (first)
		lane_refresh(first);
}

static void chain_remove(struct lane *lane, struct job *job)
{
	struct job *first = lane_first(lane, job->object), *next = job->later;

	job->later = NULL;
	if (first != job) {
		while (first->later != job)
			first = first->later;
		first->later = next;
		return;
	}
	table_remove(&lane->objects->first, &job->by_object);
	if (!next) {
		passed_back(lane, job->object);
		return;
	}
	table_add(&lane->objects->first, &next->by_object, object_key(lane, next->object));
	lane_refresh(next);
}

/* -------------------------------------------------------------------------------------- lists */

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

/* --------------------------------------------------------------------------------- passed over */

int lane_pass(const struct job *job)
{
	struct lane *lane = job->lane;
	struct passed *passed = passed_find(lane, job->object);

	assert(!job->later);
	if (!passed) {
		if (!(passed = calloc(1, sizeof *passed)))
			return -ENOMEM;
		*passed = (struct passed){ .lane = lane, .object = job->object, .from = UINT64_MAX };
		table_add(&lane->objects->passed, &passed->by_object, object_key(lane, job->object));
		TAILQ_INSERT_TAIL(&lane->passed, passed, link);
	}
	if (job->abi.id < passed->from)
		passed->from = job->abi.id;
	return 0;
}

bool lane_passes(const struct lane *lane, uint64_t object, uint64_t id)
{
	const struct passed *passed = passed_find(lane, object);

	return passed && id >= passed->from;
}

void lane_returned(struct passed *passed, uint64_t from)
{
	struct lane *lane = passed->lane;

	passed->from = from;
	if (from <= lane->read_until) {
		passed_move(passed, !lane_first(lane, passed->object) && !is_held(lane, passed->object));
		return;
	}
	TAILQ_REMOVE(passed->returning ? &lane->returning : &lane->passed, passed, link);
	table_remove(&lane->objects->passed, &passed->by_object);
	free(passed);
}
