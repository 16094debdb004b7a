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
 * undoes its own work and the old instances serve on. An instance whose module file or options
 * changed is replaced; one of which only `concurrency`, `on_lost` or `open` changed is kept and
 * gets the new figures. The old one drains: it takes no new jobs and is freed, from the loop and
 * not from inside any call, when its last job is done and its results have been forgotten. Where
 * two instances of one section share outside resources (a network, a label, the run folder), the
 * module must cope: both know the same listener and instance name. */
#ifndef CORE_EXECUTORS_H
#define CORE_EXECUTORS_H

#include "host.h"
#include "job.h"
#include "script.h"

struct executors;
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
	/* offer waiting jobs again; from the loop, never nested */
	void (*ready)(void *data, struct executor *executor);
	/* done - exactly once per job, guarded: a second done() of the module is logged and
	 * ignored, one from inside submit() or recover() is logged and the job ends as LOST on
	 * the next turn. RESULT is whole, its strings are valid, its output within the job's
	 * limit. May be nested in executor_cancel(), never in submit or recover. */
	void (*done)(void *data, struct executor *executor, struct job *job, const struct lsn_result *result);
	void *data;
};

int executors_new(sd_event *loop, const struct executors_hooks *hooks, struct executors **ret);

/* executors_free - frees all instances; running jobs must have been detached or be done.
 * Jobs are not touched: they may be gone before. */
void executors_free(struct executors *executors);

/* executors_prepare - build what CONFIG (copied) asks for beside what serves.
 * ERR names section, file and remedy. */
int executors_prepare(struct executors *executors, const struct executors_config *config, struct lsn_error *err);
void executors_swap(struct executors *executors); /* after a successful prepare */
void executors_abandon(struct executors *executors); /* drop what prepare built */

/* executors_find - the instance in force; if the section is gone, the youngest that still drains
 * (it refuses new jobs with -EAGAIN, but its results can be forgotten); NULL. */
struct executor *executors_find(struct executors *executors, const char *name);

/* with the draining ones */
void executors_each(struct executors *executors, void (*fn)(void *data, struct executor *executor), void *data);

const char *executor_name(const struct executor *executor);
const struct executor_config *executor_get_config(const struct executor *executor);
unsigned executor_running(const struct executor *executor); /* reserved or submitted jobs */
bool executor_draining(const struct executor *executor);

/* first 12 hex digits of the module file's SHA-256 */
const char *executor_version(const struct executor *executor);
const struct lsn_executor_module *executor_module(const struct executor *executor);

/* The calls of the ABI, guarded: optional ones may be missing, each call is timed and a slow one
 * is named in the log.
 * JOB->abi must be filled.
 * While reserved or submitted the executor counts the job and JOB->instance points to it. */

/* fills job->place; -EAGAIN also at concurrency and when draining.
 * Needed before submit() even of a module without reserve(): its place is "" */
int executor_reserve(struct executor *executor, struct job *job, struct lsn_error *err);
void executor_release(struct executor *executor, struct job *job);
int executor_submit(struct executor *executor, struct job *job, struct lsn_error *err);
void executor_cancel(struct executor *executor, struct job *job);

/* -ENOSYS if not offered */
int executor_recover(struct executor *executor, struct job *job, struct lsn_error *err);

/* executor_forget - once for every done job that had a place and whose outcome is not
 * NOT_STARTED; an instance that drains waits for it.
 * Finds the instance that ran the job if EXECUTOR has replaced it. */
void executor_forget(struct executor *executor, uint64_t job_id, const char *place);

/* executor_can_detach - true: running jobs can go on without us. */
bool executor_can_detach(const struct executor *executor);

/* executor_detach - true: running jobs go on without us. */
bool executor_detach(struct executor *executor);
void executor_describe(struct executor *executor, lsn_describe_fn fn, void *data);

/* -ENOSYS if not offered */
int executor_probe(struct executor *executor, lsn_probe_fn fn, void (*end)(void *data), void *data);

#endif
