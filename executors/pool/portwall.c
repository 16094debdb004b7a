/* portwall.c - the privileged helper that holds the port wall: a child of the daemon that needs
 * CAP_NET_ADMIN and nothing else, so that the daemon itself can go without. It reads requests
 * (wall_rules.h) from stdin, which is a socket, and answers on it.
 *
 * It keeps two tables with the same rules. One belongs to its netlink socket (flags owner, Linux
 * 5.12): `nft flush ruleset` passes over it, but it goes when this process goes. The other is a
 * plain one: it stays when this process dies while sandboxes still run, but anybody with the
 * right can flush it; then it is put back at once. So neither a flush nor a crash leaves a
 * moment without rules. Only "down" removes them, and it removes nothing else.
 *
 * What it believes: nothing. Tables can only be named listenerd_*, bridges only lsn<8 hex>,
 * ports are of the seven. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <nftables/libnftables.h>

#include <cleanup.h>
#include <util.h>

#include "wall_rules.h"

#define CHECK_MSEC 5000 /* without a notification, while up */
#define PAUSE_USEC (20 * USEC_PER_MSEC) /* between two repairs: somebody may be at war with us */

struct wall {
	struct nft_ctx *nft;
	int netlink_fd; /* notifications; -1: none, then the periodic check alone */
	struct wall_request request;
	bool up, lost;
	bool owned; /* the kernel knows owned tables */
	bool bridge; /* ... and the bridge table */
	char owned_name[WALL_TABLE_MAX + 8];
	char *seen; /* the plain table as the kernel lists it */
	uint64_t next_usec; /* no repair before */
};

__attribute__((format(printf, 1, 2))) static void answer(const char *format, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, format);
	int n = vsnprintf(line, sizeof line - 1, format, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t size = (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
	for (size_t i = 0; i < size; i++) /* what libnftables says may have lines of its own */
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[size] = '\n';
	if (send(STDIN_FILENO, line, size + 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		exit(1);
}

/* ---------------------------------------------------------------------------------- libnftables */

static int command_run(struct wall *w, const char *text, struct lsn_error *err)
{
	if (nft_run_cmd_from_buffer(w->nft, text) == 0)
		return 0;
	const char *why = nft_ctx_get_error_buffer(w->nft);
	return lsn_error_set(err, -EPERM, "nftables: %.300s", why && *why ? why : "refused");
}

static char *list_table(struct wall *w, const char *family, const char *name)
{
	char command[WALL_TABLE_MAX + 64];

	(void)snprintf(command, sizeof command, "list table %s %s", family, name);
	if (nft_run_cmd_from_buffer(w->nft, command) != 0)
		return NULL;
	return strdup(nft_ctx_get_output_buffer(w->nft));
}

static void remove_table(struct wall *w, const char *family, const char *name)
{
	char command[2 * WALL_TABLE_MAX + 64];

	(void)snprintf(command, sizeof command, "delete table %s %s", family, name);
	(void)nft_run_cmd_from_buffer(w->nft, command);
}

static bool is_on(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char value = 0;

	return fd >= 0 && read(fd, &value, 1) == 1 && value == '1';
}

/* Frames from one sandbox to another pass the bridge only: without a table there they must pass
 * the inet hooks too, or nothing keeps them apart. */
static bool bridged_frames_pass_us(void)
{
	return is_on("/proc/sys/net/bridge/bridge-nf-call-iptables") &&
	       is_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables");
}

static int put_up(struct wall *w, struct lsn_error *err)
{
	const struct wall_request *req = &w->request;
	_cleanup_free_ char *plain = wall_rules(req, req->table, 0),
			    *owned = wall_rules(req, w->owned_name, WALL_OWNED);
	_cleanup_free_ char *bridge = wall_rules_bridge(req, req->table);

	if (!plain || !owned || !bridge)
		return lsn_error_set(err, -ENOMEM, "the rules do not fit into %u bytes", WALL_TEXT_MAX);
	if (if_nametoindex(req->bridge) == 0)
		return lsn_error_set(
			err, -ENODEV,
			"there is no bridge %s here: the Docker Engine lives in another network namespace than the "
			"listener",
			req->bridge);
	int r = command_run(w, plain, err);
	if (r < 0)
		return r;
	w->owned = command_run(w, owned, NULL) == 0;
	w->bridge = command_run(w, bridge, NULL) == 0;
	if (!w->bridge && !bridged_frames_pass_us())
		return lsn_error_set(
			err, -EOPNOTSUPP,
			"sandboxes could reach each other: the kernel offers neither nft_meta_bridge nor br_netfilter "
			"(modprobe br_netfilter; sysctl net.bridge.bridge-nf-call-iptables=1 and -ip6tables=1)");
	return 0;
}

/* What our rules look like when the kernel lists them. Taken once per request, not with each
 * repair: whoever changes the rules between our writing and our reading would have the changed
 * ones taken for ours. Twice the same: nobody was in between. */
static int tables_learn(struct wall *w, struct lsn_error *err)
{
	for (int i = 0; i < 5; i++) {
		_cleanup_free_ char *before = w->seen;
		w->seen = NULL;
		int r = put_up(w, err);
		if (r < 0)
			return r;
		w->seen = list_table(w, "inet", w->request.table);
		if (before && w->seen && streq(before, w->seen))
			return 0;
	}
	return lsn_error_set(err, -EIO, "the rules cannot be read back as they were written");
}

static void take_down(struct wall *w)
{
	if (!w->up)
		return;
	remove_table(w, "inet", w->request.table);
	if (w->owned)
		remove_table(w, "inet", w->owned_name);
	if (w->bridge)
		remove_table(w, "bridge", w->request.table);
	w->up = w->lost = false;
}

/* Tables that an earlier helper for the same bridge left behind. They have served until now;
 * ours are up. A living twin (an instance that drains beside its successor) puts its own back. */
static void remove_stale(struct wall *w)
{
	const char *tail = strrchr(w->request.table, '_');
	size_t stem = tail ? (size_t)(tail - w->request.table) + 1 : 0;

	if (stem <= strlen(WALL_TABLE_PREFIX) || nft_run_cmd_from_buffer(w->nft, "list tables") != 0)
		return;
	_cleanup_free_ char *list = strdup(nft_ctx_get_output_buffer(w->nft)), *rest = list;
	for (char *line; list && (line = strsep(&rest, "\n"));) {
		char family[16], name[WALL_TABLE_MAX];
		if (sscanf(line, "table %15s %95s", family, name) != 2 || strncmp(name, w->request.table, stem) != 0)
			continue;
		if (!streq(name, w->request.table) && !streq(name, w->owned_name) &&
		    (streq(family, "inet") || streq(family, "bridge")))
			remove_table(w, family, name);
	}
}

/* ------------------------------------------------------------------------------------- watching */

static bool is_whole(struct wall *w)
{
	_cleanup_free_ char *now = list_table(w, "inet", w->request.table);

	if (!now || !w->seen || !streq(now, w->seen))
		return false;
	if (w->owned) {
		_cleanup_free_ char *owned = list_table(w, "inet", w->owned_name);
		return owned != NULL;
	}
	return true;
}

static void rules_check(struct wall *w)
{
	struct lsn_error err = { 0 };

	if (!w->up || (!w->lost && is_whole(w)))
		return;
	w->next_usec = now_monotonic_usec() + PAUSE_USEC;
	if (put_up(w, &err) == 0)
		answer("restored");
	else if (!w->lost)
		answer("lost %s", err.message);
	w->lost = err.code < 0;
}

/* Does the notification name our table? In every message of nf_tables about a table or what is
 * in one, attribute 1 is the table's name. */
static bool names_us(const struct wall *w, const struct nlmsghdr *h)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));

	if (h->nlmsg_len < skip + sizeof(struct nlattr))
		return false;
	for (size_t at = skip; at + sizeof(struct nlattr) <= h->nlmsg_len;) {
		const struct nlattr *a = (const struct nlattr *)((const char *)h + at);
		if (a->nla_len < sizeof *a || at + a->nla_len > h->nlmsg_len)
			return false;
		const char *name = (const char *)(a + 1);
		if ((a->nla_type & NLA_TYPE_MASK) == NFTA_TABLE_NAME && memchr(name, 0, a->nla_len - sizeof *a))
			return streq(name, w->request.table) || streq(name, w->owned_name);
		at += NLA_ALIGN(a->nla_len);
	}
	return false;
}

static bool read_notes(struct wall *w)
{
	bool ours = false;

	for (;;) {
		union {
			struct nlmsghdr align;
			char bytes[32768];
		} buf;
		ssize_t n = recv(w->netlink_fd, buf.bytes, sizeof buf.bytes, MSG_DONTWAIT);
		if (n < 0)
			return ours || errno == ENOBUFS;
		unsigned left = (unsigned)n;
		for (struct nlmsghdr *h = &buf.align; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
			ours |= names_us(w, h);
	}
}

static int open_notes(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int group = NFNLGRP_NFTABLES;

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* ------------------------------------------------------------------------------------- requests */

static void requests_serve(struct wall *w, const char *line)
{
	struct lsn_error err = { 0 };
	static struct wall_request request; /* large */

	if (wall_request_parse(line, &request, &err) < 0) {
		answer("error %s", err.message);
		return;
	}
	if (!request.up) {
		take_down(w);
		answer("ok down");
		return;
	}
	if (w->up && (!streq(w->request.table, request.table)))
		take_down(w);
	w->request = request;
	(void)snprintf(w->owned_name, sizeof w->owned_name, "%s_own", request.table);
	free(w->seen);
	w->seen = NULL;
	if (tables_learn(w, &err) < 0) {
		w->up = w->lost = false;
		answer("error %s", err.message);
		return;
	}
	w->up = true;
	w->lost = false;
	remove_stale(w);
	answer("ok up flush-proof=%s bridge-table=%s watch=%s", w->owned ? "yes" : "no", w->bridge ? "yes" : "no",
	       w->netlink_fd >= 0 ? "yes" : "no");
}

struct input {
	char bytes[WALL_LINE_MAX];
	size_t size;
};

/* false: the other side has gone, or does not keep to the protocol. */
static bool read_requests(struct wall *w, struct input *in)
{
	ssize_t n = recv(STDIN_FILENO, in->bytes + in->size, sizeof in->bytes - in->size, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	in->size += (size_t)n;
	for (char *end; (end = memchr(in->bytes, '\n', in->size));) {
		*end = 0;
		if (strlen(in->bytes) != (size_t)(end - in->bytes))
			return false;
		requests_serve(w, in->bytes);
		in->size -= (size_t)(end + 1 - in->bytes);
		memmove(in->bytes, end + 1, in->size);
	}
	return in->size < sizeof in->bytes;
}

static int next_pause(const struct wall *w, bool noted)
{
	if (!w->up)
		return -1;
	if (!noted)
		return CHECK_MSEC;
	uint64_t now = now_monotonic_usec();
	return now >= w->next_usec ? 0 : (int)((w->next_usec - now) / USEC_PER_MSEC) + 1;
}

int main(int argc, char **argv)
{
	static struct wall w = { .netlink_fd = -1 };
	static struct input in;
	bool noted = false;

	(void)argv;
	int type = 0;
	socklen_t size = sizeof type;
	if (argc != 1 || getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) < 0) {
		(void)fprintf(stderr, "portwall is started by listenerd: it talks on a socket as its standard input\n");
		return 2;
	}
	(void)prctl(PR_SET_DUMPABLE, 0);
	w.nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!w.nft || nft_ctx_buffer_output(w.nft) != 0 || nft_ctx_buffer_error(w.nft) != 0) {
		answer("error libnftables does not start");
		return 1;
	}
	nft_ctx_output_set_flags(w.nft, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL);
	w.netlink_fd = open_notes();
	for (;;) {
		struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
					 { .fd = w.netlink_fd, .events = POLLIN } };
		int n = poll(fds, 2, next_pause(&w, noted));
		if (n < 0 && errno != EINTR)
			return 1;
		if (n > 0 && fds[1].revents)
			noted |= read_notes(&w);
		if ((n == 0 || noted) && now_monotonic_usec() >= w.next_usec) {
			noted = false;
			rules_check(&w);
		}
		if (n > 0 && fds[0].revents && !read_requests(&w, &in))
			return 0; /* the rules stay */
	}
}
