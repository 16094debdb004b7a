/* control.c - see control.h. The listening socket, who may connect, how many.
 * control_connection.c has the rest. */
#include "control_private.h"
#include "log.h"
#include "soon.h"
#include "stall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define TICK_USEC (10 * USEC_PER_SEC)

/* ------------------------------------------------------------------------------------ admission */

static bool is_operator(const struct connection *connection) { return connection->may[CONTROL_OPERATE]; }

/* count_readers - connections that may only look: all of them, and those of USER. */
static unsigned count_readers(const struct control *control, uid_t user, unsigned *ret_of_user)
{
	const struct connection *connection;
	unsigned count = 0;

	*ret_of_user = 0;
	LIST_FOREACH (connection, &control->connections, list) {
		if (connection->closing || is_operator(connection))
			continue;
		count++;
		*ret_of_user += connection->peer.uid == user;
	}
	return count;
}

/* make_place - for an operator there is always a place: that of whoever has been silent for
 * longest, readers before operators. */
static void make_place(struct control *control, const struct connection *newcomer)
{
	struct connection *connection, *victim = NULL;

	LIST_FOREACH (connection, &control->connections, list) {
		if (connection == newcomer || connection->closing)
			continue;
		bool rather = !victim || (is_operator(victim) && !is_operator(connection));
		if (rather ||
		    (is_operator(victim) == is_operator(connection) && connection->active_usec < victim->active_usec))
			victim = connection;
	}
	if (victim)
		connection_refuse(victim, EBUSY, "closed: all connections were in use, and an operator needed one");
}

static void admit_reader(struct connection *connection)
{
	unsigned of_user, count = count_readers(connection->control, connection->peer.uid, &of_user);

	if (connection->control->connection_count > CONTROL_CONNECTIONS_MAX || count > CONTROL_READERS_MAX)
		connection_refuse(connection, EBUSY, "too many connections to the control socket; try again later");
	else if (of_user > CONTROL_USER_MAX)
		connection_refuse(connection, EBUSY, "you have too many connections to the control socket; close one");
}

static void connection_welcome(struct connection *connection)
{
	struct control *control = connection->control;

	control_access_check(&control->access, connection->fd, &connection->peer, connection->may);
	if (!connection->may[CONTROL_READ])
		connection_refuse(connection, EACCES,
				  "you are neither one of the [control] readers nor one of the [control] operators");
	else if (!is_operator(connection))
		admit_reader(connection);
	else if (control->connection_count > CONTROL_CONNECTIONS_MAX)
		make_place(control, connection);
}

/* ------------------------------------------------------------------------------------ listening */

static int on_listening(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	stall_source("control", "accepting");
	struct control *control = data;
	(void)revents;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (peer < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The waiting peer would wake us for ever: look again at the next tick. */
			log_warning("cannot accept a control connection: %s", strerror(errno));
			(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
			(void)sd_event_source_set_time_relative(control->tick, USEC_PER_SEC);
			(void)sd_event_source_set_enabled(control->tick, SD_EVENT_ONESHOT);
		}
		return 0;
	}
	struct connection *connection = connection_new(control, peer);
	if (connection) {
		connection_welcome(connection);
		if (control->connection_count == 1) {
			(void)sd_event_source_set_time_relative(control->tick, TICK_USEC);
			(void)sd_event_source_set_enabled(control->tick, SD_EVENT_ONESHOT);
		}
	} else {
		log_warning("cannot serve a control connection: %s", strerror(errno));
		(void)close(peer);
	}
	return 0;
}

/* on_tick - every ten seconds while there are connections: drop the idle ones. */
static int on_tick(sd_event_source *source, uint64_t usec, void *data)
{
	stall_source("control", "idle connections");
	struct control *control = data;
	uint64_t before = now_monotonic_usec() - CONTROL_IDLE_USEC;
	struct connection *connection, *next;
	(void)usec;
	for (connection = LIST_FIRST(&control->connections); connection; connection = next) {
		next = LIST_NEXT(connection, list);
		if (connection_is_idle(connection, before))
			connection_kill(connection);
	}
	(void)sd_event_source_set_enabled(control->io, SD_EVENT_ON);
	if (control->connection_count) {
		(void)sd_event_source_set_time_relative(source, TICK_USEC);
		(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	return 0;
}

/* on_slice - in each turn one connection goes on, so that nobody who asks much holds up the
 * events, or the others. */
static int on_slice(sd_event_source *source, uint64_t usec, void *data)
{
	struct control *control = data;
	(void)source;
	(void)usec;
	connections_work(control);
	if (!TAILQ_EMPTY(&control->work))
		soon(control->slice);
	return 0;
}

static int socket_address(const char *path, const char *suffix, struct sockaddr_un *ret, struct lsn_error *err)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(ret->sun_path, sizeof ret->sun_path, "%s%s", path, suffix);
	if (n < 0 || (size_t)n >= sizeof ret->sun_path)
		return lsn_error_set(err, -ENAMETOOLONG,
				     "[control] socket: '%s' is too long for a unix socket; at "
				     "most %zu bytes",
				     path, sizeof ret->sun_path - sizeof ".new");
	return 0;
}

/* socket_check_free - may PATH be replaced? Only a socket that nobody, or this very process,
 * listens on. */
static int socket_check_free(const char *path, const struct sockaddr_un *address, struct lsn_error *err)
{
	struct stat st;
	struct ucred owner = { .pid = 0 };
	socklen_t size = sizeof owner;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : lsn_error_set(err, -errno, "[control] socket: %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return lsn_error_set(err, -EEXIST, "[control] socket: %s exists and is not a socket; move it away",
				     path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return lsn_error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EAGAIN)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 && owner.pid == getpid())
		return 0;
	return lsn_error_set(err, -EADDRINUSE,
			     "[control] socket: process %d already listens on %s: another "
			     "listenerd?",
			     owner.pid, path);
}

static int socket_set_access(const char *path, const struct control_access *access, struct lsn_error *err)
{
	if (access->group != getegid() && lchown(path, (uid_t)-1, access->group) < 0)
		return lsn_error_set(err, -errno,
				     "[control] group: cannot give %s to group %u: %s; the daemon's "
				     "user must be a member of it",
				     path, access->group, strerror(errno));
	if (chmod(path, access->open ? 0666 : 0660) < 0)
		return lsn_error_set(err, -errno, "cannot set the mode of %s: %s", path, strerror(errno));
	return 0;
}

/* control_bind - under a name of its own first, and renamed when it is ready: peers never find a
 * socket that is not. */
static int control_bind(struct control *control, struct lsn_error *err)
{
	struct sockaddr_un final, fresh;
	struct stat st = { 0 };
	int r = socket_address(control->path, ".new", &fresh, err);
	if (r == 0)
		r = socket_address(control->path, "", &final, err);
	if (r == 0)
		r = socket_check_free(control->path, &final, err);
	if (r < 0)
		return r;
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0)
		return lsn_error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	(void)unlink(fresh.sun_path);
	(void)fchmod(control->fd, 0600); /* the mode bind() gives the file */
	if (bind(control->fd, (const struct sockaddr *)&fresh, sizeof fresh) < 0 || listen(control->fd, 64) < 0)
		return lsn_error_set(err, -errno, "[control] socket: cannot listen on %s: %s", control->path,
				     strerror(errno));
	r = socket_set_access(fresh.sun_path, &control->access, err);
	if (r == 0 && (lstat(fresh.sun_path, &st) < 0 || rename(fresh.sun_path, control->path) < 0))
		r = lsn_error_set(err, -errno, "[control] socket: cannot put %s in place: %s", control->path,
				  strerror(errno));
	if (r < 0) {
		(void)unlink(fresh.sun_path);
		return r;
	}
	control->device = st.st_dev;
	control->inode = st.st_ino;
	return 0;
}

static int control_start(struct control *control, const struct control_config *config, struct lsn_error *err)
{
	control->path = strdup(config->socket);
	if (!control->path)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	int r = control_access_resolve(config, &control->access, err);
	if (r == 0)
		r = control_bind(control, err);
	if (r < 0)
		return r;
	r = sd_event_add_io(control->loop, &control->io, control->fd, EPOLLIN, on_listening, control);
	if (r >= 0)
		r = sd_event_add_time_relative(control->loop, &control->tick, CLOCK_MONOTONIC, TICK_USEC, USEC_PER_SEC,
					       on_tick, control);
	if (r >= 0)
		r = soon_new(control->loop, on_slice, control, &control->slice);
	if (r < 0)
		return lsn_error_set(err, r, "cannot watch the control socket: %s", strerror(-r));
	(void)sd_event_source_set_enabled(control->tick, SD_EVENT_OFF);
	return 0;
}

int control_new(sd_event *loop, const struct control_config *config, const struct control_command *commands, void *data,
		struct control **ret, struct lsn_error *err)
{
	struct control *control = calloc(1, sizeof *control);
	if (!control)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*control = (struct control){ .loop = sd_event_ref(loop), .commands = commands, .data = data, .fd = -1 };
	LIST_INIT(&control->connections);
	LIST_INIT(&control->dead);
	TAILQ_INIT(&control->work);
	int r = control_start(control, config, err);
	if (r < 0) {
		control_free(control);
		return r;
	}
	*ret = control;
	return 0;
}

int control_set_access(struct control *control, struct control_access *access, struct lsn_error *err)
{
	struct connection *connection;
	int r = socket_set_access(control->path, access, err);
	if (r < 0) {
		(void)socket_set_access(control->path, &control->access, NULL);
		return r;
	}
	control_access_clear(&control->access);
	control->access = *access;
	*access = (struct control_access){ 0 };
	LIST_FOREACH (connection, &control->connections, list)
		control_access_check(&connection->control->access, connection->fd, &connection->peer, connection->may);
	return 0;
}

void control_free(struct control *control)
{
	struct stat st;
	if (!control)
		return;
	connections_free(control);
	sd_event_source_disable_unref(control->slice);
	sd_event_source_disable_unref(control->io);
	sd_event_source_disable_unref(control->tick);
	if (control->fd >= 0)
		(void)close(control->fd);
	/* Only the file that is ours: a successor may have put its own in place. */
	if (control->inode && lstat(control->path, &st) == 0 && st.st_dev == control->device &&
	    st.st_ino == control->inode)
		(void)unlink(control->path);
	control_access_clear(&control->access);
	free(control->path);
	sd_event_unref(control->loop);
	free(control);
}
