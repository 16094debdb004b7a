/* netns.c - a container that sleeps, from made to removed. */
#include "netns.h"
#include "backend.h"
#include "log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cleanup.h>
#include <util.h>

#define IDLE_USEC (15 * USEC_PER_SEC)
#define AGE_USEC (NETNS_SECONDS * USEC_PER_SEC * 3 / 4)
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

static void netns_drop_call(struct netns *b)
{
	const struct backend *backend = b->env->backend;

	backend->cancel(backend->self, b->call);
	b->call = NULL;
}

/* -------------------------------------------------------------------------------------- the end */

static void remove_again(void *data)
{
	struct netns *b = data;

	b->timer = NULL;
	netns_try_to_remove(b);
}

/* What cannot be removed is left to the janitor of a later daemon: nothing runs in it. */
static void netns_removed(void *data, const struct backend_reply *reply)
{
	struct netns *b = data;

	b->call = NULL;
	if (reply->status == BACKEND_BUSY) {
		netns_arm(b, RETRY_USEC, remove_again);
		return;
	}
	if (reply->status != BACKEND_OK && ++b->tries < RETRIES_MAX) {
		netns_arm(b, RETRY_USEC << b->tries, remove_again);
		return;
	}
	if (reply->status == BACKEND_OK)
		sandbox_remove_folder(b->env->run_dir_fd, b->id);
	b->changed(b->data, b, true, false);
}

static void netns_try_to_remove(struct netns *b)
{
	const struct backend *backend = b->env->backend;

	netns_drop_call(b);
	if (backend->end(backend->self, b->id, netns_removed, b, &b->call) < 0)
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

static void netns_made(void *data, const struct backend_reply *reply)
{
	struct netns *b = data;

	b->call = NULL;
	if (reply->status != BACKEND_OK) {
		failed(b, reply->error.message);
		return;
	}
	(void)snprintf(b->handle, sizeof b->handle, "%s", reply->handle);
	become_free(b);
	if (b->state == NETNS_FREE)
		b->changed(b->data, b, false, false);
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
	const struct backend *backend = env->backend;
	unsigned char random[8];
	char id[SANDBOX_ID_SIZE];
	struct netns *b = NULL;

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -EIO;
	hex_encode(random, sizeof random, id);
	int r = netns_alloc(env, id, &b);
	if (r < 0)
		return r;
	(void)snprintf(b->version, sizeof b->version, "%s", version);
	b->memory_bytes = memory_bytes;
	r = backend->make(backend->self, &(const struct backend_container){ .id = id, .netns_seconds = NETNS_SECONDS },
			  netns_made, b, &b->call);
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
	netns_drop_call(b);
	netns_arm(b, 0, NULL);
	if (b->dir_fd >= 0)
		(void)close(b->dir_fd);
	free(b);
}
