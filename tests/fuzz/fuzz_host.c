/* fuzz_host.c - see fuzz_host.h. */
#include "fuzz_host.h"
#include "fuzz.h"

#include <errno.h>
#include <poll.h>

#define TIMERS_MAX 64

struct lsn_timer {
	lsn_timer_fn fn; /* NULL: free */
	void *data;
};

struct lsn_watch fuzz_watches[FUZZ_WATCHES_MAX] = { { -1, NULL, NULL }, { -1, NULL, NULL }, { -1, NULL, NULL },
						    { -1, NULL, NULL }, { -1, NULL, NULL }, { -1, NULL, NULL },
						    { -1, NULL, NULL }, { -1, NULL, NULL } };
unsigned fuzz_done;
static struct lsn_timer timers[TIMERS_MAX];

static void host_log(void *handle, enum lsn_log_level level, const char *format, ...)
{
	char line[2048];
	va_list ap;

	(void)handle, (void)level;
	va_start(ap, format);
	/* the arguments are read as the real one would */
	(void)vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	must(!strchr(line, '\n'));
}

static int host_watch(void *handle, int fd, uint32_t events, lsn_watch_fn fn, void *data, struct lsn_watch **ret)
{
	(void)handle, (void)events;
	for (size_t i = 0; i < FUZZ_WATCHES_MAX; i++)
		if (fuzz_watches[i].fd < 0) {
			fuzz_watches[i] = (struct lsn_watch){ fd, fn, data };
			*ret = &fuzz_watches[i];
			return 0;
		}
	return -ENOMEM;
}

static void host_unwatch(void *handle, struct lsn_watch *watch)
{
	(void)handle;
	if (watch)
		*watch = (struct lsn_watch){ .fd = -1 };
}

static int host_timer(void *handle, uint64_t delay_usec, lsn_timer_fn fn, void *data, struct lsn_timer **ret)
{
	(void)handle, (void)delay_usec;
	for (size_t i = 0; i < TIMERS_MAX; i++)
		if (!timers[i].fn) {
			timers[i] = (struct lsn_timer){ fn, data };
			*ret = &timers[i];
			return 0;
		}
	return -ENOMEM;
}

static void host_timer_cancel(void *handle, struct lsn_timer *timer)
{
	(void)handle;
	if (timer)
		*timer = (struct lsn_timer){ 0 };
}

static void host_done(void *handle, const struct lsn_job *job, const struct lsn_result *result)
{
	(void)handle;
	must(job && result && result->outcome < LSN_OUTCOME_MAX && memchr(result->message, 0, sizeof result->message));
	must(result->out_size == 0 || result->out);
	must(result->err_size == 0 || result->err);
	fuzz_done++;
}

static void host_ready(void *handle) { (void)handle; }

struct lsn_host fuzz_host = {
	.version = LSN_ABI_VERSION,
	.size = sizeof fuzz_host,
	.listener = "fuzz",
	.instance = "docker-sandbox",
	.run_dir = "/nonexistent",
	.libexec_dir = "/nonexistent",
	.log = host_log,
	.watch = host_watch,
	.unwatch = host_unwatch,
	.timer = host_timer,
	.timer_cancel = host_timer_cancel,
	.done = host_done,
	.ready = host_ready,
};

bool fuzz_host_turn(void)
{
	bool any = false;

	for (size_t i = 0; i < FUZZ_WATCHES_MAX; i++) {
		struct pollfd p = { .fd = fuzz_watches[i].fd, .events = POLLIN };
		if (p.fd < 0 || poll(&p, 1, 0) <= 0)
			continue;
		any = true;
		fuzz_watches[i].fn(fuzz_watches[i].data, p.fd, LSN_WATCH_READ);
	}
	return any;
}

bool fuzz_host_fire(void)
{
	for (size_t i = TIMERS_MAX; i-- > 0;)
		if (timers[i].fn) {
			struct lsn_timer timer = timers[i];
			timers[i] = (struct lsn_timer){ 0 };
			timer.fn(timer.data);
			return true;
		}
	return false;
}

void fuzz_host_reset(void)
{
	for (size_t i = 0; i < FUZZ_WATCHES_MAX; i++)
		fuzz_watches[i] = (struct lsn_watch){ .fd = -1 };
	memset(timers, 0, sizeof timers);
	fuzz_done = 0;
}
