/* folder_walk.h - the files in a folder and below it, some at a time: a folder may hold more than
 * the loop has time for in one turn.
 *
 * No link is followed. Names that script_file_ignored() knows are left out. */
#ifndef FOLDER_WALK_H
#define FOLDER_WALK_H

#include <stdbool.h>
#include <stdint.h>

struct folder_walk;

struct folder_walk_hooks {
	void *data;
	/* folder - its files come next. PREFIX is "" or "sub/"; FD is the walk's. */
	void (*folder)(void *data, int fd, const char *prefix);
	/* file - 0, or a negative errno, which ends the walk. */
	int (*file)(void *data, const char *prefix, const char *base);
	/* closed - the folder PREFIX cannot be opened (ERROR, a negative errno) and is left out. */
	void (*closed)(void *data, const char *prefix, int error);
};

/* folder_walk_new - of the folder ROOT (a descriptor, which stays the caller's), with the folders
 * below if RECURSIVE. HOOKS are copied.
 * 0 or negative errno. */
int folder_walk_new(int root, bool recursive, const struct folder_walk_hooks *hooks, struct folder_walk **ret);

/* folder_walk_go_on - until there is no more, or the monotonic clock is at UNTIL_USEC.
 * 1: there is more. 0: that was all. Negative errno: a folder could not be read to its end, or
 * what file() returned. */
int folder_walk_go_on(struct folder_walk *walk, uint64_t until_usec);

void folder_walk_free(struct folder_walk *walk);

#endif
