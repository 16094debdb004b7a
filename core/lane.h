/* lane.h - the jobs of one script: what waits (in order, a window of it in memory), what is
 * active. Used by the dispatcher only. */
#ifndef CORE_LANE_H
#define CORE_LANE_H

#include "job.h"

enum lane_where {
	LANE_IDLE, /* nothing to start, or nothing that may start before one of its jobs ends */
	LANE_READY, /* in the dispatcher's ring: has a turn coming */
	LANE_STALLED, /* its executor had no place; waits for the executor's ready() */
};

struct lane {
	char *name; /* of the script */
	struct job_list queue; /* QUEUED, by id */
	struct job_list active; /* STARTING, RUNNING, RECOVERING, BACKOFF */
	unsigned queued; /* length of queue */
	unsigned running; /* active without BACKOFF */
	/* waiting jobs up to this id are in memory, newer ones (if spilled) in the journal only */
	uint64_t last_id;
	uint64_t spilled; /* about how many those are; 0 is exact */
	enum lane_where where;
	bool settling; /* the last scan met a job that may start only after the next commit */
	TAILQ_ENTRY(lane) ring; /* ready or stalled */
	TAILQ_ENTRY(lane) all;
};
TAILQ_HEAD(lane_list, lane);

int lane_new(const char *name, struct lane **ret); /* 0, -ENOMEM */
void lane_free(struct lane *lane); /* unrefs its jobs */

/* lane_insert - JOB (its reference is taken over) into the queue at its place by id. */
void lane_insert(struct lane *lane, struct job *job);

/* from the queue; the reference goes to the caller */
void lane_remove(struct lane *lane, struct job *job);

/* lane_candidate - the first job that may start: no earlier unfinished job of the lane is about
 * the same object.
 * NULL: none; if that is because of a result that is not committed yet, lane->settling says so. */
struct job *lane_candidate(struct lane *lane);

#endif
