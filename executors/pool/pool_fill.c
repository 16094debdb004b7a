/* pool_fill.c - which sandboxes are started, and which make room for them. */
#include "pool_private.h"
#include "problem.h"
#include "log_line.h"
#include "netns.h"
#include "options.h"
#include "pressure.h"
#include "room.h"
#include "sandbox.h"
#include "tenants.h"

#include <util.h>

#define PAUSE_MIN_USEC (500 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (30 * USEC_PER_SEC)
#define STARVING_USEC (50 * USEC_PER_MSEC)
/* A tenant that has sandboxes gets another after a wait of this length, seen or foreseen. */
#define PATIENCE_USEC (50 * USEC_PER_MSEC)
#define LONG_WAIT_USEC (500 * USEC_PER_MSEC) /* after a longer wait: several at a time */
/* reuse = never: no netns has become free for this time, longer than a start takes: its jobs are
 * long */
#define STUCK_USEC (2 * USEC_PER_SEC)
/* A sandbox is busy with a job half of the time: the other half is the daemon's. */
#define SANDBOXES_PER_PROCESSOR 2
/* A sandbox serves its tenant for at least this time, and for this many times as long as a start
 * takes, before another tenant may have its place. */
#define SLICE_MIN_USEC USEC_PER_SEC
#define SLICE_STARTS 4

/* ----------------------------------------------------------------------------------- who waits */

static uint64_t tenant_patience(const struct pool *pool)
{
	return pool->options->reuse == REUSE_NEVER ? STUCK_USEC : PATIENCE_USEC;
}

bool pool_lasts(const struct pool *pool, const struct tenant *t)
{
	return t->waiting > 0 && now_monotonic_usec() - t->since_usec >= tenant_patience(pool);
}

static void be_patient(struct pool *pool);

static void patience_over(void *data)
{
	struct pool *pool = data;

	pool->patience.timer = NULL;
	pool_prune(pool); /* pool_fill() may have its reasons to do nothing */
	pool_fill(pool);
	be_patient(pool);
}

/* Look again when a wait has come to last, and then only when it is stale: all else comes with an
 * event. */
static void be_patient(struct pool *pool)
{
	uint64_t now = now_monotonic_usec(), next = UINT64_MAX;
	const struct tenant *t;

	TAILQ_FOREACH (t, &pool->tenants.waiting, queue) {
		uint64_t at = t->since_usec + tenant_patience(pool);
		if (at <= now)
			at = t->asked_usec + TENANT_STALE_USEC + 1;
		next = at < next ? at : next;
	}
	pool_wake_by(pool, &pool->patience, next, patience_over);
}

/* A timer that is far away would wake us for nothing; one that is near is left: the next wait will
 * want it. */
void pool_quiet(struct pool *pool)
{
	if (!TAILQ_EMPTY(&pool->tenants.waiting) || !pool->patience.timer ||
	    pool->patience.usec <= now_monotonic_usec() + PATIENCE_USEC)
		return;
	pool->env.host->timer_cancel(pool->env.host->handle, pool->patience.timer);
	pool->patience.timer = NULL;
}

void pool_wait(struct pool *pool, struct tenant *t, uint64_t waiting)
{
	bool first = t->waiting == 0;

	tenant_wait(&pool->tenants, t, waiting, now_monotonic_usec());
	if (pool->options->reuse == REUSE_NEVER || pool_has(t) == 0)
		t->starved = true;
	if (first)
		be_patient(pool);
}

/* Who was not seen again for long may have been cancelled, and whoever does wait is asked anew. */
void pool_prune(struct pool *pool)
{
	if (tenants_prune(&pool->tenants, now_monotonic_usec()) > 0)
		pool_ready(pool);
}

struct tenant *pool_starving(const struct pool *pool, uint64_t at_least_usec)
{
	uint64_t now = now_monotonic_usec();
	struct tenant *t;

	TAILQ_FOREACH (t, &pool->tenants.waiting, queue)
		if (now - t->since_usec >= at_least_usec && pool_has(t) == 0)
			return t;
	return NULL;
}

bool pool_first_waits(const struct pool *pool) { return pool_starving(pool, 0) != NULL; }

/* How long the last of its waiting jobs will wait, as far as its earlier ones tell. */
static uint64_t foreseen_wait(const struct tenant *t, unsigned has) { return t->waiting * t->run_usec / has; }

/* Jobs that only compute gain nothing from more sandboxes than processors can serve. */
static bool is_worth_another(const struct pool *pool, const struct tenant *t, unsigned has)
{
	uint64_t cpu = t->cpu_usec > 0 ? t->cpu_usec : 1, run = t->run_usec > cpu ? t->run_usec : cpu;

	return has < SANDBOXES_PER_PROCESSOR * pool->processors * (run / cpu);
}

static unsigned starting_for(const struct tenant *t)
{
	const struct sandbox *sb;
	unsigned count = 0;

	TAILQ_FOREACH (sb, &t->sandboxes, of_tenant)
		count += pool_is_starting(sb);
	return count;
}

/* Those that start for it already are waited for, one at a time if the wait is not long. */
static bool is_served_soon(const struct pool *pool, const struct tenant *t, unsigned has)
{
	unsigned most = foreseen_wait(t, has) >= LONG_WAIT_USEC ? (unsigned)pool->options->starting : 1;

	return starting_for(t) >= most;
}

bool pool_wants_more(const struct pool *pool, const struct tenant *t)
{
	unsigned has = pool_has(t);

	if (has == 0)
		return true;
	return (pool_lasts(pool, t) || foreseen_wait(t, has) >= PATIENCE_USEC) && is_worth_another(pool, t, has) &&
	       !is_served_soon(pool, t, has);
}

/* ------------------------------------------------------------------------------------ starting */

static void pause_over(void *data)
{
	struct pool *pool = data;

	pool->pause = NULL;
	pool_fill(pool);
}

void pool_pause(struct pool *pool)
{
	const struct lsn_host *host = pool->env.host;
	uint64_t pause = PAUSE_MIN_USEC << (pool->failures < 7 ? pool->failures : 7);

	pool->failures++;
	if (!pool->pause)
		(void)host->timer(host->handle, pause < PAUSE_MAX_USEC ? pause : PAUSE_MAX_USEC, pause_over, pool,
				  &pool->pause);
}

bool pool_start(struct pool *pool, uint64_t memory_bytes, struct tenant *t, struct netns *netns)
{
	struct lsn_error err;
	struct sandbox *sb;

	if (sandbox_new(&pool->env, memory_bytes, netns, &sb, &err) < 0) {
		log_line(pool->env.host, ERROR, "%s", err.message);
		problem_set(&pool->problem, err.message);
		pool_pause(pool);
		return false;
	}
	if (netns)
		netns_take(netns);
	TAILQ_INSERT_HEAD(&pool->list, sb, link);
	pool_bind(pool, sb, t);
	pool->total++;
	pool->started++;
	return true;
}

/* ---------------------------------------------------------------------------------------- room */

/* What one pass knows, and uses up. */
struct pass {
	struct pool *pool;
	struct pool_figures f;
	unsigned slots; /* starts that may begin */
	unsigned unclaimed; /* spares, ready or on their way */
	unsigned live; /* sandboxes that do not end */
	unsigned soft, hard;
	unsigned coming; /* places that those that end will leave */
};

static unsigned unbound_starting(const struct pool *pool)
{
	const struct sandbox *sb;
	unsigned count = 0;

	TAILQ_FOREACH (sb, &pool->list, link)
		count += pool_is_starting(sb) && !sb->tenant;
	return count;
}

static struct pass pass_begin(struct pool *pool)
{
	struct pass p = { .pool = pool };
	unsigned most = (unsigned)pool->options->starting, busy;

	pool_count(pool, &p.f);
	busy = p.f.starting + pool_making_netns(pool);
	p.slots = most > busy ? most - busy : 0;
	p.unclaimed = p.f.spare + unbound_starting(pool);
	p.live = p.f.total - p.f.ending;
	p.soft = room_soft(&pool->room, p.f.bytes_each, now_monotonic_usec(), NULL);
	p.hard = room_hard(&pool->room, NULL);
	p.coming = p.f.ending;
	return p;
}

static bool has_room(const struct pass *p) { return p->live < p->soft && p->pool->total < p->hard; }

static bool pass_start(struct pass *p, struct tenant *t)
{
	struct pool *pool = p->pool;

	if (p->slots == 0 || pool->pause || !pool_start(pool, t ? t->memory_bytes : pool->memory_bytes, t, NULL))
		return false;
	p->slots--;
	p->live++;
	return true;
}

static bool has_several(const struct sandbox *sb) { return pool_has(sb->tenant) > 1; }

static bool goes_before(const struct sandbox *sb, const struct sandbox *other, uint64_t now)
{
	if (has_several(sb) != has_several(other))
		return has_several(sb);
	return tenant_uses(sb->tenant, now) < tenant_uses(other->tenant, now);
}

struct sandbox *pool_least_used(const struct pool *pool)
{
	uint64_t now = now_monotonic_usec();
	struct sandbox *sb, *least = NULL;

	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->state == SANDBOX_WARM && sb->tenant && sb->tenant->waiting == 0 &&
		    (!least || goes_before(sb, least, now)))
			least = sb;
	return least;
}

static void sandbox_evict(struct pass *p, struct sandbox *sb, const char *why)
{
	p->pool->evicted++;
	p->live--;
	sandbox_end(sb, why);
}

/* One goes, one comes: where memory is the limit, at the same time. */
static bool make_room(struct pass *p)
{
	struct sandbox *least;

	if (has_room(p))
		return true;
	if (p->pool->total >= p->hard && p->coming > 0) {
		p->coming--;
		return false;
	}
	least = pool_least_used(p->pool);
	if (!least)
		return false;
	sandbox_evict(p, least, "another script needs its place");
	return p->pool->total < p->hard;
}

bool pool_slice_over(const struct pool *pool, const struct sandbox *sb)
{
	const struct tenant *starving = sb->tenant ? pool_starving(pool, STARVING_USEC) : NULL;
	uint64_t slice = SLICE_STARTS * pool->start_usec;

	if (!starving || starving == sb->tenant)
		return false;
	const struct pass p = pass_begin((struct pool *)(uintptr_t)pool);
	if (p.slots == 0 || p.unclaimed > 0 || p.coming > 0 || has_room(&p) || pool_least_used(pool))
		return false;
	return pool_has(sb->tenant) > 1 ||
	       now_monotonic_usec() - sb->bound_usec >= (slice > SLICE_MIN_USEC ? slice : SLICE_MIN_USEC);
}

/* ------------------------------------------------------------------------------------- filling */

/* One for each tenant that has none, in the order in which they wait. */
static void fill_first(struct pass *p)
{
	struct tenant *t;

	TAILQ_FOREACH (t, &p->pool->tenants.waiting, queue) {
		if (pool_has(t) > 0)
			continue;
		if (p->unclaimed > 0)
			p->unclaimed--;
		else if (p->slots == 0 || p->pool->pause)
			return;
		else if (make_room(p))
			(void)pass_start(p, t);
	}
}

/* Another for those whose jobs would wait for long, where there is room without anybody going. */
static void fill_more(struct pass *p)
{
	struct tenant *t;

	TAILQ_FOREACH (t, &p->pool->tenants.waiting, queue) {
		if (pool_has(t) == 0 || !pool_wants_more(p->pool, t))
			continue;
		if (p->unclaimed > 0)
			p->unclaimed--;
		else if (!has_room(p) || !pass_start(p, t))
			return;
	}
}

/* reuse = never: each job needs one of its own. For one script not more than start at the same
 * time: when they are there, it shows whether it needs more. */
static void fill_never(struct pass *p)
{
	uint64_t wanted = 0, most = p->pool->options->starting;
	struct tenant *t;

	p->slots -= pool_fill_netns(p->pool, p->slots);
	TAILQ_FOREACH (t, &p->pool->tenants.waiting, queue)
		if (!pool_in_netns(p->pool, t, t->waiting))
			wanted += t->waiting < most ? t->waiting : most;
	for (; wanted > p->unclaimed && p->slots > 0 && make_room(p); p->unclaimed++)
		if (!pass_start(p, NULL))
			return;
}

/* A spare is worth more than a sandbox that has not been used for long. */
static bool make_room_for_spare(struct pass *p)
{
	struct sandbox *least;

	if (has_room(p))
		return true;
	least = p->coming > 0 ? NULL : pool_least_used(p->pool);
	if (!least || tenant_uses(least->tenant, now_monotonic_usec()) >= TENANT_USE / 2)
		return false;
	sandbox_evict(p, least, "a spare needs its place");
	return p->pool->total < p->hard;
}

/* Those that are kept ahead of need come one at a time, when nothing else is to be done. */
static void fill_spares(struct pass *p)
{
	const struct pool *pool = p->pool;
	unsigned least = pool->options->pool_min == POOL_MIN_AUTO ? 1 : (unsigned)pool->options->pool_min;
	bool quiet = TAILQ_EMPTY(&pool->tenants.waiting) && p->slots == pool->options->starting;

	while (p->unclaimed < least && p->slots > 0 && make_room_for_spare(p) && pass_start(p, NULL)) {
		p->unclaimed++;
		quiet = false;
	}
	if (quiet && p->unclaimed < pool_spares(pool, &p->f) && has_room(p) && !pressure_now())
		(void)pass_start(p, NULL);
}

/* Sandboxes that have come to take more than they did when they were started. */
static void end_surplus(struct pass *p)
{
	while (p->live > p->soft) {
		struct sandbox *least = pool_least_used(p->pool);
		if (!least)
			return;
		sandbox_evict(p, least, "the sandboxes take more memory than they may");
	}
}

void pool_fill(struct pool *pool)
{
	if (!pool->up || pool->pause || pool->stopping)
		return;
	pool_prune(pool);
	struct pass pass = pass_begin(pool);
	if (pool->options->reuse == REUSE_NEVER)
		fill_never(&pass);
	else {
		fill_first(&pass);
		fill_more(&pass);
	}
	fill_spares(&pass);
	end_surplus(&pass);
	pool_plan_expiry(pool);
}
