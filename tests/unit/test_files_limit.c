/* The daemon takes what it can get; what it starts gets the old limit back. */
#include "files_limit.h"
#include "suite.h"

#include <sys/resource.h>

static rlim_t soft(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	return limit.rlim_cur;
}

START_TEST(test_files_limit__is_raised_and_given_back)
{
	struct rlimit limit = { 100, 200 };

	(void)unsetenv("LISTENERD_FILES_LIMIT");
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	files_limit_restore(); /* nothing was raised */
	ck_assert_uint_eq(soft(), 100);
	files_limit_raise();
	ck_assert_uint_eq(soft(), 200);
	files_limit_restore();
	ck_assert_uint_eq(soft(), 100);
	files_limit_lift();
	ck_assert_uint_eq(soft(), 200);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("files_limit");
	TCase *tcase = tcase_create("files_limit");

	tcase_add_test(tcase, test_files_limit__is_raised_and_given_back);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
