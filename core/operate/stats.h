/* stats.h - the commands that tell figures. */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "wiring.h"

void command_stats(void *daemon, const json_t *request, struct control_reply *reply);

#endif
