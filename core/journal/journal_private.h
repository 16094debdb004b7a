/* journal_private.h - what the files of the journal share.
 *
 *   journal.c           open, close, ids, marks, commit
 *   journal_db.c        SQLite: statements, transactions, errors
 *   journal_open.c      the database is opened, with its settings
 *   journal_schema.c    the schema and its history
 *   journal_scripts.c   registry, revisions, contents
 *   journal_holds.c     holds
 *   journal_load.c      rows become jobs again
 *   journal_history.c   questions of the control socket
 *   journal_capacity.c  figures and limits
 *   journal_prune.c     retention
 */
#ifndef CORE_JOURNAL_PRIVATE_H
#define CORE_JOURNAL_PRIVATE_H

#include "cleanup.h"
#include "event.h"
#include "hold.h"
#include "job.h"
#include "journal.h"
#include <sqlite3.h>

/* States as the schema's indexes know them (a row keeps its number for ever): below 5
 * unfinished. */
_Static_assert(JOB_QUEUED == 0 && JOB_STARTING == 1 && JOB_RUNNING == 2 && JOB_RECOVERING == 3 && JOB_BACKOFF == 4 &&
		       JOB_FINISHED == 5 && JOB_LOST == 6 && JOB_STATE_MAX == 7,
	       "job states are stored as numbers: renumbering needs a migration");
_Static_assert(HOLD_ALL == 0 && HOLD_EXECUTOR == 1 && HOLD_SCRIPT == 2 && HOLD_OBJECT == 3 && HOLD_PAUSE == 0 &&
		       HOLD_LOOP == 1,
	       "scopes and kinds of holds are stored as numbers: renumbering needs a migration");
_Static_assert(EVENT_ACCEPTED == 0 && EVENT_REJECTED == 1,
	       "event states are stored as numbers: renumbering needs a migration");
#define SQL_WAITING "state IN (0, 4)"
#define SQL_UNFINISHED "state < 5"
#define SQL_LOST "state = 6"
#define SQL_REPLAY "replay_of > 0"

/* What journal_load.c reads of a job. */
#define SQL_JOB_COLUMNS                                                                                                \
	"SELECT j.id, j.state, j.attempt, j.object, j.not_before, j.created, j.replay_of, j.event, j.revision,"        \
	" j.script, j.outcome, u.executor, u.place, u.started"                                                         \
	" FROM jobs j LEFT JOIN runs u ON u.job = j.id AND u.attempt = j.attempt"

/* Statements that are kept, prepared on first use. */
enum statement {
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_SAVE_IDS,
	ST_PUT_EVENT,
	ST_ADD_JOB,
	ST_UPDATE_JOB,
	ST_START_RUN,
	ST_END_RUN,
	ST_DROP_UNSTARTED,
	ST_DROP_WINDOW,
	ST_PUT_WINDOW,
	ST_PAGES,
	ST_FREE_PAGES,
	ST_OLDEST,
	ST_GET_EVENT,
	ST_GET_PAYLOAD,
	ST_GET_REVISION,
	ST_GET_NAME,
	ST_LOAD_QUEUED,
	ST_LOAD_OBJECT,
	ST_LOAD_JOB,
	ST_SUPERSEDED,
	ST_ADD_NAME,
	ST_FIND_NAME,
	ST_ADD_CONTENT,
	ST_CONTENT_SIZE,
	ST_GET_CONTENT,
	ST_ADD_REVISION,
	ST_FIND_REVISION,
	ST_PUT_SCRIPT,
	ST_DROP_SCRIPT,
	ST_PUT_HOLD,
	ST_DROP_HOLD,
	ST_MAX
};

/* Ids are handed out before the commit that stores them, and an executor may name a place after
 * one at once.
 * So the journal promises a range on disk before any of it is used; what a crash leaves of the
 * range is never used. */
struct id_range {
	uint64_t next; /* to hand out */
	uint64_t promised; /* ids below are safe to hand out */
	uint64_t used; /* since the last promise: how much the next should hold */
};

struct journal_counts {
	int64_t events, states[JOB_STATE_MAX];
};

struct journal_sample { /* sizes, looked at now and then */
	uint64_t taken_usec, commits; /* CLOCK_MONOTONIC; figures.commits then; 0: never */
	uint64_t file_bytes; /* database and WAL */
	uint64_t pages, free_pages; /* of the database; free ones wait for reuse */
	/* what counts against the limit: pages in use and the WAL. The file may lag behind until
	 * the next checkpoint. */
	uint64_t used_bytes;
	uint64_t disk_free_bytes;
};

#define GARBAGE_MAX 256

struct journal_prune {
	uint64_t job_cursor, event_cursor; /* where the pass goes on; 0: at the beginning */
	/* Revisions that no script uses. A walk over all jobs strikes out those that a job uses;
	 * the rest goes. */
	uint64_t garbage[GARBAGE_MAX];
	size_t garbage_count;
	uint64_t revision_cursor, walk_cursor;
	uint64_t walked_usec; /* CLOCK_MONOTONIC, when the last walk ended */
};

struct journal {
	struct journal_config config;
	char *wal_path;
	int lock_fd;
	sqlite3 *db;
	sqlite3_stmt *kept[ST_MAX];
	uint64_t page_bytes;

	struct id_range event_ids, job_ids;
	bool promise_failed; /* until the next commit: do not try again for each id */
	bool in_scripts; /* between journal_scripts_begin() and _end() */

	struct event_list events; /* marked */
	struct job_list jobs;
	struct job_result_list results;
	void *window;
	size_t window_size;
	bool window_dirty;
	bool window_whole; /* replaces what is stored */

	struct journal_counts counts; /* of what is committed */
	struct journal_figures figures; /* the commit figures only */
	struct journal_sample sample;
	uint64_t oldest, oldest_usec; /* cached answer and when (CLOCK_MONOTONIC) */
	struct journal_prune prune;
};

/* --------------------------------------------------------------------------------- journal_db.c */
void db_close(struct journal *journal);

/* db_error - what SQLite's last error on this connection, RC, is to us, with a message. */
int db_error(struct journal *journal, int rc, struct lsn_error *err);
int db_exec(struct journal *journal, const char *sql, struct lsn_error *err);

/* db_kept - the statement, reset and ready to be bound; use _cleanup_reset_. */
int db_kept(struct journal *journal, enum statement which, sqlite3_stmt **ret, struct lsn_error *err);
int db_prepare(struct journal *journal, const char *sql, sqlite3_stmt **ret, struct lsn_error *err);

/* db_step - 1: a row; 0: done (the statement is reset); negative: failed (it is reset). */
int db_step(struct journal *journal, sqlite3_stmt *stmt, struct lsn_error *err);

/* db_run - a statement without rows, to its end. */
int db_run(struct journal *journal, sqlite3_stmt *stmt, struct lsn_error *err);

/* db_number - the first column of SQL's first row; 0 if there is none. */
int db_number(struct journal *journal, const char *sql, int64_t *ret, struct lsn_error *err);
int db_begin(struct journal *journal, struct lsn_error *err);
int db_commit(struct journal *journal, struct lsn_error *err);
void db_rollback(struct journal *journal);

static inline void db_finalizep(sqlite3_stmt **stmt) { (void)sqlite3_finalize(*stmt); }
static inline void db_resetp(sqlite3_stmt **stmt)
{
	if (*stmt) {
		(void)sqlite3_reset(*stmt);
		(void)sqlite3_clear_bindings(*stmt);
	}
}
#define _cleanup_finalize_ _cleanup_(db_finalizep) /* db_prepare()d */
#define _cleanup_reset_ _cleanup_(db_resetp) /* db_kept() */

static inline void bind_u64(sqlite3_stmt *stmt, int at, uint64_t value)
{
	(void)sqlite3_bind_int64(stmt, at, (sqlite3_int64)value);
}
static inline void bind_text(sqlite3_stmt *stmt, int at, const char *value)
{
	(void)sqlite3_bind_text(stmt, at, value, -1, SQLITE_STATIC);
}
static inline uint64_t column_u64(sqlite3_stmt *stmt, int at) { return (uint64_t)sqlite3_column_int64(stmt, at); }
static inline const char *column_text(sqlite3_stmt *stmt, int at) /* never NULL */
{
	const char *text = (const char *)sqlite3_column_text(stmt, at);
	return text ? text : "";
}

/* column_filters - a revision's more_filters, NULL if it has none or they are damaged. */
static inline const char *column_filters(sqlite3_stmt *stmt, int at)
{
	const char *filters = sqlite3_column_blob(stmt, at);
	size_t size = (size_t)sqlite3_column_bytes(stmt, at);
	return filters && size > 2 && !filters[size - 1] && !filters[size - 2] ? filters : NULL;
}

/* --------------------------------------------------------------------------------------- others */

/* journal_open.c: PATH must exist.
 * On failure db_close() is still to be called. */
int db_open(struct journal *journal, struct lsn_error *err);

/* journal_schema.c: is the file ours to write to?
 * Bring it up to date. */
int journal_check_file(struct journal *journal, struct lsn_error *err);
int journal_migrate(struct journal *journal, struct lsn_error *err);

/* journal_capacity.c: fill counts from the rows */
int journal_count(struct journal *journal, struct lsn_error *err);

/* journal_capacity.c: look at the sizes unless done just now */
int journal_sample(struct journal *journal, struct lsn_error *err);

/* journal_load.c: REVISION as a new script object; -EUCLEAN: there is none. */
int journal_load_script(struct journal *journal, uint64_t revision, struct script **ret, struct lsn_error *err);

#endif
