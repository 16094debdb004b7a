/* dispatcher_refill.c - waiting jobs come back from the journal when their lane runs low.
 *
 * A lane keeps as many waiting jobs in memory as `window` says. If none of them may start, because
 * all are behind others about the same objects, they go back to the journal (they are passed over),
 * and the lane reads on behind them. */
#include "dispatcher_private.h"
#include "event.h"
#include "job.h"
#include "journal.h"
#include "log.h"
#include "util.h"

/* One turn reads waiting jobs for so long; then others have theirs. */
#define REFILL_USEC (5 * USEC_PER_MSEC)
#define REFILL_RETRY_USEC USEC_PER_SEC
/* So many ids of the journal at a time are searched for the jobs of one object. */
#define RETURN_IDS 10000

struct refill {
	struct dispatcher *dispatcher;
	struct lane *lane;
	unsigned count;
	uint64_t last; /* id */
};

static uint64_t due_again(const struct dispatcher *d, const struct job *job)
{
	uint64_t now = now_realtime_usec(), at = job->not_before_realtime_usec;
	uint64_t wait = at > now ? at - now : 0, most = dispatcher_retry_delay(d, job);

	/* whatever the clock has done since */
	return now_monotonic_usec() + (wait < most ? wait : most);
}

/* take_back - JOB, unless it came back before its turn. */
static void take_back(struct refill *refill, struct job *job)
{
	refill->count++;
	refill->last = job->abi.id;
	if (dispatcher_find(refill->dispatcher, job->abi.id)) {
		(void)job_unref(job);
		return;
	}
	if (job->state == JOB_BACKOFF)
		job->due_usec = due_again(refill->dispatcher, job);
	dispatcher_take_in(refill->dispatcher, job);
}

static void job_read(void *data, struct job *job)
{
	struct refill *refill = data;
	struct lane *lane = refill->lane;

	lane->read_until = job->abi.id;
	if (lane->spilled > 1)
		lane->spilled--; /* it is settled below whether there are more */
	if (lane_passes(lane, job->object, job->abi.id)) {
		refill->count++;
		(void)job_unref(job);
		return;
	}
	take_back(refill, job);
}

static void job_returned(void *data, struct job *job) { take_back(data, job); }

static unsigned lane_wants(const struct dispatcher *d, const struct lane *lane)
{
	return d->config->window - lane->queue.length;
}

static void refill_failed(struct dispatcher *d, const struct lane *lane, const struct lsn_error *err)
{
	log_error("cannot read waiting jobs script=%s, trying again: %s", lane->name, err->message);
	d->refill_usec = now_monotonic_usec() + REFILL_RETRY_USEC;
}

/* read_on - waiting jobs of LANE that come after those it has read. */
static void read_on(struct dispatcher *d, struct lane *lane)
{
	unsigned want = lane_wants(d, lane);
	struct refill refill = { .dispatcher = d, .lane = lane };
	struct lsn_error err = { 0 };

	if (journal_load_queued(d->journal, lane->name, lane->read_until, want, job_read, &refill, &err) < 0) {
		refill_failed(d, lane, &err);
		return;
	}
	if (refill.count < want)
		dispatcher_set_spilled(d, lane, 0);
}

/* bring_back - some of the jobs of one object that were passed over. */
static void bring_back(struct dispatcher *d, struct lane *lane, struct passed *passed)
{
	unsigned want = lane_wants(d, lane);
	uint64_t from = passed->from, last = lane->read_until;
	struct refill refill = { .dispatcher = d, .lane = lane };
	struct lsn_error err = { 0 };

	if (from <= last && last - from >= RETURN_IDS)
		last = from + RETURN_IDS - 1;
	passed->from = last + 1; /* so that what comes back is not passed over again */
	if (journal_load_object(d->journal, lane->name, passed->object, from, last, want, job_returned, &refill, &err) <
	    0) {
		passed->from = from;
		refill_failed(d, lane, &err);
		return;
	}
	lane_returned(passed, refill.count < want ? last + 1 : refill.last + 1);
	dispatcher_list(d, lane); /* it may have read all now */
}

/* look_past - what fills LANE's memory and cannot start waits in the journal again, the last
 * first. */
static void look_past(struct dispatcher *d, struct lane *lane)
{
	struct job *job, *before;

	for (job = TAILQ_LAST(&lane->queue.list, job_list); job && lane->queue.length > d->config->window / 4;
	     job = before) {
		before = TAILQ_PREV(job, job_list, in[JOBS_LANE].link);
		if (!job->stored || job->dirty || job->settling || job->later || !LIST_EMPTY(&job->runs))
			continue;
		if (lane_pass(job) < 0)
			return;
		dispatcher_put_back(d, job);
	}
}

static bool is_low(const struct dispatcher *d, const struct lane *lane)
{
	return lane->queue.length <= d->config->window / 2;
}

static bool is_blocked(const struct dispatcher *d, const struct lane *lane)
{
	return lane->startable.length == 0 && lane->out.length < d->config->per_script_max;
}

static void refill_lane(struct dispatcher *d, struct lane *lane)
{
	struct passed *passed = TAILQ_FIRST(&lane->returning);

	if (passed)
		bring_back(d, lane, passed);
	if (lane->spilled > 0 && is_low(d, lane) && d->refill_usec == 0)
		read_on(d, lane);
	dispatcher_touch(d, lane);
}

/* others_first - LANE may have more to read: in the next turn, after the others. */
static void others_first(struct dispatcher *d, struct lane *lane)
{
	if (!lane->listed)
		return;
	TAILQ_REMOVE(&d->spilled, lane, spill);
	TAILQ_INSERT_TAIL(&d->spilled, lane, spill);
	if (is_low(d, lane) || is_blocked(d, lane)) /* what came backs off, or is behind others */
		d->hooks.turn(d->hooks.data);
}

void dispatcher_refill(struct dispatcher *d)
{
	uint64_t now = now_monotonic_usec(), until = now + REFILL_USEC;
	struct lane *lane, *next;

	if (now < d->refill_usec)
		return;
	d->refill_usec = 0;
	for (lane = TAILQ_FIRST(&d->spilled); lane && d->refill_usec == 0; lane = next) {
		next = TAILQ_NEXT(lane, spill);
		if (!is_low(d, lane) && is_blocked(d, lane))
			look_past(d, lane);
		if (!is_low(d, lane))
			continue;
		if (now_monotonic_usec() >= until) {
			d->hooks.turn(d->hooks.data);
			return;
		}
		refill_lane(d, lane);
		others_first(d, lane);
	}
}
