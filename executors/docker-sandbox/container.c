/* container.c - what a pool asks for, as requests to the engine. */
#include "container.h"
#include "backend.h"
#include "contract.h"
#include "engine.h"
#include "network.h"
#include "options.h"
#include "prerequisites.h"
#include "spec.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define NAME_SIZE 128
#define SWEEP_RETRY_USEC (400 * USEC_PER_MSEC) /* one that was being created is not there at once */
#define SWEEP_DOUBT_USEC (5 * USEC_PER_SEC) /* if the engine left its creation without a reply */
/* An engine that left the creation of a container without a reply may still make it: for so long
 * after it answers again it is not believed that there is none. */
#define DOUBT_USEC (30 * USEC_PER_SEC)

struct backend_call {
	struct containers *owner;
	struct engine_call *call;
	backend_fn fn; /* NULL: nobody waits for the reply */
	void *data;
	char id[SANDBOX_ID_SIZE];
	char handle[BACKEND_HANDLE_SIZE]; /* make: the engine's id, which it tells whatever it was asked by */
	json_t *asked; /* make: to be compared with what the engine has made; NULL: not needed */
	bool doubtful; /* make: the engine has not said whether there is a container */
	uint64_t absent_usec; /* make, doubtful: since when it says that there is none; 0: it has not said so */
	LIST_ENTRY(backend_call) link;
};

/* ---------------------------------------------------------------------------------- small parts */

static void container_name(const struct containers *c, const char *id, char *buf, size_t size)
{
	(void)snprintf(buf, size, "lsn-%s-%s-%s", c->host->listener, c->host->instance, id);
}

static const char *network_of(const struct containers *c)
{
	return c->settings->pool.network == NETWORK_BRIDGE ? c->prereq->network.name : NULL;
}

static void call_free(struct backend_call *call)
{
	LIST_REMOVE(call, link);
	engine_cancel(call->call);
	json_decref(call->asked);
	free(call);
}

static struct backend_call *call_new(struct containers *c, const char *id, backend_fn fn, void *data)
{
	struct backend_call *call = calloc(1, sizeof *call);

	if (!call)
		return NULL;
	*call = (struct backend_call){ .owner = c, .fn = fn, .data = data };
	(void)snprintf(call->id, sizeof call->id, "%s", id);
	LIST_INSERT_HEAD(&c->pending, call, link);
	return call;
}

/* A request about the call's container. WHAT comes behind its name. */
static int call_ask(struct backend_call *call, const char *method, const char *what, json_t *body, engine_fn fn)
{
	char name[NAME_SIZE], path[256];

	container_name(call->owner, call->id, name, sizeof name);
	(void)snprintf(path, sizeof path, "/containers/%s%s", name, what);
	return engine_start(call->owner->prereq->engine, method, path, body, fn, call, &call->call);
}

/* R: what the first request of the call returned. */
static int call_begun(struct backend_call *call, int r, struct backend_call **ret)
{
	if (r < 0)
		call_free(call);
	else if (ret)
		*ret = call;
	return r;
}

/* The call is over; FN may begin the next. */
static void call_answer(struct backend_call *call, struct backend_reply *reply)
{
	backend_fn fn = call->fn;
	void *data = call->data;
	char handle[sizeof call->handle];

	memcpy(handle, call->handle, sizeof handle);
	reply->handle = handle;
	call_free(call);
	fn(data, reply);
}

static void call_fail(struct backend_call *call, const struct lsn_error *error)
{
	call_answer(call, &(struct backend_reply){ .status = BACKEND_FAILED, .error = *error });
}

static void call_fail_memory(struct backend_call *call)
{
	call_fail(call, &(const struct lsn_error){ .code = -ENOMEM, .message = "out of memory" });
}

/* ---------------------------------------------------------------------------------------- doubt */

/* A make that nobody waits for stays until it is known what became of it. */
static struct backend_call *find_doubt(const struct containers *c, const char *id)
{
	struct backend_call *call;

	LIST_FOREACH (call, &c->pending, link)
		if (call->doubtful && !call->fn && streq(call->id, id))
			return call;
	return NULL;
}

/* The engine says that there is no container of MAKE. Is that the end of it? */
static bool doubt_is_over(struct backend_call *make)
{
	uint64_t now = now_monotonic_usec();

	if (make->call)
		return false; /* the reply to its creation is due */
	if (make->absent_usec == 0)
		make->absent_usec = now;
	return now >= make->absent_usec + DOUBT_USEC;
}

/* The engine has answered the removal of ID with STATUS. */
static bool container_is_gone(struct containers *c, const char *id, long status)
{
	struct backend_call *make = find_doubt(c, id);

	if (status != 204 && status != 404)
		return false;
	if (make && status == 404 && !doubt_is_over(make))
		return false;
	if (make)
		call_free(make);
	return true;
}

/* No reply to a creation. An engine that broke the connection has ended, and will be asked for all
 * that it has when it comes again; without a socket nothing was sent. */
static void container_unanswered(struct backend_call *call, const struct lsn_error *error)
{
	backend_fn fn = call->fn;

	call->doubtful = error->code == -ETIMEDOUT || error->code == -ENOBUFS || error->code == -ENOMEM;
	call->fn = NULL;
	if (fn)
		fn(call->data, &(struct backend_reply){ .status = BACKEND_FAILED, .error = *error });
	if (!call->doubtful)
		call_free(call);
}

/* ----------------------------------------------------------------------------------------- make */

static void container_started(void *data, const struct engine_reply *reply)
{
	struct backend_call *call = data;
	struct containers *c = call->owner;

	call->call = NULL;
	if (reply->status == 204 || reply->status == 304) {
		call_answer(call, &(struct backend_reply){ .status = BACKEND_OK });
		return;
	}
	/* An engine whose firewall was reloaded while it started may list a network that its driver
	 * does not have. It has no status of its own for that; a network that is in use stays
	 * (network.c). */
	if (reply->status == 500 && network_of(c))
		c->prereq->network.broken = c->recheck = true;
	if (reply->status == 404)
		c->recheck = true;
	call_fail(call, &reply->error);
}

static void container_start(struct backend_call *call)
{
	if (call_ask(call, "POST", "/start", NULL, container_started) < 0)
		call_fail_memory(call);
}

static void container_inspected(void *data, const struct engine_reply *reply)
{
	struct backend_call *call = data;
	struct lsn_error err = reply->error;

	call->call = NULL;
	if (reply->status != 200 || contract_check(call->asked, reply->json, &err) < 0) {
		call_fail(call, &err);
		return;
	}
	engine_set_proven(call->owner->prereq->engine);
	container_start(call);
}

static void container_created(void *data, const struct engine_reply *reply)
{
	struct backend_call *call = data;
	const char *handle = json_string_value(json_object_get(reply->json, "Id"));

	call->call = NULL;
	if (reply->status == 0) {
		container_unanswered(call, &reply->error);
		return;
	}
	call->doubtful = false;
	if (!call->fn) { /* whoever gave it up ends the container */
		call_free(call);
	} else if (reply->status != 201) {
		call->owner->recheck |= reply->status == 404;
		call_fail(call, &reply->error);
	} else if (!handle || strlen(handle) >= sizeof call->handle) {
		call_fail(call, &(const struct lsn_error){ .code = -EPROTO,
							   .message = "the engine gives no id of a new container" });
	} else {
		memcpy(call->handle, handle, strlen(handle) + 1);
		if (!call->asked)
			container_start(call);
		else if (call_ask(call, "GET", "/json", NULL, container_inspected) < 0)
			call_fail_memory(call);
	}
}

static json_t *container_body(const struct containers *c, const struct backend_container *container)
{
	const struct spec spec = { .host = c->host,
				   .settings = c->settings,
				   .seccomp = c->seccomp,
				   .network = network_of(c),
				   .netns = container->netns,
				   .id = container->id,
				   .folder = container->folder,
				   .memory_bytes = container->memory_bytes + c->settings->pool.memory_overhead_bytes,
				   .limit_sockets = engine_limits_sockets(c->prereq->engine),
				   .deny_stamps = engine_splits_stamps(c->prereq->engine),
				   .gid = (unsigned)getegid() };

	return container->netns_seconds > 0 ? spec_netns(&spec, container->netns_seconds) : spec_create(&spec);
}

static int container_make(void *self, const struct backend_container *container, backend_fn fn, void *data,
			  struct backend_call **ret)
{
	struct containers *c = self;
	char path[192], name[NAME_SIZE];
	json_t *body = container_body(c, container);
	struct backend_call *call = body ? call_new(c, container->id, fn, data) : NULL;

	if (!call) {
		json_decref(body);
		return -ENOMEM;
	}
	if (container->netns_seconds == 0 && !engine_proven(c->prereq->engine))
		call->asked = json_incref(body);
	call->doubtful = true;
	container_name(c, container->id, name, sizeof name);
	(void)snprintf(path, sizeof path, "/containers/create?name=%s", name);
	return call_begun(
		call, engine_start(c->prereq->engine, "POST", path, body, container_created, call, &call->call), ret);
}

/* ----------------------------------------------------------------------------- limit, look, end */

static void container_updated(void *data, const struct engine_reply *reply)
{
	struct backend_call *call = data;

	call->call = NULL;
	if (reply->status == 200)
		call_answer(call, &(struct backend_reply){ .status = BACKEND_OK });
	else
		call_fail(call, &reply->error);
}

static int container_limit(void *self, const char *id, uint64_t memory_bytes, backend_fn fn, void *data,
			   struct backend_call **ret)
{
	struct containers *c = self;
	struct backend_call *call = call_new(c, id, fn, data);
	uint64_t bytes = memory_bytes + c->settings->pool.memory_overhead_bytes;

	if (!call)
		return -ENOMEM;
	return call_begun(call,
			  call_ask(call, "POST", "/update",
				   spec_memory(bytes, engine_limits_sockets(c->prereq->engine)), container_updated),
			  ret);
}

static void container_looked_at(void *data, const struct engine_reply *reply)
{
	struct backend_call *call = data;
	const json_t *state = json_object_get(reply->json, "State");

	call->call = NULL;
	if (reply->status == 200)
		call_answer(call, &(struct backend_reply){
					  .status = BACKEND_OK,
					  .running = json_is_true(json_object_get(state, "Running")),
					  .oom_killed = json_is_true(json_object_get(state, "OOMKilled")),
					  .exit_status = json_integer_value(json_object_get(state, "ExitCode")) });
	else
		call_answer(call,
			    &(struct backend_reply){ .status = reply->status == 404 ? BACKEND_ABSENT : BACKEND_FAILED,
						     .error = reply->error });
}

static int container_look(void *self, const char *id, backend_fn fn, void *data, struct backend_call **ret)
{
	struct backend_call *call = call_new(self, id, fn, data);

	return call ? call_begun(call, call_ask(call, "GET", "/json", NULL, container_looked_at), ret) : -ENOMEM;
}

static void container_removed(void *data, const struct engine_reply *reply)
{
	struct backend_call *call = data;
	struct containers *c = call->owner;
	bool gone = container_is_gone(c, call->id, reply->status), recheck = gone && c->recheck;

	call->call = NULL;
	if (recheck) { /* before FN, which may want to make the next */
		c->recheck = false;
		prerequisites_recheck(c->prereq);
	}
	bool busy = !gone && (reply->status == 404 || reply->status == 409);
	call_answer(call, &(struct backend_reply){ .status = gone   ? BACKEND_OK
							     : busy ? BACKEND_BUSY
								    : BACKEND_FAILED,
						   .error = reply->error });
}

static int container_end(void *self, const char *id, backend_fn fn, void *data, struct backend_call **ret)
{
	struct backend_call *call = call_new(self, id, fn, data);

	return call ? call_begun(call, call_ask(call, "DELETE", "?force=1&v=1", NULL, container_removed), ret)
		    : -ENOMEM;
}

static void container_end_now(void *self, const char (*ids)[SANDBOX_ID_SIZE], size_t count, uint64_t budget_usec)
{
	struct containers *c = self;
	_cleanup_free_ char **paths = calloc(count, sizeof *paths);
	uint64_t retry_usec = SWEEP_RETRY_USEC;
	char name[NAME_SIZE];
	size_t made = 0;

	for (size_t i = 0; paths && i < count; i++) {
		container_name(c, ids[i], name, sizeof name);
		if (find_doubt(c, ids[i]))
			retry_usec = SWEEP_DOUBT_USEC;
		if (asprintf(&paths[made], "/containers/%s?force=1&v=1", name) >= 0)
			made++;
	}
	if (made > 0)
		engine_sweep_now(c->settings->socket, engine_api(c->prereq->engine), paths, made, retry_usec,
				 budget_usec);
	while (made > 0)
		free(paths[--made]);
}

/* ----------------------------------------------------------------------------------------- list */

static void containers_listed(void *data, const struct engine_reply *reply)
{
	struct backend_call *call = data;
	_cleanup_free_ const char **ids = calloc(json_array_size(reply->json) + 1, sizeof *ids);
	struct backend_reply answer = { .status = BACKEND_OK, .ids = ids };
	size_t i;
	json_t *item;

	call->call = NULL;
	if (reply->status != 200 || !json_is_array(reply->json) || !ids) {
		call_fail(call, &reply->error);
		return;
	}
	json_array_foreach (reply->json, i, item) {
		const char *id =
			json_string_value(json_object_get(json_object_get(item, "Labels"), ENGINE_LABEL_SANDBOX));
		if (id)
			ids[answer.count++] = id;
	}
	call_answer(call, &answer);
}

static int containers_list(void *self, backend_fn fn, void *data, struct backend_call **ret)
{
	struct containers *c = self;
	_cleanup_free_ char *path = engine_path_own(c->host, "/containers/json?all=1&filters=");
	struct backend_call *call = path ? call_new(c, "", fn, data) : NULL;

	return call ? call_begun(
			      call,
			      engine_start(c->prereq->engine, "GET", path, NULL, containers_listed, call, &call->call),
			      ret)
		    : -ENOMEM;
}

/* ----------------------------------------------------------------------------------------- life */

static void container_cancel(void *self, struct backend_call *call)
{
	(void)self;
	if (call && call->doubtful)
		call->fn = NULL; /* a request that was sent cannot be taken back */
	else if (call)
		call_free(call);
}

void containers_init(struct containers *c, const struct lsn_host *host, const struct settings *settings,
		     struct prerequisites *prereq, const char *seccomp)
{
	*c = (struct containers){ .host = host, .settings = settings, .prereq = prereq, .seccomp = seccomp };
	LIST_INIT(&c->pending);
	c->backend = (struct backend){ .self = c,
				       .make = container_make,
				       .limit = container_limit,
				       .look = container_look,
				       .end = container_end,
				       .list = containers_list,
				       .cancel = container_cancel,
				       .end_now = container_end_now };
}

void containers_done(struct containers *c)
{
	while (!LIST_EMPTY(&c->pending))
		call_free(LIST_FIRST(&c->pending));
}
