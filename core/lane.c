/* lane.c - see lane.h. */
#include "lane.h"
#include <errno.h>
#include <string.h>

/* Objects that an earlier unfinished job is about, for one scan of a lane. A fixed table: a scan
 * that meets more different objects than it holds ends early, which only means that later jobs
 * wait for the next scan. */
#define SEEN_SIZE 4096u
#define SEEN_MAX (SEEN_SIZE / 2)

struct seen {
	uint32_t generation;
	unsigned count;
	uint32_t stamp[SEEN_SIZE];
	uint64_t object[SEEN_SIZE];
};

/* seen_add - true if OBJECT was not there yet. */
static bool seen_add(struct seen *seen, uint64_t object)
{
	unsigned i = (unsigned)(object * UINT64_C(0x9E3779B97F4A7C15) >> 40) % SEEN_SIZE;

	while (seen->stamp[i] == seen->generation) {
		if (seen->object[i] == object)
			return false;
		i = (i + 1) % SEEN_SIZE;
	}
	seen->stamp[i] = seen->generation;
	seen->object[i] = object;
	seen->count++;
	return true;
}

static void seen_clear(struct seen *seen)
{
	if (++seen->generation == 0) {
		memset(seen->stamp, 0, sizeof seen->stamp);
		seen->generation = 1;
	}
	seen->count = 0;
}

int lane_new(const char *name, struct lane **ret)
{
	struct lane *lane = calloc(1, sizeof *lane);

	if (!lane || !(lane->name = strdup(name))) {
		free(lane);
		return -ENOMEM;
	}
	TAILQ_INIT(&lane->queue);
	TAILQ_INIT(&lane->active);
	*ret = lane;
	return 0;
}

void lane_free(struct lane *lane)
{
	struct job *job;

	if (!lane)
		return;
	while ((job = TAILQ_FIRST(&lane->queue))) {
		TAILQ_REMOVE(&lane->queue, job, queue);
		job_unref(job);
	}
	while ((job = TAILQ_FIRST(&lane->active))) {
		TAILQ_REMOVE(&lane->active, job, active);
		job_unref(job);
	}
	free(lane->name);
	free(lane);
}

void lane_insert(struct lane *lane, struct job *job)
{
	struct job *before = TAILQ_LAST(&lane->queue, job_list);

	while (before && before->abi.id > job->abi.id)
		before = TAILQ_PREV(before, job_list, queue);
	if (before)
		TAILQ_INSERT_AFTER(&lane->queue, before, job, queue);
	else
		TAILQ_INSERT_HEAD(&lane->queue, job, queue);
	lane->queued++;
}

void lane_remove(struct lane *lane, struct job *job)
{
	TAILQ_REMOVE(&lane->queue, job, queue);
	lane->queued--;
}

struct job *lane_candidate(struct lane *lane)
{
	static struct seen seen; /* loop thread only */
	struct job *job;

	seen_clear(&seen);
	lane->settling = false;
	TAILQ_FOREACH (job, &lane->active, active)
		if (seen.count < SEEN_MAX)
			(void)seen_add(&seen, job->object);
	TAILQ_FOREACH (job, &lane->queue, queue) {
		if (seen.count >= SEEN_MAX)
			return NULL;
		/* The result of its last attempt waits for the commit: a new attempt would
		 * overwrite it. */
		bool settling = job->dirty && job->result;
		lane->settling |= settling;
		if (seen_add(&seen, job->object) && !settling)
			return job;
	}
	return NULL;
}
