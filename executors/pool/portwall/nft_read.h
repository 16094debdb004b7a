/* nft_read.h - what netlink sends, read without trust: what does not fit into its own length is
 * passed over.
 *
 * No side effects: this is what the fuzzer takes. */
#ifndef POOL_NFT_READ_H
#define POOL_NFT_READ_H

#include <linux/netlink.h>

#include "nft.h"

/* nft_message_next - the message at *AT of SIZE bytes, whole; *AT moves on and begins with 0.
 * NULL: no more, or nonsense.
 * BYTES are aligned as a message is. */
const struct nlmsghdr *nft_message_next(const void *bytes, size_t size, size_t *at);

/* nft_attribute_next - the attribute of H at *AT, which moves on and begins with 0; NULL: no
 * more, or nonsense.
 * SIZE bytes of H may be read; the attribute lies within them. */
const struct nlattr *nft_attribute_next(const struct nlmsghdr *h, size_t size, size_t *at);

/* nft_text - the text of the first attribute of TYPE, or NULL if there is none or its text does
 * not end. */
const char *nft_text(const struct nlmsghdr *h, size_t size, unsigned type);

/* nft_names - does the message H of nf_tables concern the table NAME? */
bool nft_names(const struct nlmsghdr *h, size_t size, const char *name);

typedef void (*nft_message_fn)(void *data, const struct nlmsghdr *h);

/* What came back to a request. */
struct nft_answer {
	nft_message_fn fn; /* for each message of nf_tables, whole; NULL: none is wanted */
	void *data;
	int error; /* the first one that was told, negative */
	char why[160]; /* what the kernel says to it */
	bool acknowledged;
	bool interrupted; /* what was listed changed meanwhile */
};

/* nft_read_datagram - SIZE bytes that came in one piece. */
void nft_read_datagram(struct nft_answer *a, const void *bytes, size_t size);

#endif
