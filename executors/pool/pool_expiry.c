/* pool_expiry.c - which sandboxes go with time, and which go when memory is short. */
#include "pool_private.h"
#include "log_line.h"
#include "options.h"
#include "room.h"
#include "sandbox.h"

#include <util.h>

/* With pool_min = auto there is a spare for each registered script that has no sandbox, as far as
 * half of the room allows: so the first event of a script finds one. */
unsigned pool_spares(const struct pool *pool, const struct pool_figures *f)
{
	const struct options *o = pool->options;
	uint64_t bound = f->idle + f->busy, half = f->most / 2 > bound ? f->most / 2 - bound : 0, ahead = 0;

	if (o->pool_min != POOL_MIN_AUTO)
		return o->pool_min < f->most ? (unsigned)o->pool_min : f->most;
	if (o->reuse == REUSE_SCRIPT && pool->scripts > bound)
		ahead = pool->scripts - bound;
	ahead = ahead < half ? ahead : half;
	return ahead > 1 ? (unsigned)ahead : 1;
}

/* When this idle sandbox is due to go; UINT64_MAX: never. A spare that is to be kept goes by its
 * age only. */
static uint64_t expiry_due(const struct pool *pool, const struct sandbox *sb, bool surplus)
{
	const struct options *o = pool->options;
	uint64_t age = o->max_age_usec ? sb->created_usec + o->max_age_usec : UINT64_MAX;
	uint64_t most = sb->netns && (!o->idle_timeout_usec || o->idle_timeout_usec > NETNS_JOB_MAX_USEC)
				? NETNS_JOB_MAX_USEC
				: o->idle_timeout_usec;
	uint64_t idle = most && (sb->tenant || surplus) ? sb->idle_usec + most : UINT64_MAX;

	return age < idle ? age : idle;
}

static void sandboxes_expire(void *data)
{
	struct pool *pool = data;
	struct pool_figures f;
	struct sandbox *sb;
	uint64_t now = now_monotonic_usec();

	pool->expiry.timer = NULL;
	pool_count(pool, &f);
	unsigned kept = pool_spares(pool, &f);
	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->state == SANDBOX_WARM && expiry_due(pool, sb, f.spare > kept) <= now) {
			f.spare -= !sb->tenant;
			sandbox_end(sb, "idle_timeout or max_age has passed");
		}
	pool_fill(pool);
	pool_plan_expiry(pool);
}

void pool_plan_expiry(struct pool *pool)
{
	uint64_t next = UINT64_MAX;
	struct pool_figures f;
	struct sandbox *sb;

	pool_count(pool, &f);
	bool surplus = f.spare > pool_spares(pool, &f);
	TAILQ_FOREACH (sb, &pool->list, link) {
		uint64_t at = sb->state == SANDBOX_WARM ? expiry_due(pool, sb, surplus) : UINT64_MAX;
		next = at < next ? at : next;
	}
	pool_wake_by(pool, &pool->expiry, next, sandboxes_expire);
}

/* ----------------------------------------------------------------------------- memory is short */

static struct sandbox *oldest_spare(const struct pool *pool)
{
	struct sandbox *sb;

	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->state == SANDBOX_WARM && !sb->tenant)
			return sb;
	return NULL;
}

/* A quarter of those that do nothing go, one spare stays. */
void pool_short_of_memory(void *data)
{
	struct pool *pool = data;
	struct pool_figures f;
	unsigned gone = 0;

	pool_count(pool, &f);
	for (unsigned most = (f.idle + f.spare + 3) / 4; gone < most; gone++) {
		struct sandbox *sb = f.spare > 1 ? oldest_spare(pool) : pool_least_used(pool);
		if (!sb)
			break;
		f.spare -= !sb->tenant;
		pool->evicted++;
		sandbox_end(sb, "memory is short");
	}
	room_squeeze(&pool->room, f.total - f.ending - gone, now_monotonic_usec());
	if (gone > 0)
		log_line(pool->env.host, NOTICE, "memory is short: %u idle sandboxes end, %u sandboxes stay", gone,
			 f.total - f.ending - gone);
}
