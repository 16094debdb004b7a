/* doctor_broker.c - what the broker really does: a subscriber with the daemon's settings but a
 * client id of its own, and a publisher, on topics below a prefix that no subscription of the
 * daemon covers. In this order:
 *
 *   1. a publication at QoS 0 as Indigo's: at which QoS does it arrive?
 *   2. one publication for each of the daemon's subscriptions, moved below the prefix: does it
 *      arrive once?
 *   3. the subscriber goes away; is there a session when it comes back, and is what was
 *      published meanwhile there, at QoS 0 too?
 *   4. it goes away again while many are published, comes back and acknowledges nothing: how
 *      many come (in-flight limit)? And, once it does
 *      acknowledge, how many were kept (queue limit)?
 *
 * A publication at QoS 1 follows each one whose absence is of interest: brokers keep the order,
 * so nobody has to wait to see that something does not come.
 *
 * Afterwards the broker is to have nothing left of this. A session of MQTT 3.1.1 goes by
 * connecting with a clean session; broker_client_new() has no such option, so an MQTT 5
 * connection that lets the session expire with it is used for either version. */
#include "doctor.h"
#include "cleanup.h"
#include "doctor_client.h"
#include "intake.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#define ANSWER_USEC (5 * USEC_PER_SEC)
#define STALL_USEC (1500 * USEC_PER_MSEC) /* nothing for so long: the broker waits for us */
#define TIDY_USEC (10 * USEC_PER_SEC)
#define FLOOD_MIN 1500 /* more than the 1000 mosquitto queues by default */
#define FLOOD_MAX 5000
#define INFLIGHT_SMALL 100
#define PREFIX_SIZE 64
#define AREA "broker"
#define DROP_IN "see the mosquitto drop-in shipped with listenerd (conf.d/mosquitto/listenerd.conf): "

enum {
	KIND_MARK = 'm',
	KIND_QOS = 'q',
	KIND_AWAY = 'a',
	KIND_FLOOD = 'f',
	KIND_COPY = 'A' /* and the next PROBE_FILTERS_MAX - 1 */
};

struct probe {
	const struct doctor_sink *sink;
	const struct broker_config *config;
	struct probe_client subscriber, publisher;
	char id[256], prefix[PREFIX_SIZE], topic[PREFIX_SIZE + 16];
	unsigned published, marks;
};

#define SAY_OK(probe, ...) doctor_report((probe)->sink, LSN_PROBE_OK, AREA, NULL, __VA_ARGS__)
#define SAY_WARNING(probe, remedy, ...) doctor_report((probe)->sink, LSN_PROBE_WARNING, AREA, remedy, __VA_ARGS__)
#define SAY_FAILURE(probe, remedy, ...) doctor_report((probe)->sink, LSN_PROBE_FAILURE, AREA, remedy, __VA_ARGS__)

/* ---------------------------------------------------------------------------------------- names */

static bool choose_names(struct probe *probe)
{
	/* a leading wildcard does not match the second */
	static const char *const roots[] = { "listenerd-doctor", "$listenerd-doctor" };
	uint64_t random;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
		random = now_realtime_usec();
	(void)snprintf(probe->id, sizeof probe->id, "%.200s-doctor-%08" PRIx32, probe->config->client_id,
		       (uint32_t)random);
	for (size_t i = 0; i < ELEMENTSOF(roots); i++) {
		bool covered = false;
		(void)snprintf(probe->prefix, sizeof probe->prefix, "%s/%08" PRIx32, roots[i], (uint32_t)random);
		(void)snprintf(probe->topic, sizeof probe->topic, "%s/probe", probe->prefix);
		for (char **s = probe->config->subscriptions; *s; s++) {
			char all[PREFIX_SIZE + 4];
			(void)snprintf(all, sizeof all, "%s/#", probe->prefix);
			covered = covered || topic_filters_overlap(topic_subscription_filter(*s), all);
		}
		if (!covered)
			return true;
	}
	SAY_WARNING(probe, "leave \"listenerd-doctor/#\" out of [broker] subscriptions",
		    "cannot be tried: every topic for probes would be an event");
	return false;
}

/* ---------------------------------------------------------------------------------------- steps */

static void say_denied(struct probe *probe, const char *what)
{
	char remedy[256];

	(void)snprintf(remedy, sizeof remedy, "let the user %s read and write %.*s/# at the broker, then ask again",
		       probe->config->user ? probe->config->user : "of the daemon", (int)strcspn(probe->prefix, "/"),
		       probe->prefix);
	SAY_WARNING(probe, remedy, "cannot be tried: the broker does not let us %s %s/#", what, probe->prefix);
}

/* publish - send what is queued, then a mark at QoS 1, and wait until the broker has taken all
 * of it. */
static bool publish_mark(struct probe *probe)
{
	struct probe_client *publisher = &probe->publisher;

	if (probe_publish(publisher, probe->topic, "m", 1) < 0)
		return false;
	probe->published++;
	probe->marks++;
	if (!probe_run(publisher, &publisher->confirmed, probe->published, ANSWER_USEC, true))
		SAY_FAILURE(probe, "is the broker overloaded?", "does not take publications: %s",
			    publisher->error[0] ? publisher->error : "no acknowledgement in time");
	else if (publisher->denied > 0)
		say_denied(probe, "publish to");
	else
		return true;
	return false;
}

static bool probe_queue(struct probe *probe, const char *topic, const char *payload, int qos)
{
	bool ok = probe_publish(&probe->publisher, topic, payload, qos) >= 0;
	probe->published += ok;
	return ok;
}

/* wait_mark - and leave nothing unacknowledged: it would come again in the next step. */
static bool wait_mark(struct probe *probe)
{
	return probe_run(&probe->subscriber, &probe->subscriber.arrived[KIND_MARK], probe->marks, ANSWER_USEC, true) &&
	       probe_settle(&probe->subscriber);
}

static int connect_subscriber(struct probe *probe)
{
	struct lsn_error err = { 0 };

	int r = probe_connect(&probe->subscriber, probe->config, probe->id, true, &err);
	if (r < 0 && !doctor_child_stopping())
		SAY_FAILURE(probe, "is it running, and are [broker] host, user and password right?",
			    "cannot connect: %s", err.message);
	return r;
}

/* probes_subscribe - filter 0 is for the probes, the others are the daemon's below the prefix.
 * Returns how many, 0: not possible. */
static int probes_subscribe(struct probe *probe)
{
	char *filters[PROBE_FILTERS_MAX];
	int n = 0, wanted = 1;
	struct lsn_error err = { 0 };

	while (probe->config->subscriptions[wanted - 1] && wanted < PROBE_FILTERS_MAX)
		wanted++;
	for (; n < wanted; n++)
		if (asprintf(&filters[n], n ? "%s/s/%s" : "%s", n ? probe->prefix : probe->topic,
			     n ? topic_subscription_filter(probe->config->subscriptions[n - 1]) : "") < 0)
			break;
	int r = n == wanted ? probe_subscribe(&probe->subscriber, filters, n, &err) : -ENOMEM;
	while (n > 0)
		free(filters[--n]);
	if (r < 0)
		SAY_FAILURE(probe, "see the broker's log", "%s", err.message);
	return r < 0 ? 0 : wanted;
}

static bool check_granted(struct probe *probe, int count)
{
	for (int i = 0; i < count; i++) {
		int granted = probe->subscriber.granted[i];
		if (granted > 2) {
			say_denied(probe, "subscribe to");
			return false;
		}
		if (granted == 0) {
			SAY_FAILURE(probe, "let the broker allow QoS 1 (mosquitto: max_qos 2)",
				    "grants subscriptions at QoS 0 only: events can be lost");
			return false;
		}
	}
	return true;
}

static bool check_qos(struct probe *probe)
{
	if (!probe_queue(probe, probe->topic, "q", 0) || !publish_mark(probe))
		return false;
	bool marked = wait_mark(probe), came = probe->subscriber.arrived[KIND_QOS] > 0;
	int qos = probe->subscriber.qos[KIND_QOS];
	if (!marked && !came) {
		say_denied(probe, "read from");
		return false;
	}
	if (!came)
		SAY_FAILURE(probe, DROP_IN "queue_qos0_messages", "an event published at QoS 0 did not arrive");
	else if (qos == 0)
		SAY_FAILURE(probe, DROP_IN "upgrade_outgoing_qos true",
			    "an event published at QoS 0 (as Indigo does) arrives at QoS 0: it is not acknowledged and "
			    "lost if the daemon dies at the wrong moment");
	else
		SAY_OK(probe,
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

static bool check_copies(struct probe *probe, int count)
{
	unsigned most = 0, missing = 0;
	int tried = count - 1;

	for (int i = 0; i < tried; i++) {
		const char payload[2] = { (char)(KIND_COPY + i), 0 };
		char name[1024], topic[1024 + PREFIX_SIZE];
		example_name(topic_subscription_filter(probe->config->subscriptions[i]), name, sizeof name);
		(void)snprintf(topic, sizeof topic, "%s/s/%s", probe->prefix, name);
		if (!probe_queue(probe, topic, payload, 1))
			return false;
	}
	if (!publish_mark(probe))
		return false;
	(void)wait_mark(probe);
	for (int i = 0; i < tried; i++) {
		unsigned copies = probe->subscriber.arrived[KIND_COPY + i];
		most = copies > most ? copies : most;
		missing += copies == 0;
	}
	if (most > 1)
		SAY_FAILURE(probe, "make [broker] subscriptions such that no topic matches two of them",
			    "an event arrives %u times: scripts would run as often", most);
	else if (missing > 0)
		SAY_FAILURE(probe, "see the broker's log", "nothing arrives for %u of %d subscriptions", missing,
			    tried);
	else
		SAY_OK(probe, "an event arrives once with %d subscription%s like the daemon's", tried,
		       tried == 1 ? "" : "s");
	return true;
}

static bool check_session(struct probe *probe)
{
	probe_disconnect(&probe->subscriber);
	if (!probe_queue(probe, probe->topic, "a", 0) || !publish_mark(probe) || connect_subscriber(probe) < 0)
		return false;
	if (!probe->subscriber.session_present) {
		SAY_FAILURE(
			probe,
			"let the broker keep persistent sessions (mosquitto: persistent_client_expiration not too "
			"short)",
			"forgets the session of a client that goes away: events are lost while the daemon restarts");
		return false;
	}
	bool marked = wait_mark(probe);
	if (!marked)
		SAY_FAILURE(probe, DROP_IN "max_queued_messages",
			    "keeps the session of a client that goes away, but not what is published meanwhile");
	else if (probe->subscriber.arrived[KIND_AWAY] == 0)
		SAY_FAILURE(probe, DROP_IN "queue_qos0_messages true",
			    "an event published at QoS 0 (as Indigo does) while the daemon is away is lost");
	else
		SAY_OK(probe, "an event published at QoS 0 while the daemon is away is kept for it");
	return marked;
}

/* --------------------------------------------------------------------------------------- limits */

static void say_inflight(struct probe *probe, unsigned came, unsigned published)
{
	/* far more than FLOOD_MAX */
	unsigned known = intake_window_entries(probe->config->receive_max);
	const char *least = came == published ? "at least " : "";

	if (came < INFLIGHT_SMALL && came < probe->config->receive_max)
		SAY_WARNING(probe, DROP_IN "max_inflight_messages 1000",
			    "sends only %u events without acknowledgement: each commit of the journal takes no more, "
			    "which limits the rate",
			    came);
	else
		SAY_OK(probe, "sends %s%u events without acknowledgement (%u can be recognised when sent again)", least,
		       came, known);
}

static void say_queue(struct probe *probe, unsigned kept, unsigned published)
{
	if (kept < published)
		SAY_WARNING(probe, DROP_IN "max_queued_messages",
			    "keeps only %u events while the daemon is away or its journal full; %u were published, the "
			    "others are lost",
			    kept, published);
	else
		SAY_OK(probe, "keeps %u events while the daemon is away; where its limit is was not tried", kept);
}

static void check_limits(struct probe *probe)
{
	unsigned wanted = probe->config->receive_max + FLOOD_MIN / 2, taken = probe->published,
		 *came = &probe->subscriber.arrived[KIND_FLOOD];

	wanted = wanted < FLOOD_MIN ? FLOOD_MIN : wanted > FLOOD_MAX ? FLOOD_MAX : wanted;
	probe_disconnect(&probe->subscriber);
	for (unsigned i = 0; i < wanted; i++)
		if (!probe_queue(probe, probe->topic, "f", 1))
			return;
	if (!probe_run(&probe->publisher, &probe->publisher.confirmed, probe->published, ANSWER_USEC, true)) {
		SAY_WARNING(probe, "is the broker overloaded? Try again when it is idle",
			    "limits not tried: it took %u of %u publications only", probe->publisher.confirmed - taken,
			    wanted);
		return;
	}
	if (connect_subscriber(probe) < 0)
		return;
	(void)probe_run(&probe->subscriber, came, wanted, STALL_USEC, false);
	unsigned unacknowledged = *came;
	(void)probe_run(&probe->subscriber, came, wanted, STALL_USEC, true);
	if (doctor_child_stopping() || probe->subscriber.lost)
		return;
	say_inflight(probe, unacknowledged, wanted);
	say_queue(probe, *came, wanted);
}

/* ------------------------------------------------------------------------------------ all of it */

static bool connect_publisher(struct probe *probe)
{
	struct lsn_error err = { 0 };
	char id[300];

	(void)snprintf(id, sizeof id, "%s-p", probe->id);
	if (probe_connect(&probe->publisher, probe->config, id, false, &err) >= 0)
		return true;
	SAY_FAILURE(probe, "a broker that speaks MQTT 5 is needed (mosquitto: 2.0 or later)",
		    "cannot be tried: no MQTT 5 connection: %s", err.message);
	return false;
}

static void try_all(struct probe *probe)
{
	uint64_t since = now_realtime_usec();
	int count = probes_subscribe(probe);

	if (count > 0 && check_granted(probe, count) && connect_publisher(probe) && check_qos(probe) &&
	    check_copies(probe, count) && check_session(probe))
		check_limits(probe);
	doctor_persistence(probe->sink, probe->config, since);
}

/* probe_tidy - the broker forgets the subscriber's session, and what is queued for it, whatever
 * happened before. */
static void probe_tidy(struct probe *probe)
{
	struct probe_client last = { .tidying = true, .until_usec = now_monotonic_usec() + TIDY_USEC };
	struct lsn_error err = { 0 };

	probe->subscriber.tidying = probe->publisher.tidying = true;
	probe_disconnect(&probe->publisher);
	probe_disconnect(&probe->subscriber);
	if (probe_connect(&last, probe->config, probe->id, false, &err) < 0)
		SAY_WARNING(
			probe,
			"let sessions of clients that never come back expire (mosquitto: persistent_client_expiration)",
			"a session %s is left at the broker: %s", probe->id, err.message);
	probe_disconnect(&last);
}

void doctor_broker(const struct doctor_sink *sink, const struct broker_config *config, uint64_t limit_usec)
{
	uint64_t until = now_monotonic_usec() + limit_usec;
	struct probe probe = {
		.sink = sink, .config = config, .subscriber.until_usec = until, .publisher.until_usec = until
	};

	if (doctor_child_stopping() || !choose_names(&probe) || connect_subscriber(&probe) < 0)
		return;
	/* A session under a name made up just now: the broker gives its own names, and this may
	 * be the daemon's session. Hands off. */
	if (probe.subscriber.session_present) {
		SAY_FAILURE(&probe,
			    "let each connection have its own client id (mosquitto: use_username_as_clientid false)",
			    "cannot be tried: the broker replaces client ids, so the daemon and other clients of its "
			    "user throw each other out");
		probe_disconnect(&probe.subscriber);
		return;
	}
	try_all(&probe);
	probe_tidy(&probe);
	if (now_monotonic_usec() >= until)
		SAY_WARNING(&probe, "is the broker overloaded? Try again when it is idle",
			    "not everything could be tried: it takes too long");
}
