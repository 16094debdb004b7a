/* turn.c - see turn.h. */
#include "turn.h"
#include "broker.h"
#include "dispatcher.h"
#include "failpoint.h"
#include "journal.h"
#include "log.h"
#include "stall.h"
#include "util.h"
#include <errno.h>
#include <string.h>

#define RETRY_USEC USEC_PER_SEC
/* of a turn for whatever else is pending: somebody may ask questions without end */
#define PATIENCE_USEC (20 * USEC_PER_MSEC)

struct turn {
	struct turn_parts parts;
	sd_event_source *deferred; /* enabled while a turn is wanted */
	sd_event_source *overdue; /* armed with it, but comes before everything else */
	sd_event_source *timer; /* at next_usec */
	uint64_t next_usec; /* when a turn is due by itself: UINT64_MAX: never */
	bool wanted; /* since the last turn began */
	bool batch; /* the broker waits for its acknowledgement */
	bool paused; /* the broker was told to wait because the journal is full */
	struct turn_figures figures;
};

void turn_request(void *data)
{
	struct turn *turn = data;

	if (turn->wanted)
		return;
	turn->wanted = true;
	(void)sd_event_source_set_enabled(turn->deferred, SD_EVENT_ONESHOT);
	(void)sd_event_source_set_time_relative(turn->overdue, PATIENCE_USEC);
	(void)sd_event_source_set_enabled(turn->overdue, SD_EVENT_ONESHOT);
}

/* request_at - from inside a turn: the next at latest then. */
static void request_at(struct turn *turn, uint64_t usec)
{
	if (usec < turn->next_usec)
		turn->next_usec = usec;
}

static void request_in(struct turn *turn, uint64_t delay_usec) { request_at(turn, now_monotonic_usec() + delay_usec); }

static void arm_timer(struct turn *turn)
{
	if (turn->next_usec != UINT64_MAX)
		(void)sd_event_source_set_time(turn->timer, turn->next_usec);
	(void)sd_event_source_set_enabled(turn->timer, turn->next_usec != UINT64_MAX ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	(void)source;
	(void)usec;
	turn_request(data);
	return 0;
}

static int timed_commit(struct journal *journal, struct lsn_error *err)
{
	uint64_t start = now_monotonic_usec();
	int r = journal_commit(journal, err);

	stall_commit(now_monotonic_usec() - start);
	return r;
}

/* commit - true: all that was marked is safe. */
static bool commit(struct turn *turn)
{
	struct lsn_error err = { 0 };

	if (!journal_has_pending(turn->parts.journal) && !intake_must_save(turn->parts.intake))
		return true;
	int r = intake_save(turn->parts.intake);
	if (r < 0)
		(void)lsn_error_set(&err, r, "out of memory for the redelivery window");
	else
		r = timed_commit(turn->parts.journal, &err);
	if (r >= 0) {
		if (turn->figures.error[0])
			log_notice("the journal can be written again: events are taken and jobs start");
		turn->figures.error[0] = 0;
		failpoint("after-commit");
		return true;
	}
	turn->figures.failed++;
	if (!turn->figures.error[0])
		log_error("the journal cannot be written, so nothing is acknowledged or started until it can: %s",
			  err.message);
	(void)snprintf(turn->figures.error, sizeof turn->figures.error, "%s", err.message);
	request_in(turn, RETRY_USEC);
	return false;
}

/* keep_room - a full journal: the broker holds the rest until there is room. */
static void keep_room(struct turn *turn)
{
	struct lsn_error err = { 0 };
	bool full = journal_capacity(turn->parts.journal, &err) < 0;

	if (full && !turn->paused && turn->parts.broker) {
		log_warning("no more events are taken for now, the broker keeps them: %s", err.message);
		broker_pause(turn->parts.broker, err.message);
	} else if (!full && turn->paused && turn->parts.broker) {
		log_notice("the journal has room again: taking events");
		broker_resume(turn->parts.broker);
	}
	turn->paused = full;
	if (!full)
		return;
	/* history goes before its time rather than keep events out */
	if (journal_prune(turn->parts.journal, &err) < 0)
		log_warning("cannot prune the journal, trying again: %s", err.message);
	request_in(turn, RETRY_USEC);
}

static void acknowledge(struct turn *turn, bool released)
{
	if (!turn->batch || !released || !turn->parts.broker)
		return;
	turn->batch = false;
	broker_ack(turn->parts.broker);
	failpoint("after-ack");
}

static void turn_set_blocked(struct turn *turn, bool blocked)
{
	if (blocked != turn->figures.blocked)
		turn->figures.blocked_realtime_usec = blocked ? now_realtime_usec() : 0;
	turn->figures.blocked = blocked;
}

/* place_tests - first, and whatever the journal does: it knows nothing of them. */
static void place_tests(struct turn *turn)
{
	if (!turn->parts.tests)
		return;
	test_jobs_place(turn->parts.tests);
	request_at(turn, test_jobs_next_usec(turn->parts.tests));
}

static void have_turn(struct turn *turn)
{
	uint64_t wait = 0;

	turn->wanted = false;
	(void)sd_event_source_set_enabled(turn->deferred, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(turn->overdue, SD_EVENT_OFF);
	turn->figures.turns++;
	turn->next_usec = UINT64_MAX;
	bool released = intake_release(turn->parts.intake, &wait);
	if (!released)
		request_in(turn, wait);
	place_tests(turn);
	dispatcher_place(turn->parts.dispatcher);
	if (commit(turn)) {
		acknowledge(turn, released);
		dispatcher_committed(turn->parts.dispatcher);
		keep_room(turn);
		request_at(turn, dispatcher_next_usec(turn->parts.dispatcher));
	}
	arm_timer(turn);
	turn_set_blocked(turn, turn->paused || turn->figures.error[0]);
}

static int on_turn(sd_event_source *source, void *data)
{
	stall_source("dispatch", NULL);
	(void)source;
	have_turn(data);
	return 0;
}

static int on_turn_overdue(sd_event_source *source, uint64_t usec, void *data)
{
	stall_source("dispatch", NULL);
	(void)source;
	(void)usec;
	have_turn(data);
	return 0;
}

void turn_batch(struct turn *turn)
{
	turn->batch = true;
	turn_request(turn);
}

void turn_disconnected(struct turn *turn) { turn->batch = false; }

void turn_set_broker(struct turn *turn, struct broker *broker)
{
	turn->parts.broker = broker;
	turn->batch = false;
	if (turn->paused && broker)
		broker_pause(broker, "the journal is full");
}

bool turn_idle(const struct turn *turn) { return !journal_has_pending(turn->parts.journal) && !turn->batch; }

const struct turn_figures *turn_get_figures(const struct turn *turn) { return &turn->figures; }

int turn_new(sd_event *loop, const struct turn_parts *parts, struct turn **ret, struct lsn_error *err)
{
	struct turn *turn = calloc(1, sizeof *turn);

	if (!turn)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	turn->parts = *parts;
	int r = sd_event_add_defer(loop, &turn->deferred, on_turn, turn);
	/* the last in each turn: everything else that is pending comes first and shares the
	 * commit */
	if (r >= 0)
		r = sd_event_source_set_priority(turn->deferred, SD_EVENT_PRIORITY_NORMAL + 10);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &turn->timer, CLOCK_MONOTONIC, RETRY_USEC, 1, on_timer, turn);
	if (r >= 0)
		r = sd_event_source_set_enabled(turn->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &turn->overdue, CLOCK_MONOTONIC, PATIENCE_USEC, 1, on_turn_overdue,
					       turn);
	if (r >= 0)
		r = sd_event_source_set_priority(turn->overdue, SD_EVENT_PRIORITY_NORMAL - 10);
	if (r < 0) {
		turn_free(turn);
		return lsn_error_set(err, r, "cannot make the turn's event source: %s", strerror(-r));
	}
	*ret = turn;
	return 0;
}

void turn_free(struct turn *turn)
{
	if (!turn)
		return;
	sd_event_source_disable_unref(turn->deferred);
	sd_event_source_disable_unref(turn->overdue);
	sd_event_source_disable_unref(turn->timer);
	free(turn);
}
