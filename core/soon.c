/* soon.c - see soon.h: a timer that is due at once. */
#include "soon.h"
#include <stddef.h>

int soon_new(sd_event *loop, sd_event_time_handler_t fn, void *data, sd_event_source **ret)
{
	int r = sd_event_add_time_relative(loop, ret, CLOCK_MONOTONIC, 0, 1, fn, data);

	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

void soon(sd_event_source *source)
{
	int enabled = SD_EVENT_OFF;

	if (!source || (sd_event_source_get_enabled(source, &enabled) >= 0 && enabled != SD_EVENT_OFF))
		return;
	(void)sd_event_source_set_time_relative(source, 0);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}
