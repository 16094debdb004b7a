/* html.c - see html.h. */
#include "html.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <util.h>
#include <visible.h>

static bool html_reserve(struct html *html, size_t size)
{
	if (html->overflow || size > HTML_BYTES_MAX - html->size) {
		html->overflow = true;
		return false;
	}
	if (html->size + size <= html->capacity)
		return true;
	size_t capacity = html->capacity ? html->capacity * 2 : 8192;
	while (capacity < html->size + size)
		capacity *= 2;
	char *text = realloc(html->text, capacity);
	html->overflow = !text;
	if (!text)
		return false;
	html->text = text;
	html->capacity = capacity;
	return true;
}

void html_literal(struct html *html, const char *markup, size_t size)
{
	if (!html_reserve(html, size))
		return;
	memcpy(html->text + html->size, markup, size);
	html->size += size;
}

/* html_plain - text of this file's own making, which needs no escape. */
static void html_plain(struct html *html, const char *text) { html_literal(html, text, strlen(text)); }

static const char *html_entity(uint32_t code)
{
	switch (code) {
	case '&': return "&amp;";
	case '<': return "&lt;";
	case '>': return "&gt;";
	case '"': return "&quot;";
	case '\'': return "&#39;";
	default: return NULL;
	}
}

/* html_character - the character at BYTES, with its escape if it needs one; its length. */
static size_t html_character(struct html *html, const char *bytes, size_t left, bool keep_lines)
{
	char escape[16];
	uint32_t code;
	size_t size = visible_decode(bytes, left, &code);
	const char *entity = html_entity(code);
	if (entity)
		html_plain(html, entity);
	else if (visible_is_plain(code) || (keep_lines && (code == '\n' || code == '\t')))
		html_literal(html, bytes, size);
	else {
		if (code == VISIBLE_MALFORMED)
			(void)snprintf(escape, sizeof escape, "\\x%02x", (unsigned)(unsigned char)bytes[0]);
		else
			(void)snprintf(escape, sizeof escape, "\\u{%" PRIx32 "}", code);
		html_plain(html, escape);
	}
	return size;
}

static void html_escape(struct html *html, const char *bytes, size_t size, size_t max, bool keep_lines)
{
	size_t at = 0;
	while (at < size && at < max && !html->overflow)
		at += html_character(html, bytes + at, size - at, keep_lines);
	if (at < size && !html->overflow) {
		html_raw(html, " [");
		html_number(html, size - at);
		html_raw(html, " more bytes]");
	}
}

void html_text(struct html *html, const char *text) { html_escape(html, text, strlen(text), SIZE_MAX, false); }

void html_bytes(struct html *html, const char *bytes, size_t size, size_t max)
{
	html_escape(html, bytes, size, max, false);
}

void html_lines(struct html *html, const char *bytes, size_t size, size_t max)
{
	html_escape(html, bytes, size, max, true);
}

static bool html_is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~", c) != NULL);
}

void html_segment(struct html *html, const char *text)
{
	char escape[8];
	for (; *text; text++) {
		if (html_is_unreserved(*text)) {
			html_literal(html, text, 1);
			continue;
		}
		(void)snprintf(escape, sizeof escape, "%%%02X", (unsigned)(unsigned char)*text);
		html_plain(html, escape);
	}
}

void html_number(struct html *html, uint64_t number)
{
	char text[24];
	(void)snprintf(text, sizeof text, "%" PRIu64, number);
	html_plain(html, text);
}

void html_free(struct html *html)
{
	free(html->text);
	*html = (struct html){ 0 };
}
