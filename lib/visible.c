/* visible.c - see visible.h. */
#include "visible.h"

#include "util.h"

static size_t visible_length(unsigned char first) { return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4; }

size_t visible_decode(const char *text, size_t left, uint32_t *ret_code)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t size = visible_length(bytes[0]);
	/* utf8_valid() takes NUL for malformed; here it is a control character. */
	if (bytes[0] && (size > left || !utf8_valid(text, size))) {
		*ret_code = VISIBLE_MALFORMED;
		return 1;
	}
	uint32_t code = size == 1 ? bytes[0] : bytes[0] & (0xffu >> (size + 1));
	for (size_t i = 1; i < size; i++)
		code = code << 6 | (bytes[i] & 0x3f);
	*ret_code = code;
	return size;
}

bool visible_is_plain(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} acted_on[] = {
		{ 0, 0x1f },        { 0x7f, 0x9f },       { 0xad, 0xad },       { 0x34f, 0x34f },
		{ 0x61c, 0x61c },   { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },   { 0x180b, 0x180f },
		{ 0x200b, 0x200f }, { 0x2028, 0x202e },   { 0x2060, 0x206f },   { 0x3164, 0x3164 },
		{ 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },   { 0xfff0, 0xfffb },
		{ 0xfffe, 0xffff }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff }, { 0x110000, UINT32_MAX },
	};
	for (size_t i = 0; i < ELEMENTSOF(acted_on); i++)
		if (code >= acted_on[i].first && code <= acted_on[i].last)
			return false;
	return true;
}
