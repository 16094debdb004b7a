/* page_scripts.c - all scripts with their state and the reason for it. */
#include "pages.h"

#include <string.h>

#include "html.h"
#include "layout.h"
#include "listing.h"
#include "value.h"
#include "visit.h"

static json_t *scripts_question(const struct visit *visit, size_t index)
{
	if (index)
		return NULL;
	json_t *question = visit_command("scripts");
	visit_ask_text(visit, question, "state", "state");
	return question;
}

/* scripts_keep - the text is in its name, its reason or one of its topics. */
static bool scripts_keep(const struct visit *visit, size_t index, const json_t *row)
{
	const char *text = visit_argument(visit, "text");
	size_t i;
	const json_t *topic;
	(void)index;
	if (strstr(value_string(row, "name"), text) || strstr(value_string(row, "reason"), text))
		return true;
	json_array_foreach (json_object_get(row, "topics"), i, topic) {
		if (json_is_string(topic) && strstr(json_string_value(topic), text))
			return true;
	}
	return false;
}

static void scripts_form(struct html *html, const struct visit *visit)
{
	static const char *const states[] = { "", "active", "no-topic", "refused", "fetch-failed", NULL };
	html_raw(html, "<form method=\"get\" action=\"/scripts\" role=\"search\">\n");
	listing_field(html, visit, "text", "Name, topic or reason has");
	listing_choice(html, visit, "state", "State", states);
	html_raw(html, "<button>Show</button></form>\n");
}

static void scripts_row(struct html *html, const json_t *row)
{
	html_raw(html, "<tr><td data-label=\"Script\">");
	listing_script(html, row, "name");
	html_raw(html, "</td><td data-label=\"State\">");
	value_text(html, row, "state", VALUE_CELL_BYTES);
	html_raw(html, "</td><td data-label=\"Topics\">");
	value_join(html, row, "topics");
	html_raw(html, "</td><td data-label=\"Executor\">");
	value_text(html, row, "executor", VALUE_CELL_BYTES);
	html_raw(html, "</td><td data-label=\"Updated\">");
	value_time(html, row, "updated_realtime_usec");
	html_raw(html, "</td><td data-label=\"Reason\">");
	if (*value_string(row, "reason"))
		value_text(html, row, "reason", VALUE_CELL_BYTES);
	html_raw(html, "</td></tr>\n");
}

static void scripts_show(struct html *html, struct visit *visit)
{
	size_t i;
	const json_t *row, *rows = visit_rows(visit, 0);
	scripts_form(html, visit);
	if (!json_array_size(rows)) {
		html_raw(html, "<p>No scripts.</p>\n");
		return;
	}
	html_raw(html, "<table class=\"cards\"><caption>Scripts</caption>\n<thead><tr><th scope=\"col\">Script</th>"
		       "<th scope=\"col\">State</th><th scope=\"col\">Topics</th><th scope=\"col\">Executor</th>"
		       "<th scope=\"col\">Updated</th><th scope=\"col\">Reason</th></tr></thead>\n<tbody>\n");
	json_array_foreach (rows, i, row) {
		scripts_row(html, row);
	}
	html_raw(html, "</tbody></table>\n");
	layout_cut(html, visit, 0);
}

const struct page page_scripts = {
	.path = "/scripts",
	.title = "Scripts",
	.questions = { .next = scripts_question, .keep = scripts_keep },
	.show = scripts_show,
};
