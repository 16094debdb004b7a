/* wiring.c - see wiring.h. */
#include "wiring.h"
#include "broker.h"
#include "dispatcher.h"
#include "executors.h"
#include "intake.h"
#include "log.h"
#include "source.h"
#include "subscriptions.h"
#include "util.h"
#include <string.h>
#include <time.h>

/* how much later than noted the broker may have had our session, if the daemon is killed */
#define SESSION_NOTE_USEC (60 * USEC_PER_SEC)
#define EXPECT_DELAY_USEC USEC_PER_SEC

static void on_message(void *data, const struct broker_message *message)
{
	intake_message(((struct daemon *)data)->intake, message);
}

static const char *format_time(uint64_t realtime_usec, char *buf, size_t size)
{
	time_t seconds = (time_t)(realtime_usec / USEC_PER_SEC);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || !strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf[0] = 0;
	return buf;
}

/* note_session - the broker has our session now; written to disk at most once a minute while it
 * stays so. */
static void note_session(struct daemon *daemon, bool at_once)
{
	uint64_t now = now_realtime_usec(), known = daemon->session.known_realtime_usec;

	if (!at_once && known <= now && now - known < SESSION_NOTE_USEC)
		return;
	daemon->session.known_realtime_usec = now;
	int r = session_note_save(&daemon->session, daemon->config->state_dir);
	if (r < 0)
		log_debug("the state of the session cannot be noted: %s", strerror(-r));
}

static void on_batch(void *data)
{
	struct daemon *daemon = data;

	turn_batch(daemon->turn);
	note_session(daemon, false);
}

/* take_session - is it the one that the broker had for us? */
static void take_session(struct daemon *daemon, bool present)
{
	const struct broker_config *config = &daemon->config->broker;
	struct session_note *note = &daemon->session;
	char whose[SESSION_WHOSE_SIZE], from[32], to[32];

	(void)snprintf(whose, sizeof whose, "%.200s at %.160s:%u", config->client_id, config->host, config->port);
	if (session_note_connected(note, whose, present, now_realtime_usec())) {
		daemon->sessions_lost++;
		log_warning("the broker has lost our session: events published between %s and %s are missing",
			    format_time(note->lost_from_realtime_usec, from, sizeof from),
			    format_time(note->lost_to_realtime_usec, to, sizeof to));
	}
	note_session(daemon, true);
	daemon->session_open = true;
}

static void on_connected(void *data, bool session_present)
{
	struct daemon *daemon = data;
	struct broker_figures figures;

	intake_connected(daemon->intake, session_present);
	broker_get_figures(daemon->broker, &figures);
	log_notice("connected to the broker, session %s", session_present ? "resumed" : "new");
	take_session(daemon, session_present);
	/* What happened on the scripts collection while the broker or we were away may never
	 * have been told: archives publish at QoS 0, once. */
	const struct source_ops *ops = daemon->source->ops;
	if (session_present && figures.connects <= 1)
		return;
	if (ops->revalidate)
		ops->revalidate(daemon->source);
	else
		ops->rescan(daemon->source);
}

static void on_disconnected(void *data, const char *reason)
{
	struct daemon *daemon = data;

	turn_disconnected(daemon->turn);
	if (daemon->session_open)
		note_session(daemon, true);
	daemon->session_open = false;
	log_warning("disconnected from the broker: %s", reason);
}

int daemon_make_broker(struct daemon *daemon, const struct config *config, struct broker **ret, struct lsn_error *err)
{
	const struct broker_hooks hooks = { .message = on_message,
					    .batch = on_batch,
					    .connected = on_connected,
					    .disconnected = on_disconnected,
					    .data = daemon };

	struct lsn_error why = { 0 };
	char **stale = NULL;

	if (!daemon->session.whose[0])
		session_note_load(&daemon->session, daemon->config->state_dir);
	if (subscriptions_note(config->state_dir, config->broker.subscriptions, &stale, &why) < 0)
		log_warning("subscriptions of an older configuration may stay with the broker: %s", why.message);
	int r = broker_new(daemon->loop, &config->broker, stale, &hooks, ret, err);
	return r < 0 ? lsn_error_prefix(err, r, "[broker]") : 0;
}

void daemon_set_broker(struct daemon *daemon, struct broker *broker)
{
	broker_free(daemon->broker);
	daemon->broker = broker;
	turn_disconnected(daemon->turn);
	turn_set_broker(daemon->turn, broker);
}

/* ---------------------------------------------------------------------- scripts of an executor */

struct expected {
	const struct dispatch_config *config;
	const char *executor;
	uint64_t scripts;
};

static void expected_count(void *data, const struct registry_entry *entry)
{
	struct expected *expected = data;

	if (entry->script && streq(dispatcher_executor_for(expected->config, entry->script), expected->executor))
		expected->scripts++;
}

static void tell_executor(void *data, struct executor *executor)
{
	struct daemon *daemon = data;
	struct expected expected = { .config = &daemon->config->dispatch, .executor = executor_name(executor) };

	if (executor_draining(executor) || !executor_module(executor)->expect)
		return;
	registry_each(daemon->registry, expected_count, &expected);
	executor_expect(executor, expected.scripts);
}

static int on_expect(sd_event_source *source, uint64_t usec, void *data)
{
	struct daemon *daemon = data;

	(void)source;
	(void)usec;
	executors_each(daemon->executors, tell_executor, daemon);
	return 0;
}

/* A source that reports many changes, one after the other, is waited for. */
void daemon_expect(struct daemon *daemon)
{
	int r = 0;

	if (!daemon->expect_timer)
		r = sd_event_add_time_relative(daemon->loop, &daemon->expect_timer, CLOCK_MONOTONIC, EXPECT_DELAY_USEC,
					       0, on_expect, daemon);
	else
		r = sd_event_source_set_time_relative(daemon->expect_timer, EXPECT_DELAY_USEC);
	if (r >= 0)
		r = sd_event_source_set_enabled(daemon->expect_timer, SD_EVENT_ONESHOT);
	if (r < 0)
		log_warning("executors are not told how many scripts there are: %s", strerror(-r));
}

static void on_scripts_changed(void *data)
{
	struct daemon *daemon = data;

	daemon_expect(daemon);
	if (daemon->turn)
		turn_request(daemon->turn); /* publications may have been held back for it */
}

int daemon_make_source(struct daemon *daemon, const struct source_config *config, struct source **ret,
		       struct lsn_error *err)
{
	if (config->kind == SOURCE_CDMI)
		return source_cdmi_new(daemon->loop, config, daemon->registry, on_scripts_changed, daemon, ret, err);
	return source_directory_new(daemon->loop, config, daemon->registry, on_scripts_changed, daemon, ret, err);
}

void daemon_seen(struct daemon *daemon)
{
	daemon->session.lost_from_realtime_usec = daemon->session.lost_to_realtime_usec = 0;
	(void)session_note_save(&daemon->session, daemon->config->state_dir);
}

void daemon_set_parts(struct daemon *daemon)
{
	const struct intake_parts parts = { .journal = daemon->journal,
					    .registry = daemon->registry,
					    .dispatcher = daemon->dispatcher,
					    .source = daemon->source,
					    .config = daemon->config };
	if (daemon->intake)
		intake_set_parts(daemon->intake, &parts);
}

static bool policy_executor_is_open(void *data, const char *name)
{
	const struct executors_config *config = data;

	for (size_t i = 0; i < config->executor_count; i++)
		if (streq(config->executors[i].name, name))
			return config->executors[i].open;
	return false;
}

void daemon_bind_policy(struct config *config)
{
	config->policy.size_max = config->source.size_max;
	config->policy.executor_open = policy_executor_is_open;
	config->policy.data = &config->executors;
	config->dispatch.rate_max = config->policy.rate_max;
	config->dispatch.retry_delay_max_usec = config->policy.retry_delay_max_usec;
	config->dispatch.output_max_bytes = config->policy.output_max_bytes;
}
