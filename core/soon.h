/* soon.h - work that goes on in the loop's next turn, after what has waited longer.
 *
 * A deferred source of sd-event is always the first of its priority: one that enables itself
 * again keeps every descriptor and timer waiting for as long as it does. This one takes its
 * place in the row.
 *
 *     soon_new(loop, on_work, me, &me->work, &err);
 *     soon(me->work);      from on_work() too, if there is more to do */
#ifndef CORE_SOON_H
#define CORE_SOON_H

#include <systemd/sd-event.h>

/* soon_new - a source that is not asked for yet; FN as for a timer.
 * The caller drops it with sd_event_source_disable_unref().
 * 0 or a negative errno. */
int soon_new(sd_event *loop, sd_event_time_handler_t fn, void *data, sd_event_source **ret);

/* soon - call its function once; asking again before that changes nothing.
 * NULL is allowed. */
void soon(sd_event_source *source);

#endif
