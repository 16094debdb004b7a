/* trial.h - a small script of ours run in a real sandbox, the way every script is: what does it find open, and what closed?
 *
 * For the time of it we listen on the gateway of the sandboxes' network, so that a refusal is the walls' and not for want of a listener: at a port that
 * is allowed, at one that is not, and for UDP, which only the port wall knows of. Loop thread only, nothing blocks. */
#ifndef DOCKER_SANDBOX_TRIAL_H
#define DOCKER_SANDBOX_TRIAL_H

#include "pool.h"

#define TRIAL_CLOSED_PORT 1883 /* MQTT: what a script must not reach, in person */

enum trial_door { TRIAL_OPEN, TRIAL_CLOSED, TRIAL_UDP, TRIAL_DOORS };

struct trial_report {
	const char *problem; /* NULL: it ran; else why it did not */
	char python[64]; /* version, quoted if odd */
	char missing[64]; /* the first module of `preload` that the image does not have; "": it has all */
	bool doors; /* the gateway was known and these were tried */
	char gateway[48];
	unsigned port[TRIAL_DOORS];
	bool listening[TRIAL_DOORS]; /* we, or somebody, did */
	char seen[TRIAL_DOORS][32]; /* "open", or the error's name such as ECONNREFUSED */
	bool arrived; /* the datagram */
};
typedef void (*trial_fn)(void *data, const struct trial_report *report);

struct trial;
/* trial_start - FN is called once, within some 17 s, never from inside; the report is borrowed. 0, -EBUSY (one is under way),
 * -ENOMEM, other negative errno. trial_free - forget it; FN is not called any more. NULL is allowed. */
int trial_start(struct pool *pool, trial_fn fn, void *data, struct trial **ret);
void trial_free(struct trial *trial);

#endif
