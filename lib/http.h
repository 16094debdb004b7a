/* http.h - HTTP requests on the event loop: libcurl's multi interface driven by the host
 * services of listener/executor.h, so that the daemon (CDMI) and executors (Docker Engine) share
 * one client. CURLE_* codes stop here.
 *
 *   1. http_new() makes a client: one pool of kept-alive connections to any number of servers.
 *   2. http_start() starts a request; it is copied, nothing need outlive the call.
 *   3. Later the callback gets the reply once: status > 0, or status 0 and an error. The reply
 *      is borrowed for the call.
 *   4. http_cancel() forgets a request without calling back. http_free() cancels what is left.
 *
 * Loop thread only; nothing blocks. The callback may start or cancel requests, but must not free
 * the client. */
#ifndef LIB_HTTP_H
#define LIB_HTTP_H

#include <listener/executor.h>

struct http;
struct http_exchange;

struct http_options {
	const char *unix_socket; /* talk to this socket instead of TCP; NULL: TCP */
	/* HTTP Basic, sent with the first request, to the request's own host only; NULL: none */
	const char *user, *password;
	const char *ca_file; /* NULL: the system's */
	bool verify; /* check the server's certificate and name */
	unsigned max_connections; /* at the same time; more requests wait; 0: 8 */
	/* followed for 301/307/308 with the same method to the same host, never https -> http;
	 * 0: none */
	unsigned max_redirects;
};

struct http_request {
	const char *method; /* "GET", "POST", "PUT", "DELETE" */
	const char *url;
	const char *const *headers; /* "Name: value", NULL-terminated list; NULL: none */
	const void *body; /* NULL: none */
	size_t body_size;
	uint64_t timeout_usec; /* for the whole exchange; 0: none */
	size_t max_body; /* larger replies end in an error with code -EFBIG */
};

struct http_reply {
	long status; /* 100..599; 0: no whole reply, see error */
	const char *body; /* NUL-terminated beyond body_size */
	size_t body_size;
	const char *content_type; /* "" if none */
	const char *location; /* of the Location header, "" if none */
	/* status 0: code -ETIMEDOUT, -ECONNREFUSED, -EFBIG, -EPROTO (cut body), -EACCES (TLS; a
	 * socket that may not be opened), -EIO and others */
	struct lsn_error error;
};

typedef void (*http_fn)(void *data, const struct http_reply *reply);

int http_new(const struct lsn_host *host, const struct http_options *options, struct http **ret, struct lsn_error *err);
void http_free(struct http *http);

/* http_start - returns 0 and, unless RET is NULL, the exchange (valid until FN has been called);
 * or -ENOMEM, -EINVAL.
 * FN is never called from inside. */
int http_start(struct http *http, const struct http_request *request, http_fn fn, void *data,
	       struct http_exchange **ret);
void http_cancel(struct http_exchange *exchange);

#endif
