/* control_access.c - see control_access.h. */
#include "control_access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include <util.h>

#define GROUPS_MAX 1024

static void id_set_clear(struct id_set *set)
{
	free(set->users);
	free(set->groups);
	*set = (struct id_set){ 0 };
}

void control_access_clear(struct control_access *access)
{
	id_set_clear(&access->readers);
	id_set_clear(&access->testers);
	id_set_clear(&access->operators);
}

/* resolve_group - by name or number. */
static int resolve_group(const char *name, gid_t *ret, struct lsn_error *err)
{
	const struct group *group = getgrnam(name);
	uint64_t number;
	if (group)
		*ret = group->gr_gid;
	else if (parse_uint(name, UINT32_MAX - 1, &number, NULL) == 0)
		*ret = (gid_t)number;
	else
		return lsn_error_set(err, -EINVAL,
				     "there is no group '%s'; create it (groupadd --system %s) or name another", name,
				     name);
	return 0;
}

static int resolve_user(const char *name, uid_t *ret, struct lsn_error *err)
{
	const struct passwd *user = getpwnam(name);
	uint64_t number;
	if (user)
		*ret = user->pw_uid;
	else if (parse_uint(name, UINT32_MAX - 1, &number, NULL) == 0)
		*ret = (uid_t)number;
	else
		return lsn_error_set(err, -EINVAL, "there is no user '%s' (groups are written @name)", name);
	return 0;
}

static int id_set_resolve(struct id_set *set, char *const *names, const char *key, struct lsn_error *err)
{
	size_t count = 0;
	while (names && names[count])
		count++;
	if (!count)
		return 0;
	set->users = calloc(count, sizeof *set->users);
	set->groups = calloc(count, sizeof *set->groups);
	if (!set->users || !set->groups)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		int r = names[i][0] == '@' ? resolve_group(names[i] + 1, &set->groups[set->group_count++], err)
					   : resolve_user(names[i], &set->users[set->user_count++], err);
		if (r < 0)
			return lsn_error_prefix(err, r, "[control] %s", key);
	}
	return 0;
}

static bool has_names(char *const *names) { return names && names[0]; }

int control_access_resolve(const struct control_config *config, struct control_access *ret, struct lsn_error *err)
{
	struct control_access access = { .group = getegid() };
	int r = config->group && *config->group ? resolve_group(config->group, &access.group, err) : 0;
	if (r < 0)
		return lsn_error_prefix(err, r, "[control] group");
	r = id_set_resolve(&access.readers, config->readers, "readers", err);
	if (r == 0)
		r = id_set_resolve(&access.testers, config->testers, "testers", err);
	if (r == 0)
		r = id_set_resolve(&access.operators, config->operators, "operators", err);
	if (r < 0) {
		control_access_clear(&access);
		return r;
	}
	access.open = has_names(config->readers) || has_names(config->testers) || has_names(config->operators);
	*ret = access;
	return 0;
}

static bool id_set_has(const struct id_set *set, uid_t user, const gid_t *groups, size_t group_count)
{
	for (size_t i = 0; i < set->user_count; i++)
		if (set->users[i] == user)
			return true;
	for (size_t i = 0; i < set->group_count; i++)
		for (size_t j = 0; j < group_count; j++)
			if (set->groups[i] == groups[j])
				return true;
	return false;
}

/* peer_groups - primary and supplementary groups of the process at the other end, as the kernel
 * had them when it connected. Asking the user database instead (getgrouplist) could block on a
 * directory server and would tell what the user may become, not what the process is. */
static size_t peer_groups(int fd, gid_t primary, gid_t groups[GROUPS_MAX + 1])
{
	socklen_t size = GROUPS_MAX * sizeof *groups;
	groups[0] = primary;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups + 1, &size) < 0)
		return 1;
	return 1 + size / sizeof *groups;
}

void control_access_check(const struct control_access *access, int fd, const struct ucred *peer,
			  bool ret_may[CONTROL_RIGHT_MAX])
{
	gid_t groups[GROUPS_MAX + 1];
	size_t count = peer_groups(fd, peer->gid, groups);
	gid_t own_group = access->group;
	const struct id_set own = { .groups = &own_group, .group_count = 1 };
	bool all = peer->uid == 0 || peer->uid == geteuid() || id_set_has(&own, peer->uid, groups, count) ||
		   id_set_has(&access->operators, peer->uid, groups, count);
	ret_may[CONTROL_OPERATE] = all;
	ret_may[CONTROL_TEST] = all || id_set_has(&access->testers, peer->uid, groups, count);
	ret_may[CONTROL_READ] = ret_may[CONTROL_TEST] || id_set_has(&access->readers, peer->uid, groups, count);
}
