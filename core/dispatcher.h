/* dispatcher.h - which job starts when and where. Owns all unfinished jobs that are in memory.
 *
 * Each script has a lane: its queued jobs in event order, a bounded window of them in memory,
 * the rest in the journal. Lanes take turns, so that a busy script cannot starve a quiet one. In
 * a lane jobs start in order, but a job waits while an earlier job of the same script for the
 * same object is unfinished. Limits: all jobs, per executor, per script.
 *
 * The loop's turn calls it in this order (see turn.h):
 *     dispatcher_add()        for each new event and script: QUEUED, marked in the journal
 *     dispatcher_place()      what is due by now; QUEUED -> STARTING where an executor reserves a
 *                             place: the intent, marked
 *     journal_commit()
 *     dispatcher_committed()  results that are now safe are forgotten by their executors; lanes
 *                             that ran low are filled from the journal; STARTING -> RUNNING
 *     dispatcher_next_usec()  when the next turn is due if nothing else asks for one
 *
 * It has no timers: time passes only in dispatcher_place(). docs/architecture.md, "The
 * dispatcher", has states, owners and who wakes whom.
 *
 * Loop thread only. */
#ifndef CORE_DISPATCHER_H
#define CORE_DISPATCHER_H

#include "executors.h"
#include "hold.h"
#include "journal.h"
#include "script.h"
#include "tally.h"

struct dispatcher;

struct route_config { /* one [route NAME] section: first match in file order wins */
	char *name;
	char *script; /* fnmatch() pattern on the script's name, or NULL */
	/* the route holds for scripts whose filters all match a part of this filter, or NULL */
	char *filter;
	char executor[EXECUTOR_NAME_SIZE];
};

struct dispatch_config {
	unsigned running_max; /* jobs at the same time, all executors */
	unsigned per_script_max; /* jobs of one script at the same time */
	unsigned window; /* queued jobs per script kept in memory; the rest waits in the journal */
	char default_executor[EXECUTOR_NAME_SIZE];
	struct route_config *routes;
	size_t route_count;
	unsigned loop_limit; /* echoes in a row, see loop_brake.h; 0: loops are not braked */
	unsigned storm_warn; /* waiting jobs of one script that are worth a warning; 0: none are */
	double rate_max; /* starts of each script per second, the policy's; 0: no limit */
	double replay_rate_max; /* replayed jobs per second */
	uint64_t retry_delay_max_usec; /* the policy's; set by the daemon. 0: no limit */
	uint64_t output_max_bytes; /* likewise: kept of each stream. 0: JOB_OUTPUT_LIMIT_BYTES */
};

struct dispatcher_hooks {
	void (*turn)(void *data); /* something changed: have a turn soon */
	void *data;
};

int dispatcher_new(struct journal *journal, const struct dispatch_config *config, const struct dispatcher_hooks *hooks,
		   struct dispatcher **ret, struct lsn_error *err);
void dispatcher_free(struct dispatcher *dispatcher);

/* dispatcher_set_config - borrowed until the next call.
 * Jobs that wait for an executor are offered again. */
void dispatcher_set_config(struct dispatcher *dispatcher, const struct dispatch_config *config);
void dispatcher_set_executors(struct dispatcher *dispatcher, struct executors *executors);

/* dispatcher_recover - once, after executors are loaded: ask them about jobs handed over by the
 * last daemon, find the lanes that wait.
 * 0, or a negative errno: an executor is short of descriptors or memory and cannot answer, or the
 * journal cannot be read. Nothing is decided then, and the next start asks again. */
int dispatcher_recover(struct dispatcher *dispatcher, struct lsn_error *err);

/* dispatcher_add - a job for EVENT and SCRIPT.
 * REPLAY_OF: 0 or the job it repeats.
 * RET_ID may be NULL.
 * 0, -ENOMEM. */
int dispatcher_add(struct dispatcher *dispatcher, struct event *event, struct script *script, uint64_t replay_of,
		   uint64_t *ret_id);
void dispatcher_place(struct dispatcher *dispatcher);
void dispatcher_committed(struct dispatcher *dispatcher);

/* dispatcher_next_usec - CLOCK_MONOTONIC, UINT64_MAX: nothing is due by itself. */
uint64_t dispatcher_next_usec(const struct dispatcher *dispatcher);

/* dispatcher_retry - run a FINISHED or LOST job again as a further attempt.
 * 0, -ENOENT, -EBUSY (not ended), -EINVAL (succeeded), other with ERR. */
int dispatcher_retry(struct dispatcher *dispatcher, uint64_t id, struct lsn_error *err);

/* dispatcher_cancel - 0, -ENOENT, -EALREADY (ended), -EOPNOTSUPP (its executor cannot). */
int dispatcher_cancel(struct dispatcher *dispatcher, uint64_t id, struct lsn_error *err);

/* dispatcher_ready, dispatcher_ready_for, dispatcher_done - the hooks of executors.h. */
void dispatcher_ready(void *dispatcher, struct executor *executor);
bool dispatcher_ready_for(void *dispatcher, const struct executor *executor, const char *script_version);
void dispatcher_done(void *dispatcher, struct run *run, const struct lsn_result *result);

/* dispatcher_is_passing - R, a negative errno of reserve or submit, does not concern the job: it is
 * no answer, only not now. */
bool dispatcher_is_passing(int r);

/* dispatcher_stop - the daemon ends: start nothing more. */
void dispatcher_stop(struct dispatcher *dispatcher);

/* dispatcher_running - how many jobs have a place or were handed over, and have not ended. */
unsigned dispatcher_running(const struct dispatcher *dispatcher);

/* dispatcher_ended - runs that ended since the start. */
uint64_t dispatcher_ended(const struct dispatcher *dispatcher);

/* dispatcher_get_tally - what scripts and executors did since the start. */
const struct tally *dispatcher_get_tally(const struct dispatcher *dispatcher);

/* What a script has to do now. */
struct dispatcher_load {
	uint64_t waiting; /* queued or backing off, in memory or in the journal */
	unsigned running; /* or being started */
	uint64_t oldest_realtime_usec; /* when the first that is queued was made; 0: none is */
};
void dispatcher_get_load(const struct dispatcher *dispatcher, const char *script, struct dispatcher_load *ret);

/* dispatcher_executor_for - the executor a script gets: its own choice, else the first route
 * that fits, else the default. */
const char *dispatcher_executor_for(const struct dispatch_config *config, const struct script *script);

/* ------------------------------------------------------------------------------------------- holds
 * dispatcher_hold - HOLD (copied; its id is not looked at) begins and is stored at once: no job
 * that it covers is offered a place from now on. One with the same scope, kind and name or object
 * is replaced.
 * 0 and its id; -EDQUOT: there are HOLDS_MAX; other: it could not be stored. */
int dispatcher_hold(struct dispatcher *dispatcher, const struct hold *hold, uint64_t *ret_id, struct lsn_error *err);

/* dispatcher_lift - the hold with this id ends.
 * 0, -ENOENT, other: the journal cannot be written, and it stands on. */
int dispatcher_lift(struct dispatcher *dispatcher, uint64_t id, struct lsn_error *err);

/* Valid until the dispatcher is called again.
 * dispatcher_find_hold - one that covers such a job (see hold_covers()), or NULL. */
const struct hold_list *dispatcher_holds(const struct dispatcher *dispatcher);
const struct hold *dispatcher_get_hold(const struct dispatcher *dispatcher, uint64_t id);
const struct hold *dispatcher_find_like(const struct dispatcher *dispatcher, const struct hold *hold);
const struct hold *dispatcher_find_hold(const struct dispatcher *dispatcher, const char *script, const char *executor,
					uint64_t object);

/* dispatcher_count_held - the queued jobs that HOLD (NULL: any) keeps. */
struct held_count {
	uint64_t jobs; /* as far as memory knows */
	bool more; /* there are others in the journal */
	uint64_t oldest_realtime_usec; /* when the event of the oldest came; 0: not known */
};
void dispatcher_count_held(const struct dispatcher *dispatcher, const struct hold *hold, struct held_count *ret);

/* dispatcher_oldest_free - when the event came of the oldest unfinished job in memory that no hold
 * keeps; 0: there is none. */
uint64_t dispatcher_oldest_free(const struct dispatcher *dispatcher);

/* What a job that is QUEUED or in BACKOFF waits for: the first of these that holds. */
enum wait_reason {
	WAIT_NOTHING, /* it has a place coming, or there is no such job */
	WAIT_HELD, /* a hold: somebody paused it */
	WAIT_ORDER, /* an earlier job of the script about the same object comes first */
	WAIT_BACKOFF, /* the pause before a further attempt */
	WAIT_RATE, /* the script's `rate`, or [limits] rate_max */
	WAIT_LOOP_BRAKE, /* a pause that finds out whether scripts cause their own events */
	WAIT_SCRIPT_LIMIT, /* [dispatcher] per_script */
	WAIT_LIMIT, /* [dispatcher] max_running */
	WAIT_EXECUTOR_MISSING, /* its executor is not configured */
	WAIT_EXECUTOR_DOWN, /* its executor has a problem */
	WAIT_EXECUTOR_FULL, /* its executor has no place */
	WAIT_SHORTAGE, /* of descriptors, memory, disk: tried again soon */
	WAIT_STOPPED, /* the daemon is stopping */
	WAIT_REASON_MAX
};
extern const char *const wait_reason_names[WAIT_REASON_MAX]; /* "nothing", "order" and so on */

struct wait {
	enum wait_reason reason;
	uint64_t hold; /* WAIT_HELD: that hold */
	uint64_t earlier; /* WAIT_ORDER: that job */
	char executor[EXECUTOR_NAME_SIZE]; /* the one it is for, as far as that is known; "" */
	char text[512]; /* for people: what WAIT_... says, with names and figures */
};

/* dispatcher_get_wait - of SCRIPT's job ID about OBJECT, which waits. */
void dispatcher_get_wait(const struct dispatcher *dispatcher, const char *script, uint64_t id, uint64_t object,
			 struct wait *ret);

/* dispatcher_foresee - the same for a job of SCRIPT about OBJECT that came now. */
void dispatcher_foresee(const struct dispatcher *dispatcher, const struct script *script, uint64_t object,
			struct wait *ret);

/* dispatcher_count_waiting - what EXECUTOR refuses to take now, and what it has. */
struct dispatcher_waiting {
	uint64_t jobs;
	/* CLOCK_MONOTONIC: since when some script is refused and the executor has taken and
	 * reported nothing; 0: none is */
	uint64_t since_usec;
	const char *refusal; /* why, in its words, until the dispatcher is called again; "" */
	unsigned running; /* handed over, and not given up */
};
void dispatcher_count_waiting(const struct dispatcher *dispatcher, const char *executor,
			      struct dispatcher_waiting *ret);

/* dispatcher_each_storm - scripts with more than STORM_WARN jobs that wait. */
void dispatcher_each_storm(const struct dispatcher *dispatcher,
			   void (*fn)(void *data, const char *script, uint64_t jobs), void *data);

/* dispatcher_each_missing - executors that jobs wait for and that are not configured, each once at
 * least. */
void dispatcher_each_missing(const struct dispatcher *dispatcher, void (*fn)(void *data, const char *executor),
			     void *data);

/* dispatcher_check - every job in memory has one owner, and what can be derived agrees with what
 * is kept.
 * NULL, or what is wrong.
 * Slow: for tests. */
const char *dispatcher_check(const struct dispatcher *dispatcher);

#endif
