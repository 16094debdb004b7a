/* dispatcher.c - the starting half: lanes, turns, places, hand-over. See dispatcher.h for the
 * picture and dispatcher_end.c for what follows. */
#include "dispatcher_private.h"
#include "event.h"
#include "executors.h"
#include "failpoint.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <fnmatch.h>
#include <search.h>
#include <string.h>

/* After so many refusals in a row for want of a place, the rest of the ring is left for the next
 * turn. */
#define REFUSALS_MAX 64

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct lane *)a)->name, ((const struct lane *)b)->name);
}

struct lane *dispatcher_lane(struct dispatcher *d, const char *script)
{
	struct lane key = { .name = (char *)(uintptr_t)script }, *lane;
	struct lane **found = tfind(&key, &d->lanes_by_name, by_name);

	if (found)
		return *found;
	if (lane_new(script, &lane) < 0)
		return NULL;
	if (!tsearch(lane, &d->lanes_by_name, by_name)) {
		lane_free(lane);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&d->lanes, lane, all);
	return lane;
}

static void lane_move(struct dispatcher *d, struct lane *lane, enum lane_where where)
{
	if (lane->where == LANE_READY)
		TAILQ_REMOVE(&d->ready, lane, ring);
	else if (lane->where == LANE_STALLED)
		TAILQ_REMOVE(&d->stalled, lane, ring);
	lane->where = where;
	if (where == LANE_READY)
		TAILQ_INSERT_TAIL(&d->ready, lane, ring);
	else if (where == LANE_STALLED)
		TAILQ_INSERT_TAIL(&d->stalled, lane, ring);
}

void dispatcher_wake(struct dispatcher *d, struct lane *lane)
{
	if (lane->where == LANE_IDLE && (lane->queued > 0 || lane->spilled > 0))
		lane_move(d, lane, LANE_READY);
	d->hooks.turn(d->hooks.data);
}

void dispatcher_spill(struct dispatcher *d, struct lane *lane, struct job *job)
{
	lane->spilled++;
	d->spilling = true;
	job_unref(job);
}

int dispatcher_add(struct dispatcher *d, struct event *event, struct script *script, uint64_t replay_of,
		   uint64_t *ret_id)
{
	struct lane *lane = dispatcher_lane(d, script->name);
	struct job *job;

	if (!lane)
		return -ENOMEM;
	int r = job_new(journal_next_job_id(d->journal), event, script, &job);
	if (r < 0)
		return r;
	job->abi.replay_of = replay_of;
	if (ret_id)
		*ret_id = job->abi.id;
	journal_put_job(d->journal, job);
	if (lane->queued >= d->config->window || lane->spilled > 0) {
		dispatcher_spill(d, lane, job);
	} else {
		lane->last_id = job->abi.id;
		lane_insert(lane, job);
	}
	dispatcher_wake(d, lane);
	return 0;
}

const char *dispatcher_executor_for(const struct dispatch_config *config, const struct script *script)
{
	if (script->settings.executor[0])
		return script->settings.executor;
	for (size_t i = 0; i < config->route_count; i++) {
		const struct route_config *route = &config->routes[i];
		if (route->script && fnmatch(route->script, script->name, 0) != 0)
			continue;
		if (route->filter && !topic_filter_covers(route->filter, script->filter))
			continue;
		return route->executor;
	}
	return config->default_executor;
}

/* take_place - have an executor reserve a place for JOB of LANE. 0: reserved; -EAGAIN: not now;
 * other: never, with the reason. */
static int take_place(struct dispatcher *d, const struct lane *lane, struct job *job, struct lsn_error *err)
{
	const char *name = dispatcher_executor_for(d->config, job->script);
	struct executor *executor = d->executors ? executors_find(d->executors, name) : NULL;

	if (!executor)
		return -EAGAIN; /* not configured now; the next reload may bring it back */
	int r = event_payload_fd(job->event);
	if (r >= 0) {
		job->abi.payload_fd = r;
		r = journal_script_fd(d->journal, job->script);
	}
	if (r < 0)
		return lsn_error_set(err, r, "cannot prepare payload and script: %s", strerror(-r));
	job->abi.script_fd = r;
	free(job->result);
	job->result = NULL;
	job->abi.attempt++;
	job->abi.waiting = lane->queued + lane->spilled;
	r = executor_reserve(executor, job, err);
	if (r == -EBUSY) /* it still holds an earlier attempt */
		r = -EAGAIN;
	if (r < 0)
		job->abi.attempt--;
	else
		(void)snprintf(job->executor, sizeof job->executor, "%s", name);
	return r;
}

/* start_one - give LANE its turn: start at most one job. Returns true if the lane had its turn,
 * false if its executor has no place. */
static bool start_one(struct dispatcher *d, struct lane *lane)
{
	struct job *job = lane->running < d->config->per_script_max ? lane_candidate(lane) : NULL;
	struct lsn_error err = { 0 };

	if (!job) {
		/* woken when one of its jobs ends, comes, or has settled */
		lane_move(d, lane, LANE_IDLE);
		d->settling |= lane->settling;
		return true;
	}
	int r = take_place(d, lane, job, &err);
	if (r == -EAGAIN) {
		lane_move(d, lane, LANE_STALLED);
		return false;
	}
	lane_remove(lane, job);
	lane_move(d, lane, LANE_READY); /* to the end of the ring */
	if (r < 0) {
		job->abi.attempt++;
		dispatcher_end_with(d, job, LSN_OUTCOME_ERROR, err.message);
		return true;
	}
	job->chased = false;
	job_set_state(job, JOB_STARTING);
	journal_put_job(d->journal, job);
	TAILQ_INSERT_TAIL(&lane->active, job, active);
	TAILQ_INSERT_TAIL(&d->starting, job, queue);
	lane->running++;
	d->running++;
	return true;
}

void dispatcher_place(struct dispatcher *d)
{
	unsigned refusals = 0;
	struct lane *lane;

	while (!d->stopped && d->running < d->config->running_max && refusals < REFUSALS_MAX &&
	       (lane = TAILQ_FIRST(&d->ready)))
		refusals = start_one(d, lane) ? 0 : refusals + 1;
	if (!TAILQ_EMPTY(&d->starting))
		failpoint("after-intent");
}

void dispatcher_leave(struct dispatcher *d, struct job *job)
{
	struct lane *lane = dispatcher_lane(d, job->script->name);

	TAILQ_REMOVE(&lane->active, job, active);
	lane->running--;
	d->running--;
}

void dispatcher_requeue(struct dispatcher *d, struct job *job)
{
	struct lane *lane = dispatcher_lane(d, job->script->name);

	job->place[0] = 0;
	job_set_state(job, JOB_QUEUED);
	journal_put_job(d->journal, job);
	if (job->abi.id > lane->last_id && lane->spilled > 0) {
		dispatcher_spill(d, lane, job); /* its turn comes with its neighbours */
	} else {
		lane_insert(lane, job);
	}
	dispatcher_wake(d, lane);
}

static void hand_over(struct dispatcher *d, struct job *job)
{
	struct lsn_error err = { 0 };

	job->abi.started_realtime_usec = now_realtime_usec();
	job_set_state(job, JOB_RUNNING);
	int r = executor_submit(job->instance, job, &err);
	if (r >= 0) {
		failpoint("after-handover");
		return;
	}
	dispatcher_leave(d, job);
	if (r == -EAGAIN) { /* the place went away before the hand-over */
		job->abi.attempt--;
		dispatcher_requeue(d, job);
	} else {
		dispatcher_end_with(d, job, LSN_OUTCOME_ERROR, err.message);
	}
}

static bool is_active(const struct lane *lane, uint64_t id)
{
	const struct job *job;

	TAILQ_FOREACH (job, &lane->active, active)
		if (job->abi.id == id)
			return true;
	return false;
}

struct refill {
	struct dispatcher *dispatcher;
	struct lane *lane;
	unsigned count;
};

static void lane_refilled(void *data, struct job *job)
{
	struct refill *refill = data;
	struct lane *lane = refill->lane;

	refill->count++;
	lane->spilled -= lane->spilled > 0;
	lane->last_id = job->abi.id;
	/* recovered, failed and waiting for its next attempt already */
	if (is_active(lane, job->abi.id))
		job_unref(job);
	else if (job->state == JOB_BACKOFF)
		dispatcher_wait(refill->dispatcher, lane, job);
	else
		lane_insert(lane, job);
}

/* lanes_refill - bring waiting jobs of LANE back into memory when it runs low. Only when nothing is
 * marked: all of them are rows then. */
static void lane_refill(struct dispatcher *d, struct lane *lane)
{
	struct refill refill = { .dispatcher = d, .lane = lane };
	struct lsn_error err = { 0 };

	if (lane->queued > d->config->window / 2)
		return;
	unsigned want = d->config->window - lane->queued;
	if (journal_load_queued(d->journal, lane->name, lane->last_id, want, lane_refilled, &refill, &err) < 0) {
		log_error("cannot read waiting jobs script=%s, trying again: %s", lane->name, err.message);
		return;
	}
	if (refill.count < want)
		lane->spilled = 0;
	else if (lane->spilled == 0)
		lane->spilled = 1; /* there may be more than was counted */
	if (refill.count > 0)
		dispatcher_wake(d, lane);
}

static void lanes_refill(struct dispatcher *d)
{
	struct lane *lane;

	d->spilling = false;
	TAILQ_FOREACH (lane, &d->lanes, all) {
		if (lane->spilled > 0)
			lane_refill(d, lane);
		d->spilling |= lane->spilled > 0;
	}
}

static void forget_committed(struct dispatcher *d)
{
	for (size_t i = 0; i < d->forget_count; i++) {
		struct executor *executor = executors_find(d->executors, d->forgets[i].executor);
		if (executor)
			executor_forget(executor, d->forgets[i].job, d->forgets[i].place);
	}
	d->forget_count = 0;
}

/* wake_settled - results are safe now: their jobs may have a further attempt. */
static void wake_settled(struct dispatcher *d)
{
	struct lane *lane;

	d->settling = false;
	TAILQ_FOREACH (lane, &d->lanes, all)
		if (lane->settling)
			dispatcher_wake(d, lane);
}

void dispatcher_committed(struct dispatcher *d)
{
	struct job *job;

	if (d->forget_count > 0)
		failpoint("after-result-commit");
	forget_committed(d);
	while ((job = TAILQ_FIRST(&d->starting))) {
		TAILQ_REMOVE(&d->starting, job, queue);
		hand_over(d, job);
	}
	if (d->settling)
		wake_settled(d);
	if (d->running > 0)
		dispatcher_arm_overdue(d);
	/* else a refused hand-over's turn comes first */
	if (d->spilling && !journal_has_pending(d->journal))
		lanes_refill(d);
}

void dispatcher_ready(void *dispatcher, struct executor *executor)
{
	struct dispatcher *d = dispatcher;
	struct lane *lane;

	/* which lanes it serves is a matter of configuration; asking all that wait is cheap
	 * enough */
	(void)executor;
	while ((lane = TAILQ_FIRST(&d->stalled)))
		lane_move(d, lane, LANE_READY);
	d->hooks.turn(d->hooks.data);
}

void dispatcher_stop(struct dispatcher *d) { d->stopped = true; }

unsigned dispatcher_running(const struct dispatcher *d) { return d->running; }

uint64_t dispatcher_ended(const struct dispatcher *d) { return d->ended; }

void dispatcher_set_config(struct dispatcher *d, const struct dispatch_config *config)
{
	d->config = config;
	dispatcher_ready(d, NULL);
}

void dispatcher_set_executors(struct dispatcher *d, struct executors *executors) { d->executors = executors; }

int dispatcher_new(sd_event *loop, struct journal *journal, const struct dispatch_config *config,
		   const struct dispatcher_hooks *hooks, struct dispatcher **ret, struct lsn_error *err)
{
	struct dispatcher *d = calloc(1, sizeof *d);

	if (!d)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	d->loop = sd_event_ref(loop);
	d->journal = journal;
	d->config = config;
	d->hooks = *hooks;
	TAILQ_INIT(&d->lanes);
	TAILQ_INIT(&d->ready);
	TAILQ_INIT(&d->stalled);
	TAILQ_INIT(&d->starting);
	TAILQ_INIT(&d->backoff);
	*ret = d;
	return 0;
}

static void keep_node(void *node) { (void)node; }

void dispatcher_free(struct dispatcher *d)
{
	struct lane *lane;

	if (!d)
		return;
	tdestroy(d->lanes_by_name, keep_node);
	while ((lane = TAILQ_FIRST(&d->lanes))) {
		TAILQ_REMOVE(&d->lanes, lane, all);
		lane_free(lane);
	}
	sd_event_source_disable_unref(d->backoff_timer);
	sd_event_source_disable_unref(d->overdue_timer);
	sd_event_unref(d->loop);
	free(d->forgets);
	free(d);
}
