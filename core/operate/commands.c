/* commands.c - the control commands about the daemon itself and its scripts: status, scripts,
 * executors, conditions, reload, rescan. The rows are those of docs/control.md. */
#include "commands.h"
#include "advice.h"
#include "conditions.h"
#include "broker_grants.h"
#include "history.h"
#include "broker.h"
#include "control.h"
#include "control_access.h"
#include "dispatcher.h"
#include "executors.h"
#include "intake.h"
#include "journal.h"
#include "log.h"
#include "script_names.h"
#include "metrics.h"
#include "place.h"
#include "record.h"
#include "registry.h"
#include "reload.h"
#include "reply.h"
#include "script.h"
#include "script_row.h"
#include "stall.h"
#include "stats.h"
#include "topic.h"
#include "turn.h"
#include "util.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SCRIPTS_STEP 16 /* rows: about a millisecond */

/* --------------------------------------------------------------------------------------- status */

/* grants_array - what the broker says to each subscription. */
static json_t *grants_array(const struct daemon *daemon)
{
	char **filters = daemon->config->broker.subscriptions;
	json_t *array = json_array();

	for (size_t i = 0; daemon->broker && filters && filters[i]; i++) {
		json_t *object = json_object();
		const char *reason;
		enum broker_grant grant = broker_get_grant(daemon->broker, i, &reason);
		json_set_string(object, "filter", filters[i]);
		json_set_string(object, "state", broker_grant_names[grant]);
		json_set_string(object, "reason", reason);
		(void)json_array_append_new(array, object);
	}
	return array;
}

static json_t *lost_object(const struct session_note *note)
{
	json_t *object = json_object();

	json_set_uint(object, "from_realtime_usec", note->lost_from_realtime_usec);
	json_set_uint(object, "to_realtime_usec", note->lost_to_realtime_usec);
	return object;
}

static json_t *broker_object(const struct daemon *daemon)
{
	struct broker_figures figures = { 0 };
	json_t *object = json_object();
	char address[300];

	if (daemon->broker)
		broker_get_figures(daemon->broker, &figures);
	(void)snprintf(address, sizeof address, daemon->config->broker.host[0] == '/' ? "%s" : "%s:%u",
		       daemon->config->broker.host, daemon->config->broker.port);
	json_set_string(object, "state", broker_state_names[figures.state]);
	json_set_uint(object, "since_realtime_usec", figures.since_realtime_usec);
	json_set_string(object, "address", address);
	json_set_string(object, "client_id", daemon->config->broker.client_id);
	json_set_uint(object, "connects", figures.connects);
	json_set_uint(object, "messages", figures.messages);
	json_set_uint(object, "bytes", figures.bytes);
	json_set_string(object, "error", daemon->broker ? figures.error : daemon->broker_problem);
	json_set_uint(object, "session_expiry_sec", figures.session_expiry_sec);
	if (daemon->session.lost_to_realtime_usec)
		(void)json_object_set_new(object, "session_lost", lost_object(&daemon->session));
	(void)json_object_set_new(object, "subscriptions", grants_array(daemon));
	return object;
}

static json_t *journal_object(const struct daemon *daemon, const struct journal_figures *figures)
{
	json_t *object = json_object();

	json_set_string(object, "path", daemon->config->journal.path);
	json_set_uint(object, "size_bytes", figures->size_bytes);
	json_set_uint(object, "size_max_bytes", daemon->config->journal.size_max_bytes);
	json_set_uint(object, "disk_free_bytes", figures->disk_free_bytes);
	json_set_uint(object, "unfinished", figures->queued + figures->running + figures->backoff);
	json_set_uint(object, "unfinished_max", daemon->config->journal.jobs_max);
	json_set_uint(object, "events", figures->events);
	json_set_uint(object, "jobs", figures->jobs);
	json_set_uint(object, "commits", figures->commits);
	json_set_uint(object, "commit_usec_mean", figures->commits ? figures->commit_usec_total / figures->commits : 0);
	json_set_uint(object, "commit_usec_max", figures->commit_usec_max);
	json_set_string(object, "error", turn_get_figures(daemon->turn)->error);
	return object;
}

/* loop_object - the longest turn and the longest commit of the last hour. */
static json_t *loop_object(void)
{
	struct stall_figures figures;
	json_t *object = json_object();

	stall_get_figures(&figures);
	json_set_uint(object, "stall_usec_max", figures.turn_usec);
	json_set_string(object, "stall_cause", figures.turn_cause);
	json_set_uint(object, "stall_realtime_usec", figures.turn_realtime_usec);
	json_set_uint(object, "stalls", figures.over_limit);
	json_set_uint(object, "commit_usec_max", figures.commit_usec);
	json_set_uint(object, "commit_realtime_usec", figures.commit_realtime_usec);
	return object;
}

static json_t *source_object(const struct daemon *daemon)
{
	struct source_figures figures = { 0 };
	json_t *object = json_object();

	daemon->source->ops->figures(daemon->source, &figures);
	json_set_string(object, "kind", figures.kind);
	json_set_string(object, "where", figures.where);
	json_set_string(object, "state", figures.state);
	json_set_uint(object, "scanned_realtime_usec", figures.scanned_realtime_usec);
	json_set_uint(object, "scans", figures.scans);
	json_set_uint(object, "fetches", figures.fetches);
	json_set_uint(object, "errors", figures.errors);
	json_set_string(object, "error", figures.error);
	return object;
}

static json_t *scripts_object(const struct daemon *daemon)
{
	json_t *object = json_object();

	for (int state = 0; state < SCRIPT_STATE_MAX; state++)
		json_set_uint(object, script_state_names[state],
			      registry_count(daemon->registry, (enum script_state)state));
	(void)json_object_set_new(object, "source", source_object(daemon));
	return object;
}

static json_t *jobs_object(const struct journal_figures *figures, const struct held_count *held)
{
	json_t *object = json_object();

	json_set_uint(object, "queued", figures->queued);
	json_set_uint(object, "held", held->jobs);
	json_set_uint(object, "running", figures->running);
	json_set_uint(object, "backoff", figures->backoff);
	json_set_uint(object, "lost", figures->lost);
	return object;
}

static json_t *counters_object(const struct daemon *daemon)
{
	const struct intake_counters *c = intake_get_counters(daemon->intake);
	json_t *object = json_object();

	json_set_uint(object, "events", c->events);
	json_set_uint(object, "matched", c->decisions[DECISION_MATCHED]);
	json_set_uint(object, "unmatched", c->decisions[DECISION_UNMATCHED]);
	json_set_uint(object, "repeats", c->decisions[DECISION_REPEATED]);
	json_set_uint(object, "unknown_repeats", c->unknown_repeats);
	json_set_uint(object, "doubtful", c->doubtful);
	json_set_uint(object, "doctor", c->decisions[DECISION_DOCTOR]);
	json_set_uint(object, "retained", c->decisions[DECISION_RETAINED]);
	json_set_uint(object, "rejected", c->decisions[DECISION_REJECTED]);
	json_set_uint(object, "shielded", c->decisions[DECISION_SHIELDED]);
	json_set_uint(object, "deferred", c->deferred);
	json_set_uint(object, "jobs", c->jobs);
	json_set_uint(object, "finished", dispatcher_ended(daemon->dispatcher));
	return object;
}

static void add_detail(void *data, const char *key, const char *value) { json_set_string(data, key, value); }

static json_t *executor_object(struct executor *executor, bool details)
{
	const struct executor_config *config = executor_get_config(executor);
	json_t *object = json_object();

	json_set_string(object, "name", executor_name(executor));
	json_set_string(object, "module", config->module);
	json_set_string(object, "version", executor_version(executor));
	json_set_string(object, "description", executor_module(executor)->description);
	json_set_uint(object, "running", executor_running(executor));
	json_set_uint(object, "concurrency", config->concurrency);
	json_set_bool(object, "open", config->open);
	json_set_bool(object, "draining", executor_draining(executor));
	const struct executor_health *health = executor_get_health(executor);
	json_set_string(object, "problem", health->problem);
	json_set_uint(object, "problem_since_realtime_usec", health->problem_since_realtime_usec);
	if (details) {
		json_t *values = json_object();
		executor_describe(executor, add_detail, values);
		(void)json_object_set_new(object, "details", values);
	}
	return object;
}

static void append_executor(void *data, struct executor *executor)
{
	(void)json_array_append_new(data, executor_object(executor, false));
}

static const char *state_name(const struct daemon *daemon)
{
	static const char *const names[DAEMON_STATE_MAX] = {
		[DAEMON_STARTING] = "starting", [DAEMON_RUNNING] = "running", [DAEMON_DRAINING] = "draining"
	};

	if (daemon->state == DAEMON_RUNNING && turn_get_figures(daemon->turn)->blocked)
		return "paused";
	return names[daemon->state];
}

static uint64_t age_of(uint64_t realtime_usec)
{
	uint64_t now = now_realtime_usec();

	return realtime_usec && now > realtime_usec ? now - realtime_usec : 0;
}

/* add_waiting - how many jobs wait, and for how long; what is held is told apart. */
static void add_waiting(const struct daemon *daemon, const struct journal_figures *figures, json_t *object)
{
	bool holds = !TAILQ_EMPTY(dispatcher_holds(daemon->dispatcher));
	uint64_t oldest = holds ? dispatcher_oldest_free(daemon->dispatcher) : figures->oldest_waiting_realtime_usec;
	struct held_count held;

	dispatcher_count_held(daemon->dispatcher, NULL, &held);
	json_set_uint(object, "oldest_waiting_usec", age_of(oldest));
	json_set_uint(object, "oldest_held_usec", age_of(held.oldest_realtime_usec));
	(void)json_object_set_new(object, "jobs", jobs_object(figures, &held));
}

static void run_status(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };
	struct daemon *daemon = data;
	struct journal_figures figures = { 0 };
	struct lsn_error why = { 0 };

	if (!reply_known_keys(reply, request, keys))
		return;
	journal_get_figures(daemon->journal, &figures);
	(void)journal_capacity(daemon->journal, &why);
	json_t *object = json_object(), *executors = json_array();
	json_set_string(object, "version", LISTENER_VERSION);
	json_set_uint(object, "pid", (uint64_t)getpid());
	json_set_string(object, "identity", daemon->config->identity);
	json_set_string(object, "state", state_name(daemon));
	json_set_string(object, "state_reason",
			turn_get_figures(daemon->turn)->error[0] ? turn_get_figures(daemon->turn)->error : why.message);
	json_set_uint(object, "uptime_usec", now_monotonic_usec() - daemon->started_monotonic_usec);
	json_set_uint(object, "started_realtime_usec", daemon->started_realtime_usec);
	json_set_string(object, "config", daemon->config_file);
	add_waiting(daemon, &figures, object);
	(void)json_object_set_new(object, "broker", broker_object(daemon));
	(void)json_object_set_new(object, "journal", journal_object(daemon, &figures));
	(void)json_object_set_new(object, "scripts", scripts_object(daemon));
	(void)json_object_set_new(object, "conditions", conditions_array(daemon));
	executors_each(daemon->executors, append_executor, executors);
	(void)json_object_set_new(object, "executors", executors);
	(void)json_object_set_new(object, "counters", counters_object(daemon));
	(void)json_object_set_new(object, "loop", loop_object());
	control_end_with(reply, object);
}

/* -------------------------------------------------------------------------------------- scripts */

struct script_rows { /* the names at the time of the request; their states at the time of the row */
	struct daemon *daemon;
	struct control_reply *reply;
	struct script_names names;
	int state; /* -1: any */
};

static void send_script(struct script_rows *rows, const struct registry_entry *entry)
{
	if (!entry || (rows->state >= 0 && (int)entry->state != rows->state))
		return;
	json_t *object = json_object();
	json_set_string(object, "name", entry->name);
	json_set_string(object, "state", script_state_names[entry->state]);
	char advice[ADVICE_SIZE] = "";
	bool stuck = entry->script && entry->state == SCRIPT_ACTIVE &&
		     advise(rows->daemon->config, entry->script, advice);
	json_set_string(object, "reason", advice[0] ? advice : entry->reason);
	if (entry->script)
		script_add_settings(rows->daemon, object, entry->script);
	json_set_bool(object, "undeliverable", stuck);
	json_set_uint(object, "updated_realtime_usec", entry->updated_realtime_usec);
	control_send(rows->reply, object);
}

static void drop_rows(void *data)
{
	struct script_rows *rows = data;

	script_names_clear(&rows->names);
	free(rows);
}

static bool step_rows(void *data)
{
	struct script_rows *rows = data;
	struct script_names *names = &rows->names;

	for (unsigned i = 0; i < SCRIPTS_STEP && names->next < names->count; i++)
		send_script(rows, registry_find(rows->daemon->registry, names->list[names->next++]));
	if (names->next < names->count)
		return true;
	control_end(rows->reply);
	drop_rows(rows);
	return false;
}

static void send_all_scripts(struct daemon *daemon, struct control_reply *reply, int state)
{
	struct script_rows *rows = calloc(1, sizeof *rows);
	const struct control_stream stream = { .step = step_rows, .drop = drop_rows, .state = rows };

	if (rows) {
		rows->daemon = daemon;
		rows->reply = reply;
		rows->state = state;
		script_names_take(&rows->names, daemon->registry);
	}
	if (rows && !rows->names.failed) {
		control_stream(reply, &stream);
		return;
	}
	if (rows)
		drop_rows(rows);
	control_fail(reply, ENOMEM, "out of memory");
}

static void run_scripts(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "state", "name", NULL };
	struct daemon *daemon = data;
	struct script_rows one = { .daemon = daemon, .reply = reply };
	const char *name = NULL;
	int state = -1;

	if (!reply_known_keys(reply, request, keys) || !reply_get_string(reply, request, "name", &name) ||
	    !reply_get_word(reply, request, "state", script_state_names, SCRIPT_STATE_MAX, &state))
		return;
	if (!name) {
		send_all_scripts(daemon, reply, state);
		return;
	}
	one.state = state;
	send_script(&one, registry_find(daemon->registry, name));
	control_end(reply);
}

/* -------------------------------------------------------------------- executors, reload, rescan */

static void send_executor(void *data, struct executor *executor)
{
	control_send(data, executor_object(executor, true));
}

static void run_conditions(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };
	json_t *rows, *row;
	size_t i;

	if (!reply_known_keys(reply, request, keys))
		return;
	rows = conditions_array(data);
	json_array_foreach (rows, i, row)
		control_send(reply, json_incref(row));
	json_decref(rows);
	control_end(reply);
}

static void run_executors(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };

	if (!reply_known_keys(reply, request, keys))
		return;
	executors_each(((struct daemon *)data)->executors, send_executor, reply);
	control_end(reply);
}

static void end_reload(void *data, int r, const struct lsn_error *err)
{
	struct control_reply *reply = data;

	if (r < 0) {
		control_fail(reply, -r, "%s", err->message);
		return;
	}
	json_t *object = json_object();
	json_set_bool(object, "changed", true);
	json_set_string(object, "message", "the configuration is in force");
	control_end_with(reply, object);
}

static void run_reload(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };
	struct lsn_error err = { 0 };

	if (!reply_known_keys(reply, request, keys))
		return;
	int r = daemon_reload(data, end_reload, reply, &err);
	if (r >= 0)
		return;
	log_error("reload failed, the old configuration stays: %s", err.message);
	control_fail(reply, -r, "%s", err.message);
}

static void run_rescan(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };
	struct daemon *daemon = data;

	if (!reply_known_keys(reply, request, keys))
		return;
	daemon->source->ops->rescan(daemon->source);
	control_end(reply);
}

static void run_seen(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };

	if (!reply_known_keys(reply, request, keys))
		return;
	daemon_seen(data);
	control_end(reply);
}

const struct control_command daemon_commands[] = {
	{ "status", CONTROL_READ, run_status },
	{ "scripts", CONTROL_READ, run_scripts },
	{ "explain", CONTROL_READ, command_explain },
	{ "conditions", CONTROL_READ, run_conditions },
	{ "events", CONTROL_READ, command_events },
	{ "holds", CONTROL_READ, command_holds },
	/* what each script did, and has to do */
	{ "stats", CONTROL_READ, command_stats },
	{ "metrics", CONTROL_READ, command_metrics },
	{ "executors", CONTROL_READ, run_executors },
	{ "jobs", CONTROL_READ, command_jobs },
	{ "show", CONTROL_READ, command_show },
	{ "rejected", CONTROL_READ, command_rejected },
	{ "doctor", CONTROL_READ, command_doctor },
	{ "test", CONTROL_TEST, command_test },
	{ "reload", CONTROL_OPERATE, run_reload },
	{ "rescan", CONTROL_OPERATE, run_rescan },
	{ "seen", CONTROL_OPERATE, run_seen },
	{ "pause", CONTROL_OPERATE, command_pause },
	{ "resume", CONTROL_OPERATE, command_resume },
	{ "release", CONTROL_OPERATE, command_release },
	{ "retry", CONTROL_OPERATE, command_retry },
	{ "replay", CONTROL_OPERATE, command_replay },
	{ "cancel", CONTROL_OPERATE, command_cancel },
	{ NULL, CONTROL_READ, NULL },
};
