/* reload.c - a new configuration is built beside the old one and put in force only when it is
 * whole. What can fail comes first. */
#include "broker.h"
#include "config.h"
#include "control.h"
#include "reload.h"
#include "dispatcher.h"
#include "executors.h"
#include "intake.h"
#include "journal.h"
#include "log.h"
#include "registry.h"
#include "source.h"
#include "turn.h"
#include "util.h"
#include <errno.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* What cannot change without a restart. */
static int check_fixed(const struct config *old, const struct config *new, struct lsn_error *err)
{
	const struct {
		const char *key, *old, *new;
	} fixed[] = {
		{ "[listener] identity", old->identity, new->identity },
		{ "[listener] state_dir", old->state_dir, new->state_dir },
		{ "[listener] run_dir", old->run_dir, new->run_dir },
		{ "[journal] path", old->journal.path, new->journal.path },
		{ "[control] socket", old->control.socket, new->control.socket },
	};
	for (size_t i = 0; i < ELEMENTSOF(fixed); i++)
		if (!streq(fixed[i].old, fixed[i].new))
			return lsn_error_set(err, -EINVAL,
					     "%s cannot change from %s to %s while the daemon runs: restart it",
					     fixed[i].key, fixed[i].old, fixed[i].new);
	return 0;
}

struct next { /* what was built beside the old */
	struct config *config;
	struct source *source; /* NULL: the old one serves on */
	struct broker *broker; /* likewise */
	bool executors;
};

static void next_abandon(struct daemon *daemon, struct next *next)
{
	broker_free(next->broker);
	source_free(next->source);
	if (next->executors)
		executors_abandon(daemon->executors);
	config_free(next->config);
}

static int next_build(struct daemon *daemon, struct next *next, struct lsn_error *err)
{
	int r = config_load(daemon->config_file, &next->config, err);
	if (r < 0)
		return r;
	r = check_fixed(daemon->config, next->config, err);
	if (r < 0)
		return r;
	daemon_bind_policy(next->config);
	r = executors_prepare(daemon->executors, &next->config->executors, err);
	next->executors = r >= 0;
	return r;
}

/* replace_source - the old source keeps serving if it fails. */
static int replace_source(struct daemon *daemon, struct next *next, struct lsn_error *err)
{
	if (config_section_equal(daemon->config, next->config, "scripts"))
		return 0;
	return daemon_make_source(daemon, &next->config->source, &next->source, err);
}

/* replace_broker - a connection that is missing is made again, whether something has changed or
 * not. Before the first scan nothing is connected: then the settings are only tried. */
static int replace_broker(struct daemon *daemon, struct next *next, struct lsn_error *err)
{
	const struct config *config = next->config;

	if (daemon->broker && config_section_equal(daemon->config, config, "broker"))
		return 0;
	int r = intake_grow_window(daemon->intake, config->broker.receive_max);
	if (r < 0)
		return lsn_error_set(err, r, "the redelivery window cannot grow to %u: %s", config->broker.receive_max,
				     strerror(-r));
	r = daemon_make_broker(daemon, config, &next->broker, err);
	if (r >= 0 && daemon->state == DAEMON_STARTING) {
		broker_free(next->broker);
		next->broker = NULL;
	}
	return r;
}

static void put_in_force(struct daemon *daemon, struct next *next)
{
	struct config *old = daemon->config;

	executors_swap(daemon->executors);
	daemon->config = next->config;
	log_init(daemon->config->log_level);
	journal_set_config(daemon->journal, &daemon->config->journal);
	registry_set_policy(daemon->registry, &daemon->config->policy);
	dispatcher_set_config(daemon->dispatcher, &daemon->config->dispatch);
	if (next->source) {
		source_free(daemon->source);
		daemon->source = next->source;
	} else {
		daemon->source->config = &daemon->config->source;
		daemon->source->ops->rescan(daemon->source);
	}
	daemon_set_parts(daemon);
	if (next->broker) {
		daemon_set_broker(daemon, next->broker);
		daemon->broker_problem[0] = 0;
	} else if (daemon->broker) {
		broker_set_config(daemon->broker, &daemon->config->broker);
	}
	config_free(old);
	turn_request(daemon->turn);
}

static void notify_reloading(void)
{
	char text[64];

	(void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)now_monotonic_usec());
	(void)sd_notify(0, text);
}

int daemon_reload(struct daemon *daemon, struct lsn_error *err)
{
	struct next next = { 0 };

	if (daemon->state == DAEMON_DRAINING)
		return lsn_error_set(err, -EBUSY, "the daemon is stopping");
	notify_reloading();
	int r = next_build(daemon, &next, err);
	if (r >= 0)
		r = replace_source(daemon, &next, err);
	if (r >= 0)
		r = replace_broker(daemon, &next, err);
	if (r >= 0)
		r = control_set_config(daemon->control, &next.config->control, err);
	if (r < 0) {
		next_abandon(daemon, &next);
	} else {
		put_in_force(daemon, &next);
		log_notice("reloaded %s", daemon->config_file);
	}
	(void)sd_notify(0, "READY=1");
	return r;
}
