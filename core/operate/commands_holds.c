/* commands_holds.c - the control commands holds, pause, resume and release. */
#include "commands.h"
#include "cleanup.h"
#include "control.h"
#include "dispatcher.h"
#include "event.h"
#include "executors.h"
#include "hold.h"
#include "job.h"
#include "jobs_request.h"
#include "journal.h"
#include "reply.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define SCOPE_KEYS "scripts", "executor", "object", "all"
#define STEP_USEC (4 * USEC_PER_MSEC)
#define SCRIPTS_MAX 100 /* of one request */
#define FOR_MAX_USEC (INT64_C(10000) * 86400 * 1000000)

/* ----------------------------------------------------------------------------------------- rows */

static json_t *hold_object(const struct daemon *daemon, const struct hold *hold)
{
	json_t *object = json_object();
	struct held_count count;
	char text[HOLD_TEXT_SIZE];

	dispatcher_count_held(daemon->dispatcher, hold, &count);
	hold_tell(hold, text);
	json_set_uint(object, "hold", hold->id);
	json_set_string(object, "scope", hold_scope_names[hold->scope]);
	json_set_string(object, "name", hold->name);
	json_set_string(object, "kind", hold_kind_names[hold->kind]);
	json_set_string(object, "reason", hold->reason);
	if (hold->by_uid == HOLD_BY_LISTENER)
		(void)json_object_set_new(object, "by_uid", json_null());
	else
		json_set_uint(object, "by_uid", (uint64_t)hold->by_uid);
	json_set_uint(object, "since_realtime_usec", hold->since_realtime_usec);
	json_set_uint(object, "until_realtime_usec", hold->until_realtime_usec);
	json_set_uint(object, "waiting", count.jobs);
	json_set_bool(object, "more_waiting", count.more);
	json_set_uint(object, "oldest_realtime_usec", count.oldest_realtime_usec);
	json_set_string(object, "text", text);
	return object;
}

void command_holds(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };
	const struct daemon *daemon = data;
	const struct hold *hold;

	if (!reply_known_keys(reply, request, keys))
		return;
	TAILQ_FOREACH (hold, dispatcher_holds(daemon->dispatcher), link)
		control_send(reply, hold_object(daemon, hold));
	control_end(reply);
}

/* --------------------------------------------------------------------------------------- scopes */

/* set_object - TEXT is an event's topic, or what is below its operation. */
static int set_object(const struct daemon *daemon, const char *text, struct hold *hold, struct lsn_error *err)
{
	_cleanup_event_ struct event *event = NULL;
	_cleanup_free_ char *topic = NULL;
	struct topic_parts parts;

	topic_split(daemon->config->source.events, text, strlen(text), &parts);
	const char *slash = strchr(text, '/');
	const char *object = parts.operation != TOPIC_OPERATION_OTHER && slash ? slash + 1 : text;
	if (topic_check_name(object, strlen(object), err) < 0)
		return -EINVAL;
	if (asprintf(&topic, "update/%s", object) < 0 || event_new(topic, strlen(topic), NULL, 0, &event) < 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	hold->object = event_object(event);
	(void)snprintf(hold->name, sizeof hold->name, "%.*s", (int)sizeof hold->name - 1, object);
	utf8_trim(hold->name);
	return 0;
}

static int set_name(const char *name, const char *what, struct hold *hold, struct lsn_error *err)
{
	if (!*name || strlen(name) >= sizeof hold->name)
		return lsn_error_set(err, -EINVAL, "%s: the name is empty or longer than %zu bytes", what,
				     sizeof hold->name - 1);
	(void)snprintf(hold->name, sizeof hold->name, "%s", name);
	return 0;
}

/* read_one - the one scope that REQUEST names, if that is not `scripts`. */
static int read_one(const struct daemon *daemon, const char *executor, const char *object, struct hold *hold,
		    struct lsn_error *err)
{
	hold->scope = executor ? HOLD_EXECUTOR : object ? HOLD_OBJECT : HOLD_ALL;
	if (executor)
		return set_name(executor, "executor", hold, err);
	return object ? set_object(daemon, object, hold, err) : 0;
}

/* read_scope - the scope of REQUEST into HOLD; *RET_SCRIPTS: the names, if it is scripts'.
 * False: the reply has failed. */
static bool read_scope(const struct daemon *daemon, const json_t *request, struct control_reply *reply,
		       struct hold *hold, const json_t **ret_scripts)
{
	const json_t *scripts = json_object_get(request, "scripts");
	const char *executor = NULL, *object = NULL;
	struct lsn_error err = { 0 };
	bool all = false;

	if (!reply_get_string(reply, request, "executor", &executor) ||
	    !reply_get_string(reply, request, "object", &object) || !reply_get_bool(reply, request, "all", &all))
		return false;
	*ret_scripts = scripts;
	hold->scope = HOLD_SCRIPT;
	if ((scripts != NULL) + (executor != NULL) + (object != NULL) + all != 1)
		control_fail(reply, EINVAL, "name either scripts, an executor, an object or all");
	else if (scripts && (json_array_size(scripts) == 0 || json_array_size(scripts) > SCRIPTS_MAX))
		control_fail(reply, EINVAL, "scripts must be a list of 1 to %d names", SCRIPTS_MAX);
	else if (!scripts && read_one(daemon, executor, object, hold, &err) < 0)
		control_fail(reply, EINVAL, "%s", err.message);
	else
		return true;
	return false;
}

/* each_hold - FN for HOLD, or for each of SCRIPTS with that name in HOLD; sends a row for each. */
typedef int (*hold_fn)(const struct daemon *daemon, struct hold *hold, json_t **ret_row, struct lsn_error *err);
static void each_hold(const struct daemon *daemon, struct hold *hold, const json_t *scripts,
		      struct control_reply *reply, hold_fn fn)
{
	size_t count = scripts ? json_array_size(scripts) : 1;

	for (size_t i = 0; i < count; i++) {
		const char *script = scripts ? json_string_value(json_array_get(scripts, i)) : NULL;
		struct lsn_error err = { 0 };
		json_t *row = NULL;
		int r = scripts ? set_name(script ? script : "", "scripts", hold, &err) : 0;
		if (r >= 0)
			r = fn(daemon, hold, &row, &err);
		row = row ? row : json_object();
		json_set_bool(row, "ok", r >= 0);
		json_set_string(row, "name", hold->name);
		if (r < 0)
			json_set_string(row, "message", err.message);
		control_send(reply, row);
	}
	control_end(reply);
}

/* ------------------------------------------------------------------------------- pause, resume */

/* check_executor - a pause of what does not exist would be no pause. */
static int check_executor(const struct daemon *daemon, const struct hold *hold, struct lsn_error *err)
{
	if (hold->scope != HOLD_EXECUTOR || executors_find(daemon->executors, hold->name))
		return 0;
	return lsn_error_set(err, -ENOENT, "there is no executor '%.64s'; listenerctl executors lists them",
			     hold->name);
}

static int pause_one(const struct daemon *daemon, struct hold *hold, json_t **ret_row, struct lsn_error *err)
{
	uint64_t id = 0;
	int r = check_executor(daemon, hold, err);

	if (r >= 0)
		r = dispatcher_hold(daemon->dispatcher, hold, &id, err);
	if (r >= 0)
		*ret_row = hold_object(daemon, dispatcher_get_hold(daemon->dispatcher, id));
	return r;
}

/* read_pause - what is not the scope. False: the reply has failed. */
static bool read_pause(const json_t *request, struct control_reply *reply, struct hold *hold)
{
	const char *reason = "";
	uint64_t for_usec = 0;

	if (!reply_get_string(reply, request, "reason", &reason) ||
	    !reply_get_uint(reply, request, "for_usec", 1, FOR_MAX_USEC, &for_usec))
		return false;
	if (strlen(reason) >= sizeof hold->reason) {
		control_fail(reply, EINVAL, "reason may have %zu bytes", sizeof hold->reason - 1);
		return false;
	}
	(void)snprintf(hold->reason, sizeof hold->reason, "%s", reason);
	hold->kind = HOLD_PAUSE;
	hold->by_uid = control_peer_uid(reply);
	hold->since_realtime_usec = now_realtime_usec();
	hold->until_realtime_usec = for_usec ? hold->since_realtime_usec + for_usec : 0;
	return true;
}

void command_pause(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { SCOPE_KEYS, "reason", "for_usec", NULL };
	struct hold hold = { 0 };
	const json_t *scripts;

	if (reply_known_keys(reply, request, keys) && read_pause(request, reply, &hold) &&
	    read_scope(data, request, reply, &hold, &scripts))
		each_hold(data, &hold, scripts, reply, pause_one);
}

/* no_such - what there is instead of a hold like HOLD. */
static int no_such(const struct daemon *daemon, const struct hold *hold, const char *what, struct lsn_error *err)
{
	const char *script = hold->scope == HOLD_SCRIPT ? hold->name : "";
	const char *executor = hold->scope == HOLD_EXECUTOR ? hold->name : "";
	const struct hold *other = dispatcher_find_hold(daemon->dispatcher, script, executor, hold->object);
	char text[HOLD_TEXT_SIZE];

	if (!other)
		return lsn_error_set(err, -ENOENT, "there is no such %s; listenerctl holds lists them", what);
	hold_remedy(other, text);
	return lsn_error_set(err, -ENOENT, "there is no %s of that very name; another hold covers it: %s", what, text);
}

static int resume_one(const struct daemon *daemon, struct hold *hold, json_t **ret_row, struct lsn_error *err)
{
	const struct hold *found = dispatcher_find_like(daemon->dispatcher, hold);

	if (!found)
		return no_such(daemon, hold, "pause", err);
	*ret_row = hold_object(daemon, found);
	return dispatcher_lift(daemon->dispatcher, found->id, err);
}

void command_resume(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { SCOPE_KEYS, NULL };
	struct hold hold = { .kind = HOLD_PAUSE };
	const json_t *scripts;

	if (reply_known_keys(reply, request, keys) && read_scope(data, request, reply, &hold, &scripts))
		each_hold(data, &hold, scripts, reply, resume_one);
}

/* -------------------------------------------------------------------------------------- release */

struct release { /* the jobs that a hold keeps: shown, or cancelled */
	struct daemon *daemon;
	struct control_reply *reply;
	uint64_t hold; /* id */
	bool discard;
	uint64_t jobs;
	struct journal_query query;
	struct journal_cursor cursor;
};

static bool release_job(void *data, const struct journal_job_row *row)
{
	struct release *release = data;
	struct lsn_error err = { 0 };
	struct wait wait;

	dispatcher_get_wait(release->daemon->dispatcher, row->script, row->id, row->object, &wait);
	if (wait.reason != WAIT_HELD || wait.hold != release->hold)
		return true;
	release->jobs++;
	if (!release->discard) {
		control_send(release->reply, job_object(release->daemon, row));
		return true;
	}
	int r = dispatcher_cancel(release->daemon->dispatcher, row->id, &err);
	control_send(release->reply, jobs_verdict(row->id, r, &err));
	return true;
}

/* release_end - all jobs have been seen; R negative: the journal could not be read. */
static void release_end(struct release *release, int r, struct lsn_error *err)
{
	if (r >= 0 && release->discard)
		r = dispatcher_lift(release->daemon->dispatcher, release->hold, err);
	if (r < 0 && r != -ENOENT) {
		control_fail(release->reply, r, "%s", err->message);
	} else {
		json_t *object = json_object();
		json_set_uint(object, "jobs", release->jobs);
		control_end_with(release->reply, object);
	}
	free(release);
}

static bool release_step(void *data)
{
	struct release *release = data;
	struct lsn_error err = { 0 };
	int r = journal_ask_jobs(release->daemon->journal, &release->query, &release->cursor, STEP_USEC, release_job,
				 release, &err);

	if (r > 0)
		return true;
	if (r == 0 && release->query.state == JOB_QUEUED) {
		release->query.state = JOB_BACKOFF;
		release->cursor = (struct journal_cursor){ 0 };
		return true;
	}
	release_end(release, r, &err);
	return false;
}

static void release_begin(struct daemon *daemon, struct control_reply *reply, const struct hold *hold, bool discard)
{
	struct release *release = calloc(1, sizeof *release);
	const struct control_stream stream = { .step = release_step, .drop = free, .state = release };

	if (!release) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	*release = (struct release){ .daemon = daemon, .reply = reply, .hold = hold->id, .discard = discard };
	release->query = (struct journal_query){ .state = JOB_QUEUED, .outcome = -1, .limit = UINT_MAX };
	control_stream(reply, &stream);
}

/* release_run - the jobs go on. */
static void release_run(struct daemon *daemon, struct control_reply *reply, const struct hold *hold)
{
	struct lsn_error err = { 0 };
	json_t *object = hold_object(daemon, hold);
	int r = dispatcher_lift(daemon->dispatcher, hold->id, &err);

	if (r >= 0) {
		(void)json_object_set(object, "jobs", json_object_get(object, "waiting"));
		control_end_with(reply, object);
		return;
	}
	json_decref(object);
	control_fail(reply, r, "%s", err.message);
}

/* release_found - the hold that REQUEST names: of a loop, or else a pause. */
static const struct hold *release_found(const struct daemon *daemon, struct hold *like, const json_t *scripts,
					struct lsn_error *err)
{
	const struct hold *found;
	const char *script = json_string_value(json_array_get(scripts, 0));

	if (scripts && set_name(script ? script : "", "scripts", like, err) < 0)
		return NULL;
	like->kind = HOLD_LOOP;
	found = dispatcher_find_like(daemon->dispatcher, like);
	like->kind = HOLD_PAUSE;
	found = found ? found : dispatcher_find_like(daemon->dispatcher, like);
	if (!found)
		(void)no_such(daemon, like, "hold", err);
	return found;
}

void command_release(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { SCOPE_KEYS, "run", "discard", NULL };
	struct hold like = { 0 };
	const json_t *scripts;
	struct lsn_error err = { 0 };
	bool run = false, discard = false;

	if (!reply_known_keys(reply, request, keys) || !reply_get_bool(reply, request, "run", &run) ||
	    !reply_get_bool(reply, request, "discard", &discard) || !read_scope(data, request, reply, &like, &scripts))
		return;
	const struct hold *hold = release_found(data, &like, scripts, &err);
	if (json_array_size(scripts) > 1 || (run && discard))
		control_fail(reply, EINVAL,
			     json_array_size(scripts) > 1 ? "release one script at a time" : "either run or discard");
	else if (!hold)
		control_fail(reply, err.code, "%s", err.message);
	else if (run)
		release_run(data, reply, hold);
	else
		release_begin(data, reply, hold, discard);
}
