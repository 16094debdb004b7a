/* Which reports of the child that looks up users and groups are believed. */
#include "control_lookup.h"
#include "control_lookup_stubs.h"
#include "suite.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static char report[CHILD_REPORT_MAX];
static size_t report_size;
static bool believed;
static struct control_access access_given;
static struct lsn_error said;

static void on_access(void *data, struct control_access *access, const struct lsn_error *err)
{
	(void)data;
	believed = access != NULL;
	access_given = access ? *access : (struct control_access){ 0 };
	said = *err;
}

/* look_up - as the child does it, with a report for the test to hand in. */
static void look_up(void)
{
	static char *readers[] = { (char *)"4321", (char *)"@4322", NULL };
	static char *testers[] = { (char *)"1236", NULL };
	static char *operators[] = { (char *)"1234", (char *)"1235", NULL };
	static const struct control_config config = { .readers = readers, .testers = testers, .operators = operators };
	struct control_lookup *lookup;
	int ends[2];

	ck_assert_int_eq(control_lookup_start(NULL, &config, on_access, NULL, &lookup, NULL), 0);
	ck_assert_int_eq(pipe(ends), 0);
	played.task.work(ends[1], -1, &config);
	report_size = (size_t)read(ends[0], report, sizeof report);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void end_with(size_t size, int code, int status, bool timeout)
{
	struct child_end end = { .report = report, .report_size = size, .timeout = timeout };

	end.how.si_code = code;
	end.how.si_status = status;
	played.done(played.data, &end);
}

START_TEST(test_control_lookup__a_whole_report_is_believed)
{
	look_up();
	end_with(report_size, CLD_EXITED, 0, false);
	ck_assert(believed);
	ck_assert(access_given.open);
	ck_assert_uint_eq(access_given.readers.user_count, 1);
	ck_assert_uint_eq(access_given.readers.users[0], 4321);
	ck_assert_uint_eq(access_given.readers.groups[0], 4322);
	ck_assert_uint_eq(access_given.testers.user_count, 1);
	ck_assert_uint_eq(access_given.testers.users[0], 1236);
	ck_assert_uint_eq(access_given.testers.group_count, 0);
	ck_assert_uint_eq(access_given.operators.user_count, 2);
	ck_assert_uint_eq(access_given.operators.users[1], 1235);
	control_access_clear(&access_given);
}
END_TEST

START_TEST(test_control_lookup__a_cut_report_is_not)
{
	look_up();
	for (size_t size = 0; size < report_size; size++) {
		end_with(size, CLD_EXITED, 0, false);
		ck_assert_msg(!believed, "%zu of %zu bytes are believed", size, report_size);
		ck_assert_int_eq(said.code, -EIO);
		look_up();
	}
	end_with(report_size, CLD_EXITED, 0, false);
	control_access_clear(&access_given);
}
END_TEST

START_TEST(test_control_lookup__nor_one_that_came_too_late)
{
	look_up();
	end_with(report_size, CLD_KILLED, SIGKILL, true);
	ck_assert(!believed);
	ck_assert_int_eq(said.code, -ETIMEDOUT);
}
END_TEST

/* Where no pipe takes a whole report, the child ends with a status that says so. */
START_TEST(test_control_lookup__how_the_child_ended_is_said)
{
	look_up();
	end_with(100, CLD_EXITED, 1, false);
	ck_assert(!believed);
	ck_assert_ptr_nonnull(strstr(said.message, "ended 1"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control_lookup");
	TCase *tc = tcase_create("control_lookup");

	tcase_add_test(tc, test_control_lookup__a_whole_report_is_believed);
	tcase_add_test(tc, test_control_lookup__a_cut_report_is_not);
	tcase_add_test(tc, test_control_lookup__nor_one_that_came_too_late);
	tcase_add_test(tc, test_control_lookup__how_the_child_ended_is_said);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
