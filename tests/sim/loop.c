/* loop.c - sd-event in virtual time: as much of it as the simulated parts use, with the same
 * rules. Sources run by priority, then in the order in which they became due; a one-shot source is
 * off before its handler runs. Linked in place of libsystemd: the parts under test do not know. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

struct sd_event {
	unsigned refs;
};

struct sd_event_source {
	TAILQ_ENTRY(sd_event_source) all;
	bool timer, on, running, gone;
	int64_t priority;
	uint64_t due; /* timers: when; others: the order in which they were enabled */
	sd_event_time_handler_t on_time;
	sd_event_handler_t on_defer;
	void *data;
};

static TAILQ_HEAD(source_list, sd_event_source) sources = TAILQ_HEAD_INITIALIZER(sources);
static uint64_t order;

int sd_event_new(sd_event **ret)
{
	*ret = calloc(1, sizeof **ret);
	(*ret)->refs = 1;
	return 0;
}

sd_event *sd_event_ref(sd_event *loop)
{
	loop->refs++;
	return loop;
}

sd_event *sd_event_unref(sd_event *loop)
{
	if (loop && --loop->refs == 0)
		free(loop);
	return NULL;
}

static sd_event_source *source_add(sd_event_source **ret, void *data)
{
	sd_event_source *source = calloc(1, sizeof *source);

	source->on = true;
	source->data = data;
	TAILQ_INSERT_TAIL(&sources, source, all);
	if (ret)
		*ret = source;
	return source;
}

int sd_event_add_time(sd_event *loop, sd_event_source **ret, clockid_t clock, uint64_t usec, uint64_t accuracy,
		      sd_event_time_handler_t fn, void *data)
{
	(void)loop, (void)clock, (void)accuracy;
	sd_event_source *source = source_add(ret, data);

	source->timer = true;
	source->due = usec;
	source->on_time = fn;
	return 0;
}

int sd_event_add_time_relative(sd_event *loop, sd_event_source **ret, clockid_t clock, uint64_t usec, uint64_t accuracy,
			       sd_event_time_handler_t fn, void *data)
{
	return sd_event_add_time(loop, ret, clock, world.monotonic_usec + usec, accuracy, fn, data);
}

int sd_event_add_defer(sd_event *loop, sd_event_source **ret, sd_event_handler_t fn, void *data)
{
	(void)loop;
	sd_event_source *source = source_add(ret, data);

	source->on_defer = fn;
	source->due = ++order;
	return 0;
}

int sd_event_source_set_enabled(sd_event_source *source, int enabled)
{
	if (!source)
		return -EINVAL;
	if (!source->timer && enabled != SD_EVENT_OFF && !source->on)
		source->due = ++order;
	source->on = enabled != SD_EVENT_OFF;
	return 0;
}

int sd_event_source_get_enabled(sd_event_source *source, int *ret)
{
	if (ret)
		*ret = source->on ? SD_EVENT_ONESHOT : SD_EVENT_OFF;
	return source->on;
}

int sd_event_source_set_time(sd_event_source *source, uint64_t usec)
{
	if (!source)
		return -EINVAL;
	source->due = usec;
	return 0;
}

int sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec)
{
	return sd_event_source_set_time(source, world.monotonic_usec + usec);
}

int sd_event_source_set_priority(sd_event_source *source, int64_t priority)
{
	source->priority = priority;
	return 0;
}

sd_event_source *sd_event_source_disable_unref(sd_event_source *source)
{
	if (!source)
		return NULL;
	TAILQ_REMOVE(&sources, source, all);
	source->gone = true;
	if (!source->running)
		free(source);
	return NULL;
}

/* No simulated part has descriptors to watch. */
int sd_event_add_io(sd_event *loop, sd_event_source **ret, int fd, uint32_t events, sd_event_io_handler_t fn,
		    void *data)
{
	(void)loop, (void)ret, (void)fd, (void)events, (void)fn, (void)data;
	return -EPERM;
}

int sd_event_source_set_io_events(sd_event_source *source, uint32_t events)
{
	(void)source, (void)events;
	return -EPERM;
}

static bool source_before(const sd_event_source *a, const sd_event_source *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->timer != b->timer)
		return a->timer;
	return a->due < b->due;
}

bool loop_dispatch(void)
{
	sd_event_source *source, *first = NULL;

	TAILQ_FOREACH (source, &sources, all)
		if (source->on && (!source->timer || source->due <= world.monotonic_usec) &&
		    (!first || source_before(source, first)))
			first = source;
	if (!first)
		return false;
	first->on = false;
	first->running = true;
	if (first->timer)
		(void)first->on_time(first, first->due, first->data);
	else
		(void)first->on_defer(first, first->data);
	first->running = false;
	if (first->gone)
		free(first);
	return true;
}

uint64_t loop_next_usec(void)
{
	uint64_t next = UINT64_MAX;
	const sd_event_source *source;

	TAILQ_FOREACH (source, &sources, all)
		if (source->on && source->timer && source->due < next)
			next = source->due;
	return next;
}
