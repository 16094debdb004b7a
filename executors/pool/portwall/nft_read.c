/* nft_read.c - bytes of the kernel's, taken apart. */
#include "nft_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/netfilter/nfnetlink.h>

/* libmnl's own step takes lengths for signed ones. */
const struct nlmsghdr *nft_message_next(const void *bytes, size_t size, size_t *at)
{
	if (*at > size || size - *at < sizeof(struct nlmsghdr))
		return NULL;
	const struct nlmsghdr *h = (const struct nlmsghdr *)((const char *)bytes + *at);
	if (h->nlmsg_len < sizeof *h || h->nlmsg_len > size - *at)
		return NULL;
	*at += NLMSG_ALIGN(h->nlmsg_len);
	return h;
}

const struct nlattr *nft_attribute_next(const struct nlmsghdr *h, size_t size, size_t *at)
{
	if (*at == 0)
		*at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	if (h->nlmsg_len < size)
		size = h->nlmsg_len;
	if (*at + sizeof(struct nlattr) > size)
		return NULL;
	const struct nlattr *attr = (const struct nlattr *)((const char *)h + *at);
	if (attr->nla_len < sizeof *attr || attr->nla_len > size - *at)
		return NULL;
	*at += NLA_ALIGN(attr->nla_len);
	return attr;
}

const char *nft_text(const struct nlmsghdr *h, size_t size, unsigned type)
{
	size_t at = 0;

	for (const struct nlattr *a; (a = nft_attribute_next(h, size, &at));)
		if ((a->nla_type & NLA_TYPE_MASK) == type) {
			const char *text = (const char *)(a + 1);
			return memchr(text, 0, a->nla_len - sizeof *a) ? text : NULL;
		}
	return NULL;
}

bool nft_names(const struct nlmsghdr *h, size_t size, const char *name)
{
	const char *text = nft_text(h, size, NFTA_TABLE_NAME);
	return text && strcmp(text, name) == 0;
}

/* The kernel's own sentence, where it has one: behind the header of the message that it did not
 * like. */
static void read_why(struct nft_answer *a, const struct nlmsghdr *h)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nlmsgerr));

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS) || !(h->nlmsg_flags & NLM_F_CAPPED))
		return;
	for (size_t at = skip; at + sizeof(struct nlattr) <= h->nlmsg_len;) {
		const struct nlattr *attr = (const struct nlattr *)((const char *)h + at);
		if (attr->nla_len < sizeof *attr || at + attr->nla_len > h->nlmsg_len)
			return;
		if ((attr->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG)
			(void)snprintf(a->why, sizeof a->why, "%.*s", (int)(attr->nla_len - sizeof *attr),
				       (const char *)(attr + 1));
		at += NLA_ALIGN(attr->nla_len);
	}
}

static void take_status(struct nft_answer *a, const struct nlmsghdr *h)
{
	int status = 0;

	if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_len < NLMSG_HDRLEN + sizeof(struct nlmsgerr)) {
		a->acknowledged = true;
		return;
	}
	memcpy(&status, (const char *)h + NLMSG_HDRLEN, sizeof status);
	if (status == 0)
		a->acknowledged = true;
	else if (a->error == 0) {
		a->error = status < 0 ? status : -EPROTO;
		read_why(a, h);
	}
}

void nft_read_datagram(struct nft_answer *a, const void *bytes, size_t size)
{
	size_t at = 0;

	for (const struct nlmsghdr *h; (h = nft_message_next(bytes, size, &at));) {
		a->interrupted |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
		if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE)
			take_status(a, h);
		else if (h->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES && a->fn)
			a->fn(a->data, h);
	}
}
