/* Host services on a real sd-event loop, with real pipes, sockets and clocks. */
#include "host.h"

#include "log.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <util.h>

static sd_event *loop;
static struct host *host;
static const struct lsn_host *h;
static char base[32], run_dir[64];
static int ends[2];

static void setup(void)
{
	struct lsn_error err = { 0 };

	log_init(LSN_LOG_ERROR);
	(void)snprintf(base, sizeof base, "/tmp/test_host.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	(void)snprintf(run_dir, sizeof run_dir, "%s/gpu", base);
	ck_assert_int_ge(sd_event_new(&loop), 0);
	ck_assert_int_eq(host_new(loop, "listener", "gpu", run_dir, "/usr/libexec", NULL, &host, &err), 0);
	h = host_services(host);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
}

static void teardown(void)
{
	if (host)
		ck_assert_uint_eq(host_free(host), 0);
	host = NULL;
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			(void)close(ends[i]);
	sd_event_unref(loop);
	(void)rmdir(run_dir);
	(void)rmdir(base);
}

/* Turn the loop until nothing is pending, at most MSEC for each wait. */
static unsigned turn(unsigned msec)
{
	unsigned turns = 0;

	while (sd_event_run(loop, msec * USEC_PER_MSEC) > 0)
		turns++;
	return turns;
}

struct seen {
	unsigned calls;
	uint32_t events;
	struct lsn_watch *watch, *other;
	struct lsn_timer *timer;
	bool drain;
};

static void on_fd(void *data, int fd, uint32_t events)
{
	struct seen *seen = data;
	char c;

	seen->calls++;
	seen->events |= events;
	if (seen->drain)
		while (read(fd, &c, 1) > 0)
			;
}

START_TEST(test_host__tells_who_and_where)
{
	struct stat st;

	ck_assert_uint_eq(h->version, LSN_ABI_VERSION);
	ck_assert_uint_eq(h->size, sizeof *h);
	ck_assert_str_eq(h->listener, "listener");
	ck_assert_str_eq(h->instance, "gpu");
	ck_assert_str_eq(h->libexec_dir, "/usr/libexec");
	ck_assert_int_eq(stat(h->run_dir, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0750);
}
END_TEST

START_TEST(test_host__run_dir_that_cannot_be_made)
{
	struct lsn_error err = { 0 };
	struct host *other = NULL;

	ck_assert_int_lt(host_new(loop, "l", "i", "/proc/nowhere/x", "", NULL, &other, &err), 0);
	ck_assert_ptr_null(other);
	ck_assert_ptr_nonnull(strstr(err.message, "/proc/nowhere/x"));
}
END_TEST

START_TEST(test_host__watch_is_level_triggered)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_READ, on_fd, &seen, &seen.watch), 0);
	ck_assert_int_eq(sd_event_run(loop, 0), 0);
	ck_assert_int_eq(write(ends[1], "xy", 2), 2);
	ck_assert_int_eq(sd_event_run(loop, 1000000), 1);
	ck_assert_int_eq(sd_event_run(loop, 1000000), 1); /* not read: told again */
	ck_assert_uint_eq(seen.calls, 2);
	ck_assert_uint_eq(seen.events, LSN_WATCH_READ);
	seen.drain = true;
	ck_assert_uint_eq(turn(0), 1);
	h->unwatch(h->handle, seen.watch);
	h->unwatch(h->handle, NULL);
}
END_TEST

START_TEST(test_host__watch_set_pauses_and_changes)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(h->watch(h->handle, ends[0], 0, on_fd, &seen, &seen.watch), 0);
	(void)close(ends[1]); /* epoll reports hang-ups unasked: a paused watch must not */
	ends[1] = -1;
	ck_assert_uint_eq(turn(0), 0);
	h->watch_set(h->handle, seen.watch, LSN_WATCH_WRITE);
	ck_assert_int_eq(sd_event_run(loop, 1000000), 1);
	ck_assert_uint_eq(seen.events, LSN_WATCH_WRITE | LSN_WATCH_HANGUP);
	h->watch_set(h->handle, seen.watch, 0);
	ck_assert_uint_eq(turn(0), 0);
	seen.events = 0;
	h->watch_set(h->handle, seen.watch, LSN_WATCH_READ);
	ck_assert_int_eq(sd_event_run(loop, 1000000), 1);
	ck_assert_uint_eq(seen.events, LSN_WATCH_READ | LSN_WATCH_HANGUP);
	h->unwatch(h->handle, seen.watch);
}
END_TEST

START_TEST(test_host__watch_refuses_what_it_cannot_watch)
{
	struct seen seen = { 0 };
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(h->watch(h->handle, file, LSN_WATCH_READ, on_fd, &seen, &seen.watch), -EPERM);
	ck_assert_int_eq(h->watch(h->handle, -1, LSN_WATCH_READ, on_fd, &seen, &seen.watch), -EINVAL);
	(void)close(file);
	ck_assert_int_eq(h->watch(h->handle, file, LSN_WATCH_READ, on_fd, &seen, &seen.watch), -EINVAL);
	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_HANGUP, on_fd, &seen, &seen.watch), -EINVAL);
	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_READ, NULL, &seen, &seen.watch), -EINVAL);
	ck_assert_ptr_null(seen.watch);
	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_READ, on_fd, &seen, &seen.watch), 0);
	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_READ, on_fd, &seen, &seen.other), -EEXIST);
	h->unwatch(h->handle, seen.watch);
}
END_TEST

static void drop_both(void *data, int fd, uint32_t events)
{
	struct seen *seen = data;

	(void)fd;
	(void)events;
	seen->calls++;
	h->unwatch(h->handle, seen->watch);
	h->unwatch(h->handle, seen->other);
}

/* Both are ready in the same turn: the second, already pending, must not be called. */
START_TEST(test_host__watch_may_drop_itself_and_others)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(write(ends[0], "x", 1), 1);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_READ, drop_both, &seen, &seen.watch), 0);
	ck_assert_int_eq(h->watch(h->handle, ends[1], LSN_WATCH_READ, drop_both, &seen, &seen.other), 0);
	ck_assert_uint_eq(turn(0), 1);
	ck_assert_uint_eq(seen.calls, 1);
}
END_TEST

static void on_time(void *data)
{
	struct seen *seen = data;

	seen->calls++;
	seen->timer = NULL;
}

static void again(void *data)
{
	struct seen *seen = data;

	if (++seen->calls < 3)
		ck_assert_int_eq(h->timer(h->handle, 0, again, seen, &seen->timer), 0);
}

START_TEST(test_host__timers_fire_once_and_in_time)
{
	struct seen seen = { 0 }, never = { 0 };
	uint64_t start = now_monotonic_usec();

	ck_assert_int_eq(h->timer(h->handle, 30 * USEC_PER_MSEC, on_time, &seen, &seen.timer), 0);
	ck_assert_int_eq(h->timer(h->handle, UINT64_MAX, on_time, &never, &never.timer), 0);
	while (!seen.calls)
		ck_assert_int_ge(sd_event_run(loop, USEC_PER_SEC), 0);
	ck_assert_uint_ge(now_monotonic_usec() - start, 30 * USEC_PER_MSEC);
	ck_assert_uint_eq(turn(5), 0);
	ck_assert_uint_eq(seen.calls, 1);
	ck_assert_uint_eq(never.calls, 0);
	h->timer_cancel(h->handle, never.timer);
	h->timer_cancel(h->handle, NULL);
	seen.calls = 0;
	ck_assert_int_eq(h->timer(h->handle, 0, again, &seen, &seen.timer), 0);
	(void)turn(10);
	ck_assert_uint_eq(seen.calls, 3);
	ck_assert_int_eq(h->timer(h->handle, 0, NULL, &seen, &seen.timer), -EINVAL);
}
END_TEST

static void cancel_other(void *data)
{
	struct seen *seen = data;

	seen->calls++;
	h->timer_cancel(h->handle, seen->timer);
}

START_TEST(test_host__timer_may_cancel_another_that_is_due)
{
	struct seen seen = { 0 };
	struct lsn_timer *first;

	ck_assert_int_eq(h->timer(h->handle, 0, cancel_other, &seen, &first), 0);
	ck_assert_int_eq(h->timer(h->handle, 1, on_time, &seen, &seen.timer), 0);
	usleep(1000);
	(void)turn(5);
	ck_assert_uint_eq(seen.calls, 1);
}
END_TEST

static void free_host(void *data)
{
	struct seen *seen = data;

	seen->calls++;
	ck_assert_uint_eq(host_free(host), 2); /* what the owner left behind is counted */
	host = NULL;
}

static void free_host_fd(void *data, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	free_host(data);
}

START_TEST(test_host__free_inside_a_timer)
{
	struct seen seen = { 0 };
	struct lsn_timer *timer;

	ck_assert_int_eq(h->timer(h->handle, 0, free_host, &seen, &timer), 0);
	ck_assert_int_eq(h->timer(h->handle, USEC_PER_SEC, on_time, &seen, &seen.timer), 0);
	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_READ, on_fd, &seen, &seen.watch), 0);
	(void)turn(5);
	ck_assert_uint_eq(seen.calls, 1);
}
END_TEST

START_TEST(test_host__free_inside_a_watch)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(h->timer(h->handle, USEC_PER_SEC, on_time, &seen, &seen.timer), 0);
	ck_assert_int_eq(h->watch(h->handle, ends[0], LSN_WATCH_WRITE, free_host_fd, &seen, &seen.watch), 0);
	(void)turn(5);
	ck_assert_uint_eq(seen.calls, 1);
}
END_TEST

static char *captured(int fd)
{
	static char text[4096];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return text;
}

static void be_slow(void *data)
{
	(void)data;
	usleep(60 * 1000);
}

/* Runs in a child of check's (fork mode) or not: stderr is put back either way. */
START_TEST(test_host__slow_callbacks_and_log_lines_are_named)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	struct lsn_timer *timer;

	log_init(LSN_LOG_INFO);
	ck_assert_int_ge(dup2(fileno(file), STDERR_FILENO), 0);
	h->log(h->handle, LSN_LOG_INFO, "%s%c%s", "two", '\n', "lines");
	h->log(h->handle, LSN_LOG_DEBUG, "not shown");
	ck_assert_int_eq(h->timer(h->handle, 0, be_slow, NULL, &timer), 0);
	(void)turn(5);
	(void)fflush(stderr);
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	char *text = captured(fileno(file));
	ck_assert_ptr_nonnull(strstr(text, "two lines part=gpu\n"));
	ck_assert_ptr_null(strstr(text, "not shown"));
	ck_assert_ptr_nonnull(strstr(text, "timer callback kept the loop for "));
	(void)fclose(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("host");
	TCase *tc = tcase_create("host");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_host__tells_who_and_where);
	tcase_add_test(tc, test_host__run_dir_that_cannot_be_made);
	tcase_add_test(tc, test_host__watch_is_level_triggered);
	tcase_add_test(tc, test_host__watch_set_pauses_and_changes);
	tcase_add_test(tc, test_host__watch_refuses_what_it_cannot_watch);
	tcase_add_test(tc, test_host__watch_may_drop_itself_and_others);
	tcase_add_test(tc, test_host__timers_fire_once_and_in_time);
	tcase_add_test(tc, test_host__timer_may_cancel_another_that_is_due);
	tcase_add_test(tc, test_host__free_inside_a_timer);
	tcase_add_test(tc, test_host__free_inside_a_watch);
	tcase_add_test(tc, test_host__slow_callbacks_and_log_lines_are_named);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
