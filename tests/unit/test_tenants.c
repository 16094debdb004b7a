/* test_tenants.c - what a pool remembers of scripts: use as a rate that forgets, waits in order. */
#include "tenants.h"
#include "suite.h"

#define SECOND UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)

static struct tenants tenants;

static void setup(void) { tenants_init(&tenants); }

static void teardown(void) { tenants_done(&tenants); }

START_TEST(test_tenants__known_by_version_and_memory)
{
	struct tenant *a = tenants_get(&tenants, "a", MIB);

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_eq(tenants_get(&tenants, "a", MIB), a);
	ck_assert_ptr_eq(tenants_find(&tenants, "a", MIB), a);
	ck_assert_ptr_ne(tenants_get(&tenants, "a", 2 * MIB), a);
	ck_assert_ptr_ne(tenants_get(&tenants, "b", MIB), a);
	ck_assert_ptr_null(tenants_find(&tenants, "c", MIB));
}
END_TEST

/* One that fires every second is used more than one that fires every minute, whichever was last. */
START_TEST(test_tenants__rate_not_age)
{
	struct tenant *often = tenants_get(&tenants, "often", MIB), *seldom = tenants_get(&tenants, "seldom", MIB);
	uint64_t now = 1000 * TENANT_HALF_LIFE_USEC;

	for (unsigned i = 0; i < 600; i++, now += SECOND) {
		tenant_use(often, now);
		if (i % 60 == 59)
			tenant_use(seldom, now);
	}
	tenant_use(seldom, now);
	ck_assert_uint_gt(tenant_uses(often, now), 10 * tenant_uses(seldom, now));
	ck_assert_uint_lt(tenant_uses(often, now + 60 * TENANT_HALF_LIFE_USEC), tenant_uses(seldom, now));
}
END_TEST

START_TEST(test_tenants__wait_in_order)
{
	struct tenant *a = tenants_get(&tenants, "a", MIB), *b = tenants_get(&tenants, "b", MIB);

	tenant_wait(&tenants, a, 3, SECOND);
	tenant_wait(&tenants, b, 1, 2 * SECOND);
	tenant_wait(&tenants, a, 4, 3 * SECOND);
	ck_assert_ptr_eq(TAILQ_FIRST(&tenants.waiting), a);
	ck_assert_uint_eq(a->since_usec, SECOND);
	ck_assert_uint_eq(a->waiting, 4);
	tenant_served(&tenants, a, 3, 4 * SECOND); /* to the end of the queue */
	ck_assert_ptr_eq(TAILQ_FIRST(&tenants.waiting), b);
	ck_assert_uint_eq(a->since_usec, 4 * SECOND);
	tenant_served(&tenants, b, 0, 5 * SECOND);
	tenant_served(&tenants, a, 0, 5 * SECOND);
	ck_assert(TAILQ_EMPTY(&tenants.waiting));
}
END_TEST

START_TEST(test_tenants__stale_waits_end)
{
	struct tenant *a = tenants_get(&tenants, "a", MIB), *b = tenants_get(&tenants, "b", MIB);

	tenant_wait(&tenants, a, 1, SECOND);
	tenant_wait(&tenants, b, 1, SECOND);
	tenant_wait(&tenants, b, 1, SECOND + TENANT_STALE_USEC);
	ck_assert_uint_eq(tenants_prune(&tenants, SECOND + TENANT_STALE_USEC), 0);
	ck_assert_uint_eq(tenants_prune(&tenants, SECOND + TENANT_STALE_USEC + 1), 1);
	ck_assert_ptr_eq(TAILQ_FIRST(&tenants.waiting), b);
}
END_TEST

START_TEST(test_tenants__forgotten_when_unused)
{
	uint64_t now = 10 * TENANT_HALF_LIFE_USEC;

	tenant_use(tenants_get(&tenants, "used", MIB), now);
	(void)tenants_get(&tenants, "never", MIB);
	(void)tenants_prune(&tenants, now + TENANT_HALF_LIFE_USEC);
	ck_assert_ptr_null(tenants_find(&tenants, "never", MIB));
	ck_assert_ptr_nonnull(tenants_find(&tenants, "used", MIB));
	tenant_wait(&tenants, tenants_get(&tenants, "waits", MIB), 1, now + 20 * TENANT_HALF_LIFE_USEC);
	(void)tenants_prune(&tenants, now + 20 * TENANT_HALF_LIFE_USEC);
	ck_assert_ptr_null(tenants_find(&tenants, "used", MIB));
	ck_assert_ptr_nonnull(tenants_find(&tenants, "waits", MIB));
}
END_TEST

START_TEST(test_tenants__means_move)
{
	struct tenant *a = tenants_get(&tenants, "a", MIB);

	tenant_ran(a, 8000, 800);
	ck_assert_uint_eq(a->run_usec, 8000);
	for (int i = 0; i < 100; i++)
		tenant_ran(a, 0, 0);
	ck_assert_uint_gt(a->run_usec, 0); /* 0 is: not known */
	ck_assert_uint_lt(a->run_usec, 100);
	ck_assert_uint_lt(a->cpu_usec, 100);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tenants");
	TCase *t = tcase_create("tenants");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_tenants__known_by_version_and_memory);
	tcase_add_test(t, test_tenants__rate_not_age);
	tcase_add_test(t, test_tenants__wait_in_order);
	tcase_add_test(t, test_tenants__stale_waits_end);
	tcase_add_test(t, test_tenants__forgotten_when_unused);
	tcase_add_test(t, test_tenants__means_move);
	suite_add_tcase(suite, t);
	return suite_run(suite);
}
