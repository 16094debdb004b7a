/* Reports results that are no results; which one, the job's topic says. */
#include "plugin.h"

struct run {
	const struct lsn_host *host;
	const struct lsn_job *job;
};

static char flood[1 << 20];

static void report(void *data)
{
	struct run *run = data;
	struct lsn_result result = { .version = LSN_ABI_VERSION,
				     .size = sizeof result,
				     .outcome = LSN_OUTCOME_SUCCESS };
	const struct lsn_result *sent = &result;

	if (strcmp(run->job->topic, "null") == 0)
		sent = NULL;
	else if (strcmp(run->job->topic, "major") == 0)
		result.version = (uint32_t)(LSN_ABI_MAJOR + 1) << 16;
	else if (strcmp(run->job->topic, "size") == 0)
		result.size = 4;
	else if (strcmp(run->job->topic, "outcome") == 0)
		result.outcome = 4711;
	else if (strcmp(run->job->topic, "not-started") == 0)
		result.outcome = LSN_OUTCOME_NOT_STARTED;
	/* an older, shorter struct: what follows is not to be read */
	else if (strcmp(run->job->topic, "short") == 0) {
		result.size = offsetof(struct lsn_result, signal);
		result.exit_status = 0;
		result.signal = 11;
	} else if (strcmp(run->job->topic, "flood") == 0) {
		memset(result.message, 0xff, sizeof result.message);
		result.out = flood;
		result.out_size = sizeof flood;
	}
	run->host->done(run->host->handle, run->job, sent);
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

PLUGIN("bad-result", .submit = bad_submit)
