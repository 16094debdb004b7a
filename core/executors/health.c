/* health.c - how an executor says it is: a few keys of describe() have a meaning for the daemon. */
#include "executors_private.h"
#include "util.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FRESH_USEC (100 * USEC_PER_MSEC)

static const struct health_key {
	const char *key;
	size_t offset;
	size_t size; /* of a text; 0: a time */
} health_keys[] = {
#define TEXT(name)                                                                                                     \
	{                                                                                                              \
#name, offsetof(struct executor_health, name), sizeof(((struct executor_health *)NULL)->name)          \
	}
#define TIME(name)                                                                                                     \
	{                                                                                                              \
#name, offsetof(struct executor_health, name), 0                                                       \
	}
	TEXT(problem), TIME(problem_since_realtime_usec), TEXT(warning), TIME(warning_since_realtime_usec), TEXT(pool),
#undef TEXT
#undef TIME
};

static void health_take(void *data, const char *key, const char *value)
{
	for (size_t i = 0; i < ELEMENTSOF(health_keys); i++) {
		const struct health_key *known = &health_keys[i];
		char *field = (char *)data + known->offset;
		uint64_t time = 0;
		if (!streq(known->key, key))
			continue;
		if (known->size == 0)
			(void)parse_uint(value, INT64_MAX, &time, NULL);
		if (known->size == 0) {
			memcpy(field, &time, sizeof time);
			return;
		}
		(void)snprintf(field, known->size, "%.*s", (int)known->size - 1, value);
		utf8_trim(field);
	}
}

/* health_settle - "none" is none; who does not say since when has it since it was seen. */
static void health_settle(char *text, uint64_t *since_realtime_usec, const char *before, uint64_t before_realtime_usec)
{
	if (streq(text, "none"))
		text[0] = 0;
	if (!text[0])
		*since_realtime_usec = 0;
	else if (!*since_realtime_usec)
		*since_realtime_usec = before[0] ? before_realtime_usec : now_realtime_usec();
}

const struct executor_health *executor_get_health(struct executor *executor)
{
	const struct executor_health before = executor->health;
	struct executor_health *health = &executor->health;
	uint64_t now = now_monotonic_usec();

	if (executor->health_usec && now < executor->health_usec + FRESH_USEC)
		return health;
	*health = (struct executor_health){ 0 };
	executor_describe(executor, health_take, health);
	executor->health_usec = now;
	health_settle(health->problem, &health->problem_since_realtime_usec, before.problem,
		      before.problem_since_realtime_usec);
	health_settle(health->warning, &health->warning_since_realtime_usec, before.warning,
		      before.warning_since_realtime_usec);
	return health;
}
