/* engine.h - the Docker Engine API over the engine's unix socket: JSON in, JSON out, every reply
 * bounded and parsed as hostile.
 *
 *   1. engine_new() makes it and begins to look for the engine, for ever, with back-off;
 *      hooks.changed() tells when it came or went.
 *   2. engine_start() makes one request and calls back once; it works in any state (and fails
 *      with status 0 when nobody answers).
 *   3. A request that finds nobody makes the engine count as gone; the search begins again.
 *
 * The API version is negotiated: 1.41 (Docker 20.10) where the engine still speaks it, else the
 * oldest it speaks. Loop thread only; nothing blocks, but engine_check_now(), which is for
 * init(), and engine_sweep_now(), which is for free(); both within a budget. */
#ifndef DOCKER_SANDBOX_ENGINE_H
#define DOCKER_SANDBOX_ENGINE_H

#include <jansson.h>
#include <listener/executor.h>

#include "problem.h"

#define ENGINE_LABEL_LISTENER "org.indigo.listener"
#define ENGINE_LABEL_INSTANCE "org.indigo.instance"
#define ENGINE_LABEL_SANDBOX "org.indigo.sandbox"
#define ENGINE_LABEL_LIBRARIES "listener.libraries" /* of an image: tools/build-image --with */

struct engine;
struct engine_call;

struct engine_reply {
	long status; /* 0: no whole reply or not JSON where JSON was due: see error */
	const json_t *json; /* borrowed for the call; NULL if the reply has no body */
	/* set when status is 0 or 400 and above: the engine's own message */
	struct lsn_error error;
};
typedef void (*engine_fn)(void *data, const struct engine_reply *reply);

struct engine_hooks {
	void (*changed)(void *data); /* engine_up() has changed */
	void *data;
};

int engine_new(const struct lsn_host *host, const char *socket, uint64_t timeout_usec, const struct engine_hooks *hooks,
	       struct engine **ret, struct lsn_error *err);
void engine_free(struct engine *engine); /* cancels what is under way */

/* engine_start - METHOD and PATH (without the version, escaped); BODY may be NULL, its reference
 * is taken in any case.
 * Unless RET is NULL *RET is valid until FN has been called.
 * 0, -ENOMEM, -EINVAL.
 * FN is never called from inside. */
int engine_start(struct engine *engine, const char *method, const char *path, json_t *body, engine_fn fn, void *data,
		 struct engine_call **ret);
void engine_cancel(struct engine_call *call); /* NULL is allowed; FN will not be called */

bool engine_up(const struct engine *engine);
const char *engine_version(const struct engine *engine); /* "20.10.24 (API 1.41)", "" before */

/* engine_problem - why it is not up, or that it does not answer (pulse.h). */
const struct problem *engine_problem(const struct engine *engine);

/* engine_stats - finished requests and the time they took together and at most. */
void engine_stats(const struct engine *engine, uint64_t *ret_calls, uint64_t *ret_total_usec, uint64_t *ret_max_usec);

/* engine_escape - TEXT percent-encoded for a query string; malloc()ed, NULL without memory. */
char *engine_escape(const char *text);

/* engine_path_own - PATH, which ends in "filters=", with the filter for what bears the labels of
 * this listener's instance; malloc()ed, NULL without memory. */
char *engine_path_own(const struct lsn_host *host, const char *path);

/* engine_message - the "message" of an error reply into BUF; hostile bytes quoted. */
void engine_message(const json_t *json, long status, char *buf, size_t size);

/* engine_explain - if ERR is -EACCES, there is a socket that the listener's user may not open:
 * say so, and who may.
 * Other errors stay as they are. */
void engine_explain(const char *socket, struct lsn_error *err);

/* engine_lacks - the limit that an engine with this reply to /info would leave out of its
 * containers with no more than a warning, because its kernel lacks the cgroup controller; NULL:
 * none. */
const char *engine_lacks(const json_t *info);

/* engine_note_info - remember of its reply to /info what is asked for below.
 * engine_limits_sockets - must the memory of a sandbox's sockets be limited by a number of its
 * own, and can it?
 * Control groups of version 2 count it among the rest.
 * False before engine_note_info(). */
void engine_note_info(struct engine *engine, const json_t *info);
bool engine_limits_sockets(const struct engine *engine);

/* engine_splits_stamps - has the kernel net.core.tstamp_allow_data for each network namespace?
 * Seen since Linux 6.18.
 * False before engine_note_info(). */
bool engine_splits_stamps(const struct engine *engine);

/* engine_proven - has a container of ours been compared with what was asked for (contract.h),
 * since this engine came? */
bool engine_proven(const struct engine *engine);
void engine_set_proven(struct engine *engine);

/* "1.41" or so, as negotiated */
const char *engine_api(const struct engine *engine);

/* engine_api_version - from a reply to /version: writes "1.41" or so.
 * 0, -EPROTO, -EPROTONOSUPPORT with ERR. */
int engine_api_version(const json_t *json, char ret[16], struct lsn_error *err);

/* engine_now.c: blocking, for BUDGET_USEC at most. engine_check_now - is IMAGE there?
 * 0; -ENOENT: the engine answers and has no such image; other negative: nobody answers (in
 * time). */
int engine_check_now(const char *socket, const char *image, uint64_t budget_usec, struct lsn_error *err);

/* engine_sweep_now - in version API (see engine_api()), DELETE these PATHS (COUNT of them), all
 * at the same time; what is not there is asked for again for RETRY_USEC; what is not done in
 * time is left. */
void engine_sweep_now(const char *socket, const char *api, char *const *paths, size_t count, uint64_t retry_usec,
		      uint64_t budget_usec);

#endif
