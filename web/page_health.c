/* page_health.c - /healthz for load balancers: status 200, or 503 if something has failed, and what
 * it is as text. A warning is no failure. */
#include "pages.h"

#include <string.h>

#include <util.h>
#include <visible.h>

#include "value.h"
#include "visit.h"

static json_t *health_question(const struct visit *visit, size_t index)
{
	(void)visit;
	return index ? NULL : visit_command("conditions");
}

/* health_text - on one line: a condition's text may name what others wrote. */
static void health_text(FILE *out, const char *text)
{
	uint32_t code;
	for (size_t left = strlen(text), size; left; left -= size, text += size) {
		size = visible_decode(text, left, &code);
		if (visible_is_plain(code))
			(void)fwrite(text, 1, size, out);
		else
			(void)putc('?', out);
	}
}

static void health_condition(FILE *out, struct visit *visit, const json_t *row)
{
	if (value_is(row, "level", "failure"))
		visit->status = 503;
	health_text(out, value_string(row, "level"));
	(void)fputs(" ", out);
	health_text(out, value_string(row, "id"));
	(void)fputs(": ", out);
	health_text(out, value_string(row, "text"));
	(void)fputs("\n", out);
}

static void health_print(FILE *out, struct visit *visit)
{
	size_t i;
	const json_t *row;
	const char *error = visit->trouble[0] ? visit->trouble : visit_error(visit);
	if (error) {
		visit->status = 503;
		(void)fputs("failure listenerd-away: ", out);
		health_text(out, error);
		(void)fputs("\n", out);
		return;
	}
	json_array_foreach (visit_rows(visit, 0), i, row) {
		health_condition(out, visit, row);
	}
	if (!json_array_size(visit_rows(visit, 0)))
		(void)fputs("ok\n", out);
}

const struct page page_health = {
	.path = "/healthz",
	.title = "Health",
	.questions = { .next = health_question },
	.print = health_print,
	.type = "text/plain; charset=utf-8",
};
