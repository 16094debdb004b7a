/* executors_private.h - shared by executors.c (which instances there are), instance.c (calling
 * one) and health.c (how one says it is). */
#ifndef CORE_EXECUTORS_PRIVATE_H
#define CORE_EXECUTORS_PRIVATE_H

#include "executors.h"
#include "module.h"

enum executor_role {
	EXECUTOR_PREPARED, /* initialised, waits for executors_swap() */
	EXECUTOR_IN_FORCE,
	EXECUTOR_DRAINING, /* replaced or removed: ends what it has, then goes */
};

/* Runs that know their number. */
struct runs {
	LIST_HEAD(, run) list;
	unsigned length;
};

/* A probe that may still call back.
 * Kept for reuse when it has ended, so that a second end() hits nothing that is gone. */
struct probe {
	LIST_ENTRY(probe) list;
	struct executor *executor;
	lsn_probe_fn fn;
	void (*end)(void *data);
	void *data;
	bool running;
};

struct executor {
	struct executors *set;
	TAILQ_ENTRY(executor) all;
	enum executor_role role;
	struct executor_config config;
	struct module *module;
	struct host *host;
	void *instance;
	bool initialised, detached, ready_pending;
	const struct run *entering; /* submit() or recover() of this one is on the stack */
	struct runs out; /* reserved or submitted */
	struct runs done; /* reported, not forgotten */
	uint64_t worked_usec; /* CLOCK_MONOTONIC: it took or reported one, or was made */
	/* of those that are out, by the address of their abi: what a module hands us is checked
	 * without looking at what it points to */
	struct table by_address;
	unsigned probing; /* probes that run */
	LIST_HEAD(probe_list, probe) probes;
	struct executor_health health;
	uint64_t health_usec; /* asked for it then; 0: never */
	char version[13];
};
TAILQ_HEAD(executor_list, executor);

struct plan { /* one section of the configuration, on its way to executors_swap() */
	struct executors *set;
	struct executor *executor; /* NULL: not made yet */
	/* for an instance that is kept: what it gets; else empty once it is made */
	struct executor_config config;
	struct module *module; /* until the instance has it */
	struct child *trial; /* running */
};

struct executors {
	sd_event *loop;
	struct executors_hooks hooks;
	struct module_list modules;
	/* in force in the order of the configuration, then draining, youngest first, then
	 * prepared */
	struct executor_list all;
	struct plan *plan;
	size_t plan_count;
	bool planned; /* all instances are made */
	struct { /* executors_prepare() under way */
		const struct executors_config *config; /* NULL: none */
		executors_prepared_fn fn;
		void *data;
		sd_event_source *soon; /* there is nothing to wait for */
	} prepare;
	sd_event_source *later; /* what must not happen inside a module's call */
};

/* executors_later - have a turn outside of all callbacks soon: ready(), broken rules, instances
 * that are drained. */
void executors_later(struct executors *set);

/* executor_new - an instance from CONFIG and MODULE (both taken over on success); init() has
 * been called. */
int executor_new(struct executors *set, const struct executors_config *common, struct executor_config *config,
		 struct module *module, struct executor **ret, struct lsn_error *err);

/* executor_destroy - free() and all that was ours. */
void executor_destroy(struct executor *executor);

/* executor_end_lost - report the jobs whose rules were broken. */
void executor_end_lost(struct executor *executor);
bool executor_idle(const struct executor *executor); /* nothing is owed by it or to it */

int executor_config_copy(struct executor_config *to, const struct executor_config *from);
void executor_config_clear(struct executor_config *config);

#endif
