/* Topic names, filters, and the archive's grammar. */
#include <errno.h>
#include <mosquitto.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "topic.h"

static int filter(const char *s) { return topic_check_filter(s, strlen(s), NULL); }

static int name(const char *s) { return topic_check_name(s, strlen(s), NULL); }

static int subscription(const char *s) { return topic_check_subscription(s, strlen(s), NULL); }

START_TEST(test_topic__filters_that_are_valid)
{
	static const char *const valid[] = {
		"create/+/test/#", "#",      "+",        "+/+", "/", "a//b", "/#", "+/", "$SYS/#",
		"caf\xc3\xa9/+",   "$share", "$sharer/x"
	};
	for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
		ck_assert_msg(filter(valid[i]) == 0, "%s", valid[i]);
}
END_TEST

START_TEST(test_topic__filters_that_are_not)
{
	static const char *const bad[] = { "",   "a#",     "a/#/b", "a+/b",     "+a",           "##",        "#/",
					   "++", "a/+b/c", "\xff",  "\xc0\xaf", "\xed\xa0\x80", "$share/g/a" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(filter(bad[i]) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(topic_check_filter("a\0b", 3, NULL), -EINVAL);
	struct lsn_error err = { 0 };
	ck_assert_int_eq(topic_check_filter("a/#/b", 5, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "last level"));
}
END_TEST

START_TEST(test_topic__names)
{
	ck_assert_int_eq(name("create/resource/a b/%?$x"), 0);
	ck_assert_int_eq(name("/"), 0);
	ck_assert_int_eq(name(""), -EINVAL);
	ck_assert_int_eq(name("a/+"), -EINVAL);
	ck_assert_int_eq(name("a#"), -EINVAL);
	char *big = malloc(TOPIC_MAX + 2);
	memset(big, 'x', TOPIC_MAX + 2);
	ck_assert_int_eq(topic_check_name(big, TOPIC_MAX, NULL), 0);
	ck_assert_int_eq(topic_check_name(big, TOPIC_MAX + 1, NULL), -EINVAL);
	free(big);
}
END_TEST

START_TEST(test_topic__subscriptions)
{
	ck_assert_int_eq(subscription("create/#"), 0);
	ck_assert_int_eq(subscription("$share/g/create/#"), 0);
	ck_assert_int_eq(subscription("$share/g//"), 0);
	ck_assert_int_eq(subscription("$share/g"), -EINVAL);
	ck_assert_int_eq(subscription("$share/g/"), -EINVAL);
	ck_assert_int_eq(subscription("$share//a"), -EINVAL);
	ck_assert_int_eq(subscription("$share/+/a"), -EINVAL);
	ck_assert_int_eq(subscription("$share/g#/a"), -EINVAL);
	ck_assert_int_eq(subscription("$share/g/a#"), -EINVAL);
}
END_TEST

START_TEST(test_topic__normalise)
{
	static const char *const cases[][2] = {
		{ "/create//a/", "create/a" },
		{ "create/a", "create/a" },
		{ "///", "" },
		{ "", "" },
		{ "+//#", "+/#" },
		{ "a", "a" },
		{ "a/", "a" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[32];
		strcpy(text, cases[i][0]);
		ck_assert_uint_eq(topic_normalise_filter(text), strlen(cases[i][1]));
		ck_assert_str_eq(text, cases[i][1]);
	}
}
END_TEST

START_TEST(test_topic__matches)
{
	static const struct {
		const char *filter, *name;
		bool matches;
	} cases[] = {
		{ "a/b", "a/b", true },     { "a/b", "a/c", false },
		{ "a", "a/b", false },      { "a/b", "a", false },
		{ "#", "a/b/c", true },     { "#", "/", true },
		{ "a/#", "a", true },       { "a/#", "a/", true },
		{ "a/#", "ab", false },     { "+/#", "a", true },
		{ "+", "a", true },         { "+", "a/b", false },
		{ "+/+", "/", true },       { "/+", "/a", true },
		{ "+", "/a", false },       { "a/+", "a", false },
		{ "a/+", "a/", true },      { "a/+/c", "a//c", true },
		{ "A", "a", false },        { "#", "$SYS/x", false },
		{ "+/x", "$SYS/x", false }, { "$SYS/#", "$SYS/x", true },
		{ "a/+", "a/$x", true },    { "a/+/#", "a", false },
		{ "a/+/#", "a/b", true },   { "abcdefghij/+/k", "abcdefghij/xyz/k", true },
		{ "/#", "/", true },        { "+/a/+", "x/a/", true },
		{ "a/b/#", "a/bc", false }, { "+/+/+", "a/b", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ck_assert_msg(topic_matches(cases[i].filter, cases[i].name) == cases[i].matches, "%s %s",
			      cases[i].filter, cases[i].name);
		bool theirs = false;
		ck_assert_int_eq(mosquitto_topic_matches_sub(cases[i].filter, cases[i].name, &theirs), 0);
		ck_assert_msg(theirs == cases[i].matches, "libmosquitto: %s %s", cases[i].filter, cases[i].name);
	}
}
END_TEST

/* Overlap and cover against their definition, over all short names of a small alphabet. */
static const char *const levels[] = { "a", "b", "", "$x" };
static const char *const filter_levels[] = { "a", "b", "+", "#", "", "$x" };

static bool write_filter(unsigned n, char *out)
{
	unsigned depth = 1 + n % 3;
	n /= 3;
	*out = '\0';
	for (unsigned i = 0; i < depth; i++, n /= 6) {
		if (i)
			strcat(out, "/");
		strcat(out, filter_levels[n % 6]);
	}
	return n == 0 && filter(out) == 0;
}

static void relate(const char *a, const char *b)
{
	bool overlap = false, cover = true;
	for (unsigned n = 0; n < 4 * 4 * 4 * 4 * 4; n++) {
		unsigned depth = 1 + n % 4, m = n / 4;
		char topic[32] = "";
		for (unsigned i = 0; i < depth; i++, m /= 4) {
			if (i)
				strcat(topic, "/");
			strcat(topic, levels[m % 4]);
		}
		if (!*topic)
			continue;
		bool in_a = topic_matches(a, topic), in_b = topic_matches(b, topic);
		overlap |= in_a && in_b;
		cover &= in_a || !in_b;
	}
	ck_assert_msg(topic_filters_overlap(a, b) == overlap, "overlap %s %s", a, b);
	ck_assert_msg(topic_filter_covers(a, b) == cover, "%s covers %s", a, b);
}

START_TEST(test_topic__overlap_and_cover_are_what_matching_says)
{
	char a[32], b[32];
	for (unsigned i = 0; i < 3 * 6 * 6 * 6; i++) {
		if (!write_filter(i, a))
			continue;
		/* All of one and two levels with each other, of the deeper ones a part. */
		for (unsigned j = 0; j < 3 * 6 * 6 * 6; j++)
			if ((j % (1 + i % 5) == 0 || (i % 3 < 2 && j % 3 < 2)) && write_filter(j, b))
				relate(a, b);
	}
	ck_assert(topic_filter_covers("+/#", "#"));
	ck_assert(topic_filter_covers("/+/#", "/#"));
	ck_assert(topic_filter_covers("+/+/#", "/#"));
	ck_assert(!topic_filter_covers("/+/+/#", "/#"));
	ck_assert(!topic_filter_covers("a/+/#", "a/#"));
}
END_TEST

static struct topic_parts parts(const char *s)
{
	struct topic_parts p;
	topic_split(TOPIC_INDIGO, s, strlen(s), &p);
	return p;
}

START_TEST(test_topic__split)
{
	struct topic_parts p = parts("create/resource/a/b");
	ck_assert_int_eq(p.operation, TOPIC_CREATE);
	ck_assert_int_eq(p.object, TOPIC_RESOURCE);
	ck_assert_str_eq(p.ident, "a/b");
	ck_assert_uint_eq(p.ident_size, 3);
	p = parts("update/collection");
	ck_assert_int_eq(p.operation, TOPIC_UPDATE);
	ck_assert_int_eq(p.object, TOPIC_COLLECTION);
	ck_assert_uint_eq(p.ident_size, 0);
	ck_assert_int_eq(parts("update_metadata/group/g").operation, TOPIC_UPDATE);
	ck_assert_int_eq(parts("update_object/group/g").operation, TOPIC_UPDATE);
	ck_assert_int_eq(parts("delete/user/x/y").object, TOPIC_USER);
	ck_assert_int_eq(parts("creates/users/x").operation, TOPIC_OPERATION_OTHER);
	ck_assert_int_eq(parts("creates/users/x").object, TOPIC_OBJECT_OTHER);
	ck_assert_int_eq(parts("create").object, TOPIC_OBJECT_OTHER);
	ck_assert_int_eq(parts("/").operation, TOPIC_OPERATION_OTHER);
}
END_TEST

static bool below(const char *topic, const char *root)
{
	struct topic_parts p = parts(topic);
	return topic_below(&p, root);
}

START_TEST(test_topic__split_of_drastic_and_radon)
{
	static const struct {
		enum topic_dialect dialect;
		const char *topic, *ident;
		enum topic_operation operation;
		enum topic_object object;
		bool done, below;
	} rows[] = {
		{ TOPIC_DRASTIC, "create/resource/0000A4EF/scripts/a.py", "scripts/a.py", TOPIC_CREATE, TOPIC_RESOURCE,
		  true, true },
		{ TOPIC_DRASTIC, "update/collection/0000A4EF/scripts", "scripts", TOPIC_UPDATE, TOPIC_COLLECTION, true,
		  true },
		{ TOPIC_DRASTIC, "update/collection/0000A4EF", "", TOPIC_UPDATE, TOPIC_COLLECTION, true, false },
		{ TOPIC_DRASTIC, "update/user/scripts/a", "scripts/a", TOPIC_UPDATE, TOPIC_USER, true, false },
		{ TOPIC_DRASTIC, "create/resource/scripts/a.py", "a.py", TOPIC_CREATE, TOPIC_RESOURCE, true, false },
		{ TOPIC_RADON, "create/success/resource/scripts/a.py", "scripts/a.py", TOPIC_CREATE, TOPIC_RESOURCE,
		  true, true },
		{ TOPIC_RADON, "delete/request/collection/scripts", "scripts", TOPIC_DELETE, TOPIC_COLLECTION, false,
		  true },
		{ TOPIC_RADON, "update/fail/resource/scripts/a.py", "scripts/a.py", TOPIC_UPDATE, TOPIC_RESOURCE, false,
		  true },
		{ TOPIC_RADON, "create/resource/scripts/a.py", "a.py", TOPIC_CREATE, TOPIC_OBJECT_OTHER, false, false },
		{ TOPIC_RADON, "create/success", "", TOPIC_CREATE, TOPIC_OBJECT_OTHER, true, false },
		{ TOPIC_INDIGO, "create", "", TOPIC_CREATE, TOPIC_OBJECT_OTHER, true, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct topic_parts p;
		topic_split(rows[i].dialect, rows[i].topic, strlen(rows[i].topic), &p);
		ck_assert_msg(p.operation == rows[i].operation && p.object == rows[i].object, "%s", rows[i].topic);
		ck_assert_msg(p.ident_size == strlen(rows[i].ident) &&
				      memcmp(p.ident, rows[i].ident, p.ident_size) == 0,
			      "%s", rows[i].topic);
		ck_assert_msg(p.done == rows[i].done, "%s", rows[i].topic);
		ck_assert_msg(topic_below(&p, "/scripts") == rows[i].below, "%s", rows[i].topic);
	}
}
END_TEST

START_TEST(test_topic__below_the_scripts_collection)
{
	static const char *const roots[] = { "/scripts", "scripts/", "//scripts", "/scripts//", "scripts" };
	for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
		ck_assert(below("create/resource/scripts/a.py", roots[i]));
		ck_assert(below("update/collection/scripts", roots[i]));
		ck_assert(below("update/collection//scripts/", roots[i]));
		ck_assert(below("move/resource/scripts/sub/x", roots[i]));
		ck_assert(!below("create/resource/scripts2/a.py", roots[i]));
		ck_assert(!below("create/resource/script", roots[i]));
		ck_assert(!below("create/resource/a/scripts", roots[i]));
		ck_assert(!below("create/user/scripts", roots[i]));
		ck_assert(!below("update/collection", roots[i]));
	}
	ck_assert(below("create/resource/a//b/x", "/a/+/b"));
	ck_assert(below("create/resource/c/x", "/c++"));
	ck_assert(below("create/resource/a/b", "/a//b"));
	ck_assert(below("create/resource/x", "/"));
	ck_assert(below("update/collection", "/"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("topic");
	TCase *tc = tcase_create("topic");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_topic__filters_that_are_valid);
	tcase_add_test(tc, test_topic__filters_that_are_not);
	tcase_add_test(tc, test_topic__names);
	tcase_add_test(tc, test_topic__subscriptions);
	tcase_add_test(tc, test_topic__normalise);
	tcase_add_test(tc, test_topic__matches);
	tcase_add_test(tc, test_topic__overlap_and_cover_are_what_matching_says);
	tcase_add_test(tc, test_topic__split);
	tcase_add_test(tc, test_topic__split_of_drastic_and_radon);
	tcase_add_test(tc, test_topic__below_the_scripts_collection);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
