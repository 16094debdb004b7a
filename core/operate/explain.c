/* explain.c - the command explain: would this script run on an event with this topic, or which
 * scripts would, and what is in the way of the others? */
#include "commands.h"
#include "control.h"
#include "dispatcher.h"
#include "history.h"
#include "journal.h"
#include "ladder.h"
#include "script_names.h"
#include "near.h"
#include "registry.h"
#include "reply.h"
#include "script.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STEP_USEC (3 * USEC_PER_MSEC)
#define NEAR_MAX 20 /* that are told, unless all are asked for */

/* ----------------------------------------------------------------------------------- one script */

struct explained {
	struct daemon *daemon;
	json_t *object;
};

/* text_of - what is no UTF-8 has another key, and is nothing here. */
static const char *text_of(const json_t *job, const char *key)
{
	const char *text = json_string_value(json_object_get(job, key));

	return text ? text : "";
}

/* explain_run - the last rung: how the script's last job ended. */
static void explain_run(json_t *ladder, const json_t *job)
{
	const char *state = text_of(job, "state"), *outcome = text_of(job, "outcome");
	const char *message = text_of(job, "message"), *waits = text_of(job, "waits_text");
	char text[600];

	(void)snprintf(text, sizeof text, "its last job is %" JSON_INTEGER_FORMAT ": %s%s%.500s",
		       json_integer_value(json_object_get(job, "id")), *outcome ? outcome : state,
		       *message || *waits ? ": " : "", *message ? message : waits);
	utf8_trim(text);
	json_t *rung = json_object();
	json_set_string(rung, "rung", rung_names[RUNG_RUN]);
	json_set_bool(rung, "ok", streq(outcome, "success"));
	json_set_string(rung, "text", text);
	(void)json_array_append_new(ladder, rung);
}

static bool explained_job(void *data, const struct journal_job_row *row)
{
	struct explained *explained = data;
	json_t *jobs = json_object_get(explained->object, "jobs"), *job = job_object(explained->daemon, row);

	if (json_array_size(jobs) == 0 && json_is_true(json_object_get(explained->object, "runs")))
		explain_run(json_object_get(explained->object, "ladder"), job);
	(void)json_array_append_new(jobs, job);
	return true;
}

static void explained_end(void *data, struct control_reply *reply, int r, const struct lsn_error *err)
{
	struct explained *explained = data;

	if (r >= 0) {
		control_end_with(reply, explained->object);
	} else {
		json_decref(explained->object);
		control_fail(reply, r, "%s", err->message);
	}
	free(explained);
}

static void explained_drop(void *data)
{
	struct explained *explained = data;

	json_decref(explained->object);
	free(explained);
}

static json_t *explain_object(const struct ladder *ladder)
{
	const struct registry_entry *entry = ladder->entry;
	enum rung rung = ladder_rung(ladder);
	bool no_executor = ladder->wait.reason == WAIT_EXECUTOR_MISSING || ladder->wait.reason == WAIT_EXECUTOR_DOWN;
	json_t *object = json_object();

	json_set_string(object, "script", ladder->script);
	json_set_string(object, "topic", ladder->topic);
	json_set_bool(object, "known", entry);
	json_set_string(object, "state", entry ? script_state_names[entry->state] : "");
	json_set_string(object, "reason", entry ? entry->reason : "");
	json_set_string(object, "filter", ladder->filter);
	json_set_bool(object, "matches", ladder->matches);
	json_set_bool(object, "shielded", ladder->shielded);
	json_set_bool(object, "subscribed", ladder->subscribed);
	json_set_string(object, "executor", ladder->executor);
	json_set_string(object, "executor_problem", no_executor ? ladder->wait.text : "");
	json_set_bool(object, "runs", rung == RUNG_MAX);
	json_set_string(object, "rung", rung == RUNG_MAX ? "" : rung_names[rung]);
	json_set_string(object, "why", ladder_why(ladder));
	(void)json_object_set_new(object, "ladder", ladder_array(ladder));
	(void)json_object_set_new(object, "jobs", json_array());
	return object;
}

static void explain_one(struct daemon *daemon, const json_t *request, const char *script, const char *topic,
			struct control_reply *reply)
{
	struct explained *explained = calloc(1, sizeof *explained);
	struct ladder ladder;

	if (!explained) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	ladder_climb(daemon, script, topic, &ladder);
	*explained = (struct explained){ .daemon = daemon, .object = explain_object(&ladder) };
	const struct history_question question = {
		.journal = daemon->journal,
		.reply = reply,
		.query = { .script = script, .state = -1, .outcome = -1, .limit = 5 },
		.row = explained_job,
		.end = explained_end,
		.drop = explained_drop,
		.data = explained,
	};
	history_ask(&question, request);
}

/* ----------------------------------------------------------------------------------- all scripts */

struct survey {
	struct daemon *daemon;
	struct control_reply *reply;
	char *topic;
	bool all; /* tell all that nearly run */
	bool taken;
	struct script_names matching, others; /* the others once the matching ones are told */
	uint64_t runs, waits, near, far;
};

static void survey_free(struct survey *survey)
{
	script_names_clear(&survey->matching);
	script_names_clear(&survey->others);
	free(survey->topic);
	free(survey);
}

static void survey_drop(void *data) { survey_free(data); }

static void survey_row(struct survey *survey, const char *script, const char *verdict, const char *rung,
		       const char *why, const struct ladder *ladder)
{
	json_t *row = json_object();

	json_set_string(row, "script", script);
	json_set_string(row, "verdict", verdict);
	json_set_string(row, "rung", rung);
	json_set_string(row, "why", why);
	json_set_string(row, "filter", ladder ? ladder->filter : "");
	json_set_string(row, "executor", ladder ? ladder->executor : "");
	control_send(survey->reply, row);
}

/* survey_match - one whose filter matched when the question came. */
static void survey_match(struct survey *survey, const char *script)
{
	struct ladder ladder;

	ladder_climb(survey->daemon, script, survey->topic, &ladder);
	enum rung rung = ladder_rung(&ladder);
	bool runs = rung == RUNG_MAX;
	if (!ladder.matches)
		return; /* it has changed meanwhile */
	survey->runs += runs;
	survey->waits += !runs;
	survey_row(survey, script, runs ? "runs" : "waits", runs ? "" : rung_names[rung], ladder_why(&ladder), &ladder);
}

static void survey_other(struct survey *survey, const char *name)
{
	const struct registry_entry *entry = registry_find(survey->daemon->registry, name);
	char why[NEAR_SIZE];

	if (!entry || (entry->script && script_filter_for(entry->script, survey->topic)))
		return;
	if (!near_script(entry, survey->topic, why)) {
		survey->far++;
		return;
	}
	if (survey->near++ >= NEAR_MAX && !survey->all)
		return;
	const struct ladder ladder = { .filter = entry->script ? entry->script->filter : "" };
	survey_row(survey, name, "nearly", rung_names[entry->script ? RUNG_FILTER : RUNG_ACTIVE], why, &ladder);
}

static void survey_end(struct survey *survey)
{
	struct ladder ladder;
	json_t *object = json_object();

	ladder_taken(survey->daemon, survey->topic, &ladder);
	json_set_string(object, "topic", survey->topic);
	json_set_bool(object, "arrived", ladder.rungs[RUNG_ARRIVED].ok);
	json_set_string(object, "arrived_why", ladder.rungs[RUNG_ARRIVED].text);
	json_set_bool(object, "taken", ladder.rungs[RUNG_TAKEN].ok);
	json_set_string(object, "taken_why", ladder.rungs[RUNG_TAKEN].text);
	json_set_bool(object, "subscribed", ladder.subscribed);
	json_set_bool(object, "shielded", ladder.shielded);
	json_set_uint(object, "runs", survey->runs);
	json_set_uint(object, "waits", survey->waits);
	json_set_uint(object, "nearly", survey->near);
	json_set_uint(object, "others", survey->far);
	control_end_with(survey->reply, object);
	survey_free(survey);
}

static bool survey_step(void *data)
{
	struct survey *survey = data;
	struct script_names *matching = &survey->matching, *others = &survey->others;
	uint64_t until = now_monotonic_usec() + STEP_USEC;

	while (now_monotonic_usec() < until) {
		if (matching->next < matching->count) {
			survey_match(survey, matching->list[matching->next++]);
		} else if (others->next < others->count) {
			survey_other(survey, others->list[others->next++]);
		} else {
			survey_end(survey);
			return false;
		}
	}
	return true;
}

static void survey_take(void *data, struct script *script)
{
	script_names_add(&((struct survey *)data)->matching, script->name);
}

static void explain_all(struct daemon *daemon, const char *topic, bool all, struct control_reply *reply)
{
	struct survey *survey = calloc(1, sizeof *survey);
	const struct control_stream stream = { .step = survey_step, .drop = survey_drop, .state = survey };

	if (survey) {
		*survey = (struct survey){ .daemon = daemon, .reply = reply, .topic = strdup(topic), .all = all };
		(void)registry_match(daemon->registry, topic, strlen(topic), survey_take, survey);
		script_names_take(&survey->others, daemon->registry);
	}
	if (survey && survey->topic && !survey->matching.failed && !survey->others.failed) {
		control_stream(reply, &stream);
		return;
	}
	if (survey)
		survey_free(survey);
	control_fail(reply, ENOMEM, "out of memory");
}

void command_explain(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "script", "topic", "all", NULL };
	const char *script = NULL, *topic = NULL;
	struct lsn_error err = { 0 };
	bool all = false;

	if (!reply_known_keys(reply, request, keys) || !reply_get_string(reply, request, "script", &script) ||
	    !reply_get_string(reply, request, "topic", &topic) || !reply_get_bool(reply, request, "all", &all))
		return;
	if (!topic)
		control_fail(reply, EINVAL, "explain needs a topic");
	else if (topic_check_name(topic, strlen(topic), &err) < 0)
		control_fail(reply, EINVAL, "topic: %s", err.message);
	else if (script)
		explain_one(data, request, script, topic, reply);
	else
		explain_all(data, topic, all, reply);
}
