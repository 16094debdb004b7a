/* nft_picture.c - the kernel's list of a table's parts, one after the other, without what
 * changes by itself. */
#include "nft_picture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter/nfnetlink.h>

#define PICTURE_MAX (1u << 20)
#define BIT(attribute) (1u << (attribute))

/* Attributes that stay the same when the same is written again. What later kernels add is not among
 * them. */
static uint32_t lasting_attributes(unsigned type)
{
	switch (type) {
	case NFT_MSG_NEWCHAIN:
		return BIT(NFTA_CHAIN_NAME) | BIT(NFTA_CHAIN_HOOK) | BIT(NFTA_CHAIN_POLICY) | BIT(NFTA_CHAIN_TYPE);
	case NFT_MSG_NEWRULE: return BIT(NFTA_RULE_CHAIN) | BIT(NFTA_RULE_EXPRESSIONS);
	case NFT_MSG_NEWSET: return BIT(NFTA_SET_NAME) | BIT(NFTA_SET_FLAGS) | BIT(NFTA_SET_KEY_LEN);
	case NFT_MSG_NEWSETELEM: return BIT(NFTA_SET_ELEM_LIST_SET) | BIT(NFTA_SET_ELEM_LIST_ELEMENTS);
	case NFT_MSG_NEWOBJ: return BIT(NFTA_OBJ_NAME) | BIT(NFTA_OBJ_TYPE) | BIT(NFTA_OBJ_DATA);
	default: return 0;
	}
}

static void paint_bytes(struct nft_painter *p, const void *bytes, size_t size)
{
	if (p->error < 0)
		return;
	if (p->picture.size + size > PICTURE_MAX) {
		p->error = -EFBIG;
		return;
	}
	char *grown = realloc(p->picture.bytes, p->picture.size + size);
	if (!grown) {
		p->error = -ENOMEM;
		return;
	}
	p->picture.bytes = grown;
	memcpy(grown + p->picture.size, bytes, size);
	p->picture.size += size;
}

static uint32_t flags_of(const struct nlmsghdr *h)
{
	uint32_t flags = 0;
	size_t at = 0;

	for (const struct nlattr *a; (a = nft_attribute_next(h, h->nlmsg_len, &at));)
		if ((a->nla_type & NLA_TYPE_MASK) == NFTA_SET_FLAGS && a->nla_len == sizeof *a + sizeof flags)
			memcpy(&flags, a + 1, sizeof flags);
	return ntohl(flags);
}

static void remember_set(struct nft_painter *p, const struct nlmsghdr *h)
{
	const char *name = nft_text(h, h->nlmsg_len, NFTA_SET_NAME);

	if (!name || (flags_of(h) & NFT_SET_EVAL))
		return;
	if (p->set_count == NFT_SETS_MAX || strlen(name) >= NFT_NAME_SIZE)
		p->error = -EFBIG;
	else
		memcpy(p->sets[p->set_count++], name, strlen(name) + 1);
}

void nft_paint(struct nft_painter *p, const struct nlmsghdr *h)
{
	uint32_t lasting = lasting_attributes(h->nlmsg_type & 0xff);
	size_t at = 0;

	if (!lasting || !nft_names(h, h->nlmsg_len, p->table))
		return;
	paint_bytes(p, &h->nlmsg_type, sizeof h->nlmsg_type);
	for (const struct nlattr *a; (a = nft_attribute_next(h, h->nlmsg_len, &at));) {
		unsigned type = a->nla_type & NLA_TYPE_MASK;
		if (type < 32 && (lasting >> type & 1))
			paint_bytes(p, a, a->nla_len);
	}
	if ((h->nlmsg_type & 0xff) == NFT_MSG_NEWSET)
		remember_set(p, h);
}

bool nft_pictures_equal(const struct nft_picture *a, const struct nft_picture *b)
{
	return a->bytes && b->bytes && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}
