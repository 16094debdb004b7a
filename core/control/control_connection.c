/* control_connection.c - one peer of the control socket: two bounded buffers, one request at
 * work, a reply.
 *
 * Who wants a turn (a request has come, a stream may go on) waits in control->work. The loop
 * gives one of them a slice of at most SLICE_USEC at a time; in it runs one request, or as many
 * steps of a stream as fit. A stream also waits for its peer to read. */
#include "control_private.h"
#include "log.h"
#include "soon.h"
#include "stall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/evp.h>

#include <cleanup.h>
#include <util.h>

#define SLICE_USEC (15 * USEC_PER_MSEC) /* a step more, and it is 20 ms */
#define FLUSH_BYTES (64 * 1024)
#define STREAM_UNREAD_MAX (256 * 1024) /* bytes that the peer leaves unread before a stream waits */
#define TOTAL_ANSWER_MAX (4 * (size_t)CONTROL_ANSWER_MAX) /* of all connections together */

struct control_reply {
	struct connection *connection; /* NULL: gone */
	bool may[CONTROL_RIGHT_MAX];
	uid_t uid; /* of the peer */
	int fds[CONTROL_FDS_MAX]; /* -1: taken, or none */
	void (*gone)(void *data); /* NULL: nobody wants to know */
	void *gone_data;
	const char *command; /* its name */
	enum control_right right; /* of the command */
	bool overflow; /* rows were left out */
	struct control_stream stream; /* step NULL: none */
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

static void close_fds(int fds[CONTROL_FDS_MAX], unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
}

static void reply_free(struct control_reply *reply)
{
	close_fds(reply->fds, CONTROL_FDS_MAX);
	free(reply);
}

/* reply_tell_gone - its peer has gone. The reply may be ended in there. */
static void reply_tell_gone(struct control_reply *reply)
{
	void (*gone)(void *data) = reply->gone;

	reply->gone = NULL;
	if (gone)
		gone(reply->gone_data);
}

/* reply_drop - nobody is left to read it. A stream is over; who will end the reply later finds
 * that it goes nowhere. */
static void reply_drop(struct connection *connection)
{
	struct control_reply *reply = connection->reply;

	connection->reply = NULL;
	if (!reply)
		return;
	reply->connection = NULL;
	if (!reply->stream.step) {
		reply_tell_gone(reply);
		return;
	}
	reply->stream.drop(reply->stream.state);
	reply_free(reply);
}

static void connection_free(struct connection *connection)
{
	struct control *control = connection->control;

	connection_kill(connection);
	reply_drop(connection);
	LIST_REMOVE(connection, list);
	if (connection->queued)
		TAILQ_REMOVE(&control->work, connection, work);
	free(connection);
}

static void connection_queue(struct connection *connection)
{
	struct control *control = connection->control;

	if (connection->queued)
		return;
	connection->queued = true;
	TAILQ_INSERT_TAIL(&control->work, connection, work);
	soon(control->slice);
}

void connection_kill(struct connection *connection)
{
	struct control *control = connection->control;
	const struct control_reply *reply = connection->reply;

	if (connection->dead)
		return;
	connection->dead = true;
	control->answer_bytes -= connection->out.size - connection->out_sent;
	control->connection_count--;
	LIST_REMOVE(connection, list);
	LIST_INSERT_HEAD(&control->dead, connection, list);
	connection->io = sd_event_source_disable_unref(connection->io);
	(void)close(connection->fd);
	connection->fd = -1;
	close_fds(connection->fds, connection->fd_count);
	connection->fd_count = 0;
	buffer_clear(&connection->in);
	buffer_clear(&connection->out);
	connection->out_sent = 0;
	/* a step may be on the stack: its stream is dropped later */
	if (!reply || !reply->stream.step)
		reply_drop(connection);
	connection_queue(connection);
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

void connection_refuse(struct connection *connection, int code, const char *message)
{
	connection->closing = true;
	connection_error(connection, code, message);
	if (!connection->dead)
		connection_flush(connection);
	connection_watch(connection);
}

bool connection_is_idle(const struct connection *connection, uint64_t before_usec)
{
	bool waits_for_us = connection->reply && connection->out.size == connection->out_sent;
	return !waits_for_us && connection->active_usec < before_usec;
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
	if (object && connection && !connection->dead) {
		if (!reply_has_room(connection) || connection_write(connection, object) < 0)
			reply->overflow = true;
	}
	json_decref(object);
}

void control_flush(struct control_reply *reply)
{
	struct connection *connection = reply->connection;

	if (!connection || connection->dead)
		return;
	connection_flush(connection);
	connection_watch(connection);
}

/* reply_finish - the last object, taken over, is sent whatever the limits: it is small, or the
 * only one. */
static void reply_finish(struct control_reply *reply, json_t *last)
{
	struct connection *connection = reply->connection;
	if (connection) {
		connection->reply = NULL;
		if (connection->dead)
			; /* it was an operator's, who has gone */
		else if (!last || connection_write(connection, last) < 0)
			connection_kill(connection);
		else
			connection_flush(connection);
		connection_watch(connection);
		connection_queue(connection); /* the next request may be waiting in the buffer */
	}
	json_decref(last);
	reply_free(reply);
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

void control_stream(struct control_reply *reply, const struct control_stream *stream)
{
	reply->stream = *stream;
	if (reply->connection) {
		connection_queue(reply->connection);
		return;
	}
	stream->drop(stream->state);
	reply_free(reply);
}

void control_on_gone(struct control_reply *reply, void (*fn)(void *data), void *data)
{
	reply->gone = fn;
	reply->gone_data = data;
	if (!reply->connection)
		reply_tell_gone(reply);
}

int control_take_fd(struct control_reply *reply, unsigned index)
{
	return index < CONTROL_FDS_MAX ? TAKE_FD(reply->fds[index]) : -1;
}

bool control_may(const struct control_reply *reply, enum control_right right) { return reply->may[right]; }

uid_t control_peer_uid(const struct control_reply *reply) { return reply->uid; }

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

/* reply_new - with the descriptors that have come. */
static struct control_reply *reply_new(struct connection *connection, const struct control_command *command)
{
	struct control_reply *reply = calloc(1, sizeof *reply);

	if (!reply)
		return NULL;
	reply->connection = connection;
	memcpy(reply->may, connection->may, sizeof reply->may);
	for (unsigned i = 0; i < CONTROL_FDS_MAX; i++)
		reply->fds[i] = i < connection->fd_count ? connection->fds[i] : -1;
	connection->fd_count = 0;
	reply->uid = connection->peer.uid;
	reply->right = command->right;
	reply->command = command->name;
	return reply;
}

static void command_run(struct connection *connection, const struct control_command *command, const json_t *request)
{
	struct control_reply *reply = reply_new(connection, command);
	if (!reply) {
		connection_error(connection, ENOMEM, "out of memory");
		return;
	}
	connection->reply = reply;
	if (command->right != CONTROL_READ)
		log_info("control command=%s uid=%u pid=%d", command->name, connection->peer.uid, connection->peer.pid);
	stall_source("control", command->name);
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
		connection_error(connection, EACCES,
				 command->right == CONTROL_TEST
					 ? "this command is for testers and operators: you are one of the [control] "
					   "readers only"
					 : "this command is for operators: you are one of the [control] readers or "
					   "testers only");
	} else {
		command_run(connection, command, request);
	}
	json_decref(request);
}

/* --------------------------------------------------------------------------------------- slices */

static bool has_request(const struct connection *connection)
{
	const struct buffer *in = &connection->in;

	return in->size && (connection->eof || in->size >= CONTROL_REQUEST_MAX || memchr(in->data, '\n', in->size));
}

static bool stream_has_room(const struct connection *connection)
{
	return connection->dead || connection->out.size - connection->out_sent < STREAM_UNREAD_MAX;
}

static bool wants_slice(const struct connection *connection)
{
	const struct control_reply *reply = connection->reply;

	if (reply)
		return reply->stream.step && stream_has_room(connection);
	return connection->dead || (!connection->closing && has_request(connection));
}

/* take_request - the first line of what has come; NULL: none, or it is too long, or out of
 * memory (then the connection is dead). */
static char *take_request(struct connection *connection, size_t *ret_size)
{
	const char *newline = memchr(connection->in.data, '\n', connection->in.size);
	size_t size = newline ? (size_t)(newline - connection->in.data) : connection->in.size;

	if (!newline && size >= CONTROL_REQUEST_MAX) {
		connection->closing = true;
		connection_error(connection, EMSGSIZE, "the request is longer than 64 KiB");
		return NULL;
	}
	char *line = malloc(size + 1);
	if (!line) {
		connection_kill(connection);
		return NULL;
	}
	memcpy(line, connection->in.data, size);
	buffer_drop(&connection->in, newline ? size + 1 : size);
	*ret_size = size;
	return line;
}

static void slice_request(struct connection *connection)
{
	size_t size = 0;
	_cleanup_free_ char *line = take_request(connection, &size);

	if (line && size)
		request_run(connection, line, size);
}

static void slice_stream(struct connection *connection)
{
	uint64_t until = now_monotonic_usec() + SLICE_USEC;
	struct control_reply *reply = connection->reply;
	const struct control_stream stream = reply->stream;
	bool more;

	stall_source("control", reply->command);
	do
		more = stream.step(stream.state);
	while (more && stream_has_room(connection) && now_monotonic_usec() < until);
	if (!more && connection->reply == reply)
		reply->stream.step = NULL; /* it will be ended later */
}

/* drop_unread - a stream that nobody is left to read is over, unless it is an operator's. */
static void drop_unread(struct connection *connection)
{
	const struct control_reply *reply = connection->reply;

	if ((connection->dead || connection->hung_up) && reply && reply->stream.step && reply->right == CONTROL_READ)
		reply_drop(connection);
}

void connections_work(struct control *control)
{
	struct connection *connection = TAILQ_FIRST(&control->work);

	if (!connection)
		return;
	TAILQ_REMOVE(&control->work, connection, work);
	connection->queued = false;
	drop_unread(connection);
	if (wants_slice(connection) && connection->reply)
		slice_stream(connection);
	else if (wants_slice(connection) && !connection->dead)
		slice_request(connection);
	if (!connection->dead)
		connection_flush(connection);
	if (connection->hung_up && !has_request(connection))
		connection_kill(connection);
	connection_watch(connection);
	if (connection->dead && !connection->reply)
		connection_free(connection);
	else if (wants_slice(connection))
		connection_queue(connection);
}

void connections_free(struct control *control)
{
	while (!LIST_EMPTY(&control->connections))
		connection_free(LIST_FIRST(&control->connections));
	while (!LIST_EMPTY(&control->dead))
		connection_free(LIST_FIRST(&control->dead));
}

/* ----------------------------------------------------------------------------------- the socket */

/* take_fds - of MSG, for the next request; what is too much, or comes from somebody without a use
 * for them, is closed. */
static void take_fds(struct connection *connection, struct msghdr *msg)
{
	for (struct cmsghdr *head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= head->cmsg_len; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
			if (connection->may[CONTROL_TEST] && connection->fd_count < CONTROL_FDS_MAX)
				connection->fds[connection->fd_count++] = fd;
			else
				(void)close(fd);
		}
	}
}

static ssize_t connection_receive(struct connection *connection, void *data, size_t size)
{
	union {
		char space[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} fds;
	struct iovec part = { .iov_base = data, .iov_len = size };
	struct msghdr msg = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &fds, .msg_controllen = sizeof fds.space
	};
	ssize_t n = recvmsg(connection->fd, &msg, MSG_CMSG_CLOEXEC);

	if (n >= 0)
		take_fds(connection, &msg);
	return n;
}

static void connection_read(struct connection *connection)
{
	char chunk[16 * 1024];
	while (connection->in.size < CONTROL_REQUEST_MAX) {
		size_t room = CONTROL_REQUEST_MAX - connection->in.size;
		ssize_t n = connection_receive(connection, chunk, room < sizeof chunk ? room : sizeof chunk);
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

/* connection_hang_up - nobody is left to read. What was asked for in whole is done all the same. */
static void connection_hang_up(struct connection *connection)
{
	connection->hung_up = true;
	/* the loop would say it again and again */
	(void)sd_event_source_set_enabled(connection->io, SD_EVENT_OFF);
	if (connection->reply)
		reply_tell_gone(connection->reply);
	if (!has_request(connection))
		connection_kill(connection);
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	stall_source("control", "reading");
	struct connection *connection = data;
	(void)source, (void)fd;
	if (revents & EPOLLIN)
		connection_read(connection);
	if (!connection->dead && (revents & EPOLLOUT))
		connection_flush(connection);
	if (!connection->dead && connection->eof)
		connection_flush(connection); /* which closes it when all is done */
	if (!connection->dead && (revents & (EPOLLHUP | EPOLLERR)))
		connection_hang_up(connection);
	connection_watch(connection);
	if (connection->hung_up || wants_slice(connection))
		connection_queue(connection);
	return 0;
}

struct connection *connection_new(struct control *control, int fd)
{
	_cleanup_free_ struct connection *connection = calloc(1, sizeof *connection);
	socklen_t size = sizeof connection->peer;
	if (!connection)
		return NULL;
	*connection = (struct connection){ .control = control, .fd = fd, .active_usec = now_monotonic_usec() };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &connection->peer, &size) < 0)
		return NULL;
	int r = sd_event_add_io(control->loop, &connection->io, fd, EPOLLIN, on_connection, connection);
	if (r < 0) {
		errno = -r;
		return NULL;
	}
	LIST_INSERT_HEAD(&control->connections, connection, list);
	control->connection_count++;
	return TAKE_PTR(connection);
}
