/* fuzz_topic.c - topics, filters and the router: filters, one a line, then an empty line, then a
 * topic. What the trie says must be what the plain rule says. */
#include "fuzz.h"

#include "router.h"
#include "topic.h"

#define FILTERS_MAX 16

struct hits {
	unsigned count[FILTERS_MAX];
};

static void hit(void *data, void *value) { ((struct hits *)data)->count[(uintptr_t)value]++; }

static void split(const char *topic, size_t size)
{
	struct topic_parts parts;

	topic_split((enum topic_dialect)(size % 3), topic, size, &parts);
	must(parts.ident >= topic && parts.ident + parts.ident_size <= topic + size);
	(void)topic_below(&parts, "/scripts");
	(void)topic_below(&parts, "/");
}

static void pair(const char *a, size_t a_size, const char *b)
{
	bool covers = topic_filter_covers(a, b);

	(void)a_size;
	if (covers)
		must(topic_filters_overlap(a, b));
	must(topic_filters_overlap(a, b) == topic_filters_overlap(b, a));
	must(topic_filter_covers(a, a));
}

static void route(char *const *filters, const size_t *sizes, size_t count, const char *topic, size_t size)
{
	struct router *router;
	struct hits hits = { 0 };
	size_t matches = 0;

	must(router_new(&router) == 0);
	for (size_t i = 0; i < count; i++)
		must(router_add(router, filters[i], sizes[i], (void *)(uintptr_t)i) == 0);
	must(router_count(router) == count);
	size_t n = router_match(router, topic, size, hit, &hits);
	for (size_t i = 0; i < count; i++) {
		bool should = topic_matches_sized(filters[i], sizes[i], topic, size);
		must(hits.count[i] == should);
		must(topic_matches(filters[i], topic) == should);
		matches += should;
	}
	must(n == matches);
	for (size_t i = 0; i < count; i++)
		must(router_remove(router, filters[i], sizes[i], (void *)(uintptr_t)i) == 0);
	must(router_match(router, topic, size, hit, &hits) == 0);
	router_free(router);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size), *filters[FILTERS_MAX], *at = text, *end = text + size;
	size_t sizes[FILTERS_MAX], count = 0;
	struct lsn_error err;

	while (at < end && *at != '\n') {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t n = newline ? (size_t)(newline - at) : (size_t)(end - at);
		(void)topic_check_subscription(at, n, &err);
		if (count < FILTERS_MAX && topic_check_filter(at, n, &err) == 0) {
			sizes[count] = n;
			filters[count] = fuzz_copy(at, n);
			must(strlen(filters[count]) == n);
			count++;
		}
		at += n + (newline != NULL);
	}
	at += at < end;
	size_t left = (size_t)(end - at);
	if (topic_check_name(at, left, &err) == 0) {
		char *topic = fuzz_copy(at, left);
		must(strlen(topic) == left);
		split(topic, left);
		route(filters, sizes, count, topic, left);
		free(topic);
	}
	for (size_t i = 1; i < count; i++)
		pair(filters[i - 1], sizes[i - 1], filters[i]);
	for (size_t i = 0; i < count; i++) {
		size_t n = topic_normalise_filter(filters[i]);
		must(n == strlen(filters[i]) && n <= sizes[i]);
		free(filters[i]);
	}
	free(text);
	return 0;
}
