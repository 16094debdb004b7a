/* dispatcher_recover.c - what the last daemon left: jobs it had handed over, whose executors are
 * asked, and jobs that wait. */
#include "dispatcher_private.h"
#include "executors.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct recovery {
	struct dispatcher *dispatcher;
	int result;
	struct lsn_error *err;
};

/* ask - 0: RET_RUN is out; negative: it cannot be known, and RET_RUN, if there is one, is to be
 * forgotten. */
static int ask(struct dispatcher *d, struct job *job, struct run **ret_run, struct lsn_error *err)
{
	struct executor *executor = d->executors ? executors_find(d->executors, job->executor) : NULL;

	*ret_run = NULL;
	if (!executor)
		return lsn_error_set(err, -ENOENT,
				     "the executor of the job is no longer configured, so it cannot "
				     "be asked how the job ended");
	/* what held when it was handed over is not known, and it was cut there */
	job->abi.output_limit_bytes = JOB_OUTPUT_LIMIT_MAX_BYTES;
	int r = executor_recover(executor, job, ret_run, err);
	if (r == -ENOSYS)
		return lsn_error_set(err, r,
				     "the daemon ended while the job ran, and the executor cannot tell how "
				     "the job ended");
	return r;
}

/* start_fails - what is short at the start is not given back while we wait: the next start asks
 * again, and nothing has been decided. */
static void start_fails(struct recovery *recovery, const struct job *job, const struct lsn_error *err)
{
	recovery->result = lsn_error_set(recovery->err, err->code,
					 "the executor %s cannot be asked about the running job %" PRIu64 ": %s",
					 job->executor, job->abi.id, err->message);
}

static void recover_one(void *data, struct job *job)
{
	struct recovery *recovery = data;
	struct dispatcher *d = recovery->dispatcher;
	struct lsn_error err = { 0 };
	struct run *run;

	if (recovery->result < 0) {
		(void)job_unref(job);
		return;
	}
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
	if (errno_is_shortage(err.code))
		start_fails(recovery, job, &err);
	else
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
	struct recovery recovery = { .dispatcher = d, .err = err };

	/* First the holds, then what waits: a lane that knows of no rows believes that it has read
	 * them all. */
	int r = dispatcher_load_holds(d, err);
	if (r >= 0)
		r = journal_list_waiting(d->journal, found_waiting, d, err);

	if (r >= 0)
		r = journal_load_running(d->journal, recover_one, &recovery, err);
	if (r >= 0)
		r = recovery.result;
	d->hooks.turn(d->hooks.data);
	return r;
}
