/* metrics_self.h - what this process uses, for `metrics`. */
#ifndef CORE_METRICS_SELF_H
#define CORE_METRICS_SELF_H

#include "control.h"

void metrics_send_self(struct control_reply *reply);

#endif
