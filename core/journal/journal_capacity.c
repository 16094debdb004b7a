/* journal_capacity.c - how much there is and how much more may come. */
#include "job.h"
#include "journal_private.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <util.h>

#define SAMPLE_USEC (100 * USEC_PER_MSEC)
#define SAMPLE_COMMITS 64
#define OLDEST_USEC USEC_PER_SEC

/* count_states - of the rows that a partial index holds, read from that alone. No GROUP BY: it
 * would sort a million waiting jobs in memory. */
static int count_states(struct journal *journal, struct lsn_error *err)
{
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int r = db_prepare(
		journal,
		"SELECT sum(state = 0), sum(state = 1), sum(state = 2), sum(state = 3), sum(state = 4) FROM jobs "
		"WHERE " SQL_UNFINISHED,
		&stmt, err);

	if (r >= 0)
		r = db_step(journal, stmt, err);
	for (int state = JOB_QUEUED; r > 0 && state <= JOB_BACKOFF; state++)
		journal->counts.states[state] = sqlite3_column_int64(stmt, state);
	return r < 0 ? r
		     : db_number(journal, "SELECT count(*) FROM jobs WHERE " SQL_LOST,
				 &journal->counts.states[JOB_LOST], err);
}

int journal_count(struct journal *journal, struct lsn_error *err)
{
	int64_t jobs = 0;

	memset(&journal->counts, 0, sizeof journal->counts);
	int r = db_number(journal, "SELECT count(*) FROM events", &journal->counts.events, err);
	if (r >= 0)
		r = db_number(journal, "SELECT count(*) FROM jobs", &jobs, err);
	if (r >= 0)
		r = count_states(journal, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < JOB_STATE_MAX; i++)
		if (i != JOB_FINISHED)
			jobs -= journal->counts.states[i];
	journal->counts.states[JOB_FINISHED] = jobs;
	return 0;
}

static uint64_t file_size(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int ask_number(struct journal *journal, enum statement which, uint64_t *ret, struct lsn_error *err)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	int r = db_kept(journal, which, &stmt, err);

	if (r >= 0)
		r = db_step(journal, stmt, err);
	if (r > 0)
		*ret = column_u64(stmt, 0);
	return r < 0 ? r : 0;
}

int journal_sample(struct journal *journal, struct lsn_error *err)
{
	struct journal_sample *sample = &journal->sample;
	uint64_t now = now_monotonic_usec();
	struct statvfs vfs;

	if (sample->taken_usec && now < sample->taken_usec + SAMPLE_USEC &&
	    journal->figures.commits < sample->commits + SAMPLE_COMMITS)
		return 0;
	int r = ask_number(journal, ST_PAGES, &sample->pages, err);
	if (r >= 0)
		r = ask_number(journal, ST_FREE_PAGES, &sample->free_pages, err);
	if (r < 0)
		return r;
	if (statvfs(journal->config.path, &vfs) < 0)
		return lsn_error_set(err, -errno, "cannot ask for the free space of the file system of %s: %s",
				     journal->config.path, strerror(errno));
	uint64_t wal = file_size(journal->wal_path);
	sample->disk_free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	sample->file_bytes = file_size(journal->config.path) + wal;
	sample->used_bytes = (sample->pages - sample->free_pages) * journal->page_bytes + wal;
	sample->taken_usec = now;
	sample->commits = journal->figures.commits;
	return 0;
}

static uint64_t count_unfinished(const struct journal *journal)
{
	uint64_t count = 0;

	for (int state = JOB_QUEUED; state <= JOB_BACKOFF; state++)
		count += (uint64_t)journal->counts.states[state];
	return count;
}

int journal_capacity(struct journal *journal, struct lsn_error *err)
{
	const struct journal_config *config = &journal->config;
	const struct journal_sample *sample = &journal->sample;
	uint64_t unfinished = count_unfinished(journal);
	const double mb = 1024 * 1024;
	int r = journal_sample(journal, err);

	if (r < 0)
		/* somebody looks at the file by hand: ask again next time */
		return r == -EBUSY ? 0 : r;
	if (unfinished >= config->jobs_max)
		return lsn_error_set(
			err, -ENOSPC,
			"%llu jobs are unfinished, which is the limit (jobs_max = %llu): events are taken again "
			"when jobs have ended",
			(unsigned long long)unfinished, (unsigned long long)config->jobs_max);
	if (sample->used_bytes >= config->size_max_bytes)
		return lsn_error_set(
			err, -ENOSPC,
			"the journal %s holds %.1f MiB, which is the limit (size_max = %.1f MiB): events are taken "
			"again when ended jobs have been deleted; or raise size_max",
			config->path, (double)sample->used_bytes / mb, (double)config->size_max_bytes / mb);
	if (sample->disk_free_bytes < config->disk_free_min_bytes)
		return lsn_error_set(
			err, -ENOSPC,
			"the file system of %s has %.1f MiB free, less than must stay free (disk_free_min = %.1f "
			"MiB): make room there",
			config->path, (double)sample->disk_free_bytes / mb, (double)config->disk_free_min_bytes / mb);
	return 0;
}

static uint64_t oldest_waiting(struct journal *journal)
{
	_cleanup_reset_ sqlite3_stmt *stmt = NULL;
	uint64_t now = now_monotonic_usec();

	if (count_unfinished(journal) == 0) {
		journal->oldest_usec = 0;
		return 0;
	}
	if (journal->oldest_usec && now < journal->oldest_usec + OLDEST_USEC)
		return journal->oldest;
	int r = db_kept(journal, ST_OLDEST, &stmt, NULL);
	if (r >= 0)
		r = db_step(journal, stmt, NULL);
	if (r < 0)
		return journal->oldest;
	journal->oldest = r > 0 ? column_u64(stmt, 0) : 0;
	journal->oldest_usec = now;
	return journal->oldest;
}

void journal_get_figures(struct journal *journal, struct journal_figures *ret)
{
	const int64_t *states = journal->counts.states;

	(void)journal_sample(journal, NULL); /* the last sample will do */
	*ret = journal->figures;
	ret->events = (uint64_t)journal->counts.events;
	ret->jobs = 0;
	for (size_t i = 0; i < JOB_STATE_MAX; i++)
		ret->jobs += (uint64_t)states[i];
	ret->queued = (uint64_t)states[JOB_QUEUED];
	ret->running = (uint64_t)(states[JOB_STARTING] + states[JOB_RUNNING] + states[JOB_RECOVERING]);
	ret->backoff = (uint64_t)states[JOB_BACKOFF];
	ret->lost = (uint64_t)states[JOB_LOST];
	ret->oldest_waiting_realtime_usec = oldest_waiting(journal);
	ret->size_bytes = journal->sample.file_bytes;
	ret->disk_free_bytes = journal->sample.disk_free_bytes;
}
