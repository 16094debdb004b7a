/* waits.h - what a job waits for, in the words of docs/control.md: the dispatcher's answer, and the
 * journal's, without which nothing starts. */
#ifndef CORE_WAITS_H
#define CORE_WAITS_H

#include "wiring.h"

/* waits_foresee - for a job of SCRIPT about OBJECT that came now; RET->text is "" if it would start
 * at once. */
void waits_foresee(const struct daemon *daemon, const struct script *script, uint64_t object, struct wait *ret);

/* waits_add - `waits_for` and `waits_text` of ROW's job into OBJECT; both are "" if it does not
 * wait. */
void waits_add(const struct daemon *daemon, json_t *object, const struct journal_job_row *row);

#endif
