/* Which job of a script may start next. */
#include "lane.h"
#include "suite.h"
#include "util.h"

static struct script *make_script(void)
{
	struct script *script = calloc(1, sizeof *script);

	script->refs = 1;
	script->fd = -1;
	script->name = strdup("a.py");
	script->filter = strdup("#");
	return script;
}

/* put - a job with ID about OBJECT, queued in LANE. */
static struct job *put(struct lane *lane, struct script *script, uint64_t id, uint64_t object)
{
	_cleanup_event_ struct event *event = NULL;
	struct job *job;

	ck_assert_int_eq(event_new("create/resource/x", 17, "", 0, &event), 0);
	event->id = id;
	ck_assert_int_eq(job_new(id, event, script, &job), 0);
	job->object = object;
	lane_insert(lane, job);
	return job;
}

static void start(struct lane *lane, struct job *job)
{
	lane_remove(lane, job);
	TAILQ_INSERT_TAIL(&lane->active, job, active);
	lane->running++;
}

static struct lane *lane;
static struct script *script;

static void setup(void)
{
	ck_assert_int_eq(lane_new("a.py", &lane), 0);
	script = make_script();
}

static void teardown(void)
{
	lane_free(lane);
	script_unref(script);
}

START_TEST(test_lane__empty) { ck_assert_ptr_null(lane_candidate(lane)); }
END_TEST

START_TEST(test_lane__order_by_id_whatever_the_order_of_insertion)
{
	put(lane, script, 3, 30);
	put(lane, script, 1, 10);
	put(lane, script, 2, 20);
	for (uint64_t id = 1; id <= 3; id++) {
		struct job *job = lane_candidate(lane);
		ck_assert_uint_eq(job->abi.id, id);
		start(lane, job);
	}
	ck_assert_ptr_null(lane_candidate(lane));
}
END_TEST

START_TEST(test_lane__same_object_waits_others_overtake)
{
	struct job *first = put(lane, script, 1, 10);
	put(lane, script, 2, 10);
	put(lane, script, 3, 11);
	start(lane, first);
	ck_assert_uint_eq(lane_candidate(lane)->abi.id, 3);
	start(lane, lane_candidate(lane));
	ck_assert_ptr_null(lane_candidate(lane));
	TAILQ_REMOVE(&lane->active, first, active);
	job_unref(first);
	ck_assert_uint_eq(lane_candidate(lane)->abi.id, 2);
}
END_TEST

START_TEST(test_lane__result_that_is_not_committed_keeps_the_object)
{
	struct job *job = put(lane, script, 1, 10);
	const struct lsn_result result = { .version = LSN_ABI_VERSION,
					   .size = sizeof result,
					   .outcome = LSN_OUTCOME_FAILURE };

	put(lane, script, 2, 10);
	ck_assert_int_eq(job_set_result(job, &result), 0);
	job->dirty = true;
	ck_assert_ptr_null(lane_candidate(lane));
	ck_assert(lane->settling);
	job->dirty = false;
	ck_assert_ptr_eq(lane_candidate(lane), job);
	ck_assert(!lane->settling);
}
END_TEST

START_TEST(test_lane__many_objects_do_not_hide_order)
{
	for (uint64_t id = 1; id <= 3000; id++)
		put(lane, script, id, 1 + id % 1500);
	for (uint64_t n = 0; n < 1500; n++) {
		struct job *job = lane_candidate(lane);
		ck_assert_uint_eq(job->abi.id, n + 1);
		start(lane, job);
	}
	ck_assert_ptr_null(lane_candidate(lane));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lane");
	TCase *tcase = tcase_create("lane");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_lane__empty);
	tcase_add_test(tcase, test_lane__order_by_id_whatever_the_order_of_insertion);
	tcase_add_test(tcase, test_lane__same_object_waits_others_overtake);
	tcase_add_test(tcase, test_lane__result_that_is_not_committed_keeps_the_object);
	tcase_add_test(tcase, test_lane__many_objects_do_not_hide_order);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
