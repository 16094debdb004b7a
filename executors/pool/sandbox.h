/* sandbox.h - one sandbox: a folder, a control socket, a container, and the state machine that
 * ties them to at most one job.
 *
 *   CREATING ─▶ STARTING ─▶ WARM ◀──▶ RESERVED ─▶ RUNNING ─▶ REPORTED ─▶ WARM ...
 *                            │  ◀──▶ UPDATING       ▲
 *                            ▼                      │
 *     any ──────────────▶ ENDING ─▶ GONE        RECOVERING        (after a restart of the daemon)
 *
 * ENDING: the backend removes the container by force; a job that is still owed its result
 * gets it when the container is gone, not before. The folder is locked (flock) as long as an
 * instance looks after the sandbox: so instances that live side by side, and a successor, know
 * which containers are nobody's.
 *
 * The owner (pool.c) hears hooks.idle() when the sandbox can take a job, hooks.gone() when there
 * is nothing left: then it calls sandbox_free(). Results leave by hooks.result(). Hooks are
 * called from the loop, never from inside sandbox_*(). Loop thread only. */
#ifndef POOL_SANDBOX_H
#define POOL_SANDBOX_H

#include <sys/queue.h>

#include "backend.h"
#include "control.h"
#include "options.h"
#include "tenants.h"

enum sandbox_state {
	SANDBOX_CREATING, /* the backend has not said yet that it runs; its init may be there */
	SANDBOX_STARTING, /* its interpreter becomes warm */
	SANDBOX_WARM,
	SANDBOX_UPDATING, /* gets another memory limit */
	SANDBOX_RESERVED,
	SANDBOX_RUNNING,
	/* the result is with the host and may be asked for again until it is committed */
	SANDBOX_REPORTED,
	SANDBOX_RECOVERING,
	SANDBOX_ENDING,
	SANDBOX_GONE,
	SANDBOX_STATE_MAX
};
extern const char *const sandbox_state_names[SANDBOX_STATE_MAX];

struct sandbox;
struct netns;

struct sandbox_env { /* what all sandboxes of an instance share; outlives them */
	const struct lsn_host *host;
	const struct options *options;
	const struct backend *backend;
	int run_dir_fd;
	void (*idle)(void *data, struct sandbox *sandbox);
	void (*result)(void *data, struct sandbox *sandbox, const struct lsn_job *job, const struct lsn_result *result);
	void (*gone)(void *data, struct sandbox *sandbox);
	void *data;
};

struct sandbox {
	const struct sandbox_env *env;
	char id[SANDBOX_ID_SIZE];
	enum sandbox_state state;
	int dir_fd; /* locked */
	struct control control;
	/* whose network namespace it has; NULL: one of its own. The owner's to take and leave */
	struct netns *netns;
	struct backend_call *call;
	struct lsn_timer *deadline; /* of the state */
	struct lsn_timer *patience; /* a connection that should come again */

	uint64_t memory_bytes; /* the script's share of the limit */
	uint64_t used_bytes; /* by its control group between two jobs; 0: not known yet */
	struct tenant *tenant; /* whose jobs it takes; NULL: it is spare. The owner's to bind */
	uint64_t bound_usec;

	const struct lsn_job *job; /* owed a result */
	uint64_t job_id; /* the last one */
	bool warm; /* CREATING: its init says so already */
	bool served; /* was warm once */
	bool spoiled; /* must not serve another job */
	bool cancelled; /* cancel() was called */
	struct lsn_result verdict; /* ENDING: what JOB gets */
	char why[200]; /* ENDING; for people */
	uint64_t jobs_done, created_usec, idle_usec, ending_usec;
	unsigned end_tries, looks;
	uint32_t landlock_abi, walls;
	unsigned protocol; /* that its init speaks */
	TAILQ_ENTRY(sandbox) link, of_tenant; /* the pool's */
};

/* sandbox_new - begin to make one for scripts of MEMORY_BYTES, in NETNS (taken) unless that is
 * NULL.
 * 0, or negative errno with ERR; then nothing is left. */
int sandbox_new(const struct sandbox_env *env, uint64_t memory_bytes, struct netns *netns, struct sandbox **ret,
		struct lsn_error *err);

/* sandbox_recover - the one an earlier daemon left at PLACE with JOB: find out what became of
 * it; done() follows.
 * 0; -EINVAL (not a place of ours), -EBUSY (another listenerd is connected to it), other negative
 * errno. */
int sandbox_recover(const struct sandbox_env *env, const char *place, const struct lsn_job *job, struct sandbox **ret,
		    struct lsn_error *err);

/* sandbox_read_netns - the id of the netns that the sandbox with ID was made in.
 * False: none. */
bool sandbox_read_netns(int run_dir_fd, const char *id, char ret[SANDBOX_ID_SIZE]);

/* sandbox_free - forget the object; container and folder are left as they are.
 * NULL is allowed. */
void sandbox_free(struct sandbox *sandbox);

/* sandbox_remove_folder - after the container has gone. */
void sandbox_remove_folder(int run_dir_fd, const char *id);

bool sandbox_free_for_job(const struct sandbox *sandbox); /* WARM, connected, not spoiled */
int sandbox_update(struct sandbox *sandbox, uint64_t memory_bytes); /* WARM -> UPDATING -> idle() */
void sandbox_reserve(struct sandbox *sandbox, const struct lsn_job *job);
void sandbox_release(struct sandbox *sandbox);

/* RESERVED -> RUNNING; on failure it ends */
int sandbox_submit(struct sandbox *sandbox, const struct lsn_job *job, struct lsn_error *err);
void sandbox_cancel(struct sandbox *sandbox);

/* REPORTED -> WARM at once (no idle()), or ENDING without KEEP */
void sandbox_forget(struct sandbox *sandbox, bool keep);

/* -> ENDING; a running job becomes LOST */
void sandbox_end(struct sandbox *sandbox, const char *why);

/* sandbox_retire - it gets no further job: an idle one ends now, one that is being made when it is
 * WARM (the owner hears hooks.idle() and calls this again), one with a job after it. */
void sandbox_retire(struct sandbox *sandbox, const char *why);

bool sandbox_id_valid(const char *id);

#endif
