/* dispatcher_operate.c - on an operator's word. */
#include "dispatcher_private.h"
#include "executors.h"
#include "job.h"
#include "journal.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>

/* get_job - from memory, which knows best, or else from the journal; *RET_LOADED: one reference
 * is the caller's. */
static int get_job(struct dispatcher *d, uint64_t id, struct job **ret, bool *ret_loaded, struct lsn_error *err)
{
	*ret = dispatcher_find(d, id);
	*ret_loaded = !*ret;
	return *ret ? 0 : journal_load_job(d->journal, id, ret, err);
}

static int check_retry(struct dispatcher *d, const struct job *job, struct lsn_error *err)
{
	if (job->state < JOB_FINISHED)
		return lsn_error_set(err, -EBUSY, "job %" PRIu64 " %s: nothing to retry", job->abi.id,
				     job->state == JOB_QUEUED ? "is waiting for its turn" : "has not ended");
	if (job->outcome == LSN_OUTCOME_SUCCESS)
		return lsn_error_set(err, -EINVAL,
				     "job %" PRIu64 " succeeded: nothing to retry; replay makes a new job of it",
				     job->abi.id);
	if (job->unreadable)
		return lsn_error_set(err, -EUCLEAN, "job %" PRIu64 " cannot run: %s", job->abi.id, job->unreadable);
	if (!dispatcher_lane(d, job->script->name))
		return lsn_error_set(err, -ENOMEM, "out of memory");
	return 0;
}

int dispatcher_retry(struct dispatcher *d, uint64_t id, struct lsn_error *err)
{
	struct job *job;
	bool loaded;
	int r = get_job(d, id, &job, &loaded, err);

	if (r < 0)
		return r;
	r = check_retry(d, job, err);
	if (r < 0) {
		if (loaded)
			(void)job_unref(job);
		return r;
	}
	if (loaded)
		dispatcher_take_in(d, job);
	dispatcher_set(d, job, JOB_QUEUED);
	return 0;
}

static int cancel_running(struct job *job, struct lsn_error *err)
{
	if (!executor_can_cancel(job->run))
		return lsn_error_set(err, -EOPNOTSUPP, "executor %s cannot cancel jobs", job->executor);
	executor_cancel(job->run);
	return 0;
}

int dispatcher_cancel(struct dispatcher *d, uint64_t id, struct lsn_error *err)
{
	struct job *job;
	bool loaded;
	int r = get_job(d, id, &job, &loaded, err);

	if (r < 0)
		return r;
	if (job->state >= JOB_FINISHED) {
		if (loaded)
			(void)job_unref(job);
		return lsn_error_set(err, -EALREADY, "job %" PRIu64 " has ended already", id);
	}
	if (job->state == JOB_STARTING)
		return lsn_error_set(err, -EBUSY, "job %" PRIu64 " is being started: try again", id);
	if (job->run)
		return cancel_running(job, err);
	if (loaded) {
		if (!dispatcher_lane(d, job->script->name)) {
			(void)job_unref(job);
			return lsn_error_set(err, -ENOMEM, "out of memory");
		}
		dispatcher_take_in(d, job);
	}
	dispatcher_close(d, job, LSN_OUTCOME_CANCELLED, "cancelled by an operator before it started");
	return 0;
}
