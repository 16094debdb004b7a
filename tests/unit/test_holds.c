/* test_holds.c - what is held does not start, is not lost, and starts when the hold ends. */
#include "dispatcher_private.h"
#include "serving.h"
#include "suite.h"

#define GOOD "[executor good]\nopen = yes\nplaces = 4\ndelay_ms = 1\n[executor other]\nmodule = good\nopen = yes\n"

static void setup(void) { serving_start(GOOD); }

static uint64_t add(struct script *script, const char *topic)
{
	_cleanup_event_ struct event *event = NULL;
	uint64_t id;

	ck_assert_int_eq(event_new(topic, strlen(topic), "{}", 2, &event), 0);
	event->id = journal_next_event_id(serving.journal);
	ck_assert_int_eq(dispatcher_add(serving.dispatcher, event, script, 0, &id), 0);
	return id;
}

static uint64_t object_of(const char *topic)
{
	_cleanup_event_ struct event *event = NULL;

	ck_assert_int_eq(event_new(topic, strlen(topic), "{}", 2, &event), 0);
	return event_object(event);
}

static uint64_t hold(enum hold_scope scope, const char *name)
{
	struct hold wanted = { .scope = scope, .reason = "why not" };
	uint64_t id = 0;

	(void)snprintf(wanted.name, sizeof wanted.name, "%s", name);
	wanted.object = scope == HOLD_OBJECT ? object_of(name) : 0;
	serving_ok(dispatcher_hold(serving.dispatcher, &wanted, &id, &serving_err));
	ck_assert_uint_gt(id, 0);
	return id;
}

static void lift(uint64_t id) { serving_ok(dispatcher_lift(serving.dispatcher, id, &serving_err)); }

static void reopen(void)
{
	serving_close();
	serving_open();
}

/* waits - job ID is queued, and says that a hold keeps it. */
static void waits(const char *script, uint64_t id, const char *topic)
{
	struct wait wait;

	dispatcher_get_wait(serving.dispatcher, script, id, object_of(topic), &wait);
	ck_assert_str_eq(wait_reason_names[wait.reason], "held");
	ck_assert_ptr_nonnull(strstr(wait.text, "\"why not\""));
	ck_assert_int_eq(serving_job(id).state, JOB_QUEUED);
	const char *wrong = dispatcher_check(serving.dispatcher);
	ck_assert_msg(!wrong, "%s", wrong);
}

START_TEST(test_holds__each_scope_keeps_its_own)
{
	static const struct {
		enum hold_scope scope;
		const char *name;
	} cases[] = { { HOLD_SCRIPT, "a.py" },
		      { HOLD_SCRIPT, "a*" },
		      { HOLD_EXECUTOR, "good" },
		      { HOLD_OBJECT, "create/resource/x" } };
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	struct script *b = serving_script("b.py", "#", "executor", "other");

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		uint64_t held = hold(cases[i].scope, cases[i].name);
		size_t ended = serving_ended();
		uint64_t first = add(a, "create/resource/x");
		(void)add(b, "create/resource/y");
		serving_until(serving_ended() == ended + 1);
		waits("a.py", first, "create/resource/x");
		lift(held);
		serving_until(serving_ended() == ended + 2);
		ck_assert_int_eq(serving_job(first).outcome, LSN_OUTCOME_SUCCESS);
	}
}
END_TEST

START_TEST(test_holds__all_stands_over_restarts)
{
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	uint64_t held = hold(HOLD_ALL, ""), jobs[50];

	for (size_t i = 0; i < ELEMENTSOF(jobs); i++) {
		char topic[40];
		(void)snprintf(topic, sizeof topic, "create/resource/%zu", i);
		jobs[i] = add(a, topic);
	}
	serving_until(serving_jobs() == ELEMENTSOF(jobs));
	reopen();
	for (unsigned i = 0; i < 20; i++)
		serving_step();
	ck_assert_uint_eq(serving_figure("good", "submits"), 0);
	waits("a.py", jobs[0], "create/resource/0");
	struct held_count count;
	dispatcher_count_held(serving.dispatcher, NULL, &count);
	ck_assert_uint_eq(count.jobs, ELEMENTSOF(jobs));
	ck_assert_uint_gt(count.oldest_realtime_usec, 0);
	ck_assert_uint_eq(dispatcher_oldest_free(serving.dispatcher), 0);
	lift(held);
	reopen();
	ck_assert_ptr_null(TAILQ_FIRST(dispatcher_holds(serving.dispatcher)));
	serving_until(serving_ended() == ELEMENTSOF(jobs));
	ck_assert_uint_eq(serving_figure("good", "submits"), ELEMENTSOF(jobs));
}
END_TEST

START_TEST(test_holds__what_runs_goes_on)
{
	serving_close();
	serving_configure("[executor good]\ndelay_ms = 200\n");
	serving_open();
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	uint64_t first = add(a, "create/resource/x"), second = add(a, "update/resource/x");

	serving_until(serving_figure("good", "submits") == 1);
	(void)hold(HOLD_SCRIPT, "a.py");
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(first).outcome, LSN_OUTCOME_SUCCESS);
	waits("a.py", second, "update/resource/x");
}
END_TEST

START_TEST(test_holds__a_time_ends_it)
{
	struct hold wanted = { .scope = HOLD_ALL, .until_realtime_usec = now_realtime_usec() + 300 * USEC_PER_MSEC };
	uint64_t id, before = now_realtime_usec();

	serving_ok(dispatcher_hold(serving.dispatcher, &wanted, &id, &serving_err));
	(void)add(serving_script("a.py", "#", NULL, NULL), "create/resource/x");
	serving_until(serving_ended() == 1);
	ck_assert_uint_ge(now_realtime_usec() - before, 300 * USEC_PER_MSEC);
	ck_assert_uint_eq(serving.dispatcher->holds.count, 0);
	reopen();
	ck_assert_uint_eq(serving.dispatcher->holds.count, 0);
}
END_TEST

/* Held objects fill neither the memory for waiting jobs nor anything else of their script. */
START_TEST(test_holds__many_held_objects_do_not_block_others)
{
	enum { OBJECTS = 60 };
	uint64_t holds[OBJECTS];
	char topic[40];

	serving_close();
	serving_configure(GOOD "[dispatcher]\nwindow = 8\n");
	serving_open();
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	for (unsigned i = 0; i < OBJECTS; i++) {
		(void)snprintf(topic, sizeof topic, "create/resource/held%u", i);
		holds[i] = hold(HOLD_OBJECT, topic);
		(void)add(a, topic);
		(void)add(a, topic);
	}
	(void)add(a, "create/resource/free");
	serving_until(serving_ended() == 1);
	const char *wrong = dispatcher_check(serving.dispatcher);
	ck_assert_msg(!wrong, "%s", wrong);
	for (unsigned i = 0; i < OBJECTS; i++)
		lift(holds[i]);
	serving_until(serving_ended() == 1 + 2 * OBJECTS);
	ck_assert_uint_eq(serving_figure("good", "submits"), 1 + 2 * OBJECTS);
}
END_TEST

START_TEST(test_holds__one_more_of_the_same_replaces_it)
{
	uint64_t first = hold(HOLD_SCRIPT, "a.py");

	ck_assert_uint_eq(hold(HOLD_SCRIPT, "a.py"), first);
	ck_assert_uint_eq(serving.dispatcher->holds.count, 1);
	ck_assert_uint_ne(hold(HOLD_SCRIPT, "b.py"), first);
	lift(first);
	ck_assert_int_eq(dispatcher_lift(serving.dispatcher, first, &serving_err), -ENOENT);
	/* The number of one that has ended names no other. */
	reopen();
	ck_assert_uint_gt(hold(HOLD_SCRIPT, "c.py"), first);
}
END_TEST

START_TEST(test_holds__cancel_and_retry_while_held)
{
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	uint64_t held = hold(HOLD_OBJECT, "create/resource/x"), id = add(a, "create/resource/x");

	serving_until(serving_jobs() == 1);
	serving_ok(dispatcher_cancel(serving.dispatcher, id, &serving_err));
	serving_until(serving_ended() == 1);
	serving_ok(dispatcher_retry(serving.dispatcher, id, &serving_err));
	serving_until(serving_ended() == 0);
	waits("a.py", id, "create/resource/x");
	lift(held);
	serving_until(serving_ended() == 1);
	ck_assert_int_eq(serving_job(id).outcome, LSN_OUTCOME_SUCCESS);
}
END_TEST

/* ---------------------------------------------------------------------------------------- loops */

static void open_with(const char *config)
{
	serving_close();
	serving_configure(config);
	serving_open();
}

static bool runs(uint64_t id)
{
	const struct job *job = dispatcher_find(serving.dispatcher, id);

	return job && job->state == JOB_RUNNING;
}

/* loop - three runs of SCRIPT on TOPIC, each of which causes the next event; the fourth job waits,
 * braked. Its id. */
static uint64_t loop(struct script *script, const char *topic)
{
	uint64_t id = add(script, topic);

	for (unsigned i = 0; i < 3; i++) {
		serving_until(runs(id));
		id = add(script, topic);
	}
	serving_until(dispatcher_running(serving.dispatcher) == 0);
	struct wait wait;
	dispatcher_get_wait(serving.dispatcher, script->name, id, object_of(topic), &wait);
	ck_assert_str_eq(wait_reason_names[wait.reason], "loop-brake");
	return id;
}

#define LOOPS "[executor good]\nplaces = 4\ndelay_ms = 50\n[dispatcher]\nloop_limit = 3\n"

START_TEST(test_holds__a_loop_is_held_and_others_serve)
{
	open_with(LOOPS);
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	uint64_t id = loop(a, "update/resource/x");
	size_t ended = serving_ended();

	dispatcher_end_loop_pauses(serving.dispatcher, now_monotonic_usec() + LOOP_PAUSE_LAST_USEC - USEC_PER_SEC);
	ck_assert_uint_eq(serving.dispatcher->holds.count, 0);
	dispatcher_end_loop_pauses(serving.dispatcher, now_monotonic_usec() + LOOP_PAUSE_LAST_USEC);
	ck_assert_uint_eq(serving.dispatcher->holds.count, 1);
	const struct hold *held = TAILQ_FIRST(dispatcher_holds(serving.dispatcher));
	ck_assert_str_eq(held->name, "resource/x");
	ck_assert_ptr_nonnull(strstr(held->reason, "3 events in a row"));
	ck_assert_ptr_nonnull(strstr(held->reason, "a.py"));
	(void)add(a, "update/resource/y");
	serving_until(serving_ended() == ended + 1);
	ck_assert_int_eq(serving_job(id).state, JOB_QUEUED);
	reopen();
	held = TAILQ_FIRST(dispatcher_holds(serving.dispatcher));
	ck_assert_int_eq(held->kind, HOLD_LOOP);
	ck_assert_int_eq(serving_job(id).state, JOB_QUEUED);
	lift(held->id);
	serving_until(serving_ended() == ended + 2);
}
END_TEST

START_TEST(test_holds__an_event_from_outside_ends_the_brake)
{
	open_with(LOOPS);
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	uint64_t id = loop(a, "update/resource/x");
	uint64_t until = now_monotonic_usec() + 400 * USEC_PER_MSEC;

	while (now_monotonic_usec() < until)
		serving_step();
	ck_assert_int_eq(serving_job(id).state, JOB_QUEUED);
	(void)add(a, "update/resource/x");
	serving_until(serving_ended() == 5);
	ck_assert_uint_eq(serving.dispatcher->holds.count, 0);
}
END_TEST

START_TEST(test_holds__a_loop_that_is_allowed_goes_on)
{
	open_with(LOOPS "[limits]\nloop_allowed = yes\n");
	struct script *a = serving_script("a.py", "#", "loop", "allow");
	uint64_t id = add(a, "update/resource/x");

	for (unsigned i = 0; i < 10; i++) {
		serving_until(runs(id));
		id = add(a, "update/resource/x");
	}
	serving_until(serving_ended() == 11);
}
END_TEST

START_TEST(test_holds__a_script_that_loops_everywhere_is_held)
{
	char topic[40];

	open_with(LOOPS "per_script = 100\n");
	struct script *a = serving_script("a.py", "#", NULL, NULL);
	for (unsigned i = 0; i < 8; i++) {
		(void)snprintf(topic, sizeof topic, "update/resource/%u", i);
		(void)loop(a, topic);
		dispatcher_end_loop_pauses(serving.dispatcher, now_monotonic_usec() + LOOP_PAUSE_LAST_USEC);
	}
	ck_assert_uint_eq(serving.dispatcher->holds.count, 9);
	const struct hold *held = dispatcher_find_hold(serving.dispatcher, "a.py", "", 0);
	ck_assert_ptr_nonnull(held);
	ck_assert_int_eq(held->scope, HOLD_SCRIPT);
	ck_assert_ptr_null(dispatcher_find_hold(serving.dispatcher, "b.py", "", 0));
}
END_TEST

/* ----------------------------------------------------------------------------------------- rate */

START_TEST(test_holds__a_rate_spreads_the_starts)
{
	uint64_t begun = now_monotonic_usec();
	struct script *a = serving_script("a.py", "#", "rate", "10/s");
	struct wait wait;
	uint64_t id = 0;

	for (unsigned i = 0; i < 5; i++) {
		char topic[40];
		(void)snprintf(topic, sizeof topic, "update/resource/%u", i);
		id = add(a, topic);
	}
	serving_until(serving_figure("good", "submits") == 1);
	dispatcher_get_wait(serving.dispatcher, "a.py", id, object_of("update/resource/4"), &wait);
	ck_assert_str_eq(wait_reason_names[wait.reason], "rate");
	serving_until(serving_ended() == 5);
	ck_assert_uint_ge(now_monotonic_usec() - begun, 400 * USEC_PER_MSEC);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("holds");
	TCase *tcase = tcase_create("holds");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, serving_stop);
	tcase_add_test(tcase, test_holds__each_scope_keeps_its_own);
	tcase_add_test(tcase, test_holds__all_stands_over_restarts);
	tcase_add_test(tcase, test_holds__what_runs_goes_on);
	tcase_add_test(tcase, test_holds__a_time_ends_it);
	tcase_add_test(tcase, test_holds__many_held_objects_do_not_block_others);
	tcase_add_test(tcase, test_holds__one_more_of_the_same_replaces_it);
	tcase_add_test(tcase, test_holds__cancel_and_retry_while_held);
	tcase_add_test(tcase, test_holds__a_loop_is_held_and_others_serve);
	tcase_add_test(tcase, test_holds__an_event_from_outside_ends_the_brake);
	tcase_add_test(tcase, test_holds__a_loop_that_is_allowed_goes_on);
	tcase_add_test(tcase, test_holds__a_script_that_loops_everywhere_is_held);
	tcase_add_test(tcase, test_holds__a_rate_spreads_the_starts);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
