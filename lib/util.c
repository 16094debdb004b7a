/* util.c - strings, see util.h. The parsers are in parse.c, descriptors and files in file.c. */
#include <util.h>

#include <errno.h>
#include <string.h>

bool errno_is_shortage(int r) { return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS; }

bool streq(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

bool str_startswith(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

/* utf8_sequence - bytes of the well-formed sequence at S (Unicode, table 3-7), 0 if it is
 * ill-formed or cut at END. The second byte's range depends on the first: that is what shuts out
 * overlong forms, surrogates and anything above U+10FFFF. */
static size_t utf8_sequence(const unsigned char *s, const unsigned char *end)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (*s < 0x80)
		return 1;
	if (*s < 0xc2 || *s > 0xf4)
		return 0;
	length = *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
	if ((size_t)(end - s) < length)
		return 0;
	if (*s == 0xe0)
		low = 0xa0;
	else if (*s == 0xed)
		high = 0x9f;
	else if (*s == 0xf0)
		low = 0x90;
	else if (*s == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

bool utf8_valid(const void *s, size_t size)
{
	const unsigned char *p = s, *end = p + size;

	while (p < end) {
		size_t length = *p ? utf8_sequence(p, end) : 0;
		if (length == 0)
			return false;
		p += length;
	}
	return true;
}

void utf8_trim(char *text)
{
	size_t size = strlen(text), kept = size;

	while (kept > 0 && size - kept < 3 && ((unsigned char)text[kept - 1] & 0xc0) == 0x80)
		kept--;
	if (kept > 0 && (unsigned char)text[kept - 1] >= 0xc0 && !utf8_valid(text + kept - 1, size - kept + 1))
		text[kept - 1] = 0;
}

/* Characters that would change what the reader of a log sees: controls (also the C1 ones), line
 * and paragraph separators, and the marks that turn the direction of text. */
static bool is_deceptive(const unsigned char *s, size_t length)
{
	if (length == 1)
		return *s < 0x20 || *s == 0x7f;
	if (length == 2)
		return (s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xd8 && s[1] == 0x9c);
	if (length == 3 && s[0] == 0xe2 && s[1] == 0x80)
		return s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae);
	return length == 3 && s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9;
}

/* quote_one - write the quoted form of the characters at S to OUT (at most 16 bytes). Returns
 * how many bytes of S it stands for. */
static size_t quote_one(const unsigned char *s, const unsigned char *end, char out[16], size_t *ret_size)
{
	static const char digits[] = "0123456789abcdef";
	size_t length = utf8_sequence(s, end), n = 0;

	if (length > 0 && !is_deceptive(s, length)) {
		if (*s == '"' || *s == '\\')
			out[n++] = '\\';
		memcpy(out + n, s, length);
		*ret_size = n + length;
		return length;
	}
	if (length == 0)
		length = 1;
	for (size_t i = 0; i < length; i++) {
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = digits[s[i] >> 4];
		out[n++] = digits[s[i] & 15];
	}
	*ret_size = n;
	return length;
}

char *str_quote(char *buf, size_t buf_size, const void *s, size_t size)
{
	static const char cut[] = "\"...";
	const unsigned char *p = s, *end = p + size;
	size_t used = 0, cut_at = 1; /* cut_at: where the mark that says "cut" still finds room */

	if (buf_size < sizeof cut + 1) { /* no room for even an empty cut string */
		if (buf_size > 0)
			buf[0] = '\0';
		return buf;
	}
	buf[used++] = '"';
	while (p < end) {
		char one[16];
		size_t one_size, taken = quote_one(p, end, one, &one_size);
		if (used + one_size + 2 > buf_size) {
			memcpy(buf + cut_at, cut, sizeof cut);
			return buf;
		}
		memcpy(buf + used, one, one_size);
		used += one_size;
		p += taken;
		if (used + sizeof cut <= buf_size)
			cut_at = used;
	}
	buf[used++] = '"';
	buf[used] = '\0';
	return buf;
}

void hex_encode(const void *data, size_t size, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = data;

	for (size_t i = 0; i < size; i++) {
		ret[2 * i] = digits[p[i] >> 4];
		ret[2 * i + 1] = digits[p[i] & 15];
	}
	ret[2 * size] = '\0';
}
