/* pool.h - all sandboxes of an instance: which job gets which, how many are kept ready, which
 * are given up.
 *
 * Unbound sandboxes are spare: no script was in them. The first job binds one to its script
 * version; with reuse = script it then serves successive jobs of that version and of no other,
 * with reuse = never it goes after its job; a backlog of one script is then worked off in
 * namespaces (netns.h), and the spares are left to others.
 *
 * A reservation that finds nothing leaves a demand. A script without any sandbox gets one
 * started at once; one that has some gets another when its demand lasts, or when many of its
 * jobs wait. A backlog gets few namespaces while its jobs are short, and as many as there is
 * room for when they are not. At pool_max idle ones of other scripts are given up, least
 * recently used first; the last place, and the next sandbox that ends its job, are for a script
 * that has none at all. Loop thread only. */
#ifndef DOCKER_SANDBOX_POOL_H
#define DOCKER_SANDBOX_POOL_H

#include "netns.h"
#include "prerequisites.h"
#include "sandbox.h"

#define DEMANDS_MAX 64
#define POOL_OWN_JOB UINT64_MAX /* id of a job the host knows nothing of; there may be one */

struct demand { /* a script whose jobs wait for a sandbox */
	char version[VERSION_SIZE];
	uint64_t memory_bytes;
	uint64_t waiting; /* jobs, as the host counts them, > 0 */
	uint64_t since_usec, last_usec;
};

struct pool_timer {
	struct lsn_timer *timer;
	uint64_t usec; /* when it fires */
};

TAILQ_HEAD(sandbox_list, sandbox);
TAILQ_HEAD(netns_list, netns);

struct pool {
	struct sandbox_env env;
	const struct options *options;
	struct prerequisites *prereq;
	struct sandbox_list list; /* idle ones: least recently used first */
	struct netns_list namespaces; /* reuse = never: for a backlog of one script */
	unsigned total;
	struct demand demands[DEMANDS_MAX];
	size_t demand_count;
	uint64_t memory_bytes; /* what the next spare is made for: what jobs ask for */
	unsigned failures; /* starts in a row that failed */
	struct lsn_timer *hold; /* no start before it has fired */
	struct pool_timer patience; /* demands are looked at again */
	struct pool_timer expiry; /* some have been idle, or there, for long enough */
	uint64_t started, ended, jobs; /* since init */
	uint32_t landlock_abi, walls;
	/* hears how the own job went; its sandbox goes then */
	void (*own_done)(void *data, const struct lsn_result *result);
	void *own_data;
	bool landlock_known, stopping;
	char problem[256];
};

int pool_init(struct pool *pool, const struct sandbox_env *env, struct prerequisites *prereq, struct lsn_error *err);

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

/* pool_drop_own - end the own job with its sandbox, without a word to own_done(). */
void pool_drop_own(struct pool *pool);
void pool_forget(struct pool *pool, uint64_t job, const char *place);

/* pool_engine_back - the engine was away: what it held without a job may be gone. */
void pool_engine_back(struct pool *pool);

/* pool_fill - start what is missing; after the prereq has come up. */
void pool_fill(struct pool *pool);
struct sandbox *pool_find(struct pool *pool, const char *id);

struct pool_figures {
	unsigned spare, idle, busy, starting, ending, total;
};
void pool_get_figures(const struct pool *pool, struct pool_figures *ret);

#endif
