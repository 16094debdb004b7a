/* registry.h - every script the source offers: its active revision, or why there is none. Feeds
 * the router.
 *
 * At start registry_load() takes the last known state from the journal, so the daemon serves
 * while its source is away. Then the source reports:
 *
 *     registry_begin(r)
 *       registry_offer(r, &offer)    for each script that is new or changed
 *       registry_withdraw(r, name)   for each that is gone
 *       registry_keep(r, name)       for each that is unchanged (full scans only)
 *     registry_end(r, full)          until it returns 0; FULL: what was neither offered nor
 *                                    kept is withdrawn
 *
 * Between begin and end the loop may turn; what was offered waits in memory, large amounts of
 * content in the journal. Changes reach the router only at registry_end(), and only if the
 * journal took them: matching never sees half a script. A large update is stored and put in force
 * in parts, so that the loop is not held up.
 *
 * Loop thread only. */
#ifndef CORE_REGISTRY_H
#define CORE_REGISTRY_H

#include "journal.h"
#include "router.h"

struct registry;

struct registry_meta {
	const char *key, *value;
};

struct registry_offer { /* borrowed for the call */
	const char *name; /* valid UTF-8, relative, no "." or ".." component */
	/* NULL with problem, or to keep the stored content (a metadata change) */
	const void *content;
	size_t size;
	const char *source_key; /* opaque to the registry; "" if none */
	const char *topic; /* NULL: no topic metadata */
	const char *const *more_topics; /* if there are several: the others, NULL at the end */
	const struct registry_meta *meta; /* the other metadata */
	size_t meta_count;
	/* an unknown key is an error (a .meta file) rather than somebody else's (an archive) */
	bool meta_strict;
	const char *problem; /* not NULL: cannot be registered, and why */
	bool problem_is_fetch; /* problem is a fetch failure: an older revision stays active */
};

struct registry_entry { /* what `listenerctl scripts` shows; borrowed */
	const char *name, *reason, *source_key;
	enum script_state state;
	const struct script *script; /* active revision or NULL */
	uint64_t updated_realtime_usec;
};

/* registry_new - POLICY is copied.
 * 0, -ENOMEM. */
int registry_new(struct journal *journal, const struct script_policy *policy, struct registry **ret);
void registry_free(struct registry *registry);

/* registry_load - at the start: all scripts as the journal has them.
 * 0, or the journal's error with ERR. */
int registry_load(struct registry *registry, struct lsn_error *err);

/* registry_begin - the source begins to report; registry_end() ends it. */
void registry_begin(struct registry *registry);

/* registry_offer - always takes note of the offer: a refusal becomes the entry's state and
 * reason.
 * Negative only for -ENOMEM and journal errors, then registry_end() will fail too. */
int registry_offer(struct registry *registry, const struct registry_offer *offer, struct lsn_error *err);
void registry_keep(struct registry *registry, const char *name);
void registry_withdraw(struct registry *registry, const char *name);

/* registry_withdraw_below - NAME is a sub-folder, "sub/": everything below it. */
void registry_withdraw_below(struct registry *registry, const char *name);

/* registry_end - store what was offered and put it in force, for about 10 ms.
 * 1: there is more to do; call it again, best from another turn of the loop.
 * What is done is in force.
 * 0: all is committed and in force.
 * Negative: the rest is as it was before; the source should try again later. */
int registry_end(struct registry *registry, bool full, struct lsn_error *err);

/* registry_end_all - all of it, however long it takes: for updates of a few scripts. */
int registry_end_all(struct registry *registry, bool full, struct lsn_error *err);

/* registry_examine - what OFFER would be registered as: its content is there.
 * Nothing is registered, and an update under way is not disturbed.
 * Returns 0 with *RET_STATE. SCRIPT_ACTIVE and SCRIPT_NO_TOPIC come with *RET, one reference; the
 * latter has no filter, and ERR says what to do. SCRIPT_REFUSED: ERR says why.
 * Or -ENOMEM. */
int registry_examine(const struct registry *registry, const struct registry_offer *offer, enum script_state *ret_state,
		     struct script **ret, struct lsn_error *err);

/* registry_generation - rises with every registry_end() that changed what people see: a script,
 * a state, a reason. */
uint64_t registry_generation(const struct registry *registry);

/* registry_match - call FN with every active script that has a filter that matches TOPIC, each
 * once; returns how many.
 * FN must not ask again. */
size_t registry_match(struct registry *registry, const char *topic, size_t size,
		      void (*fn)(void *data, struct script *script), void *data);

/* registry_find - the entry of the script NAME, or NULL.
 * Valid until the next change. */
const struct registry_entry *registry_find(struct registry *registry, const char *name);

/* registry_each - call FN for each script, in the order of their names. */
void registry_each(struct registry *registry, void (*fn)(void *data, const struct registry_entry *entry), void *data);

/* registry_count - how many scripts are in STATE. */
size_t registry_count(const struct registry *registry, enum script_state state);

/* registry_set_policy - POLICY is copied.
 * What was offered under another policy shows an empty source_key from now on, so that sources
 * offer it again at the next scan, which the caller asks for; what a source only keeps has its
 * stored settings checked.
 * The same holds over restarts. */
void registry_set_policy(struct registry *registry, const struct script_policy *policy);

#endif
