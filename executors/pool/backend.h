/* backend.h - what a pool asks of whatever makes its containers: five calls, and two for the end.
 *
 * An executor fills in a struct backend; the pool knows nothing else of it. A container is named by
 * the id of its sandbox (sandbox.h), and by no other name.
 *
 * Each of the five calls begins something and returns 0, or a negative errno if nothing was begun.
 * FN is then called once, from the loop and never from inside the call, unless the call is
 * cancelled. RET may be NULL; else *RET is valid until FN has been called. A call works at any
 * time: while the backend is away, it fails. Loop thread only. */
#ifndef POOL_BACKEND_H
#define POOL_BACKEND_H

#include <listener/executor.h>

#define SANDBOX_ID_SIZE 17 /* 16 hex digits and a NUL: the place's name */

struct backend_call; /* the backend's own */

enum backend_status {
	BACKEND_OK,
	BACKEND_ABSENT, /* look: there is no such container */
	BACKEND_BUSY, /* end: it is being removed already, or perhaps still being made: ask again */
	BACKEND_FAILED /* refused, or not answered: see error */
};

struct backend_reply { /* borrowed for the call of FN */
	enum backend_status status;
	struct lsn_error error; /* set unless status is BACKEND_OK */
	const char *handle; /* make: what backend_container.netns of another container may be */
	/* look: */
	bool running, oom_killed;
	int64_t exit_status;
	/* list: */
	const char *const *ids;
	size_t count;
};
typedef void (*backend_fn)(void *data, const struct backend_reply *reply);

#define BACKEND_HANDLE_SIZE 65

struct backend_container {
	const char *id;
	/* of the sandbox, on this host: its init finds the control socket there; NULL with
	 * netns_seconds */
	const char *folder;
	const char *netns; /* handle of the container whose network namespace it joins; NULL: its own */
	uint64_t memory_bytes; /* for the script; the backend adds what the rest needs */
	/* > 0: it is no sandbox. It holds a network namespace and ends by itself after this
	 * time, so that a daemon that never comes again leaves nothing for ever. */
	unsigned netns_seconds;
};

struct backend {
	void *self; /* first parameter of each call */

	/* make - create CONTAINER (borrowed for the call), prove that it has every wall that was
	 * asked for, start it. */
	int (*make)(void *self, const struct backend_container *container, backend_fn fn, void *data,
		    struct backend_call **ret);

	/* limit - give a running sandbox another memory limit. */
	int (*limit)(void *self, const char *id, uint64_t memory_bytes, backend_fn fn, void *data,
		     struct backend_call **ret);

	/* look - does it run, and if not, how did it end? */
	int (*look)(void *self, const char *id, backend_fn fn, void *data, struct backend_call **ret);

	/* end - remove it by force. One that is not there has been removed. */
	int (*end)(void *self, const char *id, backend_fn fn, void *data, struct backend_call **ret);

	/* list - the ids of all containers that this listener's instance has made. */
	int (*list)(void *self, backend_fn fn, void *data, struct backend_call **ret);

	/* cancel - FN will not be called; NULL is allowed. A make may be carried out all the same:
	 * end() tells when nothing of it is left. */
	void (*cancel)(void *self, struct backend_call *call);

	/* end_now - remove COUNT containers at once. Blocks for BUDGET_USEC at most: for the end of
	 * an instance, when there is no loop. */
	void (*end_now)(void *self, const char (*ids)[SANDBOX_ID_SIZE], size_t count, uint64_t budget_usec);
};

#endif
