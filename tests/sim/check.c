/* check.c - the invariants. Each says what must hold, and is told with numbers when it does not.
 *
 * check_submit, check_forget, check_acknowledged   at the moment when something leaves the daemon
 * check_step                                       after each step: owners and lengths agree
 * check_quiet                                      nothing is due: whatever may run has been
 * offered check_end                                        after the storm: the account */
#include "sim.h"

#include "dispatcher_private.h"
#include "engine.h"
#include "executors_private.h"

#include <stdlib.h>
#include <string.h>

enum query { Q_INTENT, Q_BEFORE, Q_EARLIER, Q_RESULT, Q_FIRST, Q_MAX };

static const char *const queries[Q_MAX] = {
	[Q_INTENT] = "SELECT count(*) FROM runs WHERE job = ?1 AND attempt = ?2 AND outcome IS NULL",
	[Q_BEFORE] = "SELECT count(*) FROM runs WHERE job = ?1 AND attempt < ?2 AND outcome IS NULL",
	[Q_EARLIER] = "SELECT e.id FROM jobs j, jobs e INDEXED BY jobs_waiting"
		      " WHERE j.id = ?1 AND e.script = j.script AND e.object = j.object AND e.id < j.id"
		      " AND e.state IN (0, 4) AND e.attempt = 0",
	/* the columns beside min() are those of its row */
	[Q_FIRST] = "SELECT min(id), state, object FROM jobs INDEXED BY jobs_waiting"
		    " WHERE script = (SELECT id FROM script_names WHERE name = ?1) AND state IN (0, 4) GROUP BY object",
	[Q_RESULT] = "SELECT count(*) FROM runs WHERE job = ?1 AND place = ?2 AND outcome IS NULL",
};
static sqlite3_stmt *statements[Q_MAX];
static uint64_t steps, quiets;

static uint64_t *retried; /* by operators, in this case */
static size_t retried_count, retried_size;

void check_begin(void)
{
	steps = quiets = 0;
	retried_count = 0;
}

void check_retried(uint64_t job)
{
	if (retried_count == retried_size) {
		retried_size = retried_size ? 2 * retried_size : 64;
		retried = realloc(retried, retried_size * sizeof *retried);
	}
	retried[retried_count++] = job;
}

static bool was_retried(uint64_t job)
{
	for (size_t i = 0; i < retried_count; i++)
		if (retried[i] == job)
			return true;
	return false;
}

/* check_reset - the daemon's connection goes. */
void check_reset(void)
{
	for (size_t i = 0; i < Q_MAX; i++) {
		(void)sqlite3_finalize(statements[i]);
		statements[i] = NULL;
	}
}

static sqlite3_stmt *query_get(enum query which)
{
	if (!statements[which] &&
	    sqlite3_prepare_v2(life_db(), queries[which], -1, &statements[which], NULL) != SQLITE_OK)
		sim_fail("%s: %s", queries[which], sqlite3_errmsg(life_db()));
	return statements[which];
}

static int64_t query_run(sqlite3_stmt *stmt)
{
	int64_t number = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;

	(void)sqlite3_reset(stmt);
	return number;
}

/* ----------------------------------------------------------------------- what leaves the daemon */

/* check_order - jobs of a script about one object start in their order, unless an operator let one
 * begin anew. */
static void check_order(const struct lsn_job *job)
{
	sqlite3_stmt *stmt = query_get(Q_EARLIER);

	(void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)job->id);
	while (sqlite3_step(stmt) == SQLITE_ROW)
		if (!was_retried((uint64_t)sqlite3_column_int64(stmt, 0)))
			sim_fail("job %llu is handed over, and job %lld about the same object has not begun",
				 (unsigned long long)job->id, (long long)sqlite3_column_int64(stmt, 0));
	(void)sqlite3_reset(stmt);
}

void check_submit(const struct lsn_job *job)
{
	sqlite3_stmt *stmt = query_get(Q_INTENT);

	(void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)job->id);
	(void)sqlite3_bind_int64(stmt, 2, job->attempt);
	if (query_run(stmt) != 1)
		sim_fail("job %llu attempt %u is handed over, and the journal does not know it",
			 (unsigned long long)job->id, job->attempt);
	if (!world.profile.bulk)
		check_order(job);
	if (job->attempt == 1)
		return;
	stmt = query_get(Q_BEFORE);
	(void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)job->id);
	(void)sqlite3_bind_int64(stmt, 2, job->attempt);
	if (query_run(stmt) != 0)
		sim_fail("job %llu attempt %u is handed over, and what became of the one before is not stored",
			 (unsigned long long)job->id, job->attempt);
}

void check_forget(uint64_t job, const char *place)
{
	sqlite3_stmt *stmt = query_get(Q_RESULT);

	(void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)job);
	(void)sqlite3_bind_text(stmt, 2, place, -1, SQLITE_STATIC);
	if (query_run(stmt) > 0)
		sim_fail("job %llu at %s is forgotten, and its result is not stored", (unsigned long long)job, place);
}

void check_acknowledged(void)
{
	struct journal_figures figures;
	const struct mqtt_figures *mqtt = mqtt_get_figures();

	journal_get_figures(life.journal, &figures);
	if (figures.events < mqtt->acknowledged)
		sim_fail("%llu events are acknowledged, %llu are stored", (unsigned long long)mqtt->acknowledged,
			 (unsigned long long)figures.events);
	if (figures.events > mqtt->delivered)
		sim_fail("%llu events were sent, %llu are stored: repeats were taken for new",
			 (unsigned long long)mqtt->delivered, (unsigned long long)figures.events);
	if (disk_unsynced() > 0)
		sim_fail("acknowledged before the disk has it: %zu bytes", disk_unsynced());
}

/* --------------------------------------------------------------------------- owners and lengths */

static void check_executor(void *data, struct executor *executor)
{
	const struct run *run;
	unsigned out = 0;

	(void)data;
	LIST_FOREACH (run, &executor->out.list, list)
		out++;
	if (out != executor_running(executor))
		sim_fail("executor %s counts %u jobs and has %u", executor_name(executor), executor_running(executor),
			 out);
}

void check_step(void)
{
	steps++;
	if (!life.dispatcher || world.dead || ((world.profile.scripts > 60 || world.profile.bulk) && steps % 64))
		return;
	const char *wrong = dispatcher_check(life.dispatcher);
	if (wrong)
		sim_fail("%s", wrong);
	check_pauses();
	executors_each(life.executors, check_executor, NULL);
}

/* ------------------------------------------------------------------------------- nothing is due */

static bool is_about(const struct jobs *jobs, const struct job *job)
{
	const struct job *other;

	JOBS_FOREACH(other, jobs)
	{
		if (other == job)
			return false;
		if (other->object == job->object)
			return true;
	}
	return false;
}

/* object_is_free - no earlier unfinished job of LANE in memory is about the same object. */
static bool object_is_free(const struct lane *lane, const struct job *job)
{
	return !is_about(&lane->out, job) && !is_about(&lane->backoff, job) && !is_about(&lane->queue, job);
}

/* has_place - would the executor of JOB take it now? */
static bool has_place(const struct job *job)
{
	const char *name = dispatcher_executor_for(life_dispatch(), job->script);
	const struct executor *executor = executors_find(life.executors, name);

	return !dispatcher_find_hold(life.dispatcher, job->script->name, name, job->object) &&
	       !loop_brake_blocks(&life.dispatcher->brake, job->object) && executor && !executor_draining(executor) &&
	       !executor_is_full(executor) && engine_would_take(engine_index(name));
}

static bool is_out(const struct lane *lane, uint64_t object)
{
	const struct job *job;

	JOBS_FOREACH(job, &lane->out)
	if (job->object == object)
		return true;
	return false;
}

/* check_journal_quiet - no row of LANE that is the first one about its object waits in the journal
 * only. */
static void check_journal_quiet(const struct lane *lane)
{
	sqlite3_stmt *stmt = query_get(Q_FIRST);

	(void)sqlite3_bind_text(stmt, 1, lane->name, -1, SQLITE_STATIC);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
		uint64_t object = (uint64_t)sqlite3_column_int64(stmt, 2);
		if (sqlite3_column_int(stmt, 1) == JOB_QUEUED && !dispatcher_find(life.dispatcher, id) &&
		    !is_out(lane, object) && !dispatcher_find_hold(life.dispatcher, lane->name, "", object) &&
		    !loop_brake_blocks(&life.dispatcher->brake, object))
			sim_fail("job %llu of %s may run, and waits in the journal only, behind others that may not",
				 (unsigned long long)id, lane->name);
	}
	(void)sqlite3_reset(stmt);
}

static void check_lane_quiet(const struct lane *lane)
{
	const struct job *job;

	if (lane->spilled > 0 && lane->queue.length == 0)
		sim_fail("lane %s has %llu jobs in the journal, none in memory, and nobody loads them", lane->name,
			 (unsigned long long)lane->spilled);
	if (!TAILQ_EMPTY(&lane->returning) && lane->queue.length == 0)
		sim_fail("lane %s has passed jobs over, and nobody loads them again", lane->name);
	if (lane->out.length >= life_dispatch()->per_script_max || lane->where == LANE_PAUSED ||
	    lane->where == LANE_RATED)
		return;
	JOBS_FOREACH(job, &lane->queue)
	if (!job->settling && object_is_free(lane, job) && has_place(job))
		sim_fail("job %llu of %s may run, its executor has a place, and nobody offers it",
			 (unsigned long long)job->abi.id, lane->name);
	job = jobs_first(&lane->queue) ? jobs_first(&lane->queue) : jobs_first(&lane->out);
	if (job && has_place(job) && (lane->spilled > 0 || !TAILQ_EMPTY(&lane->passed)) && quiets++ % 16 == 0)
		check_journal_quiet(lane);
}

void check_quiet(void)
{
	const struct dispatcher *d = life.dispatcher;
	const struct lane *lane;

	if (world.profile.bulk && ++quiets % 512) /* comparing thousands with thousands takes its time */
		return;
	if (!d || world.dead || d->stopped || !turn_idle(life.turn) || turn_get_figures(life.turn)->blocked)
		return;
	if (life_rows_out() != dispatcher_running(d))
		sim_fail("the journal has %u jobs out, the dispatcher %u", life_rows_out(), dispatcher_running(d));
	if (dispatcher_running(d) >= life_dispatch()->running_max || descriptors_short(3))
		return;
	TAILQ_FOREACH (lane, &d->lanes, all)
		check_lane_quiet(lane);
}

/* ---------------------------------------------------------------------------------- the account */

bool check_all_ended(char *ret_why, size_t size)
{
	struct journal_figures figures;

	journal_get_figures(life.journal, &figures);
	(void)snprintf(ret_why, size, "%llu queued, %llu running, %llu in back-off, dispatcher running %u",
		       (unsigned long long)figures.queued, (unsigned long long)figures.running,
		       (unsigned long long)figures.backoff, dispatcher_running(life.dispatcher));
	return figures.queued + figures.running + figures.backoff == 0 && turn_idle(life.turn);
}

/* check_job - what the journal says of a job's last attempt, and what happened. */
static void check_job(uint64_t id, uint32_t attempt, int outcome)
{
	const struct execution *run = engine_execution(id, attempt);

	if (outcome == LSN_OUTCOME_SUCCESS && (!run || !engine_succeeded(id, attempt)))
		sim_fail("job %llu ended with success, but its attempt %u %s", (unsigned long long)id, attempt,
			 run ? "did not" : "never ran");
}

static void check_jobs(void)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(life_db(), "SELECT id, attempt, outcome, state, message FROM jobs", -1, &stmt, NULL) !=
	    SQLITE_OK)
		sim_fail("cannot read the jobs: %s", sqlite3_errmsg(life_db()));
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
		const char *message = (const char *)sqlite3_column_text(stmt, 4);
		int outcome = sqlite3_column_int(stmt, 2);
		check_job(id, (uint32_t)sqlite3_column_int64(stmt, 1), outcome);
		if (outcome == LSN_OUTCOME_ERROR && message &&
		    (streq(message, "not now") || streq(message, "no descriptors")))
			sim_fail("job %llu ended as error for a passing shortage", (unsigned long long)id);
	}
	(void)sqlite3_finalize(stmt);
}

/* check_matches - each event has a job for each script that wants it. */
static void check_matches(void)
{
	unsigned create = world.profile.scripts, update = 0;

	for (unsigned i = 0; i < world.profile.scripts; i++)
		update += life_script_wants_updates(i);
	char sql[400];
	(void)snprintf(sql, sizeof sql,
		       "SELECT e.id FROM events e WHERE"
		       " (SELECT count(*) FROM jobs j WHERE j.event = e.id AND j.replay_of = 0) <>"
		       " iif(e.topic GLOB 'create/*', %u, %u) LIMIT 1",
		       create, update);
	int64_t event = life_number(sql);
	if (event >= 0)
		sim_fail("event %lld has not one job for each script that wants it", (long long)event);
}

void check_end(void)
{
	int64_t jobs = life_number("SELECT count(*) FROM jobs WHERE replay_of = 0");
	int64_t twice =
		life_number("SELECT count(*) - count(DISTINCT event * 100000 + script) FROM jobs WHERE replay_of = 0");
	int64_t orphans = life_number("SELECT count(*) FROM events WHERE id NOT IN (SELECT event FROM jobs)");

	if (twice != 0)
		sim_fail("%lld of %lld jobs are a second one for the same event and script", (long long)twice,
			 (long long)jobs);
	if (orphans != 0)
		sim_fail("%lld events have no job", (long long)orphans);
	check_matches();
	if (life_number("SELECT count(*) FROM runs WHERE outcome IS NULL") != 0)
		sim_fail("a run never ended");
	check_jobs();
	mqtt_check_events();
}
