/* executor.c - calling one instance, and watching that it keeps the rules of
 * listener/executor.h. A module that breaks them is named in the log; the job it broke them with
 * ends as LOST, never twice and never not at all. */
#include "executors_private.h"
#include "host.h"
#include "init_guard.h"
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <util.h>

#define SLOW_CALL_USEC (50 * USEC_PER_MSEC)

/* CALL(executor, result, submit, args...): result = submit(instance, args...), timed. */
#define CALL(executor, result, function, ...)                                                                          \
	do {                                                                                                           \
		uint64_t start_ = now_monotonic_usec();                                                                \
		result((executor)->module->abi.function((executor)->instance, ##__VA_ARGS__));                         \
		report_slow_call((executor), #function, start_);                                                       \
	} while (0)
#define SET_R(call) r = (call)
#define NOTHING(call) call

static void report_slow_call(const struct executor *executor, const char *function, uint64_t start_usec)
{
	uint64_t took = now_monotonic_usec() - start_usec;

	if (took > SLOW_CALL_USEC)
		log_warning("%s() held the loop for %" PRIu64 " ms executor=%s", function, took / USEC_PER_MSEC,
			    executor->config.name);
}

/* What a module returned, made fit to be shown: an error has a code and a text. */
static int give_error(int r, const struct lsn_error *from, struct lsn_error *err)
{
	if (r >= 0)
		return r;
	if (from->message[0])
		return lsn_error_set(err, r, "%.*s", (int)sizeof from->message - 1, from->message);
	return lsn_error_set(err, r, "%s (the executor gave no other reason)", strerror(-r));
}

/* -------------------------------------------------------------------------------- what it holds */

static struct held *find_held(struct executor *executor, const struct lsn_job *job)
{
	struct held *held;

	LIST_FOREACH (held, &executor->held, list)
		if (held->job && &held->job->abi == job)
			return held;
	return NULL;
}

static struct held *held_add(struct executor *executor, struct job *job, enum held_state state)
{
	struct held *held = calloc(1, sizeof *held);

	if (!held)
		return NULL;
	*held = (struct held){ .job = job, .id = job->abi.id, .state = state };
	LIST_INSERT_HEAD(&executor->held, held, list);
	executor->running++;
	job->instance = executor;
	return held;
}

static void free_held(struct held *held)
{
	LIST_REMOVE(held, list);
	free(held);
}

/* The module has nothing more to do for the job. KEEP: but it still has its result, until
 * forget(). */
static void let_go(struct executor *executor, struct held *held, bool keep)
{
	held->job->instance = NULL;
	held->job = NULL;
	held->state = HELD_DONE;
	executor->running--;
	if (!keep)
		free_held(held);
	if (executor->role == EXECUTOR_DRAINING)
		executors_later(executor->set);
}

bool executor_idle(const struct executor *executor) { return LIST_EMPTY(&executor->held) && executor->probing == 0; }

/* -------------------------------------------------------------------------------------- results */

/* An output beyond what the job may have is cut: the journal's room is not the module's to give. */
static void limit_output(const struct lsn_job *job, const void **bytes, size_t *size, uint32_t *truncated)
{
	uint64_t limit = job->output == LSN_OUTPUT_CAPTURE ? job->output_limit_bytes : 0;

	if (!*bytes)
		*size = 0;
	if (*size <= limit)
		return;
	*size = (size_t)limit;
	*truncated = 1;
}

static void lost_result(struct lsn_result *ret, const char *reason)
{
	*ret = (struct lsn_result){ .version = LSN_ABI_VERSION, .size = sizeof *ret, .outcome = LSN_OUTCOME_LOST };
	(void)snprintf(ret->message, sizeof ret->message, "%s", reason);
}

/* RET gets as much of RESULT as its size covers, with nothing in it that later readers would
 * have to doubt. Returns NULL or what was wrong. */
static const char *read_result(const struct held *held, const struct lsn_result *result, struct lsn_result *ret)
{
	if (!result || result->version >> 16 != LSN_ABI_MAJOR ||
	    result->size < offsetof(struct lsn_result, exit_status))
		return "the executor reported no usable result";
	memset(ret, 0, sizeof *ret);
	memcpy(ret, result, result->size < sizeof *ret ? result->size : sizeof *ret);
	ret->version = LSN_ABI_VERSION;
	ret->size = sizeof *ret;
	if (ret->outcome >= LSN_OUTCOME_MAX)
		return "the executor reported an outcome that does not exist";
	if (ret->outcome == LSN_OUTCOME_NOT_STARTED && !held->recovered)
		return "the executor took the job and then reported that it did not start it";
	ret->message[sizeof ret->message - 1] = 0;
	if (!utf8_valid(ret->message, strlen(ret->message)))
		for (char *c = ret->message; *c; c++)
			if ((unsigned char)*c >= 0x80)
				*c = '?';
	limit_output(&held->job->abi, &ret->out, &ret->out_size, &ret->out_truncated);
	limit_output(&held->job->abi, &ret->err, &ret->err_size, &ret->err_truncated);
	return NULL;
}

static void held_finish(struct executor *executor, struct held *held, const struct lsn_result *result)
{
	struct job *job = held->job;

	/* A job that runs again has nothing to forget; nor has one without a place, see the
	 * dispatcher. */
	let_go(executor, held, job->place[0] && result->outcome != LSN_OUTCOME_NOT_STARTED && !held->forgotten);
	if (executor->set->hooks.done)
		executor->set->hooks.done(executor->set->hooks.data, executor, job, result);
}

static void broke_rule(const struct executor *executor, const struct held *held, const char *what)
{
	log_error("%s executor=%s version=%s job=%" PRIu64, what, executor->config.name, executor->version, held->id);
}

/* host->done() */
static void on_done(void *data, const struct lsn_job *abi, const struct lsn_result *result)
{
	struct executor *executor = data;
	struct held *held = abi ? find_held(executor, abi) : NULL;
	struct lsn_result copy;
	const char *wrong;

	if (executor->detached || !held || held->state == HELD_RESERVED) {
		log_error("done() for a job that it %s, ignoring executor=%s version=%s",
			  executor->detached ? "has been detached from"
			  : !held            ? "does not have (a second done?)"
					     : "was not given yet",
			  executor->config.name, executor->version);
		return;
	}
	if (held == executor->entering) {
		held->lost = "the executor reported the job before it had taken it";
		broke_rule(executor, held, "done() from inside submit() or recover(), ignoring");
		return;
	}
	if (held->lost)
		return; /* ends on the next turn anyway */
	wrong = read_result(held, result, &copy);
	if (wrong) {
		broke_rule(executor, held, wrong);
		lost_result(&copy, wrong);
	}
	held_finish(executor, held, &copy);
}

void executor_end_lost(struct executor *executor)
{
	struct lsn_result result;
	struct held *held;

again:
	LIST_FOREACH (held, &executor->held, list) {
		if (!held->lost || held->state != HELD_SUBMITTED)
			continue;
		lost_result(&result, held->lost);
		held->lost = NULL;
		held_finish(executor, held, &result);
		goto again; /* the hook may have changed the list */
	}
}

/* host->ready() */
static void on_host_ready(void *data)
{
	struct executor *executor = data;

	executor->ready_pending = true;
	executors_later(executor->set);
}

/* --------------------------------------------------------------------------------- life and end */

static int make_host(struct executor *executor, const struct executors_config *common, struct lsn_error *err)
{
	struct host_hooks hooks = { .ready = on_host_ready, .done = on_done, .data = executor };
	char run_dir[PATH_MAX];

	if (snprintf(run_dir, sizeof run_dir, "%s/%s", common->run_dir, executor->config.name) >= (int)sizeof run_dir)
		return lsn_error_set(err, -ENAMETOOLONG, "the run folder %s has too long a name", common->run_dir);
	return host_new(executor->set->loop, common->listener, executor->config.name, run_dir, common->libexec_dir,
			&hooks, &executor->host, err);
}

static int call_init(struct executor *executor, const struct executors_config *common, struct lsn_error *err)
{
	struct lsn_error reason = { 0 };
	uint64_t start;
	int r;

	r = init_guard_check(common->run_dir, executor->config.name, executor->module, err);
	if (r < 0)
		return r;
	init_guard_arm(common->run_dir, executor->config.name, executor->module);
	start = now_monotonic_usec();
	r = executor->module->abi.init(host_services(executor->host), executor->config.options,
				       executor->config.option_count, &executor->instance, &reason);
	init_guard_disarm();
	report_slow_call(executor, "init", start);
	if (r > 0)
		return lsn_error_set(err, -EPROTO, "init() returned %d, which is neither 0 nor an error", r);
	executor->initialised = r == 0;
	return give_error(r, &reason, err);
}

int executor_new(struct executors *set, const struct executors_config *common, struct executor_config *config,
		 struct module *module, struct executor **ret, struct lsn_error *err)
{
	struct executor *executor = calloc(1, sizeof *executor);
	int r;

	if (!executor)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	executor->set = set;
	executor->config = *config;
	executor->module = module_ref(module);
	(void)snprintf(executor->version, sizeof executor->version, "%.12s", module->hash);
	r = make_host(executor, common, err);
	if (r == 0)
		r = call_init(executor, common, err);
	if (r < 0) {
		executor->config.options = NULL; /* stay the caller's */
		executor->config.option_count = 0;
		executor_destroy(executor);
		return r;
	}
	*config = (struct executor_config){ 0 };
	(void)module_unref(module); /* the caller's reference is ours now */
	*ret = executor;
	return 0;
}

static void drop_held(struct executor *executor)
{
	if (executor->running > 0 && !executor->detached)
		log_error("%u jobs are cut off executor=%s", executor->running, executor->config.name);
	/* the jobs themselves may be gone already: at the end of the daemon the dispatcher goes
	 * first */
	while (!LIST_EMPTY(&executor->held))
		free_held(LIST_FIRST(&executor->held));
}

void executor_destroy(struct executor *executor)
{
	struct probe *running;
	unsigned left;

	/* From here on done() finds no job and a probe reports to nobody: at the end of the
	 * daemon those who asked may be gone. */
	LIST_FOREACH (running, &executor->probes, list)
		running->running = false;
	drop_held(executor);
	executor->running = 0;
	if (executor->initialised)
		CALL(executor, NOTHING, free);
	left = host_free(executor->host);
	if (left > 0)
		log_error("%s left %u watches and timers behind executor=%s version=%s",
			  executor->initialised ? "free()" : "init() failed and", left, executor->config.name,
			  executor->version);
	while (!LIST_EMPTY(&executor->probes)) {
		struct probe *probe = LIST_FIRST(&executor->probes);
		LIST_REMOVE(probe, list);
		free(probe);
	}
	module_unref(executor->module);
	executor_config_clear(&executor->config);
	free(executor);
}

/* ------------------------------------------------------------------------------------ questions */

const char *executor_name(const struct executor *executor) { return executor->config.name; }
const struct executor_config *executor_get_config(const struct executor *executor) { return &executor->config; }
unsigned executor_running(const struct executor *executor) { return executor->running; }
bool executor_draining(const struct executor *executor) { return executor->role == EXECUTOR_DRAINING; }
const char *executor_version(const struct executor *executor) { return executor->version; }
const struct lsn_executor_module *executor_module(const struct executor *executor) { return &executor->module->abi; }

/* ----------------------------------------------------------------------------------------- jobs */

static int call_reserve(struct executor *executor, struct job *job, struct lsn_error *err)
{
	struct lsn_error reason = { 0 };
	char place[LSN_PLACE_SIZE] = "";
	int r;

	CALL(executor, SET_R, reserve, &job->abi, place, &reason);
	if (r < 0)
		return give_error(r, &reason, err);
	place[sizeof place - 1] = 0;
	if (r > 0 || !utf8_valid(place, strlen(place))) {
		CALL(executor, NOTHING, release, &job->abi);
		return lsn_error_set(err, -EPROTO, "reserve() of executor %s %s", executor->config.name,
				     r > 0 ? "returned neither 0 nor an error" : "named a place that is not UTF-8");
	}
	memcpy(job->place, place, sizeof job->place);
	return 0;
}

int executor_reserve(struct executor *executor, struct job *job, struct lsn_error *err)
{
	struct held *held;
	int r;

	if (executor->role != EXECUTOR_IN_FORCE || executor->detached)
		return lsn_error_set(err, -EAGAIN, "executor %s takes no more jobs", executor->config.name);
	/* given up by the dispatcher, but not by the module: a second done() could not be told
	 * from the first */
	if (find_held(executor, &job->abi))
		return lsn_error_set(err, -EBUSY, "executor %s has not reported the last attempt yet",
				     executor->config.name);
	if (executor->config.concurrency > 0 && executor->running >= executor->config.concurrency)
		return lsn_error_set(err, -EAGAIN, "executor %s has all the %u jobs it may have", executor->config.name,
				     executor->config.concurrency);
	held = held_add(executor, job, HELD_RESERVED);
	if (!held)
		return lsn_error_set(err, -EAGAIN, "out of memory");
	job->place[0] = 0;
	r = executor->module->abi.reserve ? call_reserve(executor, job, err) : 0;
	if (r < 0)
		let_go(executor, held, false);
	return r;
}

void executor_release(struct executor *executor, struct job *job)
{
	struct held *held = find_held(executor, &job->abi);

	if (!held || held->state != HELD_RESERVED)
		return;
	if (executor->module->abi.release)
		CALL(executor, NOTHING, release, &job->abi);
	let_go(executor, held, false);
}

/* After submit() or recover() returned R: the job is the module's, or it is not. */
static int call_entered(struct executor *executor, struct held *held, int r, const struct lsn_error *reason,
			struct lsn_error *err)
{
	executor->entering = NULL;
	if (r < 0) {
		let_go(executor, held, false);
		return give_error(r, reason, err);
	}
	if (r > 0) { /* taken or not? It cannot be known. */
		broke_rule(executor, held, "submit() or recover() returned neither 0 nor an error");
		held->lost = "the executor did not say whether it took the job";
	}
	if (held->lost)
		executors_later(executor->set);
	return 0;
}

int executor_submit(struct executor *executor, struct job *job, struct lsn_error *err)
{
	struct held *held = find_held(executor, &job->abi);
	struct lsn_error reason = { 0 };
	int r;

	if (!held || held->state != HELD_RESERVED)
		return lsn_error_set(err, -EINVAL, "job has no place at executor %s", executor->config.name);
	held->state = HELD_SUBMITTED;
	executor->entering = held;
	CALL(executor, SET_R, submit, &job->abi, &reason);
	return call_entered(executor, held, r, &reason, err);
}

int executor_recover(struct executor *executor, struct job *job, struct lsn_error *err)
{
	struct lsn_error reason = { 0 };
	struct held *held;
	int r;

	if (!executor->module->abi.recover)
		return lsn_error_set(err, -ENOSYS, "executor %s cannot tell what became of it", executor->config.name);
	held = held_add(executor, job, HELD_SUBMITTED);
	if (!held)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	held->recovered = true;
	executor->entering = held;
	CALL(executor, SET_R, recover, &job->abi, job->place, &reason);
	return call_entered(executor, held, r, &reason, err);
}

void executor_cancel(struct executor *executor, struct job *job)
{
	const struct held *held = find_held(executor, &job->abi);

	if (held && held->state == HELD_SUBMITTED && executor->module->abi.cancel && !executor->detached)
		CALL(executor, NOTHING, cancel, &job->abi);
}

/* --------------------------------------------------------------------------------------- forget */

/* The last attempt, which has ended, goes before the next one, which may have a place already. */
static struct held *find_id(struct executor *executor, uint64_t id)
{
	struct held *held, *found = NULL;

	LIST_FOREACH (held, &executor->held, list)
		if (held->id == id && (!found || held->state == HELD_DONE))
			found = held;
	return found;
}

/* The instance that ran the job may have been replaced since; the caller asks for it by name and
 * gets the new one. */
static struct executor *forget_offered(struct executor *executor, uint64_t id)
{
	struct executor *other;

	if (find_id(executor, id))
		return executor;
	TAILQ_FOREACH (other, &executor->set->all, all)
		if (other->role != EXECUTOR_PREPARED && streq(other->config.name, executor->config.name) &&
		    find_id(other, id))
			return other;
	return executor;
}

void executor_forget(struct executor *asked, uint64_t job_id, const char *place)
{
	struct executor *executor = forget_offered(asked, job_id);
	struct held *held = find_id(executor, job_id);

	if (executor->module->abi.forget && !executor->detached)
		CALL(executor, NOTHING, forget, job_id, place);
	if (!held)
		return;
	if (held->state != HELD_DONE) {
		held->forgotten = true;
		return;
	}
	free_held(held);
	if (executor->role == EXECUTOR_DRAINING)
		executors_later(executor->set);
}

/* ---------------------------------------------------------------------- detach, describe, probe */

bool executor_can_detach(const struct executor *executor) { return executor->module->abi.detach != NULL; }

bool executor_detach(struct executor *executor)
{
	if (executor->detached)
		return true;
	if (!executor_can_detach(executor))
		return false;
	CALL(executor, NOTHING, detach);
	executor->detached = true;
	return true;
}

void executor_describe(struct executor *executor, lsn_describe_fn fn, void *data)
{
	if (executor->module->abi.describe)
		CALL(executor, NOTHING, describe, fn, data);
}

static void on_probe(void *data, enum lsn_probe_level level, const char *what, const char *remedy)
{
	struct probe *probe = data;

	if (probe->running)
		probe->fn(probe->data, level, what, remedy);
}

static void on_probe_end(void *data)
{
	struct probe *probe = data;
	struct executor *executor = probe->executor;

	if (!probe->running)
		return;
	probe->running = false;
	executor->probing--;
	probe->end(probe->data);
	if (executor->role == EXECUTOR_DRAINING)
		executors_later(executor->set);
}

static struct probe *take_probe(struct executor *executor)
{
	struct probe *probe;

	LIST_FOREACH (probe, &executor->probes, list)
		if (!probe->running)
			return probe;
	probe = calloc(1, sizeof *probe);
	if (probe)
		LIST_INSERT_HEAD(&executor->probes, probe, list);
	return probe;
}

int executor_probe(struct executor *executor, lsn_probe_fn fn, void (*end)(void *data), void *data)
{
	struct probe *probe;
	int r;

	if (!executor->module->abi.probe)
		return -ENOSYS;
	probe = take_probe(executor);
	if (!probe)
		return -ENOMEM;
	probe->executor = executor;
	probe->fn = fn;
	probe->end = end;
	probe->data = data;
	probe->running = true;
	executor->probing++;
	CALL(executor, SET_R, probe, on_probe, on_probe_end, probe);
	if (r < 0 && probe->running) {
		probe->running = false;
		executor->probing--;
	}
	return r;
}
