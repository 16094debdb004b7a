/* request.c - see request.h. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include <util.h>

#include "layout.h"

#define REQUEST_REFRESH_SEC_MIN 5
#define REQUEST_REFRESH_SEC_MAX 3600

struct request *request_new(const struct site *site, const char *uri)
{
	struct request *request = calloc(1, sizeof *request);
	if (!request)
		return NULL;
	request->visit = visit_new(site);
	if (!request->visit) {
		free(request);
		return NULL;
	}
	request->visit->owner = request;
	request->whole_uri = strlen(uri) <= REQUEST_URI_BYTES_MAX && !strstr(uri, "%00");
	return request;
}

void request_free(struct request *request)
{
	if (!request)
		return;
	visit_free(request->visit);
	html_free(&request->html);
	free(request->text);
	free(request);
}

bool request_argument(struct request *request, const char *name, size_t name_size, const char *value, size_t value_size)
{
	if (!utf8_valid(name, name_size) || (value && !utf8_valid(value, value_size)))
		return false;
	return visit_add_argument(request->visit, name, value ? value : "") == 0;
}

/* request_refresh - the reader wants the page again; 0: he does not, or asks for what is absurd. */
static unsigned request_refresh(const struct visit *visit)
{
	uint64_t seconds;
	if (parse_uint(visit_argument(visit, "refresh"), REQUEST_REFRESH_SEC_MAX, &seconds, NULL) < 0)
		return 0;
	return seconds < REQUEST_REFRESH_SEC_MIN ? 0 : (unsigned)seconds;
}

unsigned request_find(struct request *request, const char *path)
{
	struct visit *visit = request->visit;
	if (!request->whole_uri || !utf8_valid(path, strlen(path)))
		request_refuse(request, 400, "This address is too long, or has bytes that are no text.");
	else
		request->page = pages_find(path, &visit->rest);
	if (request->status)
		return request->status;
	if (!request->page) {
		request_refuse(request, 404, "There is no such page.");
		return request->status;
	}
	visit->path = strdup(path);
	if (!visit->path) {
		request_refuse(request, 503, "No memory.");
		return request->status;
	}
	visit->rest = visit->path + (visit->rest - path);
	visit->questions = &request->page->questions;
	visit->refresh_sec = request_refresh(visit);
	return 0;
}

bool request_asks(const struct request *request)
{
	json_t *question = visit_question(request->visit);
	json_decref(question);
	return question != NULL;
}

static void request_print(struct request *request)
{
	FILE *out = open_memstream(&request->text, &request->body_size);
	if (!out) {
		request_refuse(request, 503, "No memory.");
		return;
	}
	request->page->print(out, request->visit);
	request->status = request->visit->status;
	if (fclose(out) < 0)
		request_refuse(request, 503, "No memory.");
	else
		request->body = request->text;
}

static void request_show(struct request *request)
{
	const struct page *page = request->page;
	const struct layout layout = { .title = page->title, .path = page->path };
	layout_page(&request->html, request->visit, &layout, page->show);
	if (request->html.overflow) {
		request_refuse(request, 503, "This page would be too large. Ask for less.");
		return;
	}
	request->type = "text/html; charset=utf-8";
	request->status = request->visit->status;
	request->body = request->html.text;
	request->body_size = request->html.size;
}

void request_compose(struct request *request)
{
	const struct page *page = request->page;
	request->type = page->type;
	request->download = page->download;
	if (page->fixed) {
		request->status = 200;
		request->body = page->fixed;
		request->body_size = strlen(page->fixed);
	} else if (page->print)
		request_print(request);
	else
		request_show(request);
}

void request_refuse(struct request *request, unsigned status, const char *reason)
{
	html_free(&request->html);
	layout_message(&request->html, status, reason);
	request->download = NULL;
	request->type = "text/html; charset=utf-8";
	request->status = status;
	request->body = request->html.text;
	request->body_size = request->html.size;
}
