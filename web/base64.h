/* base64.h - bytes that came as x_base64, because they are no UTF-8. */
#ifndef WEB_BASE64_H
#define WEB_BASE64_H

#include <stddef.h>

/* base64_decode - TEXT (SIZE characters) as bytes, malloc()ed; their number in *RET_SIZE.
 * Decoding ends at the first character that is none of base64's.
 * NULL: no memory. */
char *base64_decode(const char *text, size_t size, size_t *ret_size);

#endif
