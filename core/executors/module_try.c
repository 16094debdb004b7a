/* module_try.c - open a module in a child first. Constructors run when a library is opened; one
 * that crashes, hangs or exits must cost us a process, not the daemon. The child reports a whole
 * struct lsn_error over a pipe, also for success (code 0): a child that ends without one did not
 * get through. */
#include "cleanup.h"
#include "module.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <util.h>

#define TRY_TIMEOUT_MSEC 5000
#define CHILD_MODULE_FD 3
#define CHILD_REPORT_FD 4

/* Only what the trial needs stays open: a module that hangs or forks must not hold our sockets
 * and databases. */
static void child_keep_fds(int module_fd, int report_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int module = fcntl(module_fd, F_DUPFD, 16), report = fcntl(report_fd, F_DUPFD, 16);

	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null, fd);
	if (dup2(module, CHILD_MODULE_FD) < 0 || dup2(report, CHILD_REPORT_FD) < 0)
		_exit(1);
	(void)syscall(SYS_close_range, CHILD_REPORT_FD + 1, ~0U, 0);
}

static void child_reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		/* also what a sanitizer installed: we want to see the signal itself */
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void child_main(int module_fd, int report_fd, const char *name)
{
	struct lsn_executor_module abi;
	struct lsn_error report = { 0 };
	void *library;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	child_reset_signals();
	child_keep_fds(module_fd, report_fd);
	char path[32];
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", CHILD_MODULE_FD);
	report.code = module_open(path, name, &library, &abi, &report);
	_exit(write(CHILD_REPORT_FD, &report, sizeof report) == (ssize_t)sizeof report ? 0 : 1);
}

/* Wait for the child's report, its end or the time limit. The pipe tells all of them: nobody
 * else holds its other end. The child is gone afterwards; how it ended stays what it was, should
 * it have been about to when we killed it. Returns true if REPORT came. */
static bool wait_child(pid_t pid, int report_fd, struct lsn_error *report, siginfo_t *ret_end, bool *ret_timeout)
{
	uint64_t end = now_monotonic_usec() + TRY_TIMEOUT_MSEC * USEC_PER_MSEC, now;
	struct pollfd wait = { .fd = report_fd, .events = POLLIN };
	bool reported;
	int r = 0;

	while (r <= 0 && (now = now_monotonic_usec()) < end)
		/* interrupted: once more with what is left */
		r = poll(&wait, 1, (int)((end - now) / USEC_PER_MSEC) + 1);
	*ret_timeout = r <= 0;
	reported = read(report_fd, report, sizeof *report) == (ssize_t)sizeof *report;
	(void)kill(pid, SIGKILL);
	do
		r = waitid(P_PID, (id_t)pid, ret_end, WEXITED);
	while (r < 0 && errno == EINTR);
	return reported;
}

static int judge(const siginfo_t *end, struct lsn_error *err)
{
	if (end->si_code == CLD_KILLED || end->si_code == CLD_DUMPED)
		return lsn_error_set(err, -ENOEXEC, "it crashed while being loaded (signal %d, %s)", end->si_status,
				     strsignal(end->si_status));
	return lsn_error_set(err, -ENOEXEC, "it ended the process while being loaded (exit status %d)", end->si_status);
}

int module_try(int fd, const char *name, struct lsn_error *err)
{
	_cleanup_close_ int read_end = -1;
	struct lsn_error report = { 0 };
	bool timeout = false;
	siginfo_t end = { 0 };
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return lsn_error_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	read_end = ends[0];
	pid = fork();
	if (pid == 0)
		child_main(fd, ends[1], name);
	r = -errno;
	(void)close(ends[1]);
	if (pid < 0)
		return lsn_error_set(err, r, "cannot fork to try it: %s", strerror(-r));
	if (!wait_child(pid, read_end, &report, &end, &timeout))
		return timeout ? lsn_error_set(err, -ETIMEDOUT,
					       "it was not loaded after %d s: does one of its constructors hang?",
					       TRY_TIMEOUT_MSEC / 1000)
			       : judge(&end, err);
	report.message[sizeof report.message - 1] = 0;
	return report.code < 0 ? lsn_error_set(err, report.code, "%s", report.message) : 0;
}
