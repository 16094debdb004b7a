/* broker_private.h - what broker.c (the connection's states) needs of broker_client.c (one
 * libmosquitto client) and its other parts. */
#ifndef CORE_BROKER_PRIVATE_H
#define CORE_BROKER_PRIVATE_H

#include "broker.h"
#include "resolve.h"
#include <mosquitto.h>

/* MQTT 5: the broker keeps the session (and with it our events) until we come back. */
#define SESSION_NEVER_EXPIRES UINT32_MAX
#include <openssl/ssl.h>

/* -------------------------------------------------------------------------- where to connect to */

bool broker_config_is_unix(const struct broker_config *config);

/* how far an attempt came; of several reasons for a failure the one that came farthest is told */
enum broker_reach {
	BROKER_REACH_NOTHING, /* there is no way to the address */
	BROKER_REACH_ADDRESS, /* nobody answered, or nobody listens */
	BROKER_REACH_LISTENER, /* somebody accepted the connection */
};

/* The addresses of the host, to be tried one after the other.
 * Starts zeroed; nothing in it is owned. */
struct broker_addresses {
	struct resolved list; /* count 0: not known */
	unsigned next;
	enum broker_reach best;
	char reason[160]; /* of the attempt that came farthest */
};

/* broker_addresses_needed - must the host be looked up before it can be connected to? */
bool broker_addresses_needed(const struct broker_config *config);

/* broker_addresses_set - begin with the addresses FOUND, or with the host itself if FOUND is
 * NULL. */
void broker_addresses_set(struct broker_addresses *addresses, const struct broker_config *config,
			  const struct resolved *found);

const char *broker_addresses_current(const struct broker_addresses *addresses);

/* broker_addresses_failed - the current one failed for REASON after it came as far as REACH.
 * True: there is another one, which is current now.
 * False: none is left; the list is forgotten, and REASON (SIZE bytes) is the one to tell. */
bool broker_addresses_failed(struct broker_addresses *addresses, enum broker_reach reach, char *reason, size_t size);

/* ------------------------------------------------------------------------------------------ TLS */

struct broker_tls { /* what the context needs while it is used; stays where it is */
	const char *host;
	char refused[160]; /* why the broker's certificate is refused; "" if it is not */
};

/* broker_tls_new - a context with CONFIG's settings, all files read.
 * TLS is overwritten; it and CONFIG's host must outlive the context.
 * The caller frees it with SSL_CTX_free().
 * 0, -EINVAL or the errno of a file with ERR. */
int broker_tls_new(const struct broker_config *config, struct broker_tls *tls, SSL_CTX **ret, struct lsn_error *err);

/* ---------------------------------------------------------------------- one libmosquitto client */

/* broker_client_new - a client with all of CONFIG's settings, not connected, its descriptors
 * close-on-exec.
 * KEEP: the broker keeps its session; otherwise a clean one.
 * DATA is what libmosquitto's callbacks get; TLS as for broker_tls_new().
 * 0 or a negative errno with ERR. */
int broker_client_new(const struct broker_config *config, bool keep, struct broker_tls *tls, void *data,
		      struct mosquitto **ret, struct lsn_error *err);

/* broker_client_connect - start connecting to ADDRESS: numeric, or the path of a unix socket.
 * Does not wait.
 * Loop thread. */
int broker_client_connect(struct mosquitto *mosq, const struct broker_config *config, const char *address,
			  struct lsn_error *err);

/* broker_client_strerror - a MOSQ_ERR_* code, or a reason code of MQTT 5 (128 and above), in
 * words.
 * ERRNO_NOW is errno right after the call. */
const char *broker_client_strerror(int rc, int errno_now);

/* broker_client_write - all that is queued, as few segments as possible.
 * What mosquitto_loop_write() returns. */
int broker_client_write(struct mosquitto *mosq);

#endif
