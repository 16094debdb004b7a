/* pages.h - every page there is, and what it is made of. To add a page: a file page_NAME.c with a
 * `const struct page`, its line here, and its place in the table of pages.c. */
#ifndef WEB_PAGES_H
#define WEB_PAGES_H

#include "html.h"
#include "visit.h"

#include <stdbool.h>
#include <stdio.h>

struct page {
	const char *path; /* "/jobs"; one that ends with '/' has names below it: "/jobs/17" */
	const char *title;
	struct questions questions;
	/* show - the body of a page of HTML, when the daemon has answered without an error. */
	void (*show)(struct html *html, struct visit *visit);
	/* print - a text instead, in any case: visit->trouble and visit_error() tell of
	 * failures. */
	void (*print)(FILE *out, struct visit *visit);
	const char *type; /* of the text */
	const char *download; /* the file name that the browser gives it; NULL: it shows it */
	const char *fixed; /* a text that needs no question */
};

extern const struct page page_now, page_scripts, page_script, page_jobs, page_job, page_output, page_events,
	page_explain, page_about, page_health, page_metrics, page_style;

/* pages_find - the page at PATH, and in *RET_REST the name below it; NULL: there is none. */
const struct page *pages_find(const char *path, const char **ret_rest);

#endif
