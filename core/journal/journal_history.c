/* journal_history.c - what the control socket asks about the past. */
#include "job.h"
#include "journal_private.h"
#include "script.h"
#include "topic.h"
#include <errno.h>
#include <string.h>
#include <util.h>

#define LOOK_STEPS 1000 /* of SQLite's machine, between looks at the clock: some rows */
#define SPAN_FIRST 512 /* ids that a statement looks at, until it is known how long they take */
#define SPAN_MIN 16
#define SPAN_MAX (UINT64_C(1) << 32)
/* a clock that was set back may have put times out of the order of ids by so much */
#define CLOCK_SLACK_USEC (3600 * USEC_PER_SEC)

#define LATER_JOB                                                                                                      \
	" FROM jobs k INDEXED BY jobs_replays WHERE k.event = j.event AND k.script = j.script AND k." SQL_REPLAY       \
	" AND k.id > j.id"
#define JOB_ROWS                                                                                                       \
	"SELECT j.id, j.event, j.replay_of, n.name, r.version, r.filter, e.topic, ifnull(u.executor, ''),"             \
	" ifnull(u.place, ''), j.state, j.outcome, j.attempt, e.received, j.created, ifnull(u.started, 0),"            \
	" j.finished, ifnull(u.duration, 0), length(e.payload), ifnull(j.message, ifnull(u.message, '')),"             \
	" ifnull((SELECT max(k.id)" LATER_JOB "), 0), r.more_filters, j.object FROM jobs j"
#define JOB_JOINS                                                                                                      \
	" CROSS JOIN events e ON e.id = j.event CROSS JOIN revisions r ON r.id = j.revision"                           \
	" CROSS JOIN script_names n ON n.id = r.script LEFT JOIN runs u ON u.job = j.id AND u.attempt = j.attempt"     \
	" WHERE j.id >= ?1 AND j.id < ?2 AND j.created >= ?3 AND j.created <= ?4"

/* The terms name the partial indexes where one fits. */
static const char *const state_terms[JOB_STATE_MAX] = {
	[JOB_QUEUED] = (" AND j." SQL_UNFINISHED " AND j." SQL_WAITING " AND j.state = 0"),
	[JOB_STARTING] = (" AND j." SQL_UNFINISHED " AND j.state IN (1, 2, 3)"),
	[JOB_RUNNING] = (" AND j." SQL_UNFINISHED " AND j.state IN (1, 2, 3)"),
	[JOB_RECOVERING] = (" AND j." SQL_UNFINISHED " AND j.state IN (1, 2, 3)"),
	[JOB_BACKOFF] = (" AND j." SQL_UNFINISHED " AND j." SQL_WAITING " AND j.state = 4"),
	[JOB_FINISHED] = " AND j.state = 5",
	[JOB_LOST] = (" AND j." SQL_LOST),
};

/* 0 is success, 8 is cancelled. */
#define FAILED_TERM " AND j.state >= 5 AND j.outcome NOT IN (0, 8)"
_Static_assert(LSN_OUTCOME_SUCCESS == 0 && LSN_OUTCOME_CANCELLED == 8 && JOB_FINISHED == 5, "FAILED_TERM has them");

/* id_at - about the first job created at TIME or later: ids rise with time. Spares questions
 * about the last hour a walk through the last year. */
static int id_at(struct journal *journal, uint64_t time, uint64_t *ret, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	uint64_t low = 0, high = journal->job_ids.next;
	int r = db_prepare(journal, "SELECT created FROM jobs WHERE id >= ?1 ORDER BY id LIMIT 1", &stmt, err);

	while (r >= 0 && low < high) {
		uint64_t middle = low + (high - low) / 2;
		bind_u64(stmt, 1, middle);
		r = db_step(journal, stmt, err);
		if (r > 0 && column_u64(stmt, 0) < time)
			low = middle + 1;
		else
			high = middle;
		(void)sqlite3_reset(stmt);
	}
	*ret = low;
	return r < 0 ? r : 0;
}

/* id_range - between which ids the answer lies. */
static int id_range(struct journal *journal, const struct journal_query *query, uint64_t *ret_from,
		    uint64_t *ret_before, struct lsn_error *err)
{
	uint64_t since = query->since_realtime_usec, until = query->until_realtime_usec, first = 0, last;
	int r = 0;

	*ret_from = query->from_id;
	*ret_before = query->before_id && query->before_id < INT64_MAX ? query->before_id : INT64_MAX;
	if (since > CLOCK_SLACK_USEC)
		r = id_at(journal, since - CLOCK_SLACK_USEC, &first, err);
	if (r >= 0 && first > *ret_from)
		*ret_from = first;
	if (r >= 0 && until && until < INT64_MAX) {
		r = id_at(journal, until + CLOCK_SLACK_USEC, &last, err);
		if (r >= 0 && last < *ret_before)
			*ret_before = last;
	}
	return r;
}

/* index_for - what waits or is out is found without a walk over what has ended. Of one script
 * there is a list. */
static const char *index_for(const struct journal_query *query)
{
	bool unfinished = query->state >= 0 && query->state < JOB_FINISHED;

	return unfinished && !(query->script && (query->state == JOB_QUEUED || query->state == JOB_BACKOFF))
		       ? " INDEXED BY jobs_unfinished"
		       : "";
}

static int prepare_query(struct journal *journal, const struct journal_query *query, sqlite3_stmt **ret,
			 struct lsn_error *err)
{
	uint64_t since = query->since_realtime_usec, until = query->until_realtime_usec;
	char sql[2048];

	(void)snprintf(sql, sizeof sql, "%s%s%s%s%s%s%s%s ORDER BY j.id DESC", JOB_ROWS, index_for(query), JOB_JOINS,
		       query->script ? " AND j.script = (SELECT id FROM script_names WHERE name = ?5)" : "",
		       query->state >= 0 && query->state < JOB_STATE_MAX ? state_terms[query->state] : "",
		       query->outcome >= 0 ? " AND j.outcome = ?6" : "", query->failed ? FAILED_TERM : "",
		       query->latest ? " AND NOT EXISTS (SELECT 1" LATER_JOB ")" : "");
	int r = db_prepare(journal, sql, ret, err);
	if (r < 0)
		return r;
	bind_u64(*ret, 3, since < INT64_MAX ? since : INT64_MAX);
	bind_u64(*ret, 4, until && until < INT64_MAX ? until : INT64_MAX);
	if (query->script)
		bind_text(*ret, 5, query->script);
	if (query->outcome >= 0)
		(void)sqlite3_bind_int(*ret, 6, query->outcome);
	return 0;
}

static enum job_state shown_state(int state)
{
	if (state < 0 || state >= JOB_STATE_MAX)
		return JOB_LOST;
	/* The intent is what is committed; the hand-over follows at once and is not. */
	return state == JOB_STARTING || state == JOB_RECOVERING ? JOB_RUNNING : (enum job_state)state;
}

/* matching_filter - the first of the revision's, in the author's order, that the topic matches. */
static const char *matching_filter(sqlite3_stmt *stmt)
{
	const char *first = column_text(stmt, 5), *filter = column_filters(stmt, 20), *topic = column_text(stmt, 6);

	if (!filter || topic_matches(first, topic))
		return first;
	while (filter && !topic_matches(filter, topic))
		filter = filters_after(filter);
	return filter ? filter : first;
}

static void read_row(sqlite3_stmt *stmt, struct journal_job_row *row)
{
	*row = (struct journal_job_row){
		.id = column_u64(stmt, 0),
		.event = column_u64(stmt, 1),
		.replay_of = column_u64(stmt, 2),
		.script = column_text(stmt, 3),
		.version = column_text(stmt, 4),
		.filter = matching_filter(stmt),
		.topic = column_text(stmt, 6),
		.executor = column_text(stmt, 7),
		.place = column_text(stmt, 8),
		.state = shown_state(sqlite3_column_int(stmt, 9)),
		.outcome = sqlite3_column_type(stmt, 10) == SQLITE_NULL ? -1 : sqlite3_column_int(stmt, 10),
		.attempt = (unsigned)column_u64(stmt, 11),
		.received_realtime_usec = column_u64(stmt, 12),
		.created_realtime_usec = column_u64(stmt, 13),
		.started_realtime_usec = column_u64(stmt, 14),
		.finished_realtime_usec = column_u64(stmt, 15),
		.duration_usec = column_u64(stmt, 16),
		.payload_size = column_u64(stmt, 17),
		.message = column_text(stmt, 18),
		.superseded_by = column_u64(stmt, 19),
		.object = column_u64(stmt, 21),
	};
}

static int look_at_clock(void *deadline) { return now_monotonic_usec() > *(const uint64_t *)deadline; }

struct look { /* one call of journal_ask_jobs() */
	struct journal *journal;
	const struct journal_query *query;
	struct journal_cursor *cursor;
	sqlite3_stmt *stmt;
	uint64_t deadline;
	bool (*fn)(void *data, const struct journal_job_row *row);
	void *data;
	bool stopped; /* by FN, or by the query's limit */
};

static int look_begin(struct look *look, struct lsn_error *err)
{
	struct journal_cursor *cursor = look->cursor;
	uint64_t next = look->journal->job_ids.next;

	if (cursor->begun)
		return 0;
	int r = id_range(look->journal, look->query, &cursor->from, &cursor->before, err);
	if (r < 0)
		return r;
	if (cursor->before > next + 1)
		cursor->before = next + 1;
	cursor->span = SPAN_FIRST;
	cursor->begun = true;
	return 0;
}

static void look_give(struct look *look)
{
	const struct journal_query *query = look->query;
	struct journal_job_row row;

	read_row(look->stmt, &row);
	look->cursor->before = row.id; /* from here it goes on, whatever happens */
	if (query->topic && !topic_matches(query->topic, row.topic))
		return;
	look->cursor->given++;
	look->stopped = !look->fn(look->data, &row) || look->cursor->given >= query->limit;
}

/* look_rows - the rows of one span. 0: all of them; 1: not all, the time is over or FN has
 * stopped. */
static int look_rows(struct look *look, uint64_t low, struct lsn_error *err)
{
	struct lsn_error why = { 0 };
	int r;

	(void)sqlite3_reset(look->stmt);
	bind_u64(look->stmt, 1, low);
	bind_u64(look->stmt, 2, look->cursor->before);
	for (;;) {
		/* The handler is not there while FN uses the journal. */
		sqlite3_progress_handler(look->journal->db, LOOK_STEPS, look_at_clock, &look->deadline);
		r = db_step(look->journal, look->stmt, &why);
		sqlite3_progress_handler(look->journal->db, 0, NULL, NULL);
		if (r == -ETIME)
			return 1;
		if (r < 0)
			return lsn_error_set(err, r, "%s", why.message);
		if (r == 0)
			return 0;
		look_give(look);
		if (look->stopped || look_at_clock(&look->deadline))
			return 1;
	}
}

/* look_span - one span of ids; the next is larger if this one took no time, and smaller if it
 * was not done in time. */
static int look_span(struct look *look, struct lsn_error *err)
{
	struct journal_cursor *cursor = look->cursor;
	uint64_t before = cursor->before, start = now_monotonic_usec();
	uint64_t low = before - cursor->from > cursor->span ? before - cursor->span : cursor->from;

	int r = look_rows(look, low, err);
	if (r < 0 || look->stopped)
		return r;
	if (r == 0)
		cursor->before = low;
	else if (cursor->before == before && cursor->span > SPAN_MIN)
		cursor->span /= 8;
	if (r == 0 && now_monotonic_usec() - start < USEC_PER_MSEC && cursor->span < SPAN_MAX)
		cursor->span *= 4;
	return 0;
}

int journal_ask_jobs(struct journal *journal, const struct journal_query *query, struct journal_cursor *cursor,
		     uint64_t budget_usec, bool (*fn)(void *data, const struct journal_job_row *row), void *data,
		     struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	struct look look = { .journal = journal, .query = query, .cursor = cursor, .fn = fn, .data = data };

	look.deadline = now_monotonic_usec() + budget_usec;
	int r = look_begin(&look, err);
	if (r >= 0)
		r = prepare_query(journal, query, &stmt, err);
	look.stmt = stmt;
	/* The first span is looked at even if the time is over: each call gets on. */
	while (r >= 0 && !look.stopped && cursor->before > cursor->from) {
		r = look_span(&look, err);
		if (look_at_clock(&look.deadline))
			break;
	}
	if (r < 0)
		return r;
	return !look.stopped && cursor->before > cursor->from;
}

/* marked_later - likewise among what waits for the commit. */
static uint64_t marked_later(const struct journal *journal, const struct job *job, uint64_t latest)
{
	const struct job *other;

	TAILQ_FOREACH (other, &journal->jobs, marked)
		if (other->abi.id > latest && other->abi.event == job->abi.event &&
		    streq(other->script->name, job->script->name))
			latest = other->abi.id;
	return latest;
}

int journal_superseded_by(struct journal *journal, const struct job *job, uint64_t *ret_id, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_SUPERSEDED, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, job->abi.event);
	bind_text(stmt, 2, job->script->name);
	bind_u64(stmt, 3, job->abi.id);
	r = db_step(journal, stmt, err);
	if (r < 0)
		return r;
	uint64_t stored = r > 0 ? column_u64(stmt, 0) : 0, least = stored ? stored : job->abi.id;
	uint64_t latest = marked_later(journal, job, least);
	*ret_id = latest > job->abi.id ? latest : 0;
	return 0;
}

int journal_each_run(struct journal *journal, uint64_t job, void (*fn)(void *data, const struct journal_run_row *row),
		     void *data, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(
		journal,
		"SELECT attempt, executor, place, message, outcome, exit_status, signal, started, duration, user, "
		"system, max_rss, out, err,"
		" out_truncated, err_truncated FROM runs WHERE job = ?1 ORDER BY attempt",
		&stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, job);
	while ((r = db_step(journal, stmt, err)) > 0) {
		const struct journal_run_row row = {
			.attempt = (unsigned)column_u64(stmt, 0),
			.executor = column_text(stmt, 1),
			.place = column_text(stmt, 2),
			.message = column_text(stmt, 3),
			.outcome = sqlite3_column_type(stmt, 4) == SQLITE_NULL ? -1 : sqlite3_column_int(stmt, 4),
			.exit_status = sqlite3_column_int(stmt, 5),
			.signal = sqlite3_column_int(stmt, 6),
			.started_realtime_usec = column_u64(stmt, 7),
			.duration_usec = column_u64(stmt, 8),
			.user_usec = column_u64(stmt, 9),
			.system_usec = column_u64(stmt, 10),
			.max_rss_bytes = column_u64(stmt, 11),
			.out = sqlite3_column_blob(stmt, 12),
			.err = sqlite3_column_blob(stmt, 13),
			.out_size = (size_t)sqlite3_column_bytes(stmt, 12),
			.err_size = (size_t)sqlite3_column_bytes(stmt, 13),
			.out_truncated = sqlite3_column_int(stmt, 14) != 0,
			.err_truncated = sqlite3_column_int(stmt, 15) != 0,
		};
		fn(data, &row);
	}
	return r;
}

int journal_each_rejected(struct journal *journal, unsigned limit,
			  void (*fn)(void *data, uint64_t id, uint64_t received_realtime_usec, const void *topic,
				     size_t topic_size, const char *reason),
			  void *data, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(journal,
			   "SELECT id, received, topic, reason FROM events WHERE state = 1 ORDER BY id DESC LIMIT ?1",
			   &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, limit);
	while ((r = db_step(journal, stmt, err)) > 0) {
		const void *topic = sqlite3_column_blob(stmt, 2);
		fn(data, column_u64(stmt, 0), column_u64(stmt, 1), topic ? topic : "",
		   (size_t)sqlite3_column_bytes(stmt, 2), column_text(stmt, 3));
	}
	return r;
}
