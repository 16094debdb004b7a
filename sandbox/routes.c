/* routes.c - the first wall of all: a sandbox's kernel knows one neighbour, the gateway, and one
 * address of its own loopback, 127.0.0.1.
 *
 * Without it a script could fill the table of neighbours, which is one for all namespaces of the
 * machine (net.ipv4.neigh.default.gc_thresh3), by sending to each address of its network. And it
 * could ask the name server of the engine at 127.0.0.11, which knows the other sandboxes and works
 * for nobody's account. By ioctl(): the engine's list of system calls has no netlink. */
#include "init.h"
#include "protocol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUTES_MAX 16

struct route { /* a line of /proc/net/route; addresses in network order */
	char device[IFNAMSIZ];
	uint32_t target, gateway, mask;
};

/* routes_read - without those that refuse: the sandbox before may have been in this namespace. */
static int routes_read(struct route list[ROUTES_MAX])
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256];
	unsigned flags;
	int count = 0;
	if (!f)
		return 0;
	while (count < ROUTES_MAX && fgets(line, sizeof line, f)) {
		struct route *r = &list[count];
		if (sscanf(line, "%15s %x %x %x %*d %*d %*d %x", r->device, &r->target, &r->gateway, &flags,
			   &r->mask) == 5 &&
		    !(flags & RTF_REJECT))
			count++;
	}
	(void)fclose(f);
	return count;
}

static struct sockaddr internet_address(uint32_t address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { address } };
	struct sockaddr out;
	memcpy(&out, &in, sizeof out);
	return out;
}

static bool route_add(int fd, char *device, uint32_t target, uint32_t mask, unsigned short flags)
{
	struct rtentry entry = {
		.rt_dst = internet_address(target),
		.rt_genmask = internet_address(mask),
		.rt_flags = (unsigned short)(RTF_UP | flags),
		.rt_dev = device,
	};
	return ioctl(fd, SIOCADDRT, &entry) == 0 || errno == EEXIST;
}

/* More exact than the network's own route: its halves. */
static bool network_close(int fd, struct route *r)
{
	uint32_t mask = ntohl(r->mask), half = mask >> 1 | 1u << 31, bit = half & ~mask;
	if (bit == 0)
		return true;
	return route_add(fd, NULL, r->target, htonl(half), RTF_REJECT) &&
	       route_add(fd, NULL, r->target | htonl(bit), htonl(half), RTF_REJECT);
}

static bool loopback_narrow(int fd)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_netmask = internet_address(INADDR_NONE) };
	return ioctl(fd, SIOCSIFNETMASK, &request) == 0;
}

static bool routes_close(int fd, struct route *list, int count)
{
	bool done = loopback_narrow(fd);
	for (int i = 0; done && i < count; i++)
		if (list[i].gateway != 0)
			done = route_add(fd, list[i].device, list[i].gateway, INADDR_NONE, RTF_HOST);
	for (int i = 0; done && i < count; i++)
		if (list[i].gateway == 0 && list[i].mask != INADDR_NONE && list[i].mask != 0)
			done = network_close(fd, &list[i]);
	return done;
}

void routes_init(struct init *in)
{
	struct route list[ROUTES_MAX];
	int count = routes_read(list), fd;
	if (count == 0) {
		in->walls |= SB_WALL_ROUTES; /* there is no way out of here */
		return;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && routes_close(fd, list, count))
		in->walls |= SB_WALL_ROUTES;
	else
		say("cannot narrow the routes: %s", strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}
