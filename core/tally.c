/* tally.c - see tally.h. */
#include "tally.h"
#include "util.h"
#include <search.h>
#include <stdlib.h>
#include <string.h>

static int by_script_name(const void *a, const void *b)
{
	return strcmp(((const struct tally_script *)a)->name, ((const struct tally_script *)b)->name);
}

void tally_init(struct tally *tally)
{
	*tally = (struct tally){ 0 };
	STAILQ_INIT(&tally->executors);
}

static void script_free(void *script)
{
	free(((struct tally_script *)script)->name);
	free(script);
}

void tally_done(struct tally *tally)
{
	struct tally_executor *executor;

	tdestroy(tally->by_name, script_free);
	free(tally->scripts);
	while ((executor = STAILQ_FIRST(&tally->executors))) {
		STAILQ_REMOVE_HEAD(&tally->executors, next);
		free(executor);
	}
}

static bool tally_grow(struct tally *tally)
{
	size_t capacity = tally->capacity ? tally->capacity * 2 : 16;

	if (tally->count < tally->capacity)
		return true;
	struct tally_script **larger = reallocarray(tally->scripts, capacity, sizeof *larger);
	if (!larger)
		return false;
	tally->scripts = larger;
	tally->capacity = capacity;
	return true;
}

const struct tally_script *tally_find(const struct tally *tally, const char *name)
{
	struct tally_script key = { .name = (char *)(uintptr_t)name };
	struct tally_script **found = tfind(&key, &tally->by_name, by_script_name);

	return found ? *found : NULL;
}

struct tally_script *tally_script(struct tally *tally, const char *name)
{
	struct tally_script *script = (struct tally_script *)(uintptr_t)tally_find(tally, name);

	if (script)
		return script;
	if (tally->count >= TALLY_SCRIPTS_MAX || !tally_grow(tally) || !(script = calloc(1, sizeof *script)))
		return &tally->others;
	script->name = strdup(name);
	if (!script->name || !tsearch(script, &tally->by_name, by_script_name)) {
		script_free(script);
		return &tally->others;
	}
	tally->scripts[tally->count++] = script;
	return script;
}

/* tally_executor - NULL: out of memory. */
static struct tally_executor *tally_executor(struct tally *tally, const char *name)
{
	struct tally_executor *executor;

	STAILQ_FOREACH (executor, &tally->executors, next)
		if (streq(executor->name, name))
			return executor;
	executor = calloc(1, sizeof *executor);
	if (!executor)
		return NULL;
	(void)snprintf(executor->name, sizeof executor->name, "%s", name);
	STAILQ_INSERT_TAIL(&tally->executors, executor, next);
	return executor;
}

void tally_made(struct tally_script *script, bool replay)
{
	uint64_t now = now_monotonic_usec();

	script->jobs++;
	script->replayed += replay;
	rate_add(&script->fast, RATE_FAST_USEC, now, 1);
	rate_add(&script->slow, RATE_SLOW_USEC, now, 1);
}

void tally_started(struct tally *tally, struct tally_script *script, const char *name, uint64_t delay_usec)
{
	struct tally_executor *executor = tally_executor(tally, name);

	recent_add(&script->delay, delay_usec);
	if (executor)
		histogram_add(&executor->delay, &histogram_waits, delay_usec);
}

void tally_ended(struct tally *tally, struct tally_script *script, const char *name, uint64_t job,
		 const struct lsn_result *result)
{
	struct tally_executor *executor = tally_executor(tally, name);
	uint64_t cpu_usec = result->user_usec + result->system_usec;

	script->runs[result->outcome]++;
	script->run_usec += result->duration_usec;
	script->cpu_usec += cpu_usec;
	if (result->max_rss_bytes > script->rss_max_bytes)
		script->rss_max_bytes = result->max_rss_bytes;
	script->last_job = job;
	script->last_realtime_usec = now_realtime_usec();
	script->last_outcome = result->outcome;
	rate_add(&script->cpu, RATE_SLOW_USEC, now_monotonic_usec(), cpu_usec);
	if (executor)
		executor->runs[result->outcome]++;
	if (result->duration_usec == 0)
		return; /* it did not run, or nobody knows for how long */
	recent_add(&script->took, result->duration_usec);
	if (executor)
		histogram_add(&executor->took, &histogram_waits, result->duration_usec);
}

void tally_add(struct tally_script *sum, const struct tally_script *from)
{
	sum->jobs += from->jobs;
	sum->replayed += from->replayed;
	for (unsigned i = 0; i < LSN_OUTCOME_MAX; i++)
		sum->runs[i] += from->runs[i];
	sum->run_usec += from->run_usec;
	sum->cpu_usec += from->cpu_usec;
	if (from->rss_max_bytes > sum->rss_max_bytes)
		sum->rss_max_bytes = from->rss_max_bytes;
	if (from->last_realtime_usec >= sum->last_realtime_usec) {
		sum->last_job = from->last_job;
		sum->last_realtime_usec = from->last_realtime_usec;
		sum->last_outcome = from->last_outcome;
	}
	recent_merge(&sum->took, &from->took);
	recent_merge(&sum->delay, &from->delay);
}
