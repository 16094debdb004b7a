/* The ring of what became of the last publications. */
#include "record.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

static uint64_t seen, last;

static bool look(void *data, const struct record_entry *entry)
{
	ck_assert(seen == 0 || entry->event + 1 == last); /* newest first, none missing */
	last = entry->event;
	return ++seen < *(const uint64_t *)data;
}

static void look_at(const struct record *record, uint64_t most)
{
	seen = 0;
	record_each(record, look, &most);
}

static void add(struct record *record, uint64_t event)
{
	const struct record_entry entry = { .realtime_usec = 1000 + event, .event = event };
	char topic[32];
	int size = snprintf(topic, sizeof topic, "create/%llu", (unsigned long long)event);

	record_add(record, &entry, topic, (size_t)size);
}

START_TEST(test_record__the_last_ones_are_kept)
{
	struct record record = { 0 };

	look_at(&record, UINT64_MAX);
	ck_assert_uint_eq(seen, 0);
	ck_assert_uint_eq(record_reach(&record), 0);
	for (uint64_t i = 1; i <= RECORD_ENTRIES; i++)
		add(&record, i);
	look_at(&record, UINT64_MAX);
	ck_assert_uint_eq(seen, RECORD_ENTRIES);
	ck_assert_uint_eq(last, 1);
	ck_assert_uint_eq(record_reach(&record), 0);
	add(&record, RECORD_ENTRIES + 1);
	look_at(&record, UINT64_MAX);
	ck_assert_uint_eq(seen, RECORD_ENTRIES);
	ck_assert_uint_eq(last, 2);
	ck_assert_uint_eq(record_reach(&record), 1002);
	look_at(&record, 3);
	ck_assert_uint_eq(seen, 3);
	record_clear(&record);
}
END_TEST

START_TEST(test_record__long_topics_are_cut)
{
	struct record record = { 0 };
	const struct record_entry entry = { .event = 1 };
	char topic[4000];

	memset(topic, 'x', sizeof topic);
	record_add(&record, &entry, topic, sizeof topic);
	ck_assert_uint_eq(strlen(record.entries[0].topic), RECORD_TOPIC_SIZE - 1);
	record_clear(&record);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("record");
	TCase *tc = tcase_create("record");

	tcase_add_test(tc, test_record__the_last_ones_are_kept);
	tcase_add_test(tc, test_record__long_topics_are_cut);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
