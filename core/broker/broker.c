/* broker.c - see broker.h. The states of the connection; broker_client.c knows how a client is
 * made.
 *
 *   DISCONNECTED --timer--> CONNECTING --CONNACK--> CONNECTED
 *   any --lost--> DISCONNECTED, timer with back-off
 *   any --broker_pause()--> PAUSED --broker_resume()--> DISCONNECTED, timer at once
 *
 * Rules:
 * - write_out() is the only place that lets libmosquitto write, and it does so only while
 *   nothing is held: PINGREQ, SUBSCRIBE and DISCONNECT stand in the same queue as the
 *   acknowledgements and would take them along.
 * - Nothing is read while something waits to be written: what is read then would queue
 *   acknowledgements behind what may go.
 * - A client is never destroyed inside one of its callbacks: they only take notes, and
 *   end_connection() runs after the library has returned.
 *
 * libmosquitto's `errno == EAGAIN` after mosquitto_loop_read() says "dry" only if no publication
 * came: queueing an acknowledgement also writes to an internal socket pair nobody drains, which
 * leaves the same errno. */
#include "broker.h"
#include "broker_grants.h"
#include "broker_private.h"
#include "subscriptions.h"
#include "log.h"
#include "stall.h"
#include "util.h"
#include <assert.h>
#include <errno.h>
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#define BATCH_BYTES_MAX ((size_t)4 << 20) /* of payloads: a commit takes no longer for large ones */
#define CONNECT_TIMEOUT_USEC (15 * USEC_PER_SEC) /* TCP, TLS and CONNACK together */
#define GOODBYE_TIMEOUT_USEC (2 * USEC_PER_SEC) /* for a DISCONNECT that cannot be written */
/* a connection that held so long starts the back-off anew */
#define STABLE_USEC (10 * USEC_PER_SEC)
/* so many short connections in a row look like two clients that throw each other out */
#define RIVAL_FAILURES 3
/* Edge-triggered where libmosquitto cannot say whether it still waits for the socket to be
 * writable (its want_write flag survives a TLS handshake). */
#define WATCH_CONNECTING (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define WATCH_WRITE (EPOLLOUT | EPOLLET)
#define WATCH_READ (EPOLLIN | EPOLLRDHUP)
#define WATCH_HELD EPOLLRDHUP

enum wish { WISH_CONNECTED, WISH_PAUSED, WISH_GONE };

/* What the client may do now. A new client starts with FLOW_OPEN. */
enum flow {
	FLOW_OPEN, /* reads and writes */
	FLOW_UNACKED, /* publications were delivered and not acknowledged: nothing more is read */
	FLOW_OVERDUE, /* the keepalive time has passed since then */
	FLOW_GOODBYE, /* DISCONNECT is queued */
	FLOW_MAX
};

struct broker {
	sd_event *loop;
	const struct broker_config *config; /* borrowed */
	char **unsubscribe;
	struct broker_hooks hooks;
	struct broker_figures figures;
	sd_event_source *io; /* the client's socket */
	sd_event_source *timer; /* by state: reconnect, connect timeout, keepalive */
	/* read on although the socket may be silent: TLS keeps decrypted data */
	sd_event_source *resume;
	struct mosquitto *mosq; /* one per connection */
	uint32_t watched;
	enum wish wish;
	char wish_reason[160];
	char detail[160]; /* what libmosquitto logged while connecting: why TLS failed */
	char reported[160]; /* the last reason given to hooks.disconnected() */
	bool in_library;
	enum flow flow;
	bool dry; /* the last reading went on until there was no more */
	bool dup; /* the publication that is being read has DUP 1 */
	int lost_rc, lost_errno; /* from the disconnect callback */
	char refused[160]; /* why CONNACK refused us */
	unsigned batch; /* publications delivered by this reading */
	size_t batch_bytes; /* of their payloads */
	/* reconnecting */
	unsigned failures;
	struct resolve *lookup; /* the host's name is being looked up */
	struct broker_addresses addresses; /* to be tried in this round */
	struct broker_tls tls;
	bool reached; /* something listens at the address */
	/* while connected, monotonic */
	uint64_t connected_usec, in_usec, out_usec, keepalive_usec;
	struct broker_grants grants;
	char **asked; /* room for as many filters as are configured */
	int subscribe_id;
};

const char *const broker_state_names[BROKER_STATE_MAX] = {
	[BROKER_DISCONNECTED] = "disconnected",
	[BROKER_CONNECTING] = "connecting",
	[BROKER_CONNECTED] = "connected",
	[BROKER_PAUSED] = "paused",
};

static const unsigned state_moves[BROKER_STATE_MAX] = {
	[BROKER_DISCONNECTED] = 1u << BROKER_CONNECTING | 1u << BROKER_PAUSED,
	[BROKER_CONNECTING] = 1u << BROKER_CONNECTED | 1u << BROKER_DISCONNECTED | 1u << BROKER_PAUSED,
	[BROKER_CONNECTED] = 1u << BROKER_DISCONNECTED | 1u << BROKER_PAUSED,
	[BROKER_PAUSED] = 1u << BROKER_DISCONNECTED,
};

static const char *const flow_names[FLOW_MAX] = {
	[FLOW_OPEN] = "open",
	[FLOW_UNACKED] = "unacknowledged",
	[FLOW_OVERDUE] = "overdue",
	[FLOW_GOODBYE] = "goodbye",
};

static const unsigned flow_moves[FLOW_MAX] = {
	[FLOW_OPEN] = 1u << FLOW_UNACKED | 1u << FLOW_GOODBYE,
	[FLOW_UNACKED] = 1u << FLOW_OPEN | 1u << FLOW_OVERDUE,
	[FLOW_OVERDUE] = 1u << FLOW_OPEN,
	[FLOW_GOODBYE] = 1u << FLOW_OPEN,
};

static void set_text(char *to, size_t size, const char *text) { (void)snprintf(to, size, "%s", text); }
#define SET_TEXT(array, text) set_text(array, sizeof(array), text)

static void note_since(struct broker *broker)
{
	broker->figures.since_realtime_usec = now_realtime_usec();
	broker->figures.since_monotonic_usec = now_monotonic_usec();
}

static bool is_away(enum broker_state state) { return state == BROKER_DISCONNECTED || state == BROKER_CONNECTING; }

static void set_state(struct broker *broker, enum broker_state state)
{
	enum broker_state from = broker->figures.state;

	if (from == state)
		return;
	assert(state_moves[from] & 1u << state);
	log_debug("broker %s -> %s", broker_state_names[from], broker_state_names[state]);
	broker->figures.state = state;
	if (!is_away(from) || !is_away(state))
		note_since(broker);
}

/* Twice for each batch: what is usual is not logged. */
static void set_flow(struct broker *broker, enum flow flow)
{
	if (broker->flow == flow)
		return;
	assert(flow_moves[broker->flow] & 1u << flow);
	if (broker->flow >= FLOW_OVERDUE || flow >= FLOW_OVERDUE)
		log_debug("broker flow %s -> %s", flow_names[broker->flow], flow_names[flow]);
	broker->flow = flow;
}

static bool is_unacked(const struct broker *broker)
{
	return broker->flow == FLOW_UNACKED || broker->flow == FLOW_OVERDUE;
}

static void timer_arm(struct broker *broker, uint64_t delay_usec)
{
	(void)sd_event_source_set_time_relative(broker->timer, delay_usec);
	(void)sd_event_source_set_enabled(broker->timer, SD_EVENT_ONESHOT);
}

static void timer_disarm(struct broker *broker) { (void)sd_event_source_set_enabled(broker->timer, SD_EVENT_OFF); }

static void socket_watch(struct broker *broker, uint32_t events)
{
	if (broker->watched == events)
		return;
	broker->watched = events;
	(void)sd_event_source_set_io_events(broker->io, events);
}

static uint64_t keepalive_due(const struct broker *broker)
{
	uint64_t last = broker->in_usec < broker->out_usec ? broker->in_usec : broker->out_usec;
	return broker->keepalive_usec ? last + broker->keepalive_usec : UINT64_MAX;
}

static void arm_next(struct broker *broker)
{
	uint64_t now = now_monotonic_usec(), due = keepalive_due(broker), again = grants_due(&broker->grants);

	if (again && again < due)
		due = again;
	if (due == UINT64_MAX)
		timer_disarm(broker);
	else
		/* libmosquitto counts whole seconds: at the very moment it may find that there
		 * is time. */
		timer_arm(broker, due > now ? due - now : USEC_PER_SEC);
}

/* ---------------------------------------------------------------------- the end of a connection */

static uint64_t next_delay(struct broker *broker)
{
	uint64_t delay = broker->config->reconnect_min_usec, random = 0;

	for (unsigned i = 0; i < broker->failures && delay < broker->config->reconnect_max_usec; i++)
		delay *= 2;
	if (delay > broker->config->reconnect_max_usec)
		delay = broker->config->reconnect_max_usec;
	broker->failures++;
	if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
		random = now_monotonic_usec();
	return delay / 2 + random % (delay / 2 + 1);
}

static void drop_client(struct broker *broker)
{
	broker->io = sd_event_source_disable_unref(broker->io);
	broker->watched = 0;
	resolve_cancel(broker->lookup);
	broker->lookup = NULL;
	if (broker->mosq)
		mosquitto_destroy(broker->mosq);
	broker->mosq = NULL;
	set_flow(broker, FLOW_OPEN);
	broker->figures.session_expiry_sec = 0;
	(void)sd_event_source_set_enabled(broker->resume, SD_EVENT_OFF);
}

/* try_next_address - true if there is one: it is tried before the failure of this one counts.
 * REASON becomes what is to be told. */
static bool try_next_address(struct broker *broker, char *reason, size_t size, bool at_once)
{
	enum broker_reach reach = broker->reached ? BROKER_REACH_LISTENER
				  : at_once       ? BROKER_REACH_NOTHING
						  : BROKER_REACH_ADDRESS;

	return broker->wish == WISH_CONNECTED && broker_addresses_failed(&broker->addresses, reach, reason, size);
}

/* broker_rest - where a broker without a client goes from here. */
static void broker_rest(struct broker *broker, bool at_once)
{
	if (broker->wish == WISH_CONNECTED) {
		set_state(broker, BROKER_DISCONNECTED);
		timer_arm(broker, at_once ? 0 : next_delay(broker));
	} else {
		set_state(broker, broker->wish == WISH_PAUSED ? BROKER_PAUSED : BROKER_DISCONNECTED);
		timer_disarm(broker);
	}
}

static void end_connection(struct broker *broker, const char *why)
{
	bool was_connected = broker->figures.state == BROKER_CONNECTED, was_goodbye = broker->flow == FLOW_GOODBYE,
	     at_once = !broker->io;
	char reason[160];

	SET_TEXT(reason, why);
	if (was_connected && now_monotonic_usec() - broker->connected_usec >= STABLE_USEC)
		broker->failures = 0;
	drop_client(broker);
	if (!was_connected && try_next_address(broker, reason, sizeof reason, at_once)) {
		broker_rest(broker, true);
		return;
	}
	broker->addresses = (struct broker_addresses){ 0 };
	SET_TEXT(broker->figures.error, reason);
	broker_rest(broker, was_goodbye);
	/* Each failed attempt would say the same again. */
	if (!was_connected && strcmp(broker->reported, reason) == 0)
		return;
	SET_TEXT(broker->reported, reason);
	if (broker->hooks.disconnected)
		broker->hooks.disconnected(broker->hooks.data, reason);
}

/* is_broker_end - the other side, or the network, has ended a connection that stood. */
static bool is_broker_end(const struct broker *broker, int rc, int errno_now)
{
	if (broker->figures.state != BROKER_CONNECTED)
		return false;
	return rc == 0 || rc == MOSQ_ERR_CONN_LOST || rc == MQTT_RC_SESSION_TAKEN_OVER ||
	       (rc == MOSQ_ERR_ERRNO && (errno_now == ECONNRESET || errno_now == EPIPE));
}

/* rival_remark - MQTT 5 can tell that another client took the session over. mosquitto 2.0.21
 * does so, 2.0.11 does not, and 3.1.1 has no way to: there it is a guess, made only after
 * several times. */
static const char *rival_remark(const struct broker *broker, int rc, bool ended)
{
	if (rc == MQTT_RC_SESSION_TAKEN_OVER)
		return "; does another client use the same client id?";
	return ended && broker->failures >= RIVAL_FAILURES ? " again; does another client use the same client id?" : "";
}

/* explain_end - RC and ERRNO_NOW in words. */
static void explain_end(struct broker *broker, int rc, int errno_now, char *reason, size_t size)
{
	bool ended = is_broker_end(broker, rc, errno_now);

	if (ended && rc != MQTT_RC_SESSION_TAKEN_OVER &&
	    grants_lost(&broker->grants, now_monotonic_usec(), reason, size))
		return;
	(void)snprintf(reason, size, "%s%s%s%s", broker_client_strerror(rc, errno_now), rival_remark(broker, rc, ended),
		       broker->detail[0] ? ": " : "", broker->detail);
}

static void end_by_library(struct broker *broker, int rc, int errno_now)
{
	char reason[400];

	if (broker->lost_rc) {
		rc = broker->lost_rc;
		errno_now = broker->lost_errno;
	}
	if (broker->flow == FLOW_GOODBYE)
		SET_TEXT(reason, broker->wish_reason);
	else if (broker->refused[0])
		SET_TEXT(reason, broker->refused);
	else if (broker->tls.refused[0])
		SET_TEXT(reason, broker->tls.refused);
	else
		explain_end(broker, rc, errno_now, reason, sizeof reason);
	end_connection(broker, reason);
}

/* -------------------------------------------------------------------------------------- writing */

/* write_out - let out all that is queued. False: the connection is over. */
static bool write_out(struct broker *broker)
{
	if (is_unacked(broker) || !mosquitto_want_write(broker->mosq)) {
		socket_watch(broker, is_unacked(broker) ? broker->watched : WATCH_READ);
		return true;
	}
	int rc = broker_client_write(broker->mosq);
	int errno_now = errno;
	if (rc || mosquitto_socket(broker->mosq) < 0) {
		end_by_library(broker, rc, errno_now);
		return false;
	}
	broker->out_usec = now_monotonic_usec();
	socket_watch(broker, mosquitto_want_write(broker->mosq) ? WATCH_WRITE : WATCH_READ);
	return true;
}

static void say_goodbye(struct broker *broker)
{
	set_flow(broker, FLOW_GOODBYE);
	(void)mosquitto_disconnect(broker->mosq);
	if (write_out(broker)) {
		socket_watch(broker, WATCH_WRITE);
		timer_arm(broker, GOODBYE_TIMEOUT_USEC);
	}
}

/* end_lookup - without a client there is at most a name that is being looked up. */
static void end_lookup(struct broker *broker)
{
	drop_client(broker);
	broker_rest(broker, false);
}

/* follow_wish - to be paused or gone, as far as it can be done now. */
static void follow_wish(struct broker *broker)
{
	if (broker->wish == WISH_CONNECTED || broker->in_library || broker->flow == FLOW_GOODBYE)
		return;
	if (!broker->mosq)
		end_lookup(broker);
	else if (broker->figures.state != BROKER_CONNECTED || (is_unacked(broker) && broker->wish == WISH_PAUSED))
		end_connection(broker, broker->wish_reason);
	else if (!is_unacked(broker))
		say_goodbye(broker);
}

/* -------------------------------------------------------------------------------- subscriptions */

static int strv_length(char **list)
{
	int n = 0;
	while (list && list[n])
		n++;
	return n;
}

/* grants_ask - for what is not granted and due. Retained messages are not asked for again with a
 * session that resumes (3.1.1 has no such option and sends them; they are not events). */
static void grants_ask(struct broker *broker)
{
	int n = (int)grants_next(&broker->grants, now_monotonic_usec(), broker->asked);
	int rc = n > 0 ? mosquitto_subscribe_multiple(broker->mosq, &broker->subscribe_id, n, broker->asked, 1,
						      MQTT_SUB_OPT_SEND_RETAIN_NEW, NULL)
		       : 0;
	if (rc)
		(void)snprintf(broker->figures.error, sizeof broker->figures.error, "cannot subscribe: %s",
			       mosquitto_strerror(rc));
}

/* filters_subscribe - after each CONNACK, also with a session: it costs little, and the
 * configuration may have changed since. */
static void filters_subscribe(struct broker *broker)
{
	char **old = broker->unsubscribe;

	grants_begin(&broker->grants);
	if (strv_length(old) > 0)
		(void)mosquitto_unsubscribe_multiple(broker->mosq, NULL, strv_length(old), old, NULL);
	grants_ask(broker);
}

static void on_subscribe(struct mosquitto *mosq, void *data, int id, int count, const int *granted,
			 const mosquitto_property *properties)
{
	struct broker *broker = data;

	(void)mosq;
	(void)properties;
	if (id == broker->subscribe_id) {
		grants_answered(&broker->grants, count, granted, now_monotonic_usec());
		grants_describe(&broker->grants, broker->figures.error, sizeof broker->figures.error);
		grants_ask(broker);
		arm_next(broker);
	}
	errno = 0; /* not "dry" */
}

/* --------------------------------------------------------------------- libmosquitto's callbacks */

static void on_log(struct mosquitto *mosq, void *data, int level, const char *text)
{
	struct broker *broker = data;

	(void)mosq;
	if (!(level & (MOSQ_LOG_ERR | MOSQ_LOG_WARNING)) || broker->detail[0])
		return;
	SET_TEXT(broker->detail, str_startswith(text, "Error: ") ? text + strlen("Error: ") : text);
	broker->detail[strcspn(broker->detail, "\n")] = 0;
}

/* on_publish_log - libmosquitto keeps the DUP flag to itself, but for the line it logs before
 * each publication: "Client ID received PUBLISH (d1, q1, ...". If it should ever look different,
 * nothing is known of the flag. */
static void on_publish_log(struct mosquitto *mosq, void *data, int level, const char *text)
{
	static const char mark[] = " received PUBLISH (d1,";
	struct broker *broker = data;
	size_t id_size = strlen(broker->config->client_id);

	(void)mosq;
	if (!(level & MOSQ_LOG_DEBUG) || !str_startswith(text, "Client ") ||
	    strncmp(text + strlen("Client "), broker->config->client_id, id_size) != 0)
		return;
	/* other lines may follow before the callback */
	if (str_startswith(text + strlen("Client ") + id_size, mark))
		broker->dup = true;
}

static void on_connect(struct mosquitto *mosq, void *data, int rc, int flags, const mosquitto_property *properties)
{
	struct broker *broker = data;
	uint16_t keepalive_sec = (uint16_t)broker->config->keepalive_sec;

	if (rc) {
		(void)snprintf(broker->refused, sizeof broker->refused, "the broker refuses the connection: %s",
			       broker->config->version == MQTT_V5 ? mosquitto_reason_string(rc)
								  : mosquitto_connack_string(rc));
		return;
	}
	/* libmosquitto formats a line for each packet while somebody listens: half a microsecond
	 * each. Some brokers repeat at any time, so the lines are always wanted. */
	broker->dup = false;
	mosquitto_log_callback_set(mosq, on_publish_log);
	(void)mosquitto_property_read_int16(properties, MQTT_PROP_SERVER_KEEP_ALIVE, &keepalive_sec, false);
	broker->keepalive_usec = keepalive_sec * USEC_PER_SEC;
	if (broker->config->version == MQTT_V5) {
		broker->figures.session_expiry_sec = SESSION_NEVER_EXPIRES; /* as asked for */
		(void)mosquitto_property_read_int32(properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
						    &broker->figures.session_expiry_sec, false);
	}
	broker->connected_usec = broker->in_usec = broker->out_usec = now_monotonic_usec();
	broker->addresses = (struct broker_addresses){ 0 };
	broker->detail[0] = broker->reported[0] = broker->figures.error[0] = 0;
	broker->figures.connects++;
	set_state(broker, BROKER_CONNECTED);
	filters_subscribe(broker);
	arm_next(broker);
	if (broker->hooks.connected)
		broker->hooks.connected(broker->hooks.data, flags & 1);
	errno = 0;
}

static void on_disconnect(struct mosquitto *mosq, void *data, int rc, const mosquitto_property *properties)
{
	struct broker *broker = data;

	(void)mosq;
	(void)properties;
	broker->lost_rc = rc;
	broker->lost_errno = errno;
}

static void on_message(struct mosquitto *mosq, void *data, const struct mosquitto_message *in,
		       const mosquitto_property *properties)
{
	struct broker *broker = data;
	const struct broker_message message = {
		.topic = in->topic,
		.payload = in->payload,
		.payload_size = (size_t)in->payloadlen,
		.packet_id = (uint16_t)(in->qos > 0 ? in->mid : 0),
		.qos = in->qos,
		.retain = in->retain,
		.dup = broker->dup,
	};

	(void)mosq;
	(void)properties;
	set_flow(broker, FLOW_UNACKED);
	broker->batch++;
	broker->batch_bytes += message.payload_size;
	broker->figures.messages++;
	broker->figures.bytes += message.payload_size;
	broker->dup = false;
	broker->hooks.message(broker->hooks.data, &message);
}

/* -------------------------------------------------------------------------------------- reading */

/* read_some - up to batch_max publications, or BATCH_BYTES_MAX of them. While connecting: one step
 * of the handshake. Returns false if the connection is over. */
static bool read_some(struct broker *broker)
{
	broker->batch = 0;
	broker->batch_bytes = 0;
	broker->dry = false;
	do {
		unsigned before = broker->batch;
		errno = 0;
		broker->in_library = true;
		int rc = mosquitto_loop_read(broker->mosq, 1);
		int errno_now = errno;
		broker->in_library = false;
		if (rc || mosquitto_socket(broker->mosq) < 0) {
			end_by_library(broker, rc, errno_now);
			return false;
		}
		broker->dry = broker->batch == before && errno_now == EAGAIN;
	} while (!broker->dry && broker->batch < broker->config->batch_max && broker->batch_bytes < BATCH_BYTES_MAX &&
		 broker->figures.state == BROKER_CONNECTED && broker->wish == WISH_CONNECTED);
	broker->in_usec = now_monotonic_usec();
	return true;
}

/* read_batch - read, let out what must not wait (SUBSCRIBE after CONNACK), and give the batch to
 * the caller. */
static void read_batch(struct broker *broker)
{
	if (read_some(broker)) {
		if (broker->figures.state == BROKER_CONNECTED && broker->watched == WATCH_CONNECTING)
			socket_watch(broker, WATCH_READ);
		if (broker->wish != WISH_CONNECTED)
			follow_wish(broker);
		else if (broker->figures.state == BROKER_CONNECTED)
			(void)write_out(broker);
	}
	/* Also if the connection is over: what was delivered can be stored all the same, and
	 * repeats of it will be recognised. Last, because the caller may do anything now. */
	if (broker->batch > 0)
		broker->hooks.batch(broker->hooks.data);
}

/* connect_error - why there is no TCP connection: an errno, or 0 if there is one or may still
 * be. */
static int connect_error(struct broker *broker, uint32_t revents)
{
	struct sockaddr_storage peer;
	socklen_t peer_size = sizeof peer, error_size = sizeof(int);
	int fd = mosquitto_socket(broker->mosq), error = 0;

	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
	if (error)
		return error;
	if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0)
		broker->reached = true;
	else if (revents & EPOLLHUP && !broker->reached)
		return ECONNREFUSED; /* starting TLS has already taken the error from the socket */
	return 0;
}

/* connect_step - TCP, TLS, CONNECT and CONNACK: whatever comes next. libmosquitto reports
 * neither a refused TCP connection nor a reset during the TLS handshake. */
static void connect_step(struct broker *broker, uint32_t revents)
{
	int error = connect_error(broker, revents);

	if (error) {
		end_connection(broker, strerror(error));
		return;
	}
	read_batch(broker);
	if (broker->figures.state != BROKER_CONNECTING)
		return;
	int rc = broker_client_write(broker->mosq);
	int errno_now = errno;
	if (rc || mosquitto_socket(broker->mosq) < 0)
		end_by_library(broker, rc, errno_now);
	else if (revents & EPOLLHUP)
		end_by_library(broker, MOSQ_ERR_CONN_LOST, 0);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct broker *broker = data;

	stall_source("broker", "events");
	(void)source;
	(void)fd;
	if (broker->figures.state == BROKER_CONNECTING)
		connect_step(broker, revents);
	else if (is_unacked(broker) && (revents & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		/* acknowledgements have nowhere to go */
		end_by_library(broker, MOSQ_ERR_CONN_LOST, 0);
	else if (is_unacked(broker))
		socket_watch(broker, WATCH_HELD);
	else if (broker->flow == FLOW_GOODBYE || mosquitto_want_write(broker->mosq))
		(void)write_out(broker);
	else
		read_batch(broker);
	return 0;
}

static int on_resume(sd_event_source *source, void *data)
{
	struct broker *broker = data;

	stall_source("broker", "events");
	(void)source;
	if (broker->figures.state == BROKER_CONNECTED && broker->flow == FLOW_OPEN &&
	    !mosquitto_want_write(broker->mosq))
		read_batch(broker);
	return 0;
}

/* ------------------------------------------------------------------------------------ the timer */

static int watch_socket(struct broker *broker)
{
	broker->watched = WATCH_CONNECTING;
	return sd_event_add_io(broker->loop, &broker->io, mosquitto_socket(broker->mosq), WATCH_CONNECTING, on_io,
			       broker);
}

static int make_client(struct broker *broker, struct lsn_error *err)
{
	int r = broker_client_new(broker->config, true, &broker->tls, broker, &broker->mosq, err);
	if (r < 0)
		return r;
	mosquitto_log_callback_set(broker->mosq, on_log);
	mosquitto_connect_v5_callback_set(broker->mosq, on_connect);
	mosquitto_disconnect_v5_callback_set(broker->mosq, on_disconnect);
	mosquitto_subscribe_v5_callback_set(broker->mosq, on_subscribe);
	mosquitto_message_v5_callback_set(broker->mosq, on_message);
	return 0;
}

static int connect_client(struct broker *broker, struct lsn_error *err)
{
	int r = broker_client_connect(broker->mosq, broker->config, broker_addresses_current(&broker->addresses), err);
	broker->reached = r < 0 && broker->detail[0]; /* the handshake of TLS failed */
	if (r < 0 && broker->tls.refused[0])
		return lsn_error_set(err, r, "%s", broker->tls.refused);
	if (r < 0)
		return broker->detail[0] ? lsn_error_prefix(err, r, "%s", broker->detail) : r;
	r = watch_socket(broker);
	return r < 0 ? lsn_error_set(err, r, "cannot watch the broker's socket: %s", strerror(-r)) : 0;
}

/* connect_address - to the current address of this round. */
static void connect_address(struct broker *broker)
{
	struct lsn_error err = { 0 };

	broker->detail[0] = broker->refused[0] = 0;
	broker->lost_rc = 0;
	broker->reached = false;
	int r = make_client(broker, &err);
	if (r < 0)
		broker->addresses =
			/* the settings: the other addresses would fail alike */
			(struct broker_addresses){ 0 };
	else
		r = connect_client(broker, &err);
	if (r < 0)
		end_connection(broker, err.message);
	else
		timer_arm(broker, CONNECT_TIMEOUT_USEC);
}

static void on_resolved(void *data, const struct resolved *found, const struct lsn_error *err)
{
	struct broker *broker = data;

	broker->lookup = NULL;
	if (!found) {
		end_connection(broker, err->message);
		return;
	}
	broker_addresses_set(&broker->addresses, broker->config, found);
	connect_address(broker);
}

/* start_connecting - the next address of this round, or a new round, for which a name is looked
 * up first. */
static void start_connecting(struct broker *broker)
{
	struct lsn_error err = { 0 };

	set_state(broker, BROKER_CONNECTING);
	if (broker->addresses.list.count == 0 && broker_addresses_needed(broker->config)) {
		if (resolve_start(broker->loop, broker->config->host, on_resolved, broker, &broker->lookup, &err) < 0)
			end_connection(broker, err.message);
		return;
	}
	if (broker->addresses.list.count == 0)
		broker_addresses_set(&broker->addresses, broker->config, NULL);
	connect_address(broker);
}

/* keep_alive - once per keepalive time when nothing happens: the timer is not moved with each
 * packet, it looks when it goes off. */
static void keep_alive(struct broker *broker)
{
	uint64_t now = now_monotonic_usec();

	if (broker->flow == FLOW_OVERDUE) {
		/* The broker has given us up by now. Its goodbye may be stuck behind what we do
		 * not read. */
		end_connection(broker, "no acknowledgement could be sent for twice the keepalive time");
		return;
	}
	if (broker->flow == FLOW_UNACKED) {
		set_flow(broker, FLOW_OVERDUE);
		if (broker->keepalive_usec)
			timer_arm(broker, broker->keepalive_usec);
		return;
	}
	grants_ask(broker);
	if (now >= keepalive_due(broker)) {
		int rc = mosquitto_loop_misc(broker->mosq);
		int errno_now = errno;
		if (rc || mosquitto_socket(broker->mosq) < 0) {
			end_by_library(broker, rc, errno_now);
			return;
		}
		if (mosquitto_want_write(broker->mosq))
			broker->in_usec = now; /* libmosquitto gives the answer as much time */
	}
	if (write_out(broker))
		arm_next(broker);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct broker *broker = data;

	stall_source("broker", "timer");
	(void)source;
	(void)usec;
	switch (broker->figures.state) {
	case BROKER_DISCONNECTED: start_connecting(broker); break;
	case BROKER_CONNECTING:
		end_connection(broker,
			       broker->reached ? "no answer from the broker" : "the broker's address does not answer");
		break;
	case BROKER_CONNECTED:
		if (broker->flow == FLOW_GOODBYE)
			end_connection(broker, broker->wish_reason);
		else
			keep_alive(broker);
		break;
	default: break;
	}
	return 0;
}

/* ------------------------------------------------------------------------------------ interface */

/* init_library - once. There is no way back: mosquitto_lib_cleanup() unloads OpenSSL's
 * configuration, which others in this process use. */
static void init_library(void)
{
	static bool done;

	if (!done)
		(void)mosquitto_lib_init();
	done = true;
}

static int add_sources(struct broker *broker)
{
	int r = sd_event_add_time_relative(broker->loop, &broker->timer, CLOCK_MONOTONIC, 0, 10 * USEC_PER_MSEC,
					   on_timer, broker);
	if (r >= 0)
		r = sd_event_add_defer(broker->loop, &broker->resume, on_resume, broker);
	if (r >= 0)
		r = sd_event_source_set_enabled(broker->resume, SD_EVENT_OFF);
	return r;
}

int broker_new(sd_event *loop, const struct broker_config *config, char **unsubscribe, const struct broker_hooks *hooks,
	       struct broker **ret, struct lsn_error *err)
{
	struct mosquitto *probe = NULL;
	struct broker *broker = calloc(1, sizeof *broker);

	if (!broker) {
		subscriptions_free(unsubscribe);
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	init_library();
	broker->loop = sd_event_ref(loop);
	broker->hooks = *hooks;
	broker->config = config;
	broker->unsubscribe = unsubscribe;
	int r = grants_new(&broker->grants, config->subscriptions);
	if (r >= 0 && !(broker->asked = calloc(broker->grants.count + 1, sizeof *broker->asked)))
		r = -ENOMEM;
	if (r >= 0)
		r = add_sources(broker);
	if (r < 0) {
		broker_free(broker);
		return lsn_error_set(err, r, "cannot make the broker's event sources: %s", strerror(-r));
	}
	/* Settings that can never work are told now, not with each attempt. */
	r = broker_client_new(broker->config, true, &broker->tls, broker, &probe, err);
	if (r < 0) {
		broker_free(broker);
		return r;
	}
	mosquitto_destroy(probe);
	note_since(broker);
	*ret = broker;
	return 0;
}

void broker_free(struct broker *broker)
{
	if (!broker)
		return;
	if (broker->figures.state == BROKER_CONNECTED && !is_unacked(broker)) {
		(void)mosquitto_disconnect(broker->mosq);
		(void)broker_client_write(broker->mosq);
	}
	drop_client(broker);
	sd_event_source_disable_unref(broker->timer);
	sd_event_source_disable_unref(broker->resume);
	sd_event_unref(broker->loop);
	subscriptions_free(broker->unsubscribe);
	grants_done(&broker->grants);
	free(broker->asked);
	free(broker);
}

void broker_set_config(struct broker *broker, const struct broker_config *config)
{
	broker->config = config;
	if (broker->tls.host)
		broker->tls.host = config->host;
}

void broker_ack(struct broker *broker)
{
	bool overdue = broker->flow == FLOW_OVERDUE;

	if (!is_unacked(broker) || broker->in_library)
		return;
	set_flow(broker, FLOW_OPEN);
	if (!write_out(broker))
		return;
	if (overdue)
		timer_arm(broker, 0);
	if (broker->wish != WISH_CONNECTED)
		follow_wish(broker);
	else if (!broker->dry && broker->config->tls)
		(void)sd_event_source_set_enabled(broker->resume, SD_EVENT_ONESHOT);
}

void broker_pause(struct broker *broker, const char *reason)
{
	if (broker->wish == WISH_GONE)
		return;
	(void)snprintf(broker->wish_reason, sizeof broker->wish_reason, "paused: %s", reason);
	broker->wish = WISH_PAUSED;
	follow_wish(broker);
}

void broker_resume(struct broker *broker)
{
	if (broker->wish != WISH_PAUSED)
		return;
	broker->wish = WISH_CONNECTED;
	if (broker->mosq)
		return; /* not gone yet; if it says goodbye it comes back at once */
	broker->failures = 0;
	broker_rest(broker, true);
}

void broker_quiesce(struct broker *broker)
{
	SET_TEXT(broker->wish_reason, "shutting down");
	broker->wish = WISH_GONE;
	follow_wish(broker);
}

enum broker_grant broker_get_grant(const struct broker *broker, size_t index, const char **ret_reason)
{
	*ret_reason = index < broker->grants.count ? broker->grants.list[index].reason : "";
	if (index >= broker->grants.count ||
	    (broker->figures.state != BROKER_CONNECTED && broker->grants.list[index].state != BROKER_GRANT_REFUSED))
		return BROKER_GRANT_UNKNOWN;
	return broker->grants.list[index].state;
}

void broker_get_figures(const struct broker *broker, struct broker_figures *ret) { *ret = broker->figures; }
