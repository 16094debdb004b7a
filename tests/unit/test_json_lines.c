/* The file of json-lines: whole lines, written by several instances in turn. */
#include "suite.h"

#include "../../executors/json-lines/json_text.c"
#include "../../executors/json-lines/line.c"

#include <stdlib.h>

static char folder[] = "/tmp/json-lines.XXXXXX";
static char path[64];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof path, "%s/out", folder);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
	(void)snprintf(folder, sizeof folder, "/tmp/json-lines.XXXXXX");
}

static struct lsn_job job_of(uint64_t id)
{
	return (struct lsn_job){ .id = id,
				 .attempt = 1,
				 .script = "a.py",
				 .script_version = "v",
				 .topic = "t",
				 .topic_size = 1,
				 .payload_fd = -1 };
}

/* The loop closes a descriptor when it comes to it; until then another line must not wait. */
START_TEST(test_json_lines__a_line_that_is_written_locks_nobody_out)
{
	struct lsn_job job = job_of(1);
	int first = line_open(path), second = line_open(path);

	ck_assert_int_eq(line_append(first, &job, false), 0);
	ck_assert_int_eq(flock(second, LOCK_EX | LOCK_NB), 0);
	close(first);
	close(second);
}
END_TEST

START_TEST(test_json_lines__a_half_line_is_removed_and_a_whole_one_found)
{
	char place[LSN_PLACE_SIZE];
	struct lsn_job job = job_of(7), other = job_of(8);
	int fd = line_open(path);

	ck_assert_int_eq(line_place(path, place), 0);
	ck_assert_int_eq(line_append(fd, &job, true), 0);
	ck_assert_int_eq(write(fd, "{\"job\":8,\"attempt\":1,", 21), 21);
	ck_assert_int_eq(line_find(path, &job, place), 1);
	ck_assert_int_eq(line_find(path, &other, place), 0);
	struct stat st;
	ck_assert_int_eq(fstat(fd, &st), 0);
	char last;
	ck_assert_int_eq(pread(fd, &last, 1, st.st_size - 1), 1);
	ck_assert_int_eq(last, '\n');
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json_lines");
	TCase *t = tcase_create("json_lines");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_json_lines__a_line_that_is_written_locks_nobody_out);
	tcase_add_test(t, test_json_lines__a_half_line_is_removed_and_a_whole_one_found);
	suite_add_tcase(suite, t);
	return suite_run(suite);
}
