/* page_now.c - what is wrong, what waits, how the last runs went. */
#include "pages.h"

#include "html.h"
#include "listing.h"
#include "plot.h"
#include "value.h"
#include "visit.h"

#define NOW_RUNS 300 /* in the plot */
#define NOW_JOBS 20 /* in the table */

static json_t *now_question(const struct visit *visit, size_t index)
{
	(void)visit;
	switch (index) {
	case 0: return visit_command("status");
	case 1: return json_pack("{s:s, s:i}", "command", "jobs", "limit", NOW_RUNS);
	case 2: return visit_command("holds");
	default: return NULL;
	}
}

static void now_jobs(struct html *html, const json_t *status)
{
	static const struct {
		const char *key, *title;
	} counts[] = { { "queued", "Waiting" },
		       { "held", "Of these held" },
		       { "running", "Running" },
		       { "backoff", "Again later" },
		       { "lost", "Lost" } };
	const json_t *jobs = json_object_get(status, "jobs");
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		listing_fact(html, counts[i].title);
		value_number(html, jobs, counts[i].key);
		listing_fact_end(html);
	}
	listing_fact(html, "Oldest waits");
	value_duration(html, status, "oldest_waiting_usec");
	listing_fact_end(html);
}

static void now_journal(struct html *html, const json_t *journal)
{
	listing_fact(html, "Journal");
	value_size(html, journal, "size_bytes");
	if (value_uint(journal, "size_max_bytes")) {
		html_raw(html, " of ");
		value_size(html, journal, "size_max_bytes");
	}
	listing_fact_end(html);
}

static void now_hold(struct html *html, const json_t *row)
{
	html_raw(html, "<tr><td data-label=\"Hold\">");
	value_text(html, row, "text", VALUE_CELL_BYTES);
	html_raw(html, "</td><td data-label=\"Waiting\">");
	value_number(html, row, "waiting");
	if (value_true(row, "more_waiting"))
		html_raw(html, " and more");
	html_raw(html, "</td><td data-label=\"Since\">");
	value_time(html, row, "since_realtime_usec");
	html_raw(html, "</td><td data-label=\"Until\">");
	value_time(html, row, "until_realtime_usec");
	html_raw(html, "</td></tr>\n");
}

static void now_holds(struct html *html, const json_t *rows)
{
	size_t i;
	const json_t *row;
	if (!json_array_size(rows))
		return;
	html_raw(html,
		 "<table class=\"cards\"><caption>Holds: jobs that wait until somebody lets them go on</caption>\n"
		 "<thead><tr><th scope=\"col\">Hold</th><th scope=\"col\">Waiting</th>"
		 "<th scope=\"col\">Since</th><th scope=\"col\">Until</th></tr></thead>\n<tbody>\n");
	json_array_foreach (rows, i, row) {
		now_hold(html, row);
	}
	html_raw(html, "</tbody></table>\n");
}

static void now_figures(struct html *html, const json_t *status)
{
	const json_t *counters = json_object_get(status, "counters");
	html_raw(html, "<dl class=\"figures\">\n");
	listing_fact(html, "State");
	value_text(html, status, "state", VALUE_CELL_BYTES);
	listing_fact_end(html);
	now_jobs(html, status);
	listing_fact(html, "Events since the start");
	value_number(html, counters, "events");
	listing_fact_end(html);
	listing_fact(html, "Jobs ended since the start");
	value_number(html, counters, "finished");
	listing_fact_end(html);
	listing_fact(html, "Broker");
	value_text(html, json_object_get(status, "broker"), "state", VALUE_CELL_BYTES);
	listing_fact_end(html);
	now_journal(html, json_object_get(status, "journal"));
	html_raw(html, "</dl>\n");
}

static void now_show(struct html *html, struct visit *visit)
{
	const json_t *status = visit_last(visit, 0), *jobs = visit_rows(visit, 1);
	listing_conditions(html, json_object_get(status, "conditions"));
	now_figures(html, status);
	now_holds(html, visit_rows(visit, 2));
	plot_runs(html, jobs);
	listing_jobs(html, jobs, NOW_JOBS, "Latest jobs");
}

const struct page page_now = {
	.path = "/",
	.title = "Now",
	.questions = { .next = now_question },
	.show = now_show,
};
