/* plugin.h - what the executors of the tests share: an executor that does nothing right or
 * wrong. PLUGIN(...) takes the members that differ. */
#ifndef TESTS_PLUGIN_H
#define TESTS_PLUGIN_H

#include <errno.h>
#include <listener/executor.h>
#include <stdlib.h>

struct plain { /* the instance of plugins that need nothing more */
	const struct lsn_host *host;
};

__attribute__((unused)) static int plain_init(const struct lsn_host *host, const struct lsn_option *options,
					      size_t count, void **ret_instance, struct lsn_error *err)
{
	struct plain *plain = calloc(1, sizeof *plain);

	(void)options;
	(void)count;
	if (!plain)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	plain->host = host;
	*ret_instance = plain;
	return 0;
}

__attribute__((unused)) static void plain_free(void *instance) { free(instance); }

__attribute__((unused)) static int plain_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	(void)instance;
	(void)job;
	return lsn_error_set(err, -EPERM, "this plugin runs nothing");
}

#define PLUGIN(plugin_name, ...)                                                                                       \
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Woverride-init\"")                           \
		LSN_EXPORT const struct lsn_executor_module lsn_executor = { .version = LSN_ABI_VERSION,               \
									     .size = sizeof lsn_executor,              \
									     .name = plugin_name,                      \
									     .description = "for the tests",           \
									     .init = plain_init,                       \
									     .free = plain_free,                       \
									     .submit = plain_submit,                   \
									     __VA_ARGS__ };                            \
	_Pragma("GCC diagnostic pop")

#endif
