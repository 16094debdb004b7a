/* images.c - see images.h.
 *
 * One request that does not end: the first byte of its reply is the event. The reply may not be
 * longer than nothing, so that byte ends the request, and another begins. Between the two an event
 * can pass unheard: so changed() is called when the next request has been there for a while. */
#include "images.h"

#include <errno.h>
#include <stdlib.h>

#include <http.h>
#include <util.h>

#include "log_line.h"

/* {"type":["image"]} */
#define EVENTS_URL "http://engine/events?filters=%7B%22type%22%3A%5B%22image%22%5D%7D"
#define SETTLE_USEC (100 * USEC_PER_MSEC) /* twice from the event to changed() */
#define AGAIN_USEC (30 * USEC_PER_SEC) /* after an engine that does not tell */

struct images {
	const struct lsn_host *host;
	struct images_hooks hooks;
	struct http *http;
	struct http_exchange *events; /* NULL: not asked for */
	struct lsn_timer *timer;
	bool missed; /* there may have been an event */
	bool refused; /* it was said */
};

static void images_due(void *data);

static void images_wait(struct images *images, uint64_t usec)
{
	const struct lsn_host *host = images->host;

	host->timer_cancel(host->handle, images->timer);
	images->timer = NULL;
	(void)host->timer(host->handle, usec, images_due, images, &images->timer);
}

/* An event, unless it ended in another way. */
static void events_ended(void *data, const struct http_reply *reply)
{
	struct images *images = data;
	bool event = reply->error.code == -EFBIG;

	images->events = NULL;
	images->missed = true;
	if (!event && !images->refused)
		log_line(images->host, NOTICE,
			 "the engine does not tell of new images (%s): one that is made again is used after the next "
			 "start of the engine or of the listener, or when this has passed",
			 reply->status ? "it refuses GET /events" : reply->error.message);
	images->refused = !event;
	images_wait(images, event ? SETTLE_USEC : AGAIN_USEC);
}

static void events_ask(struct images *images)
{
	const struct http_request request = { .method = "GET", .url = EVENTS_URL, .max_body = 0 };

	if (http_start(images->http, &request, events_ended, images, &images->events) < 0)
		images->events = NULL; /* without memory: asked for again when the timer goes off */
}

static void images_due(void *data)
{
	struct images *images = data;

	images->timer = NULL;
	if (!images->events) {
		events_ask(images);
		images_wait(images, images->events ? SETTLE_USEC : AGAIN_USEC);
		return;
	}
	images->refused = false;
	if (!images->missed)
		return;
	images->missed = false;
	images->hooks.changed(images->hooks.data);
}

void images_listen(struct images *images, bool on)
{
	if (on == (images->events || images->timer))
		return;
	if (on) {
		images_due(images);
		return;
	}
	images->host->timer_cancel(images->host->handle, images->timer);
	images->timer = NULL;
	http_cancel(images->events);
	images->events = NULL;
}

int images_new(const struct lsn_host *host, const char *socket, const struct images_hooks *hooks, struct images **ret,
	       struct lsn_error *err)
{
	const struct http_options options = { .unix_socket = socket, .max_connections = 1 };
	struct images *images = calloc(1, sizeof *images);

	if (!images)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*images = (struct images){ .host = host, .hooks = *hooks };
	int r = http_new(host, &options, &images->http, err);
	if (r < 0) {
		free(images);
		return r;
	}
	*ret = images;
	return 0;
}

void images_free(struct images *images)
{
	if (!images)
		return;
	http_free(images->http);
	images->host->timer_cancel(images->host->handle, images->timer);
	free(images);
}
