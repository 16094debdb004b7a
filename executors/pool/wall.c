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

#include "log_line.h"
#include "wall_rules.h"

#define RETRY_MIN_USEC (500 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)
#define GOODBYE_USEC (500 * USEC_PER_MSEC)

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
	uint16_t tail; /* of the table's name */
	char state[256];
	char input[2048];
	size_t input_size;
};

static void helper_attempt(struct wall *wall);

static void set_state(struct wall *wall, bool up, const char *text)
{
	bool was = wall->up, news = was != up || !streq(wall->state, text);

	wall->up = up;
	(void)snprintf(wall->state, sizeof wall->state, "%s", text);
	if (!news)
		return;
	wall->host->log(wall->host->handle, up ? LSN_LOG_INFO : LSN_LOG_ERROR, "port wall: %s", text);
	wall->hooks.changed(wall->hooks.data);
}

static void helper_reap(struct wall *wall, bool patient)
{
	uint64_t end = now_monotonic_usec() + (patient ? GOODBYE_USEC : 0);

	if (wall->pid <= 0)
		return;
	while (waitpid(wall->pid, NULL, WNOHANG) == 0) {
		if (now_monotonic_usec() >= end)
			return; /* a zombie until we end; it holds nothing */
		(void)poll(NULL, 0, 5);
	}
	wall->pid = 0;
}

static void retry_now(void *data)
{
	struct wall *wall = data;

	wall->retry = NULL;
	helper_reap(wall, false);
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
	helper_reap(wall, false);
}

static void take_line(struct wall *wall, char *line)
{
	char text[220];

	(void)str_quote(text, sizeof text, line, strlen(line));
	if (str_startswith(line, "ok up")) {
		wall->retry_usec = 0;
		set_state(wall, true, line + 3);
	} else if (str_startswith(line, "restored")) {
		wall->restored++;
		log_line(wall->host, WARNING, "port wall: somebody removed or changed the rules; they are back");
		set_state(wall, true, "up, restored");
	} else if (str_startswith(line, "lost ") || str_startswith(line, "error ")) {
		set_state(wall, false, strchr(line, ' ') + 1);
		if (*line == 'e')
			attempt_later(wall);
	} else if (!str_startswith(line, "ok"))
		log_line(wall->host, WARNING, "port wall: the helper says %s", text);
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
		drop_helper(wall);
		set_state(wall, false, "the helper portwall has ended");
		attempt_later(wall);
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
	int r = posix_spawn(&wall->pid, path, &actions, &attr, argv, env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pair[1]);
	if (r != 0) {
		wall->pid = 0;
		(void)close(pair[0]);
		return -r;
	}
	wall->fd = pair[0];
	r = wall->host->watch(wall->host->handle, wall->fd, LSN_WATCH_READ, helper_readable, wall, &wall->watch);
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
		r = spawn_helper(wall);
	if (r == 0 && send(wall->fd, wall->request, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) {
		r = -EIO;
		drop_helper(wall);
	}
	if (r < 0) {
		(void)snprintf(text, sizeof text, "the helper %s/portwall does not start: %s", wall->host->libexec_dir,
			       strerror(-r));
		set_state(wall, false, text);
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
	put(&l, " ftp=%s\n", options->ftp_related ? "related" : "off");
	if (l.full) {
		free(l.text);
		return -EINVAL;
	}
	free(wall->request);
	wall->request = l.text;
	wall->retry_usec = 0;
	helper_attempt(wall);
	return 0;
}

bool wall_up(const struct wall *wall) { return wall->up; }

const char *wall_state(const struct wall *wall) { return wall->state; }

unsigned wall_restored(const struct wall *wall) { return wall->restored; }

int wall_new(const struct lsn_host *host, const struct wall_hooks *hooks, struct wall **ret)
{
	struct wall *wall = calloc(1, sizeof *wall);

	if (!wall)
		return -ENOMEM;
	*wall = (struct wall){ .host = host, .hooks = *hooks, .fd = -1, .state = "not asked for yet" };
	if (getrandom(&wall->tail, sizeof wall->tail, 0) != sizeof wall->tail)
		wall->tail = (uint16_t)getpid();
	*ret = wall;
	return 0;
}

void wall_free(struct wall *wall, bool remove)
{
	if (!wall)
		return;
	wall->host->timer_cancel(wall->host->handle, wall->retry);
	if (wall->fd >= 0 && remove)
		(void)send(wall->fd, "down\n", 5, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (wall->fd >= 0)
		(void)shutdown(wall->fd, SHUT_WR);
	helper_reap(wall, true);
	drop_helper(wall);
	free(wall->request);
	free(wall);
}
