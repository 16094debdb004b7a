/* commands_jobs.c - the control commands about jobs: jobs, show, rejected, retry, replay,
 * cancel. The rows are those of docs/control.md. */
#include "commands.h"
#include "history.h"
#include "control.h"
#include "control_access.h"
#include "dispatcher.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "registry.h"
#include "reply.h"
#include "script.h"
#include "stall.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 1000
#define SHOW_USEC (10 * USEC_PER_MSEC) /* to find one job by its id */

/* ----------------------------------------------------------------------------------------- rows */

json_t *job_object(const struct journal_job_row *row)
{
	json_t *object = json_object();

	json_set_uint(object, "id", row->id);
	json_set_uint(object, "event", row->event);
	json_set_uint(object, "replay_of", row->replay_of);
	json_set_string(object, "script", row->script);
	json_set_string(object, "version", row->version);
	json_set_string(object, "topic", row->topic);
	json_set_string(object, "filter", row->filter);
	json_set_string(object, "executor", row->executor);
	json_set_string(object, "place", row->place);
	json_set_string(object, "state", job_state_names[row->state]);
	if (row->outcome >= 0 && row->outcome < LSN_OUTCOME_MAX)
		json_set_string(object, "outcome", outcome_names[row->outcome]);
	else
		(void)json_object_set_new(object, "outcome", json_null());
	json_set_uint(object, "attempt", row->attempt);
	json_set_string(object, "message", row->message);
	json_set_uint(object, "payload_bytes", row->payload_size);
	json_set_uint(object, "received_realtime_usec", row->received_realtime_usec);
	json_set_uint(object, "created_realtime_usec", row->created_realtime_usec);
	json_set_uint(object, "started_realtime_usec", row->started_realtime_usec);
	json_set_uint(object, "finished_realtime_usec", row->finished_realtime_usec);
	json_set_uint(object, "duration_usec", row->duration_usec);
	return object;
}

static void append_run(void *data, const struct journal_run_row *row)
{
	json_t *object = json_object();

	json_set_uint(object, "attempt", row->attempt);
	json_set_string(object, "executor", row->executor);
	json_set_string(object, "place", row->place);
	if (row->outcome >= 0 && row->outcome < LSN_OUTCOME_MAX)
		json_set_string(object, "outcome", outcome_names[row->outcome]);
	else
		(void)json_object_set_new(object, "outcome", json_null());
	(void)json_object_set_new(object, "exit_status", json_integer(row->exit_status));
	(void)json_object_set_new(object, "signal", json_integer(row->signal));
	json_set_string(object, "message", row->message);
	json_set_uint(object, "started_realtime_usec", row->started_realtime_usec);
	json_set_uint(object, "duration_usec", row->duration_usec);
	json_set_uint(object, "user_usec", row->user_usec);
	json_set_uint(object, "system_usec", row->system_usec);
	json_set_uint(object, "max_rss_bytes", row->max_rss_bytes);
	if (row->out) {
		(void)control_set_bytes(object, "out", row->out, row->out_size);
		json_set_bool(object, "out_truncated", row->out_truncated);
	}
	if (row->err) {
		(void)control_set_bytes(object, "err", row->err, row->err_size);
		json_set_bool(object, "err_truncated", row->err_truncated);
	}
	(void)json_array_append_new(data, object);
}

/* -------------------------------------------------------------------------------------- queries */

#define QUERY_KEYS                                                                                                     \
	"script", "topic", "state", "outcome", "since_realtime_usec", "until_realtime_usec", "before", "limit"

/* read_query - false: the reply has failed. */
static bool read_query(struct control_reply *reply, const json_t *request, struct journal_query *query)
{
	struct lsn_error err = { 0 };
	uint64_t limit = LIMIT_DEFAULT;

	*query = (struct journal_query){ .state = -1, .outcome = -1 };
	if (!reply_get_string(reply, request, "script", &query->script) ||
	    !reply_get_string(reply, request, "topic", &query->topic) ||
	    !reply_get_word(reply, request, "state", job_state_names, JOB_STATE_MAX, &query->state) ||
	    !reply_get_word(reply, request, "outcome", outcome_names, LSN_OUTCOME_MAX, &query->outcome) ||
	    !reply_get_uint(reply, request, "since_realtime_usec", 0, INT64_MAX, &query->since_realtime_usec) ||
	    !reply_get_uint(reply, request, "until_realtime_usec", 0, INT64_MAX, &query->until_realtime_usec) ||
	    !reply_get_uint(reply, request, "before", 0, INT64_MAX, &query->before_id) ||
	    !reply_get_uint(reply, request, "limit", 1, LIMIT_MAX, &limit))
		return false;
	if (query->topic && topic_check_filter(query->topic, strlen(query->topic), &err) < 0) {
		control_fail(reply, EINVAL, "topic: %s", err.message);
		return false;
	}
	query->limit = (unsigned)limit;
	return true;
}

static bool send_job(void *data, const struct journal_job_row *row)
{
	control_send(data, job_object(row));
	return true;
}

static void end_jobs(void *data, struct control_reply *reply, int r, const struct lsn_error *err)
{
	(void)data;
	if (r < 0)
		control_fail(reply, r, "%s", err->message);
	else
		control_end(reply);
}

void command_jobs(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { QUERY_KEYS, NULL };
	struct history_question question = { .reply = reply, .row = send_job, .end = end_jobs, .data = reply };

	question.journal = ((struct daemon *)data)->journal;
	if (reply_known_keys(reply, request, keys) && read_query(reply, request, &question.query))
		history_ask(&question, request);
}

struct shown {
	uint64_t id, event;
	json_t *object;
};

static bool keep_job(void *data, const struct journal_job_row *row)
{
	struct shown *shown = data;

	if (row->id != shown->id)
		return false;
	shown->event = row->event;
	shown->object = job_object(row);
	return false;
}

static int set_payload(void *object, const void *bytes, size_t size)
{
	return control_set_bytes(object, "payload", bytes, size);
}

void command_show(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "job", "payload", NULL };
	struct daemon *daemon = data;
	struct shown shown = { 0 };
	struct lsn_error err = { 0 };
	bool payload = false;

	if (!reply_known_keys(reply, request, keys) ||
	    !reply_get_uint(reply, request, "job", 1, INT64_MAX - 1, &shown.id) ||
	    !reply_get_bool(reply, request, "payload", &payload))
		return;
	if (payload && !control_may(reply, CONTROL_OPERATE)) {
		control_fail(reply, EACCES, "payloads are shown to operators only");
		return;
	}
	const struct journal_query query = { .state = -1, .outcome = -1, .before_id = shown.id + 1, .limit = 1 };
	struct journal_cursor cursor = { 0 };
	int r = journal_ask_jobs(daemon->journal, &query, &cursor, SHOW_USEC, keep_job, &shown, &err);
	if (r < 0 || !shown.object) {
		control_fail(reply, r < 0 ? r : -ENOENT, r < 0 ? "%s" : "no job %s%llu in the journal",
			     r < 0 ? err.message : "", (unsigned long long)shown.id);
		return;
	}
	json_t *runs = json_array();
	(void)journal_each_run(daemon->journal, shown.id, append_run, runs, NULL);
	(void)json_object_set_new(shown.object, "runs", runs);
	if (payload)
		(void)journal_read_payload(daemon->journal, shown.event, set_payload, shown.object, NULL);
	control_end_with(reply, shown.object);
}

static void send_rejected(void *data, uint64_t id, uint64_t received_realtime_usec, const void *topic,
			  size_t topic_size, const char *reason)
{
	json_t *object = json_object();

	json_set_uint(object, "event", id);
	json_set_uint(object, "received_realtime_usec", received_realtime_usec);
	(void)control_set_bytes(object, "topic", topic, topic_size);
	json_set_string(object, "reason", reason);
	control_send(data, object);
}

void command_rejected(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "limit", NULL };
	struct lsn_error err = { 0 };
	uint64_t limit = LIMIT_DEFAULT;

	if (!reply_known_keys(reply, request, keys) || !reply_get_uint(reply, request, "limit", 1, LIMIT_MAX, &limit))
		return;
	int r = journal_each_rejected(((struct daemon *)data)->journal, (unsigned)limit, send_rejected, reply, &err);
	if (r < 0)
		control_fail(reply, r, "%s", err.message);
	else
		control_end(reply);
}

/* -------------------------------------------------------------------------------- retry, cancel */

static void send_verdict(struct control_reply *reply, uint64_t job, int r, const struct lsn_error *err,
			 uint64_t new_job)
{
	json_t *object = json_object();

	json_set_uint(object, "job", job);
	json_set_bool(object, "ok", r >= 0);
	if (r < 0)
		json_set_string(object, "message", err->message);
	else if (new_job)
		json_set_uint(object, "new_job", new_job);
	control_send(reply, object);
}

/* read_jobs - the list of ids; false: the reply has failed. */
static bool read_jobs(struct control_reply *reply, const json_t *request, const json_t **ret)
{
	const json_t *list = json_object_get(request, "jobs"), *value;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > LIMIT_MAX) {
		control_fail(reply, EINVAL, "jobs must be a list of 1 to %d job ids", LIMIT_MAX);
		return false;
	}
	json_array_foreach (list, i, value) {
		if (!json_is_integer(value) || json_integer_value(value) <= 0) {
			control_fail(reply, EINVAL, "jobs must be a list of job ids: whole numbers above 0");
			return false;
		}
	}
	*ret = list;
	return true;
}

struct bulk { /* one thing to be done with many jobs, one in each step */
	struct daemon *daemon;
	struct control_reply *reply;
	int (*act)(struct dispatcher *dispatcher, uint64_t id, struct lsn_error *err);
	size_t count, next;
	uint64_t ids[LIMIT_MAX];
};

static bool bulk_step(void *data)
{
	struct bulk *bulk = data;
	struct lsn_error err = { 0 };

	if (bulk->next < bulk->count) {
		uint64_t id = bulk->ids[bulk->next++];
		int r = bulk->act(bulk->daemon->dispatcher, id, &err);
		send_verdict(bulk->reply, id, r, &err, 0);
		return true;
	}
	control_end(bulk->reply);
	free(bulk);
	return false;
}

static size_t copy_ids(const json_t *list, uint64_t ids[LIMIT_MAX])
{
	const json_t *value;
	size_t i;

	json_array_foreach (list, i, value)
		ids[i] = (uint64_t)json_integer_value(value);
	return json_array_size(list);
}

static void each_job(struct daemon *daemon, const json_t *request, struct control_reply *reply,
		     int (*act)(struct dispatcher *dispatcher, uint64_t id, struct lsn_error *err))
{
	static const char *const keys[] = { "jobs", NULL };
	const json_t *list;

	if (!reply_known_keys(reply, request, keys) || !read_jobs(reply, request, &list))
		return;
	struct bulk *bulk = calloc(1, sizeof *bulk);
	if (!bulk) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	bulk->daemon = daemon;
	bulk->reply = reply;
	bulk->act = act;
	bulk->count = copy_ids(list, bulk->ids);
	const struct control_stream stream = { .step = bulk_step, .drop = free, .state = bulk };
	control_stream(reply, &stream);
}

void command_retry(void *data, const json_t *request, struct control_reply *reply)
{
	each_job(data, request, reply, dispatcher_retry);
}

void command_cancel(void *data, const json_t *request, struct control_reply *reply)
{
	each_job(data, request, reply, dispatcher_cancel);
}

/* --------------------------------------------------------------------------------------- replay */

struct replay { /* a request that is being worked off at the capped rate */
	struct daemon *daemon;
	struct control_reply *reply;
	bool current;
	size_t count, next;
	uint64_t ids[LIMIT_MAX];
};

static int replay_one(struct replay *replay, uint64_t id, uint64_t *ret_job, struct lsn_error *err)
{
	struct daemon *daemon = replay->daemon;
	struct job *job;

	int r = journal_load_job(daemon->journal, id, &job, err);
	if (r < 0)
		return r;
	const char *name = job->script->name;
	struct script *script = job->script;
	if (replay->current) {
		const struct registry_entry *entry = registry_find(daemon->registry, name);
		script = entry && entry->script ? (struct script *)(uintptr_t)entry->script : NULL;
	}
	if (job->unreadable)
		r = lsn_error_set(err, -EUCLEAN, "job %" PRIu64 " cannot run again: %s", id, job->unreadable);
	else
		r = script ? dispatcher_add(daemon->dispatcher, job->event, script, id, ret_job)
			   : lsn_error_set(err, -ENOENT, "script %s is not active now", name);
	if (r == -ENOMEM)
		(void)lsn_error_set(err, r, "out of memory");
	job_unref(job);
	return r;
}

/* replay_end - with its timer, when all is done or the loop goes. */
static void replay_end(void *data)
{
	struct replay *replay = data;
	control_end(replay->reply);
	free(replay);
}

/* replay_slot - when the next job may be replayed, whoever asks: the cap is for all requests
 * together. */
static uint64_t replay_slot(struct daemon *daemon)
{
	double rate = daemon->config->dispatch.replay_rate_max;
	uint64_t now = now_monotonic_usec(), at = daemon->replay_next_usec > now ? daemon->replay_next_usec : now;

	daemon->replay_next_usec = at + (rate > 0 ? (uint64_t)(1e6 / rate) : 0);
	return at;
}

static int on_replay(sd_event_source *source, uint64_t usec, void *data)
{
	struct replay *replay = data;

	stall_source("control", "replay");
	(void)usec;
	if (replay->next == replay->count) {
		(void)sd_event_source_set_floating(source, false); /* ends it */
		return 0;
	}
	struct lsn_error err = { 0 };
	uint64_t id = replay->ids[replay->next++], new_job = 0;
	int r = replay_one(replay, id, &new_job, &err);
	send_verdict(replay->reply, id, r, &err, new_job);
	(void)sd_event_source_set_time(source, replay->next < replay->count ? replay_slot(replay->daemon) : 0);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static bool collect_id(void *data, const struct journal_job_row *row)
{
	struct replay *replay = data;
	replay->ids[replay->count++] = row->id;
	return replay->count < LIMIT_MAX;
}

static void replay_begin(struct replay *replay)
{
	sd_event_source *timer;

	if (sd_event_add_time(replay->daemon->loop, &timer, CLOCK_MONOTONIC, replay_slot(replay->daemon), 1, on_replay,
			      replay) < 0) {
		control_fail(replay->reply, ENOMEM, "out of memory");
		free(replay);
		return;
	}
	/* The loop owns the timer and the timer owns the replay. */
	(void)sd_event_source_set_destroy_callback(timer, replay_end);
	(void)sd_event_source_set_floating(timer, true);
	sd_event_source_unref(timer);
}

static void replay_collected(void *data, struct control_reply *reply, int r, const struct lsn_error *err)
{
	struct replay *replay = data;

	if (r < 0) {
		control_fail(reply, r, "%s", err->message);
		free(replay);
		return;
	}
	for (size_t i = 0; i < replay->count / 2; i++) { /* oldest first, as they came */
		uint64_t other = replay->ids[replay->count - 1 - i];
		replay->ids[replay->count - 1 - i] = replay->ids[i];
		replay->ids[i] = other;
	}
	replay_begin(replay);
}

/* replay_by_filter - the jobs that match. False: the reply has failed. */
static bool replay_by_filter(struct replay *replay, const json_t *request)
{
	struct history_question question = { .journal = replay->daemon->journal, .reply = replay->reply };
	const struct journal_query *query = &question.query;

	if (!read_query(replay->reply, request, &question.query))
		return false;
	if (!query->script && !query->topic && query->state < 0 && query->outcome < 0 && !query->since_realtime_usec &&
	    !query->until_realtime_usec) {
		control_fail(replay->reply, EINVAL, "replay needs job ids or at least one filter");
		return false;
	}
	question.row = collect_id;
	question.end = replay_collected;
	question.drop = free;
	question.data = replay;
	history_ask(&question, request);
	return true;
}

/* replay_by_ids - the jobs of the list. False: the reply has failed. */
static bool replay_by_ids(struct replay *replay, const json_t *request)
{
	const json_t *list;

	if (!read_jobs(replay->reply, request, &list))
		return false;
	replay->count = copy_ids(list, replay->ids);
	replay_begin(replay);
	return true;
}

void command_replay(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "jobs", "current", QUERY_KEYS, NULL };
	struct daemon *daemon = data;
	bool current = false;

	if (!reply_known_keys(reply, request, keys) || !reply_get_bool(reply, request, "current", &current))
		return;
	struct replay *replay = calloc(1, sizeof *replay);
	if (!replay) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	replay->daemon = daemon;
	replay->reply = reply;
	replay->current = current;
	bool listed = json_object_get(request, "jobs") != NULL;
	if (!(listed ? replay_by_ids(replay, request) : replay_by_filter(replay, request)))
		free(replay);
}
