/* portwall.c - the privileged helper that holds the port wall: a child of the daemon that needs
 * CAP_NET_ADMIN and nothing else, so that the daemon itself can go without. It reads requests
 * (wall_request.h) from stdin, which is a socket, and answers on it.
 *
 * It keeps two tables with the same rules. One belongs to its netlink socket (flag owner, Linux
 * 5.12): `nft flush ruleset` passes over it, but it goes when this process goes. The other is a
 * plain one: it stays when this process dies while sandboxes still run, but anybody with the
 * right can flush it; then it is put back at once. So neither a flush nor a crash leaves a
 * moment without rules. Only "down" removes them, and it removes nothing else.
 *
 * What it believes: nothing. Tables can only be named listenerd_*, bridges only lsn<8 hex>,
 * ports are of the seven. What other programs keep in nf_tables it neither reads nor touches. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cleanup.h>
#include <util.h>

#include "nft.h"
#include "nft_picture.h"
#include "nft_socket.h"
#include "wall_request.h"
#include "wall_rules.h"

#define CHECK_MSEC 5000 /* without a notification, while up */
#define PAUSE_USEC (20 * USEC_PER_MSEC) /* between two repairs: somebody may be at war with us */

/* What not every kernel offers. */
struct features {
	bool owned; /* tables that belong to a socket */
	bool bridge; /* a table for frames */
	bool early; /* refusals before a packet is routed */
	bool count; /* of connections; false as well if none was asked for */
};

struct wall {
	int fd; /* nf_tables */
	int notes_fd; /* its notifications; negative: none, then the periodic check alone */
	struct wall_request request;
	bool up, lost;
	struct features has;
	char owned_name[WALL_TABLE_MAX + 8];
	struct nft_picture seen; /* the plain table as the kernel lists it */
	uint64_t next_usec; /* no repair before */
};

DEFINE_CLEANUP(struct nft *, nft_freep, nft_free)

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
	for (size_t i = 0; i < size; i++) /* what the kernel says may have lines of its own */
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[size] = '\n';
	if (send(STDIN_FILENO, line, size + 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		exit(1);
}

/* ----------------------------------------------------------------------------------- putting up */

static enum wall_cause cause_of(int code)
{
	switch (code) {
	case -EPERM:
	case -EACCES: return WALL_RIGHT;
	case -ENODEV: return WALL_BRIDGE;
	case -EOPNOTSUPP:
	case -ENOENT:
	case -EINVAL:
	case -EPROTONOSUPPORT: return WALL_KERNEL;
	default: return WALL_OTHER;
	}
}

static void answer_error(const char *word, const struct lsn_error *err)
{
	answer("%s %s %s", word, wall_causes[cause_of(err->code)], err->message);
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

enum part { PART_PLAIN = 1 << 0, PART_OWNED = 1 << 1, PART_EARLY = 1 << 2, PART_COUNT = 1 << 3, PART_BRIDGE = 1 << 4 };

/* One transaction with PARTS. */
static int reply_put(struct wall *w, unsigned parts, struct lsn_error *err)
{
	const struct wall_request *req = &w->request;
	_cleanup_(nft_freep) struct nft *t = nft_new();

	if (!t)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	if (parts & PART_PLAIN)
		wall_rules(t, req, req->table, false);
	if (parts & PART_OWNED)
		wall_rules(t, req, w->owned_name, true);
	/* something more for the table that stands */
	if (!(parts & (PART_PLAIN | PART_OWNED | PART_BRIDGE)))
		nft_table(t, NFT_ADD, NFPROTO_INET, req->table, 0);
	if (parts & PART_EARLY)
		wall_rules_early(t, req, req->table);
	if (parts & PART_COUNT)
		wall_rules_count(t, req, req->table);
	if (parts & PART_BRIDGE)
		wall_rules_bridge(t, req, req->table);
	return nft_commit(w->fd, t, err);
}

/* All of the plain table at once if the kernel can; else the table first, and then what it can
 * of the rest. */
static int put_plain(struct wall *w, struct lsn_error *err)
{
	unsigned more = (w->has.early ? PART_EARLY : 0u) | (w->has.count ? PART_COUNT : 0u);

	if (reply_put(w, PART_PLAIN | more, NULL) == 0)
		return 0;
	int r = reply_put(w, PART_PLAIN, err);
	if (r < 0)
		return r;
	w->has.early = reply_put(w, PART_EARLY, NULL) == 0;
	w->has.count = w->request.connections > 0 && reply_put(w, PART_COUNT, NULL) == 0;
	return 0;
}

static int put_up(struct wall *w, struct lsn_error *err)
{
	if (if_nametoindex(w->request.bridge) == 0)
		return lsn_error_set(err, -ENODEV, "there is no bridge %s in this network namespace",
				     w->request.bridge);
	int r = put_plain(w, err);
	if (r < 0)
		return r;
	w->has.owned = reply_put(w, PART_OWNED, NULL) == 0;
	w->has.bridge = reply_put(w, PART_BRIDGE, NULL) == 0;
	if (!w->has.bridge && !bridged_frames_pass_us())
		return lsn_error_set(err, -EOPNOTSUPP,
				     "sandboxes could reach each other: the kernel offers neither nft_meta_bridge nor "
				     "br_netfilter (modprobe br_netfilter; sysctl net.bridge.bridge-nf-call-iptables=1 "
				     "and -ip6tables=1)");
	return 0;
}

static void forget_picture(struct wall *w)
{
	free(w->seen.bytes);
	w->seen = (struct nft_picture){ 0 };
}

/* What our rules look like when the kernel lists them. Taken once per request, not with each
 * repair: whoever changes the rules between our writing and our reading would have the changed
 * ones taken for ours. Twice the same: nobody was in between. */
static int tables_learn(struct wall *w, struct lsn_error *err)
{
	forget_picture(w);
	for (int i = 0; i < 5; i++) {
		struct nft_picture before = w->seen;
		w->seen = (struct nft_picture){ 0 };
		int r = put_up(w, err);
		bool same = r == 0 && nft_take_picture(w->fd, w->request.table, &w->seen) == 0 &&
			    nft_pictures_equal(&before, &w->seen);
		free(before.bytes);
		if (r < 0 || same)
			return r;
	}
	return lsn_error_set(err, -EIO, "the rules cannot be read back as they were written");
}

static void remove_table(struct wall *w, uint8_t family, const char *name)
{
	_cleanup_(nft_freep) struct nft *t = nft_new();

	if (!t)
		return;
	nft_table(t, NFT_DELETE, family, name, 0);
	(void)nft_commit(w->fd, t, NULL);
}

static void set_owned_name(struct wall *w)
{
	(void)snprintf(w->owned_name, sizeof w->owned_name, "%s_own", w->request.table);
}

/* Of the tables that w->request names. Which of them there are is not known of a helper that has
 * ended, and one that is not there is no fault. */
static void take_down(struct wall *w)
{
	set_owned_name(w);
	remove_table(w, NFPROTO_INET, w->request.table);
	remove_table(w, NFPROTO_INET, w->owned_name);
	remove_table(w, NFPROTO_BRIDGE, w->request.table);
	w->up = w->lost = false;
}

#define STALE_MAX 32

struct stale {
	const struct wall *wall;
	size_t stem; /* bytes of the table's name that an earlier helper's has too */
	struct {
		uint8_t family;
		char name[WALL_TABLE_MAX + 8];
	} list[STALE_MAX];
	size_t count;
};

static void find_stale(void *data, uint8_t family, const char *name)
{
	struct stale *s = data;
	const struct wall *w = s->wall;

	if (strncmp(name, w->request.table, s->stem) != 0 || streq(name, w->request.table) ||
	    streq(name, w->owned_name))
		return;
	if ((family != NFPROTO_INET && family != NFPROTO_BRIDGE) || s->count == STALE_MAX ||
	    strlen(name) >= sizeof s->list->name)
		return;
	s->list[s->count].family = family;
	memcpy(s->list[s->count++].name, name, strlen(name) + 1);
}

/* Tables that an earlier helper for the same bridge left behind. They have served until now;
 * ours are up. A living twin (an instance that drains beside its successor) puts its own back. */
static void remove_stale(struct wall *w)
{
	const char *tail = strrchr(w->request.table, '_');
	struct stale s = { .wall = w, .stem = tail ? (size_t)(tail - w->request.table) + 1 : 0 };

	if (s.stem <= strlen(WALL_TABLE_PREFIX) || nft_each_table(w->fd, find_stale, &s) < 0)
		return;
	for (size_t i = 0; i < s.count; i++)
		remove_table(w, s.list[i].family, s.list[i].name);
}

/* ------------------------------------------------------------------------------------- watching */

/* 1: yes, 0: no, -EAGAIN: somebody is writing just now. */
static int is_whole(struct wall *w)
{
	struct nft_picture now = { 0 };
	int r = nft_take_picture(w->fd, w->request.table, &now);
	bool same = r == 0 && nft_pictures_equal(&now, &w->seen);

	free(now.bytes);
	if (r == -EAGAIN)
		return r;
	return same && (!w->has.owned || nft_exists(w->fd, NFPROTO_INET, w->owned_name));
}

/* True if it must be looked at again soon. */
static bool rules_check(struct wall *w)
{
	struct lsn_error err = { 0 };
	int whole = w->up && !w->lost ? is_whole(w) : 0;

	if (!w->up || whole == 1)
		return false;
	w->next_usec = now_monotonic_usec() + PAUSE_USEC;
	if (whole == -EAGAIN)
		return true;
	if (put_up(w, &err) == 0)
		answer("restored");
	else if (!w->lost)
		answer_error("lost", &err);
	w->lost = err.code < 0;
	return false;
}

/* ------------------------------------------------------------------------------------- requests */

static const char *word_is_yes(bool value) { return value ? "yes" : "no"; }

static void requests_serve(struct wall *w, const char *line)
{
	struct lsn_error err = { 0 };
	static struct wall_request request; /* large */

	if (wall_request_parse(line, &request, &err) < 0) {
		answer("error %s %s", wall_causes[WALL_REQUEST], err.message);
		return;
	}
	if (w->up && !streq(w->request.table, request.table))
		take_down(w);
	w->request = request;
	if (!request.up) {
		take_down(w);
		answer("ok down");
		return;
	}
	w->has = (struct features){ .early = true, .count = request.connections > 0 };
	set_owned_name(w);
	w->lost = false;
	w->up = tables_learn(w, &err) == 0;
	if (!w->up) {
		answer_error("error", &err);
		return;
	}
	remove_stale(w);
	answer("ok up flush-proof=%s bridge-table=%s early=%s count=%s watch=%s", word_is_yes(w->has.owned),
	       word_is_yes(w->has.bridge), word_is_yes(w->has.early), word_is_yes(w->has.count),
	       word_is_yes(w->notes_fd >= 0));
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

/* One turn of the loop; false: the other side has gone. */
static bool loop_turn(struct wall *w, struct input *in, bool *noted)
{
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = w->notes_fd, .events = POLLIN } };
	int n = poll(fds, 2, next_pause(w, *noted));

	if (n < 0)
		return errno == EINTR;
	if (fds[1].revents)
		*noted |= nft_read_notes(w->notes_fd, w->request.table, w->owned_name);
	if ((n == 0 || *noted) && now_monotonic_usec() >= w->next_usec)
		*noted = rules_check(w);
	return !fds[0].revents || read_requests(w, in);
}

int main(int argc, char **argv)
{
	static struct wall w;
	static struct input in;
	bool noted = false;
	int type = 0;
	socklen_t size = sizeof type;

	(void)argv;
	if (argc != 1 || getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) < 0) {
		(void)fprintf(stderr, "portwall is started by listenerd: it talks on a socket as its standard input\n");
		return 2;
	}
	(void)prctl(PR_SET_DUMPABLE, 0);
	w.fd = nft_open();
	if (w.fd < 0) {
		answer("error %s no netlink socket for nf_tables: %s", wall_causes[cause_of(w.fd)], strerror(-w.fd));
		return 1;
	}
	w.notes_fd = nft_open_notes();
	while (loop_turn(&w, &in, &noted))
		;
	return 0; /* the rules stay */
}
