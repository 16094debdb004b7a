/* listing.c - see listing.h. */
#include "listing.h"

#include <string.h>

#include <util.h>

#include "value.h"

void listing_script(struct html *html, const json_t *row, const char *key)
{
	html_raw(html, "<a href=\"/scripts/");
	html_segment(html, value_string(row, key));
	html_raw(html, "\">");
	value_text(html, row, key, VALUE_CELL_BYTES);
	html_raw(html, "</a>");
}

void listing_job(struct html *html, const json_t *row, const char *key)
{
	uint64_t job = value_uint(row, key);
	if (!job) {
		html_raw(html, "-");
		return;
	}
	html_raw(html, "<a href=\"/jobs/");
	html_number(html, job);
	html_raw(html, "\">");
	html_number(html, job);
	html_raw(html, "</a>");
}

bool listing_failed(const json_t *job)
{
	if (value_is(job, "state", "lost"))
		return true;
	return value_is(job, "state", "finished") && !value_is(job, "outcome", "success") &&
	       !value_is(job, "outcome", "cancelled");
}

void listing_outcome(struct html *html, const json_t *job)
{
	bool ended = value_is(job, "state", "finished");
	if (listing_failed(job))
		html_raw(html, "<span class=\"failed\"><span aria-hidden=\"true\">&#10005;</span> ");
	else if (ended)
		html_raw(html, "<span class=\"ok\"><span aria-hidden=\"true\">&#9679;</span> ");
	else
		html_raw(html, "<span class=\"waits\"><span aria-hidden=\"true\">&#8230;</span> ");
	value_text(html, job, ended ? "outcome" : "state", VALUE_CELL_BYTES);
	html_raw(html, "</span>");
}

/* listing_remark - why it waits, or what went wrong. */
static void listing_remark(struct html *html, const json_t *job)
{
	const char *key = *value_string(job, "waits_text") ? "waits_text" : "message";
	if (*value_string(job, key))
		value_text(html, job, key, VALUE_CELL_BYTES);
}

static void listing_row(struct html *html, const json_t *job)
{
	html_raw(html, "<tr><td data-label=\"Job\">");
	listing_job(html, job, "id");
	html_raw(html, "</td><td data-label=\"Received\">");
	value_time(html, job, "received_realtime_usec");
	html_raw(html, "</td><td data-label=\"Outcome\">");
	listing_outcome(html, job);
	html_raw(html, "</td><td data-label=\"Script\">");
	listing_script(html, job, "script");
	html_raw(html, "</td><td data-label=\"Topic\">");
	value_text(html, job, "topic", VALUE_CELL_BYTES);
	html_raw(html, "</td><td data-label=\"Ran\">");
	if (value_uint(job, "finished_realtime_usec"))
		value_duration(html, job, "duration_usec");
	else
		html_raw(html, "-");
	html_raw(html, "</td><td data-label=\"Remark\">");
	listing_remark(html, job);
	html_raw(html, "</td></tr>\n");
}

void listing_jobs(struct html *html, const json_t *rows, size_t max, const char *caption)
{
	size_t count = json_array_size(rows);
	if (!count) {
		html_raw(html, "<p>No jobs.</p>\n");
		return;
	}
	html_raw(html, "<table class=\"cards\"><caption>");
	html_text(html, caption);
	html_raw(html, "</caption>\n<thead><tr><th scope=\"col\">Job</th><th scope=\"col\">Received</th>"
		       "<th scope=\"col\">Outcome</th><th scope=\"col\">Script</th><th scope=\"col\">Topic</th>"
		       "<th scope=\"col\">Ran</th><th scope=\"col\">Remark</th></tr></thead>\n<tbody>\n");
	for (size_t i = 0; i < count && i < max; i++)
		listing_row(html, json_array_get(rows, i));
	html_raw(html, "</tbody></table>\n");
}

void listing_conditions(struct html *html, const json_t *conditions)
{
	size_t i;
	const json_t *row;
	if (!json_array_size(conditions)) {
		html_raw(html, "<p class=\"ok box\"><span aria-hidden=\"true\">&#10003;</span> All is well.</p>\n");
		return;
	}
	html_raw(html, "<ul class=\"conditions\">\n");
	json_array_foreach (conditions, i, row) {
		if (value_is(row, "level", "failure"))
			html_raw(html, "<li class=\"failure box\"><strong>Failure:</strong> ");
		else
			html_raw(html, "<li class=\"warning box\"><strong>Warning:</strong> ");
		value_text(html, row, "text", VALUE_WHOLE_BYTES);
		html_raw(html, "<br>What to do: ");
		value_text(html, row, "remedy", VALUE_WHOLE_BYTES);
		if (value_uint(row, "since_realtime_usec")) {
			html_raw(html, "<br>Since ");
			value_time(html, row, "since_realtime_usec");
		}
		html_raw(html, "</li>\n");
	}
	html_raw(html, "</ul>\n");
}

void listing_field(struct html *html, const struct visit *visit, const char *name, const char *label)
{
	html_raw(html, "<label>");
	html_text(html, label);
	html_raw(html, " <input name=\"");
	html_text(html, name);
	html_raw(html, "\" value=\"");
	html_text(html, visit_argument(visit, name));
	html_raw(html, "\"></label>\n");
}

void listing_choice(struct html *html, const struct visit *visit, const char *name, const char *label,
		    const char *const *words)
{
	html_raw(html, "<label>");
	html_text(html, label);
	html_raw(html, " <select name=\"");
	html_text(html, name);
	html_raw(html, "\">");
	for (; *words; words++) {
		html_raw(html, "<option value=\"");
		html_text(html, *words);
		if (streq(*words, visit_argument(visit, name)))
			html_raw(html, "\" selected=\"selected");
		html_raw(html, "\">");
		html_text(html, **words ? *words : "any");
		html_raw(html, "</option>");
	}
	html_raw(html, "</select></label>\n");
}

void listing_fact(struct html *html, const char *title)
{
	html_raw(html, "<div><dt>");
	html_text(html, title);
	html_raw(html, "</dt><dd>");
}

void listing_fact_end(struct html *html) { html_raw(html, "</dd></div>\n"); }
