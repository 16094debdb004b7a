/* clock.c - the time, see util.h. Nothing else is in this file, because tests replace it as a
 * whole. */
#include "util.h"

#include <time.h>

static uint64_t clock_read_usec(clockid_t clock)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(clock, &ts); /* cannot fail for the two clocks we ask for */
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t now_realtime_usec(void) { return clock_read_usec(CLOCK_REALTIME); }

uint64_t now_monotonic_usec(void) { return clock_read_usec(CLOCK_MONOTONIC); }
