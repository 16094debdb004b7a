/* test_hosts.c - which Host headers are ours. */
#include "hosts.h"

#include <stddef.h>

#include "suite.h"

START_TEST(test_hosts__allow)
{
	static const char *const ours[] = { "localhost", "localhost:9732", "LocalHost:1",
					    "[::1]",     "[::1]:80",       "web.example" };
	static const char *const others[] = {
		"",
		":80",
		"localhost:",
		"localhost:x",
		"localhost:80:80",
		"localhost.",
		"localhost.evil",
		"evil.localhost",
		"localhost@evil",
		"[::1",
		"[::1]x",
		"[::1]evil:80",
		"::1",
		" localhost",
		"localhost:99999",
		"web.example,evil",
		"local",
		"[::",
		"web.example.org",
	};
	struct hosts hosts = { .names = { "localhost", "[::1]" } };
	ck_assert(hosts_add(&hosts, "web.example"));
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		ck_assert_msg(hosts_allow(&hosts, ours[i]), "%s is refused", ours[i]);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		ck_assert_msg(!hosts_allow(&hosts, others[i]), "%s is allowed", others[i]);
	ck_assert(!hosts_allow(&hosts, NULL));
}
END_TEST

START_TEST(test_hosts__add)
{
	struct hosts hosts = { 0 };
	ck_assert(!hosts_add(&hosts, ""));
	ck_assert(!hosts_add(&hosts, "a:80"));
	ck_assert(!hosts_add(&hosts, "::1"));
	for (size_t i = 0; i < HOSTS_MAX; i++)
		ck_assert(hosts_add(&hosts, "a"));
	ck_assert(!hosts_add(&hosts, "b"));
	ck_assert(!hosts_allow(&hosts, "b"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hosts");
	TCase *tests = tcase_create("hosts");
	tcase_add_test(tests, test_hosts__allow);
	tcase_add_test(tests, test_hosts__add);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
