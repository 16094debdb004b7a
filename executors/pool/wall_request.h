/* wall_request.h - what the port wall is asked for. Shared by the executor, which writes
 * requests, and by portwall, the privileged helper, which believes none of them.
 *
 * A request is one line of words, KEY=VALUE after the verb, lists with commas:
 *
 *     up table=listenerd_site_sandbox_1f2e bridge=lsn0a1b2c3d ports=80,443 dns=10.0.0.53 allow=
 *     deny=10.9.0.0/16
 *        ftp=off connections=4096
 *     down table=listenerd_site_sandbox_1f2e
 *
 * "down" removes the tables of that name, whoever has put them up: the helper that did may have
 * ended.
 * Answers and reports: "ok WORDS", "error CAUSE REASON", "restored", "lost CAUSE REASON". After
 * "lost", nothing is held until the next "ok" or "restored". CAUSE is one of wall_causes. */
#ifndef POOL_WALL_REQUEST_H
#define POOL_WALL_REQUEST_H

#include <listener/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WALL_LINE_MAX 16384 /* bytes of a request, newline included */
#define WALL_TABLE_PREFIX "listenerd_"
#define WALL_TABLE_MAX 96
#define WALL_BRIDGE_PREFIX "lsn"
#define WALL_LIST_MAX 256
#define WALL_CONNECTIONS_MAX 1000000

struct wall_net { /* a network or an address */
	int family; /* AF_INET, AF_INET6 */
	unsigned char address[16]; /* bits beyond BITS are clear */
	unsigned bits;
};

struct wall_request {
	bool up;
	char table[WALL_TABLE_MAX];
	char bridge[16];
	uint16_t ports[7];
	size_t port_count;
	struct wall_net dns[8], allow[WALL_LIST_MAX], deny[WALL_LIST_MAX]; /* allow empty: all */
	size_t dns_count, allow_count, deny_count;
	bool ftp_related;
	uint32_t connections; /* of one sandbox at the same time; 0: no limit */
};

/* Why a wall is not up, as far as that decides what to do about it. */
enum wall_cause { WALL_RIGHT, WALL_BRIDGE, WALL_KERNEL, WALL_REQUEST, WALL_OTHER, WALL_CAUSE_MAX };
extern const char *const wall_causes[WALL_CAUSE_MAX];

/* wall_net_parse - TEXT is an address or, if PREFIX, also a network such as 10.0.0.0/8.
 * 0 or -EINVAL. */
int wall_net_parse(const char *text, bool prefix, struct wall_net *ret);

/* wall_request_parse - LINE without its newline.
 * 0, or -EINVAL with ERR.
 * Everything is checked: ports are among the seven, table and bridge can only be the listener's
 * own. */
int wall_request_parse(const char *line, struct wall_request *ret, struct lsn_error *err);

#endif
