/* log_line.h - one log line through the host: log_line(host, NOTICE, "sandbox %s ...", id). */
#ifndef POOL_LOG_LINE_H
#define POOL_LOG_LINE_H

#include <listener/executor.h>

#define log_line(host, level, ...) (host)->log((host)->handle, LSN_LOG_##level, __VA_ARGS__)

#endif
