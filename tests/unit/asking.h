/* asking.h - a real control socket on the daemon of serving.h, and somebody who asks. */
#ifndef TESTS_ASKING_H
#define TESTS_ASKING_H

#include "commands.h"
#include "serving.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int peer = -1;
static char answer[1 << 17];

static void open_control(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	serving_ok(daemon_make_source(&serving, &serving.config->source, &serving.source, &serving_err));
	daemon_set_parts(&serving);
	serving_ok(control_new(serving.loop, &serving.config->control, daemon_commands, &serving, &serving.control,
			       &serving_err));
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", serving.config->control.socket);
	peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
}

static void close_control(void)
{
	(void)close(peer);
	control_free(serving.control);
	source_free(serving.source);
	serving.control = NULL;
	serving.source = NULL;
}

/* ask - REQUEST's answer as text; the rows, each on a line. */
static const char *ask(const char *request)
{
	size_t used = 0;
	uint64_t until = now_monotonic_usec() + SERVING_WAIT_USEC;

	ck_assert_int_eq(write(peer, request, strlen(request)), (ssize_t)strlen(request));
	ck_assert_int_eq(write(peer, "\n", 1), 1);
	answer[0] = '\0';
	while (!strstr(answer, "\"end\":true")) {
		ck_assert_msg(now_monotonic_usec() < until, "no end of the answer to %s: %s", request, answer);
		serving_step();
		ssize_t n = read(peer, answer + used, sizeof answer - used - 1);
		if (n > 0)
			used += (size_t)n;
		answer[used] = '\0';
	}
	return answer;
}

static void says(const char *request, const char *words)
{
	ck_assert_msg(strstr(ask(request), words) != NULL, "%s\n%s is not in\n%s", request, words, answer);
}

/* rows - how many REQUEST's answer has, without the last object. */
static unsigned rows(const char *request)
{
	unsigned n = 0;

	for (const char *p = ask(request); (p = strchr(p, '\n')); p++)
		n++;
	return n - 1;
}

#endif
