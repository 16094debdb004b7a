/* room.h - how many sandboxes there may be, and which limit says so.
 *
 * Two kinds of limits. Hard ones (pool_max, addresses of the network, descriptors of the daemon)
 * count every sandbox until it is gone. Soft ones (memory) do not count those that are being
 * removed, so that the next can start meanwhile.
 *
 * Everything is a number here; who measures what a sandbox takes, and who notices that memory is
 * short, tells it. Loop thread only. */
#ifndef POOL_ROOM_H
#define POOL_ROOM_H

#include <stdint.h>

#define ROOM_UNLIMITED UINT32_MAX
#define ROOM_SQUEEZE_USEC (60 * UINT64_C(1000000)) /* no more than were left, for so long */

enum room_limit { ROOM_POOL_MAX, ROOM_MEMORY, ROOM_ADDRESSES, ROOM_DESCRIPTORS, ROOM_PRESSURE, ROOM_LIMIT_MAX };
extern const char *const room_limit_names[ROOM_LIMIT_MAX]; /* "pool_memory", ...: for people */

struct room {
	uint64_t memory_bytes; /* what all sandboxes may take together */
	uint32_t pool_max, addresses, descriptors; /* ROOM_UNLIMITED: no such limit */
	uint32_t squeezed; /* memory was short: so many are left */
	uint64_t squeezed_until_usec;
};

/* room_init - POOL_MAX 0: no limit. MEMORY: bytes, or percent of this machine's if PERCENT > 0. */
void room_init(struct room *room, uint64_t pool_max, uint64_t memory_bytes, unsigned percent);

/* room_hard, room_soft - at least 1. BYTES_EACH: what a sandbox takes, > 0. RET_LIMIT: which limit
 * is the narrowest; may be NULL. */
uint32_t room_hard(const struct room *room, enum room_limit *ret_limit);
uint32_t room_soft(const struct room *room, uint64_t bytes_each, uint64_t now_usec, enum room_limit *ret_limit);

/* room_all - the narrower of both. */
uint32_t room_all(const struct room *room, uint64_t bytes_each, uint64_t now_usec, enum room_limit *ret_limit);

/* room_squeeze - memory is short: MOST sandboxes for a minute. */
void room_squeeze(struct room *room, uint32_t most, uint64_t now_usec);

/* room_addresses - of an IPv4 network "10.1.0.0/16" for sandboxes on one bridge; 0: not a
 * network. */
uint32_t room_addresses(const char *subnet);

#endif
