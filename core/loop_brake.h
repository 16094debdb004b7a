/* loop_brake.h - does a script cause its own events? Told by cause, not by rates: an event on an
 * object that comes while a run about that object is under way, or just after it, is an echo. An
 * event at any other time has an outside cause.
 *
 * Echoes in a row are counted, one for each run at most; an event with an outside cause sets the
 * count to 0. From the 8th echo on, the brake makes an experiment: no run about the object starts
 * until nothing has run on it for a while (50 ms, doubled up to 2 s). Who updates the object from
 * outside goes on meanwhile, and so proves itself. A loop is silent, for nothing runs that could
 * write. After `limit` echoes the last pause is 15 s, and if that is silent, too, the verdict is: a
 * loop.
 *
 *     echoes in a row   1 ... 7    8      9       10 ...         limit
 *     pause             none       50 ms  100 ms  ... 2 s, 2 s   15 s, then the verdict
 *
 * Nothing here knows jobs or clocks: times are told, in microseconds of one clock. */
#ifndef CORE_LOOP_BRAKE_H
#define CORE_LOOP_BRAKE_H

#include "heap.h"
#include "table.h"
#include <stdbool.h>
#include <sys/queue.h>

#define LOOP_BRAKE_FROM 8 /* echoes */
#define LOOP_PAUSE_LAST_USEC (15 * UINT64_C(1000000))
#define LOOP_SUSPECTS 4 /* scripts that a verdict names */
#define LOOP_OBJECTS_MAX 65536 /* of which the longest untouched is forgotten */

struct loop_suspect {
	char script[64]; /* its name, cut */
	unsigned runs; /* since the second echo */
};

struct loop_object;
TAILQ_HEAD(loop_object_list, loop_object);

struct loop_brake {
	unsigned limit; /* echoes; 0: there is no brake; may be changed at any time */
	struct table objects; /* with a run now, or an echo within the last minute */
	struct loop_object_list quiet; /* those without a run, the longest untouched first */
	struct heap pauses; /* objects whose pause ends at a time */
	unsigned braked; /* objects about which nothing may start now */
};

void loop_brake_init(struct loop_brake *brake, unsigned limit);
void loop_brake_done(struct loop_brake *brake);

/* loop_brake_begin - a run of SCRIPT about OBJECT begins. loop_brake_end - one ends. */
void loop_brake_begin(struct loop_brake *brake, uint64_t object, const char *script, uint64_t now);
void loop_brake_end(struct loop_brake *brake, uint64_t object, uint64_t now);

/* loop_brake_event - an event on OBJECT has come.
 * LAG: it may have come so much earlier.
 * True: loop_brake_blocks() has another answer now. */
bool loop_brake_event(struct loop_brake *brake, uint64_t object, uint64_t now, uint64_t lag);

/* loop_brake_blocks - no run about OBJECT may start now. */
bool loop_brake_blocks(const struct loop_brake *brake, uint64_t object);

/* loop_brake_forget - OBJECT's count begins anew. */
void loop_brake_forget(struct loop_brake *brake, uint64_t object);

/* loop_brake_next_usec - when the next pause ends; UINT64_MAX: none does. */
uint64_t loop_brake_next_usec(const struct loop_brake *brake);

struct loop_verdict {
	uint64_t object;
	bool loop; /* else its runs may go on */
	unsigned echoes;
	struct loop_suspect suspects[LOOP_SUSPECTS]; /* runs 0: there are no more */
};

/* loop_brake_due - a pause that ended by NOW; loop_brake_blocks() of its object is false from now
 * on.
 * False: there is none. */
bool loop_brake_due(struct loop_brake *brake, uint64_t now, struct loop_verdict *ret);

#endif
