/* problem.c - see problem.h. */
#include "problem.h"

#include <stdio.h>

#include <util.h>

void problem_set(struct problem *problem, const char *text)
{
	if (!*problem->text)
		problem->since_realtime_usec = now_realtime_usec();
	(void)snprintf(problem->text, sizeof problem->text, "%.250s", text);
}

void problem_clear(struct problem *problem) { *problem = (struct problem){ 0 }; }
