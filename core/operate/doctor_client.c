/* doctor_client.c - see doctor_client.h. Made as the daemon's own client is, so it measures what
 * the daemon would get. */
#include "doctor_client.h"
#include "doctor.h"
#include "cleanup.h"
#include "util.h"
#include <errno.h>
#include <fcntl.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECT_USEC (10 * USEC_PER_SEC)
#define TICK_MSEC 20 /* while connecting: TLS wants to read and write as it likes */
#define GOODBYE_USEC (2 * USEC_PER_SEC)

/* on_log - libmosquitto says only here whether a publication has the DUP flag, as in broker.c. */
static void on_log(struct mosquitto *mosq, void *data, int level, const char *text)
{
	struct probe_client *client = data;

	(void)mosq;
	if (level & MOSQ_LOG_DEBUG && strstr(text, " received PUBLISH ("))
		client->dup = strstr(text, " received PUBLISH (d1,");
}

static void on_connect(struct mosquitto *mosq, void *data, int rc, int flags, const mosquitto_property *properties)
{
	struct probe_client *client = data;

	(void)mosq;
	(void)properties;
	client->events++;
	client->connected = rc == 0;
	client->session_present = flags & 1;
	if (rc)
		(void)snprintf(client->error, sizeof client->error, "the broker refuses the connection: %s",
			       rc >= 128 ? mosquitto_reason_string(rc) : mosquitto_connack_string(rc));
}

static void on_disconnect(struct mosquitto *mosq, void *data, int rc, const mosquitto_property *properties)
{
	struct probe_client *client = data;

	(void)mosq;
	(void)properties;
	client->lost = true;
	if (!client->error[0])
		(void)snprintf(client->error, sizeof client->error, "%s", broker_client_strerror(rc, errno));
}

static void on_subscribe(struct mosquitto *mosq, void *data, int id, int count, const int *granted,
			 const mosquitto_property *properties)
{
	struct probe_client *client = data;

	(void)mosq;
	(void)id;
	(void)properties;
	client->events++;
	client->answered = true;
	for (int i = 0; i < count && i < PROBE_FILTERS_MAX; i++)
		client->granted[i] = granted[i];
}

static void on_unsubscribe(struct mosquitto *mosq, void *data, int id, const mosquitto_property *properties)
{
	struct probe_client *client = data;

	(void)mosq;
	(void)id;
	(void)properties;
	client->events++;
	client->answered = true;
}

static void on_publish(struct mosquitto *mosq, void *data, int id, int reason, const mosquitto_property *properties)
{
	struct probe_client *client = data;

	(void)mosq;
	(void)id;
	(void)properties;
	client->events++;
	client->confirmed++;
	client->denied += reason >= 128;
}

static void on_message(struct mosquitto *mosq, void *data, const struct mosquitto_message *message,
		       const mosquitto_property *properties)
{
	struct probe_client *client = data;

	(void)mosq;
	(void)properties;
	client->events++;
	if (message->payloadlen < 1)
		return;
	unsigned char kind = *(const unsigned char *)message->payload;
	client->arrived[kind]++;
	client->qos[kind] = message->qos;
	(void)snprintf(client->text, sizeof client->text, "%.*s", message->payloadlen, (const char *)message->payload);
	if (kind == PROBE_NUMBERED && client->copies_count < PROBE_COPIES_MAX)
		client->copies[client->copies_count++] =
			(struct probe_copy){ .number = (unsigned)strtoul(client->text + 1, NULL, 10),
					     .packet_id = (uint16_t)message->mid,
					     .dup = client->dup };
}

/* ------------------------------------------------------------------------------- moving packets */

/* read_all - until the socket is dry; libmosquitto reads one packet a call. A callback's own
 * writing leaves EAGAIN behind, so it counts only if nothing came. */
static void read_all(struct probe_client *client)
{
	unsigned before;
	int rc, errno_now;

	do {
		before = client->events;
		errno = 0;
		rc = mosquitto_loop_read(client->mosq, 1);
		errno_now = errno;
	} while (!rc && !client->lost && (client->events != before || errno_now != EAGAIN));
	if (rc && !client->lost) {
		client->lost = true;
		(void)snprintf(client->error, sizeof client->error, "%s", broker_client_strerror(rc, errno_now));
	}
}

static void write_all(struct probe_client *client)
{
	errno = 0;
	int rc = mosquitto_loop_write(client->mosq, 1);
	if (rc && !client->lost) {
		client->lost = true;
		(void)snprintf(client->error, sizeof client->error, "%s", broker_client_strerror(rc, errno));
	}
}

static bool client_over(const struct probe_client *client)
{
	bool stop = doctor_child_stopping() && !client->tidying;
	return client->lost || mosquitto_socket(client->mosq) < 0 || stop || now_monotonic_usec() >= client->until_usec;
}

bool probe_run(struct probe_client *client, const unsigned *counter, unsigned goal, uint64_t quiet_usec, bool write)
{
	uint64_t heard = now_monotonic_usec();

	while (*counter < goal && !client_over(client) && now_monotonic_usec() - heard < quiet_usec) {
		if (write)
			write_all(client);
		if (client->lost)
			break;
		struct pollfd fd = { .fd = mosquitto_socket(client->mosq), .events = POLLIN };
		if (write && mosquitto_want_write(client->mosq))
			fd.events |= POLLOUT;
		(void)poll(&fd, 1, TICK_MSEC);
		unsigned before = client->events;
		read_all(client);
		if (client->events != before)
			heard = now_monotonic_usec();
	}
	return *counter >= goal;
}

/* ----------------------------------------------------------------------------------- connecting */

static int client_dial(struct probe_client *client, const struct broker_config *config, bool keep, const char *address,
		       struct lsn_error *err)
{
	if (keep)
		return broker_client_connect(client->mosq, config, address, err);
	int port = broker_config_is_unix(config) ? 0 : (int)config->port;
	errno = 0;
	int rc = mosquitto_connect_bind_async(client->mosq, address, port, (int)config->keepalive_sec, NULL);
	return rc ? lsn_error_set(err, -ECONNREFUSED, "cannot connect: %s", broker_client_strerror(rc, errno)) : 0;
}

/* wait_connack - libmosquitto does not report a refused TCP connection. */
static int wait_connack(struct probe_client *client, struct lsn_error *err)
{
	uint64_t end = now_monotonic_usec() + CONNECT_USEC;

	while (!client->connected && !client->error[0] && !client_over(client) && now_monotonic_usec() < end) {
		struct pollfd fd = { .fd = mosquitto_socket(client->mosq), .events = POLLIN };
		socklen_t size = sizeof(int);
		int error = 0;
		(void)poll(&fd, 1, TICK_MSEC);
		(void)getsockopt(fd.fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error)
			return lsn_error_set(err, -error, "cannot connect: %s", strerror(error));
		read_all(client);
		/* Behind CONNACK there may be publications already, which are not ours to
		 * acknowledge. */
		if (!client->lost && !client->connected)
			write_all(client);
	}
	if (client->connected)
		return 0;
	if (!client->error[0])
		(void)snprintf(client->error, sizeof client->error, "no answer from the broker");
	return lsn_error_set(err, -ECONNREFUSED, "%s", client->error);
}

static int try_address(struct probe_client *client, const struct broker_config *config, bool keep, const char *address,
		       struct lsn_error *err)
{
	int r = broker_client_new(config, keep, &client->tls, client, &client->mosq, err);
	if (r < 0)
		return r;
	mosquitto_connect_v5_callback_set(client->mosq, on_connect);
	mosquitto_disconnect_v5_callback_set(client->mosq, on_disconnect);
	mosquitto_subscribe_v5_callback_set(client->mosq, on_subscribe);
	mosquitto_unsubscribe_v5_callback_set(client->mosq, on_unsubscribe);
	mosquitto_publish_v5_callback_set(client->mosq, on_publish);
	mosquitto_message_v5_callback_set(client->mosq, on_message);
	mosquitto_log_callback_set(client->mosq, on_log);
	r = client_dial(client, config, keep, address, err);
	/* Also when told to stop: once the broker has made a session, it must be taken away. */
	bool tidying = client->tidying;
	client->tidying = tidying || keep;
	if (r >= 0)
		r = wait_connack(client, err);
	client->tidying = tidying;
	if (r < 0) {
		mosquitto_destroy(client->mosq);
		client->mosq = NULL;
	}
	return r;
}

static void forget_connection(struct probe_client *client)
{
	client->connected = client->session_present = client->lost = client->answered = false;
	client->error[0] = 0;
}

/* try_addresses - one after the other. A broker that has answered would only say it again. */
static int try_addresses(struct probe_client *client, const struct broker_config *config, bool keep,
			 struct lsn_error *err)
{
	struct broker_addresses addresses;
	struct resolved found;
	struct lsn_error why;
	int r = broker_addresses_needed(config) ? resolve_now(config->host, &found, err) : 0;

	if (r < 0)
		return r;
	broker_addresses_set(&addresses, config, broker_addresses_needed(config) ? &found : NULL);
	do {
		forget_connection(client);
		r = try_address(client, config, keep, broker_addresses_current(&addresses), &why);
		if (r >= 0)
			return 0;
	} while (!client->error[0] &&
		 broker_addresses_failed(&addresses, BROKER_REACH_ADDRESS, why.message, sizeof why.message));
	return lsn_error_set(err, why.code, "%s", why.message);
}

int probe_connect(struct probe_client *client, const struct broker_config *config, const char *id, bool keep,
		  struct lsn_error *err)
{
	/* Borrowed strings, for these calls only. */
	struct broker_config mine = *config;
	char client_id[300];

	(void)snprintf(client_id, sizeof client_id, "%s", id);
	mine.client_id = client_id;
	return try_addresses(client, &mine, keep, err);
}

/* wait_closed - until the other side has closed FD (ours, blocking or not), reading away what
 * still comes. */
static void wait_closed(int fd, uint64_t end_usec)
{
	char scrap[4096];
	ssize_t n = 1;

	while (n != 0 && now_monotonic_usec() < end_usec) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		if (poll(&wait, 1, TICK_MSEC) <= 0)
			continue;
		n = recv(fd, scrap, sizeof scrap, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return;
	}
}

static void client_forget(struct probe_client *client)
{
	mosquitto_destroy(client->mosq);
	client->mosq = NULL;
	forget_connection(client);
}

void probe_cut(struct probe_client *client)
{
	int socket = mosquitto_socket(client->mosq);

	if (socket >= 0 && shutdown(socket, SHUT_WR) == 0)
		wait_closed(socket, now_monotonic_usec() + GOODBYE_USEC);
	client_forget(client);
}

void probe_disconnect(struct probe_client *client)
{
	uint64_t end = now_monotonic_usec() + GOODBYE_USEC;

	if (!client->mosq)
		return;
	/* libmosquitto closes the socket as soon as it has written DISCONNECT. If something
	 * comes from the broker then, the answer is a reset, and the broker forgets what it has
	 * not read yet: acknowledgements, DISCONNECT. Our own descriptor keeps it open until the
	 * broker is through. */
	int socket = mosquitto_socket(client->mosq);
	_cleanup_close_ int fd = socket >= 0 ? fcntl(socket, F_DUPFD_CLOEXEC, 0) : -1;
	if (!client->lost)
		(void)mosquitto_disconnect(client->mosq);
	while (!client->lost && mosquitto_socket(client->mosq) >= 0 && now_monotonic_usec() < end) {
		struct pollfd wait = { .fd = mosquitto_socket(client->mosq), .events = POLLOUT };
		write_all(client);
		if (!client->lost)
			(void)poll(&wait, 1, TICK_MSEC);
	}
	if (fd >= 0)
		wait_closed(fd, end);
	client_forget(client);
}

/* ------------------------------------------------------------------------------------- requests */

static bool wait_answer(struct probe_client *client)
{
	unsigned before = client->events;

	while (!client->answered && probe_run(client, &client->events, before + 1, CONNECT_USEC, true))
		before = client->events;
	return client->answered;
}

int probe_subscribe(struct probe_client *client, char *const *filters, int count, struct lsn_error *err)
{
	client->answered = false;
	int rc = mosquitto_subscribe_multiple(client->mosq, NULL, count, filters, 1, 0, NULL);
	if (rc)
		return lsn_error_set(err, -EIO, "cannot subscribe: %s", mosquitto_strerror(rc));
	return wait_answer(client) ? 0
				   : lsn_error_set(err, -EIO, "no answer to a subscription: %s",
						   client->error[0] ? client->error : "timeout");
}

/* Packets are taken in order, so any question will do; nobody has subscribed to this. */
bool probe_settle(struct probe_client *client)
{
	client->answered = false;
	return !mosquitto_unsubscribe(client->mosq, NULL, "listenerd-doctor/none") && wait_answer(client);
}

int probe_publish(struct probe_client *client, const char *topic, const char *payload, int qos)
{
	return mosquitto_publish(client->mosq, NULL, topic, (int)strlen(payload), payload, qos, false) ? -EIO : 0;
}
