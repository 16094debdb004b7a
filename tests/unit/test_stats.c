/* test_stats.c - the figures that the control socket tells. */
#include "asking.h"
#include "suite.h"

#define GOOD "[executor good]\nplaces = 4\ndelay_ms = 1\n"
#define HELD "[executor held]\nmodule = good\ndelay_ms = 600000\n[route held]\nscript = b.py\nexecutor = held\n"

static void setup(void)
{
	serving_start(GOOD HELD);
	serving_shell("mkdir %s/scripts", serving_folder);
	serving_write("scripts/a.py", "pass\n");
	serving_write("scripts/a.py.meta", "topic = create/#\n");
	serving_write("scripts/b.py", "pass\n");
	serving_write("scripts/b.py.meta", "topic = update/#\n");
	open_control();
	serving_until(registry_count(serving.registry, SCRIPT_ACTIVE) == 2);
}

static void teardown(void)
{
	close_control();
	serving_stop();
}

/* some_jobs - a.py has run twice, b.py runs once and waits once. */
static void some_jobs(void)
{
	serving_publish("create/resource/x", 0);
	serving_publish("create/resource/y", 0);
	serving_publish("update/resource/x", 0);
	serving_publish("update/resource/x", 0);
	serving_publish("delete/resource/x", 0);
	serving_until(serving_ended() == 2);
	serving_until(serving_figure("held", "submits") == 1);
}

START_TEST(test_stats__nothing_yet)
{
	ck_assert_uint_eq(rows("{\"command\":\"stats\"}"), 0);
	says("{\"command\":\"stats\"}", "\"jobs\":0,");
	ck_assert_ptr_nonnull(strstr(answer, "\"last_outcome\":\"\""));
	ck_assert_uint_eq(rows("{\"command\":\"stats\",\"script\":\"a.py\"}"), 0);
	says("{\"command\":\"stats\",\"colour\":1}", "unknown key 'colour'");
	says("{\"command\":\"stats\",\"totals\":1}", "\"code\":22");
}
END_TEST

START_TEST(test_stats__each_script_and_all)
{
	some_jobs();
	ck_assert_uint_eq(rows("{\"command\":\"stats\"}"), 2);
	ck_assert_uint_eq(rows("{\"command\":\"stats\",\"totals\":true}"), 0);
	ck_assert_ptr_nonnull(strstr(answer, "\"jobs\":4,"));
	ck_assert_ptr_nonnull(strstr(answer, "\"outcomes\":{\"success\":2}"));
	ck_assert_ptr_nonnull(strstr(answer, "\"waiting\":1,\"running\":1,"));
	ck_assert_ptr_nonnull(strstr(answer, "\"matched\":4,\"unmatched\":1,"));
	ck_assert_ptr_nonnull(strstr(answer, "\"event_bytes\":10,"));
	ck_assert_uint_eq(rows("{\"command\":\"stats\",\"script\":\"b.py\"}"), 1);
	ck_assert_ptr_nonnull(strstr(answer, "\"waiting\":1,\"running\":1,"));
	ck_assert_ptr_null(strstr(answer, "a.py"));
}
END_TEST

START_TEST(test_stats__a_script_that_is_gone_keeps_its_figures)
{
	some_jobs();
	serving_shell("rm %s/scripts/a.py", serving_folder);
	says("{\"command\":\"rescan\"}", "end");
	serving_until(!registry_find(serving.registry, "a.py"));
	says("{\"command\":\"stats\",\"script\":\"a.py\"}", "\"outcomes\":{\"success\":2}");
	ck_assert_ptr_nonnull(strstr(answer, "\"waiting\":0,\"running\":0,"));
}
END_TEST

/* The record is longer than one slice. */
START_TEST(test_stats__events_come_in_slices)
{
	for (unsigned i = 0; i < 400; i++)
		serving_publish(i % 4 ? "delete/resource/x" : "delete/resource/y", 0);
	ck_assert_uint_eq(rows("{\"command\":\"events\",\"limit\":1000}"), 400);
	ck_assert_uint_eq(rows("{\"command\":\"events\",\"limit\":1000,\"topic\":\"delete/resource/y\"}"), 100);
	ck_assert_uint_eq(rows("{\"command\":\"events\",\"limit\":60,\"topic\":\"+/resource/y\"}"), 60);
	ck_assert_uint_eq(rows("{\"command\":\"events\",\"decision\":\"matched\"}"), 0);
	for (unsigned i = 0; i < RECORD_ENTRIES; i++)
		serving_publish("delete/resource/z", 0);
	ck_assert_uint_eq(rows("{\"command\":\"events\",\"topic\":\"delete/resource/y\"}"), 0);
	ck_assert_uint_eq(rows("{\"command\":\"events\",\"topic\":\"delete/resource/z\",\"limit\":700}"), 700);
}
END_TEST

START_TEST(test_stats__they_begin_anew_but_know_what_there_is_to_do)
{
	some_jobs();
	close_control();
	serving_close();
	serving_open();
	open_control();
	says("{\"command\":\"stats\",\"script\":\"b.py\"}", "{\"jobs\":0,");
	ck_assert_ptr_nonnull(strstr(answer, "\"script\":\"b.py\",\"waiting\":1,"));
	ck_assert_uint_eq(rows("{\"command\":\"stats\",\"script\":\"a.py\"}"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *tc = tcase_create("stats");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_stats__nothing_yet);
	tcase_add_test(tc, test_stats__each_script_and_all);
	tcase_add_test(tc, test_stats__a_script_that_is_gone_keeps_its_figures);
	tcase_add_test(tc, test_stats__they_begin_anew_but_know_what_there_is_to_do);
	tcase_add_test(tc, test_stats__events_come_in_slices);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
