/* wall_ranges.h - networks as the kernel's sets want them: sorted ranges that neither overlap
 * nor touch. */
#ifndef POOL_WALL_RANGES_H
#define POOL_WALL_RANGES_H

#include "nft.h"
#include "wall_request.h"

struct wall_ranges {
	struct nft_range list[NFT_ELEMENTS_MAX / 2];
	size_t count;
};

/* wall_ranges_add - the networks of FAMILY among COUNT of LIST.
 * What is too much is left out, and -E2BIG returned. */
int wall_ranges_add(struct wall_ranges *ranges, int family, const struct wall_net *list, size_t count);

/* wall_ranges_merge - sort them, and make one of those that overlap or touch.
 * SIZE: bytes of an address. */
void wall_ranges_merge(struct wall_ranges *ranges, size_t size);

#endif
