/* room.c - see room.h. */
#include "room.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_EACH 8 /* folder, two sockets, a request, and what a job brings */
#define DESCRIPTORS_KEPT 256 /* for everything else */
#define BRIDGE_PORTS 1000 /* the kernel's bridge has 1024 */
#define ADDRESSES_KEPT 3 /* network, gateway, broadcast */

const char *const room_limit_names[ROOM_LIMIT_MAX] = {
	[ROOM_POOL_MAX] = "pool_max",
	[ROOM_MEMORY] = "pool_memory",
	[ROOM_ADDRESSES] = "addresses of the network",
	[ROOM_DESCRIPTORS] = "open files",
	[ROOM_PRESSURE] = "memory pressure",
};

static uint64_t machine_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_C(1) << 30;
}

static uint32_t descriptors_room(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return ROOM_UNLIMITED;
	uint64_t left = limit.rlim_cur > DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT : 0;
	return left / DESCRIPTORS_EACH < ROOM_UNLIMITED ? (uint32_t)(left / DESCRIPTORS_EACH) : ROOM_UNLIMITED;
}

void room_init(struct room *room, uint64_t pool_max, uint64_t memory_bytes, unsigned percent)
{
	*room = (struct room){
		.memory_bytes = percent > 0 ? machine_bytes() / 100 * percent : memory_bytes,
		.pool_max = pool_max > 0 && pool_max < ROOM_UNLIMITED ? (uint32_t)pool_max : ROOM_UNLIMITED,
		.addresses = ROOM_UNLIMITED,
		.descriptors = descriptors_room(),
		.squeezed = ROOM_UNLIMITED,
	};
}

struct bound {
	uint32_t most;
	enum room_limit limit;
};

static void bound_narrow(struct bound *bound, uint64_t most, enum room_limit limit)
{
	if (most < bound->most)
		*bound = (struct bound){ (uint32_t)most, limit };
}

static struct bound hard_bound(const struct room *room)
{
	struct bound bound = { room->pool_max, ROOM_POOL_MAX };

	bound_narrow(&bound, room->addresses, ROOM_ADDRESSES);
	bound_narrow(&bound, room->descriptors, ROOM_DESCRIPTORS);
	return bound;
}

static struct bound soft_bound(const struct room *room, uint64_t bytes_each, uint64_t now_usec)
{
	struct bound bound = { ROOM_UNLIMITED, ROOM_MEMORY };

	bound_narrow(&bound, room->memory_bytes / bytes_each, ROOM_MEMORY);
	if (now_usec < room->squeezed_until_usec)
		bound_narrow(&bound, room->squeezed, ROOM_PRESSURE);
	return bound;
}

static uint32_t give_bound(struct bound bound, enum room_limit *ret_limit)
{
	if (ret_limit)
		*ret_limit = bound.limit;
	return bound.most > 0 ? bound.most : 1;
}

uint32_t room_hard(const struct room *room, enum room_limit *ret_limit)
{
	return give_bound(hard_bound(room), ret_limit);
}

uint32_t room_soft(const struct room *room, uint64_t bytes_each, uint64_t now_usec, enum room_limit *ret_limit)
{
	return give_bound(soft_bound(room, bytes_each, now_usec), ret_limit);
}

uint32_t room_all(const struct room *room, uint64_t bytes_each, uint64_t now_usec, enum room_limit *ret_limit)
{
	struct bound bound = soft_bound(room, bytes_each, now_usec), hard = hard_bound(room);

	bound_narrow(&bound, hard.most, hard.limit);
	return give_bound(bound, ret_limit);
}

void room_squeeze(struct room *room, uint32_t most, uint64_t now_usec)
{
	room->squeezed = most;
	room->squeezed_until_usec = now_usec + ROOM_SQUEEZE_USEC;
}

uint32_t room_addresses(const char *subnet)
{
	const char *slash = strchr(subnet, '/');
	char *end;
	unsigned long bits = slash && !strchr(subnet, ':') ? strtoul(slash + 1, &end, 10) : 99;

	if (bits > 30 || *end)
		return 0;
	uint64_t count = (UINT64_C(1) << (32 - bits)) - ADDRESSES_KEPT;
	return count < BRIDGE_PORTS ? (uint32_t)count : BRIDGE_PORTS;
}
