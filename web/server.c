/* server.c - see server.h. A request is seen by server_on_request() once when its head is there,
 * once to be asked or answered, and, if the daemon was asked, once more with the answers. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <util.h>

#include "request.h"

enum stage { STAGE_NEW, STAGE_READ, STAGE_ASKED, STAGE_REPLIED };

struct server {
	struct MHD_Daemon *mhd;
	sd_event_source *io, *timer;
	const struct hosts *hosts;
	const struct site *site;
	struct link *link;
	size_t held_bytes; /* of replies that are being sent */
};

/* A request with what the library needs to know of it. */
struct exchange {
	struct request *request;
	struct server *server;
	struct MHD_Connection *connection;
	enum stage stage;
	size_t held_bytes;
};

/* --------------------------------------------------------------------------- the library's turn */

/* server_arm - wake up when the library wants to be, for its time-outs: never if it does not. */
static void server_arm(struct server *server)
{
	MHD_UNSIGNED_LONG_LONG msec;
	if (MHD_get_timeout(server->mhd, &msec) != MHD_YES) {
		(void)sd_event_source_set_enabled(server->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time_relative(server->timer, (uint64_t)msec * USEC_PER_MSEC);
	(void)sd_event_source_set_enabled(server->timer, SD_EVENT_ONESHOT);
}

static unsigned server_connections(const struct server *server)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	return info ? info->num_connections : 0;
}

/* server_run - let the library do what there is to do.
 * When all connections are in use, it stops listening, and listens again at the beginning of its
 * next turn, not at the end of the one in which connections ended: nothing would wake it up. */
static void server_run(struct server *server)
{
	unsigned before;
	do {
		before = server_connections(server);
		(void)MHD_run(server->mhd);
	} while (server_connections(server) < before);
	server_arm(server);
}

static int server_on_io(sd_event_source *source, int fd, uint32_t events, void *data)
{
	(void)source;
	(void)fd;
	(void)events;
	server_run(data);
	return 0;
}

static int server_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	(void)source;
	(void)usec;
	server_run(data);
	return 0;
}

/* --------------------------------------------------------------------------------------- replies */

static void server_add_headers(struct MHD_Response *response, const struct request *request)
{
	static const char *const fixed[][2] = {
		{ "Content-Security-Policy",
		  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
		  "base-uri 'none'; form-action 'self'; frame-ancestors 'none'" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
		{ "Cross-Origin-Opener-Policy", "same-origin" },
		{ "Cache-Control", "no-store" },
	};
	char text[64];
	for (size_t i = 0; i < ELEMENTSOF(fixed); i++)
		(void)MHD_add_response_header(response, fixed[i][0], fixed[i][1]);
	(void)MHD_add_response_header(response, "Content-Type", request->type);
	if (request->status == 405)
		(void)MHD_add_response_header(response, "Allow", "GET, HEAD");
	if (request->status == 503)
		(void)MHD_add_response_header(response, "Retry-After", "5");
	if (request->download) {
		(void)snprintf(text, sizeof text, "attachment; filename=\"%s\"", request->download);
		(void)MHD_add_response_header(response, "Content-Disposition", text);
	}
	if (request->visit->refresh_sec) {
		(void)snprintf(text, sizeof text, "%u", request->visit->refresh_sec);
		(void)MHD_add_response_header(response, "Refresh", text);
	}
}

/* exchange_hold - count the reply among those that are being sent, or refuse it. */
static void exchange_hold(struct exchange *exchange)
{
	struct server *server = exchange->server;
	if (server->held_bytes + exchange->request->body_size > SERVER_HELD_BYTES_MAX)
		request_refuse(exchange->request, 503, "Too many pages are being sent to slow readers.");
	exchange->held_bytes = exchange->request->body_size;
	server->held_bytes += exchange->held_bytes;
}

static enum MHD_Result exchange_reply(struct exchange *exchange)
{
	struct request *request = exchange->request;
	exchange_hold(exchange);
	/* The body is the request's, which lives until the library has sent it. */
	struct MHD_Response *response = MHD_create_response_from_buffer(
		request->body_size, (void *)(uintptr_t)request->body, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	server_add_headers(response, request);
	enum MHD_Result result = MHD_queue_response(exchange->connection, request->status, response);
	MHD_destroy_response(response);
	exchange->stage = STAGE_REPLIED;
	return result;
}

/* -------------------------------------------------------------------------------------- requests */

static enum MHD_Result server_on_argument(void *data, enum MHD_ValueKind kind, const char *name, size_t name_size,
					  const char *value, size_t value_size)
{
	struct request *request = data;
	(void)kind;
	if (request_argument(request, name, name_size, value, value_size))
		return MHD_YES;
	request_refuse(request, 400, "The query of this address is no text, or has too many parts.");
	return MHD_NO;
}

/* exchange_check - what may be refused without a look at the page; 0: nothing was. */
static unsigned exchange_check(struct exchange *exchange, const char *method, const char *url)
{
	struct request *request = exchange->request;
	const char *host = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, "Host");
	if (!hosts_allow(exchange->server->hosts, host))
		request_refuse(request, 421, "This page is not served under that name. See --host in listener-web(8).");
	else if (!streq(method, "GET") && !streq(method, "HEAD"))
		request_refuse(request, 405, "This page only shows: GET and HEAD.");
	else
		(void)MHD_get_connection_values_n(exchange->connection, MHD_GET_ARGUMENT_KIND, server_on_argument,
						  request);
	return request->status ? request->status : request_find(request, url);
}

static void exchange_on_done(struct visit *visit)
{
	struct exchange *exchange = visit->owner;
	MHD_resume_connection(exchange->connection);
	server_run(exchange->server);
}

/* exchange_ask - let the daemon be asked; the connection sleeps until it has answered. */
static enum MHD_Result exchange_ask(struct exchange *exchange)
{
	struct visit *visit = exchange->request->visit;
	visit->owner = exchange;
	visit->done = exchange_on_done;
	if (link_submit(exchange->server->link, visit) < 0) {
		request_refuse(exchange->request, 503, "Too many others look at the moment.");
		return exchange_reply(exchange);
	}
	exchange->stage = STAGE_ASKED;
	MHD_suspend_connection(exchange->connection);
	return MHD_YES;
}

static enum MHD_Result exchange_begin(struct exchange *exchange, const char *method, const char *url)
{
	if (exchange_check(exchange, method, url))
		return exchange_reply(exchange);
	if (request_asks(exchange->request))
		return exchange_ask(exchange);
	request_compose(exchange->request);
	return exchange_reply(exchange);
}

static void *server_on_uri(void *data, const char *uri, struct MHD_Connection *connection)
{
	struct server *server = data;
	struct exchange *exchange = calloc(1, sizeof *exchange);
	if (!exchange)
		return NULL;
	exchange->server = server;
	exchange->connection = connection;
	exchange->request = request_new(server->site, uri);
	if (!exchange->request) {
		free(exchange);
		return NULL;
	}
	return exchange;
}

static enum MHD_Result server_on_request(void *data, struct MHD_Connection *connection, const char *url,
					 const char *method, const char *version, const char *upload,
					 size_t *upload_size, void **context)
{
	struct exchange *exchange = *context;
	(void)data;
	(void)connection;
	(void)version;
	(void)upload;
	if (!exchange)
		return MHD_NO;
	*upload_size = 0;
	switch (exchange->stage) {
	case STAGE_NEW:
		exchange->stage = STAGE_READ;
		/* a body is not waited for */
		return streq(method, "GET") || streq(method, "HEAD") ? MHD_YES : exchange_begin(exchange, method, url);
	case STAGE_READ: return exchange_begin(exchange, method, url);
	case STAGE_ASKED: request_compose(exchange->request); return exchange_reply(exchange);
	default: return MHD_YES;
	}
}

static void server_on_completed(void *data, struct MHD_Connection *connection, void **context,
				enum MHD_RequestTerminationCode code)
{
	struct server *server = data;
	struct exchange *exchange = *context;
	(void)connection;
	(void)code;
	*context = NULL;
	if (!exchange)
		return;
	server->held_bytes -= exchange->held_bytes;
	request_free(exchange->request);
	free(exchange);
}

/* ------------------------------------------------------------------------------------------ life */

static int server_start(struct server *server, int listener)
{
	server->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, server_on_request,
				       server, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
				       (unsigned)SERVER_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				       (size_t)SERVER_CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
				       (unsigned)SERVER_SILENCE_SEC, MHD_OPTION_URI_LOG_CALLBACK, server_on_uri, server,
				       MHD_OPTION_NOTIFY_COMPLETED, server_on_completed, server, MHD_OPTION_END);
	if (server->mhd)
		return 0;
	(void)close(listener);
	return -EIO;
}

int server_new(sd_event *loop, int listener, const struct hosts *hosts, const struct site *site, struct link *link,
	       struct server **ret)
{
	struct server *server = calloc(1, sizeof *server);
	if (!server) {
		(void)close(listener);
		return -ENOMEM;
	}
	server->hosts = hosts;
	server->site = site;
	server->link = link;
	(void)fcntl(listener, F_SETFL, O_NONBLOCK);
	int r = server_start(server, listener);
	const union MHD_DaemonInfo *info = r < 0 ? NULL : MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (r >= 0)
		r = info ? sd_event_add_io(loop, &server->io, info->epoll_fd, EPOLLIN, server_on_io, server) : -EIO;
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &server->timer, CLOCK_MONOTONIC, 0, 0, server_on_timer, server);
	if (r < 0) {
		server_free(server);
		return r;
	}
	*ret = server;
	return 0;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	sd_event_source_disable_unref(server->io);
	sd_event_source_disable_unref(server->timer);
	if (server->mhd)
		MHD_stop_daemon(server->mhd);
	free(server);
}
