/* layout.h - what all pages have around their body: head, menu, what is wrong, age of the data. */
#ifndef WEB_LAYOUT_H
#define WEB_LAYOUT_H

#include "html.h"
#include "visit.h"

/* What a page is for the layout; pages.c has the table. */
struct layout {
	const char *title;
	const char *path; /* the entry of the menu that is this page */
};

/* layout_page - the whole page: BODY's output inside, or the reason why there is none.
 * Sets visit->status for the latter. */
void layout_page(struct html *html, struct visit *visit, const struct layout *layout,
		 void (*body)(struct html *html, struct visit *visit));

/* layout_message - a page that has a message only: REASON, a sentence of ours. */
void layout_message(struct html *html, unsigned status, const char *reason);

/* layout_cut - after a table: rows of the answer INDEX are not shown, if so. */
void layout_cut(struct html *html, const struct visit *visit, size_t index);

#endif
