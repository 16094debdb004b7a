/* control_access.h - who may do what at the control socket: names of the configuration as
 * numbers, and a peer's credentials checked against them. */
#ifndef CORE_CONTROL_ACCESS_H
#define CORE_CONTROL_ACCESS_H

#include <listener/error.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct control_config {
	char *socket; /* path */
	char *group; /* may read and act; NULL: the daemon's own */
	/* users (names) or @groups: read-only, that and test, all commands; NULL-terminated */
	char **readers, **testers, **operators;
	unsigned tests; /* test jobs at the same time; 0: none */
};

enum control_right { CONTROL_READ, CONTROL_TEST, CONTROL_OPERATE, CONTROL_RIGHT_MAX };

struct id_set {
	uid_t *users;
	gid_t *groups;
	size_t user_count, group_count;
};

struct control_access {
	struct id_set readers, testers, operators;
	gid_t group; /* of the socket */
	bool open; /* readers, testers or operators are listed: everybody may connect, credentials decide */
};

/* control_access_resolve - look up the names of CONFIG; may block on the user database.
 * ERR names the key.
 * On success the caller clears RET. */
int control_access_resolve(const struct control_config *config, struct control_access *ret, struct lsn_error *err);
void control_access_clear(struct control_access *access);

/* control_access_check - what may the process at the other end of FD, with credentials PEER, do?
 * RET_MAY by enum control_right.
 * Does not block. */
void control_access_check(const struct control_access *access, int fd, const struct ucred *peer,
			  bool ret_may[CONTROL_RIGHT_MAX]);

#endif
