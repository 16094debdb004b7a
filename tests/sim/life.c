/* life.c - one life of the daemon after the other: its parts are made, wired and freed as
 * core/daemon.c does it. */
#include "sim.h"

#include "journal_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct daemon life;

static char base[64], folder[80];
static struct config config;
static struct executor_config executor_configs[SIM_EXECUTORS];
static struct lsn_option options[SIM_EXECUTORS];
static char option_values[SIM_EXECUTORS][12];
static unsigned revisions[SIM_SCRIPTS_MAX];
static bool deferring;

static const char *const executor_names[SIM_EXECUTORS] = { "full", "bare", "slow" };

static void must(int r, const struct lsn_error *err, const char *what)
{
	if (r < 0)
		sim_fail("%s: %s", what, err->message[0] ? err->message : strerror(-r));
}

sqlite3 *life_db(void) { return life.journal->db; }

int64_t life_number(const char *sql)
{
	sqlite3_stmt *stmt;
	int64_t number = -1;

	if (sqlite3_prepare_v2(life_db(), sql, -1, &stmt, NULL) != SQLITE_OK)
		sim_fail("%s: %s", sql, sqlite3_errmsg(life_db()));
	if (sqlite3_step(stmt) == SQLITE_ROW)
		number = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	return number;
}

/* -------------------------------------------------------------------------------- configuration */

static bool executor_open(void *data, const char *name)
{
	(void)data, (void)name;
	return true;
}

void life_make_base(void)
{
	(void)snprintf(base, sizeof base, "%s/listenerd-sim.XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(base)) {
		(void)fprintf(stderr, "sim: cannot make a folder %s: %s\n", base, strerror(errno));
		exit(2);
	}
}

void life_remove_base(void)
{
	char command[160];

	(void)snprintf(command, sizeof command, "rm -rf %s", base);
	(void)!system(command);
}

/* make_folder - one for each process: what locks and module folders are real lies there. */
static void make_folder(void)
{
	static pid_t owner;

	if (owner == getpid())
		return;
	owner = getpid();
	(void)snprintf(folder, sizeof folder, "%s/%d", base, (int)owner);
	if (mkdir(folder, 0700) < 0)
		sim_fail("cannot make the folder %s: %s", folder, strerror(errno));
}

static void configure(void)
{
	static char path[112];
	const struct profile *p = &world.profile;

	make_folder();
	(void)snprintf(path, sizeof path, "%s/journal.db", folder);
	config = (struct config){
		.identity = (char *)(uintptr_t) "sim",
		.state_dir = folder,
		.run_dir = folder,
		.libexec_dir = folder,
		.log_level = LSN_LOG_ERROR,
		.payload_max_bytes = 1 << 20,
		.broker = { .receive_max = 1000 },
		.journal = { .path = path,
			     .size_max_bytes = UINT64_C(1) << 40,
			     .jobs_max = p->jobs_max,
			     .keep_usec = UINT64_C(1) << 60,
			     .keep_jobs = UINT64_C(1) << 40 },
		.source = { .collection = (char *)(uintptr_t) "/scripts" },
		.policy = { .defaults = { .timeout_usec = 12 * USEC_PER_SEC,
					  .memory_bytes = 1 << 20,
					  .retry_delay_usec = USEC_PER_SEC },
			    .timeout_max_usec = 3600 * USEC_PER_SEC,
			    .memory_max_bytes = 1 << 30,
			    .retry_delay_max_usec = 60 * USEC_PER_SEC,
			    .retries_max = 10,
			    .on_lost_allowed = true,
			    .size_max = 1000,
			    .executor_open = executor_open },
		.dispatch = { .running_max = p->running_max,
			      .per_script_max = p->per_script_max,
			      .window = p->window,
			      .loop_limit = world.seed % 3 == 0 ? 3 : 24,
			      .retry_delay_max_usec = 60 * USEC_PER_SEC },
		.executors = { .folder = folder,
			       .run_dir = folder,
			       .libexec_dir = folder,
			       .listener = (char *)(uintptr_t) "sim",
			       .executors = executor_configs,
			       .executor_count = SIM_EXECUTORS },
	};
	(void)snprintf(config.dispatch.default_executor, sizeof config.dispatch.default_executor, "full");
	for (unsigned i = 0; i < SIM_EXECUTORS; i++) {
		executor_configs[i] = (struct executor_config){ .concurrency = p->concurrency[i],
								.on_lost = ON_LOST_REPORT,
								.open = true,
								.options = &options[i],
								.option_count = 1 };
		(void)snprintf(executor_configs[i].name, EXECUTOR_NAME_SIZE, "%s", executor_names[i]);
		options[i] =
			(struct lsn_option){ .key = "edition", .value = option_values[i], .file = "sim", .line = 1 };
		(void)snprintf(option_values[i], sizeof option_values[i], "0");
	}
}

/* -------------------------------------------------------------------------------------- scripts */

bool life_script_wants_updates(unsigned which) { return which % 3 != 1; }

static void script_offer(unsigned which)
{
	static const char *const executors[] = { "full", "full", "bare", "slow" };
	uint64_t s = mix(mix(world.seed, 0x5c1), which);
	const char *executor = executors[draw(&s, ELEMENTSOF(executors))];
	char name[24], content[24], retries[4];
	struct lsn_error err = { 0 };

	if (world.profile.scripts > 60) /* nearly all of them want the same executor */
		executor = which % 16 == 0 ? "slow" : "full";
	(void)snprintf(name, sizeof name, "script-%02u.py", which);
	(void)snprintf(content, sizeof content, "%u", revisions[which]);
	(void)snprintf(retries, sizeof retries, "%u", draw(&s, 2) ? draw(&s, 4) : world.profile.bulk);
	const struct registry_meta meta[] = {
		{ "executor", executor },
		{ "retries", retries },
		{ "retry_on", draw(&s, 2) ? "failure timeout" : "failure timeout lost signal" },
		{ "retry_delay", world.profile.bulk ? "60s" : "3s" },
		{ "on_lost", draw(&s, 2) ? "rerun" : "report" },
	};
	/* one job for each event, however many of them match */
	static const char *const more[] = { "create/+/#", "+/resource/+", NULL };
	const struct registry_offer offer = { .name = name,
					      .topic = life_script_wants_updates(which) ? "update/#" : "create/#",
					      .more_topics = life_script_wants_updates(which) ? more : NULL,
					      .content = content,
					      .size = strlen(content),
					      .source_key = "",
					      .meta = meta,
					      .meta_count = ELEMENTSOF(meta) };
	must(registry_offer(life.registry, &offer, &err), &err, "registry_offer");
}

static bool scripts_put(unsigned first, unsigned count)
{
	struct lsn_error err = { 0 };

	registry_begin(life.registry);
	for (unsigned i = first; i < first + count; i++)
		script_offer(i);
	return registry_end(life.registry, false, &err) >= 0;
}

void life_script_changes(uint32_t chance)
{
	unsigned which = chance % world.profile.scripts;

	if (!life.registry)
		return;
	revisions[which]++;
	sim_say("script %u changes", which);
	if (!scripts_put(which, 1))
		revisions[which]--;
}

/* ------------------------------------------------------------------------ a source that fetches */

static bool source_busy_for(struct source *source, const char *topic, size_t size)
{
	(void)source, (void)topic, (void)size;
	return deferring;
}

static const struct source_ops source_ops = { .busy_for = source_busy_for };
static struct source source = { .ops = &source_ops };

void life_defer(bool defer)
{
	deferring = defer;
	if (!defer && life.turn)
		turn_request(life.turn);
}

/* ---------------------------------------------------------------------------------- start, stop */

static void on_turn_wanted(void *data)
{
	(void)data;
	if (life.turn)
		turn_request(life.turn);
}

static void start_dispatcher(struct lsn_error *err)
{
	const struct dispatcher_hooks hooks = { .turn = on_turn_wanted };

	must(dispatcher_new(life.journal, &config.dispatch, &hooks, &life.dispatcher, err), err, "dispatcher_new");
	const struct executors_hooks executor_hooks = { .ready = dispatcher_ready,
							.done = dispatcher_done,
							.data = life.dispatcher };
	must(executors_new(life.loop, &executor_hooks, &life.executors), err, "executors_new");
	must(executors_prepare_now(life.executors, &config.executors, err), err, "executors_prepare");
	executors_swap(life.executors);
	dispatcher_set_executors(life.dispatcher, life.executors);
}

void life_start(void)
{
	struct lsn_error err = { 0 };

	if (life.loop)
		return;
	sim_say("the daemon starts");
	world.dead = false;
	deferring = false;
	life.state = DAEMON_RUNNING;
	life.config = &config;
	must(sd_event_new(&life.loop), &err, "sd_event_new");
	must(journal_open(&config.journal, &life.journal, &err), &err, "journal_open");
	must(registry_new(life.journal, &config.policy, &life.registry), &err, "registry_new");
	must(registry_load(life.registry, &err), &err, "registry_load");
	start_dispatcher(&err);
	const struct intake_parts intake = { .journal = life.journal,
					     .registry = life.registry,
					     .dispatcher = life.dispatcher,
					     .source = &source,
					     .config = &config };
	must(intake_new(&intake, &life.intake, &err), &err, "intake_new");
	const struct turn_parts turn = { .journal = life.journal,
					 .intake = life.intake,
					 .dispatcher = life.dispatcher };
	must(turn_new(life.loop, &turn, &life.turn, &err), &err, "turn_new");
	must(dispatcher_recover(life.dispatcher, &err), &err, "dispatcher_recover");
	turn_set_broker(life.turn, (struct broker *)&life);
	broker_resume((struct broker *)&life);
	turn_request(life.turn);
}

static void detach_one(void *data, struct executor *executor)
{
	(void)data;
	(void)executor_detach(executor);
}

void life_stop(bool orderly)
{
	if (!life.loop)
		return;
	sim_say("the daemon %s", orderly ? "is stopped" : "dies");
	if (orderly) {
		dispatcher_stop(life.dispatcher);
		executors_each(life.executors, detach_one, NULL);
	}
	world.dead |= !orderly;
	mqtt_cut(world.dead ? 0 : 1);
	check_reset();
	turn_free(life.turn);
	intake_free(life.intake);
	executors_free(life.executors);
	dispatcher_free(life.dispatcher);
	registry_free(life.registry);
	journal_close(life.journal);
	sd_event_unref(life.loop);
	life = (struct daemon){ 0 };
	world.dead = false;
	if (descriptors_open() > 0)
		sim_fail("%u descriptors are left open", descriptors_open());
}

/* life_begin - a new case: an empty journal with this case's scripts in it. */
void life_begin(void)
{
	static bool kept;

	memset(revisions, 0, sizeof revisions);
	configure();
	disk_begin();
	life_start();
	if (!kept) { /* making the schema takes longer than a case's first thousand steps */
		life_stop(true);
		disk_keep();
		kept = true;
		life_start();
	}
	(void)scripts_put(0, world.profile.scripts);
}

/* --------------------------------------------------------------------------------------- reload */

void life_reload_whole(void)
{
	struct lsn_error err = { 0 };

	must(executors_prepare_now(life.executors, &config.executors, &err), &err, "executors_prepare");
	executors_swap(life.executors);
	dispatcher_set_config(life.dispatcher, &config.dispatch);
	turn_request(life.turn);
}

void life_reload(uint32_t chance)
{
	uint64_t s = mix(world.seed, chance);
	uint32_t what = draw(&s, 7);

	if (!life.loop || world.dead)
		return;
	sim_say("reload %u", what);
	if (what == 0)
		(void)snprintf(option_values[draw(&s, SIM_EXECUTORS)], sizeof option_values[0], "%u", draw(&s, 1000));
	else if (what == 1)
		executor_configs[draw(&s, SIM_EXECUTORS)].concurrency = 1 + draw(&s, 10);
	else if (what == 2)
		config.dispatch.running_max = 1 + draw(&s, 12);
	else if (what == 3)
		config.dispatch.per_script_max = 1 + draw(&s, 6);
	else if (what == 4)
		config.dispatch.window = 2 + draw(&s, 12);
	else if (what == 5)
		config.dispatch.rate_max = draw(&s, 2) ? 1 + draw(&s, 50) : 0;
	else
		config.executors.executor_count = config.executors.executor_count == SIM_EXECUTORS ? SIM_EXECUTORS - 1
												   : SIM_EXECUTORS;
	life_reload_whole();
}

void life_calm(void)
{
	config.executors.executor_count = SIM_EXECUTORS;
	config.journal.jobs_max = 1000000;
	config.dispatch.running_max = config.dispatch.per_script_max = 100;
	config.dispatch.window = 100000;
	config.dispatch.loop_limit = 0;
	config.dispatch.rate_max = 0;
	for (unsigned i = 0; i < SIM_EXECUTORS; i++)
		executor_configs[i].concurrency = 100;
	if (life.journal)
		journal_set_config(life.journal, &config.journal);
	life_defer(false);
}

const struct dispatch_config *life_dispatch(void) { return &config.dispatch; }

unsigned life_rows_out(void)
{
	const int64_t *states = life.journal->counts.states;

	return (unsigned)(states[JOB_STARTING] + states[JOB_RUNNING] + states[JOB_RECOVERING]);
}

uint64_t life_last_job(void) { return life.journal ? life.journal->job_ids.next - 1 : 0; }
