/* broker_private.h - what broker.c (the connection's states) needs of broker_config.c and
 * broker_client.c (one libmosquitto client). */
#ifndef CORE_BROKER_PRIVATE_H
#define CORE_BROKER_PRIVATE_H

#include "broker.h"
#include <mosquitto.h>

/* broker_config_copy - deep; *RET is overwritten.
 * 0, -ENOMEM (then *RET is empty). */
int broker_config_copy(const struct broker_config *config, struct broker_config *ret);
bool broker_config_is_unix(const struct broker_config *config);

/* Which of a name's addresses to try: libmosquitto takes the first one for which connect() does
 * not fail at once, so with "localhost" it would never get from ::1 to 127.0.0.1.
 * Numeric addresses and unix sockets have ANY only. */
enum broker_family { BROKER_FAMILY_ANY, BROKER_FAMILY_IPV6, BROKER_FAMILY_IPV4 };

/* broker_client_new - a client with all of CONFIG's settings, not connected, its descriptors
 * close-on-exec.
 * DATA is what libmosquitto's callbacks get.
 * 0 or a negative errno with ERR. */
int broker_client_new(const struct broker_config *config, void *data, struct mosquitto **ret, struct lsn_error *err);

/* broker_client_connect - start connecting; does not wait for the network, but looking up a name
 * may block (DNS).
 * Loop thread. */
int broker_client_connect(struct mosquitto *mosq, const struct broker_config *config, enum broker_family family,
			  struct lsn_error *err);

/* broker_client_strerror - a MOSQ_ERR_* code, or a reason code of MQTT 5 (128 and above), in
 * words.
 * ERRNO_NOW is errno right after the call. */
const char *broker_client_strerror(int rc, int errno_now);

/* broker_client_write - all that is queued, as few segments as possible.
 * What mosquitto_loop_write() returns. */
int broker_client_write(struct mosquitto *mosq);

#endif
