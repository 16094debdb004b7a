/* test_kept_journal.c - a journal that an earlier release wrote under load, killed in the
 * middle: this one opens it, loses nothing, repeats nothing. kept/journal-1.tar.xz is of schema
 * 1: 804 jobs of seven scripts with a window of 16 jobs each, six of them handed over, 404
 * waiting, some cancelled and retried, at an executor `good`. */
#include "serving.h"
#include "suite.h"

#include <sqlite3.h>

#define GOOD "[executor good]\nopen = yes\nplaces = 40\ndelay_ms = 1\n[dispatcher]\nmax_running = 40\nwindow = 16\n"

static char path[128];

/* sql - one number out of the journal, beside the daemon. */
static long long sql(const char *text)
{
	sqlite3 *db;
	sqlite3_stmt *stmt;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_msg(sqlite3_prepare_v2(db, text, -1, &stmt, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	long long value = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return value;
}

static void setup(void)
{
	serving_start(GOOD);
	serving_close();
	serving_shell("rm -f %1$s/journal.db* && python3 -m tarfile -e tests/unit/kept/journal-1.tar.xz %1$s",
		      serving_folder);
	(void)snprintf(path, sizeof path, "%s/journal.db", serving_folder);
}

static void teardown(void) { serving_shell("rm -rf %s", serving_folder); }

START_TEST(test_kept_journal__loses_nothing_and_repeats_nothing)
{
	ck_assert_int_eq(sql("PRAGMA user_version"), 1);
	long long jobs = sql("SELECT count(*) FROM jobs"), events = sql("SELECT count(*) FROM events");
	long long waiting = sql("SELECT count(*) FROM jobs WHERE state = 0"),
		  ended = sql("SELECT sum(id) FROM jobs WHERE state = 5");
	long long out = sql("SELECT count(*) FROM jobs WHERE state IN (1, 2)"), runs = sql("SELECT count(*) FROM runs");
	long long next = sql("SELECT next_job FROM ids");
	ck_assert(waiting > 300 && out > 0 && ended > 0);

	serving_open();
	ck_assert_uint_eq(serving_figure("good", "recovers"), (unsigned long)out);
	struct journal_figures figures;
	uint64_t until = now_monotonic_usec() + 3 * SERVING_WAIT_USEC;
	do {
		ck_assert(now_monotonic_usec() < until);
		serving_step();
		const char *wrong = dispatcher_check(serving.dispatcher);
		ck_assert_msg(!wrong, "%s", wrong);
		journal_get_figures(serving.journal, &figures);
	} while (figures.queued + figures.running > 0);
	ck_assert_uint_eq(serving_figure("good", "submits"), (unsigned long)waiting);
	ck_assert_int_ge((long long)journal_next_job_id(serving.journal), next);
	serving_close();

	ck_assert_int_eq(sql("SELECT count(*) FROM jobs"), jobs);
	ck_assert_int_eq(sql("SELECT count(*) FROM events"), events);
	ck_assert_int_eq(sql("SELECT count(*) FROM jobs WHERE state <> 5"), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM jobs WHERE outcome NOT IN (0, 8)"), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM runs"), runs + waiting);
	ck_assert_int_eq(sql("SELECT count(*) FROM runs WHERE outcome IS NULL"), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM runs WHERE attempt > 1"), 0);
	ck_assert_int_gt(sql("SELECT count(*) FROM window"), 0);
	ck_assert_int_gt(sql("PRAGMA user_version"), 1);
	/* what was registered before there was a choice keeps reading from a file */
	ck_assert_int_eq(sql("SELECT count(*) FROM revisions WHERE input <> 0"), 0);
}
END_TEST

START_TEST(test_kept_journal__of_a_newer_release_is_refused)
{
	struct journal *journal = NULL;
	struct lsn_error err = { 0 };

	sqlite3 *db;
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	const struct journal_config config = { .path = path, .size_max_bytes = 1 << 30, .jobs_max = 1000000 };
	ck_assert_int_eq(journal_open(&config, &journal, &err), -EPROTONOSUPPORT);
	ck_assert_ptr_nonnull(strstr(err.message, "newer listenerd"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kept_journal");
	TCase *tc = tcase_create("kept_journal");

	tcase_set_timeout(tc, 180);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_kept_journal__loses_nothing_and_repeats_nothing);
	tcase_add_test(tc, test_kept_journal__of_a_newer_release_is_refused);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
