/* http.c - see http.h. How libcurl's multi interface sits on the host's loop:
 *
 *   libcurl tells us which descriptors and which timer it wants (on_socket, on_timer);
 *   the host tells us when they are ready (on_ready, on_due) and we let libcurl work;
 *   then, outside of libcurl, finished exchanges are taken from its list and their callbacks run
 *   (deliver_finished).
 *
 * So no callback of ours ever runs inside libcurl, and starting or cancelling from one is like
 * doing it from anywhere else.
 *
 * Redirects are followed by hand. libcurl would turn POST into GET and has its own idea of where
 * credentials may go; here a request is repeated whole, or the reply is handed over as it is.
 * Proxies from the environment are not used: what the configuration names is what we talk to. */
#include <http.h>

#include <cleanup.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include <util.h>

#define HTTP_HEADERS_MAX (256 * 1024) /* bytes of all header lines of one reply */
#define HTTP_CONNECTIONS 8
#define HTTP_CONNECT_TIMEOUT_MSEC 30000L

/* A descriptor libcurl waits for. libcurl 7.88 closes a socket that is still connecting before
 * it says so, and may at once get the same number for the next address without saying so at all.
 * Therefore we watch a duplicate, which stays open until we let it go, and on_open() tells us
 * when a number has come to mean another socket. */
struct http_socket {
	struct http *http;
	int fd; /* libcurl's name for it */
	int watched_fd; /* the duplicate, -1: none */
	uint32_t events;
	struct lsn_watch *watch;
	LIST_ENTRY(http_socket) link;
};

LIST_HEAD(http_socket_list, http_socket);
LIST_HEAD(http_exchange_list, http_exchange);

struct http {
	const struct lsn_host *host;
	CURLM *multi;
	struct lsn_timer *timer; /* libcurl's */
	struct http_socket_list sockets;
	struct http_exchange_list exchanges;
	char *unix_socket, *user, *password, *ca_file;
	bool verify;
	unsigned max_redirects;
	/* the host could not watch a descriptor: some exchange has its failure set */
	bool unwatched;
};

struct http_exchange {
	struct http *http;
	CURL *easy;
	LIST_ENTRY(http_exchange) link;
	http_fn fn;
	void *data;
	char *method, *url;
	struct curl_slist *headers;
	void *request_body;
	uint64_t deadline_usec; /* monotonic, 0: none */
	size_t max_body, header_bytes;
	unsigned redirects_left;
	int failure; /* ours, when we made libcurl give up */
	int open_error; /* the last socket that libcurl could not have */
	char *body;
	size_t body_size, body_room;
	char curl_error[CURL_ERROR_SIZE];
};

static void exchange_free(struct http_exchange *x)
{
	if (!x)
		return;
	if (x->easy) {
		(void)curl_multi_remove_handle(x->http->multi, x->easy);
		curl_easy_cleanup(x->easy);
	}
	curl_slist_free_all(x->headers);
	free(x->method);
	free(x->url);
	free(x->request_body);
	free(x->body);
	free(x);
}
DEFINE_CLEANUP(struct http_exchange *, exchange_freep, exchange_free)

static void socket_unwatch(struct http_socket *s)
{
	s->http->host->unwatch(s->http->host->handle, s->watch);
	s->watch = NULL;
	if (s->watched_fd >= 0)
		(void)close(TAKE_FD(s->watched_fd));
}

static void socket_free(struct http_socket *s)
{
	socket_unwatch(s);
	LIST_REMOVE(s, link);
	free(s);
}

/* -------------------------------------------------------------------------------------- replies */

/* body_append - room is doubled, but never beyond what the request allows. */
static int body_append(struct http_exchange *x, const char *data, size_t size)
{
	if (size > x->max_body - x->body_size)
		return -EFBIG;
	if (x->body_size + size + 1 > x->body_room) {
		size_t room = x->body_room ? x->body_room * 2 : 4096;
		if (room < x->body_size + size + 1)
			room = x->body_size + size + 1;
		if (room > x->max_body + 1)
			room = x->max_body + 1;
		char *larger = realloc(x->body, room);
		if (!larger)
			return -ENOMEM;
		x->body = larger;
		x->body_room = room;
	}
	memcpy(x->body + x->body_size, data, size);
	x->body_size += size;
	x->body[x->body_size] = '\0';
	return 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
	struct http_exchange *x = user;
	int r = body_append(x, data, one * size);

	if (r < 0) {
		x->failure = r;
		return 0; /* libcurl gives up */
	}
	return one * size;
}

static size_t on_header(char *data, size_t one, size_t size, void *user)
{
	struct http_exchange *x = user;

	(void)data;
	x->header_bytes += one * size;
	if (x->header_bytes > HTTP_HEADERS_MAX) {
		x->failure = -EFBIG;
		return 0;
	}
	return one * size;
}

/* why_unconnected - the system's reason, an errno; 0: it gave none. libcurl does not know why it
 * did not get a socket. */
static int why_unconnected(const struct http_exchange *x)
{
	long os_errno = 0;

	if (x->open_error > 0)
		return x->open_error;
	(void)curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_errno);
	return (int)os_errno;
}

static int errno_of(CURLcode code, const struct http_exchange *x)
{
	long os_errno = 0;

	switch (code) {
	case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
	case CURLE_FILESIZE_EXCEEDED: return -EFBIG;
	case CURLE_PARTIAL_FILE:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_BAD_CONTENT_ENCODING: return -EPROTO;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR: return -EACCES;
	case CURLE_COULDNT_RESOLVE_HOST: return -EHOSTUNREACH;
	case CURLE_GOT_NOTHING: return -ECONNRESET;
	case CURLE_OUT_OF_MEMORY: return -ENOMEM;
	case CURLE_COULDNT_CONNECT: return why_unconnected(x) > 0 ? -why_unconnected(x) : -ECONNREFUSED;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		(void)curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_errno);
		/* no errno: the chunks are malformed */
		return os_errno > 0 ? -(int)os_errno : -EPROTO;
	default: return -EIO;
	}
}

/* error_unconnected - the reason in words. libcurl's text does not have it, and for a unix socket
 * it names a port that does not exist. */
static const char *error_unconnected(const struct http_exchange *x)
{
	int why = why_unconnected(x);

	return why > 0 ? strerror(why) : NULL;
}

static void error_explain(struct http_exchange *x, CURLcode code, struct lsn_error *err)
{
	const char *text = x->curl_error[0] ? x->curl_error : curl_easy_strerror(code);
	int r = x->failure ? x->failure : errno_of(code, x);
	const char *via = x->http->unix_socket, *reason = code == CURLE_COULDNT_CONNECT ? error_unconnected(x) : NULL;

	if (r == -EFBIG && x->header_bytes > HTTP_HEADERS_MAX)
		text = "the headers of the reply are too long";
	else if (r == -EFBIG)
		(void)lsn_error_set(err, r, "the reply is larger than %zu bytes", x->max_body);
	else if (x->failure)
		text = strerror(-r);
	else if (reason)
		text = reason;
	if (r != -EFBIG || x->header_bytes > HTTP_HEADERS_MAX)
		(void)lsn_error_set(err, r, "%s", text);
	(void)lsn_error_prefix(err, r, "%s %s%s%s%s", x->method, x->url, via ? " (at " : "", via ? via : "",
			       via ? ")" : "");
}

/* header_value - of the last reply (not of one that was redirected), "" if it has none; valid
 * until the handle is used again. */
static const char *header_value(CURL *easy, const char *name)
{
	struct curl_header *header;

	return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : "";
}

/* ------------------------------------------------------------------------------------ redirects */

struct url_parts {
	CURLU *handle;
	char *scheme, *host, *port, *user;
};

static void url_parts_done(struct url_parts *u)
{
	curl_free(u->scheme);
	curl_free(u->host);
	curl_free(u->port);
	curl_free(u->user);
	curl_url_cleanup(u->handle);
}

/* url_split - false if URL is not a http or https address. */
static bool url_split(const char *url, struct url_parts *u)
{
	u->handle = curl_url();
	if (!u->handle || curl_url_set(u->handle, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(u->handle, CURLUPART_SCHEME, &u->scheme, 0) != CURLUE_OK ||
	    curl_url_get(u->handle, CURLUPART_HOST, &u->host, 0) != CURLUE_OK ||
	    curl_url_get(u->handle, CURLUPART_PORT, &u->port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return false;
	(void)curl_url_get(u->handle, CURLUPART_USER, &u->user, 0);
	return strcasecmp(u->scheme, "http") == 0 || strcasecmp(u->scheme, "https") == 0;
}

/* redirect_allowed - same scheme, host and port; or from http to https on the same host. A
 * target with credentials of its own is refused. */
static bool redirect_allowed(const char *from_url, const char *to_url)
{
	_cleanup_(url_parts_done) struct url_parts from = { 0 };
	_cleanup_(url_parts_done) struct url_parts to = { 0 };

	if (!url_split(from_url, &from) || !url_split(to_url, &to) || strcasecmp(from.host, to.host) != 0)
		return false;
	if (to.user && !streq(to.user, from.user))
		return false;
	if (strcasecmp(from.scheme, to.scheme) == 0)
		return strcmp(from.port, to.port) == 0;
	return strcasecmp(from.scheme, "http") == 0;
}

static void set_time_left(struct http_exchange *x)
{
	uint64_t now = now_monotonic_usec();
	uint64_t left = x->deadline_usec > now ? (x->deadline_usec - now + 999) / 1000 : 1;

	if (x->deadline_usec > 0)
		(void)curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, left > INT32_MAX ? (long)INT32_MAX : (long)left);
}

/* redirect_target - what LOCATION means seen from FROM_URL; caller frees. Not
 * CURLINFO_REDIRECT_URL: that one has the client's password in it. */
static char *redirect_target(const char *from_url, const char *location)
{
	CURLU *handle = curl_url();
	char *url = NULL, *copy = NULL;

	if (handle && *location && curl_url_set(handle, CURLUPART_URL, from_url, 0) == CURLUE_OK &&
	    curl_url_set(handle, CURLUPART_URL, location, 0) == CURLUE_OK &&
	    curl_url_get(handle, CURLUPART_URL, &url, 0) == CURLUE_OK)
		copy = strdup(url);
	curl_free(url);
	curl_url_cleanup(handle);
	return copy;
}

/* redirect_follow - the exchange has got STATUS; true: it goes on at another address. */
static bool redirect_follow(struct http_exchange *x, long status)
{
	_cleanup_free_ char *url = NULL;

	if ((status != 301 && status != 307 && status != 308) || x->redirects_left == 0)
		return false;
	url = redirect_target(x->url, header_value(x->easy, "Location"));
	if (!url || !redirect_allowed(x->url, url) || curl_easy_setopt(x->easy, CURLOPT_URL, url) != CURLE_OK)
		return false;
	(void)curl_multi_remove_handle(x->http->multi, x->easy);
	free(x->url);
	x->url = TAKE_PTR(url);
	x->redirects_left--;
	x->body_size = x->header_bytes = 0;
	set_time_left(x);
	if (curl_multi_add_handle(x->http->multi, x->easy) == CURLM_OK)
		return true;
	x->failure = -ENOMEM;
	return false;
}

/* ------------------------------------------------------------------------------------- delivery */

static void reply_deliver(struct http_exchange *x, const struct http_reply *reply)
{
	/* Take it out of every list first: then the callback cannot meet this exchange again. */
	LIST_REMOVE(x, link);
	(void)curl_multi_remove_handle(x->http->multi, x->easy);
	x->fn(x->data, reply);
	exchange_free(x);
}

static void transfer_finish(struct http_exchange *x, CURLcode code)
{
	struct http_reply reply = { .body = "", .content_type = "", .location = "" };
	long status = 0;

	if (code == CURLE_OK && !x->failure) {
		(void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
		if (redirect_follow(x, status))
			return;
	}
	if (code == CURLE_OK && !x->failure) {
		reply.status = status;
		reply.body = x->body_size > 0 ? x->body : "";
		reply.body_size = x->body_size;
		reply.content_type = header_value(x->easy, "Content-Type");
		reply.location = header_value(x->easy, "Location");
	} else {
		error_explain(x, code, &reply.error);
	}
	reply_deliver(x, &reply);
}

static struct http_exchange *first_unwatched(struct http *http)
{
	struct http_exchange *x;

	LIST_FOREACH (x, &http->exchanges, link)
		if (x->failure == -ENOBUFS)
			return x;
	return NULL;
}

/* deliver_finished - never from inside libcurl. A callback may change any list: start over after
 * each. */
static void deliver_finished(struct http *http)
{
	struct http_exchange *x;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		CURLcode code = message->data.result; /* MESSAGE dies with the handle */
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x);
		transfer_finish(x, code);
	}
	while (http->unwatched) {
		x = first_unwatched(http);
		if (x)
			transfer_finish(x, CURLE_FAILED_INIT);
		else
			http->unwatched = false;
	}
}

/* ------------------------------------------------------------------------------ the host's loop */

static void on_ready(void *data, int fd, uint32_t events)
{
	struct http_socket *s = data; /* may be gone after curl_multi_socket_action() */
	struct http *http = s->http;
	int mask = 0, running;

	(void)fd;
	if (events & LSN_WATCH_READ)
		mask |= CURL_CSELECT_IN;
	if (events & LSN_WATCH_WRITE)
		mask |= CURL_CSELECT_OUT;
	if (events & LSN_WATCH_HANGUP)
		mask |= CURL_CSELECT_IN; /* reading shows what is left, then the end or the error */
	(void)curl_multi_socket_action(http->multi, s->fd, mask, &running);
	deliver_finished(http);
}

static void on_due(void *data)
{
	struct http *http = data;
	int running;

	http->timer = NULL;
	(void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	deliver_finished(http);
}

/* From inside libcurl: it wants to be called in TIMEOUT_MSEC, or no more (-1). */
static int on_timer(CURLM *multi, long timeout_msec, void *user)
{
	struct http *http = user;

	(void)multi;
	http->host->timer_cancel(http->host->handle, http->timer);
	http->timer = NULL;
	if (timeout_msec < 0)
		return 0;
	/* Without memory for a timer, libcurl is called when a descriptor is ready. An error
	 * here would end all exchanges without a message. */
	if (http->host->timer(http->host->handle, (uint64_t)timeout_msec * USEC_PER_MSEC, on_due, http, &http->timer) <
	    0)
		http->timer = NULL;
	return 0;
}

static int socket_watch(struct http_socket *s)
{
	const struct lsn_host *host = s->http->host;
	int r;

	s->watched_fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
	if (s->watched_fd < 0)
		return -errno;
	r = host->watch(host->handle, s->watched_fd, s->events, on_ready, s, &s->watch);
	if (r < 0)
		socket_unwatch(s);
	return r;
}

static int socket_new(struct http *http, int fd, uint32_t events)
{
	struct http_socket *s = malloc(sizeof *s);
	int r;

	if (!s)
		return -ENOMEM;
	*s = (struct http_socket){ .http = http, .fd = fd, .watched_fd = -1, .events = events };
	LIST_INSERT_HEAD(&http->sockets, s, link);
	r = socket_watch(s);
	if (r < 0)
		socket_free(s);
	else
		(void)curl_multi_assign(http->multi, fd, s);
	return r;
}

/* From inside libcurl: it wants to know when FD is ready for WHAT. A failure returned here would
 * make libcurl unusable for good, so only the exchange in question fails, as soon as we are
 * outside again. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *assigned)
{
	struct http *http = user;
	struct http_socket *s = assigned;
	struct http_exchange *x = NULL;
	uint32_t events = (what & CURL_POLL_IN ? LSN_WATCH_READ : 0) | (what & CURL_POLL_OUT ? LSN_WATCH_WRITE : 0);

	if (what == CURL_POLL_REMOVE) {
		if (s)
			socket_free(s);
		(void)curl_multi_assign(http->multi, fd, NULL);
	} else if (s && s->watch) {
		s->events = events;
		http->host->watch_set(http->host->handle, s->watch, events);
	} else if (s || socket_new(http, fd, events) < 0) {
		(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&x);
		if (x)
			x->failure = -ENOBUFS;
		http->unwatched = true;
	}
	return 0;
}

/* The number FD has come to mean another socket. */
static int socket_renew(struct http *http, int fd)
{
	struct http_socket *s;

	LIST_FOREACH (s, &http->sockets, link)
		if (s->fd == fd) {
			socket_unwatch(s); /* what it watched is closed and gone */
			return socket_watch(s);
		}
	return 0;
}

/* From inside libcurl: it wants a socket. Close-on-exec, which libcurl would not do. */
static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_exchange *x = user;
	_cleanup_close_ int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	int r = fd < 0 ? -errno : socket_renew(x->http, fd);

	(void)purpose;
	x->open_error = -r;
	return r < 0 ? CURL_SOCKET_BAD : TAKE_FD(fd);
}

/* --------------------------------------------------------------------------------------- client */

static int copy_string(char **target, const char *text)
{
	if (!text)
		return 0;
	*target = strdup(text);
	return *target ? 0 : -ENOMEM;
}

/* is_open - without touching it: valgrind takes a call on a closed descriptor for a mistake. */
static bool is_open(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return access(path, F_OK) == 0;
}

/* multi_new - libcurl 7.88 makes a pair of descriptors for itself that is not close-on-exec. New
 * descriptors get the lowest free numbers: the two that we get and give back are the ones
 * libcurl gets next. (Wrong only if another thread opens something just now; then what is marked
 * is marked needlessly.) libcurl 8.14 makes one descriptor only. */
static CURLM *multi_new(void)
{
	int pair[2] = { -1, -1 };
	CURLM *multi;

	if (pipe2(pair, O_CLOEXEC) == 0) {
		(void)close(pair[0]);
		(void)close(pair[1]);
	}
	multi = curl_multi_init();
	for (size_t i = 0; i < ELEMENTSOF(pair); i++)
		if (pair[i] >= 0 && is_open(pair[i]))
			(void)fcntl(pair[i], F_SETFD, FD_CLOEXEC);
	return multi;
}

static int http_init(struct http *http, const struct http_options *options)
{
	http->verify = options->verify;
	http->max_redirects = options->max_redirects;
	if (copy_string(&http->unix_socket, options->unix_socket) < 0 || copy_string(&http->user, options->user) < 0 ||
	    copy_string(&http->password, options->password) < 0 || copy_string(&http->ca_file, options->ca_file) < 0)
		return -ENOMEM;
	http->multi = multi_new();
	if (!http->multi)
		return -ENOMEM;
	long connections = options->max_connections ? (long)options->max_connections : HTTP_CONNECTIONS;
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
	(void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, connections);
	return 0;
}

int http_new(const struct lsn_host *host, const struct http_options *options, struct http **ret, struct lsn_error *err)
{
	struct http *http;
	int r;

	/* counted; http_free() gives it back */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return lsn_error_set(err, -EIO, "libcurl does not start");
	http = calloc(1, sizeof *http);
	if (!http) {
		curl_global_cleanup();
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	http->host = host;
	r = http_init(http, options);
	if (r < 0) {
		http_free(http);
		return lsn_error_set(err, r, "out of memory");
	}
	*ret = http;
	return 0;
}

void http_free(struct http *http)
{
	struct http_exchange *x;

	if (!http)
		return;
	while ((x = LIST_FIRST(&http->exchanges)))
		http_cancel(x);
	(void)curl_multi_cleanup(http->multi);
	while (!LIST_EMPTY(&http->sockets))
		socket_free(LIST_FIRST(&http->sockets));
	http->host->timer_cancel(http->host->handle, http->timer);
	free(http->unix_socket);
	free(http->user);
	if (http->password)
		explicit_bzero(http->password, strlen(http->password));
	free(http->password);
	free(http->ca_file);
	free(http);
	curl_global_cleanup();
}

/* ------------------------------------------------------------------------------------- requests */

static bool method_valid(const char *method)
{
	size_t length = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	return length > 0 && method[length] == '\0';
}

static int add_header(struct http_exchange *x, const char *header)
{
	struct curl_slist *longer = curl_slist_append(x->headers, header);

	if (!longer)
		return -ENOMEM;
	x->headers = longer;
	return 0;
}

/* Headers of the caller; and two of libcurl's own taken away: it would wait for "100 Continue"
 * before it sends a large body, and call every body a form. */
static int build_headers(struct http_exchange *x, const char *const *headers)
{
	bool typed = false;
	int r;

	for (; headers && *headers; headers++) {
		if (strpbrk(*headers, "\r\n") || !strchr(*headers, ':'))
			return -EINVAL;
		typed = typed || strncasecmp(*headers, "Content-Type:", strlen("Content-Type:")) == 0;
		r = add_header(x, *headers);
		if (r < 0)
			return r;
	}
	r = add_header(x, "Expect:");
	if (r == 0 && !typed)
		r = add_header(x, "Content-Type:");
	return r;
}

static void set_method(struct http_exchange *x, const struct http_request *request)
{
	/* POST is libcurl's name for "send these bytes"; without a body POST and PUT must still
	 * say "Content-Length: 0". */
	if (request->body_size > 0 || streq(request->method, "POST") || streq(request->method, "PUT")) {
		(void)curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
		(void)curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, x->request_body ? x->request_body : "");
	} else if (streq(request->method, "HEAD")) {
		(void)curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
	}
	(void)curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, x->method);
}

/* What the client's options say. Only here can a setopt fail for want of memory or of a feature. */
static int set_client(struct http_exchange *x)
{
	const struct http *http = x->http;
	CURLcode code = curl_easy_setopt(x->easy, CURLOPT_URL, x->url);

	if (code == CURLE_OK)
		code = curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	if (code == CURLE_OK)
		code = curl_easy_setopt(x->easy, CURLOPT_PROXY, "");
	if (code == CURLE_OK && http->unix_socket)
		code = curl_easy_setopt(x->easy, CURLOPT_UNIX_SOCKET_PATH, http->unix_socket);
	if (code == CURLE_OK && http->ca_file)
		code = curl_easy_setopt(x->easy, CURLOPT_CAINFO, http->ca_file);
	if (code == CURLE_OK && http->user) {
		(void)curl_easy_setopt(x->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		code = curl_easy_setopt(x->easy, CURLOPT_USERNAME, http->user);
		if (code == CURLE_OK)
			code = curl_easy_setopt(x->easy, CURLOPT_PASSWORD, http->password ? http->password : "");
	}
	(void)curl_easy_setopt(x->easy, CURLOPT_SSL_VERIFYPEER, http->verify ? 1L : 0L);
	(void)curl_easy_setopt(x->easy, CURLOPT_SSL_VERIFYHOST, http->verify ? 2L : 0L);
	return code == CURLE_OK ? 0 : -ENOMEM;
}

static void set_common(struct http_exchange *x)
{
	(void)curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x);
	(void)curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->curl_error);
	(void)curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
	(void)curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
	(void)curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
	(void)curl_easy_setopt(x->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	(void)curl_easy_setopt(x->easy, CURLOPT_OPENSOCKETDATA, x);
	(void)curl_easy_setopt(x->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(x->easy, CURLOPT_TCP_NODELAY, 1L);
	(void)curl_easy_setopt(x->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, HTTP_CONNECT_TIMEOUT_MSEC);
	/* A name still being looked up must not hold up a cancel: the resolver's thread is left
	 * to end by itself. */
	(void)curl_easy_setopt(x->easy, CURLOPT_QUICK_EXIT, 1L);
	if (x->max_body > 0 && x->max_body < INT64_MAX)
		(void)curl_easy_setopt(x->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)x->max_body);
	set_time_left(x);
}

static int exchange_new(struct http *http, const struct http_request *request, struct http_exchange **ret)
{
	_cleanup_(exchange_freep) struct http_exchange *x = calloc(1, sizeof *x);
	int r;

	if (!x)
		return -ENOMEM;
	x->http = http;
	x->max_body = request->max_body < SIZE_MAX ? request->max_body : SIZE_MAX - 1;
	x->redirects_left = http->max_redirects;
	if (request->timeout_usec > 0)
		x->deadline_usec = now_monotonic_usec() + request->timeout_usec;
	if (copy_string(&x->method, request->method) < 0 || copy_string(&x->url, request->url) < 0)
		return -ENOMEM;
	r = build_headers(x, request->headers);
	if (r < 0)
		return r;
	if (request->body_size > 0) {
		x->request_body = malloc(request->body_size);
		if (!x->request_body)
			return -ENOMEM;
		memcpy(x->request_body, request->body, request->body_size);
	}
	x->easy = curl_easy_init();
	if (!x->easy)
		return -ENOMEM;
	set_common(x);
	set_method(x, request);
	r = set_client(x);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(x);
	return 0;
}

int http_start(struct http *http, const struct http_request *request, http_fn fn, void *data,
	       struct http_exchange **ret)
{
	_cleanup_(url_parts_done) struct url_parts url = { 0 };
	struct http_exchange *x;
	int r;

	if (!method_valid(request->method) || !url_split(request->url, &url))
		return -EINVAL;
	r = exchange_new(http, request, &x);
	if (r < 0)
		return r;
	x->fn = fn;
	x->data = data;
	/* Only asks for the timer; the work begins in the next turn of the loop. */
	if (curl_multi_add_handle(http->multi, x->easy) != CURLM_OK) {
		exchange_free(x);
		return -ENOMEM;
	}
	LIST_INSERT_HEAD(&http->exchanges, x, link);
	if (ret)
		*ret = x;
	return 0;
}

void http_cancel(struct http_exchange *exchange)
{
	if (!exchange)
		return;
	LIST_REMOVE(exchange, link);
	exchange_free(exchange);
}
