/* nft_socket.c - requests to nf_tables and strict reading of what comes back. */
#include "nft_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>

#include "nft.h"
#include "nft_read.h"

#define BUFFER_SIZE (64u << 10)
#define SEND_SIZE (1 << 20) /* a transaction goes in one piece */

/* -------------------------------------------------------------------------------------- sockets */

static int socket_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	int e = errno;
	(void)close(fd);
	return -e;
}

int nft_open(void)
{
	const int on = 1, size = SEND_SIZE;
	int fd = socket_open();

	if (fd < 0)
		return fd;
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	return fd;
}

int nft_open_notes(void)
{
	const int group = NFNLGRP_NFTABLES;
	int fd = socket_open();

	if (fd < 0 || setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0)
		return fd;
	int e = errno;
	(void)close(fd);
	return -e;
}

/* One datagram of the kernel's; senders who are not the kernel are passed over. Bytes, or a
 * negative errno. */
static ssize_t receive(int fd, void *buffer)
{
	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t size = sizeof from;
		ssize_t n = recvfrom(fd, buffer, BUFFER_SIZE, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n >= 0 && size == sizeof from && from.nl_pid == 0)
			return n;
	}
}

/* ------------------------------------------------------------------------------------ exchanges */

/* 0 if it was acknowledged, a negative errno otherwise; A holds the rest. */
static int exchange(int fd, const void *request, size_t request_size, struct nft_answer *a)
{
	static union {
		struct nlmsghdr align;
		char bytes[BUFFER_SIZE];
	} buffer;
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	/* what an exchange that was broken off left behind */
	while (receive(fd, buffer.bytes) >= 0)
		;
	if (sendto(fd, request, request_size, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;
	while ((n = receive(fd, buffer.bytes)) >= 0)
		nft_read_datagram(a, buffer.bytes, (size_t)n);
	if (a->error < 0)
		return a->error;
	if (n != -EAGAIN)
		return (int)n;
	return a->interrupted ? -EAGAIN : a->acknowledged ? 0 : -EIO;
}

int nft_commit(int fd, struct nft *t, struct lsn_error *err)
{
	struct nft_answer a = { 0 };
	const void *bytes;
	size_t size;
	int r = nft_bytes(t, &bytes, &size);

	if (r < 0)
		return lsn_error_set(err, r, "the rules are too long");
	r = exchange(fd, bytes, size, &a);
	if (r == 0)
		return 0;
	return lsn_error_set(err, r, "nf_tables: %s%s%s", strerror(-r), *a.why ? ": " : "", a.why);
}

/* ------------------------------------------------------------------------------------ questions */

struct question {
	union {
		struct nlmsghdr head;
		char bytes[512];
	} u;
};

/* List what NFT_MSG_GET... TYPE names, of FAMILY, in TABLE (NULL: in all). */
static void ask_for(struct question *q, unsigned type, uint8_t family, const char *table)
{
	memset(q, 0, sizeof *q);
	struct nlmsghdr *h = mnl_nlmsg_put_header(q->u.bytes);
	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(h, sizeof *extra);
	*extra = (struct nfgenmsg){ .nfgen_family = family, .version = NFNETLINK_V0 };
	if (table) /* attribute 1 is the table's name in every message */
		mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
}

static int put_question(int fd, const struct question *q, struct nft_answer *a)
{
	return exchange(fd, q, q->u.head.nlmsg_len, a);
}

bool nft_exists(int fd, uint8_t family, const char *name)
{
	struct question q;
	struct nft_answer a = { 0 };

	ask_for(&q, NFT_MSG_GETTABLE, family, name);
	q.u.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	return put_question(fd, &q, &a) == 0;
}

struct listing {
	nft_table_fn fn;
	void *data;
};

static void table_listed(void *data, const struct nlmsghdr *h)
{
	const struct listing *l = data;
	const char *name = nft_text(h, h->nlmsg_len, NFTA_TABLE_NAME);

	if (name && h->nlmsg_len >= NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		l->fn(l->data, ((const struct nfgenmsg *)mnl_nlmsg_get_payload(h))->nfgen_family, name);
}

int nft_each_table(int fd, nft_table_fn fn, void *data)
{
	struct listing l = { fn, data };
	struct nft_answer a = { .fn = table_listed, .data = &l };
	struct question q;

	ask_for(&q, NFT_MSG_GETTABLE, AF_UNSPEC, NULL);
	return put_question(fd, &q, &a);
}

/* ------------------------------------------------------------------------------------- pictures */

static void part_listed(void *data, const struct nlmsghdr *h) { nft_paint(data, h); }

/* SET NULL: none, TYPE lists parts of the table. */
static int list_parts(int fd, struct nft_painter *p, unsigned type, const char *set)
{
	struct nft_answer a = { .fn = part_listed, .data = p };
	struct question q;

	ask_for(&q, type, NFPROTO_INET, p->table);
	if (set)
		mnl_attr_put_strz(&q.u.head, NFTA_SET_ELEM_LIST_SET, set);
	int r = put_question(fd, &q, &a);
	return r < 0 ? r : p->error;
}

static int list_all(int fd, struct nft_painter *p)
{
	static const unsigned kinds[] = { NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETOBJ };
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof kinds / sizeof *kinds; i++)
		r = list_parts(fd, p, kinds[i], NULL);
	for (size_t i = 0; r == 0 && i < p->set_count; i++)
		r = list_parts(fd, p, NFT_MSG_GETSETELEM, p->sets[i]);
	return r;
}

int nft_take_picture(int fd, const char *name, struct nft_picture *ret)
{
	static struct nft_painter p; /* large */

	if (strlen(name) >= NFT_NAME_SIZE)
		return -ENAMETOOLONG;
	if (!nft_exists(fd, NFPROTO_INET, name))
		return -ENOENT;
	p = (struct nft_painter){ .table = name };
	int r = list_all(fd, &p);
	if (r < 0) {
		free(p.picture.bytes);
		return r;
	}
	*ret = p.picture;
	return 0;
}

/* ---------------------------------------------------------------------------------------- notes */

bool nft_read_notes(int fd, const char *one, const char *other)
{
	static union {
		struct nlmsghdr align;
		char bytes[BUFFER_SIZE];
	} buffer;
	bool ours = false;

	for (;;) {
		ssize_t n = receive(fd, buffer.bytes);
		if (n < 0)
			return ours || n == -ENOBUFS;
		size_t at = 0;
		for (const struct nlmsghdr *h; (h = nft_message_next(buffer.bytes, (size_t)n, &at));)
			ours |= nft_names(h, h->nlmsg_len, one) || nft_names(h, h->nlmsg_len, other);
	}
}
