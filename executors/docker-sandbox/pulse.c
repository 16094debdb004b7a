/* pulse.c - see pulse.h. */
#include "pulse.h"

#include <errno.h>
#include <stdlib.h>

#include <http.h>
#include <util.h>

/* A frozen engine is found out 3.5 s after the first request that it leaves without a reply. */
#define ASK_USEC USEC_PER_SEC
#define ANSWER_USEC (2500 * USEC_PER_MSEC)

struct pulse {
	const struct lsn_host *host;
	struct pulse_hooks hooks;
	struct http *http;
	struct http_exchange *ping; /* NULL: none is out */
	uint64_t sent_usec; /* the last ping */
	struct lsn_timer *timer;
	unsigned requests; /* that are out */
	uint64_t heard_usec; /* the last reply, or the first request after a rest */
	bool silent;
};

static void pulse_beat(struct pulse *pulse);

static void pulse_set_silent(struct pulse *pulse, bool silent)
{
	if (pulse->silent == silent)
		return;
	pulse->silent = silent;
	pulse->hooks.changed(pulse->hooks.data);
}

static void pulse_heard(struct pulse *pulse)
{
	pulse->heard_usec = now_monotonic_usec();
	pulse_set_silent(pulse, false);
}

static void ping_replied(void *data, const struct http_reply *reply)
{
	struct pulse *pulse = data;

	pulse->ping = NULL;
	if (reply->status > 0 || reply->error.code == -EFBIG) /* more than it should say, but it speaks */
		pulse_heard(pulse);
	else if (reply->error.code == -ETIMEDOUT) { /* unless a request was answered meanwhile */
		if (pulse->heard_usec <= pulse->sent_usec)
			pulse_set_silent(pulse, true);
	} else if (!errno_is_shortage(reply->error.code)) { /* not silent, but gone */
		pulse->silent = false;
		pulse->hooks.nobody(pulse->hooks.data, &reply->error);
	}
	pulse_beat(pulse);
}

static void ping_send(struct pulse *pulse)
{
	const struct http_request request = {
		.method = "GET", .url = "http://engine/_ping", .timeout_usec = ANSWER_USEC, .max_body = 4096
	};

	pulse->sent_usec = now_monotonic_usec();
	if (http_start(pulse->http, &request, ping_replied, pulse, &pulse->ping) < 0)
		pulse->ping = NULL; /* without memory: at the next beat */
}

static void pulse_due(void *data)
{
	struct pulse *pulse = data;

	pulse->timer = NULL;
	if (pulse->silent || (pulse->requests > 0 && now_monotonic_usec() >= pulse->heard_usec + ASK_USEC))
		ping_send(pulse);
	if (!pulse->ping)
		pulse_beat(pulse);
}

/* pulse_beat - there is one to come while there is something to find out. */
static void pulse_beat(struct pulse *pulse)
{
	bool wanted = (pulse->requests > 0 || pulse->silent) && !pulse->ping;

	if (wanted && !pulse->timer)
		(void)pulse->host->timer(pulse->host->handle, ASK_USEC, pulse_due, pulse, &pulse->timer);
	if (wanted || !pulse->timer)
		return;
	pulse->host->timer_cancel(pulse->host->handle, pulse->timer);
	pulse->timer = NULL;
}

void pulse_begun(struct pulse *pulse)
{
	if (pulse->requests++ == 0 && !pulse->silent)
		pulse->heard_usec = now_monotonic_usec();
	pulse_beat(pulse);
}

void pulse_ended(struct pulse *pulse, bool answered)
{
	pulse->requests--;
	if (answered)
		pulse_heard(pulse);
	pulse_beat(pulse);
}

bool pulse_silent(const struct pulse *pulse, uint64_t *ret_since_usec)
{
	*ret_since_usec = pulse->heard_usec;
	return pulse->silent;
}

int pulse_new(const struct lsn_host *host, const char *socket, const struct pulse_hooks *hooks, struct pulse **ret,
	      struct lsn_error *err)
{
	const struct http_options options = { .unix_socket = socket, .max_connections = 1 };
	struct pulse *pulse = calloc(1, sizeof *pulse);

	if (!pulse)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*pulse = (struct pulse){ .host = host, .hooks = *hooks };
	int r = http_new(host, &options, &pulse->http, err);
	if (r < 0) {
		free(pulse);
		return r;
	}
	*ret = pulse;
	return 0;
}

void pulse_free(struct pulse *pulse)
{
	if (!pulse)
		return;
	http_free(pulse->http);
	pulse->host->timer_cancel(pulse->host->handle, pulse->timer);
	free(pulse);
}
