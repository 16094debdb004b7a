/* pool_netns.c - a backlog of one script with reuse = never: fresh sandboxes in namespaces that are
 * kept for it (netns.h).
 *
 * A backlog gets few namespaces while its jobs are short, and as many as there is room for when
 * they are not. */
#include "pool_private.h"
#include "problem.h"
#include "netns.h"
#include "options.h"
#include "sandbox.h"

#include <util.h>

#define NETNS_PER_START 2 /* one with a sandbox that starts, one with a sandbox that goes */
#define STARVING_USEC (50 * USEC_PER_MSEC)

unsigned pool_making_netns(const struct pool *pool)
{
	const struct netns *n;
	unsigned count = 0;

	TAILQ_FOREACH (n, &pool->namespaces, link)
		count += n->state == NETNS_MAKING;
	return count;
}

static struct netns *find_netns(const struct pool *pool, const struct tenant *t, unsigned states)
{
	struct netns *n;

	TAILQ_FOREACH (n, &pool->namespaces, link)
		if (states & 1u << n->state && n->memory_bytes == t->memory_bytes && streq(n->version, t->version))
			return n;
	return NULL;
}

/* Its backlog is being worked off in namespaces: what is spare is for others. */
bool pool_in_netns(const struct pool *pool, const struct tenant *t, uint64_t waiting)
{
	return waiting >= BACKLOG_MIN && find_netns(pool, t, 1u << NETNS_FREE | 1u << NETNS_TAKEN);
}

static void on_netns(void *data, struct netns *n, bool gone, bool failed)
{
	struct pool *pool = data;

	if (failed) {
		problem_set(&pool->problem, "a network namespace cannot be made; see the log");
		pool_pause(pool);
		return;
	}
	if (gone) {
		TAILQ_REMOVE(&pool->namespaces, n, link);
		netns_free(n);
	}
	pool_fill(pool);
}

void pool_keep_netns(struct pool *pool, struct netns *n)
{
	n->changed = on_netns;
	n->data = pool;
	TAILQ_INSERT_TAIL(&pool->namespaces, n, link);
}

void pool_end_netns(struct pool *pool)
{
	struct netns *n;

	TAILQ_FOREACH (n, &pool->namespaces, link)
		netns_end(n);
}

static unsigned count_netns(const struct pool *pool)
{
	const struct netns *n;
	unsigned count = 0;

	TAILQ_FOREACH (n, &pool->namespaces, link)
		count++;
	return count;
}

/* Where jobs are short a few namespaces do all the backend can; where they keep their namespaces,
 * each job needs one. */
static uint64_t netns_most(const struct pool *pool, const struct tenant *t, unsigned room)
{
	uint64_t few = NETNS_PER_START * pool->options->starting;

	return pool_lasts(pool, t) && few < room ? room : few;
}

/* A sandbox in a netns that is free for T, else a netns. True: one of the places for starting is
 * taken. */
static bool start_in_netns(struct pool *pool, struct tenant *t, unsigned room)
{
	struct netns *n = find_netns(pool, t, 1u << NETNS_FREE);

	if (n)
		return pool_start(pool, n->memory_bytes, t, n);
	if (count_netns(pool) >= netns_most(pool, t, room) ||
	    netns_new(&pool->env, t->version, t->memory_bytes, &n) < 0)
		return false;
	pool_keep_netns(pool, n);
	return true;
}

/* A backlog, and fewer sandboxes ready for it or coming than it will ask for. */
static bool backlog_goes_on(const struct pool *pool, const struct tenant *t)
{
	const struct sandbox *sb;
	unsigned count = pool_making_netns(pool);

	if (t->waiting < BACKLOG_MIN)
		return false;
	TAILQ_FOREACH (sb, &t->sandboxes, of_tenant)
		count += sb->state == SANDBOX_WARM || pool_is_starting(sb);
	return count < pool->options->starting;
}

/* There is a place for T, and it is not the last while another script waits that has no sandbox. */
static bool has_place(const struct pool *pool, const struct tenant *t, unsigned room)
{
	const struct tenant *first = pool->total + 1 == room ? pool_starving(pool, STARVING_USEC) : NULL;

	return pool->total < room && (!first || first == t);
}

unsigned pool_fill_netns(struct pool *pool, unsigned slots)
{
	struct pool_figures f;
	struct tenant *t;
	unsigned taken = 0;

	if (pool->options->network == NETWORK_NONE)
		return 0;
	pool_count(pool, &f);
	TAILQ_FOREACH (t, &pool->tenants.waiting, queue)
		while (!pool->pause && taken < slots && backlog_goes_on(pool, t) && has_place(pool, t, f.most) &&
		       start_in_netns(pool, t, f.most))
			taken++;
	return taken;
}
