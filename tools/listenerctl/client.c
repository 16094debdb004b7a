/* client.c - one connection to the control socket; docs/control.md says what goes over it. */
#include "ctl.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define ANSWER_SECONDS 180 /* doctor tries real sandboxes; more than that is a daemon that hangs */

struct client {
	FILE *stream;
	int fd;
	bool silent;
	int fds[CLIENT_FDS_MAX]; /* for the next request */
	unsigned fd_count;
};

static enum exit_code explain_denied(const char *path)
{
	struct stat st;
	const struct group *group = stat(path, &st) == 0 ? getgrgid(st.st_gid) : NULL;
	(void)fprintf(stderr, "listenerctl: you may not use %s", path);
	/* the daemon runs as root: nobody should join that group for this */
	if (group && group->gr_gid == 0)
		(void)fprintf(stderr, ": it belongs to root; set [control] group or operators");
	else if (group)
		(void)fprintf(stderr, ": it is for members of group '%s' (sudo usermod -aG %s YOU, then log in again)",
			      group->gr_name, group->gr_name);
	(void)fprintf(stderr, "; to let others use the commands that only show something, set [control] readers\n");
	return EXIT_FAILED;
}

static enum exit_code explain_connect(const char *path, int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		(void)fprintf(
			stderr,
			"listenerctl: listenerd is not running: nobody listens on %s (systemctl status listenerd; "
			"another path: -s SOCKET)\n",
			path);
		return EXIT_AWAY;
	case EACCES:
	case EPERM: return explain_denied(path);
	default:
		(void)fprintf(stderr, "listenerctl: cannot connect to %s: %s\n", path, strerror(error));
		return EXIT_FAILED;
	}
}

struct client *client_connect(const char *path, enum exit_code *ret_code)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_free_ struct client *client = calloc(1, sizeof *client);
	*ret_code = EXIT_FAILED;
	if (strlen(path) >= sizeof address.sun_path) {
		*ret_code = explain_connect(path, ENAMETOOLONG);
		return NULL;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* a daemon that refuses us may close before we have asked */
	(void)signal(SIGPIPE, SIG_IGN);
	if (fd < 0 || !client || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		*ret_code = explain_connect(path, errno);
		return NULL;
	}
	client->stream = fdopen(fd, "r");
	if (!client->stream) {
		*ret_code = explain_connect(path, errno);
		return NULL;
	}
	client->fd = TAKE_FD(fd);
	client_set_patience(client, ANSWER_SECONDS);
	*ret_code = EXIT_OK;
	return TAKE_PTR(client);
}

void client_set_patience(struct client *client, unsigned seconds)
{
	const struct timeval patience = { .tv_sec = seconds };

	(void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void client_free(struct client *client)
{
	if (!client)
		return;
	(void)fclose(client->stream);
	free(client);
}

void client_attach(struct client *client, const int *fds, unsigned count)
{
	client->fd_count = count;
	memcpy(client->fds, fds, count * sizeof *fds);
}

/* send_some - the descriptors go with the first byte. */
static ssize_t send_some(struct client *client, const char *text, size_t size)
{
	union {
		char space[CMSG_SPACE(sizeof client->fds)];
		struct cmsghdr align;
	} control = { .space = { 0 } };
	size_t fds_size = client->fd_count * sizeof *client->fds;
	struct iovec part = { .iov_base = (char *)(uintptr_t)text, .iov_len = size };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };

	if (client->fd_count > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fds_size);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(fds_size),
							 .cmsg_level = SOL_SOCKET,
							 .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), client->fds, fds_size);
	}
	ssize_t n = sendmsg(client->fd, &msg, MSG_NOSIGNAL);
	if (n > 0)
		client->fd_count = 0;
	return n;
}

static void send_all(struct client *client, const char *text, size_t size)
{
	while (size) {
		ssize_t n = send_some(client, text, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return; /* the reason stands in what we can still read */
		text += n;
		size -= (size_t)n;
	}
}

static enum exit_code report_error(const json_t *error)
{
	const char *message = json_string_value(json_object_get(error, "message"));
	_cleanup_free_ char *text = text_escape(message ? message : "?", message ? strlen(message) : 1, false);
	(void)fflush(stdout);
	(void)fprintf(stderr, "listenerctl: %s\n", text ? text : "?");
	return EXIT_FAILED;
}

static json_t *next_object(struct client *client)
{
	_cleanup_free_ char *line = NULL;
	size_t capacity = 0;
	errno = 0;
	ssize_t n = getline(&line, &capacity, client->stream);
	if (n < 0) {
		(void)fflush(stdout);
		(void)fprintf(stderr, "listenerctl: %s\n",
			      errno == EAGAIN ? "listenerd does not answer"
					      : "listenerd closed the connection before its answer was complete");
		return NULL;
	}
	json_t *object = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
	if (!object)
		(void)fprintf(stderr, "listenerctl: the answer is not JSON; does listenerd listen there?\n");
	return object;
}

bool client_was_silent(const struct client *client) { return client->silent; }

enum exit_code client_ask(struct client *client, json_t *request, object_fn row, object_fn last, void *data)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (!text)
		return EXIT_FAILED;
	size_t size = strlen(text);
	text[size] = '\n';
	send_all(client, text, size + 1);
	for (;;) {
		json_t *object = next_object(client);
		client->silent = !object;
		if (!object)
			return EXIT_FAILED;
		const json_t *error = json_object_get(object, "error");
		bool end = json_is_true(json_object_get(object, "end"));
		enum exit_code code = json_is_object(error) && end ? report_error(error) : EXIT_OK;
		if (code == EXIT_OK && !end && row)
			row(data, object);
		if (code == EXIT_OK && end && last)
			last(data, object);
		json_decref(object);
		if (end)
			return code;
	}
}
