/* server.h - HTTP: connections, headers, limits; libmicrohttpd on the event loop. MHD_* stops here.
 *
 * GET and HEAD only. Connections, their memory, their silence and the bytes of pages that wait for
 * slow readers are bounded; above a bound the answer is 503 with Retry-After. */
#ifndef WEB_SERVER_H
#define WEB_SERVER_H

#include "hosts.h"
#include "link.h"
#include "visit.h"

#include <systemd/sd-event.h>

#define SERVER_CONNECTIONS_MAX 64
#define SERVER_CONNECTION_BYTES 16384
#define SERVER_SILENCE_SEC 30
#define SERVER_HELD_BYTES_MAX (12u << 20)

struct server;

/* server_new - serve who connects to LISTENER, a listening socket (taken over in any case).
 * HOSTS, SITE and LINK are borrowed.
 * 0 or a negative errno. */
int server_new(sd_event *loop, int listener, const struct hosts *hosts, const struct site *site, struct link *link,
	       struct server **ret);

/* server_free - after link_free(): no visit may be under way. */
void server_free(struct server *server);

#endif
