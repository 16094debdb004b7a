/* say.h - one log line through the host: say(host, NOTICE, "sandbox %s ...", id). */
#ifndef DOCKER_SANDBOX_SAY_H
#define DOCKER_SANDBOX_SAY_H

#include <listener/executor.h>

#define say(host, level, ...) (host)->log((host)->handle, LSN_LOG_##level, __VA_ARGS__)

#endif
