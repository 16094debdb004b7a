/* intake.c - see intake.h. */
#include "intake.h"
#include "cleanup.h"
#include "config.h"
#include "event.h"
#include "failpoint.h"
#include "journal.h"
#include "log.h"
#include "registry.h"
#include "source.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <string.h>

#define DEFER_MAX_USEC (3 * USEC_PER_SEC)
#define PACKET_IDS 65535u
#define ENTRIES_MIN 32768u /* of the window: half of all packet ids. See window.h, "Size" */
/* silent for so long, a broker has nothing queued for us, and has read our acknowledgements */
#define IDLE_USEC USEC_PER_SEC
/* then it sends so many at once before it queues any: mosquitto's default of
 * max_inflight_messages */
#define LIVE_MAX 20
#define PARTS_MAX 4096 /* store the window as a whole again after so many parts */
#define REJECTED_TOPIC_KEEP 1024 /* bytes of an ill-formed topic that are recorded */

struct deferred {
	STAILQ_ENTRY(deferred) next;
	uint8_t digest[EVENT_DIGEST_SIZE];
	bool live;
	struct broker_message message; /* topic and payload point behind the struct */
};

struct intake {
	struct intake_parts parts;
	struct window *window;
	size_t window_entries;
	size_t stored_parts, stored_bytes; /* since it was stored as a whole */
	bool window_dirty;
	uint64_t last_usec; /* when the last publication came; CLOCK_MONOTONIC */
	/* so many may come now that certainly did not wait in the broker's queue */
	unsigned live_left;
	unsigned unsaved, unsaved_max; /* publications remembered since the window was saved */
	STAILQ_HEAD(, deferred) deferred;
	uint64_t deferred_since_usec;
	bool told[WINDOW_ANSWER_MAX]; /* on this connection */
	struct intake_counters counters;
	struct record record;
	struct doctor_events *expected; /* by an examination that is under way; NULL: there is none */
};

unsigned intake_window_entries(unsigned receive_max) { return receive_max > ENTRIES_MIN ? receive_max : ENTRIES_MIN; }

/* set_unsaved_max - the window spans so many packet ids; half of the others may go by before it
 * is saved again. */
static void set_unsaved_max(struct intake *intake)
{
	intake->unsaved_max = intake->window_entries < PACKET_IDS ? (unsigned)(PACKET_IDS - intake->window_entries) / 2
								  : 0;
}

int intake_new(const struct intake_parts *parts, struct intake **ret, struct lsn_error *err)
{
	struct intake *intake = calloc(1, sizeof *intake);
	_cleanup_free_ void *saved = NULL;
	size_t size = 0;

	if (!intake)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	intake->parts = *parts;
	STAILQ_INIT(&intake->deferred);
	intake->window_entries = intake_window_entries(parts->config->broker.receive_max);
	int r = journal_get_window(parts->journal, &saved, &size);
	set_unsaved_max(intake);
	if (r >= 0)
		r = window_new(intake->window_entries, &intake->window);
	if (r >= 0 && size > 0 && window_load(intake->window, saved, size) < 0)
		log_warning("the redelivery window in the journal is unreadable, ignoring: repeats of the last "
			    "connection will not be recognised");
	if (r < 0) {
		intake_free(intake);
		return lsn_error_set(err, r, "cannot load the redelivery window: %s", strerror(-r));
	}
	*ret = intake;
	return 0;
}

int intake_grow_window(struct intake *intake, size_t entries)
{
	struct window *larger;
	const void *data;
	size_t size;

	if (entries <= intake->window_entries)
		return 0;
	int r = window_new(entries, &larger);
	if (r < 0)
		return r;
	window_save(intake->window, &data, &size);
	r = window_load(larger, data, size);
	if (r < 0) {
		window_free(larger);
		return r;
	}
	window_free(intake->window);
	intake->window = larger;
	intake->window_entries = entries;
	set_unsaved_max(intake);
	return 0;
}

static void drop_deferred(struct intake *intake)
{
	struct deferred *deferred;

	while ((deferred = STAILQ_FIRST(&intake->deferred))) {
		STAILQ_REMOVE_HEAD(&intake->deferred, next);
		free(deferred);
	}
}

void intake_free(struct intake *intake)
{
	if (!intake)
		return;
	drop_deferred(intake);
	window_free(intake->window);
	record_clear(&intake->record);
	free(intake);
}

void intake_set_parts(struct intake *intake, const struct intake_parts *parts) { intake->parts = *parts; }

void intake_expect(struct intake *intake, struct doctor_events *events) { intake->expected = events; }

const struct intake_counters *intake_get_counters(const struct intake *intake) { return &intake->counters; }

const struct record *intake_get_record(const struct intake *intake) { return &intake->record; }

/* intake_note - what became of MESSAGE. EVENT: its id, 0: none. */
static void intake_note(struct intake *intake, const struct broker_message *message, enum decision decision,
			uint64_t event, unsigned jobs)
{
	const struct record_entry entry = { .realtime_usec = now_realtime_usec(),
					    .event = event,
					    .payload_size = message->payload_size,
					    .jobs = jobs,
					    .decision = decision,
					    .qos = message->qos };

	intake->counters.decisions[decision]++;
	intake->counters.payload_bytes += message->payload_size;
	intake->counters.last_realtime_usec = entry.realtime_usec;
	record_add(&intake->record, &entry, message->topic, strlen(message->topic));
}

/* forget_saved - a new session counts its packet ids from the beginning. If we die after its
 * first publication, what the journal knows of the old session's ids must not make us take the
 * repeat for one that has run: so this cannot wait for the turn. */
static void forget_saved(struct intake *intake)
{
	struct lsn_error err = { 0 };
	int r = intake_save(intake);

	if (r >= 0)
		r = journal_commit(intake->parts.journal, &err);
	if (r < 0)
		log_warning("cannot save the redelivery window of the new session yet: %s",
			    r == -ENOMEM ? "out of memory" : err.message);
}

void intake_connected(struct intake *intake, bool session_present)
{
	/* What was deferred was not acknowledged: the broker sends it again. */
	drop_deferred(intake);
	window_connected(intake->window, session_present);
	intake->window_dirty = true;
	intake->live_left = 0;
	intake->last_usec = now_monotonic_usec();
	memset(intake->told, 0, sizeof intake->told);
	if (!session_present)
		forget_saved(intake);
}

/* no_memory - what cannot be recorded must not be acknowledged: the broker sends it again to the
 * next daemon. */
__attribute__((noreturn)) static void no_memory(const char *what)
{
	log_error("out of memory for %s: ending, so that the broker sends it again", what);
	abort();
}

/* message_reject - record what cannot be an event, with the reason; it is acknowledged like any
 * other. */
static void message_reject(struct intake *intake, const struct broker_message *message, const char *reason)
{
	size_t topic_size = strlen(message->topic);
	_cleanup_event_ struct event *event = NULL;
	char quoted[160];

	log_notice("rejected topic=%s: %s", str_quote(quoted, sizeof quoted, message->topic, topic_size), reason);
	if (topic_size > REJECTED_TOPIC_KEEP)
		topic_size = REJECTED_TOPIC_KEEP;
	if (event_new(message->topic, topic_size, NULL, 0, &event) < 0)
		no_memory("a rejected event");
	event->id = journal_next_event_id(intake->parts.journal);
	event->received_realtime_usec = now_realtime_usec();
	event->state = EVENT_REJECTED;
	event->qos = message->qos;
	(void)snprintf(event->reason, sizeof event->reason, "%s", reason);
	journal_put_event(intake->parts.journal, event);
	intake_note(intake, message, DECISION_REJECTED, event->id, 0);
}

struct matching {
	struct intake *intake;
	const struct broker_message *message;
	size_t topic_size;
	struct event *event; /* made for the first script that matches */
	unsigned jobs;
};

static void make_event(struct matching *m)
{
	if (event_new(m->message->topic, m->topic_size, m->message->payload, m->message->payload_size, &m->event) < 0)
		no_memory("an event");
	m->event->id = journal_next_event_id(m->intake->parts.journal);
	m->event->received_realtime_usec = now_realtime_usec();
	m->event->qos = m->message->qos;
	journal_put_event(m->intake->parts.journal, m->event);
}

static void add_job(void *data, struct script *script)
{
	struct matching *m = data;

	if (!m->event)
		make_event(m);
	if (dispatcher_add(m->intake->parts.dispatcher, m->event, script, 0, NULL) < 0)
		no_memory("a job");
	m->jobs++;
}

static void message_match(struct intake *intake, const struct broker_message *message, size_t topic_size)
{
	struct matching m = { .intake = intake, .message = message, .topic_size = topic_size };

	if (registry_match(intake->parts.registry, message->topic, topic_size, add_job, &m) == 0 &&
	    intake->parts.config->record_unmatched)
		make_event(&m);
	intake->counters.jobs += m.jobs;
	intake_note(intake, message, m.jobs > 0 ? DECISION_MATCHED : DECISION_UNMATCHED, m.event ? m.event->id : 0,
		    m.jobs);
	event_unref(m.event);
}

/* message_remember - only what is marked for the journal in the same turn may stand in the window:
 * a publication that is merely deferred back is not recorded yet, and must be new again if we die
 * now. */
static void message_remember(struct intake *intake, const struct broker_message *message, const uint8_t *digest,
			     bool live)
{
	if (message->packet_id == 0)
		return; /* QoS 0: the broker does not repeat */
	if (window_add(intake->window, message->packet_id, digest, live) < 0)
		log_error("out of memory for the redelivery window: a repeat of packet %u would run twice",
			  message->packet_id);
	intake->window_dirty = true;
	intake->unsaved++;
}

/* message_take - a publication whose turn has come: check, then match. */
static void message_take(struct intake *intake, const struct broker_message *message, const uint8_t *digest, bool live)
{
	size_t topic_size = strlen(message->topic);
	struct lsn_error why;
	struct topic_parts parts;

	message_remember(intake, message, digest, live);
	if (message->retain) {
		intake_note(intake, message, DECISION_RETAINED, 0, 0);
		return;
	}
	if (doctor_event_take(intake->expected, message->payload, message->payload_size)) {
		intake_note(intake, message, DECISION_DOCTOR, 0, 0);
		return;
	}
	intake->counters.events++;
	if (topic_check_name(message->topic, topic_size, &why) < 0) {
		message_reject(intake, message, why.message);
		return;
	}
	if (message->payload_size > intake->parts.config->payload_max_bytes) {
		(void)lsn_error_set(&why, -EFBIG, "payload of %zu bytes is over payload_max = %llu",
				    message->payload_size, (unsigned long long)intake->parts.config->payload_max_bytes);
		message_reject(intake, message, why.message);
		return;
	}
	topic_split(intake->parts.config->source.events, message->topic, topic_size, &parts);
	if (topic_below(&parts, intake->parts.config->source.collection)) {
		intake_note(intake, message, DECISION_SHIELDED, 0, 0);
		if (intake->parts.source && intake->parts.source->ops->event)
			intake->parts.source->ops->event(intake->parts.source, message->topic, topic_size,
							 message->payload, message->payload_size);
		return;
	}
	message_match(intake, message, topic_size);
}

static bool must_wait(struct intake *intake, const struct broker_message *message)
{
	struct source *source = intake->parts.source;
	return source && source->ops->busy_for && source->ops->busy_for(source, message->topic, strlen(message->topic));
}

static void message_defer(struct intake *intake, const struct broker_message *message, const uint8_t *digest, bool live)
{
	size_t topic_size = strlen(message->topic) + 1;
	struct deferred *deferred = malloc(sizeof *deferred + topic_size + message->payload_size);

	if (!deferred) {
		log_error("out of memory to defer a publication, taking it now");
		message_take(intake, message, digest, live);
		return;
	}
	char *topic = (char *)(deferred + 1);
	memcpy(topic, message->topic, topic_size);
	if (message->payload_size)
		memcpy(topic + topic_size, message->payload, message->payload_size);
	memcpy(deferred->digest, digest, sizeof deferred->digest);
	deferred->live = live;
	deferred->message = *message;
	deferred->message.topic = topic;
	deferred->message.payload = topic + topic_size;
	if (STAILQ_EMPTY(&intake->deferred))
		intake->deferred_since_usec = now_monotonic_usec();
	STAILQ_INSERT_TAIL(&intake->deferred, deferred, next);
	intake->counters.deferred++;
}

/* is_live - the publication that comes now was sent as soon as the broker had it. */
static bool is_live(struct intake *intake)
{
	uint64_t now = now_monotonic_usec();

	if (now - intake->last_usec >= IDLE_USEC)
		intake->live_left = LIVE_MAX;
	intake->last_usec = now;
	if (intake->live_left == 0)
		return false;
	intake->live_left--;
	return true;
}

/* is_deferred - DUP 1: it came before and waits, so the window cannot know it yet. */
static bool is_deferred(const struct intake *intake, const struct broker_message *message, const uint8_t *digest)
{
	const struct deferred *deferred;

	STAILQ_FOREACH (deferred, &intake->deferred, next)
		if (deferred->message.packet_id == message->packet_id &&
		    memcmp(deferred->digest, digest, EVENT_DIGEST_SIZE) == 0)
			return true;
	return false;
}

/* answer_tell - once per connection what the broker leaves open. */
static void answer_tell(struct intake *intake, enum window_answer answer, const struct broker_message *message)
{
	char topic[120];

	if (intake->told[answer])
		return;
	intake->told[answer] = true;
	(void)str_quote(topic, sizeof topic, message->topic, strlen(message->topic));
	if (answer == WINDOW_UNKNOWN_REPEAT)
		log_notice(
			"the broker sends events again that were not recorded before, the first is packet=%u topic=%s: "
			"they run now",
			message->packet_id, topic);
	else
		log_warning(
			"the broker sends events that look like earlier ones, but not in their order and without the "
			"DUP flag, the first is packet=%u topic=%s: they run, perhaps a second time",
			message->packet_id, topic);
}

/* is_repeat - and count it, or what cannot be decided. */
static bool is_repeat(struct intake *intake, const struct broker_message *message, const uint8_t *digest)
{
	enum window_answer answer = WINDOW_REPEAT;

	if (message->dup && is_deferred(intake, message, digest))
		window_skip(intake->window, message->packet_id);
	else
		answer = window_ask(intake->window, message->packet_id, digest, message->dup);
	intake->window_dirty |= answer == WINDOW_REPEAT; /* it may have learnt something */
	intake->counters.unknown_repeats += answer == WINDOW_UNKNOWN_REPEAT;
	intake->counters.doubtful += answer == WINDOW_DOUBTFUL;
	if (answer == WINDOW_UNKNOWN_REPEAT || answer == WINDOW_DOUBTFUL)
		answer_tell(intake, answer, message);
	return answer == WINDOW_REPEAT;
}

void intake_message(struct intake *intake, const struct broker_message *message)
{
	uint8_t digest[EVENT_DIGEST_SIZE] = { 0 };

	failpoint("after-read");
	bool live = is_live(intake);
	if (message->packet_id != 0) {
		window_digest(message->topic, strlen(message->topic), message->payload, message->payload_size, digest);
		if (is_repeat(intake, message, digest)) {
			intake_note(intake, message, DECISION_REPEATED, 0, 0);
			return;
		}
	}
	if (!STAILQ_EMPTY(&intake->deferred) || (!message->retain && must_wait(intake, message)))
		message_defer(intake, message, digest, live);
	else
		message_take(intake, message, digest, live);
}

bool intake_release(struct intake *intake, uint64_t *ret_wait_usec)
{
	struct deferred *deferred;

	while ((deferred = STAILQ_FIRST(&intake->deferred))) {
		uint64_t waited = now_monotonic_usec() - intake->deferred_since_usec;
		if (waited < DEFER_MAX_USEC && must_wait(intake, &deferred->message)) {
			*ret_wait_usec = DEFER_MAX_USEC - waited;
			return false;
		}
		STAILQ_REMOVE_HEAD(&intake->deferred, next);
		message_take(intake, &deferred->message, deferred->digest, deferred->live);
		free(deferred);
	}
	return true;
}

int intake_save(struct intake *intake)
{
	const void *data;
	size_t size;
	bool whole = intake->stored_parts >= PARTS_MAX ||
		     intake->stored_bytes >= intake->window_entries * WINDOW_ENTRY_SIZE;

	if (!intake->window_dirty)
		return 0;
	window_take(intake->window, whole, &data, &size, &whole);
	int r = size > 0 ? journal_put_window(intake->parts.journal, data, size, whole) : 0;
	if (r < 0) {
		/* what was taken is not stored: as a whole the next time */
		intake->stored_parts = PARTS_MAX;
		return r;
	}
	intake->stored_parts = whole ? 0 : intake->stored_parts + 1;
	intake->stored_bytes = whole ? 0 : intake->stored_bytes + size;
	intake->window_dirty = false;
	intake->unsaved = 0;
	return 0;
}

bool intake_must_save(const struct intake *intake)
{
	return intake->window_dirty && intake->unsaved > intake->unsaved_max;
}
