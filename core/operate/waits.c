/* waits.c - see waits.h. */
#include "waits.h"
#include "dispatcher.h"
#include "job.h"
#include "journal.h"
#include "reply.h"
#include "turn.h"
#include "util.h"

/* waits_for_journal - nothing starts before its intent is stored. */
static bool waits_for_journal(const struct daemon *daemon, struct wait *wait)
{
	const char *error = turn_get_figures(daemon->turn)->error;

	if (error[0])
		(void)snprintf(wait->text, sizeof wait->text, "nothing starts, the journal cannot be written: %s",
			       error);
	return error[0];
}

void waits_foresee(const struct daemon *daemon, const struct script *script, uint64_t object, struct wait *ret)
{
	dispatcher_foresee(daemon->dispatcher, script, object, ret);
	(void)waits_for_journal(daemon, ret);
}

void waits_add(const struct daemon *daemon, json_t *object, const struct journal_job_row *row)
{
	struct wait wait = { 0 };
	bool waits = row->state == JOB_QUEUED || row->state == JOB_BACKOFF, journal = false;

	if (waits)
		dispatcher_get_wait(daemon->dispatcher, row->script, row->id, row->object, &wait);
	if (waits)
		journal = waits_for_journal(daemon, &wait);
	json_set_string(object, "waits_for",
			journal                       ? "journal"
			: wait.reason == WAIT_NOTHING ? ""
						      : wait_reason_names[wait.reason]);
	json_set_string(object, "waits_text", wait.text);
}
