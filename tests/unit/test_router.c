/* The router against the plain rule. */
#include <errno.h>
#include <mosquitto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "router.h"
#include "suite.h"
#include "topic.h"

static struct router *router;

static void setup(void) { ck_assert_int_eq(router_new(&router), 0); }

static void teardown(void) { router_free(router); }

static int add(const char *filter, uintptr_t value)
{
	return router_add(router, filter, strlen(filter), (void *)value);
}

static int removed(const char *filter, uintptr_t value)
{
	return router_remove(router, filter, strlen(filter), (void *)value);
}

static void sum_up(void *data, void *value) { *(uintptr_t *)data += (uintptr_t)value; }

/* The sum of the values that match; values in these tests are powers of two. */
static uintptr_t match(const char *topic)
{
	uintptr_t sum = 0;
	(void)router_match(router, topic, strlen(topic), sum_up, &sum);
	return sum;
}

START_TEST(test_router__forms_of_wildcards)
{
	ck_assert_uint_eq(match("a"), 0);
	ck_assert_int_eq(add("+/resource/p/r", 1), 0);
	ck_assert_int_eq(add("create/+/p/#", 2), 0);
	ck_assert_int_eq(add("update/user/user1", 4), 0);
	ck_assert_int_eq(add("#", 8), 0);
	ck_assert_int_eq(add("+/+", 16), 0);
	ck_assert_int_eq(add("/", 32), 0);
	ck_assert_int_eq(add("create/resource/p/r", 64), 0);
	ck_assert_uint_eq(match("create/resource/p/r"), 1 + 2 + 8 + 64);
	ck_assert_uint_eq(match("delete/resource/p/r"), 1 + 8);
	ck_assert_uint_eq(match("create/collection/p"), 2 + 8);
	ck_assert_uint_eq(match("create/collection/p/"), 2 + 8);
	ck_assert_uint_eq(match("update/user/user1"), 4 + 8);
	ck_assert_uint_eq(match("/"), 8 + 16 + 32);
	ck_assert_uint_eq(match("$SYS/x"), 0);
	ck_assert_int_eq(add("$SYS/#", 128), 0);
	ck_assert_uint_eq(match("$SYS/x"), 128);
	ck_assert_uint_eq(router_count(router), 8);
}
END_TEST

START_TEST(test_router__many_values_of_one_filter)
{
	for (uintptr_t i = 1; i <= 5000; i++)
		ck_assert_int_eq(add("create/#", i), 0);
	for (uintptr_t i = 1; i <= 5000; i += 7)
		ck_assert_int_eq(add("create/#", i), -EEXIST);
	ck_assert_uint_eq(match("create/x"), 5000 * 5001 / 2);
	for (uintptr_t i = 1; i <= 5000; i += 2)
		ck_assert_int_eq(removed("create/#", i), 0);
	ck_assert_int_eq(removed("create/#", 1), -ENOENT);
	ck_assert_int_eq(removed("create/+", 2), -ENOENT);
	ck_assert_uint_eq(match("create"), 2500 * 2501);
	for (uintptr_t i = 2; i <= 5000; i += 2)
		ck_assert_int_eq(removed("create/#", i), 0);
	ck_assert_uint_eq(match("create/x"), 0);
	ck_assert_uint_eq(router_count(router), 0);
}
END_TEST

/* ---------------------------------------------------------- random filters, additions, removals */

#define WORLD 1200

static char *world[WORLD];
static bool in[WORLD];
static unsigned hit_count[WORLD];
static uint64_t random_state;

static unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)((random_state >> 33) % n);
}

static void random_text(char *out, bool wildcards)
{
	static const char *const names[] = { "a", "b", "c", "longer-than-a-word", "12345678", "", "$d", "x" };
	unsigned depth = 1 + random_below(6);
	do {
		*out = '\0';
		for (unsigned i = 0; i < depth; i++) {
			if (i)
				strcat(out, "/");
			unsigned r = wildcards ? random_below(10) : 9;
			if (r < 2) {
				strcat(out, "+");
			} else if (r == 2 && i + 1 == depth) {
				strcat(out, "#");
			} else {
				strcat(out, names[random_below(random_below(2) ? 8 : 3)]);
			}
		}
	} while (!*out);
}

static void count_hit(void *data, void *value)
{
	(void)data;
	hit_count[(uintptr_t)value - 1]++;
}

static void compare_once(const char *topic)
{
	size_t expected = 0;
	memset(hit_count, 0, sizeof hit_count);
	size_t found = router_match(router, topic, strlen(topic), count_hit, NULL);
	for (unsigned i = 0; i < WORLD; i++) {
		bool theirs = false;
		(void)mosquitto_topic_matches_sub(world[i], topic, &theirs);
		ck_assert_msg(topic_matches(world[i], topic) == theirs, "plain rule: %s %s", world[i], topic);
		bool wanted = in[i] && theirs;
		expected += wanted;
		ck_assert_msg(hit_count[i] == wanted, "%s %s: %u times", world[i], topic, hit_count[i]);
	}
	ck_assert_uint_eq(found, expected);
}

START_TEST(test_router__equals_the_plain_rule_over_random_changes)
{
	char text[200];
	size_t count = 0;
	random_state = (uint64_t)_i + 1;
	for (unsigned i = 0; i < WORLD; i++) {
		random_text(text, true);
		world[i] = strdup(text);
		in[i] = false;
	}
	for (unsigned round = 0; round < 12; round++) {
		/* Tides: now most of them in, now most of them out, so that the table grows and
		 * shrinks. */
		unsigned share = round % 6 < 3 ? 80 : 5;
		for (unsigned n = 0; n < WORLD; n++) {
			unsigned i = random_below(WORLD);
			bool wanted = random_below(100) < share;
			int r = wanted ? add(world[i], i + 1) : removed(world[i], i + 1);
			ck_assert_int_eq(r, wanted == in[i] ? (wanted ? -EEXIST : -ENOENT) : 0);
			count = count + (wanted && !in[i]) - (!wanted && in[i]);
			in[i] = wanted;
		}
		ck_assert_uint_eq(router_count(router), count);
		for (unsigned n = 0; n < 25; n++) {
			random_text(text, false);
			compare_once(text);
		}
	}
	for (unsigned i = 0; i < WORLD; i++) {
		if (in[i])
			ck_assert_int_eq(removed(world[i], i + 1), 0);
		free(world[i]);
	}
	ck_assert_uint_eq(match("a/b"), 0);
	ck_assert_uint_lt(router_memory_bytes(router), 256 * 1024);
}
END_TEST

/* ------------------------------------------------------------------------------ size and malice */

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

START_TEST(test_router__longest_topics_and_filters)
{
	char *slashes = malloc(TOPIC_MAX + 1), *pluses = malloc(TOPIC_MAX + 1), *mixed = malloc(TOPIC_MAX + 1);
	memset(slashes, '/', TOPIC_MAX);
	slashes[TOPIC_MAX] = '\0';
	for (unsigned i = 0; i < TOPIC_MAX; i++)
		pluses[i] = i % 2 ? '/' : '+';
	pluses[TOPIC_MAX] = '\0';
	ck_assert_uint_eq(match(slashes), 0);
	ck_assert_int_eq(add(slashes, 1), 0);
	ck_assert_int_eq(add(pluses, 2), 0);
	/* 32 filters that share all but their last level with the long ones, and 32 that branch
	 * on the way. */
	for (unsigned i = 0; i < 32; i++) {
		memcpy(mixed, pluses, TOPIC_MAX + 1);
		mixed[TOPIC_MAX - 1] = (char)('A' + i);
		ck_assert_int_eq(add(mixed, 4), 0);
		memcpy(mixed, pluses, TOPIC_MAX + 1);
		mixed[1000 + 2 * i] = 'z';
		ck_assert_int_eq(add(mixed, 8), 0);
	}
	uint64_t start = now_usec();
	ck_assert_uint_eq(match(slashes), 1);
	memcpy(mixed, pluses, TOPIC_MAX + 1);
	for (unsigned i = 0; i < TOPIC_MAX; i += 2)
		mixed[i] = 'z';
	ck_assert_uint_eq(match(mixed), 2 + 32 * 8);
	mixed[TOPIC_MAX - 1] = 'B';
	ck_assert_uint_eq(match(mixed), 2 + 4 + 32 * 8);
	ck_assert_msg(now_usec() - start < 500000, "three matches took %llu us",
		      (unsigned long long)(now_usec() - start));
	free(slashes);
	free(pluses);
	free(mixed);
}
END_TEST

START_TEST(test_router__wildcards_do_not_multiply)
{
	/* All 2^12 filters of twelve levels, each "a" or "+": a topic matches all of them, and
	 * the walk sees each prefix once. */
	char filter[64], topic[] = "a/a/a/a/a/a/a/a/a/a/a/a";
	for (unsigned n = 0; n < 4096; n++) {
		for (unsigned i = 0; i < 12; i++) {
			filter[2 * i] = n >> i & 1 ? '+' : 'a';
			filter[2 * i + 1] = i == 11 ? '\0' : '/';
		}
		ck_assert_int_eq(add(filter, 1), 0);
	}
	uint64_t start = now_usec();
	ck_assert_uint_eq(match(topic), 4096);
	/* Few filters over many levels: 2^30 branches would be possible, 31 prefixes per filter
	 * exist. */
	char deep[64], deep_topic[64];
	for (unsigned k = 0; k < 30; k++) {
		for (unsigned i = 0; i < 30; i++) {
			deep[2 * i] = i == k ? 'b' : '+';
			deep_topic[2 * i] = 'b';
			deep[2 * i + 1] = deep_topic[2 * i + 1] = i == 29 ? '\0' : '/';
		}
		ck_assert_int_eq(add(deep, 1), 0);
	}
	ck_assert_uint_eq(match(deep_topic), 30);
	ck_assert_uint_lt(now_usec() - start, 200000);
}
END_TEST

START_TEST(test_router__memory_stays_small)
{
	char filter[100];
	size_t text = 0;
	for (unsigned i = 0; i < 100000; i++) {
		(void)snprintf(filter, sizeof filter, "%s/resource/projects/p%u/raw/file%u.csv", i % 3 ? "create" : "+",
			       i / 10, i);
		text += strlen(filter);
		ck_assert_int_eq(add(filter, i + 1), 0);
	}
	size_t per_filter = (router_memory_bytes(router) - text) / 100000;
	ck_assert_msg(per_filter <= 100, "%zu bytes per filter", per_filter);
	ck_assert_uint_eq(match("create/resource/projects/p1234/raw/file12343.csv"), 12344);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("router");
	TCase *tc = tcase_create("router");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_router__forms_of_wildcards);
	tcase_add_test(tc, test_router__many_values_of_one_filter);
	tcase_add_loop_test(tc, test_router__equals_the_plain_rule_over_random_changes, 0, 4);
	tcase_add_test(tc, test_router__longest_topics_and_filters);
	tcase_add_test(tc, test_router__wildcards_do_not_multiply);
	tcase_add_test(tc, test_router__memory_stays_small);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
