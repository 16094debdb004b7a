/* steps.c - what can happen, one function each. A new kind of step is a function here and a line
 * in the table below. */
#include "sim.h"

#include <errno.h>
#include <string.h>

#define CALM_USEC (1800 * USEC_PER_SEC) /* virtual: after the storm everything ends within this */
#define CALM_ROUNDS 3000000u

static struct {
	unsigned serial; /* of the next event */
	unsigned broken; /* steps until the disk is whole again */
	unsigned scarce; /* steps until there are descriptors again */
	unsigned deferred; /* steps until the source has fetched */
	unsigned frozen[SIM_EXECUTORS]; /* steps until that engine goes on */
} storm;

void steps_begin(void)
{
	memset(&storm, 0, sizeof storm);
	pauses_begin();
}

/* ---------------------------------------------------------------------------- time and the loop */

/* run_one - one source of the loop, or, if nothing is due, on to what comes next, at most MAX
 * away. */
static bool run_one(uint64_t max_usec)
{
	uint64_t next, now = world.monotonic_usec;

	if (!life.loop)
		return false;
	if (loop_dispatch()) {
		world_pass(5);
		return true;
	}
	check_quiet();
	next = loop_next_usec();
	if (next == UINT64_MAX || next > now + max_usec)
		return false;
	world.monotonic_usec = next > now ? next : now;
	return loop_dispatch();
}

static void step_run(uint32_t chance)
{
	unsigned n = world.profile.bulk ? 64 : 1;

	while (n-- > 0 && !world.dead)
		(void)run_one(chance % 16 == 0 ? 300 * USEC_PER_SEC : chance % 2 ? USEC_PER_SEC : 0);
}

static void step_wait(uint32_t chance)
{
	world_pass(chance % 8 == 0 ? (chance >> 3) % (60 * USEC_PER_SEC) : (chance >> 3) % (100 * USEC_PER_MSEC));
}

static void step_clock(uint32_t chance)
{
	static const int64_t by[] = { -86400, -3600, -5, 5, 3600, 86400, 400 * 86400LL };
	int64_t seconds = by[chance % ELEMENTSOF(by)];

	sim_say("the wall clock is set by %lld s", (long long)seconds);
	world.realtime_offset_usec += (uint64_t)(seconds * (int64_t)USEC_PER_SEC);
}

/* --------------------------------------------------------------------------------------- broker */

static void publish(uint64_t *state)
{
	char topic[28];
	unsigned object = draw(state, world.profile.objects), serial = storm.serial++;

	if (world.profile.equal_events && serial > 0 && draw(state, 3) == 0) {
		serial -= 1 + draw(state, serial < 5 ? serial : 5);
		object = 0;
	}
	if (world.profile.equal_events) /* equal in all: the object and the operation come from the serial number */
		object = serial % world.profile.objects;
	(void)snprintf(topic, sizeof topic, "%s/resource/o%u", serial % 3 ? "create" : "update", object);
	mqtt_publish(serial, topic);
}

static void step_publish(uint32_t chance)
{
	uint64_t s = mix(world.seed, chance);
	unsigned n = world.profile.bulk && draw(&s, 50) == 0 ? 3000 : 1 + draw(&s, 3);

	while (n-- > 0)
		publish(&s);
}

static void step_deliver(uint32_t chance) { (void)mqtt_deliver(1 + chance % (world.profile.bulk ? 60 : 10)); }
static void step_hear(uint32_t chance) { mqtt_hear_acknowledgements(1 + chance % 20); }
static void step_connect(uint32_t chance) { mqtt_connect(chance % 64 != 0); }
static void step_cut(uint32_t chance) { mqtt_cut(chance); }

static void step_defer(uint32_t chance)
{
	storm.deferred = 1 + chance % 20;
	life_defer(true);
}

/* ----------------------------------------------------------------------------------- the daemon */

static void restart(bool orderly)
{
	world_die_at(NULL, 0);
	life_stop(orderly);
	disk_break(false);
	descriptors_limit(UINT32_MAX);
	storm.broken = storm.scarce = 0;
	life_start();
}

static void step_die(uint32_t chance) { restart(chance % 4 == 0); }

static void step_die_at(uint32_t chance)
{
	static const char *const at[] = { "after-read",     "after-intent", "after-commit", "after-ack",
					  "after-handover", "after-result", "after-commit", "after-handover" };
	world_die_at(at[chance % ELEMENTSOF(at)], 1 + (chance >> 8) % 6);
}

static void step_reload(uint32_t chance) { life_reload(chance); }
static void step_script(uint32_t chance) { life_script_changes(chance); }

static void step_break_disk(uint32_t chance)
{
	sim_say("the disk is full");
	storm.broken = 1 + chance % 30;
	disk_break(true);
}

static void step_few_descriptors(uint32_t chance)
{
	sim_say("descriptors run out");
	storm.scarce = 1 + chance % 40;
	descriptors_limit(descriptors_open() + (chance >> 8) % 3);
}

/* ------------------------------------------------------------------------------------ executors */

static void step_hang(uint32_t chance)
{
	unsigned which = chance % SIM_EXECUTORS;

	storm.frozen[which] = 1 + (chance >> 8) % 60;
	engine_hang(which, true);
}

static void step_wake(uint32_t chance) { engine_wake(chance % SIM_EXECUTORS); }

/* ------------------------------------------------------------------------------------ operators */

static uint64_t any_job(uint32_t chance)
{
	uint64_t last = life_last_job();

	if (last == 0)
		return 0;
	return chance % 3 == 0 ? 1 + chance / 3 % last : last - chance / 3 % (last < 30 ? last : 30);
}

static void step_retry(uint32_t chance)
{
	struct lsn_error err = { 0 };
	unsigned n = chance % 8 == 0 ? 20 : 1;

	for (unsigned i = 0; i < n && life.dispatcher && !world.dead; i++) {
		uint64_t id = any_job(chance + 31 * i);
		int r = id ? dispatcher_retry(life.dispatcher, id, &err) : -ENOENT;
		if (r < 0)
			continue;
		sim_say("operator: retry %llu", (unsigned long long)id);
		check_retried(id);
	}
}

static void step_cancel(uint32_t chance)
{
	struct lsn_error err = { 0 };
	unsigned n = chance % 8 == 0 ? 20 : 1;

	for (unsigned i = 0; i < n && life.dispatcher && !world.dead; i++) {
		uint64_t id = any_job(chance + 31 * i);
		int r = id ? dispatcher_cancel(life.dispatcher, id, &err) : -ENOENT;
		if (r >= 0)
			sim_say("operator: cancel %llu", (unsigned long long)id);
	}
}

static void step_replay(uint32_t chance)
{
	struct lsn_error err = { 0 };
	uint64_t id = any_job(chance);
	struct job *job;

	if (!id || world.dead || journal_load_job(life.journal, id, &job, &err) < 0)
		return;
	sim_say("operator: replay %llu", (unsigned long long)id);
	(void)dispatcher_add(life.dispatcher, job->event, job->script, id, NULL);
	job_unref(job);
}

static void step_pause(uint32_t chance) { pauses_pause(chance); }
static void step_resume(uint32_t chance) { pauses_resume(chance); }

/* ------------------------------------------------------------------------------------ the table */

static const struct {
	const char *name;
	void (*fn)(uint32_t chance);
	unsigned weight, harsh_weight; /* in ten thousand; the second counts by the profile's harshness */
} kinds[] = {
	{ "run", step_run, 7000, 0 },
	{ "wait", step_wait, 300, 0 },
	{ "publish", step_publish, 250, 0 },
	{ "deliver", step_deliver, 700, 0 },
	{ "hear", step_hear, 500, 0 },
	{ "connect", step_connect, 300, 0 },
	{ "cut", step_cut, 20, 20 },
	{ "defer", step_defer, 5, 10 },
	{ "clock", step_clock, 5, 10 },
	{ "die", step_die, 3, 5 },
	{ "die-at", step_die_at, 3, 10 },
	{ "reload", step_reload, 5, 10 },
	{ "script", step_script, 5, 5 },
	{ "break-disk", step_break_disk, 0, 10 },
	{ "few-descriptors", step_few_descriptors, 0, 10 },
	{ "hang", step_hang, 0, 20 },
	{ "wake", step_wake, 20, 10 },
	{ "retry", step_retry, 30, 20 },
	{ "cancel", step_cancel, 30, 20 },
	{ "replay", step_replay, 10, 10 },
	{ "pause", step_pause, 10, 5 },
	{ "resume", step_resume, 15, 10 },
};

const char *step_name(unsigned kind) { return kind < ELEMENTSOF(kinds) ? kinds[kind].name : "?"; }

int step_kind(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (streq(kinds[i].name, name))
			return (int)i;
	return -1;
}

void step_draw(uint64_t *state, struct step *ret)
{
	uint32_t total = 0, at;

	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		total += kinds[i].weight + world.profile.harshness * kinds[i].harsh_weight;
	at = draw(state, total);
	ret->kind = 0;
	while (at >= kinds[ret->kind].weight + world.profile.harshness * kinds[ret->kind].harsh_weight) {
		at -= kinds[ret->kind].weight + world.profile.harshness * kinds[ret->kind].harsh_weight;
		ret->kind++;
	}
	ret->chance = draw(state, UINT32_MAX);
}

/* storm_passes - what lasts for some steps ends. */
static void storm_passes(void)
{
	if (storm.broken > 0 && --storm.broken == 0)
		disk_break(false);
	if (storm.scarce > 0 && --storm.scarce == 0)
		descriptors_limit(UINT32_MAX);
	if (storm.deferred > 0 && --storm.deferred == 0)
		life_defer(false);
	for (unsigned i = 0; i < SIM_EXECUTORS; i++)
		if (storm.frozen[i] > 0 && --storm.frozen[i] == 0)
			engine_hang(i, false);
}

void step_do(const struct step *step)
{
	kinds[step->kind].fn(step->chance);
	storm_passes();
	world_pass(10);
	if (world.dead)
		restart(false);
	check_step();
}

/* ------------------------------------------------------------------------------ after the storm */

static void calm_down(void)
{
	world.calm = true;
	world_die_at(NULL, 0);
	storm.broken = storm.scarce = storm.deferred = 0;
	disk_break(false);
	descriptors_limit(UINT32_MAX);
	life_calm();
	engine_calm();
	life_reload_whole();
	pauses_calm();
}

void steps_calm(void)
{
	uint64_t until = world.monotonic_usec + CALM_USEC;
	char why[160];
	unsigned rounds = 0;

	sim_say("the storm is over");
	calm_down();
	for (;;) {
		mqtt_connect(true);
		bool busy = mqtt_deliver(20);
		mqtt_hear_acknowledgements(20);
		busy |= run_one(100 * USEC_PER_MSEC);
		if (!busy && mqtt_idle() && check_all_ended(why, sizeof why))
			return;
		if (!busy && mqtt_next_usec() < loop_next_usec())
			world.monotonic_usec = mqtt_next_usec();
		else if (!busy)
			(void)run_one(CALM_USEC);
		if (world.monotonic_usec > until || ++rounds > CALM_ROUNDS) {
			(void)check_all_ended(why, sizeof why);
			sim_fail("the storm is over and there is no end: %s, broker %s", why,
				 mqtt_idle() ? "idle" : "not idle");
		}
		if (rounds % 16 == 0)
			check_step();
	}
}
