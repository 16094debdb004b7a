/* request.h - from an address to the reply: which page, with which arguments, and what the browser
 * gets. It knows nothing of the HTTP library. */
#ifndef WEB_REQUEST_H
#define WEB_REQUEST_H

#include "html.h"
#include "pages.h"
#include "visit.h"

#include <stdbool.h>
#include <stddef.h>

#define REQUEST_URI_BYTES_MAX 2048

struct request {
	struct visit *visit;
	const struct page *page; /* NULL: not found yet, or refused */
	struct html html;
	char *text; /* of a page that is a text, malloc()ed */
	const char *body; /* in html, text or the page */
	size_t body_size;
	unsigned status; /* 0: there is no reply yet */
	const char *type, *download; /* of the body; NULL: no download */
	bool whole_uri; /* the address was neither too long nor broken */
};

/* request_new - for URI as it came, still encoded.
 * NULL: no memory. */
struct request *request_new(const struct site *site, const char *uri);
void request_free(struct request *request);

/* request_argument - one of the query, SIZE bytes each; false: it is no text, or one too many. */
bool request_argument(struct request *request, const char *name, size_t name_size, const char *value,
		      size_t value_size);

/* request_find - the page at PATH, decoded.
 * Returns 0, or the status of the refusal, which is the reply then. */
unsigned request_find(struct request *request, const char *path);

/* request_asks - the page has questions to the daemon. */
bool request_asks(const struct request *request);

/* request_compose - the reply: the page, with the answers that the visit has. */
void request_compose(struct request *request);

/* request_refuse - the reply is this refusal. */
void request_refuse(struct request *request, unsigned status, const char *reason);

#endif
