/* doctor.c - `listenerctl doctor`: what is measured rather than guessed. Each part reports rows {level, area, what, remedy} and the answer ends when the last
 * part has. */
#include "commands.h"
#include "reply.h"
#include "util.h"
#include <errno.h>
#include <string.h>

struct doctor {
	struct daemon *daemon;
	struct control_reply *reply;
	unsigned pending; /* parts that have not ended */
};

struct examination { /* one executor's probe */
	struct doctor *doctor;
	char area[EXECUTOR_NAME_SIZE];
};

static void report(struct doctor *doctor, const char *area, enum lsn_probe_level level, const char *what, const char *remedy)
{
	static const char *const levels[] = {[LSN_PROBE_OK] = "ok", [LSN_PROBE_WARNING] = "warning", [LSN_PROBE_FAILURE] = "failure"};
	json_t *object = json_object();

	json_set_string(object, "level", levels[level <= LSN_PROBE_FAILURE ? level : LSN_PROBE_FAILURE]);
	json_set_string(object, "area", area);
	json_set_string(object, "what", what);
	if (remedy && level != LSN_PROBE_OK)
		json_set_string(object, "remedy", remedy);
	control_send(doctor->reply, object);
}

static void part_ended(struct doctor *doctor)
{
	if (--doctor->pending > 0)
		return;
	control_end(doctor->reply);
	free(doctor);
}

static void on_probe(void *data, enum lsn_probe_level level, const char *what, const char *remedy)
{
	struct examination *examination = data;
	report(examination->doctor, examination->area, level, what, remedy);
}

static void on_probe_end(void *data)
{
	struct examination *examination = data;
	part_ended(examination->doctor);
	free(examination);
}

static void examine_executor(void *data, struct executor *executor)
{
	struct doctor *doctor = data;
	struct examination *examination = calloc(1, sizeof *examination);

	if (!examination)
		return;
	examination->doctor = doctor;
	(void)snprintf(examination->area, sizeof examination->area, "%s", executor_name(executor));
	doctor->pending++;
	int r = executor_probe(executor, on_probe, on_probe_end, examination);
	if (r >= 0)
		return;
	report(doctor, examination->area, r == -ENOSYS ? LSN_PROBE_OK : LSN_PROBE_FAILURE,
	       r == -ENOSYS ? "loaded; offers no probe of its own" : "its probe cannot be started", "see the daemon's log");
	free(examination);
	part_ended(doctor);
}

void command_doctor(void *data, const json_t *request, struct control_reply *reply)
{
	static const char *const keys[] = {NULL};
	struct doctor *doctor;

	if (!reply_known_keys(reply, request, keys))
		return;
	if (!(doctor = calloc(1, sizeof *doctor))) {
		control_fail(reply, ENOMEM, "out of memory");
		return;
	}
	doctor->daemon = data;
	doctor->reply = reply;
	doctor->pending = 1; /* this function */
	executors_each(doctor->daemon->executors, examine_executor, doctor);
	part_ended(doctor);
}
