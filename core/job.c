/* job.c - see job.h. */
#include "job.h"
#include "log.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <util.h>

const char *const job_state_names[JOB_STATE_MAX] = {
	[JOB_QUEUED] = "queued",   [JOB_STARTING] = "starting",
	[JOB_RUNNING] = "running", [JOB_RECOVERING] = "recovering",
	[JOB_BACKOFF] = "backoff", [JOB_FINISHED] = "finished",
	[JOB_LOST] = "lost",
};

#define LAST_LINE_MAX ((size_t)200) /* bytes of stderr in the job's message */

#define TO(state) (1U << JOB_##state)

#define ENDS (TO(BACKOFF) | TO(FINISHED) | TO(LOST))

static const unsigned moves[JOB_STATE_MAX] = {
	[JOB_QUEUED] = TO(STARTING) | TO(BACKOFF) | TO(FINISHED),
	[JOB_STARTING] = TO(RUNNING) | TO(QUEUED) | ENDS,
	[JOB_RUNNING] = TO(QUEUED) | ENDS,
	[JOB_RECOVERING] = TO(RUNNING) | TO(QUEUED) | ENDS,
	[JOB_BACKOFF] = TO(QUEUED) | TO(BACKOFF) | TO(FINISHED),
	[JOB_FINISHED] = TO(QUEUED),
	[JOB_LOST] = TO(QUEUED) | TO(BACKOFF) | TO(FINISHED),
};

static void fill_abi(struct job *job, uint64_t id)
{
	const struct event *event = job->event;
	const struct script *script = job->script;

	job->abi = (struct lsn_job){
		.version = LSN_ABI_VERSION,
		.size = sizeof job->abi,
		.id = id,
		.event = event->id,
		.output = script->settings.output == OUTPUT_DISCARD ? LSN_OUTPUT_DISCARD : LSN_OUTPUT_CAPTURE,
		.input = script->settings.input,
		.script = script->name,
		.script_version = script->version,
		.topic = event->topic,
		.topic_size = event->topic_size,
		.payload_fd = -1,
		.script_fd = -1,
		.payload_size = event->payload_size,
		.script_size = script->size,
		.received_realtime_usec = event->received_realtime_usec,
		.timeout_usec = script->settings.timeout_usec,
		.memory_bytes = script->settings.memory_bytes,
		.output_limit_bytes = JOB_OUTPUT_LIMIT_BYTES,
	};
}

int job_new(uint64_t id, struct event *event, struct script *script, struct job **ret)
{
	struct job *job = calloc(1, sizeof *job);

	if (!job)
		return -ENOMEM;
	job->refs = 1;
	job->state = JOB_QUEUED;
	job->event = event_ref(event);
	job->script = script_ref(script);
	job->object = event_object(event);
	job->created_realtime_usec = now_realtime_usec();
	LIST_INIT(&job->runs);
	fill_abi(job, id);
	*ret = job;
	return 0;
}

struct job *job_ref(struct job *job)
{
	assert(job->refs > 0);
	job->refs++;
	return job;
}

struct job *job_unref(struct job *job)
{
	if (!job)
		return NULL;
	assert(job->refs > 0);
	if (--job->refs == 0) {
		free(job->message);
		free(job->unreadable);
		event_unref(job->event);
		script_unref(job->script);
		free(job);
	}
	return NULL;
}

void job_set_state(struct job *job, enum job_state state)
{
	assert(job->state < JOB_STATE_MAX && state < JOB_STATE_MAX);
	assert(moves[job->state] & (1U << state));
	log_debug("job=%llu %s -> %s", (unsigned long long)job->abi.id, job_state_names[job->state],
		  job_state_names[state]);
	job->state = state;
}

void job_set_end(struct job *job, enum lsn_outcome outcome, const char *message)
{
	free(job->message);
	job->message = message[0] ? strdup(message) : NULL;
	job->outcome = outcome;
}

static const void *copy_output(char **end, const void *data, size_t size)
{
	char *copy = *end;

	if (size == 0)
		return NULL;
	memcpy(copy, data, size);
	*end += size;
	return copy;
}

/* last_line - the last line of SIZE bytes of TEXT that is not blank, or "". */
static void last_line(const char *text, size_t size, char ret[LSN_MESSAGE_SIZE])
{
	while (size > 0 && strchr(" \t\r\n", text[size - 1]))
		size--;
	const char *newline = size > 0 ? memrchr(text, '\n', size) : NULL;
	const char *line = newline ? newline + 1 : text;
	size -= size > 0 ? (size_t)(line - text) : 0;
	(void)snprintf(ret, LSN_MESSAGE_SIZE, "%.*s", (int)(size < LAST_LINE_MAX ? size : LAST_LINE_MAX), line);
	utf8_trim(ret);
	for (char *c = ret; !utf8_valid(ret, strlen(ret)) && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
}

void job_say_result(const struct lsn_result *result, char ret[LSN_MESSAGE_SIZE])
{
	(void)snprintf(ret, LSN_MESSAGE_SIZE, "%s", result->message);
	if (!ret[0] && result->outcome != LSN_OUTCOME_SUCCESS && result->err_size > 0)
		last_line(result->err, result->err_size, ret);
}

int job_result_new(const struct lsn_result *result, struct job_result **ret)
{
	size_t size;

	if (__builtin_add_overflow(sizeof(struct job_result) + result->out_size, result->err_size, &size))
		return -ENOMEM;
	struct job_result *copy = calloc(1, size);
	if (!copy)
		return -ENOMEM;
	char *end = (char *)(copy + 1);
	/* An executor built against an older minor version gives a shorter struct. */
	memcpy(&copy->r, result, result->size && result->size < sizeof copy->r ? result->size : sizeof copy->r);
	copy->r.version = LSN_ABI_VERSION;
	copy->r.size = sizeof copy->r;
	if (copy->r.outcome >= LSN_OUTCOME_MAX)
		copy->r.outcome = LSN_OUTCOME_ERROR;
	copy->r.message[sizeof copy->r.message - 1] = 0;
	copy->r.out = copy_output(&end, result->out, result->out_size);
	copy->r.err = copy_output(&end, result->err, result->err_size);
	*ret = copy;
	return 0;
}

/* ---------------------------------------------------------------------------------------- lists */

void jobs_init(struct jobs *jobs, enum jobs_kind kind)
{
	TAILQ_INIT(&jobs->list);
	jobs->kind = kind;
	jobs->length = 0;
}

static void jobs_note(struct jobs *jobs, struct job *job)
{
	job->in[jobs->kind].list = jobs;
	jobs->length++;
}

void jobs_add(struct jobs *jobs, struct job *job)
{
	assert(!job->in[jobs->kind].list);
	TAILQ_INSERT_TAIL(&jobs->list, job, in[jobs->kind].link);
	jobs_note(jobs, job);
}

void jobs_insert(struct jobs *jobs, struct job *job)
{
	struct job *last = TAILQ_LAST(&jobs->list, job_list), *after;

	if (!last || last->abi.id < job->abi.id) { /* as new ones come */
		jobs_add(jobs, job);
		return;
	}
	assert(!job->in[jobs->kind].list);
	JOBS_FOREACH(after, jobs) /* ones that come back belong near the head */
	if (after->abi.id > job->abi.id)
		break;
	TAILQ_INSERT_BEFORE(after, job, in[jobs->kind].link);
	jobs_note(jobs, job);
}

void jobs_take(struct job *job, enum jobs_kind kind)
{
	struct jobs *jobs = job->in[kind].list;

	if (!jobs)
		return;
	TAILQ_REMOVE(&jobs->list, job, in[kind].link);
	jobs->length--;
	job->in[kind].list = NULL;
}
