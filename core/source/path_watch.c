/* path_watch.c - see path_watch.h. The path is walked as the kernel does it, one name after the
 * other and through each link. Each name is watched in the folder where it stands. Mounts do not
 * show in inotify: the kernel announces them at /proc/self/mountinfo. */
#include "path_watch.h"
#include "cleanup.h"
#include "stall.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <util.h>

#define NAMES_MAX 64u /* on the way, those in links included */
#define NAME_MASK (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR)

struct path_name {
	struct path_watch *watch;
	sd_event_source *source;
	char *name;
};

struct path_watch {
	sd_event *loop;
	void (*changed)(void *data);
	void *data;
	char *path;
	struct stat end; /* what it leads to; st_ino 0: to nothing */
	struct path_name names[NAMES_MAX];
	size_t count;
	sd_event_source *mounts;
	int mounts_fd;
};

static int on_path_name(sd_event_source *source, const struct inotify_event *event, void *data)
{
	struct path_name *name = data;

	stall_source("scripts folder", "path");
	(void)source;
	if ((event->mask & IN_Q_OVERFLOW) || (event->len > 0 && streq(event->name, name->name)))
		name->watch->changed(name->watch->data);
	return 0;
}

static struct stat path_end(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st : (struct stat){ 0 };
}

/* Engines mount something for each container: it has to be ours. */
static int on_mounts(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct path_watch *watch = data;
	struct stat now = path_end(watch->path);

	stall_source("scripts folder", "mounts");
	(void)source;
	(void)fd;
	(void)events;
	if (now.st_dev == watch->end.st_dev && now.st_ino == watch->end.st_ino)
		return 0;
	watch->end = now;
	watch->changed(watch->data);
	return 0;
}

static int path_watch_name(struct path_watch *watch, const char *folder, const char *name)
{
	struct path_name *entry = &watch->names[watch->count];

	*entry = (struct path_name){ .watch = watch, .name = strdup(name) };
	if (!entry->name)
		return -ENOMEM;
	watch->count++;
	(void)sd_event_add_inotify(watch->loop, &entry->source, folder, NAME_MASK, on_path_name, entry);
	return 0;
}

/* path_step - from AT by NAME. *REST (PATH_MAX bytes) is what follows; if NAME is a link, what the
 * link says comes first. False: the way ends here. */
static bool path_step(char at[PATH_MAX], const char *name, char rest[PATH_MAX])
{
	char here[PATH_MAX], link[PATH_MAX], next[PATH_MAX];
	struct stat st;

	if (snprintf(here, sizeof here, "%s%s%s", at, at[1] ? "/" : "", name) >= PATH_MAX || lstat(here, &st) < 0)
		return false;
	ssize_t size = S_ISLNK(st.st_mode) ? readlink(here, link, sizeof link - 1) : 0;
	if (size <= 0) {
		memcpy(at, here, strlen(here) + 1);
		return true;
	}
	link[size] = 0;
	if (snprintf(next, sizeof next, "%s/%s", link, rest) >= PATH_MAX)
		return false;
	memcpy(rest, next, strlen(next) + 1);
	if (link[0] == '/')
		memcpy(at, "/", 2);
	return true;
}

static int path_walk(struct path_watch *watch)
{
	char at[PATH_MAX] = "/", rest[PATH_MAX], next[PATH_MAX], name[NAME_MAX + 1];
	bool more = strlen(watch->path) < sizeof rest;
	int r = 0;

	(void)snprintf(rest, sizeof rest, "%s", watch->path);
	while (r >= 0 && more && watch->count < NAMES_MAX) {
		size_t skip = strspn(rest, "/"), size = strcspn(rest + skip, "/");
		if (size == 0 || size >= sizeof name)
			break;
		memcpy(name, rest + skip, size);
		name[size] = 0;
		memcpy(next, rest + skip + size, strlen(rest + skip + size) + 1);
		memcpy(rest, next, strlen(next) + 1);
		if (!streq(name, ".") && !streq(name, ".."))
			r = path_watch_name(watch, at, name);
		more = path_step(at, name, rest);
	}
	return r;
}

static int path_watch_mounts(struct path_watch *watch)
{
	watch->end = path_end(watch->path);
	watch->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (watch->mounts_fd < 0)
		return 0;
	return sd_event_add_io(watch->loop, &watch->mounts, watch->mounts_fd, EPOLLPRI, on_mounts, watch);
}

int path_watch_new(sd_event *loop, const char *path, void (*changed)(void *data), void *data, struct path_watch **ret)
{
	struct path_watch *watch = calloc(1, sizeof *watch);

	if (!watch)
		return -ENOMEM;
	*watch = (struct path_watch){
		.loop = loop, .changed = changed, .data = data, .path = strdup(path), .mounts_fd = -1
	};
	int r = watch->path ? path_watch_mounts(watch) : -ENOMEM;
	if (r >= 0)
		r = path_walk(watch);
	if (r < 0) {
		path_watch_free(watch);
		return r;
	}
	*ret = watch;
	return 0;
}

void path_watch_free(struct path_watch *watch)
{
	if (!watch)
		return;
	for (size_t i = 0; i < watch->count; i++) {
		sd_event_source_disable_unref(watch->names[i].source);
		free(watch->names[i].name);
	}
	sd_event_source_disable_unref(watch->mounts);
	if (watch->mounts_fd >= 0)
		(void)close(watch->mounts_fd);
	free(watch->path);
	free(watch);
}
