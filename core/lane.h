/* lane.h - the unfinished jobs of one script that are in memory. Used by the dispatcher only.
 *
 * Each is in one of three lists: `queue` (QUEUED, by id), `out` (STARTING, RUNNING, RECOVERING),
 * `backoff` (BACKOFF). Jobs about the same object form a chain by id; only the first of a chain may
 * start. A first one that is queued and not settling is in `startable`, by id: the lane offers its
 * first.
 *
 * What waits for its turn is a row of the journal, in memory or not: rows up to `read_until` are in
 * memory, of those beyond there are about `spilled`. */
#ifndef CORE_LANE_H
#define CORE_LANE_H

#include "heap.h"
#include "job.h"
#include "script.h"
#include "table.h"

enum lane_where {
	LANE_IDLE, /* nothing to start, or nothing that may start before one of its jobs ends */
	LANE_READY, /* in the dispatcher's ring: has a turn coming */
	/* the executor named had no place; waits for its ready() or for one of its jobs to end */
	LANE_STALLED,
	LANE_PAUSED, /* a passing shortage; waits for its time, or for any job to end */
	LANE_VACANT, /* it is empty, and goes after the next commit if it still is */
};

struct lane {
	char *name; /* of the script */
	struct jobs queue, out, backoff;
	struct jobs startable;
	struct table *objects; /* the dispatcher's: first jobs of chains */
	uint64_t read_until; /* id */
	uint64_t spilled; /* 0 is exact */
	enum lane_where where;
	char stalled_for[EXECUTOR_NAME_SIZE];
	char stalled_version[SCRIPT_VERSION_SIZE]; /* of the script whose job was refused */
	struct heap_node pause; /* LANE_PAUSED: until when */
	TAILQ_ENTRY(lane) ring; /* of those that are ready, stalled, vacant */
	TAILQ_ENTRY(lane) all;
	TAILQ_ENTRY(lane) spill; /* spilled > 0 */
};
TAILQ_HEAD(lane_list, lane);

/* lane_new - OBJECTS is shared by all lanes and must outlive them.
 * 0, -ENOMEM. */
int lane_new(const char *name, struct table *objects, struct lane **ret);
void lane_free(struct lane *lane); /* must hold no job */

/* lane_enter - JOB, which is in no lane, into the list that its state asks for. */
void lane_enter(struct lane *lane, struct job *job);

/* lane_move - JOB of this lane has another unfinished state: into the list that this asks for. */
void lane_move(struct job *job);

/* lane_refresh - JOB's settling has changed. */
void lane_refresh(struct job *job);

/* lane_leave - JOB is the lane's no more. */
void lane_leave(struct job *job);

/* lane_is_empty - nothing in memory, nothing in the journal. */
bool lane_is_empty(const struct lane *lane);

#endif
