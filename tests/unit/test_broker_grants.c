/* test_broker_grants.c - how subscriptions are asked for, of brokers that answer and of brokers
 * that close the connection instead; and the note of our session. */
#include "broker_grants.h"
#include "session_note.h"
#include "suite.h"

#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <util.h>

static char a[] = "a/#", b[] = "b/#", c[] = "c/#";
static char *filters[] = { a, b, c, NULL };
static struct broker_grants grants;
static uint64_t now = USEC_PER_SEC;

/* asks - the next SUBSCRIBE is for WANTED, "a b c". */
static void asks(const char *wanted)
{
	char *asked[3], text[16] = "";
	size_t n = grants_next(&grants, now, asked);

	for (size_t i = 0; i < n; i++) {
		size_t used = strlen(text);
		(void)snprintf(text + used, sizeof text - used, "%s%c", i ? " " : "", asked[i][0]);
	}
	ck_assert_str_eq(text, wanted);
}

static void answers(int count, int first, int second, int third)
{
	const int codes[] = { first, second, third };

	grants_answered(&grants, count, codes, now);
}

static bool lost(void)
{
	char reason[200] = "";
	bool blamed = grants_lost(&grants, now, reason, sizeof reason);

	ck_assert_int_eq(blamed, reason[0] != 0);
	return blamed;
}

static void make(void)
{
	ck_assert_int_eq(grants_new(&grants, filters), 0);
	grants_begin(&grants);
}

START_TEST(test_broker_grants__all_in_one)
{
	char text[200];

	make();
	asks("a b c");
	asks(""); /* until there is an answer */
	answers(3, 1, 2, 1);
	asks("");
	ck_assert_uint_eq(grants_due(&grants), 0);
	grants_describe(&grants, text, sizeof text);
	ck_assert_str_eq(text, "");
	ck_assert(!lost());
	grants_begin(&grants);
	asks("a b c");
	grants_done(&grants);
}
END_TEST

START_TEST(test_broker_grants__refused_ones_are_all_kept_and_asked_for_again)
{
	char text[200];

	make();
	asks("a b c");
	answers(3, 0x87, 0, 0x80);
	ck_assert_int_eq(grants.list[0].state, BROKER_GRANT_REFUSED);
	ck_assert_int_eq(grants.list[1].state, BROKER_GRANT_WEAK);
	ck_assert_ptr_nonnull(strstr(grants.list[2].reason, "\"c/#\""));
	grants_describe(&grants, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "\"a/#\""));
	ck_assert_ptr_nonnull(strstr(text, "and 2 more"));
	asks("");
	ck_assert_uint_eq(grants_due(&grants), now + 30 * USEC_PER_SEC);
	now += 30 * USEC_PER_SEC;
	asks("a b c");
	answers(3, 1, 1, 1);
	grants_describe(&grants, text, sizeof text);
	ck_assert_str_eq(text, "");
	grants_done(&grants);
}
END_TEST

/* A broker that closes the connection for b: the others are served, and b is said. */
START_TEST(test_broker_grants__the_one_that_ends_the_connection_is_found)
{
	char text[200];

	make();
	asks("a b c");
	ck_assert(lost());
	for (unsigned round = 0; round < 2; round++) {
		grants_begin(&grants);
		asks("a");
		answers(1, 1, 0, 0);
		if (round == 0) {
			asks("b");
		} else { /* what has cost a connection comes last */
			asks("c");
			answers(1, 1, 0, 0);
			asks("b");
		}
		ck_assert(lost());
	}
	grants_begin(&grants);
	asks("a");
	answers(1, 1, 0, 0);
	asks("c");
	answers(1, 1, 0, 0);
	asks("");
	ck_assert_int_eq(grants.list[1].state, BROKER_GRANT_REFUSED);
	grants_describe(&grants, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "\"b/#\""));
	/* later connections have no trouble with it, until its time has come */
	ck_assert(!lost());
	grants_begin(&grants);
	asks("a c");
	answers(2, 1, 1, 0);
	asks("");
	now = grants_due(&grants);
	asks("b");
	ck_assert(lost());
	ck_assert_uint_ge(grants_due(&grants), now + 600 * USEC_PER_SEC);
	now = grants_due(&grants);
	grants_begin(&grants);
	asks("a");
	answers(1, 1, 0, 0);
	asks("c");
	answers(1, 1, 0, 0);
	asks("b");
	answers(1, 1, 0, 0);
	grants_describe(&grants, text, sizeof text);
	ck_assert_str_eq(text, "");
	grants_done(&grants);
}
END_TEST

/* The network, or a rival: no filter is blamed for one accident. */
START_TEST(test_broker_grants__one_accident)
{
	make();
	asks("a b c");
	ck_assert(lost());
	grants_begin(&grants);
	asks("a");
	ck_assert(lost());
	grants_begin(&grants);
	asks("b");
	answers(1, 1, 0, 0);
	asks("c");
	answers(1, 1, 0, 0);
	asks("a");
	answers(1, 1, 0, 0);
	asks("");
	grants_begin(&grants);
	asks("a b c");
	grants_done(&grants);
}
END_TEST

START_TEST(test_broker_grants__session_note)
{
	char dir[] = "/tmp/test_session_note.XXXXXX", path[64];
	struct session_note note, again;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	session_note_load(&note, dir);
	ck_assert(!session_note_connected(&note, "me at host:1", false, 100)); /* the first time */
	ck_assert(!session_note_connected(&note, "me at host:1", true, 200));
	ck_assert_int_eq(session_note_save(&note, dir), 0);
	session_note_load(&again, dir);
	ck_assert_str_eq(again.whose, "me at host:1");
	ck_assert(session_note_connected(&again, "me at host:1", false, 300));
	ck_assert_uint_eq(again.lost_from_realtime_usec, 200);
	ck_assert_uint_eq(again.lost_to_realtime_usec, 300);
	ck_assert(session_note_connected(&again, "me at host:1", false, 500)); /* and again */
	ck_assert_uint_eq(again.lost_from_realtime_usec, 200);
	ck_assert_uint_eq(again.lost_to_realtime_usec, 500);
	ck_assert_int_eq(session_note_save(&again, dir), 0);
	session_note_load(&note, dir);
	ck_assert_uint_eq(note.lost_to_realtime_usec, 500);
	/* no loss: somewhere else */
	ck_assert(!session_note_connected(&note, "me at other:1", false, 600));
	ck_assert_uint_eq(note.lost_to_realtime_usec, 0);
	(void)snprintf(path, sizeof path, "%s/session", dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("broker_grants");
	Suite *suite = suite_create("broker_grants");

	tcase_add_test(tc, test_broker_grants__all_in_one);
	tcase_add_test(tc, test_broker_grants__refused_ones_are_all_kept_and_asked_for_again);
	tcase_add_test(tc, test_broker_grants__the_one_that_ends_the_connection_is_found);
	tcase_add_test(tc, test_broker_grants__one_accident);
	tcase_add_test(tc, test_broker_grants__session_note);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
