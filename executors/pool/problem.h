/* problem.h - what keeps an executor from running jobs, and since when. */
#ifndef EXECUTORS_POOL_PROBLEM_H
#define EXECUTORS_POOL_PROBLEM_H

#include <stdint.h>

struct problem {
	char text[256]; /* "": there is none */
	uint64_t since_realtime_usec; /* 0: there is none */
};

/* problem_set - there is one, TEXT (not "", cut to fit).
 * If there was one before, of whatever text, its time stays. */
void problem_set(struct problem *problem, const char *text);
void problem_clear(struct problem *problem);

#endif
