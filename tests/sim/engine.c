/* engine.c - three executor modules and what they run. The runs outlive the daemon; the instances
 * do not.
 *
 * full   has all of the ABI; its runs survive the daemon, and it knows after a restart what became
 * of them bare   submit() only: its runs end with the daemon, and nobody can say how far they came
 * slow   as full, but it cannot cancel, and it reports from inside cancel() of nobody
 *
 * They refuse for want of a place, fail to submit for reasons that concern the job and for reasons
 * that do not, report late, report after they were given up, and report never. What a run does is
 * a hash of the event, the script and the attempt. */
#include "sim.h"

#include "engine.h"
#include "executors_private.h"
#include "init_guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum execution_state {
	EXECUTION_RESERVED, /* a place only */
	EXECUTION_RUNNING,
	EXECUTION_ENDED,
	EXECUTION_KILLED,
	EXECUTION_NEVER, /* it did not begin */
};

struct execution {
	uint64_t job;
	uint32_t attempt;
	unsigned engine;
	enum execution_state state;
	enum lsn_outcome outcome;
	uint64_t begun_usec, reports_usec;
	bool reported; /* done() was called in this life of the daemon */
	bool forgotten;
	char place[LSN_PLACE_SIZE];
	struct execution *before; /* of the same job */
	/* while an instance has it */
	struct instance *instance;
	const struct lsn_job *abi;
	struct lsn_timer *timer;
};

struct instance {
	const struct lsn_host *host;
	unsigned engine, reserved, running, places;
	bool refused; /* owes a ready() */
	LIST_ENTRY(instance) list;
};

static const char *const names[SIM_EXECUTORS] = { "full", "bare", "slow" };

static struct {
	struct execution **runs;
	size_t count, size;
	struct execution **last; /* by job id */
	size_t last_size;
	uint64_t tries; /* of everything: so that what failed once need not fail for ever */
	bool hangs[SIM_EXECUTORS];
	LIST_HEAD(, instance) instances;
} engine;

/* ----------------------------------------------------------------------------------------- runs */

static bool execution_began(const struct execution *run)
{
	return run->state != EXECUTION_RESERVED && run->state != EXECUTION_NEVER;
}

static struct execution *execution_last(uint64_t job) { return job < engine.last_size ? engine.last[job] : NULL; }

struct execution *engine_execution(uint64_t job, uint32_t attempt)
{
	struct execution *run = execution_last(job);

	while (run && (run->attempt != attempt || !execution_began(run)))
		run = run->before;
	return run;
}

/* execution_reserved - the place that JOB was given last. */
static struct execution *execution_reserved(const struct lsn_job *job)
{
	struct execution *run = execution_last(job->id);

	while (run && run->state != EXECUTION_RESERVED)
		run = run->before;
	return run;
}

static struct execution **execution_slot(uint64_t job)
{
	if (job >= engine.last_size) {
		size_t size = 2 * (size_t)job + 64;
		engine.last = realloc(engine.last, size * sizeof(struct execution *));
		memset(engine.last + engine.last_size, 0, (size - engine.last_size) * sizeof(struct execution *));
		engine.last_size = size;
	}
	return &engine.last[job];
}

static struct execution *execution_new(const struct lsn_job *job, unsigned which, enum execution_state state)
{
	struct execution **slot = execution_slot(job->id), *run = calloc(1, sizeof *run);

	*run = (struct execution){
		.job = job->id, .attempt = job->attempt, .engine = which, .state = state, .before = *slot
	};
	*slot = run;
	if (engine.count == engine.size) {
		engine.size = engine.size ? 2 * engine.size : 256;
		engine.runs = realloc(engine.runs, engine.size * sizeof(struct execution *));
	}
	return engine.runs[engine.count++] = run;
}

static uint64_t hash_of(const struct lsn_job *job)
{
	uint64_t h = mix(world.seed, job->attempt);
	size_t size;
	const char *payload = descriptor_content(job->payload_fd, &size);

	for (size_t i = 0; i < size; i++)
		h = mix(h, (uint64_t)payload[i]);
	for (const char *c = job->script; *c; c++)
		h = mix(h, (uint64_t)*c);
	return h;
}

static void execution_plan(struct execution *run, const struct lsn_job *job)
{
	uint64_t s = hash_of(job), took;
	uint32_t kind = draw(&s, 100);

	run->outcome = LSN_OUTCOME_SUCCESS;
	if (world.profile.bulk && kind < 90)
		run->outcome = LSN_OUTCOME_FAILURE;
	else if (kind >= 75)
		run->outcome = draw(&s, 2) == 0 ? LSN_OUTCOME_FAILURE : 1 + draw(&s, LSN_OUTCOME_CANCELLED - 1);
	kind = draw(&s, 100);
	took = kind < 60 || world.calm || world.profile.bulk ? draw(&s, 50000)
	       : kind < 90                                   ? draw(&s, 2000000)
							     : draw(&s, (uint32_t)job->timeout_usec);
	run->reports_usec = run->begun_usec + took;
	kind = world.profile.bulk || world.calm ? 99 : draw(&s, 100);
	if (kind < 2 * world.profile.harshness) /* late, perhaps long after it was given up */
		run->reports_usec = run->begun_usec + job->timeout_usec + draw(&s, 200000000);
	else if (kind < 3 * world.profile.harshness) /* never, as far as it goes */
		run->reports_usec = UINT64_MAX;
}

static void say_done(struct execution *run)
{
	struct lsn_result result = { .version = LSN_ABI_VERSION, .size = sizeof result, .outcome = run->outcome };
	struct instance *instance = run->instance;
	const struct lsn_job *abi = run->abi;

	if (world.dead)
		return;
	sim_say("engine %s reports job=%llu attempt=%u: %s", names[run->engine], (unsigned long long)run->job,
		run->attempt, outcome_names[run->outcome]);
	run->instance = NULL;
	run->abi = NULL;
	run->reported = true;
	if (run->state == EXECUTION_RUNNING)
		run->state = EXECUTION_ENDED;
	result.duration_usec = world.monotonic_usec - run->begun_usec;
	instance->running--;
	instance->host->done(instance->host->handle, abi, &result);
	if (instance->engine != 1 || instance->refused)
		instance->host->ready(instance->host->handle);
	instance->refused = false;
}

static void on_report(void *data)
{
	struct execution *run = data;

	run->timer = NULL;
	if (!engine.hangs[run->engine])
		say_done(run);
}

static void arm_report(struct execution *run)
{
	uint64_t now = world.monotonic_usec;

	if (run->timer || !run->instance || run->reports_usec == UINT64_MAX)
		return;
	(void)run->instance->host->timer(run->instance->host->handle,
					 run->reports_usec > now ? run->reports_usec - now : 0, on_report, run,
					 &run->timer);
}

static void execution_attach(struct execution *run, struct instance *instance, const struct lsn_job *job)
{
	run->instance = instance;
	run->abi = job;
	instance->running++;
	arm_report(run);
}

/* ----------------------------------------------------------------------------------- the module */

static unsigned engine_of(const char *name)
{
	for (unsigned i = 0; i < SIM_EXECUTORS; i++)
		if (streq(names[i], name))
			return i;
	return 0;
}

unsigned engine_index(const char *name) { return engine_of(name); }

static int engine_init(const struct lsn_host *host, const struct lsn_option *options, size_t count, void **ret,
		       struct lsn_error *err)
{
	struct instance *instance = calloc(1, sizeof *instance);

	(void)err, (void)options, (void)count;
	instance->host = host;
	instance->engine = engine_of(host->instance);
	instance->places = world.profile.places[instance->engine];
	LIST_INSERT_HEAD(&engine.instances, instance, list);
	*ret = instance;
	return 0;
}

static void engine_free(void *data)
{
	struct instance *instance = data;

	for (size_t i = 0; i < engine.count; i++) {
		struct execution *run = engine.runs[i];
		if (run->instance != instance)
			continue;
		if (run->timer)
			instance->host->timer_cancel(instance->host->handle, run->timer);
		run->timer = NULL;
		run->instance = NULL;
		run->abi = NULL;
		if (instance->engine == 1 && run->state == EXECUTION_RUNNING)
			run->state = EXECUTION_KILLED;
	}
	LIST_REMOVE(instance, list);
	free(instance);
}

/* luck - does what is asked for fail this time? One in N, more often in a harsh world. */
static bool luck(uint32_t n)
{
	uint64_t s = mix(world.seed, engine.tries++);

	return !world.calm && !world.profile.bulk && world.profile.harshness > 0 &&
	       draw(&s, n / world.profile.harshness) == 0;
}

/* refusal_hash - the descriptors come later. */
static uint64_t refusal_hash(const struct lsn_job *job)
{
	uint64_t h = mix(world.seed, job->attempt);

	for (const char *c = job->topic; *c; c++)
		h = mix(h, (uint64_t)*c);
	for (const char *c = job->script; *c; c++)
		h = mix(h, (uint64_t)*c);
	return h;
}

static int engine_reserve(void *data, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err)
{
	struct instance *instance = data;

	if (world.dead)
		return -EAGAIN;
	check_offer(job, names[instance->engine]);
	if (refusal_hash(job) % 67 == 0 && !world.profile.bulk)
		return lsn_error_set(err, -EFBIG, "never here");
	if (luck(80))
		return lsn_error_set(err, -ENOMEM, "not now");
	if (engine.hangs[instance->engine] || instance->reserved + instance->running >= instance->places) {
		instance->refused = true;
		return -EAGAIN;
	}
	struct execution *run = execution_new(job, instance->engine, EXECUTION_RESERVED);
	(void)snprintf(run->place, sizeof run->place, "%s-%llu-%zu", names[instance->engine],
		       (unsigned long long)job->id, engine.count);
	memcpy(place, run->place, sizeof run->place);
	instance->reserved++;
	return 0;
}

static void engine_release(void *data, const struct lsn_job *job)
{
	struct instance *instance = data;

	struct execution *run = execution_reserved(job);

	if (!run)
		sim_fail("job %llu gives back a place that it does not have", (unsigned long long)job->id);
	run->state = EXECUTION_NEVER;
	instance->reserved--;
}

/* submit_trouble - 0, or why it cannot be started. */
static int submit_trouble(struct instance *instance, const struct lsn_job *job, struct lsn_error *err)
{
	static const int passing[] = { EMFILE, ENFILE, ENOMEM, ENOBUFS, EIO, EPIPE };

	if (engine.hangs[instance->engine]) {
		instance->refused = true;
		return -EAGAIN;
	}
	if (descriptors_short(2))
		return lsn_error_set(err, -EMFILE, "no descriptors");
	if (luck(40)) {
		instance->refused = instance->engine != 1;
		return instance->engine != 1 ? -EAGAIN : 0;
	}
	if (luck(60))
		return lsn_error_set(err, -passing[engine.tries % ELEMENTSOF(passing)], "not now");
	if (hash_of(job) % 61 == 0 && !world.profile.bulk)
		return lsn_error_set(err, -EACCES, "cannot be started at all");
	return 0;
}

static int engine_submit(void *data, const struct lsn_job *job, struct lsn_error *err)
{
	struct instance *instance = data;

	if (instance->engine != 1)
		instance->reserved--;
	if (world.dead)
		return -EAGAIN;
	check_submit(job);
	struct execution *run = instance->engine == 1 ? execution_new(job, 1, EXECUTION_RESERVED)
						      : execution_reserved(job);
	if (!run || (run->state == EXECUTION_RESERVED && run->attempt != job->attempt && instance->engine != 1))
		sim_fail("job %llu attempt %u is handed over without a place", (unsigned long long)job->id,
			 job->attempt);
	int r = submit_trouble(instance, job, err);
	if (r < 0) {
		sim_say("engine %s does not start job=%llu attempt=%u: %s", names[instance->engine],
			(unsigned long long)job->id, job->attempt, strerror(-r));
		run->state = EXECUTION_NEVER;
		return r;
	}
	if (engine_execution(job->id, job->attempt))
		sim_fail("job %llu attempt %u is started a second time", (unsigned long long)job->id, job->attempt);
	run->job = job->id;
	run->attempt = job->attempt;
	run->engine = instance->engine;
	run->begun_usec = world.monotonic_usec;
	run->state = EXECUTION_RUNNING;
	execution_plan(run, job);
	sim_say("engine %s starts job=%llu attempt=%u script=%s, reports in %.3f s", names[run->engine],
		(unsigned long long)job->id, job->attempt, job->script,
		(double)(run->reports_usec - run->begun_usec) / 1e6);
	execution_attach(run, instance, job);
	return 0;
}

static struct execution *execution_of(const struct lsn_job *job)
{
	struct execution *run = execution_last(job->id);

	while (run && run->abi != job)
		run = run->before;
	return run;
}

static void engine_cancel(void *data, const struct lsn_job *job)
{
	struct execution *run = execution_of(job);

	(void)data;
	if (world.dead || !run || engine.hangs[run->engine])
		return;
	run->outcome = LSN_OUTCOME_CANCELLED;
	if (run->job % 2 == 0 && run->timer) { /* at once */
		run->instance->host->timer_cancel(run->instance->host->handle, run->timer);
		run->timer = NULL;
		say_done(run);
		return;
	}
	if (run->timer)
		run->instance->host->timer_cancel(run->instance->host->handle, run->timer);
	run->timer = NULL;
	run->reports_usec = world.monotonic_usec + 10000;
	arm_report(run);
}

/* recover_unknown - the intent was stored, and nothing of the job ever arrived. */
static struct execution *recover_unknown(const struct instance *instance, const struct lsn_job *job)
{
	struct execution *run = execution_new(job, instance->engine, EXECUTION_NEVER);

	run->outcome = LSN_OUTCOME_NOT_STARTED;
	return run;
}

static int engine_recover(void *data, const struct lsn_job *job, const char *place, struct lsn_error *err)
{
	struct instance *instance = data;
	struct execution *run = engine_execution(job->id, job->attempt);

	if (world.dead)
		return -EIO;
	if (run && !streq(run->place, place))
		sim_fail("job %llu attempt %u is asked for at %s, it was started at %s", (unsigned long long)job->id,
			 job->attempt, place, run->place);
	if (run && (run->instance || run->forgotten))
		sim_fail("job %llu attempt %u is recovered, but it %s", (unsigned long long)job->id, job->attempt,
			 run->forgotten ? "was forgotten" : "is here");
	if (luck(30)) {
		if (run)
			run->state = EXECUTION_KILLED;
		return lsn_error_set(err, -ENOENT, "its sandbox is gone");
	}
	if (run && run->state == EXECUTION_KILLED)
		run->outcome = LSN_OUTCOME_LOST;
	execution_attach(run ? run : recover_unknown(instance, job), instance, job);
	return 0;
}

static void engine_forget(void *data, uint64_t id, const char *place)
{
	(void)data;
	if (world.dead)
		return;
	check_forget(id, place);
	for (struct execution *run = execution_last(id); run; run = run->before)
		run->forgotten |= streq(run->place, place);
}

static void engine_detach(void *data) { (void)data; }

static uint64_t engine_grace(void *data, const struct lsn_job *job)
{
	const struct instance *instance = data;

	(void)job;
	return instance->engine == 0 ? 30 * USEC_PER_SEC : LSN_NEVER;
}

static const struct lsn_executor_module modules[SIM_EXECUTORS] = {
	{ .version = LSN_ABI_VERSION,
	  .size = sizeof modules[0],
	  .name = "full",
	  .init = engine_init,
	  .free = engine_free,
	  .reserve = engine_reserve,
	  .release = engine_release,
	  .submit = engine_submit,
	  .cancel = engine_cancel,
	  .recover = engine_recover,
	  .forget = engine_forget,
	  .detach = engine_detach,
	  .report_grace = engine_grace },
	{ .version = LSN_ABI_VERSION,
	  .size = sizeof modules[0],
	  .name = "bare",
	  .init = engine_init,
	  .free = engine_free,
	  .submit = engine_submit,
	  .cancel = engine_cancel },
	{ .version = LSN_ABI_VERSION,
	  .size = sizeof modules[0],
	  .name = "slow",
	  .init = engine_init,
	  .free = engine_free,
	  .reserve = engine_reserve,
	  .release = engine_release,
	  .submit = engine_submit,
	  .recover = engine_recover,
	  .forget = engine_forget,
	  .detach = engine_detach,
	  .report_grace = engine_grace },
};

/* ----------------------------------------------------------- in place of module.c, init_guard.c */

int module_find(struct module_list *loaded, const char *folder, const char *name, struct module **ret,
		struct lsn_error *err)
{
	struct module *module;

	(void)folder, (void)err;
	LIST_FOREACH (module, loaded, list)
		if (streq(module->name, name)) {
			*ret = module_ref(module);
			return 0;
		}
	module = calloc(1, sizeof *module);
	*module = (struct module){ .refs = 1, .fd = -1, .library = module, .abi = modules[engine_of(name)] };
	(void)snprintf(module->name, sizeof module->name, "%s", name);
	(void)snprintf(module->hash, sizeof module->hash, "0123456789abcdef");
	LIST_INSERT_HEAD(loaded, module, list);
	*ret = module;
	return 0;
}

struct module *module_ref(struct module *module)
{
	module->refs++;
	return module;
}

struct module *module_unref(struct module *module)
{
	if (module && --module->refs == 0) {
		LIST_REMOVE(module, list);
		free(module);
	}
	return NULL;
}

int init_guard_check(const char *run_dir, const char *executor, const struct module *module, struct lsn_error *err)
{
	(void)run_dir, (void)executor, (void)module, (void)err;
	return 0;
}

void init_guard_arm(const char *run_dir, const char *executor, const struct module *module)
{
	(void)run_dir, (void)executor, (void)module;
}

void init_guard_disarm(void) {}

/* ---------------------------------------------------------------------------- what the steps do */

void engine_begin(void)
{
	engine_end();
	LIST_INIT(&engine.instances);
}

void engine_end(void)
{
	for (size_t i = 0; i < engine.count; i++)
		free(engine.runs[i]);
	free(engine.runs);
	free(engine.last);
	memset(&engine, 0, sizeof engine);
}

void engine_wake(unsigned which)
{
	struct instance *instance, *next;

	for (instance = LIST_FIRST(&engine.instances); instance; instance = next) {
		next = LIST_NEXT(instance, list);
		if (instance->engine == which)
			instance->host->ready(instance->host->handle);
	}
}

void engine_hang(unsigned which, bool hangs)
{
	if (engine.hangs[which] == hangs)
		return;
	sim_say("engine %s %s", names[which], hangs ? "hangs" : "goes on");
	engine.hangs[which] = hangs;
	if (hangs)
		return;
	for (size_t i = 0; i < engine.count; i++)
		if (engine.runs[i]->engine == which)
			arm_report(engine.runs[i]);
	engine_wake(which);
}

void engine_calm(void)
{
	struct instance *instance;

	LIST_FOREACH (instance, &engine.instances, list)
		instance->places = 100;
	for (unsigned i = 0; i < SIM_EXECUTORS; i++) {
		engine_hang(i, false);
		engine_wake(i);
	}
	for (size_t i = 0; i < engine.count; i++) {
		struct execution *run = engine.runs[i];
		if (run->reports_usec == UINT64_MAX || run->reports_usec > world.monotonic_usec + 12 * USEC_PER_SEC)
			run->reports_usec = world.monotonic_usec + 12 * USEC_PER_SEC;
		if (run->timer)
			run->instance->host->timer_cancel(run->instance->host->handle, run->timer);
		run->timer = NULL;
		arm_report(run);
	}
}

bool engine_would_take(unsigned which)
{
	/* the youngest of its name comes first */
	const struct instance *instance = LIST_FIRST(&engine.instances);

	while (instance && instance->engine != which)
		instance = LIST_NEXT(instance, list);
	if (!instance || engine.hangs[which])
		return false;
	return which == 1 || instance->reserved + instance->running < instance->places;
}

bool engine_succeeded(uint64_t job, uint32_t attempt)
{
	const struct execution *run = engine_execution(job, attempt);
	return run && run->state == EXECUTION_ENDED && run->outcome == LSN_OUTCOME_SUCCESS;
}

bool engine_runs(uint64_t job, uint32_t attempt)
{
	const struct execution *run = engine_execution(job, attempt);
	return run && run->state == EXECUTION_RUNNING && !run->reported;
}
