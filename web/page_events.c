/* page_events.c - what arrived lately and what became of it. */
#include "pages.h"

#include "html.h"
#include "listing.h"
#include "value.h"
#include "visit.h"

#define EVENTS_LIMIT 200

static json_t *events_question(const struct visit *visit, size_t index)
{
	if (index)
		return NULL;
	json_t *question = json_pack("{s:s, s:i}", "command", "events", "limit", EVENTS_LIMIT);
	visit_ask_text(visit, question, "topic", "topic");
	visit_ask_text(visit, question, "decision", "decision");
	return question;
}

static void events_form(struct html *html, const struct visit *visit)
{
	static const char *const decisions[] = { "",         "matched",  "unmatched", "shielded",
						 "retained", "repeated", "rejected",  NULL };
	html_raw(html, "<form method=\"get\" action=\"/events\" role=\"search\">\n");
	listing_field(html, visit, "topic", "Topic filter");
	listing_choice(html, visit, "decision", "Decision", decisions);
	html_raw(html, "<button>Show</button></form>\n");
}

static void events_row(struct html *html, const json_t *row)
{
	html_raw(html, "<tr><td data-label=\"Time\">");
	value_time(html, row, "time_realtime_usec");
	html_raw(html, "</td><td data-label=\"Decision\">");
	value_text(html, row, "decision", VALUE_CELL_BYTES);
	html_raw(html, "</td><td data-label=\"Jobs\">");
	value_number(html, row, "jobs");
	html_raw(html, "</td><td data-label=\"Topic\">");
	value_text(html, row, "topic", VALUE_CELL_BYTES);
	html_raw(html, "</td><td><a href=\"/explain?topic=");
	html_segment(html, value_string(row, "topic"));
	html_raw(html, "\">Explain</a></td></tr>\n");
}

static void events_reach(struct html *html, const json_t *last)
{
	html_raw(html, "<p class=\"note\">The record reaches back to ");
	value_time(html, last, "reach_realtime_usec");
	html_raw(html, ".</p>\n");
}

static void events_show(struct html *html, struct visit *visit)
{
	size_t i;
	const json_t *row, *rows = visit_rows(visit, 0);
	events_form(html, visit);
	if (!json_array_size(rows))
		html_raw(html, "<p>No events.</p>\n");
	else {
		html_raw(html, "<table class=\"cards\"><caption>Events, newest first</caption>\n<thead><tr>"
			       "<th scope=\"col\">Time</th><th scope=\"col\">Decision</th><th scope=\"col\">Jobs</th>"
			       "<th scope=\"col\">Topic</th><th scope=\"col\">Question</th></tr></thead>\n<tbody>\n");
		json_array_foreach (rows, i, row) {
			events_row(html, row);
		}
		html_raw(html, "</tbody></table>\n");
	}
	events_reach(html, visit_last(visit, 0));
}

const struct page page_events = {
	.path = "/events",
	.title = "Events",
	.questions = { .next = events_question },
	.show = events_show,
};
