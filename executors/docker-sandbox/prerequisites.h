/* prerequisites.h - all that must stand before a sandbox may start, in this order: engine, its
 * limits, image, network, port wall. Brings it up, notices when a part goes, brings it up again
 * with back-off, says what is wrong. Loop thread only. */
#ifndef DOCKER_SANDBOX_PREREQUISITES_H
#define DOCKER_SANDBOX_PREREQUISITES_H

#include "engine.h"
#include "images.h"
#include "network.h"
#include "problem.h"
#include "settings.h"
#include "wall.h"

/* what is being waited for */
enum prerequisites_state {
	PREREQ_ENGINE,
	PREREQ_LIMITS,
	PREREQ_IMAGE,
	PREREQ_NETWORK,
	PREREQ_WALL,
	PREREQ_UP,
	PREREQ_STATE_MAX
};
extern const char *const prerequisite_names[PREREQ_STATE_MAX];

struct prerequisites_hooks {
	void (*changed)(void *data); /* prerequisites_up() has changed */
	void (*renewed)(void *data); /* the image's name means another image than before */
	void *data;
};

#define IMAGE_ID_SIZE 80

struct prerequisites {
	const struct lsn_host *host;
	const struct settings *settings;
	struct prerequisites_hooks hooks;
	enum prerequisites_state state;
	struct engine *engine;
	struct network network;
	struct wall *wall; /* NULL: network = none */
	struct engine_call *call;
	struct lsn_timer *retry;
	uint64_t retry_usec;
	struct problem problem;
	uint64_t since_realtime_usec; /* it is up, or not, since then */
	struct images *images;
	struct engine_call *look; /* at the image, because of images */
	/* of the image that new sandboxes get; "": not known yet */
	char image_id[IMAGE_ID_SIZE], image_created[40];
	char libraries[256]; /* what build-image was told to add to it */
};

int prerequisites_init(struct prerequisites *prereq, const struct lsn_host *host, const struct settings *settings,
		       const struct prerequisites_hooks *hooks, struct lsn_error *err);
void prerequisites_done(struct prerequisites *prereq, bool remove_wall);

/* prerequisites_drop - the same without waiting: another process has a copy, and ends it. */
void prerequisites_drop(struct prerequisites *prereq);
bool prerequisites_up(const struct prerequisites *prereq);

/* prerequisites_recheck - a container could not be made because the image or the network has
 * gone: look again from the start. */
void prerequisites_recheck(struct prerequisites *prereq);

/* prerequisites_change_wall - the settings that the port wall is made of have changed. */
void prerequisites_change_wall(struct prerequisites *prereq);

#endif
