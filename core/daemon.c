/* daemon.c - see daemon.h. Start and stop; reload.c has the rest. */
#include "daemon.h"
#include "broker.h"
#include "commands.h"
#include "config.h"
#include "control.h"
#include "dispatcher.h"
#include "executors.h"
#include "failpoint.h"
#include "intake.h"
#include "journal.h"
#include "log.h"
#include "registry.h"
#include "reload.h"
#include "script.h"
#include "source.h"
#include "stall.h"
#include "subscriptions.h"
#include "test_jobs.h"
#include "turn.h"
#include "util.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define SETTLE_STEP_USEC (20 * USEC_PER_MSEC)
/* wait so long for the first scan before events are taken with the cached scripts */
#define SETTLE_MAX_USEC (5 * USEC_PER_SEC)
#define PRUNE_IDLE_USEC (60 * USEC_PER_SEC)
#define PRUNE_BUSY_USEC (100 * USEC_PER_MSEC)

static void on_turn_wanted(void *data)
{
	struct daemon *daemon = data;
	if (daemon->turn)
		turn_request(daemon->turn);
}

/* ----------------------------------------------------------------------------------------- stop */

static void executor_leave(void *data, struct executor *executor)
{
	unsigned *left = data;
	unsigned running = executor_running(executor);

	/* also without jobs: it is the daemon that ends */
	bool goes_on = executor_detach(executor);
	if (running == 0)
		return;
	if (goes_on)
		log_notice("executor=%s: %u running jobs continue, the next start takes them over",
			   executor_name(executor), running);
	else
		log_warning("executor=%s: %u running jobs cannot be left behind and will be reported as lost",
			    executor_name(executor), running);
	*left += running;
}

/* jobs_leave - running jobs that can live without us are left to our successor; the loop ends. */
static void jobs_leave(struct daemon *daemon)
{
	unsigned left = 0;

	executors_each(daemon->executors, executor_leave, &left);
	(void)sd_event_exit(daemon->loop, 0);
}

static void count_bound(void *data, struct executor *executor)
{
	unsigned *bound = data;

	if (!executor_can_detach(executor))
		*bound += executor_running(executor);
}

/* on_drain - only jobs that would end with us are worth waiting for: meanwhile nothing starts. */
static int on_drain(sd_event_source *source, uint64_t usec, void *data)
{
	struct daemon *daemon = data;
	unsigned bound = 0;

	stall_source("stopping", NULL);
	(void)usec;
	executors_each(daemon->executors, count_bound, &bound);
	bool done = bound == 0 && turn_idle(daemon->turn) && test_jobs_idle(daemon->tests);
	if (done || now_monotonic_usec() >= daemon->drain_until_usec) {
		jobs_leave(daemon);
		return 0;
	}
	(void)sd_event_source_set_time_relative(source, SETTLE_STEP_USEC);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
	struct daemon *daemon = data;

	stall_source("stopping", NULL);
	(void)source;
	if (daemon->state == DAEMON_DRAINING) {
		log_notice("stopping now");
		jobs_leave(daemon);
		return 0;
	}
	log_notice("stopping on signal %u: %u jobs are running", info->ssi_signo,
		   dispatcher_running(daemon->dispatcher));
	(void)sd_notify(0, "STOPPING=1");
	daemon->state = DAEMON_DRAINING;
	daemon_reload_cancel(daemon);
	daemon->drain_until_usec = now_monotonic_usec() + daemon->config->drain_usec;
	dispatcher_stop(daemon->dispatcher);
	test_jobs_stop(daemon->tests);
	if (daemon->broker)
		broker_quiesce(daemon->broker);
	daemon->settle_timer = sd_event_source_disable_unref(daemon->settle_timer);
	if (sd_event_add_time_relative(daemon->loop, &daemon->settle_timer, CLOCK_MONOTONIC, 0, 0, on_drain, daemon) <
	    0)
		jobs_leave(daemon);
	return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *data);

static void on_reloaded(void *data, int r, const struct lsn_error *err)
{
	struct daemon *daemon = data;

	(void)r, (void)err; /* the log has it */
	if (daemon->reload_again && daemon->state != DAEMON_DRAINING) {
		daemon->reload_again = false;
		(void)on_hangup(NULL, NULL, daemon);
	}
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
	struct daemon *daemon = data;
	struct lsn_error err = { 0 };

	(void)source;
	(void)info;
	stall_source("reload", NULL);
	if (daemon->reload)
		daemon->reload_again = true;
	else if (daemon_reload(daemon, on_reloaded, daemon, &err) < 0)
		log_error("reload failed, the old configuration stays: %s", err.message);
	return 0;
}

/* ---------------------------------------------------------------------------------------- start */

static int on_settle(sd_event_source *source, uint64_t usec, void *data)
{
	struct daemon *daemon = data;
	struct source_figures figures = { 0 };
	struct lsn_error err = { 0 };

	stall_source("starting", NULL);
	(void)usec;
	daemon->source->ops->figures(daemon->source, &figures);
	bool settled = figures.scanned_realtime_usec || figures.errors ||
		       now_monotonic_usec() - daemon->started_monotonic_usec > SETTLE_MAX_USEC;
	if (!settled) {
		(void)sd_event_source_set_time_relative(source, SETTLE_STEP_USEC);
		(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
		return 0;
	}
	struct broker *broker = NULL;
	if (daemon_make_broker(daemon, daemon->config, &broker, &err) < 0)
		log_error("no events are taken until a reload succeeds: %s", err.message);
	daemon_set_broker(daemon, broker);
	(void)snprintf(daemon->broker_problem, sizeof daemon->broker_problem, "%s", err.message);
	daemon->state = DAEMON_RUNNING;
	daemon_expect(daemon);
	log_notice("serving %zu scripts", registry_count(daemon->registry, SCRIPT_ACTIVE));
	return 0;
}

static int on_prune(sd_event_source *source, uint64_t usec, void *data)
{
	struct daemon *daemon = data;
	struct lsn_error err = { 0 };

	stall_source("pruning the journal", NULL);
	(void)usec;
	int r = journal_prune(daemon->journal, &err);
	if (r < 0)
		log_warning("cannot prune the journal, trying again: %s", err.message);
	(void)sd_event_source_set_time_relative(source, r > 0 ? PRUNE_BUSY_USEC : PRUNE_IDLE_USEC);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int make_loop(struct daemon *daemon, struct lsn_error *err)
{
	sigset_t signals;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	int r = sd_event_new(&daemon->loop);
	if (r >= 0)
		r = sd_event_add_signal(daemon->loop, NULL, SIGTERM, on_stop, daemon);
	if (r >= 0)
		r = sd_event_add_signal(daemon->loop, NULL, SIGINT, on_stop, daemon);
	if (r >= 0)
		r = sd_event_add_signal(daemon->loop, NULL, SIGHUP, on_hangup, daemon);
	if (r >= 0)
		r = sd_event_add_time_relative(daemon->loop, &daemon->prune_timer, CLOCK_MONOTONIC, USEC_PER_SEC,
					       USEC_PER_SEC, on_prune, daemon);
	if (r >= 0)
		r = sd_event_set_watchdog(daemon->loop, true);
	return r < 0 ? lsn_error_set(err, r, "cannot make the event loop: %s", strerror(-r)) : 0;
}

static int make_folders(const struct config *config, struct lsn_error *err)
{
	const char *folders[] = { config->state_dir, config->run_dir };

	for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
		int r = mkdir_p(folders[i], 0750);
		if (r < 0)
			return lsn_error_set(err, r, "cannot create %s: %s", folders[i], strerror(-r));
	}
	return 0;
}

static int open_store(struct daemon *daemon, struct lsn_error *err)
{
	int r = make_folders(daemon->config, err);
	if (r >= 0)
		r = journal_open(&daemon->config->journal, &daemon->journal, err);
	if (r < 0)
		return r;
	r = registry_new(daemon->journal, &daemon->config->policy, &daemon->registry);
	if (r < 0)
		return lsn_error_set(err, r, "cannot make the registry: %s", strerror(-r));
	return registry_load(daemon->registry, err);
}

/* What executors say is for the dispatcher, or for test jobs, which come first at a free place. */
static void on_executor_ready(void *data, struct executor *executor)
{
	const struct daemon *daemon = data;

	dispatcher_ready(daemon->dispatcher, executor); /* which asks for a turn */
}

static bool on_executor_ready_for(void *data, const struct executor *executor, const char *script_version)
{
	const struct daemon *daemon = data;

	return test_jobs_want(daemon->tests, executor, script_version) ||
	       dispatcher_ready_for(daemon->dispatcher, executor, script_version);
}

static void on_run_done(void *data, struct run *run, const struct lsn_result *result)
{
	const struct daemon *daemon = data;
	struct executor *executor = run->executor;

	if (!test_jobs_done(daemon->tests, run, result))
		dispatcher_done(daemon->dispatcher, run, result);
	else if (!test_jobs_want(daemon->tests, executor, NULL)) /* its place is free */
		(void)dispatcher_ready_for(daemon->dispatcher, executor, NULL);
}

static int make_dispatcher(struct daemon *daemon, struct lsn_error *err)
{
	const struct dispatcher_hooks hooks = { .turn = on_turn_wanted, .data = daemon };
	int r = dispatcher_new(daemon->journal, &daemon->config->dispatch, &hooks, &daemon->dispatcher, err);
	if (r < 0)
		return r;

	const struct executors_hooks executor_hooks = {
		.ready = on_executor_ready, .ready_for = on_executor_ready_for, .done = on_run_done, .data = daemon
	};
	r = executors_new(daemon->loop, &executor_hooks, &daemon->executors);
	if (r >= 0)
		r = test_jobs_new(daemon->journal, daemon->executors,
				  &(struct test_jobs_hooks){ .turn = on_turn_wanted, .data = daemon }, &daemon->tests);
	if (r < 0)
		return lsn_error_set(err, r, "cannot make the executors: %s", strerror(-r));
	r = executors_prepare_now(daemon->executors, &daemon->config->executors, err);
	if (r < 0)
		return r;
	executors_swap(daemon->executors);
	dispatcher_set_executors(daemon->dispatcher, daemon->executors);
	return 0;
}

static int make_intake(struct daemon *daemon, struct lsn_error *err)
{
	const struct intake_parts parts = { .journal = daemon->journal,
					    .registry = daemon->registry,
					    .dispatcher = daemon->dispatcher,
					    .config = daemon->config };
	int r = intake_new(&parts, &daemon->intake, err);
	if (r < 0)
		return r;

	const struct turn_parts turn = { .journal = daemon->journal,
					 .intake = daemon->intake,
					 .dispatcher = daemon->dispatcher,
					 .tests = daemon->tests };
	return turn_new(daemon->loop, &turn, &daemon->turn, err);
}

/* try_broker - are its settings such as can work? It is connected to when the scripts are known. */
static int try_broker(struct daemon *daemon, struct lsn_error *err)
{
	struct broker *broker = NULL;
	int r = daemon_make_broker(daemon, daemon->config, &broker, err);

	if (r < 0) {
		if (err)
			err->code = -EINVAL;
		return lsn_error_prefix(err, -EINVAL, "%s", daemon->config_file);
	}
	broker_free(broker);
	return 0;
}

static int daemon_start(struct daemon *daemon, struct lsn_error *err)
{
	int r = make_loop(daemon, err);
	if (r >= 0)
		r = open_store(daemon, err);
	if (r >= 0)
		r = make_dispatcher(daemon, err);
	if (r >= 0)
		r = make_intake(daemon, err);
	if (r >= 0)
		r = try_broker(daemon, err);
	if (r >= 0)
		r = dispatcher_recover(daemon->dispatcher, err);
	if (r >= 0)
		r = daemon_make_source(daemon, &daemon->config->source, &daemon->source, err);
	if (r >= 0)
		r = control_new(daemon->loop, &daemon->config->control, daemon_commands, daemon, &daemon->control, err);
	if (r < 0)
		return r;
	daemon_set_parts(daemon);
	turn_request(daemon->turn);
	r = sd_event_add_time_relative(daemon->loop, &daemon->settle_timer, CLOCK_MONOTONIC, 0, 0, on_settle, daemon);
	return r < 0 ? lsn_error_set(err, r, "cannot make a timer: %s", strerror(-r)) : 0;
}

static void detach_one(void *data, struct executor *executor)
{
	(void)data;
	(void)executor_detach(executor);
}

/* daemon_stop - in the reverse order; the broker first, so that nothing new is acknowledged. A
 * start that has failed leaves running jobs behind as an orderly end does. */
static void daemon_stop(struct daemon *daemon)
{
	daemon_reload_cancel(daemon);
	control_free(daemon->control);
	broker_free(daemon->broker);
	source_free(daemon->source);
	turn_free(daemon->turn);
	intake_free(daemon->intake);
	if (daemon->executors)
		executors_each(daemon->executors, detach_one, NULL);
	executors_free(daemon->executors);
	test_jobs_free(daemon->tests);
	dispatcher_free(daemon->dispatcher);
	registry_free(daemon->registry);
	journal_close(daemon->journal);
	sd_event_source_disable_unref(daemon->settle_timer);
	sd_event_source_disable_unref(daemon->prune_timer);
	sd_event_source_disable_unref(daemon->expect_timer);
	sd_event_unref(daemon->loop);
	config_free(daemon->config);
	free(daemon->config_file);
}

int daemon_run(const char *config_file, struct config *config, struct lsn_error *err)
{
	struct daemon daemon = { .config = config, .config_file = strdup(config_file) };

	daemon.started_realtime_usec = daemon.reloaded_realtime_usec = now_realtime_usec();
	daemon.started_monotonic_usec = now_monotonic_usec();
	log_init(config->log_level);
	failpoint_init();
	daemon_bind_policy(config);
	int r = daemon.config_file ? daemon_start(&daemon, err) : lsn_error_set(err, -ENOMEM, "out of memory");
	if (r >= 0) {
		(void)sd_notify(0, "READY=1");
		r = stall_loop(daemon.loop);
		if (r < 0)
			(void)lsn_error_set(err, r, "the event loop failed: %s", strerror(-r));
		log_notice("stopped");
	}
	daemon_stop(&daemon);
	return r;
}
