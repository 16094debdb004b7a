/* dispatcher_recover.c - what the last daemon left: jobs it had handed over, whose executors are
 * asked, and jobs that wait. */
#include "dispatcher_private.h"
#include "executors.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>

/* ask - 0: RET_RUN is out; negative: it cannot be known, and RET_RUN, if there is one, is to be
 * forgotten. */
static int ask(struct dispatcher *d, struct job *job, struct run **ret_run, struct lsn_error *err)
{
	struct executor *executor = d->executors ? executors_find(d->executors, job->executor) : NULL;

	*ret_run = NULL;
	if (!executor)
		return lsn_error_set(err, -ENOENT, "its executor is no longer configured: it cannot be asked");
	/* what held when it was handed over is not known, and it was cut there */
	job->abi.output_limit_bytes = JOB_OUTPUT_LIMIT_MAX_BYTES;
	int r = executor_recover(executor, job, ret_run, err);
	if (r == -ENOSYS)
		return lsn_error_set(err, r, "the daemon died while it ran, and its executor cannot tell how it ended");
	return r;
}

static void recover_one(void *data, struct job *job)
{
	struct dispatcher *d = data;
	struct lsn_error err = { 0 };
	struct run *run;

	if (!dispatcher_lane(d, job->script->name))
		abort(); /* no memory at start: the next start tries again */
	dispatcher_take_in(d, job);
	if (ask(d, job, &run, &err) >= 0) {
		dispatcher_begun(job, run);
		dispatcher_set(d, job, JOB_RUNNING);
		dispatcher_watch(d, job);
		return;
	}
	if (run)
		TAILQ_INSERT_TAIL(&d->reported, run, reported);
	dispatcher_attempt_failed(d, job, LSN_OUTCOME_LOST, err.message);
}

static void found_waiting(void *data, const char *script, uint64_t jobs)
{
	struct dispatcher *d = data;
	struct lane *lane = dispatcher_lane(d, script);

	if (!lane)
		abort();
	dispatcher_set_spilled(d, lane, jobs);
	dispatcher_touch(d, lane);
}

int dispatcher_recover(struct dispatcher *d, struct lsn_error *err)
{
	/* First what waits: a lane that knows of no rows believes that it has read them all. */
	int r = journal_list_waiting(d->journal, found_waiting, d, err);

	if (r >= 0)
		r = journal_load_running(d->journal, recover_one, d, err);
	d->hooks.turn(d->hooks.data);
	return r;
}
