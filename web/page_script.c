/* page_script.c - one script: its settings, its last runs, its last failure, and the question
 * whether it would run. */
#include "pages.h"

#include "html.h"
#include "listing.h"
#include "plot.h"
#include "value.h"
#include "visit.h"

#define SCRIPT_RUNS 200 /* in the plot */
#define SCRIPT_JOBS 50 /* in the table */

static json_t *script_question(const struct visit *visit, size_t index)
{
	switch (index) {
	case 0: return json_pack("{s:s, s:s}", "command", "scripts", "name", visit->rest);
	case 1: return json_pack("{s:s, s:s, s:i}", "command", "jobs", "script", visit->rest, "limit", SCRIPT_RUNS);
	case 2:
		return json_pack("{s:s, s:s, s:b, s:i}", "command", "jobs", "script", visit->rest, "failed", 1, "limit",
				 1);
	case 3: return json_pack("{s:s, s:s}", "command", "stats", "script", visit->rest);
	default: return NULL;
	}
}

static void script_text(struct html *html, const json_t *row, const char *title, const char *key)
{
	if (!*value_string(row, key))
		return;
	listing_fact(html, title);
	value_text(html, row, key, VALUE_WHOLE_BYTES);
	listing_fact_end(html);
}

static void script_limits(struct html *html, const json_t *row)
{
	listing_fact(html, "Time limit");
	value_duration(html, row, "timeout_usec");
	listing_fact_end(html);
	listing_fact(html, "Memory limit");
	value_size(html, row, "memory_bytes");
	listing_fact_end(html);
	listing_fact(html, "Retries");
	value_number(html, row, "retries");
	listing_fact_end(html);
}

static void script_settings(struct html *html, const json_t *row)
{
	html_raw(html, "<dl>\n");
	script_text(html, row, "State", "state");
	script_text(html, row, "Reason", "reason");
	listing_fact(html, "Topics");
	value_join(html, row, "topics");
	listing_fact_end(html);
	script_text(html, row, "Version", "version");
	script_text(html, row, "Executor", "executor");
	script_text(html, row, "Output", "output");
	script_text(html, row, "When lost", "on_lost");
	if (value_uint(row, "timeout_usec"))
		script_limits(html, row);
	listing_fact(html, "Updated");
	value_time(html, row, "updated_realtime_usec");
	listing_fact_end(html);
	html_raw(html, "</dl>\n");
}

static void script_outcomes(struct html *html, const json_t *outcomes)
{
	const char *word;
	json_t *count;
	json_object_foreach ((json_t *)(uintptr_t)outcomes, word, count) {
		html_raw(html, ", ");
		html_text(html, word);
		html_raw(html, " ");
		html_number(html, (uint64_t)json_integer_value(count));
	}
}

static void script_figures(struct html *html, const json_t *figures)
{
	if (!value_uint(figures, "jobs"))
		return;
	html_raw(html, "<h2>Since the daemon's start</h2>\n<dl>\n");
	listing_fact(html, "Jobs");
	value_number(html, figures, "jobs");
	script_outcomes(html, json_object_get(figures, "outcomes"));
	listing_fact_end(html);
	listing_fact(html, "Half of the runs took at most");
	value_duration(html, figures, "took_median_usec");
	html_raw(html, ", 95 % at most ");
	value_duration(html, figures, "took_95_usec");
	listing_fact_end(html);
	listing_fact(html, "Half of the jobs waited at most");
	value_duration(html, figures, "delay_median_usec");
	html_raw(html, ", 95 % at most ");
	value_duration(html, figures, "delay_95_usec");
	listing_fact_end(html);
	html_raw(html, "</dl>\n");
}

static void script_form(struct html *html, const struct visit *visit)
{
	html_raw(html, "<h2>Would it run?</h2>\n<form method=\"get\" action=\"/explain\">\n"
		       "<input type=\"hidden\" name=\"script\" value=\"");
	html_text(html, visit->rest);
	html_raw(html, "\">\n");
	listing_field(html, visit, "topic", "Topic of an event");
	html_raw(html, "<button>Ask</button></form>\n");
}

static void script_failure(struct html *html, const json_t *jobs)
{
	const json_t *job = json_array_get(jobs, 0);
	if (!job)
		return;
	html_raw(html, "<h2>Last failure</h2>\n<p>Job ");
	listing_job(html, job, "id");
	html_raw(html, ": ");
	listing_outcome(html, job);
	html_raw(html, ", ");
	value_time(html, job, "finished_realtime_usec");
	html_raw(html, ". ");
	value_text(html, job, "message", VALUE_WHOLE_BYTES);
	html_raw(html, "</p>\n");
}

static void script_show(struct html *html, struct visit *visit)
{
	const json_t *row = json_array_get(visit_rows(visit, 0), 0), *jobs = visit_rows(visit, 1);
	html_raw(html, "<h2 class=\"name\">");
	html_text(html, visit->rest);
	html_raw(html, "</h2>\n");
	if (row)
		script_settings(html, row);
	else {
		html_raw(html, "<p class=\"warning box\">No script of this name is known now.</p>\n");
		visit->status = json_array_size(jobs) ? 200 : 404;
	}
	script_figures(html, json_array_get(visit_rows(visit, 3), 0));
	plot_runs(html, jobs);
	script_failure(html, visit_rows(visit, 2));
	script_form(html, visit);
	listing_jobs(html, jobs, SCRIPT_JOBS, "Its latest jobs");
}

const struct page page_script = {
	.path = "/scripts/",
	.title = "Script",
	.questions = { .next = script_question },
	.show = script_show,
};
