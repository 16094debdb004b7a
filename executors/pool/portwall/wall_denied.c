/* wall_denied.c - the list. */
#include "wall_denied.h"

const struct wall_denied wall_denied[] = {
	{ "0.0.0.0/8", "this host on this network", "RFC 1122" },
	{ "127.0.0.0/8", "loopback", "RFC 1122" },
	{ "169.254.0.0/16", "link-local; metadata of most clouds",
	  "RFC 3927; Amazon EC2, Azure, Google Cloud, OpenStack" },
	{ "224.0.0.0/3", "multicast, reserved, broadcast", "RFC 1112, RFC 6890" },
	{ "100.100.100.200/32", "metadata", "Alibaba Cloud ECS, instance metadata" },
	{ "168.63.129.16/32", "host agent: certificates and extension settings",
	  "Azure, What is IP address 168.63.129.16" },
	{ "192.0.0.192/32", "metadata", "Oracle Cloud Infrastructure Classic, instance metadata" },

	{ "::/96", "unspecified, loopback, IPv4-compatible", "RFC 4291" },
	{ "::ffff:0:0/96", "IPv4-mapped", "RFC 4291" },
	{ "::ffff:0:0:0/96", "IPv4-translated", "RFC 7915" },
	{ "64:ff9b:1::/48", "translation to IPv4, local: where the IPv4 address stands is the site's choice",
	  "RFC 8215" },
	{ "2001::/32", "Teredo: an IPv4 address, inverted", "RFC 4380" },
	{ "fe80::/10", "link-local", "RFC 4291" },
	{ "ff00::/8", "multicast", "RFC 4291" },
	{ "fd00:ec2::/32", "metadata, name server, time, pod identity",
	  "Amazon EC2, IPv6 addresses of local services" },
	{ "fd20:ce::254/128", "metadata", "Google Cloud, metadata server of IPv6-only machines" },
	{ "fd00:c1::a9fe:a9fe/128", "metadata", "Oracle Cloud Infrastructure, instance metadata over IPv6" },
	{ "fd00:42::42/128", "metadata", "Scaleway, instance metadata" },
	{ "fd00:a9fe:a9fe::/64", "metadata", "Akamai Linode, metadata service" },
};
const size_t wall_denied_count = sizeof wall_denied / sizeof *wall_denied;

const struct wall_carrier wall_carriers[] = {
	{ "64:ff9b::/96", 12, "translation to IPv4 (NAT64)", "RFC 6052" },
	{ "2002::/16", 2, "6to4", "RFC 3056" },
};
const size_t wall_carrier_count = sizeof wall_carriers / sizeof *wall_carriers;
