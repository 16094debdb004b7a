/* executor.h - an instance of docker-sandbox: its parts in one struct. */
#ifndef DOCKER_SANDBOX_EXECUTOR_H
#define DOCKER_SANDBOX_EXECUTOR_H

#include "container.h"
#include "janitor.h"
#include "pool.h"
#include "prerequisites.h"
#include "resolver_file.h"
#include "settings.h"

struct probe;

struct instance {
	const struct lsn_host *host;
	struct settings settings;
	char *seccomp;
	int run_dir_fd;
	struct prerequisites prereq;
	struct containers containers;
	struct pool pool;
	struct resolver_watch resolvers;
	struct janitor janitor;
	struct lsn_timer *janitor_timer;
	bool recovered; /* recover() is not called any more */
	bool cleaned, detached;
	struct probe *probe; /* under way; NULL */
};

/* probe.c - lsn_executor_module.probe.
 * -EBUSY: one is under way. */
int probe_start(void *instance, lsn_probe_fn fn, void (*end)(void *data), void *data);
void probe_cancel(struct instance *instance); /* without a call to END */

#endif
