/* janitor.h - removes what nobody looks after: containers with this instance's labels whose
 * folder is not locked by any instance, folders without a container, unused networks of earlier
 * settings. Loop thread only. */
#ifndef DOCKER_SANDBOX_JANITOR_H
#define DOCKER_SANDBOX_JANITOR_H

#include "pool.h"

struct janitor {
	struct pool *pool;
	struct engine_call *call;
	unsigned removed; /* containers, since init */
};

void janitor_run(struct janitor *janitor, struct pool *pool);
void janitor_done(struct janitor *janitor);

#endif
