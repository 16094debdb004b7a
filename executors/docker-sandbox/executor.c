/* executor.c - docker-sandbox as an executor: the calls of listener/executor.h, each handed to
 * the part that knows.
 *
 * Who does what, of executors/pool/: pool.c keeps sandboxes (sandbox.c), each a container with a
 * control socket (control.c); wall.c and the helper portwall keep the port wall; janitor.c removes
 * what nobody looks after. Here: settings.c reads the section; prerequisites.c brings up engine,
 * network (network.c) and port wall; container.c makes the containers (spec.c) that the pool asks
 * for. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cleanup.h>
#include <util.h>

#include "executor.h"
#include "engine.h"
#include "log_line.h"
#include "network.h"
#include "resolver_file.h"
#include "options.h"
#include "problem.h"
#include "settings.h"
#include "protocol.h"
#include "room.h"
#include "spec.h"
#include "wall.h"

#define SECCOMP_MAX (256u << 10)
#define CHECK_BUDGET_USEC (3 * USEC_PER_SEC)
#define SWEEP_BUDGET_USEC (500 * USEC_PER_MSEC)
#define APART_BUDGET_USEC (20 * USEC_PER_SEC)
#define WALL_WARNING_USEC (3600 * USEC_PER_SEC) /* rules that were removed are worth a look for so long */
#define JANITOR_DELAY_USEC USEC_PER_SEC /* recover() has been called for all by then */

static void janitor_begun(void *data)
{
	struct instance *in = data;

	network_prune(&in->prereq.network, in->prereq.engine);
}

static void clean_up_now(struct instance *in)
{
	if (!engine_up(in->prereq.engine))
		return;
	in->cleaned = true;
	janitor_run(&in->janitor, &in->pool, janitor_begun, in);
}

static void clean_up(void *data)
{
	struct instance *in = data;

	in->janitor_timer = NULL;
	in->recovered = true;
	clean_up_now(in);
}

static void prerequisites_changed(void *data)
{
	struct instance *in = data;

	if (!prerequisites_up(&in->prereq)) {
		pool_set_up(&in->pool, false);
		return;
	}
	log_line(in->host, NOTICE, "ready: engine %s, image %s%s%s", engine_version(in->prereq.engine),
		 in->settings.image, in->prereq.wall ? ", port wall " : ", no network",
		 in->prereq.wall ? wall_state(in->prereq.wall) : "");
	in->pool.room.addresses = in->prereq.wall ? in->prereq.network.addresses : ROOM_UNLIMITED;
	if (in->recovered) /* what an engine that was away could not be asked about */
		clean_up_now(in);
	pool_set_up(&in->pool, true);
}

static void image_renewed(void *data)
{
	struct instance *in = data;

	char id[2 * IMAGE_ID_SIZE];

	(void)str_quote(id, sizeof id, in->prereq.image_id, strlen(in->prereq.image_id));
	log_line(in->host, NOTICE, "image %s is another one now, %s: sandboxes of the older one get no further job",
		 in->settings.image, id);
	pool_renew(&in->pool, "there is a newer image");
}

static void list_text(const struct str_list *list, char *buf, size_t size)
{
	size_t used = 0;

	*buf = 0;
	for (size_t i = 0; i < list->count && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "", list->items[i]);
}

/* follow_resolvers - before a job is given: a sandbox asks the name servers that its host asks, and
 * the port wall opens those and no others. Sandboxes made when none was known may ask nobody. */
static void follow_resolvers(struct instance *in)
{
	struct options *o = &in->settings.pool;
	bool none = o->dns.count == 0;
	char text[RESOLVERS_MAX * 48];

	if (o->network != NETWORK_BRIDGE)
		return;
	int r = resolver_watch_follow(&in->resolvers, o, in->run_dir_fd);
	if (r < 0)
		log_line(in->host, WARNING, RESOLVER_FILE " of the sandboxes: %s: scripts ask the former name servers",
			 strerror(-r));
	if (r <= 0)
		return;
	list_text(&o->dns, text, sizeof text);
	log_line(in->host, NOTICE, "the name servers of this host have changed: scripts ask %s", text);
	prerequisites_change_wall(&in->prereq);
	if (none)
		pool_renew(&in->pool, "it was made when no name server was known");
}

/* ----------------------------------------------------------------------------------------- life */

static void instance_clear(struct instance *in)
{
	free(in->seccomp);
	if (in->run_dir_fd >= 0)
		(void)close(in->run_dir_fd);
	settings_clear(&in->settings);
	free(in);
}

/* Files the sandboxes cannot do without; found missing now rather than with the first job. */
static int read_files(struct instance *in, struct lsn_error *err)
{
	static const char *const needed[] = { "sandbox-init", "forkserver.py", "portwall" };
	const char *dir = in->host->libexec_dir;
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t size;

	if (fd < 0)
		return lsn_error_set(err, -errno, "%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < ELEMENTSOF(needed); i++)
		if (faccessat(fd, needed[i], R_OK, 0) < 0)
			return lsn_error_set(err, -errno, "%s/%s: %s: the listener is not installed completely", dir,
					     needed[i], strerror(errno));
	int r = read_file_limited(fd, "seccomp.json", SECCOMP_MAX, &in->seccomp, &size);
	if (r < 0)
		return lsn_error_set(err, r, "%s/seccomp.json: %s", dir, strerror(-r));
	json_t *json = json_loadb(in->seccomp, size, 0, NULL);
	json_decref(json);
	if (!json)
		return lsn_error_set(err, -EINVAL, "%s/seccomp.json is not JSON", dir);
	in->run_dir_fd = open(in->host->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in->run_dir_fd < 0)
		return lsn_error_set(err, -errno, "%s: %s", in->host->run_dir, strerror(errno));
	if (mkdirat(in->run_dir_fd, SPEC_EMPTY_FOLDER, 0755) < 0 && errno != EEXIST)
		return lsn_error_set(err, -errno, "%s/" SPEC_EMPTY_FOLDER ": %s", in->host->run_dir, strerror(errno));
	r = resolver_file_write(in->run_dir_fd, &in->settings.pool);
	return r < 0 ? lsn_error_set(err, r, "%s/" RESOLVER_FILE ": %s", in->host->run_dir, strerror(-r)) : 0;
}

/* docker_check - an engine that is away will come, and is looked for on; a reload that names an
 * image that is not there is a slip of the pen. */
static int docker_check(const struct lsn_option *list, size_t count, struct lsn_error *err)
{
	struct settings settings;
	struct lsn_error why;

	int r = settings_parse(list, count, &settings, err);
	if (r < 0)
		return r;
	r = engine_check_now(settings.socket, settings.image, CHECK_BUDGET_USEC, &why);
	settings_clear(&settings);
	if (r == -ENOENT || r == -EPROTONOSUPPORT || r == -EPROTO)
		return lsn_error_set(err, r, "%s", why.message);
	return 0;
}

static int bring_up(struct instance *in, struct lsn_error *err)
{
	const struct sandbox_env env = { .host = in->host,
					 .options = &in->settings.pool,
					 .backend = &in->containers.backend,
					 .run_dir_fd = in->run_dir_fd };
	const struct prerequisites_hooks hooks = { prerequisites_changed, image_renewed, in };
	int r = prerequisites_init(&in->prereq, in->host, &in->settings, &hooks, err);

	if (r < 0)
		return r;
	containers_init(&in->containers, in->host, &in->settings, &in->prereq, in->seccomp);
	r = pool_init(&in->pool, &env, in->prereq.wall, err);
	if (r == 0)
		r = in->host->timer(in->host->handle, JANITOR_DELAY_USEC, clean_up, in, &in->janitor_timer);
	if (r < 0) {
		prerequisites_done(&in->prereq, false);
		return lsn_error_set(err, r, "out of memory");
	}
	return 0;
}

/* Scripts are kept from the control sockets by not being their owner. */
static int check_user(struct lsn_error *err)
{
	if (geteuid() != SB_SCRIPT_UID && getegid() != SB_SCRIPT_GID)
		return 0;
	return lsn_error_set(
		err, -EPERM,
		"the daemon runs as nobody or nogroup, the user of scripts, which could then reach it; give it a "
		"user of its own");
}

static int docker_init(const struct lsn_host *host, const struct lsn_option *options, size_t count, void **ret_instance,
		       struct lsn_error *err)
{
	struct instance *in = calloc(1, sizeof *in);

	if (!in)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	in->host = host;
	in->run_dir_fd = -1;
	int r = check_user(err);
	if (r == 0)
		r = settings_parse(options, count, &in->settings, err);
	if (r == 0)
		r = read_files(in, err);
	if (r == 0)
		r = bring_up(in, err);
	if (r < 0) {
		instance_clear(in);
		return r;
	}
	if (in->settings.pool.network == NETWORK_BRIDGE && in->settings.pool.dns.count == 0)
		log_line(host, WARNING,
			 "no resolver found that a sandbox could reach: scripts cannot resolve names; set dns = "
			 "ADDRESS");
	*ret_instance = in;
	return 0;
}

/* Nobody needs it any more, unless a successor already uses it: then the engine refuses. The
 * rules go after it, not before. */
static void remove_network(struct instance *in, uint64_t budget_usec)
{
	char path[160], *paths[] = { path };

	(void)snprintf(path, sizeof path, "/networks/%s", in->prereq.network.name);
	if (in->prereq.wall && engine_up(in->prereq.engine))
		engine_sweep_now(in->settings.socket, engine_api(in->prereq.engine), paths, 1, 0, budget_usec);
}

/* instance_end - remove what was made for it, as far as the engine does so in time. */
static void instance_end(struct instance *in, uint64_t budget_usec)
{
	unsigned left = pool_done(&in->pool, in->detached, budget_usec);

	containers_done(&in->containers);
	if (left == 0)
		remove_network(in, budget_usec);
	prerequisites_done(&in->prereq, left == 0);
}

/* keep_two - of our descriptors in the child. */
static void keep_two(int a, int b)
{
	int low = a < b ? a : b, high = a < b ? b : a;

	for (unsigned from = STDERR_FILENO + 1, i = 0; i < 2; i++) {
		int fd = i ? high : low;
		if (fd < (int)from)
			continue;
		if (fd > (int)from)
			(void)syscall(SYS_close_range, from, (unsigned)fd - 1, 0);
		from = (unsigned)fd + 1;
		if (i)
			(void)syscall(SYS_close_range, from, ~0U, 0);
	}
}

/* end_apart - the daemon goes on, and the engine may hang: a process of its own removes
 * everything, and has time. It is nobody's child, so nobody has to wait for it. False: there can
 * be no such process. */
static bool end_apart(struct instance *in)
{
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid > 0)
		return waitpid(pid, NULL, 0) == pid;
	if (fork() != 0)
		_exit(0);
	(void)prctl(PR_SET_NAME, "sandbox-sweep");
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(3 * APART_BUDGET_USEC / USEC_PER_SEC);
	keep_two(in->run_dir_fd, in->prereq.wall ? wall_fd(in->prereq.wall) : -1);
	instance_end(in, APART_BUDGET_USEC);
	_exit(0);
}

static void docker_free(void *instance)
{
	struct instance *in = instance;

	probe_cancel(in);
	janitor_done(&in->janitor);
	in->host->timer_cancel(in->host->handle, in->janitor_timer);
	if (!in->detached && end_apart(in)) {
		pool_drop(&in->pool);
		containers_done(&in->containers);
		prerequisites_drop(&in->prereq);
	} else {
		instance_end(in, SWEEP_BUDGET_USEC);
	}
	instance_clear(in);
}

static void docker_detach(void *instance) { ((struct instance *)instance)->detached = true; }

/* ----------------------------------------------------------------------------------------- jobs */

static int docker_reserve(void *instance, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err)
{
	struct instance *in = instance;

	follow_resolvers(in);
	return pool_reserve(&in->pool, job, place, err);
}

static void docker_release(void *instance, const struct lsn_job *job)
{
	pool_release(&((struct instance *)instance)->pool, job);
}

static int docker_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	int r = pool_submit(&((struct instance *)instance)->pool, job, err);
	/* The place went away since reserve(): sandbox, connection or wall. The job waits for
	 * another. */
	return r == -ENOTCONN || r == -ESTALE || r == -EHOSTDOWN || r == -EPIPE || r == -ECONNRESET ? -EAGAIN : r;
}

static void docker_cancel(void *instance, const struct lsn_job *job)
{
	pool_cancel(&((struct instance *)instance)->pool, job);
}

static int docker_recover(void *instance, const struct lsn_job *job, const char *place, struct lsn_error *err)
{
	return pool_recover(&((struct instance *)instance)->pool, job, place, err);
}

static void docker_forget(void *instance, uint64_t id, const char *place)
{
	pool_forget(&((struct instance *)instance)->pool, id, place);
}

/* -------------------------------------------------------------------------------------- figures */

static void describe_engine(struct instance *in, lsn_describe_fn fn, void *data)
{
	uint64_t calls, total, most;
	char text[128];

	fn(data, "state", prerequisite_names[in->prereq.state]);
	fn(data, "engine",
	   engine_up(in->prereq.engine) ? engine_version(in->prereq.engine) : engine_problem(in->prereq.engine)->text);
	engine_stats(in->prereq.engine, &calls, &total, &most);
	(void)snprintf(text, sizeof text, "%llu, %.1f ms each, %.1f ms at most", (unsigned long long)calls,
		       calls ? (double)total / (double)calls / 1000 : 0.0, (double)most / 1000);
	fn(data, "engine_calls", text);
	fn(data, "image", in->settings.image);
	if (in->prereq.image_id[0]) {
		fn(data, "image_id", in->prereq.image_id);
		fn(data, "image_created", in->prereq.image_created);
	}
	if (in->prereq.libraries[0])
		fn(data, "libraries", in->prereq.libraries);
	fn(data, "network", in->prereq.wall ? in->prereq.network.name : "none");
	if (in->prereq.wall) {
		uint64_t restored;
		list_text(&in->settings.pool.dns, text, sizeof text);
		fn(data, "name_servers", *text ? text : "none");
		fn(data, "wall", wall_state(in->prereq.wall));
		(void)snprintf(text, sizeof text, "%u", wall_restored(in->prereq.wall, &restored));
		fn(data, "wall_restored", text);
	}
}

__attribute__((format(printf, 4, 5))) static void describe(lsn_describe_fn fn, void *data, const char *key,
							   const char *format, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	fn(data, key, text);
}

static void describe_pool(const struct pool *pool, lsn_describe_fn fn, void *data)
{
	struct pool_figures f;
	const double mib = 1 << 20;

	pool_get_figures(pool, &f);
	describe(fn, data, "pool", "%u spare, %u idle, %u busy, %u starting, %u ending; at most %u by %s", f.spare,
		 f.idle, f.busy, f.starting, f.ending, f.most, room_limit_names[f.limit]);
	describe(fn, data, "memory", "%.1f MiB each, %.0f MiB together, at most %.0f MiB", (double)f.bytes_each / mib,
		 (double)f.bytes_each * f.total / mib, (double)pool->room.memory_bytes / mib);
	describe(fn, data, "scripts", "%u in use, %u of them wait for a sandbox", f.tenants, f.waiting);
	describe(fn, data, "hits", "%" PRIu64, pool->counts.hits);
	describe(fn, data, "spares", "%" PRIu64, pool->counts.spares);
	describe(fn, data, "misses", "%" PRIu64, pool->counts.misses);
	describe(fn, data, "evictions", "%" PRIu64, pool->evicted);
}

/* problem_of - what keeps jobs from running: the first that is missing, in the order in which they
 * are needed. */
static struct problem problem_of(const struct instance *in)
{
	const struct prerequisites *prereq = &in->prereq;
	struct problem starting = { .since_realtime_usec = prereq->since_realtime_usec };

	if (*engine_problem(prereq->engine)->text)
		return *engine_problem(prereq->engine);
	if (*prereq->problem.text)
		return prereq->problem;
	if (prerequisites_up(prereq))
		return in->pool.problem;
	(void)snprintf(starting.text, sizeof starting.text, "no sandboxes yet: %s", prerequisite_names[prereq->state]);
	return starting;
}

static void describe_health(const struct instance *in, lsn_describe_fn fn, void *data)
{
	const struct problem problem = problem_of(in);
	uint64_t restored = 0;
	unsigned times = in->prereq.wall ? wall_restored(in->prereq.wall, &restored) : 0;

	fn(data, "problem", *problem.text ? problem.text : "none");
	if (*problem.text)
		describe(fn, data, "problem_since_realtime_usec", "%" PRIu64, problem.since_realtime_usec);
	if (!restored || now_realtime_usec() - restored > WALL_WARNING_USEC)
		return;
	describe(fn, data, "warning",
		 "port wall: somebody removed or changed its rules (%u times since the start); they are back", times);
	describe(fn, data, "warning_since_realtime_usec", "%" PRIu64, restored);
}

static void docker_describe(void *instance, lsn_describe_fn fn, void *data)
{
	struct instance *in = instance;

	follow_resolvers(in);
	describe_engine(in, fn, data);
	describe_pool(&in->pool, fn, data);
	describe(fn, data, "sandboxes", "%" PRIu64 " started, %" PRIu64 " ended, %u left behind by others removed",
		 in->pool.started, in->pool.ended, in->janitor.removed);
	describe(fn, data, "jobs", "%" PRIu64, in->pool.jobs);
	if (in->pool.landlock_known)
		describe(fn, data, "landlock_abi", "%u", in->pool.landlock_abi);
	else
		fn(data, "landlock_abi", "not known yet");
	describe_health(in, fn, data);
}

static void docker_expect(void *instance, uint64_t scripts)
{
	pool_expect(&((struct instance *)instance)->pool, scripts);
}

LSN_EXPORT extern const struct lsn_executor_module lsn_executor;
LSN_EXPORT const struct lsn_executor_module lsn_executor = {
	.version = LSN_ABI_VERSION,
	.size = sizeof lsn_executor,
	.name = "docker-sandbox",
	.description = "runs each script in a sandbox: a Docker container with a Python that is already running",
	.init = docker_init,
	.free = docker_free,
	.reserve = docker_reserve,
	.release = docker_release,
	.submit = docker_submit,
	.cancel = docker_cancel,
	.recover = docker_recover,
	.forget = docker_forget,
	.detach = docker_detach,
	.describe = docker_describe,
	.probe = probe_start,
	.check = docker_check,
	.expect = docker_expect,
};
