/* dispatcher_holds.c - holds begin and end, and what they keep.
 *
 * A hold of an object keeps its jobs from being startable (lane.c). Any other stands in the way of
 * a lane when it offers a job: the lane is LANE_HELD then, and reads no more than its window. */
#include "dispatcher_private.h"
#include "event.h"
#include "hold.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* hold_apply - HOLD has begun or ended: lanes look again. */
static void hold_apply(struct dispatcher *d, const struct hold *hold)
{
	struct lane *lane;

	if (hold->scope == HOLD_OBJECT) {
		dispatcher_reconsider(d, hold->object);
		return;
	}
	TAILQ_FOREACH (lane, &d->lanes, all)
		if (lane->where != LANE_VACANT && (hold->scope != HOLD_SCRIPT || hold_covers(hold, lane->name, "", 0)))
			dispatcher_lane_move(d, lane, LANE_READY);
	d->hooks.turn(d->hooks.data);
}

/* hold_store - a copy of HOLD, with a row. */
static int hold_store(struct dispatcher *d, const struct hold *hold, struct hold **ret, struct lsn_error *err)
{
	struct hold *copy = malloc(sizeof *copy);

	if (!copy)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*copy = *hold;
	int r = journal_put_hold(d->journal, copy, err);
	if (r < 0) {
		free(copy);
		return r;
	}
	*ret = copy;
	return 0;
}

int dispatcher_hold(struct dispatcher *d, const struct hold *hold, uint64_t *ret_id, struct lsn_error *err)
{
	struct hold *old = holds_like(&d->holds, hold), wanted = *hold, *kept = NULL;
	char text[HOLD_TEXT_SIZE];

	if (!old && d->holds.count >= HOLDS_MAX)
		return lsn_error_set(err, -EDQUOT, "there are %u holds already: end some first (listenerctl holds)",
				     d->holds.count);
	wanted.id = old ? old->id : 0;
	int r = hold_store(d, &wanted, &kept, err);
	if (r < 0)
		return r;
	if (old) {
		holds_remove(&d->holds, old);
		free(old);
	}
	holds_add(&d->holds, kept);
	hold_tell(kept, text);
	log_notice("hold=%" PRIu64 ": %s", kept->id, text);
	hold_apply(d, kept);
	*ret_id = kept->id;
	return 0;
}

static void hold_end(struct dispatcher *d, struct hold *hold, const char *why)
{
	char text[HOLD_TEXT_SIZE];

	hold_tell(hold, text);
	log_notice("hold=%" PRIu64 " ends%s: %s", hold->id, why, text);
	holds_remove(&d->holds, hold);
	hold_apply(d, hold);
	free(hold);
}

int dispatcher_lift(struct dispatcher *d, uint64_t id, struct lsn_error *err)
{
	struct hold *hold = holds_get(&d->holds, id);

	if (!hold)
		return lsn_error_set(err, -ENOENT, "there is no hold %" PRIu64, id);
	int r = journal_drop_hold(d->journal, id, err);
	if (r >= 0)
		hold_end(d, hold, "");
	return r;
}

void dispatcher_expire_holds(struct dispatcher *d)
{
	uint64_t now = d->holds.count ? now_realtime_usec() : 0;
	struct lsn_error err = { 0 };
	struct hold *hold, *next;

	for (hold = TAILQ_FIRST(&d->holds.list); hold; hold = next) {
		next = TAILQ_NEXT(hold, link);
		if (!hold->until_realtime_usec || hold->until_realtime_usec > now)
			continue;
		if (journal_drop_hold(d->journal, hold->id, &err) < 0)
			log_warning("%s (the hold has ended all the same)", err.message);
		hold_end(d, hold, ", its time is over");
	}
}

uint64_t dispatcher_holds_usec(const struct dispatcher *d)
{
	uint64_t now = d->holds.count ? now_realtime_usec() : 0, next = UINT64_MAX;
	const struct hold *hold;

	TAILQ_FOREACH (hold, &d->holds.list, link)
		if (hold->until_realtime_usec && hold->until_realtime_usec < next)
			next = hold->until_realtime_usec;
	if (next == UINT64_MAX)
		return next;
	return now_monotonic_usec() + (next > now ? next - now : 0);
}

static void hold_loaded(void *data, const struct hold *row)
{
	struct dispatcher *d = data;
	struct hold *hold = malloc(sizeof *hold);

	if (!hold)
		abort(); /* no memory at start: the next start tries again */
	*hold = *row;
	holds_add(&d->holds, hold);
}

int dispatcher_load_holds(struct dispatcher *d, struct lsn_error *err)
{
	return journal_each_hold(d->journal, hold_loaded, d, err);
}

bool dispatcher_is_held(const struct dispatcher *d, const struct job *job)
{
	return d->holds.wide > 0 &&
	       holds_find(&d->holds, job->script->name, dispatcher_executor_for(d->config, job->script), job->object);
}

/* -------------------------------------------------------------------------------------- figures */

const struct hold *dispatcher_find_hold(const struct dispatcher *d, const char *script, const char *executor,
					uint64_t object)
{
	return holds_find(&d->holds, script, executor, object);
}

const struct hold *dispatcher_get_hold(const struct dispatcher *d, uint64_t id) { return holds_get(&d->holds, id); }

const struct hold *dispatcher_find_like(const struct dispatcher *d, const struct hold *hold)
{
	return holds_like(&d->holds, hold);
}

const struct hold_list *dispatcher_holds(const struct dispatcher *d) { return &d->holds.list; }

static void count_older(struct held_count *count, const struct job *job)
{
	uint64_t received = job->event->received_realtime_usec;

	if (count->oldest_realtime_usec == 0 || received < count->oldest_realtime_usec)
		count->oldest_realtime_usec = received;
}

/* count_object - jobs of LANE about OBJECT that wait. */
static void count_object(const struct lane *lane, uint64_t object, struct held_count *count)
{
	for (const struct job *job = lane_first(lane, object); job; job = job->later) {
		if (job->state != JOB_QUEUED)
			continue;
		count->jobs++;
		count_older(count, job);
	}
	count->more |= lane_passes(lane, object, UINT64_MAX);
}

static void count_lane(const struct lane *lane, struct held_count *count)
{
	const struct job *first = jobs_first(&lane->queue);

	count->jobs += lane->queue.length + lane->spilled;
	count->more |= !TAILQ_EMPTY(&lane->passed) || !TAILQ_EMPTY(&lane->returning);
	if (first)
		count_older(count, first);
}

static const char *held_executor(const struct dispatcher *d, const struct lane *lane)
{
	const struct job *first = jobs_first(&lane->queue);

	return first ? dispatcher_executor_for(d->config, first->script) : lane->stalled_for;
}

static bool lane_covered(const struct dispatcher *d, const struct lane *lane, const struct hold *hold)
{
	const char *executor = held_executor(d, lane);

	if (hold)
		return hold->scope != HOLD_OBJECT && hold_covers(hold, lane->name, executor, 0);
	return holds_find(&d->holds, lane->name, executor, 0);
}

static void count_objects(const struct dispatcher *d, const struct lane *lane, const struct hold *only,
			  struct held_count *count)
{
	const struct hold *hold;

	TAILQ_FOREACH (hold, &d->holds.list, link)
		if (hold->scope == HOLD_OBJECT &&
		    (only ? hold == only : holds_find(&d->holds, "", "", hold->object) == hold))
			count_object(lane, hold->object, count);
}

void dispatcher_count_held(const struct dispatcher *d, const struct hold *hold, struct held_count *ret)
{
	const struct lane *lane;

	*ret = (struct held_count){ 0 };
	if (d->holds.count == 0)
		return;
	TAILQ_FOREACH (lane, &d->lanes, all) {
		if (lane_covered(d, lane, hold))
			count_lane(lane, ret);
		else if (!hold || hold->scope == HOLD_OBJECT)
			count_objects(d, lane, hold, ret);
	}
}

/* list_oldest - of the jobs in LIST that no object's hold keeps. */
static void list_oldest(const struct dispatcher *d, const struct jobs *list, struct held_count *count)
{
	const struct job *job;

	JOBS_FOREACH(job, list)
	if (!holds_has_object(&d->holds, job->object))
		count_older(count, job);
}

uint64_t dispatcher_oldest_free(const struct dispatcher *d)
{
	struct held_count count = { 0 };
	const struct lane *lane;

	TAILQ_FOREACH (lane, &d->lanes, all) {
		list_oldest(d, &lane->out, &count);
		if (lane_covered(d, lane, NULL))
			continue;
		list_oldest(d, &lane->queue, &count);
		list_oldest(d, &lane->backoff, &count);
	}
	return count.oldest_realtime_usec;
}
