/* wiring.c - see wiring.h. */
#include "wiring.h"
#include "broker.h"
#include "intake.h"
#include "log.h"
#include "source.h"
#include "subscriptions.h"
#include "util.h"

static void on_message(void *data, const struct broker_message *message)
{
	intake_message(((struct daemon *)data)->intake, message);
}

static void on_batch(void *data) { turn_batch(((struct daemon *)data)->turn); }

static void on_connected(void *data, bool session_present)
{
	struct daemon *daemon = data;
	struct broker_figures figures;

	intake_connected(daemon->intake, session_present);
	broker_get_figures(daemon->broker, &figures);
	log_notice("connected to the broker, session %s", session_present ? "resumed" : "new");
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
	turn_disconnected(((struct daemon *)data)->turn);
	log_warning("disconnected from the broker: %s", reason);
}

int daemon_connect(struct daemon *daemon, struct lsn_error *err)
{
	const struct broker_hooks hooks = { .message = on_message,
					    .batch = on_batch,
					    .connected = on_connected,
					    .disconnected = on_disconnected,
					    .data = daemon };

	const struct broker_config *config = &daemon->config->broker;
	struct lsn_error why = { 0 };
	char **stale = NULL;

	if (subscriptions_note(daemon->config->state_dir, config->subscriptions, &stale, &why) < 0)
		log_warning("subscriptions of an older configuration may stay with the broker: %s", why.message);
	int r = broker_new(daemon->loop, config, stale, &hooks, &daemon->broker, err);
	turn_set_broker(daemon->turn, r < 0 ? NULL : daemon->broker);
	return r;
}

static void on_scripts_changed(void *data)
{
	struct daemon *daemon = data;
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
	config->dispatch.retry_delay_max_usec = config->policy.retry_delay_max_usec;
}
