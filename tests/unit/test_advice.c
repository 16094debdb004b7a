/* test_advice.c - which filters get a warning, and what is said to be near. */
#include "advice.h"
#include "suite.h"

#include <string.h>
#include <util.h>

static char create[] = "create/#", update[] = "$share/g/update/#", delete[] = "delete/#", collection[] = "//a/scripts/";
static char *subscriptions[] = { create, update, delete, NULL };

static bool advised(const char *filter, char *buf)
{
	struct config config = { .broker.subscriptions = subscriptions, .source.collection = collection };
	struct script script = { .filter = (char *)(uintptr_t)filter };

	return advise(&config, &script, buf);
}

START_TEST(test_advice__no_event_can_run_it)
{
	static const struct {
		const char *filter, *near;
	} rows[] = {
		{ "creat/#", "did you mean create/#?" },
		{ "creat/+/projects/#", "did you mean create/+/projects/#?" },
		{ "Create/resource/x", "create/resource/x?" },
		{ "UPDATE/Resource/X", "update/resource/X?" },
		{ "\"create/#\"", "did you mean create/#?" },
		{ "'update/+/x'", "update/+/x?" },
		{ " create/#", "did you mean create/#?" },
		{ "\xef\xbb\xbf"
		  "create/+/a",
		  "create/+/a?" },
		{ "create\xc2\xa0/x", "did you mean create/x?" },
		{ "sensors/#", "see [broker] subscriptions" },
		{ "/create", "see [broker]" },
		{ "$SYS/#", "see [broker]" },
		{ "create/resource/a/scripts/#", "scripts collection" },
		{ "+/collection/a/scripts", "scripts collection" },
		{ "update/resource/a/scripts/+/b.py", "scripts collection" },
	};
	char buf[ADVICE_SIZE];

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		ck_assert_msg(advised(rows[i].filter, buf), "%s: %s", rows[i].filter, buf);
		ck_assert_msg(strstr(buf, rows[i].near), "%s: %s", rows[i].filter, buf);
	}
}
END_TEST

START_TEST(test_advice__suspicious)
{
	static const struct {
		const char *filter, *what;
	} rows[] = {
		{ "create/resource/\"x\"", "quotation mark" },
		{ "create/resource/x\xc2\xa0", "invisible" },
		{ "create/resource/ x/#", "blank" },
		{ "create/resource/\xe2\x80\x8bx", "invisible" },
		{ "create/resource/cafe\xcc\x81", "NFD" },
		{ "create/resources/#", "did you mean create/resource/#?" },
		{ "update/Collection/x", "update/collection/x?" },
		{ "create/+/a/scripts/#", "only a user or a group" },
	};
	char buf[ADVICE_SIZE];

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		ck_assert_msg(!advised(rows[i].filter, buf), "%s: %s", rows[i].filter, buf);
		ck_assert_msg(strstr(buf, rows[i].what), "%s: %s", rows[i].filter, buf);
	}
}
END_TEST

START_TEST(test_advice__nothing_to_say)
{
	static const char *const rows[] = { "#",
					    "+/#",
					    "create/#",
					    "+/resource/somepath/someresource",
					    "update/user/user1",
					    "create/+/a/#",
					    "create/resource/a/+/x",
					    "create/resource/a/scripts2/#",
					    "create/resource/+/scripts/#",
					    "create/resource/caf\xc3\xa9/a b",
					    "+",
					    "delete/zebra/x",
					    "create/success/resource/x",
					    "update/resource/o'brien/#" };
	char buf[ADVICE_SIZE];

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		ck_assert_msg(!advised(rows[i], buf), "%s: %s", rows[i], buf);
		ck_assert_msg(!buf[0], "%s: %s", rows[i], buf);
	}
}
END_TEST

START_TEST(test_advice__several_filters)
{
	static char covered[] = "create/resource/#\0", good[] = "update/#\0", wrong[] = "creat/#\0";
	struct config config = { .broker.subscriptions = subscriptions, .source.collection = collection };
	struct script script = { .filter = create, .more_filters = covered };
	char buf[ADVICE_SIZE];

	ck_assert(!advise(&config, &script, buf));
	ck_assert(strstr(buf, "topic \"create/resource/#\" adds nothing: \"create/#\" matches"));
	script.more_filters = good;
	ck_assert(!advise(&config, &script, buf));
	ck_assert_str_eq(buf, "");
	script.more_filters = wrong;
	ck_assert(!advise(&config, &script, buf));
	ck_assert(strstr(buf, "topic \"creat/#\": no event can run it"));
	static char other[] = "delet/#";
	script.filter = other;
	ck_assert(advise(&config, &script, buf));
	ck_assert(strstr(buf, "no event can run it"));
}
END_TEST

START_TEST(test_advice__retry_on_output)
{
	struct config config = { .broker.subscriptions = subscriptions, .source.collection = collection };
	struct script script = { .filter = create,
				 .settings = { .retries = 1, .retry_on = UINT32_C(1) << LSN_OUTCOME_OUTPUT } };
	char buf[ADVICE_SIZE];

	ck_assert(!advise(&config, &script, buf));
	ck_assert(strstr(buf, "no effect"));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("advice");
	Suite *suite = suite_create("advice");

	tcase_add_test(tc, test_advice__no_event_can_run_it);
	tcase_add_test(tc, test_advice__suspicious);
	tcase_add_test(tc, test_advice__nothing_to_say);
	tcase_add_test(tc, test_advice__several_filters);
	tcase_add_test(tc, test_advice__retry_on_output);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
