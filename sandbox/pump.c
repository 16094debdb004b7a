/* pump.c - bounded copies of what a script writes. The reader is init, not the daemon: a pipe
 * whose reader dies with the daemon would kill the script with SIGPIPE and lose what it wrote. */
#include "init.h"
#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A pipe belongs to the effective user who makes it, and nobody else may open it by name. In the
 * script /dev/stdin and /dev/stdout are to work as they do without a pipe. Only our end is
 * non-blocking: the script's is an ordinary pipe. */
int script_pipe(int ends[2], int ours)
{
	if (syscall(SYS_setresuid, -1, SB_SCRIPT_UID, -1) < 0)
		return -errno;
	int r = pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
	if (syscall(SYS_setresuid, -1, 0, -1) < 0)
		abort(); /* an init that is nobody is no init: the container ends */
	if (r == 0)
		(void)fcntl(ends[ours], F_SETFL, O_NONBLOCK);
	return r;
}

int pump_open(struct pump *pump, const char *name, uint64_t limit, int *ret_write_fd)
{
	int ends[2], r = script_pipe(ends, 0);
	if (r < 0)
		return r;
	int mem = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem < 0) {
		r = -errno;
		(void)close(ends[0]);
		(void)close(ends[1]);
		return r;
	}
	*pump = (struct pump){ .pipe_fd = ends[0], .mem_fd = mem, .limit = limit };
	*ret_write_fd = ends[1];
	return 0;
}

/* What there is no room for is read all the same: the script is not to notice. */
static void keep(struct pump *pump, const char *buf, size_t size)
{
	uint64_t room = pump->limit - pump->size;
	if (size > room) {
		pump->truncated = true;
		size = (size_t)room;
	}
	while (size > 0) {
		ssize_t n = write(pump->mem_fd, buf, size);
		if (n <= 0) {
			pump->truncated = true; /* memory of the sandbox is used up */
			return;
		}
		pump->size += (uint64_t)n;
		buf += n;
		size -= (size_t)n;
	}
}

/* At most a pipe's worth per call, so that a flood cannot keep the loop from its other duties. */
bool pump_read(struct pump *pump)
{
	static char buf[64 * 1024];
	if (pump->pipe_fd < 0)
		return false;
	for (int i = 0; i < 4; i++) {
		ssize_t n = read(pump->pipe_fd, buf, sizeof buf);
		if (n > 0) {
			keep(pump, buf, (size_t)n);
			continue;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			(void)close(pump->pipe_fd);
			pump->pipe_fd = -1;
		}
		return false;
	}
	return true;
}

int pump_finish(struct pump *pump)
{
	int mem = pump->mem_fd;
	if (pump->pipe_fd >= 0)
		(void)close(pump->pipe_fd);
	if (mem >= 0)
		(void)fcntl(mem, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	*pump = (struct pump){ .pipe_fd = -1, .mem_fd = -1, .size = pump->size, .truncated = pump->truncated };
	return mem;
}
