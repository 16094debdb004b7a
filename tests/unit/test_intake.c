/* test_intake.c - what becomes of a publication: event and jobs, or one of the reasons why not. */
#include "serving.h"
#include "suite.h"

#include "topic.h"

static void setup(void)
{
	serving_start(
		"[executor good]\nplaces = 4\ndelay_ms = 1\n[listener]\npayload_max = 1K\n[scripts]\ncollection = "
		"/system/scripts\n");
	(void)serving_script("a.py", "create/#", NULL, NULL);
	(void)serving_script("b.py", "+/resource/p/#", NULL, NULL);
}

static const struct intake_counters *counters(void) { return intake_get_counters(serving.intake); }

static void settle(void)
{
	turn_request(serving.turn);
	serving_until(turn_idle(serving.turn) && serving_ended() == serving_jobs());
}

static void reason_of(void *data, uint64_t id, uint64_t received_realtime_usec, const void *topic, size_t topic_size,
		      const char *reason)
{
	(void)id, (void)received_realtime_usec, (void)topic, (void)topic_size;
	(void)strncat(strcat(data, reason), "\n", 2);
}

START_TEST(test_intake__each_script_that_matches_gets_a_job)
{
	serving_publish("create/resource/p/x", 0);
	serving_publish("update/resource/p/x", 0);
	serving_publish("update/user/u", 0);
	settle();
	ck_assert_uint_eq(serving_jobs(), 3);
	ck_assert_uint_eq(counters()->events, 3);
	ck_assert_uint_eq(counters()->decisions[DECISION_MATCHED], 2);
	ck_assert_uint_eq(counters()->decisions[DECISION_UNMATCHED], 1);
	ck_assert_uint_eq(counters()->jobs, 3);
}
END_TEST

START_TEST(test_intake__equal_events_are_two_events)
{
	serving_publish("create/x", 0);
	serving_publish("create/x", 0);
	serving_publish("create/x", 1);
	serving_publish("create/x", 2);
	settle();
	ck_assert_uint_eq(serving_jobs(), 4);
	ck_assert_uint_eq(counters()->decisions[DECISION_REPEATED], 0);
}
END_TEST

START_TEST(test_intake__repeats_are_recognised_also_after_a_restart)
{
	serving_publish("create/x", 1);
	serving_publish("create/y", 2);
	settle();
	serving_close();
	serving_open();
	intake_connected(serving.intake, true);
	serving_publish("create/x", 1);
	serving_publish("create/y", 2);
	/* Another under a known id is another; and with it the repeats are over. */
	serving_publish("create/z", 3);
	serving_publish("create/x", 1);
	settle();
	ck_assert_uint_eq(counters()->decisions[DECISION_REPEATED], 2);
	ck_assert_uint_eq(serving_jobs(), 4);
}
END_TEST

START_TEST(test_intake__a_new_session_repeats_nothing)
{
	serving_publish("create/x", 1);
	settle();
	intake_connected(serving.intake, false);
	serving_publish("create/x", 1);
	settle();
	ck_assert_uint_eq(serving_jobs(), 2);
}
END_TEST

START_TEST(test_intake__retained_is_state)
{
	const struct broker_message message = {
		.topic = "create/x", .payload = "{}", .payload_size = 2, .retain = true
	};

	intake_message(serving.intake, &message);
	settle();
	ck_assert_uint_eq(counters()->decisions[DECISION_RETAINED], 1);
	ck_assert_uint_eq(counters()->events, 0);
	ck_assert_uint_eq(serving_jobs(), 0);
}
END_TEST

static void publish_payload(const char *payload)
{
	const struct broker_message message = {
		.topic = "create/x", .payload = payload, .payload_size = strlen(payload), .packet_id = 9, .qos = 1
	};

	intake_message(serving.intake, &message);
	settle();
}

START_TEST(test_intake__what_doctor_publishes_runs_nothing)
{
	struct doctor_events events = { .token = 0x0123456789abcdef };
	char payload[DOCTOR_EVENT_SIZE];

	doctor_event_payload(payload, events.token, 63);
	publish_payload(payload); /* nobody waits for it any more, or not yet */
	intake_expect(serving.intake, &events);
	publish_payload("listenerd doctor 0123456789abcdee 05");
	ck_assert_uint_eq(atomic_load(&events.arrived), 0);
	doctor_event_payload(payload, events.token, 5);
	publish_payload(payload);
	ck_assert_uint_eq(atomic_load(&events.arrived), 1 << 5);
	intake_expect(serving.intake, NULL);
	ck_assert_uint_eq(counters()->decisions[DECISION_DOCTOR], 3);
	ck_assert_uint_eq(counters()->events, 0);
	ck_assert_uint_eq(serving_jobs(), 0);
}
END_TEST

START_TEST(test_intake__what_only_looks_like_doctors_is_an_event)
{
	static const char *const payloads[] = {
		"listenerd doctor 0123456789abcdef 5",   "listenerd doctor 0123456789abcdef 64",
		"listenerd doctor 0123456789ABCDEF 05",  "listenerd doctor 0123456789abcdef 05 ",
		" listenerd doctor 0123456789abcdef 05", "{\"x\": \"listenerd doctor 0123456789abcdef 05\"}",
		"listenerd doctor  123456789abcdef 05",  "listenerd doctor 0x23456789abcdef 05"
	};

	for (size_t i = 0; i < ELEMENTSOF(payloads); i++)
		publish_payload(payloads[i]);
	ck_assert_uint_eq(counters()->decisions[DECISION_DOCTOR], 0);
	ck_assert_uint_eq(serving_jobs(), ELEMENTSOF(payloads));
}
END_TEST

START_TEST(test_intake__what_cannot_be_an_event_is_recorded)
{
	static char payload[1025];
	const struct broker_message large = {
		.topic = "create/x", .payload = payload, .payload_size = sizeof payload, .packet_id = 7, .qos = 1
	};
	char reasons[2000] = "";

	serving_publish("create/\xff", 0);
	intake_message(serving.intake, &large);
	settle();
	ck_assert_uint_eq(counters()->decisions[DECISION_REJECTED], 2);
	ck_assert_uint_eq(serving_jobs(), 0);
	serving_ok(journal_each_rejected(serving.journal, 10, reason_of, reasons, &serving_err));
	ck_assert_msg(strstr(reasons, "payload of 1025 bytes is over payload_max = 1024") != NULL, "%s", reasons);
	ck_assert_msg(strstr(reasons, "UTF-8") != NULL, "%s", reasons);
}
END_TEST

START_TEST(test_intake__the_scripts_collection_fires_nothing)
{
	static const char *const topics[] = { "create/resource/system/scripts/x.py", "create/collection/system/scripts",
					      "create/collection/system/scripts/sub",
					      "create/resource//system/scripts/x.py" };
	for (size_t i = 0; i < ELEMENTSOF(topics); i++)
		serving_publish(topics[i], 0);
	serving_publish("create/resource/system/scriptsx/x.py", 0);
	settle();
	ck_assert_uint_eq(counters()->decisions[DECISION_SHIELDED], ELEMENTSOF(topics));
	ck_assert_uint_eq(serving_jobs(), 1);
}
END_TEST

/* A source that fetches a script, announced by an event before. */
static const char *fetching; /* topics below which are its script's business; NULL: none */

static void take_event(struct source *source, const char *topic, size_t size, const void *payload, size_t payload_size)
{
	(void)source, (void)topic, (void)size, (void)payload, (void)payload_size;
	fetching = "create/#";
}

static bool is_busy_for(struct source *source, const char *topic, size_t size)
{
	(void)source, (void)size;
	return fetching && topic_matches(fetching, topic);
}

static void give_source(void)
{
	static const struct source_ops ops = { .event = take_event, .busy_for = is_busy_for };
	static struct source source = { .ops = &ops };
	const struct intake_parts parts = { .journal = serving.journal,
					    .registry = serving.registry,
					    .dispatcher = serving.dispatcher,
					    .source = &source,
					    .config = serving.config };

	fetching = NULL;
	intake_set_parts(serving.intake, &parts);
}

START_TEST(test_intake__what_a_script_on_its_way_could_match_waits)
{
	give_source();
	serving_publish("update/resource/p/before", 0);
	serving_publish("create/resource/system/scripts/new.py", 0);
	serving_publish("update/resource/p/passes", 0);
	serving_publish("create/resource/p/waits", 1);
	serving_publish("update/resource/p/behind", 0);
	settle();
	ck_assert_uint_eq(counters()->deferred, 2);
	ck_assert_uint_eq(serving_jobs(), 2);
	(void)serving_script("new.py", "create/resource/p/#", NULL, NULL);
	fetching = NULL;
	turn_request(serving.turn);
	/* a.py, b.py, new.py for the one that waited, b.py for the one behind it. */
	serving_until(serving_jobs() == 6);
}
END_TEST

START_TEST(test_intake__waiting_has_an_end)
{
	uint64_t wait = 0;

	give_source();
	fetching = "create/#";
	serving_publish("create/x", 0);
	ck_assert(!intake_release(serving.intake, &wait));
	ck_assert_uint_gt(wait, 0);
	ck_assert_uint_le(wait, 3 * USEC_PER_SEC);
	serving_until(serving_jobs() == 1); /* the turn's timer */
}
END_TEST

START_TEST(test_intake__what_was_held_comes_again_after_a_lost_connection)
{
	give_source();
	fetching = "create/#";
	serving_publish("create/x", 1);
	intake_connected(serving.intake, true);
	fetching = NULL;
	serving_publish("create/x", 1);
	settle();
	ck_assert_uint_eq(serving_jobs(), 1);
	ck_assert_uint_eq(counters()->decisions[DECISION_REPEATED], 0);
}
END_TEST

static void publish_again(const char *topic, uint16_t packet)
{
	const struct broker_message message = {
		.topic = topic, .payload = "{}", .payload_size = 2, .packet_id = packet, .qos = 1, .dup = true
	};

	intake_message(serving.intake, &message);
	turn_request(serving.turn);
}

/* A broker that repeats on a living connection does not wait for the source. */
START_TEST(test_intake__what_is_deferred_is_not_taken_twice)
{
	give_source();
	fetching = "create/#";
	serving_publish("create/x", 1);
	serving_publish("create/y", 2);
	publish_again("create/x", 1);
	fetching = NULL;
	turn_request(serving.turn);
	serving_until(serving_jobs() == 2);
	publish_again("create/y", 2);
	settle();
	ck_assert_uint_eq(serving_jobs(), 2);
	ck_assert_uint_eq(counters()->decisions[DECISION_REPEATED], 2);
}
END_TEST

START_TEST(test_intake__an_unknown_repeat_runs_and_is_counted)
{
	intake_connected(serving.intake, true);
	publish_again("create/x", 7);
	publish_again("create/x", 7);
	settle();
	ck_assert_uint_eq(serving_jobs(), 1);
	ck_assert_uint_eq(counters()->unknown_repeats, 1);
	ck_assert_uint_eq(counters()->decisions[DECISION_REPEATED], 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("intake");
	TCase *tc = tcase_create("intake");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, serving_stop);
	tcase_add_test(tc, test_intake__each_script_that_matches_gets_a_job);
	tcase_add_test(tc, test_intake__equal_events_are_two_events);
	tcase_add_test(tc, test_intake__repeats_are_recognised_also_after_a_restart);
	tcase_add_test(tc, test_intake__a_new_session_repeats_nothing);
	tcase_add_test(tc, test_intake__retained_is_state);
	tcase_add_test(tc, test_intake__what_doctor_publishes_runs_nothing);
	tcase_add_test(tc, test_intake__what_only_looks_like_doctors_is_an_event);
	tcase_add_test(tc, test_intake__what_cannot_be_an_event_is_recorded);
	tcase_add_test(tc, test_intake__the_scripts_collection_fires_nothing);
	tcase_add_test(tc, test_intake__what_a_script_on_its_way_could_match_waits);
	tcase_add_test(tc, test_intake__waiting_has_an_end);
	tcase_add_test(tc, test_intake__what_was_held_comes_again_after_a_lost_connection);
	tcase_add_test(tc, test_intake__what_is_deferred_is_not_taken_twice);
	tcase_add_test(tc, test_intake__an_unknown_repeat_runs_and_is_counted);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
