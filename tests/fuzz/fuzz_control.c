/* fuzz_control.c - requests on the control socket, by way of the real socket, with a command
 * that gives back what it was asked. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "log.h"

static sd_event *loop;
static struct control *control;
static char path[64];

static void echo(void *data, const json_t *request, struct control_reply *reply)
{
	const char *key;
	json_t *value;

	(void)data;
	json_object_foreach ((json_t *)(uintptr_t)request, key, value)
		if (json_is_string(value)) {
			json_t *row = json_object();
			(void)control_set_bytes(row, "value", json_string_value(value), json_string_length(value));
			control_send(reply, row);
		}
	control_end_with(reply, json_deep_copy(request));
}

static void refuse(void *data, const json_t *request, struct control_reply *reply)
{
	const char *why = json_string_value(json_object_get(request, "why"));

	(void)data;
	control_fail(reply, EINVAL, "%s", why ? why : "no reason");
}

static void clean(void)
{
	control_free(control);
	sd_event_unref(loop);
}

static void prepare(void)
{
	static const struct control_command commands[] = { { "echo", CONTROL_READ, echo },
							   { "refuse", CONTROL_OPERATE, refuse },
							   { 0 } };
	static struct control_config config;
	struct lsn_error err;

	(void)setenv("LISTENER_LOG", "error", 1);
	(void)snprintf(path, sizeof path, "/tmp/fuzz-control.%d", (int)getpid());
	config.socket = path;
	must(sd_event_new(&loop) >= 0);
	must(control_new(loop, &config, commands, NULL, &control, &err) == 0);
	must(atexit(clean) == 0);
}

static int connect_to(const char *to)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", to);
	must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char answer[65536];
	bool ended = false;

	if (!loop)
		prepare();
	int fd = connect_to(path);
	(void)send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	must(shutdown(fd, SHUT_WR) == 0);
	for (int i = 0; i < 5000 && !ended; i++) {
		must(sd_event_run(loop, 0) >= 0);
		ssize_t n;
		while ((n = recv(fd, answer, sizeof answer, MSG_DONTWAIT)) > 0)
			;
		ended = n == 0 || (n < 0 && errno == ECONNRESET);
	}
	must(ended);
	must(close(fd) == 0);
	return 0;
}
