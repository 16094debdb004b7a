/* init_guard.c - see init_guard.h. The handler uses only what was prepared before and
 * async-signal-safe calls. */
#include "init_guard.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <util.h>

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP };

static struct {
	char marker[PATH_MAX];
	char mark[MODULE_HASH_SIZE + 1]; /* the hash and a newline */
	char message[256];
	struct sigaction before[ELEMENTSOF(fatal_signals)];
	stack_t stack_before;
} guard;
static char handler_stack[64 * 1024]; /* a crash may well be an overflow of the stack in use */

static void marker_path(char *buf, size_t size, const char *run_dir, const char *executor)
{
	(void)snprintf(buf, size, "%s/%s.crashed", run_dir, executor);
}

int init_guard_check(const char *run_dir, const char *executor, const struct module *module, struct lsn_error *err)
{
	_cleanup_free_ char *hash = NULL;
	char path[PATH_MAX];
	size_t size;

	marker_path(path, sizeof path, run_dir, executor);
	if (read_file_limited(AT_FDCWD, path, MODULE_HASH_SIZE, &hash, &size) < 0)
		return 0; /* none, or none of ours */
	if (size >= MODULE_HASH_SIZE - 1 && strncmp(hash, module->hash, MODULE_HASH_SIZE - 1) == 0)
		return lsn_error_set(
			err, -ENOEXEC,
			"version %.12s crashed the daemon inside init() and is not tried again: replace the module, or "
			"delete %s",
			module->hash, path);
	(void)unlink(path);
	return 0;
}

static void on_fatal(int sig)
{
	int fd = open(guard.marker, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	ssize_t n = write(STDERR_FILENO, guard.message, strlen(guard.message));

	if (fd >= 0)
		n = write(fd, guard.mark, strlen(guard.mark));
	(void)n; /* nothing better can be done about it now */
	(void)signal(sig, SIG_DFL);
	(void)raise(sig); /* delivered when this handler returns */
}

void init_guard_arm(const char *run_dir, const char *executor, const struct module *module)
{
	struct sigaction action = { .sa_handler = on_fatal, .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_sp = handler_stack, .ss_size = sizeof handler_stack };

	marker_path(guard.marker, sizeof guard.marker, run_dir, executor);
	(void)snprintf(guard.mark, sizeof guard.mark, "%s\n", module->hash);
	(void)snprintf(guard.message, sizeof guard.message,
		       "listenerd: crashing inside init() of executor=%s module=%s version=%.12s\n", executor,
		       module->name, module->hash);
	(void)sigaltstack(&stack, &guard.stack_before);
	for (size_t i = 0; i < ELEMENTSOF(fatal_signals); i++)
		(void)sigaction(fatal_signals[i], &action, &guard.before[i]);
}

void init_guard_disarm(void)
{
	for (size_t i = 0; i < ELEMENTSOF(fatal_signals); i++)
		(void)sigaction(fatal_signals[i], &guard.before[i], NULL);
	(void)sigaltstack(&guard.stack_before, NULL);
}
