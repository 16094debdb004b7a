/* contract.c - what was asked and what came of it, key by key. */
#include "contract.h"

#include <errno.h>
#include <string.h>

#include <util.h>

enum rule {
	RULE_SAME, /* the very same value */
	RULE_ALL, /* a list with each of the values, and perhaps more */
	RULE_ONLY, /* a list of exactly these values, in any order */
	RULE_EMPTY, /* nothing, whatever was asked */
};

static const struct {
	const char *key;
	enum rule rule;
	const char *wall;
} host_rules[] = {
	{ "ReadonlyRootfs", RULE_SAME, "a read-only root" },
	{ "Tmpfs", RULE_EMPTY, "no file systems of its own" },
	{ "Binds", RULE_ONLY, "no folders but the two of the listener" },
	{ "IpcMode", RULE_SAME, "no shared memory" },
	{ "MaskedPaths", RULE_ALL, "masked paths" },
	{ "ReadonlyPaths", RULE_ALL, "read-only paths" },
	{ "CapDrop", RULE_ALL, "no capabilities" },
	{ "CapAdd", RULE_ONLY, "no capabilities but init's" },
	{ "SecurityOpt", RULE_ALL, "no-new-privileges and the list of system calls" },
	{ "Privileged", RULE_SAME, "no privileges" },
	{ "UsernsMode", RULE_SAME, "the host's user ids" },
	{ "NetworkMode", RULE_SAME, "its network" },
	{ "Memory", RULE_SAME, "a memory limit" },
	{ "PidsLimit", RULE_SAME, "a limit of processes" },
	{ "NanoCpus", RULE_SAME, "a limit of CPU time" },
	{ "Ulimits", RULE_ALL, "limits of core dumps, message queues and descriptors" },
	{ "Runtime", RULE_SAME, "its runtime" },
	{ "Sysctls", RULE_SAME, "no copies of packets beside the memory limit" },
};

/* Engines write capabilities with and without the prefix. */
static const char *plain(const json_t *value)
{
	const char *text = json_string_value(value);
	return text && str_startswith(text, "CAP_") ? text + 4 : text;
}

/* An object is kept if each of its members is; more may stand beside. */
static bool value_kept(const json_t *asked, const json_t *kept)
{
	const char *key;
	json_t *value;

	if (json_is_string(asked) && json_is_string(kept))
		return streq(plain(asked), plain(kept));
	if (!json_is_object(asked))
		return json_equal(asked, kept);
	json_object_foreach ((json_t *)asked, key, value)
		if (!value_kept(value, json_object_get(kept, key)))
			return false;
	return json_is_object(kept);
}

static bool list_kept(const json_t *asked, const json_t *kept)
{
	for (size_t i = 0; i < json_array_size(asked); i++) {
		bool found = false;
		for (size_t k = 0; k < json_array_size(kept) && !found; k++)
			found = value_kept(json_array_get(asked, i), json_array_get(kept, k));
		if (!found)
			return false;
	}
	return true;
}

static bool rule_kept(enum rule rule, const json_t *asked, const json_t *kept)
{
	switch (rule) {
	case RULE_EMPTY: return !kept || json_is_null(kept) || (json_is_object(kept) && json_object_size(kept) == 0);
	case RULE_ALL: return list_kept(asked, kept);
	case RULE_ONLY: return list_kept(asked, kept) && json_array_size(asked) == json_array_size(kept);
	default: return value_kept(asked, kept);
	}
}

int contract_check(const json_t *asked, const json_t *kept, struct lsn_error *err)
{
	const json_t *asked_host = json_object_get(asked, "HostConfig"),
		     *kept_host = json_object_get(kept, "HostConfig");
	const json_t *user = json_object_get(asked, "User");

	for (size_t i = 0; i < ELEMENTSOF(host_rules); i++) {
		const json_t *value = json_object_get(asked_host, host_rules[i].key);
		if (!value && host_rules[i].rule != RULE_EMPTY)
			continue;
		if (!rule_kept(host_rules[i].rule, value, json_object_get(kept_host, host_rules[i].key)))
			return lsn_error_set(err, -ENOTSUP,
					     "the engine accepts a container and weakens it: it was asked for %s "
					     "(HostConfig.%s) and keeps something else",
					     host_rules[i].wall, host_rules[i].key);
	}
	if (user && !value_kept(user, json_object_get(json_object_get(kept, "Config"), "User")))
		return lsn_error_set(err, -ENOTSUP, "the engine accepts a container and makes it another user's");
	return 0;
}
