/* conditions.c - see conditions.h. One function for each part of the daemon, in the order in which
 * the list is read. */
#include "conditions.h"
#include "advice.h"
#include "broker.h"
#include "broker_grants.h"
#include "dispatcher.h"
#include "executors.h"
#include "hold.h"
#include "journal.h"
#include "registry.h"
#include "reply.h"
#include "script.h"
#include "source.h"
#include "turn.h"
#include "util.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What mends itself in less is not told. */
#define EXECUTOR_PATIENCE_USEC (2 * USEC_PER_SEC)
#define BROKER_PATIENCE_USEC (2 * USEC_PER_SEC)
#define BROKER_FAILURE_USEC (30 * USEC_PER_SEC)
#define STUCK_USEC (60 * USEC_PER_SEC)
#define HELD_JOBS_WARN 100000 /* of one hold */
#define HOLDS_TOLD 16 /* one by one */
#define ADVISE_USEC (5 * USEC_PER_MSEC)

struct looking {
	struct daemon *daemon;
	struct conditions *found;
	uint64_t now; /* CLOCK_REALTIME */
	struct journal_figures journal;
};

/* look_add - the last but one argument is a format. NULL: there are too many. */
static struct condition *look_add(struct looking *look, enum condition_level level, const char *id, uint64_t since,
				  const char *remedy, const char *format, ...) __attribute__((format(printf, 6, 7)));
static struct condition *look_add(struct looking *look, enum condition_level level, const char *id, uint64_t since,
				  const char *remedy, const char *format, ...)
{
	struct conditions *found = look->found;
	va_list ap;

	if (found->count == CONDITIONS_MAX)
		return NULL;
	size_t at = level == CONDITION_FAILURE ? found->failures++ : found->count;
	struct condition *condition = &found->list[at];
	memmove(condition + 1, condition, (found->count++ - at) * sizeof *condition);
	*condition = (struct condition){ .id = id, .level = level, .since_realtime_usec = since };
	(void)snprintf(condition->remedy, sizeof condition->remedy, "%s", remedy);
	va_start(ap, format);
	(void)vsnprintf(condition->text, sizeof condition->text, format, ap);
	va_end(ap);
	utf8_trim(condition->text);
	return condition;
}

static void set_subject(struct condition *condition, const char *subject)
{
	if (!condition)
		return;
	(void)snprintf(condition->subject, sizeof condition->subject, "%.*s", (int)sizeof condition->subject - 1,
		       subject);
	utf8_trim(condition->subject);
}

static bool is_older(const struct looking *look, uint64_t since, uint64_t usec)
{
	return since && look->now > since && look->now - since >= usec;
}

/* ------------------------------------------------------------------------------------ executors */

static void look_problem(struct looking *look, struct executor *executor, const struct dispatcher_waiting *waiting)
{
	const struct executor_health *health = executor_get_health(executor);
	char jobs[60] = "no job waits for it";

	if (!is_older(look, health->problem_since_realtime_usec, EXECUTOR_PATIENCE_USEC))
		return;
	if (waiting->jobs > 0)
		(void)snprintf(jobs, sizeof jobs, "%" PRIu64 " %s for it", waiting->jobs,
			       waiting->jobs == 1 ? "job waits" : "jobs wait");
	set_subject(look_add(look, waiting->jobs > 0 ? CONDITION_FAILURE : CONDITION_WARNING, "executor-down",
			     health->problem_since_realtime_usec, "listenerctl doctor",
			     "executor %s runs nothing: %s; %s", executor_name(executor), health->problem, jobs),
		    executor_name(executor));
}

/* realtime_of - of USEC of CLOCK_MONOTONIC; 0 stays 0. */
static uint64_t realtime_of(const struct looking *look, uint64_t usec)
{
	return usec ? look->now - (now_monotonic_usec() - usec) : 0;
}

/* look_stuck - trusts no executor: it says that all is well, runs nothing, and lets jobs wait. */
static void look_stuck(struct looking *look, struct executor *executor, const struct dispatcher_waiting *waiting)
{
	uint64_t since = realtime_of(look, waiting->since_usec);

	if (waiting->running > 0 || !is_older(look, since, STUCK_USEC))
		return;
	set_subject(look_add(look, CONDITION_FAILURE, "stuck", since, "listenerctl executors",
			     "%" PRIu64 " jobs wait for executor %s, which runs none and names no problem%s%s",
			     waiting->jobs, executor_name(executor), waiting->refusal[0] ? ": " : "", waiting->refusal),
		    executor_name(executor));
}

static void look_executor(void *data, struct executor *executor)
{
	struct looking *look = data;
	struct dispatcher_waiting waiting;

	if (executor_draining(executor))
		return;
	const struct executor_health *health = executor_get_health(executor);
	dispatcher_count_waiting(look->daemon->dispatcher, executor_name(executor), &waiting);
	if (health->problem[0])
		look_problem(look, executor, &waiting);
	else
		look_stuck(look, executor, &waiting);
	if (health->warning[0])
		set_subject(look_add(look, CONDITION_WARNING, "executor-warning", health->warning_since_realtime_usec,
				     "listenerctl executors", "executor %s: %s", executor_name(executor),
				     health->warning),
			    executor_name(executor));
}

static void look_missing(void *data, const char *executor)
{
	struct looking *look = data;
	struct dispatcher_waiting waiting;

	for (size_t i = 0; i < look->found->count; i++)
		if (streq(look->found->list[i].id, "executor-missing") && streq(look->found->list[i].subject, executor))
			return;
	dispatcher_count_waiting(look->daemon->dispatcher, executor, &waiting);
	set_subject(look_add(look, CONDITION_FAILURE, "executor-missing", realtime_of(look, waiting.since_usec),
			     "write its section [executor NAME] again and reload, or cancel the jobs",
			     "executor '%s' is not configured, and %" PRIu64 " jobs wait for it", executor,
			     waiting.jobs),
		    executor);
}

/* -------------------------------------------------------------------------------------- journal */

static void look_room(struct looking *look)
{
	const struct journal_config *config = &look->daemon->config->journal;
	const struct journal_figures *figures = &look->journal;
	uint64_t unfinished = figures->queued + figures->running + figures->backoff;

	if (unfinished >= config->jobs_max / 5 * 4)
		(void)look_add(look, CONDITION_WARNING, "journal-filling", 0, "listenerctl jobs --state queued",
			       "%" PRIu64 " jobs are unfinished; at %" PRIu64 " (jobs_max) no more events are taken",
			       unfinished, config->jobs_max);
	if (figures->disk_free_bytes > 0 && figures->disk_free_bytes < config->disk_free_min_bytes / 4 * 5)
		(void)look_add(look, CONDITION_WARNING, "journal-filling", 0, "make room on the disk of the journal",
			       "the journal's disk has %" PRIu64 " MiB free; below %" PRIu64
			       " (disk_free_min) no more events are taken",
			       figures->disk_free_bytes >> 20, config->disk_free_min_bytes >> 20);
}

static void look_journal(struct looking *look)
{
	const struct turn_figures *figures = turn_get_figures(look->daemon->turn);
	struct lsn_error why = { 0 };

	if (figures->error[0])
		(void)look_add(look, CONDITION_FAILURE, "journal-failing", figures->blocked_realtime_usec,
			       "make room on the journal's disk, or make it writable: listenerctl doctor",
			       "the journal cannot be written, so no event is taken and no job starts: %s",
			       figures->error);
	else if (journal_capacity(look->daemon->journal, &why) < 0)
		(void)look_add(look, CONDITION_FAILURE, "journal-full", figures->blocked_realtime_usec,
			       "listenerctl jobs --state queued; [journal] in listenerd.ini",
			       "no more events are taken: %s", why.message);
	else
		look_room(look);
	if (look->journal.lost > 0)
		(void)look_add(look, CONDITION_WARNING, "jobs-lost", 0, "listenerctl jobs --state lost",
			       "%" PRIu64 " %s lost: nobody knows how they ended", look->journal.lost,
			       look->journal.lost == 1 ? "job is" : "jobs are");
}

/* --------------------------------------------------------------------------------------- broker */

static void look_connection(struct looking *look)
{
	const struct daemon *daemon = look->daemon;
	struct broker_figures figures = { 0 };
	enum condition_level level = CONDITION_FAILURE;

	if (daemon->broker)
		broker_get_figures(daemon->broker, &figures);
	if (figures.state == BROKER_CONNECTED || figures.state == BROKER_PAUSED ||
	    (!daemon->broker && !daemon->broker_problem[0]))
		return;
	if (daemon->broker && !is_older(look, figures.since_realtime_usec, BROKER_PATIENCE_USEC))
		return;
	if (daemon->broker && !is_older(look, figures.since_realtime_usec, BROKER_FAILURE_USEC))
		level = CONDITION_WARNING;
	(void)look_add(look, level, "broker-away", figures.since_realtime_usec, "listenerctl doctor",
		       "the broker is not connected, so no events come: %s",
		       daemon->broker ? figures.error : daemon->broker_problem);
}

static void look_grants(struct looking *look)
{
	const struct daemon *daemon = look->daemon;
	char **filters = daemon->config->broker.subscriptions;
	const char *reason;

	for (size_t i = 0; daemon->broker && filters && filters[i]; i++)
		if (broker_get_grant(daemon->broker, i, &reason) == BROKER_GRANT_REFUSED)
			(void)look_add(look, CONDITION_FAILURE, "subscription-refused", 0,
				       "let the broker's access control allow it",
				       "the broker refuses the subscription %s: %s", filters[i], reason);
}

static void look_session(struct looking *look)
{
	const struct session_note *note = &look->daemon->session;

	if (note->lost_to_realtime_usec)
		(void)look_add(look, CONDITION_WARNING, "session-lost", note->lost_to_realtime_usec,
			       "listenerctl seen, when it has been dealt with",
			       "the broker has lost the listener's session: events that came before may be missing");
}

/* -------------------------------------------------------------------------------------- scripts */

struct advising {
	struct daemon *daemon;
	size_t index;
	uint64_t until; /* CLOCK_MONOTONIC */
};

static void advise_entry(void *data, const struct registry_entry *entry)
{
	struct advising *advising = data;
	struct undeliverable *known = &advising->daemon->undeliverable;
	char advice[ADVICE_SIZE];

	if (advising->index++ != known->looked || now_monotonic_usec() > advising->until)
		return;
	known->looked++;
	if (entry->state != SCRIPT_ACTIVE || !entry->script || !advise(advising->daemon->config, entry->script, advice))
		return;
	if (known->count++ == 0)
		(void)snprintf(known->first, sizeof known->first, "%s", entry->name);
	utf8_trim(known->first);
}

/* count_undeliverable - of very many scripts some at each look, until they change. */
static const struct undeliverable *count_undeliverable(struct daemon *daemon)
{
	struct undeliverable *known = &daemon->undeliverable;
	struct advising advising = { .daemon = daemon, .until = now_monotonic_usec() + ADVISE_USEC };
	uint64_t generation = registry_generation(daemon->registry);

	if (known->generation != generation || known->reloads != daemon->reloads)
		*known = (struct undeliverable){ .generation = generation, .reloads = daemon->reloads };
	registry_each(daemon->registry, advise_entry, &advising);
	return known;
}

static void look_scripts(struct looking *look)
{
	const struct undeliverable *stuck = count_undeliverable(look->daemon);
	size_t refused = registry_count(look->daemon->registry, SCRIPT_REFUSED);

	if (refused > 0)
		(void)look_add(look, CONDITION_WARNING, "scripts-refused", 0, "listenerctl scripts --state refused",
			       "%zu %s refused", refused, refused == 1 ? "script is" : "scripts are");
	if (stuck->count > 0)
		(void)look_add(look, CONDITION_WARNING, "scripts-undeliverable", 0, "listenerctl scripts",
			       "no event can run %zu active %s, the first is %s", stuck->count,
			       stuck->count == 1 ? "script" : "scripts", stuck->first);
}

static void look_source(struct looking *look)
{
	struct source_figures figures = { 0 };

	if (!look->daemon->source)
		return;
	look->daemon->source->ops->figures(look->daemon->source, &figures);
	if (!figures.error[0])
		return;
	if (streq(figures.state, "away"))
		(void)look_add(look, CONDITION_WARNING, "source-away", figures.scanned_realtime_usec,
			       "listenerctl doctor",
			       "scripts cannot be read, those already registered stay registered: %s", figures.error);
	else
		(void)look_add(look, CONDITION_WARNING, "source-warning", 0, "listenerctl doctor", "%s", figures.error);
}

/* ---------------------------------------------------------------------------------------- holds */

static void look_hold(struct looking *look, const struct hold *hold)
{
	char text[HOLD_TEXT_SIZE], remedy[HOLD_TEXT_SIZE];
	struct held_count count;
	bool loop = hold->kind == HOLD_LOOP;

	dispatcher_count_held(look->daemon->dispatcher, hold, &count);
	hold_tell(hold, text);
	hold_remedy(hold, remedy);
	set_subject(look_add(look, loop ? CONDITION_FAILURE : CONDITION_WARNING, loop ? "loop" : "held",
			     hold->since_realtime_usec, remedy, "%.480s; %" PRIu64 "%s %s", text, count.jobs,
			     count.more ? " or more" : "", count.jobs == 1 && !count.more ? "job waits" : "jobs wait"),
		    hold->name);
	if (count.jobs >= HELD_JOBS_WARN)
		set_subject(look_add(look, CONDITION_WARNING, "journal-filling", 0, remedy,
				     "%" PRIu64 " held jobs fill the journal: %.400s", count.jobs, text),
			    hold->name);
}

static void look_storm(void *data, const char *script, uint64_t jobs)
{
	set_subject(look_add(data, CONDITION_WARNING, "storm", 0, "listenerctl jobs --state queued --script NAME",
			     "%" PRIu64 " jobs of %.300s wait", jobs, script),
		    script);
}

static void look_holds(struct looking *look)
{
	const struct hold_list *holds = dispatcher_holds(look->daemon->dispatcher);
	const struct hold *hold;
	unsigned told = 0, more = 0;

	TAILQ_FOREACH (hold, holds, link) {
		if (told < HOLDS_TOLD)
			look_hold(look, hold);
		told < HOLDS_TOLD ? told++ : more++;
	}
	if (more > 0)
		(void)look_add(look, CONDITION_WARNING, "held", 0, "listenerctl holds", "there are %u more holds",
			       more);
}

static void look_reload(struct looking *look)
{
	const struct daemon *daemon = look->daemon;

	if (daemon->reload_failed_realtime_usec)
		(void)look_add(look, CONDITION_FAILURE, "reload-failed", daemon->reload_failed_realtime_usec,
			       "correct the configuration, then listenerctl reload",
			       "the new configuration was refused, the old one stays in force: %s",
			       daemon->reload_problem);
}

/* ------------------------------------------------------------------------------------- together */

void conditions_look(struct daemon *daemon, struct conditions *ret)
{
	struct looking look = { .daemon = daemon, .found = ret, .now = now_realtime_usec() };

	ret->count = ret->failures = 0;
	journal_get_figures(daemon->journal, &look.journal);
	look_journal(&look);
	executors_each(daemon->executors, look_executor, &look);
	dispatcher_each_missing(daemon->dispatcher, look_missing, &look);
	look_connection(&look);
	look_grants(&look);
	look_reload(&look);
	look_session(&look);
	look_source(&look);
	look_scripts(&look);
	look_holds(&look);
	dispatcher_each_storm(daemon->dispatcher, look_storm, &look);
}

static json_t *condition_object(const struct condition *condition)
{
	json_t *object = json_object();

	json_set_string(object, "id", condition->id);
	json_set_string(object, "subject", condition->subject);
	json_set_string(object, "level", condition->level == CONDITION_FAILURE ? "failure" : "warning");
	json_set_uint(object, "since_realtime_usec", condition->since_realtime_usec);
	json_set_string(object, "text", condition->text);
	json_set_string(object, "remedy", condition->remedy);
	return object;
}

json_t *conditions_array(struct daemon *daemon)
{
	struct conditions *found = malloc(sizeof *found);
	json_t *array = json_array();

	if (!found)
		return array;
	conditions_look(daemon, found);
	for (size_t i = 0; i < found->count; i++)
		(void)json_array_append_new(array, condition_object(&found->list[i]));
	free(found);
	return array;
}
