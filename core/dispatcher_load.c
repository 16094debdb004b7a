/* dispatcher_load.c - what a script has to do, worked out when somebody asks. */
#include "dispatcher_private.h"
#include "job.h"

const struct tally *dispatcher_get_tally(const struct dispatcher *d) { return &d->tally; }

void dispatcher_get_load(const struct dispatcher *d, const char *script, struct dispatcher_load *ret)
{
	const struct lane *lane = dispatcher_find_lane(d, script);
	const struct job *first = lane ? jobs_first(&lane->queue) : NULL;

	*ret = (struct dispatcher_load){ 0 };
	if (!lane)
		return;
	ret->waiting = lane->queue.length + lane->backoff.length + lane->spilled;
	ret->running = lane->out.length;
	ret->oldest_realtime_usec = first ? first->created_realtime_usec : 0;
}
