/* janitor.c - by label, never by name: only what bears this listener's and this instance's
 * labels is looked at. */
#include "janitor.h"
#include "engine.h"
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

static void ignore(void *data, const struct engine_reply *reply) { (void)data, (void)reply; }

static void remove_container(struct janitor *janitor, const char *id)
{
	struct pool *pool = janitor->pool;
	char name[128], path[200];
	int lock;

	if (!is_abandoned(pool, id, &lock))
		return;
	sandbox_name(&pool->env, id, name, sizeof name);
	(void)snprintf(path, sizeof path, "/containers/%s?force=1&v=1", name);
	if (engine_start(pool->env.engine, "DELETE", path, NULL, ignore, NULL, NULL) == 0) {
		janitor->removed++;
		log_line(pool->env.host, NOTICE, "sandbox=%s was left behind by an earlier daemon: removing it", id);
	}
	if (lock >= 0)
		(void)close(lock);
	sandbox_remove_folder(pool->env.run_dir_fd, id);
}

static bool listed(const json_t *list, const char *id)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		const char *label =
			json_string_value(json_object_get(json_object_get(item, "Labels"), ENGINE_LABEL_SANDBOX));
		if (label && streq(label, id))
			return true;
	}
	return false;
}

static void remove_folders(struct janitor *janitor, const json_t *list)
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
		if (listed(list, entry->d_name) || !is_abandoned(pool, entry->d_name, &lock))
			continue;
		sandbox_remove_folder(pool->env.run_dir_fd, entry->d_name);
		if (lock >= 0)
			(void)close(lock);
	}
	(void)closedir(dir);
}

static char *filtered(const struct pool *pool, const char *path)
{
	_cleanup_free_ char *filter = NULL, *escaped = NULL;
	char *ret;

	if (asprintf(&filter, "{\"label\":[\"" ENGINE_LABEL_LISTENER "=%s\",\"" ENGINE_LABEL_INSTANCE "=%s\"]}",
		     pool->env.host->listener, pool->env.host->instance) < 0) {
		filter = NULL;
		return NULL;
	}
	escaped = engine_escape(filter);
	return escaped && asprintf(&ret, "%s%s", path, escaped) >= 0 ? ret : NULL;
}

/* A network in use cannot be removed, so asking is harmless. */
static void networks_listed(void *data, const struct engine_reply *reply)
{
	struct janitor *janitor = data;
	size_t i;
	json_t *item;

	janitor->call = NULL;
	json_array_foreach (reply->json, i, item) {
		const char *id = json_string_value(json_object_get(item, "Id")),
			   *name = json_string_value(json_object_get(item, "Name"));
		char path[160];
		if (reply->status != 200 || !id || !name || strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64 ||
		    streq(name, janitor->pool->prereq->network.name))
			continue;
		(void)snprintf(path, sizeof path, "/networks/%s", id);
		(void)engine_start(janitor->pool->env.engine, "DELETE", path, NULL, ignore, NULL, NULL);
	}
}

static void containers_listed(void *data, const struct engine_reply *reply)
{
	struct janitor *janitor = data;
	_cleanup_free_ char *path = filtered(janitor->pool, "/networks?filters=");
	size_t i;
	json_t *item;

	janitor->call = NULL;
	if (reply->status != 200 || !json_is_array(reply->json))
		return;
	remove_folders(janitor, reply->json);
	json_array_foreach (reply->json, i, item) {
		const char *id =
			json_string_value(json_object_get(json_object_get(item, "Labels"), ENGINE_LABEL_SANDBOX));
		if (id)
			remove_container(janitor, id);
	}
	if (path)
		(void)engine_start(janitor->pool->env.engine, "GET", path, NULL, networks_listed, janitor,
				   &janitor->call);
}

void janitor_run(struct janitor *janitor, struct pool *pool)
{
	_cleanup_free_ char *path = filtered(pool, "/containers/json?all=1&filters=");

	janitor_done(janitor);
	janitor->pool = pool;
	if (path)
		(void)engine_start(pool->env.engine, "GET", path, NULL, containers_listed, janitor, &janitor->call);
}

void janitor_done(struct janitor *janitor)
{
	engine_cancel(janitor->call);
	janitor->call = NULL;
}
