/* nft.c - messages of nf_tables, put together with libmnl. The kernel's header
 * linux/netfilter/nf_tables.h is the manual. */
#include "nft.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>

#define LIMIT (128u << 10) /* bytes of a transaction; one message more may lie over it */
#define MESSAGE_MAX (64u << 10)
#define DYNAMIC_MAX 65535 /* elements that packets add */
#define REGISTER NFT_REG_1 /* 16 bytes; the only one we need at a time */

struct nft {
	struct mnl_nlmsg_batch *batch;
	struct nlmsghdr *head; /* the message being written, NULL: none */
	struct nlmsghdr *last; /* the one before */
	/* of the rule being written */
	struct nlattr *expressions, *expression, *expression_data, *memory;
	uint32_t seq;
	uint8_t family;
	bool full, closed;
	_Alignas(struct nlmsghdr) char bytes[LIMIT + MESSAGE_MAX];
};

/* ------------------------------------------------------------------------------------- messages */

static void message_end(struct nft *t)
{
	if (!t->head)
		return;
	if (t->expressions)
		mnl_attr_nest_end(t->head, t->expressions);
	t->expressions = NULL;
	t->last = t->head;
	t->head = NULL;
	if (!mnl_nlmsg_batch_next(t->batch))
		t->full = true;
}

/* What is over the limit is written over the message before: the transaction is lost already. */
static void message_begin(struct nft *t, unsigned type, unsigned flags, uint8_t family, unsigned resource)
{
	message_end(t);
	t->head = mnl_nlmsg_put_header(mnl_nlmsg_batch_current(t->batch));
	t->head->nlmsg_type = (uint16_t)type;
	t->head->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	t->head->nlmsg_seq = ++t->seq;
	struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(t->head, sizeof *extra);
	*extra = (struct nfgenmsg){ .nfgen_family = family,
				    .version = NFNETLINK_V0,
				    .res_id = htons((uint16_t)resource) };
}

static void message_new(struct nft *t, unsigned type, unsigned flags)
{
	message_begin(t, NFNL_SUBSYS_NFTABLES << 8 | type, flags, t->family, 0);
}

struct nft *nft_new(void)
{
	struct nft *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->batch = mnl_nlmsg_batch_start(t->bytes, LIMIT);
	if (!t->batch) {
		free(t);
		return NULL;
	}
	message_begin(t, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	return t;
}

void nft_free(struct nft *t)
{
	if (!t)
		return;
	mnl_nlmsg_batch_stop(t->batch);
	free(t);
}

static void put_number(struct nft *t, uint16_t type, uint32_t value) { mnl_attr_put_u32(t->head, type, htonl(value)); }

static void put_text(struct nft *t, uint16_t type, const char *text) { mnl_attr_put_strz(t->head, type, text); }

/* A value in an attribute of its own, as comparisons, masks and keys have it. */
static void put_value(struct nft *t, uint16_t type, const void *value, size_t size)
{
	struct nlattr *nest = mnl_attr_nest_start(t->head, type);

	mnl_attr_put(t->head, NFTA_DATA_VALUE, size, value);
	mnl_attr_nest_end(t->head, nest);
}

/* ------------------------------------------------------------------------- tables, chains, sets */

void nft_table(struct nft *t, enum nft_verb verb, uint8_t family, const char *name, uint32_t flags)
{
	t->family = family;
	message_new(t, verb == NFT_ADD ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE, verb == NFT_ADD ? NLM_F_CREATE : 0);
	put_text(t, NFTA_TABLE_NAME, name);
	if (verb == NFT_ADD)
		put_number(t, NFTA_TABLE_FLAGS, flags);
}

void nft_chain(struct nft *t, const char *table, const char *name, const struct nft_hook *hook)
{
	message_new(t, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	put_text(t, NFTA_CHAIN_TABLE, table);
	put_text(t, NFTA_CHAIN_NAME, name);
	if (!hook)
		return;
	struct nlattr *nest = mnl_attr_nest_start(t->head, NFTA_CHAIN_HOOK);
	put_number(t, NFTA_HOOK_HOOKNUM, hook->number);
	put_number(t, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
	mnl_attr_nest_end(t->head, nest);
	put_number(t, NFTA_CHAIN_POLICY, NF_ACCEPT);
	put_text(t, NFTA_CHAIN_TYPE, "filter");
}

static uint32_t key_size(enum nft_key kind) { return kind == NFT_KEY_IPV4 ? 4 : kind == NFT_KEY_IPV6 ? 16 : 2; }

void nft_set(struct nft *t, const char *table, const char *name, enum nft_key kind, uint32_t flags)
{
	message_new(t, NFT_MSG_NEWSET, NLM_F_CREATE);
	put_text(t, NFTA_SET_TABLE, table);
	put_text(t, NFTA_SET_NAME, name);
	put_number(t, NFTA_SET_FLAGS, flags);
	put_number(t, NFTA_SET_KEY_TYPE, kind);
	put_number(t, NFTA_SET_KEY_LEN, key_size(kind));
	put_number(t, NFTA_SET_ID, t->seq);
	if (flags & NFT_SET_EVAL) {
		struct nlattr *nest = mnl_attr_nest_start(t->head, NFTA_SET_DESC);
		put_number(t, NFTA_SET_DESC_SIZE, DYNAMIC_MAX);
		mnl_attr_nest_end(t->head, nest);
	}
}

static struct nlattr *elements_begin(struct nft *t, const char *table, const char *set)
{
	message_new(t, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
	put_text(t, NFTA_SET_ELEM_LIST_TABLE, table);
	put_text(t, NFTA_SET_ELEM_LIST_SET, set);
	return mnl_attr_nest_start(t->head, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_element(struct nft *t, const void *key, size_t size, uint32_t flags)
{
	struct nlattr *nest = mnl_attr_nest_start(t->head, NFTA_LIST_ELEM);

	if (flags)
		put_number(t, NFTA_SET_ELEM_FLAGS, flags);
	put_value(t, NFTA_SET_ELEM_KEY, key, size);
	mnl_attr_nest_end(t->head, nest);
}

void nft_set_ports(struct nft *t, const char *table, const char *set, const uint16_t *ports, size_t count)
{
	if (count == 0)
		return;
	struct nlattr *nest = elements_begin(t, table, set);
	for (size_t i = 0; i < count && i < NFT_ELEMENTS_MAX; i++) {
		uint16_t port = htons(ports[i]);
		put_element(t, &port, sizeof port, 0);
	}
	mnl_attr_nest_end(t->head, nest);
}

/* The address after LAST; false: there is none. */
static bool reply_after(const unsigned char *last, size_t size, unsigned char *ret)
{
	memcpy(ret, last, size);
	for (size_t i = size; i-- > 0;)
		if (++ret[i] != 0)
			return true;
	return false;
}

/* A set of intervals holds their first addresses, and the first address behind each, marked as
 * an end. */
void nft_set_ranges(struct nft *t, const char *table, const char *set, size_t size, const struct nft_range *list,
		    size_t count)
{
	unsigned char end[16];

	if (count == 0)
		return;
	struct nlattr *nest = elements_begin(t, table, set);
	for (size_t i = 0; i < count && i < NFT_ELEMENTS_MAX; i++) {
		put_element(t, list[i].first, size, 0);
		if (reply_after(list[i].last, size, end))
			put_element(t, end, size, NFT_SET_ELEM_INTERVAL_END);
	}
	mnl_attr_nest_end(t->head, nest);
}

void nft_ct_helper(struct nft *t, const char *table, const char *name, const char *helper)
{
	message_new(t, NFT_MSG_NEWOBJ, NLM_F_CREATE);
	put_text(t, NFTA_OBJ_TABLE, table);
	put_text(t, NFTA_OBJ_NAME, name);
	put_number(t, NFTA_OBJ_TYPE, NFT_OBJECT_CT_HELPER);
	struct nlattr *nest = mnl_attr_nest_start(t->head, NFTA_OBJ_DATA);
	put_text(t, NFTA_CT_HELPER_NAME, helper);
	mnl_attr_put_u16(t->head, NFTA_CT_HELPER_L3PROTO, htons(NFPROTO_INET));
	mnl_attr_put_u8(t->head, NFTA_CT_HELPER_L4PROTO, IPPROTO_TCP);
	mnl_attr_nest_end(t->head, nest);
}

/* ---------------------------------------------------------------------------------------- rules */

void nft_rule(struct nft *t, const char *table, const char *chain)
{
	message_new(t, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	put_text(t, NFTA_RULE_TABLE, table);
	put_text(t, NFTA_RULE_CHAIN, chain);
	t->expressions = mnl_attr_nest_start(t->head, NFTA_RULE_EXPRESSIONS);
}

static void expression_begin(struct nft *t, const char *name)
{
	t->expression = mnl_attr_nest_start(t->head, NFTA_LIST_ELEM);
	put_text(t, NFTA_EXPR_NAME, name);
	t->expression_data = mnl_attr_nest_start(t->head, NFTA_EXPR_DATA);
}

static void expression_end(struct nft *t)
{
	mnl_attr_nest_end(t->head, t->expression_data);
	mnl_attr_nest_end(t->head, t->expression);
}

static void load_meta(struct nft *t, uint32_t key)
{
	expression_begin(t, "meta");
	put_number(t, NFTA_META_KEY, key);
	put_number(t, NFTA_META_DREG, REGISTER);
	expression_end(t);
}

static void load_payload(struct nft *t, enum nft_payload_bases base, uint32_t offset, uint32_t size)
{
	expression_begin(t, "payload");
	put_number(t, NFTA_PAYLOAD_DREG, REGISTER);
	put_number(t, NFTA_PAYLOAD_BASE, base);
	put_number(t, NFTA_PAYLOAD_OFFSET, offset);
	put_number(t, NFTA_PAYLOAD_LEN, size);
	expression_end(t);
}

/* DIRECTION -1: the key has none. */
static void load_ct(struct nft *t, uint32_t key, int direction)
{
	expression_begin(t, "ct");
	put_number(t, NFTA_CT_KEY, key);
	put_number(t, NFTA_CT_DREG, REGISTER);
	if (direction >= 0)
		mnl_attr_put_u8(t->head, NFTA_CT_DIRECTION, (uint8_t)direction);
	expression_end(t);
}

static void rules_compare(struct nft *t, enum nft_cmp_ops op, const void *value, size_t size)
{
	expression_begin(t, "cmp");
	put_number(t, NFTA_CMP_SREG, REGISTER);
	put_number(t, NFTA_CMP_OP, op);
	put_value(t, NFTA_CMP_DATA, value, size);
	expression_end(t);
}

static void prefix_mask(struct nft *t, const void *bits, uint32_t size)
{
	static const unsigned char zero[16];

	expression_begin(t, "bitwise");
	put_number(t, NFTA_BITWISE_SREG, REGISTER);
	put_number(t, NFTA_BITWISE_DREG, REGISTER);
	put_number(t, NFTA_BITWISE_LEN, size);
	put_value(t, NFTA_BITWISE_MASK, bits, size);
	put_value(t, NFTA_BITWISE_XOR, zero, size);
	expression_end(t);
}

static void look_up(struct nft *t, const char *set, bool inverted)
{
	expression_begin(t, "lookup");
	put_text(t, NFTA_LOOKUP_SET, set);
	put_number(t, NFTA_LOOKUP_SREG, REGISTER);
	if (inverted)
		put_number(t, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	expression_end(t);
}

void nft_if_name(struct nft *t, uint32_t key, const char *interface)
{
	char name[IFNAMSIZ] = "";

	(void)snprintf(name, sizeof name, "%s", interface);
	load_meta(t, key);
	rules_compare(t, NFT_CMP_EQ, name, sizeof name);
}

void nft_if_meta_byte(struct nft *t, uint32_t key, uint8_t value)
{
	load_meta(t, key);
	rules_compare(t, NFT_CMP_EQ, &value, sizeof value);
}

void nft_if_payload(struct nft *t, enum nft_payload_bases base, uint32_t offset, const void *value, uint32_t size)
{
	load_payload(t, base, offset, size);
	rules_compare(t, NFT_CMP_EQ, value, size);
}

void nft_if_payload_range(struct nft *t, enum nft_payload_bases base, uint32_t offset, const void *from, const void *to,
			  uint32_t size)
{
	load_payload(t, base, offset, size);
	rules_compare(t, NFT_CMP_GTE, from, size);
	rules_compare(t, NFT_CMP_LTE, to, size);
}

void nft_if_payload_in(struct nft *t, enum nft_payload_bases base, uint32_t offset, uint32_t size, const char *set,
		       bool inverted)
{
	load_payload(t, base, offset, size);
	look_up(t, set, inverted);
}

void nft_if_bits(struct nft *t, uint32_t offset, uint8_t bits)
{
	static const uint8_t none;

	load_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, offset, 1);
	prefix_mask(t, &bits, 1);
	rules_compare(t, NFT_CMP_NEQ, &none, 1);
}

void nft_if_ct_direction(struct nft *t, uint8_t direction)
{
	load_ct(t, NFT_CT_DIRECTION, -1);
	rules_compare(t, NFT_CMP_EQ, &direction, sizeof direction);
}

void nft_if_ct_state(struct nft *t, uint32_t bits)
{
	static const uint32_t none;

	load_ct(t, NFT_CT_STATE, -1);
	prefix_mask(t, &bits, sizeof bits);
	rules_compare(t, NFT_CMP_NEQ, &none, sizeof none);
}

void nft_if_ct_helper(struct nft *t, const char *helper)
{
	char name[16] = ""; /* NF_CT_HELPER_NAME_LEN */

	(void)snprintf(name, sizeof name, "%s", helper);
	load_ct(t, NFT_CT_HELPER, -1);
	rules_compare(t, NFT_CMP_EQ, name, sizeof name);
}

void nft_if_ct_port_in(struct nft *t, const char *set)
{
	load_ct(t, NFT_CT_PROTO_DST, 0);
	look_up(t, set, false);
}

/* What a set keeps for each sender: the expression NAME, whose own attributes come next. */
static struct nlattr *memory_begin(struct nft *t, uint32_t offset, uint32_t size, const char *set, const char *name)
{
	load_payload(t, NFT_PAYLOAD_NETWORK_HEADER, offset, size);
	expression_begin(t, "dynset");
	put_text(t, NFTA_DYNSET_SET_NAME, set);
	put_number(t, NFTA_DYNSET_OP, NFT_DYNSET_OP_ADD);
	put_number(t, NFTA_DYNSET_SREG_KEY, REGISTER);
	struct nlattr *inner = mnl_attr_nest_start(t->head, NFTA_DYNSET_EXPR);
	put_text(t, NFTA_EXPR_NAME, name);
	t->memory = mnl_attr_nest_start(t->head, NFTA_EXPR_DATA);
	return inner;
}

static void memory_end(struct nft *t, struct nlattr *inner)
{
	mnl_attr_nest_end(t->head, t->memory);
	mnl_attr_nest_end(t->head, inner);
	expression_end(t);
}

void nft_if_more_than(struct nft *t, uint32_t offset, uint32_t size, const char *set, uint32_t count)
{
	struct nlattr *inner = memory_begin(t, offset, size, set, "connlimit");

	put_number(t, NFTA_CONNLIMIT_COUNT, count);
	put_number(t, NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
	memory_end(t, inner);
}

void nft_if_faster_than(struct nft *t, uint32_t offset, uint32_t size, const char *set, uint64_t rate, uint32_t burst)
{
	struct nlattr *inner = memory_begin(t, offset, size, set, "limit");

	mnl_attr_put_u64(t->head, NFTA_LIMIT_RATE, htobe64(rate));
	mnl_attr_put_u64(t->head, NFTA_LIMIT_UNIT, htobe64(1));
	put_number(t, NFTA_LIMIT_BURST, burst);
	put_number(t, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
	put_number(t, NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
	memory_end(t, inner);
}

void nft_verdict(struct nft *t, int code, const char *chain)
{
	expression_begin(t, "immediate");
	put_number(t, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	struct nlattr *data = mnl_attr_nest_start(t->head, NFTA_IMMEDIATE_DATA);
	struct nlattr *verdict = mnl_attr_nest_start(t->head, NFTA_DATA_VERDICT);
	put_number(t, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		put_text(t, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(t->head, verdict);
	mnl_attr_nest_end(t->head, data);
	expression_end(t);
}

void nft_reject(struct nft *t, enum nft_reject_types type, uint8_t code)
{
	expression_begin(t, "reject");
	put_number(t, NFTA_REJECT_TYPE, type);
	mnl_attr_put_u8(t->head, NFTA_REJECT_ICMP_CODE, code);
	expression_end(t);
}

void nft_assign_ct_helper(struct nft *t, const char *object)
{
	expression_begin(t, "objref");
	put_number(t, NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_CT_HELPER);
	put_text(t, NFTA_OBJREF_IMM_NAME, object);
	expression_end(t);
}

/* -------------------------------------------------------------------------------------- sending */

int nft_bytes(struct nft *t, const void **ret, size_t *ret_size)
{
	if (!t->closed) {
		message_end(t);
		t->last->nlmsg_flags |= NLM_F_ACK; /* older kernels do not acknowledge the end */
		message_begin(t, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
		message_end(t);
		t->closed = true;
	}
	if (t->full)
		return -ENOBUFS;
	*ret = mnl_nlmsg_batch_head(t->batch);
	*ret_size = mnl_nlmsg_batch_size(t->batch);
	return 0;
}
