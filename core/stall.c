/* stall.c - see stall.h. An hour is kept as 60 minutes, each with its longest turn and commit. */
#include "stall.h"
#include "log.h"
#include <inttypes.h>
#include <string.h>
#include <util.h>

#define MINUTES 60

struct longest {
	uint64_t usec, realtime_usec;
	char cause[STALL_CAUSE_SIZE];
};

struct minute {
	uint64_t number; /* of the monotonic clock */
	struct longest turn, commit;
	uint64_t over_limit;
};

static struct {
	struct minute minutes[MINUTES];
	const char *what; /* of the current turn */
	char name[48]; /* likewise; "": none */
	uint64_t commit_usec; /* likewise */
	uint64_t ended_usec; /* the turn before */
	uint64_t part_usec; /* the longest part of it */
	char part[STALL_CAUSE_SIZE];
} meter;

static void join(char *buf, size_t size, const char *what, const char *name)
{
	(void)snprintf(buf, size, "%s%s%s", what, name ? ": " : "", name ? name : "");
}

static struct minute *minute_at(uint64_t now_usec)
{
	uint64_t number = now_usec / (60 * USEC_PER_SEC);
	struct minute *minute = &meter.minutes[number % MINUTES];

	if (minute->number != number)
		*minute = (struct minute){ .number = number };
	return minute;
}

static void turn_cause(char *buf, size_t size, uint64_t took_usec)
{
	join(buf, size, meter.what ? meter.what : "a source that has no name", *meter.name ? meter.name : NULL);
	if (meter.part_usec > took_usec / 2) {
		size_t used = strlen(buf);
		(void)snprintf(buf + used, size - used, ", in %s", meter.part);
	}
}

static void turn_end(uint64_t start_usec, uint64_t now_usec)
{
	struct minute *minute = minute_at(now_usec);
	/* The last turns of a loop that ends come without a look at the clock by the loop. */
	uint64_t took = now_usec - (start_usec > meter.ended_usec ? start_usec : meter.ended_usec);

	meter.ended_usec = now_usec;
	took = took > meter.commit_usec ? took - meter.commit_usec : 0;
	if (took > minute->turn.usec) {
		minute->turn.usec = took;
		minute->turn.realtime_usec = now_realtime_usec();
		turn_cause(minute->turn.cause, sizeof minute->turn.cause, took);
	}
	if (meter.commit_usec > minute->commit.usec)
		minute->commit = (struct longest){ .usec = meter.commit_usec, .realtime_usec = now_realtime_usec() };
	if (took > STALL_LIMIT_USEC) {
		char cause[STALL_CAUSE_SIZE];
		turn_cause(cause, sizeof cause, took);
		minute->over_limit++;
		log_info("a turn of the loop took %" PRIu64 " ms: %s", took / USEC_PER_MSEC, cause);
	}
	meter.what = NULL;
	meter.name[0] = 0;
	meter.commit_usec = meter.part_usec = 0;
}

/* loop_once - what sd_event_run() does, with a look at the clock. The loop itself looks when it
 * wakes up. */
static int loop_once(sd_event *loop)
{
	uint64_t woken;
	int r = sd_event_prepare(loop);

	if (r == 0)
		r = sd_event_wait(loop, UINT64_MAX);
	if (r <= 0)
		return r;
	r = sd_event_now(loop, CLOCK_MONOTONIC, &woken);
	if (r < 0)
		return r;
	r = sd_event_dispatch(loop);
	turn_end(woken, now_monotonic_usec());
	return r;
}

int stall_loop(sd_event *loop)
{
	int code = 0, r = 0;

	while (r >= 0 && sd_event_get_state(loop) != SD_EVENT_FINISHED)
		r = loop_once(loop);
	if (r < 0)
		return r;
	r = sd_event_get_exit_code(loop, &code);
	return r < 0 ? r : code;
}

void stall_source(const char *what, const char *name)
{
	meter.what = what;
	meter.name[0] = 0;
	if (name)
		(void)memccpy(meter.name, name, 0, sizeof meter.name - 1);
}

void stall_part(const char *what, const char *name, uint64_t usec)
{
	if (usec <= meter.part_usec)
		return;
	meter.part_usec = usec;
	join(meter.part, sizeof meter.part, what, name);
}

void stall_commit(uint64_t usec) { meter.commit_usec += usec; }

void stall_get_figures(struct stall_figures *ret)
{
	uint64_t number = now_monotonic_usec() / (60 * USEC_PER_SEC);

	*ret = (struct stall_figures){ 0 };
	for (size_t i = 0; i < MINUTES; i++) {
		const struct minute *minute = &meter.minutes[i];
		if (minute->number + MINUTES <= number)
			continue;
		ret->over_limit += minute->over_limit;
		if (minute->turn.usec > ret->turn_usec) {
			ret->turn_usec = minute->turn.usec;
			ret->turn_realtime_usec = minute->turn.realtime_usec;
			(void)snprintf(ret->turn_cause, sizeof ret->turn_cause, "%s", minute->turn.cause);
		}
		if (minute->commit.usec > ret->commit_usec) {
			ret->commit_usec = minute->commit.usec;
			ret->commit_realtime_usec = minute->commit.realtime_usec;
		}
	}
}
