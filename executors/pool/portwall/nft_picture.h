/* nft_picture.h - what a table holds: its chains, rules, sets, elements and objects as the
 * kernel lists them, without numbers that change when the same is written again.
 *
 * For comparing only. Elements that packets add are left out. No side effects: the fuzzer takes
 * it. */
#ifndef POOL_NFT_PICTURE_H
#define POOL_NFT_PICTURE_H

#include "nft_read.h"

#define NFT_SETS_MAX 32
#define NFT_NAME_SIZE 128 /* of a table or set, NUL included; longer ones are not ours */

struct nft_picture {
	char *bytes; /* the owner's to free() */
	size_t size;
};

struct nft_painter {
	const char *table;
	struct nft_picture picture;
	int error; /* -EFBIG: it is larger than anything of ours; -ENOMEM */
	char sets[NFT_SETS_MAX][NFT_NAME_SIZE]; /* those whose elements belong into the picture */
	size_t set_count;
};

/* nft_paint - add the message H of a listing, if it is about a part of PAINTER's table. */
void nft_paint(struct nft_painter *painter, const struct nlmsghdr *h);

/* nft_pictures_equal - two that were taken, and show the same. */
bool nft_pictures_equal(const struct nft_picture *a, const struct nft_picture *b);

#endif
