/* dispatcher.c - lanes, turns, places, hand-over. See dispatcher.h for the picture. */
#include "dispatcher_private.h"
#include "content.h"
#include "event.h"
#include "executors.h"
#include "failpoint.h"
#include "hold.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "script.h"
#include "topic.h"
#include "util.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* Contents that nobody uses but are kept for the next run. */
#define CONTENTS_KEPT 128
#define CONTENTS_KEPT_BYTES ((size_t)16 << 20)
/* One turn offers jobs for so long, and hands jobs over for so long; then others have theirs. */
#define OFFER_USEC (10 * USEC_PER_MSEC)
#define HAND_OVER_USEC (10 * USEC_PER_MSEC)
/* A lane that met a passing shortage waits for so long, twice as long each time. */
#define PAUSE_MIN_USEC (100 * USEC_PER_MSEC)
#define PAUSE_DOUBLINGS 5

/* ---------------------------------------------------------------------------------------- lanes */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct lane *)a)->name, ((const struct lane *)b)->name);
}

struct lane *dispatcher_find_lane(const struct dispatcher *d, const char *script)
{
	struct lane key = { .name = (char *)(uintptr_t)script };
	struct lane **found = tfind(&key, &d->lanes_by_name, by_name);

	return found ? *found : NULL;
}

struct lane *dispatcher_lane(struct dispatcher *d, const char *script)
{
	struct lane *lane = dispatcher_find_lane(d, script);

	if (lane)
		return lane;
	if (lane_new(script, &d->objects, &lane) < 0)
		return NULL;
	if (!tsearch(lane, &d->lanes_by_name, by_name)) {
		lane_free(lane);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&d->lanes, lane, all);
	lane->tally = tally_script(&d->tally, script);
	return lane;
}

/* pass_on - LANE was refused a place, and does not want one now: who else waits for one? */
static void pass_on(struct dispatcher *d, struct lane *lane)
{
	char executor[EXECUTOR_NAME_SIZE];

	memcpy(executor, lane->stalled_for, sizeof executor);
	lane->stalled_for[0] = 0;
	if (*executor)
		dispatcher_place_freed(d, executor);
}

static struct lane_list *ring_of(struct dispatcher *d, enum lane_where where)
{
	switch (where) {
	case LANE_READY: return &d->ready;
	case LANE_STALLED: return &d->stalled;
	case LANE_VACANT: return &d->vacant;
	default: return NULL;
	}
}

void dispatcher_lane_move(struct dispatcher *d, struct lane *lane, enum lane_where where)
{
	struct lane_list *before = ring_of(d, lane->where), *after = ring_of(d, where);

	if (before)
		TAILQ_REMOVE(before, lane, ring);
	if (lane->where == LANE_PAUSED || lane->where == LANE_RATED)
		heap_remove(&d->pauses, &lane->pause);
	lane->where = where;
	if (after)
		TAILQ_INSERT_TAIL(after, lane, ring);
}

static void lane_note_refusal(struct lane *lane, const char *why)
{
	(void)snprintf(lane->refusal, sizeof lane->refusal, "%.*s", (int)sizeof lane->refusal - 1, why);
	utf8_trim(lane->refusal);
	if (!lane->stalled_since)
		lane->stalled_since = now_monotonic_usec();
}

/* lane_note_progress - a job of LANE was taken, or nothing waits: if another is refused, it is so
 * from now on. */
static void lane_note_progress(struct lane *lane)
{
	bool refused = lane->where == LANE_STALLED || lane->where == LANE_PAUSED;

	lane->stalled_since = refused ? now_monotonic_usec() : 0;
}

static bool may_start(const struct dispatcher *d, const struct lane *lane)
{
	return lane->startable.length > 0 && lane->out.length < d->config->per_script_max;
}

void dispatcher_touch(struct dispatcher *d, struct lane *lane)
{
	if (lane_is_empty(lane)) {
		dispatcher_lane_move(d, lane, LANE_VACANT);
		lane_note_progress(lane);
		pass_on(d, lane);
		return;
	}
	if (lane->where != LANE_VACANT && lane->where != LANE_IDLE)
		return; /* it has a turn coming, or waits for something */
	dispatcher_lane_move(d, lane, may_start(d, lane) ? LANE_READY : LANE_IDLE);
	if (lane->where == LANE_READY)
		d->hooks.turn(d->hooks.data);
}

void dispatcher_pause(struct dispatcher *d, struct lane *lane, struct job *job, const char *why)
{
	unsigned doublings = job->refusals < PAUSE_DOUBLINGS ? job->refusals : PAUSE_DOUBLINGS;

	if (job->refusals++ == 0)
		log_warning("cannot start now, trying again job=%" PRIu64 " script=%s: %s", job->abi.id, lane->name,
			    why);
	dispatcher_lane_move(d, lane, LANE_PAUSED);
	lane_note_refusal(lane, why);
	heap_insert(&d->pauses, &lane->pause, now_monotonic_usec() + (PAUSE_MIN_USEC << doublings));
	pass_on(d, lane); /* the place that it was woken for may do for another */
}

/* give_turn - LANE, stalled, is the next to be offered: a place is there, so it does not stand
 * behind lanes that may have to be refused. */
static void give_turn(struct dispatcher *d, struct lane *lane)
{
	dispatcher_lane_move(d, lane, LANE_READY);
	TAILQ_REMOVE(&d->ready, lane, ring);
	TAILQ_INSERT_HEAD(&d->ready, lane, ring);
	d->hooks.turn(d->hooks.data);
}

static struct lane *find_stalled(const struct dispatcher *d, const char *executor, const char *version)
{
	struct lane *lane;

	TAILQ_FOREACH (lane, &d->stalled, ring)
		if (streq(lane->stalled_for, executor) && (!version || streq(lane->stalled_version, version)))
			return lane;
	return NULL;
}

void dispatcher_place_freed(struct dispatcher *d, const char *executor)
{
	struct lane *lane = find_stalled(d, executor, NULL);

	if (lane)
		give_turn(d, lane);
}

bool dispatcher_ready_for(void *dispatcher, const struct executor *executor, const char *version)
{
	struct lane *lane = find_stalled(dispatcher, executor_name(executor), version);

	if (lane)
		give_turn(dispatcher, lane);
	return lane;
}

static void end_pauses(struct dispatcher *d, uint64_t until_usec)
{
	struct heap_node *node;

	while ((node = heap_first(&d->pauses)) && node->key <= until_usec)
		dispatcher_lane_move(d, container_of(node, struct lane, pause), LANE_READY);
}

void dispatcher_shortage_over(struct dispatcher *d)
{
	if (d->pauses.length == 0)
		return;
	end_pauses(d, UINT64_MAX);
	d->hooks.turn(d->hooks.data);
}

static void reap_lanes(struct dispatcher *d)
{
	struct lane *lane;

	while ((lane = TAILQ_FIRST(&d->vacant))) {
		TAILQ_REMOVE(&d->vacant, lane, ring);
		TAILQ_REMOVE(&d->lanes, lane, all);
		(void)tdelete(lane, &d->lanes_by_name, by_name);
		lane_free(lane);
	}
}

/* ------------------------------------------------------------------------------------- contents */

struct making {
	struct dispatcher *dispatcher;
	const char *name;
	struct content *content;
};

static int make_content(void *data, const void *bytes, size_t size)
{
	struct making *making = data;
	struct contents *contents = making->dispatcher->contents;
	int r = contents_make(contents, making->name, bytes, size, &making->content);

	if (r < 0 && contents_trim(contents) > 0) /* what is kept may be what is short */
		r = contents_make(contents, making->name, bytes, size, &making->content);
	return r;
}

static int get_payload(struct dispatcher *d, struct event *event, struct content **ret, struct lsn_error *err)
{
	char name[SCRIPT_VERSION_SIZE];
	struct making making = { d, name, NULL };
	int r = 0;

	content_name_of_event(event->id, name);
	making.content = contents_find(d->contents, name);
	if (!making.content && (event->payload || event->payload_size == 0))
		r = make_content(&making, event->payload, event->payload_size);
	else if (!making.content)
		r = journal_read_payload(d->journal, event->id, make_content, &making, err);
	if (r < 0 && err->code != r)
		(void)lsn_error_set(err, r, "cannot prepare the payload: %s", strerror(-r));
	*ret = making.content;
	return r;
}

static int get_script(struct dispatcher *d, const struct script *script, struct content **ret, struct lsn_error *err)
{
	struct making making = { d, script->version, contents_find(d->contents, script->version) };
	int r = making.content ? 0 : journal_read_script(d->journal, script->version, make_content, &making, err);

	*ret = making.content;
	return r;
}

/* get_contents - -EUCLEAN: there are none, and never will be; -EIO: not now. */
static int get_contents(struct dispatcher *d, struct job *job, struct content **ret_payload,
			struct content **ret_script, struct lsn_error *err)
{
	struct content *payload, *script;
	int r = get_payload(d, job->event, &payload, err);

	if (r < 0)
		return r == -EUCLEAN ? r : -EIO;
	r = get_script(d, job->script, &script, err);
	if (r < 0) {
		(void)content_unref(payload);
		return r == -EUCLEAN ? r : -EIO;
	}
	*ret_payload = payload;
	*ret_script = script;
	return 0;
}

/* --------------------------------------------------------------------------------------- starts */

int dispatcher_add(struct dispatcher *d, struct event *event, struct script *script, uint64_t replay_of,
		   uint64_t *ret_id)
{
	struct lane *lane = dispatcher_lane(d, script->name);
	struct job *job;

	if (!lane)
		return -ENOMEM;
	if (replay_of == 0)
		dispatcher_loop_event(d, event);
	int r = job_new(journal_next_job_id(d->journal), event, script, &job);
	if (r < 0)
		return r;
	job->abi.replay_of = replay_of;
	if (ret_id)
		*ret_id = job->abi.id;
	tally_made(lane->tally, replay_of > 0);
	journal_put_job(d->journal, job);
	dispatcher_take_in(d, job);
	d->hooks.turn(d->hooks.data);
	return 0;
}

/* covers_all - every event that runs SCRIPT matches FILTER, too. */
static bool covers_all(const char *filter, const struct script *script)
{
	const char *own = NULL;

	while ((own = script_filter_after(script, own)))
		if (!topic_filter_covers(filter, own))
			return false;
	return true;
}

const char *dispatcher_executor_for(const struct dispatch_config *config, const struct script *script)
{
	if (script->settings.executor[0])
		return script->settings.executor;
	for (size_t i = 0; i < config->route_count; i++) {
		const struct route_config *route = &config->routes[i];
		if (route->script && fnmatch(route->script, script->name, 0) != 0)
			continue;
		if (route->filter && !covers_all(route->filter, script))
			continue;
		return route->executor;
	}
	return config->default_executor;
}

bool dispatcher_is_passing(int r) { return errno_is_shortage(r) || r == -EIO || r == -EPIPE; }

/* reserve_with_contents - with contents for the run, for modules that may look at them at once. */
static int reserve_with_contents(struct dispatcher *d, struct executor *executor, struct job *job, struct run **ret,
				 struct lsn_error *err)
{
	_cleanup_content_ struct content *payload = NULL, *script = NULL;
	int r = get_contents(d, job, &payload, &script, err);

	if (r >= 0)
		r = executor_reserve(executor, job, payload, script, ret, err);
	if (r < 0)
		return r;
	payload = script = NULL; /* the run's now */
	return 0;
}

/* place_reserve - a refusal costs next to nothing; contents are made for who has a place. */
static int place_reserve(struct dispatcher *d, struct executor *executor, struct job *job, struct run **ret,
			 struct lsn_error *err)
{
	struct content *payload, *script;

	if (executor_wants_contents(executor))
		return reserve_with_contents(d, executor, job, ret, err);
	int r = executor_reserve(executor, job, NULL, NULL, ret, err);
	if (r < 0)
		return r;
	r = get_contents(d, job, &payload, &script, err);
	if (r < 0)
		executor_release(*ret);
	else
		run_set_contents(*ret, payload, script);
	return r;
}

/* take_place - have an executor reserve a place for JOB of LANE. 0: reserved; -EAGAIN: no place
 * now; dispatcher_is_passing(): not now; other: never, with the reason. */
static int take_place(struct dispatcher *d, struct lane *lane, struct job *job, struct run **ret, struct lsn_error *err)
{
	const char *name = dispatcher_executor_for(d->config, job->script);
	struct executor *executor = d->executors ? executors_find(d->executors, name) : NULL;

	if (lane->stalled_for[0] && !streq(lane->stalled_for, name))
		lane_note_progress(lane); /* it waited for another */
	(void)snprintf(lane->stalled_for, sizeof lane->stalled_for, "%s", name);
	memcpy(lane->stalled_version, job->script->version, sizeof lane->stalled_version);
	if (job->unreadable)
		return lsn_error_set(err, -EUCLEAN, "%s", job->unreadable);
	/* Not configured now: the next reload may bring it back. */
	if (!executor || executor_is_full(executor))
		return -EAGAIN;
	job->abi.attempt++;
	job->abi.started_realtime_usec = 0;
	job->abi.waiting = lane->queue.length + lane->spilled;
	if (d->config->output_max_bytes)
		job->abi.output_limit_bytes = d->config->output_max_bytes;
	int r = place_reserve(d, executor, job, ret, err);
	if (r < 0) {
		job->abi.attempt--;
		return r;
	}
	(void)snprintf(job->executor, sizeof job->executor, "%s", name);
	memcpy(job->place, (*ret)->place, sizeof job->place);
	return 0;
}

/* lane_refuse - JOB can never run, for the reason in WHY. */
static void lane_refuse(struct dispatcher *d, struct job *job, const char *executor, const struct lsn_error *why)
{
	if (job->unreadable) { /* no attempt could fare better */
		dispatcher_close(d, job, LSN_OUTCOME_ERROR, job->unreadable);
		return;
	}
	job->abi.attempt++;
	job->place[0] = 0;
	(void)snprintf(job->executor, sizeof job->executor, "%s", executor);
	dispatcher_attempt_failed(d, job, LSN_OUTCOME_ERROR, why->message);
}

/* lane_rest - LANE, which may have been woken for a place, takes none. */
static void lane_rest(struct dispatcher *d, struct lane *lane, enum lane_where where)
{
	dispatcher_lane_move(d, lane, where);
	if (lane->out.length == 0) /* what is being started may still be refused */
		lane_note_progress(lane);
	pass_on(d, lane);
}

/* rate_period - between two starts of SCRIPT; 0: no matter. */
static uint64_t rate_period(const struct dispatcher *d, const struct script *script)
{
	double least = d->config->rate_max > 0 ? 1e6 / d->config->rate_max : 0;
	uint64_t own = script->settings.rate_period_usec;

	return (double)own > least ? own : (uint64_t)least;
}

/* lane_count_start - JOB of LANE starts. */
static void lane_count_start(const struct dispatcher *d, struct lane *lane, const struct job *job)
{
	uint64_t period = rate_period(d, job->script);

	lane->rate_usec = period > 0 ? now_monotonic_usec() + period : 0;
}

/* lane_rate - LANE, whose JOB is next, waits for the time that its rate allows; or it need not. */
static bool lane_rate(struct dispatcher *d, struct lane *lane, const struct job *job)
{
	if (lane->rate_usec == 0 || rate_period(d, job->script) == 0 || now_monotonic_usec() >= lane->rate_usec)
		return false;
	lane_rest(d, lane, LANE_RATED);
	heap_insert(&d->pauses, &lane->pause, lane->rate_usec);
	return true;
}

/* start_one - give LANE its turn: start at most one job. */
static void start_one(struct dispatcher *d, struct lane *lane)
{
	struct job *job = may_start(d, lane) ? jobs_first(&lane->startable) : NULL;
	struct lsn_error err = { 0 };
	struct run *run;

	if (!job) { /* it is touched when one of its jobs ends, comes, or has settled */
		lane_rest(d, lane, lane_is_empty(lane) ? LANE_VACANT : LANE_IDLE);
		return;
	}
	if (dispatcher_is_held(d, job)) {
		lane_rest(d, lane, LANE_HELD);
		return;
	}
	if (lane_rate(d, lane, job))
		return;
	int r = take_place(d, lane, job, &run, &err);
	if (r == -EAGAIN) {
		dispatcher_lane_move(d, lane, LANE_STALLED);
		lane_note_refusal(lane, err.message);
	} else if (r < 0 && dispatcher_is_passing(r)) {
		dispatcher_pause(d, lane, job, err.message);
	} else {
		dispatcher_lane_move(d, lane, LANE_READY); /* to the end of the ring */
		if (r >= 0) {
			lane->stalled_for[0] = 0;
			lane_count_start(d, lane, job);
			dispatcher_begun(job, run);
			dispatcher_set(d, job, JOB_STARTING);
		} else {
			lane_note_progress(lane);
			lane_refuse(d, job, lane->stalled_for, &err);
		}
	}
}

/* lane_offer - until all have had their turn or the time is up: then there is another turn soon. */
static void lane_offer(struct dispatcher *d)
{
	uint64_t until = now_monotonic_usec() + OFFER_USEC;
	struct lane *lane;

	while (dispatcher_running(d) < d->config->running_max && (lane = TAILQ_FIRST(&d->ready))) {
		start_one(d, lane);
		if (now_monotonic_usec() >= until) {
			d->hooks.turn(d->hooks.data);
			return;
		}
	}
}

void dispatcher_place(struct dispatcher *d)
{
	uint64_t now = now_monotonic_usec();

	d->turn_began_usec = now;
	dispatcher_ring(d, now);
	end_pauses(d, now);
	dispatcher_expire_holds(d);
	dispatcher_end_loop_pauses(d, now);
	if (!d->stopped)
		lane_offer(d);
	if (d->starting.length > 0)
		failpoint("after-intent");
}

uint64_t dispatcher_next_usec(const struct dispatcher *d)
{
	const struct heap_node *alarm = heap_first(&d->alarms), *pause = heap_first(&d->pauses);
	uint64_t next = dispatcher_holds_usec(d), brake = loop_brake_next_usec(&d->brake);

	if (alarm && alarm->key < next)
		next = alarm->key;
	if (pause && pause->key < next && !d->stopped)
		next = pause->key;
	if (brake < next)
		next = brake;
	if (d->refill_usec > 0 && d->refill_usec < next)
		next = d->refill_usec;
	return next;
}

/* ------------------------------------------------------------------------------------- hand-over */

/* not_handed_over - the executor refused JOB, whose intent is committed. */
static void not_handed_over(struct dispatcher *d, struct job *job, int r, const struct lsn_error *why)
{
	struct lane *lane = job->lane;

	if (r != -EAGAIN && !dispatcher_is_passing(r)) {
		lane_note_progress(lane);
		dispatcher_attempt_failed(d, job, LSN_OUTCOME_ERROR, why->message);
		return;
	}
	job->abi.attempt--;
	job->withdrawn = true;
	dispatcher_set(d, job, JOB_QUEUED);
	if (job->refusals > 0)
		dispatcher_pause(d, lane, job, why->message);
	else /* the place went away: another may do */
		job->refusals++;
}

/* note_delay - JOB is handed over: how long that took after it was made. The wall clock may have
 * been set back since. */
static void note_delay(struct dispatcher *d, const struct job *job)
{
	uint64_t made = job->created_realtime_usec, now = job->abi.started_realtime_usec;

	if (job->abi.attempt == 1)
		tally_started(&d->tally, job->lane->tally, job->executor, now > made ? now - made : 0);
}

static void hand_over(struct dispatcher *d, struct job *job)
{
	struct lsn_error err = { 0 };
	struct run *run = job->run;

	job->abi.started_realtime_usec = now_realtime_usec();
	dispatcher_set(d, job, JOB_RUNNING);
	dispatcher_unbegun(job); /* it is gone if it is refused */
	int r = executor_submit(run, &err);
	if (r < 0) {
		not_handed_over(d, job, r, &err);
		return;
	}
	dispatcher_begun(job, run);
	lane_note_progress(job->lane);
	note_delay(d, job);
	job->refusals = 0;
	dispatcher_watch(d, job);
	failpoint("after-handover");
}

static void forget_reported(struct dispatcher *d)
{
	struct run *run;

	if (!TAILQ_EMPTY(&d->reported))
		failpoint("after-result-commit");
	while ((run = TAILQ_FIRST(&d->reported))) {
		TAILQ_REMOVE(&d->reported, run, reported);
		executor_forget(run);
	}
}

/* hand_over_all - or as many as the time allows: the others' intent is stored, they may wait. */
static void hand_over_all(struct dispatcher *d)
{
	uint64_t until = now_monotonic_usec() + HAND_OVER_USEC;
	struct job *job;

	while ((job = jobs_first(&d->starting))) {
		hand_over(d, job);
		if (now_monotonic_usec() >= until) {
			d->hooks.turn(d->hooks.data);
			return;
		}
	}
}

void dispatcher_committed(struct dispatcher *d)
{
	forget_reported(d);
	dispatcher_flush(d);
	dispatcher_refill(d);
	hand_over_all(d);
	reap_lanes(d);
	d->turn_took_usec = now_monotonic_usec() - d->turn_began_usec;
}

/* --------------------------------------------------------------------------------- what has changed */

void dispatcher_ready(void *dispatcher, struct executor *executor)
{
	struct dispatcher *d = dispatcher;
	struct lane *lane, *next;

	for (lane = TAILQ_FIRST(&d->stalled); lane; lane = next) {
		next = TAILQ_NEXT(lane, ring);
		if (streq(lane->stalled_for, executor_name(executor)))
			dispatcher_lane_move(d, lane, LANE_READY);
	}
	d->hooks.turn(d->hooks.data);
	dispatcher_shortage_over(d);
}

void dispatcher_set_config(struct dispatcher *d, const struct dispatch_config *config)
{
	struct lane *lane;

	d->config = config;
	d->brake.limit = config->loop_limit;
	TAILQ_FOREACH (lane, &d->lanes, all)
		if (lane->where != LANE_VACANT)
			dispatcher_lane_move(d, lane, LANE_READY);
	d->hooks.turn(d->hooks.data);
}

void dispatcher_set_executors(struct dispatcher *d, struct executors *executors) { d->executors = executors; }

void dispatcher_stop(struct dispatcher *d) { d->stopped = true; }

unsigned dispatcher_running(const struct dispatcher *d) { return d->starting.length + d->running.length; }

uint64_t dispatcher_ended(const struct dispatcher *d) { return d->ended; }

/* ---------------------------------------------------------------------------------- life and end */

int dispatcher_new(struct journal *journal, const struct dispatch_config *config, const struct dispatcher_hooks *hooks,
		   struct dispatcher **ret, struct lsn_error *err)
{
	struct dispatcher *d = calloc(1, sizeof *d);

	if (!d || contents_new(CONTENTS_KEPT, CONTENTS_KEPT_BYTES, &d->contents) < 0) {
		free(d);
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	d->journal = journal;
	d->config = config;
	d->hooks = *hooks;
	table_init(&d->jobs);
	table_init(&d->objects.first);
	table_init(&d->objects.passed);
	holds_init(&d->holds);
	d->objects.holds = &d->holds;
	loop_brake_init(&d->brake, config->loop_limit);
	d->objects.brake = &d->brake;
	jobs_init(&d->starting, JOBS_STAGE);
	jobs_init(&d->running, JOBS_STAGE);
	jobs_init(&d->settling, JOBS_STAGE);
	jobs_init(&d->leaving, JOBS_STAGE);
	jobs_init(&d->owed, JOBS_STAGE);
	TAILQ_INIT(&d->reported);
	TAILQ_INIT(&d->lanes);
	TAILQ_INIT(&d->ready);
	TAILQ_INIT(&d->stalled);
	TAILQ_INIT(&d->vacant);
	TAILQ_INIT(&d->spilled);
	tally_init(&d->tally);
	*ret = d;
	return 0;
}

static void keep_node(void *node) { (void)node; }

static void free_jobs(struct dispatcher *d)
{
	for (size_t i = 0; i < d->jobs.size; i++) {
		struct table_link *link;
		while ((link = d->jobs.buckets[i])) {
			struct job *job = container_of(link, struct job, by_id);
			if (job->lane)
				lane_leave(job);
			jobs_take(job, JOBS_STAGE);
			table_remove(&d->jobs, link);
			(void)job_unref(job);
		}
	}
}

void dispatcher_free(struct dispatcher *d)
{
	struct lane *lane;

	if (!d)
		return;
	free_jobs(d);
	tdestroy(d->lanes_by_name, keep_node);
	while ((lane = TAILQ_FIRST(&d->lanes))) {
		TAILQ_REMOVE(&d->lanes, lane, all);
		lane_free(lane);
	}
	contents_free(d->contents);
	holds_done(&d->holds);
	tally_done(&d->tally);
	loop_brake_done(&d->brake);
	free(d->loops);
	table_done(&d->jobs);
	table_done(&d->objects.first);
	table_done(&d->objects.passed);
	free(d);
}
