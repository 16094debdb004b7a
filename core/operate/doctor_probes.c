/* doctor_probes.c - see doctor_probes.h.
 *
 * Afterwards the broker is to have nothing left of the probes: a session goes by connecting under
 * its client id with a clean session, in either version of MQTT. */
#include "doctor_probes.h"
#include "cleanup.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#define TIDY_USEC (10 * USEC_PER_SEC)
#define DROP_IN "see the mosquitto drop-in shipped with listenerd (conf.d/mosquitto/listenerd.conf): "

static const struct {
	const char *mosquitto, *others;
} remedies[SETTING_MAX] = {
	[SETTING_UPGRADE_QOS] = { DROP_IN "upgrade_outgoing_qos true",
				  "let the archive publish at QoS 1, or use a broker that delivers at QoS 1 what was "
				  "published at QoS 0 (mosquitto: upgrade_outgoing_qos true)" },
	[SETTING_QUEUE_QOS0] = { DROP_IN "queue_qos0_messages true",
				 "let the archive publish at QoS 1, or use a broker that keeps what was published at "
				 "QoS 0 (mosquitto: queue_qos0_messages true)" },
	[SETTING_QUEUE] = { DROP_IN "max_queued_messages",
			    "let it keep more for a client that is away (mosquitto: max_queued_messages; RabbitMQ: "
			    "max-length in a policy; NATS: the limits of JetStream)" },
	[SETTING_INFLIGHT] = { DROP_IN "max_inflight_messages 1000",
			       "let it send more without acknowledgement (mosquitto: max_inflight_messages; RabbitMQ: "
			       "mqtt.prefetch; NATS: max_ack_pending)" },
	[SETTING_SESSION] = { "do not set persistent_client_expiration too short at mosquitto",
			      "let the broker keep persistent sessions (mosquitto: persistent_client_expiration; "
			      "RabbitMQ 3: mqtt.subscription_ttl, 4: mqtt.max_session_expiry_interval_seconds)" },
	[SETTING_SIZE] = { "set message_size_limit and max_packet_size at mosquitto so that they allow it, or lower "
			   "[listener] payload_max",
			   "let it take larger messages (mosquitto: message_size_limit, max_packet_size; RabbitMQ: "
			   "max_message_size, mqtt.max_packet_size_authenticated; NATS: max_payload), or lower "
			   "[listener] payload_max" },
};

const char *probes_remedy(const struct probes *probes, enum probes_setting setting)
{
	return probes->mosquitto ? remedies[setting].mosquitto : remedies[setting].others;
}

bool probes_init(struct probes *probes)
{
	/* a leading wildcard does not match the second */
	static const char *const roots[] = { "listenerd-doctor", "$listenerd-doctor" };
	uint64_t random;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
		random = now_realtime_usec();
	(void)snprintf(probes->id, sizeof probes->id, "%.200s-doctor-%08" PRIx32, probes->config->client_id,
		       (uint32_t)random);
	for (size_t i = 0; i < ELEMENTSOF(roots); i++) {
		bool covered = false;
		(void)snprintf(probes->prefix, sizeof probes->prefix, "%s/%08" PRIx32, roots[i], (uint32_t)random);
		(void)snprintf(probes->topic, sizeof probes->topic, "%s/probe", probes->prefix);
		for (char **s = probes->config->subscriptions; *s; s++) {
			char all[PROBES_PREFIX_SIZE + 4];
			(void)snprintf(all, sizeof all, "%s/#", probes->prefix);
			covered = covered || topic_filters_overlap(topic_subscription_filter(*s), all);
		}
		if (!covered)
			return true;
	}
	SAY_WARNING(probes, "leave \"listenerd-doctor/#\" out of [broker] subscriptions",
		    "cannot be tried: every topic for probes would be an event");
	return false;
}

void probes_say_denied(struct probes *probes, const char *what)
{
	char remedy[256];

	(void)snprintf(remedy, sizeof remedy, "let the user %s read and write %.*s/# at the broker, then ask again",
		       probes->config->user ? probes->config->user : "of the daemon", (int)strcspn(probes->prefix, "/"),
		       probes->prefix);
	SAY_WARNING(probes, remedy, "cannot be tried: the broker does not let us %s %s/#", what, probes->prefix);
}

/* publish - send what is queued, then a mark at QoS 1, and wait until the broker has taken all
 * of it. */
bool probes_flush(struct probes *probes)
{
	struct probe_client *publisher = &probes->publisher;

	if (!probe_run(publisher, &publisher->confirmed, probes->published, PROBES_ANSWER_USEC, true))
		SAY_FAILURE(probes,
			    publisher->error[0] ? "see the broker's log" : "ask again when the broker has less to do",
			    "does not take publications: %s",
			    publisher->error[0] ? publisher->error : "no acknowledgement in time");
	else if (publisher->denied > 0)
		probes_say_denied(probes, "publish to");
	else
		return true;
	return false;
}

bool probes_mark(struct probes *probes)
{
	if (!probes_queue(probes, probes->topic, "m", 1))
		return false;
	probes->marks++;
	return probes_flush(probes);
}

bool probes_queue(struct probes *probes, const char *topic, const char *payload, int qos)
{
	bool ok = probe_publish(&probes->publisher, topic, payload, qos) >= 0;
	probes->published += ok;
	return ok;
}

bool probes_wait(struct probes *probes)
{
	struct probe_client *subscriber = &probes->subscriber;

	return probe_run(subscriber, &subscriber->arrived[KIND_MARK], probes->marks, PROBES_ANSWER_USEC, true) &&
	       probe_settle(subscriber);
}

int probes_connect_subscriber(struct probes *probes)
{
	struct lsn_error err = { 0 };

	int r = probe_connect(&probes->subscriber, probes->config, probes->id, true, &err);
	if (r < 0 && !doctor_child_stopping())
		SAY_FAILURE(probes,
			    "see that the broker runs and that [broker] host, port, user and password are right",
			    "cannot connect: %s", err.message);
	return r;
}

/* probe_filter - number N of those to subscribe to; the caller frees it. NULL: no memory. */
static char *probe_filter(const struct probes *probes, int n)
{
	const char *given = n ? probes->config->subscriptions[n - 1] : NULL;
	char *filter = NULL;

	if (!given)
		return strdup(probes->topic);
	const char *bare = topic_subscription_filter(given);
	/* the group with our client id behind it: nobody else's */
	int group = bare > given ? (int)(bare - given) - 1 : 0;
	int size = group ? asprintf(&filter, "%.*s-%s/%s/s/%s", group, given, strrchr(probes->prefix, '/') + 1,
				    probes->prefix, bare)
			 : asprintf(&filter, "%s/s/%s", probes->prefix, bare);
	return size < 0 ? NULL : filter;
}

int probes_subscribe(struct probes *probes)
{
	char *filters[PROBE_FILTERS_MAX];
	int n = 0, wanted = 1;
	struct lsn_error err = { 0 };

	while (probes->config->subscriptions[wanted - 1] && wanted < PROBE_FILTERS_MAX)
		wanted++;
	while (n < wanted && (filters[n] = probe_filter(probes, n)))
		n++;
	int r = n == wanted ? probe_subscribe(&probes->subscriber, filters, n, &err) : -ENOMEM;
	while (n > 0)
		free(filters[--n]);
	if (r < 0)
		SAY_FAILURE(probes, "see the broker's log", "%s", err.message);
	return r < 0 ? 0 : wanted;
}

/* probes_meet - mosquitto says what it is. A connection of its own: a broker may end it for the
 * question. */
static void probes_meet(struct probes *probes)
{
	char version[] = "$SYS/broker/version", *filter[] = { version };
	struct probe_client client = { .until_usec = probes->publisher.until_usec };
	struct lsn_error err;
	char id[300];

	(void)snprintf(id, sizeof id, "%s-v", probes->id);
	if (probe_connect(&client, probes->config, id, false, &err) < 0)
		return;
	(void)(probe_subscribe(&client, filter, 1, &err) >= 0 && probe_settle(&client));
	probes->mosquitto = str_startswith(client.text, "mosquitto");
	probe_disconnect(&client);
}

bool probes_connect_publisher(struct probes *probes)
{
	struct lsn_error err = { 0 };
	char id[300];

	probes_meet(probes);
	(void)snprintf(id, sizeof id, "%s-p", probes->id);
	if (probe_connect(&probes->publisher, probes->config, id, false, &err) >= 0)
		return true;
	SAY_FAILURE(probes, "see the broker's log", "cannot be tried: no second connection: %s", err.message);
	return false;
}

void probes_tidy(struct probes *probes)
{
	struct probe_client last = { .tidying = true, .until_usec = now_monotonic_usec() + TIDY_USEC };
	struct lsn_error err = { 0 };

	probes->subscriber.tidying = probes->publisher.tidying = true;
	probe_disconnect(&probes->publisher);
	probe_disconnect(&probes->subscriber);
	if (probe_connect(&last, probes->config, probes->id, false, &err) < 0)
		SAY_WARNING(
			probes,
			"let sessions of clients that never come back expire (mosquitto: persistent_client_expiration)",
			"a session %s is left at the broker: %s", probes->id, err.message);
	probe_disconnect(&last);
}
