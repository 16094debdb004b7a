/* value.c - see value.h. */
#include "value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cleanup.h>
#include <util.h>

#include "base64.h"

const char *value_string(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));
	return text ? text : "";
}

uint64_t value_uint(const json_t *row, const char *key)
{
	json_int_t number = json_integer_value(json_object_get(row, key));
	return number > 0 ? (uint64_t)number : 0;
}

bool value_true(const json_t *row, const char *key) { return json_is_true(json_object_get(row, key)); }

bool value_is(const json_t *row, const char *key, const char *word) { return streq(value_string(row, key), word); }

char *value_decode(const json_t *row, const char *key, size_t *ret_size)
{
	char name[64];
	const json_t *value = json_object_get(row, key);
	(void)snprintf(name, sizeof name, "%s_base64", key);
	const json_t *encoded = json_object_get(row, name);
	if (json_is_string(encoded))
		return base64_decode(json_string_value(encoded), json_string_length(encoded), ret_size);
	if (!json_is_string(value))
		return NULL;
	*ret_size = json_string_length(value);
	char *copy = malloc(*ret_size + 1);
	if (copy)
		memcpy(copy, json_string_value(value), *ret_size);
	return copy;
}

static void value_write(struct html *html, const json_t *row, const char *key, size_t max,
			void (*write)(struct html *, const char *, size_t, size_t))
{
	size_t size = 0;
	_cleanup_free_ char *bytes = value_decode(row, key, &size);
	if (bytes && size)
		write(html, bytes, size, max);
	else
		html_raw(html, "-");
}

void value_text(struct html *html, const json_t *row, const char *key, size_t max)
{
	value_write(html, row, key, max, html_bytes);
}

void value_lines(struct html *html, const json_t *row, const char *key, size_t max)
{
	value_write(html, row, key, max, html_lines);
}

void value_number(struct html *html, const json_t *row, const char *key)
{
	if (json_is_integer(json_object_get(row, key)))
		html_number(html, value_uint(row, key));
	else
		html_raw(html, "-");
}

void value_html_time(struct html *html, uint64_t realtime_usec)
{
	char text[32], stamp[32];
	time_t seconds = (time_t)(realtime_usec / USEC_PER_SEC);
	struct tm local, utc;
	if (!realtime_usec || !localtime_r(&seconds, &local) || !gmtime_r(&seconds, &utc) ||
	    !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local) ||
	    !strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc)) {
		html_raw(html, "-");
		return;
	}
	html_raw(html, "<time datetime=\"");
	html_text(html, stamp);
	html_raw(html, "\">");
	html_text(html, text);
	html_raw(html, "</time>");
}

void value_time(struct html *html, const json_t *row, const char *key) { value_html_time(html, value_uint(row, key)); }

void value_html_duration(struct html *html, uint64_t usec)
{
	char text[48];
	uint64_t seconds = usec / USEC_PER_SEC;
	if (usec < USEC_PER_MSEC)
		(void)snprintf(text, sizeof text, "%" PRIu64 " us", usec);
	else if (usec < USEC_PER_SEC)
		(void)snprintf(text, sizeof text, usec < 10 * USEC_PER_MSEC ? "%.1f ms" : "%.0f ms",
			       (double)usec / 1e3);
	else if (seconds < 120)
		(void)snprintf(text, sizeof text, "%.1f s", (double)usec / 1e6);
	else if (seconds < 7200)
		(void)snprintf(text, sizeof text, "%" PRIu64 " min", seconds / 60);
	else if (seconds < 172800)
		(void)snprintf(text, sizeof text, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
	else
		(void)snprintf(text, sizeof text, "%" PRIu64 " d %" PRIu64 " h", seconds / 86400, seconds / 3600 % 24);
	html_text(html, text);
}

void value_duration(struct html *html, const json_t *row, const char *key)
{
	if (json_is_integer(json_object_get(row, key)))
		value_html_duration(html, value_uint(row, key));
	else
		html_raw(html, "-");
}

void value_size(struct html *html, const json_t *row, const char *key)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	char text[48];
	double value = (double)value_uint(row, key);
	size_t i = 0;
	for (; value >= 1024 && i + 1 < ELEMENTSOF(units); i++)
		value /= 1024;
	(void)snprintf(text, sizeof text, i && value < 100 ? "%.1f %s" : "%.0f %s", value, units[i]);
	html_text(html, text);
}

void value_join(struct html *html, const json_t *row, const char *key)
{
	size_t i;
	const json_t *one;
	json_array_foreach (json_object_get(row, key), i, one) {
		if (i)
			html_raw(html, ", ");
		if (json_is_string(one))
			html_bytes(html, json_string_value(one), json_string_length(one), VALUE_CELL_BYTES);
	}
}
