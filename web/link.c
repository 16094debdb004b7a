/* link.c - see link.h. */
#include "link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define LINK_LINE_BYTES_MAX (6u << 20) /* the longest object: a job with all its outputs */
#define LINK_READ_BYTES 65536
#define LINK_RIGHTS "[control] readers in its configuration must name the user that listener-web runs as"

struct link {
	sd_event *loop;
	char *socket;
	TAILQ_HEAD(, visit) waiting; /* the first is being served */
	unsigned waiting_count;
	int fd; /* -1: not connected */
	sd_event_source *io, *silence, *turn;
	char *line; /* what has come of the next object */
	size_t line_size, line_capacity;
	char *question;
	size_t question_size, question_sent;
	uint64_t away_since_usec; /* realtime, of the first visit without an answer; 0: it answers */
};

static void link_disconnect(struct link *link)
{
	link->io = sd_event_source_disable_unref(link->io);
	(void)sd_event_source_set_enabled(link->silence, SD_EVENT_OFF);
	if (link->fd >= 0)
		(void)close(link->fd);
	link->fd = -1;
	free(link->line);
	link->line = NULL;
	link->line_size = link->line_capacity = 0;
	free(link->question);
	link->question = NULL;
}

/* link_end - the visit that is being served is done; the next comes in a turn of its own. */
static void link_end(struct link *link)
{
	struct visit *visit = TAILQ_FIRST(&link->waiting);
	link_disconnect(link);
	TAILQ_REMOVE(&link->waiting, visit, entry);
	link->waiting_count--;
	if (!TAILQ_EMPTY(&link->waiting))
		(void)sd_event_source_set_enabled(link->turn, SD_EVENT_ONESHOT);
	visit->now_realtime_usec = now_realtime_usec();
	if (visit->trouble[0] && !link->away_since_usec)
		link->away_since_usec = visit->now_realtime_usec;
	if (!visit->trouble[0])
		link->away_since_usec = 0;
	visit->away_since_usec = link->away_since_usec;
	visit->done(visit);
}

static void link_fail(struct link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void link_fail(struct link *link, const char *format, ...)
{
	struct visit *visit = TAILQ_FIRST(&link->waiting);
	va_list ap;
	va_start(ap, format);
	(void)vsnprintf(visit->trouble, sizeof visit->trouble, format, ap);
	va_end(ap);
	link_end(link);
}

/* link_ask - prepare the visit's next question; false: there is none, or no memory. */
static bool link_ask(struct link *link)
{
	json_t *question = visit_question(TAILQ_FIRST(&link->waiting));
	if (!question)
		return false;
	free(link->question);
	link->question = json_dumps(question, JSON_COMPACT);
	json_decref(question);
	if (!link->question)
		return false;
	link->question_size = strlen(link->question);
	link->question[link->question_size++] = '\n';
	link->question_sent = 0;
	return true;
}

/* link_send - as much of the question as the socket takes; the answer of a daemon that refuses to
 * listen may still be read. */
static void link_send(struct link *link)
{
	size_t left = link->question_size - link->question_sent;
	ssize_t n = left ? send(link->fd, link->question + link->question_sent, left, MSG_NOSIGNAL) : 0;
	if (n > 0)
		link->question_sent += (size_t)n;
	bool more = link->question_sent < link->question_size && (n >= 0 || errno == EAGAIN || errno == EINTR);
	(void)sd_event_source_set_io_events(link->io, EPOLLIN | (more ? EPOLLOUT : 0));
}

/* link_take - one object of the answer; false: the visit has ended. */
static bool link_take(struct link *link, const char *line, size_t size)
{
	struct visit *visit = TAILQ_FIRST(&link->waiting);
	json_t *object = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(object)) {
		json_decref(object);
		link_fail(link, "what answers at %s does not speak listenerd's language", link->socket);
		return false;
	}
	if (!visit_take(visit, object, size))
		return true;
	if (!link_ask(link)) {
		link_end(link);
		return false;
	}
	link_send(link);
	return true;
}

static void link_parse(struct link *link)
{
	size_t begin = 0;
	const char *end;
	while ((end = memchr(link->line + begin, '\n', link->line_size - begin))) {
		size_t size = (size_t)(end - link->line) - begin;
		if (!link_take(link, link->line + begin, size))
			return;
		begin += size + 1;
	}
	memmove(link->line, link->line + begin, link->line_size - begin);
	link->line_size -= begin;
}

static bool link_reserve(struct link *link)
{
	if (link->line_capacity - link->line_size >= LINK_READ_BYTES)
		return true;
	size_t capacity = link->line_capacity ? link->line_capacity * 2 : (size_t)LINK_READ_BYTES * 2;
	char *line = capacity <= LINK_LINE_BYTES_MAX * 2 ? realloc(link->line, capacity) : NULL;
	if (!line)
		return false;
	link->line = line;
	link->line_capacity = capacity;
	return true;
}

static void link_receive(struct link *link)
{
	if (!link_reserve(link)) {
		link_fail(link, "an answer of listenerd is too large for this page");
		return;
	}
	ssize_t n = recv(link->fd, link->line + link->line_size, LINK_READ_BYTES, 0);
	if (n > 0) {
		link->line_size += (size_t)n;
		link_parse(link);
	} else if (n == 0 || errno == ECONNRESET)
		link_fail(link,
			  "listenerd closed the connection before it had answered. If it always does so: " LINK_RIGHTS);
	else if (errno != EAGAIN && errno != EINTR)
		link_fail(link, "cannot read from %s: %s", link->socket, strerror(errno));
}

static int link_on_io(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct link *link = data;
	(void)source;
	(void)fd;
	(void)sd_event_source_set_time_relative(link->silence, LINK_SILENCE_SEC * USEC_PER_SEC);
	if (events & EPOLLOUT)
		link_send(link);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		link_receive(link);
	return 0;
}

static int link_on_silence(sd_event_source *source, uint64_t usec, void *data)
{
	(void)source;
	(void)usec;
	link_fail(data, "listenerd has the question, and has not answered it for %d s", LINK_SILENCE_SEC);
	return 0;
}

/* link_connect - 0 or a negative errno; a unix socket connects at once or not at all. */
static int link_connect(struct link *link)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	memcpy(address.sun_path, link->socket, strlen(link->socket) + 1);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	int r = sd_event_add_io(link->loop, &link->io, fd, EPOLLIN | EPOLLOUT, link_on_io, link);
	if (r < 0)
		return r;
	link->fd = TAKE_FD(fd);
	return 0;
}

/* link_advice - what to do about an error of connect(). */
static const char *link_advice(int error)
{
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED: return ". Nobody listens there: is listenerd running?";
	case -EACCES: return ": " LINK_RIGHTS;
	default: return "";
	}
}

static int link_on_turn(sd_event_source *source, void *data)
{
	struct link *link = data;
	(void)source;
	if (!link_ask(link)) {
		link_end(link);
		return 0;
	}
	int r = link_connect(link);
	if (r < 0) {
		link_fail(link, "cannot connect to %s: %s%s", link->socket, strerror(-r), link_advice(r));
		return 0;
	}
	(void)sd_event_source_set_time_relative(link->silence, LINK_SILENCE_SEC * USEC_PER_SEC);
	(void)sd_event_source_set_enabled(link->silence, SD_EVENT_ONESHOT);
	return 0;
}

int link_new(sd_event *loop, const char *socket, struct link **ret)
{
	if (strlen(socket) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
		return -ENAMETOOLONG;
	struct link *link = calloc(1, sizeof *link);
	if (!link)
		return -ENOMEM;
	link->loop = loop;
	link->fd = -1;
	TAILQ_INIT(&link->waiting);
	link->socket = strdup(socket);
	int r = link->socket ? sd_event_add_defer(loop, &link->turn, link_on_turn, link) : -ENOMEM;
	if (r >= 0)
		r = sd_event_source_set_enabled(link->turn, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &link->silence, CLOCK_MONOTONIC, 0, 0, link_on_silence, link);
	if (r >= 0)
		r = sd_event_source_set_enabled(link->silence, SD_EVENT_OFF);
	if (r < 0) {
		link_free(link);
		return r;
	}
	*ret = link;
	return 0;
}

void link_free(struct link *link)
{
	if (!link)
		return;
	while (!TAILQ_EMPTY(&link->waiting))
		link_fail(link, "listener-web is being stopped");
	sd_event_source_disable_unref(link->turn);
	sd_event_source_disable_unref(link->silence);
	free(link->socket);
	free(link);
}

int link_submit(struct link *link, struct visit *visit)
{
	if (link->waiting_count > LINK_WAITING_MAX)
		return -EBUSY;
	if (TAILQ_EMPTY(&link->waiting))
		(void)sd_event_source_set_enabled(link->turn, SD_EVENT_ONESHOT);
	TAILQ_INSERT_TAIL(&link->waiting, visit, entry);
	link->waiting_count++;
	return 0;
}
