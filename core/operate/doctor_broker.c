/* doctor_broker.c - what the broker really does with probes (doctor_probes.h). In this order:
 *
 *   1. a publication at QoS 0 as Indigo's: at which QoS does it arrive?
 *   2. one publication for each of the daemon's subscriptions, moved below the prefix: does it
 *      arrive once?
 *   3. the subscriber goes away; is there a session when it comes back, and is what was
 *      published meanwhile there, at QoS 0 too?
 *   4. its connection breaks with publications unacknowledged: is what comes again recognised
 *      (doctor_resend.c)?
 *   5. it goes away while many are published, comes back and acknowledges nothing: how many come
 *      (in-flight limit)? And, once it does acknowledge, how many were kept (queue limit)?
 *   6. a large publication: does it arrive? (5 and 6: doctor_limits.c) */
#include "doctor.h"
#include "broker.h"
#include "doctor_client.h"
#include "doctor_probes.h"
#include "topic.h"
#include "util.h"
#include <string.h>

#define STRAGGLER_USEC (1500 * USEC_PER_MSEC)

static bool check_granted(struct probes *probes, int count)
{
	for (int i = 0; i < count; i++) {
		int granted = probes->subscriber.granted[i];
		if (granted > 2) {
			probes_say_denied(probes, "subscribe to");
			return false;
		}
		if (granted == 0) {
			SAY_FAILURE(probes, "let the broker allow QoS 1 (mosquitto: max_qos 2)",
				    "grants subscriptions at QoS 0 only: events can be lost");
			return false;
		}
	}
	return true;
}

static bool check_qos(struct probes *probes)
{
	if (!probes_queue(probes, probes->topic, "q", 0) || !probes_mark(probes))
		return false;
	bool marked = probes_wait(probes), came = probes->subscriber.arrived[KIND_QOS] > 0;
	int qos = probes->subscriber.qos[KIND_QOS];
	if (!marked && !came) {
		probes_say_denied(probes, probes->config->version == MQTT_V5 ? "read from" : "publish to or read from");
		return false;
	}
	if (!came)
		SAY_FAILURE(probes, probes_remedy(probes, SETTING_QUEUE_QOS0),
			    "an event published at QoS 0 did not arrive");
	else if (qos == 0)
		SAY_FAILURE(probes, probes_remedy(probes, SETTING_UPGRADE_QOS),
			    "an event published at QoS 0 (as Indigo does) arrives at QoS 0: it is not acknowledged and "
			    "lost if the daemon dies at the wrong moment");
	else
		SAY_OK(probes,
		       "an event published at QoS 0 arrives at QoS %d: it is sent again until it is acknowledged", qos);
	return true;
}

/* example_name - a name that FILTER (valid) matches. */
static void example_name(const char *filter, char *buf, size_t size)
{
	size_t n = 0;

	for (const char *c = filter; *c && n + 1 < size; c++)
		buf[n++] = *c == '+' || *c == '#' ? 'x' : *c;
	buf[n] = 0;
}

/* publish_copies - one for each subscription, each with a payload of its own. */
static bool publish_copies(struct probes *probes, int tried)
{
	for (int i = 0; i < tried; i++) {
		const char payload[2] = { (char)(KIND_COPY + i), 0 };
		char name[1024], topic[1024 + PROBES_PREFIX_SIZE];
		example_name(topic_subscription_filter(probes->config->subscriptions[i]), name, sizeof name);
		(void)snprintf(topic, sizeof topic, "%s/s/%s", probes->prefix, name);
		if (!probes_queue(probes, topic, payload, 1))
			return false;
	}
	return probes_mark(probes);
}

static void say_missing(struct probes *probes, const char *subscription, unsigned missing, int tried)
{
	bool shared = topic_subscription_filter(subscription) != subscription;

	SAY_FAILURE(probes,
		    shared ? "leave \"$share/GROUP/\" out of [broker] subscriptions: the broker seems not to know it"
			   : "see the broker's log",
		    "nothing arrives for %u of %d subscriptions like the daemon's, the first is %s", missing, tried,
		    subscription);
}

/* count_copies - returns how many subscriptions got none; *RET_FIRST is the first of them. */
static unsigned count_copies(const struct probes *probes, int tried, unsigned *ret_most, int *ret_first)
{
	unsigned missing = 0;

	*ret_most = 0;
	for (int i = tried - 1; i >= 0; i--) {
		unsigned copies = probes->subscriber.arrived[KIND_COPY + i];
		*ret_most = copies > *ret_most ? copies : *ret_most;
		*ret_first = copies == 0 ? i : *ret_first;
		missing += copies == 0;
	}
	return missing;
}

static bool check_copies(struct probes *probes, int count)
{
	struct probe_client *subscriber = &probes->subscriber;
	int tried = count - 1, first = 0;
	unsigned most, missing;

	if (!publish_copies(probes, tried))
		return false;
	(void)probes_wait(probes);
	/* The mark has a subscription of its own, and NATS keeps no order between two. */
	while ((missing = count_copies(probes, tried, &most, &first)) > 0)
		if (!probe_run(subscriber, &subscriber->events, subscriber->events + 1, STRAGGLER_USEC, true))
			break;
	if (most > 1)
		SAY_FAILURE(probes, "make [broker] subscriptions such that no topic matches two of them",
			    "an event arrives %u times: scripts would run as often", most);
	else if (missing > 0)
		say_missing(probes, probes->config->subscriptions[first], missing, tried);
	else
		SAY_OK(probes, "an event arrives once with %d subscription%s like the daemon's", tried,
		       tried == 1 ? "" : "s");
	return true;
}

static bool check_session(struct probes *probes)
{
	probe_disconnect(&probes->subscriber);
	if (!probes_queue(probes, probes->topic, "a", 0) || !probes_mark(probes) ||
	    probes_connect_subscriber(probes) < 0)
		return false;
	if (!probes->subscriber.session_present) {
		SAY_FAILURE(
			probes, probes_remedy(probes, SETTING_SESSION),
			"forgets the session of a client that goes away: events are lost while the daemon restarts");
		return false;
	}
	bool marked = probes_wait(probes);
	if (!marked)
		SAY_FAILURE(probes, probes_remedy(probes, SETTING_QUEUE),
			    "keeps the session of a client that goes away, but not what is published meanwhile");
	else if (probes->subscriber.arrived[KIND_AWAY] == 0)
		SAY_FAILURE(probes, probes_remedy(probes, SETTING_QUEUE_QOS0),
			    "an event published at QoS 0 (as Indigo does) while the daemon is away is lost");
	else
		SAY_OK(probes, "an event published at QoS 0 while the daemon is away is kept for it");
	return marked;
}

/* ------------------------------------------------------------------------------------ all of it */

static void try_all(struct probes *probes, uint64_t payload_max_bytes)
{
	uint64_t since = now_realtime_usec();
	int count = probes_subscribe(probes);

	if (count > 0 && check_granted(probes, count) && probes_connect_publisher(probes) && check_qos(probes) &&
	    check_copies(probes, count) && check_session(probes)) {
		doctor_broker_resend(probes);
		doctor_broker_limits(probes);
		doctor_broker_size(probes, payload_max_bytes);
	}
	doctor_persistence(probes->sink, probes->config, since);
}

void doctor_broker(const struct doctor_sink *sink, const struct broker_config *config, uint64_t payload_max_bytes,
		   uint64_t limit_usec)
{
	uint64_t until = now_monotonic_usec() + limit_usec;
	struct probes probes = {
		.sink = sink, .config = config, .subscriber.until_usec = until, .publisher.until_usec = until
	};

	if (doctor_child_stopping() || !probes_init(&probes) || probes_connect_subscriber(&probes) < 0)
		return;
	/* A session under a name made up just now: the broker gives its own names, and this may
	 * be the daemon's session. Hands off. */
	if (probes.subscriber.session_present) {
		SAY_FAILURE(&probes,
			    "let each connection have its own client id (mosquitto: use_username_as_clientid false)",
			    "cannot be tried: the broker replaces client ids, so the daemon and other clients of "
			    "its user disconnect each other");
		probe_disconnect(&probes.subscriber);
		return;
	}
	try_all(&probes, payload_max_bytes);
	probes_tidy(&probes);
	if (now_monotonic_usec() >= until)
		SAY_WARNING(&probes, "ask again when the broker has less to do",
			    "not everything could be tried within the time");
}
