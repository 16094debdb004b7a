/* cgroup.c - why did the kernel kill or refuse? The counters of the sandbox's own control group,
 * version 1 or 2, read-only in the container. */
#include "init.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct counter {
	const char *path_v1, *path_v2, *key;
	int fd; /* 0: not opened yet, -1: there is none */
	unsigned long long marked;
};

#ifndef CGROUP_ROOT /* tests have another */
#define CGROUP_ROOT "/sys/fs/cgroup"
#endif

static struct counter oom = { CGROUP_ROOT "/memory/memory.oom_control", CGROUP_ROOT "/memory.events", "oom_kill ", 0,
			      0 };
static struct counter pids = { CGROUP_ROOT "/pids/pids.events", CGROUP_ROOT "/pids.events", "max ", 0, 0 };

static struct counter memory = { CGROUP_ROOT "/memory/memory.usage_in_bytes", CGROUP_ROOT "/memory.current", "", 0, 0 };

static unsigned long long current(struct counter *c)
{
	char text[512];
	if (c->fd == 0)
		c->fd = open(c->path_v1, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0)
		c->fd = open(c->path_v2, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0)
		return 0;
	ssize_t n = pread(c->fd, text, sizeof text - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, c->key, strlen(c->key)) == 0)
			return strtoull(line + strlen(c->key), NULL, 10);
	}
	return 0;
}

void cgroup_mark(void)
{
	oom.marked = current(&oom);
	pids.marked = current(&pids);
}

bool cgroup_oom_killed(void) { return current(&oom) > oom.marked; }

bool cgroup_pids_refused(void) { return current(&pids) > pids.marked; }

uint64_t cgroup_memory(void) { return current(&memory); }
