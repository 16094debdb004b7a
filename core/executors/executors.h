/* executors.h - loads executor modules and keeps their instances.
 *
 * Modules are found as NAME.so in one folder, copied into memory and opened from the copy, so
 * that overwriting the file cannot hurt a running daemon. A file or folder that anyone but its
 * owner (root or the daemon's user) can write is refused, and so is a module with the wrong
 * symbol, major version or struct size, and one that crashes or hangs while it is loaded (see
 * module.h) or crashed in init() before (init_guard.h).
 *
 * A configuration is applied as a whole: executors_prepare() loads and initialises everything
 * new beside the old; executors_swap() puts it in force; on any failure executors_prepare()
 * undoes its own work and the old instances stay in use. An instance whose module file or options
 * changed is replaced; one of which only `concurrency`, `on_lost` or `open` changed is kept and
 * gets the new figures. The old one drains: it takes no new jobs and is freed, from the loop and
 * not from inside any call, when its last job is done and its results have been forgotten. Where
 * two instances of one section share outside resources (a network, a label, the run folder), the
 * module must cope: both know the same listener and instance name. */
#ifndef CORE_EXECUTORS_H
#define CORE_EXECUTORS_H

#include "host.h"
#include "content.h"
#include "job.h"
#include "script.h"

struct executors;
struct run;
struct executor; /* one instance */

struct executor_config { /* one [executor NAME] section */
	char name[EXECUTOR_NAME_SIZE];
	char module[EXECUTOR_NAME_SIZE]; /* default: the section's NAME */
	unsigned concurrency; /* jobs at the same time */
	enum on_lost on_lost; /* where neither script nor policy say it: REPORT or RERUN */
	bool open; /* may scripts choose it by their `executor` metadata */
	struct lsn_option *options; /* everything else, for the module; strings owned */
	size_t option_count;
};

struct executors_config {
	char *folder; /* of the modules */
	char *run_dir; /* instances get run_dir/NAME */
	char *libexec_dir;
	char *listener; /* identity */
	struct executor_config *executors;
	size_t executor_count;
};

struct executors_hooks {
	void (*ready)(void *data,
		      /* offer waiting jobs again; from the loop, never nested */
		      struct executor *executor);
	/* of those that EXECUTOR put off, offer the one again that has waited longest;
	 * SCRIPT_VERSION NULL: of any script. May be nested in a call of a module. False: none
	 * waits. */
	bool (*ready_for)(void *data, const struct executor *executor, const char *script_version);
	/* done - exactly once per submitted or recovered run, guarded: a second done() of the
	 * module is logged and ignored, one from inside submit() or recover() is logged and the
	 * run ends as LOST on the next turn. RESULT is whole, its strings are valid, its output
	 * within the job's limit. RUN is kept until executor_forget(). May be nested in
	 * executor_cancel(), never in submit or recover of the same run. */
	void (*done)(void *data, struct run *run, const struct lsn_result *result);
	void *data;
};

int executors_new(sd_event *loop, const struct executors_hooks *hooks, struct executors **ret);

/* executors_free - frees all instances; running jobs must have been detached or be done.
 * Jobs are not touched: they may be gone before. */
void executors_free(struct executors *executors);

/* executors_prepare - build what CONFIG (borrowed until FN has been called or
 * executors_abandon()) asks for beside what serves.
 * New modules and new options are tried in children meanwhile; FN(data, r, err) is called once,
 * from the loop: 0, now executors_swap() or executors_abandon(); or a negative errno with ERR,
 * which names section, file and remedy: then nothing is left of it.
 * 0, or a negative errno with ERR: FN is not called. */
typedef void (*executors_prepared_fn)(void *data, int r, const struct lsn_error *err);
int executors_prepare(struct executors *executors, const struct executors_config *config, executors_prepared_fn fn,
		      void *data, struct lsn_error *err);

/* executors_prepare_now - the same for a caller that may block: at the start. Modules' check() is
 * not asked: there is nothing to fall back to, and what is missing may come. */
int executors_prepare_now(struct executors *executors, const struct executors_config *config, struct lsn_error *err);
void executors_swap(struct executors *executors); /* after a successful prepare */
void executors_abandon(struct executors *executors); /* drop what prepare built */

/* executors_find - the instance in force; if the section is gone, the youngest that still drains
 * (it refuses new jobs with -EAGAIN, but its results can be forgotten); NULL. */
struct executor *executors_find(struct executors *executors, const char *name);

/* with the draining ones */
void executors_each(struct executors *executors, void (*fn)(void *data, struct executor *executor), void *data);

const char *executor_name(const struct executor *executor);
const struct executor_config *executor_get_config(const struct executor *executor);

/* reserved or submitted runs, those given up included */
unsigned executor_running(const struct executor *executor);

/* CLOCK_MONOTONIC: when it last took or reported a job, or was made */
uint64_t executor_worked_usec(const struct executor *executor);
bool executor_draining(const struct executor *executor);

/* first 12 hex digits of the module file's SHA-256 */
const char *executor_version(const struct executor *executor);
const struct lsn_executor_module *executor_module(const struct executor *executor);

/* The calls of the ABI, guarded: optional ones may be missing, each call is timed and a slow one
 * is named in the log.
 *
 * A run is one attempt at a job, at one instance.
 * It is made by executor_reserve() or executor_recover() and belongs to the instance; the caller
 * may keep its address until it calls executor_release() or executor_forget(), or until
 * executor_submit() fails. */
enum run_state {
	RUN_RESERVED,
	RUN_SUBMITTED, /* done() is owed by the module */
	RUN_DONE, /* executor_forget() is owed to it */
};

struct run {
	struct lsn_job abi; /* what the module sees */
	struct job *job; /* a reference */
	struct executor *executor;
	enum run_state state;
	char place[LSN_PLACE_SIZE];

	/* the instance's */
	LIST_ENTRY(run) list;
	struct table_link by_address; /* of abi */
	/* not NULL: the module broke the rules; the run ends as LOST on the next turn, for this
	 * reason */
	const char *lost;
	struct content *payload, *script; /* behind the descriptors of abi */

	/* the dispatcher's */
	LIST_ENTRY(run) of_job;
	TAILQ_ENTRY(run) reported;
};
TAILQ_HEAD(run_queue, run);

/* executor_is_full - an executor_reserve() would come to -EAGAIN whatever the job. */
bool executor_is_full(const struct executor *executor);

/* executor_wants_contents - the module was built against 1.0 and may look at the descriptors in
 * reserve(). */
bool executor_wants_contents(const struct executor *executor);

/* executor_reserve - a place for the attempt JOB->abi.attempt at JOB.
 * Needed before submit() even of a module without reserve(): its place is "".
 * PAYLOAD and SCRIPT may be NULL unless executor_wants_contents(); their references are taken
 * over on success.
 * Returns 0, -EAGAIN (also at concurrency and when draining) or another negative errno. */
int executor_reserve(struct executor *executor, struct job *job, struct content *payload, struct content *script,
		     struct run **ret, struct lsn_error *err);

/* run_set_contents - the descriptors of RUN, before executor_submit(); both references are taken
 * over. */
void run_set_contents(struct run *run, struct content *payload, struct content *script);
void executor_release(struct run *run);

/* executor_submit - 0, or negative: then RUN is gone. */
int executor_submit(struct run *run, struct lsn_error *err);
void executor_cancel(struct run *run);
bool executor_can_cancel(const struct run *run);

/* executor_recover - JOB->place says where the run is.
 * 0: done() will be called.
 * Negative (-ENOSYS: not offered): it cannot be known what became of it; *RET, unless that is
 * NULL for want of memory, is RUN_DONE, to be forgotten. */
int executor_recover(struct executor *executor, struct job *job, struct run **ret, struct lsn_error *err);

/* executor_grace_usec - how long after its time limit RUN may be unreported; LSN_NEVER. */
uint64_t executor_grace_usec(const struct run *run);

/* executor_forget - once for every run that was reported: its result is safe.
 * An instance that drains waits for it. */
void executor_forget(struct run *run);

/* executor_can_detach - true: running jobs can go on without us. */
bool executor_can_detach(const struct executor *executor);

/* executor_detach - true: running jobs go on without us. */
bool executor_detach(struct executor *executor);
void executor_describe(struct executor *executor, lsn_describe_fn fn, void *data);

/* executor_get_health - what describe() says under the keys that docs/executor-abi.md names.
 * Asked at most ten times a second; in between the answer is the last one. */
struct executor_health {
	char problem[256]; /* why it runs no jobs; "": it does */
	uint64_t problem_since_realtime_usec; /* if it does not say so: when it was first seen; 0: none */
	char warning[256]; /* worth a look, and stops nothing; "": none */
	uint64_t warning_since_realtime_usec;
	char pool[256]; /* how its places are used; "": it does not say */
};
const struct executor_health *executor_get_health(struct executor *executor);

void executor_expect(struct executor *executor, uint64_t scripts);

/* -ENOSYS if not offered */
int executor_probe(struct executor *executor, lsn_probe_fn fn, void (*end)(void *data), void *data);

#endif
