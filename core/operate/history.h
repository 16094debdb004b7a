/* history.h - questions to the journal's history that may look at a million jobs: asked in steps
 * of a few milliseconds, so that nothing else waits. */
#ifndef CORE_HISTORY_H
#define CORE_HISTORY_H

#include "control.h"
#include "journal.h"

struct history_question {
	struct journal *journal;
	struct control_reply *reply;
	struct journal_query query; /* its strings are the request's */
	bool (*row)(void *data, const struct journal_job_row *row); /* false: enough */
	/* end - all rows were given (R 0), or the journal failed (R negative, with ERR): ends
	 * the reply, frees DATA. */
	void (*end)(void *data, struct control_reply *reply, int r, const struct lsn_error *err);
	/* instead of end(), if nobody is left to answer; NULL: nothing to free */
	void (*drop)(void *data);
	void *data;
};

/* history_ask - QUESTION is copied; REQUEST stays referenced for as long as its strings are needed.
 * end() or drop() is called once, perhaps from inside. */
void history_ask(const struct history_question *question, const json_t *request);

#endif
