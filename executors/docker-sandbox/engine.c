/* engine.c - requests to the Docker Engine, the search for it, and what it says when it refuses. */
#include "engine.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cleanup.h>
#include <http.h>
#include <util.h>

#include "log_line.h"
#include "pulse.h"

#define REPLY_MAX (4u << 20) /* bytes of any reply */
#define RETRY_MIN_USEC (250 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (15 * USEC_PER_SEC)

struct engine_call {
	struct engine *engine;
	struct http_exchange *exchange;
	engine_fn fn;
	void *data;
	uint64_t started_usec;
	bool search; /* the search itself */
	LIST_ENTRY(engine_call) link;
};

struct engine {
	const struct lsn_host *host;
	char *socket;
	struct engine_hooks hooks;
	struct http *http;
	uint64_t timeout_usec;
	bool up;
	bool limits_sockets, splits_stamps, proven;
	char api[16]; /* "1.41" */
	char version[80];
	struct problem problem; /* why it is not up, or that it is silent */
	struct pulse *pulse;
	struct lsn_timer *retry;
	uint64_t retry_usec; /* the next pause */
	uint64_t calls, total_usec, max_usec;
	LIST_HEAD(call_list, engine_call) pending;
};

static void version_look(struct engine *engine);

/* ---------------------------------------------------------------------------------- small parts */

char *engine_escape(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
	char *ret = malloc(3 * strlen(text) + 1), *at = ret;

	if (!ret)
		return NULL;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (strchr(plain, *text)) {
			*at++ = *text;
		} else {
			*at++ = '%';
			*at++ = hex[c >> 4];
			*at++ = hex[c & 15];
		}
	}
	*at = 0;
	return ret;
}

char *engine_path_own(const struct lsn_host *host, const char *path)
{
	_cleanup_free_ char *filter = NULL, *escaped = NULL;
	char *ret;

	if (asprintf(&filter, "{\"label\":[\"" ENGINE_LABEL_LISTENER "=%s\",\"" ENGINE_LABEL_INSTANCE "=%s\"]}",
		     host->listener, host->instance) < 0) {
		filter = NULL;
		return NULL;
	}
	escaped = engine_escape(filter);
	return escaped && asprintf(&ret, "%s%s", path, escaped) >= 0 ? ret : NULL;
}

void engine_message(const json_t *json, long status, char *buf, size_t size)
{
	const json_t *message = json_object_get(json, "message");
	char quoted[256];

	if (!json_is_string(message)) {
		(void)snprintf(buf, size, "the engine answered %ld", status);
		return;
	}
	(void)str_quote(quoted, sizeof quoted, json_string_value(message), json_string_length(message));
	(void)snprintf(buf, size, "the engine answered %ld: %s", status, quoted);
}

void engine_explain(const char *socket, struct lsn_error *err)
{
	struct stat status;

	if (err->code != -EACCES)
		return; /* who we are may be a question to a directory server */
	const struct passwd *user = getpwuid(geteuid());
	const char *name = user ? user->pw_name : "the listener's";
	if (stat(socket, &status) < 0) {
		(void)lsn_error_set(err, -EACCES, "permission denied: user %s may not enter a folder of %s", name,
				    socket);
		return;
	}
	const struct group *group = getgrgid(status.st_gid);
	if (!group || (status.st_mode & 0060) != 0060)
		(void)lsn_error_set(err, -EACCES,
				    "permission denied: user %s may not open %s, and neither may its group", name,
				    socket);
	else
		(void)lsn_error_set(
			err, -EACCES,
			"permission denied: user %s may not open %s, but group %s may: usermod -aG %s %s, then "
			"restart listenerd",
			name, socket, group->gr_name, group->gr_name, name);
}

const char *engine_lacks(const json_t *info)
{
	static const struct {
		const char *key, *limit;
	} needed[] = { { "MemoryLimit", "memory" },
		       { "PidsLimit", "processes (pids)" },
		       { "CpuCfsQuota", "CPU time (cpu)" } };

	for (size_t i = 0; i < ELEMENTSOF(needed); i++)
		if (!json_is_true(json_object_get(info, needed[i].key)))
			return needed[i].limit;
	return NULL;
}

/* Does VERSION, such as "6.1.0-28-amd64", come from MAJOR.MINOR on? */
static bool kernel_has(const char *version, unsigned long major, unsigned long minor)
{
	char *end;
	unsigned long is_major = version ? strtoul(version, &end, 10) : 0;

	if (!version || end == version || *end != '.')
		return false;
	return is_major > major || (is_major == major && strtoul(end + 1, NULL, 10) >= minor);
}

void engine_note_info(struct engine *engine, const json_t *info)
{
	engine->splits_stamps = kernel_has(json_string_value(json_object_get(info, "KernelVersion")), 6, 18);
	engine->limits_sockets = json_is_true(json_object_get(info, "KernelMemoryTCP"));
}

bool engine_limits_sockets(const struct engine *engine) { return engine->limits_sockets; }
bool engine_splits_stamps(const struct engine *engine) { return engine->splits_stamps; }
bool engine_proven(const struct engine *engine) { return engine->proven; }
void engine_set_proven(struct engine *engine) { engine->proven = true; }
const char *engine_api(const struct engine *engine) { return engine->api; }

/* "1.41" as 1041; 0 if it is anything else. */
static unsigned api_number(const char *text)
{
	const char *dot = text ? strchr(text, '.') : NULL;
	char major[4];
	uint64_t high, low;

	if (!dot || (size_t)(dot - text) >= sizeof major)
		return 0;
	memcpy(major, text, (size_t)(dot - text));
	major[dot - text] = 0;
	if (parse_uint(major, 999, &high, NULL) < 0 || parse_uint(dot + 1, 999, &low, NULL) < 0)
		return 0;
	return (unsigned)(high * 1000 + low);
}

int engine_api_version(const json_t *json, char ret[16], struct lsn_error *err)
{
	unsigned newest = api_number(json_string_value(json_object_get(json, "ApiVersion")));
	unsigned oldest = api_number(json_string_value(json_object_get(json, "MinAPIVersion")));
	unsigned ours = 1041;

	if (newest == 0)
		return lsn_error_set(err, -EPROTO, "what answers on the engine's socket is not a Docker Engine");
	if (newest < ours)
		return lsn_error_set(err, -EPROTONOSUPPORT,
				     "the engine speaks API %u.%u at most; Docker 20.10 (API 1.41) or later is needed",
				     newest / 1000, newest % 1000);
	if (oldest > ours)
		ours = oldest;
	(void)snprintf(ret, 16, "%u.%u", ours / 1000 % 1000, ours % 1000);
	return 0;
}

bool engine_up(const struct engine *engine) { return engine->up; }

const char *engine_version(const struct engine *engine) { return engine->version; }

const struct problem *engine_problem(const struct engine *engine) { return &engine->problem; }

void engine_stats(const struct engine *engine, uint64_t *ret_calls, uint64_t *ret_total_usec, uint64_t *ret_max_usec)
{
	*ret_calls = engine->calls;
	*ret_total_usec = engine->total_usec;
	*ret_max_usec = engine->max_usec;
}

/* -------------------------------------------------------------------------------- coming, going */

static void retry_look(void *data)
{
	struct engine *engine = data;

	engine->retry = NULL;
	version_look(engine);
}

static void look_later(struct engine *engine)
{
	uint64_t pause = engine->retry_usec ? engine->retry_usec : RETRY_MIN_USEC;

	if (engine->retry)
		return;
	engine->retry_usec = pause * 2 < RETRY_MAX_USEC ? pause * 2 : RETRY_MAX_USEC;
	if (engine->host->timer(engine->host->handle, pause, retry_look, engine, &engine->retry) < 0)
		log_line(engine->host, ERROR, "out of memory: the search for the engine stops");
}

static void engine_went(struct engine *engine, const struct lsn_error *why)
{
	bool was_up = engine->up, news = was_up || !streq(engine->problem.text, why->message);

	engine->up = engine->proven = false;
	problem_set(&engine->problem, why->message);
	if (news)
		log_line(engine->host, WARNING, "the Docker Engine cannot be reached, trying again: %s", why->message);
	look_later(engine);
	if (was_up)
		engine->hooks.changed(engine->hooks.data);
}

static void version_looked(void *data, const struct engine_reply *reply)
{
	struct engine *engine = data;
	struct lsn_error err = reply->error;
	char quoted[48], before[sizeof engine->version];

	memcpy(before, engine->version, sizeof before);
	if (reply->status == 200 && engine_api_version(reply->json, engine->api, &err) == 0) {
		const json_t *version = json_object_get(reply->json, "Version");
		const char *text = json_is_string(version) ? json_string_value(version) : "?";
		(void)str_quote(quoted, sizeof quoted, text, strlen(text));
		(void)snprintf(engine->version, sizeof engine->version, "%s (API %s)", quoted, engine->api);
		engine->retry_usec = 0;
		problem_clear(&engine->problem);
		if (engine->up && streq(before, engine->version))
			return; /* asked for again after a refusal: it is the same engine */
		engine->up = true;
		engine->proven = false;
		log_line(engine->host, INFO, "connected to Docker Engine %s", engine->version);
		engine->hooks.changed(engine->hooks.data);
		return;
	}
	engine_went(engine, &err);
}

/* ---------------------------------------------------------------------------------- its silence */

static void engine_silence_changed(void *data)
{
	struct engine *engine = data;
	uint64_t since;

	if (pulse_silent(engine->pulse, &since)) {
		log_line(engine->host, WARNING, "the Docker Engine does not answer, waiting for it");
		problem_set(&engine->problem, "the Docker Engine does not answer");
		engine->problem.since_realtime_usec = now_realtime_usec() - (now_monotonic_usec() - since);
		return;
	}
	log_line(engine->host, NOTICE, "the Docker Engine answers again");
	if (engine->up)
		problem_clear(&engine->problem);
}

static void engine_nobody(void *data, const struct lsn_error *why)
{
	struct engine *engine = data;
	struct lsn_error err = *why;

	engine_explain(engine->socket, &err);
	if (engine->up)
		engine_went(engine, &err);
}

/* ---------------------------------------------------------------------------------------- calls */

static void call_drop(struct engine_call *call, bool answered)
{
	LIST_REMOVE(call, link);
	pulse_ended(call->engine->pulse, answered);
	free(call);
}

/* Not when it answered, too slowly or nonsense, nor when the fault is ours. */
static bool nobody_there(const struct lsn_error *error)
{
	return error->code != -ETIMEDOUT && error->code != -EFBIG && error->code != -EBADMSG &&
	       !errno_is_shortage(error->code);
}

static void version_replied(void *data, const struct http_reply *http)
{
	struct engine_call *call = data;
	struct engine *engine = call->engine;
	engine_fn fn = call->fn;
	void *fn_data = call->data;
	bool search = call->search;
	struct engine_reply reply = { .status = http->status, .error = http->error };
	uint64_t took = now_monotonic_usec() - call->started_usec;
	json_t *json = NULL;

	engine->calls++;
	engine->total_usec += took;
	if (took > engine->max_usec)
		engine->max_usec = took;
	call_drop(call, http->status > 0);
	if (http->status == 0)
		engine_explain(engine->socket, &reply.error);
	if (http->status > 0 && http->body_size > 0) {
		json_error_t why;
		json = json_loadb(http->body, http->body_size, JSON_DISABLE_EOF_CHECK, &why);
		if (!json && http->status < 400) {
			char quoted[160]; /* the reason holds a piece of the reply */
			reply.status = 0;
			(void)lsn_error_set(&reply.error, -EBADMSG, "the engine's reply is not JSON: %s",
					    str_quote(quoted, sizeof quoted, why.text, strlen(why.text)));
		}
	}
	if (reply.status >= 400) {
		char message[LSN_ERROR_MESSAGE_SIZE];
		engine_message(json, reply.status, message, sizeof message);
		(void)lsn_error_set(&reply.error, -EREMOTEIO, "%s", message);
	}
	reply.json = json;
	/* FN first: whoever hears that the engine has gone cancels its calls, and this one is no
	 * more. */
	fn(fn_data, &reply);
	json_decref(json);
	if (reply.status == 0 && !search && engine->up && nobody_there(&reply.error))
		engine_went(engine, &reply.error);
	/* Perhaps it was replaced by one that does not speak our version any more. */
	if (reply.status == 400 && !search && engine->up)
		look_later(engine);
}

static int call_start(struct engine *engine, const char *method, const char *path, json_t *body, engine_fn fn,
		      void *data, bool search, struct engine_call **ret)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	_cleanup_free_ char *url = NULL, *text = NULL;
	struct engine_call *call = calloc(1, sizeof *call);
	int r = 0;

	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		json_decref(body);
	}
	if (!call || (body && !text) ||
	    asprintf(&url, "http://engine%s%s%s", search ? "" : "/v", search ? "" : engine->api, path) < 0) {
		url = NULL;
		free(call);
		return -ENOMEM;
	}
	*call = (struct engine_call){
		.engine = engine, .fn = fn, .data = data, .search = search, .started_usec = now_monotonic_usec()
	};
	struct http_request request = { .method = method,
					.url = url,
					.headers = text ? headers : NULL,
					.body = text,
					.body_size = text ? strlen(text) : 0,
					.timeout_usec = engine->timeout_usec,
					.max_body = REPLY_MAX };
	r = http_start(engine->http, &request, version_replied, call, &call->exchange);
	if (r < 0) {
		free(call);
		return r;
	}
	LIST_INSERT_HEAD(&engine->pending, call, link);
	pulse_begun(engine->pulse);
	if (ret)
		*ret = call;
	return 0;
}

int engine_start(struct engine *engine, const char *method, const char *path, json_t *body, engine_fn fn, void *data,
		 struct engine_call **ret)
{
	return call_start(engine, method, path, body, fn, data, false, ret);
}

void engine_cancel(struct engine_call *call)
{
	if (!call)
		return;
	http_cancel(call->exchange);
	call_drop(call, false);
}

static void version_look(struct engine *engine)
{
	if (call_start(engine, "GET", "/version", NULL, version_looked, engine, true, NULL) < 0)
		look_later(engine);
}

/* ----------------------------------------------------------------------------------------- life */

int engine_new(const struct lsn_host *host, const char *socket, uint64_t timeout_usec, const struct engine_hooks *hooks,
	       struct engine **ret, struct lsn_error *err)
{
	struct engine *engine = calloc(1, sizeof *engine);
	if (!engine)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*engine = (struct engine){
		.host = host, .socket = strdup(socket), .hooks = *hooks, .timeout_usec = timeout_usec
	};
	LIST_INIT(&engine->pending);
	memcpy(engine->api, "1.41", 5);
	problem_set(&engine->problem, "the Docker Engine has not answered yet");
	struct http_options options = { .unix_socket = socket, .max_connections = 8 };
	const struct pulse_hooks pulse_hooks = { engine_silence_changed, engine_nobody, engine };
	int r = engine->socket ? http_new(host, &options, &engine->http, err)
			       : lsn_error_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = pulse_new(host, socket, &pulse_hooks, &engine->pulse, err);
	if (r < 0) {
		http_free(engine->http);
		free(engine->socket);
		free(engine);
		return r;
	}
	version_look(engine);
	*ret = engine;
	return 0;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	http_free(engine->http);
	while (!LIST_EMPTY(&engine->pending))
		call_drop(LIST_FIRST(&engine->pending), false);
	pulse_free(engine->pulse);
	engine->host->timer_cancel(engine->host->handle, engine->retry);
	free(engine->socket);
	free(engine);
}
