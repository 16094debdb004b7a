/* Takes jobs and is never heard of again. */
#include "plugin.h"

static int bad_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	(void)instance;
	(void)job;
	(void)err;
	return 0;
}

PLUGIN("bad-done-never", .submit = bad_submit)
