/* wall_ranges.c - from prefixes to ranges. */
#include "wall_ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct nft_range range_of(const struct wall_net *net)
{
	unsigned size = net->family == AF_INET ? 4 : 16;
	struct nft_range range = { 0 };

	memcpy(range.first, net->address, size);
	memcpy(range.last, net->address, size);
	for (unsigned bit = net->bits; bit < 8 * size; bit++)
		range.last[bit / 8] |= (unsigned char)(0x80u >> (bit % 8));
	return range;
}

int wall_ranges_add(struct wall_ranges *ranges, int family, const struct wall_net *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].family != family)
			continue;
		if (ranges->count == sizeof ranges->list / sizeof *ranges->list)
			return -E2BIG;
		ranges->list[ranges->count++] = range_of(&list[i]);
	}
	return 0;
}

/* What lies beyond the bytes of a short address is zero in both. */
static int compare_first(const void *a, const void *b)
{
	return memcmp(((const struct nft_range *)a)->first, ((const struct nft_range *)b)->first, 16);
}

/* Does NEXT begin within what LAST ends, or right behind it? */
static bool continues(const unsigned char *last, const unsigned char *next, size_t size)
{
	unsigned char behind[16];

	if (memcmp(next, last, size) <= 0)
		return true;
	memcpy(behind, last, size);
	for (size_t i = size; i-- > 0 && ++behind[i] == 0;)
		;
	return memcmp(next, behind, size) == 0;
}

void wall_ranges_merge(struct wall_ranges *ranges, size_t size)
{
	size_t kept = 0;

	qsort(ranges->list, ranges->count, sizeof *ranges->list, compare_first);
	for (size_t i = 0; i < ranges->count; i++) {
		struct nft_range *before = kept > 0 ? &ranges->list[kept - 1] : NULL, *now = &ranges->list[i];
		if (!before || !continues(before->last, now->first, size))
			ranges->list[kept++] = *now;
		else if (memcmp(now->last, before->last, size) > 0)
			memcpy(before->last, now->last, size);
	}
	ranges->count = kept;
}
