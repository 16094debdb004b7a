/* commands_replay.c - the control command replay: new jobs from old events, at a capped rate.
 *
 * An event runs again only if somebody wants it to. So jobs that were found by a filter are left
 * out if there is a later job of the same event and script: that one is replayed, or has succeeded,
 * or still waits, or somebody has cancelled it. Whether there is one is asked when a job's turn
 * comes, for somebody else may be replaying the same jobs. */
#include "commands.h"
#include "control.h"
#include "dispatcher.h"
#include "history.h"
#include "job.h"
#include "jobs_request.h"
#include "journal.h"
#include "registry.h"
#include "reply.h"
#include "script.h"
#include "stall.h"
#include "util.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct replay { /* a request that is being worked off */
	struct daemon *daemon;
	struct control_reply *reply;
	bool current, again, dry_run;
	bool filtered; /* the ids are those that matched a filter */
	bool failed; /* the filter asked for failed jobs */
	unsigned limit; /* of the filter */
	size_t count, next;
	uint64_t replayed, left_out, refused;
	uint64_t ids[JOBS_LIMIT_MAX];
};

/* --------------------------------------------------------------------------------------- one job */

static int load_readable(struct replay *replay, uint64_t id, struct job **ret, struct lsn_error *err)
{
	int r = journal_load_job(replay->daemon->journal, id, ret, err);

	if (r >= 0 && (*ret)->unreadable) {
		r = lsn_error_set(err, -EUCLEAN, "job %" PRIu64 " cannot run again: %s", id, (*ret)->unreadable);
		*ret = job_unref(*ret);
	}
	return r;
}

static int find_script(const struct replay *replay, const struct job *job, struct script **ret, struct lsn_error *err)
{
	const struct registry_entry *entry;

	*ret = job->script;
	if (!replay->current)
		return 0;
	entry = registry_find(replay->daemon->registry, job->script->name);
	*ret = entry && entry->script ? (struct script *)(uintptr_t)entry->script : NULL;
	return *ret ? 0 : lsn_error_set(err, -ENOENT, "script %s is not active now", job->script->name);
}

/* is_left_out - for a reason that goes into ROW. */
static bool is_left_out(const struct replay *replay, const struct job *job, uint64_t later, json_t *row)
{
	char message[120] = "";

	if (!replay->filtered)
		return false;
	if (later > 0 && !replay->again)
		(void)snprintf(message, sizeof message, "job %" PRIu64 " came after it for the same event", later);
	else if (replay->failed && job->state == JOB_LOST)
		(void)snprintf(message, sizeof message,
			       "it is lost, so it may have run: find out whether it did its work, then replay it by "
			       "its number");
	if (message[0])
		json_set_string(row, "message", message);
	return message[0];
}

static int replay_add(struct replay *replay, struct job *job, json_t *row, struct lsn_error *err)
{
	struct script *script;
	uint64_t new_job = 0;
	int r = find_script(replay, job, &script, err);

	if (r < 0)
		return r;
	if (!replay->dry_run)
		r = dispatcher_add(replay->daemon->dispatcher, job->event, script, job->abi.id, &new_job);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	if (new_job > 0)
		json_set_uint(row, "new_job", new_job);
	json_set_string(row, "version", script->version);
	replay->replayed++;
	return 0;
}

/* replay_consider - what becomes of job ID is in ROW. */
static int replay_consider(struct replay *replay, uint64_t id, json_t *row, struct lsn_error *err)
{
	struct job *job;
	uint64_t later;
	int r = load_readable(replay, id, &job, err);

	if (r < 0)
		return r;
	r = journal_superseded_by(replay->daemon->journal, job, &later, err);
	if (r >= 0 && later > 0)
		json_set_uint(row, "superseded_by", later);
	if (r >= 0 && is_left_out(replay, job, later, row)) {
		json_set_bool(row, "left_out", true);
		replay->left_out++;
	} else if (r >= 0) {
		r = replay_add(replay, job, row, err);
	}
	(void)job_unref(job);
	return r;
}

static void replay_one(struct replay *replay)
{
	uint64_t id = replay->ids[replay->next++];
	struct lsn_error err = { 0 };
	json_t *row = json_object();
	int r = replay_consider(replay, id, row, &err);
	json_t *verdict = jobs_verdict(id, r, &err);

	replay->refused += r < 0;
	(void)json_object_update(verdict, row);
	json_decref(row);
	control_send(replay->reply, verdict);
}

/* ------------------------------------------------------------------------------------- one by one */

/* replay_end - with its timer, when all is done or the loop goes. */
static void replay_end(void *data)
{
	struct replay *replay = data;
	json_t *object = json_object();

	json_set_uint(object, "jobs", replay->count);
	json_set_uint(object, "replayed", replay->replayed);
	json_set_uint(object, "left_out", replay->left_out);
	json_set_uint(object, "refused", replay->refused);
	json_set_bool(object, "dry_run", replay->dry_run);
	/* there may be more that match */
	json_set_bool(object, "limited", replay->filtered && replay->count >= replay->limit);
	control_end_with(replay->reply, object);
	free(replay);
}

/* replay_slot - when the next job may be replayed, whoever asks: the cap is for all requests
 * together. */
static uint64_t replay_slot(const struct replay *replay)
{
	struct daemon *daemon = replay->daemon;
	double rate = daemon->config->dispatch.replay_rate_max;
	uint64_t now = now_monotonic_usec(), at = daemon->replay_next_usec > now ? daemon->replay_next_usec : now;

	if (replay->dry_run)
		return now;
	daemon->replay_next_usec = at + (rate > 0 ? (uint64_t)(1e6 / rate) : 0);
	return at;
}

static int on_replay(sd_event_source *source, uint64_t usec, void *data)
{
	struct replay *replay = data;
	uint64_t replayed = replay->replayed, next = 0;

	stall_source("control", "replay");
	(void)usec;
	if (replay->next == replay->count) {
		(void)sd_event_source_set_floating(source, false); /* ends it */
		return 0;
	}
	replay_one(replay);
	if (replay->replayed > replayed && replay->next < replay->count)
		next = replay_slot(replay); /* else this one's was not used */
	(void)sd_event_source_set_time(source, next);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static void replay_begin(struct replay *replay)
{
	sd_event_source *timer;

	if (sd_event_add_time(replay->daemon->loop, &timer, CLOCK_MONOTONIC, replay_slot(replay), 1, on_replay,
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

/* ------------------------------------------------------------------------------------ which jobs */

static bool collect_id(void *data, const struct journal_job_row *row)
{
	struct replay *replay = data;

	replay->ids[replay->count++] = row->id;
	return replay->count < JOBS_LIMIT_MAX;
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

static bool has_filter(const struct journal_query *query)
{
	return query->script || query->topic || query->state >= 0 || query->outcome >= 0 || query->failed ||
	       query->since_realtime_usec || query->until_realtime_usec;
}

/* replay_by_filter - the jobs that match. False: the reply has failed. */
static bool replay_by_filter(struct replay *replay, const json_t *request)
{
	struct history_question question = { .journal = replay->daemon->journal, .reply = replay->reply };

	if (!jobs_read_query(replay->reply, request, &question.query))
		return false;
	if (!has_filter(&question.query)) {
		control_fail(replay->reply, EINVAL, "replay needs job ids or at least one filter");
		return false;
	}
	replay->filtered = true;
	replay->failed = question.query.failed;
	replay->limit = question.query.limit;
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
	replay->count = jobs_read_ids(replay->reply, request, replay->ids);
	if (replay->count == 0)
		return false;
	replay_begin(replay);
	return true;
}

static bool replay_read_options(struct replay *replay, const json_t *request)
{
	return reply_get_bool(replay->reply, request, "current", &replay->current) &&
	       reply_get_bool(replay->reply, request, "again", &replay->again) &&
	       reply_get_bool(replay->reply, request, "dry_run", &replay->dry_run);
}

void command_replay(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "jobs", "current", "again", "dry_run", JOBS_QUERY_KEYS, NULL };
	struct replay *replay = calloc(1, sizeof *replay);

	if (!replay) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	replay->daemon = data;
	replay->reply = reply;
	bool begun =
		reply_known_keys(reply, request, keys) && replay_read_options(replay, request) &&
		(json_object_get(request, "jobs") ? replay_by_ids(replay, request) : replay_by_filter(replay, request));
	if (!begun)
		free(replay);
}
