/* table.c - rows as a table; one cell as text. What comes from scripts, publishers and servers
 * is escaped here, in one place. */
#include "ctl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cleanup.h>
#include <util.h>
#include <visible.h>

struct table {
	const struct column *columns;
	size_t column_count, row_count, capacity;
	char **cells;
};

char *text_escape(const char *text, size_t size, bool keep_lines)
{
	char *result = NULL;
	size_t length, n;
	FILE *out = open_memstream(&result, &length);
	if (!out)
		return NULL;
	for (size_t i = 0; i < size; i += n) {
		uint32_t c;
		n = visible_decode(text + i, size - i, &c);
		if (keep_lines && (c == '\n' || c == '\t'))
			(void)putc((int)c, out);
		else if (c == VISIBLE_MALFORMED)
			(void)fprintf(out, "\\x%02x", (unsigned)(unsigned char)text[i]);
		else if (!visible_is_plain(c))
			(void)fprintf(out, c < 0x80 ? "\\x%02" PRIx32 : "\\u{%" PRIx32 "}", c);
		else
			(void)fwrite(text + i, 1, n, out);
	}
	(void)fclose(out);
	return result;
}

static char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text_format(const char *format, ...)
{
	char *result = NULL;
	va_list ap;
	va_start(ap, format);
	int n = vasprintf(&result, format, ap);
	va_end(ap);
	return n < 0 ? NULL : result;
}

static char *bytes_text(double value)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t i = 0;
	for (; value >= 1024 && i + 1 < ELEMENTSOF(units); i++)
		value /= 1024;
	return text_format(i && value < 100 ? "%.1f %s" : "%.0f %s", value, units[i]);
}

static char *duration_text(uint64_t usec)
{
	uint64_t seconds = usec / USEC_PER_SEC;
	if (usec < USEC_PER_MSEC)
		return text_format("%" PRIu64 " us", usec);
	if (usec < USEC_PER_SEC)
		return text_format(usec < 10 * USEC_PER_MSEC ? "%.1f ms" : "%.0f ms", (double)usec / 1e3);
	if (seconds < 120)
		return text_format("%.1f s", (double)usec / 1e6);
	if (seconds < 7200)
		return text_format("%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
	if (seconds < 172800)
		return text_format("%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
	return text_format("%" PRIu64 " d %" PRIu64 " h", seconds / 86400, seconds / 3600 % 24);
}

static char *time_text(uint64_t realtime_usec)
{
	time_t seconds = (time_t)(realtime_usec / USEC_PER_SEC);
	struct tm tm;
	char text[32];
	if (!realtime_usec || !localtime_r(&seconds, &tm) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm))
		return strdup("-");
	return strdup(text);
}

static char *string_text(const json_t *row, const char *key, enum cell_kind kind)
{
	char name[64];
	const json_t *value = json_object_get(row, key);
	(void)snprintf(name, sizeof name, "%s_base64", key);
	const json_t *encoded = json_object_get(row, name);
	if (!json_string_length(value) && json_string_length(encoded))
		return text_format("base64:%s", json_string_value(encoded));
	if (!json_string_length(value))
		return strdup("-");
	size_t size = json_string_length(value);
	return text_escape(json_string_value(value), kind == CELL_HASH && size > 12 ? 12 : size, false);
}

static char *first_text(const json_t *list)
{
	const json_t *first = json_array_get(list, 0);
	size_t more = json_array_size(list) - (first != NULL);
	_cleanup_free_ char *text = first ? text_escape(json_string_value(first), json_string_length(first), false)
					  : strdup("-");
	return more > 0 ? text_format("%s +%zu", text ? text : "?", more) : TAKE_PTR(text);
}

char *cell_text(const json_t *row, const char *key, enum cell_kind kind)
{
	const json_t *value = json_object_get(row, key);
	uint64_t number = json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
	if (kind == CELL_FIRST)
		return first_text(value);
	if (kind == CELL_TEXT || kind == CELL_HASH)
		return string_text(row, key, kind);
	if (!value || json_is_null(value))
		return strdup("-");
	switch (kind) {
	case CELL_SPAN: return number > 0 ? duration_text(number) : strdup("-");
	case CELL_REAL: return text_format("%.1f", json_number_value(value));
	case CELL_BYTES: return bytes_text(json_number_value(value));
	case CELL_TIME: return time_text(number);
	case CELL_DURATION: return duration_text(number);
	case CELL_BOOL: return strdup(json_is_true(value) ? "yes" : "no");
	default: return text_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	}
}

struct table *table_new(const struct column *columns)
{
	struct table *table = calloc(1, sizeof *table);
	if (!table)
		abort();
	table->columns = columns;
	while (columns[table->column_count].title)
		table->column_count++;
	return table;
}

void table_add(void *data, const json_t *row)
{
	struct table *table = data;
	if (table->row_count == table->capacity) {
		table->capacity = table->capacity ? 2 * table->capacity : 64;
		table->cells = reallocarray(table->cells, table->capacity * table->column_count, sizeof *table->cells);
		if (!table->cells)
			abort();
	}
	char **cells = table->cells + table->row_count++ * table->column_count;
	for (size_t i = 0; i < table->column_count; i++)
		cells[i] = cell_text(row, table->columns[i].key, table->columns[i].kind);
}

/* width - characters; good enough without a table of wide ones. */
static size_t width(const char *text)
{
	size_t n = 0;
	for (; text && *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static bool right_aligned(enum cell_kind kind)
{
	return kind == CELL_NUMBER || kind == CELL_REAL || kind == CELL_BYTES || kind == CELL_DURATION ||
	       kind == CELL_SPAN;
}

static void print_cell(FILE *out, const struct column *column, const char *text, size_t wide, bool last)
{
	size_t own = width(text), pad = wide > own ? wide - own : 0;
	bool right = right_aligned(column->kind);
	(void)fprintf(out, "%*s%s%*s%s", right ? (int)pad : 0, "", text ? text : "", right || last ? 0 : (int)pad, "",
		      last ? "\n" : "  ");
}

void table_print(struct table *table, FILE *out, const char *if_empty)
{
	size_t count = table->column_count;
	_cleanup_free_ size_t *widths = calloc(count, sizeof *widths);
	if (!widths)
		return;
	if (!table->row_count) {
		(void)fprintf(out, "%s\n", if_empty);
		return;
	}
	for (size_t i = 0; i < count; i++)
		widths[i] = width(table->columns[i].title);
	for (size_t i = 0; i < count * table->row_count; i++)
		if (width(table->cells[i]) > widths[i % count])
			widths[i % count] = width(table->cells[i]);
	for (size_t i = 0; i < count; i++)
		print_cell(out, &table->columns[i], table->columns[i].title, widths[i], i + 1 == count);
	for (size_t i = 0; i < count * table->row_count; i++)
		print_cell(out, &table->columns[i % count], table->cells[i], widths[i % count], i % count + 1 == count);
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->row_count * table->column_count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}
