/* commands_events.c - the command events: what arrived lately, and what became of it. */
#include "commands.h"
#include "control.h"
#include "intake.h"
#include "record.h"
#include "reply.h"
#include "topic.h"
#include <errno.h>
#include <string.h>

#define EVENTS_LIMIT_DEFAULT 50
#define EVENTS_LIMIT_MAX 1000

struct events_query {
	struct control_reply *reply;
	const char *topic; /* a filter, or NULL */
	int decision; /* -1: any */
	uint64_t since_realtime_usec, limit;
};

static bool send_event(void *data, const struct record_entry *entry)
{
	struct events_query *query = data;

	if (entry->realtime_usec < query->since_realtime_usec)
		return false;
	if ((query->decision >= 0 && (int)entry->decision != query->decision) ||
	    (query->topic && !topic_matches(query->topic, entry->topic)))
		return true;
	json_t *object = json_object();
	json_set_uint(object, "time_realtime_usec", entry->realtime_usec);
	json_set_uint(object, "event", entry->event);
	json_set_string(object, "decision", decision_names[entry->decision]);
	json_set_uint(object, "jobs", entry->jobs);
	json_set_uint(object, "payload_bytes", entry->payload_size);
	json_set_uint(object, "qos", (uint64_t)entry->qos);
	json_set_string(object, "topic", entry->topic);
	control_send(query->reply, object);
	return --query->limit > 0;
}

void command_events(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "topic", "decision", "since_realtime_usec", "limit", NULL };
	const struct daemon *daemon = data;
	struct events_query query = { .reply = reply, .decision = -1, .limit = EVENTS_LIMIT_DEFAULT };
	const struct record *record = intake_get_record(daemon->intake);
	struct lsn_error err = { 0 };

	if (!reply_known_keys(reply, request, keys) || !reply_get_string(reply, request, "topic", &query.topic) ||
	    !reply_get_word(reply, request, "decision", decision_names, DECISION_MAX, &query.decision) ||
	    !reply_get_uint(reply, request, "since_realtime_usec", 0, INT64_MAX, &query.since_realtime_usec) ||
	    !reply_get_uint(reply, request, "limit", 1, EVENTS_LIMIT_MAX, &query.limit))
		return;
	if (query.topic && topic_check_filter(query.topic, strlen(query.topic), &err) < 0) {
		control_fail(reply, EINVAL, "topic: %s", err.message);
		return;
	}
	record_each(record, send_event, &query);
	uint64_t reach = record_reach(record);
	json_t *object = json_object();
	json_set_uint(object, "reach_realtime_usec", reach ? reach : daemon->started_realtime_usec);
	control_end_with(reply, object);
}
