/* journal_prune.c - retention, in steps that are short enough for the loop.
 *
 * What goes: ended jobs past their time or beyond their number, with their runs; events that no
 * job needs any more; revisions and contents that neither a script nor a job uses. What never
 * goes: unfinished jobs, lost jobs within their time, anything a marked object is about to refer
 * to.
 *
 * Passes walk by id, oldest first, and remember where they stopped. */
#include "cleanup.h"
#include "job.h"
#include "journal_private.h"
#include <errno.h>
#include <string.h>
#include <util.h>

#define LOOK_MAX 2000 /* rows looked at in a step */
#define DROP_MAX 500 /* rows dropped in a step */
#define DROP_USEC (20 * USEC_PER_MSEC) /* a step ends after this time */
#define WALK_MAX 5000 /* jobs looked at in a step for the revisions they use */
#define WALK_EVERY_USEC (600 * USEC_PER_SEC)
#define VACUUM_PAGES 256 /* moved in a step */
#define VACUUM_FREE_MIN 1024 /* fewer free pages are kept for reuse */
#define EVENT_AGE_MIN_USEC (60 * USEC_PER_SEC) /* a younger event's jobs may be yet to come */

struct id_set { /* sorted once it is full */
	uint64_t *ids;
	size_t count, size;
};

struct victim {
	uint64_t id, event;
	enum job_state state;
};

/* What marked objects refer to, and one step's intent. */
struct step {
	struct journal *journal;
	struct id_set pinned_jobs, pinned_events, pinned_revisions;
	uint64_t keep_after; /* rows that ended later are kept */
	int64_t surplus; /* finished jobs beyond keep_jobs, less those that are to go */
	uint64_t deadline_usec; /* CLOCK_MONOTONIC, for dropping */
	bool pressed; /* the size limit is near: finished jobs go before their time */
	bool more; /* the pass has not come to its end */
	struct journal_counts dropped;
	int done;
};

/* ---------------------------------------------------------------------------------- sets of ids */

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static int set_add(struct id_set *set, uint64_t id)
{
	if (set->count == set->size) {
		size_t size = set->size ? 2 * set->size : 64;
		uint64_t *more = reallocarray(set->ids, size, sizeof *more);
		if (!more)
			return -ENOMEM;
		set->ids = more;
		set->size = size;
	}
	set->ids[set->count++] = id;
	return 0;
}

static void set_sort(struct id_set *set)
{
	if (set->count > 1)
		qsort(set->ids, set->count, sizeof *set->ids, compare_ids);
}

static bool set_has(const struct id_set *set, uint64_t id)
{
	return set->count > 0 && bsearch(&id, set->ids, set->count, sizeof *set->ids, compare_ids);
}

static void set_done(struct id_set *set) { free(set->ids); }

static void step_done(struct step *step)
{
	set_done(&step->pinned_jobs);
	set_done(&step->pinned_events);
	set_done(&step->pinned_revisions);
}
#define _cleanup_step_ _cleanup_(step_done)

static int pin_marked(struct step *step)
{
	const struct job *job;

	TAILQ_FOREACH (job, &step->journal->jobs, marked)
		if (set_add(&step->pinned_jobs, job->abi.id) < 0 || set_add(&step->pinned_events, job->event->id) < 0 ||
		    set_add(&step->pinned_revisions, job->script->revision) < 0)
			return -ENOMEM;
	set_sort(&step->pinned_jobs);
	set_sort(&step->pinned_events);
	set_sort(&step->pinned_revisions);
	return 0;
}

/* ----------------------------------------------------------------------------------------- jobs */

static int run_with_id(struct journal *journal, sqlite3_stmt *stmt, uint64_t id, struct lsn_error *err)
{
	bind_u64(stmt, 1, id);
	return db_run(journal, stmt, err);
}

static bool job_may_go(const struct step *step, enum job_state state, uint64_t finished)
{
	if (state == JOB_LOST)
		return finished < step->keep_after;
	return state == JOB_FINISHED && (finished < step->keep_after || step->surplus > 0 || step->pressed);
}

/* look_at_jobs - fill VICTIMS with at most DROP_MAX jobs that may go. */
static int look_at_jobs(struct step *step, struct victim *victims, int *ret_count, struct lsn_error *err)
{
	struct journal *journal = step->journal;
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int count = 0,
	    r = db_prepare(journal, "SELECT id, event, state, finished, created FROM jobs WHERE id > ?1 ORDER BY id",
			   &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, journal->prune.job_cursor);
	for (int looked = 0; looked < LOOK_MAX && count < DROP_MAX; looked++) {
		r = db_step(journal, stmt, err);
		if (r < 0)
			return r;
		if (r == 0 || (column_u64(stmt, 4) >= step->keep_after && !step->pressed && step->surplus <= 0)) {
			journal->prune.job_cursor = 0;
			*ret_count = count;
			return 0;
		}
		journal->prune.job_cursor = column_u64(stmt, 0);
		const struct victim job = { column_u64(stmt, 0), column_u64(stmt, 1),
					    (enum job_state)sqlite3_column_int(stmt, 2) };
		if (!job_may_go(step, job.state, column_u64(stmt, 3)) || set_has(&step->pinned_jobs, job.id))
			continue;
		victims[count++] = job;
		step->surplus -= job.state == JOB_FINISHED;
	}
	step->more = true;
	*ret_count = count;
	return 0;
}

#define DROP_EVENT "DELETE FROM events WHERE id = ?1 AND NOT EXISTS(SELECT 1 FROM jobs WHERE event = ?1)"

static int drop_event(struct step *step, sqlite3_stmt *stmt, uint64_t id, struct lsn_error *err)
{
	if (set_has(&step->pinned_events, id))
		return 0;
	int r = run_with_id(step->journal, stmt, id, err);
	int dropped = r < 0 ? 0 : sqlite3_changes(step->journal->db);
	step->dropped.events += dropped;
	step->done += dropped;
	return r;
}

/* drop_jobs - until the step's time is up: a row can have a megabyte behind it. */
static int drop_jobs(struct step *step, const struct victim *victims, int count, struct lsn_error *err)
{
	struct journal *journal = step->journal;
	_cleanup_finalize_ sqlite3_stmt *runs = NULL, *jobs = NULL, *events = NULL;
	int r = db_prepare(journal, "DELETE FROM runs WHERE job = ?1", &runs, err);

	if (r >= 0)
		r = db_prepare(journal, "DELETE FROM jobs WHERE id = ?1", &jobs, err);
	if (r >= 0)
		r = db_prepare(journal, DROP_EVENT, &events, err);
	for (int i = 0; r >= 0 && i < count; i++) {
		if (i > 0 && now_monotonic_usec() >= step->deadline_usec) {
			journal->prune.job_cursor = victims[i - 1].id;
			step->more = true;
			return 0;
		}
		r = run_with_id(journal, runs, victims[i].id, err);
		if (r >= 0)
			r = run_with_id(journal, jobs, victims[i].id, err);
		if (r >= 0)
			r = drop_event(step, events, victims[i].event, err);
		step->dropped.states[victims[i].state]++;
		step->done++;
	}
	return r;
}

static int prune_jobs(struct step *step, struct lsn_error *err)
{
	struct victim victims[DROP_MAX];
	int count = 0, r = look_at_jobs(step, victims, &count, err);

	return r < 0 || count == 0 ? r : drop_jobs(step, victims, count, err);
}

/* -------------------------------------------------------------------------- events without jobs */

/* Rejected ones, and unmatched ones where those are recorded. How many there are is not counted,
 * but events beyond jobs cannot have one each. */
static bool too_many_events(const struct step *step)
{
	const struct journal_counts *counts = &step->journal->counts;
	int64_t jobs = 0, events = counts->events - step->dropped.events;

	for (size_t i = 0; i < JOB_STATE_MAX; i++)
		jobs += counts->states[i] - step->dropped.states[i];
	return events > jobs && (uint64_t)(events - jobs) > step->journal->config.keep_jobs;
}

/* look_at_events - fill IDS with at most DROP_MAX events that no job needs. */
static int look_at_events(struct step *step, uint64_t *ids, int *ret_count, struct lsn_error *err)
{
	struct journal *journal = step->journal;
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	uint64_t keep_after = step->keep_after, young = now_realtime_usec() - EVENT_AGE_MIN_USEC;
	int count = 0,
	    r = db_prepare(
		    journal,
		    "SELECT id, received, EXISTS(SELECT 1 FROM jobs WHERE event = events.id) FROM events WHERE id > "
		    "?1 ORDER BY id",
		    &stmt, err);

	if (r < 0)
		return r;
	if (too_many_events(step) || step->pressed || keep_after > young)
		keep_after = young;
	bind_u64(stmt, 1, journal->prune.event_cursor);
	for (int looked = 0; looked < LOOK_MAX && count < DROP_MAX; looked++) {
		r = db_step(journal, stmt, err);
		if (r < 0)
			return r;
		if (r == 0 || column_u64(stmt, 1) >= keep_after) {
			journal->prune.event_cursor = 0;
			*ret_count = count;
			return 0;
		}
		journal->prune.event_cursor = column_u64(stmt, 0);
		if (sqlite3_column_int(stmt, 2) == 0)
			ids[count++] = column_u64(stmt, 0);
	}
	step->more = true;
	*ret_count = count;
	return 0;
}

static int prune_events(struct step *step, struct lsn_error *err)
{
	struct journal *journal = step->journal;
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	uint64_t ids[DROP_MAX];
	int count = 0, r = look_at_events(step, ids, &count, err);

	if (r >= 0 && count > 0)
		r = db_prepare(journal, DROP_EVENT, &stmt, err);
	for (int i = 0; r >= 0 && i < count; i++) {
		if (i > 0 && now_monotonic_usec() >= step->deadline_usec) {
			journal->prune.event_cursor = ids[i - 1];
			step->more = true;
			return 0;
		}
		r = drop_event(step, stmt, ids[i], err);
	}
	return r;
}

/* ------------------------------------------------------------------------ revisions nobody uses */

static int begin_walk(struct step *step, struct lsn_error *err)
{
	struct journal_prune *prune = &step->journal->prune;
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	uint64_t now = now_monotonic_usec();
	int r;

	if (prune->walked_usec && now < prune->walked_usec + WALK_EVERY_USEC)
		return 0;
	r = db_prepare(step->journal,
		       "SELECT id FROM revisions WHERE id > ?1 AND NOT EXISTS(SELECT 1 FROM scripts WHERE revision = "
		       "revisions.id) ORDER BY id LIMIT ?2",
		       &stmt, err);
	if (r < 0)
		return r;
	bind_u64(stmt, 1, prune->revision_cursor);
	bind_u64(stmt, 2, GARBAGE_MAX);
	while ((r = db_step(step->journal, stmt, err)) > 0)
		prune->garbage[prune->garbage_count++] = column_u64(stmt, 0);
	prune->walk_cursor = 0;
	/* A full list may have a sequel, which need not wait. */
	prune->revision_cursor = prune->garbage_count == GARBAGE_MAX ? prune->garbage[GARBAGE_MAX - 1] : 0;
	prune->walked_usec = prune->revision_cursor ? 0 : now;
	return r;
}

static void strike_out(struct journal_prune *prune, uint64_t revision)
{
	uint64_t *found = bsearch(&revision, prune->garbage, prune->garbage_count, sizeof revision, compare_ids);

	if (!found)
		return;
	prune->garbage_count--;
	memmove(found, found + 1, (size_t)(prune->garbage + prune->garbage_count - found) * sizeof *found);
}

static int walk_jobs(struct step *step, bool *ret_end, struct lsn_error *err)
{
	struct journal_prune *prune = &step->journal->prune;
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int looked = 0, r = db_prepare(step->journal,
				       "SELECT id, revision FROM jobs WHERE id > ?1 ORDER BY id LIMIT ?2", &stmt, err);

	if (r < 0)
		return r;
	bind_u64(stmt, 1, prune->walk_cursor);
	bind_u64(stmt, 2, WALK_MAX);
	while ((r = db_step(step->journal, stmt, err)) > 0) {
		looked++;
		prune->walk_cursor = column_u64(stmt, 0);
		strike_out(prune, column_u64(stmt, 1));
	}
	*ret_end = looked < WALK_MAX;
	return r;
}

static int drop_garbage(struct step *step, struct lsn_error *err)
{
	static const char *const leftovers[] = {
		"DELETE FROM versions WHERE NOT EXISTS(SELECT 1 FROM revisions WHERE version = versions.hash)",
		"DELETE FROM script_names WHERE NOT EXISTS(SELECT 1 FROM revisions WHERE script = script_names.id)",
	};
	struct journal *journal = step->journal;
	struct journal_prune *prune = &journal->prune;
	_cleanup_finalize_ sqlite3_stmt *stmt = NULL;
	int dropped = 0;
	/* It may have become a script's again since the walk began. */
	int r = db_prepare(
		journal,
		"DELETE FROM revisions WHERE id = ?1 AND NOT EXISTS(SELECT 1 FROM scripts WHERE revision = ?1)", &stmt,
		err);

	for (size_t i = 0; r >= 0 && i < prune->garbage_count; i++) {
		if (set_has(&step->pinned_revisions, prune->garbage[i]))
			continue;
		r = run_with_id(journal, stmt, prune->garbage[i], err);
		dropped += r >= 0 ? sqlite3_changes(journal->db) : 0;
	}
	for (size_t i = 0; r >= 0 && dropped > 0 && i < ELEMENTSOF(leftovers); i++)
		r = db_exec(journal, leftovers[i], err);
	step->done += dropped;
	prune->garbage_count = 0;
	return r;
}

/* prune_revisions - jobs have no index by revision, for all would pay for it at each insert.
 * Candidates are few and rare: one walk over the jobs strikes out those in use. Jobs that come
 * meanwhile are met at the walk's end. */
static int prune_revisions(struct step *step, struct lsn_error *err)
{
	struct journal_prune *prune = &step->journal->prune;
	bool end = false;
	int r = prune->garbage_count == 0 ? begin_walk(step, err) : 0;

	if (r >= 0 && prune->garbage_count > 0)
		r = walk_jobs(step, &end, err);
	if (r >= 0 && end)
		r = drop_garbage(step, err);
	step->more |= prune->garbage_count > 0;
	return r;
}

/* ---------------------------------------------------------------------------------------- space */

static int give_back_space(struct step *step, struct lsn_error *err)
{
	struct journal *journal = step->journal;
	const struct journal_sample *sample = &journal->sample;
	bool short_of_disk = sample->disk_free_bytes < journal->config.disk_free_min_bytes && sample->free_pages > 0;
	char sql[64];

	if (!short_of_disk && (sample->free_pages < VACUUM_FREE_MIN || sample->free_pages < sample->pages / 4))
		return 0;
	(void)snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
	int r = db_exec(journal, sql, err);
	if (r >= 0) {
		journal->sample.taken_usec = 0;
		step->done++;
	}
	return r;
}

static int prune_rows(struct step *step, struct lsn_error *err)
{
	struct journal *journal = step->journal;
	int r = db_begin(journal, err);

	if (r < 0)
		return r;
	r = prune_jobs(step, err);
	if (r >= 0)
		r = prune_events(step, err);
	if (r >= 0)
		r = prune_revisions(step, err);
	if (r >= 0)
		r = db_commit(journal, err);
	if (r < 0) {
		db_rollback(journal);
		/* The passes' notes may be ahead of what happened. */
		journal->prune = (struct journal_prune){ 0 };
		return r;
	}
	if (step->done > 0)
		journal->sample.taken_usec = 0;
	journal->counts.events -= step->dropped.events;
	for (size_t i = 0; i < JOB_STATE_MAX; i++)
		journal->counts.states[i] -= step->dropped.states[i];
	return 0;
}

int journal_prune(struct journal *journal, struct lsn_error *err)
{
	_cleanup_step_ struct step step = { .journal = journal };
	const struct journal_config *config = &journal->config;
	uint64_t now = now_realtime_usec();

	if (journal->in_scripts)
		return 0;
	int r = pin_marked(&step) < 0 ? lsn_error_set(err, -ENOMEM, "out of memory") : journal_sample(journal, err);
	if (r < 0)
		return r;
	step.deadline_usec = now_monotonic_usec() + DROP_USEC;
	step.keep_after = now > config->keep_usec ? now - config->keep_usec : 0;
	step.surplus = journal->counts.states[JOB_FINISHED] -
		       (int64_t)(config->keep_jobs < INT64_MAX ? config->keep_jobs : INT64_MAX);
	step.pressed = journal->sample.used_bytes >= config->size_max_bytes - config->size_max_bytes / 10;
	r = prune_rows(&step, err);
	if (r >= 0)
		r = give_back_space(&step, err);
	if (r < 0)
		return r;
	return step.done + (step.more ? 1 : 0);
}
