/* reload.h - the configuration is read again and replaces the old one as a whole. */
#ifndef CORE_RELOAD_H
#define CORE_RELOAD_H

#include "wiring.h"

/* daemon_reload - read the configuration again and put it in force as a whole, or change nothing
 * and say why. */
int daemon_reload(struct daemon *daemon, struct lsn_error *err);

#endif
