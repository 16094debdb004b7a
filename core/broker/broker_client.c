/* broker_client.c - one libmosquitto client for one connection, and the words for libmosquitto's
 * codes. What is noted here about libmosquitto is about 2.0.11 and the later 2.0 versions.
 *
 * A client serves one connection only and is destroyed with it. So acknowledgements that were
 * queued and not sent cannot reach the next connection (libmosquitto empties the queue on
 * reconnect too, but here it need not be trusted), and renewed certificates are read. */
#include "broker_private.h"
#include "cleanup.h"
#include "util.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqtt_protocol.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void properties_freep(mosquitto_property **properties) { mosquitto_property_free_all(properties); }
static void mosquitto_destroyp(struct mosquitto **mosq)
{
	if (*mosq)
		mosquitto_destroy(*mosq);
}

const char *broker_client_strerror(int rc, int errno_now)
{
	if (rc >= 128)
		return mosquitto_reason_string(rc);
	switch (rc) {
	case MOSQ_ERR_ERRNO: return errno_now > 0 ? strerror(errno_now) : "connection failed";
	case MOSQ_ERR_EAI: /* libmosquitto leaves getaddrinfo()'s code in errno */ return gai_strerror(errno_now);
	case MOSQ_ERR_SUCCESS:
	case MOSQ_ERR_CONN_LOST: return "the broker closed the connection";
	case MOSQ_ERR_KEEPALIVE: return "the broker does not answer pings";
	case MOSQ_ERR_MALFORMED_UTF8: return "the broker sent a topic that is not UTF-8";
	case MOSQ_ERR_PROTOCOL: return "the broker sent something that is not MQTT";
	default: return mosquitto_strerror(rc);
	}
}

/* new_client - mosquitto_new() makes a socket pair that is not close-on-exec and that no
 * function gives away. A pair made and closed right before has the same two numbers: the lowest
 * free ones, in one thread. */
static struct mosquitto *new_client(const char *client_id, bool keep, void *data)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return NULL;
	(void)close(pair[0]);
	(void)close(pair[1]);
	struct mosquitto *mosq = mosquitto_new(client_id, !keep, data);
	for (size_t i = 0; mosq && i < 2; i++) {
		int domain = 0;
		socklen_t size = sizeof domain;
		if (getsockopt(pair[i], SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX)
			(void)fcntl(pair[i], F_SETFD, FD_CLOEXEC);
	}
	return mosq;
}

static void context_freep(SSL_CTX **ctx) { SSL_CTX_free(*ctx); }

static int set_tls(struct mosquitto *mosq, const struct broker_config *config, struct broker_tls *tls,
		   struct lsn_error *err)
{
	_cleanup_(context_freep) SSL_CTX *ctx = NULL;

	*tls = (struct broker_tls){ 0 };
	if (!config->tls)
		return 0;
	int r = broker_tls_new(config, tls, &ctx, err);
	if (r < 0)
		return r;
	int rc = mosquitto_int_option(mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
	if (!rc)
		/* which takes a reference of its own */
		rc = mosquitto_void_option(mosq, MOSQ_OPT_SSL_CTX, ctx);
	return rc ? lsn_error_set(err, -EINVAL, "TLS settings refused: %s", mosquitto_strerror(rc)) : 0;
}

static int set_options(struct mosquitto *mosq, const struct broker_config *config)
{
	int version = config->version == MQTT_V5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311;

	/* "Threaded" means: somebody else calls mosquitto_loop_write(). This is what holds the
	 * acknowledgements back. */
	int rc = mosquitto_threaded_set(mosq, true);
	if (!rc)
		rc = mosquitto_int_option(mosq, MOSQ_OPT_PROTOCOL_VERSION, version);
	/* 3.1.1 cannot tell the broker; there its own limit (mosquitto: max_inflight_messages)
	 * rules. */
	if (!rc)
		rc = mosquitto_int_option(mosq, MOSQ_OPT_RECEIVE_MAXIMUM, (int)config->receive_max);
	if (!rc && !broker_config_is_unix(config))
		rc = mosquitto_int_option(mosq, MOSQ_OPT_TCP_NODELAY, 1);
	if (!rc && config->user)
		rc = mosquitto_username_pw_set(mosq, config->user, config->password);
	return rc;
}

static int check_config(const struct broker_config *config, struct lsn_error *err)
{
	if (!config->host || !*config->host || !config->client_id || !*config->client_id)
		return lsn_error_set(err, -EINVAL, "the broker's host and the client id must be given");
	if (broker_config_is_unix(config) && strlen(config->host) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
		return lsn_error_set(err, -EINVAL, "the broker's socket path is too long: %s", config->host);
	if (!broker_config_is_unix(config) && (config->port < 1 || config->port > UINT16_MAX))
		return lsn_error_set(err, -EINVAL, "the broker's port must be 1 to 65535");
	if (config->keepalive_sec < 5 || config->keepalive_sec > UINT16_MAX)
		return lsn_error_set(err, -EINVAL, "keepalive must be 5 to 65535 seconds");
	if (config->receive_max < 1 || config->receive_max > UINT16_MAX)
		return lsn_error_set(err, -EINVAL, "the receive maximum must be 1 to 65535");
	if (config->password && !config->user)
		return lsn_error_set(err, -EINVAL, "a password needs a user");
	return 0;
}

int broker_client_new(const struct broker_config *config, bool keep, struct broker_tls *tls, void *data,
		      struct mosquitto **ret, struct lsn_error *err)
{
	_cleanup_(mosquitto_destroyp) struct mosquitto *mosq = NULL;

	int r = check_config(config, err);
	if (r < 0)
		return r;
	mosq = new_client(config->client_id, keep, data);
	if (!mosq)
		return lsn_error_set(err, errno == EINVAL ? -EINVAL : -ENOMEM, "cannot make an MQTT client: %m");
	int rc = set_options(mosq, config);
	if (rc)
		return lsn_error_set(err, rc == MOSQ_ERR_NOMEM ? -ENOMEM : -EINVAL, "MQTT settings refused: %s",
				     mosquitto_strerror(rc));
	r = set_tls(mosq, config, tls, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(mosq);
	return 0;
}

/* keep_session - set the properties of MQTT 5's CONNECT. Only the blocking
 * mosquitto_connect_bind_v5() takes them; it keeps them for later connects, too, so it is called
 * with an address that fails at once (a unix socket of no name). */
static int keep_session(struct mosquitto *mosq, const struct broker_config *config, struct lsn_error *err)
{
	_cleanup_(properties_freep) mosquitto_property *properties = NULL;

	if (config->version != MQTT_V5)
		return 0;
	int rc = mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, SESSION_NEVER_EXPIRES);
	if (!rc) {
		rc = mosquitto_connect_bind_v5(mosq, "", 0, (int)config->keepalive_sec, NULL, properties);
		if (rc == MOSQ_ERR_INVAL || rc == MOSQ_ERR_ERRNO)
			return 0;
	}
	return lsn_error_set(err, -EIO, "cannot set the session's expiry: %s", mosquitto_strerror(rc));
}

int broker_client_connect(struct mosquitto *mosq, const struct broker_config *config, const char *address,
			  struct lsn_error *err)
{
	int port = broker_config_is_unix(config) ? 0 : (int)config->port;

	int r = keep_session(mosq, config, err);
	if (r < 0)
		return r;
	errno = 0;
	int rc = mosquitto_connect_bind_async(mosq, address, port, (int)config->keepalive_sec, NULL);
	int errno_now = errno;
	if (rc)
		return lsn_error_set(err, -ECONNREFUSED, "cannot connect: %s", broker_client_strerror(rc, errno_now));
	(void)fcntl(mosquitto_socket(mosq), F_SETFD, FD_CLOEXEC);
	return 0;
}

/* One call writes all that is queued, but with one write() for each acknowledgement; corked they
 * share segments, and the broker wakes up once. */
int broker_client_write(struct mosquitto *mosq)
{
	int on = 1, off = 0;
	bool corked = setsockopt(mosquitto_socket(mosq), IPPROTO_TCP, TCP_CORK, &on, sizeof on) == 0;

	errno = 0;
	int rc = mosquitto_loop_write(mosq, 1);
	int errno_now = errno;
	if (corked && mosquitto_socket(mosq) >= 0)
		(void)setsockopt(mosquitto_socket(mosq), IPPROTO_TCP, TCP_CORK, &off, sizeof off);
	errno = errno_now;
	return rc;
}
