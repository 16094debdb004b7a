/* control.c - see control.h. Three layers: the listening socket with who may connect, a
 * connection with its two bounded buffers, a reply.
 *
 * Rules: a connection is freed only by its own deferred source or by control_free(), never below
 * a call a command may be in; so a command may send, end and fail whatever became of the peer. */
#include "control.h"
#include "control_access.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <openssl/evp.h>

#include <cleanup.h>
#include <util.h>

#define TICK_USEC (10 * USEC_PER_SEC)
#define FLUSH_BYTES (64 * 1024)
#define TOTAL_ANSWER_MAX (4 * (size_t)CONTROL_ANSWER_MAX) /* of all connections together */

struct buffer {
	char *data;
	size_t size, capacity;
};

struct connection {
	struct control *control;
	int fd;
	struct ucred peer;
	bool may[2]; /* by enum control_right */
	sd_event_source *io, *later;
	struct buffer in, out;
	size_t out_sent; /* bytes of out already written */
	struct control_reply *reply; /* the request at work, or NULL */
	uint64_t active_usec; /* when a byte moved last */
	bool eof; /* the peer sends nothing more */
	bool closing; /* close when all is written */
	bool dead; /* of no more use: freed by `later` */
	LIST_ENTRY(connection) list;
};

struct control_reply {
	struct connection *connection; /* NULL: gone */
	bool may[2];
	bool overflow; /* rows were left out */
};

struct control {
	sd_event *loop;
	const struct control_command *commands;
	void *data;
	char *path;
	struct control_access access;
	int fd;
	dev_t device; /* of the socket file that is ours */
	ino_t inode;
	sd_event_source *io, *tick;
	unsigned connection_count;
	size_t answer_bytes; /* unread, all connections */
	LIST_HEAD(connection_list, connection) connections;
};

/* -------------------------------------------------------------------------------------- buffers */

static int buffer_add(struct buffer *buffer, const void *data, size_t size)
{
	if (buffer->capacity - buffer->size < size) {
		size_t capacity = buffer->capacity ? buffer->capacity : 4096;
		while (capacity - buffer->size < size)
			capacity *= 2;
		char *larger = realloc(buffer->data, capacity);
		if (!larger)
			return -ENOMEM;
		buffer->data = larger;
		buffer->capacity = capacity;
	}
	memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	return 0;
}

static void buffer_drop(struct buffer *buffer, size_t size)
{
	buffer->size -= size;
	memmove(buffer->data, buffer->data + size, buffer->size);
}

static void buffer_clear(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){ 0 };
}

/* ---------------------------------------------------------------------------------- connections */

static void connection_free(struct connection *connection)
{
	struct control *control = connection->control;
	if (connection->reply)
		connection->reply->connection = NULL;
	LIST_REMOVE(connection, list);
	control->connection_count--;
	control->answer_bytes -= connection->out.size - connection->out_sent;
	if (control->connection_count == 0)
		(void)sd_event_source_set_enabled(control->tick, SD_EVENT_OFF);
	sd_event_source_disable_unref(connection->io);
	sd_event_source_disable_unref(connection->later);
	buffer_clear(&connection->in);
	buffer_clear(&connection->out);
	(void)close(connection->fd);
	free(connection);
}

static void connection_later(struct connection *connection)
{
	(void)sd_event_source_set_enabled(connection->later, SD_EVENT_ONESHOT);
}

static void connection_kill(struct connection *connection)
{
	connection->dead = true;
	if (connection->reply)
		connection->reply->connection = NULL;
	connection->reply = NULL;
	(void)sd_event_source_set_enabled(connection->io, SD_EVENT_OFF);
	connection_later(connection);
}

/* connection_watch - what to wait for: room to write while something is unsent, requests only
 * while none is at work. */
static void connection_watch(struct connection *connection)
{
	uint32_t events = 0;
	if (connection->dead)
		return;
	if (connection->out.size > connection->out_sent)
		events |= EPOLLOUT;
	if (!connection->reply && !connection->eof && !connection->closing && connection->in.size < CONTROL_REQUEST_MAX)
		events |= EPOLLIN;
	(void)sd_event_source_set_io_events(connection->io, events);
}

static void connection_flush(struct connection *connection)
{
	struct buffer *out = &connection->out;
	while (!connection->dead && connection->out_sent < out->size) {
		ssize_t n = send(connection->fd, out->data + connection->out_sent, out->size - connection->out_sent,
				 MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			connection_kill(connection);
			return;
		}
		connection->out_sent += (size_t)n;
		connection->control->answer_bytes -= (size_t)n;
		connection->active_usec = now_monotonic_usec();
	}
	if (connection->out_sent == out->size) {
		buffer_clear(out);
		connection->out_sent = 0;
		if (connection->closing || (connection->eof && !connection->reply && !connection->in.size))
			connection_kill(connection);
	} else if (connection->out_sent > FLUSH_BYTES) {
		buffer_drop(out, connection->out_sent);
		connection->out_sent = 0;
	}
}

static int connection_write(struct connection *connection, const json_t *object)
{
	_cleanup_free_ char *text = json_dumps(object, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	size_t size = strlen(text);
	text[size] = '\n'; /* in the place of the NUL: the buffer wants bytes */
	int r = buffer_add(&connection->out, text, size + 1);
	if (r < 0)
		return r;
	connection->control->answer_bytes += size + 1;
	if (connection->out.size - connection->out_sent >= FLUSH_BYTES)
		connection_flush(connection);
	return 0;
}

static void connection_error(struct connection *connection, int code, const char *message)
{
	json_t *object = json_pack("{s:{s:i,s:s},s:b}", "error", "code", code, "message", message, "end", 1);
	if (!object || connection_write(connection, object) < 0)
		connection_kill(connection);
	json_decref(object);
}

/* -------------------------------------------------------------------------------------- replies */

static bool reply_has_room(const struct connection *connection)
{
	return connection->out.size - connection->out_sent < CONTROL_ANSWER_MAX &&
	       connection->control->answer_bytes < TOTAL_ANSWER_MAX;
}

void control_send(struct control_reply *reply, json_t *object)
{
	struct connection *connection = reply->connection;
	if (object && connection) {
		if (!reply_has_room(connection) || connection_write(connection, object) < 0)
			reply->overflow = true;
	}
	json_decref(object);
}

void control_flush(struct control_reply *reply)
{
	struct connection *connection = reply->connection;

	if (!connection)
		return;
	connection_flush(connection);
	if (!connection->dead)
		connection_watch(connection);
}

/* reply_finish - the last object, taken over, is sent whatever the limits: it is small, or the
 * only one. */
static void reply_finish(struct control_reply *reply, json_t *last)
{
	struct connection *connection = reply->connection;
	if (connection) {
		connection->reply = NULL;
		if (!last || connection_write(connection, last) < 0)
			connection_kill(connection);
		else
			connection_flush(connection);
		connection_watch(connection);
		connection_later(connection); /* the next request may be waiting in the buffer */
	}
	json_decref(last);
	free(reply);
}

static json_t *error_object(int code, const char *message)
{
	return json_pack("{s:{s:i,s:s},s:b}", "error", "code", code, "message", message, "end", 1);
}

void control_end_with(struct control_reply *reply, json_t *object)
{
	if (reply->overflow || !object) {
		json_decref(object);
		reply_finish(reply, error_object(EMSGSIZE, "the answer is too large; ask for fewer rows (limit)"));
		return;
	}
	(void)json_object_set_new(object, "end", json_true());
	reply_finish(reply, object);
}

void control_end(struct control_reply *reply) { control_end_with(reply, json_object()); }

void control_fail(struct control_reply *reply, int code, const char *format, ...)
{
	char message[LSN_ERROR_MESSAGE_SIZE], quoted[LSN_ERROR_MESSAGE_SIZE + 2];
	va_list ap;
	va_start(ap, format);
	(void)vsnprintf(message, sizeof message, format, ap);
	va_end(ap);
	json_t *object = error_object(abs(code), message);
	if (!object) /* not UTF-8, or cut within a character */
		object = error_object(abs(code), str_quote(quoted, sizeof quoted, message, strlen(message)));
	reply_finish(reply, object);
}

bool control_may(const struct control_reply *reply, enum control_right right) { return reply->may[right]; }

int control_set_bytes(json_t *object, const char *key, const void *data, size_t size)
{
	/* jansson takes NULs in strings with an explicit length; utf8_valid() refuses them,
	 * json_stringn() is the judge here. */
	json_t *text = json_stringn(size ? data : "", size);
	if (text)
		return json_object_set_new(object, key, text) < 0 ? -ENOMEM : 0;
	_cleanup_free_ char *encoded = malloc(4 * ((size + 2) / 3) + 1);
	char name[64];
	if (!encoded)
		return -ENOMEM;
	(void)EVP_EncodeBlock((unsigned char *)encoded, data, (int)size);
	(void)snprintf(name, sizeof name, "%s_base64", key);
	return json_object_set_new(object, name, json_string(encoded)) < 0 ? -ENOMEM : 0;
}

/* ------------------------------------------------------------------------------------- requests */

static const struct control_command *command_find(const struct control *control, const char *name)
{
	for (const struct control_command *command = control->commands; command->name; command++)
		if (streq(command->name, name))
			return command;
	return NULL;
}

static void command_run(struct connection *connection, const struct control_command *command, const json_t *request)
{
	struct control_reply *reply = calloc(1, sizeof *reply);
	if (!reply) {
		connection_error(connection, ENOMEM, "out of memory");
		return;
	}
	reply->connection = connection;
	memcpy(reply->may, connection->may, sizeof reply->may);
	connection->reply = reply;
	if (command->right == CONTROL_OPERATE)
		log_info("control command=%s uid=%u pid=%d", command->name, connection->peer.uid, connection->peer.pid);
	command->run(connection->control->data, request, reply);
}

static void request_run(struct connection *connection, const char *line, size_t size)
{
	json_error_t problem;
	char message[256], quoted[96];
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &problem);
	const char *name = json_string_value(json_object_get(request, "command"));
	const struct control_command *command = name ? command_find(connection->control, name) : NULL;
	if (!request) {
		(void)snprintf(message, sizeof message, "not a JSON object on one line: %s", problem.text);
		connection_error(connection, EINVAL,
				 utf8_valid(message, strlen(message)) ? message : "not a JSON object on one line");
	} else if (!name) {
		connection_error(connection, EINVAL, "the request has no \"command\"");
	} else if (!command) {
		(void)snprintf(message, sizeof message, "there is no command %s",
			       str_quote(quoted, sizeof quoted, name, strlen(name)));
		connection_error(connection, EOPNOTSUPP,
				 utf8_valid(message, strlen(message)) ? message : "there is no such command");
	} else if (!connection->may[command->right]) {
		connection_error(connection, EACCES, "you may look but not act: not among [control] operators");
	} else {
		command_run(connection, command, request);
	}
	json_decref(request);
}

/* connection_run - the requests that are complete, one after the other, until one is not
 * answered at once. */
static void connection_run(struct connection *connection)
{
	while (!connection->dead && !connection->reply && !connection->closing && connection->in.size) {
		char *newline = memchr(connection->in.data, '\n', connection->in.size);
		size_t size = newline ? (size_t)(newline - connection->in.data) : connection->in.size;
		if (!newline && size >= CONTROL_REQUEST_MAX) {
			connection->closing = true;
			connection_error(connection, EMSGSIZE, "the request is longer than 64 KiB");
			break;
		}
		if (!newline && !connection->eof)
			break;
		_cleanup_free_ char *line = malloc(size + 1);
		if (!line) {
			connection_kill(connection);
			return;
		}
		memcpy(line, connection->in.data, size);
		buffer_drop(&connection->in, newline ? size + 1 : size);
		if (size)
			request_run(connection, line, size);
	}
	connection_flush(connection);
	connection_watch(connection);
}

static void connection_read(struct connection *connection)
{
	char chunk[16 * 1024];
	while (connection->in.size < CONTROL_REQUEST_MAX) {
		size_t room = CONTROL_REQUEST_MAX - connection->in.size;
		ssize_t n = recv(connection->fd, chunk, room < sizeof chunk ? room : sizeof chunk, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n == 0) {
			connection->eof = true;
			return;
		}
		if (n < 0 || buffer_add(&connection->in, chunk, (size_t)n) < 0) {
			connection_kill(connection);
			return;
		}
		connection->active_usec = now_monotonic_usec();
	}
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct connection *connection = data;
	(void)source, (void)fd;
	if (revents & EPOLLIN)
		connection_read(connection);
	if (!connection->dead && (revents & EPOLLOUT))
		connection_flush(connection);
	if (!connection->dead)
		connection_run(connection);
	/* Hung up: nobody is left to read. The request at work goes on without its peer. */
	if (!connection->dead && (revents & (EPOLLHUP | EPOLLERR)))
		connection_kill(connection);
	return 0;
}

static int on_later(sd_event_source *source, void *data)
{
	struct connection *connection = data;
	(void)source;
	if (!connection->dead)
		connection_run(connection);
	if (connection->dead)
		connection_free(connection);
	return 0;
}

/* ------------------------------------------------------------------------------------ listening */

/* connection_new - takes over FD if it succeeds; NULL with errno set if not. */
static struct connection *connection_new(struct control *control, int fd)
{
	_cleanup_free_ struct connection *connection = calloc(1, sizeof *connection);
	socklen_t size = sizeof connection->peer;
	if (!connection)
		return NULL;
	*connection = (struct connection){ .control = control, .fd = fd, .active_usec = now_monotonic_usec() };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &connection->peer, &size) < 0)
		return NULL;
	int r = sd_event_add_io(control->loop, &connection->io, fd, EPOLLIN, on_connection, connection);
	if (r >= 0)
		r = sd_event_add_defer(control->loop, &connection->later, on_later, connection);
	if (r < 0) {
		sd_event_source_disable_unref(connection->io);
		errno = -r;
		return NULL;
	}
	(void)sd_event_source_set_enabled(connection->later, SD_EVENT_OFF);
	LIST_INSERT_HEAD(&control->connections, connection, list);
	if (control->connection_count++ == 0) {
		(void)sd_event_source_set_time_relative(control->tick, TICK_USEC);
		(void)sd_event_source_set_enabled(control->tick, SD_EVENT_ONESHOT);
	}
	return TAKE_PTR(connection);
}

static void connection_welcome(struct connection *connection)
{
	control_access_check(&connection->control->access, connection->fd, &connection->peer, connection->may);
	if (connection->control->connection_count > CONTROL_CONNECTIONS_MAX) {
		connection->closing = true;
		connection_error(connection, EBUSY, "too many connections to the control socket");
	} else if (!connection->may[CONTROL_READ]) {
		connection->closing = true;
		connection_error(connection, EACCES, "you are neither among [control] readers nor operators");
	}
	if (connection->closing && !connection->dead)
		connection_flush(connection);
}

static int on_listening(sd_event_source *source, int fd, uint32_t revents, void *data)
{
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
	} else {
		log_warning("cannot serve a control connection: %s", strerror(errno));
		(void)close(peer);
	}
	return 0;
}

/* on_tick - every ten seconds while there are connections: drop the idle ones. */
static int on_tick(sd_event_source *source, uint64_t usec, void *data)
{
	struct control *control = data;
	uint64_t now = now_monotonic_usec();
	struct connection *connection;
	(void)usec;
	LIST_FOREACH (connection, &control->connections, list) {
		bool waits_for_us = connection->reply && connection->out.size == connection->out_sent;
		if (!connection->dead && !waits_for_us && now - connection->active_usec > CONTROL_IDLE_USEC)
			connection_kill(connection);
	}
	(void)sd_event_source_set_enabled(control->io, SD_EVENT_ON);
	if (control->connection_count) {
		(void)sd_event_source_set_time_relative(source, TICK_USEC);
		(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	return 0;
}

static int socket_address(const char *path, const char *suffix, struct sockaddr_un *ret, struct lsn_error *err)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(ret->sun_path, sizeof ret->sun_path, "%s%s", path, suffix);
	if (n < 0 || (size_t)n >= sizeof ret->sun_path)
		return lsn_error_set(err, -ENAMETOOLONG,
				     "[control] socket: '%s' is too long for a unix socket; at most %zu bytes", path,
				     sizeof ret->sun_path - sizeof ".new");
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
		return lsn_error_set(err, -EEXIST, "[control] socket: %s is there and is not a socket; move it away",
				     path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return lsn_error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EAGAIN)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 && owner.pid == getpid())
		return 0;
	return lsn_error_set(err, -EADDRINUSE, "[control] socket: process %d already listens on %s: another listenerd?",
			     owner.pid, path);
}

static int socket_set_access(const char *path, const struct control_access *access, struct lsn_error *err)
{
	if (access->group != getegid() && lchown(path, (uid_t)-1, access->group) < 0)
		return lsn_error_set(
			err, -errno,
			"[control] group: cannot give %s to group %u: %s; the daemon's user must be a member of it",
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
	int r = control_start(control, config, err);
	if (r < 0) {
		control_free(control);
		return r;
	}
	*ret = control;
	return 0;
}

int control_set_config(struct control *control, const struct control_config *config, struct lsn_error *err)
{
	struct control_access access;
	struct connection *connection;
	int r = control_access_resolve(config, &access, err);
	if (r < 0)
		return r;
	r = socket_set_access(control->path, &access, err);
	if (r < 0) {
		(void)socket_set_access(control->path, &control->access, NULL);
		control_access_clear(&access);
		return r;
	}
	control_access_clear(&control->access);
	control->access = access;
	LIST_FOREACH (connection, &control->connections, list)
		control_access_check(&connection->control->access, connection->fd, &connection->peer, connection->may);
	return 0;
}

void control_free(struct control *control)
{
	struct stat st;
	if (!control)
		return;
	while (!LIST_EMPTY(&control->connections))
		connection_free(LIST_FIRST(&control->connections));
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
