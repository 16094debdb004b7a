/* journal_load.c - rows become jobs again. All jobs of a call are made before the first is
 * handed out: what the receiver does with the journal then cannot disturb the reading. */
#include "cleanup.h"
#include "event.h"
#include "job.h"
#include "journal_private.h"
#include "topic.h"
#include "script.h"
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>
#include <util.h>

/* What the jobs of one call share, and the jobs themselves. */
struct loading {
	void *events, *scripts; /* tsearch() trees by id */
	struct job_list jobs; /* linked by `loaded` */
};

static int by_event(const void *a, const void *b)
{
	uint64_t x = ((const struct event *)a)->id, y = ((const struct event *)b)->id;
	return x < y ? -1 : x > y;
}

static int by_revision(const void *a, const void *b)
{
	uint64_t x = ((const struct script *)a)->revision, y = ((const struct script *)b)->revision;
	return x < y ? -1 : x > y;
}

static void drop_loaded_event(void *event) { event_unref(event); }
static void drop_script(void *script) { script_unref(script); }

static void loading_done(struct loading *loading)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&loading->jobs))) {
		TAILQ_REMOVE(&loading->jobs, job, loaded);
		job_unref(job);
	}
	tdestroy(loading->events, drop_loaded_event);
	tdestroy(loading->scripts, drop_script);
}
#define _cleanup_loading_ _cleanup_(loading_done)

static int row_damaged(struct journal *journal, const char *what, uint64_t id, const char *how, struct lsn_error *err)
{
	return lsn_error_set(err, -EUCLEAN, "journal %s: %s %" PRIu64 " is %s", journal->config.path, what, id, how);
}

static int read_event(struct journal *journal, uint64_t id, struct event **ret, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	struct event *event = NULL;
	int r = db_kept(journal, ST_GET_EVENT, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, id);
	r = db_step(journal, stmt, err);
	if (r <= 0)
		return r < 0 ? r : row_damaged(journal, "event", id, "missing", err);
	const void *topic = sqlite3_column_blob(stmt, 4);
	size_t topic_size = (size_t)sqlite3_column_bytes(stmt, 4);
	if (!topic || topic_check_name(topic, topic_size, NULL) < 0)
		return row_damaged(journal, "event", id, "unreadable: its topic is not a valid topic", err);
	r = event_new(topic, topic_size, NULL, 0, &event);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory for event %" PRIu64, id);
	event->id = id;
	event->received_realtime_usec = column_u64(stmt, 0);
	event->state = sqlite3_column_int(stmt, 1) == EVENT_ACCEPTED ? EVENT_ACCEPTED : EVENT_REJECTED;
	(void)snprintf(event->reason, sizeof event->reason, "%s", column_text(stmt, 2));
	event->qos = sqlite3_column_int(stmt, 3);
	event->payload_size = (size_t)column_u64(stmt, 5);
	event->stored = true;
	*ret = event;
	return 0;
}

/* The tree holds one reference of each. */
static int share_event(struct journal *journal, struct loading *loading, uint64_t id, struct event **ret,
		       struct lsn_error *err)
{
	struct event key = { .id = id }, *event = NULL;
	struct event **found = tfind(&key, &loading->events, by_event);

	if (found) {
		*ret = *found;
		return 0;
	}
	int r = read_event(journal, id, &event, err);
	if (r < 0)
		return r;
	if (!tsearch(event, &loading->events, by_event)) {
		event_unref(event);
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	*ret = event;
	return 0;
}

static int share_script(struct journal *journal, struct loading *loading, uint64_t revision, struct script **ret,
			struct lsn_error *err)
{
	struct script key = { .revision = revision }, *script = NULL;
	struct script **found = tfind(&key, &loading->scripts, by_revision);

	if (found) {
		*ret = *found;
		return 0;
	}
	int r = journal_load_script(journal, revision, &script, err);
	if (r < 0)
		return r;
	if (!tsearch(script, &loading->scripts, by_revision)) {
		script_unref(script);
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	*ret = script;
	return 0;
}

/* stand_in_event, stand_in_script - for what cannot be read: enough to end the job, and to ask
 * an executor about it. */
static int stand_in_event(uint64_t id, struct event **ret)
{
	int r = event_new("", 0, NULL, 0, ret);

	if (r < 0)
		return r;
	(*ret)->id = id;
	(*ret)->stored = true;
	return 0;
}

static int stand_in_script(struct journal *journal, uint64_t name_id, uint64_t revision, struct script **ret)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	_cleanup_script_ struct script *script = calloc(1, sizeof *script);

	if (!script || db_kept(journal, ST_GET_NAME, &stmt, NULL) < 0)
		return -ENOMEM;
	bind_u64(stmt, 1, name_id);
	script->refs = 1;
	script->revision = revision;
	script->name = strdup(db_step(journal, stmt, NULL) > 0 ? column_text(stmt, 0) : "?");
	script->filter = strdup("");
	if (!script->name || !script->filter)
		return -ENOMEM;
	*ret = TAKE_PTR(script);
	return 0;
}

/* find_event, find_script - shared with other jobs of the call, or a stand-in, with *RET_WHY
 * saying why. One reference each. */
static int find_event(struct journal *journal, struct loading *loading, uint64_t id, struct event **ret, char **ret_why,
		      struct lsn_error *err)
{
	struct lsn_error why = { 0 };
	int r = share_event(journal, loading, id, ret, &why);

	if (r >= 0) {
		(void)event_ref(*ret);
		return 0;
	}
	if (r != -EUCLEAN)
		return lsn_error_set(err, r, "%s", why.message);
	*ret_why = strdup(why.message);
	return *ret_why && stand_in_event(id, ret) >= 0 ? 0 : lsn_error_set(err, -ENOMEM, "out of memory");
}

static int find_script(struct journal *journal, struct loading *loading, sqlite3_stmt *row, struct script **ret,
		       char **ret_why, struct lsn_error *err)
{
	struct lsn_error why = { 0 };
	int r = share_script(journal, loading, column_u64(row, 8), ret, &why);

	if (r >= 0) {
		(void)script_ref(*ret);
		return 0;
	}
	if (r != -EUCLEAN)
		return lsn_error_set(err, r, "%s", why.message);
	free(*ret_why);
	*ret_why = strdup(why.message);
	return *ret_why && stand_in_script(journal, column_u64(row, 9), column_u64(row, 8), ret) >= 0
		       ? 0
		       : lsn_error_set(err, -ENOMEM, "out of memory");
}

static void fill_job(struct job *job, sqlite3_stmt *stmt)
{
	uint64_t state = column_u64(stmt, 1);

	job->state = state < JOB_STATE_MAX ? (enum job_state)state : JOB_LOST;
	job->stored_state = job->state;
	job->abi.attempt = (uint32_t)column_u64(stmt, 2);
	job->object = column_u64(stmt, 3);
	job->not_before_realtime_usec = column_u64(stmt, 4);
	job->created_realtime_usec = column_u64(stmt, 5);
	job->abi.replay_of = column_u64(stmt, 6);
	job->outcome = (enum lsn_outcome)sqlite3_column_int(stmt, 10);
	(void)snprintf(job->executor, sizeof job->executor, "%s", column_text(stmt, 11));
	(void)snprintf(job->place, sizeof job->place, "%s", column_text(stmt, 12));
	job->abi.started_realtime_usec = column_u64(stmt, 13);
	job->stored = true;
}

static int read_job(struct journal *journal, struct loading *loading, sqlite3_stmt *stmt, struct lsn_error *err)
{
	_cleanup_event_ struct event *event = NULL;
	_cleanup_script_ struct script *script = NULL;
	_cleanup_free_ char *why = NULL;
	struct job *job;
	int r = find_event(journal, loading, column_u64(stmt, 7), &event, &why, err);

	if (r >= 0)
		r = find_script(journal, loading, stmt, &script, &why, err);
	if (r < 0 || !event || !script) /* both or an error: said for the analyser */
		return lsn_error_prefix(err, r, "job %" PRIu64, column_u64(stmt, 0));
	event->object = column_u64(stmt, 3); /* spares reading the payload */
	r = job_new(column_u64(stmt, 0), event, script, &job);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	fill_job(job, stmt);
	job->unreadable = TAKE_PTR(why);
	TAILQ_INSERT_TAIL(&loading->jobs, job, loaded);
	return 0;
}

static int read_jobs(struct journal *journal, struct loading *loading, sqlite3_stmt *stmt, struct lsn_error *err)
{
	int r;

	while ((r = db_step(journal, stmt, err)) > 0) {
		r = read_job(journal, loading, stmt, err);
		if (r < 0)
			return r;
	}
	return r;
}

static void hand_out(struct loading *loading, journal_job_fn fn, void *data)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&loading->jobs))) {
		TAILQ_REMOVE(&loading->jobs, job, loaded);
		fn(data, job);
	}
}

/* load_waiting - what STMT finds; parameters 4 and later are bound. */
static int load_waiting(struct journal *journal, sqlite3_stmt *stmt, const char *script_name, uint64_t from,
			unsigned limit, struct loading *loading, struct lsn_error *err)
{
	bind_text(stmt, 1, script_name);
	bind_u64(stmt, 2, from);
	bind_u64(stmt, 3, limit);
	return read_jobs(journal, loading, stmt, err);
}

int journal_load_queued(struct journal *journal, const char *script_name, uint64_t after, unsigned limit,
			journal_job_fn fn, void *data, struct lsn_error *err)
{
	_cleanup_loading_ struct loading loading = { .jobs = TAILQ_HEAD_INITIALIZER(loading.jobs) };
	sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_LOAD_QUEUED, &stmt, err);

	if (r >= 0)
		r = load_waiting(journal, stmt, script_name, after, limit, &loading, err);
	(void)sqlite3_reset(stmt);
	if (r >= 0)
		hand_out(&loading, fn, data);
	return r;
}

int journal_load_object(struct journal *journal, const char *script_name, uint64_t object, uint64_t from, uint64_t last,
			unsigned limit, journal_job_fn fn, void *data, struct lsn_error *err)
{
	_cleanup_loading_ struct loading loading = { .jobs = TAILQ_HEAD_INITIALIZER(loading.jobs) };
	sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_LOAD_OBJECT, &stmt, err);

	if (r >= 0) {
		bind_u64(stmt, 4, last);
		bind_u64(stmt, 5, object);
		r = load_waiting(journal, stmt, script_name, from, limit, &loading, err);
	}
	(void)sqlite3_reset(stmt);
	if (r >= 0)
		hand_out(&loading, fn, data);
	return r;
}

int journal_load_running(struct journal *journal, journal_job_fn fn, void *data, struct lsn_error *err)
{
	_cleanup_loading_ struct loading loading = { .jobs = TAILQ_HEAD_INITIALIZER(loading.jobs) };
	struct job *job;
	int r;
	{
		_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
		/* "+": sort the few, rather than walk all jobs because they come in order. */
		r = db_prepare(journal,
			       SQL_JOB_COLUMNS " WHERE j." SQL_UNFINISHED " AND j.state IN (1, 2, 3) ORDER BY +j.id",
			       &stmt, err);
		if (r < 0)
			return r;
		r = read_jobs(journal, &loading, stmt, err);
	}
	if (r < 0)
		return r;
	TAILQ_FOREACH (job, &loading.jobs, loaded)
		job->state = JOB_RECOVERING;
	hand_out(&loading, fn, data);
	return 0;
}

int journal_list_waiting(struct journal *journal, void (*fn)(void *data, const char *script_name, uint64_t jobs),
			 void *data, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(journal,
			   "SELECT n.name, w.jobs FROM (SELECT script, count(*) AS jobs FROM jobs WHERE " SQL_WAITING
			   " GROUP BY script) w"
			   " JOIN script_names n ON n.id = w.script",
			   &stmt, err);

	while (r >= 0 && (r = db_step(journal, stmt, err)) > 0)
		fn(data, column_text(stmt, 0), column_u64(stmt, 1));
	return r;
}

int journal_load_job(struct journal *journal, uint64_t id, struct job **ret, struct lsn_error *err)
{
	_cleanup_loading_ struct loading loading = { .jobs = TAILQ_HEAD_INITIALIZER(loading.jobs) };
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_LOAD_JOB, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, id);
	r = read_jobs(journal, &loading, stmt, err);
	if (r < 0)
		return r;
	struct job *job = TAILQ_FIRST(&loading.jobs);
	if (!job)
		return lsn_error_set(err, -ENOENT, "there is no job %" PRIu64, id);
	TAILQ_REMOVE(&loading.jobs, job, loaded);
	*ret = job;
	return 0;
}
