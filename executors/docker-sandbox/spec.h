/* spec.h - the container of a sandbox as the engine is asked for it: every wall Docker can put
 * up, in one place. */
#ifndef DOCKER_SANDBOX_SPEC_H
#define DOCKER_SANDBOX_SPEC_H

#include <jansson.h>

#include "settings.h"

struct spec {
	const struct lsn_host *host;
	const struct settings *settings;
	const char *seccomp; /* the profile, JSON text */
	const char *network; /* name, or NULL: none */
	const char *netns; /* the container whose network namespace is joined instead, or NULL */
	const char *id, *folder; /* of the sandbox; its folder on this host */
	uint64_t memory_bytes; /* script's and overhead */
	bool limit_sockets; /* by a number of their own, see engine_limits_sockets() */
	bool deny_stamps; /* of packets with their bytes, see engine_splits_stamps() */
	unsigned gid; /* the daemon's group, which may use the control socket */
};

/* body of POST /containers/create; NULL without memory */
json_t *spec_create(const struct spec *spec);
#define SPEC_EMPTY_FOLDER "empty" /* of the run folder; exists */

/* likewise, of a container that only holds a network namespace, for SECONDS; the spec's folder,
 * netns and memory_bytes are not looked at */
json_t *spec_netns(const struct spec *spec, unsigned seconds);
/* body of POST /containers/ID/update; both as in struct spec */
json_t *spec_memory(uint64_t memory_bytes, bool limit_sockets);

#endif
