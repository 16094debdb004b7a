/* html.h - the only way from a value to a page. Markup of ours goes in with html_raw(), which takes
 * string literals only: anything else does not compile. Everything else, whoever wrote it, goes
 * through a function that escapes it: topics, names of scripts, outputs, reasons and messages are
 * other people's bytes.
 *
 *     struct html html = { 0 };
 *     html_raw(&html, "<td title=\"");
 *     html_text(&html, topic);
 *     html_raw(&html, "\">");
 *
 * The same escaping is right for text between tags and for attributes in double quotes; values go
 * nowhere else. Only html_segment() may write into href="/jobs/..", and only behind a path of ours.
 *
 * Writing cannot fail. When memory ends, or HTML_BYTES_MAX is reached, `overflow` is set and the
 * rest is dropped: ask once, at the end. */
#ifndef WEB_HTML_H
#define WEB_HTML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTML_BYTES_MAX (4u << 20)

struct html {
	char *text; /* malloc()ed, not terminated */
	size_t size, capacity;
	bool overflow;
};

/* html_raw - MARKUP, a string literal, as it is. */
#define html_raw(html, markup) html_literal((html), "" markup "", sizeof(markup) - 1)

/* html_literal - for html_raw() alone. */
void html_literal(struct html *html, const char *markup, size_t size);

/* html_text - TEXT, escaped.
 * What visible.h does not call plain is written as \u{N}, and a malformed byte as \xNN. */
void html_text(struct html *html, const char *text);

/* html_bytes - likewise SIZE bytes, which may hold NUL.
 * Of more than MAX bytes the first are shown, and how many were left out. */
void html_bytes(struct html *html, const char *bytes, size_t size, size_t max);

/* html_lines - html_bytes() for <pre>: newlines and tabs stay. */
void html_lines(struct html *html, const char *bytes, size_t size, size_t max);

/* html_segment - TEXT as one segment of a path, or one value of a query: percent-encoded. */
void html_segment(struct html *html, const char *text);

void html_number(struct html *html, uint64_t number);

/* html_free - what was written; HTML is as new afterwards. */
void html_free(struct html *html);

#endif
