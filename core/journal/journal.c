/* journal.c - open and close, ids, marks, the commit. See journal.h for the rules and
 * journal_private.h for the other files. */
#include "cleanup.h"
#include "event.h"
#include "histogram.h"
#include "job.h"
#include "journal_private.h"
#include "log.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <util.h>

#define IDS_PROMISED_MIN 1024

/* ---------------------------------------------------------------------------------- open, close */

static int read_holder(int fd)
{
	char text[16] = "";
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	return n > 0 ? (int)strtol(text, NULL, 10) : 0;
}

/* take_lock - a file of its own: closing any descriptor of the database would drop SQLite's own
 * locks on it. It is never removed, for a second daemon might have opened it already. */
static int take_lock(struct journal *journal, struct lsn_error *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	char pid[16];

	if (asprintf(&path, "%s.lock", journal->config.path) < 0) {
		path = NULL;
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return lsn_error_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return lsn_error_set(err, -EBUSY, "journal %s is in use by process %d, which holds %s",
					     journal->config.path, read_holder(fd), path);
		return lsn_error_set(err, -errno, "cannot lock %s: %s", path, strerror(errno));
	}
	(void)snprintf(pid, sizeof pid, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
		/* for the message above only */
		log_warning("cannot write %s, ignoring: %s", path, strerror(errno));
	journal->lock_fd = TAKE_FD(fd);
	return 0;
}

/* make_file - payloads and scripts are nobody else's business: SQLite gives its other files the
 * mode of this one. */
static int make_file(const char *path, struct lsn_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return lsn_error_set(err, -errno, "cannot open the journal %s: %s", path, strerror(errno));
	return 0;
}

static void sync_folder(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0 || fsync(fd) < 0)
		log_warning("cannot sync the folder of %s, ignoring: %s", path, strerror(errno));
}

/* load_ids - go on after all that a predecessor may have used. */
static int load_ids(struct journal *journal, struct lsn_error *err)
{
	int64_t event = 1, job = 1;
	int r = db_number(journal, "SELECT max(next_event, ifnull((SELECT max(id) FROM events), 0) + 1) FROM ids",
			  &event, err);

	if (r >= 0)
		r = db_number(journal, "SELECT max(next_job, ifnull((SELECT max(id) FROM jobs), 0) + 1) FROM ids", &job,
			      err);
	journal->event_ids.next = journal->event_ids.promised = (uint64_t)event;
	journal->job_ids.next = journal->job_ids.promised = (uint64_t)job;
	return r;
}

static int open_all(struct journal *journal, struct lsn_error *err)
{
	int r = take_lock(journal, err);

	if (r >= 0)
		r = make_file(journal->config.path, err);
	if (r >= 0)
		r = db_open(journal, err);
	if (r >= 0)
		r = journal_migrate(journal, err);
	if (r >= 0)
		r = load_ids(journal, err);
	if (r >= 0)
		r = journal_count(journal, err);
	if (r >= 0)
		sync_folder(journal->config.path);
	return r;
}

int journal_open(const struct journal_config *config, struct journal **ret, struct lsn_error *err)
{
	struct journal *journal = calloc(1, sizeof *journal);

	if (!journal)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	journal->config = *config;
	journal->config.path = strdup(config->path);
	journal->lock_fd = -1;
	TAILQ_INIT(&journal->events);
	TAILQ_INIT(&journal->jobs);
	TAILQ_INIT(&journal->results);
	if (asprintf(&journal->wal_path, "%s-wal", config->path) < 0)
		journal->wal_path = NULL;
	int r = journal->config.path && journal->wal_path ? open_all(journal, err)
							  : lsn_error_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		journal_close(journal);
		return r;
	}
	*ret = journal;
	return 0;
}

static void unmark_event(struct journal *journal, struct event *event)
{
	TAILQ_REMOVE(&journal->events, event, marked);
	event->dirty = false;
	event_unref(event);
}

static void unmark_job(struct journal *journal, struct job *job)
{
	TAILQ_REMOVE(&journal->jobs, job, marked);
	job->dirty = false;
	job_unref(job);
}

static void drop_result(struct journal *journal, struct job_result *result)
{
	TAILQ_REMOVE(&journal->results, result, marked);
	free(result);
}

/* ------------------------------------------------------------------------------------------------- ids */

static int save_ids(struct journal *journal, uint64_t next_event, uint64_t next_job, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_SAVE_IDS, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, next_event);
	bind_u64(stmt, 2, next_job);
	return db_run(journal, stmt, err);
}

/* wanted_promise - enough for several turns like the last, so that a promise nearly always goes
 * along with a commit. */
static uint64_t wanted_promise(const struct id_range *range)
{
	uint64_t ahead = 4 * range->used > IDS_PROMISED_MIN ? 4 * range->used : IDS_PROMISED_MIN;

	if (range->promised >= range->next + ahead / 2)
		return range->promised;
	return range->next + ahead;
}

static void ids_promise(struct id_range *range, uint64_t promised)
{
	range->promised = promised;
	range->used = 0;
}

/* promise_now - a commit for the ids alone: at the start and after a burst. If it fails, the ids
 * are handed out all the same: the rows that carry them bring the promise along, and what was
 * never committed was at most the name of a place. */
static void promise_now(struct journal *journal)
{
	uint64_t event = wanted_promise(&journal->event_ids), job = wanted_promise(&journal->job_ids);

	if (journal->promise_failed || !sqlite3_get_autocommit(journal->db))
		return;
	if (save_ids(journal, event, job, NULL) < 0) {
		journal->promise_failed = true;
		return;
	}
	ids_promise(&journal->event_ids, event);
	ids_promise(&journal->job_ids, job);
}

static uint64_t next_id(struct journal *journal, struct id_range *range)
{
	range->used++;
	if (range->next >= range->promised)
		promise_now(journal);
	return range->next++;
}

uint64_t journal_next_event_id(struct journal *journal) { return next_id(journal, &journal->event_ids); }

uint64_t journal_next_job_id(struct journal *journal) { return next_id(journal, &journal->job_ids); }

void journal_close(struct journal *journal)
{
	struct event *event;
	struct job *job;

	if (!journal)
		return;
	while (!TAILQ_EMPTY(&journal->results))
		drop_result(journal, TAILQ_FIRST(&journal->results));
	while ((job = TAILQ_FIRST(&journal->jobs)))
		unmark_job(journal, job);
	while ((event = TAILQ_FIRST(&journal->events)))
		unmark_event(journal, event);
	if (journal->db) {
		db_rollback(journal);
		/* Orderly: what was promised and not used can be given back. */
		if (journal->event_ids.promised > 0)
			(void)save_ids(journal, journal->event_ids.next, journal->job_ids.next, NULL);
	}
	db_close(journal);
	if (journal->lock_fd >= 0)
		(void)close(journal->lock_fd);
	free(journal->window);
	free(journal->wal_path);
	free(journal->config.path);
	free(journal);
}

void journal_set_config(struct journal *journal, const struct journal_config *config)
{
	char *path = journal->config.path;

	journal->config = *config;
	journal->config.path = path;
	journal->sample.taken_usec = 0;
}

/* ---------------------------------------------------------------------------------------- marks */

void journal_put_event(struct journal *journal, struct event *event)
{
	if (event->stored || event->dirty)
		return;
	event->dirty = true;
	(void)event_ref(event);
	TAILQ_INSERT_TAIL(&journal->events, event, marked);
}

void journal_put_job(struct journal *journal, struct job *job)
{
	assert(job->script->revision > 0);
	journal_put_event(journal, job->event);
	if (job->dirty)
		return;
	job->dirty = true;
	(void)job_ref(job);
	TAILQ_INSERT_TAIL(&journal->jobs, job, marked);
}

void journal_put_result(struct journal *journal, struct job_result *result)
{
	TAILQ_INSERT_TAIL(&journal->results, result, marked);
}

int journal_put_window(struct journal *journal, const void *data, size_t size, bool whole)
{
	size_t before = journal->window_dirty && !whole ? journal->window_size : 0;
	char *grown = malloc(before + size + 1);

	if (!grown)
		return -ENOMEM;
	if (before > 0)
		memcpy(grown, journal->window, before);
	if (size > 0)
		memcpy(grown + before, data, size);
	free(journal->window);
	journal->window = grown;
	journal->window_size = before + size;
	journal->window_whole = whole || (journal->window_dirty && journal->window_whole);
	journal->window_dirty = true;
	return 0;
}

int journal_get_window(struct journal *journal, void **ret, size_t *ret_size)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	_cleanup_free_ char *all = malloc(1);
	size_t size = 0;
	int r = all ? db_prepare(journal, "SELECT data FROM window ORDER BY part", &stmt, NULL) : -ENOMEM;

	while (r >= 0 && (r = db_step(journal, stmt, NULL)) > 0) {
		const void *part = sqlite3_column_blob(stmt, 0);
		size_t part_size = part ? (size_t)sqlite3_column_bytes(stmt, 0) : 0;
		char *grown = realloc(all, size + part_size + 1);
		if (!grown)
			return -ENOMEM;
		all = grown;
		if (part_size > 0)
			memcpy(all + size, part, part_size);
		size += part_size;
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(all);
	*ret_size = size;
	return 0;
}

bool journal_has_pending(const struct journal *journal)
{
	return !TAILQ_EMPTY(&journal->events) || !TAILQ_EMPTY(&journal->jobs) || !TAILQ_EMPTY(&journal->results) ||
	       journal->window_dirty;
}

/* --------------------------------------------------------------------------------------- commit */

static int write_event(struct journal *journal, const struct event *event, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_PUT_EVENT, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, event->id);
	bind_u64(stmt, 2, event->received_realtime_usec);
	bind_u64(stmt, 3, event->state);
	if (event->reason[0])
		bind_text(stmt, 4, event->reason);
	bind_u64(stmt, 5, (uint64_t)event->qos);
	if (event->state == EVENT_ACCEPTED)
		(void)sqlite3_bind_text64(stmt, 6, event->topic, event->topic_size, SQLITE_STATIC, SQLITE_UTF8);
	else /* any bytes */
		(void)sqlite3_bind_blob64(stmt, 6, event->topic, event->topic_size, SQLITE_STATIC);
	if (event->payload_size > 0)
		(void)sqlite3_bind_blob64(stmt, 7, event->payload, event->payload_size, SQLITE_STATIC);
	return db_run(journal, stmt, err);
}

static bool is_started(enum job_state state)
{
	return state == JOB_STARTING || state == JOB_RUNNING || state == JOB_RECOVERING;
}

static int write_start(struct journal *journal, const struct job *job, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_START_RUN, &stmt, err);

	if (r < 0)
		return r;
	bool keep = job->state != JOB_STARTING;
	bind_u64(stmt, 1, job->abi.id);
	bind_u64(stmt, 2, job->abi.attempt);
	bind_text(stmt, 3, job->executor);
	bind_text(stmt, 4, job->place);
	bind_u64(stmt, 5,
		 keep && job->abi.started_realtime_usec ? job->abi.started_realtime_usec : now_realtime_usec());
	(void)sqlite3_bind_int(stmt, 6, keep);
	return db_run(journal, stmt, err);
}

static void bind_result(sqlite3_stmt *stmt, const struct lsn_result *result)
{
	bind_u64(stmt, 5, result->started_realtime_usec);
	bind_u64(stmt, 6, result->duration_usec);
	bind_u64(stmt, 7, result->outcome);
	(void)sqlite3_bind_int(stmt, 8, result->exit_status);
	(void)sqlite3_bind_int(stmt, 9, result->signal);
	bind_u64(stmt, 10, result->user_usec);
	bind_u64(stmt, 11, result->system_usec);
	bind_u64(stmt, 12, result->max_rss_bytes);
	(void)sqlite3_bind_int(stmt, 13, result->out_truncated != 0);
	(void)sqlite3_bind_int(stmt, 14, result->err_truncated != 0);
	bind_text(stmt, 15, result->message);
	if (result->out_size > 0)
		(void)sqlite3_bind_blob64(stmt, 16, result->out, result->out_size, SQLITE_STATIC);
	if (result->err_size > 0)
		(void)sqlite3_bind_blob64(stmt, 17, result->err, result->err_size, SQLITE_STATIC);
}

static int write_result(struct journal *journal, const struct job_result *result, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_END_RUN, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, result->job);
	bind_u64(stmt, 2, result->attempt);
	bind_text(stmt, 3, result->executor);
	bind_text(stmt, 4, result->place);
	bind_result(stmt, &result->r);
	r = db_run(journal, stmt, err);
	return r < 0 ? lsn_error_prefix(err, r, "result of job %" PRIu64, result->job) : r;
}

/* drop_unstarted - an attempt beyond JOB's count certainly never began. */
static int drop_unstarted(struct journal *journal, const struct job *job, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, ST_DROP_UNSTARTED, &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, job->abi.id);
	bind_u64(stmt, 2, job->abi.attempt);
	return db_run(journal, stmt, err);
}

static int write_run(struct journal *journal, const struct job *job, struct lsn_error *err)
{
	int r = job->withdrawn ? drop_unstarted(journal, job, err) : 0;

	return r >= 0 && is_started(job->state) ? write_start(journal, job, err) : r;
}

static void bind_job(sqlite3_stmt *stmt, const struct job *job)
{
	bind_u64(stmt, 1, job->abi.id);
	bind_u64(stmt, 2, job->state);
	bind_u64(stmt, 3, job->abi.attempt);
	bind_u64(stmt, 4, job->state == JOB_BACKOFF ? job->not_before_realtime_usec : 0);
	bind_u64(stmt, 5, now_realtime_usec());
	if (job->state != JOB_FINISHED && job->state != JOB_LOST)
		return;
	bind_u64(stmt, 6, job->outcome);
	if (job->message)
		bind_text(stmt, 12, job->message);
}

static void bind_new_job(sqlite3_stmt *stmt, const struct job *job)
{
	bind_u64(stmt, 7, job->event->id);
	bind_u64(stmt, 8, job->script->revision);
	bind_u64(stmt, 9, job->object);
	bind_u64(stmt, 10, job->created_realtime_usec);
	bind_u64(stmt, 11, job->abi.replay_of);
}

static int write_job(struct journal *journal, const struct job *job, struct journal_counts *delta,
		     struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, job->stored ? ST_UPDATE_JOB : ST_ADD_JOB, &stmt, err);

	if (r < 0)
		return r;
	bind_job(stmt, job);
	if (!job->stored)
		bind_new_job(stmt, job);
	r = db_run(journal, stmt, err);
	if (r < 0)
		return lsn_error_prefix(err, r, "job %" PRIu64 " of %s", job->abi.id, job->script->name);
	/* pruned or damaged; no reason to keep everybody else waiting */
	if (sqlite3_changes(journal->db) == 0) {
		log_error("journal %s: the row of job=%" PRIu64 " is gone, ignoring", journal->config.path,
			  job->abi.id);
		return 0;
	}
	if (job->stored)
		delta->states[job->stored_state]--;
	delta->states[job->state]++;
	return write_run(journal, job, err);
}

static int write_window(struct journal *journal, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *drop = NULL, *stmt = NULL;
	int r = journal->window_whole ? db_kept(journal, ST_DROP_WINDOW, &drop, err) : 0;

	if (r >= 0 && drop)
		r = db_run(journal, drop, err);
	if (r >= 0)
		r = db_kept(journal, ST_PUT_WINDOW, &stmt, err);
	if (r < 0)
		return r;
	(void)sqlite3_bind_blob64(stmt, 1, journal->window, journal->window_size, SQLITE_STATIC);
	return db_run(journal, stmt, err);
}

static int write_all(struct journal *journal, struct journal_counts *delta, struct lsn_error *err)
{
	const struct event *event;
	const struct job_result *result;
	const struct job *job;
	int r = 0;

	TAILQ_FOREACH (event, &journal->events, marked) {
		r = write_event(journal, event, err);
		if (r < 0)
			return lsn_error_prefix(err, r, "event %llu", (unsigned long long)event->id);
		delta->events++;
	}
	TAILQ_FOREACH (job, &journal->jobs, marked) {
		r = write_job(journal, job, delta, err);
		if (r < 0)
			return r;
	}
	TAILQ_FOREACH (result, &journal->results, marked) {
		r = write_result(journal, result, err);
		if (r < 0)
			return r;
	}
	return journal->window_dirty ? write_window(journal, err) : 0;
}

static void marks_settle(struct journal *journal, const struct journal_counts *delta)
{
	struct event *event;
	struct job *job;

	while ((job = TAILQ_FIRST(&journal->jobs))) {
		job->stored = true;
		job->stored_state = job->state;
		job->withdrawn = false;
		unmark_job(journal, job);
	}
	while (!TAILQ_EMPTY(&journal->results))
		drop_result(journal, TAILQ_FIRST(&journal->results));
	while ((event = TAILQ_FIRST(&journal->events))) {
		event->stored = true;
		event_drop_payload(event);
		unmark_event(journal, event);
	}
	journal->window_dirty = false;
	journal->promise_failed = false;
	journal->counts.events += delta->events;
	for (size_t i = 0; i < JOB_STATE_MAX; i++)
		journal->counts.states[i] += delta->states[i];
}

static int commit_group(struct journal *journal, struct lsn_error *err)
{
	uint64_t next_event = wanted_promise(&journal->event_ids), next_job = wanted_promise(&journal->job_ids);
	struct journal_counts delta = { 0 };
	int r = db_begin(journal, err);

	if (r < 0)
		return r;
	r = write_all(journal, &delta, err);
	if (r >= 0 && (next_event != journal->event_ids.promised || next_job != journal->job_ids.promised))
		r = save_ids(journal, next_event, next_job, err);
	if (r >= 0)
		r = db_commit(journal, err);
	if (r < 0) {
		db_rollback(journal);
		return r;
	}
	ids_promise(&journal->event_ids, next_event);
	ids_promise(&journal->job_ids, next_job);
	marks_settle(journal, &delta);
	return 0;
}

int journal_commit(struct journal *journal, struct lsn_error *err)
{
	uint64_t begun = now_monotonic_usec();

	if (!journal_has_pending(journal))
		return 0;
	int r = commit_group(journal, err);
	if (r < 0)
		return r;
	uint64_t took = now_monotonic_usec() - begun;
	journal->figures.commits++;
	journal->figures.commit_usec_total += took;
	histogram_add(&journal->figures.commit_times, &histogram_writes, took);
	if (took > journal->figures.commit_usec_max)
		journal->figures.commit_usec_max = took;
	return 0;
}
