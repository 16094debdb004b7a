/* page_about.c - versions, the broker, the source of scripts, executors with their details. */
#include "pages.h"

#include "html.h"
#include "listing.h"
#include "value.h"
#include "visit.h"

static json_t *about_question(const struct visit *visit, size_t index)
{
	(void)visit;
	return index == 0 ? visit_command("status") : index == 1 ? visit_command("executors") : NULL;
}

static void about_text(struct html *html, const json_t *row, const char *title, const char *key)
{
	listing_fact(html, title);
	value_text(html, row, key, VALUE_CELL_BYTES);
	listing_fact_end(html);
}

static void about_daemon(struct html *html, const json_t *status)
{
	html_raw(html, "<h2>Daemon</h2>\n<dl>\n");
	about_text(html, status, "Version", "version");
	about_text(html, status, "Identity", "identity");
	about_text(html, status, "Configuration", "config");
	listing_fact(html, "Started");
	value_time(html, status, "started_realtime_usec");
	listing_fact_end(html);
	html_raw(html, "</dl>\n");
}

static void about_broker(struct html *html, const json_t *broker)
{
	size_t i;
	const json_t *one;
	html_raw(html, "<h2>Broker</h2>\n<dl>\n");
	about_text(html, broker, "Address", "address");
	about_text(html, broker, "State", "state");
	about_text(html, broker, "Client", "client_id");
	json_array_foreach (json_object_get(broker, "subscriptions"), i, one) {
		listing_fact(html, "Subscription");
		html_raw(html, "<code>");
		value_text(html, one, "filter", VALUE_CELL_BYTES);
		html_raw(html, "</code> ");
		value_text(html, one, "state", VALUE_CELL_BYTES);
		listing_fact_end(html);
	}
	html_raw(html, "</dl>\n");
}

static void about_source(struct html *html, const json_t *source)
{
	html_raw(html, "<h2>Scripts</h2>\n<dl>\n");
	about_text(html, source, "Source", "kind");
	about_text(html, source, "Where", "where");
	about_text(html, source, "State", "state");
	listing_fact(html, "Scanned");
	value_time(html, source, "scanned_realtime_usec");
	listing_fact_end(html);
	html_raw(html, "</dl>\n");
}

static void about_executor(struct html *html, const json_t *row)
{
	const char *key;
	const json_t *value, *details = json_object_get(row, "details");
	html_raw(html, "<h2>Executor ");
	value_text(html, row, "name", VALUE_CELL_BYTES);
	html_raw(html, "</h2>\n<dl>\n");
	about_text(html, row, "Module", "module");
	about_text(html, row, "Version", "version");
	about_text(html, row, "Description", "description");
	about_text(html, row, "Problem", "problem");
	json_object_foreach ((json_t *)(uintptr_t)details, key, value) {
		listing_fact(html, key);
		if (json_is_string(value))
			html_bytes(html, json_string_value(value), json_string_length(value), VALUE_CELL_BYTES);
		listing_fact_end(html);
	}
	html_raw(html, "</dl>\n");
}

static void about_show(struct html *html, struct visit *visit)
{
	size_t i;
	const json_t *row, *status = visit_last(visit, 0);
	about_daemon(html, status);
	about_broker(html, json_object_get(status, "broker"));
	about_source(html, json_object_get(json_object_get(status, "scripts"), "source"));
	json_array_foreach (visit_rows(visit, 1), i, row) {
		about_executor(html, row);
	}
	html_raw(html, "<h2>For other programs</h2>\n<p><a href=\"/healthz\">/healthz</a> for load balancers, "
		       "<a href=\"/metrics\">/metrics</a> for Prometheus. The manual: <code>man listener-web</code>, "
		       "<code>man listenerctl</code>.</p>\n");
}

const struct page page_about = {
	.path = "/about",
	.title = "About",
	.questions = { .next = about_question },
	.show = about_show,
};
