/* main.c - listenerctl: show what a running listenerd does, and control it. One table of
 * commands, one of options; docs/man/listenerctl.1 is the manual. */
#include "author.h"
#include "ctl.h"
#include "place.h"
#include "top.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cleanup.h>
#include <metrics_text.h>
#include <util.h>

#define CHECK_SECONDS 10 /* a daemon that takes longer to say how it is hangs */

enum option_bit {
	O_SCRIPT = 1 << 0,
	O_TOPIC = 1 << 1,
	O_STATE = 1 << 2,
	O_OUTCOME = 1 << 3,
	O_SINCE = 1 << 4,
	O_UNTIL = 1 << 5,
	O_BEFORE = 1 << 6,
	O_LIMIT = 1 << 7,
	O_CURRENT = 1 << 8,
	O_PAYLOAD = 1 << 9,
	O_FAILED = 1 << 10,
	O_LATEST = 1 << 11,
	O_AGAIN = 1 << 12,
	O_DRY_RUN = 1 << 13,
	O_ALL = 1 << 14,
	O_DECISION = 1 << 15,
	O_EXECUTOR = 1 << 16,
	O_OBJECT = 1 << 17,
	O_REASON = 1 << 18,
	O_FOR = 1 << 19,
	O_RUN = 1 << 20,
	O_DISCARD = 1 << 21,
	O_BY = 1 << 22,
	O_COUNT = 1 << 23,
	O_EVENT = 1 << 24,
	O_JOB = 1 << 25,
	O_AS = 1 << 26,
	O_SET = 1 << 27,
	O_WAIT = 1 << 28,
};
#define O_SCOPE (O_EXECUTOR | O_OBJECT | O_ALL)
#define O_FILTERS (O_SCRIPT | O_TOPIC | O_STATE | O_OUTCOME | O_FAILED | O_SINCE | O_UNTIL | O_LIMIT)

enum option_kind { KIND_TEXT, KIND_NUMBER, KIND_TIME, KIND_SPAN, KIND_FLAG, KIND_SETTING };

static const struct option_spec {
	const char *name, *key; /* on the command line, in the request */
	enum option_kind kind;
} option_specs[] = {
	/* in the order of the bits */
	{ "script", "script", KIND_TEXT },
	{ "topic", "topic", KIND_TEXT },
	{ "state", "state", KIND_TEXT },
	{ "outcome", "outcome", KIND_TEXT },
	{ "since", "since_realtime_usec", KIND_TIME },
	{ "until", "until_realtime_usec", KIND_TIME },
	{ "before", "before", KIND_NUMBER },
	{ "limit", "limit", KIND_NUMBER },
	{ "current", "current", KIND_FLAG },
	{ "payload", "payload", KIND_FLAG },
	{ "failed", "failed", KIND_FLAG },
	{ "latest", "latest", KIND_FLAG },
	{ "again", "again", KIND_FLAG },
	{ "dry-run", "dry_run", KIND_FLAG },
	{ "all", "all", KIND_FLAG },
	{ "decision", "decision", KIND_TEXT },
	{ "executor", "executor", KIND_TEXT },
	{ "object", "object", KIND_TEXT },
	{ "reason", "reason", KIND_TEXT },
	{ "for", "for_usec", KIND_SPAN },
	{ "run", "run", KIND_FLAG },
	{ "discard", "discard", KIND_FLAG },
	{ "by", "by", KIND_TEXT },
	{ "count", "count", KIND_NUMBER },
	{ "event", "event", KIND_TEXT },
	{ "job", "job", KIND_NUMBER },
	{ "as", "as", KIND_TEXT },
	{ "set", "settings", KIND_SETTING },
	{ "wait", "wait_usec", KIND_SPAN },
};

struct command {
	const char *name, *words, *help;
	const char *request; /* the command of docs/control.md, if its name is another; NULL: the same */
	int words_min, words_max; /* -1: any number */
	uint32_t options; /* enum option_bit allowed */
	/* fill - the words into the request; 0 or -1 after printing what is wrong. NULL: takes
	 * none. */
	int (*fill)(struct invocation *invocation);
	enum exit_code (*run)(struct client *client, struct invocation *invocation);
};

static int usage_complain(const char *format, const char *word)
{
	(void)fprintf(stderr, "listenerctl: ");
	(void)fprintf(stderr, format, word);
	(void)fprintf(stderr, "; see listenerctl --help\n");
	return -1;
}

/* ----------------------------------------------------------------------------- running commands */

static enum exit_code run_table(struct client *client, struct invocation *invocation, const struct column *columns,
				object_fn add, const char *if_empty)
{
	struct table *table = table_new(columns);
	enum exit_code code = client_ask(client, json_incref(invocation->request), add, NULL, table);
	if (code == EXIT_OK)
		table_print(table, stdout, if_empty);
	table_free(table);
	return code;
}

static enum exit_code run_status(struct client *client, struct invocation *invocation)
{
	return client_ask(client, json_incref(invocation->request), NULL, print_status, NULL);
}

static enum exit_code run_scripts(struct client *client, struct invocation *invocation)
{
	static const struct column columns[] = {
		{ "SCRIPT", "name", CELL_TEXT },          { "STATE", "state", CELL_TEXT },
		{ "TOPIC", "topics", CELL_FIRST },        { "VERSION", "version", CELL_HASH },
		{ "EXECUTOR", "executor", CELL_TEXT },    { "TIMEOUT", "timeout_usec", CELL_DURATION },
		{ "MEMORY", "memory_bytes", CELL_BYTES }, { "OUTPUT", "output", CELL_TEXT },
		{ "REASON", "reason", CELL_TEXT },        { NULL, NULL, CELL_TEXT },
	};
	return run_table(client, invocation, columns, table_add,
			 invocation->word_count || invocation->options ? "No such script." : "No scripts.");
}

static enum exit_code run_executors(struct client *client, struct invocation *invocation)
{
	return client_ask(client, json_incref(invocation->request), print_executor, NULL, NULL);
}

/* add_job - a row whose message says what the job waits for, if it has none of its own. */
static void add_job(void *table, const json_t *row)
{
	const json_t *waits = json_object_get(row, "waits_text"), *message = json_object_get(row, "message");

	if (!json_string_length(waits) || json_string_length(message)) {
		table_add(table, row);
		return;
	}
	json_t *copy = json_copy((json_t *)row);
	(void)json_object_set_new(copy, "message", json_sprintf("waits: %s", json_string_value(waits)));
	table_add(table, copy);
	json_decref(copy);
}

static enum exit_code run_jobs(struct client *client, struct invocation *invocation)
{
	static const struct column columns[] = {
		{ "JOB", "id", CELL_NUMBER },        { "RECEIVED", "received_realtime_usec", CELL_TIME },
		{ "STATE", "state", CELL_TEXT },     { "OUTCOME", "outcome", CELL_TEXT },
		{ "WAIT", "delay_usec", CELL_SPAN }, { "TOOK", "duration_usec", CELL_SPAN },
		{ "SCRIPT", "script", CELL_TEXT },   { "TOPIC", "topic", CELL_TEXT },
		{ "MESSAGE", "message", CELL_TEXT }, { NULL, NULL, CELL_TEXT },
	};
	return run_table(client, invocation, columns, add_job, invocation->options ? "No such jobs." : "No jobs.");
}

static enum exit_code run_show(struct client *client, struct invocation *invocation)
{
	return client_ask(client, json_incref(invocation->request), NULL, print_job, NULL);
}

static enum exit_code run_rejected(struct client *client, struct invocation *invocation)
{
	static const struct column columns[] = {
		{ "EVENT", "event", CELL_NUMBER }, { "RECEIVED", "received_realtime_usec", CELL_TIME },
		{ "REASON", "reason", CELL_TEXT }, { "TOPIC", "topic", CELL_TEXT },
		{ NULL, NULL, CELL_TEXT },
	};
	return run_table(client, invocation, columns, table_add, "Nothing was rejected.");
}

static enum exit_code run_events(struct client *client, struct invocation *invocation)
{
	static const struct column columns[] = {
		{ "TIME", "time_realtime_usec", CELL_TIME },
		{ "EVENT", "event", CELL_NUMBER },
		{ "DECISION", "decision", CELL_TEXT },
		{ "JOBS", "jobs", CELL_NUMBER },
		{ "PAYLOAD", "payload_bytes", CELL_BYTES },
		{ "TOPIC", "topic", CELL_TEXT },
		{ NULL, NULL, CELL_TEXT },
	};
	return run_table(client, invocation, columns, table_add, "No such events in the record.");
}

static enum exit_code run_holds(struct client *client, struct invocation *invocation)
{
	static const struct column columns[] = {
		{ "SCOPE", "shown", CELL_TEXT },
		{ "KIND", "kind", CELL_TEXT },
		{ "SINCE", "since_realtime_usec", CELL_TIME },
		{ "UNTIL", "until_realtime_usec", CELL_TIME },
		{ "BY", "by", CELL_TEXT },
		{ "WAITING", "waiting_shown", CELL_TEXT },
		{ "OLDEST", "oldest_usec", CELL_SPAN },
		{ "REASON", "reason", CELL_TEXT },
		{ NULL, NULL, CELL_TEXT },
	};
	return run_table(client, invocation, columns, add_hold, "Nothing is held.");
}

static enum exit_code run_hold(struct client *client, struct invocation *invocation, object_fn print)
{
	struct done_count count = { 0 };
	enum exit_code code = client_ask(client, json_incref(invocation->request), print, NULL, &count);
	return code == EXIT_OK && count.failed ? EXIT_FAILED : code;
}

static enum exit_code run_pause(struct client *client, struct invocation *invocation)
{
	return run_hold(client, invocation, print_paused);
}

static enum exit_code run_resume(struct client *client, struct invocation *invocation)
{
	return run_hold(client, invocation, print_resumed);
}

static enum exit_code run_release(struct client *client, struct invocation *invocation)
{
	struct done_count count = { 0 };
	bool acts = invocation->options & (O_RUN | O_DISCARD);
	enum exit_code code = client_ask(client, json_incref(invocation->request), acts ? print_done : print_kept,
					 acts ? print_released : print_would_release, &count);
	return code == EXIT_OK && count.failed ? EXIT_FAILED : code;
}

static enum exit_code run_explain(struct client *client, struct invocation *invocation)
{
	struct explained explained = { 0 };
	bool one = json_object_get(invocation->request, "script");
	enum exit_code code =
		one ? client_ask(client, json_incref(invocation->request), NULL, print_explain, &explained)
		    : client_ask(client, json_incref(invocation->request), print_survey_row, print_survey, &explained);
	return code == EXIT_OK && !explained.runs ? EXIT_NONE_RUNS : code;
}

static enum exit_code run_top(struct client *client, struct invocation *invocation)
{
	return top_run(client, invocation->request);
}

static void keep_row(void *rows, const json_t *row) { (void)json_array_append_new(rows, json_deep_copy(row)); }

/* run_metrics - whole or not at all: half of the figures would tell that the daemon is up. */
static enum exit_code run_metrics(struct client *client, struct invocation *invocation)
{
	json_t *rows = json_array(), *row;
	size_t i;

	client_set_patience(client, CHECK_SECONDS);
	enum exit_code code = client_ask(client, json_incref(invocation->request), keep_row, NULL, rows);
	if (code == EXIT_OK)
		json_array_foreach (rows, i, row)
			metrics_print_row(stdout, row);
	else if (client_was_silent(client))
		metrics_print_away(stdout);
	json_decref(rows);
	return code;
}

static void keep_object(void *data, const json_t *object) { *(json_t **)data = json_deep_copy(object); }

/* check_unanswered - silence is as bad as what it may hide. */
static enum exit_code check_unanswered(const struct client *client)
{
	return client_was_silent(client) ? EXIT_USAGE : EXIT_AWAY; /* 2: critical, 3: unknown */
}

/* run_check - one line, whatever happens: a program reads it. */
static enum exit_code run_check(struct client *client, struct invocation *invocation)
{
	json_t *status = NULL;

	client_set_patience(client, CHECK_SECONDS);
	enum exit_code code = client_ask(client, json_incref(invocation->request), NULL, keep_object, &status);
	if (code == EXIT_OK)
		print_check(status);
	else
		(void)printf("LISTENERD %s\n", client_was_silent(client)
						       ? "CRITICAL - no answer from listenerd"
						       : "UNKNOWN - listenerd refuses to tell, see the error output");
	code = code == EXIT_OK ? (enum exit_code)worst_condition(status) : check_unanswered(client);
	json_decref(status);
	return code;
}

static enum exit_code run_done(struct client *client, struct invocation *invocation)
{
	struct done_count count = { 0 };
	enum exit_code code = client_ask(client, json_incref(invocation->request), print_done, NULL, &count);
	if (code == EXIT_OK && count.rows == 0)
		(void)printf("No such jobs.\n");
	return code == EXIT_OK && count.failed ? EXIT_FAILED : code;
}

static enum exit_code run_replay(struct client *client, struct invocation *invocation)
{
	struct done_count count = { 0 };
	enum exit_code code = client_ask(client, json_incref(invocation->request), print_done, print_replayed, &count);
	return code == EXIT_OK && count.failed ? EXIT_FAILED : code;
}

static enum exit_code run_doctor(struct client *client, struct invocation *invocation)
{
	int worst = 0;
	enum exit_code code = client_ask(client, json_incref(invocation->request), print_doctor, NULL, &worst);
	if (worst > 0)
		puts("\nSee docs/troubleshooting.md for what is not ok.");
	/* 0 all well, 1 warnings, 2 failures */
	return code == EXIT_OK ? (enum exit_code)worst : code;
}

static enum exit_code run_reload(struct client *client, struct invocation *invocation)
{
	return client_ask(client, json_incref(invocation->request), NULL, print_reload, NULL);
}

static enum exit_code run_rescan(struct client *client, struct invocation *invocation)
{
	return client_ask(client, json_incref(invocation->request), NULL, NULL, NULL);
}

/* -------------------------------------------------------------------------------------- as JSON */

struct json_run {
	unsigned failed;
	int worst;
	bool runs; /* explain: some script does */
};

static void print_json(void *data, const json_t *object)
{
	struct json_run *run = data;
	const char *level = json_string_value(json_object_get(object, "level"));
	const json_t *runs = json_object_get(object, "runs");
	int conditions = worst_condition(object);
	run->runs |= json_is_true(runs) || json_integer_value(runs) > 0;
	run->worst = conditions > run->worst ? conditions : run->worst;
	run->failed += json_is_false(json_object_get(object, "ok"));
	if (level && !streq(level, "ok"))
		run->worst = streq(level, "warning") && run->worst < 2 ? 1 : 2;
	print_json_row(object);
}

static void print_json_last(void *data, const json_t *object)
{
	if (json_object_size(object) < 2)
		return; /* nothing but "end" */
	json_t *copy = json_copy((json_t *)object);
	(void)json_object_del(copy, "end");
	print_json(data, copy);
	json_decref(copy);
}

static enum exit_code run_json(struct client *client, const struct command *command, struct invocation *invocation)
{
	struct json_run run = { 0 };

	if (command->run == run_check || command->run == run_metrics)
		client_set_patience(client, CHECK_SECONDS);
	enum exit_code code = client_ask(client, json_incref(invocation->request), print_json, print_json_last, &run);
	if (code != EXIT_OK)
		return command->run == run_check ? check_unanswered(client) : code;
	if (command->run == run_doctor || command->run == run_check)
		return (enum exit_code)run.worst;
	if (command->run == run_explain && !run.runs)
		return EXIT_NONE_RUNS;
	return run.failed ? EXIT_FAILED : EXIT_OK;
}

/* ---------------------------------------------------------------------------- words and options */

static int parse_job(const char *word, json_int_t *ret)
{
	uint64_t id;
	if (parse_uint(word, INT64_MAX, &id, NULL) < 0 || id == 0)
		return usage_complain("'%s' is not a job number", word);
	*ret = (json_int_t)id;
	return 0;
}

static int fill_job(struct invocation *invocation)
{
	json_int_t id;
	if (parse_job(invocation->words[0], &id) < 0)
		return -1;
	return json_object_set_new(invocation->request, "job", json_integer(id));
}

static int fill_jobs(struct invocation *invocation)
{
	json_t *ids = json_array();
	json_int_t id;
	for (int i = 0; i < invocation->word_count; i++) {
		if (parse_job(invocation->words[i], &id) < 0) {
			json_decref(ids);
			return -1;
		}
		(void)json_array_append_new(ids, json_integer(id));
	}
	return json_object_set_new(invocation->request, "jobs", ids);
}

static int fill_replay(struct invocation *invocation)
{
	bool filters = invocation->options & O_FILTERS & ~(uint32_t)O_LIMIT;
	if (invocation->word_count && (invocation->options & O_FILTERS))
		return usage_complain("%s takes either jobs or filters", "replay");
	if (!invocation->word_count && !filters)
		return usage_complain("%s needs jobs, or a filter such as --script", "replay");
	return invocation->word_count ? fill_jobs(invocation) : 0;
}

static int fill_text(struct invocation *invocation, const char *key, const char *word)
{
	json_t *text = json_string(word);
	return text ? json_object_set_new(invocation->request, key, text) : usage_complain("%s is not UTF-8", key);
}

static int fill_name(struct invocation *invocation)
{
	return invocation->word_count ? fill_text(invocation, "name", invocation->words[0]) : 0;
}

/* fill_scope - scripts by name, or else an option says what. */
static int fill_scope(struct invocation *invocation)
{
	json_t *scripts = json_array();

	if (!invocation->word_count != !!(invocation->options & O_SCOPE)) {
		json_decref(scripts);
		return usage_complain("name either scripts or one of --executor, --object, %s", "--all");
	}
	for (int i = 0; i < invocation->word_count; i++) {
		json_t *name = json_string(invocation->words[i]);
		if (!name) {
			json_decref(scripts);
			return usage_complain("%s is not UTF-8", "the name of a script");
		}
		(void)json_array_append_new(scripts, name);
	}
	if (invocation->word_count)
		return json_object_set_new(invocation->request, "scripts", scripts);
	json_decref(scripts);
	return 0;
}

static int fill_explain(struct invocation *invocation)
{
	bool script = invocation->word_count > 1;

	if (script && fill_text(invocation, "script", invocation->words[0]) < 0)
		return -1;
	return fill_text(invocation, "topic", invocation->words[script ? 1 : 0]);
}

static int fill_top(struct invocation *invocation) { return top_options(invocation->request); }

/* parse_day - "today", "yesterday" or "12:30": a time of today, local. */
static bool parse_day(const char *word, uint64_t *ret)
{
	time_t now = (time_t)(now_realtime_usec() / USEC_PER_SEC);
	struct tm tm;

	if (!localtime_r(&now, &tm))
		return false;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	const char *end = strptime(word, "%H:%M", &tm);
	if (streq(word, "yesterday"))
		tm.tm_mday--;
	else if (!streq(word, "today") && (!end || *end))
		return false;
	*ret = (uint64_t)mktime(&tm) * USEC_PER_SEC;
	return true;
}

/* parse_ago - as parse_duration(), and "10m" are minutes. */
static int parse_ago(const char *word, uint64_t *ret)
{
	size_t digits = strspn(word, "0123456789.");
	char minutes[32];

	if (digits == 0 || !streq(word + digits, "m") || digits + 4 >= sizeof minutes)
		return parse_duration(word, ret, NULL);
	(void)snprintf(minutes, sizeof minutes, "%smin", word);
	memcpy(minutes + digits, "min", 4);
	return parse_duration(minutes, ret, NULL);
}

/* parse_when - "2h" ago, or a local date and time. */
static int parse_when(const char *word, uint64_t *ret)
{
	static const char *const formats[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
					       "%Y-%m-%dT%H:%M", "%Y-%m-%d" };
	uint64_t ago, now = now_realtime_usec();
	if (parse_day(word, ret))
		return 0;
	for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *end = strptime(word, formats[i], &tm);
		if (end && !*end) {
			*ret = (uint64_t)mktime(&tm) * USEC_PER_SEC;
			return 0;
		}
	}
	if (parse_ago(word, &ago) < 0)
		return usage_complain("'%s' is neither a time ago (90s, 10m, 2h, 7d) nor a time (today, yesterday, "
				      "12:30, 2026-01-31 12:00)",
				      word);
	*ret = ago < now ? now - ago : 1;
	return 0;
}

/* fill_setting - WORD is KEY=VALUE, in an object of its own. */
static int fill_setting(struct invocation *invocation, const char *key, const char *word)
{
	json_t *settings = json_object_get(invocation->request, key);
	const char *equals = strchr(word, '=');

	if (!equals || equals == word)
		return usage_complain("'%s' is not KEY=VALUE, such as timeout=5s", word);
	if (!settings) {
		settings = json_object();
		(void)json_object_set_new(invocation->request, key, settings);
	}
	_cleanup_free_ char *name = strndup(word, (size_t)(equals - word));
	json_t *value = json_string(equals + 1);
	if (!name || !value)
		return usage_complain("'%s' is not UTF-8", word);
	return json_object_set_new(settings, name, value);
}

/* fill_test - FILE, or --script NAME, or --job; then TOPIC and PAYLOAD, or --event. */
static int fill_test(struct invocation *invocation)
{
	bool registered = invocation->options & O_SCRIPT, job = invocation->options & O_JOB;
	bool file = !registered && invocation->word_count > 0, event = invocation->options & O_EVENT;
	int words = invocation->word_count - file;

	if (!registered && !file && !job)
		return usage_complain("%s needs FILE, or --script NAME, or --job JOB", "test");
	if (words > 2)
		return usage_complain("unexpected argument '%s'", invocation->words[2 + file]);
	if (words + event + job > 1 && (event || job))
		return usage_complain("%s takes TOPIC [PAYLOAD], or --event FILE, or --job JOB", "test");
	if ((invocation->options & O_AS) && !file)
		return usage_complain("%s needs FILE: what is to be the new version", "--as");
	return 0;
}

static int fill_option(struct invocation *invocation, const struct option_spec *spec, const char *word)
{
	uint64_t number = 0;
	switch (spec->kind) {
	case KIND_FLAG: return json_object_set_new(invocation->request, spec->key, json_true());
	case KIND_TEXT: return fill_text(invocation, spec->key, word);
	case KIND_SETTING: return fill_setting(invocation, spec->key, word);
	case KIND_TIME:
		if (parse_when(word, &number) < 0)
			return -1;
		break;
	case KIND_SPAN:
		if (parse_ago(word, &number) < 0 || number == 0)
			return usage_complain("'%s' is no length of time such as 90s, 10m, 2h, 7d", word);
		break;
	case KIND_NUMBER:
		if (parse_uint(word, INT64_MAX, &number, NULL) < 0)
			return usage_complain("'%s' is not a number", word);
		break;
	}
	return json_object_set_new(invocation->request, spec->key, json_integer((json_int_t)number));
}

static enum exit_code run_help(struct client *client, struct invocation *invocation);
static enum exit_code run_commands(struct client *client, struct invocation *invocation);

static const struct command command_table[] = {
	{ "status", "", "what is wrong now, and the state of the daemon", NULL, 0, 0, 0, NULL, run_status },
	{ "check", "", "one line for monitoring: exit status 0, 1, 2 or 3", "status", 0, 0, 0, NULL, run_check },
	{ "scripts", "[NAME] [--state S]", "which scripts are registered, and why others are not", NULL, 0, 1, O_STATE,
	  fill_name, run_scripts },
	{ "explain", "[SCRIPT] TOPIC [--all]", "which scripts run on TOPIC, and why others do not", NULL, 1, 2, O_ALL,
	  fill_explain, run_explain },
	{ "why", "[SCRIPT] TOPIC [--all]", "the same as explain", "explain", 1, 2, O_ALL, fill_explain, run_explain },
	{ "events", "[--topic FILTER] [--decision D]", "what arrived lately, and what became of it", NULL, 0, 0,
	  O_TOPIC | O_DECISION | O_SINCE | O_LIMIT, NULL, run_events },
	{ "top", "[--by FIGURE] [-n TIMES]", "which scripts run how often, how long, how well", "stats", 0, 0,
	  O_BY | O_COUNT | O_SCRIPT, fill_top, run_top },
	{ "metrics", "", "figures for Prometheus", NULL, 0, 0, 0, NULL, run_metrics },
	{ "executors", "", "the executors and their state", NULL, 0, 0, 0, NULL, run_executors },
	{ "jobs", "[FILTERS] [--latest] [--before JOB]", "jobs that ran, run or wait", NULL, 0, 0,
	  O_FILTERS | O_LATEST | O_BEFORE, NULL, run_jobs },
	{ "show", "JOB [--payload]", "everything about one job, with its output", NULL, 1, 1, O_PAYLOAD, fill_job,
	  run_show },
	{ "rejected", "[--limit N]", "messages that were not accepted as events", NULL, 0, 0, O_LIMIT, NULL,
	  run_rejected },
	{ "test", "FILE|--script NAME [TOPIC [PAYLOAD]]", "try a script in the sandbox, with an event of yours", NULL,
	  0, 3, O_SCRIPT | O_EVENT | O_JOB | O_AS | O_SET | O_WAIT, fill_test, run_test },
	{ "sample", "[KIND|TOPIC]", "a real event, as test --event reads it", NULL, 0, 1, 0, NULL, run_sample },
	{ "commands", "", "each command with its options, for completion", NULL, 0, 0, 0, NULL, run_commands },
	{ "help", "[COMMAND]", "what a command does, with examples", NULL, 0, 1, 0, NULL, run_help },
	{ "doctor", "", "examine what listenerd depends on, with remedies", NULL, 0, 0, 0, NULL, run_doctor },
	{ "reload", "", "read the configuration and the modules again", NULL, 0, 0, 0, NULL, run_reload },
	{ "rescan", "", "read the list of all scripts again", NULL, 0, 0, 0, NULL, run_rescan },
	{ "seen", "", "end the warning about a lost session", NULL, 0, 0, 0, NULL, run_rescan },
	{ "retry", "JOB...", "one more attempt for lost or failed jobs", NULL, 1, -1, 0, fill_jobs, run_done },
	{ "replay", "JOB...|FILTERS [--current]", "new jobs from old events (--again, --dry-run)", NULL, 0, -1,
	  O_FILTERS | O_CURRENT | O_AGAIN | O_DRY_RUN, fill_replay, run_replay },
	{ "cancel", "JOB...", "end jobs that wait or run", NULL, 1, -1, 0, fill_jobs, run_done },
	{ "holds", "", "what is paused or held, and how much waits", NULL, 0, 0, 0, NULL, run_holds },
	{ "pause", "SCOPE [--for 2h] [--reason T]", "start no more jobs, keep what comes", NULL, 0, -1,
	  O_SCOPE | O_REASON | O_FOR, fill_scope, run_pause },
	{ "resume", "SCOPE", "end a pause", NULL, 0, -1, O_SCOPE, fill_scope, run_resume },
	{ "release", "SCOPE [--run|--discard]", "what a hold keeps: show it, run it, cancel it", NULL, 0, 1,
	  O_SCOPE | O_RUN | O_DISCARD, fill_scope, run_release },
};

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(command_table); i++)
		if (streq(command_table[i].name, name))
			return &command_table[i];
	return NULL;
}

/* usage_print_command - words that are too long for their column have a line of their own. */
static void usage_print_command(const struct command *command, FILE *out)
{
	bool fits = strlen(command->words) <= 28;

	(void)fprintf(out, "  %-10s%-28s%s%s\n", command->name, command->words,
		      fits ? " " : "\n                                         ", command->help);
}

static void usage_print(FILE *out)
{
	(void)fprintf(out, "usage: listenerctl [-s SOCKET] [--json] COMMAND ...\n\n");
	for (size_t i = 0; i < ELEMENTSOF(command_table); i++)
		usage_print_command(&command_table[i], out);
	(void)fprintf(
		out,
		"\nfilters: --script NAME  --topic FILTER  --state queued|running|backoff|finished|lost\n"
		"         --outcome success|failure|signal|timeout|memory|...  --failed  --since 2h|DATE  --until "
		"...  --limit N\n"
		"scope:   SCRIPT... (patterns such as 'nightly-*')  --executor NAME  --object TOPIC  --all\n"
		"options: -s, --socket SOCKET  (default $LISTENER_SOCKET, else %s)\n"
		"         --json  answers as JSON, one object per line     --version  --help\n"
		"exit status: 0 done, 1 failed, 2 usage, 3 listenerd is not running, 4 no script runs (explain);\n"
		"         doctor and check: 0 well, 1 warnings, 2 failures; check: 3 it cannot be asked\n",
		LISTENER_RUNDIR "/control");
}

/* help_print_options - those that COMMAND takes. */
static void help_print_options(const struct command *command)
{
	static const char *const values[] = {
		[KIND_TEXT] = " TEXT", [KIND_NUMBER] = " N", [KIND_TIME] = " TIME",
		[KIND_SPAN] = " TIME", [KIND_FLAG] = "",     [KIND_SETTING] = " KEY=VALUE"
	};

	if (command->options)
		(void)printf("\noptions:\n");
	for (size_t i = 0; i < ELEMENTSOF(option_specs); i++)
		if (command->options & (UINT32_C(1) << i))
			(void)printf("  --%s%s\n", option_specs[i].name, values[option_specs[i].kind]);
}

static void help_print(const struct command *command)
{
	const char *examples = help_examples(command->name);

	(void)printf("usage: listenerctl %s %s\n\n%s\n", command->name, command->words, command->help);
	help_print_options(command);
	if (examples)
		(void)printf("\nexamples:\n");
	for (; examples && *examples; examples += strcspn(examples, "\n"), examples += *examples == '\n')
		(void)printf("  %.*s\n", (int)strcspn(examples, "\n"), examples);
	(void)printf("\nman listenerctl has the rest.\n");
}

static enum exit_code run_help(struct client *client, struct invocation *invocation)
{
	const struct command *command = invocation->word_count > 0 ? command_find(invocation->words[0]) : NULL;

	(void)client;
	if (invocation->word_count > 0 && !command) {
		(void)usage_complain("there is no command '%s'", invocation->words[0]);
		return EXIT_USAGE;
	}
	if (command)
		help_print(command);
	else
		usage_print(stdout);
	return EXIT_OK;
}

/* run_commands - a line for each: its name, its options. */
static enum exit_code run_commands(struct client *client, struct invocation *invocation)
{
	(void)client;
	(void)invocation;
	for (size_t i = 0; i < ELEMENTSOF(command_table); i++) {
		(void)printf("%s --help --json", command_table[i].name);
		for (size_t j = 0; j < ELEMENTSOF(option_specs); j++)
			if (command_table[i].options & (UINT32_C(1) << j))
				(void)printf(" --%s", option_specs[j].name);
		(void)printf("\n");
	}
	return EXIT_OK;
}

enum { OPT_JSON = 1000, OPT_HELP, OPT_VERSION, OPT_FIRST };

static const struct option *long_options(void)
{
	static struct option list[ELEMENTSOF(option_specs) + 5] = {
		{ "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
	};
	for (size_t i = 0; i < ELEMENTSOF(option_specs); i++)
		list[4 + i] = (struct option){ option_specs[i].name,
					       option_specs[i].kind == KIND_FLAG ? no_argument : required_argument,
					       NULL, OPT_FIRST + (int)i };
	return list;
}

/* parse_options - 0 to go on, else EXIT code + 1. */
static int parse_options(int argc, char **argv, struct invocation *invocation)
{
	for (int c; (c = getopt_long(argc, argv, "s:hjn:", long_options(), NULL)) != -1;) {
		if (c == 'n')
			c = OPT_FIRST + __builtin_ctz(O_COUNT);
		if (c == 's') {
			invocation->socket = optarg;
		} else if (c == OPT_JSON || c == 'j') {
			invocation->json = true;
		} else if (c == OPT_HELP || c == 'h') {
			invocation->help = true;
		} else if (c == OPT_VERSION) {
			(void)printf("listenerctl %s\n", LISTENER_VERSION);
			return EXIT_OK + 1;
		} else if (c == '?' || fill_option(invocation, &option_specs[c - OPT_FIRST], optarg) < 0) {
			return EXIT_USAGE + 1;
		} else {
			invocation->options |= UINT32_C(1) << (c - OPT_FIRST);
		}
	}
	return 0;
}

static int complain_usage(const struct command *command)
{
	(void)fprintf(stderr, "listenerctl: usage: listenerctl %s %s; see listenerctl --help\n", command->name,
		      command->words);
	return -1;
}

static int check_command(const struct command *command, struct invocation *invocation)
{
	uint32_t foreign = invocation->options & ~command->options;
	if (foreign)
		return usage_complain("this command has no option --%s", option_specs[__builtin_ctz(foreign)].name);
	if (invocation->word_count < command->words_min)
		return complain_usage(command);
	if (command->words_max >= 0 && invocation->word_count > command->words_max)
		return usage_complain("unexpected argument '%s'", invocation->words[command->words_max]);
	return command->fill ? command->fill(invocation) : 0;
}

/* check_unreached - there is no connection, for the reason CODE. */
static enum exit_code check_unreached(enum exit_code code, bool json)
{
	bool away = code == EXIT_AWAY;

	if (!json)
		(void)printf("LISTENERD %s\n", away ? "CRITICAL - listenerd is not running"
						    : "UNKNOWN - listenerd cannot be asked, see the error output");
	return away ? EXIT_USAGE : EXIT_AWAY; /* 2: critical, 3: unknown */
}

/* asks_nobody - needs no daemon: it runs without a client. */
static bool asks_nobody(const struct command *command)
{
	return command->run == run_sample || command->run == run_help || command->run == run_commands;
}

static enum exit_code command_execute(const struct command *command, struct invocation *invocation)
{
	enum exit_code code;
	if (asks_nobody(command))
		return command->run(NULL, invocation);
	(void)json_object_set_new(invocation->request, "command",
				  json_string(command->request ? command->request : command->name));
	struct client *client = client_connect(invocation->socket, &code);
	if (!client && command->run == run_check)
		code = check_unreached(code, invocation->json);
	if (!client && command->run == run_test)
		code = (enum exit_code)TEST_NOT_MADE; /* 1 to 3 would be the script's */
	if (!client && command->run == run_metrics && !invocation->json)
		metrics_print_away(stdout);
	if (client)
		code = invocation->json && command->run != run_test ? run_json(client, command, invocation)
								    : command->run(client, invocation);
	client_free(client);
	if (fflush(stdout) != 0 && code == EXIT_OK)
		code = EXIT_FAILED;
	return code;
}

int main(int argc, char **argv)
{
	const char *socket = getenv("LISTENER_SOCKET");
	struct invocation invocation = { .socket = socket && *socket ? socket : LISTENER_RUNDIR "/control",
					 .request = json_object() };
	int stop = parse_options(argc, argv, &invocation);
	enum exit_code code = EXIT_USAGE;
	if (stop) {
		code = (enum exit_code)(stop - 1);
	} else if (invocation.help) { /* of the command that is named, whatever else is said */
		invocation.words = argv + optind;
		invocation.word_count = argc > optind;
		code = run_help(NULL, &invocation);
	} else if (optind == argc) {
		usage_print(stderr);
	} else {
		const struct command *command = command_find(argv[optind]);
		invocation.words = argv + optind + 1;
		invocation.word_count = argc - optind - 1;
		if (!command)
			(void)usage_complain("there is no command '%s'", argv[optind]);
		else if (check_command(command, &invocation) == 0)
			code = command_execute(command, &invocation);
		else if (command->run == run_test)
			code = (enum exit_code)TEST_NOT_MADE;
	}
	json_decref(invocation.request);
	return code;
}
