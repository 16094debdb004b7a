/* visit.c - see visit.h. */
#include "visit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <util.h>

struct visit *visit_new(const struct site *site)
{
	struct visit *visit = calloc(1, sizeof *visit);
	if (visit) {
		visit->site = site;
		visit->status = 200;
	}
	return visit;
}

void visit_free(struct visit *visit)
{
	if (!visit)
		return;
	for (size_t i = 0; i < visit->argument_count; i++) {
		free(visit->arguments[i].name);
		free(visit->arguments[i].value);
	}
	for (size_t i = 0; i < VISIT_QUESTIONS_MAX; i++) {
		json_decref(visit->answers[i].rows);
		json_decref(visit->answers[i].last);
	}
	free(visit->path);
	free(visit);
}

const char *visit_argument(const struct visit *visit, const char *name)
{
	for (size_t i = 0; i < visit->argument_count; i++)
		if (streq(visit->arguments[i].name, name))
			return visit->arguments[i].value;
	return "";
}

int visit_add_argument(struct visit *visit, const char *name, const char *value)
{
	if (visit->argument_count == VISIT_ARGUMENTS_MAX)
		return -E2BIG;
	struct argument *argument = &visit->arguments[visit->argument_count++];
	argument->name = strdup(name);
	argument->value = strdup(value);
	return argument->name && argument->value ? 0 : -ENOMEM;
}

json_t *visit_question(const struct visit *visit)
{
	if (visit->answer_count == VISIT_QUESTIONS_MAX || !visit->questions->next || visit_error(visit))
		return NULL;
	return visit->questions->next(visit, visit->answer_count);
}

static void visit_take_row(struct visit *visit, struct answer *answer, json_t *row, size_t size)
{
	const struct questions *questions = visit->questions;
	if (questions->keep && !questions->keep(visit, visit->answer_count, row)) {
		json_decref(row);
		return;
	}
	if (!answer->rows)
		answer->rows = json_array();
	if (json_array_size(answer->rows) >= VISIT_ROWS_MAX || visit->rows_bytes + size > VISIT_ROWS_BYTES_MAX) {
		answer->cut = true;
		json_decref(row);
		return;
	}
	visit->rows_bytes += size;
	if (json_array_append_new(answer->rows, row) < 0)
		answer->cut = true;
}

bool visit_take(struct visit *visit, json_t *object, size_t size)
{
	struct answer *answer = &visit->answers[visit->answer_count];
	if (!json_is_true(json_object_get(object, "end"))) {
		visit_take_row(visit, answer, object, size);
		return false;
	}
	answer->last = object;
	const json_t *error = json_object_get(object, "error");
	if (json_is_object(error)) {
		const char *message = json_string_value(json_object_get(error, "message"));
		answer->error = message ? message : "an error without a message";
	}
	visit->answer_count++;
	return true;
}

const json_t *visit_rows(const struct visit *visit, size_t index)
{
	return index < visit->answer_count ? visit->answers[index].rows : NULL;
}

const json_t *visit_last(const struct visit *visit, size_t index)
{
	return index < visit->answer_count && !visit->answers[index].error ? visit->answers[index].last : NULL;
}

const char *visit_error(const struct visit *visit)
{
	for (size_t i = 0; i < visit->answer_count; i++)
		if (visit->answers[i].error)
			return visit->answers[i].error;
	return NULL;
}

json_t *visit_command(const char *command) { return json_pack("{s:s}", "command", command); }

void visit_ask_text(const struct visit *visit, json_t *question, const char *key, const char *name)
{
	const char *value = visit_argument(visit, name);
	if (*value)
		(void)json_object_set_new(question, key, json_string(value));
}
