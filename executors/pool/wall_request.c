/* wall_request.c - strict reading of requests. */
#include "wall_request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

const char *const wall_causes[WALL_CAUSE_MAX] = {
	[WALL_RIGHT] = "right",     [WALL_BRIDGE] = "bridge", [WALL_KERNEL] = "kernel",
	[WALL_REQUEST] = "request", [WALL_OTHER] = "other",
};

static const uint16_t known_ports[] = { 80, 443, 21, 22, 25, 587, 465 };

static bool words_of(const char *text, const char *set) { return *text && text[strspn(text, set)] == 0; }

static int parse_number(const char *text, unsigned max, unsigned *ret)
{
	unsigned value = 0;

	if (!words_of(text, "0123456789") || strlen(text) > 7)
		return -EINVAL;
	for (; *text; text++)
		value = value * 10 + (unsigned)(*text - '0');
	if (value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int wall_net_parse(const char *text, bool prefix, struct wall_net *ret)
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
		if (count >= max || wall_net_parse(item, prefix, &list[count]) < 0)
			return -EINVAL;
		count++;
	}
	*ret_count = count;
	return 0;
}

static int parse_ports(char *value, struct wall_request *req)
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

static int parse_ftp(const char *value, struct wall_request *req)
{
	req->ftp_related = strcmp(value, "related") == 0;
	return req->ftp_related || strcmp(value, "off") == 0 ? 0 : -EINVAL;
}

static int parse_connections(const char *value, struct wall_request *req)
{
	unsigned count;

	if (parse_number(value, WALL_CONNECTIONS_MAX, &count) < 0)
		return -EINVAL;
	req->connections = count;
	return 0;
}

static int parse_word(const char *key, char *value, struct wall_request *req)
{
	if (strcmp(key, "table") == 0)
		return parse_table(value, req);
	if (strcmp(key, "bridge") == 0)
		return parse_bridge(value, req);
	if (strcmp(key, "ports") == 0)
		return parse_ports(value, req);
	if (strcmp(key, "dns") == 0)
		return parse_nets(value, false, req->dns, sizeof req->dns / sizeof *req->dns, &req->dns_count);
	if (strcmp(key, "allow") == 0)
		return parse_nets(value, true, req->allow, WALL_LIST_MAX, &req->allow_count);
	if (strcmp(key, "deny") == 0)
		return parse_nets(value, true, req->deny, WALL_LIST_MAX, &req->deny_count);
	if (strcmp(key, "ftp") == 0)
		return parse_ftp(value, req);
	if (strcmp(key, "connections") == 0)
		return parse_connections(value, req);
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
	ret->up = strcmp(verb, "up") == 0;
	if (!ret->up && strcmp(verb, "down") != 0)
		return lsn_error_set(err, -EINVAL, "the request is neither 'up' nor 'down'");
	for (char *value; (value = strsep(&rest, " "));) {
		char *key = strsep(&value, "=");
		if (!value || parse_word(key, value, ret) < 0)
			return lsn_error_set(err, -EINVAL, "a bad word in the request: %.20s", key);
	}
	if (!*ret->table || (ret->up && !*ret->bridge))
		return lsn_error_set(err, -EINVAL, "the request names no table or no bridge");
	return 0;
}
