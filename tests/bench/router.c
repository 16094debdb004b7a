/* router.c - how long does the router take to match a topic, and what does a filter cost? Next
 * to it a linear scan with libmosquitto's own matcher, which is what a small dispatcher would
 * do.
 *
 *     bench-router [--json] [FILTERS...]        default 100 100000 1000000
 *
 * Filters look like an archive's: exact resources and collections, sub-trees, any operation,
 * users and groups. Topics are drawn from the same world: half are made from a filter, so that
 * they match, the other half reach the deep levels and mostly match nothing. Every figure is the
 * median of several rounds, each over all topics in random order. */
#include <mosquitto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "router.h"
#include "topic.h"

#define TOPICS 16384u
#define ROUNDS 9

static uint64_t random_state = 42;

static unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)((random_state >> 33) % n);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static const char *const operations[] = { "create", "update", "delete" };
static const char *const areas[] = { "projects", "home", "ingest", "library", "archive", "test" };
static const char *const kinds[] = { "raw", "derived", "reports", "images", "logs", "meta" };

/* "projects/p00123/raw/run4/file17.csv", LEVELS of it; names out of a world that grows with the
 * number of filters. */
static int write_path(char *out, size_t size, unsigned levels, unsigned world)
{
	unsigned projects = world / 8 + 4;
	int n = snprintf(out, size, "%s/p%05u", areas[random_below(6)], random_below(projects));
	if (levels > 2)
		n += snprintf(out + n, size - (size_t)n, "/%s", kinds[random_below(6)]);
	if (levels > 3)
		n += snprintf(out + n, size - (size_t)n, "/run%u", random_below(4));
	if (levels > 4)
		n += snprintf(out + n, size - (size_t)n, "/file%u.csv", random_below(30));
	return n;
}

static void write_filter(char *out, size_t size, unsigned world)
{
	const char *operation = random_below(3) ? operations[random_below(3)] : "+";
	char path[200];
	unsigned what = random_below(100);
	(void)write_path(path, sizeof path, 2 + random_below(4), world);
	if (what < 5)
		(void)snprintf(out, size, "%s/%s/name%u", operation, random_below(2) ? "user" : "group",
			       random_below(world + 10));
	else if (what < 45)
		(void)snprintf(out, size, "%s/%s/%s/#", operation, random_below(2) ? "+" : "resource", path);
	else if (what < 55)
		(void)snprintf(out, size, "%s/collection/%s", operation, path);
	else if (what < 60)
		(void)snprintf(out, size, "%s/resource/%s/+", operation, path);
	else
		(void)snprintf(out, size, "%s/resource/%s", operation, path);
}

static void write_topic(char *out, size_t size, unsigned world)
{
	char path[200];
	const char *operation = operations[random_below(3)];
	unsigned what = random_below(100);
	(void)write_path(path, sizeof path, 2 + random_below(4), world);
	if (what < 5)
		(void)snprintf(out, size, "%s/%s/name%u", operation, random_below(2) ? "user" : "group",
			       random_below(world + 10));
	else
		(void)snprintf(out, size, "%s/%s/%s", operation, what < 20 ? "collection" : "resource", path);
}

/* A topic that FILTER matches: a name for each wildcard. OUT has room for SIZE bytes. */
static void write_matching(char *out, size_t size, const char *filter)
{
	size_t used = 0;
	for (size_t at = 0; filter[at]; at++) {
		const char one[2] = { filter[at], '\0' };
		const char *part = one;
		if (filter[at] == '#')
			part = "sub/file.txt";
		else if (filter[at] == '+')
			part = at ? "resource" : "update";
		used += (size_t)snprintf(out + used, size - used, "%s", part);
	}
}

static size_t hits;

static void hit(void *data, void *value)
{
	(void)data;
	(void)value;
	hits++;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *x, unsigned n)
{
	qsort(x, n, sizeof *x, compare);
	return x[n / 2];
}

struct figures {
	double match_ns, match_p99_ns, linear_ns, add_ns, add_max_us, remove_ns, bytes_per_filter, hits_per_match;
};

static double linear_ns(char **filters, unsigned count, char **topics)
{
	unsigned topics_used = count >= 100000 ? 4 : TOPICS / 16;
	uint64_t start = now_ns();
	for (unsigned t = 0; t < topics_used; t++)
		for (unsigned i = 0; i < count; i++) {
			bool result = false;
			(void)mosquitto_topic_matches_sub(filters[i], topics[t], &result);
			hits += result;
		}
	return (double)(now_ns() - start) / topics_used;
}

/* The longest pause of any single addition, in CPU time: the machine may have other things to
 * do. */
static double add_max_us(char **filters, unsigned count)
{
	struct router *router = NULL;
	uint64_t slowest = 0;
	if (router_new(&router) < 0)
		exit(1);
	for (unsigned i = 0; i < count; i++) {
		uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		(void)router_add(router, filters[i], strlen(filters[i]), filters[i]);
		uint64_t took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
		slowest = took > slowest ? took : slowest;
	}
	router_free(router);
	return (double)slowest / 1e3;
}

struct text {
	size_t size;
	const char *p;
};

static void match_all(const struct router *router, const struct text *topics, unsigned first, unsigned stride)
{
	for (unsigned i = 0; i < TOPICS; i++) {
		const struct text *t = &topics[(first + i * stride) % TOPICS];
		(void)router_match(router, t->p, t->size, hit, NULL);
	}
}

static void measure(unsigned count, struct figures *ret)
{
	char **filters = calloc(count, sizeof *filters), **topics = calloc(TOPICS, sizeof *topics), text[400];
	struct router *router = NULL;
	size_t text_bytes = 0, registered = 0;
	double rounds[ROUNDS], p99[ROUNDS];
	if (!filters || !topics || router_new(&router) < 0)
		exit(1);
	for (unsigned i = 0; i < count; i++) {
		write_filter(text, sizeof text, count);
		filters[i] = strdup(text);
	}
	for (unsigned i = 0; i < TOPICS; i++) {
		if (i % 2)
			write_matching(text, sizeof text, filters[random_below(count)]);
		else
			write_topic(text, sizeof text, count);
		topics[i] = strdup(text);
	}
	uint64_t start = now_ns();
	for (unsigned i = 0; i < count; i++) {
		if (router_add(router, filters[i], strlen(filters[i]), filters[i]) < 0)
			exit(1);
		text_bytes += strlen(filters[i]);
		registered++;
	}
	ret->add_ns = (double)(now_ns() - start) / count;
	ret->bytes_per_filter = ((double)router_memory_bytes(router) - (double)text_bytes) / (double)registered;
	static struct text texts[TOPICS];
	for (unsigned i = 0; i < TOPICS; i++)
		texts[i] = (struct text){ strlen(topics[i]), topics[i] };
	hits = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t before = hits;
		start = now_ns();
		match_all(router, texts, round * 31, 1);
		rounds[round] = (double)(now_ns() - start) / TOPICS;
		ret->hits_per_match = (double)(hits - before) / TOPICS;
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		static double each[TOPICS];
		for (unsigned i = 0; i < TOPICS; i++) {
			const struct text *t = &texts[(i + round * 131u) % TOPICS];
			uint64_t before = now_ns();
			(void)router_match(router, t->p, t->size, hit, NULL);
			each[i] = (double)(now_ns() - before);
		}
		qsort(each, TOPICS, sizeof *each, compare);
		p99[round] = each[TOPICS * 99 / 100];
	}
	ret->match_ns = median(rounds, ROUNDS);
	ret->match_p99_ns = median(p99, ROUNDS);
	ret->linear_ns = linear_ns(filters, count, topics);
	start = now_ns();
	for (unsigned i = 0; i < count; i++)
		if (router_remove(router, filters[i], strlen(filters[i]), filters[i]) < 0)
			exit(1);
	ret->remove_ns = (double)(now_ns() - start) / count;
	router_free(router);
	ret->add_max_us = add_max_us(filters, count);
	for (unsigned i = 0; i < count; i++)
		free(filters[i]);
	for (unsigned i = 0; i < TOPICS; i++)
		free(topics[i]);
	free(filters);
	free(topics);
}

int main(int argc, char **argv)
{
	static const unsigned standard[] = { 100, 100000, 1000000 };
	bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
	int first = json ? 2 : 1, sizes = argc > first ? argc - first : 3;
	if (json)
		(void)printf("[");
	else
		(void)printf("%9s %10s %10s %12s %8s %8s %8s %10s %9s\n", "filters", "match ns", "p99 ns", "linear ns",
			     "add ns", "max us", "remove", "B/filter", "hits");
	for (int i = 0; i < sizes; i++) {
		unsigned count = argc > first ? (unsigned)strtoul(argv[first + i], NULL, 10) : standard[i];
		struct figures f;
		if (count == 0)
			return 2;
		measure(count, &f);
		(void)printf(json ? "%s{\"filters\": %u, \"match_ns\": %.0f, \"match_p99_ns\": %.0f, \"linear_ns\": "
				    "%.0f, \"add_ns\": %.0f, "
				    "\"add_max_us\": %.0f, \"remove_ns\": %.0f, \"bytes_per_filter\": %.1f, "
				    "\"hits_per_match\": %.2f}"
				  : "%s%9u %10.0f %10.0f %12.0f %8.0f %8.0f %8.0f %10.1f %9.2f\n",
			     json && i ? ", " : "", count, f.match_ns, f.match_p99_ns, f.linear_ns, f.add_ns,
			     f.add_max_us, f.remove_ns, f.bytes_per_filter, f.hits_per_match);
		(void)fflush(stdout);
	}
	if (json)
		(void)printf("]\n");
	return 0;
}
