/* container.h - containers of the Docker Engine for a pool: pool/backend.h filled in.
 *
 * A container is made in up to four steps: created; looked at, if it is the first since the engine
 * came (contract.h); started. When the engine says that the image or the network has gone, the
 * prerequisites are looked at again once a container of ours has been removed. Loop thread only. */
#ifndef DOCKER_SANDBOX_CONTAINER_H
#define DOCKER_SANDBOX_CONTAINER_H

#include <sys/queue.h>

#include "backend.h"
#include "prerequisites.h"
#include "settings.h"

LIST_HEAD(container_calls, backend_call);

struct containers {
	struct backend backend;
	const struct lsn_host *host;
	const struct settings *settings;
	struct prerequisites *prereq;
	const char *seccomp; /* the profile, JSON text */
	struct container_calls pending;
	bool recheck; /* the image or the network seems to have gone */
};

/* containers_init - PREREQ (which may be initialised later) and SECCOMP are borrowed until
 * containers_done(). */
void containers_init(struct containers *containers, const struct lsn_host *host, const struct settings *settings,
		     struct prerequisites *prereq, const char *seccomp);

/* containers_done - cancels what is under way; before the engine is freed. */
void containers_done(struct containers *containers);

#endif
