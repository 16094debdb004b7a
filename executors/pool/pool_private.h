/* pool_private.h - what the files of the pool know of each other.
 *
 *     pool.c          jobs: who gets which sandbox
 *     pool_fill.c     what is started, and who makes room for it
 *     pool_netns.c    backlogs with reuse = never
 *     pool_expiry.c   what goes with time, and when memory is short
 *     pool_done.c     the end */
#ifndef POOL_POOL_PRIVATE_H
#define POOL_POOL_PRIVATE_H

#include "netns.h"
#include "pool.h"

#define BACKLOG_MIN 4 /* so many jobs of one script wait: a netns pays */
/* a netns that may still be taken lasts twice as long: one wait, one job */
#define NETNS_JOB_MAX_USEC (NETNS_SECONDS * USEC_PER_SEC / 10)

/* pool.c */
void pool_count(const struct pool *pool, struct pool_figures *ret); /* without the tenants */
bool pool_is_starting(const struct sandbox *sandbox);
unsigned pool_has(const struct tenant *tenant); /* sandboxes bound to it that do not end */
void pool_bind(struct pool *pool, struct sandbox *sandbox, struct tenant *tenant); /* NULL: to none */
void pool_ready(struct pool *pool); /* all that wait may ask again */
void pool_offer(struct pool *pool, const struct sandbox *sandbox); /* it may have become free */

/* pool_wake_by - have FN called at AT or earlier: a timer that is too early finds nothing, and
 * whoever asked asks again. */
void pool_wake_by(struct pool *pool, struct pool_timer *timer, uint64_t at, lsn_timer_fn fn);

/* pool_fill.c */
bool pool_start(struct pool *pool, uint64_t memory_bytes, struct tenant *tenant, struct netns *netns);
void pool_pause(struct pool *pool); /* a start has failed */
bool pool_wants_more(const struct pool *pool, const struct tenant *tenant);
bool pool_lasts(const struct pool *pool, const struct tenant *tenant); /* its wait */
struct tenant *pool_starving(const struct pool *pool, uint64_t at_least_usec); /* the longest; NULL */
bool pool_first_waits(const struct pool *pool); /* a tenant that has no sandbox */
struct sandbox *pool_least_used(const struct pool *pool); /* idle, of a tenant that does not wait; NULL */
void pool_wait(struct pool *pool, struct tenant *tenant, uint64_t waiting);
void pool_quiet(struct pool *pool); /* somebody waits no more */
void pool_prune(struct pool *pool);
bool pool_slice_over(const struct pool *pool, const struct sandbox *sandbox); /* others want its place */

/* pool_netns.c */
bool pool_in_netns(const struct pool *pool, const struct tenant *tenant, uint64_t waiting);
unsigned pool_making_netns(const struct pool *pool);
unsigned pool_fill_netns(struct pool *pool, unsigned slots); /* returns how many it has used */
void pool_keep_netns(struct pool *pool, struct netns *netns);
void pool_end_netns(struct pool *pool); /* all of them, each when it is left */

/* pool_expiry.c */
unsigned pool_spares(const struct pool *pool, const struct pool_figures *figures); /* to be kept */
void pool_plan_expiry(struct pool *pool);
void pool_short_of_memory(void *pool);

#endif
