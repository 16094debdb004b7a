/* dispatcher_loops.c - the loop brake at work: it is told of events and runs; what it says keeps
 * jobs from being startable, or becomes a hold. */
#include "dispatcher_private.h"
#include "event.h"
#include "hold.h"
#include "job.h"
#include "log.h"
#include "loop_brake.h"
#include "util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* So many objects that are held within so long, with one script among the suspects of all: then it
 * is the script. */
#define SCRIPT_LOOPS 8
#define SCRIPT_LOOPS_USEC (600 * USEC_PER_SEC)

void dispatcher_reconsider(struct dispatcher *d, uint64_t object)
{
	struct lane *lane;

	TAILQ_FOREACH (lane, &d->lanes, all) {
		if (lane->where == LANE_VACANT)
			continue;
		lane_reconsider(lane, object);
		dispatcher_list(d, lane);
		dispatcher_touch(d, lane);
	}
	d->hooks.turn(d->hooks.data);
}

void dispatcher_loop_event(struct dispatcher *d, const struct event *event)
{
	if (event->id == d->looped_event) /* the job of another script */
		return;
	d->looped_event = event->id;
	if (d->brake.objects.count == 0)
		return;
	uint64_t object = event_object(event);
	if (loop_brake_event(&d->brake, object, now_monotonic_usec(), d->turn_took_usec))
		dispatcher_reconsider(d, object);
}

void dispatcher_loop_run(struct dispatcher *d, struct job *job, bool out)
{
	if (out && job->script->settings.loop_allowed)
		return;
	if (out)
		loop_brake_begin(&d->brake, job->object, job->script->name, now_monotonic_usec());
	else if (job->watched)
		loop_brake_end(&d->brake, job->object, now_monotonic_usec());
	job->watched = out;
}

/* -------------------------------------------------------------------------------------- verdicts */

/* loop_waiting - a job about OBJECT that waits, or NULL. */
static const struct job *loop_waiting(const struct dispatcher *d, uint64_t object)
{
	const struct lane *lane;
	const struct job *job;

	TAILQ_FOREACH (lane, &d->lanes, all)
		if ((job = lane_first(lane, object)))
			return job;
	return NULL;
}

static void tell_loop(const struct loop_verdict *verdict, char *ret, size_t size)
{
	size_t used = (size_t)snprintf(
		ret, size, "%u events in a row came while scripts ran on it, and none in the pauses between",
		verdict->echoes);

	for (size_t i = 0; i < LOOP_SUSPECTS && verdict->suspects[i].runs > 0 && used < size; i++)
		used += (size_t)snprintf(ret + used, size - used, "%s %s (%u runs)", i ? "," : ":",
					 verdict->suspects[i].script, verdict->suspects[i].runs);
	utf8_trim(ret);
}

/* note_suspect - SCRIPT takes part in the loop of one more object. True: of too many. */
static bool note_suspect(struct dispatcher *d, const char *script, uint64_t now)
{
	unsigned loops = 0;

	if (!d->loops && !(d->loops = calloc(LOOP_NOTES, sizeof *d->loops)))
		return false;
	struct loop_note *note = &d->loops[d->loop_count++ % LOOP_NOTES];
	(void)snprintf(note->script, sizeof note->script, "%s", script);
	note->usec = now;
	for (size_t i = 0; i < LOOP_NOTES; i++)
		loops += d->loops[i].usec && now - d->loops[i].usec < SCRIPT_LOOPS_USEC &&
			 streq(d->loops[i].script, script);
	return loops >= SCRIPT_LOOPS;
}

static void loop_hold(struct dispatcher *d, struct hold *hold)
{
	struct lsn_error err = { 0 };
	uint64_t id;

	hold->kind = HOLD_LOOP;
	hold->by_uid = HOLD_BY_LISTENER;
	hold->since_realtime_usec = now_realtime_usec();
	if (dispatcher_hold(d, hold, &id, &err) < 0)
		log_error("a loop cannot be held now, its scripts go on object=%s: %s", hold->name, err.message);
}

/* hold_scripts - those of VERDICT that have looped on many objects. A name that was cut is none. */
static void hold_scripts(struct dispatcher *d, const struct loop_verdict *verdict, uint64_t now)
{
	for (size_t i = 0; i < LOOP_SUSPECTS && verdict->suspects[i].runs > 0; i++) {
		const char *script = verdict->suspects[i].script;
		struct hold hold = { .scope = HOLD_SCRIPT };
		if (strlen(script) + 1 == sizeof verdict->suspects[i].script || !note_suspect(d, script, now))
			continue;
		(void)snprintf(hold.name, sizeof hold.name, "%s", script);
		(void)snprintf(hold.reason, sizeof hold.reason, "it took part in the loops of %d objects in 10 minutes",
			       SCRIPT_LOOPS);
		loop_hold(d, &hold);
	}
}

/* loop_found - if nothing waits, the loop has come to rest by itself. */
static void loop_found(struct dispatcher *d, const struct loop_verdict *verdict, uint64_t now)
{
	const struct job *job = loop_waiting(d, verdict->object);
	struct hold hold = { .scope = HOLD_OBJECT, .object = verdict->object };

	if (!job)
		return;
	const char *topic = job->event->topic, *slash = strchr(topic, '/');
	(void)snprintf(hold.name, sizeof hold.name, "%.*s", (int)sizeof hold.name - 1, slash ? slash + 1 : topic);
	utf8_trim(hold.name);
	tell_loop(verdict, hold.reason, sizeof hold.reason);
	loop_hold(d, &hold);
	hold_scripts(d, verdict, now);
}

void dispatcher_end_loop_pauses(struct dispatcher *d, uint64_t now_usec)
{
	struct loop_verdict verdict;

	while (loop_brake_due(&d->brake, now_usec, &verdict)) {
		if (verdict.loop)
			loop_found(d, &verdict, now_usec);
		dispatcher_reconsider(d, verdict.object);
	}
}
