/* Reports jobs from inside submit(). One with payload it then refuses all the same. */
#include "plugin.h"

static int bad_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	struct plain *plain = instance;
	struct lsn_result result = { .version = LSN_ABI_VERSION,
				     .size = sizeof result,
				     .outcome = LSN_OUTCOME_SUCCESS };

	plain->host->done(plain->host->handle, job, &result);
	return job->payload_size ? lsn_error_set(err, -EIO, "and yet it cannot be run") : 0;
}

PLUGIN("bad-done-inside", .submit = bad_submit)
