/* netns.c - a container that sleeps, from made to removed. */
#include "netns.h"
#include "engine.h"
#include "log_line.h"
#include "spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cleanup.h>
#include <util.h>

#define IDLE_USEC (15 * USEC_PER_SEC)
#define AGE_USEC (SPEC_NETNS_SECONDS * USEC_PER_SEC * 3 / 4)
#define RETRY_USEC USEC_PER_SEC
#define RETRIES_MAX 5

static void netns_try_to_remove(struct netns *b);

static void netns_arm(struct netns *b, uint64_t delay_usec, lsn_timer_fn fn)
{
	const struct lsn_host *host = b->env->host;

	host->timer_cancel(host->handle, b->timer);
	b->timer = NULL;
	if (fn && host->timer(host->handle, delay_usec, fn, b, &b->timer) < 0)
		log_line(host, ERROR, "netns=%s out of memory for a timer", b->id);
}

static int netns_ask(struct netns *b, const char *method, const char *what, engine_fn fn)
{
	char name[128], path[256];

	sandbox_name(b->env, b->id, name, sizeof name);
	(void)snprintf(path, sizeof path, "/containers/%s%s", name, what);
	engine_cancel(b->call);
	b->call = NULL;
	return engine_start(b->env->engine, method, path, NULL, fn, b, &b->call);
}

/* -------------------------------------------------------------------------------------- the end */

static void remove_again(void *data)
{
	struct netns *b = data;

	b->timer = NULL;
	netns_try_to_remove(b);
}

/* What cannot be removed is left to the janitor of a later daemon: nothing runs in it. */
static void netns_removed(void *data, const struct engine_reply *reply)
{
	struct netns *b = data;

	b->call = NULL;
	if (reply->status != 204 && reply->status != 404 && ++b->tries < RETRIES_MAX) {
		netns_arm(b, RETRY_USEC << b->tries, remove_again);
		return;
	}
	if (reply->status == 204 || reply->status == 404)
		sandbox_remove_folder(b->env->run_dir_fd, b->id);
	b->changed(b->data, b, true, false);
}

static void netns_try_to_remove(struct netns *b)
{
	if (netns_ask(b, "DELETE", "?force=1&v=1", netns_removed) < 0)
		netns_arm(b, RETRY_USEC, remove_again);
}

void netns_end(struct netns *b)
{
	b->spoiled = true;
	if (b->state == NETNS_TAKEN || b->state == NETNS_ENDING)
		return;
	b->state = NETNS_ENDING;
	netns_arm(b, 0, NULL);
	netns_try_to_remove(b);
}

/* ------------------------------------------------------------------------------------------ use */

static void idle_too_long(void *data)
{
	struct netns *b = data;

	b->timer = NULL;
	netns_end(b);
}

static void become_free(struct netns *b)
{
	b->state = NETNS_FREE;
	netns_arm(b, IDLE_USEC, idle_too_long);
	if (b->spoiled || now_monotonic_usec() - b->created_usec > AGE_USEC)
		netns_end(b);
}

void netns_take(struct netns *b)
{
	netns_arm(b, 0, NULL);
	b->state = NETNS_TAKEN;
}

void netns_leave(struct netns *b)
{
	if (b->state == NETNS_TAKEN)
		become_free(b);
}

/* --------------------------------------------------------------------------------------- making */

static void failed(struct netns *b, const char *why)
{
	log_line(b->env->host, WARNING, "netns=%s cannot be made: %s", b->id, why);
	b->spoiled = true;
	b->changed(b->data, b, false, true);
	netns_end(b);
}

static void started(void *data, const struct engine_reply *reply)
{
	struct netns *b = data;

	b->call = NULL;
	if (reply->status != 204) {
		failed(b, reply->error.message);
		return;
	}
	become_free(b);
	if (b->state == NETNS_FREE)
		b->changed(b->data, b, false, false);
}

static void netns_created(void *data, const struct engine_reply *reply)
{
	struct netns *b = data;

	const char *container = json_string_value(json_object_get(reply->json, "Id"));

	b->call = NULL;
	if (reply->status != 201 || !container || strlen(container) >= sizeof b->container) {
		failed(b, reply->status != 201 ? reply->error.message : "the engine gives no id of it");
		return;
	}
	(void)snprintf(b->container, sizeof b->container, "%s", container);
	if (netns_ask(b, "POST", "/start", started) < 0)
		failed(b, "out of memory");
}

static int netns_open_folder(struct netns *b)
{
	if (mkdirat(b->env->run_dir_fd, b->id, 0700) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int fd = openat(b->env->run_dir_fd, b->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	b->dir_fd = TAKE_FD(fd);
	return 0;
}

static int netns_alloc(const struct sandbox_env *env, const char *id, struct netns **ret)
{
	struct netns *b = calloc(1, sizeof *b);

	if (!b)
		return -ENOMEM;
	*b = (struct netns){ .env = env, .dir_fd = -1, .created_usec = now_monotonic_usec() };
	memcpy(b->id, id, sizeof b->id);
	int r = netns_open_folder(b);
	if (r < 0) {
		netns_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

int netns_new(const struct sandbox_env *env, const char *version, uint64_t memory_bytes, struct netns **ret)
{
	const struct spec spec = {
		.host = env->host, .options = env->options, .seccomp = env->seccomp, .network = env->network
	};
	unsigned char random[8];
	char id[SANDBOX_ID_SIZE], name[128], path[192];
	struct netns *b = NULL;

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -EIO;
	hex_encode(random, sizeof random, id);
	int r = netns_alloc(env, id, &b);
	if (r < 0)
		return r;
	(void)snprintf(b->version, sizeof b->version, "%s", version);
	b->memory_bytes = memory_bytes;
	sandbox_name(env, id, name, sizeof name);
	(void)snprintf(path, sizeof path, "/containers/create?name=%s", name);
	json_t *body = spec_netns(&spec, id);
	r = body ? engine_start(env->engine, "POST", path, body, netns_created, b, &b->call) : -ENOMEM;
	if (r < 0) {
		sandbox_remove_folder(env->run_dir_fd, id);
		netns_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

int netns_adopt(const struct sandbox_env *env, const char *id, struct netns **ret)
{
	int r = sandbox_id_valid(id) ? netns_alloc(env, id, ret) : -EINVAL;

	if (r < 0)
		return r;
	(*ret)->state = NETNS_TAKEN;
	(*ret)->spoiled = true;
	return 0;
}

void netns_free(struct netns *b)
{
	if (!b)
		return;
	engine_cancel(b->call);
	netns_arm(b, 0, NULL);
	if (b->dir_fd >= 0)
		(void)close(b->dir_fd);
	free(b);
}
