/* journal_db.c - SQLite as the journal uses it: one connection, statements prepared once,
 * SQLITE_* codes turned into ours. */
#include "journal_private.h"
#include <errno.h>
#include <string.h>
#include <util.h>

static const char *const statements[ST_MAX] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_SAVE_IDS] = "UPDATE ids SET next_event = ?1, next_job = ?2",
	[ST_PUT_EVENT] =
		"INSERT INTO events(id, received, state, reason, qos, topic, payload) VALUES(?1, ?2, ?3, ?4, ?5, "
		"?6, ?7)",
	[ST_ADD_JOB] = "INSERT INTO jobs(id, event, revision, script, object, created, replay_of, state, attempt,"
		       " not_before, finished, outcome,"
		       " message) VALUES(?1, ?7, ?8, (SELECT script FROM revisions WHERE id = ?8), ?9, ?10, ?11, ?2,"
		       " ?3, ?4, iif(?2 < 5, 0, ?5), ?6, ?12)",
	/* Marking a finished job again must not make it finish later. */
	[ST_UPDATE_JOB] =
		"UPDATE jobs SET state = ?2, attempt = ?3, not_before = ?4,"
		" finished = iif(?2 < 5, 0, iif(finished > 0, finished, ?5)), outcome = ?6, message = ?12 WHERE id "
		"= ?1",
	/* A start makes the row of its attempt anew: an attempt that certainly never began is
	 * given its number again. ?6: keep the time. */
	[ST_START_RUN] =
		"INSERT INTO runs(job, attempt, executor, place, started) VALUES(?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT(job, attempt) DO UPDATE SET executor = excluded.executor, place = excluded.place,"
		" started = iif(?6, started, excluded.started), duration = 0, outcome = NULL, exit_status = 0, "
		"signal = 0, user = 0,"
		" system = 0, max_rss = 0, out_truncated = 0, err_truncated = 0, message = '', out = NULL, err = NULL",
	/* What a run has been recorded to have come to stays, unless that was only that it could
	 * not be known (10: LOST). */
	[ST_END_RUN] =
		"INSERT INTO runs(job, attempt, executor, place, started, duration, outcome, exit_status, signal, user,"
		" system, max_rss, out_truncated, err_truncated, message, out, err)"
		" SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17"
		" WHERE EXISTS(SELECT 1 FROM jobs WHERE id = ?1)"
		" ON CONFLICT(job, attempt) DO UPDATE SET started = iif(excluded.started > 0, excluded.started,"
		" started),"
		" duration = excluded.duration, outcome = excluded.outcome, exit_status = excluded.exit_status,"
		" signal = excluded.signal,"
		" user = excluded.user, system = excluded.system, max_rss = excluded.max_rss, out_truncated ="
		" excluded.out_truncated,"
		" err_truncated = excluded.err_truncated, message = excluded.message, out = excluded.out, err ="
		" excluded.err"
		" WHERE runs.outcome IS NULL OR runs.outcome = 10",
	[ST_DROP_UNSTARTED] = "DELETE FROM runs WHERE job = ?1 AND attempt > ?2 AND outcome IS NULL",
	[ST_DROP_WINDOW] = "DELETE FROM window",
	[ST_PUT_WINDOW] = "INSERT INTO window(data) VALUES(?1)",
	[ST_PAGES] = "PRAGMA page_count",
	[ST_FREE_PAGES] = "PRAGMA freelist_count",
	[ST_OLDEST] = "SELECT received FROM events WHERE id = (SELECT event FROM jobs WHERE " SQL_UNFINISHED
		      " ORDER BY id LIMIT 1)",
	[ST_GET_EVENT] = "SELECT received, state, reason, qos, topic, length(payload) FROM events WHERE id = ?1",
	[ST_GET_PAYLOAD] = "SELECT payload FROM events WHERE id = ?1",
	[ST_GET_REVISION] =
		"SELECT n.name, r.version, r.filter, v.size, r.timeout, r.memory, r.output, r.executor, r.on_lost, "
		"r.retries,"
		" r.retry_delay, r.retry_on, r.more_filters, r.input, r.loop, r.rate_period"
		" FROM revisions r JOIN script_names n ON n.id = r.script"
		" JOIN versions v "
		"ON v.hash = r.version"
		" WHERE r.id = ?1",
	[ST_GET_NAME] = "SELECT name FROM script_names WHERE id = ?1",
	[ST_LOAD_QUEUED] = SQL_JOB_COLUMNS
	" WHERE j.script = (SELECT id FROM script_names WHERE name = ?1) AND j." SQL_WAITING
	" AND j.id > ?2 ORDER BY j.id LIMIT ?3",
	[ST_LOAD_OBJECT] = SQL_JOB_COLUMNS
	" WHERE j.script = (SELECT id FROM script_names WHERE name = ?1) AND j." SQL_WAITING
	" AND j.id BETWEEN ?2 AND ?4 AND j.object = ?5 ORDER BY j.id LIMIT ?3",
	[ST_LOAD_JOB] = SQL_JOB_COLUMNS " WHERE j.id = ?1",
	[ST_SUPERSEDED] =
		"SELECT max(id) FROM jobs INDEXED BY jobs_replays WHERE event = ?1 AND script = (SELECT id FROM "
		"script_names WHERE name = ?2) AND " SQL_REPLAY " AND id > ?3",
	[ST_ADD_NAME] = "INSERT OR IGNORE INTO script_names(name) VALUES(?1)",
	[ST_FIND_NAME] = "SELECT id FROM script_names WHERE name = ?1",
	[ST_ADD_CONTENT] = "INSERT OR IGNORE INTO versions(hash, size, content) VALUES(?1, ?2, ?3)",
	[ST_CONTENT_SIZE] = "SELECT size FROM versions WHERE hash = ?1",
	[ST_GET_CONTENT] = "SELECT content FROM versions WHERE hash = ?1",
	[ST_ADD_REVISION] =
		"INSERT INTO revisions(script, version, filter, timeout, memory, output, executor, on_lost, retries,"
		" retry_delay, retry_on, more_filters, input, loop, rate_period)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
	[ST_FIND_REVISION] =
		"SELECT id FROM revisions WHERE script = ?1 AND +version = ?2 AND filter = ?3 AND timeout = ?4"
		" AND memory = ?5 AND output = ?6 AND executor = ?7 AND on_lost = ?8 AND retries = ?9"
		" AND retry_delay = ?10 AND retry_on = ?11 AND more_filters IS ?12 AND input = ?13"
		" AND loop = ?14 AND rate_period = ?15"
		" ORDER BY id DESC LIMIT 1",
	[ST_PUT_SCRIPT] = "INSERT OR REPLACE INTO scripts(name, state, reason, source_key, revision, updated)"
			  " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
	[ST_DROP_SCRIPT] = "DELETE FROM scripts WHERE name = ?1",
	/* ?1 NULL: a new one */
	[ST_PUT_HOLD] = "INSERT OR REPLACE INTO holds(id, scope, kind, name, object, reason, by_uid, since, until)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
	[ST_DROP_HOLD] = "DELETE FROM holds WHERE id = ?1",
};

static int code_of(struct journal *journal, int rc)
{
	int system = journal->db ? sqlite3_system_errno(journal->db) : 0;

	switch (rc & 0xff) {
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_IOERR: return system == ENOSPC || system == EDQUOT || system == EROFS ? -system : -EIO;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_AUTH: return system > 0 ? -system : -EACCES;
	case SQLITE_READONLY: return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return -EBUSY;
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_INTERRUPT: return -ETIME;
	case SQLITE_TOOBIG: return -EFBIG;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return -EUCLEAN;
	case SQLITE_CONSTRAINT: return -EINVAL;
	default: return -EIO;
	}
}

static const char *remedy_of(int code)
{
	switch (code) {
	case -ENOSPC:
	case -EDQUOT: return ": make room on its file system";
	case -EBUSY: return ": another program holds it, end that one";
	case -EUCLEAN:
		return ": the file is damaged or not a journal; move it away, or save what can be saved with "
		       "sqlite3 FILE .recover";
	case -EROFS: return ": make the file and its folder writable for the daemon";
	default: return "";
	}
}

int db_error(struct journal *journal, int rc, struct lsn_error *err)
{
	int code = code_of(journal, rc);
	int system = code == -EIO && journal->db ? sqlite3_system_errno(journal->db) : 0;

	return lsn_error_set(err, code, "journal %s: %s%s%s%s", journal->config.path,
			     journal->db ? sqlite3_errmsg(journal->db) : sqlite3_errstr(rc), system > 0 ? ": " : "",
			     system > 0 ? strerror(system) : "", remedy_of(code));
}

int db_exec(struct journal *journal, const char *sql, struct lsn_error *err)
{
	int rc = sqlite3_exec(journal->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : db_error(journal, rc, err);
}

int db_prepare(struct journal *journal, const char *sql, sqlite3_stmt **ret, struct lsn_error *err)
{
	int rc = sqlite3_prepare_v2(journal->db, sql, -1, ret, NULL);
	return rc == SQLITE_OK ? 0 : db_error(journal, rc, err);
}

int db_kept(struct journal *journal, enum statement which, sqlite3_stmt **ret, struct lsn_error *err)
{
	sqlite3_stmt **kept = &journal->kept[which];

	if (!*kept) {
		int rc = sqlite3_prepare_v3(journal->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, kept, NULL);
		if (rc != SQLITE_OK)
			return db_error(journal, rc, err);
	}
	*ret = *kept;
	return 0;
}

int db_step(struct journal *journal, sqlite3_stmt *stmt, struct lsn_error *err)
{
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW)
		return 1;
	/* The error must be read before the reset of another statement hides it. */
	int r = rc == SQLITE_DONE ? 0 : db_error(journal, rc, err);
	(void)sqlite3_reset(stmt);
	return r;
}

int db_run(struct journal *journal, sqlite3_stmt *stmt, struct lsn_error *err)
{
	int r = db_step(journal, stmt, err);

	if (r > 0) {
		(void)sqlite3_reset(stmt);
		r = 0;
	}
	return r;
}

int db_number(struct journal *journal, const char *sql, int64_t *ret, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(journal, sql, &stmt, err);

	if (r >= 0)
		r = db_step(journal, stmt, err);
	if (r >= 0)
		*ret = r > 0 ? sqlite3_column_int64(stmt, 0) : 0;
	return r < 0 ? r : 0;
}

static int run_kept(struct journal *journal, enum statement which, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, which, &stmt, err);
	return r < 0 ? r : db_run(journal, stmt, err);
}

int db_begin(struct journal *journal, struct lsn_error *err)
{
	if (!sqlite3_get_autocommit(journal->db))
		return lsn_error_set(err, -EBUSY, "journal %s: a transaction is under way", journal->config.path);
	return run_kept(journal, ST_BEGIN, err);
}

int db_commit(struct journal *journal, struct lsn_error *err) { return run_kept(journal, ST_COMMIT, err); }

void db_rollback(struct journal *journal)
{
	if (!sqlite3_get_autocommit(journal->db)) /* SQLite rolls back by itself on some errors */
		(void)run_kept(journal, ST_ROLLBACK, NULL);
}

void db_close(struct journal *journal)
{
	for (size_t i = 0; i < ST_MAX; i++)
		(void)sqlite3_finalize(journal->kept[i]);
	(void)sqlite3_close(journal->db);
	journal->db = NULL;
}
