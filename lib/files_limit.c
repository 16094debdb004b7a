/* files_limit.c - see files_limit.h. */
#include "files_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define VARIABLE "LISTENERD_FILES_LIMIT"

void files_limit_raise(void)
{
	struct rlimit limit;
	char text[24];

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max || getenv(VARIABLE))
		return;
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)limit.rlim_cur);
	if (setenv(VARIABLE, text, 1) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void set_soft(rlim_t soft)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

void files_limit_restore(void)
{
	const char *old = getenv(VARIABLE);

	if (old)
		set_soft(strtoull(old, NULL, 10));
}

void files_limit_lift(void)
{
	if (getenv(VARIABLE))
		set_soft(RLIM_INFINITY);
}
