/* event.c - see event.h. An event is a block of memory, the struct, the topic and a NUL, and one
 * for the payload. */
#include "event.h"
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <util.h>

#define UUID_MAX 256 /* bytes; a longer one is nobody's uuid */

int event_new(const void *topic, size_t topic_size, const void *payload, size_t payload_size, struct event **ret)
{
	size_t size;

	if (__builtin_add_overflow(sizeof(struct event) + 1, topic_size, &size))
		return -ENOMEM;
	struct event *event = malloc(size);
	void *copy = payload_size > 0 ? malloc(payload_size) : NULL;
	if (!event || (payload_size > 0 && !copy)) {
		free(event);
		free(copy);
		return -ENOMEM;
	}
	*event = (struct event){ .refs = 1,
				 .received_realtime_usec = now_realtime_usec(),
				 .topic_size = topic_size,
				 .payload_size = payload_size,
				 .payload = copy };
	event->topic = (char *)(event + 1);
	if (topic_size > 0)
		memcpy(event->topic, topic, topic_size);
	event->topic[topic_size] = 0;
	if (payload_size > 0)
		memcpy(copy, payload, payload_size);
	*ret = event;
	return 0;
}

struct event *event_ref(struct event *event)
{
	assert(event->refs > 0);
	event->refs++;
	return event;
}

struct event *event_unref(struct event *event)
{
	if (!event)
		return NULL;
	assert(event->refs > 0);
	if (--event->refs == 0) {
		free(event->payload);
		free(event);
	}
	return NULL;
}

void event_drop_payload(struct event *event)
{
	free(event->payload);
	event->payload = NULL;
}

/* FNV-1a: the journal stores the value, so it must stay the same over restarts and versions. */
static uint64_t hash_more(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static bool uuid_of(const json_t *payload, const char *side, char ret[UUID_MAX])
{
	const char *uuid = json_string_value(json_object_get(json_object_get(payload, side), "uuid"));

	if (!uuid || !uuid[0] || strlen(uuid) >= UUID_MAX)
		return false;
	memcpy(ret, uuid, strlen(uuid) + 1);
	return true;
}

static bool user_uuid(const struct event *event, char ret[UUID_MAX])
{
	if (!event->payload)
		return false;
	json_t *payload = json_loadb(event->payload, event->payload_size, 0, NULL);
	bool found = uuid_of(payload, "post", ret) || uuid_of(payload, "pre", ret);
	json_decref(payload);
	return found;
}

uint64_t event_object(const struct event *event)
{
	const char *end = event->topic + event->topic_size, *slash = memchr(event->topic, '/', event->topic_size);
	const char *object = slash ? slash + 1 : event->topic;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	char uuid[UUID_MAX];

	if (event->object != 0)
		return event->object;
	if (end - object > 5 && memcmp(object, "user/", 5) == 0 && user_uuid(event, uuid)) {
		/* The same value as that of a topic with the uuid, should the other event's
		 * payload be unreadable. */
		hash = hash_more(hash, "user/", 5);
		hash = hash_more(hash, uuid, strlen(uuid));
	} else {
		hash = hash_more(hash, object, (size_t)(end - object));
	}
	/* a memo: what anybody can see of the event does not change */
	((struct event *)(uintptr_t)event)->object = hash ? hash : 1;
	return event->object;
}
