/* doctor_probes.h - what the parts of doctor that try the broker share: a subscriber with the
 * daemon's settings but a client id of its own, a publisher, and topics below a prefix that no
 * subscription of the daemon covers.
 *
 *   probes_init(), probes_connect_subscriber(), probes_subscribe(), probes_connect_publisher();
 *   then probes_queue(), probes_mark() and probes_wait() as often as needed; probes_tidy().
 *
 * A mark is a publication at QoS 1 behind those whose absence is of interest: brokers keep the
 * order, so nobody has to wait to see that something does not come. */
#ifndef CORE_DOCTOR_PROBES_H
#define CORE_DOCTOR_PROBES_H

#include "doctor.h"
#include "doctor_client.h"

#define PROBES_ANSWER_USEC (5 * USEC_PER_SEC)
#define PROBES_PREFIX_SIZE 64

enum {
	KIND_MARK = 'm',
	KIND_QOS = 'q',
	KIND_AWAY = 'a',
	KIND_FLOOD = 'f',
	KIND_LARGE = 'L',
	KIND_NUMBERED = PROBE_NUMBERED,
	KIND_COPY = '0' /* and the next PROBE_FILTERS_MAX - 1, '?' the last */
};

struct probes {
	const struct doctor_sink *sink;
	const struct broker_config *config;
	struct probe_client subscriber, publisher;
	char id[256], prefix[PROBES_PREFIX_SIZE], topic[PROBES_PREFIX_SIZE + 16];
	bool mosquitto; /* the broker says so */
	unsigned published, marks;
};

#define PROBES_AREA "broker"
#define SAY_OK(probes, ...) doctor_report((probes)->sink, LSN_PROBE_OK, PROBES_AREA, NULL, __VA_ARGS__)
#define SAY_WARNING(probes, remedy, ...)                                                                               \
	doctor_report((probes)->sink, LSN_PROBE_WARNING, PROBES_AREA, remedy, __VA_ARGS__)
#define SAY_FAILURE(probes, remedy, ...)                                                                               \
	doctor_report((probes)->sink, LSN_PROBE_FAILURE, PROBES_AREA, remedy, __VA_ARGS__)

/* what a remedy is about; each broker calls its setting differently */
enum probes_setting {
	SETTING_UPGRADE_QOS, /* events published at QoS 0 are delivered at QoS 1 */
	SETTING_QUEUE_QOS0, /* events published at QoS 0 are kept for a client that is away */
	SETTING_QUEUE, /* how many are kept */
	SETTING_INFLIGHT, /* how many are sent without acknowledgement */
	SETTING_SESSION, /* how long a session is kept */
	SETTING_SIZE, /* how large a message may be */
	SETTING_MAX
};

/* probes_remedy - the setting's name at the broker that is there, or, if the broker does not say
 * what it is, at those that are known. */
const char *probes_remedy(const struct probes *probes, enum probes_setting setting);

/* probes_init - choose client id and topics.
 * False, with a row: there is no topic that would not be an event. */
bool probes_init(struct probes *probes);

/* Each of these says in a row why it could not. */
int probes_connect_subscriber(struct probes *probes);
bool probes_connect_publisher(struct probes *probes);

/* probes_subscribe - filter 0 is for the probes, the others are the daemon's below the prefix, a
 * shared one as a share of its own.
 * Returns how many, 0: not possible. */
int probes_subscribe(struct probes *probes);

/* probes_queue - one publication, sent by the next probes_mark(). */
bool probes_queue(struct probes *probes, const char *topic, const char *payload, int qos);

/* probes_flush - send what is queued, and wait until the broker has taken all of it. */
bool probes_flush(struct probes *probes);

/* probes_mark - send what is queued, then a mark, and wait until the broker has taken all of it. */
bool probes_mark(struct probes *probes);

/* probes_wait - until the mark has arrived; then nothing is left unacknowledged, which would come
 * again in the next step. */
bool probes_wait(struct probes *probes);

/* probes_say_denied - the broker does not let us WHAT ("publish to"). */
void probes_say_denied(struct probes *probes, const char *what);

/* probes_tidy - the broker forgets the subscriber's session, and what is queued for it, whatever
 * happened before. */
void probes_tidy(struct probes *probes);

/* ----------------------------------------------------------- the parts, in the order they run */

/* doctor_broker_resend - is what the broker sends again recognised? */
void doctor_broker_resend(struct probes *probes);

void doctor_broker_limits(struct probes *probes);

/* doctor_broker_size - does an event of PAYLOAD_MAX_BYTES arrive, or of 1 MiB if that is less? */
void doctor_broker_size(struct probes *probes, uint64_t payload_max_bytes);

#endif
