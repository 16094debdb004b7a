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
		serving_ok(registry_end(serving.registry, false, &serving_err));
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
	serving_ok(registry_end(serving.registry, false, &serving_err));
	uint64_t id = add((struct script *)(uintptr_t)registry_find(serving.registry, "a.py")->script, "create/x");
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(serving_job(id).attempt, 3);
	ck_assert_uint_eq(serving_figure("good", "submits"), 3);
}
END_TEST

/* As if they had been running for that long. */
static void age_running(uint64_t usec)
{
	struct lane *lane;
	struct job *job;

	TAILQ_FOREACH (lane, &serving.dispatcher->lanes, all)
		TAILQ_FOREACH (job, &lane->active, active)
			job->abi.started_realtime_usec -= usec;
}

/* An executor that does not report: half a minute after their time limit all such jobs are
 * cancelled, after a minute given up, in one go. */
START_TEST(test_dispatcher__overdue_jobs_do_not_wait_for_one_another)
{
	static const struct {
		unsigned seconds;
		enum lsn_outcome outcome;
	} cases[] = { { 12 + 40, LSN_OUTCOME_CANCELLED }, { 12 + 70, LSN_OUTCOME_LOST } };

	serving_close();
	serving_configure(GOOD "places = 4\ndelay_ms = 7000\n");
	serving_open();
	struct script *a = serving_script("a.py", "#", NULL, NULL), *b = serving_script("b.py", "#", NULL, NULL);
	uint64_t ids[] = { add(a, "create/x"), add(a, "create/y"), add(b, "create/x") };
	serving_until(serving_figure("good", "submits") == 3);
	age_running(cases[_i].seconds * USEC_PER_SEC);
	serving_until(serving_ended() > 0);
	ck_assert_uint_eq(serving_ended(), 3);
	for (size_t i = 0; i < ELEMENTSOF(ids); i++)
		ck_assert_int_eq(serving_job(ids[i]).outcome, cases[_i].outcome);
	serving_until(serving_figure("good", "cancels") == (_i == 0 ? 3u : 0u));
	uint64_t reported = now_monotonic_usec() + 3 * USEC_PER_SEC; /* too late, and ignored */
	while (_i == 1 && now_monotonic_usec() < reported)
		serving_step();
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
	tcase_add_test(tc, test_dispatcher__jobs_of_an_executor_that_cannot_be_asked_are_lost);
	tcase_add_test(tc, test_dispatcher__retries_count_and_end);
	tcase_add_loop_test(tc, test_dispatcher__overdue_jobs_do_not_wait_for_one_another, 0, 2);
	tcase_add_test(tc, test_dispatcher__nothing_starts_once_stopped);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
