/* fault.h - named steps at which a test may kill the daemon: LISTENER_FAULT=STEP[:N] in the environment makes the N-th passing of STEP raise SIGKILL, as a
 * power cut would. Costs one comparison when unset. `make chaos` and tests/system use it to show that no step loses or repeats a job.
 *
 * Steps: after-read after-intent after-commit after-ack after-handover after-result after-result-commit after-scan after-scan-commit */
#ifndef CORE_FAULT_H
#define CORE_FAULT_H

#include <stdbool.h>

extern bool fault_armed;
void fault_init(void); /* reads the environment; an unknown step is logged and ignored */
void fault_pass(const char *step);

#define fault_point(step)                                                                                                          \
	do {                                                                                                                       \
		if (__builtin_expect(fault_armed, 0))                                                                              \
			fault_pass(step);                                                                                          \
	} while (0)

#endif
