/* journal_schema.c - the schema and its history. `PRAGMA user_version` says how many steps a
 * file has had. A step, once released, is never changed: what comes later is a new step.
 *
 * Why these indexes and no more: each costs at every insert.
 *   events_state     counting events without reading payloads, and finding rejected ones; grows at
 *                    its ends only
 *   jobs_event       may an event go? grows at its end only
 *   jobs_waiting     the queue of a script
 *   jobs_unfinished  what waits and what was handed over, newest or oldest first
 *   jobs_lost        what an operator should look at
 *   jobs_replays     which later job stands for this one? holds replayed jobs only
 * All but the first two hold few rows when all is well. */
#include "journal_private.h"
#include <errno.h>
#include <util.h>

#define APPLICATION_ID 0x4c534e4a /* "LSNJ": tells our files from other people's */

static const char *const steps[] = {
	/* 1 */
	"CREATE TABLE ids(one INTEGER PRIMARY KEY CHECK(one = 1), next_event INTEGER NOT NULL, next_job INTEGER NOT "
	"NULL);"
	"INSERT INTO ids VALUES(1, 1, 1);"
	"CREATE TABLE window(part INTEGER PRIMARY KEY, data BLOB NOT NULL);"

	/* topic: text, or a blob where it is no valid text. Times are microseconds since the
	 * epoch. */
	"CREATE TABLE events(id INTEGER PRIMARY KEY, received INTEGER NOT NULL, state INTEGER NOT NULL, reason "
	"TEXT, qos INTEGER NOT NULL,"
	" topic BLOB NOT NULL, payload BLOB);"
	"CREATE INDEX events_state ON events(state);"

	"CREATE TABLE versions(hash TEXT PRIMARY KEY, size INTEGER NOT NULL, content BLOB NOT NULL);"
	"CREATE TABLE script_names(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);"
	/* AUTOINCREMENT: a revision that is gone must not come back as another one. */
	"CREATE TABLE revisions(id INTEGER PRIMARY KEY AUTOINCREMENT, script INTEGER NOT NULL, version TEXT NOT "
	"NULL, filter TEXT NOT NULL,"
	" timeout INTEGER NOT NULL, memory INTEGER NOT NULL, output INTEGER NOT NULL, executor TEXT NOT NULL, "
	"on_lost INTEGER NOT NULL,"
	" retries INTEGER NOT NULL, retry_delay INTEGER NOT NULL, retry_on INTEGER NOT NULL);"
	"CREATE INDEX revisions_script ON revisions(script);"
	"CREATE INDEX revisions_version ON revisions(version);"
	"CREATE TABLE scripts(name TEXT PRIMARY KEY, state INTEGER NOT NULL, reason TEXT NOT NULL, source_key TEXT "
	"NOT NULL, revision INTEGER,"
	" updated INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX scripts_revision ON scripts(revision) WHERE revision IS NOT NULL;"

	/* outcome: of the job, NULL until it is finished; what each attempt came to is in runs. */
	"CREATE TABLE jobs(id INTEGER PRIMARY KEY, event INTEGER NOT NULL, script INTEGER NOT NULL, revision "
	"INTEGER NOT NULL,"
	" object INTEGER NOT NULL, created INTEGER NOT NULL, replay_of INTEGER NOT NULL, state INTEGER NOT NULL, "
	"attempt INTEGER NOT NULL,"
	" not_before INTEGER NOT NULL, finished INTEGER NOT NULL, outcome INTEGER, message TEXT);"
	"CREATE INDEX jobs_event ON jobs(event);"
	"CREATE INDEX jobs_waiting ON jobs(script) WHERE " SQL_WAITING ";"
	"CREATE INDEX jobs_unfinished ON jobs(event, state) WHERE " SQL_UNFINISHED ";"
	"CREATE INDEX jobs_lost ON jobs(state) WHERE " SQL_LOST ";"
	"CREATE TABLE runs(job INTEGER NOT NULL, attempt INTEGER NOT NULL, executor TEXT NOT NULL, place TEXT NOT "
	"NULL, started INTEGER NOT NULL,"
	" duration INTEGER NOT NULL DEFAULT 0, outcome INTEGER, exit_status INTEGER NOT NULL DEFAULT 0, signal "
	"INTEGER NOT NULL DEFAULT 0,"
	" user INTEGER NOT NULL DEFAULT 0, system INTEGER NOT NULL DEFAULT 0, max_rss INTEGER NOT NULL DEFAULT 0,"
	" out_truncated INTEGER NOT NULL DEFAULT 0, err_truncated INTEGER NOT NULL DEFAULT 0, message TEXT NOT NULL "
	"DEFAULT '', out BLOB, err BLOB,"
	" PRIMARY KEY(job, attempt)) WITHOUT ROWID;",

	/* 2: by id rather than by event, so that a question for what waits is answered in order. */
	"DROP INDEX jobs_unfinished;"
	"CREATE INDEX jobs_unfinished ON jobs(id, state) WHERE " SQL_UNFINISHED ";",

	/* 3: what a replay may leave out. */
	"CREATE INDEX jobs_replays ON jobs(event, script) WHERE " SQL_REPLAY ";",

	/* 4: several topics: the filters after the first, each with its NUL, and one more NUL. */
	"ALTER TABLE revisions ADD COLUMN more_filters BLOB;",

	/* 5: what standard input is; what it was before. */
	"ALTER TABLE revisions ADD COLUMN input INTEGER NOT NULL DEFAULT 0;",

	/* 6: what stands between queued jobs and their places. AUTOINCREMENT: the number of one
	 * that has ended must not come back as another. */
	"CREATE TABLE holds(id INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, kind INTEGER NOT NULL,"
	" name TEXT NOT NULL, object INTEGER NOT NULL, reason TEXT NOT NULL, by_uid INTEGER NOT NULL,"
	" since INTEGER NOT NULL, until INTEGER NOT NULL);",

	/* 7: may a script cause its own events, and how often may it start. */
	"ALTER TABLE revisions ADD COLUMN loop INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE revisions ADD COLUMN rate_period INTEGER NOT NULL DEFAULT 0;",
};

int journal_check_file(struct journal *journal, struct lsn_error *err)
{
	int64_t version = 0, tables = 0, application = 0;
	int r = db_number(journal, "SELECT count(*) FROM sqlite_schema", &tables, err);

	if (r >= 0)
		r = db_number(journal, "PRAGMA application_id", &application, err);
	if (r >= 0)
		r = db_number(journal, "PRAGMA user_version", &version, err);
	if (r < 0)
		return r;
	if (application != APPLICATION_ID && (tables > 0 || version > 0))
		return lsn_error_set(err, -EMEDIUMTYPE,
				     "%s is a database of another program; name another file as the journal",
				     journal->config.path);
	if (version > (int64_t)ELEMENTSOF(steps))
		return lsn_error_set(
			err, -EPROTONOSUPPORT,
			"journal %s was written by a newer listenerd (schema %lld, this one knows %zu): install "
			"that one, or move the file away",
			journal->config.path, (long long)version, ELEMENTSOF(steps));
	return 0;
}

static int step_up(struct journal *journal, size_t step, struct lsn_error *err)
{
	char pragmas[96];

	(void)snprintf(pragmas, sizeof pragmas, "PRAGMA user_version = %zu; PRAGMA application_id = %d", step + 1,
		       APPLICATION_ID);
	int r = db_begin(journal, err);
	if (r >= 0)
		r = db_exec(journal, steps[step], err);
	if (r >= 0)
		r = db_exec(journal, pragmas, err);
	if (r >= 0)
		r = db_commit(journal, err);
	if (r < 0) {
		db_rollback(journal);
		return lsn_error_prefix(err, r, "cannot bring the schema to version %zu", step + 1);
	}
	return 0;
}

int journal_migrate(struct journal *journal, struct lsn_error *err)
{
	int64_t version = 0;
	int r = db_number(journal, "PRAGMA user_version", &version, err);

	for (size_t step = (size_t)version; r >= 0 && step < ELEMENTSOF(steps); step++)
		r = step_up(journal, step, err);
	return r;
}
