/* commands_events.c - the command events: what arrived lately, and what became of it. */
#include "commands.h"
#include "control.h"
#include "intake.h"
#include "record.h"
#include "reply.h"
#include "topic.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_LIMIT_DEFAULT 50
#define EVENTS_LIMIT_MAX 1000
#define EVENTS_STEP 50 /* entries looked at in one turn: about a millisecond */

struct events_query {
	const struct daemon *daemon;
	struct control_reply *reply;
	json_t *request; /* has the bytes of topic */
	const char *topic; /* a filter, or NULL */
	int decision; /* -1: any */
	uint64_t since_realtime_usec, limit;
	uint64_t next; /* number in the record; newest first */
};

static void send_event(struct control_reply *reply, const struct record_entry *entry)
{
	json_t *object = json_object();

	json_set_uint(object, "time_realtime_usec", entry->realtime_usec);
	json_set_uint(object, "event", entry->event);
	json_set_string(object, "decision", decision_names[entry->decision]);
	json_set_uint(object, "jobs", entry->jobs);
	json_set_uint(object, "payload_bytes", entry->payload_size);
	json_set_uint(object, "qos", (uint64_t)entry->qos);
	json_set_string(object, "topic", entry->topic);
	control_send(reply, object);
}

/* events_look - at the next entry. False: that was all. */
static bool events_look(struct events_query *query)
{
	const struct record_entry *entry = record_get(intake_get_record(query->daemon->intake), query->next);

	if (!entry || entry->realtime_usec < query->since_realtime_usec)
		return false;
	query->next--;
	if ((query->decision >= 0 && (int)entry->decision != query->decision) ||
	    (query->topic && !topic_matches(query->topic, entry->topic)))
		return true;
	send_event(query->reply, entry);
	return --query->limit > 0;
}

static void query_free(void *data)
{
	struct events_query *query = data;

	json_decref(query->request);
	free(query);
}

static void events_end(struct events_query *query)
{
	uint64_t reach = record_reach(intake_get_record(query->daemon->intake));
	json_t *object = json_object();

	json_set_uint(object, "reach_realtime_usec", reach ? reach : query->daemon->started_realtime_usec);
	control_end_with(query->reply, object);
	query_free(query);
}

static bool events_step(void *data)
{
	struct events_query *query = data;

	for (unsigned i = 0; i < EVENTS_STEP; i++)
		if (!events_look(query)) {
			events_end(query);
			return false;
		}
	return true;
}

static void events_begin(const struct events_query *wanted, const json_t *request)
{
	struct events_query *query = malloc(sizeof *query);

	if (!query) {
		control_fail(wanted->reply, ENOMEM, "out of memory");
		return;
	}
	*query = *wanted;
	query->request = json_incref((json_t *)(uintptr_t)request);
	query->next = intake_get_record(query->daemon->intake)->count;
	const struct control_stream stream = { .step = events_step, .drop = query_free, .state = query };
	control_stream(query->reply, &stream);
}

void command_events(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "topic", "decision", "since_realtime_usec", "limit", NULL };
	struct events_query query = { .daemon = data, .reply = reply, .decision = -1, .limit = EVENTS_LIMIT_DEFAULT };
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
	events_begin(&query, request);
}
