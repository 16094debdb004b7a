/* test_turn.c - record, acknowledge, start: in this order, or not at all. The journal's failures
 * are real ones: a file that may not grow. */
#include "serving.h"
#include "suite.h"
#include "turn_stubs.h"

#include <signal.h>
#include <sys/resource.h>

static void setup(void)
{
	serving_start("[executor good]\nplaces = 4\ndelay_ms = 1\n");
	(void)serving_script("a.py", "#", NULL, NULL);
	serving_until(turn_idle(serving.turn));
	turn_stub_calls = (struct turn_stub_calls){ 0 };
	turn_set_broker(serving.turn, (struct broker *)&turn_stub_calls);
}

/* let_grow - or not: the WAL cannot become larger than it is. (All other files of ours are
 * smaller.) */
static void let_grow(bool may)
{
	struct rlimit limit;
	struct stat st;
	char path[128];

	(void)signal(SIGXFSZ, SIG_IGN);
	(void)snprintf(path, sizeof path, "%s/journal.db-wal", serving_folder);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = may ? limit.rlim_max : (rlim_t)st.st_size;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void batch(const char *topic)
{
	serving_publish(topic, 1);
	turn_batch(serving.turn);
}

START_TEST(test_turn__acknowledges_once_what_is_committed)
{
	batch("create/x");
	ck_assert(!turn_idle(serving.turn));
	ck_assert_uint_eq(turn_stub_calls.acks, 0);
	serving_until(turn_stub_calls.acks == 1);
	ck_assert_uint_eq(serving_jobs(), 1);
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(turn_stub_calls.acks, 1);
	/* Nothing was read since: nothing is acknowledged. */
	turn_request(serving.turn);
	for (unsigned i = 0; i < 5; i++)
		serving_step();
	ck_assert_uint_eq(turn_stub_calls.acks, 1);
}
END_TEST

START_TEST(test_turn__nothing_happens_on_a_failed_commit)
{
	let_grow(false);
	batch("create/x");
	serving_until(turn_get_figures(serving.turn)->failed >= 2); /* it tries again */
	ck_assert_uint_eq(turn_stub_calls.acks, 0);
	ck_assert_uint_eq(serving_figure("good", "submits"), 0);
	ck_assert(turn_get_figures(serving.turn)->blocked);
	ck_assert_str_ne(turn_get_figures(serving.turn)->error, "");
	ck_assert(!turn_idle(serving.turn));
	ck_assert_uint_eq(serving_jobs(), 0);

	let_grow(true);
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(turn_stub_calls.acks, 1);
	ck_assert_uint_eq(serving_figure("good", "submits"), 1);
	ck_assert_str_eq(turn_get_figures(serving.turn)->error, "");
	ck_assert(!turn_get_figures(serving.turn)->blocked);
}
END_TEST

START_TEST(test_turn__a_lost_connection_is_not_acknowledged)
{
	let_grow(false);
	batch("create/x");
	serving_until(turn_get_figures(serving.turn)->failed >= 1);
	turn_disconnected(serving.turn);
	let_grow(true);
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(turn_stub_calls.acks, 0);
	/* The broker sends it again, and this time it is acknowledged, and does not run again. */
	intake_connected(serving.intake, true);
	batch("create/x");
	serving_until(turn_stub_calls.acks == 1);
	ck_assert_uint_eq(serving_jobs(), 1);
	ck_assert_uint_eq(intake_get_counters(serving.intake)->decisions[DECISION_REPEATED], 1);
}
END_TEST

START_TEST(test_turn__a_full_journal_pauses_the_broker)
{
	serving.config->journal.jobs_max = 1;
	journal_set_config(serving.journal, &serving.config->journal);
	dispatcher_stop(serving.dispatcher);
	batch("create/x");
	batch("create/y");
	serving_until(turn_stub_calls.pauses == 1);
	ck_assert_uint_eq(turn_stub_calls.acks, 1); /* these two are stored */
	ck_assert_uint_eq(serving_jobs(), 2);
	ck_assert(turn_get_figures(serving.turn)->blocked);
	serving.config->journal.jobs_max = 1000;
	journal_set_config(serving.journal, &serving.config->journal);
	serving_until(turn_stub_calls.resumes == 1);
	ck_assert_uint_eq(turn_stub_calls.pauses, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("turn");
	TCase *tc = tcase_create("turn");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, serving_stop);
	tcase_add_test(tc, test_turn__acknowledges_once_what_is_committed);
	tcase_add_test(tc, test_turn__nothing_happens_on_a_failed_commit);
	tcase_add_test(tc, test_turn__a_lost_connection_is_not_acknowledged);
	tcase_add_test(tc, test_turn__a_full_journal_pauses_the_broker);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
