/* json_text.h - large texts as the inside of a JSON string, fast. */
#ifndef JSON_LINES_JSON_TEXT_H
#define JSON_LINES_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* json_text_is - BYTES can stand in a JSON string: they are UTF-8 (NUL is a character like others).
 */
bool json_text_is(const char *bytes, size_t size);

/* json_text_size - bytes that json_text_escape() writes. */
size_t json_text_size(const char *text, size_t size);

/* json_text_escape - TEXT with escapes where JSON demands them (RFC 8259, 7), without quotes and
 * without an end. RET has room for json_text_size() bytes. */
void json_text_escape(const char *text, size_t size, char *ret);

#endif
