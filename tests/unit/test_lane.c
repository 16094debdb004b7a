/* Which job of a script may start next. */
#include "lane.h"
#include "suite.h"
#include "util.h"

static struct lane_objects objects;
static struct lane *lane, *other;
static struct script *script;

static struct script *make_script(void)
{
	struct script *made = calloc(1, sizeof *made);

	made->refs = 1;
	made->name = strdup("a.py");
	made->filter = strdup("#");
	return made;
}

/* put - a job with ID about OBJECT, queued in TO. */
static struct job *put(struct lane *to, uint64_t id, uint64_t object)
{
	_cleanup_event_ struct event *event = NULL;
	struct job *job;

	ck_assert_int_eq(event_new("create/resource/x", 17, "", 0, &event), 0);
	event->id = id;
	ck_assert_int_eq(job_new(id, event, script, &job), 0);
	job->object = object;
	lane_enter(to, job);
	return job;
}

static uint64_t next(void)
{
	const struct job *job = jobs_first(&lane->startable);
	return job ? job->abi.id : 0;
}

static void start(struct job *job)
{
	jobs_take(job, JOBS_STAGE);
	job->state = JOB_STARTING;
	lane_move(job);
}

static void end(struct job *job)
{
	lane_leave(job);
	job_unref(job);
}

static void setup(void)
{
	table_init(&objects.first);
	table_init(&objects.passed);
	ck_assert_int_eq(lane_new("a.py", &objects, &lane), 0);
	ck_assert_int_eq(lane_new("b.py", &objects, &other), 0);
	script = make_script();
}

static void empty(struct jobs *jobs)
{
	while (jobs->length > 0)
		end(jobs_first(jobs));
}

static void teardown(void)
{
	struct lane *lanes[] = { lane, other };

	for (size_t i = 0; i < ELEMENTSOF(lanes); i++) {
		empty(&lanes[i]->queue);
		empty(&lanes[i]->out);
		empty(&lanes[i]->backoff);
		ck_assert(lane_is_empty(lanes[i]));
		lane_free(lanes[i]);
	}
	ck_assert_uint_eq(objects.first.count, 0);
	ck_assert_uint_eq(objects.passed.count, 0);
	table_done(&objects.first);
	table_done(&objects.passed);
	script_unref(script);
}

START_TEST(test_lane__empty)
{
	ck_assert_uint_eq(next(), 0);
	ck_assert(lane_is_empty(lane));
}
END_TEST

START_TEST(test_lane__order_by_id_whatever_the_order_of_insertion)
{
	put(lane, 3, 30);
	put(lane, 1, 10);
	put(lane, 2, 20);
	for (uint64_t id = 1; id <= 3; id++) {
		ck_assert_uint_eq(next(), id);
		start(jobs_first(&lane->startable));
	}
	ck_assert_uint_eq(next(), 0);
	ck_assert_uint_eq(lane->out.length, 3);
	ck_assert_uint_eq(lane->queue.length, 0);
}
END_TEST

START_TEST(test_lane__same_object_waits_others_overtake)
{
	struct job *first = put(lane, 1, 10);
	put(lane, 2, 10);
	put(lane, 3, 11);
	put(other, 4, 10); /* another script's: no matter */
	ck_assert_uint_eq(other->startable.length, 1);
	start(first);
	ck_assert_uint_eq(next(), 3);
	start(jobs_first(&lane->startable));
	ck_assert_uint_eq(next(), 0);
	end(first);
	ck_assert_uint_eq(next(), 2);
}
END_TEST

START_TEST(test_lane__an_earlier_one_that_comes_back_goes_first)
{
	put(lane, 5, 10);
	put(lane, 7, 10);
	ck_assert_uint_eq(next(), 5);
	struct job *back = put(lane, 3, 10);
	ck_assert_uint_eq(next(), 3);
	ck_assert_uint_eq(lane->startable.length, 1);
	struct job *middle = put(lane, 6, 10);
	end(back);
	ck_assert_uint_eq(next(), 5);
	end(middle);
	end(jobs_first(&lane->startable));
	ck_assert_uint_eq(next(), 7);
}
END_TEST

START_TEST(test_lane__result_that_is_not_committed_keeps_the_object)
{
	struct job *job = put(lane, 1, 10);

	put(lane, 2, 10);
	job->settling = true;
	lane_refresh(job);
	ck_assert_uint_eq(next(), 0);
	job->settling = false;
	lane_refresh(job);
	ck_assert_uint_eq(next(), 1);
}
END_TEST

/* However many objects are in back-off, a job for another one may start. */
START_TEST(test_lane__backoff_holds_up_its_own_object_only)
{
	for (uint64_t id = 1; id <= 10000; id++) {
		struct job *job = put(lane, id, id);
		start(job);
		job->state = JOB_BACKOFF;
		lane_move(job);
	}
	put(lane, 10001, 5000);
	ck_assert_uint_eq(next(), 0);
	put(lane, 10002, 20000);
	ck_assert_uint_eq(next(), 10002);
	ck_assert_uint_eq(lane->backoff.length, 10000);
}
END_TEST

START_TEST(test_lane__many_objects_do_not_hide_order)
{
	for (uint64_t id = 1; id <= 3000; id++)
		put(lane, id, 1 + id % 1500);
	for (uint64_t n = 0; n < 1500; n++) {
		ck_assert_uint_eq(next(), n + 1);
		start(jobs_first(&lane->startable));
	}
	ck_assert_uint_eq(next(), 0);
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
	tcase_add_test(tcase, test_lane__an_earlier_one_that_comes_back_goes_first);
	tcase_add_test(tcase, test_lane__result_that_is_not_committed_keeps_the_object);
	tcase_add_test(tcase, test_lane__backoff_holds_up_its_own_object_only);
	tcase_add_test(tcase, test_lane__many_objects_do_not_hide_order);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
