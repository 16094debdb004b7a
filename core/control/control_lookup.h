/* control_lookup.h - control_access_resolve() for the loop: it does not block, also if a directory
 * server hangs. */
#ifndef CORE_CONTROL_LOOKUP_H
#define CORE_CONTROL_LOOKUP_H

#include "control_access.h"
#include <systemd/sd-event.h>

struct control_lookup;

/* ACCESS is the callee's, to be cleared; NULL: none, and ERR says why. */
typedef void (*control_lookup_fn)(void *data, struct control_access *access, const struct lsn_error *err);

/* control_lookup_start - look up the names of CONFIG in a child process and call FN(DATA, ...)
 * once, on the loop thread, never from inside.
 * It has 20 s.
 * 0, or a negative errno with ERR: no process could be had. */
int control_lookup_start(sd_event *loop, const struct control_config *config, control_lookup_fn fn, void *data,
			 struct control_lookup **ret, struct lsn_error *err);

/* control_lookup_cancel - FN is not called.
 * NULL is allowed. */
void control_lookup_cancel(struct control_lookup *lookup);

#endif
