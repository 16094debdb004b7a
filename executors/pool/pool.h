/* pool.h - all sandboxes of an instance: which job gets which, how many there are, which are
 * given up.
 *
 * Unbound sandboxes are spare: no script was in them. The first job binds one to its tenant
 * (tenants.h): to its script version. With reuse = script it then serves successive jobs of that
 * version and of no other. With reuse = never a sandbox goes after its job; a backlog of one script
 * is then worked off in namespaces (netns.h), and the spares are left to others.
 *
 * How many there may be is a matter of memory, of addresses, of descriptors, and of pool_max
 * (room.h). A job that finds no sandbox makes its tenant wait, and then (pool_fill.c):
 *  - a tenant that has none gets one before any other gets a second;
 *  - where there is no room, the idle sandbox goes whose tenant is used least; of tenants that
 *    have several, one goes first;
 *  - where none is idle, a sandbox that ends a job goes once it has served its tenant's jobs for a
 *    while, so that waiting jobs of one script are worked off together;
 *  - a further sandbox is started only where it shortens the wait by more than its start takes.
 *
 * A tenant whose sandbox has become free is told to the host by name (ready_for), so that the
 * others that wait are not all asked in vain. Loop thread only. */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "netns.h"
#include "pressure.h"
#include "problem.h"
#include "room.h"
#include "sandbox.h"
#include "tenants.h"
#include "wall.h"

#define POOL_OWN_JOB UINT64_MAX /* id of a job the host knows nothing of; there may be one */

struct pool_timer {
	struct lsn_timer *timer;
	uint64_t usec; /* when it fires */
};

struct pool_counts { /* of jobs, by how they came to their sandbox */
	uint64_t hits; /* one that has served their script */
	uint64_t spares; /* a spare */
	uint64_t misses; /* they waited for one to be made */
};

TAILQ_HEAD(sandbox_list, sandbox);
TAILQ_HEAD(netns_list, netns);

struct pool {
	struct sandbox_env env;
	const struct options *options;
	const struct wall *wall; /* NULL: sandboxes have no network */
	bool up; /* sandboxes can be made */
	struct sandbox_list list; /* idle ones: least recently used first */
	struct netns_list namespaces; /* reuse = never: for a backlog of one script */
	unsigned total;
	struct tenants tenants;
	struct room room;
	struct pressure pressure;
	uint64_t scripts; /* registered for this instance, as far as the host says */
	uint64_t memory_bytes; /* what the next spare is made for: what jobs ask for */
	uint64_t start_usec; /* how long a start takes, moving mean; 0: not known yet */
	unsigned processors;
	unsigned failures; /* starts in a row that failed */
	struct lsn_timer *pause; /* no start before it has fired */
	struct pool_timer patience; /* waiting tenants are looked at again */
	struct pool_timer expiry; /* some have been idle, or there, for long enough */
	uint64_t started, ended, jobs, evicted; /* since init */
	struct pool_counts counts; /* since init */
	struct pool_counts recent; /* halved whenever they are a thousand */
	uint32_t landlock_abi, walls;
	/* hears how the own job went; its sandbox goes then */
	void (*own_done)(void *data, const struct lsn_result *result);
	void *own_data;
	bool landlock_known, stopping;
	struct problem problem; /* the last start failed */
};

/* pool_init - nothing is up yet.
 * ENV is copied, except what it points to; the pool sets its hooks.
 * WALL may be NULL. */
int pool_init(struct pool *pool, const struct sandbox_env *env, const struct wall *wall, struct lsn_error *err);

/* pool_done - with DETACH sandboxes that owe a result stay for a successor, all others are
 * removed; BUDGET_USEC is spent on it at most.
 * Returns how many stay. */
unsigned pool_done(struct pool *pool, bool detach, uint64_t budget_usec);

/* pool_drop - the same, but what is outside stays: somebody else removes it. */
void pool_drop(struct pool *pool);

int pool_reserve(struct pool *pool, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err);
void pool_release(struct pool *pool, const struct lsn_job *job);
int pool_submit(struct pool *pool, const struct lsn_job *job, struct lsn_error *err);
void pool_cancel(struct pool *pool, const struct lsn_job *job);
int pool_recover(struct pool *pool, const struct lsn_job *job, const char *place, struct lsn_error *err);
void pool_forget(struct pool *pool, uint64_t job, const char *place);

/* pool_renew - sandboxes that are made from now on are better ones: no other gets a further job.
 * Jobs that run go on. */
void pool_renew(struct pool *pool, const char *why);

/* pool_expect - SCRIPTS are registered that may have jobs here. */
void pool_expect(struct pool *pool, uint64_t scripts);

/* pool_drop_own - end the own job with its sandbox, without a word to own_done(). */
void pool_drop_own(struct pool *pool);

/* pool_set_up - UP: sandboxes can be made from now on. The backend may have been away, and what it
 * held without a job may be gone. Not UP: no sandbox is started or given to a job. */
void pool_set_up(struct pool *pool, bool up);
void pool_fill(struct pool *pool); /* start what is missing */
struct sandbox *pool_find(struct pool *pool, const char *id);

struct pool_figures {
	unsigned spare, idle, busy, starting, ending, total;
	unsigned most; /* there is room for so many */
	enum room_limit limit; /* that says so */
	uint64_t bytes_each; /* a sandbox takes, on average */
	unsigned tenants; /* that have one, or wait for one */
	unsigned waiting; /* tenants that wait for one */
};
void pool_get_figures(const struct pool *pool, struct pool_figures *ret);

#endif
