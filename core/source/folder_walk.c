/* folder_walk.c - see folder_walk.h. The way from the root to the folder that is read is a stack of
 * open folders. */
#include "folder_walk.h"

#include "script_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <util.h>

#define DEPTH_MAX 32u

struct level {
	DIR *dir;
	char *prefix;
};

struct folder_walk {
	struct folder_walk_hooks hooks;
	struct level levels[DEPTH_MAX + 1];
	unsigned depth; /* levels that are open */
	bool recursive;
};

/* level_open - FD becomes the walk's, PREFIX too. */
static int level_open(struct folder_walk *walk, int fd, char *prefix)
{
	DIR *dir = fdopendir(fd);

	if (!dir) {
		int r = -errno;
		(void)close(fd);
		free(prefix);
		return r;
	}
	walk->levels[walk->depth++] = (struct level){ dir, prefix };
	walk->hooks.folder(walk->hooks.data, fd, prefix);
	return 0;
}

static void level_close(struct folder_walk *walk)
{
	struct level *level = &walk->levels[--walk->depth];

	(void)closedir(level->dir);
	free(level->prefix);
}

static bool is_folder(int parent, const struct dirent *item)
{
	struct stat st;

	if (item->d_type != DT_UNKNOWN)
		return item->d_type == DT_DIR;
	return fstatat(parent, item->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int folder_found(struct folder_walk *walk, const struct level *above, const char *base)
{
	char *prefix;

	if (!walk->recursive || walk->depth > DEPTH_MAX)
		return 0;
	if (asprintf(&prefix, "%s%s/", above->prefix, base) < 0)
		return -ENOMEM;
	int fd = openat(dirfd(above->dir), base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return level_open(walk, fd, prefix);
	if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		walk->hooks.closed(walk->hooks.data, prefix, -errno);
	free(prefix);
	return 0;
}

/* read_next - the next name of the innermost folder, or its end. */
static int read_next(struct folder_walk *walk)
{
	const struct level *level = &walk->levels[walk->depth - 1];

	errno = 0;
	const struct dirent *item = readdir(level->dir);
	if (!item) {
		int r = -errno;
		level_close(walk);
		return r;
	}
	if (script_file_ignored(item->d_name))
		return 0;
	return is_folder(dirfd(level->dir), item) ? folder_found(walk, level, item->d_name)
						  : walk->hooks.file(walk->hooks.data, level->prefix, item->d_name);
}

int folder_walk_go_on(struct folder_walk *walk, uint64_t until_usec)
{
	while (walk->depth > 0) {
		int r = read_next(walk);
		if (r < 0)
			return r;
		if (now_monotonic_usec() >= until_usec)
			return 1;
	}
	return 0;
}

void folder_walk_free(struct folder_walk *walk)
{
	if (!walk)
		return;
	while (walk->depth > 0)
		level_close(walk);
	free(walk);
}

int folder_walk_new(int root, bool recursive, const struct folder_walk_hooks *hooks, struct folder_walk **ret)
{
	struct folder_walk *walk = calloc(1, sizeof *walk);
	char *prefix = strdup("");
	int fd = fcntl(root, F_DUPFD_CLOEXEC, 0), r = -errno;

	if (walk && prefix && fd >= 0) {
		*walk = (struct folder_walk){ .hooks = *hooks, .recursive = recursive };
		r = level_open(walk, fd, prefix);
		if (r == 0)
			*ret = walk;
		else
			free(walk);
		return r;
	}
	if (fd >= 0) {
		(void)close(fd);
		r = -ENOMEM;
	}
	free(walk);
	free(prefix);
	return r;
}
