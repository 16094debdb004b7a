/* wall.h - the executor's end of the port wall: starts the helper `portwall`, hands it the
 * request, hears what it reports.
 *
 * A wall that is asked for keeps being asked for: a helper that dies is started again, a refusal
 * is tried again with back-off. hooks.changed() tells when wall_up() or wall_state() has
 * changed. Loop thread only. */
#ifndef POOL_WALL_H
#define POOL_WALL_H

#include "options.h"

struct wall;

struct wall_hooks {
	void (*changed)(void *data);
	void *data;
};

int wall_new(const struct lsn_host *host, const struct wall_hooks *hooks, struct wall **ret);

/* wall_free - with REMOVE the rules are taken down (waits up to half a second for the
 * helper, and starts another one if it has ended),
 * else they stay and hold what still runs. */
void wall_free(struct wall *wall, bool remove);

/* wall_raise - put the wall up around BRIDGE ("lsn" + 8 hex digits) as OPTIONS say.
 * One that is up is changed to that in one step, and counts as not up until it has been.
 * 0, -ENOMEM, -EINVAL. */
int wall_raise(struct wall *wall, const char *bridge, const struct options *options);
bool wall_up(const struct wall *wall);

/* for people: "up flush-proof=yes ...", or why not */
const char *wall_state(const struct wall *wall);

/* what to do about it; NULL while it is up */
const char *wall_remedy(const struct wall *wall);

/* how often somebody had removed or changed the rules; *RET_REALTIME_USEC: the last time, or 0 */
unsigned wall_restored(const struct wall *wall, uint64_t *ret_realtime_usec);

/* wall_fd - the connection to the helper, for a child that is to end the wall; -1: there is
 * none. */
int wall_fd(const struct wall *wall);

/* wall_leave - as wall_free(), without waiting for the helper and without a word to it: a child
 * that has a copy of the connection does that.
 * NULL is allowed. */
void wall_leave(struct wall *wall);

#endif
