/* history.c - see history.h. */
#include "history.h"
#include <errno.h>
#include <stdlib.h>
#include <util.h>

#define STEP_USEC (4 * USEC_PER_MSEC)

struct asked {
	struct history_question question;
	struct journal_cursor cursor;
	json_t *request;
};

static void asked_free(struct asked *asked)
{
	json_decref(asked->request);
	free(asked);
}

static bool asked_step(void *data)
{
	struct asked *asked = data;
	const struct history_question *question = &asked->question;
	struct lsn_error err = { 0 };

	int r = journal_ask_jobs(question->journal, &question->query, &asked->cursor, STEP_USEC, question->row,
				 question->data, &err);
	if (r > 0)
		return true;
	question->end(question->data, question->reply, r, &err);
	asked_free(asked);
	return false;
}

static void asked_drop(void *data)
{
	struct asked *asked = data;

	if (asked->question.drop)
		asked->question.drop(asked->question.data);
	asked_free(asked);
}

void history_ask(const struct history_question *question, const json_t *request)
{
	struct asked *asked = calloc(1, sizeof *asked);
	struct lsn_error err;

	if (!asked) {
		(void)lsn_error_set(&err, -ENOMEM, "out of memory");
		question->end(question->data, question->reply, -ENOMEM, &err);
		return;
	}
	asked->question = *question;
	asked->request = json_incref((json_t *)(uintptr_t)request);
	const struct control_stream stream = { .step = asked_step, .drop = asked_drop, .state = asked };
	control_stream(question->reply, &stream);
}
