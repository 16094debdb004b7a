/* reload.c - a new configuration is built beside the old one and put in force only when it is
 * whole. What can fail comes first. */
#include "broker.h"
#include "config.h"
#include "control.h"
#include "control_access.h"
#include "control_lookup.h"
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
#include <stdlib.h>
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
	struct source *source; /* NULL: the old one stays in use */
	struct broker *broker; /* likewise */
	struct control_access access;
	bool executors;
};

static void next_abandon(struct daemon *daemon, struct next *next)
{
	broker_free(next->broker);
	source_free(next->source);
	if (next->executors)
		executors_abandon(daemon->executors);
	control_access_clear(&next->access);
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
	return 0;
}

struct reload { /* under way */
	struct next next;
	struct control_lookup *lookup;
	reload_fn fn;
	void *data;
};

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
	daemon->reloads++;
	daemon->reloaded_realtime_usec = now_realtime_usec();
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
	daemon_expect(daemon);
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

static void note_failure(struct daemon *daemon, const struct lsn_error *err)
{
	daemon->reload_failed_realtime_usec = err ? now_realtime_usec() : 0;
	(void)snprintf(daemon->reload_problem, sizeof daemon->reload_problem, "%.*s",
		       (int)sizeof daemon->reload_problem - 1, err ? err->message : "");
	utf8_trim(daemon->reload_problem);
}

/* reload_end - NEXT is in force, or abandoned with R and ERR. */
static void reload_end(struct daemon *daemon, int r, const struct lsn_error *err)
{
	struct reload *reload = daemon->reload;

	daemon->reload = NULL;
	if (r < 0) {
		next_abandon(daemon, &reload->next);
		note_failure(daemon, err);
		log_error("reload failed, the old configuration stays: %s", err->message);
	} else {
		note_failure(daemon, NULL);
		log_notice("reloaded %s", daemon->config_file);
	}
	(void)sd_notify(0, "READY=1");
	reload->fn(reload->data, r, err);
	free(reload);
}

/* on_prepared - the executors can be made; the rest needs no waiting. */
static void on_prepared(void *data, int r, const struct lsn_error *why)
{
	struct daemon *daemon = data;
	struct next *next = &daemon->reload->next;
	struct lsn_error err = { 0 };

	if (r < 0) {
		reload_end(daemon, r, why);
		return;
	}
	next->executors = true;
	r = replace_source(daemon, next, &err);
	if (r >= 0)
		r = replace_broker(daemon, next, &err);
	if (r >= 0)
		r = control_set_access(daemon->control, &next->access, &err);
	if (r >= 0)
		put_in_force(daemon, next);
	reload_end(daemon, r, &err);
}

static void on_people(void *data, struct control_access *access, const struct lsn_error *why)
{
	struct daemon *daemon = data;
	struct reload *reload = daemon->reload;
	struct lsn_error err = { 0 };

	reload->lookup = NULL;
	if (!access) {
		reload_end(daemon, why->code, why);
		return;
	}
	reload->next.access = *access;
	int r = executors_prepare(daemon->executors, &reload->next.config->executors, on_prepared, daemon, &err);
	if (r < 0)
		reload_end(daemon, r, &err);
}

int daemon_reload(struct daemon *daemon, reload_fn fn, void *data, struct lsn_error *err)
{
	if (daemon->state == DAEMON_DRAINING)
		return lsn_error_set(err, -EBUSY, "the daemon is stopping");
	if (daemon->reload)
		return lsn_error_set(err, -EBUSY, "a reload is under way; try again when it has ended");
	struct reload *reload = calloc(1, sizeof *reload);
	if (!reload)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*reload = (struct reload){ .fn = fn, .data = data };
	notify_reloading();
	int r = next_build(daemon, &reload->next, err);
	if (r >= 0)
		r = control_lookup_start(daemon->loop, &reload->next.config->control, on_people, daemon,
					 &reload->lookup, err);
	if (r < 0) {
		note_failure(daemon, err);
		next_abandon(daemon, &reload->next);
		free(reload);
		(void)sd_notify(0, "READY=1");
		return r;
	}
	daemon->reload = reload;
	return 0;
}

void daemon_reload_cancel(struct daemon *daemon)
{
	struct lsn_error err;

	if (!daemon->reload)
		return;
	control_lookup_cancel(daemon->reload->lookup);
	executors_abandon(daemon->executors);
	reload_end(daemon, lsn_error_set(&err, -ECANCELED, "the daemon is stopping"), &err);
}
