/* visible.h - which characters of foreign text can be shown as they are? A terminal or a browser
 * acts on some characters instead of showing them. Whoever shows topics, names and outputs writes
 * those as \u{N}, so that a person sees that they are there. */
#ifndef LIB_VISIBLE_H
#define LIB_VISIBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VISIBLE_MALFORMED UINT32_MAX

/* visible_decode - the first character of the LEFT (at least 1) bytes at TEXT.
 * Returns its length in bytes.
 * A byte that begins no well-formed UTF-8 character has length 1, and *RET_CODE is
 * VISIBLE_MALFORMED. */
size_t visible_decode(const char *text, size_t left, uint32_t *ret_code);

/* visible_is_plain - CODE can be shown as it is.
 * False for control characters, line separators, marks and overrides of direction, characters
 * without width, tags, and VISIBLE_MALFORMED. */
bool visible_is_plain(uint32_t code);

#endif
