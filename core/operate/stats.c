/* stats.c - the command stats: what each script did since the start, and has to do now. */
#include "stats.h"
#include "control.h"
#include "dispatcher.h"
#include "histogram.h"
#include "intake.h"
#include "journal.h"
#include "rate.h"
#include "record.h"
#include "reply.h"
#include "script.h"
#include "tally.h"
#include "util.h"
#include <errno.h>
#include <stdlib.h>

#define STATS_STEP 64 /* rows: about a millisecond */

struct sums {
	struct tally_script all;
	double fast, slow, cpu; /* per second */
};

static void set_real(json_t *object, const char *key, double value)
{
	(void)json_object_set_new(object, key, json_real(value));
}

static void set_quantiles(json_t *object, const char *median, const char *most, const struct recent *recent)
{
	json_set_uint(object, median, recent_quantile(recent, 0.5));
	json_set_uint(object, most, recent_quantile(recent, 0.95));
}

static json_t *outcomes_object(const uint64_t runs[LSN_OUTCOME_MAX])
{
	json_t *object = json_object();

	for (unsigned i = 0; i < LSN_OUTCOME_MAX; i++)
		if (runs[i] > 0)
			json_set_uint(object, outcome_names[i], runs[i]);
	return object;
}

static json_t *figures_object(const struct sums *sums)
{
	const struct tally_script *all = &sums->all;
	json_t *object = json_object();

	json_set_uint(object, "jobs", all->jobs);
	json_set_uint(object, "replayed", all->replayed);
	(void)json_object_set_new(object, "outcomes", outcomes_object(all->runs));
	set_real(object, "jobs_per_sec_1min", sums->fast);
	set_real(object, "jobs_per_sec_15min", sums->slow);
	set_real(object, "cpu_per_sec_15min", sums->cpu);
	set_quantiles(object, "took_median_usec", "took_95_usec", &all->took);
	set_quantiles(object, "delay_median_usec", "delay_95_usec", &all->delay);
	json_set_uint(object, "run_usec", all->run_usec);
	json_set_uint(object, "cpu_usec", all->cpu_usec);
	json_set_uint(object, "rss_max_bytes", all->rss_max_bytes);
	json_set_uint(object, "last_job", all->last_job);
	json_set_uint(object, "last_realtime_usec", all->last_realtime_usec);
	json_set_string(object, "last_outcome", all->last_job ? outcome_names[all->last_outcome] : "");
	return object;
}

static void sums_add(struct sums *sums, const struct tally_script *script, uint64_t now_usec)
{
	tally_add(&sums->all, script);
	sums->fast += rate_per_second(&script->fast, RATE_FAST_USEC, now_usec);
	sums->slow += rate_per_second(&script->slow, RATE_SLOW_USEC, now_usec);
	sums->cpu += rate_per_second(&script->cpu, RATE_SLOW_USEC, now_usec) / 1e6;
}

static void set_age(json_t *object, const char *key, uint64_t realtime_usec)
{
	uint64_t now = now_realtime_usec();

	json_set_uint(object, key, realtime_usec && now > realtime_usec ? now - realtime_usec : 0);
}

static void send_figures(const struct daemon *daemon, struct control_reply *reply, const struct tally_script *script)
{
	struct sums sums = { 0 };

	sums_add(&sums, script, now_monotonic_usec());
	json_t *object = figures_object(&sums);
	json_set_string(object, "script", script->name);
	if (script->name) {
		struct dispatcher_load load;
		dispatcher_get_load(daemon->dispatcher, script->name, &load);
		json_set_uint(object, "waiting", load.waiting);
		json_set_uint(object, "running", load.running);
		set_age(object, "oldest_waiting_usec", load.oldest_realtime_usec);
	}
	json_set_bool(object, "others", !script->name);
	control_send(reply, object);
}

static json_t *decisions_object(const struct intake_counters *counters)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < DECISION_MAX; i++)
		json_set_uint(object, decision_names[i], counters->decisions[i]);
	return object;
}

static void send_totals(const struct daemon *daemon, struct control_reply *reply)
{
	const struct tally *tally = dispatcher_get_tally(daemon->dispatcher);
	const struct intake_counters *counters = intake_get_counters(daemon->intake);
	uint64_t now = now_monotonic_usec();
	struct journal_figures figures = { 0 };
	struct sums sums = { 0 };

	for (size_t i = 0; i < tally->count; i++)
		sums_add(&sums, tally->scripts[i], now);
	sums_add(&sums, &tally->others, now);
	journal_get_figures(daemon->journal, &figures);
	json_t *object = figures_object(&sums);
	json_set_uint(object, "scripts", tally->count);
	json_set_uint(object, "waiting", figures.queued + figures.backoff);
	json_set_uint(object, "running", figures.running);
	set_age(object, "oldest_waiting_usec", figures.oldest_waiting_realtime_usec);
	(void)json_object_set_new(object, "events", decisions_object(counters));
	json_set_uint(object, "event_bytes", counters->payload_bytes);
	json_set_uint(object, "last_event_realtime_usec", counters->last_realtime_usec);
	json_set_uint(object, "started_realtime_usec", daemon->started_realtime_usec);
	control_end_with(reply, object);
}

/* The rows of all scripts. No entry of the tally ever goes, so a number says where to go on. */
struct stats_rows {
	const struct daemon *daemon;
	struct control_reply *reply;
	size_t next;
};

static bool rows_step(void *data)
{
	struct stats_rows *rows = data;
	const struct tally *tally = dispatcher_get_tally(rows->daemon->dispatcher);

	for (unsigned i = 0; i < STATS_STEP && rows->next < tally->count; i++)
		send_figures(rows->daemon, rows->reply, tally->scripts[rows->next++]);
	if (rows->next < tally->count)
		return true;
	if (tally->others.jobs > 0)
		send_figures(rows->daemon, rows->reply, &tally->others);
	send_totals(rows->daemon, rows->reply);
	free(rows);
	return false;
}

static void send_rows(const struct daemon *daemon, struct control_reply *reply)
{
	struct stats_rows *rows = calloc(1, sizeof *rows);

	if (!rows) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	*rows = (struct stats_rows){ .daemon = daemon, .reply = reply };
	const struct control_stream stream = { .step = rows_step, .drop = free, .state = rows };
	control_stream(reply, &stream);
}

void command_stats(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { "script", "totals", NULL };
	const struct daemon *daemon = data;
	const char *name = NULL;
	bool totals = false;

	if (!reply_known_keys(reply, request, keys) || !reply_get_string(reply, request, "script", &name) ||
	    !reply_get_bool(reply, request, "totals", &totals))
		return;
	if (!name && !totals) {
		send_rows(daemon, reply);
		return;
	}
	const struct tally_script *script = name ? tally_find(dispatcher_get_tally(daemon->dispatcher), name) : NULL;
	if (script)
		send_figures(daemon, reply, script);
	send_totals(daemon, reply);
}
