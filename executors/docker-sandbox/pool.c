/* pool.c - who gets which sandbox. */
#include "pool.h"
#include "engine.h"
#include "log_line.h"
#include "options.h"
#include "protocol.h"
#include "sandbox.h"
#include "spec.h"
#include "wall.h"

#include <errno.h>
#include <stdlib.h>

#include <cleanup.h>
#include <util.h>

#define HOLD_MIN_USEC (500 * USEC_PER_MSEC)
#define HOLD_MAX_USEC (30 * USEC_PER_SEC)
#define DEMAND_STALE_USEC (5 * USEC_PER_SEC) /* nobody has asked again */
#define BACKLOG_MIN 4 /* so many jobs of one script wait: a netns pays */
#define NETNSS_PER_START 2 /* one with a sandbox that starts, one with a sandbox that goes */
/* a netns that may still be taken lasts twice as long: one wait, one job */
#define NETNS_JOB_MAX_USEC (SPEC_NETNS_SECONDS * USEC_PER_SEC / 10)
#define STARVING_USEC (50 * USEC_PER_MSEC)
#define PATIENCE_USEC (50 * USEC_PER_MSEC) /* before a script that has sandboxes gets another ... */
#define CROWD 8 /* ... unless so many of its jobs wait for each */
/* no netns has become free for so long, longer than a start takes: its jobs are long */
#define STUCK_USEC (2 * USEC_PER_SEC)
#define SWEEP_RETRY_USEC (400 * USEC_PER_MSEC) /* one that was being created is not there at once */

static void plan_expiry(struct pool *pool);
static void be_patient(struct pool *pool);
static void demands_prune(struct pool *pool);

static void sandbox_is_ready(struct pool *pool) { pool->env.host->ready(pool->env.host->handle); }

/* Have FN called at AT or earlier: an alarm that is too early finds nothing and plans again. */
static void wake_by(struct pool *pool, struct pool_timer *alarm, uint64_t at, lsn_timer_fn fn)
{
	const struct lsn_host *host = pool->env.host;
	uint64_t now = now_monotonic_usec();

	if (at == UINT64_MAX || (alarm->timer && alarm->usec <= at))
		return;
	host->timer_cancel(host->handle, alarm->timer);
	*alarm = (struct pool_timer){ .usec = at };
	(void)host->timer(host->handle, at > now ? at - now : 0, fn, pool, &alarm->timer);
}

/* -------------------------------------------------------------------------------------- looking */

static bool is_starting(const struct sandbox *sb)
{
	return sb->state == SANDBOX_CREATING || sb->state == SANDBOX_STARTING || sb->state == SANDBOX_UPDATING;
}

static bool is_for(const struct sandbox *sb, const char *version, uint64_t memory_bytes)
{
	return sb->bound && sb->memory_bytes == memory_bytes && streq(sb->version, version);
}

struct sandbox *pool_find(struct pool *pool, const char *id)
{
	struct sandbox *sb;

	TAILQ_FOREACH (sb, &pool->list, link)
		if (streq(sb->id, id))
			return sb;
	return NULL;
}

static struct sandbox *find_job(struct pool *pool, uint64_t job, unsigned states)
{
	struct sandbox *sb;

	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->job_id == job && states & 1u << sb->state)
			return sb;
	return NULL;
}

void pool_get_figures(const struct pool *pool, struct pool_figures *ret)
{
	const struct sandbox *sb = NULL;

	*ret = (struct pool_figures){ .total = pool->total };
	TAILQ_FOREACH (sb, &pool->list, link) {
		if (is_starting(sb))
			ret->starting++;
		else if (sb->state == SANDBOX_WARM && !sb->bound)
			ret->spare++;
		else if (sb->state == SANDBOX_WARM)
			ret->idle++;
		else if (sb->state == SANDBOX_ENDING)
			ret->ending++;
		else
			ret->busy++;
	}
}

/* -------------------------------------------------------------------------------------- demands */

static void demand_drop(struct pool *pool, size_t i) { pool->demands[i] = pool->demands[--pool->demand_count]; }

static struct demand *demand_find(struct pool *pool, const char *version, uint64_t memory_bytes)
{
	for (size_t i = 0; i < pool->demand_count; i++)
		if (pool->demands[i].memory_bytes == memory_bytes && streq(pool->demands[i].version, version))
			return &pool->demands[i];
	return NULL;
}

static void patience_over(void *data)
{
	struct pool *pool = data;

	pool->patience.timer = NULL;
	demands_prune(pool); /* pool_fill() may have its reasons to do nothing */
	pool_fill(pool);
	be_patient(pool);
}

/* How long a demand must last for more to be done about it. */
static uint64_t demand_patience(const struct pool *pool)
{
	return pool->options->reuse == REUSE_NEVER ? STUCK_USEC : PATIENCE_USEC;
}

static bool demand_lasts(const struct pool *pool, const struct demand *d)
{
	return now_monotonic_usec() - d->since_usec >= demand_patience(pool);
}

/* Look again when a demand has come to last, and then only when it is stale: all else comes with
 * an event. */
static void be_patient(struct pool *pool)
{
	uint64_t now = now_monotonic_usec(), next = UINT64_MAX;

	for (size_t i = 0; i < pool->demand_count; i++) {
		const struct demand *d = &pool->demands[i];
		uint64_t at = d->since_usec + demand_patience(pool);
		if (at <= now)
			at = d->last_usec + DEMAND_STALE_USEC + 1;
		next = at < next ? at : next;
	}
	wake_by(pool, &pool->patience, next, patience_over);
}

/* A timer that is far away would wake us for nothing; one that is near is left: the next demand
 * will want it. */
static void be_quiet(struct pool *pool)
{
	if (pool->demand_count > 0 || !pool->patience.timer ||
	    pool->patience.usec <= now_monotonic_usec() + PATIENCE_USEC)
		return;
	pool->env.host->timer_cancel(pool->env.host->handle, pool->patience.timer);
	pool->patience.timer = NULL;
}

static void demand_note(struct pool *pool, const struct lsn_job *job, uint64_t waiting)
{
	struct demand *d = demand_find(pool, job->script_version, job->memory_bytes);
	uint64_t now = now_monotonic_usec();

	if (!d) {
		if (pool->demand_count == DEMANDS_MAX)
			return;
		d = &pool->demands[pool->demand_count++];
		*d = (struct demand){ .memory_bytes = job->memory_bytes, .since_usec = now };
		(void)snprintf(d->version, sizeof d->version, "%s", job->script_version);
	}
	d->waiting = waiting;
	d->last_usec = now;
	be_patient(pool);
}

/* How many of JOB's script wait, itself included. Long jobs count alone: they are not for
 * namespaces, which end by themselves. */
static uint64_t backlog_of(const struct lsn_job *job)
{
	return job->waiting > 1 && job->timeout_usec <= NETNS_JOB_MAX_USEC ? job->waiting : 1;
}

/* JOB has its sandbox. One that starts for its script is anybody's again. Where each job takes
 * one, those behind it will want theirs. */
static void demand_met(struct pool *pool, const struct lsn_job *job)
{
	struct sandbox *sb;

	TAILQ_FOREACH (sb, &pool->list, link)
		if (is_starting(sb) && !sb->netns && is_for(sb, job->script_version, job->memory_bytes))
			sb->bound = false;
	for (size_t i = pool->demand_count; i-- > 0;)
		if (streq(pool->demands[i].version, job->script_version))
			demand_drop(pool, i);
	if (pool->options->reuse == REUSE_NEVER && backlog_of(job) > 1)
		demand_note(pool, job, job->waiting - 1);
	be_quiet(pool);
}

/* What was not asked for again for long may have been cancelled: it is forgotten, and whoever
 * does wait is asked to come again. */
static void demands_prune(struct pool *pool)
{
	uint64_t now = now_monotonic_usec();
	size_t before = pool->demand_count;

	for (size_t i = pool->demand_count; i-- > 0;)
		if (now - pool->demands[i].last_usec > DEMAND_STALE_USEC)
			demand_drop(pool, i);
	if (pool->demand_count < before)
		sandbox_is_ready(pool);
}

static unsigned size_larger(unsigned a, unsigned b) { return a > b ? a : b; }

static unsigned sandboxes_of(const struct pool *pool, const struct demand *d)
{
	const struct sandbox *sb;
	unsigned count = 0;

	TAILQ_FOREACH (sb, &pool->list, link)
		count += is_for(sb, d->version, d->memory_bytes) && sb->state != SANDBOX_ENDING;
	return count;
}

/* To start one takes as long as a hundred short jobs: a script whose jobs come and go quickly
 * does not need it. */
static bool needs_more(const struct pool *pool, const struct demand *d)
{
	unsigned has = sandboxes_of(pool, d);

	return pool->options->reuse == REUSE_NEVER || has == 0 || d->waiting >= (uint64_t)CROWD * has ||
	       demand_lasts(pool, d);
}

/* The script that has waited longest without having any sandbox; NULL. */
static const struct demand *demand_starving(const struct pool *pool, uint64_t at_least_usec)
{
	uint64_t now = now_monotonic_usec();
	const struct demand *oldest = NULL;

	for (size_t i = 0; i < pool->demand_count; i++) {
		const struct demand *d = &pool->demands[i];
		if (now - d->since_usec >= at_least_usec && (!oldest || d->since_usec < oldest->since_usec) &&
		    sandboxes_of(pool, d) == 0)
			oldest = d;
	}
	return oldest;
}

/* -------------------------------------------------------------------------- starting, giving up */

static void hold_over(void *data)
{
	struct pool *pool = data;

	pool->hold = NULL;
	pool_fill(pool);
}

static void starts_defer(struct pool *pool)
{
	uint64_t pause = HOLD_MIN_USEC << (pool->failures < 7 ? pool->failures : 7);

	pool->failures++;
	if (!pool->hold)
		(void)pool->env.host->timer(pool->env.host->handle, pause < HOLD_MAX_USEC ? pause : HOLD_MAX_USEC,
					    hold_over, pool, &pool->hold);
}

static void note_problem(struct pool *pool, const char *why)
{
	(void)snprintf(pool->problem, sizeof pool->problem, "%.250s", why);
}

static bool start_in(struct pool *pool, uint64_t memory_bytes, const char *version, struct netns *netns)
{
	struct lsn_error err;
	struct sandbox *sb;

	if (sandbox_new(&pool->env, memory_bytes, netns, &sb, &err) < 0) {
		log_line(pool->env.host, ERROR, "%s", err.message);
		note_problem(pool, err.message);
		starts_defer(pool);
		return false;
	}
	if (version)
		sandbox_bind(sb, version);
	if (netns)
		netns_take(netns);
	TAILQ_INSERT_HEAD(&pool->list, sb, link);
	pool->total++;
	pool->started++;
	return true;
}

static bool start_one(struct pool *pool, const struct demand *d)
{
	return start_in(pool, d ? d->memory_bytes : pool->memory_bytes, d ? d->version : NULL, NULL);
}

/* ----------------------------------------------------------------------------------- namespaces */

static unsigned namespaces_making(const struct pool *pool)
{
	const struct netns *b = NULL;
	unsigned count = 0;

	TAILQ_FOREACH (b, &pool->namespaces, link)
		count += b->state == NETNS_MAKING;
	return count;
}

static struct netns *find_netns(const struct pool *pool, const char *version, uint64_t memory_bytes, unsigned states)
{
	struct netns *b;

	TAILQ_FOREACH (b, &pool->namespaces, link)
		if (states & 1u << b->state && b->memory_bytes == memory_bytes && streq(b->version, version))
			return b;
	return NULL;
}

/* Its backlog is being worked off in namespaces: what is spare is for others. */
static bool is_in_namespace(const struct pool *pool, const char *version, uint64_t memory_bytes, uint64_t waiting)
{
	return waiting >= BACKLOG_MIN && find_netns(pool, version, memory_bytes, 1u << NETNS_FREE | 1u << NETNS_TAKEN);
}

static void on_netns(void *data, struct netns *b, bool gone, bool failed)
{
	struct pool *pool = data;

	if (failed) {
		note_problem(pool, "a netns cannot be made; see the log");
		starts_defer(pool);
		return;
	}
	if (gone) {
		TAILQ_REMOVE(&pool->namespaces, b, link);
		netns_free(b);
	}
	pool_fill(pool);
}

static void keep_netns(struct pool *pool, struct netns *b)
{
	b->changed = on_netns;
	b->data = pool;
	TAILQ_INSERT_TAIL(&pool->namespaces, b, link);
}

static unsigned namespaces_count(const struct pool *pool)
{
	const struct netns *b = NULL;
	unsigned count = 0;

	TAILQ_FOREACH (b, &pool->namespaces, link)
		count++;
	return count;
}

/* Where jobs are short a few namespaces do all the engine can; where they keep their namespaces,
 * each job needs one. */
static uint64_t namespaces_most(const struct pool *pool, const struct demand *d)
{
	uint64_t few = NETNSS_PER_START * pool->options->starting;

	return demand_lasts(pool, d) && few < pool->options->pool_max ? pool->options->pool_max : few;
}

/* A sandbox in a netns that is free for D, else a netns. True: one of the places for starting is
 * taken. */
static bool start_in_netns(struct pool *pool, const struct demand *d)
{
	struct netns *b = find_netns(pool, d->version, d->memory_bytes, 1u << NETNS_FREE);

	if (b)
		return start_in(pool, b->memory_bytes, b->version, b);
	if (namespaces_count(pool) >= namespaces_most(pool, d) ||
	    netns_new(&pool->env, d->version, d->memory_bytes, &b) < 0)
		return false;
	keep_netns(pool, b);
	return true;
}

/* A backlog, and fewer sandboxes ready for it or coming than it will ask for. */
static bool backlog_goes_on(const struct pool *pool, const struct demand *d)
{
	const struct sandbox *sb;
	unsigned count = namespaces_making(pool);

	if (d->waiting < BACKLOG_MIN)
		return false;
	TAILQ_FOREACH (sb, &pool->list, link)
		count += is_for(sb, d->version, d->memory_bytes) && (sb->state == SANDBOX_WARM || is_starting(sb));
	return count < pool->options->starting;
}

/* There is a place for D, and it is not the last while another script waits that has no sandbox. */
static bool has_place(const struct pool *pool, const struct demand *d)
{
	const struct demand *first = pool->total + 1 == pool->options->pool_max ? demand_starving(pool, STARVING_USEC)
										: NULL;

	return pool->total < pool->options->pool_max && (!first || first == d);
}

/* Start what backlogs need, ROOM at most. Returns how many of the places for starting that
 * takes. */
static unsigned fill_namespaces(struct pool *pool, unsigned room)
{
	unsigned taken = 0;

	if (pool->options->reuse != REUSE_NEVER || !pool->env.network)
		return 0;
	for (size_t i = 0; !pool->hold && i < pool->demand_count; i++)
		while (taken < room && backlog_goes_on(pool, &pool->demands[i]) && has_place(pool, &pool->demands[i]) &&
		       start_in_netns(pool, &pool->demands[i]))
			taken++;
	return taken;
}

/* How many sandboxes would be taken at once, but for those in namespaces. For one script not
 * more than start at the same time: when they are there, it shows whether it needs more. */
static unsigned sandboxes_wanted(const struct pool *pool)
{
	uint64_t count = 0, most = pool->options->starting;

	for (size_t i = 0; i < pool->demand_count; i++) {
		const struct demand *d = &pool->demands[i];
		if (!is_in_namespace(pool, d->version, d->memory_bytes, d->waiting) && needs_more(pool, d))
			count += d->waiting < most ? d->waiting : most;
	}
	return (unsigned)count;
}

void pool_engine_back(struct pool *pool)
{
	struct netns *b;

	TAILQ_FOREACH (b, &pool->namespaces, link)
		netns_end(b);
}

static bool is_wanted(struct pool *pool, const struct sandbox *sb)
{
	return demand_find(pool, sb->version, sb->memory_bytes);
}

/* An idle one that serves another script than those that wait; the list's order is that of use. */
static struct sandbox *least_used(struct pool *pool)
{
	struct sandbox *sb;

	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->state == SANDBOX_WARM && sb->bound && !is_wanted(pool, sb))
			return sb;
	return NULL;
}

static unsigned idle_wanted(struct pool *pool)
{
	struct sandbox *sb;
	unsigned count = 0;

	TAILQ_FOREACH (sb, &pool->list, link)
		count += sb->bound && sandbox_free_for_job(sb) && is_wanted(pool, sb);
	return count;
}

/* Whom the next sandbox is for; NULL: whoever comes. While there is room that is fair. The last
 * place is for who has waited longest, lest others keep it: with reuse = never nobody keeps any. */
static const struct demand *next_for(const struct pool *pool)
{
	return pool->options->reuse != REUSE_NEVER && pool->total + 1 == pool->options->pool_max
		       ? demand_starving(pool, 0)
		       : NULL;
}

void pool_fill(struct pool *pool)
{
	const struct options *o = pool->options;
	struct pool_figures f;

	if (!prerequisites_up(pool->prereq) || pool->hold || pool->stopping)
		return;
	demands_prune(pool);
	pool_get_figures(pool, &f);
	f.starting += namespaces_making(pool);
	f.starting += fill_namespaces(pool, f.starting < o->starting ? (unsigned)o->starting - f.starting : 0);
	unsigned waiting = sandboxes_wanted(pool), spares = f.spare + f.starting,
		 coming = spares + f.ending + idle_wanted(pool);
	unsigned missing = waiting > coming ? waiting - coming : 0,
		 need = size_larger(o->pool_min > spares ? (unsigned)o->pool_min - spares : 0, missing);
	for (; need > 0 && !pool->hold && f.starting < o->starting && pool->total < o->pool_max; need--, f.starting++)
		(void)start_one(pool, next_for(pool));
	for (; need > 0 && missing > 0 && pool->total >= o->pool_max; need--, missing--) {
		struct sandbox *victim = least_used(pool);
		if (!victim)
			break;
		sandbox_end(victim, "another script needs its place");
	}
	plan_expiry(pool);
}

static void on_idle(void *data, struct sandbox *sb)
{
	struct pool *pool = data;

	pool->failures = 0;
	*pool->problem = 0;
	if (!pool->landlock_known) {
		pool->landlock_known = true;
		pool->landlock_abi = sb->landlock_abi;
		pool->walls = sb->walls;
		log_line(pool->env.host, INFO, "first sandbox is warm; Landlock ABI %u, walls 0x%x", sb->landlock_abi,
			 sb->walls);
	}
	TAILQ_REMOVE(&pool->list, sb, link);
	TAILQ_INSERT_TAIL(&pool->list, sb, link);
	sandbox_is_ready(pool);
	pool_fill(pool);
}

static void on_sandbox_result(void *data, struct sandbox *sb, const struct lsn_job *job,
			      const struct lsn_result *result)
{
	struct pool *pool = data;

	if (job->id != POOL_OWN_JOB) {
		pool->env.host->done(pool->env.host->handle, job, result);
		return;
	}
	if (pool->own_done)
		pool->own_done(pool->own_data, result);
	sandbox_forget(sb, false);
}

static void on_gone(void *data, struct sandbox *sb)
{
	struct pool *pool = data;
	bool missing = sb->missing;

	TAILQ_REMOVE(&pool->list, sb, link);
	pool->total--;
	pool->ended++;
	if (!sb->served) {
		note_problem(pool, sb->why);
		starts_defer(pool);
	}
	if (sb->netns) {
		sb->netns->spoiled |= !sb->served; /* perhaps because of it */
		netns_leave(sb->netns);
	}
	pool->prereq->network.broken |= sb->network_gone;
	sandbox_free(sb);
	if (missing)
		prerequisites_recheck(pool->prereq);
	pool_fill(pool);
}

/* --------------------------------------------------------------------------------- time goes by */

/* When this idle sandbox is due to go; UINT64_MAX: never. A spare within pool_min goes by its
 * age only. */
static uint64_t expiry_due(const struct pool *pool, const struct sandbox *sb, unsigned spares)
{
	const struct options *o = pool->options;
	uint64_t age = o->max_age_usec ? sb->created_usec + o->max_age_usec : UINT64_MAX;
	uint64_t most = sb->netns && (!o->idle_timeout_usec || o->idle_timeout_usec > NETNS_JOB_MAX_USEC)
				? NETNS_JOB_MAX_USEC
				: o->idle_timeout_usec;
	uint64_t idle = most && (sb->bound || spares > o->pool_min) ? sb->idle_usec + most : UINT64_MAX;

	return age < idle ? age : idle;
}

static void sandboxes_expire(void *data)
{
	struct pool *pool = data;
	struct pool_figures f;
	struct sandbox *sb;
	uint64_t now = now_monotonic_usec();

	pool->expiry.timer = NULL;
	pool_get_figures(pool, &f);
	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->state == SANDBOX_WARM && expiry_due(pool, sb, f.spare) <= now) {
			f.spare -= !sb->bound;
			sandbox_end(sb, "it has been idle, or there, for long enough");
		}
	pool_fill(pool);
	plan_expiry(pool);
}

static void plan_expiry(struct pool *pool)
{
	uint64_t next = UINT64_MAX;
	struct pool_figures f;
	struct sandbox *sb;

	pool_get_figures(pool, &f);
	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->state == SANDBOX_WARM && expiry_due(pool, sb, f.spare) < next)
			next = expiry_due(pool, sb, f.spare);
	wake_by(pool, &pool->expiry, next, sandboxes_expire);
}

/* ----------------------------------------------------------------------------------------- jobs */

static struct sandbox *sandbox_choose(struct pool *pool, const struct lsn_job *job)
{
	struct sandbox *sb = NULL, *spare = NULL;
	bool in_namespace = is_in_namespace(pool, job->script_version, job->memory_bytes, backlog_of(job));

	TAILQ_FOREACH_REVERSE(sb, &pool->list, sandbox_list, link)
	{
		if (!sandbox_free_for_job(sb))
			continue;
		if (is_for(sb, job->script_version, job->memory_bytes))
			return sb;
		if (!sb->bound && !in_namespace && (!spare || sb->memory_bytes == job->memory_bytes))
			spare = sb;
	}
	return spare;
}

int pool_reserve(struct pool *pool, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err)
{
	struct sandbox *sb = prerequisites_up(pool->prereq) ? sandbox_choose(pool, job) : NULL;

	if (strlen(job->script) > SB_NAME_MAX)
		return lsn_error_set(err, -ENAMETOOLONG, "the script's name is longer than %d bytes", SB_NAME_MAX);
	pool->memory_bytes = job->memory_bytes;
	if (sb && sb->memory_bytes != job->memory_bytes) {
		sandbox_bind(sb, job->script_version);
		if (sandbox_update(sb, job->memory_bytes) < 0)
			sandbox_end(sb, "out of memory");
		sb = NULL;
	}
	if (!sb) {
		demand_note(pool, job, backlog_of(job));
		pool_fill(pool);
		return -EAGAIN;
	}
	sandbox_bind(sb, job->script_version);
	sandbox_reserve(sb, job);
	demand_met(pool, job);
	(void)snprintf(place, LSN_PLACE_SIZE, "%s", sb->id);
	TAILQ_REMOVE(&pool->list, sb, link);
	TAILQ_INSERT_TAIL(&pool->list, sb, link);
	pool_fill(pool);
	return 0;
}

void pool_release(struct pool *pool, const struct lsn_job *job)
{
	struct sandbox *sb = find_job(pool, job->id, 1u << SANDBOX_RESERVED);

	if (sb) {
		sandbox_release(sb);
		sandbox_is_ready(pool);
	}
}

int pool_submit(struct pool *pool, const struct lsn_job *job, struct lsn_error *err)
{
	struct sandbox *sb = find_job(pool, job->id, 1u << SANDBOX_RESERVED);

	if (!sb)
		return lsn_error_set(err, -ESTALE, "the sandbox reserved for the job has gone");
	if (pool->prereq->wall && !wall_up(pool->prereq->wall)) {
		sandbox_release(sb);
		return lsn_error_set(err, -EHOSTDOWN, "port wall: %.200s", wall_state(pool->prereq->wall));
	}
	int r = sandbox_submit(sb, job, err);
	if (r == 0)
		pool->jobs++;
	return r;
}

void pool_cancel(struct pool *pool, const struct lsn_job *job)
{
	struct sandbox *sb = find_job(pool, job->id, 1u << SANDBOX_RUNNING | 1u << SANDBOX_RECOVERING);

	if (sb)
		sandbox_cancel(sb);
}

void pool_drop_own(struct pool *pool)
{
	struct sandbox *sb;

	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->job && sb->job->id == POOL_OWN_JOB) {
			sb->job = NULL;
			/* if it does not end already */
			sandbox_end(sb, "its run is not waited for");
			return;
		}
}

int pool_recover(struct pool *pool, const struct lsn_job *job, const char *place, struct lsn_error *err)
{
	struct sandbox *sb;
	char netns[SANDBOX_ID_SIZE];
	int r = sandbox_recover(&pool->env, place, job, &sb, err);

	if (r < 0)
		return r;
	if (sandbox_read_netns(pool->env.run_dir_fd, sb->id, netns) && netns_adopt(&pool->env, netns, &sb->netns) == 0)
		keep_netns(pool, sb->netns);
	TAILQ_INSERT_HEAD(&pool->list, sb, link);
	pool->total++;
	return 0;
}

/* Those of a busy script were started together and share its jobs: they shall not go together. */
static uint64_t jobs_most(const struct pool *pool, const struct sandbox *sb)
{
	uint64_t most = pool->options->max_jobs;

	return most - strtoull(sb->id, NULL, 16) % (most / 8 + 1);
}

static bool may_stay(const struct pool *pool, const struct sandbox *sb)
{
	const struct options *o = pool->options;

	if (o->reuse == REUSE_NEVER || sb->jobs_done >= jobs_most(pool, sb))
		return false;
	if (o->max_age_usec && now_monotonic_usec() - sb->created_usec >= o->max_age_usec)
		return false;
	const struct demand *d = pool->total >= o->pool_max ? demand_starving(pool, STARVING_USEC) : NULL;
	return !d || is_for(sb, d->version, d->memory_bytes);
}

void pool_forget(struct pool *pool, uint64_t job, const char *place)
{
	struct sandbox *sb = pool_find(pool, place);

	if (!sb || sb->state != SANDBOX_REPORTED || sb->job_id != job)
		return;
	demands_prune(pool);
	sandbox_forget(sb, may_stay(pool, sb));
	if (sb->state == SANDBOX_WARM)
		sandbox_is_ready(pool);
	pool_fill(pool);
}

/* ----------------------------------------------------------------------------------------- life */

int pool_init(struct pool *pool, const struct sandbox_env *env, struct prerequisites *prereq, struct lsn_error *err)
{
	(void)err;
	*pool = (struct pool){
		.env = *env, .options = env->options, .prereq = prereq, .memory_bytes = env->options->memory_bytes
	};
	pool->env.idle = on_idle;
	pool->env.result = on_sandbox_result;
	pool->env.gone = on_gone;
	pool->env.data = pool;
	TAILQ_INIT(&pool->list);
	TAILQ_INIT(&pool->namespaces);
	return 0;
}

/* A job whose result is not committed yet may be asked for by a successor. */
static bool sandbox_stays(const struct sandbox *sb)
{
	return sb->job_id != POOL_OWN_JOB &&
	       (sb->state == SANDBOX_RUNNING || sb->state == SANDBOX_RECOVERING || sb->state == SANDBOX_REPORTED);
}

static char *removal_path(const struct pool *pool, const char *id)
{
	char name[128], *ret;

	sandbox_name(&pool->env, id, name, sizeof name);
	return asprintf(&ret, "/containers/%s?force=1&v=1", name) >= 0 ? ret : NULL;
}

/* Containers that go, by name; their folders go after them. */
struct sweep {
	const struct pool *pool;
	char **paths, *ids;
	size_t count;
};

static void sweep_add(struct sweep *s, const char *id)
{
	if (!s->paths || !s->ids)
		return;
	memcpy(s->ids + s->count * SANDBOX_ID_SIZE, id, SANDBOX_ID_SIZE);
	s->paths[s->count] = removal_path(s->pool, id);
	s->count += s->paths[s->count] != NULL;
}

static void sweep_now(struct sweep *s, uint64_t budget_usec)
{
	if (s->count > 0)
		engine_sweep_now(s->pool->options->socket, engine_api(s->pool->prereq->engine), s->paths, s->count,
				 SWEEP_RETRY_USEC, budget_usec);
	for (size_t i = 0; i < s->count; i++) {
		sandbox_remove_folder(s->pool->env.run_dir_fd, s->ids + i * SANDBOX_ID_SIZE);
		free(s->paths[i]);
	}
}

static size_t containers_count(const struct pool *pool)
{
	const struct netns *b = NULL;
	size_t count = pool->total;

	TAILQ_FOREACH (b, &pool->namespaces, link)
		count++;
	return count;
}

static void pool_cancel_timers(struct pool *pool)
{
	const struct lsn_host *host = pool->env.host;

	host->timer_cancel(host->handle, pool->hold);
	host->timer_cancel(host->handle, pool->patience.timer);
	host->timer_cancel(host->handle, pool->expiry.timer);
}

void pool_drop(struct pool *pool)
{
	struct sandbox *sb;
	struct netns *b;

	pool->stopping = true;
	while ((sb = TAILQ_FIRST(&pool->list))) {
		TAILQ_REMOVE(&pool->list, sb, link);
		if (sb->netns)
			sb->netns->state = NETNS_FREE;
		sandbox_free(sb);
	}
	while ((b = TAILQ_FIRST(&pool->namespaces))) {
		TAILQ_REMOVE(&pool->namespaces, b, link);
		netns_free(b);
	}
	pool_cancel_timers(pool);
}

unsigned pool_done(struct pool *pool, bool detach, uint64_t budget_usec)
{
	size_t most = containers_count(pool);
	_cleanup_free_ char **paths = calloc(most + 1, sizeof *paths);
	_cleanup_free_ char *ids = calloc(most + 1, SANDBOX_ID_SIZE);
	struct sweep sweep = { .pool = pool, .paths = paths, .ids = ids };
	struct sandbox *sb;
	struct netns *b;
	unsigned left = 0;

	pool->stopping = true;
	while ((sb = TAILQ_FIRST(&pool->list))) {
		TAILQ_REMOVE(&pool->list, sb, link);
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
	sweep_now(&sweep, budget_usec);
	pool_cancel_timers(pool);
	return left;
}
