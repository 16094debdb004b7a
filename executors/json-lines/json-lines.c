/* json-lines.c - the smallest useful executor. It runs nothing: it appends each job to a file, as
 * one JSON object on one line.
 *
 *     [executor audit]
 *     module = json-lines
 *     path = /var/log/listenerd/events.jsonl
 *     sync = yes
 *
 * To write your own, copy this folder and read docs/executor-abi.md. line.c writes the file,
 * options.c reads the section, and this file talks with the daemon. Three things to note: done()
 * is called from a timer, never from inside submit(). Everything that can fail is made before
 * anything happens. The place that reserve() names lets recover() find out for certain whether a
 * job was written. */
#include "line.h"
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct json_lines { /* one instance: no globals, there may be several */
	const struct lsn_host *host;
	struct options options;
};

struct run { /* a job that waits to be reported */
	struct json_lines *self;
	const struct lsn_job *job;
	struct lsn_timer *timer;
	struct lsn_result result;
};

static void json_lines_free(void *instance)
{
	struct json_lines *self = instance;

	options_clear(&self->options);
	free(self);
}

static int json_lines_init(const struct lsn_host *host, const struct lsn_option *options, size_t count,
			   void **ret_instance, struct lsn_error *err)
{
	struct json_lines *self = calloc(1, sizeof *self);
	int r = 0;

	if (!self)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	self->host = host;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = options_set(&self->options, &options[i], err);
	if (r == 0 && !self->options.path)
		r = lsn_error_set(
			err, -EINVAL,
			"path is missing: name the file to append to, e.g. path = /var/log/listenerd/events.jsonl");
	else if (r == 0 && (r = line_check(self->options.path)) < 0)
		(void)lsn_error_set(err, r, "cannot append to %s: %s", self->options.path,
				    r == -EINVAL ? "not a regular file" : strerror(-r));
	if (r < 0)
		json_lines_free(self);
	else
		*ret_instance = self;
	return r;
}

static void report(void *data)
{
	struct run *run = data;

	run->self->host->done(run->self->host->handle, run->job, &run->result);
	free(run);
}

/* A run that is reported as soon as the host's call has returned. */
static struct run *run_new(struct json_lines *self, const struct lsn_job *job, struct lsn_error *err)
{
	struct run *run = calloc(1, sizeof *run);
	int r = -ENOMEM;

	if (run) {
		*run = (struct run){ .self = self,
				     .job = job,
				     .result = { .version = LSN_ABI_VERSION, .size = sizeof run->result } };
		r = self->host->timer(self->host->handle, 0, report, run, &run->timer);
	}
	if (r == 0)
		return run;
	(void)lsn_error_set(err, r, "cannot set a timer: %s", strerror(-r));
	free(run);
	return NULL;
}

static int json_lines_reserve(void *instance, const struct lsn_job *job, char place[LSN_PLACE_SIZE],
			      struct lsn_error *err)
{
	struct json_lines *self = instance;
	int r = line_place(self->options.path, place);

	(void)job;
	return r < 0 ? lsn_error_set(err, r, "cannot append to %s: %s", self->options.path, strerror(-r)) : 0;
}

static void json_lines_release(void *instance, const struct lsn_job *job)
{
	(void)instance; /* nothing is kept for a reservation */
	(void)job;
}

/* is_shortage - line_append() meets these before it writes. */
static bool is_shortage(int r) { return r == -EMFILE || r == -ENFILE || r == -ENOMEM; }

static int json_lines_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	struct json_lines *self = instance;
	struct run *run = run_new(self, job, err);
	int r;

	if (!run)
		return -ENOMEM;
	r = line_append(self->options.path, job, self->options.sync);
	if (is_shortage(r)) { /* nothing is written yet */
		self->host->timer_cancel(self->host->handle, run->timer);
		free(run);
		return lsn_error_set(err, r, "cannot append to %s: %s", self->options.path, strerror(-r));
	}
	run->result.outcome = r < 0 ? LSN_OUTCOME_ERROR : LSN_OUTCOME_SUCCESS;
	if (r < 0)
		(void)snprintf(run->result.message, sizeof run->result.message, "cannot append to %.160s: %s",
			       self->options.path, strerror(-r));
	return 0;
}

static int json_lines_recover(void *instance, const struct lsn_job *job, const char *place, struct lsn_error *err)
{
	struct json_lines *self = instance;
	int found = line_find(self->options.path, job, place);
	struct run *run;

	if (found < 0) /* it cannot be known: a negative return makes the job LOST */
		return lsn_error_set(err, found, "%s: %s", self->options.path,
				     found == -ESTALE ? "it was replaced by another file" : strerror(-found));
	run = run_new(self, job, err);
	if (!run)
		return -ENOMEM;
	run->result.outcome = found ? LSN_OUTCOME_SUCCESS : LSN_OUTCOME_NOT_STARTED;
	return 0;
}

static void json_lines_describe(void *instance, lsn_describe_fn fn, void *data)
{
	struct json_lines *self = instance;

	fn(data, "path", self->options.path);
	fn(data, "sync", self->options.sync ? "yes" : "no");
}

LSN_EXPORT const struct lsn_executor_module lsn_executor = {
	.version = LSN_ABI_VERSION,
	.size = sizeof lsn_executor,
	.name = "json-lines",
	.description = "appends each job to a file, one JSON object per line",
	.init = json_lines_init,
	.free = json_lines_free,
	.reserve = json_lines_reserve,
	.release = json_lines_release,
	.submit = json_lines_submit,
	.recover = json_lines_recover,
	.describe = json_lines_describe,
};
