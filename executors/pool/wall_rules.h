/* wall_rules.h - what the port wall is asked for, and the nftables text it becomes. Shared by
 * the executor (which writes requests) and by portwall, the privileged helper (which believes
 * none of them). No privileges, no side effects: this is what the fuzzer and the unit tests
 * take.
 *
 * A request is one line of words, KEY=VALUE after the verb, lists with commas:
 *
 *     up table=listenerd_site_sandbox_1f2e bridge=lsn0a1b2c3d ports=80,443 dns=10.0.0.53 allow=
 *     deny=10.9.0.0/16 ftp=off
 *     down
 *
 * Answers and reports: "ok WORDS", "error REASON", "restored", "lost REASON" (until the next
 * "ok" or "restored" nothing is held).
 *
 * The table holds, for packets that come from the bridge: TCP to the ports as the script asked
 * for them (ct original: a host that maps 80 to something else serves scripts as well), DNS to
 * the resolvers, nothing to the denied networks, to neighbours or anything else; for packets to
 * the bridge: replies. Nothing relies on an earlier verdict about the same connection, so a
 * connection that was begun while a rule was missing does not live on. */
#ifndef DOCKER_SANDBOX_WALL_RULES_H
#define DOCKER_SANDBOX_WALL_RULES_H

#include <listener/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WALL_LINE_MAX 16384 /* bytes of a request, newline included */
#define WALL_TEXT_MAX (128u << 10) /* bytes of the rules */
#define WALL_TABLE_PREFIX "listenerd_"
#define WALL_TABLE_MAX 96
#define WALL_BRIDGE_PREFIX "lsn"
#define WALL_LIST_MAX 256

struct wall_net { /* a network or an address */
	int family; /* AF_INET, AF_INET6 */
	unsigned char address[16];
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
};

/* wall_request_parse - LINE without its newline.
 * 0, or -EINVAL with ERR.
 * Everything is checked: ports are among the seven, table and bridge can only be the listener's
 * own. */
int wall_request_parse(const char *line, struct wall_request *ret, struct lsn_error *err);

enum wall_rules_flags {
	/* the table belongs to the helper's netlink socket: nobody else can flush it (Linux
	 * 5.12) */
	WALL_OWNED = 1 << 0,
};

/* wall_rules - one transaction that replaces the table NAME by what REQUEST asks for. malloc()ed
 * text or NULL. */
char *wall_rules(const struct wall_request *request, const char *name, unsigned flags);

/* wall_rules_bridge - the same for frames between the bridge's own ports (table family bridge;
 * needs the kernel's nft_meta_bridge). */
char *wall_rules_bridge(const struct wall_request *request, const char *name);

#endif
