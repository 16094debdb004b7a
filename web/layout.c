/* layout.c - see layout.h. */
#include "layout.h"

#include <errno.h>
#include <string.h>

#include <place.h>
#include <util.h>

#include "value.h"

#define LAYOUT_REFRESH_SEC 15

static const struct {
	const char *path, *title;
} layout_menu[] = {
	{ "/", "Now" },          { "/scripts", "Scripts" }, { "/jobs", "Jobs" },
	{ "/events", "Events" }, { "/explain", "Explain" }, { "/about", "About" },
};

static void layout_begin(struct html *html, const char *title, const char *path)
{
	html_raw(html, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		       "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
	html_text(html, title);
	html_raw(html, " - Indigo Listener</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n"
		       "<a class=\"skip\" href=\"#main\">To the content</a>\n<header>\n"
		       "<nav aria-label=\"Pages\"><ul>\n");
	for (size_t i = 0; i < ELEMENTSOF(layout_menu); i++) {
		html_raw(html, "<li><a href=\"");
		html_text(html, layout_menu[i].path);
		if (streq(layout_menu[i].path, path))
			html_raw(html, "\" aria-current=\"page");
		html_raw(html, "\">");
		html_text(html, layout_menu[i].title);
		html_raw(html, "</a></li>\n");
	}
	html_raw(html, "</ul></nav>\n</header>\n<main id=\"main\">\n<h1>");
	html_text(html, title);
	html_raw(html, "</h1>\n");
}

static void layout_end(struct html *html)
{
	html_raw(html, "<p>listener-web ");
	html_text(html, LISTENER_VERSION);
	html_raw(html, "</p>\n</footer>\n</body>\n</html>\n");
}

/* layout_again - the address of this page, percent-encoded, with the refresh that the reader wants
 * next. */
static void layout_again(struct html *html, const struct visit *visit)
{
	const char *at = visit->path;
	html_raw(html, "<a href=\"");
	for (size_t size; *at; at += size) {
		char segment[2] = { *at, 0 };
		size = 1;
		if (*at == '/')
			html_raw(html, "/");
		else
			html_segment(html, segment);
	}
	html_raw(html, "?");
	for (size_t i = 0; i < visit->argument_count; i++) {
		if (streq(visit->arguments[i].name, "refresh"))
			continue;
		html_segment(html, visit->arguments[i].name);
		html_raw(html, "=");
		html_segment(html, visit->arguments[i].value);
		html_raw(html, "&amp;");
	}
	if (visit->refresh_sec) {
		html_raw(html, "refresh=0\">Stop looking again</a>");
		return;
	}
	html_raw(html, "refresh=");
	html_number(html, LAYOUT_REFRESH_SEC);
	html_raw(html, "\">Again every ");
	html_number(html, LAYOUT_REFRESH_SEC);
	html_raw(html, " s</a>");
}

static void layout_footer(struct html *html, const struct visit *visit)
{
	html_raw(html, "</main>\n<footer>\n<p>As of ");
	value_html_time(html, visit->now_realtime_usec);
	html_raw(html, ". ");
	layout_again(html, visit);
	html_raw(html, "</p>\n");
	layout_end(html);
}

static void layout_trouble(struct html *html, const struct visit *visit)
{
	html_raw(html,
		 "<div class=\"failure box\" role=\"alert\"><p><strong>No data: listenerd has given no answer since ");
	value_html_time(html, visit->away_since_usec);
	html_raw(html, ".</strong></p>\n<p>Seen: ");
	html_text(html, visit->trouble);
	html_raw(html, "</p>\n<p>On the machine, <code>systemctl status listenerd</code> and "
		       "<code>listenerctl status</code> tell more.</p></div>\n");
}

static void layout_refusal(struct html *html, const char *error)
{
	html_raw(html, "<div class=\"failure box\" role=\"alert\"><p>listenerd refuses the question: ");
	html_bytes(html, error, strlen(error), VALUE_WHOLE_BYTES);
	html_raw(html, "</p></div>\n");
}

/* layout_error_status - what an error of the daemon is for a browser. */
static unsigned layout_error_status(const struct visit *visit)
{
	const json_t *error = json_object_get(visit->answers[visit->answer_count - 1].last, "error");
	switch (value_uint(error, "code")) {
	case ENOENT: return 404;
	case EINVAL: return 400;
	case EACCES: return 403;
	default: return 502;
	}
}

void layout_page(struct html *html, struct visit *visit, const struct layout *layout,
		 void (*body)(struct html *html, struct visit *visit))
{
	const char *error = visit_error(visit);
	layout_begin(html, layout->title, layout->path);
	if (visit->trouble[0]) {
		visit->status = 503;
		layout_trouble(html, visit);
	} else if (error) {
		visit->status = layout_error_status(visit);
		layout_refusal(html, error);
	} else
		body(html, visit);
	layout_footer(html, visit);
}

void layout_message(struct html *html, unsigned status, const char *reason)
{
	layout_begin(html, "No such answer", "");
	html_raw(html, "<div class=\"failure box\"><p>");
	html_text(html, reason);
	html_raw(html, " (status ");
	html_number(html, status);
	html_raw(html, ")</p></div>\n</main>\n<footer>\n");
	layout_end(html);
}

void layout_cut(struct html *html, const struct visit *visit, size_t index)
{
	if (index < visit->answer_count && visit->answers[index].cut)
		html_raw(html, "<p class=\"note\">Not all rows are shown: there are too many for one page. "
			       "Ask for fewer with the form above.</p>\n");
}
