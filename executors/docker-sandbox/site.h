/* site.h - all that must stand before a sandbox may start, in this order: engine, its limits, image, network, port wall. Brings it up, notices when a part
 * goes, brings it up again with back-off, says what is wrong. Loop thread only. */
#ifndef DOCKER_SANDBOX_SITE_H
#define DOCKER_SANDBOX_SITE_H

#include "engine.h"
#include "network.h"
#include "wall.h"

enum site_state { SITE_ENGINE, SITE_LIMITS, SITE_IMAGE, SITE_NETWORK, SITE_WALL, SITE_UP, SITE_STATE_MAX }; /* what is being waited for */
extern const char *const site_state_names[SITE_STATE_MAX];

struct site {
	const struct lsn_host *host;
	const struct options *options;
	void (*changed)(void *data); /* site_up() has changed */
	void *data;
	enum site_state state;
	struct engine *engine;
	struct network network;
	struct wall *wall; /* NULL: network = none */
	struct engine_call *call;
	struct lsn_timer *retry;
	uint64_t retry_usec;
	char problem[256]; /* "" if none */
};

int site_init(struct site *site, const struct lsn_host *host, const struct options *options, void (*changed)(void *data), void *data,
	      struct lsn_error *err);
void site_done(struct site *site, bool remove_wall);
bool site_up(const struct site *site);
/* site_recheck - a container could not be made because the image or the network has gone: look again from the start. */
void site_recheck(struct site *site);

#endif
