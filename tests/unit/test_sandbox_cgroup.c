/* test_sandbox_cgroup.c - the counters of both versions of control groups, from files as the
 * kernel writes them: a machine has one version at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CGROUP_ROOT "cgroup-of-the-test"
#include "../../sandbox/cgroup.c"
#include "suite.h"

static char folder[] = "/tmp/test-cgroup.XXXXXX";

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void enter(void)
{
	strcpy(strrchr(folder, '.') + 1, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	ck_assert_int_eq(mkdir(CGROUP_ROOT, 0755), 0);
}

static void leave(void)
{
	char command[64];

	ck_assert_int_eq(chdir("/"), 0);
	(void)snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(test_sandbox_cgroup__version_2)
{
	put(CGROUP_ROOT "/memory.events", "low 0\nhigh 0\nmax 17\noom 2\noom_kill 1\noom_group_kill 5\n");
	put(CGROUP_ROOT "/pids.events", "max 3\n");
	put(CGROUP_ROOT "/memory.current", "9400320\n");
	ck_assert_uint_eq(cgroup_memory(), 9400320);
	cgroup_mark();
	ck_assert(!cgroup_oom_killed());
	ck_assert(!cgroup_pids_refused());
	put(CGROUP_ROOT "/memory.events", "low 0\nhigh 0\nmax 99\noom 3\noom_kill 1\noom_group_kill 6\n");
	ck_assert(!cgroup_oom_killed());
	put(CGROUP_ROOT "/memory.events", "low 0\nhigh 0\nmax 99\noom 3\noom_kill 2\noom_group_kill 6\n");
	put(CGROUP_ROOT "/pids.events", "max 4\n");
	ck_assert(cgroup_oom_killed());
	ck_assert(cgroup_pids_refused());
	cgroup_mark();
	ck_assert(!cgroup_oom_killed());
}
END_TEST

START_TEST(test_sandbox_cgroup__version_1)
{
	ck_assert_int_eq(mkdir(CGROUP_ROOT "/memory", 0755), 0);
	ck_assert_int_eq(mkdir(CGROUP_ROOT "/pids", 0755), 0);
	put(CGROUP_ROOT "/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
	put(CGROUP_ROOT "/pids/pids.events", "max 0\n");
	put(CGROUP_ROOT "/memory/memory.usage_in_bytes", "1234\n");
	ck_assert_uint_eq(cgroup_memory(), 1234);
	cgroup_mark();
	put(CGROUP_ROOT "/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 1\n");
	ck_assert(cgroup_oom_killed());
	ck_assert(!cgroup_pids_refused());
}
END_TEST

START_TEST(test_sandbox_cgroup__nothing_there)
{
	cgroup_mark();
	ck_assert(!cgroup_oom_killed());
	ck_assert(!cgroup_pids_refused());
}
END_TEST

START_TEST(test_sandbox_cgroup__cut_and_odd)
{
	put(CGROUP_ROOT "/memory.events", "");
	put(CGROUP_ROOT "/pids.events", "max");
	cgroup_mark();
	ck_assert(!cgroup_oom_killed());
	put(CGROUP_ROOT "/memory.events", "oom_kill");
	ck_assert(!cgroup_oom_killed());
	put(CGROUP_ROOT "/pids.events", "max 18446744073709551615999\n");
	ck_assert(cgroup_pids_refused());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox_cgroup");
	TCase *tcase = tcase_create("counters");

	tcase_add_checked_fixture(tcase, enter, leave);
	tcase_add_test(tcase, test_sandbox_cgroup__version_2);
	tcase_add_test(tcase, test_sandbox_cgroup__version_1);
	tcase_add_test(tcase, test_sandbox_cgroup__nothing_there);
	tcase_add_test(tcase, test_sandbox_cgroup__cut_and_odd);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
