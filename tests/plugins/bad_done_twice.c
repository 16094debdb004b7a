/* Reports each job twice, and a job that never was. */
#include "plugin.h"

struct run {
	const struct lsn_host *host;
	const struct lsn_job *job;
};

static void report(void *data)
{
	struct run *run = data;
	struct lsn_result result = { .version = LSN_ABI_VERSION,
				     .size = sizeof result,
				     .outcome = LSN_OUTCOME_SUCCESS };
	struct lsn_job nobody = { .id = 1 };

	run->host->done(run->host->handle, &nobody, &result);
	run->host->done(run->host->handle, NULL, &result);
	run->host->done(run->host->handle, run->job, &result);
	result.outcome = LSN_OUTCOME_FAILURE;
	run->host->done(run->host->handle, run->job, &result);
	free(run);
}

static int bad_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	struct plain *plain = instance;
	struct run *run = calloc(1, sizeof *run);
	struct lsn_timer *timer;

	(void)err;
	if (!run)
		return -ENOMEM;
	*run = (struct run){ .host = plain->host, .job = job };
	return plain->host->timer(plain->host->handle, 0, report, run, &timer);
}

PLUGIN("bad-done-twice", .submit = bad_submit)
