/* wall_rules.h - the port wall as rules of nf_tables. No rights, no side effects: they are
 * written into a transaction.
 *
 * A table holds, for packets that come from the bridge: TCP to the ports as the script asked for
 * them (a host that maps 80 to something else serves scripts as well), DNS to the resolvers,
 * nothing to the denied networks, to neighbours or anything else; for packets to the bridge:
 * replies. Nothing relies on an earlier verdict about the same connection, so a connection that
 * was begun while a rule was missing does not live on. */
#ifndef POOL_WALL_RULES_H
#define POOL_WALL_RULES_H

#include "nft.h"
#include "wall_request.h"

/* wall_rules - replace the inet table NAME by what REQUEST asks for.
 * OWNED: it belongs to the netlink socket of the transaction, and nobody else can flush it
 * (Linux 5.12). */
void wall_rules(struct nft *t, const struct wall_request *request, const char *name, bool owned);

/* wall_rules_early - to the table NAME, which stands: refuse what is closed before the packet is
 * routed, so that a host that does not forward, or another program's rules, cannot swallow it
 * first (Linux 5.9). */
void wall_rules_early(struct nft *t, const struct wall_request *request, const char *name);

/* wall_rules_count - likewise: refuse connections beyond REQUEST->connections of one sender
 * (needs nft_connlimit). */
void wall_rules_count(struct nft *t, const struct wall_request *request, const char *name);

/* wall_rules_bridge - replace the table NAME of family bridge, for frames between the bridge's
 * own ports (needs nft_meta_bridge). */
void wall_rules_bridge(struct nft *t, const struct wall_request *request, const char *name);

#endif
