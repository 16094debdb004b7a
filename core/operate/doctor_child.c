/* doctor_child.c - measuring blocks (sync, DNS, waiting for a broker that does not answer), the
 * daemon's loop must not. So it is done in a forked child in a process group of its own, which
 * holds no descriptor of ours but a pipe and stderr and sends its rows through the pipe as JSON,
 * one a line.
 *
 * The child ends by itself; SIGTERM makes it stop measuring and tidy up; an alarm ends one that
 * hangs, also if the daemon is gone. */
#include "child.h"
#include "doctor.h"
#include "files_limit.h"
#include "cleanup.h"
#include "reply.h"
#include "stall.h"
#include "util.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CHILD_PIPE_FD 3
#define LINE_MAX_BYTES 4096

struct doctor_child {
	pid_t pid;
	int fd;
	struct doctor_sink sink;
	void (*end)(void *data);
	sd_event_source *io, *timer, *reaper;
	char line[LINE_MAX_BYTES];
	size_t line_size;
	bool silent; /* the pipe has ended */
	bool done; /* the child said that it got through */
};

static volatile sig_atomic_t stopping;

/* --------------------------------------------------------------------------------- in the child */

bool doctor_child_stopping(void) { return stopping; }

static void on_terminate(int sig)
{
	(void)sig;
	stopping = 1;
}

static void write_line(const json_t *object)
{
	_cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	size_t size = text ? strlen(text) : 0;

	if (size == 0 || size >= LINE_MAX_BYTES)
		return;
	text[size++] = '\n'; /* in the place of the NUL */
	for (size_t done = 0; done < size;) {
		ssize_t n = write(CHILD_PIPE_FD, text + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody listens any more */
		done += (size_t)n;
	}
}

static void child_send_row(void *data, enum lsn_probe_level level, const char *area, const char *what,
			   const char *remedy)
{
	json_t *object = json_object();

	(void)data;
	json_set_uint(object, "level", level);
	json_set_string(object, "area", area);
	json_set_string(object, "what", what);
	if (remedy)
		json_set_string(object, "remedy", remedy);
	write_line(object);
	json_decref(object);
}

static void child_signals(uint64_t limit_usec)
{
	/* without SA_RESTART: poll() is to notice */
	struct sigaction terminate = { .sa_handler = on_terminate };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigaction(SIGTERM, &terminate, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)alarm((unsigned)(limit_usec / USEC_PER_SEC) + 1);
}

static void child_fds(int pipe_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	if (pipe_fd != CHILD_PIPE_FD && dup2(pipe_fd, CHILD_PIPE_FD) < 0)
		_exit(1);
	(void)fcntl(CHILD_PIPE_FD, F_SETFD, FD_CLOEXEC);
	(void)syscall(SYS_close_range, CHILD_PIPE_FD + 1, ~0U, 0);
}

_Noreturn static void child_main(int pipe_fd, pid_t parent, doctor_work work, const void *data, uint64_t limit_usec)
{
	const struct doctor_sink sink = { .row = child_send_row };

	(void)setpgid(0, 0);
	stopping = 0;
	child_signals(limit_usec);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)prctl(PR_SET_NAME, "doctor");
	if (getppid() != parent)
		_exit(1);
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	files_limit_restore();
	child_fds(pipe_fd);
	work(&sink, data);
	json_t *last = json_object();
	json_set_bool(last, "done", true);
	write_line(last);
	_exit(0);
}

/* -------------------------------------------------------------------------------- in the daemon */

static void take_line(struct doctor_child *child, const char *text, size_t size)
{
	json_t *object = json_loadb(text, size, 0, NULL);
	const char *area = json_string_value(json_object_get(object, "area")),
		   *what = json_string_value(json_object_get(object, "what"));
	json_int_t level = json_integer_value(json_object_get(object, "level"));

	if (json_is_true(json_object_get(object, "done")))
		child->done = true;
	else if (area && what && level >= 0 && level <= LSN_PROBE_FAILURE)
		child->sink.row(child->sink.data, (enum lsn_probe_level)level, area, what,
				json_string_value(json_object_get(object, "remedy")));
	json_decref(object);
}

static void take_lines(struct doctor_child *child)
{
	char *newline, *start = child->line, *end = child->line + child->line_size;

	while ((newline = memchr(start, '\n', (size_t)(end - start)))) {
		take_line(child, start, (size_t)(newline - start));
		start = newline + 1;
	}
	child->line_size = (size_t)(end - start);
	memmove(child->line, start, child->line_size);
	if (child->line_size == sizeof child->line)
		child->line_size = 0; /* not one of our lines */
}

static void read_rows(struct doctor_child *child)
{
	while (!child->silent) {
		ssize_t n = read(child->fd, child->line + child->line_size, sizeof child->line - child->line_size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			child->silent = true;
			(void)sd_event_source_set_enabled(child->io, SD_EVENT_OFF);
			return;
		}
		child->line_size += (size_t)n;
		take_lines(child);
	}
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	stall_source("control", "doctor");
	(void)source;
	(void)fd;
	(void)revents;
	read_rows(data);
	return 0;
}

static void finish(struct doctor_child *child)
{
	void (*end_fn)(void *data) = child->end;
	void *data = child->sink.data;

	doctor_child_free(child);
	end_fn(data);
}

static int on_limit(sd_event_source *source, uint64_t usec, void *data)
{
	struct doctor_child *child = data;

	(void)source;
	(void)usec;
	read_rows(child);
	doctor_report(&child->sink, LSN_PROBE_FAILURE, "doctor",
		      "see whether the journal's disk and the broker answer, then ask again",
		      "the measurement of disk and broker did not end in time and was stopped");
	(void)kill(-child->pid, SIGKILL);
	finish(child);
	return 0;
}

static int on_exit_of_child(sd_event_source *source, const siginfo_t *info, void *data)
{
	struct doctor_child *child = data;
	char how[CHILD_END_SIZE];

	(void)source;
	if (!child)
		return 0;
	child->pid = 0; /* no more ours */
	read_rows(child);
	if (!child->done)
		doctor_report(&child->sink, LSN_PROBE_FAILURE, "doctor", "report this, with the daemon's log",
			      "the measuring process ended %s", child_say_end(info, how));
	finish(child);
	return 0;
}

static int start_watching(struct doctor_child *child, sd_event *loop, uint64_t limit_usec)
{
	int r = sd_event_add_io(loop, &child->io, child->fd, EPOLLIN, on_readable, child);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &child->timer, CLOCK_MONOTONIC, limit_usec, 0, on_limit, child);
	return r;
}

/* start_reaping - the loop blocks SIGCHLD from its start. */
static int start_reaping(struct doctor_child *child, sd_event *loop)
{
	return sd_event_add_child(loop, &child->reaper, child->pid, WEXITED, on_exit_of_child, child);
}

int doctor_child_start(sd_event *loop, doctor_work work, const void *data, uint64_t limit_usec,
		       const struct doctor_sink *sink, void (*end_fn)(void *data), struct doctor_child **ret)
{
	struct doctor_child *child = calloc(1, sizeof *child);
	_cleanup_close_ int write_end = -1;
	pid_t parent = getpid();
	int ends[2];

	if (!child)
		return -ENOMEM;
	child->fd = -1;
	child->sink = *sink;
	child->end = end_fn;
	int r = pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
	if (r >= 0) {
		child->fd = ends[0];
		write_end = ends[1];
		(void)fcntl(child->fd, F_SETFL, O_NONBLOCK);
		r = start_watching(child, loop, limit_usec);
	}
	if (r >= 0) {
		child->pid = fork();
		if (child->pid == 0)
			child_main(write_end, parent, work, data, limit_usec);
		r = child->pid < 0 ? -errno : start_reaping(child, loop);
	}
	if (r < 0) {
		doctor_child_free(child);
		return r;
	}
	*ret = child;
	return 0;
}

void doctor_child_free(struct doctor_child *child)
{
	if (!child)
		return;
	if (child->pid > 0 && child->reaper) {
		/* The loop keeps the source, to reap what may take its time to go. */
		(void)kill(child->pid, SIGTERM);
		(void)sd_event_source_set_userdata(child->reaper, NULL);
		(void)sd_event_source_set_floating(child->reaper, true);
		child->reaper = sd_event_source_unref(child->reaper);
	}
	sd_event_source_disable_unref(child->reaper);
	sd_event_source_disable_unref(child->io);
	sd_event_source_disable_unref(child->timer);
	if (child->fd >= 0)
		(void)close(child->fd);
	free(child);
}
