/* tenants.h - the scripts that a pool knows: how much each is used, how long its jobs take,
 * whether jobs of it wait.
 *
 * A tenant is a script version together with the memory that its jobs ask for: what a sandbox can
 * be bound to.
 *
 * Use is counted in TENANT_USE for each job and halves every TENANT_HALF_LIFE_USEC. So it is a
 * rate that forgets: a script that fires every second stands above one that fires every hour,
 * whichever was used last.
 *
 * Tenants that have no sandbox, do not wait and have not been used for long are forgotten by
 * tenants_prune(). Loop thread only. */
#ifndef POOL_TENANTS_H
#define POOL_TENANTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define VERSION_SIZE 65
#define TENANT_USE 1024u
#define TENANT_HALF_LIFE_USEC (60 * UINT64_C(1000000))
#define TENANT_STALE_USEC (5 * UINT64_C(1000000)) /* nobody has asked again */

struct sandbox;
TAILQ_HEAD(tenant_sandboxes, sandbox);

struct tenant {
	char version[VERSION_SIZE];
	uint64_t memory_bytes;
	struct tenant_sandboxes sandboxes; /* bound to it; the pool's */
	uint64_t waiting; /* jobs, as the host counts them; 0: none waits */
	uint64_t since_usec, asked_usec; /* waits since; was last put off */
	bool starved; /* no sandbox could be hoped for soon: one had to be made */
	uint64_t run_usec, cpu_usec; /* of a job, moving means; 0: not known yet */
	uint64_t uses, period; /* uses as of that half-life */
	TAILQ_ENTRY(tenant) all, queue;
};
TAILQ_HEAD(tenant_list, tenant);

struct tenants {
	void *by_key; /* tsearch() */
	struct tenant_list all;
	struct tenant_list waiting; /* longest first */
	uint64_t period; /* of the last clearing */
};

void tenants_init(struct tenants *tenants);
void tenants_done(struct tenants *tenants);

/* tenants_find - NULL: not known. */
struct tenant *tenants_find(struct tenants *tenants, const char *version, uint64_t memory_bytes);

/* tenants_get - likewise, and makes it known. NULL: no memory. */
struct tenant *tenants_get(struct tenants *tenants, const char *version, uint64_t memory_bytes);

/* tenants_prune - end waits that nobody has repeated, forget tenants that are nothing any more.
 * Returns how many waits ended. */
unsigned tenants_prune(struct tenants *tenants, uint64_t now_usec);

/* tenant_wait - a job of it was put off; WAITING jobs (at least 1) wait with it. */
void tenant_wait(struct tenants *tenants, struct tenant *tenant, uint64_t waiting, uint64_t now_usec);

/* tenant_served - a job of it got its sandbox; LEFT jobs wait on, at the end of the queue. */
void tenant_served(struct tenants *tenants, struct tenant *tenant, uint64_t left, uint64_t now_usec);

void tenant_use(struct tenant *tenant, uint64_t now_usec);
uint64_t tenant_uses(const struct tenant *tenant, uint64_t now_usec);

/* tenant_ran - a job of it took RUN_USEC, and CPU_USEC of a processor. */
void tenant_ran(struct tenant *tenant, uint64_t run_usec, uint64_t cpu_usec);

#endif
