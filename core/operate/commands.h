/* commands.h - the control commands of docs/control.md, one function each, and the rows they
 * share. */
#ifndef CORE_COMMANDS_H
#define CORE_COMMANDS_H

#include "wiring.h"

void command_events(void *daemon, const json_t *request, struct control_reply *reply);
void command_explain(void *daemon, const json_t *request, struct control_reply *reply);
void command_jobs(void *daemon, const json_t *request, struct control_reply *reply);
void command_show(void *daemon, const json_t *request, struct control_reply *reply);
void command_rejected(void *daemon, const json_t *request, struct control_reply *reply);
void command_doctor(void *daemon, const json_t *request, struct control_reply *reply);
void command_holds(void *daemon, const json_t *request, struct control_reply *reply);
void command_pause(void *daemon, const json_t *request, struct control_reply *reply);
void command_resume(void *daemon, const json_t *request, struct control_reply *reply);
void command_release(void *daemon, const json_t *request, struct control_reply *reply);
void command_test(void *daemon, const json_t *request, struct control_reply *reply);
void command_retry(void *daemon, const json_t *request, struct control_reply *reply);
void command_replay(void *daemon, const json_t *request, struct control_reply *reply);
void command_cancel(void *daemon, const json_t *request, struct control_reply *reply);

extern const struct control_command daemon_commands[]; /* of docs/control.md */

/* job_object - a row of `jobs`. */
json_t *job_object(const struct daemon *daemon, const struct journal_job_row *row);

/* run_object - one of `runs` in `show`. */
json_t *run_object(const struct journal_run_row *row);

/* jobs_find - call FN with the row of job ID.
 * 0, or a negative errno with ERR: -ENOENT, or the journal's. */
int jobs_find(struct journal *journal, uint64_t id, bool (*fn)(void *data, const struct journal_job_row *row),
	      void *data, struct lsn_error *err);

#endif
