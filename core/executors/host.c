/* host.c - see host.h.
 *
 * Two rules keep this safe. A callback may do anything: drop its own watch, drop others, even
 * make the host go; so a handler copies what it needs before the call, holds a reference on the
 * host across it and touches the watch or timer no more. And a handler always returns 0, because
 * sd-event switches off a source whose handler fails and says so only at debug level. */
#include "host.h"

#include "log.h"
#include "stall.h"

#include <cleanup.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <util.h>

#define SLOW_CALLBACK_USEC (50 * USEC_PER_MSEC)
#define LOG_TEXT_SIZE 1024
/* Further away than any clock of ours: keeps "never" (UINT64_MAX) from overflowing. */
#define DELAY_MAX_USEC (UINT64_MAX / 4)

struct lsn_watch {
	struct host *host;
	sd_event_source *source;
	uint32_t events; /* asked for: LSN_WATCH_READ | LSN_WATCH_WRITE */
	lsn_watch_fn fn;
	void *data;
	LIST_ENTRY(lsn_watch) list;
};

struct lsn_timer {
	struct host *host;
	sd_event_source *source;
	lsn_timer_fn fn;
	void *data;
	LIST_ENTRY(lsn_timer) list;
};

struct host {
	struct lsn_host abi;
	struct host_hooks hooks;
	sd_event *loop;
	unsigned refs; /* the owner's, and one per handler that is running */
	char *listener, *instance, *run_dir, *libexec_dir;
	LIST_HEAD(watch_list, lsn_watch) watches;
	LIST_HEAD(timer_list, lsn_timer) timers;
};

static struct host *host_unref(struct host *host)
{
	if (!host || --host->refs > 0)
		return NULL;
	sd_event_unref(host->loop);
	free(host->listener);
	free(host->instance);
	free(host->run_dir);
	free(host->libexec_dir);
	free(host);
	return NULL;
}
DEFINE_CLEANUP(struct host *, host_unrefp, host_unref)

/* An owner that reports jobs is an executor, any other a part of the daemon. */
static const char *owner_field(const struct host *host) { return host->hooks.done ? "executor" : "part"; }

static void host_log(void *handle, enum lsn_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void host_log(void *handle, enum lsn_log_level level, const char *format, ...)
{
	struct host *host = handle;
	char text[LOG_TEXT_SIZE];
	va_list ap;

	if (level > log_level())
		return;
	va_start(ap, format);
	(void)vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	for (char *c = text; *c; c++) /* one happening, one line */
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	log_line(level < LSN_LOG_ERROR ? LSN_LOG_ERROR : level, "%s %s=%s", text, owner_field(host), host->instance);
}

static void report_slow_callback(const struct host *host, const char *what, uint64_t start_usec)
{
	uint64_t took = now_monotonic_usec() - start_usec;

	if (took > SLOW_CALLBACK_USEC)
		log_warning("%s callback kept the loop for %" PRIu64 " ms %s=%s", what, took / USEC_PER_MSEC,
			    owner_field(host), host->instance);
}

/* -------------------------------------------------------------------------------------- watches */

static uint32_t epoll_mask(uint32_t events)
{
	return (events & LSN_WATCH_READ ? (uint32_t)EPOLLIN : 0) | (events & LSN_WATCH_WRITE ? (uint32_t)EPOLLOUT : 0);
}

/* At a hang-up or error everything that was asked for is reported too: an owner that only ever
 * reads then sees the end of file or the error from read(), and does not spin on an event it has
 * no word for. */
static uint32_t watch_mask(uint32_t revents, uint32_t asked)
{
	if (revents & (EPOLLHUP | EPOLLERR))
		return asked | LSN_WATCH_HANGUP;
	return (revents & EPOLLIN ? (uint32_t)LSN_WATCH_READ : 0) |
	       (revents & EPOLLOUT ? (uint32_t)LSN_WATCH_WRITE : 0);
}

static int on_ready_timer(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct lsn_watch *watch = data;
	_cleanup_(host_unrefp) struct host *host = watch->host;
	uint64_t start = now_monotonic_usec();

	stall_source(owner_field(host), host->instance);
	(void)source;
	host->refs++;
	watch->fn(watch->data, fd, watch_mask(revents, watch->events));
	report_slow_callback(host, "watch", start);
	return 0;
}

/* Pausing switches the source off: epoll reports hang-ups even with an empty mask. */
static int watch_apply(struct lsn_watch *watch)
{
	int r;

	if (!watch->events)
		return sd_event_source_set_enabled(watch->source, SD_EVENT_OFF);
	r = sd_event_source_set_io_events(watch->source, epoll_mask(watch->events));
	return r < 0 ? r : sd_event_source_set_enabled(watch->source, SD_EVENT_ON);
}

static void watch_free(struct lsn_watch *watch)
{
	if (!watch)
		return;
	LIST_REMOVE(watch, list);
	sd_event_source_disable_unref(watch->source);
	free(watch);
}

static int host_watch(void *handle, int fd, uint32_t events, lsn_watch_fn fn, void *data, struct lsn_watch **ret_watch)
{
	struct host *host = handle;
	struct lsn_watch *watch;
	int r;

	if (fd < 0 || !fn || !ret_watch || (events & ~(uint32_t)(LSN_WATCH_READ | LSN_WATCH_WRITE)))
		return -EINVAL;
	watch = calloc(1, sizeof *watch);
	if (!watch)
		return -ENOMEM;
	*watch = (struct lsn_watch){ .host = host, .events = events, .fn = fn, .data = data };
	r = sd_event_add_io(host->loop, &watch->source, fd, epoll_mask(events), on_ready_timer, watch);
	if (r >= 0 && !events)
		r = sd_event_source_set_enabled(watch->source, SD_EVENT_OFF);
	if (r < 0) {
		sd_event_source_disable_unref(watch->source);
		free(watch);
		return r == -EBADF ? -EINVAL : r;
	}
	LIST_INSERT_HEAD(&host->watches, watch, list);
	*ret_watch = watch;
	return 0;
}

static void host_watch_set(void *handle, struct lsn_watch *watch, uint32_t events)
{
	struct host *host = handle;
	int r;

	if (!watch)
		return;
	events &= LSN_WATCH_READ | LSN_WATCH_WRITE;
	if (events == watch->events)
		return;
	watch->events = events;
	r = watch_apply(watch);
	if (r < 0)
		log_error("cannot change a watch: %s %s=%s", strerror(-r), owner_field(host), host->instance);
}

static void host_unwatch(void *handle, struct lsn_watch *watch)
{
	(void)handle;
	watch_free(watch);
}

/* --------------------------------------------------------------------------------------- timers */

static void timer_free(struct lsn_timer *timer)
{
	if (!timer)
		return;
	LIST_REMOVE(timer, list);
	sd_event_source_disable_unref(timer->source);
	free(timer);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct lsn_timer *timer = data;
	_cleanup_(host_unrefp) struct host *host = timer->host;
	lsn_timer_fn fn = timer->fn;
	void *fn_data = timer->data;
	uint64_t start = now_monotonic_usec();

	stall_source(owner_field(host), host->instance);
	(void)source;
	(void)usec;
	host->refs++;
	timer_free(timer);
	fn(fn_data);
	report_slow_callback(host, "timer", start);
	return 0;
}

/* The time is taken from the clock, not from sd_event_now(): that is when the loop woke up, and
 * a callback may have worked for a while since. */
static int host_timer(void *handle, uint64_t delay_usec, lsn_timer_fn fn, void *data, struct lsn_timer **ret_timer)
{
	struct host *host = handle;
	struct lsn_timer *timer;
	int r;

	if (!fn || !ret_timer)
		return -EINVAL;
	if (delay_usec > DELAY_MAX_USEC)
		delay_usec = DELAY_MAX_USEC;
	timer = calloc(1, sizeof *timer);
	if (!timer)
		return -ENOMEM;
	*timer = (struct lsn_timer){ .host = host, .fn = fn, .data = data };
	r = sd_event_add_time(host->loop, &timer->source, CLOCK_MONOTONIC, now_monotonic_usec() + delay_usec, 1,
			      on_timer, timer);
	if (r < 0) {
		free(timer);
		return r;
	}
	LIST_INSERT_HEAD(&host->timers, timer, list);
	*ret_timer = timer;
	return 0;
}

static void host_timer_cancel(void *handle, struct lsn_timer *timer)
{
	(void)handle;
	timer_free(timer);
}

/* ---------------------------------------------------------------------------------------- hooks */

static void host_ready(void *handle)
{
	struct host *host = handle;

	if (host->hooks.ready)
		host->hooks.ready(host->hooks.data);
}

static bool host_ready_for(void *handle, const char *script_version)
{
	struct host *host = handle;

	if (host->hooks.ready_for)
		return host->hooks.ready_for(host->hooks.data, script_version);
	host_ready(handle);
	return true;
}

static void host_done(void *handle, const struct lsn_job *job, const struct lsn_result *result)
{
	struct host *host = handle;

	if (host->hooks.done)
		host->hooks.done(host->hooks.data, job, result);
}

/* --------------------------------------------------------------------------------- life and end */

static int copy_string(char **to, const char *from)
{
	*to = strdup(from ? from : "");
	return *to ? 0 : -ENOMEM;
}

static void fill_abi(struct host *host)
{
	host->abi = (struct lsn_host){
		.version = LSN_ABI_VERSION,
		.size = sizeof host->abi,
		.handle = host,
		.listener = host->listener,
		.instance = host->instance,
		.run_dir = host->run_dir,
		.libexec_dir = host->libexec_dir,
		.log = host_log,
		.watch = host_watch,
		.watch_set = host_watch_set,
		.unwatch = host_unwatch,
		.timer = host_timer,
		.timer_cancel = host_timer_cancel,
		.ready = host_ready,
		.done = host_done,
		.ready_for = host_ready_for,
	};
}

int host_new(sd_event *loop, const char *listener, const char *instance, const char *run_dir, const char *libexec_dir,
	     const struct host_hooks *hooks, struct host **ret, struct lsn_error *err)
{
	_cleanup_(host_unrefp) struct host *host = calloc(1, sizeof *host);
	int r;

	if (!host)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	host->refs = 1;
	host->loop = sd_event_ref(loop);
	if (hooks)
		host->hooks = *hooks;
	if (copy_string(&host->listener, listener) < 0 || copy_string(&host->instance, instance) < 0 ||
	    copy_string(&host->run_dir, run_dir) < 0 || copy_string(&host->libexec_dir, libexec_dir) < 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	if (run_dir && *run_dir) {
		r = mkdir_p(run_dir, 0750);
		if (r < 0)
			return lsn_error_set(err, r, "cannot create the folder %s: %s", run_dir, strerror(-r));
	}
	fill_abi(host);
	*ret = TAKE_PTR(host);
	return 0;
}

unsigned host_free(struct host *host)
{
	unsigned left = 0;

	if (!host)
		return 0;
	for (; !LIST_EMPTY(&host->watches); left++)
		watch_free(LIST_FIRST(&host->watches));
	for (; !LIST_EMPTY(&host->timers); left++)
		timer_free(LIST_FIRST(&host->timers));
	/* A handler that is running keeps the memory until it returns, but nobody is to be
	 * called any more. */
	host->hooks.ready = NULL;
	host->hooks.ready_for = NULL;
	host->hooks.done = NULL;
	host_unref(host);
	return left;
}

const struct lsn_host *host_services(struct host *host) { return &host->abi; }
