/* wall_rules.c - strict reading of requests, and the rules as text for libnftables. */
#include "wall_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

static const uint16_t known_ports[] = { 80, 443, 21, 22, 25, 587, 465 };

/* Never reachable, whatever is allowed: this host's loopback, link-local (cloud metadata),
 * multicast, reserved, IPv4 in IPv6 clothes. */
static const char always_denied4[] = "0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3";
static const char always_denied6[] = "::/127, ::ffff:0:0/96, fe80::/10, ff00::/8";

/* -------------------------------------------------------------------------------------- reading */

static bool words_of(const char *text, const char *set) { return *text && text[strspn(text, set)] == 0; }

static int parse_number(const char *text, unsigned max, unsigned *ret)
{
	unsigned value = 0;

	if (!words_of(text, "0123456789") || strlen(text) > 5)
		return -EINVAL;
	for (; *text; text++)
		value = value * 10 + (unsigned)(*text - '0');
	if (value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

static int parse_net(const char *text, bool prefix, struct wall_net *ret)
{
	struct wall_net net = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	char address[INET6_ADDRSTRLEN];
	const char *slash = prefix ? strchr(text, '/') : NULL;
	size_t size = slash ? (size_t)(slash - text) : strlen(text);
	unsigned most = net.family == AF_INET ? 32 : 128;

	if (size >= sizeof address)
		return -EINVAL;
	memcpy(address, text, size);
	address[size] = 0;
	net.bits = most;
	if (inet_pton(net.family, address, net.address) != 1 || (slash && parse_number(slash + 1, most, &net.bits) < 0))
		return -EINVAL;
	for (unsigned bit = net.bits; bit < most; bit++)
		net.address[bit / 8] &= (unsigned char)~(0x80u >> (bit % 8));
	*ret = net;
	return 0;
}

static int parse_nets(char *value, bool prefix, struct wall_net *list, size_t max, size_t *ret_count)
{
	size_t count = 0;

	for (char *item; (item = strsep(&value, ","));) {
		if (!*item && !value && count == 0) /* an empty list */
			break;
		if (count >= max || parse_net(item, prefix, &list[count]) < 0)
			return -EINVAL;
		count++;
	}
	*ret_count = count;
	return 0;
}

static int request_parse_ports(char *value, struct wall_request *req)
{
	req->port_count = 0;
	for (char *item; (item = strsep(&value, ","));) {
		unsigned port = 0;
		bool known = false;
		if (!*item && !value && req->port_count == 0)
			break;
		if (parse_number(item, 65535, &port) < 0)
			return -EINVAL;
		for (size_t i = 0; i < sizeof known_ports / sizeof *known_ports; i++)
			known |= known_ports[i] == port;
		for (size_t i = 0; i < req->port_count; i++)
			known &= req->ports[i] != port;
		if (!known)
			return -EINVAL;
		req->ports[req->port_count++] = (uint16_t)port;
	}
	return 0;
}

static int parse_table(const char *value, struct wall_request *req)
{
	if (strncmp(value, WALL_TABLE_PREFIX, strlen(WALL_TABLE_PREFIX)) != 0 || strlen(value) >= sizeof req->table ||
	    !words_of(value, "abcdefghijklmnopqrstuvwxyz0123456789_"))
		return -EINVAL;
	memcpy(req->table, value, strlen(value) + 1);
	return 0;
}

static int parse_bridge(const char *value, struct wall_request *req)
{
	if (strncmp(value, WALL_BRIDGE_PREFIX, strlen(WALL_BRIDGE_PREFIX)) != 0 ||
	    strlen(value) != strlen(WALL_BRIDGE_PREFIX) + 8 ||
	    !words_of(value + strlen(WALL_BRIDGE_PREFIX), "0123456789abcdef"))
		return -EINVAL;
	memcpy(req->bridge, value, strlen(value) + 1);
	return 0;
}

static int request_parse_ftp(const char *value, struct wall_request *req)
{
	req->ftp_related = strcmp(value, "related") == 0;
	return req->ftp_related || strcmp(value, "off") == 0 ? 0 : -EINVAL;
}

static int parse_word(const char *key, char *value, struct wall_request *req)
{
	if (strcmp(key, "table") == 0)
		return parse_table(value, req);
	if (strcmp(key, "bridge") == 0)
		return parse_bridge(value, req);
	if (strcmp(key, "ports") == 0)
		return request_parse_ports(value, req);
	if (strcmp(key, "dns") == 0)
		return parse_nets(value, false, req->dns, sizeof req->dns / sizeof *req->dns, &req->dns_count);
	if (strcmp(key, "allow") == 0)
		return parse_nets(value, true, req->allow, WALL_LIST_MAX, &req->allow_count);
	if (strcmp(key, "deny") == 0)
		return parse_nets(value, true, req->deny, WALL_LIST_MAX, &req->deny_count);
	if (strcmp(key, "ftp") == 0)
		return request_parse_ftp(value, req);
	return -EINVAL;
}

int wall_request_parse(const char *line, struct wall_request *ret, struct lsn_error *err)
{
	char copy[WALL_LINE_MAX], *rest = copy;

	*ret = (struct wall_request){ 0 };
	if (strlen(line) >= sizeof copy)
		return lsn_error_set(err, -EINVAL, "the request is too long");
	memcpy(copy, line, strlen(line) + 1);
	const char *verb = strsep(&rest, " ");
	if (strcmp(verb, "down") == 0 && !rest)
		return 0;
	if (strcmp(verb, "up") != 0)
		return lsn_error_set(err, -EINVAL, "the request is neither 'up' nor 'down'");
	ret->up = true;
	for (char *value; (value = strsep(&rest, " "));) {
		char *key = strsep(&value, "=");
		if (!value || parse_word(key, value, ret) < 0)
			return lsn_error_set(err, -EINVAL, "a bad word in the request: %.20s", key);
	}
	if (!*ret->table || !*ret->bridge)
		return lsn_error_set(err, -EINVAL, "the request names no table or no bridge");
	return 0;
}

/* -------------------------------------------------------------------------------------- writing */

struct text {
	char *at;
	size_t size;
	bool full;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	int n = vsnprintf(t->at ? t->at + t->size : NULL, t->at ? WALL_TEXT_MAX - t->size : 0, format, ap);
	va_end(ap);
	if (!t->at || n < 0 || (size_t)n >= WALL_TEXT_MAX - t->size)
		t->full = true;
	else
		t->size += (size_t)n;
}

static void put_nets(struct text *t, const char *name, int family, const struct wall_net *list, size_t count,
		     const char *more)
{
	const char *comma = more && *more ? ", " : "";

	put(t, "\tset %s {\n\t\ttype %s\n\t\tflags interval\n\t\tauto-merge\n", name,
	    family == AF_INET ? "ipv4_addr" : "ipv6_addr");
	bool any = more && *more;
	for (size_t i = 0; i < count; i++)
		any |= list[i].family == family;
	if (any)
		put(t, "\t\telements = { %s", more ? more : "");
	for (size_t i = 0; i < count; i++) {
		char address[INET6_ADDRSTRLEN];
		if (list[i].family != family || !inet_ntop(family, list[i].address, address, sizeof address))
			continue;
		put(t, "%s%s/%u", comma, address, list[i].bits);
		comma = ", ";
	}
	put(t, "%s\t}\n", any ? " }\n" : "");
}

static bool has_port(const struct wall_request *req, unsigned port)
{
	for (size_t i = 0; i < req->port_count; i++)
		if (req->ports[i] == port)
			return true;
	return false;
}

static void put_sets(struct text *t, const struct wall_request *req)
{
	put_nets(t, "dns4", AF_INET, req->dns, req->dns_count, NULL);
	put_nets(t, "dns6", AF_INET6, req->dns, req->dns_count, NULL);
	put_nets(t, "deny4", AF_INET, req->deny, req->deny_count, always_denied4);
	put_nets(t, "deny6", AF_INET6, req->deny, req->deny_count, always_denied6);
	if (req->allow_count > 0) {
		put_nets(t, "allow4", AF_INET, req->allow, req->allow_count, NULL);
		put_nets(t, "allow6", AF_INET6, req->allow, req->allow_count, NULL);
	}
	put(t, "\tset ports {\n\t\ttype inet_service\n");
	for (size_t i = 0; i < req->port_count; i++)
		put(t, "%s%u%s", i ? ", " : "\t\telements = { ", req->ports[i], i + 1 == req->port_count ? " }\n" : "");
	put(t, "\t}\n");
}

/* From the bridge. The neighbours come first: where bridged frames pass the inet hooks their way
 * in and their way out is the same bridge. The resolvers stand before the denied networks: an
 * operator may have one on a link-local address. */
static void put_from_sandbox(struct text *t, const struct wall_request *req)
{
	put(t,
	    "\tchain from_sandbox {\n"
	    "\t\toifname \"%s\" drop\n"
	    "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 accept\n"
	    "\t\tip daddr @dns4 meta l4proto { tcp, udp } th dport 53 accept\n"
	    "\t\tip6 daddr @dns6 meta l4proto { tcp, udp } th dport 53 accept\n"
	    "\t\tip daddr @deny4 goto refuse\n"
	    "\t\tip6 daddr @deny6 goto refuse\n",
	    req->bridge);
	if (req->allow_count > 0)
		put(t, "\t\tip daddr != @allow4 goto refuse\n\t\tip6 daddr != @allow6 goto refuse\n");
	put(t, "\t\tmeta l4proto tcp ct direction original ct original proto-dst @ports accept\n");
	if (req->ftp_related && has_port(req, 21))
		put(t, "\t\tmeta l4proto tcp ct direction original ct helper \"ftp\" tcp dport 1024-65535 accept\n");
	put(t, "\t\tgoto refuse\n\t}\n");
	put(t, "\tchain refuse {\n"
	       "\t\tmeta l4proto tcp reject with tcp reset\n"
	       "\t\treject with icmpx type admin-prohibited\n"
	       "\t}\n");
}

/* Only the passive mode: the helper expects the data connection the server named, the script
 * opens it. */
static void put_ftp(struct text *t, const struct wall_request *req)
{
	if (!req->ftp_related || !has_port(req, 21))
		return;
	put(t,
	    "\tct helper ftp_passive {\n\t\ttype \"ftp\" protocol tcp\n\t}\n"
	    "\tchain watch_ftp {\n"
	    "\t\ttype filter hook prerouting priority filter - 10; policy accept;\n"
	    "\t\tiifname \"%s\" tcp dport 21 ct helper set \"ftp_passive\"\n\t}\n",
	    req->bridge);
}

char *wall_rules(const struct wall_request *req, const char *name, unsigned flags)
{
	struct text t = { .at = malloc(WALL_TEXT_MAX) };
	const char *b = req->bridge;

	put(&t, "add table inet %s%s\ndelete table inet %s\n", name, flags & WALL_OWNED ? " { flags owner; }" : "",
	    name);
	put(&t, "table inet %s {\n%s", name, flags & WALL_OWNED ? "\tflags owner\n" : "");
	put_sets(&t, req);
	put_ftp(&t, req);
	put_from_sandbox(&t, req);
	put(&t,
	    "\tchain to_sandbox {\n"
	    "\t\tct direction reply ct state established accept\n"
	    "\t\tct state related meta l4proto { icmp, icmpv6 } accept\n"
	    "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept\n"
	    "\t\tdrop\n\t}\n");
	put(&t,
	    "\tchain forward {\n\t\ttype filter hook forward priority filter - 10; policy accept;\n"
	    "\t\tiifname \"%s\" goto from_sandbox\n\t\toifname \"%s\" goto to_sandbox\n\t}\n",
	    b, b);
	put(&t,
	    "\tchain input {\n\t\ttype filter hook input priority filter - 10; policy accept;\n"
	    "\t\tiifname \"%s\" goto from_sandbox\n\t}\n",
	    b);
	put(&t,
	    "\tchain output {\n\t\ttype filter hook output priority filter - 10; policy accept;\n"
	    "\t\toifname \"%s\" tcp flags & rst == rst accept\n\t\toifname \"%s\" icmp type destination-unreachable "
	    "accept\n"
	    "\t\toifname \"%s\" icmpv6 type destination-unreachable accept\n\t\toifname \"%s\" goto "
	    "to_sandbox\n\t}\n}\n",
	    b, b, b, b);
	if (t.full) {
		free(t.at);
		return NULL;
	}
	return t.at;
}

char *wall_rules_bridge(const struct wall_request *req, const char *name)
{
	struct text t = { .at = malloc(WALL_TEXT_MAX) };

	put(&t,
	    "add table bridge %s\ndelete table bridge %s\ntable bridge %s {\n"
	    "\tchain forward {\n\t\ttype filter hook forward priority -10; policy accept;\n"
	    "\t\tmeta ibrname \"%s\" drop\n\t}\n}\n",
	    name, name, name, req->bridge);
	if (t.full) {
		free(t.at);
		return NULL;
	}
	return t.at;
}
