/* pauses.c - operators who pause and resume, and what must follow: nothing that is held is offered
 * to an executor, and a hold stands over deaths until somebody ends it. */
#include "sim.h"

#include "dispatcher_private.h"

#include <stdlib.h>
#include <string.h>

#define PAUSES_MAX 8

static struct hold pauses[PAUSES_MAX]; /* that stand, and have no end */
static unsigned pause_count;

void pauses_begin(void) { pause_count = 0; }

/* draw_hold - any of the four scopes. */
static void draw_hold(uint64_t *state, struct hold *ret)
{
	static const char *const executors[SIM_EXECUTORS] = { "full", "bare", "slow" };
	unsigned what = draw(state, 16);

	*ret = (struct hold){ .kind = HOLD_PAUSE, .since_realtime_usec = now_realtime_usec() };
	ret->scope = what == 0 ? HOLD_ALL : what < 3 ? HOLD_EXECUTOR : what < 8 ? HOLD_OBJECT : HOLD_SCRIPT;
	if (ret->scope == HOLD_EXECUTOR)
		(void)snprintf(ret->name, sizeof ret->name, "%s", executors[draw(state, SIM_EXECUTORS)]);
	if (ret->scope == HOLD_SCRIPT && what == 8)
		(void)snprintf(ret->name, sizeof ret->name, "script-%u*", draw(state, 10));
	else if (ret->scope == HOLD_SCRIPT)
		(void)snprintf(ret->name, sizeof ret->name, "script-%02u.py", draw(state, world.profile.scripts));
	if (ret->scope != HOLD_OBJECT)
		return;
	char topic[64];
	(void)snprintf(ret->name, sizeof ret->name, "resource/o%u", draw(state, world.profile.objects));
	(void)snprintf(topic, sizeof topic, "create/%.40s", ret->name);
	ret->object = pauses_object(topic);
}

uint64_t pauses_object(const char *topic)
{
	struct event *event;

	if (event_new(topic, strlen(topic), NULL, 0, &event) < 0)
		abort();
	uint64_t object = event_object(event);
	event_unref(event);
	return object;
}

static bool is_like(const struct hold *a, const struct hold *b)
{
	return a->scope == b->scope && a->object == b->object && streq(a->name, b->name);
}

static void forget_like(const struct hold *hold)
{
	for (unsigned i = 0; i < pause_count; i++)
		if (is_like(&pauses[i], hold))
			pauses[i--] = pauses[--pause_count];
}

void pauses_pause(uint32_t chance)
{
	uint64_t s = mix(world.seed, chance), id;
	struct lsn_error err = { 0 };
	struct hold hold;

	draw_hold(&s, &hold);
	if (!life.dispatcher || world.dead || pause_count == PAUSES_MAX)
		return;
	if (draw(&s, 4) == 0)
		hold.until_realtime_usec = now_realtime_usec() + draw(&s, 10 * USEC_PER_SEC);
	if (dispatcher_hold(life.dispatcher, &hold, &id, &err) < 0)
		return;
	sim_say("operator: pause %s %s%s", hold_scope_names[hold.scope], hold.name,
		hold.until_realtime_usec ? " for a while" : "");
	forget_like(&hold);
	if (!hold.until_realtime_usec)
		pauses[pause_count++] = hold;
}

/* resume_loop - end any hold that the loop brake has set. */
static void resume_loop(void)
{
	const struct hold *hold = TAILQ_FIRST(dispatcher_holds(life.dispatcher));
	struct lsn_error err = { 0 };

	if (hold && hold->kind == HOLD_LOOP && dispatcher_lift(life.dispatcher, hold->id, &err) >= 0)
		sim_say("operator: release a loop");
}

void pauses_resume(uint32_t chance)
{
	struct lsn_error err = { 0 };
	unsigned which = pause_count ? chance % pause_count : 0;

	if (!life.dispatcher || world.dead)
		return;
	if (pause_count == 0) {
		resume_loop();
		return;
	}
	const struct hold *found = dispatcher_find_like(life.dispatcher, &pauses[which]);
	if (!found)
		sim_fail("the pause of %s %s is gone", hold_scope_names[pauses[which].scope], pauses[which].name);
	if (dispatcher_lift(life.dispatcher, found->id, &err) < 0)
		return;
	sim_say("operator: resume %s %s", hold_scope_names[pauses[which].scope], pauses[which].name);
	pauses[which] = pauses[--pause_count];
}

void pauses_calm(void)
{
	const struct hold *hold;
	struct lsn_error err = { 0 };

	while (life.dispatcher && (hold = TAILQ_FIRST(dispatcher_holds(life.dispatcher))))
		if (dispatcher_lift(life.dispatcher, hold->id, &err) < 0)
			sim_fail("a hold cannot be ended: %s", err.message);
	pause_count = 0;
}

void check_offer(const struct lsn_job *job, const char *executor)
{
	uint64_t object = pause_count ? pauses_object(job->topic) : 0;

	for (unsigned i = 0; i < pause_count; i++)
		if (hold_covers(&pauses[i], job->script, executor, object))
			sim_fail("job %llu of %s is offered to %s, and %s %s is paused", (unsigned long long)job->id,
				 job->script, executor, hold_scope_names[pauses[i].scope], pauses[i].name);
}

void check_pauses(void)
{
	for (unsigned i = 0; i < pause_count; i++)
		if (!dispatcher_find_like(life.dispatcher, &pauses[i]))
			sim_fail("the pause of %s %s is gone", hold_scope_names[pauses[i].scope], pauses[i].name);
}
