/* reload.h - the configuration is read again and replaces the old one as a whole. */
#ifndef CORE_RELOAD_H
#define CORE_RELOAD_H

#include "wiring.h"

/* daemon_reload - read the configuration again and put it in force as a whole, or change nothing
 * and say why.
 * New modules and what executors have to wait for are tried beside the loop, which goes on; FN
 * is called once with the result, from the loop.
 * 0, or a negative errno with ERR: nothing has changed, FN is not called.
 * -EBUSY: one is under way. */
typedef void (*reload_fn)(void *data, int r, const struct lsn_error *err);
int daemon_reload(struct daemon *daemon, reload_fn fn, void *data, struct lsn_error *err);

/* daemon_reload_cancel - one that is under way fails with -ECANCELED. */
void daemon_reload_cancel(struct daemon *daemon);

#endif
