/* doctor.c - `listenerctl doctor`: what is measured rather than guessed. Each part reports rows
 * {level, area, what, remedy} and the answer ends when the last part has.
 *
 * One examination at a time: it costs the broker some thousand messages, and readers may ask for
 * it. */
#include "doctor.h"
#include "broker.h"
#include "commands.h"
#include "control.h"
#include "doctor_event.h"
#include "executors.h"
#include "intake.h"
#include "reply.h"
#include "script.h"
#include "stall.h"
#include "util.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/random.h>

#define REACH_LIMIT_USEC (15 * USEC_PER_SEC)
#define BROKER_LIMIT_USEC (55 * USEC_PER_SEC) /* then the probe of the broker stops and tidies up */
#define CHILD_LIMIT_USEC (90 * USEC_PER_SEC) /* then it is killed */
#define SOURCE_STEP_USEC (100 * USEC_PER_MSEC)
#define SOURCE_LIMIT_USEC (30 * USEC_PER_SEC)

struct examination { /* one executor's probe */
	struct doctor *doctor;
	char area[EXECUTOR_NAME_SIZE];
	LIST_ENTRY(examination) list;
};

struct doctor {
	struct daemon *daemon;
	struct control_reply *reply;
	struct doctor_sink sink;
	unsigned pending; /* parts that have not ended */
	sd_event_source *exit; /* the daemon stops meanwhile */
	struct doctor_child *child;
	struct doctor_events *events; /* shared with the child; NULL: no broker is connected */
	sd_event_source *source_timer;
	/* figures when the scan was asked for */
	uint64_t source_scans, source_errors, source_until_usec;
	LIST_HEAD(examination_list, examination) examinations;
};

static struct doctor *at_work;

/* ----------------------------------------------------------------------------------------- rows */

static void send_row(void *data, enum lsn_probe_level level, const char *area, const char *what, const char *remedy)
{
	static const char *const levels[] = {
		[LSN_PROBE_OK] = "ok", [LSN_PROBE_WARNING] = "warning", [LSN_PROBE_FAILURE] = "failure"
	};
	struct doctor *doctor = data;
	json_t *object = json_object();

	json_set_string(object, "level", levels[level <= LSN_PROBE_FAILURE ? level : LSN_PROBE_FAILURE]);
	json_set_string(object, "area", area);
	json_set_string(object, "what", what);
	if (remedy && level != LSN_PROBE_OK)
		json_set_string(object, "remedy", remedy);
	control_send(doctor->reply, object);
	control_flush(doctor->reply);
}

/* -------------------------------------------------------------------------------------- its end */

static void events_free(struct doctor *doctor)
{
	if (!doctor->events)
		return;
	intake_expect(doctor->daemon->intake, NULL);
	(void)munmap(doctor->events, sizeof *doctor->events);
	doctor->events = NULL;
}

static void doctor_free(struct doctor *doctor)
{
	struct examination *examination;

	while ((examination = LIST_FIRST(&doctor->examinations))) {
		LIST_REMOVE(examination, list);
		free(examination);
	}
	doctor_child_free(doctor->child);
	events_free(doctor);
	sd_event_source_disable_unref(doctor->source_timer);
	sd_event_source_disable_unref(doctor->exit);
	at_work = NULL;
	free(doctor);
}

static void part_ended(struct doctor *doctor)
{
	if (--doctor->pending > 0)
		return;
	control_end(doctor->reply);
	doctor_free(doctor);
}

/* on_daemon_exit - the loop turns no more; executors' probes are ended by their owners without a
 * word. */
static int on_daemon_exit(sd_event_source *source, void *data)
{
	struct doctor *doctor = data;

	(void)source;
	control_fail(doctor->reply, ESHUTDOWN, "the daemon is stopping");
	doctor_free(doctor);
	return 0;
}

/* ------------------------------------------------------------------------------------ executors */

static void on_probe(void *data, enum lsn_probe_level level, const char *what, const char *remedy)
{
	struct examination *examination = data;
	send_row(examination->doctor, level, examination->area, what, remedy);
}

static void on_probe_end(void *data)
{
	struct examination *examination = data;
	struct doctor *doctor = examination->doctor;

	LIST_REMOVE(examination, list);
	free(examination);
	part_ended(doctor);
}

static void examine_executor(void *data, struct executor *executor)
{
	struct doctor *doctor = data;
	struct examination *examination = calloc(1, sizeof *examination);

	if (!examination)
		return;
	examination->doctor = doctor;
	(void)snprintf(examination->area, sizeof examination->area, "%s", executor_name(executor));
	LIST_INSERT_HEAD(&doctor->examinations, examination, list);
	doctor->pending++;
	int r = executor_probe(executor, on_probe, on_probe_end, examination);
	if (r >= 0)
		return;
	send_row(doctor, r == -ENOSYS ? LSN_PROBE_OK : LSN_PROBE_FAILURE, examination->area,
		 r == -ENOSYS ? "loaded; offers no probe of its own" : "its probe cannot be started",
		 "see the daemon's log");
	on_probe_end(examination);
}

/* ----------------------------------------------------------------------------------- the source */

static void source_figures(const struct doctor *doctor, struct source_figures *ret)
{
	*ret = (struct source_figures){ 0 };
	doctor->daemon->source->ops->figures(doctor->daemon->source, ret);
}

/* A reload may have put another source in the old one's place: its figures differ, too. */
static int on_source_timer(sd_event_source *timer, uint64_t usec, void *data)
{
	struct doctor *doctor = data;
	struct source_figures figures;

	stall_source("control", "doctor");
	(void)usec;
	source_figures(doctor, &figures);
	bool answered = figures.scans != doctor->source_scans || figures.errors != doctor->source_errors;
	if (!answered && now_monotonic_usec() < doctor->source_until_usec) {
		(void)sd_event_source_set_time_relative(timer, SOURCE_STEP_USEC);
		(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
		return 0;
	}
	doctor_source(&doctor->sink, doctor->daemon, answered);
	part_ended(doctor);
	return 0;
}

static void examine_source(struct doctor *doctor)
{
	struct source_figures figures;

	source_figures(doctor, &figures);
	doctor->source_scans = figures.scans;
	doctor->source_errors = figures.errors;
	doctor->source_until_usec = now_monotonic_usec() + SOURCE_LIMIT_USEC;
	if (sd_event_add_time_relative(doctor->daemon->loop, &doctor->source_timer, CLOCK_MONOTONIC, SOURCE_STEP_USEC,
				       0, on_source_timer, doctor) < 0)
		return;
	doctor->pending++;
	doctor->daemon->source->ops->rescan(doctor->daemon->source);
}

/* ---------------------------------------------------------------------------------- what blocks */

static void measure(const struct doctor_sink *sink, const void *data)
{
	const struct doctor *doctor = data;
	const struct config *config = doctor->daemon->config;

	doctor_disk(sink, config->journal.path);
	if (doctor->events)
		doctor_reach(sink, &config->broker, doctor->events, REACH_LIMIT_USEC);
	doctor_broker(sink, &config->broker, config->payload_max_bytes, BROKER_LIMIT_USEC);
}

/* expect_events - a daemon that reads nothing just now would miss all of them. */
static void expect_events(struct doctor *doctor)
{
	struct broker_figures figures = { 0 };

	if (doctor->daemon->broker)
		broker_get_figures(doctor->daemon->broker, &figures);
	if (figures.state != BROKER_CONNECTED)
		return;
	void *page = mmap(NULL, sizeof *doctor->events, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	doctor->events = page;
	if (getrandom(&doctor->events->token, sizeof doctor->events->token, GRND_NONBLOCK) < 0)
		doctor->events->token = now_realtime_usec();
	intake_expect(doctor->daemon->intake, doctor->events);
}

static void on_measured(void *data)
{
	struct doctor *doctor = data;

	doctor->child = NULL;
	part_ended(doctor);
}

static void start_measuring(struct doctor *doctor)
{
	doctor->pending++;
	expect_events(doctor);
	int r = doctor_child_start(doctor->daemon->loop, measure, doctor, CHILD_LIMIT_USEC, &doctor->sink, on_measured,
				   &doctor->child);
	if (r >= 0)
		return;
	doctor_report(&doctor->sink, LSN_PROBE_FAILURE, "doctor",
		      "let other programs use less memory and fewer processes, then ask again",
		      "cannot start measuring disk and broker: %s", strerror(-r));
	part_ended(doctor);
}

/* ---------------------------------------------------------------------------------- the command */

static void examine(struct doctor *doctor)
{
	const struct daemon *daemon = doctor->daemon;

	doctor_config(&doctor->sink, daemon);
	doctor_limits(&doctor->sink, daemon->config);
	doctor_loop(&doctor->sink);
	doctor_clock(&doctor->sink, daemon->started_realtime_usec, daemon->started_monotonic_usec);
	doctor_journal(&doctor->sink, daemon);
	doctor_connection(&doctor->sink, daemon);
	examine_source(doctor);
	start_measuring(doctor);
	executors_each(daemon->executors, examine_executor, doctor);
}

void command_doctor(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = { NULL };
	struct daemon *daemon = data;
	struct doctor *doctor;

	if (!reply_known_keys(reply, request, keys))
		return;
	if (at_work) {
		control_fail(reply, EBUSY, "another examination is under way");
		return;
	}
	doctor = calloc(1, sizeof *doctor);
	if (!doctor || sd_event_add_exit(daemon->loop, &doctor->exit, on_daemon_exit, doctor) < 0) {
		free(doctor);
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	at_work = doctor;
	doctor->daemon = daemon;
	doctor->reply = reply;
	doctor->sink = (struct doctor_sink){ .row = send_row, .data = doctor };
	doctor->pending = 1; /* this function */
	examine(doctor);
	part_ended(doctor);
}
