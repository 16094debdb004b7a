/* ladder.c - see ladder.h. */
#include "ladder.h"
#include "broker.h"
#include "broker_grants.h"
#include "dispatcher.h"
#include "event.h"
#include "intake.h"
#include "record.h"
#include "registry.h"
#include "reply.h"
#include "script.h"
#include "topic.h"
#include "turn.h"
#include "util.h"
#include "waits.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const rung_names[RUNG_MAX] = {
	[RUNG_ARRIVED] = "arrived", [RUNG_TAKEN] = "taken", [RUNG_KNOWN] = "known", [RUNG_ACTIVE] = "active",
	[RUNG_FILTER] = "filter",   [RUNG_HELD] = "held",   [RUNG_PLACE] = "place", [RUNG_RUN] = "run"
};

static void answer(struct ladder *ladder, enum rung rung, bool ok, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void answer(struct ladder *ladder, enum rung rung, bool ok, const char *format, ...)
{
	struct rung_answer *to = &ladder->rungs[rung];
	va_list ap;

	to->asked = true;
	to->ok = ok;
	va_start(ap, format);
	(void)vsnprintf(to->text, sizeof to->text, format, ap);
	va_end(ap);
	utf8_trim(to->text);
}

/* -------------------------------------------------------------------------------------- arrived */

struct arrivals {
	const char *topic;
	struct record_entry last;
	unsigned count;
};

static bool count_arrival(void *data, const struct record_entry *entry)
{
	struct arrivals *arrivals = data;

	if (strncmp(entry->topic, arrivals->topic, RECORD_TOPIC_SIZE - 1) != 0)
		return true;
	if (arrivals->count++ == 0)
		arrivals->last = *entry;
	return true;
}

static void climb_arrived(const struct daemon *daemon, struct ladder *ladder)
{
	const struct record *record = intake_get_record(daemon->intake);
	struct arrivals arrivals = { .topic = ladder->topic };
	uint64_t now = now_realtime_usec(), reach = record_reach(record);
	const char *from = reach ? "as far back as the record goes" : "since the daemon started";

	reach = reach ? reach : daemon->started_realtime_usec;
	reach = now > reach ? (now - reach) / USEC_PER_SEC : 0;
	record_each(record, count_arrival, &arrivals);
	if (arrivals.count == 0)
		answer(ladder, RUNG_ARRIVED, false, "no event with this topic came in the last %" PRIu64 " s, %s",
		       reach, from);
	else
		answer(ladder, RUNG_ARRIVED, true,
		       "%u with this topic came in the last %" PRIu64 " s, %s; the last one %" PRIu64 " s ago: %s",
		       arrivals.count, reach, from,
		       now > arrivals.last.realtime_usec ? (now - arrivals.last.realtime_usec) / USEC_PER_SEC : 0,
		       decision_names[arrivals.last.decision]);
}

/* ---------------------------------------------------------------------------------------- taken */

/* find_subscription - a subscription that delivers TOPIC; what the broker says to it. GRANT_MAX:
 * there is none. */
static enum broker_grant find_subscription(const struct daemon *daemon, const char *topic, const char **ret_filter,
					   const char **ret_reason)
{
	char **filters = daemon->config->broker.subscriptions;

	*ret_reason = "";
	for (size_t i = 0; filters && filters[i]; i++) {
		*ret_filter = filters[i];
		if (topic_matches(topic_subscription_filter(filters[i]), topic))
			return daemon->broker ? broker_get_grant(daemon->broker, i, ret_reason) : BROKER_GRANT_UNKNOWN;
	}
	return BROKER_GRANT_MAX;
}

/* broker_stands - events come; else say why not. */
static bool broker_stands(const struct daemon *daemon, struct ladder *ladder)
{
	struct broker_figures figures = { .state = BROKER_CONNECTED };

	if (daemon->broker)
		broker_get_figures(daemon->broker, &figures);
	if (figures.state != BROKER_CONNECTED)
		answer(ladder, RUNG_TAKEN, false, "no event can arrive now, the broker is %s: %s",
		       broker_state_names[figures.state], figures.error);
	else if (daemon->broker_problem[0] && !daemon->broker)
		answer(ladder, RUNG_TAKEN, false, "no event can arrive, there is no connection to the broker: %s",
		       daemon->broker_problem);
	return !ladder->rungs[RUNG_TAKEN].asked;
}

static void refuse_unsubscribed(const struct daemon *daemon, struct ladder *ladder)
{
	const char *filter, *reason, *topic = ladder->topic;

	if (*topic == '/' && find_subscription(daemon, topic + 1, &filter, &reason) != BROKER_GRANT_MAX)
		answer(ladder, RUNG_TAKEN, false,
		       "the topics of an archive have no leading slash: did you mean %.400s?", topic + 1);
	else
		answer(ladder, RUNG_TAKEN, false,
		       "the listener does not subscribe to this topic, see [broker] subscriptions");
}

void ladder_taken(const struct daemon *daemon, const char *topic, struct ladder *ret)
{
	const char *filter, *reason;
	struct topic_parts parts;

	*ret = (struct ladder){ .topic = topic };
	climb_arrived(daemon, ret);
	topic_split(daemon->config->source.events, topic, strlen(topic), &parts);
	ret->shielded = topic_below(&parts, daemon->config->source.collection);
	enum broker_grant grant = find_subscription(daemon, topic, &filter, &reason);
	ret->subscribed = grant != BROKER_GRANT_MAX && grant != BROKER_GRANT_REFUSED;
	if (ret->shielded)
		answer(ret, RUNG_TAKEN, false,
		       "the topic is about the scripts collection, and such events never run scripts");
	else if (grant == BROKER_GRANT_REFUSED)
		answer(ret, RUNG_TAKEN, false, "the topic does not arrive: %s", reason);
	else if (grant == BROKER_GRANT_MAX)
		refuse_unsubscribed(daemon, ret);
	else if (broker_stands(daemon, ret))
		answer(ret, RUNG_TAKEN, true, "%s is subscribed, and the topic is not about the scripts collection",
		       filter);
}

/* --------------------------------------------------------------------------------- the other rungs */

static void climb_script(struct ladder *ladder)
{
	const struct registry_entry *entry = ladder->entry;

	if (!entry) {
		answer(ladder, RUNG_KNOWN, false,
		       "no script of that name is offered by the source; `listenerctl scripts` lists them");
		return;
	}
	answer(ladder, RUNG_KNOWN, true, "the source offers it");
	if (!entry->script)
		answer(ladder, RUNG_ACTIVE, false, "the script is not active: %s", entry->reason);
	else if (entry->state != SCRIPT_ACTIVE)
		answer(ladder, RUNG_ACTIVE, true, "version %.12s stays registered, a newer one is not: %s",
		       entry->script->version, entry->reason);
	else
		answer(ladder, RUNG_ACTIVE, true, "version %.12s", entry->script->version);
}

static void climb_filter(struct ladder *ladder, const struct script *script)
{
	ladder->filter = script_filter_for(script, ladder->topic);
	ladder->matches = ladder->filter;
	if (ladder->matches)
		answer(ladder, RUNG_FILTER, true, "%s matches", ladder->filter);
	else
		answer(ladder, RUNG_FILTER, false,
		       script->more_filters ? "none of its filters, %s and others, matches the topic"
					    : "its filter %s does not match the topic",
		       script->filter);
	ladder->filter = ladder->filter ? ladder->filter : script->filter;
}

static uint64_t object_of(const char *topic)
{
	_cleanup_event_ struct event *event = NULL;

	return event_new(topic, strlen(topic), NULL, 0, &event) < 0 ? 0 : event_object(event);
}

static void climb_place(const struct daemon *daemon, struct ladder *ladder, const struct script *script)
{
	waits_foresee(daemon, script, object_of(ladder->topic), &ladder->wait);
	if (ladder->wait.reason == WAIT_HELD) {
		answer(ladder, RUNG_HELD, false, "it matches, but its jobs are held: %s", ladder->wait.text);
		return;
	}
	answer(ladder, RUNG_HELD, true, "no hold keeps its jobs");
	if (ladder->wait.text[0])
		answer(ladder, RUNG_PLACE, false, "it matches, but its jobs wait: %s", ladder->wait.text);
	else
		answer(ladder, RUNG_PLACE, true, "runs on %s", ladder->executor);
}

void ladder_climb(const struct daemon *daemon, const char *script, const char *topic, struct ladder *ret)
{
	const struct script *active;

	ladder_taken(daemon, topic, ret);
	ret->script = script;
	ret->entry = registry_find(daemon->registry, script);
	active = ret->entry ? ret->entry->script : NULL;
	climb_script(ret);
	if (!active)
		return;
	climb_filter(ret, active);
	ret->executor = dispatcher_executor_for(&daemon->config->dispatch, active);
	if (ret->matches)
		climb_place(daemon, ret, active);
}

/* -------------------------------------------------------------------------------------- as words */

enum rung ladder_rung(const struct ladder *ladder)
{
	for (int rung = RUNG_TAKEN; rung < RUNG_RUN; rung++)
		if (ladder->rungs[rung].asked && !ladder->rungs[rung].ok)
			return (enum rung)rung;
	return RUNG_MAX;
}

const char *ladder_why(const struct ladder *ladder)
{
	enum rung rung = ladder_rung(ladder);

	return ladder->rungs[rung == RUNG_MAX ? RUNG_PLACE : rung].text;
}

json_t *ladder_array(const struct ladder *ladder)
{
	json_t *array = json_array();

	for (int rung = 0; rung < RUNG_MAX; rung++) {
		const struct rung_answer *from = &ladder->rungs[rung];
		if (!from->asked)
			continue;
		json_t *object = json_object();
		json_set_string(object, "rung", rung_names[rung]);
		json_set_bool(object, "ok", from->ok);
		json_set_string(object, "text", from->text);
		(void)json_array_append_new(array, object);
	}
	return array;
}
