/* hosts.h - under which names the page may be asked for. A page of a stranger, whose name he lets
 * point to 127.0.0.1 while somebody looks at it (DNS rebinding), would otherwise read ours. */
#ifndef WEB_HOSTS_H
#define WEB_HOSTS_H

#include <stdbool.h>

#define HOSTS_MAX 32

struct hosts {
	const char *names[HOSTS_MAX]; /* borrowed; the first free one is NULL */
};

/* hosts_add - NAME, an address in brackets if it is one of IPv6.
 * False: there are too many, or NAME is empty or has a port. */
bool hosts_add(struct hosts *hosts, const char *name);

/* hosts_allow - HEADER is a Host header (or NULL: there was none) with one of the names, and a port
 * or none. */
bool hosts_allow(const struct hosts *hosts, const char *header);

#endif
