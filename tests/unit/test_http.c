/* test_http.c - lib/http.c against a real server (http_server.py) over TCP, TLS and a unix
 * socket, on a small epoll host. */
#include "suite.h"
#include <cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <http.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <util.h>

/* ---------------------------------------------------------------------------- a host over epoll */

struct lsn_watch {
	int fd;
	bool gone;
	lsn_watch_fn fn;
	void *data;
	TAILQ_ENTRY(lsn_watch) link;
};
struct lsn_timer {
	uint64_t due_usec;
	lsn_timer_fn fn;
	void *data;
	TAILQ_ENTRY(lsn_timer) link;
};

static int epoll_fd = -1;
static TAILQ_HEAD(, lsn_watch) watches = TAILQ_HEAD_INITIALIZER(watches), graves = TAILQ_HEAD_INITIALIZER(graves);
static TAILQ_HEAD(, lsn_timer) timers = TAILQ_HEAD_INITIALIZER(timers);
static bool refuse_watch;

static uint32_t to_epoll(uint32_t events)
{
	return (events & LSN_WATCH_READ ? (uint32_t)EPOLLIN : 0) | (events & LSN_WATCH_WRITE ? (uint32_t)EPOLLOUT : 0);
}

static int host_watch(void *handle, int fd, uint32_t events, lsn_watch_fn fn, void *data, struct lsn_watch **ret)
{
	struct lsn_watch *w = calloc(1, sizeof *w);
	struct epoll_event e = { .events = to_epoll(events), .data.ptr = w };

	(void)handle;
	ck_assert_ptr_nonnull(w);
	if (refuse_watch) {
		free(w);
		return -ENOMEM;
	}
	w->fd = fd;
	w->fn = fn;
	w->data = data;
	ck_assert_int_eq(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e), 0);
	TAILQ_INSERT_TAIL(&watches, w, link);
	*ret = w;
	return 0;
}

static void host_watch_set(void *handle, struct lsn_watch *w, uint32_t events)
{
	struct epoll_event e = { .events = to_epoll(events), .data.ptr = w };

	(void)handle;
	ck_assert_int_eq(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, w->fd, &e), 0);
}

static void host_unwatch(void *handle, struct lsn_watch *w)
{
	(void)handle;
	if (!w)
		return;
	/* Strict on purpose: the descriptor must still be open. */
	ck_assert_int_eq(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL), 0);
	w->gone = true;
	TAILQ_REMOVE(&watches, w, link);
	TAILQ_INSERT_TAIL(&graves, w, link);
}

static int host_timer(void *handle, uint64_t delay_usec, lsn_timer_fn fn, void *data, struct lsn_timer **ret)
{
	struct lsn_timer *t = calloc(1, sizeof *t);

	(void)handle;
	ck_assert_ptr_nonnull(t);
	*t = (struct lsn_timer){ .due_usec = now_monotonic_usec() + delay_usec, .fn = fn, .data = data };
	TAILQ_INSERT_TAIL(&timers, t, link);
	*ret = t;
	return 0;
}

static void host_timer_cancel(void *handle, struct lsn_timer *t)
{
	(void)handle;
	if (!t)
		return;
	TAILQ_REMOVE(&timers, t, link);
	free(t);
}

static const struct lsn_host host = {
	.version = LSN_ABI_VERSION,
	.size = sizeof host,
	.watch = host_watch,
	.watch_set = host_watch_set,
	.unwatch = host_unwatch,
	.timer = host_timer,
	.timer_cancel = host_timer_cancel,
};

static bool run_due_timer(void)
{
	struct lsn_timer *t;

	TAILQ_FOREACH (t, &timers, link) {
		if (t->due_usec > now_monotonic_usec())
			continue;
		lsn_timer_fn fn = t->fn;
		void *data = t->data;
		host_timer_cancel(NULL, t);
		fn(data);
		return true;
	}
	return false;
}

static void run_turn(void)
{
	struct epoll_event events[16];
	struct lsn_watch *w;
	int n;

	if (run_due_timer())
		return;
	n = epoll_wait(epoll_fd, events, ELEMENTSOF(events), 2);
	for (int i = 0; i < n; i++) {
		w = events[i].data.ptr;
		if (!w->gone)
			w->fn(w->data, w->fd,
			      (events[i].events & EPOLLIN ? (uint32_t)LSN_WATCH_READ : 0) |
				      (events[i].events & EPOLLOUT ? (uint32_t)LSN_WATCH_WRITE : 0) |
				      (events[i].events & (EPOLLHUP | EPOLLERR) ? (uint32_t)LSN_WATCH_HANGUP : 0));
	}
	while ((w = TAILQ_FIRST(&graves))) {
		TAILQ_REMOVE(&graves, w, link);
		free(w);
	}
}

/* ---------------------------------------------------------------------------- server and client */

static char folder[] = "/tmp/test_http.XXXXXX";
static char socket_path[64], cert_path[64];
static unsigned port, tls_port;
static pid_t server_pid;
static int server_stdin = -1;

static int start_server(const char *self)
{
	char script[512];
	int in[2], out[2];

	if (!mkdtemp(folder) || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return -1;
	(void)self;
	(void)snprintf(script, sizeof script, "%s",
		       getenv("HTTP_SERVER") ? getenv("HTTP_SERVER") : "tests/unit/http_server.py");
	(void)snprintf(socket_path, sizeof socket_path, "%s/socket", folder);
	(void)snprintf(cert_path, sizeof cert_path, "%s/cert.pem", folder);
	server_pid = fork();
	if (server_pid == 0) {
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execlp("python3", "python3", script, folder, (char *)NULL);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	server_stdin = in[1];
	_cleanup_fclose_ FILE *f = fdopen(out[0], "r");
	return f && fscanf(f, "%u %u", &port, &tls_port) == 2 ? 0 : -1;
}

static void stop_server(void)
{
	pid_t pid;

	(void)close(server_stdin);
	(void)waitpid(server_pid, NULL, 0);
	pid = fork();
	if (pid == 0) {
		(void)execlp("rm", "rm", "-rf", folder, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
}

struct answer {
	unsigned calls;
	long status;
	char *body;
	size_t body_size;
	char content_type[64], location[128];
	struct lsn_error error;
};

static void on_answer(void *data, const struct http_reply *reply)
{
	struct answer *a = data;

	a->calls++;
	a->status = reply->status;
	a->body_size = reply->body_size;
	a->body = malloc(reply->body_size + 1);
	ck_assert_ptr_nonnull(a->body);
	memcpy(a->body, reply->body, reply->body_size + 1); /* with the NUL that is promised */
	ck_assert_int_eq(a->body[reply->body_size], '\0');
	(void)snprintf(a->content_type, sizeof a->content_type, "%s", reply->content_type);
	(void)snprintf(a->location, sizeof a->location, "%s", reply->location);
	a->error = reply->error;
}

static void answer_done(struct answer *a)
{
	free(a->body);
	memset(a, 0, sizeof *a);
}

static void wait_for(const struct answer *a)
{
	uint64_t end = now_monotonic_usec() + 10 * USEC_PER_SEC;

	while (a->calls == 0) {
		ck_assert_msg(now_monotonic_usec() < end, "no answer within 10 s");
		run_turn();
	}
}

static struct http *client;

static void client_new(const struct http_options *options)
{
	struct lsn_error err = { 0 };
	ck_assert_msg(http_new(&host, options, &client, &err) == 0, "%s", err.message);
}

static void setup(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	client_new(&(struct http_options){ .verify = true, .max_redirects = 3 });
}

static void teardown(void)
{
	struct lsn_watch *w;

	http_free(client);
	ck_assert(TAILQ_EMPTY(&watches));
	ck_assert(TAILQ_EMPTY(&timers));
	while ((w = TAILQ_FIRST(&graves))) {
		TAILQ_REMOVE(&graves, w, link);
		free(w);
	}
	(void)close(epoll_fd);
}

/* ask - METHOD for PATH of the plain server (or a whole URL); waits for the answer. */
static struct answer ask_request(struct http_request request, const char *path)
{
	struct answer a = { 0 };
	char url[512];

	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path);
	request.url = strchr(path, ':') && path[0] != '/' ? path : url;
	if (request.max_body == 0)
		request.max_body = 1 << 20;
	if (!request.method)
		request.method = "GET";
	ck_assert_int_eq(http_start(client, &request, on_answer, &a, NULL), 0);
	ck_assert_uint_eq(a.calls, 0);
	wait_for(&a);
	ck_assert_uint_eq(a.calls, 1);
	return a;
}

static struct answer ask(const char *path)
{
	return ask_request((struct http_request){ .timeout_usec = 5 * USEC_PER_SEC }, path);
}

static void expect_error(const char *path, int code)
{
	struct answer a = ask(path);

	ck_assert_msg(a.status == 0 && a.error.code == code, "%s: status %ld, code %d, %s", path, a.status,
		      a.error.code, a.error.message);
	ck_assert_msg(strncmp(a.error.message, "GET http", 8) == 0, "%s", a.error.message);
	answer_done(&a);
}

/* ---------------------------------------------------------------------------------------- cases */

START_TEST(test_http__methods_bodies_and_headers)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "DELETE" };
	static const char *const headers[] = { "X-Test: yes", "Content-Type: application/json", NULL };
	static const char body[] = "{\"a\": \"\xc3\xa9\"}";
	char expected[64];

	for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
		struct answer a = ask_request(
			(struct http_request){
				.method = methods[i], .headers = headers, .body = body, .body_size = sizeof body - 1 },
			"/echo?a=b");
		ck_assert_int_eq(a.status, 200);
		ck_assert_str_eq(a.content_type, "application/json");
		(void)snprintf(expected, sizeof expected, "\"method\": \"%s\"", methods[i]);
		ck_assert_msg(strstr(a.body, expected) != NULL, "%s", a.body);
		ck_assert_ptr_nonnull(strstr(a.body, "\"x-test\": \"yes\""));
		ck_assert_ptr_nonnull(strstr(a.body, "\"content-type\": \"application/json\""));
		ck_assert_ptr_nonnull(strstr(a.body, "\"body\": \"{\\\"a\\\": \\\"\\u00c3\\u00a9\\\"}\""));
		ck_assert_ptr_null(strstr(a.body, "expect"));
		answer_done(&a);
	}
}
END_TEST

START_TEST(test_http__requests_without_body)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", "HEAD" };

	for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
		struct answer a = ask_request((struct http_request){ .method = methods[i] }, "/echo?status=404");
		ck_assert_int_eq(a.status, 404);
		bool length = a.body_size > 0 && strstr(a.body, "\"content-length\": \"0\"") != NULL;
		ck_assert_int_eq(length, streq(methods[i], "POST") || streq(methods[i], "PUT"));
		ck_assert(a.body_size == 0 || !strstr(a.body, "content-type\""));
		answer_done(&a);
	}
	struct answer a = ask("/empty");
	ck_assert(a.status == 204 && a.body_size == 0);
	ck_assert_str_eq(a.content_type, "");
	answer_done(&a);
}
END_TEST

START_TEST(test_http__large_upload)
{
	size_t size = 3 << 20;
	_cleanup_free_ char *body = malloc(size);

	ck_assert_ptr_nonnull(body);
	memset(body, 'u', size);
	struct answer a = ask_request(
		(struct http_request){ .method = "PUT", .body = body, .body_size = size, .max_body = 8 << 20 },
		"/echo");
	ck_assert_int_eq(a.status, 200);
	ck_assert_uint_gt(a.body_size, size);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__connections_are_kept)
{
	for (unsigned i = 0; i < 10; i++) {
		struct answer a = ask("/echo");
		answer_done(&a);
	}
	struct answer first = ask("/echo"), second = ask("/echo");
	ck_assert_str_eq(strstr(first.body, "\"connections\""), strstr(second.body, "\"connections\""));
	answer_done(&first);
	answer_done(&second);
}
END_TEST

START_TEST(test_http__connection_that_died_in_the_pool)
{
	struct answer a = ask("/dropold");
	ck_assert_int_eq(a.status, 200);
	answer_done(&a);
	a = ask("/echo");
	ck_assert_int_eq(a.status, 200);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__body_limit)
{
	struct answer a = ask_request((struct http_request){ .max_body = 100000 }, "/big?size=100000");
	ck_assert(a.status == 200 && a.body_size == 100000);
	answer_done(&a);
	a = ask_request((struct http_request){ .max_body = 100000 }, "/big?size=100000&unsized=1");
	ck_assert(a.status == 200 && a.body_size == 100000);
	answer_done(&a);
	static const char *const too_large[] = { "/big?size=100001", "/big?size=100001&unsized=1",
						 "/big?size=50000000&unsized=1" };
	for (size_t i = 0; i < ELEMENTSOF(too_large); i++) {
		a = ask_request((struct http_request){ .max_body = 100000 }, too_large[i]);
		ck_assert_int_eq(a.status, 0);
		ck_assert_int_eq(a.error.code, -EFBIG);
		ck_assert_ptr_nonnull(strstr(a.error.message, "larger than 100000 bytes"));
		answer_done(&a);
	}
}
END_TEST

START_TEST(test_http__broken_replies)
{
	expect_error("/cut", -EPROTO);
	expect_error("/chunkcut", -EPROTO);
	expect_error("/chunkbad", -EPROTO);
	expect_error("/garbage", -EPROTO);
	expect_error("/nothing", -ECONNRESET);
	expect_error("/headers?count=400", -EFBIG);
	struct answer a = ask("/headers?count=50");
	ck_assert_int_eq(a.status, 200);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__nobody_there)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	char url[64];

	/* Bound and not listening: certainly refused. */
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
	expect_error(url, -ECONNREFUSED);
	(void)close(fd);
	expect_error("http://no-such-host.invalid/", -EHOSTUNREACH);
}
END_TEST

START_TEST(test_http__timeouts)
{
	uint64_t start = now_monotonic_usec();
	struct answer a = ask_request((struct http_request){ .timeout_usec = 200 * USEC_PER_MSEC }, "/slow?sec=2");

	ck_assert_int_eq(a.error.code, -ETIMEDOUT);
	ck_assert_uint_ge(now_monotonic_usec() - start, 190 * USEC_PER_MSEC);
	ck_assert_uint_lt(now_monotonic_usec() - start, 1500 * USEC_PER_MSEC);
	answer_done(&a);
	/* A server that sends a little all the time is no better. */
	a = ask_request((struct http_request){ .timeout_usec = 200 * USEC_PER_MSEC }, "/trickle");
	ck_assert_int_eq(a.error.code, -ETIMEDOUT);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__redirects_that_are_followed)
{
	static const int codes[] = { 301, 307, 308 };
	char path[128];

	for (size_t i = 0; i < ELEMENTSOF(codes); i++) {
		(void)snprintf(path, sizeof path, "/redirect?code=%d&to=/echo", codes[i]);
		struct answer a =
			ask_request((struct http_request){ .method = "PUT", .body = "keep", .body_size = 4 }, path);
		ck_assert_int_eq(a.status, 200);
		ck_assert_ptr_nonnull(strstr(a.body, "\"method\": \"PUT\""));
		ck_assert_ptr_nonnull(strstr(a.body, "\"body\": \"keep\""));
		ck_assert_str_eq(a.location, "");
		answer_done(&a);
	}
	(void)snprintf(path, sizeof path, "/redirect?to=http://127.0.0.1:%u/redirect?to=/echo", port);
	struct answer a = ask(path);
	ck_assert_int_eq(a.status, 200);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__redirects_that_are_not)
{
	char foreign[6][128];
	struct answer a;

	/* another name is another host */
	(void)snprintf(foreign[0], sizeof foreign[0], "/redirect?to=http://localhost:%u/echo", port);
	(void)snprintf(foreign[1], sizeof foreign[1], "/redirect?to=http://127.0.0.1:%u/echo", tls_port);
	(void)snprintf(foreign[2], sizeof foreign[2], "/redirect?to=file:///etc/passwd");
	(void)snprintf(foreign[3], sizeof foreign[3], "/redirect?to=http://me:secret@127.0.0.1:%u/echo", port);
	/* would have to become GET */
	(void)snprintf(foreign[4], sizeof foreign[4], "/redirect?code=302&to=/echo");
	(void)snprintf(foreign[5], sizeof foreign[5], "/redirect?code=303&to=/echo");
	for (size_t i = 0; i < ELEMENTSOF(foreign); i++) {
		a = ask(foreign[i]);
		ck_assert_msg(a.status / 100 == 3 && streq(a.body, "moved"), "%s: %ld %s", foreign[i], a.status,
			      a.error.message);
		ck_assert_uint_gt(strlen(a.location), 0);
		answer_done(&a);
	}
	a = ask("/loop"); /* max_redirects used up */
	ck_assert_int_eq(a.status, 301);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__tls)
{
	char url[128], path[256];

	(void)snprintf(url, sizeof url, "https://localhost:%u/echo", tls_port);
	expect_error(url, -EACCES); /* signed by nobody we know */
	http_free(client);
	client_new(&(struct http_options){ .verify = true, .ca_file = cert_path, .max_redirects = 3 });
	struct answer a = ask(url);
	ck_assert_msg(a.status == 200, "%s", a.error.message);
	answer_done(&a);
	/* not the certificate's name */
	(void)snprintf(path, sizeof path, "https://127.0.0.1:%u/echo", tls_port);
	expect_error(path, -EACCES);
	/* Down is refused, up is followed. */
	(void)snprintf(path, sizeof path, "https://localhost:%u/redirect?to=http://localhost:%u/echo", tls_port, port);
	a = ask(path);
	ck_assert_int_eq(a.status, 307);
	answer_done(&a);
	(void)snprintf(path, sizeof path, "http://localhost:%u/redirect?to=https://localhost:%u/echo", port, tls_port);
	a = ask(path);
	ck_assert_msg(a.status == 200, "%s", a.error.message);
	answer_done(&a);
	http_free(client);
	client_new(&(struct http_options){ .verify = false });
	a = ask(url);
	ck_assert_int_eq(a.status, 200);
	answer_done(&a);
	http_free(client);
	client_new(&(struct http_options){ .verify = true, .ca_file = "/nonexistent.pem" });
	expect_error(url, -EACCES);
}
END_TEST

START_TEST(test_http__basic_credentials_go_first)
{
	char path[128];

	http_free(client);
	client_new(&(struct http_options){ .user = "me", .password = "s3cret", .max_redirects = 3 });
	struct answer a = ask("/echo");
	ck_assert_ptr_nonnull(strstr(a.body, "\"authorization\": \"Basic bWU6czNjcmV0\""));
	answer_done(&a);
	(void)snprintf(path, sizeof path, "/redirect?to=http://localhost:%u/echo", port);
	a = ask(path);
	ck_assert_int_eq(a.status, 307);
	answer_done(&a);
	a = ask("/redirect?to=/echo");
	ck_assert_ptr_nonnull(strstr(a.body, "\"authorization\": \"Basic bWU6czNjcmV0\""));
	answer_done(&a);
}
END_TEST

START_TEST(test_http__unix_socket)
{
	http_free(client);
	client_new(&(struct http_options){ .unix_socket = socket_path });
	struct answer a = ask_request((struct http_request){ .method = "POST", .body = "x", .body_size = 1 },
				      "http://docker/echo");
	ck_assert_msg(a.status == 200, "%s", a.error.message);
	ck_assert_ptr_nonnull(strstr(a.body, "\"host\": \"docker\""));
	answer_done(&a);
	http_free(client);
	client_new(&(struct http_options){ .unix_socket = "/nonexistent/socket" });
	a = ask("http://docker/echo");
	ck_assert_int_eq(a.error.code, -ENOENT);
	ck_assert_str_eq(a.error.message, "GET http://docker/echo (at /nonexistent/socket): No such file or directory");
	answer_done(&a);
}
END_TEST

START_TEST(test_http__environment_names_no_proxy)
{
	ck_assert_int_eq(setenv("http_proxy", "http://127.0.0.1:1/", 1), 0);
	ck_assert_int_eq(setenv("all_proxy", "http://127.0.0.1:1/", 1), 0);
	struct answer a = ask("/echo");
	ck_assert_msg(a.status == 200, "%s", a.error.message);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__requests_that_make_no_sense)
{
	static const char *const bad_header[] = { "X: a\r\nY: b", NULL }, *const no_colon[] = { "X", NULL };
	static const struct http_request cases[] = {
		{ .method = "GET", .url = "file:///etc/passwd" },
		{ .method = "GET", .url = "ftp://127.0.0.1/" },
		{ .method = "GET", .url = "not a url" },
		{ .method = "GET", .url = "" },
		{ .method = "G T", .url = "http://127.0.0.1/" },
		{ .method = "GET\r\nX: y", .url = "http://127.0.0.1/" },
		{ .method = "", .url = "http://127.0.0.1/" },
		{ .method = "GET", .url = "http://127.0.0.1/", .headers = bad_header },
		{ .method = "GET", .url = "http://127.0.0.1/", .headers = no_colon },
		{ .method = "GET", .url = "http://127.0.0.1/\r\nX: y" },
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++)
		ck_assert_msg(http_start(client, &cases[i], on_answer, NULL, NULL) == -EINVAL, "case %zu", i);
}
END_TEST

START_TEST(test_http__many_at_once_wait_for_connections)
{
	struct answer answers[40] = { 0 };
	char url[128];

	http_free(client);
	client_new(&(struct http_options){ .max_connections = 4 });
	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u/slow?sec=0.02", port);
	struct http_request request = { .method = "GET", .url = url, .max_body = 100 };
	for (size_t i = 0; i < ELEMENTSOF(answers); i++)
		ck_assert_int_eq(http_start(client, &request, on_answer, &answers[i], NULL), 0);
	memset(url, 'x', sizeof url); /* the request was copied */
	for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
		wait_for(&answers[i]);
		ck_assert_msg(answers[i].status == 200, "%s", answers[i].error.message);
	}
	for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
		ck_assert_uint_eq(answers[i].calls, 1);
		answer_done(&answers[i]);
	}
}
END_TEST

START_TEST(test_http__cancel_does_not_call_back)
{
	struct answer answers[4] = { 0 };
	struct http_exchange *x[4];
	char url[128];

	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u/slow?sec=0.1", port);
	struct http_request request = { .method = "GET", .url = url, .max_body = 100 };
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(http_start(client, &request, on_answer, &answers[i], &x[i]), 0);
	http_cancel(x[0]); /* before it began */
	for (unsigned i = 0; i < 5; i++)
		run_turn();
	http_cancel(x[1]); /* on its way */
	http_cancel(NULL);
	wait_for(&answers[2]);
	wait_for(&answers[3]);
	ck_assert_uint_eq(answers[0].calls + answers[1].calls, 0);
	answer_done(&answers[2]);
	answer_done(&answers[3]);
	ck_assert_int_eq(http_start(client, &request, on_answer, &answers[0], NULL), 0);
	run_turn(); /* left for http_free() */
}
END_TEST

/* Callbacks that start and cancel: the first answer cancels its neighbours and starts one more. */
static struct http_exchange *neighbours[8];
static struct answer restarted;
static unsigned first_calls;
static char again_url[128];

static void on_first(void *data, const struct http_reply *reply)
{
	struct http_exchange **own = data;
	struct http_request request = {
		.method = "GET", .url = again_url, .max_body = 4096, .timeout_usec = USEC_PER_SEC
	};

	ck_assert_int_eq(reply->status, 200);
	*own = NULL;
	if (first_calls++ > 0)
		return;
	for (size_t i = 0; i < ELEMENTSOF(neighbours); i++) {
		http_cancel(neighbours[i]);
		neighbours[i] = NULL;
	}
	ck_assert_int_eq(http_start(client, &request, on_answer, &restarted, NULL), 0);
}

START_TEST(test_http__callbacks_start_and_cancel)
{
	(void)snprintf(again_url, sizeof again_url, "http://127.0.0.1:%u/echo", port);
	struct http_request request = { .method = "GET", .url = again_url, .max_body = 4096 };
	for (size_t i = 0; i < ELEMENTSOF(neighbours); i++)
		ck_assert_int_eq(http_start(client, &request, on_first, &neighbours[i], &neighbours[i]), 0);
	wait_for(&restarted);
	ck_assert_int_eq(restarted.status, 200);
	ck_assert_uint_eq(first_calls, 1);
	answer_done(&restarted);
}
END_TEST

/* Descriptors that an exec() would hand on; those that check or the caller left open are not
 * ours. */
static unsigned count_inherited(void)
{
	unsigned n = 0;

	for (int fd = 3; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);
		n += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return n;
}

START_TEST(test_http__descriptors_are_close_on_exec)
{
	http_free(client);
	unsigned before = count_inherited();
	client_new(&(struct http_options){ 0 });
	ck_assert_uint_eq(count_inherited(), before);
	struct answer a = ask("/echo");
	ck_assert_int_eq(a.status, 200);
	ck_assert_uint_eq(count_inherited(), before);
	answer_done(&a);
}
END_TEST

START_TEST(test_http__host_that_cannot_watch)
{
	refuse_watch = true;
	struct answer a = ask("/echo");
	ck_assert_int_eq(a.status, 0);
	ck_assert_int_eq(a.error.code, -ENOBUFS);
	answer_done(&a);
	refuse_watch = false;
	a = ask("/echo"); /* and the client is still good */
	ck_assert_msg(a.status == 200, "%s", a.error.message);
	answer_done(&a);
}
END_TEST

/* libcurl says no more than that it could not connect. */
START_TEST(test_http__no_descriptor_left)
{
	struct rlimit before, few;
	int next = dup(0);

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max };
	(void)close(next);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	struct answer a = ask("/echo");
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_eq(a.status, 0);
	ck_assert_msg(a.error.code == -EMFILE, "%s", a.error.message);
	ck_assert_ptr_nonnull(strstr(a.error.message, strerror(EMFILE)));
	answer_done(&a);
	a = ask("/echo");
	ck_assert_msg(a.status == 200, "%s", a.error.message);
	answer_done(&a);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("http");
	TCase *tc = tcase_create("all");

	(void)argc;
	(void)signal(SIGPIPE, SIG_IGN);
	if (start_server(argv[0]) < 0) {
		(void)fprintf(stderr, "the server did not start (python3, openssl?)\n");
		return 1;
	}
	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_http__methods_bodies_and_headers);
	tcase_add_test(tc, test_http__requests_without_body);
	tcase_add_test(tc, test_http__large_upload);
	tcase_add_test(tc, test_http__connections_are_kept);
	tcase_add_test(tc, test_http__connection_that_died_in_the_pool);
	tcase_add_test(tc, test_http__body_limit);
	tcase_add_test(tc, test_http__broken_replies);
	tcase_add_test(tc, test_http__nobody_there);
	tcase_add_test(tc, test_http__timeouts);
	tcase_add_test(tc, test_http__redirects_that_are_followed);
	tcase_add_test(tc, test_http__redirects_that_are_not);
	tcase_add_test(tc, test_http__tls);
	tcase_add_test(tc, test_http__basic_credentials_go_first);
	tcase_add_test(tc, test_http__unix_socket);
	tcase_add_test(tc, test_http__environment_names_no_proxy);
	tcase_add_test(tc, test_http__requests_that_make_no_sense);
	tcase_add_test(tc, test_http__many_at_once_wait_for_connections);
	tcase_add_test(tc, test_http__cancel_does_not_call_back);
	tcase_add_test(tc, test_http__callbacks_start_and_cancel);
	tcase_add_test(tc, test_http__descriptors_are_close_on_exec);
	tcase_add_test(tc, test_http__no_descriptor_left);
	tcase_add_test(tc, test_http__host_that_cannot_watch);
	int status = suite_run(suite);
	stop_server();
	return status;
}
