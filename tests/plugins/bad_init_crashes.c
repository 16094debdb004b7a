/* Crashes inside init(). */
#include "plugin.h"

#include <signal.h>

static int bad_init(const struct lsn_host *host, const struct lsn_option *options, size_t count, void **ret_instance,
		    struct lsn_error *err)
{
	(void)host;
	(void)options;
	(void)count;
	(void)ret_instance;
	(void)err;
	return raise(SIGSEGV);
}

PLUGIN("bad-init-crashes", .init = bad_init)
