/* An executor as it was built against ABI 1.0: a shorter struct, and descriptors that it looks
 * at in reserve(). */
#include "plugin.h"

#include <stddef.h>
#include <unistd.h>

struct started {
	const struct lsn_host *host;
	const struct lsn_job *job;
};

static int old_reserve(void *instance, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err)
{
	char first;

	(void)instance;
	if (pread(job->script_fd, &first, 1, 0) != 1 || pread(job->payload_fd, &first, 1, 0) != 1)
		return lsn_error_set(err, -EINVAL, "no script or no payload in reserve()");
	(void)snprintf(place, LSN_PLACE_SIZE, "old");
	return 0;
}

static void old_release(void *instance, const struct lsn_job *job)
{
	(void)instance;
	(void)job;
}

static void report(void *data)
{
	struct started *started = data;
	struct lsn_result result = { .version = 1 << 16, .size = sizeof result, .outcome = LSN_OUTCOME_SUCCESS };

	started->host->done(started->host->handle, started->job, &result);
	free(started);
}

static int old_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	const struct lsn_host *host = ((struct plain *)instance)->host;
	struct started *started = calloc(1, sizeof *started);
	struct lsn_timer *timer;

	if (!started)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*started = (struct started){ host, job };
	return host->timer(host->handle, 0, report, started, &timer);
}

PLUGIN("old-minor", .version = 1 << 16, .size = offsetof(struct lsn_executor_module, probe) + sizeof(void (*)(void)),
       .reserve = old_reserve, .release = old_release, .submit = old_submit)
