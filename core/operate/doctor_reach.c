/* doctor_reach.c - do events reach the daemon? A broker may grant a subscription and deliver
 * nothing for it: access rules for reading are rules of their own. So one event that runs nothing
 * (doctor_event.h) is published for each subscription, on a topic that it matches, and the daemon
 * notes which have come.
 *
 * With MQTT 5 the broker says whether it lets us publish, so that is tried first. Where it does not
 * say, an event that does not come proves nothing. */
#include "doctor.h"
#include "broker.h"
#include "doctor_client.h"
#include "doctor_event.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define AREA "broker"
#define ANSWER_USEC (5 * USEC_PER_SEC)
#define STEP_NSEC (20 * 1000 * 1000L)
#define LEVEL "listenerd-doctor" /* in the place of a wildcard */
#define TOPIC_SIZE 1024

struct reach {
	const struct doctor_sink *sink;
	const struct broker_config *config;
	struct doctor_events *events;
	struct probe_client publisher;
	bool says_denied; /* the broker says which publication it refuses */
	unsigned count; /* subscriptions tried */
	uint64_t sent, denied; /* bit N: the event for subscription N */
};

/* reach_topic - one that FILTER (valid) matches; false: it would be too long. */
static bool reach_topic(const char *filter, char topic[TOPIC_SIZE])
{
	size_t n = 0;

	for (const char *c = filter; *c; c++) {
		bool wild = *c == '+' || *c == '#';
		size_t size = wild ? strlen(LEVEL) : 1;
		if (n + size >= TOPIC_SIZE)
			return false;
		memcpy(topic + n, wild ? LEVEL : c, size);
		n += size;
	}
	topic[n] = 0;
	return true;
}

static bool reach_connect(struct reach *reach, uint64_t until_usec, struct lsn_error *err)
{
	struct broker_config config = *reach->config;
	char id[300];

	(void)snprintf(id, sizeof id, "%.200s-doctor-%08x-r", config.client_id, (unsigned)reach->events->token);
	reach->publisher.until_usec = until_usec;
	config.version = MQTT_V5;
	reach->says_denied = probe_connect(&reach->publisher, &config, id, false, err) >= 0;
	return reach->says_denied || probe_connect(&reach->publisher, reach->config, id, false, err) >= 0;
}

/* reach_publish - the event for subscription N, and wait for what the broker says. */
static void reach_publish(struct reach *reach, unsigned n)
{
	struct probe_client *publisher = &reach->publisher;
	unsigned confirmed = publisher->confirmed, denied = publisher->denied;
	char topic[TOPIC_SIZE], payload[DOCTOR_EVENT_SIZE];

	doctor_event_payload(payload, reach->events->token, n);
	if (!reach_topic(topic_subscription_filter(reach->config->subscriptions[n]), topic) ||
	    probe_publish(publisher, topic, payload, 1) < 0 ||
	    !probe_run(publisher, &publisher->confirmed, confirmed + 1, ANSWER_USEC, true))
		return;
	if (publisher->denied > denied)
		reach->denied |= UINT64_C(1) << n;
	else
		reach->sent |= UINT64_C(1) << n;
}

static void reach_wait(const struct reach *reach)
{
	uint64_t end = now_monotonic_usec() + ANSWER_USEC;

	while ((reach->sent & ~atomic_load(&reach->events->arrived)) && now_monotonic_usec() < end &&
	       !doctor_child_stopping())
		(void)nanosleep(&(const struct timespec){ .tv_nsec = STEP_NSEC }, NULL);
}

/* -------------------------------------------------------------------------------------- the rows */

static unsigned bits_count(uint64_t bits) { return (unsigned)__builtin_popcountll(bits); }

static const char *first_of(const struct reach *reach, uint64_t bits)
{
	return reach->config->subscriptions[__builtin_ctzll(bits)];
}

static void say_refused(const struct reach *reach, uint64_t untried)
{
	char remedy[256];

	(void)snprintf(remedy, sizeof remedy,
		       "let the user %.60s write to such topics with the level " LEVEL " in the place of wildcards, "
		       "or publish there with another client and look at `listenerctl events`",
		       reach->config->user ? reach->config->user : "of the daemon");
	if (untried)
		doctor_report(
			reach->sink, LSN_PROBE_WARNING, AREA, remedy,
			"whether events reach the daemon cannot be tried for %u of %u subscriptions, the first is "
			"%s: the broker refuses what is published there",
			bits_count(untried), reach->count, first_of(reach, untried));
}

static bool is_shared(const char *subscription) { return topic_subscription_filter(subscription) != subscription; }

static void say_not_come(const struct reach *reach, uint64_t missing)
{
	const char *first = first_of(reach, missing);
	bool proof = reach->says_denied && !is_shared(first);

	doctor_report(reach->sink, proof ? LSN_PROBE_FAILURE : LSN_PROBE_WARNING, AREA,
		      is_shared(first) ? "ask again while no other member of the share is connected"
		      : proof ? "let the daemon's user read what it subscribes to: the broker's access rules for "
				"reading count when it delivers (mosquitto: topic read FILTER in acl_file; RabbitMQ: "
				"set_topic_permissions)"
			      : "let the daemon's user read what it subscribes to, and write there for this "
				"examination: see the broker's access rules",
		      "an event does not reach the daemon for %u of %u subscriptions, the first is %s%s",
		      bits_count(missing), reach->count, first,
		      is_shared(first) ? ": another member of the share may have got it"
		      : proof          ? ", although the broker has granted it and taken the event"
				       : ": the broker drops it, or does not let us publish there");
}

static void reach_say(const struct reach *reach)
{
	uint64_t all = reach->count >= 64 ? UINT64_MAX : (UINT64_C(1) << reach->count) - 1;
	uint64_t missing = reach->sent & ~atomic_load(&reach->events->arrived);

	say_refused(reach, all & ~reach->sent);
	if (missing)
		say_not_come(reach, missing);
	if (reach->sent & ~missing)
		doctor_report(reach->sink, LSN_PROBE_OK, AREA, NULL,
			      "an event reaches the daemon for %u of %u subscriptions (it ran nothing)",
			      bits_count(reach->sent & ~missing), reach->count);
}

void doctor_reach(const struct doctor_sink *sink, const struct broker_config *config, struct doctor_events *events,
		  uint64_t limit_usec)
{
	struct reach reach = { .sink = sink, .config = config, .events = events };
	struct lsn_error err;

	if (doctor_child_stopping() || !reach_connect(&reach, now_monotonic_usec() + limit_usec, &err))
		return; /* doctor_broker() says so */
	while (config->subscriptions[reach.count] && reach.count < DOCTOR_EVENTS_MAX)
		reach_publish(&reach, reach.count++);
	reach_wait(&reach);
	if (!doctor_child_stopping())
		reach_say(&reach);
	probe_disconnect(&reach.publisher);
}
