/* test_journal.c - the journal: what is committed is there, what is not is not, whatever happens
 * in between. Files are real, full disks are real (a small tmpfs), deaths are real (SIGKILL). */
#include "journal.h"
#include "log.h"
#include "suite.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <util.h>

#define HOUR (3600 * USEC_PER_SEC)

static char folder[] = "/tmp/test_journal.XXXXXX", path[128];
static struct journal_config config;
static struct journal *journal;
static struct script *script_a, *script_b;

/* -------------------------------------------------------------------------------------- helpers */

/* An observer of what SQLite does: which file is synced. */
static unsigned wal_syncs;
int fdatasync(int fd)
{
	char link[32], name[256];

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, name, sizeof name - 1);
	if (n > 4 && memcmp(name + n - 4, "-wal", 4) == 0)
		wal_syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

static struct script *make_script(const char *name, const char *filter, const char *content)
{
	struct script *script = calloc(1, sizeof *script);
	unsigned sum = 7;

	ck_assert_ptr_nonnull(script);
	for (const char *p = content; *p; p++)
		sum = sum * 31 + (unsigned char)*p;
	script->refs = 1;
	script->name = strdup(name);
	script->filter = strdup(filter);
	(void)snprintf(script->version, sizeof script->version, "%064x", sum);
	script->settings = (struct script_settings){ .timeout_usec = 12 * USEC_PER_SEC,
						     .memory_bytes = 1 << 26,
						     .output = OUTPUT_CAPTURE,
						     .input = LSN_INPUT_PIPE,
						     .executor = "docker",
						     .on_lost = ON_LOST_RERUN,
						     .retries = 3,
						     .retry_delay_usec = 5,
						     .retry_on = 1U << LSN_OUTCOME_TIMEOUT };
	return script;
}

static void open_journal(void)
{
	struct lsn_error err = { 0 };
	int r = journal_open(&config, &journal, &err);
	ck_assert_msg(r == 0, "%s", err.message);
}

static void close_journal(void)
{
	journal_close(journal);
	journal = NULL;
}

static void reopen(void)
{
	close_journal();
	open_journal();
}

static void commit(void)
{
	struct lsn_error err = { 0 };
	int r = journal_commit(journal, &err);
	ck_assert_msg(r == 0, "%s", err.message);
	ck_assert(!journal_has_pending(journal));
}

static void add_scripts(void)
{
	struct lsn_error err = { 0 };

	script_a = make_script("a.py", "create/#", "print('a')");
	script_b = make_script("sub/b.py", "+/+/b", "print('b')");
	ck_assert_msg(journal_add_revision(journal, script_a, "print('a')", 10, &err) == 0, "%s", err.message);
	ck_assert_msg(journal_add_revision(journal, script_b, "print('b')", 10, &err) == 0, "%s", err.message);
}

static void setup(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX"); /* NOLINT: it fits */
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof path, "%s/journal.db", folder);
	config = (struct journal_config){ .path = path,
					  .size_max_bytes = 1 << 30,
					  .jobs_max = 1000000,
					  .keep_usec = 24 * HOUR,
					  .keep_jobs = 1000000 };
	open_journal();
	add_scripts();
}

static void teardown(void)
{
	static const char *const ends[] = { "", "-wal", "-shm", ".lock" };
	char name[160];

	close_journal();
	script_a = script_unref(script_a);
	script_b = script_unref(script_b);
	for (size_t i = 0; i < ELEMENTSOF(ends); i++) {
		(void)snprintf(name, sizeof name, "%s%s", path, ends[i]);
		(void)unlink(name);
	}
	ck_assert_int_eq(rmdir(folder), 0);
}

/* sql - a number, asked by another connection. */
static int64_t sql(const char *text)
{
	sqlite3 *db;
	sqlite3_stmt *stmt;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_msg(sqlite3_prepare_v2(db, text, -1, &stmt, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
	int64_t number = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return number;
}

static struct event *put_event(const char *topic, const char *payload)
{
	struct event *event;

	ck_assert_int_eq(event_new(topic, strlen(topic), payload, strlen(payload), &event), 0);
	event->id = journal_next_event_id(journal);
	event->qos = 1;
	journal_put_event(journal, event);
	return event;
}

static struct job *put_job(struct event *event, struct script *script)
{
	struct job *job;

	ck_assert_int_eq(job_new(journal_next_job_id(journal), event, script, &job), 0);
	journal_put_job(journal, job);
	return job;
}

/* queue_one - a job of its own event; returns the job. */
static struct job *queue_one(struct script *script)
{
	struct event *event = put_event("create/resource/x", "{\"n\": 1}");
	struct job *job = put_job(event, script);

	event_unref(event);
	return job;
}

static void start(struct job *job, const char *place)
{
	job->abi.attempt++;
	(void)snprintf(job->executor, sizeof job->executor, "docker");
	(void)snprintf(job->place, sizeof job->place, "%s", place);
	job_set_state(job, JOB_STARTING);
	journal_put_job(journal, job);
}

static void put_result(const struct job *job, const struct lsn_result *result)
{
	struct job_result *copy;

	ck_assert_int_eq(job_result_new(result, &copy), 0);
	copy->job = job->abi.id;
	copy->attempt = job->abi.attempt;
	(void)snprintf(copy->executor, sizeof copy->executor, "%s", job->executor);
	(void)snprintf(copy->place, sizeof copy->place, "%s", job->place);
	journal_put_result(journal, copy);
}

static void end(struct job *job, enum job_state state, enum lsn_outcome outcome, const char *message)
{
	struct lsn_result result = { .size = sizeof result,
				     .outcome = outcome,
				     .exit_status = outcome == LSN_OUTCOME_FAILURE,
				     .duration_usec = 2300,
				     .user_usec = 11,
				     .system_usec = 12,
				     .max_rss_bytes = 13,
				     .out = "out",
				     .out_size = 3,
				     .err = "err\0r",
				     .err_size = 5,
				     .err_truncated = 1 };

	(void)snprintf(result.message, sizeof result.message, "%s", message);
	if (job->state == JOB_STARTING || job->state == JOB_RUNNING || job->state == JOB_RECOVERING)
		put_result(job, &result);
	job_set_end(job, outcome, message);
	job_set_state(job, state);
	journal_put_job(journal, job);
}

/* finish_one - a whole life in one commit; returns the id. */
static uint64_t finish_one(struct script *script, enum lsn_outcome outcome)
{
	struct job *job = queue_one(script);
	uint64_t id = job->abi.id;

	start(job, "p");
	end(job, outcome == LSN_OUTCOME_LOST ? JOB_LOST : JOB_FINISHED, outcome, "");
	commit();
	job_unref(job);
	return id;
}

struct loaded {
	struct job *job[64];
	unsigned count;
};

static int copy_bytes(void *data, const void *bytes, size_t size)
{
	memcpy(data, bytes, size);
	return (int)size;
}

static void collect(void *data, struct job *job)
{
	struct loaded *jobs = data;
	ck_assert_uint_lt(jobs->count, 64);
	jobs->job[jobs->count++] = job;
}

static void jobs_clear(struct loaded *jobs)
{
	while (jobs->count > 0)
		job_unref(jobs->job[--jobs->count]);
}

static struct job *load(uint64_t id)
{
	struct lsn_error err = { 0 };
	struct job *job = NULL;

	ck_assert_msg(journal_load_job(journal, id, &job, &err) == 0, "%s", err.message);
	return job;
}

struct runs {
	unsigned count, attempt[8];
	int outcome[8];
	char place[8][32];
	uint64_t started[8];
};

static void collect_run(void *data, const struct journal_run_row *row)
{
	struct runs *runs = data;
	ck_assert_uint_lt(runs->count, 8);
	runs->attempt[runs->count] = row->attempt;
	runs->outcome[runs->count] = row->outcome;
	runs->started[runs->count] = row->started_realtime_usec;
	(void)snprintf(runs->place[runs->count++], 32, "%s", row->place);
}

static struct runs runs_of(uint64_t id)
{
	struct runs runs = { 0 };
	ck_assert_int_eq(journal_each_run(journal, id, collect_run, &runs, NULL), 0);
	return runs;
}

static struct journal_figures figures(void)
{
	struct journal_figures ret;
	journal_get_figures(journal, &ret);
	return ret;
}

static void same_figures_after_reopen(void)
{
	struct journal_figures before = figures(), after;

	reopen();
	after = figures();
	ck_assert_uint_eq(before.events, after.events);
	ck_assert_uint_eq(before.jobs, after.jobs);
	ck_assert_uint_eq(before.queued, after.queued);
	ck_assert_uint_eq(before.running, after.running);
	ck_assert_uint_eq(before.backoff, after.backoff);
	ck_assert_uint_eq(before.lost, after.lost);
}

/* ----------------------------------------------------------------------------------------- open */

START_TEST(test_journal__file_is_private_and_as_wanted)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(sql("PRAGMA auto_vacuum"), 2);
	ck_assert_int_eq(sql("PRAGMA page_size"), 4096);
	ck_assert_int_gt(sql("PRAGMA user_version"), 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
}
END_TEST

START_TEST(test_journal__second_daemon_is_refused)
{
	struct lsn_error err = { 0 };
	struct journal *second = NULL;
	char pid[32];

	ck_assert_int_eq(journal_open(&config, &second, &err), -EBUSY);
	(void)snprintf(pid, sizeof pid, "process %d", (int)getpid());
	ck_assert_ptr_nonnull(strstr(err.message, pid));
	ck_assert_ptr_nonnull(strstr(err.message, "journal.db.lock"));
	reopen();
}
END_TEST

START_TEST(test_journal__newer_schema_is_refused_untouched)
{
	struct lsn_error err = { 0 };

	close_journal();
	(void)sql("PRAGMA user_version = 999");
	ck_assert_int_eq(journal_open(&config, &journal, &err), -EPROTONOSUPPORT);
	ck_assert_ptr_nonnull(strstr(err.message, "newer"));
	ck_assert_int_eq(sql("PRAGMA user_version"), 999);
	journal = NULL;
}
END_TEST

START_TEST(test_journal__other_files_are_refused_untouched)
{
	struct lsn_error err = { 0 };

	close_journal();
	ck_assert_int_eq(unlink(path), 0);
	(void)sql("CREATE TABLE theirs(x)");
	ck_assert_int_eq(journal_open(&config, &journal, &err), -EMEDIUMTYPE);
	ck_assert_int_eq(sql("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'delete'"), 1);
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(write(fd, "this is a text that somebody keeps here\n", 40), 40);
	(void)close(fd);
	ck_assert_int_eq(journal_open(&config, &journal, &err), -EUCLEAN);
	ck_assert_ptr_nonnull(strstr(err.message, path));
	journal = NULL;
}
END_TEST

START_TEST(test_journal__folder_must_exist)
{
	struct journal_config wrong = config;
	struct lsn_error err = { 0 };
	struct journal *other;

	wrong.path = (char *)(uintptr_t) "/nonexistent/journal.db";
	ck_assert_int_eq(journal_open(&wrong, &other, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent"));
}
END_TEST

/* ----------------------------------------------------------------------------------------- jobs */

START_TEST(test_journal__queued_jobs_come_back_whole)
{
	struct event *event = put_event("create/resource/caf\xc3\xa9", "{\"a\": 1}");
	struct job *a = put_job(event, script_a), *b = put_job(event, script_b), *a2 = put_job(event, script_a);
	struct loaded jobs = { 0 };

	event->qos = 2;
	a->abi.replay_of = 77;
	a2->state = JOB_BACKOFF;
	a2->not_before_realtime_usec = 12345;
	a2->abi.attempt = 2;
	commit();
	ck_assert(a->stored && event->stored && !a->dirty && !event->dirty);
	ck_assert_uint_eq(a->refs, 1);
	reopen();
	ck_assert_int_eq(journal_load_queued(journal, "a.py", 0, 10, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, 2);
	const struct job *job = jobs.job[0];
	ck_assert_uint_eq(job->abi.id, a->abi.id);
	ck_assert_int_eq(job->state, JOB_QUEUED);
	ck_assert_uint_eq(job->abi.replay_of, 77);
	ck_assert_uint_eq(job->object, a->object);
	ck_assert_uint_eq(job->created_realtime_usec, a->created_realtime_usec);
	ck_assert_str_eq(job->event->topic, "create/resource/caf\xc3\xa9");
	ck_assert_uint_eq(job->event->payload_size, 8);
	ck_assert_ptr_null(job->event->payload); /* a job that waits keeps none */
	char payload[8] = "";
	ck_assert_int_eq(journal_read_payload(journal, job->event->id, copy_bytes, payload, NULL), 8);
	ck_assert_mem_eq(payload, "{\"a\": 1}", 8);
	ck_assert_int_eq(job->event->qos, 2);
	ck_assert_uint_eq(job->event->received_realtime_usec, event->received_realtime_usec);
	ck_assert_str_eq(job->abi.script, "a.py");
	ck_assert_str_eq(job->script->filter, "create/#");
	ck_assert_str_eq(job->script->version, script_a->version);
	ck_assert_uint_eq(job->script->size, 10);
	ck_assert_uint_eq(job->script->revision, script_a->revision);
	ck_assert_mem_eq(&job->script->settings.timeout_usec, &script_a->settings.timeout_usec, sizeof(uint64_t));
	ck_assert_int_eq(job->script->settings.input, LSN_INPUT_PIPE);
	ck_assert_int_eq(job->script->settings.on_lost, ON_LOST_RERUN);
	ck_assert_uint_eq(job->script->settings.retry_on, 1U << LSN_OUTCOME_TIMEOUT);
	ck_assert_str_eq(job->script->settings.executor, "docker");
	ck_assert(job->stored && !job->dirty && job->event->stored);
	ck_assert_int_eq(jobs.job[1]->state, JOB_BACKOFF);
	ck_assert_uint_eq(jobs.job[1]->not_before_realtime_usec, 12345);
	ck_assert_uint_eq(jobs.job[1]->abi.attempt, 2);
	ck_assert_ptr_eq(job->event, jobs.job[1]->event);
	ck_assert_ptr_eq(job->script, jobs.job[1]->script);
	ck_assert_uint_eq(job->event->refs, 2);
	jobs_clear(&jobs);
	ck_assert_int_eq(journal_load_queued(journal, "a.py", a->abi.id, 10, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, 1);
	jobs_clear(&jobs);
	ck_assert_int_eq(journal_load_queued(journal, "a.py", 0, 1, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, 1);
	jobs_clear(&jobs);
	ck_assert_int_eq(journal_load_queued(journal, "unknown", 0, 10, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, 0);
	job_unref(a);
	job_unref(a2);
	job_unref(b);
	event_unref(event);
}
END_TEST

static void count_waiting(void *data, const char *name, uint64_t jobs)
{
	((uint64_t *)data)[name[0] == 'a' ? 0 : 1] += jobs;
}

START_TEST(test_journal__waiting_scripts_are_listed)
{
	struct job *a = queue_one(script_a), *a2 = queue_one(script_a), *b = queue_one(script_b);
	uint64_t waiting[2] = { 0 };

	commit();
	ck_assert_int_eq(journal_list_waiting(journal, count_waiting, waiting, NULL), 0);
	ck_assert_uint_eq(waiting[0], 2);
	ck_assert_uint_eq(waiting[1], 1);
	start(b, "p");
	commit();
	waiting[0] = waiting[1] = 0;
	ck_assert_int_eq(journal_list_waiting(journal, count_waiting, waiting, NULL), 0);
	ck_assert_uint_eq(waiting[0], 2);
	ck_assert_uint_eq(waiting[1], 0);
	job_unref(a);
	job_unref(a2);
	job_unref(b);
}
END_TEST

START_TEST(test_journal__handed_over_jobs_are_recovered)
{
	struct job *starting = queue_one(script_a), *running = queue_one(script_b), *queued = queue_one(script_a);
	struct loaded jobs = { 0 };
	uint64_t before = now_realtime_usec();

	start(starting, "sandbox-1");
	start(running, "sandbox-2");
	commit();
	job_set_state(running, JOB_RUNNING);
	journal_put_job(journal, running);
	commit();
	ck_assert_uint_eq(figures().running, 2);
	reopen();
	ck_assert_int_eq(journal_load_running(journal, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(jobs.job[i]->state, JOB_RECOVERING);
		ck_assert_str_eq(jobs.job[i]->executor, "docker");
		ck_assert_uint_eq(jobs.job[i]->abi.attempt, 1);
		ck_assert_uint_ge(jobs.job[i]->abi.started_realtime_usec, before);
		ck_assert_uint_le(jobs.job[i]->abi.started_realtime_usec, now_realtime_usec());
	}
	ck_assert_str_eq(jobs.job[0]->place, "sandbox-1");
	ck_assert_str_eq(jobs.job[1]->place, "sandbox-2");
	end(jobs.job[0], JOB_FINISHED, LSN_OUTCOME_SUCCESS, "");
	end(jobs.job[1], JOB_LOST, LSN_OUTCOME_LOST, "gone");
	commit();
	ck_assert_uint_eq(figures().running, 0);
	ck_assert_uint_eq(figures().lost, 1);
	jobs_clear(&jobs);
	ck_assert_int_eq(journal_load_running(journal, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, 0);
	same_figures_after_reopen();
	job_unref(starting);
	job_unref(running);
	job_unref(queued);
}
END_TEST

START_TEST(test_journal__ended_job_is_retried_with_its_history)
{
	uint64_t id = finish_one(script_a, LSN_OUTCOME_FAILURE);
	struct job *job;

	reopen();
	job = load(id);
	ck_assert_int_eq(job->state, JOB_FINISHED);
	ck_assert_uint_eq(job->abi.attempt, 1);
	ck_assert_int_eq(job->outcome, LSN_OUTCOME_FAILURE);
	job->place[0] = 0;
	job_set_state(job, JOB_QUEUED);
	journal_put_job(journal, job);
	commit();
	ck_assert_uint_eq(figures().queued, 1);
	start(job, "again");
	commit();
	end(job, JOB_FINISHED, LSN_OUTCOME_SUCCESS, "");
	commit();
	struct runs runs = runs_of(id);
	ck_assert_uint_eq(runs.count, 2);
	ck_assert_int_eq(runs.outcome[0], LSN_OUTCOME_FAILURE);
	ck_assert_str_eq(runs.place[0], "p");
	ck_assert_int_eq(runs.outcome[1], LSN_OUTCOME_SUCCESS);
	ck_assert_str_eq(runs.place[1], "again");
	job_unref(job);
	same_figures_after_reopen();
	struct lsn_error err = { 0 };
	ck_assert_int_eq(journal_load_job(journal, id + 1, &job, &err), -ENOENT);
}
END_TEST

START_TEST(test_journal__attempt_that_never_began_leaves_no_run)
{
	struct job *job = queue_one(script_a);

	start(job, "first");
	commit();
	job->abi.attempt--;
	job->withdrawn = true;
	job->place[0] = 0;
	job_set_state(job, JOB_QUEUED);
	journal_put_job(journal, job);
	commit();
	ck_assert_uint_eq(runs_of(job->abi.id).count, 0);
	start(job, "second");
	commit();
	struct runs runs = runs_of(job->abi.id);
	ck_assert_uint_eq(runs.count, 1);
	ck_assert_uint_eq(runs.attempt[0], 1);
	ck_assert_int_eq(runs.outcome[0], -1);
	ck_assert_str_eq(runs.place[0], "second");
	job_unref(job);
}
END_TEST

START_TEST(test_journal__attempt_number_given_again_is_a_new_run)
{
	struct job *job = queue_one(script_a);
	struct loaded jobs = { 0 };

	start(job, "first");
	commit();
	end(job, JOB_QUEUED, LSN_OUTCOME_NOT_STARTED, "");
	commit();
	ck_assert_int_eq(runs_of(job->abi.id).outcome[0], LSN_OUTCOME_NOT_STARTED);
	job->abi.attempt--;
	start(job, "second");
	commit();
	ck_assert_int_eq(runs_of(job->abi.id).outcome[0], -1);
	reopen();
	ck_assert_int_eq(journal_load_running(journal, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, 1);
	ck_assert_str_eq(jobs.job[0]->place, "second");
	jobs_clear(&jobs);
	job_unref(job);
}
END_TEST

START_TEST(test_journal__result_of_a_queued_job_is_recorded)
{
	struct job *job = queue_one(script_a);

	start(job, "first");
	commit();
	end(job, JOB_QUEUED, LSN_OUTCOME_LOST, "rerun");
	commit();
	struct runs runs = runs_of(job->abi.id);
	ck_assert_uint_eq(runs.count, 1);
	ck_assert_int_eq(runs.outcome[0], LSN_OUTCOME_LOST);
	job->abi.attempt++; /* the old result under the next number says nothing about that */
	journal_put_job(journal, job);
	commit();
	ck_assert_uint_eq(runs_of(job->abi.id).count, 1);
	job_unref(job);
}
END_TEST

static bool keep_message(void *data, const struct journal_job_row *row)
{
	(void)snprintf(data, 64, "%s/%d/%s", job_state_names[row->state], row->outcome, row->message);
	return true;
}

START_TEST(test_journal__cancel_in_backoff_keeps_the_failure)
{
	struct job *job = queue_one(script_a);
	struct journal_query query = { .state = -1, .outcome = -1, .limit = 10 };
	char text[64] = "";

	start(job, "first");
	commit();
	end(job, JOB_BACKOFF, LSN_OUTCOME_TIMEOUT, "too long");
	commit();
	ck_assert_uint_eq(figures().backoff, 1);
	end(job, JOB_FINISHED, LSN_OUTCOME_CANCELLED, "by hand");
	commit();
	ck_assert_int_eq(runs_of(job->abi.id).outcome[0], LSN_OUTCOME_TIMEOUT);
	ck_assert_int_eq(journal_ask_jobs(journal, &query, &(struct journal_cursor){ 0 }, USEC_PER_SEC, keep_message,
					  text, NULL),
			 0);
	ck_assert_str_eq(text, "finished/8/by hand");
	job_unref(job);
	job = queue_one(script_a);
	commit();
	end(job, JOB_FINISHED, LSN_OUTCOME_CANCELLED, "before it ran");
	commit();
	ck_assert_uint_eq(runs_of(job->abi.id).count, 0);
	query.limit = 1;
	ck_assert_int_eq(journal_ask_jobs(journal, &query, &(struct journal_cursor){ 0 }, USEC_PER_SEC, keep_message,
					  text, NULL),
			 0);
	ck_assert_str_eq(text, "finished/8/before it ran");
	job_unref(job);
}
END_TEST

START_TEST(test_journal__marking_twice_or_again_changes_nothing)
{
	struct job *job = queue_one(script_a);

	journal_put_job(journal, job);
	journal_put_event(journal, job->event);
	commit();
	journal_put_event(journal, job->event);
	ck_assert(!journal_has_pending(journal));
	end(job, JOB_FINISHED, LSN_OUTCOME_CANCELLED, "");
	commit();
	int64_t finished = sql("SELECT finished FROM jobs");
	journal_put_job(journal, job);
	commit();
	ck_assert_int_eq(sql("SELECT finished FROM jobs"), finished);
	ck_assert_uint_eq(figures().events, 1);
	ck_assert_uint_eq(figures().jobs, 1);
	job_unref(job);
	same_figures_after_reopen();
}
END_TEST

/* --------------------------------------------------------------------------------------- commit */

START_TEST(test_journal__each_commit_is_synced)
{
	for (unsigned i = 0; i < 20; i++) {
		struct job *job = queue_one(script_a);
		unsigned before = wal_syncs;
		commit();
		ck_assert_uint_gt(wal_syncs, before);
		job_unref(job);
	}
	unsigned before = wal_syncs;
	commit(); /* nothing to write, nothing to wait for */
	ck_assert_uint_eq(wal_syncs, before);
	ck_assert_uint_eq(figures().commits, 20);
}
END_TEST

START_TEST(test_journal__close_drops_what_is_not_committed)
{
	struct job *job = queue_one(script_a);

	ck_assert(journal_has_pending(journal));
	reopen();
	ck_assert_uint_eq(figures().events, 0);
	ck_assert_uint_eq(figures().jobs, 0);
	ck_assert_uint_eq(job->refs, 1);
	ck_assert(!job->dirty && !job->stored);
	job_unref(job);
}
END_TEST

START_TEST(test_journal__busy_file_delays_the_commit)
{
	struct job *job = queue_one(script_a);
	struct lsn_error err = { 0 };
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	uint64_t begun = now_monotonic_usec();
	ck_assert_int_eq(journal_commit(journal, &err), -EBUSY);
	ck_assert_uint_lt(now_monotonic_usec() - begun, 2 * USEC_PER_SEC);
	ck_assert(journal_has_pending(journal) && job->dirty && !job->stored);
	ck_assert_uint_eq(figures().jobs, 0);
	ck_assert_int_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	commit();
	ck_assert_uint_eq(figures().jobs, 1);
	sqlite3_close(db);
	job_unref(job);
}
END_TEST

static void fill_disk(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char block[4096] = { 0 };

	ck_assert_int_ge(fd, 0);
	while (write(fd, block, sizeof block) > 0)
		;
	ck_assert_int_eq(errno, ENOSPC);
	(void)close(fd);
}

/* commit_until_full - returns how many jobs were committed; the last, marked one is *RET. */
static unsigned commit_until_full(struct event *big, struct job **ret)
{
	struct lsn_error err = { 0 };
	unsigned count = 0;

	for (;; count++) {
		struct event *event;
		ck_assert_int_eq(event_new(big->topic, big->topic_size, big->payload, big->payload_size, &event), 0);
		event->id = journal_next_event_id(journal);
		struct job *job = put_job(event, script_a);
		event_unref(event);
		int r = journal_commit(journal, &err);
		if (r < 0) {
			ck_assert_int_eq(r, -ENOSPC);
			ck_assert_ptr_nonnull(strstr(err.message, "make room"));
			*ret = job;
			return count;
		}
		job_unref(job);
	}
}

START_TEST(test_journal__full_disk_delays_the_commit)
{
	char mountpoint[80], filler[96], payload[20000];
	struct event *big;
	struct job *job;
	struct lsn_error err = { 0 };

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)fprintf(stderr, "test_journal: full disk: skipped, no right to mount: %s\n", strerror(errno));
		return;
	}
	(void)snprintf(mountpoint, sizeof mountpoint, "%s/mount", folder);
	ck_assert_int_eq(mkdir(mountpoint, 0700), 0);
	ck_assert_int_eq(mount("tmpfs", mountpoint, "tmpfs", 0, "size=4m"), 0);
	struct journal *outer = journal;
	struct script *outer_a = script_a, *outer_b = script_b;
	(void)snprintf(path, sizeof path, "%s/j.db", mountpoint);
	open_journal();
	add_scripts();
	memset(payload, 'x', sizeof payload);
	ck_assert_int_eq(event_new("create/resource/big", 19, payload, sizeof payload, &big), 0);
	(void)snprintf(filler, sizeof filler, "%s/filler", mountpoint);
	for (int round = 0; round < 3; round++) {
		struct journal_figures before = figures();
		fill_disk(filler);
		uint64_t count = before.jobs + commit_until_full(big, &job);
		ck_assert(job->dirty && !job->stored && journal_has_pending(journal));
		ck_assert_uint_eq(figures().jobs, count);
		for (int i = 0; i < 3; i++) /* again and again */
			ck_assert_int_eq(journal_commit(journal, &err), -ENOSPC);
		ck_assert_int_eq(sql("SELECT count(*) FROM jobs"), (int64_t)count);
		config.disk_free_min_bytes = 1 << 20;
		journal_set_config(journal, &config);
		ck_assert_int_eq(journal_capacity(journal, &err), -ENOSPC);
		ck_assert_ptr_nonnull(strstr(err.message, "disk_free_min"));
		/* Room is made: it goes on without a new start. */
		ck_assert_int_eq(unlink(filler), 0);
		commit();
		ck_assert(job->stored && !job->dirty);
		ck_assert_uint_eq(figures().jobs, count + 1);
		ck_assert_int_eq(
			sql("SELECT count(*) FROM jobs j JOIN events e ON e.id = j.event WHERE length(e.payload) = "
			    "20000"),
			(int64_t)count + 1);
		ck_assert_int_eq(sql("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
		job_unref(job);
	}
	same_figures_after_reopen();
	close_journal();
	event_unref(big);
	script_unref(script_a);
	script_unref(script_b);
	ck_assert_int_eq(umount(mountpoint), 0);
	ck_assert_int_eq(rmdir(mountpoint), 0);
	journal = outer;
	script_a = outer_a;
	script_b = outer_b;
	(void)snprintf(path, sizeof path, "%s/journal.db", folder);
}
END_TEST

/* What the child that will be killed has reached; shared with the parent. */
struct progress {
	_Atomic uint64_t commits, event_id, job_id;
};

/* write_for_ever - batch N: three events with N as payload, two jobs each, the first one
 * started, and the window saying N. */
static _Noreturn void write_for_ever(struct progress *progress)
{
	struct lsn_error err = { 0 };
	char text[32];

	if (journal_open(&config, &journal, &err) < 0)
		_exit(1);
	for (uint64_t n = progress->commits + 1;; n++) {
		(void)snprintf(text, sizeof text, "%llu", (unsigned long long)n);
		for (int i = 0; i < 3; i++) {
			struct event *event = put_event("create/resource/x", text);
			struct job *a = put_job(event, script_a), *b = put_job(event, script_b);
			start(a, text);
			progress->event_id = event->id;
			progress->job_id = b->abi.id;
			job_unref(a);
			job_unref(b);
			event_unref(event);
		}
		if (journal_put_window(journal, text, strlen(text), true) < 0 || journal_commit(journal, &err) < 0)
			_exit(2);
		progress->commits = n;
	}
}

static uint64_t check_after_kill(const struct progress *progress)
{
	struct loaded jobs = { 0 };
	void *window;
	size_t size;
	char text[32] = "";

	open_journal();
	ck_assert_int_eq(journal_get_window(journal, &window, &size), 0);
	memcpy(text, window, size < sizeof text ? size : 0);
	free(window);
	uint64_t n = strtoull(text, NULL, 10);
	ck_assert_uint_ge(n, progress->commits); /* nothing that was committed is missing */
	ck_assert_uint_le(n, progress->commits + 1);
	ck_assert_uint_eq(figures().events, 3 * n); /* and nothing is half there */
	ck_assert_uint_eq(figures().jobs, 6 * n);
	ck_assert_uint_eq(figures().running, 3 * n);
	ck_assert_int_eq(sql("SELECT count(*) FROM (SELECT 1 FROM events GROUP BY payload HAVING count(*) = 3)"),
			 (int64_t)n);
	ck_assert_int_eq(
		sql("SELECT count(*) FROM runs u JOIN jobs j ON j.id = u.job JOIN events e ON e.id = j.event WHERE "
		    "place = CAST(payload AS TEXT)"),
		(int64_t)(3 * n));
	ck_assert_int_eq(sql("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
	/* committed or not */
	ck_assert_uint_gt(journal_next_event_id(journal), progress->event_id);
	ck_assert_uint_gt(journal_next_job_id(journal), progress->job_id);
	ck_assert_int_eq(journal_load_queued(journal, "sub/b.py", 0, 5, collect, &jobs, NULL), 0);
	ck_assert_uint_eq(jobs.count, n < 2 ? 3 * n : 5);
	jobs_clear(&jobs);
	close_journal();
	return n;
}

START_TEST(test_journal__killed_at_any_instant_nothing_is_half_there)
{
	struct progress *progress =
		mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned seed = (unsigned)now_realtime_usec();
	int status;

	ck_assert_ptr_ne(progress, MAP_FAILED);
	close_journal();
	for (int round = 0; round < 25; round++) {
		pid_t child = fork();
		if (child == 0)
			write_for_ever(progress);
		ck_assert_int_gt(child, 0);
		for (uint64_t old = progress->commits, begun = now_monotonic_usec(); progress->commits == old;
		     (void)usleep(1000))
			ck_assert_uint_lt(now_monotonic_usec() - begun, 20 * USEC_PER_SEC);
		(void)usleep((unsigned)rand_r(&seed) % 40000);
		(void)kill(child, SIGKILL);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status), SIGKILL);
		progress->commits = check_after_kill(progress);
	}
	ck_assert_uint_ge(progress->commits, 25);
	(void)munmap(progress, sizeof *progress);
}
END_TEST

/* ------------------------------------------------------------------------------------------ ids */

START_TEST(test_journal__ids_of_a_dead_daemon_are_not_used_again)
{
	struct progress *progress =
		mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	close_journal();
	pid_t child = fork();
	if (child == 0) {
		open_journal();
		for (int i = 0; i < 5000; i++) { /* more than one promise */
			progress->event_id = journal_next_event_id(journal);
			progress->job_id = journal_next_job_id(journal);
		}
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	open_journal();
	ck_assert_uint_ge(progress->job_id, 5000);
	ck_assert_uint_gt(journal_next_event_id(journal), progress->event_id);
	ck_assert_uint_gt(journal_next_job_id(journal), progress->job_id);
	(void)munmap(progress, sizeof *progress);
}
END_TEST

START_TEST(test_journal__ids_go_on_without_gaps_after_an_orderly_stop)
{
	uint64_t job = journal_next_job_id(journal), event = journal_next_event_id(journal);

	reopen();
	ck_assert_uint_eq(journal_next_job_id(journal), job + 1);
	ck_assert_uint_eq(journal_next_event_id(journal), event + 1);
}
END_TEST

/* --------------------------------------------------------------------------------------- window */

START_TEST(test_journal__window_is_written_with_the_next_commit)
{
	void *data;
	size_t size;

	ck_assert_int_eq(journal_get_window(journal, &data, &size), 0);
	ck_assert_uint_eq(size, 0);
	free(data);
	ck_assert_int_eq(journal_put_window(journal, "one", 3, true), 0);
	ck_assert_int_eq(journal_put_window(journal, "tw\0", 3, true), 0);
	ck_assert(journal_has_pending(journal));
	commit();
	ck_assert(!journal_has_pending(journal));
	reopen();
	ck_assert_int_eq(journal_get_window(journal, &data, &size), 0);
	ck_assert_uint_eq(size, 3);
	ck_assert_mem_eq(data, "tw\0", 3);
	free(data);
	ck_assert_int_eq(journal_put_window(journal, "three", 5, false), 0);
	ck_assert_int_eq(journal_put_window(journal, "four", 4, false), 0);
	commit();
	ck_assert_int_eq(journal_put_window(journal, "five", 4, false), 0);
	commit();
	ck_assert_int_eq(journal_get_window(journal, &data, &size), 0);
	ck_assert_uint_eq(size, 16);
	ck_assert_mem_eq(data, "tw\0threefourfive", 16);
	free(data);
	ck_assert_int_eq(journal_put_window(journal, NULL, 0, true), 0);
	job_unref(queue_one(script_a));
	commit();
	ck_assert_int_eq(journal_get_window(journal, &data, &size), 0);
	ck_assert_uint_eq(size, 0);
	free(data);
}
END_TEST

/* -------------------------------------------------------------------------------- figures, room */

START_TEST(test_journal__figures_follow_the_jobs)
{
	ck_assert_uint_eq(figures().oldest_waiting_realtime_usec, 0);
	struct job *first = queue_one(script_a), *second = queue_one(script_b);
	first->event->received_realtime_usec = 1000;
	commit();
	struct journal_figures f = figures();
	ck_assert_uint_eq(f.events, 2);
	ck_assert_uint_eq(f.jobs, 2);
	ck_assert_uint_eq(f.queued, 2);
	ck_assert_uint_eq(f.oldest_waiting_realtime_usec, 1000);
	ck_assert_uint_eq(f.commits, 1);
	ck_assert_uint_ge(f.commit_usec_total, f.commit_usec_max);
	ck_assert_uint_gt(f.size_bytes, 0);
	ck_assert_uint_gt(f.disk_free_bytes, 0);
	end(first, JOB_FINISHED, LSN_OUTCOME_CANCELLED, "");
	end(second, JOB_FINISHED, LSN_OUTCOME_CANCELLED, "");
	commit();
	f = figures();
	ck_assert_uint_eq(f.queued, 0);
	ck_assert_uint_eq(f.oldest_waiting_realtime_usec, 0);
	job_unref(first);
	job_unref(second);
	same_figures_after_reopen();
}
END_TEST

START_TEST(test_journal__room_names_the_limit)
{
	struct lsn_error err = { 0 };
	struct job *job = queue_one(script_a);

	commit();
	ck_assert_msg(journal_capacity(journal, &err) == 0, "%s", err.message);
	config.jobs_max = 1;
	journal_set_config(journal, &config);
	ck_assert_int_eq(journal_capacity(journal, &err), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err.message, "jobs_max"));
	config.jobs_max = 2;
	config.size_max_bytes = 4096;
	journal_set_config(journal, &config);
	ck_assert_int_eq(journal_capacity(journal, &err), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err.message, "size_max"));
	config.size_max_bytes = 1 << 30;
	config.disk_free_min_bytes = UINT64_MAX;
	journal_set_config(journal, &config);
	ck_assert_int_eq(journal_capacity(journal, &err), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err.message, "disk_free_min"));
	job_unref(job);
}
END_TEST

/* ---------------------------------------------------------------------------------------- prune */

static void prune_all(void)
{
	struct lsn_error err = { 0 };
	int r;

	for (int i = 0; i < 10000; i++) {
		r = journal_prune(journal, &err);
		ck_assert_msg(r >= 0, "%s", err.message);
		if (r == 0)
			return;
	}
	ck_abort_msg("pruning does not end");
}

START_TEST(test_journal__prune_by_age_keeps_what_is_unfinished)
{
	struct job *queued = queue_one(script_a), *running = queue_one(script_a);
	uint64_t lost;

	start(running, "p");
	commit();
	for (int i = 0; i < 3; i++)
		(void)finish_one(script_a, LSN_OUTCOME_SUCCESS);
	lost = finish_one(script_a, LSN_OUTCOME_LOST);
	prune_all();
	ck_assert_uint_eq(figures().jobs, 6); /* young */
	(void)sql("UPDATE jobs SET created = 1, finished = iif(state < 5, 0, 2); ");
	(void)sql("UPDATE events SET received = 1");
	config.keep_usec = HOUR;
	journal_set_config(journal, &config);
	prune_all();
	ck_assert_uint_eq(figures().jobs, 2);
	ck_assert_uint_eq(figures().events, 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM runs"), 1);
	struct job *gone;
	ck_assert_int_eq(journal_load_job(journal, lost, &gone, NULL), -ENOENT);
	job_unref(load(queued->abi.id));
	job_unref(queued);
	job_unref(running);
	same_figures_after_reopen();
}
END_TEST

START_TEST(test_journal__prune_by_count_keeps_the_newest_and_the_lost)
{
	uint64_t lost = finish_one(script_a, LSN_OUTCOME_LOST), last = 0;

	for (int i = 0; i < 20; i++)
		last = finish_one(script_a, LSN_OUTCOME_SUCCESS);
	config.keep_jobs = 5;
	journal_set_config(journal, &config);
	prune_all();
	ck_assert_uint_eq(figures().jobs, 6);
	ck_assert_uint_eq(figures().events, 6);
	job_unref(load(lost));
	for (uint64_t id = last - 4; id <= last; id++)
		job_unref(load(id));
	same_figures_after_reopen();
}
END_TEST

START_TEST(test_journal__prune_of_the_newest_does_not_free_its_id)
{
	uint64_t last = 0;

	for (int i = 0; i < 3; i++)
		last = finish_one(script_a, LSN_OUTCOME_SUCCESS);
	config.keep_jobs = 0;
	journal_set_config(journal, &config);
	prune_all();
	ck_assert_uint_eq(figures().jobs, 0);
	reopen();
	ck_assert_uint_gt(journal_next_job_id(journal), last);
}
END_TEST

START_TEST(test_journal__prune_drops_events_nobody_needs)
{
	struct event *rejected = put_event("bad", ""), *unmatched = put_event("unmatched", "");
	struct job *job = queue_one(script_a);

	rejected->state = EVENT_REJECTED;
	commit();
	prune_all();
	ck_assert_uint_eq(figures().events, 3);
	(void)sql("UPDATE events SET received = 1");
	prune_all();
	ck_assert_uint_eq(figures().events, 1);
	ck_assert_int_eq(sql("SELECT id FROM events"), (int64_t)job->event->id);
	event_unref(rejected);
	event_unref(unmatched);
	job_unref(job);
	same_figures_after_reopen();
}
END_TEST

START_TEST(test_journal__prune_leaves_what_a_marked_job_refers_to)
{
	uint64_t id = finish_one(script_a, LSN_OUTCOME_LOST), other = finish_one(script_a, LSN_OUTCOME_SUCCESS);
	struct job *job = load(id), *source = load(other), *replay;
	char bytes[32] = "";

	job_set_state(job, JOB_QUEUED);
	journal_put_job(journal, job);
	replay = put_job(source->event, source->script);
	replay->abi.replay_of = other;
	(void)sql("UPDATE jobs SET created = 1, finished = 2");
	prune_all();
	ck_assert_uint_eq(figures().jobs, 1); /* the replayed one may go, its event not */
	ck_assert_uint_eq(figures().events, 2);
	commit();
	ck_assert_uint_eq(figures().queued, 2);
	uint64_t replay_id = replay->abi.id;
	job_unref(job);
	job_unref(source);
	job_unref(replay);
	job = load(replay_id);
	ck_assert_str_eq(job->event->topic, "create/resource/x");
	ck_assert_int_eq(journal_read_script(journal, job->script->version, copy_bytes, bytes, NULL), 10);
	ck_assert_str_eq(bytes, "print('a')");
	job_unref(job);
}
END_TEST

START_TEST(test_journal__prune_drops_revisions_nobody_needs)
{
	struct script *newer = make_script("a.py", "create/#", "print('newer')");
	struct journal_script row = { .name = "a.py", .state = SCRIPT_ACTIVE, .script = newer };
	struct job *job = queue_one(script_a);

	commit();
	ck_assert_int_eq(journal_add_revision(journal, newer, "print('newer')", 14, NULL), 0);
	ck_assert_int_eq(journal_put_script(journal, &row, NULL), 0);
	prune_all(); /* script_b has neither script row nor job; script_a a job */
	ck_assert_int_eq(sql("SELECT count(*) FROM revisions"), 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM versions"), 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM script_names"), 1);
	end(job, JOB_FINISHED, LSN_OUTCOME_CANCELLED, "");
	commit();
	(void)sql("UPDATE jobs SET created = 1, finished = 2");
	reopen();
	prune_all();
	prune_all();
	ck_assert_uint_eq(figures().jobs, 0);
	reopen(); /* a walk is made at most each ten minutes */
	prune_all();
	ck_assert_int_eq(sql("SELECT id FROM revisions"), (int64_t)newer->revision);
	ck_assert_int_eq(sql("SELECT count(*) FROM versions"), 1);
	script_unref(newer);
	job_unref(job);
}
END_TEST

START_TEST(test_journal__prune_gives_room_back)
{
	struct lsn_error err = { 0 };
	char *payload = malloc(100001);

	memset(payload, 'x', 100000);
	payload[100000] = 0;
	for (int i = 0; i < 500; i++) {
		struct event *event = put_event("create/resource/x", payload);
		struct job *job = put_job(event, script_a);
		end(job, JOB_FINISHED, LSN_OUTCOME_CANCELLED, "");
		event_unref(event);
		job_unref(job);
		if (i % 20 == 0)
			commit();
	}
	free(payload);
	commit();
	uint64_t size = figures().size_bytes;
	ck_assert_uint_gt(size, 50000000);
	config.size_max_bytes = 40000000; /* with up to 16 MB of WAL */
	journal_set_config(journal, &config);
	ck_assert_int_eq(journal_capacity(journal, &err), -ENOSPC);
	prune_all(); /* finished jobs go before their time rather than keep new events out */
	ck_assert_msg(journal_capacity(journal, &err) == 0, "%s", err.message);
	ck_assert_uint_eq(figures().jobs, figures().events);
	config.keep_jobs = 10;
	journal_set_config(journal, &config);
	prune_all();
	reopen(); /* a checkpoint cuts the file */
	ck_assert_uint_lt(figures().size_bytes, size / 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}
END_TEST

/* -------------------------------------------------------------------------------------- scripts */

START_TEST(test_journal__equal_revision_is_found_again)
{
	struct script *same = make_script("a.py", "create/#", "print('a')"),
		      *other = make_script("a.py", "update/#", "print('a')");

	ck_assert_int_eq(journal_add_revision(journal, same, "print('a')", 10, NULL), 0);
	ck_assert_uint_eq(same->revision, script_a->revision);
	/* the content is there */
	ck_assert_int_eq(journal_add_revision(journal, other, NULL, 0, NULL), 0);
	ck_assert_uint_ne(other->revision, script_a->revision);
	ck_assert_uint_eq(other->size, 10);
	struct script *fresh = make_script("a.py", "update/#", "something else");
	struct lsn_error err = { 0 };
	ck_assert_int_eq(journal_add_revision(journal, fresh, NULL, 0, &err), -ENOENT);
	ck_assert_uint_eq(fresh->revision, 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM versions"), 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM revisions"), 3);
	script_unref(same);
	script_unref(other);
	script_unref(fresh);
}
END_TEST

START_TEST(test_journal__script_content_is_read)
{
	struct lsn_error err = { 0 };
	char buf[32] = "";

	ck_assert_int_eq(journal_read_script(journal, script_a->version, copy_bytes, buf, &err), 10);
	ck_assert_str_eq(buf, "print('a')");
	ck_assert_int_eq(journal_read_script(journal, "unknown", copy_bytes, buf, &err), -EUCLEAN);
	ck_assert_ptr_nonnull(strstr(err.message, "missing"));
	ck_assert_int_eq(journal_read_payload(journal, 4711, copy_bytes, buf, &err), -EUCLEAN);
}
END_TEST

struct listed {
	char text[512];
	struct script *script;
};

static void list_script(void *data, const struct journal_script *row)
{
	struct listed *listed = data;
	size_t used = strlen(listed->text);

	(void)snprintf(listed->text + used, sizeof listed->text - used, "%s:%d:%s:%s:%llu:%s;", row->name,
		       (int)row->state, row->reason, row->source_key, (unsigned long long)row->updated_realtime_usec,
		       row->script ? row->script->filter : "-");
	if (row->script && !listed->script)
		listed->script = script_ref(row->script);
}

START_TEST(test_journal__registry_rows)
{
	struct journal_script a = { .name = "a.py",
				    .state = SCRIPT_ACTIVE,
				    .reason = "",
				    .source_key = "7:1",
				    .script = script_a,
				    .updated_realtime_usec = 5 };
	struct journal_script c = { .name = "c.py",
				    .state = SCRIPT_REFUSED,
				    .reason = "not UTF-8",
				    .source_key = "",
				    .updated_realtime_usec = 6 };
	struct listed listed = { 0 };

	ck_assert_int_eq(journal_put_script(journal, &c, NULL), 0);
	ck_assert_int_eq(journal_put_script(journal, &a, NULL), 0);
	reopen();
	ck_assert_int_eq(journal_each_script(journal, list_script, &listed, NULL), 0);
	ck_assert_str_eq(listed.text, "a.py:0::7:1:5:create/#;c.py:2:not UTF-8::6:-;");
	ck_assert_ptr_nonnull(listed.script);
	ck_assert_uint_eq(listed.script->refs, 1);
	ck_assert_str_eq(listed.script->name, "a.py");
	script_unref(listed.script);
	a.state = SCRIPT_FETCH_FAILED;
	ck_assert_int_eq(journal_put_script(journal, &a, NULL), 0);
	ck_assert_int_eq(journal_drop_script(journal, "c.py", NULL), 0);
	ck_assert_int_eq(journal_drop_script(journal, "never there", NULL), 0);
	listed = (struct listed){ 0 };
	ck_assert_int_eq(journal_each_script(journal, list_script, &listed, NULL), 0);
	ck_assert_str_eq(listed.text, "a.py:3::7:1:5:create/#;");
	script_unref(listed.script);
}
END_TEST

START_TEST(test_journal__changes_of_scripts_are_one)
{
	struct journal_script a = { .name = "a.py", .script = script_a }, b = { .name = "b.py", .script = script_b };
	struct script *c = make_script("c.py", "#", "print('c')");
	struct job *job = queue_one(script_a);
	struct lsn_error err = { 0 };

	ck_assert_int_eq(journal_scripts_begin(journal, NULL), 0);
	ck_assert_int_eq(journal_scripts_begin(journal, &err), -EBUSY);
	ck_assert_int_eq(journal_put_script(journal, &a, NULL), 0);
	ck_assert_int_eq(journal_add_revision(journal, c, "print('c')", 10, NULL), 0);
	ck_assert_int_eq(journal_commit(journal, &err), -EBUSY); /* not into the middle */
	ck_assert_int_eq(journal_prune(journal, NULL), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM scripts"), 0);
	ck_assert_int_eq(journal_scripts_end(journal, false, NULL), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM revisions"), 2);
	ck_assert_int_eq(journal_scripts_begin(journal, NULL), 0);
	ck_assert_int_eq(journal_put_script(journal, &a, NULL), 0);
	ck_assert_int_eq(journal_put_script(journal, &b, NULL), 0);
	ck_assert_int_eq(journal_scripts_end(journal, true, NULL), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM scripts"), 2);
	ck_assert_int_eq(journal_scripts_end(journal, true, &err), -EINVAL);
	commit();
	script_unref(c);
	job_unref(job);
}
END_TEST

/* -------------------------------------------------------------------------------------- history */

struct answer {
	uint64_t ids[32];
	unsigned count, stop_at;
};

static bool answer_row(void *data, const struct journal_job_row *row)
{
	struct answer *answer = data;
	ck_assert_uint_lt(answer->count, 32);
	answer->ids[answer->count++] = row->id;
	return answer->count != answer->stop_at;
}

static struct answer ask(struct journal_query query)
{
	struct answer answer = { 0 };
	struct lsn_error err = { 0 };
	int r = journal_ask_jobs(journal, &query, &(struct journal_cursor){ 0 }, 10 * USEC_PER_SEC, answer_row, &answer,
				 &err);
	ck_assert_msg(r == 0, "%s", err.message);
	for (unsigned i = 1; i < answer.count; i++)
		ck_assert_uint_lt(answer.ids[i], answer.ids[i - 1]);
	return answer;
}

/* Where a machine is so slow that the time is over before the first look, it is not said that
 * there is nothing. */
START_TEST(test_journal__history_gets_on_without_any_time)
{
	const struct journal_query all = { .state = -1, .outcome = -1, .limit = 100 };
	struct journal_cursor cursor = { 0 };
	struct answer answer = { 0 };
	int r = 1;

	for (unsigned i = 0; i < 5; i++)
		(void)finish_one(script_a, LSN_OUTCOME_SUCCESS);
	commit();
	for (unsigned calls = 0; r > 0 && calls < 10; calls++) {
		r = journal_ask_jobs(journal, &all, &cursor, 0, answer_row, &answer, NULL);
		ck_assert_uint_gt(answer.count, calls < 5 ? calls : 4);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(answer.count, 5);
}
END_TEST

START_TEST(test_journal__history_answers_questions)
{
	const struct journal_query all = { .state = -1, .outcome = -1, .limit = 100 };
	uint64_t success = finish_one(script_a, LSN_OUTCOME_SUCCESS),
		 failure = finish_one(script_b, LSN_OUTCOME_FAILURE), lost = finish_one(script_a, LSN_OUTCOME_LOST);
	struct job *queued = queue_one(script_b), *started = queue_one(script_a);
	struct event *event = put_event("delete/user/u", "");
	struct job *user = put_job(event, script_a);
	struct journal_query query;

	start(started, "p");
	commit();
	ck_assert_uint_eq(ask(all).count, 6);
	query = all;
	query.script = "a.py";
	ck_assert_uint_eq(ask(query).count, 4);
	query.script = "unknown";
	ck_assert_uint_eq(ask(query).count, 0);
	query = all;
	query.state = JOB_LOST;
	ck_assert_uint_eq(ask(query).count, 1);
	ck_assert_uint_eq(ask(query).ids[0], lost);
	query.state = JOB_FINISHED;
	ck_assert_uint_eq(ask(query).count, 2);
	query.outcome = LSN_OUTCOME_FAILURE;
	ck_assert_uint_eq(ask(query).count, 1);
	ck_assert_uint_eq(ask(query).ids[0], failure);
	query = all;
	query.state = JOB_RUNNING;
	ck_assert_uint_eq(ask(query).count, 1);
	ck_assert_uint_eq(ask(query).ids[0], started->abi.id);
	query.state = JOB_QUEUED;
	query.script = "sub/b.py";
	ck_assert_uint_eq(ask(query).ids[0], queued->abi.id);
	query = all;
	query.topic = "+/user/#";
	ck_assert_uint_eq(ask(query).count, 1);
	ck_assert_uint_eq(ask(query).ids[0], user->abi.id);
	query = all;
	query.limit = 2;
	ck_assert_uint_eq(ask(query).count, 2);
	query.before_id = failure;
	ck_assert_uint_eq(ask(query).ids[0], success);
	query = all;
	query.from_id = failure;
	query.before_id = failure + 1;
	ck_assert_uint_eq(ask(query).count, 1);
	ck_assert_uint_eq(ask(query).ids[0], failure);
	query = all;
	query.until_realtime_usec = 1;
	ck_assert_uint_eq(ask(query).count, 0);
	query.until_realtime_usec = UINT64_MAX;
	query.since_realtime_usec = now_realtime_usec() - HOUR;
	ck_assert_uint_eq(ask(query).count, 6);
	query.since_realtime_usec = now_realtime_usec() + HOUR;
	ck_assert_uint_eq(ask(query).count, 0);
	struct answer answer = { .stop_at = 3 };
	ck_assert_int_eq(journal_ask_jobs(journal, &all, &(struct journal_cursor){ 0 }, 10 * USEC_PER_SEC, answer_row,
					  &answer, NULL),
			 0);
	ck_assert_uint_eq(answer.count, 3);
	event_unref(event);
	job_unref(user);
	job_unref(queued);
	job_unref(started);
}
END_TEST

START_TEST(test_journal__history_finds_times_among_many)
{
	struct event *event = put_event("create/resource/x", "");
	struct journal_query query = { .state = -1, .outcome = -1, .limit = 10 };
	uint64_t now = now_realtime_usec();

	for (uint64_t i = 0; i < 500; i++) { /* one each hour */
		struct job *job = put_job(event, script_a);
		job->created_realtime_usec = now - (500 - i) * HOUR;
		job_unref(job);
	}
	event_unref(event);
	commit();
	query.since_realtime_usec = now - 100 * HOUR;
	query.until_realtime_usec = now - 96 * HOUR;
	struct answer answer = ask(query);
	ck_assert_uint_eq(answer.count, 5);
	query.until_realtime_usec = 0;
	query.since_realtime_usec = now - 2 * HOUR - 1;
	ck_assert_uint_eq(ask(query).count, 2);
}
END_TEST

static bool check_row(void *data, const struct journal_job_row *row)
{
	const struct job *job = data;

	ck_assert_uint_eq(row->id, job->abi.id);
	ck_assert_uint_eq(row->event, job->event->id);
	ck_assert_uint_eq(row->replay_of, 3);
	ck_assert_str_eq(row->script, "a.py");
	ck_assert_str_eq(row->version, script_a->version);
	ck_assert_str_eq(row->filter, "create/#");
	ck_assert_str_eq(row->topic, "create/resource/x");
	ck_assert_str_eq(row->executor, "docker");
	ck_assert_str_eq(row->place, "there");
	ck_assert_int_eq(row->state, JOB_FINISHED);
	ck_assert_int_eq(row->outcome, LSN_OUTCOME_FAILURE);
	ck_assert_uint_eq(row->attempt, 1);
	ck_assert_uint_eq(row->received_realtime_usec, job->event->received_realtime_usec);
	ck_assert_uint_eq(row->created_realtime_usec, job->created_realtime_usec);
	ck_assert_uint_gt(row->started_realtime_usec, 0);
	ck_assert_uint_gt(row->finished_realtime_usec, 0);
	ck_assert_uint_eq(row->duration_usec, 2300);
	ck_assert_uint_eq(row->payload_size, 8);
	ck_assert_str_eq(row->message, "it fell over");
	return true;
}

static void check_run(void *data, const struct journal_run_row *row)
{
	++*(int *)data;
	ck_assert_uint_eq(row->attempt, 1);
	ck_assert_str_eq(row->place, "there");
	ck_assert_int_eq(row->outcome, LSN_OUTCOME_FAILURE);
	ck_assert_int_eq(row->exit_status, 1);
	ck_assert_uint_eq(row->user_usec, 11);
	ck_assert_uint_eq(row->system_usec, 12);
	ck_assert_uint_eq(row->max_rss_bytes, 13);
	ck_assert_uint_eq(row->out_size, 3);
	ck_assert_mem_eq(row->out, "out", 3);
	ck_assert_uint_eq(row->err_size, 5);
	ck_assert_mem_eq(row->err, "err\0r", 5);
	ck_assert(!row->out_truncated && row->err_truncated);
	ck_assert_str_eq(row->message, "it fell over");
}

START_TEST(test_journal__history_tells_everything)
{
	struct journal_query query = { .state = -1, .outcome = -1, .limit = 1 };
	struct job *job = queue_one(script_a);
	int runs = 0;

	job->abi.replay_of = 3;
	start(job, "there");
	commit();
	end(job, JOB_FINISHED, LSN_OUTCOME_FAILURE, "it fell over");
	commit();
	ck_assert_int_eq(journal_ask_jobs(journal, &query, &(struct journal_cursor){ 0 }, 10 * USEC_PER_SEC, check_row,
					  job, NULL),
			 0);
	ck_assert_int_eq(journal_each_run(journal, job->abi.id, check_run, &runs, NULL), 0);
	ck_assert_int_eq(runs, 1);
	job_unref(job);
}
END_TEST

static void check_rejected(void *data, uint64_t id, uint64_t received, const void *topic, size_t topic_size,
			   const char *reason)
{
	++*(int *)data;
	ck_assert_uint_gt(id, 0);
	ck_assert_uint_gt(received, 0);
	ck_assert_uint_eq(topic_size, 5);
	ck_assert_mem_eq(topic, "a\xff\0\xfe/", 5);
	ck_assert_str_eq(reason, "not UTF-8");
}

START_TEST(test_journal__rejected_topic_is_kept_as_bytes)
{
	struct event *event;
	int count = 0;

	ck_assert_int_eq(event_new("a\xff\0\xfe/", 5, "p", 1, &event), 0);
	event->id = journal_next_event_id(journal);
	event->state = EVENT_REJECTED;
	(void)snprintf(event->reason, sizeof event->reason, "not UTF-8");
	journal_put_event(journal, event);
	event_unref(event);
	event_unref(put_event("fine", "p"));
	commit();
	ck_assert_int_eq(sql("SELECT count(*) FROM events WHERE typeof(topic) = 'blob'"), 1);
	ck_assert_int_eq(journal_each_rejected(journal, 10, check_rejected, &count, NULL), 0);
	ck_assert_int_eq(count, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("journal");
	TCase *tc = tcase_create("journal");

	log_init(LSN_LOG_ERROR);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_journal__file_is_private_and_as_wanted);
	tcase_add_test(tc, test_journal__second_daemon_is_refused);
	tcase_add_test(tc, test_journal__newer_schema_is_refused_untouched);
	tcase_add_test(tc, test_journal__other_files_are_refused_untouched);
	tcase_add_test(tc, test_journal__folder_must_exist);
	tcase_add_test(tc, test_journal__queued_jobs_come_back_whole);
	tcase_add_test(tc, test_journal__waiting_scripts_are_listed);
	tcase_add_test(tc, test_journal__handed_over_jobs_are_recovered);
	tcase_add_test(tc, test_journal__ended_job_is_retried_with_its_history);
	tcase_add_test(tc, test_journal__attempt_that_never_began_leaves_no_run);
	tcase_add_test(tc, test_journal__attempt_number_given_again_is_a_new_run);
	tcase_add_test(tc, test_journal__result_of_a_queued_job_is_recorded);
	tcase_add_test(tc, test_journal__cancel_in_backoff_keeps_the_failure);
	tcase_add_test(tc, test_journal__marking_twice_or_again_changes_nothing);
	tcase_add_test(tc, test_journal__each_commit_is_synced);
	tcase_add_test(tc, test_journal__close_drops_what_is_not_committed);
	tcase_add_test(tc, test_journal__busy_file_delays_the_commit);
	tcase_add_test(tc, test_journal__full_disk_delays_the_commit);
	tcase_add_test(tc, test_journal__killed_at_any_instant_nothing_is_half_there);
	tcase_add_test(tc, test_journal__ids_of_a_dead_daemon_are_not_used_again);
	tcase_add_test(tc, test_journal__ids_go_on_without_gaps_after_an_orderly_stop);
	tcase_add_test(tc, test_journal__window_is_written_with_the_next_commit);
	tcase_add_test(tc, test_journal__figures_follow_the_jobs);
	tcase_add_test(tc, test_journal__room_names_the_limit);
	tcase_add_test(tc, test_journal__prune_by_age_keeps_what_is_unfinished);
	tcase_add_test(tc, test_journal__prune_by_count_keeps_the_newest_and_the_lost);
	tcase_add_test(tc, test_journal__prune_of_the_newest_does_not_free_its_id);
	tcase_add_test(tc, test_journal__prune_drops_events_nobody_needs);
	tcase_add_test(tc, test_journal__prune_leaves_what_a_marked_job_refers_to);
	tcase_add_test(tc, test_journal__prune_drops_revisions_nobody_needs);
	tcase_add_test(tc, test_journal__prune_gives_room_back);
	tcase_add_test(tc, test_journal__equal_revision_is_found_again);
	tcase_add_test(tc, test_journal__script_content_is_read);
	tcase_add_test(tc, test_journal__registry_rows);
	tcase_add_test(tc, test_journal__changes_of_scripts_are_one);
	tcase_add_test(tc, test_journal__history_gets_on_without_any_time);
	tcase_add_test(tc, test_journal__history_answers_questions);
	tcase_add_test(tc, test_journal__history_finds_times_among_many);
	tcase_add_test(tc, test_journal__history_tells_everything);
	tcase_add_test(tc, test_journal__rejected_topic_is_kept_as_bytes);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
