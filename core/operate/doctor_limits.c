/* doctor_limits.c - how many events the broker sends without acknowledgement, how many it keeps for
 * the daemon while it is away, and how large they may be. */
#include "doctor_probes.h"
#include "cleanup.h"
#include "doctor.h"
#include "doctor_client.h"
#include "intake.h"
#include "util.h"
#include <string.h>

#define STALL_USEC (1500 * USEC_PER_MSEC) /* nothing for so long: the broker waits for us */
#define FLOOD_MIN 1500 /* more than the 1000 mosquitto queues by default */
#define FLOOD_MAX 5000
#define INFLIGHT_SMALL 100
#define LARGE_BYTES ((size_t)1024 * 1024)

static void say_inflight(struct probes *probes, unsigned came, unsigned published)
{
	/* far more than FLOOD_MAX */
	unsigned known = intake_window_entries(probes->config->receive_max);
	const char *least = came == published ? "at least " : "";

	if (came < INFLIGHT_SMALL && came < probes->config->receive_max)
		SAY_WARNING(probes, probes_remedy(probes, SETTING_INFLIGHT),
			    "sends only %u events without acknowledgement: each commit of the journal takes no more, "
			    "which limits the rate",
			    came);
	else
		SAY_OK(probes, "sends %s%u events without acknowledgement (%u can be recognised when sent again)",
		       least, came, known);
}

static void say_queue(struct probes *probes, unsigned kept, unsigned published)
{
	if (kept < published)
		SAY_WARNING(probes, probes_remedy(probes, SETTING_QUEUE),
			    "keeps only %u events while the daemon is away or its journal full; %u were published, the "
			    "others are lost",
			    kept, published);
	else
		SAY_OK(probes, "keeps %u events while the daemon is away; where its limit is was not tried", kept);
}

void doctor_broker_limits(struct probes *probes)
{
	unsigned wanted = probes->config->receive_max + FLOOD_MIN / 2, taken = probes->published,
		 *came = &probes->subscriber.arrived[KIND_FLOOD];

	wanted = wanted < FLOOD_MIN ? FLOOD_MIN : wanted > FLOOD_MAX ? FLOOD_MAX : wanted;
	probe_disconnect(&probes->subscriber);
	for (unsigned i = 0; i < wanted; i++)
		if (!probes_queue(probes, probes->topic, "f", 1))
			return;
	if (!probe_run(&probes->publisher, &probes->publisher.confirmed, probes->published, PROBES_ANSWER_USEC, true)) {
		SAY_WARNING(probes, "ask again when the broker has less to do",
			    "limits not tried: it took %u of %u publications only", probes->publisher.confirmed - taken,
			    wanted);
		return;
	}
	if (probes_connect_subscriber(probes) < 0)
		return;
	(void)probe_run(&probes->subscriber, came, wanted, STALL_USEC, false);
	unsigned unacknowledged = *came;
	(void)probe_run(&probes->subscriber, came, wanted, STALL_USEC, true);
	if (doctor_child_stopping() || probes->subscriber.lost)
		return;
	say_inflight(probes, unacknowledged, wanted);
	say_queue(probes, *came, wanted);
}

void doctor_broker_size(struct probes *probes, uint64_t payload_max_bytes)
{
	size_t size = payload_max_bytes < LARGE_BYTES ? (size_t)payload_max_bytes : LARGE_BYTES;
	_cleanup_free_ char *payload = malloc(size + 1);

	if (!payload)
		return;
	memset(payload, KIND_LARGE, size);
	payload[size] = 0;
	bool sent = probes_queue(probes, probes->topic, payload, 1);
	(void)(sent &&
	       probe_run(&probes->publisher, &probes->publisher.confirmed, probes->published, PROBES_ANSWER_USEC,
			 true) &&
	       probe_run(&probes->subscriber, &probes->subscriber.arrived[KIND_LARGE], 1, PROBES_ANSWER_USEC, true));
	if (doctor_child_stopping())
		return;
	if (probes->subscriber.arrived[KIND_LARGE] > 0)
		SAY_OK(probes, "an event of %zu bytes arrives", size);
	else
		SAY_FAILURE(probes, probes_remedy(probes, SETTING_SIZE), "an event of %zu bytes does not arrive%s%s",
			    size, probes->publisher.error[0] ? ": " : "", probes->publisher.error);
}
