/* clock.c - a wall clock that can be set, for one process: preloaded into it.
 *
 * CHAOS_CLOCK names a file of 8 bytes, the offset in microseconds (a native int64_t) that is added
 * to CLOCK_REALTIME. The file may change at any time. Nothing is handed on to children. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t none, *offset_usec = &none;

__attribute__((constructor)) static void clock_open(void)
{
	const char *name = getenv("CHAOS_CLOCK");
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *page = fd >= 0 ? mmap(NULL, sizeof *offset_usec, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		(void)close(fd);
	if (page != MAP_FAILED)
		offset_usec = page;
	(void)unsetenv("LD_PRELOAD");
	(void)unsetenv("CHAOS_CLOCK");
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, id, ret);

	if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		int64_t usec = ret->tv_sec * INT64_C(1000000) + ret->tv_nsec / 1000 + *offset_usec;
		ret->tv_sec = usec / 1000000;
		ret->tv_nsec = usec % 1000000 * 1000 + ret->tv_nsec % 1000;
	}
	return r;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	*ret = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
