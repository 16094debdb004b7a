/* pool_done.c - the end of a pool: what stays for a successor, and the removal of all the rest. */
#include "pool_private.h"
#include "backend.h"
#include "netns.h"
#include "options.h"
#include "pressure.h"
#include "sandbox.h"
#include "tenants.h"

#include <stdlib.h>

#include <cleanup.h>
#include <util.h>

/* A job whose result is not committed yet may be asked for by a successor. */
static bool sandbox_stays(const struct sandbox *sb)
{
	return sb->job_id != POOL_OWN_JOB &&
	       (sb->state == SANDBOX_RUNNING || sb->state == SANDBOX_RECOVERING || sb->state == SANDBOX_REPORTED);
}

/* Containers that go; their folders go after them. */
struct sweep {
	char (*ids)[SANDBOX_ID_SIZE];
	size_t count;
};

static void sweep_add(struct sweep *s, const char *id)
{
	if (s->ids)
		memcpy(s->ids[s->count++], id, SANDBOX_ID_SIZE);
}

static void sweep_now(const struct pool *pool, const struct sweep *s, uint64_t budget_usec)
{
	const struct backend *backend = pool->env.backend;

	if (s->count > 0)
		backend->end_now(backend->self, s->ids, s->count, budget_usec);
	for (size_t i = 0; i < s->count; i++)
		sandbox_remove_folder(pool->env.run_dir_fd, s->ids[i]);
}

static size_t containers_count(const struct pool *pool)
{
	const struct netns *b = NULL;
	size_t count = pool->total;

	TAILQ_FOREACH (b, &pool->namespaces, link)
		count++;
	return count;
}

/* What the pool has of the host and of itself. */
static void pool_clear(struct pool *pool)
{
	const struct lsn_host *host = pool->env.host;

	host->timer_cancel(host->handle, pool->pause);
	host->timer_cancel(host->handle, pool->patience.timer);
	host->timer_cancel(host->handle, pool->expiry.timer);
	pressure_close(&pool->pressure);
	tenants_done(&pool->tenants);
}

void pool_drop(struct pool *pool)
{
	struct sandbox *sb;
	struct netns *b;

	pool->stopping = true;
	while ((sb = TAILQ_FIRST(&pool->list))) {
		TAILQ_REMOVE(&pool->list, sb, link);
		pool_bind(pool, sb, NULL);
		if (sb->netns)
			sb->netns->state = NETNS_FREE;
		sandbox_free(sb);
	}
	while ((b = TAILQ_FIRST(&pool->namespaces))) {
		TAILQ_REMOVE(&pool->namespaces, b, link);
		netns_free(b);
	}
	pool_clear(pool);
}

unsigned pool_done(struct pool *pool, bool detach, uint64_t budget_usec)
{
	_cleanup_free_ char(*ids)[SANDBOX_ID_SIZE] = calloc(containers_count(pool) + 1, sizeof *ids);
	struct sweep sweep = { .ids = ids };
	struct sandbox *sb;
	struct netns *b;
	unsigned left = 0;

	pool->stopping = true;
	while ((sb = TAILQ_FIRST(&pool->list))) {
		TAILQ_REMOVE(&pool->list, sb, link);
		pool_bind(pool, sb, NULL);
		if (detach && sandbox_stays(sb))
			left++;
		else {
			sweep_add(&sweep, sb->id);
			if (sb->netns)
				sb->netns->state = NETNS_FREE;
		}
		sandbox_free(sb);
	}
	while ((b = TAILQ_FIRST(&pool->namespaces))) {
		TAILQ_REMOVE(&pool->namespaces, b, link);
		if (b->state != NETNS_TAKEN) /* by one that stays */
			sweep_add(&sweep, b->id);
		netns_free(b);
	}
	sweep_now(pool, &sweep, budget_usec);
	pool_clear(pool);
	return left;
}
