/* doctor_client.h - one MQTT client of `listenerctl doctor`, in a process where waiting is fine.
 *
 * It counts what arrives by the first character of the payload, and sends acknowledgements only
 * when told to. */
#ifndef CORE_DOCTOR_CLIENT_H
#define CORE_DOCTOR_CLIENT_H

#include "broker_private.h"

#define PROBE_FILTERS_MAX 16 /* filters of one subscription */
#define PROBE_NUMBERED 'r' /* such a payload is noted in copies[]: "r7" */
#define PROBE_COPIES_MAX 64

/* one arrival of a numbered probe */
struct probe_copy {
	unsigned number;
	uint16_t packet_id;
	bool dup; /* the broker says that it sent this before */
};

struct probe_client {
	struct broker_tls tls;
	struct mosquitto *mosq;
	uint64_t until_usec; /* nothing waits longer than this, monotonic */
	bool tidying; /* do not stop when told to */
	bool connected, session_present, lost, answered; /* answered: SUBACK, UNSUBACK */
	char error[200];
	int granted[PROBE_FILTERS_MAX];
	unsigned events; /* anything that came from the broker */
	/* publications: written (QoS 0) or taken by the broker (QoS 1), and those of them it
	 * refused */
	unsigned confirmed, denied;
	unsigned arrived[256]; /* by the first character of the payload */
	int qos[256]; /* of the latest */
	char text[32]; /* of the latest payload, its beginning */
	bool dup; /* the publication that is being read */
	struct probe_copy copies[PROBE_COPIES_MAX]; /* in order of arrival */
	size_t copies_count;
};

/* probe_connect - with the settings of CONFIG but ID as client id.
 * KEEP: a persistent session as the daemon's, with its protocol version.
 * Otherwise a clean session: what the broker had under ID is forgotten now, and the rest goes
 * with the connection.
 * 0 or a negative errno with ERR. */
int probe_connect(struct probe_client *client, const struct broker_config *config, const char *id, bool keep,
		  struct lsn_error *err);

/* probe_disconnect - properly, and wait until the broker has noticed: what is published from
 * then on is published to somebody who is away.
 * Forgets what it knows of the connection but not the counts. */
void probe_disconnect(struct probe_client *client);

/* probe_cut - the connection breaks, without a DISCONNECT; wait until the broker has noticed. */
void probe_cut(struct probe_client *client);

/* probe_subscribe - QoS 1, up to PROBE_FILTERS_MAX; waits for the answer in granted[]. */
int probe_subscribe(struct probe_client *client, char *const *filters, int count, struct lsn_error *err);

/* probe_settle - send all acknowledgements and wait until the broker has seen them. */
bool probe_settle(struct probe_client *client);

/* probe_publish - queue a publication; probe_run() sends it. */
int probe_publish(struct probe_client *client, const char *topic, const char *payload, int qos);

/* probe_run - let packets come and, if WRITE, go: until *COUNTER has reached GOAL (true), or
 * nothing came for QUIET_USEC or the connection is lost (false). */
bool probe_run(struct probe_client *client, const unsigned *counter, unsigned goal, uint64_t quiet_usec, bool write);

#endif
