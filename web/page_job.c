/* page_job.c - one job, as a ladder: arrived, matched, waited, each run, what stands for it. */
#include "pages.h"

#include <stdlib.h>

#include <util.h>

#include "html.h"
#include "listing.h"
#include "value.h"
#include "visit.h"

#define JOB_RUNS_WITH_OUTPUT 3 /* the last; all of it is in the text */

/* job_number - the text as a number; a text that is none is given on, and refused by the daemon. */
static json_t *job_number(const char *text)
{
	uint64_t number;
	return parse_uint(text, INT64_MAX, &number, NULL) == 0 ? json_integer((json_int_t)number) : json_string(text);
}

static json_t *job_question(const struct visit *visit, size_t index)
{
	return index ? NULL : json_pack("{s:s, s:o}", "command", "show", "job", job_number(visit->rest));
}

static void job_arrival(struct html *html, const json_t *job)
{
	listing_fact(html, "Arrived");
	value_time(html, job, "received_realtime_usec");
	html_raw(html, " as event ");
	value_number(html, job, "event");
	html_raw(html, " with topic <code>");
	value_text(html, job, "topic", VALUE_WHOLE_BYTES);
	html_raw(html, "</code> and ");
	value_size(html, job, "payload_bytes");
	listing_fact_end(html);
	listing_fact(html, "Matched");
	html_raw(html, "<code>");
	value_text(html, job, "filter", VALUE_WHOLE_BYTES);
	html_raw(html, "</code> of ");
	listing_script(html, job, "script");
	html_raw(html, ", version <code>");
	value_text(html, job, "version", VALUE_CELL_BYTES);
	html_raw(html, "</code>");
	listing_fact_end(html);
}

static void job_waiting(struct html *html, const json_t *job)
{
	listing_fact(html, "Waited");
	value_duration(html, job, "delay_usec");
	if (*value_string(job, "waits_text")) {
		html_raw(html, ", and waits: ");
		value_text(html, job, "waits_text", VALUE_WHOLE_BYTES);
	}
	listing_fact_end(html);
}

static void job_relatives(struct html *html, const json_t *job)
{
	if (value_uint(job, "replay_of")) {
		listing_fact(html, "Replay of");
		listing_job(html, job, "replay_of");
		listing_fact_end(html);
	}
	if (value_uint(job, "superseded_by")) {
		listing_fact(html, "A later job stands for it");
		listing_job(html, job, "superseded_by");
		listing_fact_end(html);
	}
}

static void job_facts(struct html *html, const json_t *job)
{
	html_raw(html, "<dl>\n");
	listing_fact(html, "Job");
	value_number(html, job, "id");
	html_raw(html, ": ");
	listing_outcome(html, job);
	listing_fact_end(html);
	job_arrival(html, job);
	job_waiting(html, job);
	listing_fact(html, "Executor");
	value_text(html, job, "executor", VALUE_CELL_BYTES);
	html_raw(html, ", place ");
	value_text(html, job, "place", VALUE_CELL_BYTES);
	listing_fact_end(html);
	job_relatives(html, job);
	if (*value_string(job, "message")) {
		listing_fact(html, "Message");
		value_text(html, job, "message", VALUE_WHOLE_BYTES);
		listing_fact_end(html);
	}
	html_raw(html, "</dl>\n");
}

static void job_stream(struct html *html, const json_t *run, const char *title, const char *key, const char *truncated)
{
	size_t size = 0;
	char *bytes = value_decode(run, key, &size);
	free(bytes);
	if (!size)
		return;
	html_raw(html, "<h3>");
	html_text(html, title);
	html_raw(html, "</h3>\n<pre tabindex=\"0\">");
	value_lines(html, run, key, VALUE_WHOLE_BYTES);
	html_raw(html, "</pre>\n");
	if (value_true(run, truncated))
		html_raw(html, "<p class=\"note\">The script printed more than was kept.</p>\n");
}

static void job_run(struct html *html, const json_t *run)
{
	html_raw(html, "<h2>Run ");
	value_number(html, run, "attempt");
	html_raw(html, "</h2>\n<p>");
	value_time(html, run, "started_realtime_usec");
	html_raw(html, " on ");
	value_text(html, run, "executor", VALUE_CELL_BYTES);
	html_raw(html, ", place ");
	value_text(html, run, "place", VALUE_CELL_BYTES);
	html_raw(html, ": <strong>");
	value_text(html, run, "outcome", VALUE_CELL_BYTES);
	html_raw(html, "</strong> after ");
	value_duration(html, run, "duration_usec");
	html_raw(html, ", exit status ");
	value_number(html, run, "exit_status");
	html_raw(html, ", signal ");
	value_number(html, run, "signal");
	html_raw(html, ", at most ");
	value_size(html, run, "max_rss_bytes");
	html_raw(html, " of memory. ");
	if (*value_string(run, "message"))
		value_text(html, run, "message", VALUE_WHOLE_BYTES);
	html_raw(html, "</p>\n");
}

static void job_output(struct html *html, const json_t *job)
{
	html_raw(html, "<p><a href=\"/output/");
	html_number(html, value_uint(job, "id"));
	html_raw(html, "\">The whole output as a text file</a></p>\n");
}

static void job_show(struct html *html, struct visit *visit)
{
	size_t i;
	const json_t *run, *job = visit_last(visit, 0), *runs = json_object_get(job, "runs");
	job_facts(html, job);
	json_array_foreach (runs, i, run) {
		job_run(html, run);
		if (!visit->site->output || i + JOB_RUNS_WITH_OUTPUT < json_array_size(runs))
			continue;
		job_stream(html, run, "Standard output", "out", "out_truncated");
		job_stream(html, run, "Standard error", "err", "err_truncated");
	}
	if (visit->site->output)
		job_output(html, job);
	else
		html_raw(html, "<p class=\"note\">What scripts print is not shown here. Start listener-web with "
			       "<code>--output yes</code> to change this.</p>\n");
	html_raw(html, "<p>To see all of it, or run it again, on the machine: <code>listenerctl show ");
	html_number(html, value_uint(job, "id"));
	html_raw(html, "</code>, <code>listenerctl retry ");
	html_number(html, value_uint(job, "id"));
	html_raw(html, "</code></p>\n");
}

const struct page page_job = {
	.path = "/jobs/",
	.title = "Job",
	.questions = { .next = job_question },
	.show = job_show,
};

static json_t *output_question(const struct visit *visit, size_t index)
{
	return visit->site->output ? job_question(visit, index) : NULL;
}

static void output_stream(FILE *out, const json_t *run, const char *key)
{
	size_t size = 0;
	char *bytes = value_decode(run, key, &size);
	if (bytes && size)
		(void)fwrite(bytes, 1, size, out);
	free(bytes);
}

static void output_print(FILE *out, struct visit *visit)
{
	size_t i;
	const json_t *run;
	if (!visit->site->output) {
		visit->status = 403;
		(void)fputs("What scripts print is not shown here.\n", out);
	}
	json_array_foreach (json_object_get(visit_last(visit, 0), "runs"), i, run) {
		(void)fprintf(out, "==== run %zu, standard output\n", i + 1);
		output_stream(out, run, "out");
		(void)fprintf(out, "==== run %zu, standard error\n", i + 1);
		output_stream(out, run, "err");
	}
}

const struct page page_output = {
	.path = "/output/",
	.title = "Output",
	.questions = { .next = output_question },
	.print = output_print,
	.type = "text/plain; charset=utf-8",
	.download = "output.txt",
};
