/* Refuses to be initialised, with a reason; leaves a watch behind, as it must not. */
#include "plugin.h"

static void on_time(void *data) { (void)data; }

static int bad_init(const struct lsn_host *host, const struct lsn_option *options, size_t count, void **ret_instance,
		    struct lsn_error *err)
{
	struct lsn_timer *timer;

	(void)ret_instance;
	(void)host->timer(host->handle, 1000000, on_time, NULL, &timer);
	return lsn_error_set(err, -EINVAL, "%s:%u: colour: '%s' is not to my taste", count ? options[0].file : "-",
			     count ? options[0].line : 0, count ? options[0].value : "");
}

PLUGIN("bad-init-fails", .init = bad_init)
