/* doctor_resend.c - does the daemon recognise what this broker sends again? Nothing is inferred:
 * some probes are acknowledged and some are not, the connection breaks, one more is published, and
 * what comes after the reconnection is put to a window of our own (window.h), as intake does. */
#include "doctor_probes.h"
#include "doctor.h"
#include "doctor_client.h"
#include "event.h"
#include "util.h"
#include "window.h"
#include <errno.h>
#include <string.h>

#define ACKNOWLEDGED 5
#define UNACKNOWLEDGED 4
#define SENT (ACKNOWLEDGED + UNACKNOWLEDGED) /* numbers 0 to SENT - 1; SENT is published afterwards */
#define QUIET_USEC (4 * USEC_PER_SEC)
#define NOT_SENT_REMEDY "shorten the time after which it sends again (NATS: ack_wait), and ask again"
#define LOSES_REMEDY                                                                                                   \
	"if it is NATS 2.10, use 2.9, mosquitto or RabbitMQ; docs/exactly-once.md says how to find what it has lost"
#define TWICE_REMEDY                                                                                                   \
	"use a broker from the table in docs/exactly-once.md, or write scripts that may run twice, and do "            \
	"not interrupt the connection"

struct resend {
	unsigned again; /* of those without acknowledgement */
	unsigned twice; /* repeats that would run */
	unsigned missed; /* new ones that would not */
	bool late, renumbered, unmarked;
};

/* ---------------------------------------------------------------------------------- provoking it */

static bool resend_publish(struct probes *probes, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		char payload[16];
		(void)snprintf(payload, sizeof payload, "%c%u", KIND_NUMBERED, i);
		if (!probes_queue(probes, probes->topic, payload, 1))
			return false;
	}
	return probes_flush(probes);
}

/* resend_provoke - *RET_BEFORE: how many copies came over the first connection. */
static bool resend_provoke(struct probes *probes, size_t *ret_before)
{
	struct probe_client *subscriber = &probes->subscriber;
	unsigned *came = &subscriber->arrived[KIND_NUMBERED];

	if (!resend_publish(probes, 0, ACKNOWLEDGED) ||
	    !probe_run(subscriber, came, ACKNOWLEDGED, PROBES_ANSWER_USEC, true) || !probe_settle(subscriber) ||
	    !resend_publish(probes, ACKNOWLEDGED, UNACKNOWLEDGED) ||
	    !probe_run(subscriber, came, SENT, PROBES_ANSWER_USEC, false))
		return false;
	*ret_before = subscriber->copies_count;
	probe_cut(subscriber);
	if (!resend_publish(probes, SENT, 1) || probes_connect_subscriber(probes) < 0)
		return false;
	(void)probe_run(subscriber, came, SENT + UNACKNOWLEDGED + 1, QUIET_USEC, true);
	return probe_settle(subscriber);
}

/* -------------------------------------------------------------------------------------- judgement */

static void copy_digest(const struct probes *probes, const struct probe_copy *copy, uint8_t ret[EVENT_DIGEST_SIZE])
{
	window_digest(probes->topic, strlen(probes->topic), &copy->number, sizeof copy->number, ret);
}

/* resend_record - of the first connection. The window is not asked: it has not seen what came on
 * that connection before, so the packet id would tell it something wrong about the broker. */
static int resend_record(struct window *window, const struct probes *probes, const struct probe_copy *copy)
{
	uint8_t digest[EVENT_DIGEST_SIZE];

	copy_digest(probes, copy, digest);
	return window_add(window, copy->packet_id, digest, true);
}

static int resend_feed(struct window *window, const struct probes *probes, const struct probe_copy *copy,
		       enum window_answer *ret)
{
	uint8_t digest[EVENT_DIGEST_SIZE];

	copy_digest(probes, copy, digest);
	*ret = window_ask(window, copy->packet_id, digest, copy->dup);
	return *ret == WINDOW_REPEAT ? 0 : window_add(window, copy->packet_id, digest, false);
}

/* resend_note - one copy of the second connection. */
static void resend_note(struct resend *resend, const struct probe_copy *copies, size_t before,
			const struct probe_copy *copy, enum window_answer answer)
{
	if (copy->number >= SENT) {
		resend->missed += answer == WINDOW_REPEAT;
		resend->late = resend->late || resend->again < UNACKNOWLEDGED;
		return;
	}
	resend->again += copy->number >= ACKNOWLEDGED;
	resend->twice += answer != WINDOW_REPEAT;
	resend->unmarked = resend->unmarked || !copy->dup;
	for (size_t i = 0; i < before; i++)
		if (copies[i].number == copy->number && copies[i].packet_id != copy->packet_id)
			resend->renumbered = true;
}

static int resend_judge(const struct probes *probes, size_t before, struct resend *ret)
{
	const struct probe_copy *copies = probes->subscriber.copies;
	struct window *window;
	enum window_answer answer = WINDOW_NEW;

	*ret = (struct resend){ 0 };
	int r = window_new(2 * PROBE_COPIES_MAX, &window);
	if (r < 0)
		return r;
	window_connected(window, false);
	for (size_t i = 0; r >= 0 && i < before; i++)
		r = resend_record(window, probes, &copies[i]);
	window_connected(window, true);
	for (size_t i = before; r >= 0 && i < probes->subscriber.copies_count; i++) {
		r = resend_feed(window, probes, &copies[i], &answer);
		resend_note(ret, copies, before, &copies[i], answer);
	}
	window_free(window);
	return r;
}

static void resend_say(struct probes *probes, const struct resend *resend)
{
	char how[128];

	(void)snprintf(how, sizeof how, "%s, under %s packet ids, %s the DUP flag",
		       resend->late ? "after newer ones" : "before newer ones", resend->renumbered ? "new" : "the old",
		       resend->unmarked ? "without" : "with");
	if (resend->twice > 0)
		SAY_FAILURE(probes, TWICE_REMEDY,
			    "sends unacknowledged events again %s: %u were not recognised, scripts would run twice",
			    how, resend->twice);
	else if (resend->missed > 0)
		SAY_FAILURE(probes, TWICE_REMEDY,
			    "sends unacknowledged events again %s: a new event would be taken for one of them", how);
	else if (resend->again < UNACKNOWLEDGED)
		SAY_WARNING(probes, NOT_SENT_REMEDY,
			    "%u of %u unacknowledged events were not sent again within %u s of a reconnection",
			    UNACKNOWLEDGED - resend->again, UNACKNOWLEDGED, (unsigned)(QUIET_USEC / USEC_PER_SEC));
	else
		SAY_OK(probes, "sends unacknowledged events again %s: each was recognised", how);
}

/* say_manner - what was recognised here may not be under load, as measured with the brokers that
 * send again in this manner: of late ones under the old ids that is NATS, of unmarked ones aedes.
 * What NATS loses is never sent, so nothing of it can be seen here or by the daemon. */
static void say_manner(struct probes *probes, const struct resend *resend)
{
	if (resend->late && !resend->renumbered)
		SAY_WARNING(
			probes, LOSES_REMEDY,
			"sends new events before unacknowledged ones, as NATS does: version 2.10 of NATS loses events "
			"that it has confirmed if the connection breaks while hundreds are under way, and neither it "
			"nor the daemon says so");
	if (resend->again > 0 && resend->unmarked)
		SAY_WARNING(
			probes, TWICE_REMEDY,
			"does not mark what it sends again: if events are published at that moment and it sends them "
			"between the others, as aedes does, scripts run twice");
}

void doctor_broker_resend(struct probes *probes)
{
	struct resend resend;
	size_t before = 0;

	if (!resend_provoke(probes, &before)) {
		if (!doctor_child_stopping())
			SAY_WARNING(probes, "ask again when the broker has less to do",
				    "whether events that it sends again are recognised could not be tried");
		return;
	}
	int r = resend_judge(probes, before, &resend);
	if (r < 0)
		SAY_WARNING(probes, "free memory", "cannot judge what is sent again: %s", strerror(-r));
	else {
		resend_say(probes, &resend);
		say_manner(probes, &resend);
	}
}
