/* clock_stubs.c - a wall clock that can be set, in place of lib/clock.c. The monotonic one is
 * real: it drives the loop. */
#include "clock_stubs.h"
#include "util.h"

#include <time.h>

int64_t clock_stub_offset_usec;

static uint64_t read_usec(clockid_t clock)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t now_realtime_usec(void) { return read_usec(CLOCK_REALTIME) + (uint64_t)clock_stub_offset_usec; }

uint64_t now_monotonic_usec(void) { return read_usec(CLOCK_MONOTONIC); }
