/* wall_denied.h - where no script may go, whatever an operator allows: data, each with its
 * source.
 *
 * What clouds serve to their machines (credentials, user data, agents) is denied by address, as
 * none of it is for strangers. A machine's name server may be such an address: `dns` opens it
 * for questions, nothing else. */
#ifndef POOL_WALL_DENIED_H
#define POOL_WALL_DENIED_H

#include <stddef.h>

struct wall_denied {
	const char *network; /* "169.254.0.0/16" */
	const char *what;
	const char *source;
};
extern const struct wall_denied wall_denied[];
extern const size_t wall_denied_count;

/* IPv6 addresses that carry an IPv4 address: what is denied as IPv4 is denied inside them too. */
struct wall_carrier {
	const char *network; /* whole bytes */
	unsigned offset; /* of the IPv4 address, in bytes */
	const char *what;
	const char *source;
};
extern const struct wall_carrier wall_carriers[];
extern const size_t wall_carrier_count;

#endif
