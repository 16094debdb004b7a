/* An executor that keeps the rules and uses all of the ABI; its "runs" are timers.
 *
 * Options: delay_ms (how long a run takes, 20), places (how many at a time, 4), grace_ms
 * (report_grace(), a minute), fails (so many runs end in failure before the first
 * success), recover_errno (what recover() fails with, 0: it does not).
 * describe() tells what has been called. */
#include "plugin.h"

/* the tests make a second version by changing this in a copy of the file */
#define REVISION "revision-1"

struct good {
	const struct lsn_host *host;
	unsigned long delay_ms, places, grace_ms, fails, recover_errno, running, reserved;
	unsigned long submits, recovers, forgets, cancels, waiting;
	bool detached;
	struct run *runs;
};

struct run {
	struct run *next;
	struct good *self;
	const struct lsn_job *job;
	struct lsn_timer *timer;
};

static volatile const char revision[] = REVISION;

static int good_init(const struct lsn_host *host, const struct lsn_option *options, size_t count, void **ret_instance,
		     struct lsn_error *err)
{
	struct good *self = calloc(1, sizeof *self);

	if (!self)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*self = (struct good){ .host = host, .delay_ms = 20, .places = 4, .grace_ms = 60000 };
	for (size_t i = 0; i < count; i++) {
		if (strcmp(options[i].key, "delay_ms") == 0) {
			self->delay_ms = strtoul(options[i].value, NULL, 10);
		} else if (strcmp(options[i].key, "grace_ms") == 0) {
			self->grace_ms = strtoul(options[i].value, NULL, 10);
		} else if (strcmp(options[i].key, "places") == 0) {
			self->places = strtoul(options[i].value, NULL, 10);
		} else if (strcmp(options[i].key, "fails") == 0) {
			self->fails = strtoul(options[i].value, NULL, 10);
		} else if (strcmp(options[i].key, "recover_errno") == 0) {
			self->recover_errno = strtoul(options[i].value, NULL, 10);
		} else {
			free(self);
			return lsn_error_set(err, -EINVAL, "%s:%u: unknown key '%s'", options[i].file, options[i].line,
					     options[i].key);
		}
	}
	*ret_instance = self;
	return 0;
}

static void drop_run(struct run *run)
{
	struct run **link = &run->self->runs;

	while (*link != run)
		link = &(*link)->next;
	*link = run->next;
	run->self->running--;
	free(run);
}

static void good_free(void *instance)
{
	struct good *self = instance;

	while (self->runs) { /* after detach() */
		self->host->timer_cancel(self->host->handle, self->runs->timer);
		drop_run(self->runs);
	}
	free(self);
}

static void end(struct run *run, enum lsn_outcome outcome)
{
	struct good *self = run->self;
	const struct lsn_job *job = run->job;
	struct lsn_result result = { .version = LSN_ABI_VERSION,
				     .size = sizeof result,
				     .outcome = outcome,
				     .duration_usec = self->delay_ms * 1000 };

	drop_run(run);
	self->host->done(self->host->handle, job, &result);
	self->host->ready(self->host->handle);
}

static void on_time(void *data)
{
	struct run *run = data;
	bool fails = run->self->fails > 0;

	run->self->fails -= fails;
	end(run, fails ? LSN_OUTCOME_FAILURE : LSN_OUTCOME_SUCCESS);
}

static int start(struct good *self, const struct lsn_job *job)
{
	struct run *run = calloc(1, sizeof *run);
	int r;

	if (!run)
		return -ENOMEM;
	*run = (struct run){ .self = self, .job = job, .next = self->runs };
	r = self->host->timer(self->host->handle, self->delay_ms * 1000, on_time, run, &run->timer);
	if (r < 0) {
		free(run);
		return r;
	}
	self->runs = run;
	self->running++;
	return 0;
}

static int good_reserve(void *instance, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err)
{
	struct good *self = instance;

	if (job->script_size == 4711)
		return lsn_error_set(err, -EFBIG, "such a script can never run here");
	self->waiting = job->waiting > self->waiting ? job->waiting : self->waiting;
	if (self->running + self->reserved >= self->places)
		return -EAGAIN;
	self->reserved++;
	(void)snprintf(place, LSN_PLACE_SIZE, "%s/%lu", self->host->instance, self->running);
	return 0;
}

static void good_release(void *instance, const struct lsn_job *job)
{
	struct good *self = instance;

	(void)job;
	self->reserved--;
}

static int good_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	struct good *self = instance;
	int r;

	self->reserved--;
	self->submits++;
	r = job->script_size == 4712 ? -EACCES : start(self, job);
	return r < 0 ? lsn_error_set(err, r, "cannot start: %s", strerror(-r)) : 0;
}

static void good_cancel(void *instance, const struct lsn_job *job)
{
	struct good *self = instance;

	self->cancels++;
	for (struct run *run = self->runs; run; run = run->next) {
		if (run->job == job) {
			self->host->timer_cancel(self->host->handle, run->timer);
			end(run, LSN_OUTCOME_CANCELLED);
			return;
		}
	}
}

static int good_recover(void *instance, const struct lsn_job *job, const char *place, struct lsn_error *err)
{
	struct good *self = instance;

	self->recovers++;
	if (self->recover_errno)
		return lsn_error_set(err, -(int)self->recover_errno, "%s", strerror((int)self->recover_errno));
	return *place ? start(self, job) : lsn_error_set(err, -ENOENT, "no place, no trace");
}

static void good_forget(void *instance, uint64_t id, const char *place)
{
	struct good *self = instance;

	(void)id;
	(void)place;
	self->forgets++;
}

static void good_detach(void *instance)
{
	struct good *self = instance;

	self->detached = true;
}

static void tell(lsn_describe_fn fn, void *data, const char *key, unsigned long value)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%lu", value);
	fn(data, key, text);
}

static void good_describe(void *instance, lsn_describe_fn fn, void *data)
{
	struct good *self = instance;
	char text[sizeof revision];

	for (size_t i = 0; i < sizeof revision; i++)
		text[i] = revision[i];
	fn(data, "revision", text);
	tell(fn, data, "submits", self->submits);
	tell(fn, data, "recovers", self->recovers);
	tell(fn, data, "forgets", self->forgets);
	tell(fn, data, "cancels", self->cancels);
	tell(fn, data, "reserved", self->reserved);
	tell(fn, data, "waiting", self->waiting);
}

static int good_probe(void *instance, lsn_probe_fn fn, void (*end_fn)(void *data), void *data)
{
	(void)instance;
	fn(data, LSN_PROBE_OK, "timers", NULL);
	end_fn(data);
	end_fn(data); /* one too many: must do no harm */
	return 0;
}

static uint64_t good_report_grace(void *instance, const struct lsn_job *job)
{
	const struct good *self = instance;

	(void)job;
	return self->grace_ms * 1000;
}

PLUGIN("good", .init = good_init, .free = good_free, .reserve = good_reserve, .release = good_release,
       .submit = good_submit, .cancel = good_cancel, .recover = good_recover, .forget = good_forget,
       .detach = good_detach, .describe = good_describe, .probe = good_probe, .report_grace = good_report_grace)
