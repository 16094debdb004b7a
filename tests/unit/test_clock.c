/* test_clock.c - the wall clock is set while jobs run and wait: nothing within one life of the
 * daemon depends on it, and what is read back after a restart is bounded. */
#include "clock_stubs.h"
#include "dispatcher.h"
#include "executors.h"
#include "serving.h"
#include "suite.h"

#define HOUR ((int64_t)3600 * (int64_t)USEC_PER_SEC)
#define DAY (24 * HOUR)
#define GOOD "[executor good]\nopen = yes\n"
#define RETRYING "[limits]\nretries = 1\nretry_delay = 1s\nretry_on = error\n"

static void setup(void)
{
	clock_stub_offset_usec = 0;
	serving_start(GOOD);
}

static uint64_t add(struct script *script)
{
	_cleanup_event_ struct event *event = NULL;
	uint64_t id;

	ck_assert_int_eq(event_new("create/x", 8, "{}", 2, &event), 0);
	event->id = journal_next_event_id(serving.journal);
	ck_assert_int_eq(dispatcher_add(serving.dispatcher, event, script, 0, &id), 0);
	return id;
}

static void reopen(const char *extra)
{
	serving_close();
	serving_configure(extra);
	serving_open();
}

/* failing_script - good.so cannot start a script of this size. */
static struct script *failing_script(void)
{
	static char content[4712];
	const struct registry_offer offer = {
		.name = "a.py", .topic = "#", .content = content, .size = sizeof content, .source_key = ""
	};

	memset(content, '\n', sizeof content);
	registry_begin(serving.registry);
	serving_ok(registry_offer(serving.registry, &offer, &serving_err));
	serving_ok(registry_end(serving.registry, false, &serving_err));
	return (struct script *)(uintptr_t)registry_find(serving.registry, "a.py")->script;
}

/* A run of 6 s, longer than the dispatcher waits before it looks for overdue jobs. */
START_TEST(test_clock__set_forward_by_an_hour_during_a_run)
{
	reopen(GOOD "delay_ms = 6000\n");
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL));
	serving_until(serving_figure("good", "submits") == 1);
	clock_stub_offset_usec = HOUR;
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_figure("good", "cancels"), 0);
}
END_TEST

START_TEST(test_clock__set_back_by_a_day_during_a_back_off)
{
	reopen(GOOD RETRYING);
	uint64_t id = add(failing_script());
	serving_until(serving_jobs() == 1 && serving_job(id).state == JOB_BACKOFF);
	clock_stub_offset_usec = -DAY;
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(serving_job(id).attempt, 2);
}
END_TEST

/* The next daemon has only the wall clock to go by: a back-off takes no longer than anew. */
START_TEST(test_clock__set_back_by_a_day_during_a_back_off_and_a_restart)
{
	reopen(GOOD RETRYING);
	uint64_t id = add(failing_script());
	serving_until(serving_jobs() == 1 && serving_job(id).state == JOB_BACKOFF);
	clock_stub_offset_usec = -DAY;
	reopen(GOOD RETRYING);
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(serving_job(id).attempt, 2);
}
END_TEST

/* A recovered job gets its whole limit again: the wall clock may be wrong about its start. */
START_TEST(test_clock__set_forward_by_an_hour_before_a_recovery)
{
	reopen(GOOD "delay_ms = 1000\ngrace_ms = 600\n");
	uint64_t id = add(serving_script("a.py", "#", NULL, NULL));
	serving_until(serving_figure("good", "submits") == 1);
	ck_assert(executor_detach(executors_find(serving.executors, "good")));
	clock_stub_offset_usec = HOUR;
	reopen(GOOD "delay_ms = 1000\ngrace_ms = 600\n");
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_figure("good", "cancels"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("clock");
	TCase *tc = tcase_create("clock");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, serving_stop);
	tcase_add_test(tc, test_clock__set_forward_by_an_hour_during_a_run);
	tcase_add_test(tc, test_clock__set_back_by_a_day_during_a_back_off);
	tcase_add_test(tc, test_clock__set_back_by_a_day_during_a_back_off_and_a_restart);
	tcase_add_test(tc, test_clock__set_forward_by_an_hour_before_a_recovery);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
