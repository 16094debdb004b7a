/* spawn.c - what a user would do instead: fork and exec a program per event, with the payload on
 * its standard input.
 *
 *     bench-spawn COUNT PARALLEL COMMAND [ARG...]
 *
 * Keeps PARALLEL of them running until COUNT have ended; prints the seconds it all took and then
 * each one's milliseconds. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static pid_t start(char **command, const char *payload)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, 0, payload, O_RDONLY, 0);
	(void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, command[0], &actions, NULL, command, environ) != 0)
		pid = -1;
	(void)posix_spawn_file_actions_destroy(&actions);
	return pid;
}

struct child {
	pid_t pid;
	double started;
};

int main(int argc, char **argv)
{
	struct child children[64] = { { 0 } };
	char path[64];

	if (argc < 4)
		return 2;
	long count = strtol(argv[1], NULL, 10), parallel = strtol(argv[2], NULL, 10), started = 0, ended = 0,
	     failed = 0;
	if (count < 1 || parallel < 1 || parallel > 64)
		return 2;
	double *took = calloc((size_t)count, sizeof *took), begin = now();
	int payload = memfd_create("payload", 0);
	if (!took || payload < 0 || write(payload, "{\"pre\": {}, \"post\": {}}", 23) != 23)
		return 1;
	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), payload);
	while (ended < count) {
		for (long i = 0; i < parallel && started < count; i++) {
			if (children[i].pid)
				continue;
			children[i].started = now();
			children[i].pid = start(argv + 3, path);
			if (children[i].pid < 0)
				return 1;
			started++;
		}
		int status;
		pid_t pid = wait(&status);
		for (long i = 0; i < parallel; i++) {
			if (children[i].pid != pid)
				continue;
			took[ended++] = (now() - children[i].started) * 1e3;
			children[i].pid = 0;
			failed += status != 0;
		}
	}
	printf("%.6f\n", now() - begin);
	for (long i = 0; i < count; i++)
		printf("%.3f\n", took[i]);
	if (failed)
		fprintf(stderr, "%ld of %ld failed\n", failed, count);
	return failed ? 1 : 0;
}
