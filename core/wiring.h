/* wiring.h - the parts of listenerd in one struct, and the hooks that connect them. Nobody below
 * knows the whole. */
#ifndef CORE_WIRING_H
#define CORE_WIRING_H

#include "config.h"
#include "control.h"
#include "registry.h"
#include "session_note.h"
#include "test_jobs.h"
#include "turn.h"

/* Active scripts that no event can run, counted for `conditions`. */
struct undeliverable {
	uint64_t generation; /* of the registry */
	uint64_t reloads; /* that were in force */
	size_t looked; /* so many entries were looked at, in their order */
	size_t count;
	char first[160]; /* its name */
};

enum daemon_state { DAEMON_STARTING, DAEMON_RUNNING, DAEMON_DRAINING, DAEMON_STATE_MAX };

struct daemon {
	sd_event *loop;
	char *config_file;
	struct config *config;
	struct journal *journal;
	struct registry *registry;
	struct executors *executors;
	struct dispatcher *dispatcher;
	struct test_jobs *tests;
	struct intake *intake;
	struct turn *turn;
	struct source *source;
	struct broker *broker; /* NULL before the first scan, and if broker_problem says why */
	char broker_problem[160];
	struct control *control;
	struct session_note session; /* at the broker */
	bool session_open; /* the broker is connected */
	struct reload *reload; /* under way, or NULL */
	uint64_t reloads; /* that were put in force */
	uint64_t reloaded_realtime_usec; /* when the configuration in force was read */
	uint64_t sessions_lost; /* at the broker, since the start */
	bool reload_again; /* asked for by a signal meanwhile */
	/* the last reload failed, for this reason; 0: it did not */
	uint64_t reload_failed_realtime_usec;
	char reload_problem[400];
	struct undeliverable undeliverable;
	/* waits for the first scan before it connects to the broker; at the end, for the drain */
	sd_event_source *settle_timer;
	sd_event_source *prune_timer;
	sd_event_source *expect_timer; /* scripts or routes have changed: executors are told */
	enum daemon_state state;
	uint64_t started_realtime_usec, started_monotonic_usec, drain_until_usec;
	uint64_t replay_next_usec; /* the next job may be replayed then, whoever asks */
};

/* daemon_make_broker - a connection with CONFIG's settings, which begins when the loop runs
 * next.
 * 0, or a negative errno with ERR: the settings cannot work. */
int daemon_make_broker(struct daemon *daemon, const struct config *config, struct broker **ret, struct lsn_error *err);

/* daemon_set_broker - BROKER (taken over, or NULL) replaces the connection there is. */
void daemon_set_broker(struct daemon *daemon, struct broker *broker);

int daemon_make_source(struct daemon *daemon, const struct source_config *config, struct source **ret,
		       struct lsn_error *err);

/* daemon_expect - tell each executor, soon, how many scripts may have jobs for it. */
void daemon_expect(struct daemon *daemon);
void daemon_bind_policy(struct config *config);

/* daemon_seen - somebody has seen what status warns of: a lost session. */
void daemon_seen(struct daemon *daemon);

/* daemon_set_parts - tell the parts that borrow them about a new source or configuration. */
void daemon_set_parts(struct daemon *daemon);

#endif
