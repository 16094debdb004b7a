/* test_stall.c - the stall meter with a real loop and turns that take real time. */
#include "stall.h"
#include "log.h"
#include "soon.h"
#include "suite.h"
#include <poll.h>
#include <string.h>
#include <util.h>

static sd_event *loop;
static sd_event_source *source;

static void start(sd_event_time_handler_t fn)
{
	log_init(LSN_LOG_ERROR);
	ck_assert_int_ge(sd_event_new(&loop), 0);
	ck_assert_int_ge(soon_new(loop, fn, loop, &source), 0);
	soon(source);
	ck_assert_int_eq(stall_loop(loop), 7);
	sd_event_source_disable_unref(source);
	sd_event_unref(loop);
}

static void pass(int msec)
{
	uint64_t end = now_monotonic_usec() + (uint64_t)msec * USEC_PER_MSEC;

	while (now_monotonic_usec() < end)
		(void)poll(NULL, 0, 1);
}

static int on_slow(sd_event_source *timer, uint64_t usec, void *data)
{
	(void)timer, (void)usec;
	stall_source("test", "slow");
	pass(60);
	return sd_event_exit(data, 7);
}

START_TEST(test_stall__the_longest_turn_has_a_cause)
{
	struct stall_figures figures;

	start(on_slow);
	stall_get_figures(&figures);
	ck_assert_uint_ge(figures.turn_usec, 60 * USEC_PER_MSEC);
	ck_assert_str_eq(figures.turn_cause, "test: slow");
	ck_assert_uint_gt(figures.turn_realtime_usec, 0);
	ck_assert_uint_eq(figures.over_limit, 1);
	ck_assert_uint_eq(figures.commit_usec, 0);
}
END_TEST

static int on_parts(sd_event_source *timer, uint64_t usec, void *data)
{
	(void)timer, (void)usec;
	stall_source("reload", NULL);
	pass(40);
	stall_part("docker-sandbox", "init", 35 * USEC_PER_MSEC);
	stall_part("json-lines", "init", USEC_PER_MSEC);
	return sd_event_exit(data, 7);
}

START_TEST(test_stall__a_part_that_took_most_of_it_is_named)
{
	struct stall_figures figures;

	start(on_parts);
	stall_get_figures(&figures);
	if (figures.turn_usec < 70 * USEC_PER_MSEC) /* else the machine took most of it */
		ck_assert_str_eq(figures.turn_cause, "reload, in docker-sandbox: init");
}
END_TEST

static int on_commit(sd_event_source *timer, uint64_t usec, void *data)
{
	uint64_t begin = now_monotonic_usec();

	(void)timer, (void)usec;
	stall_source("dispatch", NULL);
	pass(80);
	stall_commit(now_monotonic_usec() - begin);
	return sd_event_exit(data, 7);
}

START_TEST(test_stall__commits_count_apart)
{
	struct stall_figures figures;

	start(on_commit);
	stall_get_figures(&figures);
	ck_assert_uint_ge(figures.commit_usec, 80 * USEC_PER_MSEC);
	ck_assert_uint_lt(figures.turn_usec, 80 * USEC_PER_MSEC);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stall");
	TCase *tcase = tcase_create("stall");

	tcase_add_test(tcase, test_stall__the_longest_turn_has_a_cause);
	tcase_add_test(tcase, test_stall__a_part_that_took_most_of_it_is_named);
	tcase_add_test(tcase, test_stall__commits_count_apart);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
