/* child.c - see child.h. The report is read when the process has ended: it fits the pipe. */
#include "child.h"
#include "files_limit.h"
#include "stall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define CHILD_REPORT_FD 3
#define CHILD_KEPT_FD 4
#define WAIT_STEP_MSEC 20

struct child {
	pid_t pid;
	int report_fd;
	sd_event_source *reaper, *timer;
	void (*done)(void *data, const struct child_end *end);
	void *data;
};

/* --------------------------------------------------------------------------------- in the child */

static void child_keep_fds(int report_fd, int kept_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int report = fcntl(report_fd, F_DUPFD, 16), kept = kept_fd < 0 ? -1 : fcntl(kept_fd, F_DUPFD, 16);

	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null, fd);
	if (dup2(report, CHILD_REPORT_FD) < 0 || (kept >= 0 && dup2(kept, CHILD_KEPT_FD) < 0))
		_exit(1);
	(void)syscall(SYS_close_range, (kept >= 0 ? CHILD_KEPT_FD : CHILD_REPORT_FD) + 1, ~0U, 0);
}

static void child_reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		/* also what a sanitizer installed: the signal itself is to be seen */
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void child_main(const struct child_task *task, int report_fd, pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	(void)prctl(PR_SET_NAME, task->name);
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	files_limit_restore();
	child_reset_signals();
	child_keep_fds(report_fd, task->kept_fd);
	task->work(CHILD_REPORT_FD, task->kept_fd < 0 ? -1 : CHILD_KEPT_FD, task->data);
	_exit(0);
}

/* child_fork - start TASK. *RET_FD is the end of the pipe to read. The process id, or a negative
 * errno with ERR. */
static pid_t child_fork(const struct child_task *task, int *ret_fd, struct lsn_error *err)
{
	_cleanup_close_ int read_end = -1, write_end = -1;
	pid_t parent = getpid();
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return lsn_error_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	read_end = ends[0];
	write_end = ends[1];
	pid_t pid = fork();
	if (pid == 0)
		child_main(task, write_end, parent);
	if (pid < 0)
		return lsn_error_set(err, -errno, "cannot start a process: %s", strerror(errno));
	*ret_fd = TAKE_FD(read_end);
	return pid;
}

/* -------------------------------------------------------------------------------------- its end */

static size_t report_read(int fd, char *buffer)
{
	size_t size = 0;

	while (size < CHILD_REPORT_MAX) {
		ssize_t n = read(fd, buffer + size, CHILD_REPORT_MAX - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	return size;
}

/* child_free - also of one that still runs: the loop keeps its source, for it may take its time
 * to go. */
static void child_free(struct child *child, bool running)
{
	if (child->reaper && running) {
		(void)kill(child->pid, SIGKILL);
		(void)sd_event_source_set_userdata(child->reaper, NULL);
		(void)sd_event_source_set_floating(child->reaper, true);
		child->reaper = sd_event_source_unref(child->reaper);
	}
	sd_event_source_disable_unref(child->reaper);
	sd_event_source_disable_unref(child->timer);
	if (child->report_fd >= 0)
		(void)close(child->report_fd);
	free(child);
}

static void child_finish(struct child *child, struct child_end *end)
{
	void (*done)(void *data, const struct child_end *end) = child->done;
	void *data = child->data;
	char report[CHILD_REPORT_MAX];

	end->report = report;
	end->report_size = end->timeout ? 0 : report_read(child->report_fd, report);
	child_free(child, end->timeout);
	done(data, end);
}

static int on_child_exit(sd_event_source *source, const siginfo_t *info, void *data)
{
	struct child_end end = { .how = *info };

	stall_source("child process", NULL);
	(void)source;
	if (data) /* else it was cancelled, or came too late */
		child_finish(data, &end);
	return 0;
}

static int on_child_limit(sd_event_source *source, uint64_t usec, void *data)
{
	struct child_end end = { .timeout = true };

	stall_source("child process", NULL);
	(void)source, (void)usec;
	child_finish(data, &end);
	return 0;
}

/* ------------------------------------------------------------------------------------ interface */

static void block_sigchld(void)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

int child_start(sd_event *loop, const struct child_task *task, void (*done)(void *data, const struct child_end *end),
		void *data, struct child **ret, struct lsn_error *err)
{
	struct child *child = calloc(1, sizeof *child);

	if (!child)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*child = (struct child){ .report_fd = -1, .done = done, .data = data };
	block_sigchld();
	int r = sd_event_add_time_relative(loop, &child->timer, CLOCK_MONOTONIC, task->limit_usec, 0, on_child_limit,
					   child);
	if (r >= 0)
		r = child->pid = child_fork(task, &child->report_fd, err);
	if (r > 0) {
		r = sd_event_add_child(loop, &child->reaper, child->pid, WEXITED, on_child_exit, child);
		if (r < 0) {
			(void)kill(child->pid, SIGKILL);
			(void)waitpid(child->pid, NULL, 0);
		}
	}
	if (r < 0) {
		child_free(child, false);
		return err && err->code ? r : lsn_error_set(err, r, "cannot watch a process: %s", strerror(-r));
	}
	*ret = child;
	return 0;
}

int child_wait(const struct child_task *task, void *buffer, struct child_end *ret, struct lsn_error *err)
{
	uint64_t end = now_monotonic_usec() + task->limit_usec, now;
	_cleanup_close_ int fd = -1;
	int r;

	pid_t pid = child_fork(task, &fd, err);
	if (pid < 0)
		return pid;
	struct pollfd hangup = { .fd = fd };
	*ret = (struct child_end){ .report = buffer, .timeout = true };
	while ((now = now_monotonic_usec()) < end && ret->timeout) {
		/* not the end of the pipe alone: a child of the child may hold it */
		(void)poll(&hangup, 1, WAIT_STEP_MSEC);
		ret->timeout = waitid(P_PID, (id_t)pid, &ret->how, WEXITED | WNOHANG) == 0 && ret->how.si_pid == 0;
	}
	if (ret->timeout) {
		(void)kill(pid, SIGKILL);
		do
			r = waitid(P_PID, (id_t)pid, &ret->how, WEXITED);
		while (r < 0 && errno == EINTR);
	} else {
		ret->report_size = report_read(fd, buffer);
	}
	return 0;
}

void child_cancel(struct child *child)
{
	if (child)
		child_free(child, true);
}

const char *child_say_end(const siginfo_t *how, char ret[CHILD_END_SIZE])
{
	(void)snprintf(ret, CHILD_END_SIZE, "%s %d", how->si_code == CLD_EXITED ? "with exit status" : "by signal",
		       how->si_status);
	return ret;
}
