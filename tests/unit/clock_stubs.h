#ifndef TESTS_CLOCK_STUBS_H
#define TESTS_CLOCK_STUBS_H

#include <stdint.h>

extern int64_t clock_stub_offset_usec; /* how far the wall clock is set from the right time */

#endif
