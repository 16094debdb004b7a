/* wall.c - life of the helper process, requests out, reports in. */
#include "wall.h"

#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cleanup.h>
#include <util.h>

#include "files_limit.h"
#include "log_line.h"
#include "wall_request.h"

#define RETRY_MIN_USEC (500 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)
#define GOODBYE_USEC (500 * USEC_PER_MSEC)
/* its socket closes a moment before it can be asked how it ended */
#define LAST_WORD_USEC (20 * USEC_PER_MSEC)

static const char *const remedies[WALL_CAUSE_MAX] = {
	[WALL_RIGHT] = "give the helper CAP_NET_ADMIN: AmbientCapabilities=CAP_NET_ADMIN in the unit, or setcap "
		       "cap_net_admin+ep portwall",
	[WALL_BRIDGE] = "run listenerd in the network namespace that has the bridge of the sandboxes",
	[WALL_KERNEL] =
		"load the kernel's modules for nf_tables (nf_tables, nft_ct, nft_reject_inet), or take a kernel "
		"that has them",
	[WALL_REQUEST] = "install listenerd and portwall of the same version",
	[WALL_OTHER] = "see the message; it is tried again",
};

struct wall {
	const struct lsn_host *host;
	struct wall_hooks hooks;
	int fd; /* -1: no helper */
	pid_t pid; /* 0: none */
	struct lsn_watch *watch;
	struct lsn_timer *retry;
	uint64_t retry_usec;
	char *request; /* the line that is asked for, newline included */
	bool up;
	unsigned restored;
	uint64_t restored_realtime_usec;
	uint16_t tail; /* of the table's name */
	char state[256];
	const char *remedy; /* NULL: none is needed */
	char input[2048];
	size_t input_size;
};

static void helper_attempt(struct wall *wall);

/* REMEDY NULL: it is up, or nobody has asked for it. */
static void set_state(struct wall *wall, const char *remedy, const char *text)
{
	bool was = wall->up, news = was != !remedy || !streq(wall->state, text);

	wall->up = !remedy;
	wall->remedy = remedy;
	(void)snprintf(wall->state, sizeof wall->state, "%s", text);
	if (!news)
		return;
	wall->host->log(wall->host->handle, remedy ? LSN_LOG_ERROR : LSN_LOG_INFO, "port wall: %s%s%s", text,
			remedy ? "; " : "", remedy ? remedy : "");
	wall->hooks.changed(wall->hooks.data);
}

/* The status of the helper that ended, waited for at most PATIENCE_USEC; -1: it has not, or
 * there is none. */
static int helper_reap(struct wall *wall, uint64_t patience_usec)
{
	uint64_t end = now_monotonic_usec() + patience_usec;
	int status = -1;
	pid_t pid;

	if (wall->pid <= 0)
		return -1;
	while ((pid = waitpid(wall->pid, &status, WNOHANG)) == 0) {
		if (now_monotonic_usec() >= end)
			return -1; /* a zombie until we end; it holds nothing */
		(void)poll(NULL, 0, 1);
	}
	wall->pid = 0;
	return pid > 0 ? status : -1;
}

static void retry_now(void *data)
{
	struct wall *wall = data;

	wall->retry = NULL;
	(void)helper_reap(wall, 0);
	helper_attempt(wall);
}

static void attempt_later(struct wall *wall)
{
	uint64_t pause = wall->retry_usec ? wall->retry_usec : RETRY_MIN_USEC;

	wall->retry_usec = pause * 2 < RETRY_MAX_USEC ? pause * 2 : RETRY_MAX_USEC;
	if (!wall->retry)
		(void)wall->host->timer(wall->host->handle, pause, retry_now, wall, &wall->retry);
}

static void drop_helper(struct wall *wall)
{
	wall->host->unwatch(wall->host->handle, wall->watch);
	wall->watch = NULL;
	if (wall->fd >= 0)
		(void)close(wall->fd);
	wall->fd = -1;
	wall->input_size = 0;
	(void)helper_reap(wall, 0);
}

/* "error CAUSE REASON" and "lost CAUSE REASON". */
static void take_refusal(struct wall *wall, const char *line)
{
	const char *reason = strchr(line, ' ') + 1;
	size_t size = strcspn(reason, " ");
	enum wall_cause which = WALL_OTHER;

	for (size_t i = 0; i < WALL_CAUSE_MAX; i++)
		if (strlen(wall_causes[i]) == size && strncmp(reason, wall_causes[i], size) == 0) {
			which = (enum wall_cause)i;
			reason += size + strspn(reason + size, " ");
			break;
		}
	set_state(wall, remedies[which], reason);
}

static void take_line(struct wall *wall, char *line)
{
	char text[220];
	bool refused = str_startswith(line, "error ");

	(void)str_quote(text, sizeof text, line, strlen(line));
	if (str_startswith(line, "ok up")) {
		wall->retry_usec = 0;
		set_state(wall, NULL, line + 3);
	} else if (str_startswith(line, "restored")) {
		wall->restored++;
		wall->restored_realtime_usec = now_realtime_usec();
		log_line(wall->host, WARNING, "port wall: somebody removed or changed the rules; they are back");
		set_state(wall, NULL, "up, restored");
	} else if (refused || str_startswith(line, "lost ")) {
		take_refusal(wall, line);
		if (refused)
			attempt_later(wall);
	} else if (!str_startswith(line, "ok"))
		log_line(wall->host, WARNING, "port wall: the helper says %s", text);
}

/* What to do about a helper that ended with STATUS of waitpid(), or -1. */
static const char *remedy_of_end(int status)
{
	if (status < 0 || !WIFSIGNALED(status))
		return "read in the daemon's log what portwall wrote; it is started again";
	switch (WTERMSIG(status)) {
	case SIGKILL: return "see in the kernel's log whether memory ran out (journalctl -k); it is started again";
	case SIGSYS: return "let the unit allow the helper netlink: RestrictAddressFamilies, SystemCallFilter";
	case SIGSEGV:
	case SIGABRT:
	case SIGBUS:
	case SIGILL:
	case SIGFPE: return "see `coredumpctl info portwall`, and report it; it is started again";
	default: return "find out who sent the signal; it is started again";
	}
}

static void helper_ended(struct wall *wall)
{
	char text[120] = "the helper portwall has ended";
	size_t size = strlen(text);
	int status = helper_reap(wall, LAST_WORD_USEC);

	drop_helper(wall);
	if (status >= 0 && WIFSIGNALED(status))
		(void)snprintf(text + size, sizeof text - size, " by signal %d (%s)", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
	else if (status >= 0)
		(void)snprintf(text + size, sizeof text - size, " with status %d", WEXITSTATUS(status));
	set_state(wall, remedy_of_end(status), text);
	attempt_later(wall);
}

static void helper_readable(void *data, int fd, uint32_t events)
{
	struct wall *wall = data;
	ssize_t n = recv(fd, wall->input + wall->input_size, sizeof wall->input - wall->input_size, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		wall->input_size += (size_t)n;
	for (char *end; n > 0 && (end = memchr(wall->input, '\n', wall->input_size));) {
		*end = 0;
		take_line(wall, wall->input);
		wall->input_size -= (size_t)(end + 1 - wall->input);
		memmove(wall->input, end + 1, wall->input_size);
	}
	if (n <= 0 || wall->input_size == sizeof wall->input) {
		helper_ended(wall);
	}
}

static int spawn_helper(struct wall *wall)
{
	_cleanup_free_ char *path = NULL;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	char *argv[] = { (char *)"portwall", NULL }, *env[] = { (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	int pair[2];

	if (asprintf(&path, "%s/portwall", wall->host->libexec_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, pair[1], STDOUT_FILENO);
	(void)posix_spawnattr_setsigmask(&attr, &none); /* the daemon blocks what its loop takes */
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	/* a Ctrl-C at the daemon is not for the helper */
	(void)posix_spawnattr_setpgroup(&attr, 0);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	files_limit_restore();
	int r = posix_spawn(&wall->pid, path, &actions, &attr, argv, env);
	files_limit_lift();
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pair[1]);
	if (r != 0) {
		wall->pid = 0;
		(void)close(pair[0]);
		return -r;
	}
	wall->fd = pair[0];
	return 0;
}

static int start_helper(struct wall *wall)
{
	int r = spawn_helper(wall);

	if (r == 0)
		r = wall->host->watch(wall->host->handle, wall->fd, LSN_WATCH_READ, helper_readable, wall,
				      &wall->watch);
	if (r < 0)
		drop_helper(wall);
	return r;
}

static void helper_attempt(struct wall *wall)
{
	size_t size = wall->request ? strlen(wall->request) : 0;
	char text[160];
	int r = 0;

	if (size == 0)
		return;
	if (wall->fd < 0)
		r = start_helper(wall);
	if (r == 0 && send(wall->fd, wall->request, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) {
		r = -EIO;
		drop_helper(wall);
	}
	if (r < 0) {
		(void)snprintf(text, sizeof text, "the helper %s/portwall does not start: %s", wall->host->libexec_dir,
			       strerror(-r));
		set_state(wall, "install listenerd's helper programs anew, where its user may execute them", text);
		attempt_later(wall);
	}
}

/* -------------------------------------------------------------------------------------- request */

struct line {
	char *text;
	size_t size;
	bool full;
};

__attribute__((format(printf, 2, 3))) static void put(struct line *l, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	int n = vsnprintf(l->text + l->size, WALL_LINE_MAX - l->size, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= WALL_LINE_MAX - l->size)
		l->full = true;
	else
		l->size += (size_t)n;
}

static void put_list(struct line *l, const char *key, const struct str_list *list)
{
	put(l, " %s=", key);
	for (size_t i = 0; i < list->count; i++)
		put(l, "%s%s", i ? "," : "", list->items[i]);
}

/* The table's name: listener and instance for people, the bridge so that a successor knows what
 * it replaces, a random tail so that two instances that live side by side for a while do not
 * repair each other's rules. */
static void put_table(struct line *l, const struct lsn_host *host, const char *bridge, uint16_t tail)
{
	const char *parts[] = { host->listener, host->instance };

	put(l, "up table=%s", WALL_TABLE_PREFIX);
	for (size_t i = 0; i < 2; i++) {
		for (const char *p = parts[i]; *p && p < parts[i] + 24; p++)
			put(l, "%c", strchr("abcdefghijklmnopqrstuvwxyz0123456789", *p) ? *p : '_');
		put(l, "_");
	}
	put(l, "%s_%04x", bridge + strlen(WALL_BRIDGE_PREFIX), tail);
}

int wall_raise(struct wall *wall, const char *bridge, const struct options *options)
{
	struct line l = { .text = malloc(WALL_LINE_MAX) };

	if (!l.text)
		return -ENOMEM;
	put_table(&l, wall->host, bridge, wall->tail);
	put(&l, " bridge=%s", bridge);
	put_list(&l, "ports", &options->ports);
	put_list(&l, "dns", &options->dns);
	put_list(&l, "allow", &options->allow_networks);
	put_list(&l, "deny", &options->deny_networks);
	put(&l, " ftp=%s connections=%llu\n", options->ftp_related ? "related" : "off",
	    (unsigned long long)options->connections);
	if (l.full) {
		free(l.text);
		return -EINVAL;
	}
	free(wall->request);
	wall->request = l.text;
	wall->up = false;
	wall->retry_usec = 0;
	helper_attempt(wall);
	return 0;
}

bool wall_up(const struct wall *wall) { return wall->up; }

const char *wall_state(const struct wall *wall) { return wall->state; }

const char *wall_remedy(const struct wall *wall) { return wall->remedy; }

unsigned wall_restored(const struct wall *wall, uint64_t *ret_realtime_usec)
{
	*ret_realtime_usec = wall->restored_realtime_usec;
	return wall->restored;
}

int wall_new(const struct lsn_host *host, const struct wall_hooks *hooks, struct wall **ret)
{
	struct wall *wall = calloc(1, sizeof *wall);

	if (!wall)
		return -ENOMEM;
	*wall = (struct wall){ .host = host, .hooks = *hooks, .fd = -1, .state = "not asked for yet" };
	wall->remedy = "wait until the network of the sandboxes is there";
	if (getrandom(&wall->tail, sizeof wall->tail, 0) != sizeof wall->tail)
		wall->tail = (uint16_t)getpid();
	*ret = wall;
	return 0;
}

/* Until the helper has answered LINE, or has ended, or time is up. */
static bool await_line(struct wall *wall, const char *line, uint64_t end_usec)
{
	char *end = NULL;

	for (uint64_t now; (now = now_monotonic_usec()) < end_usec;) {
		struct pollfd p = { .fd = wall->fd, .events = POLLIN };
		size_t room = sizeof wall->input - wall->input_size;
		if (poll(&p, 1, (int)((end_usec - now) / USEC_PER_MSEC) + 1) <= 0)
			continue;
		ssize_t n = recv(wall->fd, wall->input + wall->input_size, room, MSG_DONTWAIT);
		if (n <= 0)
			return false;
		for (wall->input_size += (size_t)n; (end = memchr(wall->input, '\n', wall->input_size));) {
			*end = 0;
			if (streq(wall->input, line))
				return true;
			wall->input_size -= (size_t)(end + 1 - wall->input);
			memmove(wall->input, end + 1, wall->input_size);
		}
	}
	return false;
}

/* The rules outlive the helper that put them up, and it may have ended, perhaps just now and
 * unnoticed: then another one removes them. */
static bool take_down(struct wall *wall)
{
	uint64_t end = now_monotonic_usec() + GOODBYE_USEC;
	char line[sizeof "down table=\n" + WALL_TABLE_MAX];
	const char *table = wall->request + strlen("up ");
	int size = snprintf(line, sizeof line, "down %.*s\n", (int)strcspn(table, " "), table);

	for (int attempts = 0; attempts < 3 && now_monotonic_usec() < end; attempts++) {
		if (wall->fd < 0 && spawn_helper(wall) < 0)
			return false;
		if (send(wall->fd, line, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) == size &&
		    await_line(wall, "ok down", end))
			return true;
		(void)helper_reap(wall, LAST_WORD_USEC);
		drop_helper(wall);
	}
	return false;
}

void wall_free(struct wall *wall, bool remove)
{
	if (!wall)
		return;
	wall->host->timer_cancel(wall->host->handle, wall->retry);
	if (remove && wall->request && !take_down(wall))
		log_line(wall->host, WARNING,
			 "port wall: its rules are left behind, for no helper said that it had removed them; `nft list "
			 "tables` shows them as " WALL_TABLE_PREFIX "*");
	if (wall->fd >= 0)
		(void)shutdown(wall->fd, SHUT_WR);
	(void)helper_reap(wall, GOODBYE_USEC);
	drop_helper(wall);
	free(wall->request);
	free(wall);
}

int wall_fd(const struct wall *wall) { return wall->fd; }

void wall_leave(struct wall *wall)
{
	if (!wall)
		return;
	wall->host->timer_cancel(wall->host->handle, wall->retry);
	drop_helper(wall);
	free(wall->request);
	free(wall);
}
