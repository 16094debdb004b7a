/* journal.h - what must survive: events, jobs, runs, script revisions and contents, the
 * redelivery window. SQLite, WAL, synchronous = FULL. SQLITE_* codes stop here.
 *
 * Writing is in groups. The parts of the daemon change their objects and mark them:
 *
 *     journal_put_event(), journal_put_job(), journal_put_window()
 *                           any number, cheap, in memory only
 *     journal_commit()      one transaction, one sync, at the end of the loop's turn
 *
 * When journal_commit() returns 0 everything marked is on disk and unmarked. When it fails
 * nothing was written, all stays marked and a later call tries again: the caller only has to
 * hold back what depends on it (acks, hand-overs). Nothing is ever half in the journal.
 *
 * Loop thread only. journal_commit() blocks for the sync (0.2 ms to a few ms); reads block for
 * the rows they return. */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include "hold.h"
#include "histogram.h"
#include "job.h"

struct journal;

struct journal_config {
	char *path; /* the database file; its folder must exist */
	uint64_t size_max_bytes; /* of the database and its WAL together */
	uint64_t jobs_max; /* unfinished jobs */
	uint64_t disk_free_min_bytes; /* keep this much of the file system free */
	uint64_t keep_usec; /* finished and lost jobs and their events are kept this long */
	/* and at most so many finished ones (lost ones stay); near size_max_bytes finished ones
	 * go earlier */
	uint64_t keep_jobs;
};

/* journal_open - create or open; migrates an older schema, refuses a newer one, locks PATH.lock
 * against a second daemon.
 * CONFIG is copied.
 * -EBUSY (in use), -EPROTONOSUPPORT (newer), -EMEDIUMTYPE (another program's file), -EUCLEAN
 * (damaged), other negative errno. */
int journal_open(const struct journal_config *config, struct journal **ret, struct lsn_error *err);
void journal_close(struct journal *journal); /* what is marked and uncommitted is not written */

/* journal_set_config - new limits. The path stays as it is. */
void journal_set_config(struct journal *journal, const struct journal_config *config);

/* journal_next_event_id - a number that no event has had, also not in a daemon that was killed. */
uint64_t journal_next_event_id(struct journal *journal);

/* journal_next_job_id - the same for jobs. */
uint64_t journal_next_job_id(struct journal *journal);

/* journal_put_event - mark EVENT for the next commit.
 * The journal holds a reference until then.
 * An event is written once. Its payload is dropped from memory then. */
void journal_put_event(struct journal *journal, struct event *event);

/* journal_put_job - mark JOB for the next commit.
 * The journal holds a reference until then.
 * The commit writes the job's row as the job is at the commit, the row of its current attempt while
 * that is out, and its event if it has no row yet.
 * A job may be marked twice.
 * No second object of the same job may be in memory. */
void journal_put_job(struct journal *journal, struct job *job);

/* journal_put_result - what an attempt came to, for its row; RESULT is taken over.
 * The first result of an attempt stays, unless that was LOST: then the truth replaces it. */
void journal_put_result(struct journal *journal, struct job_result *result);

/* journal_put_window - remember SIZE bytes (copied) of the redelivery window: WHOLE, replacing
 * the old, or behind what it has of it; see window.h. */
int journal_put_window(struct journal *journal, const void *data, size_t size, bool whole);
bool journal_has_pending(const struct journal *journal); /* something is marked */

/* journal_commit - write all that is marked, in one transaction, and wait until it is on disk.
 * 0; -ENOSPC, -EIO or another negative errno with ERR: nothing is written, all is still marked. */
int journal_commit(struct journal *journal, struct lsn_error *err);

/* journal_get_window - the redelivery window as it was stored last.
 * *RET is the caller's, to be freed with free(). *RET_SIZE is 0 if none is stored.
 * 0, or a negative errno. */
int journal_get_window(struct journal *journal, void **ret, size_t *ret_size);

/* journal_capacity - is there room for more events?
 * 0, or -ENOSPC with ERR, which names the limit that is reached: size, jobs or free disk.
 * Cheap: sizes are sampled. */
int journal_capacity(struct journal *journal, struct lsn_error *err);

struct journal_figures {
	uint64_t events, jobs, queued, running, backoff, lost; /* rows; events counts stored ones */
	/* when the oldest unfinished job's event was received; 0: none waits */
	uint64_t oldest_waiting_realtime_usec;
	uint64_t size_bytes, disk_free_bytes;
	uint64_t commits, commit_usec_total, commit_usec_max; /* since open */
	struct histogram commit_times; /* histogram_writes */
};

/* journal_get_figures - cheap enough to be called each second. */
void journal_get_figures(struct journal *journal, struct journal_figures *ret);

/* --------------------------------------------------------------------------------- unfinished jobs
 * Each call makes fresh job objects (one reference, handed to FN) with their script, and with their
 * event without its payload; within a call jobs share them. A job whose event or script cannot be
 * read has the reason in `unreadable`, and stand-ins for them. */
typedef void (*journal_job_fn)(void *data, struct job *job);

/* Jobs of SCRIPT_NAME in state QUEUED or BACKOFF with id > AFTER, by id, at most LIMIT. */
int journal_load_queued(struct journal *journal, const char *script_name, uint64_t after, unsigned limit,
			journal_job_fn fn, void *data, struct lsn_error *err);

/* Likewise those about OBJECT (event_object()) with FROM <= id <= LAST. */
int journal_load_object(struct journal *journal, const char *script_name, uint64_t object, uint64_t from, uint64_t last,
			unsigned limit, journal_job_fn fn, void *data, struct lsn_error *err);

/* All jobs that were handed over (STARTING or RUNNING when the last daemon died), in state
 * RECOVERING. */
int journal_load_running(struct journal *journal, journal_job_fn fn, void *data, struct lsn_error *err);

/* Names of scripts that have queued or backoff jobs. */
int journal_list_waiting(struct journal *journal, void (*fn)(void *data, const char *script_name, uint64_t jobs),
			 void *data, struct lsn_error *err);

/* journal_load_job - one job, whatever its state, for retry and replay.
 * -ENOENT. */
int journal_load_job(struct journal *journal, uint64_t id, struct job **ret, struct lsn_error *err);

/* ----------------------------------------------------------------------------------------- scripts
 * Written at once, not with the group. Between journal_scripts_begin() and _end() many changes
 * share one transaction. */
struct journal_script { /* a row of the registry; strings borrowed */
	const char *name;
	enum script_state state;
	const char *reason; /* "" if none */
	/* the source's mark of what it has seen (url, mtime:size), "" if none */
	const char *source_key;
	struct script *script; /* the active revision, or NULL */
	uint64_t updated_realtime_usec;
};
int journal_scripts_begin(struct journal *journal, struct lsn_error *err);
int journal_scripts_end(struct journal *journal, bool keep, struct lsn_error *err);

/* journal_add_revision - store SCRIPT (sets script->revision; an equal one is found again) and,
 * if not yet there, its CONTENT. */
int journal_add_revision(struct journal *journal, struct script *script, const void *content, size_t size,
			 struct lsn_error *err);
int journal_put_script(struct journal *journal, const struct journal_script *row, struct lsn_error *err);
int journal_drop_script(struct journal *journal, const char *name, struct lsn_error *err);
int journal_each_script(struct journal *journal, void (*fn)(void *data, const struct journal_script *row), void *data,
			struct lsn_error *err); /* fn may take a reference of row->script */

/* journal_read_script, journal_read_payload - call FN with the bytes of a script's VERSION or of
 * the payload of EVENT, valid for the call.
 * Returns what FN returns; -EUCLEAN: there are none, or they are damaged; other errors may pass. */
typedef int (*journal_bytes_fn)(void *data, const void *bytes, size_t size);
int journal_read_script(struct journal *journal, const char *version, journal_bytes_fn fn, void *data,
			struct lsn_error *err);
int journal_read_payload(struct journal *journal, uint64_t event, journal_bytes_fn fn, void *data,
			 struct lsn_error *err);

/* ------------------------------------------------------------------------------------------- holds
 * Written at once, not with the group.
 * journal_put_hold - HOLD's row, anew if it has an id; else it gets one. */
int journal_put_hold(struct journal *journal, struct hold *hold, struct lsn_error *err);
int journal_drop_hold(struct journal *journal, uint64_t id, struct lsn_error *err); /* no such hold: fine */
int journal_each_hold(struct journal *journal, void (*fn)(void *data, const struct hold *hold), void *data,
		      struct lsn_error *err); /* by id */

/* -------------------------------------------------------------- history, for the control socket */
struct journal_query {
	const char *script; /* exact name or NULL */
	const char *topic; /* filter the event's topic must match (valid) or NULL */
	/* enum job_state or -1; RUNNING stands for all that are handed over (the journal knows
	 * the intent, see job.h) */
	int state;
	int outcome; /* enum lsn_outcome or -1 */
	bool failed; /* only jobs that ended without success, and not on an operator's word */
	bool latest; /* only jobs that no later job of the same event and script stands for */
	uint64_t since_realtime_usec, until_realtime_usec; /* 0: open */
	uint64_t from_id, before_id; /* 0: to the oldest, from the newest */
	unsigned limit; /* 1 or more */
};
struct journal_job_row { /* strings borrowed for the call */
	uint64_t id, event, replay_of;
	uint64_t object; /* event_object() */
	uint64_t superseded_by; /* see journal_superseded_by() */
	const char *script, *version, *filter, *topic, *executor, *place;
	enum job_state state;
	int outcome; /* -1: none yet */
	unsigned attempt;
	uint64_t received_realtime_usec, created_realtime_usec, started_realtime_usec, finished_realtime_usec,
		duration_usec;
	uint64_t payload_size;
	const char *message;
};

/* Where an answer goes on.
 * Starts zeroed; owns nothing. */
struct journal_cursor {
	bool begun;
	uint64_t from, before; /* the ids not looked at yet: [from, before) */
	uint64_t span; /* so many of them are looked at with one statement */
	unsigned given;
};

/* journal_ask_jobs - the next rows that answer QUERY, newest first, as many as are found in
 * about BUDGET_USEC, and one at least.
 * Return false from FN to stop.
 * 1: there may be more, go on with the same QUERY and CURSOR, now or later; what was recorded
 * meanwhile may be missing.
 * 0: that was all, or QUERY's limit, or FN has stopped it.
 * A negative errno with ERR. */
int journal_ask_jobs(struct journal *journal, const struct journal_query *query, struct journal_cursor *cursor,
		     uint64_t budget_usec, bool (*fn)(void *data, const struct journal_job_row *row), void *data,
		     struct lsn_error *err);

/* journal_superseded_by - the latest job of JOB's event and script, if that came after JOB and so
 * stands for it; 0: there is none.
 * What is marked for the next commit counts. */
int journal_superseded_by(struct journal *journal, const struct job *job, uint64_t *ret_id, struct lsn_error *err);

struct journal_run_row {
	unsigned attempt;
	const char *executor, *place, *message;
	int outcome; /* -1: not ended */
	int exit_status, signal;
	uint64_t started_realtime_usec, duration_usec, user_usec, system_usec, max_rss_bytes;
	const void *out, *err;
	size_t out_size, err_size;
	bool out_truncated, err_truncated;
};
int journal_each_run(struct journal *journal, uint64_t job, void (*fn)(void *data, const struct journal_run_row *row),
		     void *data, struct lsn_error *err);

/* Rejected events, newest first. */
int journal_each_rejected(struct journal *journal, unsigned limit,
			  void (*fn)(void *data, uint64_t id, uint64_t received_realtime_usec, const void *topic,
				     size_t topic_size, const char *reason),
			  void *data, struct lsn_error *err);

/* journal_prune - a bounded step of dropping what retention no longer keeps: ended jobs with
 * their runs, events without jobs, revisions and contents nobody uses; and of giving free space
 * back to the file system.
 * Returns how much was done (0: enough for now) or negative. */
int journal_prune(struct journal *journal, struct lsn_error *err);

#endif
