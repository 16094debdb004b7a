/* daemon.h - listenerd started, run and stopped. */
#ifndef CORE_DAEMON_H
#define CORE_DAEMON_H

#include "wiring.h"

/* daemon_run - takes over CONFIG (read from CONFIG_FILE) and runs until told to stop.
 * 0, or a negative errno with ERR: could not start. */
int daemon_run(const char *config_file, struct config *config, struct lsn_error *err);

#endif
