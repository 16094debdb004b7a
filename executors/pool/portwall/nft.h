/* nft.h - one transaction of nf_tables as bytes: tables, chains, sets, rules and the expressions
 * the port wall uses.
 *
 *     struct nft *t = nft_new();
 *     nft_table(t, NFT_ADD, NFPROTO_INET, "x", 0);
 *     nft_chain(t, "x", "input", &(struct nft_hook){ NF_INET_LOCAL_IN, -10, "filter" });
 *     nft_rule(t, "x", "input");
 *     nft_if_name(t, NFT_META_IIFNAME, "eth1");
 *     nft_verdict(t, NF_DROP, NULL);
 *     nft_bytes(t, &bytes, &size);      or nft_commit(), see nft_socket.h
 *     nft_free(t);
 *
 * The family of the last nft_table() holds for what follows.
 * Nothing here has a side effect or reads what anybody else wrote.
 * What does not fit is remembered: nft_bytes() then fails. */
#ifndef POOL_NFT_H
#define POOL_NFT_H

#include <netinet/in.h> /* before the kernel's headers, which would define the same */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nft;

enum nft_verb { NFT_ADD, NFT_DELETE };

struct nft_hook {
	uint32_t number; /* NF_INET_* */
	int32_t priority;
};

/* Kinds of keys, as the nft command names them when it lists a set. */
enum nft_key { NFT_KEY_IPV4 = 7, NFT_KEY_IPV6 = 8, NFT_KEY_PORT = 13 };

/* One range of addresses, both ends included, in network byte order; SIZE bytes of each count. */
struct nft_range {
	unsigned char first[16], last[16];
};

/* nft_new - an empty transaction, or NULL without memory. */
struct nft *nft_new(void);
void nft_free(struct nft *t);

void nft_table(struct nft *t, enum nft_verb verb, uint8_t family, const char *name, uint32_t flags);

/* nft_chain - HOOK NULL: one that others go to.
 * Its policy is to accept. */
void nft_chain(struct nft *t, const char *table, const char *name, const struct nft_hook *hook);

/* nft_set - an empty set of keys of one kind; FLAGS of enum nft_set_flags. */
void nft_set(struct nft *t, const char *table, const char *name, enum nft_key kind, uint32_t flags);

/* nft_set_ports, nft_set_ranges - fill it, with at most NFT_ELEMENTS_MAX.
 * Ranges are sorted and do not touch. */
void nft_set_ports(struct nft *t, const char *table, const char *set, const uint16_t *ports, size_t count);
void nft_set_ranges(struct nft *t, const char *table, const char *set, size_t size, const struct nft_range *list,
		    size_t count);
#define NFT_ELEMENTS_MAX 600

/* nft_ct_helper - the object NAME that has the kernel's helper HELPER read along on TCP
 * connections. */
void nft_ct_helper(struct nft *t, const char *table, const char *name, const char *helper);

/* nft_rule - a new rule at the end of CHAIN; the expressions that follow are its own, until the
 * next message. */
void nft_rule(struct nft *t, const char *table, const char *chain);

/* Conditions: the rule goes on if they hold.
 * KEY of enum nft_meta_keys or nft_ct_keys. nft_if_bits holds if any bit of MASK is set in the
 * byte at OFFSET of the transport header. */
void nft_if_name(struct nft *t, uint32_t key, const char *interface);
void nft_if_meta_byte(struct nft *t, uint32_t key, uint8_t value);
void nft_if_payload(struct nft *t, enum nft_payload_bases base, uint32_t offset, const void *value, uint32_t size);
void nft_if_payload_range(struct nft *t, enum nft_payload_bases base, uint32_t offset, const void *from, const void *to,
			  uint32_t size);
void nft_if_payload_in(struct nft *t, enum nft_payload_bases base, uint32_t offset, uint32_t size, const char *set,
		       bool inverted);
void nft_if_bits(struct nft *t, uint32_t offset, uint8_t mask);
void nft_if_ct_direction(struct nft *t, uint8_t direction);
void nft_if_ct_state(struct nft *t, uint32_t mask);
void nft_if_ct_helper(struct nft *t, const char *helper);
void nft_if_ct_port_in(struct nft *t, const char *set);

/* nft_if_more_than - holds once the sender, the key of SIZE bytes at OFFSET of the network
 * header, has more than COUNT connections that have not ended. nft_if_faster_than - holds for
 * what it sends beyond RATE packets a second, after the first BURST.
 * SET must be dynamic, and of one of the two only. */
void nft_if_more_than(struct nft *t, uint32_t offset, uint32_t size, const char *set, uint32_t count);
void nft_if_faster_than(struct nft *t, uint32_t offset, uint32_t size, const char *set, uint64_t rate, uint32_t burst);

/* Consequences.
 * CODE of NF_DROP, NF_ACCEPT, NFT_GOTO, NFT_JUMP; CHAIN for the last two. */
void nft_verdict(struct nft *t, int code, const char *chain);
void nft_reject(struct nft *t, enum nft_reject_types type, uint8_t code);
void nft_assign_ct_helper(struct nft *t, const char *object);

/* nft_bytes - the whole transaction, closed: nothing can be added any more.
 * 0 and *RET (borrowed), or -ENOBUFS if it did not fit. */
int nft_bytes(struct nft *t, const void **ret, size_t *ret_size);

#endif
