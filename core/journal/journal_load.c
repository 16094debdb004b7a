/* journal_load.c - rows become jobs again. All jobs of a call are made before the first is
 * handed out: what the receiver does with the journal then cannot disturb the reading. */
#include "cleanup.h"
#include "event.h"
#include "job.h"
#include "journal_private.h"
#include "script.h"
#include <errno.h>
#include <search.h>
#include <string.h>
#include <util.h>

#define JOB_COLUMNS                                                                                                                            \
	"SELECT j.id, j.state, j.attempt, j.object, j.not_before, j.created, j.replay_of, j.event, j.revision, u.executor, u.place, u.started" \
	" FROM jobs j LEFT JOIN runs u ON u.job = j.id AND u.attempt = j.attempt "

/* What the jobs of one call share, and the jobs themselves. */
struct loading {
	void *events, *scripts; /* tsearch() trees by id */
	struct job_list jobs; /* linked by `queue` */
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
		TAILQ_REMOVE(&loading->jobs, job, queue);
		job_unref(job);
	}
	tdestroy(loading->events, drop_loaded_event);
	tdestroy(loading->scripts, drop_script);
}
#define _cleanup_loading_ _cleanup_(loading_done)

static int read_event(struct journal *journal, uint64_t id, struct event **ret, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	struct event *event = NULL;
	int r = db_kept(journal, ST_GET_EVENT, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, id);
	r = db_step(journal, stmt, err);
	if (r < 0)
		return r;
	if (r == 0)
		return lsn_error_set(err, -EUCLEAN, "journal %s: event %llu is missing", journal->config.path,
				     (unsigned long long)id);
	const void *topic = sqlite3_column_blob(stmt, 4), *payload = sqlite3_column_blob(stmt, 5);
	r = event_new(topic, (size_t)sqlite3_column_bytes(stmt, 4), payload, (size_t)sqlite3_column_bytes(stmt, 5),
		      &event);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory for event %llu", (unsigned long long)id);
	event->id = id;
	event->received_realtime_usec = column_u64(stmt, 0);
	event->state = sqlite3_column_int(stmt, 1) == EVENT_ACCEPTED ? EVENT_ACCEPTED : EVENT_REJECTED;
	(void)snprintf(event->reason, sizeof event->reason, "%s", column_text(stmt, 2));
	event->qos = sqlite3_column_int(stmt, 3);
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

static int read_job(struct journal *journal, struct loading *loading, sqlite3_stmt *stmt, struct lsn_error *err)
{
	struct event *event = NULL;
	struct script *script = NULL;
	struct job *job;
	int r = share_event(journal, loading, column_u64(stmt, 7), &event, err);

	if (r >= 0)
		r = share_script(journal, loading, column_u64(stmt, 8), &script, err);
	if (r < 0 || !event || !script) /* both or an error: said for the analyser */
		return lsn_error_prefix(err, r, "job %llu", (unsigned long long)column_u64(stmt, 0));
	event->object = column_u64(stmt, 3); /* spares reading the payload again */
	r = job_new(column_u64(stmt, 0), event, script, &job);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	uint64_t state = column_u64(stmt, 1);
	job->state = state < JOB_STATE_MAX ? (enum job_state)state : JOB_LOST;
	job->abi.attempt = (uint32_t)column_u64(stmt, 2);
	job->not_before_realtime_usec = column_u64(stmt, 4);
	job->created_realtime_usec = column_u64(stmt, 5);
	job->abi.replay_of = column_u64(stmt, 6);
	(void)snprintf(job->executor, sizeof job->executor, "%s", column_text(stmt, 9));
	(void)snprintf(job->place, sizeof job->place, "%s", column_text(stmt, 10));
	job->abi.started_realtime_usec = column_u64(stmt, 11);
	job->stored = true;
	TAILQ_INSERT_TAIL(&loading->jobs, job, queue);
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
		TAILQ_REMOVE(&loading->jobs, job, queue);
		fn(data, job);
	}
}

int journal_load_queued(struct journal *journal, const char *script_name, uint64_t after, unsigned limit,
			journal_job_fn fn, void *data, struct lsn_error *err)
{
	_cleanup_loading_ struct loading loading = { .jobs = TAILQ_HEAD_INITIALIZER(loading.jobs) };
	int r;
	{
		_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
		r = db_prepare(journal,
			       JOB_COLUMNS
			       "WHERE j.script = (SELECT id FROM script_names WHERE name = ?1) AND j." SQL_WAITING
			       " AND j.id > ?2 ORDER BY j.id LIMIT ?3",
			       &stmt, err);
		if (r < 0)
			return r;
		bind_text(stmt, 1, script_name);
		bind_u64(stmt, 2, after);
		bind_u64(stmt, 3, limit);
		r = read_jobs(journal, &loading, stmt, err);
	}
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
			       JOB_COLUMNS "WHERE j." SQL_UNFINISHED " AND j.state IN (1, 2, 3) ORDER BY +j.id", &stmt,
			       err);
		if (r < 0)
			return r;
		r = read_jobs(journal, &loading, stmt, err);
	}
	if (r < 0)
		return r;
	TAILQ_FOREACH (job, &loading.jobs, queue)
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

/* read_result - of JOB's last attempt, if it ended. */
static int read_result(struct journal *journal, struct job *job, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(
		journal,
		"SELECT outcome, exit_status, signal, out_truncated, err_truncated, started, duration, user, "
		"system, max_rss, out, err, message"
		" FROM runs WHERE job = ?1 AND attempt = ?2 AND outcome IS NOT NULL",
		&stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, job->abi.id);
	bind_u64(stmt, 2, job->abi.attempt);
	r = db_step(journal, stmt, err);
	if (r <= 0)
		return r;
	struct lsn_result result = {
		.version = LSN_ABI_VERSION,
		.size = sizeof result,
		.outcome = (uint32_t)column_u64(stmt, 0),
		.exit_status = sqlite3_column_int(stmt, 1),
		.signal = sqlite3_column_int(stmt, 2),
		.out_truncated = (uint32_t)column_u64(stmt, 3),
		.err_truncated = (uint32_t)column_u64(stmt, 4),
		.started_realtime_usec = column_u64(stmt, 5),
		.duration_usec = column_u64(stmt, 6),
		.user_usec = column_u64(stmt, 7),
		.system_usec = column_u64(stmt, 8),
		.max_rss_bytes = column_u64(stmt, 9),
		.out = sqlite3_column_blob(stmt, 10),
		.err = sqlite3_column_blob(stmt, 11),
		.out_size = (size_t)sqlite3_column_bytes(stmt, 10),
		.err_size = (size_t)sqlite3_column_bytes(stmt, 11),
	};
	(void)snprintf(result.message, sizeof result.message, "%s", column_text(stmt, 12));
	return job_set_result(job, &result) < 0 ? lsn_error_set(err, -ENOMEM, "out of memory") : 0;
}

int journal_load_job(struct journal *journal, uint64_t id, struct job **ret, struct lsn_error *err)
{
	_cleanup_loading_ struct loading loading = { .jobs = TAILQ_HEAD_INITIALIZER(loading.jobs) };
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(journal, JOB_COLUMNS "WHERE j.id = ?1", &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, id);
	r = read_jobs(journal, &loading, stmt, err);
	struct job *job = TAILQ_FIRST(&loading.jobs);
	if (r >= 0 && !job)
		return lsn_error_set(err, -ENOENT, "there is no job %llu", (unsigned long long)id);
	if (r >= 0)
		r = read_result(journal, job, err);
	if (r < 0)
		return r;
	TAILQ_REMOVE(&loading.jobs, job, queue);
	*ret = job;
	return 0;
}
