/* journal_scripts.c - the registry's rows, script revisions and their contents. */
#include "cleanup.h"
#include "journal_private.h"
#include "script.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <util.h>

int journal_scripts_begin(struct journal *journal, struct lsn_error *err)
{
	int r = db_begin(journal, err);

	if (r >= 0)
		journal->in_scripts = true;
	return r;
}

int journal_scripts_end(struct journal *journal, bool keep, struct lsn_error *err)
{
	int r = 0;

	if (!journal->in_scripts)
		return lsn_error_set(err, -EINVAL, "no change of the scripts is under way");
	journal->in_scripts = false;
	if (keep)
		r = sqlite3_get_autocommit(journal->db)
			    ? lsn_error_set(err, -EIO, "journal %s: the change was given up before",
					    journal->config.path)
			    : db_commit(journal, err);
	if (!keep || r < 0)
		db_rollback(journal);
	return r;
}

/* ------------------------------------------------------------------------------------ revisions */

static int add_name(struct journal *journal, const char *name, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_ADD_NAME, &stmt, err);

	if (r < 0)
		return r;
	bind_text(stmt, 1, name);
	return db_run(journal, stmt, err);
}

static int name_id(struct journal *journal, const char *name, int64_t *ret, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = add_name(journal, name, err);

	if (r >= 0)
		r = db_kept(journal, ST_FIND_NAME, &stmt, err);
	if (r < 0)
		return r;
	bind_text(stmt, 1, name);
	r = db_step(journal, stmt, err);
	if (r > 0)
		*ret = sqlite3_column_int64(stmt, 0);
	return r < 0 ? r : 0;
}

static int add_content(struct journal *journal, const struct script *script, const void *content, size_t size,
		       struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_ADD_CONTENT, &stmt, err);

	if (r < 0)
		return r;
	bind_text(stmt, 1, script->version);
	bind_u64(stmt, 2, size);
	(void)sqlite3_bind_blob64(stmt, 3, size ? content : "", size, SQLITE_STATIC);
	return db_run(journal, stmt, err);
}

/* stored_size - -ENOENT if the content of SCRIPT is not stored. */
static int stored_size(struct journal *journal, const struct script *script, size_t *ret, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_CONTENT_SIZE, &stmt, err);

	if (r < 0)
		return r;
	bind_text(stmt, 1, script->version);
	r = db_step(journal, stmt, err);
	if (r < 0)
		return r;
	if (r == 0)
		return lsn_error_set(err, -ENOENT, "the content of %s, version %.12s, is not in the journal",
				     script->name, script->version);
	*ret = (size_t)column_u64(stmt, 0);
	return 0;
}

static void bind_revision(sqlite3_stmt *stmt, const struct script *script, int64_t name)
{
	const struct script_settings *settings = &script->settings;

	(void)sqlite3_bind_int64(stmt, 1, name);
	bind_text(stmt, 2, script->version);
	bind_text(stmt, 3, script->filter);
	bind_u64(stmt, 4, settings->timeout_usec);
	bind_u64(stmt, 5, settings->memory_bytes);
	bind_u64(stmt, 6, settings->output);
	bind_text(stmt, 7, settings->executor);
	bind_u64(stmt, 8, settings->on_lost);
	bind_u64(stmt, 9, settings->retries);
	bind_u64(stmt, 10, settings->retry_delay_usec);
	bind_u64(stmt, 11, settings->retry_on);
	if (script->more_filters)
		(void)sqlite3_bind_blob64(stmt, 12, script->more_filters, filters_size(script->more_filters),
					  SQLITE_STATIC);
	bind_u64(stmt, 13, settings->input);
	bind_u64(stmt, 14, settings->loop_allowed);
	bind_u64(stmt, 15, settings->rate_period_usec);
}

/* find_revision - 1 and *RET, or 0. */
static int find_revision(struct journal *journal, const struct script *script, int64_t name, uint64_t *ret,
			 struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_FIND_REVISION, &stmt, err);

	if (r < 0)
		return r;
	bind_revision(stmt, script, name);
	r = db_step(journal, stmt, err);
	if (r > 0)
		*ret = column_u64(stmt, 0);
	return r;
}

static int insert_revision(struct journal *journal, const struct script *script, int64_t name, uint64_t *ret,
			   struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_ADD_REVISION, &stmt, err);

	if (r < 0)
		return r;
	bind_revision(stmt, script, name);
	r = db_run(journal, stmt, err);
	if (r >= 0)
		*ret = (uint64_t)sqlite3_last_insert_rowid(journal->db);
	return r;
}

static int add_revision(struct journal *journal, struct script *script, const void *content, size_t size,
			struct lsn_error *err)
{
	size_t stored = 0;
	int64_t name = 0;
	int r = content ? add_content(journal, script, content, size, err) : 0;

	if (r >= 0)
		r = stored_size(journal, script, &stored, err);
	if (r >= 0)
		r = name_id(journal, script->name, &name, err);
	if (r < 0)
		return r;
	uint64_t revision = 0;
	r = find_revision(journal, script, name, &revision, err);
	if (r == 0)
		r = insert_revision(journal, script, name, &revision, err);
	if (r < 0)
		return r;
	script->revision = revision;
	script->size = stored;
	return 0;
}

int journal_add_revision(struct journal *journal, struct script *script, const void *content, size_t size,
			 struct lsn_error *err)
{
	if (journal->in_scripts)
		return add_revision(journal, script, content, size, err);
	int r = journal_scripts_begin(journal, err);
	if (r < 0)
		return r;
	r = add_revision(journal, script, content, size, err);
	int end = journal_scripts_end(journal, r >= 0, r >= 0 ? err : NULL);
	return r < 0 ? r : end;
}

static int read_more_filters(sqlite3_stmt *stmt, struct script *script)
{
	const char *filters = column_filters(stmt, 12);
	size_t size = filters_size(filters);

	script->more_filters = filters ? malloc(size) : NULL;
	if (filters && !script->more_filters)
		return -ENOMEM;
	if (filters)
		memcpy(script->more_filters, filters, size);
	return 0;
}

static int read_revision(sqlite3_stmt *stmt, struct script *script)
{
	struct script_settings *settings = &script->settings;

	script->name = strdup(column_text(stmt, 0));
	script->filter = strdup(column_text(stmt, 2));
	if (!script->name || !script->filter)
		return -ENOMEM;
	(void)snprintf(script->version, sizeof script->version, "%s", column_text(stmt, 1));
	script->size = (size_t)column_u64(stmt, 3);
	settings->timeout_usec = column_u64(stmt, 4);
	settings->memory_bytes = column_u64(stmt, 5);
	settings->output = (enum output_kept)sqlite3_column_int(stmt, 6);
	if (settings->output >= OUTPUT_KEPT_MAX)
		settings->output = OUTPUT_DISCARD;
	(void)snprintf(settings->executor, sizeof settings->executor, "%s", column_text(stmt, 7));
	settings->on_lost = (enum on_lost)sqlite3_column_int(stmt, 8);
	settings->retries = (unsigned)sqlite3_column_int64(stmt, 9);
	settings->retry_delay_usec = column_u64(stmt, 10);
	settings->retry_on = (uint32_t)sqlite3_column_int64(stmt, 11);
	settings->input = (enum lsn_input_mode)sqlite3_column_int(stmt, 13);
	settings->loop_allowed = sqlite3_column_int(stmt, 14) != 0;
	settings->rate_period_usec = column_u64(stmt, 15);
	return read_more_filters(stmt, script);
}

int journal_load_script(struct journal *journal, uint64_t revision, struct script **ret, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	_cleanup_script_ struct script *script = NULL;
	int r = db_kept(journal, ST_GET_REVISION, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, revision);
	r = db_step(journal, stmt, err);
	if (r < 0)
		return r;
	if (r == 0)
		return lsn_error_set(err, -EUCLEAN, "journal %s: script revision %llu is missing", journal->config.path,
				     (unsigned long long)revision);
	script = calloc(1, sizeof *script);
	if (!script)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	script->refs = 1;
	script->revision = revision;
	r = read_revision(stmt, script);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	*ret = TAKE_PTR(script);
	return 0;
}

/* ------------------------------------------------------------------------------------ contents */

static int read_bytes(struct journal *journal, sqlite3_stmt *stmt, journal_bytes_fn fn, void *data, const char *what,
		      struct lsn_error *err)
{
	int r = db_step(journal, stmt, err);

	if (r < 0)
		return r;
	if (r == 0)
		return lsn_error_set(err, -EUCLEAN, "journal %s: %s is missing", journal->config.path, what);
	const void *bytes = sqlite3_column_blob(stmt, 0);
	size_t size = (size_t)sqlite3_column_bytes(stmt, 0);
	if (!bytes && sqlite3_column_type(stmt, 0) == SQLITE_BLOB && size > 0)
		return lsn_error_set(err, -ENOMEM, "out of memory for %s", what);
	r = fn(data, bytes ? bytes : "", size);
	return r < 0 ? lsn_error_set(err, r, "%s: %s", what, strerror(-r)) : r;
}

int journal_read_script(struct journal *journal, const char *version, journal_bytes_fn fn, void *data,
			struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	char what[64];
	int r = db_kept(journal, ST_GET_CONTENT, &stmt, err);

	if (r < 0)
		return r;
	bind_text(stmt, 1, version);
	(void)snprintf(what, sizeof what, "the script version %.12s", version);
	return read_bytes(journal, stmt, fn, data, what, err);
}

int journal_read_payload(struct journal *journal, uint64_t event, journal_bytes_fn fn, void *data,
			 struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	char what[64];
	int r = db_kept(journal, ST_GET_PAYLOAD, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, event);
	(void)snprintf(what, sizeof what, "the payload of event %" PRIu64, event);
	return read_bytes(journal, stmt, fn, data, what, err);
}

/* ------------------------------------------------------------------------------------- registry */

int journal_put_script(struct journal *journal, const struct journal_script *row, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_PUT_SCRIPT, &stmt, err);

	if (r < 0)
		return r;
	bind_text(stmt, 1, row->name);
	bind_u64(stmt, 2, row->state);
	bind_text(stmt, 3, row->reason ? row->reason : "");
	bind_text(stmt, 4, row->source_key ? row->source_key : "");
	if (row->script)
		bind_u64(stmt, 5, row->script->revision);
	bind_u64(stmt, 6, row->updated_realtime_usec);
	return db_run(journal, stmt, err);
}

int journal_drop_script(struct journal *journal, const char *name, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_DROP_SCRIPT, &stmt, err);

	if (r < 0)
		return r;
	bind_text(stmt, 1, name);
	return db_run(journal, stmt, err);
}

int journal_each_script(struct journal *journal, void (*fn)(void *data, const struct journal_script *row), void *data,
			struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(journal,
			   "SELECT name, state, reason, source_key, revision, updated FROM scripts ORDER BY name",
			   &stmt, err);

	while (r >= 0 && (r = db_step(journal, stmt, err)) > 0) {
		_cleanup_script_ struct script *script = NULL;
		if (sqlite3_column_type(stmt, 4) != SQLITE_NULL)
			r = journal_load_script(journal, column_u64(stmt, 4), &script, err);
		if (r < 0)
			return r;
		const struct journal_script row = {
			.name = column_text(stmt, 0),
			.state = (enum script_state)sqlite3_column_int(stmt, 1),
			.reason = column_text(stmt, 2),
			.source_key = column_text(stmt, 3),
			.script = script,
			.updated_realtime_usec = column_u64(stmt, 5),
		};
		fn(data, &row);
	}
	return r;
}
