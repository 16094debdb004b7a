/* janitor.h - removes what nobody looks after: containers of this instance whose folder is not
 * locked by any instance, and folders without a container. Loop thread only. */
#ifndef POOL_JANITOR_H
#define POOL_JANITOR_H

#include "backend.h"
#include "pool.h"

struct janitor {
	struct pool *pool;
	struct backend_call *call;
	void (*begun)(void *data);
	void *data;
	unsigned removed; /* containers, since init */
};

/* janitor_run - BEGUN is called once the removals are under way: what only the containers used may
 * go then. A run that is under way is given up. */
void janitor_run(struct janitor *janitor, struct pool *pool, void (*begun)(void *data), void *data);
void janitor_done(struct janitor *janitor);

#endif
