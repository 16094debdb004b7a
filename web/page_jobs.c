/* page_jobs.c - jobs with the filters of `listenerctl jobs`. The address has every filter, so it
 * can be kept or sent. */
#include "pages.h"

#include <util.h>

#include "html.h"
#include "listing.h"
#include "value.h"
#include "visit.h"

#define JOBS_LIMIT 50

static const char *const jobs_texts[] = { "script", "topic", "state", "outcome" };

/* jobs_ask_number - the argument NAME as a number; what is none goes to the daemon as it is, which
 * says so. */
static void jobs_ask_number(const struct visit *visit, json_t *question, const char *name)
{
	uint64_t number;
	const char *text = visit_argument(visit, name);
	if (*text && parse_uint(text, INT64_MAX, &number, NULL) == 0)
		(void)json_object_set_new(question, name, json_integer((json_int_t)number));
	else if (*text)
		(void)json_object_set_new(question, name, json_string(text));
}

static json_t *jobs_question(const struct visit *visit, size_t index)
{
	if (index)
		return NULL;
	json_t *question = json_pack("{s:s, s:i}", "command", "jobs", "limit", JOBS_LIMIT);
	for (size_t i = 0; i < ELEMENTSOF(jobs_texts); i++)
		visit_ask_text(visit, question, jobs_texts[i], jobs_texts[i]);
	if (*visit_argument(visit, "failed"))
		(void)json_object_set_new(question, "failed", json_true());
	if (*visit_argument(visit, "latest"))
		(void)json_object_set_new(question, "latest", json_true());
	jobs_ask_number(visit, question, "before");
	jobs_ask_number(visit, question, "since_realtime_usec");
	jobs_ask_number(visit, question, "until_realtime_usec");
	return question;
}

static void jobs_box(struct html *html, const struct visit *visit, const char *name, const char *label)
{
	html_raw(html, "<label><input type=\"checkbox\" value=\"yes\" name=\"");
	html_text(html, name);
	if (*visit_argument(visit, name))
		html_raw(html, "\" checked=\"checked");
	html_raw(html, "\"> ");
	html_text(html, label);
	html_raw(html, "</label>\n");
}

static void jobs_form(struct html *html, const struct visit *visit)
{
	static const char *const states[] = { "",        "queued",   "starting", "running", "recovering",
					      "backoff", "finished", "lost",     NULL };
	static const char *const outcomes[] = { "",       "success", "failure",     "signal",    "timeout",
						"memory", "cpu",     "output",      "processes", "cancelled",
						"error",  "lost",    "not-started", NULL };
	html_raw(html, "<form method=\"get\" action=\"/jobs\" role=\"search\">\n");
	listing_field(html, visit, "script", "Script");
	listing_field(html, visit, "topic", "Topic filter");
	listing_choice(html, visit, "state", "State", states);
	listing_choice(html, visit, "outcome", "Outcome", outcomes);
	jobs_box(html, visit, "failed", "failed");
	jobs_box(html, visit, "latest", "without those that a later job stands for");
	html_raw(html, "<button>Show</button></form>\n");
}

/* jobs_older - the address of the next page: these filters, and the jobs before the last shown. */
static void jobs_older(struct html *html, const struct visit *visit, const json_t *rows)
{
	size_t count = json_array_size(rows);
	if (count < JOBS_LIMIT)
		return;
	html_raw(html, "<p><a href=\"/jobs?");
	for (size_t i = 0; i < visit->argument_count; i++) {
		if (streq(visit->arguments[i].name, "before") || streq(visit->arguments[i].name, "refresh"))
			continue;
		html_segment(html, visit->arguments[i].name);
		html_raw(html, "=");
		html_segment(html, visit->arguments[i].value);
		html_raw(html, "&amp;");
	}
	html_raw(html, "before=");
	html_number(html, value_uint(json_array_get(rows, count - 1), "id"));
	html_raw(html, "\">Older jobs</a></p>\n");
}

static void jobs_show(struct html *html, struct visit *visit)
{
	const json_t *rows = visit_rows(visit, 0);
	jobs_form(html, visit);
	listing_jobs(html, rows, JOBS_LIMIT, "Jobs, newest first");
	jobs_older(html, visit, rows);
}

const struct page page_jobs = {
	.path = "/jobs",
	.title = "Jobs",
	.questions = { .next = jobs_question },
	.show = jobs_show,
};
