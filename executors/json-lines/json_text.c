/* json_text.c - see json_text.h. */
#include "json_text.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>

/* What is plain is passed over in pieces of this size: most texts hardly need anything else. */
#define PIECE_BYTES 64

/* piece_is_ascii - without an early end, so that the compiler takes many bytes at once. */
static bool piece_is_ascii(const char *bytes)
{
	unsigned char all = 0;

	for (size_t i = 0; i < PIECE_BYTES; i++)
		all |= (unsigned char)bytes[i];
	return all < 0x80;
}

bool json_text_is(const char *bytes, size_t size)
{
	size_t at = 0;

	while (at + PIECE_BYTES <= size && piece_is_ascii(bytes + at))
		at += PIECE_BYTES;
	json_t *value = json_stringn(bytes + at, size - at); /* a copy, but it knows UTF-8 */
	json_decref(value);
	return value;
}

static inline bool must_escape(unsigned char c) { return (c < 0x20) | (c == 0x22) | (c == 0x5c); }

static bool piece_is_plain(const char *text)
{
	unsigned char found = 0;

	for (size_t i = 0; i < PIECE_BYTES; i++)
		found |= must_escape((unsigned char)text[i]);
	return !found;
}

/* escape_write - what stands for C; RET has room for 6 bytes. Returns its size. */
static size_t escape_write(unsigned char c, char *ret)
{
	static const char letters[256] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['"'] = '"', ['\\'] = '\\'
	};
	static const char hex[] = "0123456789abcdef";

	ret[0] = '\\';
	ret[1] = letters[c] ? letters[c] : 'u';
	if (letters[c])
		return 2;
	ret[2] = ret[3] = '0';
	ret[4] = hex[c >> 4];
	ret[5] = hex[c & 15];
	return 6;
}

/* plain_size - bytes from AT on that can be passed over together. */
static size_t plain_size(const char *text, size_t at, size_t size)
{
	size_t from = at;

	while (at + PIECE_BYTES <= size && piece_is_plain(text + at))
		at += PIECE_BYTES;
	return at - from;
}

size_t json_text_size(const char *text, size_t size)
{
	size_t total = size, at = 0;
	char instead[6];

	while (at < size) {
		at += plain_size(text, at, size);
		for (size_t end = at + PIECE_BYTES < size ? at + PIECE_BYTES : size; at < end; at++)
			if (must_escape((unsigned char)text[at]))
				total += escape_write((unsigned char)text[at], instead) - 1;
	}
	return total;
}

void json_text_escape(const char *text, size_t size, char *ret)
{
	size_t at = 0;

	while (at < size) {
		size_t plain = plain_size(text, at, size);
		memcpy(ret, text + at, plain);
		ret += plain;
		at += plain;
		for (size_t end = at + PIECE_BYTES < size ? at + PIECE_BYTES : size; at < end; at++) {
			unsigned char c = (unsigned char)text[at];
			if (must_escape(c))
				ret += escape_write(c, ret);
			else
				*ret++ = text[at];
		}
	}
}
