/* json_tolerant.h - reading JSON that others wrote, as it is found in archives.
 *
 * Anybody who may set metadata decides what stands in the archive's replies, and Python's json
 * module, which writes them, also writes what is no JSON. One such value must not make a whole
 * reply unreadable. */
#ifndef CORE_JSON_TOLERANT_H
#define CORE_JSON_TOLERANT_H

#include <jansson.h>
#include <listener/error.h>

/* json_load_tolerant - parse SIZE bytes of TEXT.
 * Strict JSON is read as it is; a NUL (\u0000) in a string is kept.
 * In other texts,
 *   a word or number that jansson cannot hold (1e400, 10000000000000000000, NaN, Infinity) is
 *   read as a string of the same text,
 *   half of a surrogate pair, a NUL in a key and bytes that are no UTF-8 in a string are read as
 *   U+FFFD,
 *   a control character in a string is read as if it were escaped,
 *   what is nested deeper than 200 levels is read as null.
 * NULL if it still is no JSON: ERR then says what the parser says, with line and byte. */
json_t *json_load_tolerant(const char *text, size_t size, struct lsn_error *err);

#endif
