/* test_dispatcher.c - jobs from their event to their end, on a real journal with real executors. */
#include "dispatcher_private.h"
#include "serving.h"
#include "suite.h"

#define GOOD "[executor good]\nopen = yes\n"

static void setup(void)
{
	serving_start(GOOD
		      "places = 2\n[executor other]\nmodule = good\n[route r]\nscript = other-*\nexecutor = other\n");
}

static uint64_t add(struct script *script, const char *topic)
{
	_cleanup_event_ struct event *event = NULL;
	uint64_t id;

	ck_assert_int_eq(event_new(topic, strlen(topic), "{}", 2, &event), 0);
	event->id = journal_next_event_id(serving.journal);
	ck_assert_int_eq(dispatcher_add(serving.dispatcher, event, script, 0, &id), 0);
	return id;
}

START_TEST(test_dispatcher__a_job_runs_to_its_end)
{
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");

	/* Nothing starts before its intent is committed. */
	dispatcher_place(serving.dispatcher);
	ck_assert_uint_eq(serving_figure("good", "reserved"), 1);
	ck_assert_uint_eq(serving_figure("good", "submits"), 0);
	serving_until(serving_ended() == 1);
	struct serving_job job = serving_job(id);
	ck_assert_int_eq(job.state, JOB_FINISHED);
	ck_assert_int_eq(job.outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(job.attempt, 1);
	ck_assert_str_eq(job.executor, "good");
	ck_assert_uint_eq(dispatcher_running(serving.dispatcher), 0);
	ck_assert_uint_eq(dispatcher_ended(serving.dispatcher), 1);
	/* Only what is committed is forgotten. */
	serving_until(serving_figure("good", "forgets") == 1);
}
END_TEST

START_TEST(test_dispatcher__routes_choose_the_executor)
{
	uint64_t first = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	uint64_t second = add(serving_script("other-a.py", "#", NULL, NULL), "create/x");
	uint64_t third = add(serving_script("other-b.py", "#", "executor", "good"), "create/x");

	serving_until(serving_ended() == 3);
	ck_assert_str_eq(serving_job(first).executor, "good");
	ck_assert_str_eq(serving_job(second).executor, "other");
	ck_assert_str_eq(serving_job(third).executor, "good");
}
END_TEST

START_TEST(test_dispatcher__one_object_at_a_time)
{
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	uint64_t first = add(script, "create/resource/x"), second = add(script, "update/resource/x"),
		 other = add(script, "create/resource/y");

	serving_until(dispatcher_running(serving.dispatcher) == 2);
	ck_assert_int_eq(serving_job(second).state, JOB_QUEUED);
	ck_assert_int_ne(serving_job(first).state, JOB_QUEUED);
	ck_assert_int_ne(serving_job(other).state, JOB_QUEUED);
	serving_until(serving_ended() == 3);
}
END_TEST

START_TEST(test_dispatcher__more_than_fits_waits_in_the_journal)
{
	serving_close();
	serving_configure(GOOD "places = 20\ndelay_ms = 1\n[dispatcher]\nwindow = 3\nmax_running = 2\n");
	serving_open();
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	for (unsigned i = 0; i < 50; i++) {
		char topic[40];
		(void)snprintf(topic, sizeof topic, "create/resource/%u", i);
		(void)add(script, topic);
	}
	uint64_t until = now_monotonic_usec() + SERVING_WAIT_USEC;
	while (serving_ended() < 50) {
		ck_assert_uint_le(dispatcher_running(serving.dispatcher), 2);
		ck_assert(now_monotonic_usec() < until);
		serving_step();
	}
	ck_assert_uint_eq(serving_figure("good", "submits"), 50);
	/* the executor was told how many stand behind the first */
	ck_assert_uint_eq(serving_figure("good", "waiting"), 50);
}
END_TEST

START_TEST(test_dispatcher__what_can_never_run_ends_with_the_reason)
{
	char content[4800];
	struct registry_offer offer = {
		.name = "a.py", .topic = "#", .content = content, .size = 4711, .source_key = ""
	};

	/* good.so: 4711 bytes are refused by reserve(), 4712 by submit(). */
	memset(content, '\n', sizeof content);
	for (; offer.size <= 4712; offer.size++) {
		registry_begin(serving.registry);
		serving_ok(registry_offer(serving.registry, &offer, &serving_err));
		serving_ok(registry_end_all(serving.registry, false, &serving_err));
		uint64_t id =
			add((struct script *)(uintptr_t)registry_find(serving.registry, "a.py")->script, "create/x");
		serving_until(serving_ended() == offer.size - 4710);
		ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_ERROR);
		ck_assert_str_ne(serving_job(id).message, "");
	}
	ck_assert_uint_eq(serving_figure("good", "reserved"), 0);
	ck_assert_uint_eq(dispatcher_running(serving.dispatcher), 0);
}
END_TEST

START_TEST(test_dispatcher__retry_takes_what_did_not_succeed)
{
	uint64_t good = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, good, &serving_err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(serving_err.message, "succeeded"));
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, 4711, &serving_err), -ENOENT);

	uint64_t cancelled = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, cancelled, &serving_err), -EBUSY);
	ck_assert_int_eq(dispatcher_cancel(serving.dispatcher, cancelled, &serving_err), 0);
	turn_request(serving.turn);
	serving_until(serving_ended() == 2);
	ck_assert_int_eq(serving_job(cancelled).outcome, LSN_OUTCOME_CANCELLED);
	ck_assert_int_eq(dispatcher_cancel(serving.dispatcher, cancelled, &serving_err), -EALREADY);
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, cancelled, &serving_err), 0);
	serving_until(serving_job(cancelled).outcome == LSN_OUTCOME_SUCCESS);
}
END_TEST

START_TEST(test_dispatcher__cancel_ends_a_running_job)
{
	serving_close();
	serving_configure(GOOD "delay_ms = 600000\n");
	serving_open();
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_figure("good", "submits") == 1);
	ck_assert_int_eq(dispatcher_cancel(serving.dispatcher, id, &serving_err), 0);
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_CANCELLED);
	ck_assert_uint_eq(serving_job(id).attempt, 1);
}
END_TEST

START_TEST(test_dispatcher__jobs_outlive_a_restart)
{
	serving_close();
	serving_configure(GOOD "places = 2\ndelay_ms = 600000\n");
	serving_open();
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	uint64_t running[] = { add(script, "create/a"), add(script, "create/b") }, waiting = add(script, "create/c");
	serving_until(serving_figure("good", "submits") == 2);
	ck_assert(executor_detach(executors_find(serving.executors, "good")));
	serving_close();
	serving_configure(GOOD "places = 2\ndelay_ms = 1\n");
	serving_open();
	ck_assert_uint_eq(serving_figure("good", "recovers"), 2);
	serving_until(serving_ended() == 3);
	ck_assert_uint_eq(serving_figure("good", "submits"), 1);
	for (size_t i = 0; i < ELEMENTSOF(running); i++)
		ck_assert_uint_eq(serving_job(running[i]).attempt, 1);
	ck_assert_int_eq(serving_job(waiting).outcome, LSN_OUTCOME_SUCCESS);
}
END_TEST

/* What is short for a moment is no answer: nothing is decided, and the next start asks again. */
START_TEST(test_dispatcher__a_shortage_at_the_start_loses_no_job)
{
	serving_close();
	serving_configure(GOOD "delay_ms = 600000\n");
	serving_open();
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	uint64_t ids[] = { add(script, "create/a"), add(script, "create/b") };
	serving_until(serving_figure("good", "submits") == 2);
	ck_assert(executor_detach(executors_find(serving.executors, "good")));
	serving_close();
	serving_configure(GOOD "recover_errno = 24\n");
	ck_assert_int_eq(serving_try_open(), -EMFILE);
	ck_assert_msg(strstr(serving_err.message, "good cannot be asked") != NULL, "%s", serving_err.message);
	serving_close();
	serving_configure(GOOD "delay_ms = 1\n");
	serving_open();
	serving_until(serving_ended() == 2);
	for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
		ck_assert_int_eq(serving_job(ids[i]).outcome, LSN_OUTCOME_SUCCESS);
		ck_assert_uint_eq(serving_job(ids[i]).attempt, 1);
	}
}
END_TEST

START_TEST(test_dispatcher__jobs_of_an_executor_that_cannot_be_asked_are_lost)
{
	serving_close();
	serving_configure(GOOD "delay_ms = 600000\n");
	serving_open();
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/a");
	serving_until(serving_figure("good", "submits") == 1);
	ck_assert(executor_detach(executors_find(serving.executors, "good")));
	serving_close();
	serving_configure("[dispatcher]\ndefault_executor = next\n[executor next]\nmodule = good\n");
	serving_open();
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).state, JOB_LOST);
	ck_assert_str_ne(serving_job(id).message, "");
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, id, &serving_err), 0);
	serving_until(serving_job(id).state == JOB_FINISHED);
	ck_assert_uint_eq(serving_job(id).attempt, 2);
	ck_assert_str_eq(serving_job(id).executor, "next");
}
END_TEST

START_TEST(test_dispatcher__retries_count_and_end)
{
	serving_close();
	serving_configure(GOOD "[limits]\nretries = 2\nretry_delay = 1ms\nretry_on = error\n");
	serving_open();
	char content[4712];
	memset(content, '\n', sizeof content);
	const struct registry_offer offer = {
		.name = "a.py", .topic = "#", .content = content, .size = 4712, .source_key = ""
	};
	registry_begin(serving.registry);
	serving_ok(registry_offer(serving.registry, &offer, &serving_err));
	serving_ok(registry_end_all(serving.registry, false, &serving_err));
	uint64_t id = add((struct script *)(uintptr_t)registry_find(serving.registry, "a.py")->script, "create/x");
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(serving_job(id).attempt, 3);
	ck_assert_uint_eq(serving_figure("good", "submits"), 3);
}
END_TEST

/* As if they had been running for that long. */
static void age_running(uint64_t usec)
{
	struct job *job;

	JOBS_FOREACH(job, &serving.dispatcher->running)
	{
		job->due_usec -= usec;
		dispatcher_alarm(serving.dispatcher, job, job->alarm.key - usec);
	}
	turn_request(serving.turn);
}

/* An executor that does not report: half a minute after their time limit all such jobs are
 * cancelled, in one go. */
START_TEST(test_dispatcher__overdue_jobs_do_not_wait_for_one_another)
{
	serving_close();
	serving_configure(GOOD "places = 4\ndelay_ms = 600000\n");
	serving_open();
	struct script *a = serving_script("a.py", "#", NULL, NULL), *b = serving_script("b.py", "#", NULL, NULL);
	uint64_t ids[] = { add(a, "create/x"), add(a, "create/y"), add(b, "create/x") };
	serving_until(serving_figure("good", "submits") == 3);
	age_running((12 + 40) * USEC_PER_SEC);
	serving_until(serving_ended() == 3);
	for (size_t i = 0; i < ELEMENTSOF(ids); i++)
		ck_assert_int_eq(serving_job(ids[i]).outcome, LSN_OUTCOME_CANCELLED);
	ck_assert_uint_eq(serving_figure("good", "cancels"), 3);
}
END_TEST

/* -------------------------------------------------------------------------- executors that are
 * trouble */

static void check(void)
{
	const char *wrong = dispatcher_check(serving.dispatcher);
	ck_assert_msg(!wrong, "%s", wrong);
}

static void open_moody(const char *dispatcher, const char *rest)
{
	char text[800];

	(void)snprintf(text, sizeof text, "[dispatcher]\ndefault_executor = moody\n%s[executor moody]\nopen = yes\n%s",
		       dispatcher, rest);
	serving_close();
	serving_configure(text);
	serving_open();
}

/* Given up, queued again, and reported after all, before or after the next attempt was
 * submitted. */
START_TEST(test_dispatcher__a_late_report_ends_the_job_if_it_waits)
{
	open_moody("", "delay_ms = 700\ngrace_ms = 100\nplaces = 1\n[limits]\ntimeout = 10ms\non_lost = rerun\n");
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	uint64_t first = add(script, "create/x"), second = add(script, "create/y");

	/* There is one place, so the second attempt waits for the report of the first. */
	serving_until(turn_idle(serving.turn));
	serving_until(serving_job(first).state == JOB_QUEUED && serving_job(first).attempt == 1 &&
		      serving_figure("moody", "cancels") > 0);
	check();
	serving_until(serving_ended() == 2);
	check();
	ck_assert_int_eq(serving_job(first).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_job(first).attempt, 1);
	ck_assert_int_eq(serving_job(second).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_figure("moody", "submits"), 2);
	ck_assert_uint_eq(dispatcher_running(serving.dispatcher), 0);
	uint64_t later = add(script, "create/z"); /* and all goes on */
	serving_until(turn_idle(serving.turn));
	serving_until(serving_job(later).state == JOB_FINISHED);
	serving_until(serving_figure("moody", "forgets") == 3);
	ck_assert_uint_eq(serving_figure("moody", "held"), 0);
	ck_assert_ptr_null(TAILQ_FIRST(&serving.dispatcher->lanes));
}
END_TEST

struct outcomes {
	unsigned count;
	int outcome[8];
};

static void collect_outcome(void *data, const struct journal_run_row *row)
{
	struct outcomes *outcomes = data;
	if (outcomes->count < 8)
		outcomes->outcome[outcomes->count++] = row->outcome;
}

START_TEST(test_dispatcher__a_late_report_after_the_next_submit_is_recorded_only)
{
	struct outcomes runs = { 0 };

	open_moody("", "delay_ms = 700\ngrace_ms = 400\nfail = 1\n"
		       "[limits]\ntimeout = 10ms\nretries = 1\nretry_delay = 1ms\nretry_on = lost\n");
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_figure("moody", "submits") == 2);
	check();
	/* The first attempt failed, as it says too late; the second is given up as well, and
	 * then succeeds. */
	serving_until(serving_job(id).state == JOB_FINISHED);
	check();
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_job(id).attempt, 2);
	serving_ok(journal_each_run(serving.journal, id, collect_outcome, &runs, &serving_err));
	ck_assert_uint_eq(runs.count, 2);
	ck_assert_int_eq(runs.outcome[0], LSN_OUTCOME_FAILURE);
	ck_assert_int_eq(runs.outcome[1], LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_figure("moody", "twice"), 0);
}
END_TEST

START_TEST(test_dispatcher__a_lost_job_is_found_when_its_report_comes)
{
	open_moody("", "delay_ms = 500\ngrace_ms = 50\n[limits]\ntimeout = 10ms\n");
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(turn_idle(serving.turn));
	serving_until(serving_job(id).state == JOB_LOST);
	check();
	ck_assert_uint_eq(serving.dispatcher->owed.length, 1);
	serving_until(serving_job(id).state == JOB_FINISHED);
	check();
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
	serving_until(serving.dispatcher->jobs.count == 0);
}
END_TEST

START_TEST(test_dispatcher__never_is_never)
{
	open_moody("", "delay_ms = 300\ngrace_ms = -1\n[limits]\ntimeout = 10ms\n");
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_figure("moody", "submits") == 1);
	ck_assert_uint_eq(dispatcher_next_usec(serving.dispatcher), UINT64_MAX);
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_figure("moody", "cancels"), 0);
}
END_TEST

/* Many jobs cancelled, a restart, all retried, then one new event: each attempt is submitted
 * once. */
START_TEST(test_dispatcher__retried_jobs_run_once_after_a_restart)
{
	enum { COUNT = 300 };
	static uint64_t ids[COUNT];
	char topic[40];

	open_moody("window = 64\nmax_running = 8\n", "");
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	dispatcher_stop(serving.dispatcher);
	for (unsigned i = 0; i < COUNT; i++) {
		(void)snprintf(topic, sizeof topic, "create/resource/%u", i);
		ids[i] = add(script, topic);
	}
	serving_until(turn_idle(serving.turn));
	for (unsigned i = 0; i < COUNT; i++)
		serving_ok(dispatcher_cancel(serving.dispatcher, ids[i], &serving_err));
	serving_until(serving_ended() == COUNT);
	serving_close();
	serving_open();
	for (unsigned i = 0; i < COUNT; i++)
		serving_ok(dispatcher_retry(serving.dispatcher, ids[i], &serving_err));
	(void)add(serving_script("a.py", "#", NULL, NULL), "create/resource/new");
	check();
	serving_until(serving_figure("moody", "submits") > COUNT && serving_ended() == COUNT + 1);
	check();
	ck_assert_uint_eq(serving_figure("moody", "submits"), COUNT + 1);
	ck_assert_uint_eq(serving_figure("moody", "twice"), 0);
	for (unsigned i = 0; i < COUNT; i++)
		ck_assert_uint_eq(serving_job(ids[i]).attempt, 1);
	serving_until(!TAILQ_FIRST(&serving.dispatcher->lanes)); /* what is empty goes */
}
END_TEST

/* What the operator did in this turn counts, not what the journal still says. */
START_TEST(test_dispatcher__retry_and_cancel_in_one_turn_agree)
{
	open_moody("window = 1\n", "");
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	dispatcher_stop(serving.dispatcher);
	uint64_t ids[] = { add(script, "create/x"), add(script, "create/y"), add(script, "create/z") };
	serving_until(turn_idle(serving.turn));
	uint64_t spilled = ids[2]; /* waits in the journal only */
	ck_assert_ptr_null(dispatcher_find(serving.dispatcher, spilled));
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, spilled, &serving_err), -EBUSY);
	serving_ok(dispatcher_cancel(serving.dispatcher, spilled, &serving_err));
	ck_assert_int_eq(dispatcher_cancel(serving.dispatcher, spilled, &serving_err), -EALREADY);
	serving_ok(dispatcher_retry(serving.dispatcher, spilled, &serving_err));
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, spilled, &serving_err), -EBUSY);
	serving_ok(dispatcher_cancel(serving.dispatcher, spilled, &serving_err));
	check();
	serving_until(turn_idle(serving.turn));
	check();
	ck_assert_int_eq(serving_job(spilled).outcome, LSN_OUTCOME_CANCELLED);
	ck_assert_int_eq(serving_job(ids[0]).state, JOB_QUEUED);
}
END_TEST

/* Scripts of a full executor, and one of an idle one that comes after them all. */
START_TEST(test_dispatcher__a_full_executor_holds_up_nobody_else)
{
	char name[20];

	open_moody("", "places = 0\n[executor idle]\nmodule = moody\n[route r]\nscript = last*\nexecutor = idle\n");
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof name, "s%u.py", i);
		(void)add(serving_script(name, "nothing/#", NULL, NULL), "create/x");
	}
	(void)add(serving_script("last.py", "nothing/#", NULL, NULL), "create/x");
	turn_request(serving.turn);
	serving_until(serving_figure("idle", "submits") == 1);
	check();
	ck_assert_uint_eq(serving_figure("moody", "asked"), 300); /* each once */
}
END_TEST

/* A submit that fails frees a place: who waits for one is asked. */
START_TEST(test_dispatcher__a_refused_submit_wakes_who_waits)
{
	char name[20];

	open_moody("", "places = 1\nrefuse = 50\ncode = 13\ndelay_ms = 0\n"); /* EACCES: never */
	for (unsigned i = 0; i < 60; i++) {
		(void)snprintf(name, sizeof name, "s%u.py", i);
		(void)add(serving_script(name, "nothing/#", NULL, NULL), "create/x");
	}
	serving_until(serving_ended() == 60);
	check();
	ck_assert_uint_eq(serving_figure("moody", "submits"), 10);
}
END_TEST

/* Descriptors, memory, an engine that is away: no answer, only not now. */
START_TEST(test_dispatcher__a_shortage_is_no_outcome)
{
	static const int codes[] = { EMFILE, ENFILE, ENOMEM, ENOBUFS, EIO, EPIPE, EAGAIN };
	char text[100];

	(void)snprintf(text, sizeof text, "refuse = 3\nrefuse_reserve = %d\ncode = %d\n", codes[_i] == EAGAIN ? 0 : 2,
		       codes[_i]);
	open_moody("", text);
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_job(id).attempt, 1);
	check();
}
END_TEST

START_TEST(test_dispatcher__a_job_that_never_began_waits_again)
{
	open_moody("", "idle = 2\n");
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_job(id).attempt, 1);
	ck_assert_uint_eq(serving_figure("moody", "submits"), 3);
}
END_TEST

/* Who says so again and again may be wrong: the job must not run on its word for ever. */
START_TEST(test_dispatcher__a_job_that_never_begins_ends)
{
	open_moody("", "idle = 100\n");
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_ERROR);
	ck_assert_uint_eq(serving_job(id).attempt, 1);
	ck_assert_uint_eq(serving_figure("moody", "submits"), 6);
}
END_TEST

/* More objects than any table holds are in back-off: another one starts at once. */
START_TEST(test_dispatcher__backoff_holds_up_its_own_object_only)
{
	enum { COUNT = 2500 };
	char topic[40];

	open_moody("max_running = 1000\nper_script = 1000\n",
		   "places = 5000\nfail = 2500\n[limits]\nretries = 1\nretry_delay = 10min\nretry_on = failure\n");
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	for (unsigned i = 0; i < COUNT; i++) {
		(void)snprintf(topic, sizeof topic, "create/resource/%u", i);
		(void)add(script, topic);
	}
	serving_until(TAILQ_FIRST(&serving.dispatcher->lanes)->backoff.length == COUNT);
	check();
	uint64_t same = add(script, "update/resource/7"), other = add(script, "create/resource/other");
	serving_until(turn_idle(serving.turn));
	serving_until(serving_job(other).state == JOB_FINISHED);
	ck_assert_int_eq(serving_job(same).state, JOB_QUEUED);
	check();
}
END_TEST

/* A module that was built against the first minor version. */
/* Many jobs behind one that backs off: others run, and they too when their time has come. */
START_TEST(test_dispatcher__what_is_behind_one_object_is_passed_over)
{
	enum { COUNT = 200 };
	uint64_t ids[COUNT];

	open_moody("window = 8\n", "fail = 1\n[limits]\nretries = 1\nretry_delay = 10min\nretry_on = failure\n");
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	uint64_t first = add(script, "create/resource/x");
	serving_until(TAILQ_FIRST(&serving.dispatcher->lanes)->backoff.length == 1);
	for (unsigned i = 0; i < COUNT; i++)
		ids[i] = add(script, "update/resource/x");
	uint64_t other = add(script, "create/resource/y");
	serving_until(turn_idle(serving.turn));
	serving_until(serving_job(other).state == JOB_FINISHED);
	ck_assert_uint_eq(serving_ended(), 1);
	ck_assert_int_eq(serving_job(ids[0]).state, JOB_QUEUED);
	ck_assert_uint_le(serving.dispatcher->jobs.count, 10);
	check();
	serving_ok(dispatcher_cancel(serving.dispatcher, first, &serving_err));
	serving_until(serving_ended() == COUNT + 2);
	check();
	ck_assert_uint_eq(serving_figure("moody", "submits"), COUNT + 2);
	ck_assert_uint_eq(serving_figure("moody", "twice"), 0);
	serving_until(!TAILQ_FIRST(&serving.dispatcher->lanes));
}
END_TEST

START_TEST(test_dispatcher__an_old_module_finds_all_it_knew)
{
	serving_close();
	serving_configure("[dispatcher]\ndefault_executor = old-minor\n[executor old-minor]\n");
	serving_open();
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
}
END_TEST

/* What the journal cannot read of one job ends that one; the rest goes on. */
START_TEST(test_dispatcher__an_unreadable_event_ends_its_job_only)
{
	char command[200];

	open_moody("window = 2\n", "");
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	dispatcher_stop(serving.dispatcher);
	uint64_t ids[] = { add(script, "create/a"), add(script, "create/b"), add(script, "create/c"),
			   add(script, "create/d") };
	serving_until(turn_idle(serving.turn));
	serving_close();
	(void)snprintf(
		command, sizeof command,
		"import sqlite3; d = sqlite3.connect('%s/journal.db'); d.execute('DELETE FROM events WHERE id = 2');"
		" d.execute('UPDATE events SET topic = x\\'ff\\' WHERE id = 4'); d.commit()",
		serving_folder);
	serving_shell("python3 -c \"%s\"", command);
	serving_open();
	serving_until(turn_idle(serving.turn) && serving_figure("moody", "submits") == 2 &&
		      dispatcher_running(serving.dispatcher) == 0);
	serving_until(serving.dispatcher->jobs.count == 0);
	check();
	ck_assert_int_eq(serving_job(ids[0]).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_int_eq(serving_job(ids[2]).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_int_eq(serving_job(ids[3]).outcome, LSN_OUTCOME_ERROR);
	ck_assert_ptr_nonnull(strstr(serving_job(ids[3]).message, "unreadable"));
	/* Its event is gone, so no question about it can show more; but it has ended. */
	ck_assert_int_eq(dispatcher_cancel(serving.dispatcher, ids[1], &serving_err), -EALREADY);
	ck_assert_int_eq(dispatcher_retry(serving.dispatcher, ids[1], &serving_err), -EUCLEAN);
}
END_TEST

START_TEST(test_dispatcher__nothing_starts_once_stopped)
{
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	dispatcher_stop(serving.dispatcher);
	uint64_t id = add(script, "create/x");
	for (unsigned i = 0; i < 10; i++)
		serving_step();
	ck_assert_uint_eq(dispatcher_running(serving.dispatcher), 0);
	ck_assert_int_eq(serving_job(id).state, JOB_QUEUED);
}
END_TEST

/* Job a backs off when the daemon dies; b, which is younger, is recovered, lost and queued
 * again. */
START_TEST(test_dispatcher__a_recovered_job_hides_no_waiting_one)
{
	open_moody("", "delay_ms = 300\nplaces = 1\nfail = 1\n"
		       "[limits]\nretries = 1\nretry_delay = 1s\nretry_on = failure\non_lost = rerun\n");
	struct script *script = serving_script("a.py", "#", NULL, NULL);
	uint64_t a = add(script, "create/x"), b = add(script, "create/y");
	serving_until(serving_figure("moody", "submits") == 2);
	ck_assert_int_eq(serving_job(a).state, JOB_BACKOFF);
	serving_close();
	serving_open();
	serving_until(serving_ended() == 2);
	ck_assert_uint_ge(serving_job(a).attempt, 2);
	ck_assert_uint_ge(serving_job(b).attempt, 2);
}
END_TEST

/* After a restart: memory does not know yet whom the job is for. */
START_TEST(test_dispatcher__what_is_in_the_journal_only_waits_to_be_read)
{
	struct wait wait;

	dispatcher_stop(serving.dispatcher);
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL), "create/x");
	serving_until(turn_idle(serving.turn));
	serving_close();
	serving_open();
	dispatcher_get_wait(serving.dispatcher, "a.py", id, 0, &wait);
	ck_assert_int_eq(wait.reason, WAIT_NOTHING);
	ck_assert_str_eq(wait.text, "it waits in the journal, behind earlier jobs of the script");
}
END_TEST

/* The job asked about is for an idle executor, and stands behind one that is for a full one. */
START_TEST(test_dispatcher__who_refused_is_named)
{
	struct wait wait;

	open_moody("", "places = 0\n[executor idle]\nmodule = moody\nopen = yes\n");
	(void)add(serving_script("a.py", "#", NULL, NULL), "create/x");
	uint64_t second = add(serving_script("a.py", "#", "executor", "idle"), "create/y");
	serving_until(serving_figure("moody", "asked") > 0);
	const struct job *job = dispatcher_find(serving.dispatcher, second);
	dispatcher_get_wait(serving.dispatcher, "a.py", second, job->object, &wait);
	ck_assert_int_eq(wait.reason, WAIT_EXECUTOR_FULL);
	ck_assert_str_eq(wait.executor, "idle");
	ck_assert_str_eq(wait.text, "executor moody has no place free, 0 jobs run: it has no place now;"
				    " an earlier job of the script waits for it");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dispatcher");
	TCase *tc = tcase_create("dispatcher");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, serving_stop);
	tcase_add_test(tc, test_dispatcher__a_job_runs_to_its_end);
	tcase_add_test(tc, test_dispatcher__routes_choose_the_executor);
	tcase_add_test(tc, test_dispatcher__one_object_at_a_time);
	tcase_add_test(tc, test_dispatcher__more_than_fits_waits_in_the_journal);
	tcase_add_test(tc, test_dispatcher__what_can_never_run_ends_with_the_reason);
	tcase_add_test(tc, test_dispatcher__retry_takes_what_did_not_succeed);
	tcase_add_test(tc, test_dispatcher__cancel_ends_a_running_job);
	tcase_add_test(tc, test_dispatcher__jobs_outlive_a_restart);
	tcase_add_test(tc, test_dispatcher__a_shortage_at_the_start_loses_no_job);
	tcase_add_test(tc, test_dispatcher__jobs_of_an_executor_that_cannot_be_asked_are_lost);
	tcase_add_test(tc, test_dispatcher__retries_count_and_end);
	tcase_add_test(tc, test_dispatcher__overdue_jobs_do_not_wait_for_one_another);
	tcase_add_test(tc, test_dispatcher__a_late_report_ends_the_job_if_it_waits);
	tcase_add_test(tc, test_dispatcher__a_late_report_after_the_next_submit_is_recorded_only);
	tcase_add_test(tc, test_dispatcher__a_lost_job_is_found_when_its_report_comes);
	tcase_add_test(tc, test_dispatcher__never_is_never);
	tcase_add_test(tc, test_dispatcher__retried_jobs_run_once_after_a_restart);
	tcase_add_test(tc, test_dispatcher__retry_and_cancel_in_one_turn_agree);
	tcase_add_test(tc, test_dispatcher__a_full_executor_holds_up_nobody_else);
	tcase_add_test(tc, test_dispatcher__a_refused_submit_wakes_who_waits);
	tcase_add_loop_test(tc, test_dispatcher__a_shortage_is_no_outcome, 0, 7);
	tcase_add_test(tc, test_dispatcher__a_job_that_never_began_waits_again);
	tcase_add_test(tc, test_dispatcher__a_job_that_never_begins_ends);
	tcase_add_test(tc, test_dispatcher__backoff_holds_up_its_own_object_only);
	tcase_add_test(tc, test_dispatcher__what_is_behind_one_object_is_passed_over);
	tcase_add_test(tc, test_dispatcher__an_old_module_finds_all_it_knew);
	tcase_add_test(tc, test_dispatcher__an_unreadable_event_ends_its_job_only);
	tcase_add_test(tc, test_dispatcher__nothing_starts_once_stopped);
	tcase_add_test(tc, test_dispatcher__a_recovered_job_hides_no_waiting_one);
	tcase_add_test(tc, test_dispatcher__what_is_in_the_journal_only_waits_to_be_read);
	tcase_add_test(tc, test_dispatcher__who_refused_is_named);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
