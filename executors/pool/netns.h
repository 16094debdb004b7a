/* netns.h - a network namespace that outlives the sandboxes in it: what a backlog of a script
 * with reuse = never is worked off in.
 *
 * More than half of what a container on a bridge costs is its network (docs/performance.md). A
 * netns is a container that does nothing but hold a network namespace on the bridge, behind the
 * same walls; fresh sandboxes of one script version lie in it, one after the other, never two at a
 * time, never one of another version: what a namespace could tell (connections in TIME_WAIT,
 * counters) is told to the same script only.
 *
 *   MAKING ─▶ FREE ◀──▶ TAKEN          any but TAKEN ─▶ ENDING
 *
 * Its folder is locked like a sandbox's, and carries the same labels, so that the janitor knows
 * what is nobody's. Loop thread only. */
#ifndef POOL_NETNS_H
#define POOL_NETNS_H

#include "backend.h"
#include "sandbox.h"
#include "tenants.h"

#define NETNS_SECONDS 3600 /* then it ends by itself, whoever is in it */

enum netns_state { NETNS_MAKING, NETNS_FREE, NETNS_TAKEN, NETNS_ENDING };

struct netns {
	const struct sandbox_env *env;
	char id[SANDBOX_ID_SIZE];
	char handle[BACKEND_HANDLE_SIZE]; /* by which sandboxes join it */
	char version[VERSION_SIZE];
	uint64_t memory_bytes; /* of the sandboxes to come */
	enum netns_state state;
	bool spoiled; /* goes when it is left */
	int dir_fd; /* locked */
	struct backend_call *call;
	struct lsn_timer *timer;
	uint64_t created_usec;
	unsigned tries;
	/* It became free, or it is gone: then the owner calls netns_free(). FAILED: it could not
	 * be made. Never from inside a call. */
	void (*changed)(void *data, struct netns *netns, bool gone, bool failed);
	void *data;
	TAILQ_ENTRY(netns) link; /* the owner's */
};

/* netns_new - begin to make one. netns_adopt - the one an earlier daemon left with ID, taken by
 * the sandbox that is being recovered; it goes with it.
 * 0; -EBUSY (another listenerd is connected to it), other negative errno.
 * Owner sets changed and data at once. */
int netns_new(const struct sandbox_env *env, const char *version, uint64_t memory_bytes, struct netns **ret);
int netns_adopt(const struct sandbox_env *env, const char *id, struct netns **ret);
void netns_take(struct netns *netns); /* FREE -> TAKEN */

/* TAKEN -> FREE, or ENDING if it is spoiled, or old; changed() is not called for FREE */
void netns_leave(struct netns *netns);
void netns_end(struct netns *netns); /* TAKEN: when it is left */

/* netns_free - forget the object; container and folder are left as they are.
 * NULL is allowed. */
void netns_free(struct netns *netns);

#endif
