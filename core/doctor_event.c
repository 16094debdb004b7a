/* doctor_event.c - see doctor_event.h. */
#include "doctor_event.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "listenerd doctor %016" PRIx64 " %02u"

void doctor_event_payload(char buf[DOCTOR_EVENT_SIZE], uint64_t token, unsigned n)
{
	(void)snprintf(buf, DOCTOR_EVENT_SIZE, FORMAT, token, n);
}

bool doctor_event_take(struct doctor_events *events, const void *payload, size_t size)
{
	char text[DOCTOR_EVENT_SIZE], again[DOCTOR_EVENT_SIZE];
	uint64_t token;
	unsigned n;

	if (size == 0 || size >= sizeof text)
		return false;
	memcpy(text, payload, size);
	text[size] = 0;
	if (sscanf(text, "listenerd doctor %16" SCNx64 " %2u", &token, &n) != 2 || n >= DOCTOR_EVENTS_MAX)
		return false;
	doctor_event_payload(again, token, n);
	if (strlen(again) != size || memcmp(again, text, size) != 0)
		return false;
	if (events && events->token == token)
		atomic_fetch_or(&events->arrived, UINT64_C(1) << n);
	return true;
}
