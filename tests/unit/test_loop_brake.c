/* test_loop_brake.c - who updates an object from outside is never held, a loop soon is. In virtual
 * time: a millisecond is a step. */
#include "loop_brake.h"
#include "suite.h"
#include "util.h"

#include <string.h>

#define OBJECT 4711
#define SECONDS 1000 /* steps */
#define MEANT_RUNS 30 /* after so many a loop is held */

struct scene { /* scripts on one object, and who else writes to it */
	unsigned scripts; /* that run on each event */
	unsigned writers; /* of them: each run causes an event */
	uint64_t run; /* ms that one takes */
	uint64_t late; /* ms from the end of a run to its event; 0: just before the end */
	uint64_t period; /* ms between updates from outside; 0: one, at the beginning */
	uint64_t updates; /* from outside, at most; 0: without end */
	bool random; /* in length: runs and periods */
	unsigned limit;
};

struct seen {
	uint64_t runs, held_at, events; /* held_at 0: never */
	uint64_t delay_max; /* ms from the event to the start, while nothing of its script ran */
	struct loop_verdict verdict;
};

static uint64_t random_state;

static uint64_t about(const struct scene *scene, uint64_t length)
{
	if (!scene->random || length < 2)
		return length;
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return length / 2 + (random_state >> 33) % length;
}

static void happens(struct loop_brake *brake, const struct scene *scene, uint64_t now, uint64_t waiting[],
		    struct seen *seen)
{
	(void)loop_brake_event(brake, OBJECT, now * 1000, 0);
	seen->events++;
	for (unsigned i = 0; i < scene->scripts; i++)
		waiting[i]++;
}

/* play - SCENE for so many ms. */
static struct seen play(const struct scene *scene, uint64_t length)
{
	static const char *const names[] = { "a.py", "b.py" };
	uint64_t until[2] = { 0 }, waiting[2] = { 0 }, since[2] = { 0 }, next = 1, updates = 0, events[64] = { 0 };
	struct loop_brake brake;
	struct seen seen = { 0 };

	loop_brake_init(&brake, scene->limit);
	for (uint64_t now = 1; now < length && !seen.held_at; now++) {
		struct loop_verdict verdict;
		if (now >= next && (scene->updates == 0 || updates < scene->updates)) {
			happens(&brake, scene, now, waiting, &seen);
			updates++;
			next = scene->period ? now + about(scene, scene->period) : UINT64_MAX;
		}
		for (size_t i = 0; i < ELEMENTSOF(events); i++)
			if (events[i] == now)
				happens(&brake, scene, now, waiting, &seen);
		for (unsigned i = 0; i < scene->scripts; i++) {
			if (until[i] != now)
				continue;
			if (i < scene->writers && scene->late == 0)
				happens(&brake, scene, now, waiting, &seen);
			else if (i < scene->writers)
				events[seen.runs % ELEMENTSOF(events)] = now + scene->late;
			loop_brake_end(&brake, OBJECT, now * 1000);
			until[i] = 0;
			since[i] = now;
		}
		while (loop_brake_due(&brake, now * 1000, &verdict))
			if (verdict.loop) {
				seen.held_at = now;
				seen.verdict = verdict;
			}
		for (unsigned i = 0; i < scene->scripts && !seen.held_at; i++) {
			if (until[i] || waiting[i] == 0) {
				since[i] = now;
				continue;
			}
			if (loop_brake_blocks(&brake, OBJECT))
				continue;
			seen.delay_max = now - since[i] > seen.delay_max ? now - since[i] : seen.delay_max;
			waiting[i]--;
			seen.runs++;
			until[i] = now + about(scene, scene->run);
			loop_brake_begin(&brake, OBJECT, names[i], now * 1000);
		}
	}
	loop_brake_done(&brake);
	return seen;
}

static const uint64_t loop_runs[] = { 3, 50, 2000 };

START_TEST(test_loop_brake__a_loop_is_held_soon)
{
	const struct scene cases[] = {
		{ .scripts = 1, .writers = 1, .limit = 24 }, /* it writes to its own object */
		{ .scripts = 2, .writers = 2, .limit = 24 }, /* events double with each round */
		{ .scripts = 2, .writers = 1, .limit = 24 }, /* and one that only reads */
		{ .scripts = 1, .writers = 1, .limit = 24, .late = 5 }, /* the end comes first */
		{ .scripts = 1, .writers = 1, .limit = 24, .random = true },
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct scene scene = cases[i];
		scene.run = loop_runs[_i];
		struct seen seen = play(&scene, 600 * SECONDS);
		unsigned writes = (unsigned)seen.runs * scene.writers / scene.scripts;
		ck_assert_msg(seen.held_at > 0, "case %zu, run %d: not held after %d runs", i, (int)scene.run,
			      (int)seen.runs);
		ck_assert_msg(writes <= MEANT_RUNS, "case %zu, run %d: %u runs", i, (int)scene.run, writes);
		ck_assert_uint_ge(seen.verdict.echoes, 24);
		ck_assert_str_eq(seen.verdict.suspects[0].script, "a.py");
		ck_assert_uint_gt(seen.verdict.suspects[0].runs, 0);
	}
}
END_TEST

START_TEST(test_loop_brake__outside_updates_are_never_held)
{
	static const uint64_t periods[] = { 5, 20, 100, 1000, 3000, 5500, 7000, 15000 },
			      runs[] = { 2, 10, 500, 2000, 8500, 9000 };

	random_state = (uint64_t)_i;
	for (size_t p = 0; p < ELEMENTSOF(periods); p++)
		for (size_t r = 0; r < ELEMENTSOF(runs); r++) {
			const struct scene scene = { .scripts = 1 + (unsigned)_i % 2,
						     .run = runs[r],
						     .period = periods[p],
						     .random = _i > 1,
						     .limit = 24 };
			struct seen seen = play(&scene, 600 * SECONDS);
			ck_assert_msg(seen.held_at == 0, "period %d, run %d: held after %d runs", (int)periods[p],
				      (int)runs[r], (int)seen.runs);
			ck_assert_uint_gt(seen.runs, 0);
		}
}
END_TEST

START_TEST(test_loop_brake__many_updates_at_once_hardly_wait)
{
	const struct scene quick = { .scripts = 1, .run = 3, .period = 5, .updates = 1000, .limit = 24 };
	const struct scene slow = { .scripts = 1, .run = 200, .period = 1, .updates = 1000, .limit = 24 };
	struct seen seen = play(&quick, 600 * SECONDS);

	ck_assert_uint_eq(seen.held_at, 0);
	ck_assert_uint_eq(seen.runs, 1000);
	ck_assert_uint_le(seen.delay_max, 150);
	/* A backlog that causes nothing runs without pauses. */
	seen = play(&slow, 600 * SECONDS);
	ck_assert_uint_eq(seen.held_at, 0);
	ck_assert_uint_eq(seen.runs, 1000);
	ck_assert_uint_le(seen.delay_max, 150);
}
END_TEST

START_TEST(test_loop_brake__a_loop_beside_outside_updates)
{
	struct scene scene = { .scripts = 1, .writers = 1, .run = 50, .period = 60 * SECONDS, .limit = 24 };

	/* Their cause is told apart only where nothing from outside comes for long enough. */
	ck_assert_uint_gt(play(&scene, 600 * SECONDS).held_at, 0);
	scene.period = SECONDS;
	struct seen seen = play(&scene, 600 * SECONDS);
	ck_assert_uint_eq(seen.held_at, 0);
	ck_assert_uint_lt(seen.runs, 12000 * 2 / 3); /* but it is braked */
}
END_TEST

START_TEST(test_loop_brake__what_is_told_too_late_is_braked_not_held)
{
	const struct scene scene = { .scripts = 1, .writers = 1, .run = 50, .late = 100, .limit = 24 };

	ck_assert_uint_eq(play(&scene, 600 * SECONDS).held_at, 0);
}
END_TEST

START_TEST(test_loop_brake__the_limit)
{
	struct scene scene = { .scripts = 1, .writers = 1, .run = 50, .limit = 3 };
	struct seen seen = play(&scene, 600 * SECONDS);

	ck_assert_uint_gt(seen.held_at, 0);
	ck_assert_uint_eq(seen.runs, 3);
	scene.limit = 0;
	seen = play(&scene, 20 * SECONDS);
	ck_assert_uint_eq(seen.held_at, 0);
	ck_assert_uint_gt(seen.runs, 300);
}
END_TEST

/* uploads - each object is created, and updated while the create's run is on. */
START_TEST(test_loop_brake__uploads_take_little_memory)
{
	struct loop_brake brake;
	size_t most = 0;

	loop_brake_init(&brake, 24);
	for (uint64_t n = 1; n <= 200000; n++) {
		uint64_t now = n * 1000;
		loop_brake_begin(&brake, n, "a.py", now);
		ck_assert(!loop_brake_event(&brake, n, now + 10, 0));
		loop_brake_end(&brake, n, now + 20);
		loop_brake_begin(&brake, n, "a.py", now + 30);
		loop_brake_end(&brake, n, now + 40);
		most = brake.objects.count > most ? brake.objects.count : most;
	}
	ck_assert_uint_le(most, LOOP_OBJECTS_MAX);
	ck_assert_uint_eq(brake.braked, 0);
	ck_assert_uint_eq(loop_brake_next_usec(&brake), UINT64_MAX);
	/* A minute later it begins to forget them. */
	for (uint64_t n = 1; n <= 100000; n++) {
		loop_brake_begin(&brake, 1000000 + n, "a.py", 400000000 + n * 10000);
		loop_brake_end(&brake, 1000000 + n, 400000000 + n * 10000 + 100);
	}
	ck_assert_uint_lt(brake.objects.count, 1000);
	loop_brake_done(&brake);
}
END_TEST

START_TEST(test_loop_brake__a_slow_loop_of_the_daemon_is_allowed_for)
{
	struct loop_brake brake;

	loop_brake_init(&brake, 24);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t now = (1 + i) * USEC_PER_SEC;
		loop_brake_begin(&brake, OBJECT, "a.py", now);
		loop_brake_end(&brake, OBJECT, now + 1000);
		/* 80 ms after the end, but the daemon could not have seen it before */
		(void)loop_brake_event(&brake, OBJECT, now + 81000, 75000);
	}
	ck_assert(loop_brake_blocks(&brake, OBJECT));
	ck_assert(!loop_brake_blocks(&brake, OBJECT + 1));
	ck_assert(loop_brake_event(&brake, OBJECT, 9 * USEC_PER_SEC, 0));
	ck_assert(!loop_brake_blocks(&brake, OBJECT));
	loop_brake_done(&brake);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop_brake");
	TCase *tcase = tcase_create("loop_brake");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, test_loop_brake__a_loop_is_held_soon, 0, (int)ELEMENTSOF(loop_runs));
	tcase_add_loop_test(tcase, test_loop_brake__outside_updates_are_never_held, 0, 8);
	tcase_add_test(tcase, test_loop_brake__many_updates_at_once_hardly_wait);
	tcase_add_test(tcase, test_loop_brake__a_loop_beside_outside_updates);
	tcase_add_test(tcase, test_loop_brake__what_is_told_too_late_is_braked_not_held);
	tcase_add_test(tcase, test_loop_brake__the_limit);
	tcase_add_test(tcase, test_loop_brake__uploads_take_little_memory);
	tcase_add_test(tcase, test_loop_brake__a_slow_loop_of_the_daemon_is_allowed_for);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
