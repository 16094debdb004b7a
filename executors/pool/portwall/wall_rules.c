/* wall_rules.c - the chains of the port wall, rule by rule. */
#include "wall_rules.h"

#include <arpa/inet.h>
#include <string.h>

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter_bridge.h>

#include "wall_denied.h"
#include "wall_ranges.h"

/* Before the rules of others: ours close, theirs may close more. */
#define FILTER_PRIORITY (-10)
#define COUNT_PRIORITY (-11)
/* After fragments have been put together (-400), before anybody's own rules, connection tracking
 * and address translation. */
#define EARLY_PRIORITY (-350)

/* Bytes from the start of a header. */
enum { IP4_SOURCE = 12, IP4_TARGET = 16, IP6_HOP_LIMIT = 7, IP6_SOURCE = 8, IP6_TARGET = 24 };
enum { TH_TARGET_PORT = 2, TCP_FLAGS = 13, ICMP_TYPE = 0 };

#define TCP_RST 0x04
#define STATE_BIT(info) (1u << ((info) % IP_CT_IS_REPLY + 1)) /* as nft_ct has them */

/* Where the rules being written go. */
struct place {
	struct nft *t;
	const struct wall_request *req;
	const char *table, *chain;
};

static void rule_begin(const struct place *p) { nft_rule(p->t, p->table, p->chain); }

static void rule_finish(const struct place *p, int verdict) { nft_verdict(p->t, verdict, NULL); }

static void rule_refuse(const struct place *p) { nft_verdict(p->t, NFT_GOTO, "refuse"); }

static void of_family(const struct place *p, uint8_t family) { nft_if_meta_byte(p->t, NFT_META_NFPROTO, family); }

static void of_protocol(const struct place *p, uint8_t protocol) { nft_if_meta_byte(p->t, NFT_META_L4PROTO, protocol); }

static void icmp_type(const struct place *p, uint8_t type)
{
	nft_if_payload(p->t, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_TYPE, &type, 1);
}

static void target_in(const struct place *p, int family, const char *set, bool inverted)
{
	bool four = family == AF_INET;

	of_family(p, four ? NFPROTO_IPV4 : NFPROTO_IPV6);
	nft_if_payload_in(p->t, NFT_PAYLOAD_NETWORK_HEADER, four ? IP4_TARGET : IP6_TARGET, four ? 4 : 16, set,
			  inverted);
}

static bool has_port(const struct wall_request *req, unsigned port)
{
	for (size_t i = 0; i < req->port_count; i++)
		if (req->ports[i] == port)
			return true;
	return false;
}

static bool wants_ftp_data(const struct wall_request *req) { return req->ftp_related && has_port(req, 21); }

/* ----------------------------------------------------------------------------------------- sets */

static void add_denied(struct wall_ranges *ranges, int family)
{
	for (size_t i = 0; i < wall_denied_count; i++) {
		struct wall_net net;
		if (wall_net_parse(wall_denied[i].network, true, &net) == 0)
			(void)wall_ranges_add(ranges, family, &net, 1);
	}
}

/* DENIED: those that always are, as well. They fit: see the sizes of the lists. */
static void put_nets(const struct place *p, const char *name, int family, const struct wall_net *list, size_t count,
		     bool denied)
{
	struct wall_ranges ranges = { .count = 0 };
	size_t size = family == AF_INET ? 4 : 16;

	nft_set(p->t, p->table, name, family == AF_INET ? NFT_KEY_IPV4 : NFT_KEY_IPV6, NFT_SET_INTERVAL);
	if (denied)
		add_denied(&ranges, family);
	(void)wall_ranges_add(&ranges, family, list, count);
	wall_ranges_merge(&ranges, size);
	nft_set_ranges(p->t, p->table, name, size, ranges.list, ranges.count);
}

static void put_sets(const struct place *p)
{
	const struct wall_request *req = p->req;

	put_nets(p, "dns4", AF_INET, req->dns, req->dns_count, false);
	put_nets(p, "dns6", AF_INET6, req->dns, req->dns_count, false);
	put_nets(p, "deny4", AF_INET, req->deny, req->deny_count, true);
	put_nets(p, "deny6", AF_INET6, req->deny, req->deny_count, true);
	if (req->allow_count > 0) {
		put_nets(p, "allow4", AF_INET, req->allow, req->allow_count, false);
		put_nets(p, "allow6", AF_INET6, req->allow, req->allow_count, false);
	}
	nft_set(p->t, p->table, "ports", NFT_KEY_PORT, 0);
	nft_set_ports(p->t, p->table, "ports", req->ports, req->port_count);
}

/* --------------------------------------------------------------------------- from the sandboxes */

/* Neighbour discovery, from next door only. */
static void accept_discovery(const struct place *p, uint8_t router_message)
{
	const uint8_t types[] = { 135, 136, router_message }, next_door = 255;

	for (size_t i = 0; i < sizeof types; i++) {
		rule_begin(p);
		of_family(p, NFPROTO_IPV6);
		of_protocol(p, IPPROTO_ICMPV6);
		icmp_type(p, types[i]);
		nft_if_payload(p->t, NFT_PAYLOAD_NETWORK_HEADER, IP6_HOP_LIMIT, &next_door, 1);
		rule_finish(p, NF_ACCEPT);
	}
}

static void accept_questions(const struct place *p, int family, const char *resolvers)
{
	const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };
	const uint16_t port = htons(53);

	for (size_t i = 0; i < sizeof protocols; i++) {
		rule_begin(p);
		target_in(p, family, resolvers, false);
		of_protocol(p, protocols[i]);
		nft_if_payload(p->t, NFT_PAYLOAD_TRANSPORT_HEADER, TH_TARGET_PORT, &port, sizeof port);
		rule_finish(p, NF_ACCEPT);
	}
}

static void refuse_if_target(const struct place *p, int family, const char *set, bool inverted)
{
	rule_begin(p);
	target_in(p, family, set, inverted);
	rule_refuse(p);
}

/* IPv4 in IPv6 clothes: the four bytes that matter are looked up like any other IPv4 address. */
static void refuse_carried(const struct place *p)
{
	for (size_t i = 0; i < wall_carrier_count; i++) {
		const struct wall_carrier *c = &wall_carriers[i];
		struct wall_net net;
		if (wall_net_parse(c->network, true, &net) < 0)
			continue;
		rule_begin(p);
		of_family(p, NFPROTO_IPV6);
		nft_if_payload(p->t, NFT_PAYLOAD_NETWORK_HEADER, IP6_TARGET, net.address, net.bits / 8);
		nft_if_payload_in(p->t, NFT_PAYLOAD_NETWORK_HEADER, IP6_TARGET + c->offset, 4, "deny4", false);
		rule_refuse(p);
	}
}

/* The resolvers stand before the denied networks: an operator may have one on a link-local
 * address. */
static void judge_target(const struct place *p)
{
	accept_discovery(p, 133);
	accept_questions(p, AF_INET, "dns4");
	accept_questions(p, AF_INET6, "dns6");
	refuse_if_target(p, AF_INET, "deny4", false);
	refuse_if_target(p, AF_INET6, "deny6", false);
	refuse_carried(p);
	if (p->req->allow_count > 0) {
		refuse_if_target(p, AF_INET, "allow4", true);
		refuse_if_target(p, AF_INET6, "allow6", true);
	}
}

static void high_port(const struct place *p)
{
	const uint16_t first = htons(1024), last = htons(65535);
	nft_if_payload_range(p->t, NFT_PAYLOAD_TRANSPORT_HEADER, TH_TARGET_PORT, &first, &last, sizeof first);
}

/* Where bridged frames pass the inet hooks, a neighbour's way in and way out is the same bridge. */
static void put_from_sandbox(struct place p)
{
	p.chain = "from_sandbox";
	rule_begin(&p);
	nft_if_name(p.t, NFT_META_OIFNAME, p.req->bridge);
	rule_finish(&p, NF_DROP);
	judge_target(&p);
	rule_begin(&p);
	of_protocol(&p, IPPROTO_TCP);
	nft_if_ct_direction(p.t, IP_CT_DIR_ORIGINAL);
	nft_if_ct_port_in(p.t, "ports");
	rule_finish(&p, NF_ACCEPT);
	if (wants_ftp_data(p.req)) {
		rule_begin(&p);
		of_protocol(&p, IPPROTO_TCP);
		nft_if_ct_direction(p.t, IP_CT_DIR_ORIGINAL);
		nft_if_ct_helper(p.t, "ftp");
		high_port(&p);
		rule_finish(&p, NF_ACCEPT);
	}
	rule_begin(&p);
	rule_refuse(&p);
}

static void put_refuse(struct place p)
{
	p.chain = "refuse";
	rule_begin(&p);
	of_protocol(&p, IPPROTO_TCP);
	nft_reject(p.t, NFT_REJECT_TCP_RST, 0);
	rule_begin(&p);
	nft_reject(p.t, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
}

/* ----------------------------------------------------------------------------- to the sandboxes */

static void put_to_sandbox(struct place p)
{
	const uint8_t icmp[] = { IPPROTO_ICMP, IPPROTO_ICMPV6 };

	p.chain = "to_sandbox";
	rule_begin(&p);
	nft_if_ct_direction(p.t, IP_CT_DIR_REPLY);
	nft_if_ct_state(p.t, STATE_BIT(IP_CT_ESTABLISHED));
	rule_finish(&p, NF_ACCEPT);
	for (size_t i = 0; i < sizeof icmp; i++) {
		rule_begin(&p);
		nft_if_ct_state(p.t, STATE_BIT(IP_CT_RELATED));
		of_protocol(&p, icmp[i]);
		rule_finish(&p, NF_ACCEPT);
	}
	accept_discovery(&p, 134);
	rule_begin(&p);
	rule_finish(&p, NF_DROP);
}

/* ---------------------------------------------------------------------------------------- hooks */

static void put_hook(const struct place *p, uint32_t number, int32_t priority)
{
	nft_chain(p->t, p->table, p->chain, &(struct nft_hook){ number, priority });
}

static void put_way(const struct place *p, uint32_t key, const char *chain)
{
	rule_begin(p);
	nft_if_name(p->t, key, p->req->bridge);
	nft_verdict(p->t, NFT_GOTO, chain);
}

/* Refusals of our own and of others may leave: a reset, or the word that something is
 * unreachable. */
static void accept_refusals(const struct place *p)
{
	const uint8_t unreachable4 = 3, unreachable6 = 1;

	rule_begin(p);
	nft_if_name(p->t, NFT_META_OIFNAME, p->req->bridge);
	of_protocol(p, IPPROTO_TCP);
	nft_if_bits(p->t, TCP_FLAGS, TCP_RST);
	rule_finish(p, NF_ACCEPT);
	rule_begin(p);
	nft_if_name(p->t, NFT_META_OIFNAME, p->req->bridge);
	of_protocol(p, IPPROTO_ICMP);
	icmp_type(p, unreachable4);
	rule_finish(p, NF_ACCEPT);
	rule_begin(p);
	nft_if_name(p->t, NFT_META_OIFNAME, p->req->bridge);
	of_protocol(p, IPPROTO_ICMPV6);
	icmp_type(p, unreachable6);
	rule_finish(p, NF_ACCEPT);
}

static void put_hooks(struct place p)
{
	p.chain = "forward";
	put_hook(&p, NF_INET_FORWARD, FILTER_PRIORITY);
	put_way(&p, NFT_META_IIFNAME, "from_sandbox");
	put_way(&p, NFT_META_OIFNAME, "to_sandbox");
	p.chain = "input";
	put_hook(&p, NF_INET_LOCAL_IN, FILTER_PRIORITY);
	put_way(&p, NFT_META_IIFNAME, "from_sandbox");
	p.chain = "output";
	put_hook(&p, NF_INET_LOCAL_OUT, FILTER_PRIORITY);
	accept_refusals(&p);
	put_way(&p, NFT_META_OIFNAME, "to_sandbox");
}

/* Only the passive mode: the helper expects the data connection the server named, the script
 * opens it. */
static void put_ftp(struct place p)
{
	const uint16_t port = htons(21);

	if (!wants_ftp_data(p.req))
		return;
	nft_ct_helper(p.t, p.table, "ftp_passive", "ftp");
	p.chain = "watch_ftp";
	put_hook(&p, NF_INET_PRE_ROUTING, FILTER_PRIORITY);
	rule_begin(&p);
	nft_if_name(p.t, NFT_META_IIFNAME, p.req->bridge);
	of_protocol(&p, IPPROTO_TCP);
	nft_if_payload(p.t, NFT_PAYLOAD_TRANSPORT_HEADER, TH_TARGET_PORT, &port, sizeof port);
	nft_assign_ct_helper(p.t, "ftp_passive");
}

static void replace_table(struct nft *t, uint8_t family, const char *name, uint32_t flags)
{
	nft_table(t, NFT_ADD, family, name, flags);
	nft_table(t, NFT_DELETE, family, name, 0);
	nft_table(t, NFT_ADD, family, name, flags);
}

void wall_rules(struct nft *t, const struct wall_request *req, const char *name, bool owned)
{
	static const char *const chains[] = { "refuse", "from_sandbox", "to_sandbox" };
	const struct place p = { t, req, name, NULL };

	replace_table(t, NFPROTO_INET, name, owned ? NFT_TABLE_F_OWNER : 0);
	put_sets(&p);
	for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
		nft_chain(t, name, chains[i], NULL);
	put_refuse(p);
	put_from_sandbox(p);
	put_to_sandbox(p);
	put_ftp(p);
	put_hooks(p);
}

/* ------------------------------------------------------------------------- early, count, bridge */

/* Without connection tracking: whatever a sandbox sends is the beginning of something, as nobody
 * can begin with it. */
void wall_rules_early(struct nft *t, const struct wall_request *req, const char *name)
{
	struct place p = { t, req, name, "judge_early" };

	nft_chain(t, name, p.chain, NULL);
	judge_target(&p);
	rule_begin(&p);
	of_protocol(&p, IPPROTO_TCP);
	nft_if_payload_in(t, NFT_PAYLOAD_TRANSPORT_HEADER, TH_TARGET_PORT, 2, "ports", false);
	rule_finish(&p, NF_ACCEPT);
	if (wants_ftp_data(req)) { /* which of them is known later */
		rule_begin(&p);
		of_protocol(&p, IPPROTO_TCP);
		high_port(&p);
		rule_finish(&p, NF_ACCEPT);
	}
	rule_begin(&p);
	rule_refuse(&p);
	p.chain = "early";
	put_hook(&p, NF_INET_PRE_ROUTING, EARLY_PRIORITY);
	put_way(&p, NFT_META_IIFNAME, "judge_early");
}

/* The table forgets a connection that has ended after two minutes at most: what a sandbox may
 * begin in that time is bounded too. */
#define BEGUN_SECONDS 20

struct sender {
	uint8_t family;
	uint32_t offset, size;
	enum nft_key key;
	const char *counted, *timed; /* sets */
};

static const struct sender senders[] = {
	{ NFPROTO_IPV4, IP4_SOURCE, 4, NFT_KEY_IPV4, "senders4", "rates4" },
	{ NFPROTO_IPV6, IP6_SOURCE, 16, NFT_KEY_IPV6, "senders6", "rates6" },
};

static void begins_connection(const struct place *p, const struct sender *s)
{
	rule_begin(p);
	nft_if_name(p->t, NFT_META_IIFNAME, p->req->bridge);
	nft_if_ct_state(p->t, STATE_BIT(IP_CT_NEW));
	of_family(p, s->family);
}

static void refuse_beyond(const struct place *p, const struct sender *s)
{
	uint32_t most = p->req->connections, rate = most / BEGUN_SECONDS;

	begins_connection(p, s);
	nft_if_more_than(p->t, s->offset, s->size, s->counted, most);
	rule_refuse(p);
	begins_connection(p, s);
	nft_if_faster_than(p->t, s->offset, s->size, s->timed, rate > 0 ? rate : 1, most);
	rule_refuse(p);
}

void wall_rules_count(struct nft *t, const struct wall_request *req, const char *name)
{
	static const struct {
		const char *chain;
		uint32_t hook;
	} places[] = { { "count_forward", NF_INET_FORWARD }, { "count_input", NF_INET_LOCAL_IN } };
	struct place p = { t, req, name, NULL };

	for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
		nft_set(t, name, senders[i].counted, senders[i].key, NFT_SET_EVAL);
		nft_set(t, name, senders[i].timed, senders[i].key, NFT_SET_EVAL);
	}
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		p.chain = places[i].chain;
		put_hook(&p, places[i].hook, COUNT_PRIORITY);
		for (size_t k = 0; k < sizeof senders / sizeof *senders; k++)
			refuse_beyond(&p, &senders[k]);
	}
}

void wall_rules_bridge(struct nft *t, const struct wall_request *req, const char *name)
{
	const struct place p = { t, req, name, "forward" };

	replace_table(t, NFPROTO_BRIDGE, name, 0);
	put_hook(&p, NF_BR_FORWARD, FILTER_PRIORITY);
	rule_begin(&p);
	nft_if_name(t, NFT_META_BRI_IIFNAME, req->bridge);
	rule_finish(&p, NF_DROP);
}
