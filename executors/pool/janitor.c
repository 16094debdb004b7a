/* janitor.c - what the backend lists for this instance is held against the locks of the folders. */
#include "janitor.h"
#include "backend.h"
#include "log_line.h"
#include "sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include <cleanup.h>
#include <util.h>

/* Nobody looks after ID, and nobody can begin to until RET_FD is closed. A folder that is not
 * there is nobody's. */
static bool is_abandoned(struct pool *pool, const char *id, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	*ret_fd = -1;
	if (!sandbox_id_valid(id) || pool_find(pool, id))
		return false;
	fd = openat(pool->env.run_dir_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	*ret_fd = TAKE_FD(fd);
	return true;
}

static void container_removed(void *data, const struct backend_reply *reply) { (void)data, (void)reply; }

static void remove_container(struct janitor *janitor, const char *id)
{
	struct pool *pool = janitor->pool;
	const struct backend *backend = pool->env.backend;
	int lock;

	if (!is_abandoned(pool, id, &lock))
		return;
	if (backend->end(backend->self, id, container_removed, NULL, NULL) == 0) {
		janitor->removed++;
		log_line(pool->env.host, NOTICE, "sandbox=%s was left behind by an earlier daemon: removing it", id);
	}
	if (lock >= 0)
		(void)close(lock);
	sandbox_remove_folder(pool->env.run_dir_fd, id);
}

static bool is_listed(const struct backend_reply *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->ids[i], id))
			return true;
	return false;
}

static void remove_folders(struct janitor *janitor, const struct backend_reply *list)
{
	struct pool *pool = janitor->pool;
	int fd = openat(pool->env.run_dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), lock;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (is_listed(list, entry->d_name) || !is_abandoned(pool, entry->d_name, &lock))
			continue;
		sandbox_remove_folder(pool->env.run_dir_fd, entry->d_name);
		if (lock >= 0)
			(void)close(lock);
	}
	(void)closedir(dir);
}

static void containers_listed(void *data, const struct backend_reply *list)
{
	struct janitor *janitor = data;

	janitor->call = NULL;
	if (list->status != BACKEND_OK)
		return;
	remove_folders(janitor, list);
	for (size_t i = 0; i < list->count; i++)
		remove_container(janitor, list->ids[i]);
	janitor->begun(janitor->data);
}

void janitor_run(struct janitor *janitor, struct pool *pool, void (*begun)(void *data), void *data)
{
	const struct backend *backend = pool->env.backend;

	janitor->pool = pool;
	janitor->begun = begun;
	janitor->data = data;
	janitor_done(janitor);
	(void)backend->list(backend->self, containers_listed, janitor, &janitor->call);
}

void janitor_done(struct janitor *janitor)
{
	if (janitor->call)
		janitor->pool->env.backend->cancel(janitor->pool->env.backend->self, janitor->call);
	janitor->call = NULL;
}
