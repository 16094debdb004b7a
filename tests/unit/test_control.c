/* test_control.c - the control socket with real sockets and real peers, some of them other
 * processes with other credentials. */
#include "control.h"
#include "control_lookup.h"
#include "log.h"
#include "soon.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

static sd_event *loop;
static struct control *control;
static char folder[64], path[96];
static struct control_config config;
static struct control_reply *held; /* a reply that "hold" left open */
static unsigned acted;

/* ------------------------------------------------------------------------------------- commands */

static void run_echo(void *data, const json_t *request, struct control_reply *reply)
{
	(void)data;
	control_send(reply, json_deep_copy(request));
	control_end(reply);
}

static void run_act(void *data, const json_t *request, struct control_reply *reply)
{
	(void)data, (void)request;
	acted++;
	control_end_with(reply, json_pack("{s:i}", "acted", (int)acted));
}

static void run_fail(void *data, const json_t *request, struct control_reply *reply)
{
	(void)data, (void)request;
	control_fail(reply, -ENOENT, "there is no job %d\xff", 7);
}

static void run_hold(void *data, const json_t *request, struct control_reply *reply)
{
	(void)data, (void)request;
	held = reply;
}

/* what the descriptors that came with it hold, in their order */
static void run_read(void *data, const json_t *request, struct control_reply *reply)
{
	char text[64] = "";
	size_t size = 0;
	(void)data, (void)request;
	for (unsigned i = 0; i <= CONTROL_FDS_MAX; i++) {
		_cleanup_close_ int fd = control_take_fd(reply, i);
		if (fd < 0)
			continue;
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		ssize_t n = pread(fd, text + size, 8, 0);
		size += n > 0 ? (size_t)n : 0;
	}
	control_end_with(reply, json_pack("{s:s}", "text", text));
}

static unsigned gone;

static void on_gone(void *data)
{
	gone++;
	control_fail(data, ECANCELED, "too late");
}

/* until its peer goes */
static void run_wait(void *data, const json_t *request, struct control_reply *reply)
{
	(void)data, (void)request;
	held = reply;
	control_on_gone(reply, on_gone, reply);
}

/* rows of 64 KiB each, as many as asked for */
static void run_flood(void *data, const json_t *request, struct control_reply *reply)
{
	static char text[65536];
	(void)data;
	memset(text, 'x', sizeof text - 1);
	for (json_int_t i = json_integer_value(json_object_get(request, "rows")); i > 0; i--)
		control_send(reply, json_pack("{s:s}", "text", text));
	control_end(reply);
}

/* a stream that has so many rows left; each step sends one after it has worked for a millisecond */
static struct endless {
	struct control_reply *reply;
	unsigned steps, drops;
	json_int_t left;
	size_t row_size;
} endless;

static bool endless_step(void *state)
{
	static char text[65536];
	struct endless *e = state;
	uint64_t until = now_monotonic_usec() + USEC_PER_MSEC;

	while (now_monotonic_usec() < until)
		;
	e->steps++;
	memset(text, 'x', e->row_size);
	text[e->row_size] = '\0';
	if (e->row_size)
		control_send(e->reply, json_pack("{s:s}", "text", text));
	if (--e->left > 0)
		return true;
	control_end(e->reply);
	return false;
}

static void endless_drop(void *state) { ((struct endless *)state)->drops++; }

static void run_stream(void *data, const json_t *request, struct control_reply *reply)
{
	const struct control_stream stream = { .step = endless_step, .drop = endless_drop, .state = &endless };

	(void)data;
	endless = (struct endless){ .reply = reply, .left = json_integer_value(json_object_get(request, "rows")) };
	endless.row_size = (size_t)json_integer_value(json_object_get(request, "size"));
	control_stream(reply, &stream);
}

static const struct control_command commands[] = {
	{ "echo", CONTROL_READ, run_echo },      { "act", CONTROL_OPERATE, run_act },
	{ "fail", CONTROL_READ, run_fail },      { "hold", CONTROL_READ, run_hold },
	{ "flood", CONTROL_READ, run_flood },    { "stream", CONTROL_READ, run_stream },
	{ "work", CONTROL_OPERATE, run_stream }, { "read", CONTROL_TEST, run_read },
	{ "wait", CONTROL_TEST, run_wait },      { NULL, CONTROL_READ, NULL },
};

/* -------------------------------------------------------------------------------------- fixture */

static void start(void)
{
	struct lsn_error err = { 0 };
	ck_assert_msg(control_new(loop, &config, commands, NULL, &control, &err) == 0, "%s", err.message);
}

static void setup(void)
{
	log_init(LSN_LOG_ERROR);
	(void)snprintf(folder, sizeof folder, "/tmp/test-control.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0755), 0);
	(void)snprintf(path, sizeof path, "%s/control", folder);
	config = (struct control_config){ .socket = path };
	acted = 0;
	held = NULL;
	ck_assert_int_ge(sd_event_new(&loop), 0);
}

static void teardown(void)
{
	control_free(control);
	control = NULL;
	sd_event_unref(loop);
	loop = NULL;
	(void)unlink(path);
	(void)rmdir(folder);
}

static void turn(unsigned msec) { ck_assert_int_ge(sd_event_run(loop, msec * USEC_PER_MSEC), 0); }

static int peer_connect(const char *to)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", to);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static int peer_new(void)
{
	int fd = peer_connect(path);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void peer_say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* peer_hear - run the loop until the peer has a line; "" at the end of the stream. Caller frees. */
static char *peer_hear(int fd)
{
	char *line = calloc(1, 128 * 1024);
	size_t size = 0;
	for (uint64_t deadline = now_monotonic_usec() + 30 * USEC_PER_SEC; now_monotonic_usec() < deadline;) {
		ssize_t n = recv(fd, line + size, 1, 0);
		if (n == 0)
			return line;
		if (n < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			turn(10);
		} else if (line[size] == '\n') {
			line[size] = '\0';
			return line;
		} else {
			size++;
		}
	}
	ck_abort_msg("no answer; so far: %.200s", line);
	return line;
}

static void expect(int fd, const char *text)
{
	_cleanup_free_ char *line = peer_hear(fd);
	ck_assert_str_eq(line, text);
}

static json_t *hear_json(int fd)
{
	_cleanup_free_ char *line = peer_hear(fd);
	json_t *object = json_loads(line, 0, NULL);
	ck_assert_msg(object != NULL, "not JSON: %.200s", line);
	return object;
}

static void expect_error(int fd, int code)
{
	json_t *object = hear_json(fd);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(object, "error"), "code")), code);
	ck_assert_int_gt((int)json_string_length(json_object_get(json_object_get(object, "error"), "message")), 0);
	ck_assert(json_is_true(json_object_get(object, "end")));
	json_decref(object);
}

/* ---------------------------------------------------------------------------------------- tests */

START_TEST(test_control__answers_in_order)
{
	start();
	_cleanup_close_ int fd = peer_new();
	peer_say(fd, "{\"command\":\"echo\",\"x\":\"\\u00e9\"}\n{\"command\":\"act\"}\n");
	expect(fd, "{\"command\":\"echo\",\"x\":\"\xc3\xa9\"}");
	expect(fd, "{\"end\":true}");
	expect(fd, "{\"acted\":1,\"end\":true}");
}
END_TEST

START_TEST(test_control__request_in_pieces)
{
	start();
	_cleanup_close_ int fd = peer_new();
	for (const char *c = "{\"command\":\"act\"}\n"; *c; c++) {
		ck_assert_int_eq(send(fd, c, 1, 0), 1);
		turn(0);
		turn(0);
	}
	expect(fd, "{\"acted\":1,\"end\":true}");
}
END_TEST

START_TEST(test_control__refuses_what_it_does_not_understand)
{
	static const struct {
		const char *line;
		int code;
	} cases[] = {
		{ "hello\n", EINVAL },
		{ "[1,2]\n", EINVAL },
		{ "{\"command\":7}\n", EINVAL },
		{ "{}\n", EINVAL },
		{ "{\"command\":\"act\",\"command\":\"echo\"}\n", EINVAL },
		{ "{\"command\":\"echo\"} {}\n", EINVAL },
		{ "{\"command\":\"\xff\"}\n", EINVAL },
		{ "{\"command\":\"\\u0001dance\"}\n", EOPNOTSUPP },
		{ "{\"command\":\"fail\"}\n", ENOENT },
	};
	start();
	_cleanup_close_ int fd = peer_new();
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		peer_say(fd, cases[i].line);
		expect_error(fd, cases[i].code);
	}
	peer_say(fd, "\n\n{\"command\":\"act\"}\n"); /* and serves on; empty lines are nothing */
	expect(fd, "{\"acted\":1,\"end\":true}");
}
END_TEST

START_TEST(test_control__deep_json_is_refused)
{
	start();
	_cleanup_close_ int fd = peer_new();
	char line[40002];
	memset(line, '[', sizeof line);
	line[40000] = '\n';
	line[40001] = '\0';
	peer_say(fd, line);
	expect_error(fd, EINVAL);
}
END_TEST

START_TEST(test_control__too_long_a_request_ends_the_connection)
{
	start();
	_cleanup_close_ int fd = peer_new();
	_cleanup_free_ char *line = malloc(CONTROL_REQUEST_MAX + 10);
	memset(line, ' ', CONTROL_REQUEST_MAX + 9);
	line[CONTROL_REQUEST_MAX + 9] = '\0';
	peer_say(fd, line);
	expect_error(fd, EMSGSIZE);
	_cleanup_free_ char *rest = malloc(16);
	for (int i = 0; i < 100; i++) {
		ssize_t n = recv(fd, rest, 16, 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return;
		turn(10);
	}
	ck_abort_msg("still open");
}
END_TEST

START_TEST(test_control__held_reply_delays_the_next_request)
{
	start();
	_cleanup_close_ int fd = peer_new();
	peer_say(fd, "{\"command\":\"hold\"}\n{\"command\":\"act\"}\n");
	for (int i = 0; i < 5; i++)
		turn(5);
	ck_assert_ptr_nonnull(held);
	ck_assert_uint_eq(acted, 0);
	control_send(held, json_pack("{s:i}", "row", 1));
	control_end(held);
	expect(fd, "{\"row\":1}");
	expect(fd, "{\"end\":true}");
	expect(fd, "{\"acted\":1,\"end\":true}");
}
END_TEST

START_TEST(test_control__reply_outlives_its_peer)
{
	start();
	int fd = peer_new();
	peer_say(fd, "{\"command\":\"hold\"}\n");
	while (!held)
		turn(10);
	(void)close(fd);
	for (int i = 0; i < 5; i++)
		turn(5);
	control_send(held, json_pack("{s:i}", "row", 1));
	control_end(held);
}
END_TEST

START_TEST(test_control__reply_outlives_the_control)
{
	start();
	_cleanup_close_ int fd = peer_new();
	peer_say(fd, "{\"command\":\"hold\"}\n");
	while (!held)
		turn(10);
	control_free(control);
	control = NULL;
	control_send(held, json_pack("{s:i}", "row", 1));
	control_fail(held, EIO, "gone");
}
END_TEST

START_TEST(test_control__peer_that_closed_its_half_is_answered)
{
	start();
	_cleanup_close_ int fd = peer_new();
	/* without a newline: the end of the stream ends it */
	peer_say(fd, "{\"command\":\"act\"}");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	expect(fd, "{\"acted\":1,\"end\":true}");
	expect(fd, "");
}
END_TEST

START_TEST(test_control__peer_that_does_not_read_costs_a_bounded_amount)
{
	start();
	_cleanup_close_ int fd = peer_new();
	peer_say(fd, "{\"command\":\"flood\",\"rows\":4000}\n{\"command\":\"act\"}\n");
	for (int i = 0; i < 5; i++)
		turn(5);
	unsigned rows = 0;
	for (;; rows++) {
		json_t *object = hear_json(fd);
		json_t *error = json_incref(json_object_get(object, "error"));
		json_decref(object);
		if (error) {
			ck_assert_int_eq(json_integer_value(json_object_get(error, "code")), EMSGSIZE);
			json_decref(error);
			break;
		}
	}
	ck_assert_uint_ge(rows, 100);
	ck_assert_uint_le(rows, CONTROL_ANSWER_MAX / 65536 + 16);
	expect(fd, "{\"acted\":1,\"end\":true}");
}
END_TEST

START_TEST(test_control__one_connection_does_not_hold_up_another)
{
	start();
	_cleanup_close_ int slow = peer_new();
	_cleanup_close_ int fd = peer_new();
	peer_say(slow, "{\"command\":\"flood\",\"rows\":50}\n");
	peer_say(fd, "{\"command\":\"act\"}\n");
	expect(fd, "{\"acted\":1,\"end\":true}");
}
END_TEST

static void run_for(uint64_t usec)
{
	for (uint64_t end = now_monotonic_usec() + usec; now_monotonic_usec() < end;)
		turn(5);
}

/* RUN_UNTIL - the loop, until CONDITION holds. */
#define RUN_UNTIL(condition)                                                                                           \
	do {                                                                                                           \
		uint64_t end_ = now_monotonic_usec() + 30 * USEC_PER_SEC;                                              \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(now_monotonic_usec() < end_, "never: %s", #condition);                           \
			turn(5);                                                                                       \
		}                                                                                                      \
	} while (0)

static int on_mark(sd_event_source *source, uint64_t usec, void *data)
{
	(void)source;
	(void)usec;
	++*(unsigned *)data;
	return 0;
}

/* longest_wait - of an event, in half a second of them. */
static uint64_t longest_wait(void)
{
	uint64_t end = now_monotonic_usec() + USEC_PER_SEC / 2, longest = 0, start;
	sd_event_source *mark;
	unsigned marks = 0;

	ck_assert_int_ge(soon_new(loop, on_mark, &marks, &mark), 0);
	while ((start = now_monotonic_usec()) < end) {
		soon(mark);
		for (unsigned before = marks; marks == before;)
			turn(0);
		uint64_t took = now_monotonic_usec() - start;
		longest = took > longest ? took : longest;
	}
	sd_event_source_disable_unref(mark);
	return longest;
}

/* Ten peers that ask without an end, and many requests on each connection: nothing else in the loop
 * is kept waiting for more than a slice. */
START_TEST(test_control__greedy_peers_hold_nobody_up)
{
	static const char flood[] = "{\"command\":\"flood\",\"rows\":1}\n";
	int fds[10];

	start();
	for (int i = 0; i < 10; i++) {
		fds[i] = peer_new();
		for (int j = 0; j < 40; j++)
			peer_say(fds[i], i ? flood : "{\"command\":\"stream\",\"rows\":1000000}\n");
	}
	uint64_t longest = longest_wait();
	ck_assert_uint_gt(endless.steps, 10);
	/* 20 on a machine that does nothing else */
	ck_assert_uint_lt(longest, 200 * USEC_PER_MSEC);
	for (int i = 0; i < 10; i++)
		(void)close(fds[i]);
	RUN_UNTIL(endless.drops == 1);
}
END_TEST

/* A stream waits for its peer, and ends with it. */
START_TEST(test_control__stream_waits_for_a_slow_peer)
{
	start();
	int fd = peer_new();
	peer_say(fd, "{\"command\":\"stream\",\"rows\":1000,\"size\":60000}\n");
	RUN_UNTIL(endless.steps > 0);
	run_for(500 * USEC_PER_MSEC);
	ck_assert_uint_lt(endless.steps, 30); /* of a thousand: it waits */
	for (unsigned i = 0; i < 40; i++) {
		_cleanup_free_ char *line = peer_hear(fd);
		ck_assert_uint_gt(strlen(line), 60000);
	}
	RUN_UNTIL(endless.steps > 30);
	ck_assert_uint_eq(endless.drops, 0);
	(void)close(fd);
	RUN_UNTIL(endless.drops == 1);
}
END_TEST

START_TEST(test_control__operators_work_outlives_its_peer)
{
	start();
	int fd = peer_new();
	peer_say(fd, "{\"command\":\"work\",\"rows\":100,\"size\":10}\n");
	while (endless.steps == 0)
		turn(5);
	(void)close(fd);
	RUN_UNTIL(endless.steps == 100);
	ck_assert_uint_eq(endless.drops, 0);
}
END_TEST

/* peer_send - TEXT with COUNT descriptors that hold "0", "1" and so on. */
static void peer_send(int fd, const char *text, unsigned count)
{
	union {
		char space[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} space = { .space = { 0 } };
	struct iovec part = { .iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr msg = { .msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = &space,
			      .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	int fds[8];

	for (unsigned i = 0; i < count; i++)
		fds[i] = memfd_sealed("test", &"01234567"[i], 1);
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
	ck_assert_ptr_nonnull(head);
	*head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(count * sizeof(int)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
	ck_assert_int_eq(sendmsg(fd, &msg, 0), (ssize_t)strlen(text));
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
}

static unsigned count_memfds(void)
{
	char name[32], target[64];
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++) {
		(void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(name, target, sizeof target - 1);
		count += n > 0 && memcmp(target, "/memfd:test", 11) == 0;
	}
	return count;
}

/* They come with their request, in their order; what is too much, or not used, is closed. */
START_TEST(test_control__descriptors)
{
	start();
	int fd = peer_new();
	peer_send(fd, "{\"command\":\"read\"}\n", 2);
	expect(fd, "{\"text\":\"01\",\"end\":true}");
	peer_say(fd, "{\"command\":\"read\"}\n");
	expect(fd, "{\"text\":\"\",\"end\":true}");
	peer_send(fd, "{\"command\":\"read\"}\n", 3);
	expect(fd, "{\"text\":\"012\",\"end\":true}");
	peer_send(fd, "{\"command\":\"act\"}\n", 3);
	expect(fd, "{\"acted\":1,\"end\":true}");
	ck_assert_uint_eq(count_memfds(), 0);
	peer_send(fd, "{\"command\":\"read\"}\n", 7);
	expect(fd, "{\"text\":\"012\",\"end\":true}");
	ck_assert_uint_eq(count_memfds(), 0);
	peer_send(fd, "{\"command\":", 3); /* half a request, and away */
	turn(20);
	(void)close(fd);
	RUN_UNTIL(count_memfds() == 0);
}
END_TEST

/* A command that is of no use without its peer hears of its end, once. */
START_TEST(test_control__a_peer_that_goes)
{
	start();
	gone = 0;
	int fd = peer_new();
	peer_say(fd, "{\"command\":\"wait\"}\n");
	RUN_UNTIL(held != NULL);
	(void)close(fd);
	RUN_UNTIL(gone == 1);
	held = NULL;
	fd = peer_new();
	peer_say(fd, "{\"command\":\"wait\"}\n{\"command\":\"act\"}\n"); /* with one more behind it */
	RUN_UNTIL(held != NULL);
	(void)close(fd);
	RUN_UNTIL(gone == 2);
	held = NULL;
	fd = peer_new();
	peer_say(fd, "{\"command\":\"wait\"}\n");
	RUN_UNTIL(held != NULL);
	control_free(control);
	control = NULL;
	ck_assert_uint_eq(gone, 3);
	held = NULL;
	(void)close(fd);
}
END_TEST

START_TEST(test_control__stream_dies_with_the_control)
{
	start();
	_cleanup_close_ int fd = peer_new();
	peer_say(fd, "{\"command\":\"stream\",\"rows\":100}\n");
	while (endless.steps == 0)
		turn(5);
	control_free(control);
	control = NULL;
	ck_assert_uint_eq(endless.drops, 1);
}
END_TEST

static bool serves(int fd)
{
	peer_say(fd, "{\"command\":\"echo\"}\n");
	json_t *object = hear_json(fd);
	bool served = json_object_get(object, "command") != NULL;
	json_decref(object);
	if (served)
		expect(fd, "{\"end\":true}");
	return served;
}

/* An operator always finds a place: that of the one who has been silent for longest. */
START_TEST(test_control__too_many_connections)
{
	int fds[CONTROL_CONNECTIONS_MAX + 1];
	start();
	for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
		fds[i] = peer_new();
		turn(100);
	}
	ck_assert(serves(fds[0]));
	fds[CONTROL_CONNECTIONS_MAX] = peer_new();
	ck_assert(serves(fds[CONTROL_CONNECTIONS_MAX]));
	expect_error(fds[1], EBUSY);
	expect(fds[1], "");
	ck_assert(serves(fds[0]));
	for (int i = 0; i <= CONTROL_CONNECTIONS_MAX; i++)
		(void)close(fds[i]);
}
END_TEST

/* peer_of - a connection of a user of that number; needs root. */
static int peer_of(uid_t user)
{
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setegid(user), 0);
	ck_assert_int_eq(seteuid(user), 0);
	int fd = peer_connect(path);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	ck_assert_int_ge(fd, 0);
	turn(100);
	return fd;
}

START_TEST(test_control__readers_have_half_and_each_of_them_eight)
{
	char *readers[] = { (char *)"4001", (char *)"4002", (char *)"4003", (char *)"4004", (char *)"4005", NULL };
	int fds[CONTROL_CONNECTIONS_MAX + 1], count = 0;

	if (geteuid() != 0)
		return;
	config.readers = readers;
	start();
	for (uid_t user = 4001; user <= 4004; user++) {
		for (int i = 0; i < CONTROL_USER_MAX; i++) {
			fds[count] = peer_of(user);
			ck_assert(serves(fds[count++]));
		}
		_cleanup_close_ int more = peer_of(user);
		expect_error(more, EBUSY);
		expect(more, "");
	}
	ck_assert_int_eq(count, CONTROL_READERS_MAX);
	_cleanup_close_ int other = peer_of(4005);
	expect_error(other, EBUSY);
	for (; count <= CONTROL_CONNECTIONS_MAX; count++) {
		fds[count] = peer_new();
		ck_assert(serves(fds[count]));
	}
	expect_error(fds[0], EBUSY); /* had to make way for the last one */
	for (int i = 0; i < count; i++)
		(void)close(fds[i]);
}
END_TEST

START_TEST(test_control__file_is_the_groups_alone)
{
	struct stat st;
	start();
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_int_eq(st.st_mode & 07777, 0660);
	control_free(control);
	control = NULL;
	ck_assert_int_eq(lstat(path, &st), -1);
}
END_TEST

START_TEST(test_control__stale_file_is_replaced)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* nobody listens */
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	start();
	_cleanup_close_ int peer = peer_new();
	peer_say(peer, "{\"command\":\"act\"}\n");
	expect(peer, "{\"acted\":1,\"end\":true}");
}
END_TEST

START_TEST(test_control__file_of_another_kind_is_left_alone)
{
	struct lsn_error err = { 0 };
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(control_new(loop, &config, commands, NULL, &control, &err), -EEXIST);
	ck_assert_ptr_nonnull(strstr(err.message, path));
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_control__second_daemon_is_refused)
{
	int ready[2];
	struct lsn_error err = { 0 };
	ck_assert_int_eq(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0)
			(void)!write(ready[1], "x", 1);
		(void)pause();
		_exit(0);
	}
	char c;
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	int r = control_new(loop, &config, commands, NULL, &control, &err);
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	(void)close(ready[0]);
	(void)close(ready[1]);
	ck_assert_int_eq(r, -EADDRINUSE);
	char pid[16];
	(void)snprintf(pid, sizeof pid, "%d", child);
	ck_assert_ptr_nonnull(strstr(err.message, pid));
}
END_TEST

START_TEST(test_control__successor_keeps_its_file)
{
	start();
	struct control *old = control;
	start(); /* this very process may replace its own socket: a reload */
	control_free(old);
	_cleanup_close_ int fd = peer_new();
	peer_say(fd, "{\"command\":\"act\"}\n");
	expect(fd, "{\"acted\":1,\"end\":true}");
}
END_TEST

struct looked_up {
	int r; /* 1: not yet */
	struct lsn_error err;
};

static void on_access(void *data, struct control_access *access, const struct lsn_error *err)
{
	struct looked_up *found = data;

	found->err = *err;
	found->r = access ? control_set_access(control, access, &found->err) : err->code;
	if (access)
		control_access_clear(access);
}

/* take_config - as a reload does it. */
static int take_config(struct lsn_error *err)
{
	struct looked_up found = { .r = 1 };
	struct control_lookup *lookup;

	ck_assert_int_eq(control_lookup_start(loop, &config, on_access, &found, &lookup, err), 0);
	while (found.r > 0)
		turn(10);
	if (err)
		*err = found.err;
	return found.r;
}

START_TEST(test_control__unknown_names_are_refused)
{
	struct lsn_error err = { 0 };
	char *nobody_knows[] = { (char *)"@no-such-group-here", NULL };
	config.operators = nobody_knows;
	ck_assert_int_eq(control_new(loop, &config, commands, NULL, &control, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "no-such-group-here"));
	ck_assert_ptr_nonnull(strstr(err.message, "operators"));
	config.operators = NULL;
	start();
	config.operators = nobody_knows;
	err = (struct lsn_error){ 0 };
	ck_assert_int_eq(take_config(&err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "no-such-group-here"));
	config.operators = NULL;
	ck_assert_int_eq(take_config(&err), 0);
}
END_TEST

/* More names than the child can report, and a look-up that nobody waits for any more. */
START_TEST(test_control__look_ups_end_well)
{
	enum { MANY = 5000 };
	static char *names[MANY + 1];
	struct lsn_error err = { 0 };
	struct control_lookup *lookup;

	start();
	for (unsigned i = 0; i < MANY; i++)
		names[i] = (char *)"4321";
	config.readers = names;
	ck_assert_int_eq(take_config(&err), -E2BIG);
	names[100] = NULL;
	ck_assert_int_eq(take_config(&err), 0);
	ck_assert_int_eq(control_lookup_start(loop, &config, on_access, NULL, &lookup, &err), 0);
	control_lookup_cancel(lookup);
	for (unsigned i = 0; i < 20; i++)
		turn(10);
}
END_TEST

/* as_user - what a process with these ids hears when it sends two requests: answers are exit
 * codes, 0 for success, else the errno. */
static int as_user(uid_t user, gid_t group, gid_t supplementary, const char *command)
{
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		char line[4096] = "";
		(void)alarm(10);
		/* the answer may come, and the end, before we ask */
		(void)signal(SIGPIPE, SIG_IGN);
		if (setgroups(1, &supplementary) < 0 || setresgid(group, group, group) < 0 ||
		    setresuid(user, user, user) < 0)
			_exit(200);
		int fd = peer_connect(path);
		if (fd < 0)
			_exit(-fd);
		(void)fcntl(fd, F_SETFL, 0);
		(void)dprintf(fd, "{\"command\":\"%s\"}\n", command);
		ssize_t n = recv(fd, line, sizeof line - 1, 0);
		json_t *object = n > 0 ? json_loads(line, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
		_exit(object ? (int)json_integer_value(json_object_get(json_object_get(object, "error"), "code"))
			     : 201);
	}
	int status;
	while (waitpid(child, &status, WNOHANG) == 0)
		turn(10);
	ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

START_TEST(test_control__rights_follow_credentials)
{
	if (geteuid() != 0) {
		(void)fprintf(stderr, "skipped: rights_follow_credentials needs root to become somebody else\n");
		return;
	}
	char *readers[] = { (char *)"nobody", (char *)"@4321", NULL },
	     *operators[] = { (char *)"@games", (char *)"1234", NULL };
	const gid_t games = getgrnam("games")->gr_gid;
	start();
	/* connect() itself: mode 0660 */
	ck_assert_int_eq(as_user(65534, 65534, 65534, "echo"), EACCES);
	config.readers = readers;
	config.operators = operators;
	ck_assert_int_eq(take_config(NULL), 0);
	ck_assert_int_eq(as_user(65534, 65534, 65534, "echo"), 0);
	ck_assert_int_eq(as_user(65534, 65534, 65534, "act"), EACCES);
	ck_assert_int_eq(as_user(5000, 5000, 4321, "echo"), 0);
	ck_assert_int_eq(as_user(5000, 5000, 4321, "act"), EACCES);
	ck_assert_int_eq(as_user(5000, 5000, games, "act"), 0); /* supplementary */
	ck_assert_int_eq(as_user(5000, games, 5000, "act"), 0); /* primary */
	ck_assert_int_eq(as_user(1234, 5000, 5000, "act"), 0);
	ck_assert_int_eq(as_user(5000, 5000, 5000, "echo"), EACCES);
	ck_assert_int_eq(as_user(0, 5000, 5000, "act"), 0);
	ck_assert_uint_eq(acted, 4);
}
END_TEST

START_TEST(test_control__bytes_become_text_or_base64)
{
	json_t *object = json_object();
	ck_assert_int_eq(control_set_bytes(object, "a", "x\0y", 3), 0);
	ck_assert_int_eq(control_set_bytes(object, "b", "\xff\xfe", 2), 0);
	ck_assert_int_eq(control_set_bytes(object, "c", NULL, 0), 0);
	ck_assert_uint_eq(json_string_length(json_object_get(object, "a")), 3);
	ck_assert_ptr_null(json_object_get(object, "b"));
	ck_assert_str_eq(json_string_value(json_object_get(object, "b_base64")), "//4=");
	ck_assert_str_eq(json_string_value(json_object_get(object, "c")), "");
	json_decref(object);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *tcase = tcase_create("control");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, test_control__answers_in_order);
	tcase_add_test(tcase, test_control__request_in_pieces);
	tcase_add_test(tcase, test_control__refuses_what_it_does_not_understand);
	tcase_add_test(tcase, test_control__deep_json_is_refused);
	tcase_add_test(tcase, test_control__too_long_a_request_ends_the_connection);
	tcase_add_test(tcase, test_control__held_reply_delays_the_next_request);
	tcase_add_test(tcase, test_control__reply_outlives_its_peer);
	tcase_add_test(tcase, test_control__reply_outlives_the_control);
	tcase_add_test(tcase, test_control__peer_that_closed_its_half_is_answered);
	tcase_add_test(tcase, test_control__peer_that_does_not_read_costs_a_bounded_amount);
	tcase_add_test(tcase, test_control__one_connection_does_not_hold_up_another);
	tcase_add_test(tcase, test_control__greedy_peers_hold_nobody_up);
	tcase_add_test(tcase, test_control__stream_waits_for_a_slow_peer);
	tcase_add_test(tcase, test_control__operators_work_outlives_its_peer);
	tcase_add_test(tcase, test_control__descriptors);
	tcase_add_test(tcase, test_control__a_peer_that_goes);
	tcase_add_test(tcase, test_control__stream_dies_with_the_control);
	tcase_add_test(tcase, test_control__too_many_connections);
	tcase_add_test(tcase, test_control__readers_have_half_and_each_of_them_eight);
	tcase_add_test(tcase, test_control__file_is_the_groups_alone);
	tcase_add_test(tcase, test_control__stale_file_is_replaced);
	tcase_add_test(tcase, test_control__file_of_another_kind_is_left_alone);
	tcase_add_test(tcase, test_control__second_daemon_is_refused);
	tcase_add_test(tcase, test_control__successor_keeps_its_file);
	tcase_add_test(tcase, test_control__unknown_names_are_refused);
	tcase_add_test(tcase, test_control__look_ups_end_well);
	tcase_add_test(tcase, test_control__rights_follow_credentials);
	tcase_add_test(tcase, test_control__bytes_become_text_or_base64);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
