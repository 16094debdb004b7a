/* lane.h - the unfinished jobs of one script that are in memory. Used by the dispatcher only.
 *
 * Each is in one of three lists: `queue` (QUEUED, by id), `out` (STARTING, RUNNING, RECOVERING),
 * `backoff` (BACKOFF). Jobs about the same object form a chain by id; only the first of a chain may
 * start. A first one that is queued and not settling, and whose object is neither held nor braked,
 * is in `startable`, by id: the lane offers its first.
 *
 * What waits for its turn is a row of the journal, in memory or not: rows up to `read_until` are in
 * memory or were passed over, of those beyond there are about `spilled`.
 *
 * Jobs behind a first one that takes its time must not fill the memory that is there for waiting
 * jobs: then others would not run. So they are passed over: from the id that a `struct passed`
 * says, the rows of that object wait in the journal. They come back when its chain in memory has
 * ended, and the object is not held. */
#ifndef CORE_LANE_H
#define CORE_LANE_H

#include "heap.h"
#include "hold.h"
#include "job.h"
#include "loop_brake.h"
#include "script.h"
#include "table.h"
#include "tally.h"

enum lane_where {
	LANE_IDLE, /* nothing to start, or nothing that may start before one of its jobs ends */
	LANE_READY, /* in the dispatcher's ring: has a turn coming */
	/* the executor named had no place; waits for its ready() or for one of its jobs to end */
	LANE_STALLED,
	LANE_RATED, /* its script's rate; waits for its time */
	LANE_PAUSED, /* a passing shortage; waits for its time, or for any job to end */
	LANE_HELD, /* a hold is in the way of its first job that could start; waits for its end */
	LANE_VACANT, /* it is empty, and goes after the next commit if it still is */
};

struct passed {
	uint64_t object;
	uint64_t from; /* id */
	bool returning; /* no job of the object is in memory: its rows come back */
	struct lane *lane;
	struct table_link by_object;
	TAILQ_ENTRY(passed) link;
};
TAILQ_HEAD(passed_list, passed);

/* What lanes share. */
struct lane_objects {
	struct table first; /* jobs: the first of each chain */
	struct table passed; /* struct passed */
	/* the dispatcher's; NULL: none */
	const struct holds *holds;
	const struct loop_brake *brake;
};

struct lane {
	char *name; /* of the script */
	struct tally_script *tally; /* the dispatcher's, of the script */
	struct jobs queue, out, backoff;
	struct jobs startable;
	struct lane_objects *objects; /* the dispatcher's */
	struct passed_list passed, returning;
	uint64_t read_until; /* id */
	uint64_t spilled; /* 0 is exact */
	enum lane_where where;
	char stalled_for[EXECUTOR_NAME_SIZE];
	char stalled_version[SCRIPT_VERSION_SIZE]; /* of the script whose job was refused */
	char refusal[160]; /* STALLED, PAUSED: why, in the words of who refused; "": they gave none */
	/* CLOCK_MONOTONIC: the first refusal since one of its jobs was taken, whatever `where` has
	 * been since; 0: none */
	uint64_t stalled_since;
	struct heap_node pause; /* LANE_PAUSED, LANE_RATED: until when */
	uint64_t rate_usec; /* CLOCK_MONOTONIC: by its rate none may start before */
	TAILQ_ENTRY(lane) ring; /* of those that are ready, stalled, vacant */
	TAILQ_ENTRY(lane) all;
	TAILQ_ENTRY(lane) spill; /* lane_waits_in_journal() */
	bool listed; /* as such */
};
TAILQ_HEAD(lane_list, lane);

/* lane_new - OBJECTS is shared by all lanes and must outlive them.
 * 0, -ENOMEM. */
int lane_new(const char *name, struct lane_objects *objects, struct lane **ret);
void lane_free(struct lane *lane); /* must hold no job */

/* lane_enter - JOB, which is in no lane, into the list that its state asks for. */
void lane_enter(struct lane *lane, struct job *job);

/* lane_move - JOB of this lane has another unfinished state: into the list that this asks for. */
void lane_move(struct job *job);

/* lane_refresh - JOB's settling has changed. */
void lane_refresh(struct job *job);

/* lane_reconsider - OBJECT is held or braked now, or it is not any more. */
void lane_reconsider(struct lane *lane, uint64_t object);

/* lane_first - the first unfinished job in memory about OBJECT, which all others wait for; NULL. */
struct job *lane_first(const struct lane *lane, uint64_t object);

/* lane_leave - JOB is the lane's no more. */
void lane_leave(struct job *job);

/* lane_is_empty - nothing in memory, nothing in the journal. */
bool lane_is_empty(const struct lane *lane);

/* lane_may_read - rows of the journal could come into memory. */
bool lane_may_read(const struct lane *lane);

/* lane_pass - JOB, the last of its chain, and all later ones of its object wait in the journal from
 * now on.
 * The caller takes it out of the lane.
 * 0, -ENOMEM. */
int lane_pass(const struct job *job);

/* lane_passes - a job about OBJECT with this id has to wait in the journal. */
bool lane_passes(const struct lane *lane, uint64_t object, uint64_t id);

/* lane_returned - PASSED's rows before the id FROM are in memory.
 * Beyond read_until there is none that was passed over: PASSED goes. */
void lane_returned(struct passed *passed, uint64_t from);

#endif
