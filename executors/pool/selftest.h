/* selftest.h - a small script of ours run in a real sandbox, the way every script is: what does
 * it find open, and what closed?
 *
 * For the time of it we listen on the gateway of the sandboxes' network, so that a refusal is
 * the walls' and not for want of a listener: at a port that is allowed, at one that is not, and
 * for UDP, which only the port wall knows of. Loop thread only, nothing blocks. */
#ifndef POOL_SELFTEST_H
#define POOL_SELFTEST_H

#include "pool.h"

#define SELFTEST_CLOSED_PORT 1883 /* MQTT: what a script must not reach, in person */

enum selftest_door { SELFTEST_OPEN, SELFTEST_CLOSED, SELFTEST_UDP, SELFTEST_DOORS };

struct selftest_report {
	const char *problem; /* NULL: it ran; else why it did not */
	char python[64]; /* version, quoted if odd */
	/* the first module of `preload` that the image does not have; "": it has all */
	char missing[64];
	bool uncounted_sockets; /* no limit holds the memory of their buffers */
	bool doors; /* the gateway was known and these were tried */
	char gateway[48];
	unsigned port[SELFTEST_DOORS];
	bool listening[SELFTEST_DOORS]; /* we, or somebody, did */
	char seen[SELFTEST_DOORS][32]; /* "open", or the error's name such as ECONNREFUSED */
	bool arrived; /* the datagram */
};
typedef void (*selftest_fn)(void *data, const struct selftest_report *report);

struct selftest;

/* selftest_start - FN is called once, within 17 s, never from inside; the report is borrowed.
 * BRIDGE: the interface of the sandboxes' network.
 * HINDRANCE: why sandboxes cannot be made, "" if they can; it is read when the time is up.
 * 0, -EBUSY (one is under way), -ENOMEM, other negative errno. */
int selftest_start(struct pool *pool, const char *bridge, const char *hindrance, selftest_fn fn, void *data,
		   struct selftest **ret);

/* selftest_free - forget it; FN is not called any more.
 * NULL is allowed. */
void selftest_free(struct selftest *selftest);

#endif
