/* network.h - the sandboxes' own bridge network in the engine: found or made, never somebody
 * else's. */
#ifndef DOCKER_SANDBOX_NETWORK_H
#define DOCKER_SANDBOX_NETWORK_H

#include "engine.h"
#include "settings.h"

struct network {
	const struct lsn_host *host;
	const struct settings *settings;
	struct engine *engine;
	char name[128]; /* in the engine */
	/* the interface: "lsn" + 8 hex digits that stand for everything the network is made from */
	char bridge[16];
	void (*done)(void *data, const struct lsn_error *error); /* error NULL: it is there */
	void *data;
	uint32_t addresses; /* it has for sandboxes; known once it is there */
	struct engine_call *call, *prune;
	/* the engine lists it, and no container can join it: the next network_ensure() makes it
	 * anew */
	bool broken;
};

/* network_init - names only.
 * network_ensure - look for it, make it if need be; DONE is called once, later.
 * 0, -ENOMEM.
 * network_prune - remove this instance's networks of earlier settings that no container uses.
 * network_done - forget what is under way; the network stays (a successor takes it up again; an
 * unused one costs an interface). */
void network_init(struct network *network, const struct lsn_host *host, const struct settings *settings);
int network_ensure(struct network *network, struct engine *engine,
		   void (*done)(void *data, const struct lsn_error *error), void *data);
void network_prune(struct network *network, struct engine *engine);
void network_done(struct network *network);

#endif
