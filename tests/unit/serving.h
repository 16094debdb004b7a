/* serving.h - the middle of the daemon on real parts, for the tests of those parts: journal,
 * registry, executors (tests/plugins' good.so and others), dispatcher, intake and turn in a real
 * loop. No broker: publications are given to intake_message(). Everything stands in a `struct
 * daemon` as in daemon.c. */
#ifndef TESTS_SERVING_H
#define TESTS_SERVING_H

#include "daemon.h"
#include "log.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <util.h>

#define SERVING_WAIT_USEC (20 * USEC_PER_SEC)

static struct daemon serving;
static char serving_folder[64];
static struct lsn_error serving_err;

static void serving_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void serving_shell(const char *format, ...)
{
	char command[600];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(command, sizeof command, format, ap);
	va_end(ap);
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* serving_write - FILE in our folder. */
static void serving_write(const char *name, const char *text)
{
	char path[128];

	(void)snprintf(path, sizeof path, "%s/%s", serving_folder, name);
	FILE *file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

/* serving_configure - what every test needs, and EXTRA (INI) as a drop-in, which may say
 * otherwise. */
static void serving_configure(const char *extra)
{
	char text[1000];

	(void)snprintf(text, sizeof text,
		       "[listener]\nidentity = unit\nlog_level = error\n"
		       "state_dir = %1$s\nrun_dir = %1$s\nlibexec_dir = %1$s\n[journal]\ndisk_free_min = 0\n"
		       "[executors]\nfolder = %1$s/executors\n[dispatcher]\ndefault_executor = good\n",
		       serving_folder);
	serving_write("listenerd.ini", text);
	serving_write("conf.d/extra.ini", extra);
}

static void serving_turn(void *data)
{
	(void)data;
	if (serving.turn)
		turn_request(serving.turn);
}

static bool serving_executor_open(void *data, const char *name)
{
	(void)data, (void)name;
	return true;
}

static void serving_ok(int r) { ck_assert_msg(r >= 0, "%s", serving_err.message); }

/* serving_try_open - as daemon.c does it, without broker, source and control socket; what
 * dispatcher_recover() returns. */
static int serving_try_open(void)
{
	static const struct dispatcher_hooks hooks = { .turn = serving_turn };

	serving = (struct daemon){ .state = DAEMON_RUNNING };
	ck_assert_int_ge(sd_event_new(&serving.loop), 0);
	ck_assert_int_gt(asprintf(&serving.config_file, "%s/listenerd.ini", serving_folder), 0);
	serving_ok(config_load(serving.config_file, &serving.config, &serving_err));
	serving.config->policy.executor_open = serving_executor_open;
	serving.config->policy.size_max = 1 << 20;
	serving_ok(journal_open(&serving.config->journal, &serving.journal, &serving_err));
	serving_ok(registry_new(serving.journal, &serving.config->policy, &serving.registry));
	serving_ok(registry_load(serving.registry, &serving_err));
	serving_ok(
		dispatcher_new(serving.journal, &serving.config->dispatch, &hooks, &serving.dispatcher, &serving_err));
	const struct executors_hooks executor_hooks = { .ready = dispatcher_ready,
							.done = dispatcher_done,
							.data = serving.dispatcher };
	serving_ok(executors_new(serving.loop, &executor_hooks, &serving.executors));
	serving_ok(executors_prepare_now(serving.executors, &serving.config->executors, &serving_err));
	executors_swap(serving.executors);
	dispatcher_set_executors(serving.dispatcher, serving.executors);
	const struct intake_parts intake = { .journal = serving.journal,
					     .registry = serving.registry,
					     .dispatcher = serving.dispatcher,
					     .config = serving.config };
	serving_ok(intake_new(&intake, &serving.intake, &serving_err));
	const struct turn_parts turn = { .journal = serving.journal,
					 .intake = serving.intake,
					 .dispatcher = serving.dispatcher };
	serving_ok(turn_new(serving.loop, &turn, &serving.turn, &serving_err));
	int r = dispatcher_recover(serving.dispatcher, &serving_err);
	turn_request(serving.turn);
	return r;
}

static void serving_open(void) { serving_ok(serving_try_open()); }

static void serving_close(void)
{
	turn_free(serving.turn);
	intake_free(serving.intake);
	executors_free(serving.executors);
	dispatcher_free(serving.dispatcher);
	registry_free(serving.registry);
	journal_close(serving.journal);
	sd_event_unref(serving.loop);
	config_free(serving.config);
	free(serving.config_file);
	serving = (struct daemon){ 0 };
}

/* serving_start - a folder with the modules and EXTRA in its configuration, all open.
 * serving_stop - all gone. */
static void serving_start(const char *extra)
{
	log_init(LSN_LOG_ERROR);
	(void)strcpy(serving_folder, "/tmp/test-serving.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(serving_folder));
	serving_shell("umask 022; mkdir %1$s/executors %1$s/conf.d && cp " TEST_BUILD
		      "/tests/plugins/*.so %1$s/executors && chmod 755 %1$s/executors/*.so",
		      serving_folder);
	serving_configure(extra);
	serving_open();
}

__attribute__((unused)) static void serving_stop(void)
{
	serving_close();
	serving_shell("rm -rf %s", serving_folder);
}

/* serving_step - one round of the loop. */
static void serving_step(void) { ck_assert_int_ge(sd_event_run(serving.loop, 10 * USEC_PER_MSEC), 0); }

#define serving_until(condition)                                                                                       \
	do {                                                                                                           \
		uint64_t until_ = now_monotonic_usec() + SERVING_WAIT_USEC;                                            \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(now_monotonic_usec() < until_, "in vain: %s", #condition);                       \
			serving_step();                                                                                \
		}                                                                                                      \
	} while (0)

/* serving_script - register NAME for TOPIC, with up to one more metadata key. */
__attribute__((unused)) static struct script *serving_script(const char *name, const char *topic, const char *key,
							     const char *value)
{
	const struct registry_meta meta = { key, value };
	const struct registry_offer offer = { .name = name,
					      .topic = topic,
					      .content = "pass\n",
					      .size = 5,
					      .source_key = "",
					      .meta = &meta,
					      .meta_count = key != NULL };

	registry_begin(serving.registry);
	serving_ok(registry_offer(serving.registry, &offer, &serving_err));
	serving_ok(registry_end_all(serving.registry, false, &serving_err));
	const struct registry_entry *entry = registry_find(serving.registry, name);
	ck_assert_ptr_nonnull(entry);
	ck_assert_msg(entry->script != NULL, "%s", entry->reason);
	return (struct script *)(uintptr_t)entry->script;
}

/* serving_publish - TOPIC arrives.
 * PACKET 0: at QoS 0. */
__attribute__((unused)) static void serving_publish(const char *topic, uint16_t packet)
{
	const struct broker_message message = {
		.topic = topic, .payload = "{}", .payload_size = 2, .packet_id = packet, .qos = packet != 0
	};

	intake_message(serving.intake, &message);
	turn_request(serving.turn);
}

struct serving_job { /* a job as the journal has it */
	uint64_t id;
	enum job_state state;
	int outcome;
	unsigned attempt;
	uint64_t replay_of;
	char executor[EXECUTOR_NAME_SIZE], message[256];
};
struct serving_search {
	struct serving_job job;
	uint64_t id;
	size_t count, ended;
};

static bool serving_look(void *data, const struct journal_job_row *row)
{
	struct serving_search *search = data;

	search->count++;
	search->ended += row->state >= JOB_FINISHED;
	if (row->id == search->id) {
		search->job =
			(struct serving_job){ row->id, row->state, row->outcome, row->attempt, row->replay_of, "", "" };
		(void)snprintf(search->job.executor, sizeof search->job.executor, "%s", row->executor);
		(void)snprintf(search->job.message, sizeof search->job.message, "%s", row->message);
	}
	return true;
}

static struct serving_search serving_find(uint64_t id)
{
	struct serving_search search = { .id = id };
	const struct journal_query query = { .state = -1, .outcome = -1, .limit = 1000 };

	serving_ok(journal_ask_jobs(serving.journal, &query, &(struct journal_cursor){ 0 }, 10 * USEC_PER_SEC,
				    serving_look, &search, &serving_err));
	return search;
}

__attribute__((unused)) static struct serving_job serving_job(uint64_t id)
{
	struct serving_search search = serving_find(id);
	ck_assert_uint_eq(search.job.id, id);
	return search.job;
}

__attribute__((unused)) static size_t serving_jobs(void) { return serving_find(0).count; }
__attribute__((unused)) static size_t serving_ended(void) { return serving_find(0).ended; }

/* What good.so tells of itself. */
struct serving_figure {
	const char *key;
	unsigned long value;
};
static void serving_take_figure(void *data, const char *key, const char *value)
{
	struct serving_figure *figure = data;
	if (streq(key, figure->key))
		figure->value = strtoul(value, NULL, 10);
}
__attribute__((unused)) static unsigned long serving_figure(const char *executor, const char *key)
{
	struct serving_figure figure = { .key = key };
	executor_describe(executors_find(serving.executors, executor), serving_take_figure, &figure);
	return figure.value;
}

#endif
