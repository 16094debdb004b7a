/* page_explain.c - would an event with this topic run a script, and why not? Of one script the
 * ladder, of all scripts those that run, wait, or nearly match. */
#include "pages.h"

#include "html.h"
#include "listing.h"
#include "value.h"
#include "visit.h"

static json_t *explain_question(const struct visit *visit, size_t index)
{
	if (index || !*visit_argument(visit, "topic"))
		return NULL;
	json_t *question = visit_command("explain");
	visit_ask_text(visit, question, "topic", "topic");
	visit_ask_text(visit, question, "script", "script");
	return question;
}

static void explain_form(struct html *html, const struct visit *visit)
{
	html_raw(html, "<form method=\"get\" action=\"/explain\" role=\"search\">\n");
	listing_field(html, visit, "topic", "Topic of an event");
	listing_field(html, visit, "script", "Script (empty: all)");
	html_raw(html, "<button>Ask</button></form>\n");
}

static void explain_step(struct html *html, const json_t *step)
{
	if (value_true(step, "ok"))
		html_raw(html, "<li class=\"ok\"><span aria-hidden=\"true\">&#10003;</span> yes, ");
	else
		html_raw(html, "<li class=\"failed\"><span aria-hidden=\"true\">&#10005;</span> no, ");
	value_text(html, step, "rung", VALUE_CELL_BYTES);
	html_raw(html, ": ");
	value_text(html, step, "text", VALUE_WHOLE_BYTES);
	html_raw(html, "</li>\n");
}

static void explain_one(struct html *html, const json_t *answer)
{
	size_t i;
	const json_t *step;
	html_raw(html, "<p><strong>");
	value_text(html, answer, "why", VALUE_WHOLE_BYTES);
	html_raw(html, "</strong></p>\n<ol class=\"ladder\">\n");
	json_array_foreach (json_object_get(answer, "ladder"), i, step) {
		explain_step(html, step);
	}
	html_raw(html, "</ol>\n");
	listing_jobs(html, json_object_get(answer, "jobs"), SIZE_MAX, "Its latest jobs");
}

static void explain_row(struct html *html, const json_t *row)
{
	html_raw(html, "<tr><td data-label=\"Script\">");
	listing_script(html, row, "script");
	html_raw(html, "</td><td data-label=\"Answer\">");
	value_text(html, row, "verdict", VALUE_CELL_BYTES);
	html_raw(html, "</td><td data-label=\"Filter\">");
	value_text(html, row, "filter", VALUE_CELL_BYTES);
	html_raw(html, "</td><td data-label=\"Why\">");
	value_text(html, row, "why", VALUE_CELL_BYTES);
	html_raw(html, "</td></tr>\n");
}

static void explain_counts(struct html *html, const json_t *last)
{
	html_raw(html, "<p>Runs ");
	value_number(html, last, "runs");
	html_raw(html, ", waits ");
	value_number(html, last, "waits");
	html_raw(html, ", nearly matches ");
	value_number(html, last, "nearly");
	html_raw(html, ", does not match ");
	value_number(html, last, "others");
	html_raw(html, ".</p>\n<p>");
	value_text(html, last, "arrived_why", VALUE_WHOLE_BYTES);
	html_raw(html, "</p>\n<p>");
	value_text(html, last, "taken_why", VALUE_WHOLE_BYTES);
	html_raw(html, "</p>\n");
}

static void explain_all(struct html *html, const json_t *rows, const json_t *last)
{
	size_t i;
	const json_t *row;
	explain_counts(html, last);
	if (!json_array_size(rows))
		return;
	html_raw(html,
		 "<table class=\"cards\"><caption>Scripts</caption>\n<thead><tr><th scope=\"col\">Script</th>"
		 "<th scope=\"col\">Answer</th><th scope=\"col\">Filter</th><th scope=\"col\">Why</th></tr></thead>\n"
		 "<tbody>\n");
	json_array_foreach (rows, i, row) {
		explain_row(html, row);
	}
	html_raw(html, "</tbody></table>\n");
}

static void explain_show(struct html *html, struct visit *visit)
{
	const json_t *last = visit_last(visit, 0);
	explain_form(html, visit);
	if (!last)
		html_raw(html, "<p>An event with this topic: which scripts would run, and why not the others?</p>\n");
	else if (*visit_argument(visit, "script"))
		explain_one(html, last);
	else
		explain_all(html, visit_rows(visit, 0), last);
}

const struct page page_explain = {
	.path = "/explain",
	.title = "Explain",
	.questions = { .next = explain_question },
	.show = explain_show,
};
