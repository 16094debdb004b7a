/* instance.c - calling one instance, and watching that it keeps the rules of
 * listener/executor.h. A module that breaks them is named in the log; the job it broke them with
 * ends as LOST, never twice and never not at all. */
#include "executors_private.h"
#include "content.h"
#include "host.h"
#include "init_guard.h"
#include "job.h"
#include "log.h"
#include "stall.h"
#include "table.h"
#include "util.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_CALL_USEC (50 * USEC_PER_MSEC)
#define REPORT_GRACE_USEC (60 * USEC_PER_SEC) /* of a module that does not say */

/* CALL(executor, result, submit, args...): result = submit(instance, args...), timed. */
#define CALL(executor, result, function, ...)                                                                          \
	do {                                                                                                           \
		uint64_t start_ = now_monotonic_usec();                                                                \
		result((executor)->module->abi.function((executor)->instance, ##__VA_ARGS__));                         \
		report_slow_call((executor), #function, start_);                                                       \
	} while (0)
#define SET_R(call) r = (call)
#define NOTHING(call) call

void executor_config_clear(struct executor_config *config)
{
	for (size_t i = 0; i < config->option_count; i++) {
		free((char *)config->options[i].key);
		free((char *)config->options[i].value);
		free((char *)config->options[i].file);
	}
	free(config->options);
	config->options = NULL;
	config->option_count = 0;
}

void executors_later(struct executors *set)
{
	int r = sd_event_source_set_enabled(set->later, SD_EVENT_ONESHOT);

	if (r < 0)
		log_error("cannot arm the turn of the executors: %s", strerror(-r));
}

static void report_slow_call(const struct executor *executor, const char *function, uint64_t start_usec)
{
	uint64_t took = now_monotonic_usec() - start_usec;

	stall_part(executor->config.name, function, took);
	if (took > SLOW_CALL_USEC)
		log_warning("%s() kept the loop for %" PRIu64 " ms executor=%s", function, took / USEC_PER_MSEC,
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

/* ----------------------------------------------------------------------------------------- runs */

static uint64_t address_key(const struct lsn_job *abi) { return (uint64_t)(uintptr_t)abi; }

static struct run *find_run(struct executor *executor, const struct lsn_job *abi)
{
	struct table_link *link = table_find(&executor->by_address, address_key(abi));

	return link ? container_of(link, struct run, by_address) : NULL;
}

static struct run *run_new(struct executor *executor, struct job *job, enum run_state state)
{
	struct run *run = calloc(1, sizeof *run);

	if (!run)
		return NULL;
	run->abi = job->abi;
	run->abi.payload_fd = run->abi.script_fd = -1;
	run->job = job_ref(job);
	run->executor = executor;
	run->state = state;
	LIST_INSERT_HEAD(&executor->out.list, run, list);
	executor->out.length++;
	table_add(&executor->by_address, &run->by_address, address_key(&run->abi));
	return run;
}

/* run_take_out - the module has nothing more to do for it. */
static void run_take_out(struct run *run)
{
	struct executor *executor = run->executor;

	LIST_REMOVE(run, list);
	executor->out.length--;
	table_remove(&executor->by_address, &run->by_address);
	run->payload = content_unref(run->payload);
	run->script = content_unref(run->script);
	run->abi.payload_fd = run->abi.script_fd = -1;
	if (executor->role == EXECUTOR_DRAINING)
		executors_later(executor->set);
}

static void run_free(struct run *run)
{
	(void)job_unref(run->job);
	free(run);
}

/* run_drop - it comes to nothing. */
static void run_drop(struct run *run)
{
	run_take_out(run);
	run_free(run);
}

/* run_keep - it has been reported; the module still has its result, until forget(). */
static void run_keep(struct run *run)
{
	run_take_out(run);
	run->state = RUN_DONE;
	LIST_INSERT_HEAD(&run->executor->done.list, run, list);
	run->executor->done.length++;
}

bool executor_idle(const struct executor *executor)
{
	return executor->out.length == 0 && executor->done.length == 0 && executor->probing == 0;
}

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
static const char *read_result(const struct run *run, const struct lsn_result *result, struct lsn_result *ret)
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
	ret->message[sizeof ret->message - 1] = 0;
	if (!utf8_valid(ret->message, strlen(ret->message)))
		for (char *c = ret->message; *c; c++)
			if ((unsigned char)*c >= 0x80)
				*c = '?';
	limit_output(&run->abi, &ret->out, &ret->out_size, &ret->out_truncated);
	limit_output(&run->abi, &ret->err, &ret->err_size, &ret->err_truncated);
	return NULL;
}

static void run_finish(struct run *run, const struct lsn_result *result)
{
	struct executors_hooks *hooks = &run->executor->set->hooks;

	run_keep(run);
	run->executor->worked_usec = now_monotonic_usec();
	if (hooks->done)
		hooks->done(hooks->data, run, result);
}

static void broke_rule(const struct run *run, const char *what)
{
	log_error("%s executor=%s version=%s job=%" PRIu64, what, run->executor->config.name, run->executor->version,
		  run->abi.id);
}

/* host->done() */
static void on_done(void *data, const struct lsn_job *abi, const struct lsn_result *result)
{
	struct executor *executor = data;
	struct run *run = abi ? find_run(executor, abi) : NULL;
	struct lsn_result copy;
	const char *wrong;

	if (executor->detached || !run || run->state == RUN_RESERVED) {
		log_error("done() for a job that it %s, ignoring executor=%s version=%s",
			  executor->detached ? "has been detached from"
			  : !run             ? "does not have (a second done?)"
					     : "was not given yet",
			  executor->config.name, executor->version);
		return;
	}
	if (run == executor->entering) {
		run->lost = "the executor reported the job before it had taken it";
		broke_rule(run, "done() from inside submit() or recover(), ignoring");
		return;
	}
	if (run->lost)
		return; /* ends on the next turn anyway */
	wrong = read_result(run, result, &copy);
	if (wrong) {
		broke_rule(run, wrong);
		lost_result(&copy, wrong);
	}
	run_finish(run, &copy);
}

void executor_end_lost(struct executor *executor)
{
	struct lsn_result result;
	struct run *run;

again:
	LIST_FOREACH (run, &executor->out.list, list) {
		if (!run->lost || run->state != RUN_SUBMITTED)
			continue;
		lost_result(&result, run->lost);
		run->lost = NULL;
		run_finish(run, &result);
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

/* host->ready_for() - only marks a lane and asks for a turn, so it need not wait for one itself. */
static bool on_ready_for(void *data, const char *script_version)
{
	const struct executor *executor = data;
	const struct executors_hooks *hooks = &executor->set->hooks;

	return executor->role == EXECUTOR_IN_FORCE && hooks->ready_for &&
	       hooks->ready_for(hooks->data, executor, script_version);
}

/* --------------------------------------------------------------------------------- life and end */

static int make_host(struct executor *executor, const struct executors_config *common, struct lsn_error *err)
{
	struct host_hooks hooks = {
		.ready = on_host_ready, .ready_for = on_ready_for, .done = on_done, .data = executor
	};
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
	executor->worked_usec = now_monotonic_usec();
	table_init(&executor->by_address);
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

/* hide_runs - from here on done() finds none. */
static void hide_runs(struct executor *executor)
{
	struct run *run;

	if (executor->out.length > 0 && !executor->detached)
		log_error("%u jobs are cut off executor=%s", executor->out.length, executor->config.name);
	LIST_FOREACH (run, &executor->out.list, list)
		table_remove(&executor->by_address, &run->by_address);
}

static void free_runs(struct runs *runs)
{
	struct run *run;

	while ((run = LIST_FIRST(&runs->list))) {
		LIST_REMOVE(run, list);
		(void)content_unref(run->payload);
		(void)content_unref(run->script);
		run_free(run);
	}
}

void executor_destroy(struct executor *executor)
{
	struct probe *running;
	unsigned left;

	/* From here on done() finds no job and a probe reports to nobody: at the end of the
	 * daemon those who asked may be gone. */
	LIST_FOREACH (running, &executor->probes, list)
		running->running = false;
	hide_runs(executor);
	if (executor->initialised)
		CALL(executor, NOTHING, free);
	free_runs(&executor->out);
	free_runs(&executor->done);
	table_done(&executor->by_address);
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
unsigned executor_running(const struct executor *executor) { return executor->out.length; }
uint64_t executor_worked_usec(const struct executor *executor) { return executor->worked_usec; }
bool executor_draining(const struct executor *executor) { return executor->role == EXECUTOR_DRAINING; }
const char *executor_version(const struct executor *executor) { return executor->version; }
const struct lsn_executor_module *executor_module(const struct executor *executor) { return &executor->module->abi; }

/* ----------------------------------------------------------------------------------------- jobs */

static int call_reserve(struct run *run, struct lsn_error *err)
{
	struct executor *executor = run->executor;
	struct lsn_error reason = { 0 };
	int r;

	CALL(executor, SET_R, reserve, &run->abi, run->place, &reason);
	if (r == -EAGAIN && !reason.message[0])
		return lsn_error_set(err, r, "it has no place now");
	if (r < 0)
		return give_error(r, &reason, err);
	run->place[sizeof run->place - 1] = 0;
	if (r > 0 || !utf8_valid(run->place, strlen(run->place))) {
		CALL(executor, NOTHING, release, &run->abi);
		return lsn_error_set(err, -EPROTO, "reserve() of executor %s %s", executor->config.name,
				     r > 0 ? "returned neither 0 nor an error" : "named a place that is not UTF-8");
	}
	return 0;
}

bool executor_is_full(const struct executor *executor)
{
	return executor->role != EXECUTOR_IN_FORCE || executor->detached ||
	       (executor->config.concurrency > 0 && executor->out.length >= executor->config.concurrency);
}

bool executor_wants_contents(const struct executor *executor)
{
	return (executor->module->abi.version & 0xffff) < 1 && executor->module->abi.reserve;
}

void run_set_contents(struct run *run, struct content *payload, struct content *script)
{
	run->payload = payload;
	run->script = script;
	run->abi.payload_fd = payload ? payload->fd : -1;
	run->abi.script_fd = script ? script->fd : -1;
}

int executor_reserve(struct executor *executor, struct job *job, struct content *payload, struct content *script,
		     struct run **ret, struct lsn_error *err)
{
	if (executor_is_full(executor))
		return lsn_error_set(err, -EAGAIN, "executor %s takes no more jobs now", executor->config.name);
	struct run *run = run_new(executor, job, RUN_RESERVED);
	if (!run)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	run_set_contents(run, payload, script);
	int r = executor->module->abi.reserve ? call_reserve(run, err) : 0;
	if (r < 0) {
		run_set_contents(run, NULL, NULL); /* stay the caller's */
		run_drop(run);
		return r;
	}
	*ret = run;
	return 0;
}

void executor_release(struct run *run)
{
	assert(run->state == RUN_RESERVED);
	if (run->executor->module->abi.release)
		CALL(run->executor, NOTHING, release, &run->abi);
	run_drop(run);
}

/* entered - after submit() or recover() returned R: the run is the module's, or it is not. */
static int call_entered(struct run *run, int r, const struct lsn_error *reason, struct lsn_error *err)
{
	run->executor->entering = NULL;
	if (r < 0) {
		run_drop(run);
		return give_error(r, reason, err);
	}
	if (r > 0) { /* taken or not? It cannot be known. */
		broke_rule(run, "submit() or recover() returned neither 0 nor an error");
		run->lost = "the executor did not say whether it took the job";
	}
	if (run->lost)
		executors_later(run->executor->set);
	return 0;
}

int executor_submit(struct run *run, struct lsn_error *err)
{
	struct executor *executor = run->executor;
	struct lsn_error reason = { 0 };
	int r;

	assert(run->state == RUN_RESERVED);
	run->state = RUN_SUBMITTED;
	executor->entering = run;
	CALL(executor, SET_R, submit, &run->abi, &reason);
	r = call_entered(run, r, &reason, err);
	if (r >= 0)
		executor->worked_usec = now_monotonic_usec();
	return r;
}

int executor_recover(struct executor *executor, struct job *job, struct run **ret, struct lsn_error *err)
{
	struct lsn_error reason = { 0 };
	int r;

	struct run *run = run_new(executor, job, RUN_SUBMITTED);
	*ret = run;
	if (!run)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	memcpy(run->place, job->place, sizeof run->place);
	if (!executor->module->abi.recover) {
		run_keep(run);
		return lsn_error_set(err, -ENOSYS, "executor %s cannot tell what became of it", executor->config.name);
	}
	executor->entering = run;
	CALL(executor, SET_R, recover, &run->abi, run->place, &reason);
	if (r < 0) {
		executor->entering = NULL;
		run_keep(run);
		return give_error(r, &reason, err);
	}
	return call_entered(run, r, &reason, err);
}

bool executor_can_cancel(const struct run *run)
{
	return run->state == RUN_SUBMITTED && run->executor->module->abi.cancel && !run->executor->detached;
}

void executor_cancel(struct run *run)
{
	if (executor_can_cancel(run))
		CALL(run->executor, NOTHING, cancel, &run->abi);
}

uint64_t executor_grace_usec(const struct run *run)
{
	const struct executor *executor = run->executor;

	if (!executor->module->abi.report_grace)
		return REPORT_GRACE_USEC;
	return executor->module->abi.report_grace(executor->instance, &run->abi);
}

void executor_forget(struct run *run)
{
	struct executor *executor = run->executor;

	assert(run->state == RUN_DONE);
	if (run->place[0] && executor->module->abi.forget && !executor->detached)
		CALL(executor, NOTHING, forget, run->abi.id, run->place);
	LIST_REMOVE(run, list);
	executor->done.length--;
	run_free(run);
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

void executor_expect(struct executor *executor, uint64_t scripts)
{
	if (executor->module->abi.expect)
		CALL(executor, NOTHING, expect, scripts);
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
