/* An executor that breaks no rule and yet is trouble: it refuses, reports late, ignores
 * cancel().
 *
 * Options, all numbers: places (of its own, 1000), delay_ms (until it reports, 1), grace_ms
 * (report_grace(); 0: not said, -1: never), refuse (so many submits fail), refuse_reserve (so
 * many reserves fail), code (with this errno, 24), idle (so many runs are reported as not
 * started), fail (so many runs are reported as failed), sick (describe() names a problem, 0), since
 * (and since when, in realtime seconds; 0: not said), raw (what reserve() says is no UTF-8, 0).
 * describe() tells what has been called, and `twice`: attempts of a job that were submitted more
 * than once. */
#include "plugin.h"

struct moody {
	const struct lsn_host *host;
	long places, delay_ms, grace_ms, refuse, refuse_reserve, code, idle, fail, sick, since, raw;
	long held, asked, submits, forgets, cancels, twice;
	struct run *runs; /* all that there have been */
};

struct run {
	struct run *next;
	struct moody *self;
	const struct lsn_job *job;
	uint64_t id;
	uint32_t attempt;
};

struct option {
	const char *key;
	size_t offset;
};
#define OPTION(name)                                                                                                   \
	{                                                                                                              \
#name, offsetof(struct moody, name)                                                                    \
	}
static const struct option known[] = { OPTION(places), OPTION(delay_ms),       OPTION(grace_ms), OPTION(refuse),
				       OPTION(code),   OPTION(refuse_reserve), OPTION(idle),     OPTION(fail),
				       OPTION(sick),   OPTION(since),          OPTION(raw) };
static const struct option told[] = { OPTION(asked),   OPTION(submits), OPTION(forgets),
				      OPTION(cancels), OPTION(twice),   OPTION(held) };

static long *find(struct moody *self, const char *key)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(known[i].key, key) == 0)
			return (long *)(void *)((char *)self + known[i].offset);
	return NULL;
}

static int moody_init(const struct lsn_host *host, const struct lsn_option *options, size_t count, void **ret_instance,
		      struct lsn_error *err)
{
	struct moody *self = calloc(1, sizeof *self);

	if (!self)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*self = (struct moody){ .host = host, .places = 1000, .delay_ms = 1, .code = EMFILE };
	for (size_t i = 0; i < count; i++) {
		long *value = find(self, options[i].key);
		if (!value) {
			free(self);
			return lsn_error_set(err, -EINVAL, "%s:%u: unknown key '%s'", options[i].file, options[i].line,
					     options[i].key);
		}
		*value = strtol(options[i].value, NULL, 10);
	}
	*ret_instance = self;
	return 0;
}

static void moody_free(void *instance)
{
	struct moody *self = instance;

	for (struct run *run = self->runs, *next; run; run = next) {
		next = run->next;
		free(run);
	}
	free(self);
}

static int moody_reserve(void *instance, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err)
{
	struct moody *self = instance;

	self->asked++;
	if (self->refuse_reserve > 0) {
		self->refuse_reserve--;
		return lsn_error_set(err, -(int)self->code, self->raw ? "in a raw \xff mood" : "in a bad mood");
	}
	if (self->held >= self->places)
		return -EAGAIN;
	self->held++;
	(void)snprintf(place, LSN_PLACE_SIZE, "%llu.%u", (unsigned long long)job->id, job->attempt);
	return 0;
}

static void moody_release(void *instance, const struct lsn_job *job)
{
	struct moody *self = instance;

	(void)job;
	self->held--;
}

static void report(void *data)
{
	struct run *run = data;
	struct moody *self = run->self;
	struct lsn_result result = { .version = LSN_ABI_VERSION, .size = sizeof result };

	self->held--;
	if (self->idle > 0) {
		self->idle--;
		result.outcome = LSN_OUTCOME_NOT_STARTED;
		run->id = 0;
	} else if (self->fail > 0) {
		self->fail--;
		result.outcome = LSN_OUTCOME_FAILURE;
		result.exit_status = 1;
	}
	self->host->done(self->host->handle, run->job, &result);
}

static void note(struct moody *self, struct run *run)
{
	for (const struct run *other = self->runs; other; other = other->next)
		self->twice += other->id == run->id && other->attempt == run->attempt;
	run->next = self->runs;
	self->runs = run;
}

static int moody_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	struct moody *self = instance;
	struct run *run = calloc(1, sizeof *run);
	struct lsn_timer *timer;

	if (self->refuse > 0 || !run) {
		self->refuse--;
		self->held--;
		free(run);
		return lsn_error_set(err, -(int)self->code, "in a bad mood");
	}
	*run = (struct run){ .self = self, .job = job, .id = job->id, .attempt = job->attempt };
	self->submits++;
	note(self, run);
	return self->host->timer(self->host->handle, (uint64_t)self->delay_ms * 1000, report, run, &timer);
}

static void moody_cancel(void *instance, const struct lsn_job *job)
{
	struct moody *self = instance;

	(void)job;
	self->cancels++;
}

static void moody_forget(void *instance, uint64_t id, const char *place)
{
	struct moody *self = instance;

	(void)id;
	(void)place;
	self->forgets++;
}

static void moody_describe(void *instance, lsn_describe_fn fn, void *data)
{
	char text[24];

	for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
		(void)snprintf(text, sizeof text, "%ld", *(long *)(void *)((char *)instance + told[i].offset));
		fn(data, told[i].key, text);
	}
	const struct moody *self = instance;
	if (self->sick)
		fn(data, "problem", "in a bad mood");
	(void)snprintf(text, sizeof text, "%ld000000", self->since);
	if (self->since)
		fn(data, "problem_since_realtime_usec", text);
}

static uint64_t moody_report_grace(void *instance, const struct lsn_job *job)
{
	const struct moody *self = instance;

	(void)job;
	if (self->grace_ms < 0)
		return LSN_NEVER;
	return self->grace_ms ? (uint64_t)self->grace_ms * 1000 : UINT64_C(60000000);
}

PLUGIN("moody", .init = moody_init, .free = moody_free, .reserve = moody_reserve, .release = moody_release,
       .submit = moody_submit, .cancel = moody_cancel, .forget = moody_forget, .describe = moody_describe,
       .report_grace = moody_report_grace)
