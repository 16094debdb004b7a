/* journal_holds.c - the rows of holds. */
#include "hold.h"
#include "journal_private.h"
#include <stdlib.h>
#include <string.h>
#include <util.h>

int journal_put_hold(struct journal *journal, struct hold *hold, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_PUT_HOLD, &stmt, err);

	if (r < 0)
		return r;
	if (hold->id)
		bind_u64(stmt, 1, hold->id);
	bind_u64(stmt, 2, hold->scope);
	bind_u64(stmt, 3, hold->kind);
	bind_text(stmt, 4, hold->name);
	bind_u64(stmt, 5, hold->object);
	bind_text(stmt, 6, hold->reason);
	(void)sqlite3_bind_int64(stmt, 7, hold->by_uid);
	bind_u64(stmt, 8, hold->since_realtime_usec);
	bind_u64(stmt, 9, hold->until_realtime_usec);
	r = db_run(journal, stmt, err);
	if (r >= 0 && !hold->id)
		hold->id = (uint64_t)sqlite3_last_insert_rowid(journal->db);
	return r;
}

int journal_drop_hold(struct journal *journal, uint64_t id, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_DROP_HOLD, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, id);
	return db_run(journal, stmt, err);
}

static void read_hold(sqlite3_stmt *stmt, struct hold *hold)
{
	uint64_t scope = column_u64(stmt, 1), kind = column_u64(stmt, 2);

	hold->id = column_u64(stmt, 0);
	hold->scope = scope < HOLD_SCOPE_MAX ? (enum hold_scope)scope : HOLD_ALL;
	hold->kind = kind < HOLD_KIND_MAX ? (enum hold_kind)kind : HOLD_PAUSE;
	(void)snprintf(hold->name, sizeof hold->name, "%s", column_text(stmt, 3));
	hold->object = column_u64(stmt, 4);
	(void)snprintf(hold->reason, sizeof hold->reason, "%s", column_text(stmt, 5));
	hold->by_uid = sqlite3_column_int64(stmt, 6);
	hold->since_realtime_usec = column_u64(stmt, 7);
	hold->until_realtime_usec = column_u64(stmt, 8);
}

int journal_each_hold(struct journal *journal, void (*fn)(void *data, const struct hold *hold), void *data,
		      struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(journal,
			   "SELECT id, scope, kind, name, object, reason, by_uid, since, until FROM holds ORDER BY id",
			   &stmt, err);

	while (r >= 0 && (r = db_step(journal, stmt, err)) > 0) {
		struct hold hold = { 0 };
		read_hold(stmt, &hold);
		fn(data, &hold);
	}
	return r;
}
