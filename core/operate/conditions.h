/* conditions.h - what is wrong now: one short list, worked out when somebody asks. If nothing runs
 * the list is not empty; if it is empty all is well. `listenerctl status` begins with it and
 * `listenerctl check` judges by it. docs/control.md, "conditions", has every id. */
#ifndef CORE_CONDITIONS_H
#define CORE_CONDITIONS_H

#include "script.h"
#include "wiring.h"

enum condition_level { CONDITION_WARNING, CONDITION_FAILURE };

struct condition {
	const char *id; /* "executor-down" */
	char subject[160]; /* which executor, script or object; "" where there is only one */
	enum condition_level level;
	uint64_t since_realtime_usec; /* 0: not known */
	char text[600], remedy[160];
};

#define CONDITIONS_MAX 64 /* more are left out */

struct conditions {
	size_t count, failures;
	struct condition list[CONDITIONS_MAX]; /* failures first */
};

/* conditions_look - a few microseconds, and up to 5 ms after the scripts have changed. */
void conditions_look(struct daemon *daemon, struct conditions *ret);

/* conditions_array - as rows of docs/control.md. */
json_t *conditions_array(struct daemon *daemon);

#endif
