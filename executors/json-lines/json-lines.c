/* json-lines.c - the smallest useful executor. It runs nothing: it appends each job to a file, as
 * one JSON object on one line.
 *
 *     [executor audit]
 *     module = json-lines
 *     path = /var/log/listenerd/events.jsonl
 *     sync = yes
 *
 * To write your own, copy this folder and read docs/executor-abi.md. line.c writes the file,
 * writer.c does so off the loop, options.c reads the section, and this file talks with the daemon.
 * Three things to note: done() is called from the loop, never from inside submit(). Everything that
 * can fail for want of something is made before anything happens. The place that reserve() names
 * lets recover() find out for certain whether a job was written. */
#include "line.h"
#include "options.h"
#include "writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Jobs that wait for the disk keep their payloads in memory: no more than these bytes of them. */
#define WAITING_BYTES_MAX (16u << 20)

struct json_lines { /* one instance: no globals, there may be several */
	const struct lsn_host *host;
	struct options options;
	struct writer *writer;
	uint64_t waiting_bytes; /* payloads of jobs that are reserved or not yet written */
	bool refused; /* a job, for want of room among those bytes */
};

struct run { /* a job that waits to be written, or to be reported */
	struct json_lines *self;
	const struct lsn_job *job;
	struct task task;
	struct lsn_timer *timer; /* what recover() has found out is reported then */
	struct lsn_result result;
};

static void json_lines_free(void *instance)
{
	struct json_lines *self = instance;

	writer_free(self->writer);
	options_clear(&self->options);
	free(self);
}

static void report(void *data)
{
	struct run *run = data;

	run->self->host->done(run->self->host->handle, run->job, &run->result);
	free(run);
}

/* leave - JOB's payload is no longer waited for. */
static void leave(struct json_lines *self, const struct lsn_job *job)
{
	self->waiting_bytes -= job->payload_size;
	if (!self->refused)
		return;
	self->refused = false;
	self->host->ready(self->host->handle);
}

static void on_line_written(struct task *task)
{
	struct run *run = task->data;
	struct json_lines *self = run->self;

	/* without memory for the line it was not begun, and may be tried again */
	run->result.outcome = task->result == 0         ? LSN_OUTCOME_SUCCESS
			      : task->result == -ENOMEM ? LSN_OUTCOME_NOT_STARTED
							: LSN_OUTCOME_ERROR;
	if (task->result < 0)
		(void)snprintf(run->result.message, sizeof run->result.message, "cannot append to %.160s: %s",
			       self->options.path, strerror(-task->result));
	leave(self, run->job);
	report(run);
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
	if (r == 0 && (r = writer_new(host, on_line_written, &self->writer)) < 0)
		(void)lsn_error_set(err, r, "cannot start the thread that writes: %s", strerror(-r));
	if (r < 0)
		json_lines_free(self);
	else
		*ret_instance = self;
	return r;
}

static struct run *run_new(struct json_lines *self, const struct lsn_job *job)
{
	struct run *run = calloc(1, sizeof *run);

	if (run)
		*run = (struct run){ .self = self,
				     .job = job,
				     .result = { .version = LSN_ABI_VERSION, .size = sizeof run->result } };
	return run;
}

static int json_lines_reserve(void *instance, const struct lsn_job *job, char place[LSN_PLACE_SIZE],
			      struct lsn_error *err)
{
	struct json_lines *self = instance;

	if (self->waiting_bytes > 0 && self->waiting_bytes + job->payload_size > WAITING_BYTES_MAX) {
		self->refused = true;
		return -EAGAIN;
	}
	int r = line_place(self->options.path, place);
	if (r < 0)
		return lsn_error_set(err, r, "cannot append to %s: %s", self->options.path, strerror(-r));
	self->waiting_bytes += job->payload_size;
	return 0;
}

static void json_lines_release(void *instance, const struct lsn_job *job) { leave(instance, job); }

static int json_lines_submit(void *instance, const struct lsn_job *job, struct lsn_error *err)
{
	struct json_lines *self = instance;
	int fd = line_open(self->options.path);
	struct run *run = fd < 0 ? NULL : run_new(self, job);

	if (!run) {
		int r = fd < 0 ? fd : -ENOMEM;
		if (fd >= 0)
			close(fd);
		leave(self, job);
		return lsn_error_set(err, r, "cannot append to %s: %s", self->options.path, strerror(-r));
	}
	run->task = (struct task){ .job = job, .fd = fd, .sync = self->options.sync, .data = run };
	writer_put(self->writer, &run->task);
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
	run = run_new(self, job);
	int r = run ? self->host->timer(self->host->handle, 0, report, run, &run->timer) : -ENOMEM;
	if (r < 0) {
		free(run);
		return lsn_error_set(err, r, "cannot set a timer: %s", strerror(-r));
	}
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
