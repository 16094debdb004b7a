/* Which filters somebody may have meant for a topic. */
#include "near.h"
#include "suite.h"
#include "util.h"

#include <string.h>

START_TEST(test_near__what_is_told)
{
	static const struct {
		const char *filter, *topic, *words;
	} cases[] = {
		{ "/create/#", "create/resource/a", "begins with a slash" },
		{ "create/resource/Projects/#", "create/resource/projects/a", "upper and lower case" },
		{ "creat/+/projects/#", "create/resource/projects/a", "level 1 of its filter is 'creat'" },
		{ "create/resource/project/+", "create/resource/projects/a", "level 3 of its filter is 'project'" },
		{ "create/resource", "create/resource/a", "ends before the topic does" },
		{ "create/resource/b", "create/resource/a", "level 3 of its filter is 'b', the topic has 'a'" },
	};
	char why[NEAR_SIZE];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ck_assert_msg(near_filter(cases[i].filter, cases[i].topic, why), "%s", cases[i].filter);
		ck_assert_msg(strstr(why, cases[i].words) != NULL, "%s: %s", cases[i].filter, why);
	}
}
END_TEST

START_TEST(test_near__what_is_far)
{
	static const char *const far[][2] = {
		{ "update/#", "create/resource/a" }, /* nothing in common but a wildcard */
		{ "delete/user/+", "create/resource/a" },
		{ "create", "create/resource/a" },
		{ "create/resource/a/b/c", "create/resource/a" },
	};
	char why[NEAR_SIZE];

	for (size_t i = 0; i < sizeof far / sizeof far[0]; i++)
		ck_assert_msg(!near_filter(far[i][0], far[i][1], why), "%s: %s", far[i][0], why);
}
END_TEST

/* Of names of any length a message is made that is UTF-8. */
START_TEST(test_near__long_names)
{
	char filter[4096] = "create/", topic[4096] = "create/", why[NEAR_SIZE];

	for (size_t i = 0; i < 1000; i++) {
		(void)strcat(filter, "\xc3\xa9");
		(void)strcat(topic, "\xc3\xa8");
	}
	ck_assert(near_filter(filter, topic, why));
	ck_assert(utf8_valid(why, strlen(why)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("near");
	TCase *tc = tcase_create("near");

	tcase_add_test(tc, test_near__what_is_told);
	tcase_add_test(tc, test_near__what_is_far);
	tcase_add_test(tc, test_near__long_names);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
