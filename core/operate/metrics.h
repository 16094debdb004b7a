/* metrics.h - the command metrics: what monitoring systems read. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include "wiring.h"

#define METRICS_SCRIPTS_MAX 200 /* with figures of their own: the first that had jobs */
#define METRICS_OTHERS "_other" /* the label of all others */

void command_metrics(void *daemon, const json_t *request, struct control_reply *reply);

#endif
