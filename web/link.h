/* link.h - the way to listenerd: its control socket, as any reader uses it (docs/control.md).
 *
 * Visits are served one after the other, each over a connection of its own. So the daemon sees one
 * connection of ours at a time, whoever looks, and only one visit's answers are in memory.
 * Loop thread only; nothing blocks. */
#ifndef WEB_LINK_H
#define WEB_LINK_H

#include "visit.h"

#include <systemd/sd-event.h>

#define LINK_WAITING_MAX 16 /* visits that wait for their turn */
#define LINK_SILENCE_SEC 20 /* without a byte: listenerd does not answer */

struct link;

int link_new(sd_event *loop, const char *socket, struct link **ret);

/* link_free - visits that are not done end with `trouble`. */
void link_free(struct link *link);

/* link_submit - ask the questions of VISIT, then call visit->done(), never from inside.
 * VISIT must live until then; visit->trouble says whether the daemon has answered.
 * 0, or -EBUSY: LINK_WAITING_MAX others wait. */
int link_submit(struct link *link, struct visit *visit);

#endif
