/* images.h - hears that something has changed among the engine's images, while it listens.
 *
 * The engine tells by itself (GET /events), so an idle listener costs nothing. What has changed is
 * not told: the caller looks. Loop thread only. */
#ifndef DOCKER_SANDBOX_IMAGES_H
#define DOCKER_SANDBOX_IMAGES_H

#include <listener/executor.h>

struct images;

struct images_hooks {
	/* a moment after an image was made, loaded, named or removed; also once after a time in
	 * which the engine could not be heard */
	void (*changed)(void *data);
	void *data;
};

int images_new(const struct lsn_host *host, const char *socket, const struct images_hooks *hooks, struct images **ret,
	       struct lsn_error *err);
void images_free(struct images *images); /* NULL is allowed */

/* images_listen - from now on, or no more. */
void images_listen(struct images *images, bool on);

#endif
