/* journal_open.c - open the database: its settings, and whether the file is ours to change. */
#include "journal_private.h"
#include <errno.h>
#include <util.h>

/* How long a commit waits for somebody who reads or writes the file by hand (sqlite3 on the
 * command line) before it is put off. */
#define BUSY_MSEC 200

/* Set before the first table exists, so that they hold for a new file; later they do nothing.
 * auto_vacuum = incremental: space of pruned rows can go back to the file system in bounded
 * steps. */
#define PRAGMAS_NEW_FILE "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;"

/* wal_autocheckpoint: a checkpoint copies at most about so many pages (8 MB) and then syncs the
 * database: some ten milliseconds. journal_size_limit: a WAL that grew because a checkpoint was
 * held up is cut back to this. */
#define PRAGMAS_ALWAYS                                                                                                 \
	"PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 16777216;"           \
	"PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;"

static int set_wal(struct journal *journal, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(journal, "PRAGMA journal_mode = WAL", &stmt, err);

	if (r >= 0)
		r = db_step(journal, stmt, err);
	if (r < 0)
		return r;
	if (r == 0 || !streq(column_text(stmt, 0), "wal"))
		return lsn_error_set(err, -EOPNOTSUPP,
				     "journal %s: its file system cannot hold a write-ahead log; use a local one",
				     journal->config.path);
	return 0;
}

int db_open(struct journal *journal, struct lsn_error *err)
{
	int64_t page_bytes = 0;
	/* One thread uses the connection: no mutexes. */
	int rc = sqlite3_open_v2(journal->config.path, &journal->db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);

	if (rc != SQLITE_OK)
		return db_error(journal, rc, err);
	(void)sqlite3_extended_result_codes(journal->db, 1);
	(void)sqlite3_busy_timeout(journal->db, BUSY_MSEC);
	int r = db_exec(journal, PRAGMAS_NEW_FILE, err);
	if (r >= 0) /* before anything is changed */
		r = journal_check_file(journal, err);
	if (r >= 0)
		r = set_wal(journal, err);
	if (r >= 0)
		r = db_exec(journal, PRAGMAS_ALWAYS, err);
	if (r >= 0)
		r = db_number(journal, "PRAGMA page_size", &page_bytes, err);
	journal->page_bytes = (uint64_t)page_bytes;
	return r;
}
