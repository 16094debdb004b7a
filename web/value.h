/* value.h - members of the daemon's answers, as docs/control.md describes them, written to a page
 * for people: escaped, with unit, cut if they are long. A member that is absent is shown as "-". */
#ifndef WEB_VALUE_H
#define WEB_VALUE_H

#include "html.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define VALUE_CELL_BYTES 400 /* of a text in a table */
#define VALUE_WHOLE_BYTES 65536 /* of a text on a page of its own */

/* value_string - ROW[KEY] if it is a string, else "".
 * It may hold NUL, and ends there for who reads it like this. */
const char *value_string(const json_t *row, const char *key);

/* value_uint - ROW[KEY] if it is a number of 0 or more, else 0. */
uint64_t value_uint(const json_t *row, const char *key);

bool value_true(const json_t *row, const char *key);

/* value_is - ROW[KEY] is this word. */
bool value_is(const json_t *row, const char *key, const char *word);

/* value_decode - the bytes of ROW[KEY], or of KEY_base64: malloc()ed, their number in *RET_SIZE.
 * NULL: neither is there, or no memory. */
char *value_decode(const json_t *row, const char *key, size_t *ret_size);

/* value_text - ROW[KEY] or ROW[KEY_base64], of at most MAX bytes. */
void value_text(struct html *html, const json_t *row, const char *key, size_t max);

/* value_lines - likewise, for <pre>. */
void value_lines(struct html *html, const json_t *row, const char *key, size_t max);

/* value_number - ROW[KEY] as a whole number. */
void value_number(struct html *html, const json_t *row, const char *key);

/* value_time - ROW[KEY], a time in microseconds, as <time>: the machine's zone, with date.
 * 0 is "-". */
void value_time(struct html *html, const json_t *row, const char *key);

/* value_duration, value_size - "17 ms", "1.5 MiB". */
void value_duration(struct html *html, const json_t *row, const char *key);
void value_size(struct html *html, const json_t *row, const char *key);
void value_html_duration(struct html *html, uint64_t usec);
void value_html_time(struct html *html, uint64_t realtime_usec);

/* value_join - the strings of the list ROW[KEY], with commas. */
void value_join(struct html *html, const json_t *row, const char *key);

#endif
