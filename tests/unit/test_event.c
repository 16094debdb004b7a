/* test_event.c - events: their memory, their payload as a descriptor, the object they are about. */
#include "event.h"
#include "suite.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t object_of(const char *topic, const char *payload)
{
	struct event *event;

	ck_assert_int_eq(event_new(topic, strlen(topic), payload, strlen(payload), &event), 0);
	uint64_t object = event_object(event);
	ck_assert_uint_eq(object, event_object(event));
	event_unref(event);
	ck_assert_uint_ne(object, 0);
	return object;
}

START_TEST(test_event__copies_what_it_is_given)
{
	char topic[] = "create/resource/a", payload[] = "x\0y";
	struct event *event;

	ck_assert_int_eq(event_new(topic, strlen(topic), payload, 3, &event), 0);
	memset(topic, '#', sizeof topic);
	memset(payload, '#', sizeof payload);
	ck_assert_str_eq(event->topic, "create/resource/a");
	ck_assert_uint_eq(event->payload_size, 3);
	ck_assert_mem_eq(event->payload, "x\0y", 3);
	ck_assert_int_eq(event->state, EVENT_ACCEPTED);
	ck_assert_uint_gt(event->received_realtime_usec, 0);
	ck_assert_ptr_eq(event_ref(event), event);
	ck_assert_ptr_null(event_unref(event));
	ck_assert_str_eq(event->topic, "create/resource/a");
	event_unref(event);
	event_unref(NULL);
}
END_TEST

START_TEST(test_event__empty_payload_is_none)
{
	_cleanup_event_ struct event *event = NULL;

	ck_assert_int_eq(event_new("a", 1, NULL, 0, &event), 0);
	ck_assert_ptr_null(event->payload);
}
END_TEST

START_TEST(test_event__impossible_size_is_refused)
{
	struct event *event;
	ck_assert_int_eq(event_new("a", 1, "b", SIZE_MAX - 8, &event), -ENOMEM);
}
END_TEST

START_TEST(test_event__payload_may_be_dropped)
{
	_cleanup_event_ struct event *event = NULL;

	ck_assert_int_eq(event_new("a", 1, "hello", 5, &event), 0);
	event_drop_payload(event);
	ck_assert_ptr_null(event->payload);
	ck_assert_uint_eq(event->payload_size, 5);
	event_drop_payload(event);
}
END_TEST

START_TEST(test_event__object_is_the_same_for_each_operation)
{
	uint64_t object = object_of("create/resource/a/b.txt", "{}");

	ck_assert_uint_eq(object, object_of("update/resource/a/b.txt", "not JSON"));
	ck_assert_uint_eq(object, object_of("delete/resource/a/b.txt", ""));
	ck_assert_uint_eq(object, object_of("update_metadata/resource/a/b.txt", ""));
	ck_assert_uint_ne(object, object_of("create/resource/a/c.txt", ""));
	ck_assert_uint_ne(object, object_of("create/collection/a/b.txt", ""));
	ck_assert_uint_ne(object_of("update/group/x", ""), object_of("update/user/x", ""));
}
END_TEST

START_TEST(test_event__object_does_not_change_over_versions)
{
	/* The journal holds such values: FNV-1a, 64 bits, of "resource/a". */
	ck_assert_uint_eq(object_of("create/resource/a", ""), UINT64_C(0xc038a8775a4ccf3d));
}
END_TEST

START_TEST(test_event__user_is_known_by_uuid)
{
	uint64_t object =
		object_of("create/user/2f9b", "{\"pre\": {}, \"post\": {\"uuid\": \"2f9b\", \"name\": \"user1\"}}");

	ck_assert_uint_eq(object, object_of("update/user/user1",
					    "{\"pre\": {\"uuid\": \"2f9b\"}, \"post\": {\"uuid\": \"2f9b\"}}"));
	ck_assert_uint_eq(object, object_of("delete/user/2f9b", "{\"pre\": {\"uuid\": \"2f9b\"}, \"post\": {}}"));
	ck_assert_uint_eq(object, object_of("delete/user/2f9b", "cut {"));
	ck_assert_uint_ne(
		object, object_of("update/user/user2", "{\"pre\": {\"uuid\": \"77\"}, \"post\": {\"uuid\": \"77\"}}"));
	/* Only users: other topics carry the same name always. */
	ck_assert_uint_eq(object_of("update/group/g", "{\"post\": {\"uuid\": \"1\"}}"),
			  object_of("update/group/g", "{\"post\": {\"uuid\": \"2\"}}"));
}
END_TEST

START_TEST(test_event__user_with_odd_payload_is_known_by_topic)
{
	static const char *const payloads[] = { "",
						"[]",
						"{\"post\": 1}",
						"{\"post\": {\"uuid\": 7}}",
						"{\"post\": {\"uuid\": \"\"}}",
						"\xff\xfe",
						"{\"post\": {\"uuid\"",
						"{\"pre\": [\"uuid\"]}",
						"null",
						"{\"post\": {}} trailing" };
	uint64_t object = object_of("update/user/user1", "{}");

	for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++)
		ck_assert_uint_eq(object_of("update/user/user1", payloads[i]), object);
}
END_TEST

START_TEST(test_event__hostile_json_is_harmless)
{
	size_t size = 1 << 20;
	char *deep = malloc(size + 1);

	memset(deep, '[', size);
	deep[size] = 0;
	ck_assert_uint_eq(object_of("update/user/u", deep), object_of("update/user/u", ""));
	memset(deep, 'a', size);
	memcpy(deep, "{\"post\":{\"uuid\":\"", 17);
	memcpy(deep + size - 3, "\"}}", 3);
	ck_assert_uint_eq(object_of("update/user/u", deep), object_of("update/user/u", ""));
	free(deep);
}
END_TEST

START_TEST(test_event__topics_of_any_shape_have_an_object)
{
	static const char *const topics[] = {
		"", "/", "a", "a/", "//", "create/user", "create/user/", "create/collection", "\xff/\xfe"
	};

	for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
		ck_assert_uint_ne(object_of(topics[i], "{}"), 0);
	ck_assert_uint_eq(object_of("update/collection", ""), object_of("create/collection", ""));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("event");
	TCase *tc = tcase_create("event");

	tcase_add_test(tc, test_event__copies_what_it_is_given);
	tcase_add_test(tc, test_event__empty_payload_is_none);
	tcase_add_test(tc, test_event__impossible_size_is_refused);
	tcase_add_test(tc, test_event__payload_may_be_dropped);
	tcase_add_test(tc, test_event__object_is_the_same_for_each_operation);
	tcase_add_test(tc, test_event__object_does_not_change_over_versions);
	tcase_add_test(tc, test_event__user_is_known_by_uuid);
	tcase_add_test(tc, test_event__user_with_odd_payload_is_known_by_topic);
	tcase_add_test(tc, test_event__hostile_json_is_harmless);
	tcase_add_test(tc, test_event__topics_of_any_shape_have_an_object);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
