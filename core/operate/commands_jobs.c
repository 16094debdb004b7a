/* commands_jobs.c - the control commands about jobs: jobs, show, rejected, retry, cancel. The rows
 * are those of docs/control.md. */
#include "commands.h"
#include "control.h"
#include "control_access.h"
#include "dispatcher.h"
#include "history.h"
#include "job.h"
#include "jobs_request.h"
#include "journal.h"
#include "reply.h"
#include "script.h"
#include "util.h"
#include "waits.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SHOW_USEC (10 * USEC_PER_MSEC) /* of one look for a job by its id; nearly always enough */

/* ----------------------------------------------------------------------------------------- rows */

/* delay_of - from the event to the hand-over, or to now if there was none. */
static uint64_t delay_of(const struct journal_job_row *row)
{
	uint64_t until = row->started_realtime_usec;

	if (!until && row->state < JOB_FINISHED)
		until = now_realtime_usec();
	return until > row->received_realtime_usec ? until - row->received_realtime_usec : 0;
}

json_t *job_object(const struct daemon *daemon, const struct journal_job_row *row)
{
	json_t *object = json_object();

	json_set_uint(object, "id", row->id);
	json_set_uint(object, "event", row->event);
	json_set_uint(object, "replay_of", row->replay_of);
	json_set_uint(object, "superseded_by", row->superseded_by);
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
	json_set_uint(object, "delay_usec", delay_of(row));
	waits_add(daemon, object, row);
	return object;
}

json_t *run_object(const struct journal_run_row *row)
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
	return object;
}

static void append_run(void *data, const struct journal_run_row *row)
{
	(void)json_array_append_new(data, run_object(row));
}

/* -------------------------------------------------------------------------------------- queries */

struct listing {
	struct daemon *daemon;
	struct control_reply *reply;
};

static bool send_job(void *data, const struct journal_job_row *row)
{
	const struct listing *listing = data;

	control_send(listing->reply, job_object(listing->daemon, row));
	return true;
}

static void end_jobs(void *data, struct control_reply *reply, int r, const struct lsn_error *err)
{
	free(data);
	if (r < 0)
		control_fail(reply, r, "%s", err->message);
	else
		control_end(reply);
}

void command_jobs(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { JOBS_QUERY_KEYS, NULL };
	struct history_question question = { .reply = reply, .row = send_job, .end = end_jobs, .drop = free };
	struct listing *listing;

	question.journal = ((struct daemon *)data)->journal;
	if (!reply_known_keys(reply, request, keys) || !jobs_read_query(reply, request, &question.query))
		return;
	if (!(listing = malloc(sizeof *listing))) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	*listing = (struct listing){ .daemon = data, .reply = reply };
	question.data = listing;
	history_ask(&question, request);
}

struct shown {
	struct daemon *daemon;
	uint64_t id, event;
	json_t *object;
};

static bool keep_job(void *data, const struct journal_job_row *row)
{
	struct shown *shown = data;

	shown->event = row->event;
	shown->object = job_object(shown->daemon, row);
	return false;
}

int jobs_find(struct journal *journal, uint64_t id, bool (*fn)(void *data, const struct journal_job_row *row),
	      void *data, struct lsn_error *err)
{
	const struct journal_query query = {
		.state = -1, .outcome = -1, .from_id = id, .before_id = id + 1, .limit = 1
	};
	struct journal_cursor cursor = { 0 };
	int r;

	/* That the time was over does not mean that there is no such job. */
	do
		r = journal_ask_jobs(journal, &query, &cursor, SHOW_USEC, fn, data, err);
	while (r > 0 && !cursor.given);
	if (r >= 0 && !cursor.given)
		return lsn_error_set(err, -ENOENT, "no job %" PRIu64 " in the journal", id);
	return r < 0 ? r : 0;
}

static int set_payload(void *object, const void *bytes, size_t size)
{
	return control_set_bytes(object, "payload", bytes, size);
}

void command_show(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "job", "payload", NULL };
	struct daemon *daemon = data;
	struct shown shown = { .daemon = daemon };
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
	int r = jobs_find(daemon->journal, shown.id, keep_job, &shown, &err);
	if (r < 0) {
		control_fail(reply, r, "%s", err.message);
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
	uint64_t limit = JOBS_LIMIT_DEFAULT;

	if (!reply_known_keys(reply, request, keys) ||
	    !reply_get_uint(reply, request, "limit", 1, JOBS_LIMIT_MAX, &limit))
		return;
	int r = journal_each_rejected(((struct daemon *)data)->journal, (unsigned)limit, send_rejected, reply, &err);
	if (r < 0)
		control_fail(reply, r, "%s", err.message);
	else
		control_end(reply);
}

/* -------------------------------------------------------------------------------- retry, cancel */

struct bulk { /* one thing to be done with many jobs, one in each step */
	struct daemon *daemon;
	struct control_reply *reply;
	int (*act)(struct dispatcher *dispatcher, uint64_t id, struct lsn_error *err);
	size_t count, next;
	uint64_t ids[JOBS_LIMIT_MAX];
};

static bool bulk_step(void *data)
{
	struct bulk *bulk = data;
	struct lsn_error err = { 0 };

	if (bulk->next < bulk->count) {
		uint64_t id = bulk->ids[bulk->next++];
		int r = bulk->act(bulk->daemon->dispatcher, id, &err);
		control_send(bulk->reply, jobs_verdict(id, r, &err));
		return true;
	}
	control_end(bulk->reply);
	free(bulk);
	return false;
}

static void each_job(struct daemon *daemon, const json_t *request, struct control_reply *reply,
		     int (*act)(struct dispatcher *dispatcher, uint64_t id, struct lsn_error *err))
{
	static const char *const keys[] = { "jobs", NULL };
	if (!reply_known_keys(reply, request, keys))
		return;
	struct bulk *bulk = calloc(1, sizeof *bulk);
	if (!bulk) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	bulk->daemon = daemon;
	bulk->reply = reply;
	bulk->act = act;
	bulk->count = jobs_read_ids(reply, request, bulk->ids);
	if (bulk->count == 0) {
		free(bulk);
		return;
	}
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
