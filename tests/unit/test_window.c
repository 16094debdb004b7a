/* test_window.c - the redelivery window: scenarios of real brokers, and random histories against
 * a plain model. */
#include "suite.h"
#include "window.h"
#include <errno.h>
#include <string.h>
#include <time.h>

static struct window *window;

static void setup(void) { ck_assert_int_eq(window_new(100, &window), 0); }
static void teardown(void) { window_free(window); }

static void digest_of(const char *text, uint8_t ret[EVENT_DIGEST_SIZE])
{
	window_digest("t", 1, text, strlen(text), ret);
}

/* take_as - what the intake does with a publication. True: it was run. */
static bool take_as(uint16_t id, const char *text, bool dup, bool live)
{
	uint8_t digest[EVENT_DIGEST_SIZE];

	digest_of(text, digest);
	if (window_ask(window, id, digest, dup) == WINDOW_REPEAT)
		return false;
	ck_assert_int_eq(window_add(window, id, digest, live), 0);
	return true;
}

static bool take(uint16_t id, const char *text) { return take_as(id, text, false, false); }
static bool take_dup(uint16_t id, const char *text) { return take_as(id, text, true, false); }

/* take_number - a publication that no other is equal to. */
static bool take_number(uint16_t id, unsigned number, bool dup)
{
	char text[16];

	(void)snprintf(text, sizeof text, "%u", number);
	return take_as(id, text, dup, false);
}

static size_t saved_count(void)
{
	const void *data;
	size_t size;

	window_save(window, &data, &size);
	ck_assert_uint_eq(size % 18, 0);
	return size / 18 - 1;
}

START_TEST(test_window__new_connection_without_list_repeats_nothing)
{
	window_connected(window, true);
	ck_assert(take(1, "a"));
	ck_assert(take(2, "a"));
}
END_TEST

START_TEST(test_window__unconfirmed_tail_is_repeated)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 5; id++)
		ck_assert(take(id, "same"));
	window_connected(window, true);
	ck_assert(!take(4, "same"));
	ck_assert(!take(5, "same"));
	ck_assert_msg(take(6, "same"), "an equal message after the repeats is a new event");
	ck_assert_msg(take(1, "same"), "the window is closed");
}
END_TEST

START_TEST(test_window__equal_update_after_reconnect_runs)
{
	window_connected(window, false);
	ck_assert(take(1, "update"));
	window_connected(window, true);
	ck_assert_msg(take(2, "update"), "all was confirmed, this is another update");
	ck_assert(take(3, "update"));
}
END_TEST

START_TEST(test_window__closes_at_first_stranger)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 5; id++)
		ck_assert(take(id, "x"));
	window_connected(window, true);
	ck_assert(!take(2, "x"));
	ck_assert_msg(take(4, "x"), "3 is missing, so this is not a repeat");
	ck_assert(take(5, "x"));
}
END_TEST

START_TEST(test_window__same_id_other_content_runs)
{
	window_connected(window, false);
	ck_assert(take(7, "old"));
	window_connected(window, true);
	ck_assert(take(7, "new"));
	window_connected(window, true);
	ck_assert(!take(7, "new"));
}
END_TEST

START_TEST(test_window__no_session_empties_the_list)
{
	window_connected(window, false);
	ck_assert(take(1, "a"));
	window_connected(window, false);
	ck_assert(take(1, "a"));
	ck_assert_uint_eq(saved_count(), 1);
	window_connected(window, true);
	ck_assert(!take(1, "a"));
}
END_TEST

START_TEST(test_window__connection_lost_amid_repeats)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 9; id++)
		ck_assert(take(id, "x"));
	/* lost again and again before the acknowledgements got through */
	for (int i = 0; i < 3; i++) {
		window_connected(window, true);
		for (uint16_t id = 6; id <= 8; id++)
			ck_assert(!take(id, "x"));
	}
	window_connected(window, true);
	for (uint16_t id = 6; id <= 9; id++)
		ck_assert(!take(id, "x"));
	ck_assert(take(10, "x"));
}
END_TEST

/* A broker that was killed and restored its state as of publication 11: it sends 10 and 11
 * again, forgets 12 to 14 and uses their ids for others. */
START_TEST(test_window__broker_restored_from_older_state)
{
	char text[16];

	window_connected(window, false);
	for (uint16_t id = 1; id <= 14; id++) {
		(void)snprintf(text, sizeof text, "%d", id);
		ck_assert(take(id, text));
	}
	window_connected(window, true);
	ck_assert(!take(10, "10"));
	ck_assert(!take(11, "11"));
	ck_assert(take(12, "other 12"));
	ck_assert(take(13, "other 13"));
	/* Lost before any of that was acknowledged: all four come again. */
	window_connected(window, true);
	ck_assert(!take(10, "10"));
	ck_assert(!take(11, "11"));
	ck_assert(!take(12, "other 12"));
	ck_assert(!take(13, "other 13"));
	ck_assert(take(14, "other 14"));
}
END_TEST

/* Restored twice from the same file. */
START_TEST(test_window__broker_restored_twice)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 8; id++)
		ck_assert(take(id, "x"));
	for (int i = 0; i < 2; i++) {
		window_connected(window, true);
		ck_assert(!take(3, "x"));
		ck_assert(!take(4, "x"));
		ck_assert(take(5, i ? "second" : "first"));
	}
}
END_TEST

START_TEST(test_window__packet_ids_wrap_around)
{
	uint32_t id = 65500;
	bool all_new = true; /* ck_assert() in a long loop takes longer than what it checks */

	window_connected(window, false);
	for (unsigned n = 0; n < 200000; n++) {
		all_new &= take((uint16_t)id, "same");
		id = id == 65535 ? 1 : id + 1;
	}
	ck_assert(all_new);
	window_connected(window, true);
	for (uint32_t back = 3; back > 0; back--)
		ck_assert(!take((uint16_t)(id > back ? id - back : id + 65535 - back), "same"));
	ck_assert(take((uint16_t)id, "same"));
	ck_assert_uint_eq(saved_count(), 100);
}
END_TEST

/* The list as long as there are ids: the next id in turn must not be taken for a repeat of its
 * last use. */
START_TEST(test_window__full_id_space_next_id_is_new)
{
	window_free(window);
	ck_assert_int_eq(window_new(65535, &window), 0);
	window_connected(window, false);
	bool all_new = true;
	for (unsigned round = 0; round < 2; round++)
		for (uint32_t id = 1; id <= 65535; id++)
			all_new &= take((uint16_t)id, "same");
	ck_assert(all_new);
	window_connected(window, true);
	ck_assert(take(1, "same"));
	window_connected(window, true);
	ck_assert(!take(1, "same"));
}
END_TEST

START_TEST(test_window__id_used_again_confirms_what_was_before)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 5; id++)
		ck_assert(take(id, "x"));
	ck_assert(take(3, "y"));
	window_connected(window, true);
	ck_assert(!take(4, "x"));
	ck_assert(!take(5, "x"));
	ck_assert(!take(3, "y"));
	window_connected(window, true);
	ck_assert(take(2, "x"));
}
END_TEST

START_TEST(test_window__list_is_bounded)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 1000; id++)
		ck_assert(take(id, "x"));
	ck_assert_uint_eq(saved_count(), 100);
	window_connected(window, true);
	ck_assert(!take(901, "x"));
	window_connected(window, true);
	ck_assert(take(900, "x"));
}
END_TEST

START_TEST(test_window__qos0_is_no_matter)
{
	window_connected(window, false);
	ck_assert(take(0, "x"));
	ck_assert(take(1, "x"));
	ck_assert_uint_eq(saved_count(), 1);
	window_connected(window, true);
	ck_assert(take(0, "x"));
	ck_assert_uint_eq(saved_count(), 1);
}
END_TEST

static struct window *reload(size_t entries_max)
{
	struct window *copy;
	const void *data;
	size_t size;

	window_save(window, &data, &size);
	ck_assert_int_eq(window_new(entries_max, &copy), 0);
	ck_assert_int_eq(window_load(copy, data, size), 0);
	return copy;
}

START_TEST(test_window__saved_list_survives_the_daemon)
{
	window_connected(window, false);
	for (uint16_t id = 60; id <= 220; id++)
		ck_assert(take(id, "x"));
	struct window *copy = reload(100);
	window_free(window);
	window = copy;
	ck_assert_msg(take(300, "x"), "nothing is a repeat before the connection");
	window_connected(window, true);
	ck_assert(!take(219, "x"));
	ck_assert(!take(220, "x"));
	ck_assert(!take(300, "x"));
	ck_assert(take(301, "x"));
}
END_TEST

START_TEST(test_window__smaller_window_keeps_the_newest)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 50; id++)
		ck_assert(take(id, "x"));
	struct window *copy = reload(10);
	window_free(window);
	window = copy;
	window_connected(window, true);
	ck_assert(!take(41, "x"));
}
END_TEST

START_TEST(test_window__empty_list_can_be_saved)
{
	struct window *copy = reload(10);
	window_free(copy);
	ck_assert_uint_eq(saved_count(), 0);
}
END_TEST

/* take_into - append what window_take() gives to BYTES, or begin anew with it. */
static bool take_into(uint8_t *bytes, size_t *size, bool whole)
{
	const void *data;
	size_t more;

	window_take(window, whole, &data, &more, &whole);
	if (whole)
		*size = 0;
	if (more > 0)
		memcpy(bytes + *size, data, more);
	*size += more;
	return whole;
}

START_TEST(test_window__parts_add_up_to_the_list)
{
	static uint8_t bytes[18 * 4000];
	const void *data;
	size_t size = 0, list_size;
	struct window *copy;

	window_connected(window, false);
	for (uint16_t id = 1; id <= 1000; id++) {
		ck_assert(take((uint16_t)(1 + id % 700), "x"));
		if (id % 7 == 0)
			ck_assert(take_into(bytes, &size, false) == (id == 7));
		if (id == 500)
			ck_assert(take_into(bytes, &size, true));
	}
	ck_assert(!take_into(bytes, &size, false));
	ck_assert(!take_into(bytes, &size, false)); /* nothing new */
	ck_assert_int_eq(window_new(100, &copy), 0);
	ck_assert_int_eq(window_load(copy, bytes, size), 0);
	window_save(window, &data, &list_size);
	memcpy(bytes, data, list_size);
	window_save(copy, &data, &size);
	ck_assert_uint_eq(size, list_size);
	ck_assert_mem_eq(data, bytes, size);
	/* A repeat moves what is stored already: then only the whole list will do. */
	window_connected(window, true);
	(void)take_into(bytes, &size, false);
	ck_assert(!take(250, "x"));
	ck_assert(take(30000, "y"));
	ck_assert(take_into(bytes, &size, false));
	window_free(copy);
}
END_TEST

START_TEST(test_window__load_refuses_what_is_no_list)
{
	const void *data;
	uint8_t bytes[18 * 4];
	size_t size;

	window_connected(window, false);
	for (uint16_t id = 1; id <= 3; id++)
		ck_assert(take(id, "x"));
	window_save(window, &data, &size);
	ck_assert_uint_eq(size, sizeof bytes);
	memcpy(bytes, data, size);
	ck_assert_int_eq(window_load(window, NULL, 0), -EINVAL);
	ck_assert_int_eq(window_load(window, bytes, 0), -EINVAL);
	for (size_t cut = 1; cut < size; cut++)
		ck_assert_int_eq(window_load(window, bytes, cut), -EINVAL);
	/* each byte of the header counts; a smaller count means that entries were added later, and
	 * byte 5 says what is known of the broker */
	for (size_t i = 0; i < 18; i++) {
		if (i == 5 || i == 6)
			continue;
		bytes[i] ^= 1;
		ck_assert_int_eq(window_load(window, bytes, size), -EINVAL);
		bytes[i] ^= 1;
	}
	memset(bytes + 18, 0, 2);
	ck_assert_int_eq(window_load(window, bytes, size), -EINVAL); /* packet id 0 */
	bytes[18] = 9;
	ck_assert_int_eq(window_load(window, bytes, size), 0);
	bytes[5] = 8; /* what no version says of a broker */
	ck_assert_int_eq(window_load(window, bytes, size), -EINVAL);
	ck_assert_uint_eq(saved_count(), 3);
}
END_TEST

START_TEST(test_window__digest_knows_the_border)
{
	uint8_t a[EVENT_DIGEST_SIZE], b[EVENT_DIGEST_SIZE];

	window_digest("ab", 2, "c", 1, a);
	window_digest("a", 1, "bc", 2, b);
	ck_assert_int_ne(memcmp(a, b, sizeof a), 0);
	window_digest("ab", 2, "c", 1, b);
	ck_assert_int_eq(memcmp(a, b, sizeof a), 0);
	window_digest("", 0, NULL, 0, a);
	window_digest("", 0, "\0", 1, b);
	ck_assert_int_ne(memcmp(a, b, sizeof a), 0);
}
END_TEST

/* ------------------------------------------------------------------- brokers, as they were
 * measured */

/* deliver - publications number FIRST to LAST under packet ids from ID. Returns how many ran. */
static unsigned deliver(unsigned first, unsigned last, uint16_t id, bool dup)
{
	unsigned ran = 0;

	for (unsigned number = first; number <= last; number++)
		ran += take_number(id++, number, dup);
	return ran;
}

/* The old ids, in order, first, DUP 1. 10 to 12 had been sent and were lost on the way. */
START_TEST(test_window__mosquitto_repeats)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 9, 1, false), 9);
	for (unsigned i = 0; i < 3; i++) {
		window_connected(window, true);
		ck_assert_uint_eq(deliver(6, 9, 6, true), 0);
	}
	ck_assert_uint_eq(deliver(10, 12, 10, true), 3);
	ck_assert_uint_eq(deliver(13, 20, 13, false), 8);
}
END_TEST

/* Equal events: those before were confirmed, 4 and 5 were sent and lost on the way. */
START_TEST(test_window__mosquitto_equal_events)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 3; id++)
		ck_assert(take(id, "same"));
	window_connected(window, true);
	ck_assert(take_dup(4, "same"));
	ck_assert(take_dup(5, "same"));
	window_connected(window, true);
	ck_assert(!take_dup(5, "same"));
	ck_assert(take(6, "same"));
}
END_TEST

/* It was killed, and counts on from an older number: an id stands in the list for another event.
 * What it had sent under that id was lost on the way, and an equal event has been taken. Repeats
 * are known by their ids before that and after. */
START_TEST(test_window__mosquitto_counts_on_from_an_older_number)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 20, 101, false), 20);
	ck_assert(take(121, "same"));
	window_connected(window, true);
	ck_assert(take_dup(110, "same"));
	ck_assert_uint_eq(deliver(30, 32, 111, false), 3);
	window_connected(window, true);
	ck_assert(!take_dup(110, "same"));
	ck_assert_uint_eq(deliver(30, 32, 111, true), 0);
	ck_assert(take_dup(114, "same"));
	ck_assert(take_dup(115, "32"));
}
END_TEST

/* The same as the first of a connection, where the number could be that of a broker that numbers
 * anew: it is none if it has shown that it keeps its ids. */
START_TEST(test_window__who_keeps_packet_ids_never_numbers_anew)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 20, 101, false), 20);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(19, 20, 119, true), 0);
	struct window *again = reload(100); /* it is remembered */
	window_free(window);
	window = again;
	window_connected(window, true);
	ck_assert(take_dup(1, "5"));
	ck_assert(take_dup(2, "6"));
}
END_TEST

/* The connection broke when the ids had begun again: what nobody has recorded comes as 1, 2, 3, as
 * at a broker that numbers anew, and is equal to what was recorded. */
START_TEST(test_window__mosquitto_begins_again_with_1)
{
	window_connected(window, false);
	ck_assert(take(65535, "a"));
	window_connected(window, true);
	ck_assert_msg(take_dup(1, "a"), "whose first id was 65535 does not number anew");
	ck_assert(take_dup(2, "b"));
	ck_assert(take_dup(3, "a"));
}
END_TEST

START_TEST(test_window__rabbitmq_repeats_in_order)
{
	window_connected(window, false);
	ck_assert(take(1, "a"));
	ck_assert(take(2, "b"));
	window_connected(window, true);
	ck_assert(!take_dup(1, "b"));
	ck_assert(take_dup(2, "c"));
	ck_assert_msg(take_dup(3, "a"), "what comes after one that was not recorded was not recorded either");
}
END_TEST

/* First, in order, DUP 1, under new ids from 1, which the list knows from another time. */
START_TEST(test_window__rabbitmq_repeats)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 20, 1, false), 20);
	for (unsigned i = 0; i < 3; i++) {
		window_connected(window, true);
		ck_assert_uint_eq(deliver(15, 20, 1, true), 0);
	}
	ck_assert_uint_eq(deliver(21, 24, 7, true), 4); /* sent before, and never seen here */
	ck_assert_uint_eq(deliver(25, 60, 11, false), 36);
	/* What is known of the broker outlives the daemon. */
	struct window *copy = reload(100);
	window_free(window);
	window = copy;
	window_connected(window, true);
	ck_assert_uint_eq(deliver(58, 60, 1, true), 0);
	ck_assert_uint_eq(deliver(61, 70, 4, false), 10);
}
END_TEST

/* Cut while the repeats are not acknowledged: the ids of new ones prove nothing about them. */
START_TEST(test_window__rabbitmq_repeats_twice)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 20, 1, false), 20);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(11, 20, 1, true), 0);
	ck_assert_uint_eq(deliver(21, 30, 11, false), 10);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(17, 30, 1, true), 0);
	ck_assert_uint_eq(deliver(31, 35, 15, false), 5);
}
END_TEST

/* Equal events that were sent and never came: the second is no repeat of the first. */
START_TEST(test_window__rabbitmq_equal_events_that_never_came)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 20, 1, false), 20);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(19, 20, 1, true), 0); /* numbers anew */
	ck_assert(take_dup(3, "same"));
	ck_assert(take_dup(4, "same"));
	ck_assert(take(5, "same"));
	window_connected(window, true);
	for (uint16_t id = 1; id <= 3; id++)
		ck_assert(!take_dup(id, "same"));
	ck_assert(take_dup(4, "same"));
}
END_TEST

/* So many that the list does not know the low ids any more. */
START_TEST(test_window__rabbitmq_repeats_after_a_long_connection)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 30000, 1, false), 30000);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(29991, 30000, 1, true), 0);
	ck_assert_uint_eq(deliver(30001, 30010, 11, false), 10);
}
END_TEST

/* New ones first, under the low ids again; the old ones later, under theirs, and once more while
 * they are not acknowledged. */
START_TEST(test_window__nats_repeats)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 9, 1, false), 9);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(10, 29, 1, false), 20);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(deliver(6, 9, 6, true), 0);
	ck_assert_uint_eq(deliver(30, 31, 21, false), 2);
	/* 10 to 12 on the living connection */
	ck_assert_uint_eq(deliver(10, 12, 1, true), 0);
	ck_assert_uint_eq(deliver(32, 33, 23, false), 2);
}
END_TEST

/* Nothing new comes first, and two that are not acknowledged have one id. */
START_TEST(test_window__nats_repeats_without_new_events)
{
	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 9, 1, false), 9);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(10, 10, 1, false), 1);
	window_connected(window, true);
	ck_assert_uint_eq(deliver(1, 9, 1, true), 0);
	ck_assert_uint_eq(deliver(10, 10, 1, true), 0);
	ck_assert_uint_eq(deliver(11, 12, 2, false), 2);
}
END_TEST

/* First, in order, under the old ids, DUP 0: that says nothing, however the events came before. */
START_TEST(test_window__aedes_repeats)
{
	window_connected(window, false);
	for (uint16_t id = 1; id <= 9; id++)
		ck_assert(take_as(id, "same", false, true));
	for (unsigned i = 0; i < 3; i++) {
		window_connected(window, true);
		for (uint16_t id = 6; id <= 9; id++)
			ck_assert(!take(id, "same"));
	}
	ck_assert(take(10, "same"));
}
END_TEST

/* A broker that has shown DUP 1, was killed, restored from an older state, and gives an equal event
 * the id of its equal. What it had sent as soon as it had it would come again with DUP 1. */
START_TEST(test_window__dup_0_is_believed_of_who_has_shown_dup_1)
{
	window_connected(window, false);
	ck_assert(take_as(1, "a", false, true));
	ck_assert(take_as(2, "same", false, true));
	window_connected(window, true);
	ck_assert(!take_dup(1, "a"));
	ck_assert(!take_dup(2, "same"));
	window_connected(window, true);
	ck_assert_msg(take(2, "same"), "another one, equal, under the same id");
	/* But one that had waited in the broker's queue is not known to have been sent. */
	ck_assert(take_as(3, "waited", false, false));
	window_connected(window, true);
	ck_assert(!take(3, "waited"));
	/* Another session may be another broker's. */
	window_connected(window, false);
	ck_assert(take_as(1, "same", false, true));
	window_connected(window, true);
	ck_assert(!take(1, "same"));
}
END_TEST

START_TEST(test_window__what_cannot_be_decided_runs_and_is_told)
{
	uint8_t digest[EVENT_DIGEST_SIZE];

	window_connected(window, false);
	ck_assert_uint_eq(deliver(1, 9, 1, false), 9);
	window_connected(window, true);
	ck_assert(!take_number(3, 3, false));
	digest_of("7", digest);
	ck_assert_int_eq(window_ask(window, 7, digest, false), WINDOW_DOUBTFUL); /* 4 is missing */
	ck_assert_int_eq(window_ask(window, 8, digest, false), WINDOW_NEW);
	digest_of("never seen", digest);
	ck_assert_int_eq(window_ask(window, 10, digest, true), WINDOW_UNKNOWN_REPEAT);
	ck_assert_int_eq(window_ask(window, 0, digest, true), WINDOW_NEW);
}
END_TEST

/* ------------------------------------------------------------------------------ against a model */

#define MODEL_MAX 12
static struct {
	uint16_t id;
	int content;
} model[64];
static size_t model_count;
static bool model_open;
static int model_run, model_cursor; /* -1: none yet */

static void model_close(void)
{
	if (model_open && model_cursor >= 0 && (size_t)model_cursor < model_count) {
		__typeof__(model[0]) run[64];
		size_t n = (size_t)(model_cursor - model_run), behind = model_count - (size_t)model_cursor;
		memcpy(run, &model[model_run], n * sizeof run[0]);
		memmove(&model[model_run], &model[model_cursor], behind * sizeof run[0]);
		memcpy(&model[(size_t)model_run + behind], run, n * sizeof run[0]);
	}
	model_open = false;
}

static bool model_is_repeat(uint16_t id, int content)
{
	int found = -1;

	if (!model_open)
		return false;
	for (size_t i = 0; i < model_count; i++)
		if (model[i].id == id && model[i].content == content)
			found = (int)i;
	if (found < 0 || (model_cursor >= 0 && found != model_cursor)) {
		model_close();
		return false;
	}
	if (model_cursor < 0)
		model_run = found;
	model_cursor = found + 1;
	return true;
}

static void model_cut(size_t n)
{
	model_count -= n;
	memmove(&model[0], &model[n], model_count * sizeof model[0]);
}

static void model_add(uint16_t id, int content)
{
	model_close();
	for (size_t i = 0; i < model_count; i++) {
		if (model[i].id == id) {
			model_cut(i + 1);
			break;
		}
	}
	model[model_count].id = id;
	model[model_count++].content = content;
	if (model_count > MODEL_MAX)
		model_cut(1);
}

static void model_connected(bool session_present)
{
	model_open = session_present;
	model_run = model_cursor = -1;
	if (!session_present)
		model_count = 0;
}

START_TEST(test_window__random_histories_follow_the_model)
{
	char text[16];

	window_free(window);
	ck_assert_int_eq(window_new(MODEL_MAX, &window), 0);
	srandom(4711);
	window_connected(window, false);
	model_connected(false);
	for (unsigned step = 0; step < 50000; step++) {
		/* collide in the index */
		uint16_t id = (uint16_t)(1 + random() % 20 * (random() % 4 == 0 ? 64 : 1));
		int content = (int)(random() % 2);
		uint8_t digest[EVENT_DIGEST_SIZE];
		if (random() % 16 == 0) {
			bool session_present = random() % 8 != 0;
			window_connected(window, session_present);
			model_connected(session_present);
		}
		if (model_open && model_count && random() % 2) { /* likely the next of the list */
			size_t i = model_cursor >= 0 && (size_t)model_cursor < model_count
					   ? (size_t)model_cursor
					   : (size_t)random() % model_count;
			id = model[i].id;
			content = model[i].content;
		}
		(void)snprintf(text, sizeof text, "%d", content);
		digest_of(text, digest);
		bool repeat = window_ask(window, id, digest, false) == WINDOW_REPEAT;
		if (repeat != model_is_repeat(id, content))
			ck_abort_msg("step %u: packet id %u is %s repeat", step, id,
				     repeat ? "taken for a" : "not taken for a");
		if (!repeat) {
			(void)window_add(window, id, digest, random() % 2);
			model_add(id, content);
		}
		if (step % 16 == 0) { /* all of it, in order; what has settled stands before */
			const uint8_t *data;
			size_t size;
			window_save(window, (const void **)&data, &size);
			ck_assert_uint_ge(size, 18 * (model_count + 1));
			data += size - 18 * model_count;
			for (size_t i = 0; i < model_count; i++)
				ck_assert_int_eq(data[18 * i] | data[18 * i + 1] << 8, model[i].id);
		}
	}
}
END_TEST

static double cost_ns(size_t entries_max, uint32_t *n)
{
	static char payload[500];
	uint8_t digest[EVENT_DIGEST_SIZE];
	struct timespec a, b;
	bool all_new = true;

	window_free(window);
	ck_assert_int_eq(window_new(entries_max, &window), 0);
	window_connected(window, false);
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (uint32_t i = 0; i < 150000; i++, ++*n) {
		memcpy(payload, n, sizeof *n);
		window_digest("create/resource/a/b/c", 21, payload, sizeof payload, digest);
		uint16_t id = (uint16_t)(1 + *n % 65535);
		all_new &= window_ask(window, id, digest, false) == WINDOW_NEW;
		(void)window_add(window, id, digest, false);
	}
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	ck_assert(all_new);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 150000;
}

/* Ten times and more of what it takes: this is to catch a list that is walked for each
 * publication, not to measure. */
START_TEST(test_window__cost_does_not_grow_with_the_list)
{
	static const size_t sizes[] = { 10, 1000, 16000, 65535 };
	uint32_t n = 0;

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		double ns = cost_ns(sizes[i], &n);
		(void)printf("window of %zu: %.0f ns per publication of 500 bytes\n", sizes[i], ns);
		ck_assert_double_lt(ns, 10000);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("window");
	TCase *tc = tcase_create("window");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_window__new_connection_without_list_repeats_nothing);
	tcase_add_test(tc, test_window__unconfirmed_tail_is_repeated);
	tcase_add_test(tc, test_window__equal_update_after_reconnect_runs);
	tcase_add_test(tc, test_window__closes_at_first_stranger);
	tcase_add_test(tc, test_window__same_id_other_content_runs);
	tcase_add_test(tc, test_window__no_session_empties_the_list);
	tcase_add_test(tc, test_window__connection_lost_amid_repeats);
	tcase_add_test(tc, test_window__broker_restored_from_older_state);
	tcase_add_test(tc, test_window__broker_restored_twice);
	tcase_add_test(tc, test_window__packet_ids_wrap_around);
	tcase_add_test(tc, test_window__full_id_space_next_id_is_new);
	tcase_add_test(tc, test_window__id_used_again_confirms_what_was_before);
	tcase_add_test(tc, test_window__list_is_bounded);
	tcase_add_test(tc, test_window__qos0_is_no_matter);
	tcase_add_test(tc, test_window__saved_list_survives_the_daemon);
	tcase_add_test(tc, test_window__smaller_window_keeps_the_newest);
	tcase_add_test(tc, test_window__empty_list_can_be_saved);
	tcase_add_test(tc, test_window__parts_add_up_to_the_list);
	tcase_add_test(tc, test_window__load_refuses_what_is_no_list);
	tcase_add_test(tc, test_window__digest_knows_the_border);
	tcase_add_test(tc, test_window__mosquitto_repeats);
	tcase_add_test(tc, test_window__mosquitto_equal_events);
	tcase_add_test(tc, test_window__mosquitto_counts_on_from_an_older_number);
	tcase_add_test(tc, test_window__who_keeps_packet_ids_never_numbers_anew);
	tcase_add_test(tc, test_window__mosquitto_begins_again_with_1);
	tcase_add_test(tc, test_window__rabbitmq_repeats_in_order);
	tcase_add_test(tc, test_window__rabbitmq_repeats);
	tcase_add_test(tc, test_window__rabbitmq_repeats_twice);
	tcase_add_test(tc, test_window__rabbitmq_equal_events_that_never_came);
	tcase_add_test(tc, test_window__rabbitmq_repeats_after_a_long_connection);
	tcase_add_test(tc, test_window__nats_repeats);
	tcase_add_test(tc, test_window__nats_repeats_without_new_events);
	tcase_add_test(tc, test_window__aedes_repeats);
	tcase_add_test(tc, test_window__dup_0_is_believed_of_who_has_shown_dup_1);
	tcase_add_test(tc, test_window__what_cannot_be_decided_runs_and_is_told);
	tcase_add_test(tc, test_window__random_histories_follow_the_model);
	tcase_add_test(tc, test_window__cost_does_not_grow_with_the_list);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
