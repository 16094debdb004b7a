/* broker.h - the MQTT connection: libmosquitto in our own loop, acks held back until the caller
 * has stored what they acknowledge. MOSQ_ERR_* codes stop here.
 *
 * How a batch flows:
 *   1. The socket is readable: hooks.message() for each publication, until nothing more can be
 *      read or batch_max is reached.
 *   2. hooks.batch(). In this call or later, in its turn, the caller commits.
 *   3. The caller calls broker_ack(): all acknowledgements of what was read so far go out.
 * Between hooks.batch() and broker_ack() nothing is read and nothing is written. If that takes
 * longer than the keepalive allows, the connection is lost. This is intended: the broker keeps
 * what was not acknowledged.
 *
 * libmosquitto queues the PUBACK before the message callback and only mosquitto_loop_write()
 * sends it (mosquitto_threaded_set(true) keeps it from writing by itself). All our writing goes
 * through one place that checks that nothing is unacknowledged.
 *
 * A lost connection ends the wait for broker_ack(): what was read and not acknowledged comes
 * again. Acknowledgements that were not sent never reach another connection.
 *
 * Reconnects without end, with jittered exponential back-off from reconnect_min to reconnect_max.
 * Nothing waits for the network: a name is looked up beside the loop (resolve.h), anew in each
 * round, and all of its addresses are tried before the round has failed. */
#ifndef CORE_BROKER_H
#define CORE_BROKER_H

#include "broker_grants.h"
#include <listener/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct broker;

enum mqtt_version { MQTT_V311, MQTT_V5 };

struct broker_config {
	char *host; /* or a unix socket: an absolute path */
	unsigned port; /* 1..65535; unused with a unix socket */
	char *client_id;
	char *user, *password; /* NULL: none */
	enum mqtt_version version;
	unsigned keepalive_sec; /* 5..65535 */
	bool tls, tls_verify;
	/* NULL: the system's CAs; no client certificate */
	char *tls_ca_file, *tls_cert_file, *tls_key_file;
	char **subscriptions; /* NULL-terminated, valid, no two overlap */
	uint64_t reconnect_min_usec, reconnect_max_usec;
	/* MQTT 5 receive maximum, 1..65535. The redelivery window is no smaller:
	 * intake_window_entries() */
	unsigned receive_max;
	/* publications per batch; with TLS up to one record's worth (16 KiB) more */
	unsigned batch_max;
};

struct broker_message { /* borrowed for the call */
	const char *topic; /* NUL-terminated by libmosquitto, may be ill-formed UTF-8 */
	const void *payload;
	size_t payload_size;
	uint16_t packet_id; /* 0 at QoS 0 */
	int qos;
	bool retain;
	/* the broker says that it sent this before (DUP 1); false also if that is not known */
	bool dup;
};

struct broker_hooks {
	/* any QoS, retained or not */
	void (*message)(void *data, const struct broker_message *message);
	/* read at least one message; nothing more is read until broker_ack() */
	void (*batch)(void *data);
	/* before the first message of the connection */
	void (*connected)(void *data, bool session_present);
	/* the connection is lost, or connecting failed for another reason than last time */
	void (*disconnected)(void *data, const char *reason);
	void *data;
};
/* From message, connected and disconnected the broker must not be freed; pausing and resuming
 * are fine, acknowledging is ignored. connected and disconnected may be NULL. */

enum broker_state { BROKER_DISCONNECTED, BROKER_CONNECTING, BROKER_CONNECTED, BROKER_PAUSED, BROKER_STATE_MAX };
extern const char *const broker_state_names[BROKER_STATE_MAX];

struct broker_figures {
	enum broker_state state;
	uint64_t connects, messages, bytes;
	/* in this state; DISCONNECTED and CONNECTING are one here: the time of the loss */
	uint64_t since_realtime_usec, since_monotonic_usec;
	/* for how long the broker keeps our session while we are away; UINT32_MAX: for ever. Known
	 * only with MQTT 5 and while connected, else 0 */
	uint32_t session_expiry_sec;
	/* why it is not connected, or which subscription is refused; "" if all is well */
	char error[160];
};

/* broker_new - connects in the background; a broker that is down is not an error.
 * HOOKS are copied; CONFIG is borrowed until broker_free() or broker_set_config().
 * UNSUBSCRIBE: NULL, or the filters of an older configuration that are taken off the session
 * (the broker cannot be asked for them); it is taken over in any case and freed with
 * subscriptions_free().
 * No hook is called before the loop runs.
 * 0, -EINVAL or another errno for settings that cannot work (a certificate that cannot be read),
 * -ENOMEM.
 * SIGPIPE is ignored from here on. */
int broker_new(sd_event *loop, const struct broker_config *config, char **unsubscribe, const struct broker_hooks *hooks,
	       struct broker **ret, struct lsn_error *err);

/* broker_set_config - CONFIG, with the same values as before, is borrowed instead. */
void broker_set_config(struct broker *broker, const struct broker_config *config);

/* broker_free - disconnects at once (the session stays with the broker).
 * Nothing unacknowledged is acknowledged, and acknowledgements that the socket does not take at
 * once are not sent: their publications come again.
 * The orderly end is broker_quiesce(), then the disconnected() hook. */
void broker_free(struct broker *broker);

/* broker_ack - everything delivered so far is stored: send the acknowledgements, read on.
 * Without anything to acknowledge it does nothing. */
void broker_ack(struct broker *broker);

/* broker_pause - stay away from the broker until broker_resume(): it holds the events.
 * What is not acknowledged by now will come again.
 * REASON is for people. */
void broker_pause(struct broker *broker, const char *reason);

/* broker_resume - the pause is over: connect at once. */
void broker_resume(struct broker *broker);

/* broker_quiesce - UNSUBSCRIBE nothing, DISCONNECT cleanly after pending acks: for shutdown.
 * Reads no more; a batch that is out is acknowledged by broker_ack() as usual, after that
 * hooks.disconnected() tells that it is done. */
void broker_quiesce(struct broker *broker);
void broker_get_figures(const struct broker *broker, struct broker_figures *ret);

/* broker_get_grant - what the broker says to subscription INDEX of the configuration.
 * *RET_REASON: for people, "" if all is well; valid until the loop turns. */
enum broker_grant broker_get_grant(const struct broker *broker, size_t index, const char **ret_reason);

#endif
