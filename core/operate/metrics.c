/* metrics.c - the command metrics: the daemon's state and counters as families of samples. What
 * they mean is in docs/monitoring.md. Labels have words of closed sets only, except `script`, of
 * which there are METRICS_SCRIPTS_MAX and METRICS_OTHERS. */
#include "metrics.h"
#include "broker.h"
#include "conditions.h"
#include "control.h"
#include "dispatcher.h"
#include "executors.h"
#include "histogram.h"
#include "hold.h"
#include "intake.h"
#include "journal.h"
#include "metrics_row.h"
#include "metrics_self.h"
#include "place.h"
#include "record.h"
#include "registry.h"
#include "reply.h"
#include "script.h"
#include "tally.h"
#include "turn.h"
#include "util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void send_gauge(struct control_reply *reply, const char *name, const char *help, double value)
{
	metrics_one(reply, name, "gauge", help, value);
}

static void send_counter(struct control_reply *reply, const char *name, const char *help, uint64_t value)
{
	metrics_one(reply, name, "counter", help, (double)value);
}

/* age_sec - how long ago that was; 0: never. */
static double age_sec(uint64_t realtime_usec)
{
	uint64_t now = now_realtime_usec();

	return realtime_usec && now > realtime_usec ? (double)(now - realtime_usec) / 1e6 : 0;
}

/* --------------------------------------------------------------------------------------- daemon */

static void send_daemon(const struct daemon *daemon, struct control_reply *reply)
{
	send_gauge(reply, "listenerd_up", "1 if listenerd answers.", 1);
	struct metrics_row info =
		metrics_begin(reply, "listenerd_build_info", "gauge", "The version of listenerd, as a label.");
	(void)metrics_add(&info, "version", LISTENER_VERSION, 1);
	metrics_end(&info);
	send_gauge(reply, "listenerd_start_time_seconds", "When listenerd started, since 1970.",
		   (double)daemon->started_realtime_usec / 1e6);
	metrics_send_self(reply);
	send_gauge(reply, "listenerd_config_last_reload_successful", "0 if the last reload failed.",
		   daemon->reload_failed_realtime_usec == 0);
	send_gauge(reply, "listenerd_config_last_reload_success_timestamp_seconds",
		   "When the configuration in force was read, since 1970.",
		   (double)daemon->reloaded_realtime_usec / 1e6);
}

/* send_conditions - how many there are with an id and level: two executors may be down. */
static void send_conditions(struct daemon *daemon, struct control_reply *reply)
{
	static const char *const levels[] = { [CONDITION_WARNING] = "warning", [CONDITION_FAILURE] = "failure" };
	struct metrics_row row = metrics_begin(reply, "listenerd_condition", "gauge",
					       "What is wrong now: conditions with this id and level.");
	struct conditions *found = calloc(1, sizeof *found);

	if (found)
		conditions_look(daemon, found);
	for (size_t i = 0; found && i < found->count; i++) {
		const struct condition *condition = &found->list[i];
		unsigned count = 0, before = 0;
		for (size_t j = 0; j < found->count; j++) {
			bool same = streq(found->list[j].id, condition->id) && found->list[j].level == condition->level;
			count += same;
			before += same && j < i;
		}
		if (before > 0)
			continue;
		metrics_label(metrics_add(&row, "id", condition->id, count), "level", levels[condition->level]);
	}
	free(found);
	metrics_end(&row);
}

/* ------------------------------------------------------------------------------ events and jobs */

static void send_events(const struct daemon *daemon, struct control_reply *reply)
{
	const struct intake_counters *counters = intake_get_counters(daemon->intake);
	struct metrics_row row = metrics_begin(reply, "listenerd_events_total", "counter",
					       "Publications that came, by what became of them.");

	for (unsigned i = 0; i < DECISION_MAX; i++)
		(void)metrics_add(&row, "decision", decision_names[i], (double)counters->decisions[i]);
	metrics_end(&row);
	send_counter(reply, "listenerd_event_bytes_total", "The bytes of their payloads.", counters->payload_bytes);
	send_gauge(reply, "listenerd_last_event_timestamp_seconds",
		   "When the last publication came, since 1970; 0: never.", (double)counters->last_realtime_usec / 1e6);
}

static void send_jobs(const struct daemon *daemon, const struct journal_figures *figures, struct control_reply *reply)
{
	struct metrics_row row =
		metrics_begin(reply, "listenerd_jobs", "gauge", "Jobs that are not finished, by state.");
	struct held_count held;

	dispatcher_count_held(daemon->dispatcher, NULL, &held);
	(void)metrics_add(&row, "state", "queued",
			  (double)(figures->queued > held.jobs ? figures->queued - held.jobs : 0));
	(void)metrics_add(&row, "state", "held", (double)held.jobs);
	(void)metrics_add(&row, "state", "running", (double)figures->running);
	(void)metrics_add(&row, "state", "backoff", (double)figures->backoff);
	(void)metrics_add(&row, "state", "lost", (double)figures->lost);
	metrics_end(&row);
	bool holds = !TAILQ_EMPTY(dispatcher_holds(daemon->dispatcher));
	send_gauge(reply, "listenerd_oldest_waiting_seconds",
		   "For how long the oldest unfinished job that nobody holds has waited.",
		   age_sec(holds ? dispatcher_oldest_free(daemon->dispatcher) : figures->oldest_waiting_realtime_usec));
	send_gauge(reply, "listenerd_oldest_held_seconds", "For how long the oldest held job has waited.",
		   age_sec(held.oldest_realtime_usec));
}

static void send_holds(const struct daemon *daemon, struct control_reply *reply)
{
	struct metrics_row row = metrics_begin(reply, "listenerd_holds", "gauge", "Holds in force.");
	unsigned counts[HOLD_KIND_MAX] = { 0 };
	const struct hold *hold;

	TAILQ_FOREACH (hold, dispatcher_holds(daemon->dispatcher), link)
		counts[hold->kind]++;
	for (unsigned i = 0; i < HOLD_KIND_MAX; i++)
		(void)metrics_add(&row, "kind", hold_kind_names[i], counts[i]);
	metrics_end(&row);
}

/* -------------------------------------------------------------------------------------- scripts */

struct script_rows {
	const struct daemon *daemon;
	struct metrics_row runs, seconds, waiting;
	struct tally_script others;
	uint64_t others_waiting;
	uint64_t jobs, replayed;
};

/* add_runs - four words for twelve outcomes: there may be many scripts. */
static void add_runs(struct metrics_row *row, const char *name, const struct tally_script *script)
{
	static const char *const words[] = { "success", "failure", "limit", "other" };
	static const unsigned word_of[LSN_OUTCOME_MAX] = {
		[LSN_OUTCOME_SUCCESS] = 0, [LSN_OUTCOME_FAILURE] = 1,   [LSN_OUTCOME_SIGNAL] = 1,
		[LSN_OUTCOME_TIMEOUT] = 2, [LSN_OUTCOME_MEMORY] = 2,    [LSN_OUTCOME_CPU] = 2,
		[LSN_OUTCOME_OUTPUT] = 2,  [LSN_OUTCOME_PROCESSES] = 2, [LSN_OUTCOME_CANCELLED] = 3,
		[LSN_OUTCOME_ERROR] = 3,   [LSN_OUTCOME_LOST] = 3,      [LSN_OUTCOME_NOT_STARTED] = 3,
	};
	uint64_t counts[ELEMENTSOF(words)] = { 0 };

	for (unsigned i = 0; i < LSN_OUTCOME_MAX; i++)
		counts[word_of[i]] += script->runs[i];
	for (size_t i = 0; i < ELEMENTSOF(words); i++)
		metrics_label(metrics_add(row, "script", name, (double)counts[i]), "outcome", words[i]);
}

static void add_script(struct script_rows *rows, const char *name, const struct tally_script *script, uint64_t waiting)
{
	add_runs(&rows->runs, name, script);
	(void)metrics_add(&rows->seconds, "script", name, (double)script->run_usec / 1e6);
	(void)metrics_add(&rows->waiting, "script", name, (double)waiting);
}

static void take_script(struct script_rows *rows, const struct tally_script *script, bool named)
{
	struct dispatcher_load load = { 0 };

	rows->jobs += script->jobs;
	rows->replayed += script->replayed;
	if (script->name)
		dispatcher_get_load(rows->daemon->dispatcher, script->name, &load);
	if (named && !streq(script->name, METRICS_OTHERS)) {
		add_script(rows, script->name, script, load.waiting);
		return;
	}
	tally_add(&rows->others, script);
	rows->others_waiting += load.waiting;
}

static void send_scripts(const struct daemon *daemon, struct control_reply *reply)
{
	const struct tally *tally = dispatcher_get_tally(daemon->dispatcher);
	struct script_rows rows = { .daemon = daemon };

	rows.runs = metrics_begin(reply, "listenerd_script_runs_total", "counter",
				  "Attempts that ended, by script and kind of outcome.");
	rows.seconds = metrics_begin(reply, "listenerd_script_run_seconds_total", "counter",
				     "How long the runs of a script took together.");
	rows.waiting = metrics_begin(reply, "listenerd_script_waiting", "gauge", "Jobs of a script that wait.");
	for (size_t i = 0; i < tally->count; i++)
		take_script(&rows, tally->scripts[i], i < METRICS_SCRIPTS_MAX);
	take_script(&rows, &tally->others, false);
	if (rows.others.jobs > 0 || rows.others_waiting > 0)
		add_script(&rows, METRICS_OTHERS, &rows.others, rows.others_waiting);
	metrics_end(&rows.runs);
	metrics_end(&rows.seconds);
	metrics_end(&rows.waiting);
	send_counter(reply, "listenerd_jobs_created_total", "Jobs that were made.", rows.jobs);
	send_counter(reply, "listenerd_jobs_replayed_total", "Of them, by replay.", rows.replayed);
}

static void send_registry(const struct daemon *daemon, struct control_reply *reply)
{
	struct metrics_row row = metrics_begin(reply, "listenerd_scripts", "gauge", "Scripts, by state.");
	struct source_figures figures = { 0 };

	for (unsigned i = 0; i < SCRIPT_STATE_MAX; i++)
		(void)metrics_add(&row, "state", script_state_names[i],
				  (double)registry_count(daemon->registry, (enum script_state)i));
	metrics_end(&row);
	daemon->source->ops->figures(daemon->source, &figures);
	send_gauge(reply, "listenerd_source_up", "0 if the scripts cannot be read.", !streq(figures.state, "away"));
	send_gauge(reply, "listenerd_source_last_scan_timestamp_seconds",
		   "When all scripts were last looked at, since 1970; 0: never.",
		   (double)figures.scanned_realtime_usec / 1e6);
	send_counter(reply, "listenerd_source_errors_total", "Errors in reading scripts.", figures.errors);
}

/* ------------------------------------------------------------------------------------ executors */

static void send_runs(const struct tally *tally, struct control_reply *reply)
{
	struct metrics_row runs = metrics_begin(reply, "listenerd_runs_total", "counter",
						"Attempts that ended, by executor and outcome.");
	struct metrics_row delay = metrics_begin(reply, "listenerd_start_delay_seconds", "histogram",
						 "From a job made to its first attempt handed over.");
	struct metrics_row took =
		metrics_begin(reply, "listenerd_run_duration_seconds", "histogram", "How long runs took.");
	const struct tally_executor *executor;

	STAILQ_FOREACH (executor, &tally->executors, next) {
		for (unsigned i = 0; i < LSN_OUTCOME_MAX; i++)
			metrics_label(metrics_add(&runs, "executor", executor->name, (double)executor->runs[i]),
				      "outcome", outcome_names[i]);
		metrics_add_histogram(&delay, "executor", executor->name, &executor->delay, &histogram_waits);
		metrics_add_histogram(&took, "executor", executor->name, &executor->took, &histogram_waits);
	}
	metrics_end(&runs);
	metrics_end(&delay);
	metrics_end(&took);
}

struct executor_rows {
	struct metrics_row up, running, limit;
};

static void add_executor(void *data, struct executor *executor)
{
	struct executor_rows *rows = data;
	const char *name = executor_name(executor);

	if (executor_draining(executor))
		return; /* its successor may have the same name */
	(void)metrics_add(&rows->up, "executor", name, !executor_get_health(executor)->problem[0]);
	(void)metrics_add(&rows->running, "executor", name, executor_running(executor));
	(void)metrics_add(&rows->limit, "executor", name, executor_get_config(executor)->concurrency);
}

static void send_executors(const struct daemon *daemon, struct control_reply *reply)
{
	struct executor_rows rows = {
		.up = metrics_begin(reply, "listenerd_executor_up", "gauge", "0 if an executor runs no jobs."),
		.running = metrics_begin(reply, "listenerd_executor_running", "gauge", "Jobs at an executor."),
		.limit = metrics_begin(reply, "listenerd_executor_limit", "gauge",
				       "How many jobs an executor may have at the same time."),
	};

	executors_each(daemon->executors, add_executor, &rows);
	metrics_end(&rows.up);
	metrics_end(&rows.running);
	metrics_end(&rows.limit);
}

/* --------------------------------------------------------------------------- journal and broker */

static void send_journal(const struct daemon *daemon, const struct journal_figures *figures,
			 struct control_reply *reply)
{
	struct metrics_row row = metrics_begin(reply, "listenerd_journal_commit_seconds", "histogram",
					       "How long commits to the journal took.");

	metrics_add_histogram(&row, NULL, NULL, &figures->commit_times, &histogram_writes);
	metrics_end(&row);
	send_counter(reply, "listenerd_journal_commit_failures_total", "Commits that failed and were tried again.",
		     turn_get_figures(daemon->turn)->failed);
	send_gauge(reply, "listenerd_journal_bytes", "The size of the journal.", (double)figures->size_bytes);
	send_gauge(reply, "listenerd_journal_limit_bytes", "How large it may become.",
		   (double)daemon->config->journal.size_max_bytes);
	send_gauge(reply, "listenerd_journal_disk_free_bytes", "What its file system has left.",
		   (double)figures->disk_free_bytes);
	send_gauge(reply, "listenerd_journal_jobs_limit", "How many unfinished jobs it may have.",
		   (double)daemon->config->journal.jobs_max);
}

static void send_broker(const struct daemon *daemon, struct control_reply *reply)
{
	struct broker_figures figures = { 0 };

	if (daemon->broker)
		broker_get_figures(daemon->broker, &figures);
	send_gauge(reply, "listenerd_broker_connected", "1 while the broker is connected.",
		   figures.state == BROKER_CONNECTED);
	send_counter(reply, "listenerd_broker_connects_total", "Connections to the broker that were made.",
		     figures.connects);
	send_counter(reply, "listenerd_broker_sessions_lost_total",
		     "How often the broker has lost our session, and with it events.", daemon->sessions_lost);
}

void command_metrics(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };
	struct daemon *daemon = data;
	struct journal_figures figures = { 0 };

	if (!reply_known_keys(reply, request, keys))
		return;
	journal_get_figures(daemon->journal, &figures);
	send_daemon(daemon, reply);
	send_conditions(daemon, reply);
	send_events(daemon, reply);
	send_jobs(daemon, &figures, reply);
	send_holds(daemon, reply);
	send_scripts(daemon, reply);
	send_registry(daemon, reply);
	send_runs(dispatcher_get_tally(daemon->dispatcher), reply);
	send_executors(daemon, reply);
	send_journal(daemon, &figures, reply);
	send_broker(daemon, reply);
	control_end(reply);
}
