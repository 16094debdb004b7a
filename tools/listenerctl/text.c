/* text.c - answers as text, not as tables, for people. */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

#include <cleanup.h>
#include <util.h>

void print_json_row(const json_t *object)
{
	(void)json_dumpf(object, stdout, JSON_COMPACT);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void text_line(const json_t *object, const char *title, const char *key, enum cell_kind kind)
{
	_cleanup_free_ char *text = cell_text(object, key, kind);
	(void)printf("%-14s %s\n", title, text ? text : "?");
}

/* text_phrase - "LEFT text RIGHT", or nothing if there is nothing to say. */
static void text_phrase(const json_t *object, const char *left, const char *key, enum cell_kind kind, const char *right)
{
	_cleanup_free_ char *text = cell_text(object, key, kind);
	if (text && strcmp(text, "-") != 0)
		(void)printf("%s%s%s", left, text, right);
}

/* print_refused - all but the first, which is the broker's error. */
static void print_refused(const json_t *subscriptions)
{
	size_t i, seen = 0;
	json_t *subscription;

	json_array_foreach (subscriptions, i, subscription)
		if (*json_string_value(json_object_get(subscription, "reason")) && seen++ > 0)
			text_phrase(subscription, "               ", "reason", CELL_TEXT, "\n");
}

static void print_session(const json_t *broker)
{
	const json_t *lost = json_object_get(broker, "session_lost");
	json_int_t expiry = json_integer_value(json_object_get(broker, "session_expiry_sec"));

	if (expiry > 0 && expiry < UINT32_MAX)
		(void)printf("%-14s the broker keeps it for %" JSON_INTEGER_FORMAT " s while the listener is away\n",
			     "session", expiry);
	if (!lost)
		return;
	(void)printf("%-14s ", "session lost");
	text_phrase(lost, "events published between ", "from_realtime_usec", CELL_TIME, "");
	text_phrase(lost, " and ", "to_realtime_usec", CELL_TIME,
		    " are missing (`listenerctl seen` ends this warning)\n");
}

static void print_broker(const json_t *broker)
{
	(void)printf("%-14s ", "broker");
	text_phrase(broker, "", "state", CELL_TEXT, "");
	text_phrase(broker, ", ", "address", CELL_TEXT, "");
	text_phrase(broker, ", since ", "since_realtime_usec", CELL_TIME, "");
	text_phrase(broker, ", ", "messages", CELL_NUMBER, " messages");
	text_phrase(broker, "\n               ", "error", CELL_TEXT, "");
	(void)printf("\n");
	print_refused(json_object_get(broker, "subscriptions"));
	print_session(broker);
}

static void print_journal(const json_t *journal)
{
	(void)printf("%-14s ", "journal");
	text_phrase(journal, "", "size_bytes", CELL_BYTES, "");
	text_phrase(journal, " of ", "size_max_bytes", CELL_BYTES, "");
	text_phrase(journal, ", ", "unfinished", CELL_NUMBER, "");
	text_phrase(journal, " of ", "unfinished_max", CELL_NUMBER, " unfinished jobs");
	text_phrase(journal, ", ", "events", CELL_NUMBER, " events");
	text_phrase(journal, ", ", "jobs", CELL_NUMBER, " jobs");
	text_phrase(journal, ", ", "disk_free_bytes", CELL_BYTES, " of disk free");
	text_phrase(journal, ", a commit takes ", "commit_usec_mean", CELL_DURATION, "");
	text_phrase(journal, "\n               ", "error", CELL_TEXT, "");
	(void)printf("\n");
}

static void print_scripts(const json_t *scripts)
{
	const json_t *source = json_object_get(scripts, "source");
	(void)printf("%-14s ", "scripts");
	text_phrase(scripts, "", "active", CELL_NUMBER, " active");
	text_phrase(scripts, ", ", "no-topic", CELL_NUMBER, " without topic");
	text_phrase(scripts, ", ", "refused", CELL_NUMBER, " refused");
	text_phrase(scripts, ", ", "fetch-failed", CELL_NUMBER, " not fetched");
	text_phrase(source, "; ", "kind", CELL_TEXT, "");
	text_phrase(source, " ", "where", CELL_TEXT, "");
	text_phrase(source, " is ", "state", CELL_TEXT, "");
	text_phrase(source, ", scanned ", "scanned_realtime_usec", CELL_TIME, "");
	text_phrase(source, "\n               ", "error", CELL_TEXT, "");
	(void)printf("\n");
}

static void print_numbers(const char *title, const json_t *object)
{
	const char *key, *comma = "";
	json_t *value;
	(void)printf("%-14s ", title);
	/* json_object_foreach wants no const. */
	json_object_foreach ((json_t *)object, key, value) {
		_cleanup_free_ char *name = text_escape(key, strlen(key), false);
		(void)printf("%s%" JSON_INTEGER_FORMAT " %s", comma, json_integer_value(value), name ? name : "?");
		comma = ", ";
	}
	(void)printf("\n");
}

static void print_loop(const json_t *loop)
{
	(void)printf("%-14s ", "last hour");
	text_phrase(loop, "longest turn of the loop ", "stall_usec_max", CELL_DURATION, "");
	text_phrase(loop, " (", "stall_cause", CELL_TEXT, ")");
	text_phrase(loop, ", longest commit ", "commit_usec_max", CELL_DURATION, "");
	(void)printf("\n");
}

static int rank_of(const json_t *row)
{
	const char *level = json_string_value(json_object_get(row, "level"));

	return !level || strcmp(level, "ok") == 0 ? 0 : strcmp(level, "warning") == 0 ? 1 : 2;
}

int worst_condition(const json_t *status)
{
	size_t i;
	json_t *condition;
	int worst = 0;

	json_array_foreach (json_object_get(status, "conditions"), i, condition)
		worst = rank_of(condition) > worst ? rank_of(condition) : worst;
	return worst;
}

static void print_conditions(const json_t *conditions)
{
	size_t i;
	json_t *condition;

	json_array_foreach (conditions, i, condition) {
		(void)printf("%-14s ", rank_of(condition) > 1 ? "FAILURE" : "warning");
		text_phrase(condition, "", "text", CELL_TEXT, "\n");
		(void)printf("%-14s ", "");
		text_phrase(condition, "since ", "since_realtime_usec", CELL_TIME, "; ");
		text_phrase(condition, "-> ", "remedy", CELL_TEXT, "\n");
		text_phrase(condition, "               see docs/troubleshooting.md#", "id", CELL_TEXT, "\n");
	}
	if (json_array_size(conditions) > 0)
		(void)printf("\n");
}

/* print_worst - without the bar that would begin the figures: names are users'. */
static void print_worst(const json_t *condition)
{
	const char *text = json_string_value(json_object_get(condition, "text"));
	char *plain = strdup(text ? text : "");

	for (char *at = plain; at && (at = strchr(at, '|'));)
		*at = '/';
	json_t *object = json_pack("{ss*}", "text", plain);
	text_phrase(object, "", "text", CELL_TEXT, "");
	json_decref(object);
	free(plain);
}

/* print_check - as monitoring plugins do: a word, what is worst, how much else, and figures. */
void print_check(const json_t *status)
{
	static const char *const words[] = { "OK", "WARNING", "CRITICAL" };
	const json_t *conditions = json_object_get(status, "conditions"), *jobs = json_object_get(status, "jobs");
	const json_t *journal = json_object_get(status, "journal");
	size_t count = json_array_size(conditions);

	(void)printf("LISTENERD %s - ", words[worst_condition(status)]);
	if (count == 0)
		(void)printf("all is well");
	print_worst(json_array_get(conditions, 0));
	if (count > 1)
		(void)printf(" (and %zu more: listenerctl status)", count - 1);
	(void)printf(" | waiting=%" JSON_INTEGER_FORMAT " running=%" JSON_INTEGER_FORMAT " lost=%" JSON_INTEGER_FORMAT
		     " oldest_waiting=%.1fs journal=%" JSON_INTEGER_FORMAT "B;;%" JSON_INTEGER_FORMAT "\n",
		     json_integer_value(json_object_get(jobs, "queued")) +
			     json_integer_value(json_object_get(jobs, "backoff")),
		     json_integer_value(json_object_get(jobs, "running")),
		     json_integer_value(json_object_get(jobs, "lost")),
		     json_number_value(json_object_get(status, "oldest_waiting_usec")) / 1e6,
		     json_integer_value(json_object_get(journal, "size_bytes")),
		     json_integer_value(json_object_get(journal, "size_max_bytes")));
}

void print_status(void *data, const json_t *object)
{
	size_t i;
	json_t *executor;
	(void)data;
	print_conditions(json_object_get(object, "conditions"));
	(void)printf("%-14s ", "listenerd");
	text_phrase(object, "", "version", CELL_TEXT, "");
	text_phrase(object, ", '", "identity", CELL_TEXT, "'");
	text_phrase(object, ", ", "state", CELL_TEXT, "");
	text_phrase(object, " (", "state_reason", CELL_TEXT, ")");
	text_phrase(object, ", up ", "uptime_usec", CELL_DURATION, "");
	text_phrase(object, ", pid ", "pid", CELL_NUMBER, "\n");
	print_broker(json_object_get(object, "broker"));
	print_journal(json_object_get(object, "journal"));
	print_scripts(json_object_get(object, "scripts"));
	json_array_foreach (json_object_get(object, "executors"), i, executor)
		print_executor(NULL, executor);
	print_numbers("jobs", json_object_get(object, "jobs"));
	print_numbers("since start", json_object_get(object, "counters"));
	print_loop(json_object_get(object, "loop"));
	if (json_integer_value(json_object_get(object, "oldest_waiting_usec")) > 0)
		text_line(object, "oldest waits", "oldest_waiting_usec", CELL_DURATION);
}

void print_executor(void *data, const json_t *row)
{
	const char *key;
	json_t *value;
	(void)data;
	(void)printf("%-14s ", "executor");
	text_phrase(row, "", "name", CELL_TEXT, "");
	text_phrase(row, " (module ", "module", CELL_TEXT, "");
	text_phrase(row, " ", "version", CELL_TEXT, ")");
	text_phrase(row, ", ", "running", CELL_NUMBER, "");
	text_phrase(row, " of ", "concurrency", CELL_NUMBER, " busy");
	(void)printf("%s%s\n", json_is_true(json_object_get(row, "open")) ? ", open: scripts may choose it" : "",
		     json_is_true(json_object_get(row, "draining")) ? ", draining" : "");
	text_phrase(row, "               runs nothing: ", "problem", CELL_TEXT, "\n");
	json_object_foreach (json_object_get(row, "details"), key, value) {
		_cleanup_free_ char *name = text_escape(key, strlen(key), false);
		const char *string = json_string_value(value);
		_cleanup_free_ char *text =
			text_escape(string ? string : "?", string ? json_string_length(value) : 1, false);
		(void)printf("%-14s   %-22s %s\n", "", name ? name : "?", text ? text : "?");
	}
}

/* print_bytes - "out" or "out_base64" of RUN, indented. */
static void print_bytes(const json_t *run, const char *title, const char *key)
{
	char name[64];
	const json_t *text = json_object_get(run, key);
	(void)snprintf(name, sizeof name, "%s_truncated", key);
	const char *cut = json_is_true(json_object_get(run, name)) ? " (cut: it is longer than [limits] output_max)"
								   : "";
	(void)snprintf(name, sizeof name, "%s_base64", key);
	if (!text && !json_object_get(run, name))
		return;
	(void)printf("  %s%s:\n", title, cut);
	if (!text) {
		(void)printf("    not text; base64: %s\n", json_string_value(json_object_get(run, name)));
		return;
	}
	_cleanup_free_ char *shown = text_escape(json_string_value(text), json_string_length(text), true);
	for (char *next = shown, *part; next && *next && (part = strsep(&next, "\n"));)
		(void)printf("    %s\n", part);
}

static bool is_running(const json_t *run) { return json_is_null(json_object_get(run, "outcome")); }

static void print_ended(const json_t *run)
{
	text_phrase(run, " ", "outcome", CELL_TEXT, "");
	if (json_integer_value(json_object_get(run, "signal")))
		text_phrase(run, ", signal ", "signal", CELL_NUMBER, "");
	else
		text_phrase(run, ", exit status ", "exit_status", CELL_NUMBER, "");
	text_phrase(run, ", started ", "started_realtime_usec", CELL_TIME, "");
	text_phrase(run, ", took ", "duration_usec", CELL_DURATION, "");
	text_phrase(run, " (user ", "user_usec", CELL_DURATION, ",");
	text_phrase(run, " system ", "system_usec", CELL_DURATION, ")");
	text_phrase(run, ", memory ", "max_rss_bytes", CELL_BYTES, "");
}

static void print_run(const json_t *run)
{
	(void)printf("run");
	text_phrase(run, " ", "attempt", CELL_NUMBER, ":");
	if (is_running(run))
		text_phrase(run, " running, started ", "started_realtime_usec", CELL_TIME, "");
	else
		print_ended(run);
	text_phrase(run, "\n  on ", "executor", CELL_TEXT, "");
	text_phrase(run, " at ", "place", CELL_TEXT, "");
	text_phrase(run, "\n  ", "message", CELL_TEXT, "");
	(void)printf("\n");
	print_bytes(run, "stdout", "out");
	print_bytes(run, "stderr", "err");
}

/* print_missing - a job that failed, and of whose output nothing is kept: how to see it. */
static void print_missing(const json_t *object)
{
	const json_t *runs = json_object_get(object, "runs");
	const json_t *run = json_array_get(runs, json_array_size(runs) - 1);
	const char *outcome = json_string_value(json_object_get(run, "outcome"));
	bool ran = json_integer_value(json_object_get(run, "duration_usec")) > 0;

	if (!ran || !outcome || strcmp(outcome, "success") == 0 || json_object_get(run, "out") ||
	    json_object_get(run, "out_base64") || json_object_get(run, "err") || json_object_get(run, "err_base64"))
		return;
	(void)printf("No output was kept. To keep it from now on: output = failures in the script's metadata.\n");
	text_phrase(object, "To see it now: listenerctl test --job ", "id", CELL_NUMBER, "\n");
}

void print_job(void *data, const json_t *object)
{
	size_t i;
	json_t *run;
	(void)data;
	text_line(object, "job", "id", CELL_NUMBER);
	text_line(object, "state", "state", CELL_TEXT);
	text_line(object, "outcome", "outcome", CELL_TEXT);
	text_line(object, "script", "script", CELL_TEXT);
	text_line(object, "version", "version", CELL_TEXT);
	text_line(object, "filter", "filter", CELL_TEXT);
	text_line(object, "topic", "topic", CELL_TEXT);
	text_line(object, "event", "event", CELL_NUMBER);
	text_line(object, "payload", "payload_bytes", CELL_BYTES);
	text_line(object, "received", "received_realtime_usec", CELL_TIME);
	if (json_integer_value(json_object_get(object, "replay_of")))
		text_line(object, "replay of job", "replay_of", CELL_NUMBER);
	text_line(object, json_integer_value(json_object_get(object, "started_realtime_usec")) ? "waited" : "waits",
		  "delay_usec", CELL_SPAN);
	text_phrase(object, "waits for      ", "waits_text", CELL_TEXT, "\n");
	text_phrase(object, "message        ", "message", CELL_TEXT, "\n");
	json_array_foreach (json_object_get(object, "runs"), i, run)
		print_run(run);
	print_missing(object);
	print_bytes(object, "payload", "payload");
}

static void print_rung(const char *name, bool ok, const json_t *row, const char *key)
{
	_cleanup_free_ char *text = cell_text(row, key, CELL_TEXT);

	(void)printf("  %-10s %-4s %s\n", name, ok ? "yes" : "NO", text ? text : "?");
}

static void print_latest(const json_t *jobs)
{
	static const struct column columns[] = {
		{ "JOB", "id", CELL_NUMBER },        { "STATE", "state", CELL_TEXT },
		{ "OUTCOME", "outcome", CELL_TEXT }, { "RECEIVED", "received_realtime_usec", CELL_TIME },
		{ "TOPIC", "topic", CELL_TEXT },     { NULL, NULL, CELL_TEXT },
	};
	struct table *table = table_new(columns);
	size_t i;
	json_t *job;

	json_array_foreach (jobs, i, job)
		table_add(table, job);
	(void)printf("\n");
	table_print(table, stdout, "It has no jobs yet.");
	table_free(table);
}

void print_explain(void *data, const json_t *object)
{
	struct explained *explained = data;
	size_t i;
	json_t *rung;

	explained->runs = json_is_true(json_object_get(object, "runs"));
	(void)printf("%s", explained->runs ? "It runs" : "It does not run");
	text_phrase(object, ": ", "why", CELL_TEXT, "");
	(void)printf(".\n\n");
	json_array_foreach (json_object_get(object, "ladder"), i, rung)
		print_rung(json_string_value(json_object_get(rung, "rung")), json_is_true(json_object_get(rung, "ok")),
			   rung, "text");
	print_latest(json_object_get(object, "jobs"));
}

void print_survey_row(void *data, const json_t *row)
{
	struct explained *explained = data;
	const char *verdict = json_string_value(json_object_get(row, "verdict"));
	bool runs = strcmp(verdict, "runs") == 0, waits = strcmp(verdict, "waits") == 0;
	const char *title = runs ? "RUNS" : waits ? "WOULD RUN, BUT WAITS" : "NEARLY";
	_cleanup_free_ char *script = cell_text(row, "script", CELL_TEXT),
			    *filter = cell_text(row, "filter", CELL_TEXT);
	_cleanup_free_ char *why = cell_text(row, "why", CELL_TEXT);

	if (!explained->verdict || strcmp(explained->verdict, title) != 0)
		(void)printf("%s\n", title);
	explained->verdict = title;
	explained->runs |= runs;
	(void)printf("  %-20s %-24s %s\n", script ? script : "?", filter ? filter : "?", why ? why : "?");
}

void print_survey(void *data, const json_t *object)
{
	struct explained *explained = data;

	if (json_integer_value(json_object_get(object, "runs")) +
		    json_integer_value(json_object_get(object, "waits")) ==
	    0)
		(void)printf("No script matches this topic.\n");
	explained->runs = json_integer_value(json_object_get(object, "runs")) > 0;
	print_rung("arrived", json_is_true(json_object_get(object, "arrived")), object, "arrived_why");
	print_rung("taken", json_is_true(json_object_get(object, "taken")), object, "taken_why");
	text_phrase(object, "", "others", CELL_NUMBER, " other scripts do not match.\n");
}

void print_doctor(void *worst, const json_t *row)
{
	int rank = rank_of(row);
	int *known = worst;
	*known = rank > *known ? rank : *known;
	_cleanup_free_ char *area = cell_text(row, "area", CELL_TEXT), *what = cell_text(row, "what", CELL_TEXT);
	(void)printf("%-8s %-10s %s\n",
		     rank == 0   ? "ok"
		     : rank == 1 ? "warning"
				 : "FAILURE",
		     area ? area : "", what ? what : "");
	text_phrase(row, "                    -> ", "remedy", CELL_TEXT, "\n");
	(void)fflush(stdout);
}

void print_reload(void *data, const json_t *object)
{
	(void)data;
	_cleanup_free_ char *message = cell_text(object, "message", CELL_TEXT);
	(void)printf("%s\n", message && strcmp(message, "-") != 0 ? message : "reloaded");
}

void print_done(void *count, const json_t *row)
{
	bool ok = json_is_true(json_object_get(row, "ok"));
	struct done_count *done = count;

	done->rows++;
	done->failed += !ok;
	text_phrase(row, "job ", "job", CELL_NUMBER, "");
	if (ok)
		(void)printf(json_is_true(json_object_get(row, "left_out")) ? ": left out" : ": done");
	text_phrase(row, ", new job ", "new_job", CELL_NUMBER, "");
	text_phrase(row, ": ", "message", CELL_TEXT, "");
	(void)printf("\n");
}

void print_replayed(void *count, const json_t *object)
{
	bool dry = json_is_true(json_object_get(object, "dry_run"));

	(void)count;
	if (json_integer_value(json_object_get(object, "jobs")) == 0) {
		(void)printf("No such jobs.\n");
		return;
	}
	text_phrase(object, "", "jobs", CELL_NUMBER, " jobs: ");
	text_phrase(object, "", "replayed", CELL_NUMBER, dry ? " would be replayed" : " replayed");
	if (json_integer_value(json_object_get(object, "left_out")) > 0)
		text_phrase(object, ", ", "left_out", CELL_NUMBER,
			    " left out (--again repeats what a later job stands for)");
	if (json_integer_value(json_object_get(object, "refused")) > 0)
		text_phrase(object, ", ", "refused", CELL_NUMBER, " cannot be");
	(void)printf("%s\n",
		     json_is_true(json_object_get(object, "limited")) ? "; there may be more: see --limit" : "");
}
