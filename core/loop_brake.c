/* loop_brake.c - see loop_brake.h. */
#include "loop_brake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MSEC UINT64_C(1000)
/* An event and the end of the run that caused it are read from two descriptors, in any order. */
#define GRACE_USEC (10 * MSEC)
#define LAG_MAX_USEC (250 * MSEC)
#define PAUSE_MIN_USEC (50 * MSEC)
#define PAUSE_DOUBLINGS 5
#define PAUSE_MAX_USEC (2000 * MSEC)
#define SUSPECT_FROM 2 /* echoes: an upload has one, or two */
#define QUIET_USEC (60000 * MSEC) /* after so long without a run it is forgotten */

struct loop_object {
	uint64_t object;
	unsigned running;
	unsigned unheard; /* runs under way or just ended that have caused no event yet */
	unsigned echoes; /* in a row */
	bool braked, pausing; /* nothing may start; nothing runs, and it stands in the heap */
	uint64_t ended; /* when the last run did */
	struct loop_suspect *suspects; /* LOOP_SUSPECTS; NULL: none yet */
	struct table_link by_object;
	struct heap_node pause;
	TAILQ_ENTRY(loop_object) quiet; /* while nothing runs */
};

void loop_brake_init(struct loop_brake *brake, unsigned limit)
{
	*brake = (struct loop_brake){ .limit = limit };
	table_init(&brake->objects);
	TAILQ_INIT(&brake->quiet);
}

static struct loop_object *object_find(const struct loop_brake *brake, uint64_t object)
{
	struct table_link *link = brake->objects.count ? table_find(&brake->objects, object) : NULL;

	return link ? container_of(link, struct loop_object, by_object) : NULL;
}

static void object_pause_until(struct loop_brake *brake, struct loop_object *o, uint64_t usec)
{
	if (o->pausing)
		heap_remove(&brake->pauses, &o->pause);
	o->pausing = usec > 0;
	if (o->pausing)
		heap_insert(&brake->pauses, &o->pause, usec);
}

static void object_release(struct loop_brake *brake, struct loop_object *o)
{
	object_pause_until(brake, o, 0);
	brake->braked -= o->braked;
	o->braked = false;
}

/* object_drop - O, about which nothing runs. */
static void object_drop(struct loop_brake *brake, struct loop_object *o)
{
	object_release(brake, o);
	table_remove(&brake->objects, &o->by_object);
	TAILQ_REMOVE(&brake->quiet, o, quiet);
	free(o->suspects);
	free(o);
}

void loop_brake_done(struct loop_brake *brake)
{
	for (size_t i = 0; i < brake->objects.size; i++)
		for (struct table_link *link; (link = brake->objects.buckets[i]);) {
			struct loop_object *o = container_of(link, struct loop_object, by_object);
			if (o->running > 0)
				TAILQ_INSERT_TAIL(&brake->quiet, o, quiet);
			object_drop(brake, o);
		}
	table_done(&brake->objects);
}

/* is_stale - what is known of O means nothing any more. */
static bool is_stale(const struct loop_object *o, uint64_t now)
{
	return !o->braked && now > o->ended + (o->echoes > 0 ? QUIET_USEC : GRACE_USEC + LAG_MAX_USEC);
}

/* sweep - some of those that mean nothing any more go, and one if there are too many. */
static void sweep(struct loop_brake *brake, uint64_t now)
{
	struct loop_object *o;

	for (unsigned i = 0; i < 2 && (o = TAILQ_FIRST(&brake->quiet)); i++) {
		if (is_stale(o, now) || (i == 0 && brake->objects.count >= LOOP_OBJECTS_MAX && !o->braked)) {
			object_drop(brake, o);
			continue;
		}
		/* those with an echo stay for longer than those behind them */
		TAILQ_REMOVE(&brake->quiet, o, quiet);
		TAILQ_INSERT_TAIL(&brake->quiet, o, quiet);
	}
}

/* object_touch - that of OBJECT, made if there is none; NULL: no memory, so it is not watched. */
static struct loop_object *object_touch(struct loop_brake *brake, uint64_t object)
{
	struct loop_object *o = object_find(brake, object);

	if (o) {
		if (o->running == 0)
			TAILQ_REMOVE(&brake->quiet, o, quiet);
		return o;
	}
	if (!(o = calloc(1, sizeof *o)))
		return NULL;
	o->object = object;
	table_add(&brake->objects, &o->by_object, object);
	return o;
}

/* suspect - a run of SCRIPT. */
static void suspect(struct loop_object *o, const char *script)
{
	char name[sizeof o->suspects->script];

	if (o->echoes < SUSPECT_FROM || (!o->suspects && !(o->suspects = calloc(LOOP_SUSPECTS, sizeof *o->suspects))))
		return;
	(void)snprintf(name, sizeof name, "%.*s", (int)sizeof name - 1, script);
	for (size_t i = 0; i < LOOP_SUSPECTS; i++) {
		struct loop_suspect *at = &o->suspects[i];
		if (at->runs > 0 && strcmp(at->script, name) != 0)
			continue;
		memcpy(at->script, name, sizeof name);
		at->runs++;
		return;
	}
}

void loop_brake_begin(struct loop_brake *brake, uint64_t object, const char *script, uint64_t now)
{
	struct loop_object *o;

	if (brake->limit == 0)
		return;
	sweep(brake, now);
	if (!(o = object_touch(brake, object)))
		return;
	if (o->running++ == 0)
		o->unheard = 0;
	o->unheard++;
	object_pause_until(brake, o, 0); /* one that was offered before the brake was on */
	suspect(o, script);
}

/* pause_length - after ECHOES in a row. */
static uint64_t pause_length(const struct loop_brake *brake, unsigned echoes)
{
	unsigned doublings = echoes > LOOP_BRAKE_FROM ? echoes - LOOP_BRAKE_FROM : 0;

	if (brake->limit > 0 && echoes >= brake->limit)
		return LOOP_PAUSE_LAST_USEC;
	return doublings > PAUSE_DOUBLINGS ? PAUSE_MAX_USEC : PAUSE_MIN_USEC << doublings;
}

/* pause_begin - nothing runs about O, which is braked. */
static void pause_begin(struct loop_brake *brake, struct loop_object *o)
{
	object_pause_until(brake, o, o->ended + pause_length(brake, o->echoes));
}

void loop_brake_end(struct loop_brake *brake, uint64_t object, uint64_t now)
{
	struct loop_object *o = object_find(brake, object);

	if (!o || o->running == 0) /* of an earlier daemon, or there was no brake */
		return;
	o->ended = now;
	if (--o->running > 0)
		return;
	TAILQ_INSERT_TAIL(&brake->quiet, o, quiet);
	if (o->braked)
		pause_begin(brake, o);
}

static bool is_echo(const struct loop_object *o, uint64_t now, uint64_t lag)
{
	uint64_t grace = GRACE_USEC + (lag < LAG_MAX_USEC ? lag : LAG_MAX_USEC);

	return o->running > 0 || (o->ended > 0 && now <= o->ended + grace);
}

/* echo - of a run that has caused none before. */
static bool echo(struct loop_brake *brake, struct loop_object *o)
{
	unsigned from = brake->limit < LOOP_BRAKE_FROM ? brake->limit : LOOP_BRAKE_FROM;

	o->unheard--;
	if (++o->echoes < from)
		return false;
	bool was = o->braked;
	brake->braked += !was;
	o->braked = true;
	if (o->running == 0)
		pause_begin(brake, o);
	return !was;
}

bool loop_brake_event(struct loop_brake *brake, uint64_t object, uint64_t now, uint64_t lag)
{
	struct loop_object *o = object_find(brake, object);

	if (!o || brake->limit == 0)
		return false;
	if (is_echo(o, now, lag))
		return o->unheard > 0 && echo(brake, o);
	bool was = o->braked;
	object_drop(brake, o); /* nothing runs, or it would be an echo */
	return was;
}

bool loop_brake_blocks(const struct loop_brake *brake, uint64_t object)
{
	const struct loop_object *o = brake->braked > 0 ? object_find(brake, object) : NULL;

	return o && o->braked;
}

void loop_brake_forget(struct loop_brake *brake, uint64_t object)
{
	struct loop_object *o = object_find(brake, object);

	if (!o)
		return;
	object_release(brake, o);
	o->echoes = 0;
	free(o->suspects);
	o->suspects = NULL;
}

uint64_t loop_brake_next_usec(const struct loop_brake *brake)
{
	const struct heap_node *first = heap_first(&brake->pauses);

	return first ? first->key : UINT64_MAX;
}

bool loop_brake_due(struct loop_brake *brake, uint64_t now, struct loop_verdict *ret)
{
	struct heap_node *first = heap_first(&brake->pauses);

	if (!first || first->key > now)
		return false;
	struct loop_object *o = container_of(first, struct loop_object, pause);
	bool loop = brake->limit > 0 && o->echoes >= brake->limit;
	*ret = (struct loop_verdict){ .object = o->object, .loop = loop, .echoes = o->echoes };
	if (o->suspects)
		memcpy(ret->suspects, o->suspects, sizeof ret->suspects);
	object_release(brake, o);
	if (ret->loop)
		loop_brake_forget(brake, o->object);
	return true;
}
