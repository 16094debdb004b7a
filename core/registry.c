/* registry.c - see registry.h.
 *
 * Entries stand in an array sorted by name. An update in progress hangs a `change` on each entry
 * it concerns (new names get an entry that is not `present` yet); registry_end() writes all
 * changes in one transaction, and only when that is committed puts them in force. What would be
 * in the router's way (memory) is done before the commit and undone if it fails: nothing matches
 * meanwhile, because nobody else runs. */
#include "registry.h"
#include "cleanup.h"
#include "event.h"
#include "log.h"
#include "script.h"
#include "stall.h"
#include "topic.h"

#include <assert.h>
#include <errno.h>
#include <suggest.h>
#include <util.h>

/* One call of registry_end() stores and puts in force for so long. */
#define END_USEC (10 * USEC_PER_MSEC)
#define END_LOOK 16 /* changes between looks at the clock */
#define STAGED_MAX_BYTES ((size_t)4 << 20) /* contents of an unfinished update in memory */
#define POLICY_MARK_SIZE 17 /* 16 digits and a blank, before the source's own key */

struct change {
	enum script_state state;
	char *reason, *key;
	struct script *script; /* a reference; may be the entry's own */
	void *content; /* of a new version, until the journal has it */
	size_t size;
	bool withdraw;
	bool routed; /* registry_end() has put the script into the router */
};

struct entry {
	struct registry_entry shown; /* name, reason and source_key point to what is owned here */
	char *name, *reason, *key;
	struct script *script;
	struct change *change;
	bool present; /* not only planned */
	bool seen; /* offered or kept in this update */
	bool recheck; /* offered under another policy */
};

struct registry {
	struct journal *journal;
	struct script_policy policy;
	char policy_mark[POLICY_MARK_SIZE + 1];
	struct router *router;
	struct entry **entries;
	size_t count, capacity;
	size_t by_state[SCRIPT_STATE_MAX];
	size_t changes, staged_bytes;
	uint64_t matches; /* questions answered; script->matched has the number of the last */
	bool ending; /* registry_end() has begun */
	size_t end_next; /* the entry at which it goes on */
	uint64_t generation;
	struct lsn_error failure; /* why this update cannot succeed; code 0: it can */
};

/* -------------------------------------------------------------------------------------- entries */

static void change_free(struct change *change)
{
	if (!change)
		return;
	(void)script_unref(change->script);
	free(change->reason);
	free(change->key);
	free(change->content);
	free(change);
}
DEFINE_CLEANUP(struct change *, change_freep, change_free)
#define _cleanup_change_ _cleanup_(change_freep)

static void entry_free(struct entry *entry)
{
	if (!entry)
		return;
	change_free(entry->change);
	(void)script_unref(entry->script);
	free(entry->name);
	free(entry->reason);
	free(entry->key);
	free(entry);
}
DEFINE_CLEANUP(struct entry *, entry_freep, entry_free)
#define _cleanup_entry_ _cleanup_(entry_freep)

/* Where NAME stands or would stand; *RET_FOUND says which. */
static size_t entry_index(const struct registry *registry, const char *name, bool *ret_found)
{
	size_t low = 0, high = registry->count;
	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, registry->entries[middle]->name);
		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static struct entry *entry_find(const struct registry *registry, const char *name)
{
	bool found;
	size_t i = entry_index(registry, name, &found);
	return found ? registry->entries[i] : NULL;
}

/* The entry of NAME, a new one that is not present if there is none; NULL: no memory. */
static struct entry *entry_make(struct registry *registry, const char *name)
{
	bool found;
	size_t i = entry_index(registry, name, &found);
	if (found)
		return registry->entries[i];
	if (registry->count == registry->capacity) {
		size_t capacity = registry->capacity ? registry->capacity * 2 : 64;
		struct entry **entries = reallocarray(registry->entries, capacity, sizeof(struct entry *));
		if (!entries)
			return NULL;
		registry->entries = entries;
		registry->capacity = capacity;
	}
	_cleanup_entry_ struct entry *entry = calloc(1, sizeof *entry);
	if (!entry)
		return NULL;
	entry->name = strdup(name);
	if (!entry->name)
		return NULL;
	memmove(registry->entries + i + 1, registry->entries + i, (registry->count - i) * sizeof(struct entry *));
	registry->entries[i] = entry;
	registry->count++;
	return TAKE_PTR(entry);
}

/* Drops the entries that are not present. */
static void entries_sweep(struct registry *registry)
{
	size_t kept = 0;
	for (size_t i = 0; i < registry->count; i++) {
		if (registry->entries[i]->present)
			registry->entries[kept++] = registry->entries[i];
		else
			entry_free(registry->entries[i]);
	}
	registry->count = kept;
}

static const char *key_of_source(const struct registry *registry, const struct entry *entry)
{
	if (entry->recheck || strncmp(entry->key, registry->policy_mark, POLICY_MARK_SIZE) != 0)
		return "";
	return entry->key + POLICY_MARK_SIZE;
}

static const struct registry_entry *entry_show(const struct registry *registry, struct entry *entry)
{
	entry->shown.name = entry->name;
	entry->shown.reason = entry->reason;
	entry->shown.source_key = key_of_source(registry, entry);
	entry->shown.script = entry->script;
	return &entry->shown;
}

/* --------------------------------------------------------------------------------- the registry */

static void hash_in(uint64_t *hash, uint64_t x)
{
	for (unsigned i = 0; i < 8; i++, x >>= 8)
		*hash = (*hash ^ (x & 255)) * UINT64_C(0x100000001b3);
}

/* A mark of what POLICY says, kept before each source_key: settings that were worked out under
 * another policy are to be worked out again. Which executors are open cannot be seen here;
 * script_settings_check() and registry_set_policy() see to that. */
static void policy_take(struct registry *registry, const struct script_policy *policy)
{
	const struct script_settings *d = &policy->defaults;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	registry->policy = *policy;
	for (const char *p = d->executor; *p; p++)
		hash_in(&hash, (unsigned char)*p);
	const uint64_t fields[] = {
		d->timeout_usec,
		d->memory_bytes,
		(uint64_t)d->output,
		(uint64_t)d->input,
		(uint64_t)d->on_lost,
		d->retries,
		d->retry_delay_usec,
		d->retry_on,
		policy->timeout_max_usec,
		policy->memory_max_bytes,
		policy->retry_delay_max_usec,
		policy->retries_max,
		policy->capture_allowed,
		policy->on_lost_allowed,
		policy->loop_allowed,
		(uint64_t)(policy->rate_max * 1000),
		policy->size_max,
	};
	for (size_t i = 0; i < ELEMENTSOF(fields); i++)
		hash_in(&hash, fields[i]);
	(void)snprintf(registry->policy_mark, sizeof registry->policy_mark, "%016llx ", (unsigned long long)hash);
}

int registry_new(struct journal *journal, const struct script_policy *policy, struct registry **ret)
{
	struct registry *registry = calloc(1, sizeof *registry);
	if (!registry)
		return -ENOMEM;
	int r = router_new(&registry->router);
	if (r < 0) {
		free(registry);
		return r;
	}
	registry->journal = journal;
	policy_take(registry, policy);
	*ret = registry;
	return 0;
}

void registry_free(struct registry *registry)
{
	if (!registry)
		return;
	router_free(registry->router);
	for (size_t i = 0; i < registry->count; i++)
		entry_free(registry->entries[i]);
	free(registry->entries);
	free(registry);
}

void registry_set_policy(struct registry *registry, const struct script_policy *policy)
{
	policy_take(registry, policy);
	for (size_t i = 0; i < registry->count; i++)
		registry->entries[i]->recheck = true;
}

static void script_unroute(struct registry *registry, struct script *script)
{
	const char *filter = NULL;
	while ((filter = script_filter_after(script, filter)))
		(void)router_remove(registry->router, filter, strlen(filter), script);
}

static int script_route(struct registry *registry, struct script *script)
{
	const char *filter = NULL;
	while ((filter = script_filter_after(script, filter))) {
		int r = router_add(registry->router, filter, strlen(filter), script);
		if (r < 0 && r != -EEXIST) { /* the author may have written one twice */
			script_unroute(registry, script);
			return r;
		}
	}
	return 0;
}

/* ----------------------------------------------------------------------------- from the journal */

struct load {
	struct registry *registry;
	struct lsn_error *err;
	int result;
};

static int check_filters(const struct script *script, struct lsn_error *err)
{
	const char *filter = NULL;
	int r = 0;
	while (r >= 0 && (filter = script_filter_after(script, filter)))
		r = topic_check_filter(filter, strlen(filter), err);
	return r;
}

static int load_row(struct registry *registry, const struct journal_script *row, struct lsn_error *err)
{
	struct entry *entry = entry_make(registry, row->name);
	if (!entry || entry->present || row->state >= SCRIPT_STATE_MAX)
		return entry ? 0 : -ENOMEM;
	struct script *script = row->script;
	struct lsn_error why = { 0 };
	enum script_state state = row->state;
	/* The limits may have become tighter since it was stored, the source may be away for
	 * long: hold it to them now. */
	int r = script ? check_filters(script, &why) : 0;
	if (r >= 0 && script)
		r = script_settings_check(&script->settings, &registry->policy, &why);
	if (r < 0) {
		script = NULL;
		state = SCRIPT_REFUSED;
	}
	entry->reason = strdup(r < 0 ? why.message : row->reason);
	entry->key = strdup(row->source_key);
	if (!entry->reason || !entry->key || (script && script_route(registry, script) < 0))
		return lsn_error_set(err, -ENOMEM, "out of memory");
	entry->script = script ? script_ref(script) : NULL;
	entry->shown.state = state;
	entry->shown.updated_realtime_usec = row->updated_realtime_usec;
	/* What is not active is offered again in any case: what stood in its way may be gone,
	 * without a trace in the source. */
	entry->recheck = r < 0 || state == SCRIPT_REFUSED || state == SCRIPT_FETCH_FAILED;
	entry->present = true;
	registry->by_state[state]++;
	return 0;
}

static void on_row(void *data, const struct journal_script *row)
{
	struct load *load = data;
	if (load->result >= 0)
		load->result = load_row(load->registry, row, load->err);
}

int registry_load(struct registry *registry, struct lsn_error *err)
{
	struct load load = { registry, err, 0 };
	int r = journal_each_script(registry->journal, on_row, &load, err);
	entries_sweep(registry);
	return r < 0 ? r : load.result;
}

/* --------------------------------------------------------------------------------------- offers */

/* A name as the registry knows it: as it is, or if it is no proper name, in a form that can be
 * shown. */
static const char *shown_name(const char *name, char buf[SCRIPT_NAME_MAX], const char **ret_problem)
{
	size_t size = strlen(name);
	*ret_problem = NULL;
	if (size == 0 || size > SCRIPT_NAME_MAX)
		*ret_problem = "the name is empty or too long: at most 1024 bytes";
	else if (!utf8_valid(name, size))
		*ret_problem = "the name is not UTF-8: rename the script";
	for (const char *p = name; !*ret_problem && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*ret_problem = "the name holds a control character: rename the script";
	for (const char *p = name; !*ret_problem; p = strchr(p, '/') + 1) {
		size_t n = strcspn(p, "/");
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			*ret_problem = "the name has an empty, \".\" or \"..\" component";
		if (!p[n])
			break;
	}
	return *ret_problem ? str_quote(buf, SCRIPT_NAME_MAX, name, size) : name;
}

static int set_state(struct change *change, enum script_state state, const char *reason)
{
	change->state = state;
	free(change->reason);
	change->reason = strdup(reason);
	return change->reason ? 0 : -ENOMEM;
}

/* What a .meta file may set; an archive's metadata may hold anything besides. */
static const char *const known_keys[] = { "topic",    "timeout", "memory",  "output",      "stdin",
					  "executor", "on_lost", "retries", "retry_delay", "retry_on",
					  "loop",     "rate",    NULL };

static int unknown_key(const char *key, struct lsn_error *err)
{
	char quoted[64];
	const char *near = suggest_from(key, known_keys);
	str_quote(quoted, sizeof quoted, key, strlen(key));
	if (near)
		return lsn_error_set(err, -EINVAL, "unknown key %s: did you mean %s?", quoted, near);
	return lsn_error_set(
		err, -EINVAL,
		"unknown key %s; the keys are topic, timeout, memory, output, stdin, executor, on_lost, retries, "
		"retry_delay, retry_on, loop and rate",
		quoted);
}

static int read_settings(const struct registry *registry, const struct registry_offer *offer,
			 struct script_settings *ret, struct lsn_error *err)
{
	*ret = registry->policy.defaults;
	for (size_t i = 0; i < offer->meta_count; i++) {
		const struct registry_meta *meta = &offer->meta[i];
		if (streq(meta->key, "topic"))
			continue;
		int r = script_settings_set(ret, &registry->policy, meta->key, meta->value, err);
		if (r < 0)
			return r;
		if (r > 0 && offer->meta_strict)
			return unknown_key(meta->key, err);
	}
	return 0;
}

/* The key that stands where "topic" should: "Topic", "topci". NULL: none does. */
static const char *mistaken_topic(const struct registry_offer *offer)
{
	static const char *const topic[] = { "topic", NULL };
	for (size_t i = 0; i < offer->meta_count; i++) {
		const char *near = suggest_from(offer->meta[i].key, known_keys);
		if (near && streq(near, *topic))
			return offer->meta[i].key;
	}
	return NULL;
}

/* Why there is no topic: what the author should write, and instead of what. */
static int change_to_no_topic(struct change *change, const struct entry *entry, const struct registry_offer *offer)
{
	struct lsn_error why = { 0 };
	char quoted[64];
	const char *mistaken = mistaken_topic(offer);
	if (mistaken)
		(void)lsn_error_set(&why, 0, "it has no %stopic, but %s: did you mean topic?",
				    offer->meta_strict ? "" : "metadata ",
				    str_quote(quoted, sizeof quoted, mistaken, strlen(mistaken)));
	else if (offer->meta_strict)
		(void)lsn_error_set(
			&why, 0, "it has no topic: write a line such as \"topic = create/+/projects/#\" into %s.meta",
			entry->name);
	else
		(void)lsn_error_set(&why, 0,
				    "it has no metadata \"topic\": add it, for example topic = create/+/projects/#");
	return set_state(change, mistaken && offer->meta_strict ? SCRIPT_REFUSED : SCRIPT_NO_TOPIC, why.message);
}

static bool settings_equal(const struct script_settings *a, const struct script_settings *b)
{
	return a->timeout_usec == b->timeout_usec && a->memory_bytes == b->memory_bytes && a->output == b->output &&
	       a->input == b->input && a->on_lost == b->on_lost && streq(a->executor, b->executor) &&
	       a->retries == b->retries && a->retry_delay_usec == b->retry_delay_usec && a->retry_on == b->retry_on &&
	       a->loop_allowed == b->loop_allowed && a->rate_period_usec == b->rate_period_usec;
}

static bool filters_equal(const struct script *a, const struct script *b)
{
	size_t size = filters_size(a->more_filters);
	return streq(a->filter, b->filter) && filters_size(b->more_filters) == size &&
	       (size == 0 || memcmp(a->more_filters, b->more_filters, size) == 0);
}

static bool script_equal(const struct script *a, const struct script *b)
{
	return streq(a->version, b->version) && filters_equal(a, b) && settings_equal(&a->settings, &b->settings);
}

/* The filter of an offer, normalised and valid. 0, -ENOMEM, or -EINVAL with the reason. */
static int read_filter(const char *topic, char **ret, struct lsn_error *err)
{
	char quoted[100];
	_cleanup_free_ char *filter = strdup(topic);
	if (!filter)
		return -ENOMEM;
	int r = topic_check_filter(filter, topic_normalise_filter(filter), err);
	if (r < 0)
		return lsn_error_prefix(err, r, "topic = %s", str_quote(quoted, sizeof quoted, topic, strlen(topic)));
	*ret = TAKE_PTR(filter);
	return 0;
}

static size_t count_topics(const struct registry_offer *offer)
{
	size_t count = 1;
	while (offer->more_topics && offer->more_topics[count - 1])
		count++;
	return count;
}

static int append_filter(char **filters, size_t *size, const char *filter)
{
	size_t length = strlen(filter) + 1;
	char *larger = realloc(*filters, *size + length + 1);
	if (!larger)
		return -ENOMEM;
	memcpy(larger + *size, filter, length);
	larger[*size + length] = '\0';
	*filters = larger;
	*size += length;
	return 0;
}

/* The filters after the first, likewise. */
static int read_more_filters(const struct registry_offer *offer, struct script *script, struct lsn_error *err)
{
	size_t count = count_topics(offer), size = 0;
	if (count > SCRIPT_FILTERS_MAX)
		return lsn_error_set(err, -EINVAL, "it has %zu topics: at most %d are allowed", count,
				     SCRIPT_FILTERS_MAX);
	for (size_t i = 1; i < count; i++) {
		_cleanup_free_ char *filter = NULL;
		int r = read_filter(offer->more_topics[i - 1], &filter, err);
		if (r == -EINVAL)
			return lsn_error_prefix(err, r, "topic %zu of %zu", i + 1, count);
		if (r >= 0)
			r = append_filter(&script->more_filters, &size, filter);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_filters(const struct registry_offer *offer, struct script *script, struct lsn_error *err)
{
	int r = read_filter(offer->topic, &script->filter, err);
	if (r == -EINVAL && count_topics(offer) > 1)
		return lsn_error_prefix(err, r, "topic 1 of %zu", count_topics(offer));
	return r < 0 ? r : read_more_filters(offer, script, err);
}

/* Which version an offer is of: of its content, or the one that is stored. -EAGAIN: nothing is
 * stored. */
static int read_version(const struct registry *registry, const struct entry *entry, const struct registry_offer *offer,
			struct script *script, struct lsn_error *err)
{
	if (!offer->content && !entry->script)
		return lsn_error_set(err, -EAGAIN, "its content has not been read yet; the next scan reads it");
	if (!offer->content) {
		memcpy(script->version, entry->script->version, sizeof script->version);
		script->size = entry->script->size;
		return 0;
	}
	int r = script_check_content(offer->content, offer->size, &registry->policy, err);
	if (r < 0)
		return r;
	script_digest(offer->content, offer->size, script->version);
	script->size = offer->size;
	return 0;
}

/* Makes a script of an offer. 0, -ENOMEM, or another error: what is wrong with the script. */
static int make_script(const struct registry *registry, const struct entry *entry, const struct registry_offer *offer,
		       struct script **ret, struct lsn_error *err)
{
	_cleanup_script_ struct script *script = calloc(1, sizeof *script);
	if (!script)
		return -ENOMEM;
	script->refs = 1;
	script->name = strdup(entry->name);
	if (!script->name)
		return -ENOMEM;
	int r = read_filters(offer, script, err);
	if (r >= 0)
		r = read_settings(registry, offer, &script->settings, err);
	if (r >= 0)
		r = read_version(registry, entry, offer, script, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(script);
	return 0;
}

/* A script that could not be read now: what serves goes on serving. */
static int change_to_fetch_failed(struct change *change, const struct entry *entry, const char *reason)
{
	change->script = entry->script ? script_ref(entry->script) : NULL;
	change->key[0] = '\0'; /* so that it is tried again */
	return set_state(change, SCRIPT_FETCH_FAILED, reason);
}

static int change_to_active(struct registry *registry, struct change *change, const struct entry *entry,
			    const struct registry_offer *offer, struct script *script)
{
	if (entry->script && script_equal(entry->script, script)) {
		change->script = script_ref(entry->script);
		return set_state(change, SCRIPT_ACTIVE, "");
	}
	change->script = script_ref(script);
	if (offer->content) {
		change->content = malloc(offer->size);
		if (!change->content)
			return -ENOMEM;
		memcpy(change->content, offer->content, offer->size);
		change->size = offer->size;
		registry->staged_bytes += offer->size;
	}
	return set_state(change, SCRIPT_ACTIVE, "");
}

/* Works out what OFFER makes of ENTRY. Negative only for -ENOMEM. */
static int offer_judge(struct registry *registry, const struct entry *entry, const struct registry_offer *offer,
		       const char *name_problem, struct change *change)
{
	_cleanup_script_ struct script *script = NULL;
	struct lsn_error why = { 0 };
	if (name_problem)
		return set_state(change, SCRIPT_REFUSED, name_problem);
	if (offer->problem && offer->problem_is_fetch)
		return change_to_fetch_failed(change, entry, offer->problem);
	if (offer->problem)
		return set_state(change, SCRIPT_REFUSED, offer->problem);
	if (!offer->topic)
		return change_to_no_topic(change, entry, offer);
	int r = make_script(registry, entry, offer, &script, &why);
	if (r == -ENOMEM)
		return r;
	if (r == -EAGAIN)
		return change_to_fetch_failed(change, entry, why.message);
	if (r < 0)
		return set_state(change, SCRIPT_REFUSED, why.message);
	return change_to_active(registry, change, entry, offer, script);
}

/* examine_topic - a script without one has # instead, and ERR says what to write. */
static int examine_topic(struct registry_offer *offer, const struct entry *entry, enum script_state *ret_state,
			 struct lsn_error *err)
{
	_cleanup_change_ struct change *change = calloc(1, sizeof *change);

	*ret_state = SCRIPT_ACTIVE;
	if (offer->topic)
		return 0;
	if (!change || change_to_no_topic(change, entry, offer) < 0)
		return -ENOMEM;
	offer->topic = "#";
	*ret_state = change->state;
	(void)lsn_error_set(err, 0, "%s", change->reason);
	return 0;
}

int registry_examine(const struct registry *registry, const struct registry_offer *offer, enum script_state *ret_state,
		     struct script **ret, struct lsn_error *err)
{
	char buf[SCRIPT_NAME_MAX];
	struct registry_offer whole = *offer;
	struct lsn_error why = { 0 };
	const char *problem, *name = shown_name(offer->name, buf, &problem);
	struct entry entry = { .name = (char *)(uintptr_t)name };
	enum script_state state;

	problem = problem ? problem : offer->problem;
	*ret_state = SCRIPT_REFUSED;
	if (problem) {
		(void)lsn_error_set(err, -EINVAL, "%s", problem);
		return 0;
	}
	int r = examine_topic(&whole, &entry, &state, err);
	if (r < 0 || state == SCRIPT_REFUSED)
		return r;
	r = make_script(registry, &entry, &whole, ret, &why);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		(void)lsn_error_set(err, r, "%s", why.message);
	else
		*ret_state = state;
	return 0;
}

/* ------------------------------------------------------------------------------------ an update */

static int scan_fail(struct registry *registry, int code, const char *message)
{
	return lsn_error_set(&registry->failure, code, "%s", message);
}

/* Forgets what an update has gathered. */
static void scan_abandon(struct registry *registry)
{
	for (size_t i = 0; i < registry->count; i++) {
		struct entry *entry = registry->entries[i];
		change_free(TAKE_PTR(entry->change));
		entry->seen = false;
	}
	if (registry->changes > 0)
		entries_sweep(registry);
	registry->changes = 0;
	registry->staged_bytes = 0;
	registry->ending = false;
	registry->end_next = 0;
}

void registry_begin(struct registry *registry)
{
	scan_abandon(registry);
	registry->failure = (struct lsn_error){ 0 };
}

static void offer_hang(struct registry *registry, struct entry *entry, struct change *change)
{
	if (!entry->change)
		registry->changes++;
	else if (entry->change->content)
		registry->staged_bytes -= entry->change->size;
	change_free(entry->change);
	entry->change = change;
	entry->seen = true;
}

/* Hands the contents gathered so far to the journal. Revisions that no row names yet do no harm. */
static int flush_contents(struct registry *registry, struct lsn_error *err)
{
	int r = journal_scripts_begin(registry->journal, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r >= 0 && i < registry->count; i++) {
		struct change *change = registry->entries[i]->change;
		if (change && change->content)
			r = journal_add_revision(registry->journal, change->script, change->content, change->size, err);
	}
	int end = journal_scripts_end(registry->journal, r >= 0, r >= 0 ? err : NULL);
	r = r < 0 ? r : end;
	if (r < 0)
		return r;
	for (size_t i = 0; i < registry->count; i++) {
		struct change *change = registry->entries[i]->change;
		if (change) {
			free(change->content);
			change->content = NULL;
		}
	}
	registry->staged_bytes = 0;
	return 0;
}

static int offer_into(struct registry *registry, const struct registry_offer *offer)
{
	char buf[SCRIPT_NAME_MAX];
	const char *problem, *name = shown_name(offer->name, buf, &problem);
	struct entry *entry = entry_make(registry, name);
	_cleanup_change_ struct change *change = calloc(1, sizeof *change);
	if (!entry || !change)
		return -ENOMEM;
	if (asprintf(&change->key, "%s%s", registry->policy_mark, offer->source_key ? offer->source_key : "") < 0) {
		change->key = NULL;
		return -ENOMEM;
	}
	int r = offer_judge(registry, entry, offer, problem, change);
	if (r < 0)
		return r;
	offer_hang(registry, entry, TAKE_PTR(change));
	return 0;
}

int registry_offer(struct registry *registry, const struct registry_offer *offer, struct lsn_error *err)
{
	if (registry->failure.code < 0)
		return lsn_error_set(err, registry->failure.code, "%s", registry->failure.message);
	struct lsn_error why = { 0 };
	int r = offer_into(registry, offer);
	if (r < 0)
		(void)lsn_error_set(&why, r, "out of memory");
	else if (registry->staged_bytes > STAGED_MAX_BYTES)
		r = flush_contents(registry, &why);
	if (r < 0)
		return lsn_error_set(err, scan_fail(registry, r, why.message), "%s", why.message);
	return 0;
}

static void withdraw_entry(struct registry *registry, struct entry *entry)
{
	struct change *change = calloc(1, sizeof *change);
	if (!change) {
		(void)scan_fail(registry, -ENOMEM, "out of memory");
		return;
	}
	change->withdraw = true;
	offer_hang(registry, entry, change);
}

/* Serves on, but no longer as it stands. */
static void refuse_entry(struct registry *registry, struct entry *entry, const char *reason)
{
	_cleanup_change_ struct change *change = calloc(1, sizeof *change);
	if (change)
		change->key = strdup("");
	if (!change || !change->key || set_state(change, SCRIPT_REFUSED, reason) < 0) {
		(void)scan_fail(registry, -ENOMEM, "out of memory");
		return;
	}
	offer_hang(registry, entry, TAKE_PTR(change));
}

void registry_keep(struct registry *registry, const char *name)
{
	char buf[SCRIPT_NAME_MAX];
	const char *problem;
	struct lsn_error why = { 0 };
	struct entry *entry = entry_find(registry, shown_name(name, buf, &problem));
	if (!entry)
		return;
	entry->seen = true;
	if (!entry->change && entry->recheck && entry->script &&
	    script_settings_check(&entry->script->settings, &registry->policy, &why) < 0)
		refuse_entry(registry, entry, why.message);
}

void registry_withdraw(struct registry *registry, const char *name)
{
	char buf[SCRIPT_NAME_MAX];
	const char *problem;
	struct entry *entry = entry_find(registry, shown_name(name, buf, &problem));
	if (entry)
		withdraw_entry(registry, entry);
}

void registry_withdraw_below(struct registry *registry, const char *name)
{
	for (size_t i = 0; i < registry->count; i++)
		if (str_startswith(registry->entries[i]->name, name))
			withdraw_entry(registry, registry->entries[i]);
}

/* -------------------------------------------------------------------------------------- its end */

/* Would CHANGE change anything? */
static bool is_news(const struct entry *entry, const struct change *change)
{
	if (change->withdraw || !entry->present)
		return change->withdraw == entry->present;
	return entry->shown.state != change->state || entry->script != change->script ||
	       !streq(entry->reason, change->reason) || !streq(entry->key, change->key);
}

/* Drops the changes that are none; when FULL withdraws what was not seen. */
static void offer_prepare(struct registry *registry, bool full)
{
	for (size_t i = 0; i < registry->count; i++) {
		struct entry *entry = registry->entries[i];
		if (full && entry->present && !entry->seen)
			withdraw_entry(registry, entry);
		if (entry->change && !is_news(entry, entry->change)) {
			change_free(TAKE_PTR(entry->change));
			registry->changes--;
			/* offered again, and the same as before */
			entry->recheck &= !entry->present;
		}
	}
}

static int write_change(struct registry *registry, struct entry *entry, struct change *change, uint64_t now,
			struct lsn_error *err)
{
	if (change->withdraw)
		return journal_drop_script(registry->journal, entry->name, err);
	if (change->script && change->script != entry->script) {
		int r = journal_add_revision(registry->journal, change->script, change->content, change->size, err);
		if (r >= 0)
			r = script_route(registry, change->script);
		if (r < 0)
			return r;
		change->routed = true;
	}
	const struct journal_script row = {
		.name = entry->name,
		.state = change->state,
		.reason = change->reason,
		.source_key = change->key,
		.script = change->script,
		.updated_realtime_usec = now,
	};
	return journal_put_script(registry->journal, &row, err);
}

/* write_some - store changes from end_next on, until the time is up. *RET_NEXT is behind the
 * last. */
static int write_some(struct registry *registry, uint64_t now, size_t *ret_next, struct lsn_error *err)
{
	uint64_t until = now_monotonic_usec() + END_USEC;
	size_t i = registry->end_next;
	unsigned written = 0;
	int r = journal_scripts_begin(registry->journal, err);
	if (r < 0)
		return r;
	for (; r >= 0 && i < registry->count; i++) {
		if (!registry->entries[i]->change)
			continue;
		if (++written % END_LOOK == 0 && now_monotonic_usec() >= until)
			break;
		r = write_change(registry, registry->entries[i], registry->entries[i]->change, now, err);
	}
	if (r == -ENOMEM)
		(void)lsn_error_set(err, r, "out of memory");
	uint64_t start = now_monotonic_usec();
	int end = journal_scripts_end(registry->journal, r >= 0, r >= 0 ? err : NULL);
	stall_commit(now_monotonic_usec() - start);
	*ret_next = i;
	return r < 0 ? r : end;
}

/* unroute_some - what was put into the router but not stored. */
static void unroute_some(struct registry *registry)
{
	for (size_t i = registry->end_next; i < registry->count; i++) {
		const struct change *change = registry->entries[i]->change;
		if (change && change->routed)
			script_unroute(registry, change->script);
	}
}

static void change_announce(const struct entry *entry, const struct change *change)
{
	char name[128], filter[160];
	const char *more = change->script && change->script->more_filters ? " and more" : "";
	str_quote(name, sizeof name, entry->name, strlen(entry->name));
	if (change->withdraw)
		log_info("script withdrawn script=%s", name);
	else if (change->state == SCRIPT_ACTIVE)
		log_info("script registered script=%s version=%.12s filter=%s%s", name, change->script->version,
			 str_quote(filter, sizeof filter, change->script->filter, strlen(change->script->filter)),
			 more);
	else if (change->state == SCRIPT_NO_TOPIC)
		log_info("script not registered script=%s: %s", name, change->reason);
	else
		log_warning("script %s script=%s: %s",
			    change->state == SCRIPT_REFUSED ? "refused" : "could not be read", name, change->reason);
}

static void change_apply(struct registry *registry, struct entry *entry, struct change *change, uint64_t now)
{
	/* That only the source's key is another is nothing to tell people. */
	bool visible = change->withdraw || !entry->present || entry->shown.state != change->state ||
		       entry->script != change->script || !streq(entry->reason, change->reason);
	if (visible) {
		change_announce(entry, change);
		registry->generation++;
	}
	if (entry->script && entry->script != change->script)
		script_unroute(registry, entry->script);
	if (entry->present)
		registry->by_state[entry->shown.state]--;
	(void)script_unref(entry->script);
	free(entry->reason);
	free(entry->key);
	entry->script = TAKE_PTR(change->script);
	entry->reason = TAKE_PTR(change->reason);
	entry->key = TAKE_PTR(change->key);
	entry->present = !change->withdraw;
	entry->recheck = false;
	if (!entry->present)
		return;
	entry->shown.state = change->state;
	if (visible)
		entry->shown.updated_realtime_usec = now;
	registry->by_state[change->state]++;
}

/* end_begin - what is left to do is known from here on. */
static int end_begin(struct registry *registry, bool full, struct lsn_error *err)
{
	if (registry->failure.code >= 0)
		offer_prepare(registry, full);
	if (registry->failure.code < 0)
		return lsn_error_set(err, registry->failure.code, "%s", registry->failure.message);
	registry->ending = true;
	return 0;
}

static void apply_until(struct registry *registry, size_t next, uint64_t now)
{
	for (size_t i = registry->end_next; i < next; i++) {
		struct entry *entry = registry->entries[i];
		if (!entry->change)
			continue;
		change_apply(registry, entry, entry->change, now);
		change_free(TAKE_PTR(entry->change));
	}
	registry->end_next = next;
}

/* end_some - store some changes and put them in force. 1: there are more. */
static int end_some(struct registry *registry, struct lsn_error *err)
{
	uint64_t now = now_realtime_usec();
	size_t next = 0;
	if (registry->changes == 0)
		return 0;
	int r = write_some(registry, now, &next, err);
	if (r < 0) {
		unroute_some(registry);
		return r;
	}
	apply_until(registry, next, now);
	return next < registry->count ? 1 : 0;
}

int registry_end(struct registry *registry, bool full, struct lsn_error *err)
{
	int r = registry->ending ? 0 : end_begin(registry, full, err);
	if (r >= 0)
		r = end_some(registry, err);
	if (r > 0)
		return r;
	/* have scan_abandon() sweep: entries may be gone, or may never have become present */
	registry->changes++;
	scan_abandon(registry);
	return r;
}

int registry_end_all(struct registry *registry, bool full, struct lsn_error *err)
{
	int r;
	do
		r = registry_end(registry, full, err);
	while (r > 0);
	return r;
}

/* ------------------------------------------------------------------------------------ questions */

struct match {
	void (*fn)(void *data, struct script *script);
	void *data;
	uint64_t question;
	size_t count;
};

static void on_match(void *data, void *value)
{
	struct match *match = data;
	struct script *script = value;
	if (script->matched == match->question)
		return; /* by another of its filters */
	script->matched = match->question;
	match->count++;
	match->fn(match->data, script);
}

size_t registry_match(struct registry *registry, const char *topic, size_t size,
		      void (*fn)(void *data, struct script *script), void *data)
{
	struct match match = { .fn = fn, .data = data, .question = ++registry->matches };
	(void)router_match(registry->router, topic, size, on_match, &match);
	return match.count;
}

const struct registry_entry *registry_find(struct registry *registry, const char *name)
{
	struct entry *entry = entry_find(registry, name);
	return entry && entry->present ? entry_show(registry, entry) : NULL;
}

void registry_each(struct registry *registry, void (*fn)(void *data, const struct registry_entry *entry), void *data)
{
	for (size_t i = 0; i < registry->count; i++)
		if (registry->entries[i]->present)
			fn(data, entry_show(registry, registry->entries[i]));
}

size_t registry_count(const struct registry *registry, enum script_state state) { return registry->by_state[state]; }

uint64_t registry_generation(const struct registry *registry) { return registry->generation; }
