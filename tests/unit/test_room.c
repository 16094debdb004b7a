/* test_room.c - how many sandboxes there may be, and which limit is named. */
#include "room.h"
#include "suite.h"

#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static enum room_limit limit;

START_TEST(test_room__memory)
{
	struct room room;

	room_init(&room, 0, 1000 * MIB, 0);
	ck_assert_uint_eq(room_soft(&room, 10 * MIB, 0, &limit), 100);
	ck_assert_int_eq(limit, ROOM_MEMORY);
	ck_assert_uint_eq(room_all(&room, 10 * MIB, 0, NULL), 100);
	ck_assert_uint_eq(room_all(&room, 4000 * MIB, 0, NULL), 1); /* never none */
}
END_TEST

START_TEST(test_room__share_of_the_machine)
{
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct room room;

	room_init(&room, 0, 0, 50);
	ck_assert_uint_le(room.memory_bytes, machine / 2);
	ck_assert_uint_gt(room.memory_bytes, machine / 2 - MIB);
}
END_TEST

START_TEST(test_room__narrowest_is_named)
{
	struct room room;

	room_init(&room, 30, 1000 * MIB, 0);
	ck_assert_uint_eq(room_all(&room, 10 * MIB, 0, &limit), 30);
	ck_assert_int_eq(limit, ROOM_POOL_MAX);
	room.addresses = 20;
	ck_assert_uint_eq(room_all(&room, 10 * MIB, 0, &limit), 20);
	ck_assert_int_eq(limit, ROOM_ADDRESSES);
	room.descriptors = 10;
	ck_assert_uint_eq(room_hard(&room, &limit), 10);
	ck_assert_int_eq(limit, ROOM_DESCRIPTORS);
	ck_assert_uint_eq(room_soft(&room, 10 * MIB, 0, NULL), 100);
}
END_TEST

START_TEST(test_room__squeezed_for_a_minute)
{
	struct room room;

	room_init(&room, 0, 1000 * MIB, 0);
	room_squeeze(&room, 7, 1000);
	ck_assert_uint_eq(room_all(&room, 10 * MIB, 1000, &limit), 7);
	ck_assert_int_eq(limit, ROOM_PRESSURE);
	ck_assert_uint_eq(room_all(&room, 10 * MIB, 1000 + ROOM_SQUEEZE_USEC, NULL), 100);
}
END_TEST

START_TEST(test_room__addresses)
{
	ck_assert_uint_eq(room_addresses("172.30.0.0/24"), 253);
	ck_assert_uint_eq(room_addresses("172.30.0.0/28"), 13);
	ck_assert_uint_eq(room_addresses("172.17.0.0/16"), 1000); /* ports of a bridge */
	ck_assert_uint_eq(room_addresses("172.30.0.0/30"), 1);
	ck_assert_uint_eq(room_addresses("172.30.0.0/31"), 0);
	ck_assert_uint_eq(room_addresses("fd00::/64"), 0);
	ck_assert_uint_eq(room_addresses("172.30.0.0"), 0);
	ck_assert_uint_eq(room_addresses("172.30.0.0/24x"), 0);
	ck_assert_uint_eq(room_addresses(""), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("room");
	TCase *t = tcase_create("room");

	tcase_add_test(t, test_room__memory);
	tcase_add_test(t, test_room__share_of_the_machine);
	tcase_add_test(t, test_room__narrowest_is_named);
	tcase_add_test(t, test_room__squeezed_for_a_minute);
	tcase_add_test(t, test_room__addresses);
	suite_add_tcase(suite, t);
	return suite_run(suite);
}
