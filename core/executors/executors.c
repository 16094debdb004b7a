/* executors.c - which instances there are: prepare, swap, drain. See executors.h; instance.c
 * calls them. */
#include "cleanup.h"
#include "executors_private.h"
#include "host.h"
#include "child.h"
#include "log.h"
#include "soon.h"
#include "script.h"
#include "stall.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <util.h>

/* ------------------------------------------------------------------------------- configurations */

static int copy_options(struct executor_config *to, const struct executor_config *from)
{
	if (from->option_count == 0)
		return 0;
	to->options = calloc(from->option_count, sizeof *to->options);
	if (!to->options)
		return -ENOMEM;
	for (; to->option_count < from->option_count; to->option_count++) {
		const struct lsn_option *option = &from->options[to->option_count];
		struct lsn_option *copy = &to->options[to->option_count];

		*copy = (struct lsn_option){ .key = strdup(option->key),
					     .value = strdup(option->value),
					     .file = strdup(option->file ? option->file : ""),
					     .line = option->line };
		if (!copy->key || !copy->value || !copy->file) {
			to->option_count++; /* free what there is of it */
			return -ENOMEM;
		}
	}
	return 0;
}

int executor_config_copy(struct executor_config *to, const struct executor_config *from)
{
	int r;

	*to = *from;
	to->options = NULL;
	to->option_count = 0;
	r = copy_options(to, from);
	if (r < 0)
		executor_config_clear(to);
	return r;
}

/* Where an option stands does not matter, what it says and in which order does. */
static bool same_options(const struct executor_config *a, const struct executor_config *b)
{
	if (a->option_count != b->option_count)
		return false;
	for (size_t i = 0; i < a->option_count; i++)
		if (!streq(a->options[i].key, b->options[i].key) || !streq(a->options[i].value, b->options[i].value))
			return false;
	return true;
}

/* Would a new instance be told the same things as this one? Concurrency and open are ours to
 * keep and need no new instance. */
static bool would_be_same(const struct executor *executor, const struct executors_config *common,
			  const struct executor_config *config, const struct module *module)
{
	const struct lsn_host *host = host_services(executor->host);
	char run_dir[PATH_MAX];

	(void)snprintf(run_dir, sizeof run_dir, "%s/%s", common->run_dir, config->name);
	return executor->role == EXECUTOR_IN_FORCE && streq(executor->config.name, config->name) &&
	       executor->module == module && streq(host->listener, common->listener) && streq(host->run_dir, run_dir) &&
	       streq(host->libexec_dir, common->libexec_dir) && same_options(&executor->config, config);
}

static bool valid_instance_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && !name[n];
}

/* ----------------------------------------------------------------------- prepare, swap, abandon */

static int check_names(const struct executors_config *config, struct lsn_error *err)
{
	for (size_t i = 0; i < config->executor_count; i++) {
		const char *name = config->executors[i].name;

		if (!valid_instance_name(name))
			return lsn_error_set(err, -EINVAL, "[executor %s]: a name is 1 to %d of a-z, 0-9, '_' and '-'",
					     name, EXECUTOR_NAME_SIZE - 1);
		for (size_t j = 0; j < i; j++)
			if (streq(name, config->executors[j].name))
				return lsn_error_set(err, -EINVAL, "there are two sections [executor %s]", name);
	}
	return 0;
}

static const char *module_name(const struct executor_config *config)
{
	return config->module[0] ? config->module : config->name;
}

/* plan_section - its module, its copy of the configuration, and the instance if the one there is
 * will do. */
static int plan_section(struct executors *set, const struct executors_config *common,
			const struct executor_config *config, struct plan *plan, struct lsn_error *err)
{
	struct executor *executor;
	int r;

	plan->set = set;
	r = module_find(&set->modules, common->folder, module_name(config), &plan->module, err);
	if (r < 0)
		return lsn_error_prefix(err, r, "module %s", module_name(config));
	if (executor_config_copy(&plan->config, config) < 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	TAILQ_FOREACH (executor, &set->all, all)
		if (would_be_same(executor, common, config, plan->module))
			plan->executor = executor;
	return 0;
}

static int plan_sections(struct executors *set, const struct executors_config *config, struct lsn_error *err)
{
	set->plan = calloc(config->executor_count + 1, sizeof *set->plan);
	if (!set->plan)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < config->executor_count; i++) {
		set->plan_count++;
		int r = plan_section(set, config, &config->executors[i], &set->plan[i], err);
		if (r < 0)
			return lsn_error_prefix(err, r, "[executor %s]", config->executors[i].name);
	}
	return 0;
}

/* plan_needs_trial - the module is new, or (CHECK) wants to look at options it has not seen. */
static bool plan_needs_trial(const struct plan *plan, bool check)
{
	return !plan->executor && (!plan->module->library || (check && plan->module->abi.check));
}

static struct module_trial plan_trial(const struct plan *plan, bool check)
{
	return (struct module_trial){ .module = plan->module,
				      .check = check,
				      .options = plan->config.options,
				      .option_count = plan->config.option_count };
}

static int plan_error(const struct executors_config *config, size_t i, int r, struct lsn_error *err)
{
	const struct executor_config *one = &config->executors[i];

	(void)lsn_error_prefix(err, r, "module %s", module_name(one));
	return lsn_error_prefix(err, r, "[executor %s]", one->name);
}

static int plan_make(struct executors *set, const struct executors_config *common, struct plan *plan,
		     struct lsn_error *err)
{
	int r = module_load_copy(plan->module, err);

	if (r < 0)
		return lsn_error_prefix(err, r, "module %s", plan->module->name);
	r = executor_new(set, common, &plan->config, plan->module, &plan->executor, err);
	if (r < 0)
		return r;
	plan->module = NULL; /* the instance has it now */
	TAILQ_INSERT_TAIL(&set->all, plan->executor, all);
	return 0;
}

/* plans_make - all have been tried: the instances. */
static int plans_make(struct executors *set, const struct executors_config *config, struct lsn_error *err)
{
	for (size_t i = 0; i < set->plan_count; i++) {
		struct plan *plan = &set->plan[i];
		int r = plan->executor ? 0 : plan_make(set, config, plan, err);
		if (r < 0)
			return lsn_error_prefix(err, r, "[executor %s]", config->executors[i].name);
	}
	set->planned = true;
	return 0;
}

static void prepare_end(struct executors *set, int r, const struct lsn_error *err)
{
	executors_prepared_fn fn = set->prepare.fn;
	void *data = set->prepare.data;

	set->prepare.config = NULL;
	if (r < 0)
		executors_abandon(set);
	fn(data, r, err);
}

static void prepare_make(struct executors *set)
{
	struct lsn_error err = { 0 };
	int r = plans_make(set, set->prepare.config, &err);

	prepare_end(set, r, &err);
}

static void on_tried(void *data, const struct child_end *end)
{
	struct plan *plan = data;
	struct executors *set = plan->set;
	struct lsn_error err = { 0 };

	plan->trial = NULL;
	int r = module_trial_judge(end, &err);
	if (r < 0) {
		(void)plan_error(set->prepare.config, (size_t)(plan - set->plan), r, &err);
		prepare_end(set, r, &err);
		return;
	}
	for (size_t i = 0; i < set->plan_count; i++)
		if (set->plan[i].trial)
			return;
	prepare_make(set);
}

static int on_prepare_soon(sd_event_source *source, uint64_t usec, void *data)
{
	(void)source, (void)usec;
	stall_source("executors", "reload");
	prepare_make(data);
	return 0;
}

static int start_trials(struct executors *set, const struct executors_config *config, struct lsn_error *err)
{
	bool waiting = false;

	for (size_t i = 0; i < set->plan_count; i++) {
		struct plan *plan = &set->plan[i];
		if (!plan_needs_trial(plan, true))
			continue;
		const struct module_trial trial = plan_trial(plan, true);
		const struct child_task task = module_trial_task(&trial);
		int r = child_start(set->loop, &task, on_tried, plan, &plan->trial, err);
		if (r < 0)
			return plan_error(config, i, r, err);
		waiting = true;
	}
	if (!waiting)
		soon(set->prepare.soon);
	return 0;
}

int executors_prepare(struct executors *set, const struct executors_config *config, executors_prepared_fn fn,
		      void *data, struct lsn_error *err)
{
	executors_abandon(set);
	int r = check_names(config, err);
	if (r >= 0)
		r = plan_sections(set, config, err);
	if (r >= 0)
		r = start_trials(set, config, err);
	if (r < 0) {
		executors_abandon(set);
		return r;
	}
	set->prepare.config = config;
	set->prepare.fn = fn;
	set->prepare.data = data;
	return 0;
}

int executors_prepare_now(struct executors *set, const struct executors_config *config, struct lsn_error *err)
{
	executors_abandon(set);
	int r = check_names(config, err);
	if (r >= 0)
		r = plan_sections(set, config, err);
	for (size_t i = 0; r >= 0 && i < set->plan_count; i++) {
		const struct module_trial trial = plan_trial(&set->plan[i], false);
		if (plan_needs_trial(&set->plan[i], false) && (r = module_trial_now(&trial, err)) < 0)
			(void)plan_error(config, i, r, err);
	}
	if (r >= 0)
		r = plans_make(set, config, err);
	if (r < 0)
		executors_abandon(set);
	return r;
}

static void drop_plan(struct executors *set)
{
	for (size_t i = 0; i < set->plan_count; i++) {
		child_cancel(set->plan[i].trial);
		executor_config_clear(&set->plan[i].config);
		(void)module_unref(set->plan[i].module);
	}
	free(set->plan);
	set->plan = NULL;
	set->plan_count = 0;
	set->planned = false;
	set->prepare.config = NULL;
	(void)sd_event_source_set_enabled(set->prepare.soon, SD_EVENT_OFF);
}

static void retired_drain(struct executor *executor)
{
	executor->role = EXECUTOR_DRAINING;
	log_info("executor=%s version=%s takes no more jobs, running=%u", executor->config.name, executor->version,
		 executor->out.length);
}

static void put_in_force(struct executors *set, struct plan *plan)
{
	struct executor *executor = plan->executor;

	if (executor->role == EXECUTOR_PREPARED) {
		log_info("executor=%s module=%s version=%s is in force", executor->config.name, executor->module->name,
			 executor->version);
	} else {
		executor_config_clear(&executor->config);
		executor->config = plan->config;
		plan->config = (struct executor_config){ 0 };
	}
	executor->role = EXECUTOR_IN_FORCE;
	TAILQ_REMOVE(&set->all, executor, all);
	TAILQ_INSERT_HEAD(&set->all, executor, all);
}

static bool in_plan(const struct executors *set, const struct executor *executor)
{
	for (size_t i = 0; i < set->plan_count; i++)
		if (set->plan[i].executor == executor)
			return true;
	return false;
}

void executors_swap(struct executors *set)
{
	struct executor *executor;

	if (!set->planned)
		return;
	TAILQ_FOREACH (executor, &set->all, all)
		if (executor->role == EXECUTOR_IN_FORCE && !in_plan(set, executor))
			retired_drain(executor);
	for (size_t i = set->plan_count; i-- > 0;)
		put_in_force(set, &set->plan[i]);
	drop_plan(set);
	executors_later(set);
}

void executors_abandon(struct executors *set)
{
	struct executor *executor, *next;

	drop_plan(set);
	for (executor = TAILQ_FIRST(&set->all); executor; executor = next) {
		next = TAILQ_NEXT(executor, all);
		if (executor->role == EXECUTOR_PREPARED) {
			TAILQ_REMOVE(&set->all, executor, all);
			executor_destroy(executor);
		}
	}
}

/* ------------------------------------------------------------------------- outside of callbacks */

/* One pass: what asks again while we are at it gets its turn in the loop's next round, after all
 * that is more urgent. */
static void tell_ready(struct executors *set)
{
	struct executor *executor;

	TAILQ_FOREACH (executor, &set->all, all) {
		if (executor->role != EXECUTOR_IN_FORCE || !executor->ready_pending)
			continue;
		executor->ready_pending = false;
		if (set->hooks.ready)
			set->hooks.ready(set->hooks.data, executor);
	}
}

static void retired_reap(struct executors *set)
{
	struct executor *executor, *next;

	for (executor = TAILQ_FIRST(&set->all); executor; executor = next) {
		next = TAILQ_NEXT(executor, all);
		if (executor->role != EXECUTOR_DRAINING || !executor_idle(executor))
			continue;
		TAILQ_REMOVE(&set->all, executor, all);
		log_info("executor=%s version=%s has drained", executor->config.name, executor->version);
		executor_destroy(executor);
	}
}

static int on_later(sd_event_source *source, void *data)
{
	struct executors *set = data;
	struct executor *executor;

	stall_source("executors", NULL);
	(void)source;
	TAILQ_FOREACH (executor, &set->all, all)
		executor_end_lost(executor);
	tell_ready(set);
	retired_reap(set);
	return 0;
}

/* --------------------------------------------------------------------------------- life and end */

int executors_new(sd_event *loop, const struct executors_hooks *hooks, struct executors **ret)
{
	struct executors *set = calloc(1, sizeof *set);
	int r;

	if (!set)
		return -ENOMEM;
	TAILQ_INIT(&set->all);
	set->loop = sd_event_ref(loop);
	if (hooks)
		set->hooks = *hooks;
	r = sd_event_add_defer(loop, &set->later, on_later, set);
	if (r >= 0)
		r = sd_event_source_set_enabled(set->later, SD_EVENT_OFF);
	if (r >= 0)
		r = soon_new(loop, on_prepare_soon, set, &set->prepare.soon);
	if (r < 0) {
		executors_free(set);
		return r;
	}
	*ret = set;
	return 0;
}

void executors_free(struct executors *set)
{
	struct executor *executor;

	if (!set)
		return;
	drop_plan(set);
	while ((executor = TAILQ_FIRST(&set->all))) {
		TAILQ_REMOVE(&set->all, executor, all);
		executor_destroy(executor);
	}
	sd_event_source_disable_unref(set->later);
	sd_event_source_disable_unref(set->prepare.soon);
	sd_event_unref(set->loop);
	free(set);
}

struct executor *executors_find(struct executors *set, const char *name)
{
	struct executor *executor;

	TAILQ_FOREACH (executor, &set->all, all)
		if (executor->role != EXECUTOR_PREPARED && streq(executor->config.name, name))
			return executor;
	return NULL;
}

void executors_each(struct executors *set, void (*fn)(void *data, struct executor *executor), void *data)
{
	struct executor *executor;

	TAILQ_FOREACH (executor, &set->all, all)
		if (executor->role != EXECUTOR_PREPARED)
			fn(data, executor);
}
