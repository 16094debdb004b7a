/* base64.c - see base64.h. */
#include "base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

char *base64_decode(const char *text, size_t size, size_t *ret_size)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *bytes = malloc(size / 4 * 3 + 4);
	uint32_t bits = 0;
	unsigned count = 0;
	size_t done = 0;
	for (size_t i = 0; bytes && i < size; i++) {
		const char *found = text[i] ? strchr(alphabet, text[i]) : NULL;
		if (!found)
			break;
		bits = bits << 6 | (uint32_t)(found - alphabet);
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		bytes[done++] = (char)(bits >> count & 0xff);
	}
	*ret_size = done;
	return bytes;
}
