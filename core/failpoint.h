/* failpoint.h - named steps at which a test may kill the daemon: LISTENER_FAILPOINT=STEP[:N] in
 * the environment makes the N-th passing of STEP raise SIGKILL, as a power cut would. Costs one
 * comparison when unset. `make chaos` and tests/system use it to show that no step loses or
 * repeats a job.
 *
 * Steps: after-read after-intent after-commit after-ack after-handover after-result
 * after-result-commit after-scan after-scan-commit */
#ifndef CORE_FAILPOINT_H
#define CORE_FAILPOINT_H

#include <stdbool.h>

extern bool failpoint_armed;
void failpoint_init(void); /* reads the environment; an unknown step is logged and ignored */
void failpoint_pass(const char *step);

#define failpoint(step)                                                                                                \
	do {                                                                                                           \
		if (__builtin_expect(failpoint_armed, 0))                                                              \
			failpoint_pass(step);                                                                          \
	} while (0)

#endif
