/* Rates, how long things took, and what is counted of scripts. */
#include "suite.h"
#include "tally.h"

#include <stdio.h>
#include <string.h>

#define SEC UINT64_C(1000000)
#define START (1000 * RATE_FAST_USEC)

static void near(double value, double wanted)
{
	ck_assert_msg(value > wanted * 0.999 - 1e-9 && value < wanted * 1.001 + 1e-9, "%f instead of %f", value,
		      wanted);
}

START_TEST(test_rate__the_last_minute)
{
	struct rate rate = { 0 };

	near(rate_per_second(&rate, RATE_FAST_USEC, START), 0);
	rate_add(&rate, RATE_FAST_USEC, START, 60);
	near(rate_per_second(&rate, RATE_FAST_USEC, START), 1);
	near(rate_per_second(&rate, RATE_FAST_USEC, START + 60 * SEC), 1);
	near(rate_per_second(&rate, RATE_FAST_USEC, START + 62 * SEC), 60.0 / 62);
	near(rate_per_second(&rate, RATE_FAST_USEC, START + 64 * SEC), 0);
}
END_TEST

START_TEST(test_rate__what_is_old_goes)
{
	struct rate rate = { 0 };

	for (uint64_t second = 0; second < 600; second++)
		rate_add(&rate, RATE_FAST_USEC, START + second * SEC, 3);
	near(rate_per_second(&rate, RATE_FAST_USEC, START + 600 * SEC), 3);
	rate_add(&rate, RATE_FAST_USEC, START + 100000 * SEC, 120);
	near(rate_per_second(&rate, RATE_FAST_USEC, START + 100000 * SEC), 2);
}
END_TEST

START_TEST(test_rate__too_much_stays_the_most)
{
	struct rate rate = { 0 };

	rate_add(&rate, RATE_FAST_USEC, START, UINT32_MAX - 1);
	rate_add(&rate, RATE_FAST_USEC, START, UINT64_MAX);
	near(rate_per_second(&rate, RATE_FAST_USEC, START), UINT32_MAX / 60.0);
}
END_TEST

START_TEST(test_histogram__a_bound_is_in_its_bucket)
{
	struct histogram histogram = { 0 };

	histogram_add(&histogram, &histogram_waits, 0);
	histogram_add(&histogram, &histogram_waits, 1000);
	histogram_add(&histogram, &histogram_waits, 1001);
	histogram_add(&histogram, &histogram_waits, UINT64_C(300000000));
	histogram_add(&histogram, &histogram_waits, UINT64_C(300000001));
	ck_assert_uint_eq(histogram.counts[0], 2);
	ck_assert_uint_eq(histogram.counts[1], 1);
	ck_assert_uint_eq(histogram.counts[histogram_waits.count - 1], 1);
	ck_assert_uint_eq(histogram.counts[histogram_waits.count], 1);
	ck_assert_uint_eq(histogram.sum_usec, UINT64_C(600002002));
}
END_TEST

START_TEST(test_histogram__bounds_rise)
{
	const struct histogram_bounds *all[] = { &histogram_waits, &histogram_writes };

	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_le(all[i]->count, HISTOGRAM_BOUNDS_MAX);
		for (unsigned j = 1; j < all[i]->count; j++)
			ck_assert_uint_gt(all[i]->usec[j], all[i]->usec[j - 1]);
	}
}
END_TEST

/* within - a quantile is right to a factor of two, whatever the times are. */
static void within(const struct recent *recent, double q, uint64_t usec)
{
	uint64_t told = recent_quantile(recent, q);

	ck_assert_msg(told >= usec / 2 && told <= usec * 2, "%llu instead of about %llu", (unsigned long long)told,
		      (unsigned long long)usec);
}

START_TEST(test_recent__quantiles)
{
	struct recent recent = { 0 };

	ck_assert_uint_eq(recent_quantile(&recent, 0.5), 0);
	for (uint64_t i = 1; i <= 100; i++)
		recent_add(&recent, i * 1000);
	within(&recent, 0.5, 50000);
	within(&recent, 0.95, 95000);
	within(&recent, 1, 100000);
	recent_add(&recent, UINT64_MAX);
	within(&recent, 1, UINT64_C(128) << (RECENT_BUCKETS - 1));
}
END_TEST

START_TEST(test_recent__every_time_has_its_bucket)
{
	for (uint64_t usec = 128; usec < UINT64_C(128) << (RECENT_BUCKETS - 1); usec += usec / 3) {
		struct recent recent = { 0 };
		recent_add(&recent, usec);
		within(&recent, 0.5, usec);
		within(&recent, 1, usec);
	}
}
END_TEST

START_TEST(test_recent__it_forgets)
{
	struct recent recent = { 0 }, sum = { 0 };

	for (unsigned i = 0; i < 5000; i++)
		recent_add(&recent, 1000);
	for (unsigned i = 0; i < 2000; i++)
		recent_add(&recent, 1000000);
	within(&recent, 0.5, 1000000);
	ck_assert_uint_lt(recent.total, RECENT_MAX);
	for (unsigned i = 0; i < 1000; i++)
		recent_merge(&sum, &recent);
	ck_assert_uint_eq(sum.total, 1000 * recent.total);
	within(&sum, 0.5, 1000000);
}
END_TEST

static struct tally tally;

static void setup(void) { tally_init(&tally); }

static void teardown(void) { tally_done(&tally); }

static void ended(struct tally_script *script, enum lsn_outcome outcome, uint64_t job)
{
	const struct lsn_result result = { .outcome = outcome,
					   .duration_usec = outcome == LSN_OUTCOME_LOST ? 0 : 2000,
					   .user_usec = 700,
					   .system_usec = 300,
					   .max_rss_bytes = 1000 * job };

	tally_ended(&tally, script, "docker", job, &result);
}

START_TEST(test_tally__counts_by_script_and_executor)
{
	struct tally_script *a = tally_script(&tally, "a.py");

	ck_assert_ptr_eq(tally_script(&tally, "a.py"), a);
	ck_assert_ptr_ne(tally_script(&tally, "b.py"), a);
	ck_assert_ptr_null(tally_find(&tally, "c.py"));
	tally_made(a, false);
	tally_made(a, true);
	tally_started(&tally, a, "docker", 3000);
	ended(a, LSN_OUTCOME_SUCCESS, 7);
	ended(a, LSN_OUTCOME_LOST, 5);
	ck_assert_uint_eq(a->jobs, 2);
	ck_assert_uint_eq(a->replayed, 1);
	ck_assert_uint_eq(a->runs[LSN_OUTCOME_SUCCESS], 1);
	ck_assert_uint_eq(a->runs[LSN_OUTCOME_LOST], 1);
	ck_assert_uint_eq(a->cpu_usec, 2000);
	ck_assert_uint_eq(a->rss_max_bytes, 7000);
	ck_assert_uint_eq(a->last_job, 5);
	ck_assert_uint_eq(a->took.total, 1); /* nobody knows how long the lost one took */
	const struct tally_executor *docker = STAILQ_FIRST(&tally.executors);
	ck_assert_str_eq(docker->name, "docker");
	ck_assert_uint_eq(docker->runs[LSN_OUTCOME_SUCCESS], 1);
	ck_assert_uint_eq(docker->delay.counts[2], 1);
	ck_assert_uint_eq(docker->took.counts[1], 1);
	ck_assert_ptr_null(STAILQ_NEXT(docker, next));
}
END_TEST

START_TEST(test_tally__too_many_share_an_entry)
{
	char name[32];

	for (unsigned i = 0; i < TALLY_SCRIPTS_MAX + 5; i++) {
		(void)snprintf(name, sizeof name, "%u.py", i);
		tally_made(tally_script(&tally, name), false);
	}
	ck_assert_uint_eq(tally.count, TALLY_SCRIPTS_MAX);
	ck_assert_uint_eq(tally.others.jobs, 5);
	ck_assert_uint_eq(tally_script(&tally, "0.py")->jobs, 1);
	ck_assert_ptr_eq(tally_script(&tally, "new.py"), &tally.others);
}
END_TEST

START_TEST(test_tally__sums)
{
	struct tally_script sum = { 0 }, *a = tally_script(&tally, "a.py"), *b = tally_script(&tally, "b.py");

	tally_made(a, false);
	tally_made(b, false);
	ended(b, LSN_OUTCOME_FAILURE, 9);
	ended(a, LSN_OUTCOME_SUCCESS, 3);
	a->last_realtime_usec = 1; /* long ago */
	tally_add(&sum, a);
	tally_add(&sum, b);
	ck_assert_uint_eq(sum.jobs, 2);
	ck_assert_uint_eq(sum.last_job, 9);
	ck_assert_uint_eq(sum.last_outcome, LSN_OUTCOME_FAILURE);
	ck_assert_uint_eq(sum.took.total, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tally");
	TCase *tc = tcase_create("tally");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_rate__the_last_minute);
	tcase_add_test(tc, test_rate__what_is_old_goes);
	tcase_add_test(tc, test_rate__too_much_stays_the_most);
	tcase_add_test(tc, test_histogram__a_bound_is_in_its_bucket);
	tcase_add_test(tc, test_histogram__bounds_rise);
	tcase_add_test(tc, test_recent__quantiles);
	tcase_add_test(tc, test_recent__every_time_has_its_bucket);
	tcase_add_test(tc, test_recent__it_forgets);
	tcase_add_test(tc, test_tally__counts_by_script_and_executor);
	tcase_add_test(tc, test_tally__too_many_share_an_entry);
	tcase_add_test(tc, test_tally__sums);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
