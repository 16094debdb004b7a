/* pool.c - who gets which sandbox. */
#include "pool_private.h"
#include "backend.h"
#include "log_line.h"
#include "netns.h"
#include "options.h"
#include "pressure.h"
#include "problem.h"
#include "protocol.h"
#include "room.h"
#include "sandbox.h"
#include "tenants.h"
#include "wall.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define RECENT_MAX 1000
#define BYTES_UNKNOWN (16u << 20) /* of a sandbox, until one has told */
/* What a sandbox takes outside of its control group: its shim, the kernel's tables. */
#define BYTES_OUTSIDE (4u << 20)

void pool_wake_by(struct pool *pool, struct pool_timer *timer, uint64_t at, lsn_timer_fn fn)
{
	const struct lsn_host *host = pool->env.host;
	uint64_t now = now_monotonic_usec();

	if (at == UINT64_MAX || (timer->timer && timer->usec <= at))
		return;
	host->timer_cancel(host->handle, timer->timer);
	*timer = (struct pool_timer){ .usec = at };
	(void)host->timer(host->handle, at > now ? at - now : 0, fn, pool, &timer->timer);
}

/* ------------------------------------------------------------------------------------- looking */

bool pool_is_starting(const struct sandbox *sb)
{
	return sb->state == SANDBOX_CREATING || sb->state == SANDBOX_STARTING || sb->state == SANDBOX_UPDATING;
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

static void count_sandbox(struct pool_figures *f, const struct sandbox *sb)
{
	if (pool_is_starting(sb))
		f->starting++;
	else if (sb->state == SANDBOX_WARM && !sb->tenant)
		f->spare++;
	else if (sb->state == SANDBOX_WARM)
		f->idle++;
	else if (sb->state == SANDBOX_ENDING)
		f->ending++;
	else
		f->busy++;
}

void pool_count(const struct pool *pool, struct pool_figures *ret)
{
	const struct sandbox *sb;
	uint64_t bytes = 0, known = 0;

	*ret = (struct pool_figures){ .total = pool->total };
	TAILQ_FOREACH (sb, &pool->list, link) {
		count_sandbox(ret, sb);
		bytes += sb->used_bytes;
		known += sb->used_bytes > 0;
	}
	ret->bytes_each = known > 0 ? bytes / known + BYTES_OUTSIDE : BYTES_UNKNOWN;
	ret->most = room_all(&pool->room, ret->bytes_each, now_monotonic_usec(), &ret->limit);
}

void pool_get_figures(const struct pool *pool, struct pool_figures *ret)
{
	const struct tenant *t;

	pool_count(pool, ret);
	TAILQ_FOREACH (t, &pool->tenants.all, all) {
		ret->tenants += t->waiting > 0 || !TAILQ_EMPTY(&t->sandboxes);
		ret->waiting += t->waiting > 0;
	}
}

/* ------------------------------------------------------------------------------------- tenants */

static struct tenant *tenant_of(struct pool *pool, const struct lsn_job *job)
{
	return tenants_get(&pool->tenants, job->script_version, job->memory_bytes);
}

unsigned pool_has(const struct tenant *t)
{
	const struct sandbox *sb;
	unsigned count = 0;

	TAILQ_FOREACH (sb, &t->sandboxes, of_tenant)
		count += sb->state != SANDBOX_ENDING;
	return count;
}

void pool_bind(struct pool *pool, struct sandbox *sb, struct tenant *t)
{
	(void)pool;
	if (sb->tenant == t)
		return;
	if (sb->tenant)
		TAILQ_REMOVE(&sb->tenant->sandboxes, sb, of_tenant);
	sb->tenant = t;
	sb->bound_usec = now_monotonic_usec();
	if (t)
		TAILQ_INSERT_TAIL(&t->sandboxes, sb, of_tenant);
}

void pool_ready(struct pool *pool) { pool->env.host->ready(pool->env.host->handle); }

/* An older host can only ask all that wait. */
static bool offer_to(struct pool *pool, const struct tenant *t)
{
	const struct lsn_host *host = pool->env.host;

	if (host->size >= offsetof(struct lsn_host, ready_for) + sizeof host->ready_for && host->ready_for)
		return host->ready_for(host->handle, t->version);
	pool_ready(pool);
	return true;
}

/* A spare goes to whoever has waited longest: of those without any, then of the others. */
static void offer_spare(struct pool *pool)
{
	struct tenant *t;

	TAILQ_FOREACH (t, &pool->tenants.waiting, queue)
		if (pool_has(t) == 0 && offer_to(pool, t))
			return;
	TAILQ_FOREACH (t, &pool->tenants.waiting, queue)
		if (pool_has(t) > 0 && pool_wants_more(pool, t) && offer_to(pool, t))
			return;
}

void pool_offer(struct pool *pool, const struct sandbox *sb)
{
	if (sb->tenant)
		(void)offer_to(pool, sb->tenant);
	else
		offer_spare(pool);
}

/* ----------------------------------------------------------------------- what sandboxes report */

static void note_walls(struct pool *pool, const struct sandbox *sb)
{
	if (pool->landlock_known)
		return;
	pool->landlock_known = true;
	pool->landlock_abi = sb->landlock_abi;
	pool->walls = sb->walls;
	log_line(pool->env.host, INFO, "first sandbox is warm; Landlock ABI %u, walls 0x%x", sb->landlock_abi,
		 sb->walls);
}

static void note_start(struct pool *pool, const struct sandbox *sb)
{
	uint64_t took = now_monotonic_usec() - sb->created_usec;

	if (sb->jobs_done == 0 && sb->job_id == 0)
		pool->start_usec = pool->start_usec == 0 ? took : (3 * pool->start_usec + took) / 4;
}

static void on_idle(void *data, struct sandbox *sb)
{
	struct pool *pool = data;

	pool->failures = 0;
	problem_clear(&pool->problem);
	note_walls(pool, sb);
	note_start(pool, sb);
	TAILQ_REMOVE(&pool->list, sb, link);
	TAILQ_INSERT_TAIL(&pool->list, sb, link);
	if (sb->spoiled)
		sandbox_retire(sb, "a better one can be made");
	else
		pool_offer(pool, sb);
	pool_fill(pool);
}

static void on_result(void *data, struct sandbox *sb, const struct lsn_job *job, const struct lsn_result *result)
{
	struct pool *pool = data;

	if (job->id != POOL_OWN_JOB) {
		if (sb->tenant)
			tenant_ran(sb->tenant, result->duration_usec, result->user_usec + result->system_usec);
		pool->env.host->done(pool->env.host->handle, job, result);
		return;
	}
	if (pool->own_done)
		pool->own_done(pool->own_data, result);
	sandbox_forget(sb, false);
}

static void leave_netns(const struct sandbox *sb)
{
	if (!sb->netns)
		return;
	sb->netns->spoiled |= !sb->served; /* perhaps because of it */
	netns_leave(sb->netns);
}

static void on_gone(void *data, struct sandbox *sb)
{
	struct pool *pool = data;

	TAILQ_REMOVE(&pool->list, sb, link);
	pool_offer(pool, sb); /* whoever waited for it asks anew */
	pool_bind(pool, sb, NULL);
	pool->total--;
	pool->ended++;
	if (!sb->served) {
		problem_set(&pool->problem, sb->why);
		pool_pause(pool);
	}
	leave_netns(sb);
	sandbox_free(sb);
	pool_fill(pool);
}

/* ---------------------------------------------------------------------------------------- jobs */

static struct sandbox *own_sandbox(const struct tenant *t)
{
	struct sandbox *sb;

	TAILQ_FOREACH_REVERSE(sb, &t->sandboxes, tenant_sandboxes, of_tenant)
	if (sandbox_free_for_job(sb))
		return sb;
	return NULL;
}

static struct sandbox *find_spare(struct pool *pool, uint64_t memory_bytes)
{
	struct sandbox *sb, *other = NULL;

	TAILQ_FOREACH_REVERSE(sb, &pool->list, sandbox_list, link)
	{
		if (sb->tenant || !sandbox_free_for_job(sb))
			continue;
		if (sb->memory_bytes == memory_bytes)
			return sb;
		other = sb;
	}
	return other;
}

/* Who has none may have a spare. Who has some may, if it pays and nobody else waits for the
 * first. */
static bool may_have_spare(const struct pool *pool, const struct tenant *t, uint64_t waiting)
{
	if (pool->options->reuse == REUSE_NEVER)
		return !pool_in_netns(pool, t, waiting);
	return pool_has(t) == 0 || (pool_wants_more(pool, t) && !pool_first_waits(pool));
}

static struct sandbox *sandbox_choose(struct pool *pool, const struct tenant *t, uint64_t waiting)
{
	if (!pool->up)
		return NULL;
	struct sandbox *sb = own_sandbox(t);
	return !sb && may_have_spare(pool, t, waiting) ? find_spare(pool, t->memory_bytes) : sb;
}

/* How many of JOB's script wait, itself included. Long jobs count alone: they are not for
 * namespaces, which end by themselves. */
static uint64_t backlog_of(const struct pool *pool, const struct lsn_job *job)
{
	bool alone = pool->options->reuse == REUSE_NEVER && job->timeout_usec > NETNS_JOB_MAX_USEC;

	return job->waiting > 1 && !alone ? job->waiting : 1;
}

static void count_job(struct pool *pool, const struct sandbox *sb, const struct tenant *t)
{
	struct pool_counts *r = &pool->recent;
	bool miss = t->starved, hit = !miss && sb->jobs_done > 0;

	pool->counts.hits += hit;
	pool->counts.spares += !miss && !hit;
	pool->counts.misses += miss;
	r->hits += hit;
	r->spares += !miss && !hit;
	r->misses += miss;
	if (r->hits + r->spares + r->misses >= RECENT_MAX)
		*r = (struct pool_counts){ r->hits / 2, r->spares / 2, r->misses / 2 };
}

/* JOB has SB. One that starts for its tenant is anybody's again; those behind it wait on. */
static void job_serve(struct pool *pool, struct sandbox *sb, struct tenant *t, const struct lsn_job *job)
{
	uint64_t now = now_monotonic_usec(), left = backlog_of(pool, job) - 1;
	struct sandbox *other, *next;

	count_job(pool, sb, t);
	tenant_use(t, now);
	tenant_served(&pool->tenants, t, left, now);
	for (other = TAILQ_FIRST(&t->sandboxes); other; other = next) {
		next = TAILQ_NEXT(other, of_tenant);
		if (pool_is_starting(other) && !other->netns)
			pool_bind(pool, other, NULL);
	}
	pool_bind(pool, sb, t);
	sandbox_reserve(sb, job);
	TAILQ_REMOVE(&pool->list, sb, link);
	TAILQ_INSERT_TAIL(&pool->list, sb, link);
	pool_quiet(pool);
}

/* A spare made for scripts that use another amount of memory is changed first. */
static void change_memory(struct pool *pool, struct sandbox *sb, struct tenant *t)
{
	pool_bind(pool, sb, t);
	if (sandbox_update(sb, t->memory_bytes) < 0)
		sandbox_end(sb, "out of memory");
}

int pool_reserve(struct pool *pool, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err)
{
	struct tenant *t = tenant_of(pool, job);

	if (strlen(job->script) > SB_NAME_MAX)
		return lsn_error_set(err, -ENAMETOOLONG, "the script's name is longer than %d bytes", SB_NAME_MAX);
	if (!t)
		return -EAGAIN;
	pool->memory_bytes = job->memory_bytes;
	struct sandbox *sb = sandbox_choose(pool, t, backlog_of(pool, job));
	if (sb && sb->memory_bytes != t->memory_bytes) {
		change_memory(pool, sb, t);
		sb = NULL;
	}
	if (sb) {
		job_serve(pool, sb, t, job);
		(void)snprintf(place, LSN_PLACE_SIZE, "%s", sb->id);
	} else
		pool_wait(pool, t, backlog_of(pool, job));
	pool_fill(pool);
	return sb ? 0 : -EAGAIN;
}

void pool_release(struct pool *pool, const struct lsn_job *job)
{
	struct sandbox *sb = find_job(pool, job->id, 1u << SANDBOX_RESERVED);

	if (!sb)
		return;
	sandbox_release(sb);
	if (sb->spoiled)
		sandbox_retire(sb, "a better one can be made");
	else
		pool_offer(pool, sb);
}

int pool_submit(struct pool *pool, const struct lsn_job *job, struct lsn_error *err)
{
	struct sandbox *sb = find_job(pool, job->id, 1u << SANDBOX_RESERVED);

	if (!sb)
		return lsn_error_set(err, -ESTALE, "the sandbox reserved for the job has gone");
	if (pool->wall && !wall_up(pool->wall)) {
		sandbox_release(sb);
		return lsn_error_set(err, -EHOSTDOWN, "port wall: %.200s", wall_state(pool->wall));
	}
	int r = sandbox_submit(sb, job, err);
	if (r == 0)
		pool->jobs++;
	return r;
}

void pool_cancel(struct pool *pool, const struct lsn_job *job)
{
	struct sandbox *sb;

	/* By its address: an attempt that was given up may be here as well, under the same id. */
	TAILQ_FOREACH (sb, &pool->list, link)
		if (sb->job == job && (sb->state == SANDBOX_RUNNING || sb->state == SANDBOX_RECOVERING))
			break;
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
	struct tenant *t = tenant_of(pool, job);
	int r = t ? sandbox_recover(&pool->env, place, job, &sb, err) : -ENOMEM;

	if (r < 0)
		return r;
	if (sandbox_read_netns(pool->env.run_dir_fd, sb->id, netns) && netns_adopt(&pool->env, netns, &sb->netns) == 0)
		pool_keep_netns(pool, sb->netns);
	TAILQ_INSERT_HEAD(&pool->list, sb, link);
	pool_bind(pool, sb, t);
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
	if (sb->protocol < SB_PROTOCOL_VERSION) /* an earlier release's: it has not learnt all we ask for */
		return false;
	if (o->max_age_usec && now_monotonic_usec() - sb->created_usec >= o->max_age_usec)
		return false;
	return !pool_slice_over(pool, sb);
}

void pool_forget(struct pool *pool, uint64_t job, const char *place)
{
	struct sandbox *sb = pool_find(pool, place);

	if (!sb || sb->state != SANDBOX_REPORTED || sb->job_id != job)
		return;
	pool_prune(pool);
	sandbox_forget(sb, may_stay(pool, sb));
	if (sb->state == SANDBOX_WARM)
		pool_offer(pool, sb);
	pool_fill(pool);
}

void pool_set_up(struct pool *pool, bool up)
{
	pool->up = up;
	if (!up)
		return;
	pool_end_netns(pool);
	pool_fill(pool);
	pool_ready(pool);
}

void pool_renew(struct pool *pool, const char *why)
{
	struct sandbox *sb;

	TAILQ_FOREACH (sb, &pool->list, link)
		sandbox_retire(sb, why);
	pool_fill(pool);
}

void pool_expect(struct pool *pool, uint64_t scripts)
{
	pool->scripts = scripts;
	pool_fill(pool);
}

/* ---------------------------------------------------------------------------------------- life */

static unsigned processors_count(void)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);

	return count > 0 ? (unsigned)count : 1;
}

int pool_init(struct pool *pool, const struct sandbox_env *env, const struct wall *wall, struct lsn_error *err)
{
	const struct options *o = env->options;

	*pool = (struct pool){ .env = *env,
			       .options = o,
			       .wall = wall,
			       .memory_bytes = o->memory_bytes,
			       .processors = processors_count() };
	pool->env.idle = on_idle;
	pool->env.result = on_result;
	pool->env.gone = on_gone;
	pool->env.data = pool;
	TAILQ_INIT(&pool->list);
	TAILQ_INIT(&pool->namespaces);
	tenants_init(&pool->tenants);
	room_init(&pool->room, o->pool_max, o->pool_memory.bytes, o->pool_memory.percent);
	int r = pressure_open(&pool->pressure, env->host, PRESSURE_FILE, PRESSURE_PARTS, pool_short_of_memory, pool);
	return r < 0 ? lsn_error_set(err, r, "cannot watch the memory: %s", strerror(-r)) : 0;
}
