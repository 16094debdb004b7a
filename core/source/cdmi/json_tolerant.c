/* json_tolerant.c - see json_tolerant.h. Strict parsing first; only what fails is written anew,
 * token by token, and parsed again. */
#include "json_tolerant.h"
#include "cleanup.h"
#include "util.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 200
#define REPLACEMENT "\\ufffd"

struct rewrite {
	const char *at, *end;
	FILE *out;
	unsigned depth; /* brackets that are open */
};

/* -------------------------------------------------------------------------------------- strings */

/* escape_value - the number of the \uXXXX at AT, or -1. */
static int escape_value(const char *at, const char *end)
{
	char digits[5] = { 0 }, *rest;

	if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
		return -1;
	memcpy(digits, at + 2, 4);
	int value = (int)strtoul(digits, &rest, 16);
	return rest == digits + 4 && isxdigit((unsigned char)digits[0]) ? value : -1;
}

static bool is_high(int value) { return value >= 0xd800 && value < 0xdc00; }
static bool is_low(int value) { return value >= 0xdc00 && value < 0xe000; }

/* write_unicode - the escape of VALUE at AT; returns how many bytes of the text it took. */
static size_t write_unicode(struct rewrite *rewrite, const char *at, const char *end, int value, bool key)
{
	if (is_high(value) && is_low(escape_value(at + 6, end))) {
		(void)fwrite(at, 1, 12, rewrite->out);
		return 12;
	}
	if (is_high(value) || is_low(value) || (key && value == 0))
		(void)fputs(REPLACEMENT, rewrite->out);
	else
		(void)fwrite(at, 1, 6, rewrite->out);
	return 6;
}

/* utf8_length - how many bytes the character at AT has, 0 if it is no UTF-8. */
static size_t utf8_length(const char *at, const char *end)
{
	for (size_t n = 1; n <= 4 && n <= (size_t)(end - at); n++)
		if (utf8_valid(at, n))
			return n;
	return 0;
}

/* write_character - one character or escape of a string; returns how many bytes of the text it
 * took. */
static size_t write_character(struct rewrite *rewrite, const char *at, const char *end, bool key)
{
	int value = escape_value(at, end);

	if (value >= 0)
		return write_unicode(rewrite, at, end, value, key);
	if (*at == '\\' && end - at > 1) {
		(void)fwrite(at, 1, 2, rewrite->out);
		return 2;
	}
	if ((unsigned char)*at < ' ') {
		(void)fprintf(rewrite->out, "\\u%04x", *at ? (unsigned)*at : key ? 0xfffdu : 0u);
		return 1;
	}
	size_t n = utf8_length(at, end);
	if (n > 0)
		(void)fwrite(at, 1, n, rewrite->out);
	else
		(void)fputs(REPLACEMENT, rewrite->out);
	return n > 0 ? n : 1;
}

/* string_end - the closing quote of the string whose text begins at AT, or END. */
static const char *string_end(const char *at, const char *end)
{
	for (; at < end && *at != '"'; at++)
		if (*at == '\\' && at + 1 < end)
			at++;
	return at;
}

static void write_string(struct rewrite *rewrite)
{
	const char *at = rewrite->at + 1, *close = string_end(at, rewrite->end),
		   *next = close < rewrite->end ? close + 1 : close;
	const char *after = next;

	while (after < rewrite->end && isspace((unsigned char)*after))
		after++;
	bool key = after < rewrite->end && *after == ':';
	(void)fputc('"', rewrite->out);
	while (at < close)
		at += write_character(rewrite, at, close, key);
	if (next > close)
		(void)fputc('"', rewrite->out);
	rewrite->at = next;
}

/* ------------------------------------------------------------------------------ everything else */

/* write_word - a number, a constant, or what somebody took for one. */
static void write_word(struct rewrite *rewrite)
{
	const char *from = rewrite->at;

	while (rewrite->at < rewrite->end && (isalnum((unsigned char)*rewrite->at) || strchr("+-._", *rewrite->at)) &&
	       *rewrite->at)
		rewrite->at++;
	size_t size = (size_t)(rewrite->at - from);
	json_t *value = json_loadb(from, size, JSON_DECODE_ANY, NULL);
	(void)fprintf(rewrite->out, value ? "%.*s" : "\"%.*s\"", (int)size, from);
	json_decref(value);
}

/* skip_nested - from an opening bracket to behind the one that closes it. */
static void skip_nested(struct rewrite *rewrite)
{
	size_t open = 0;

	do {
		char c = *rewrite->at++;
		if (c == '"') {
			rewrite->at = string_end(rewrite->at, rewrite->end);
			rewrite->at += rewrite->at < rewrite->end;
		}
		open += c == '[' || c == '{';
		open -= c == ']' || c == '}';
	} while (open > 0 && rewrite->at < rewrite->end);
}

static void write_token(struct rewrite *rewrite)
{
	char c = *rewrite->at;

	if (c == '"') {
		write_string(rewrite);
	} else if (isalnum((unsigned char)c) || (c && strchr("+-._", c))) {
		write_word(rewrite);
	} else if ((c == '[' || c == '{') && rewrite->depth == DEPTH_MAX) {
		skip_nested(rewrite);
		(void)fputs("null", rewrite->out);
	} else {
		rewrite->depth += c == '[' || c == '{';
		rewrite->depth -= (c == ']' || c == '}') && rewrite->depth > 0;
		(void)fputc(c, rewrite->out);
		rewrite->at++;
	}
}

/* rewritten - TEXT with what jansson would refuse replaced; NULL: no memory. */
static char *rewritten(const char *text, size_t size, size_t *ret_size)
{
	char *copy = NULL;
	struct rewrite rewrite = { .at = text, .end = text + size, .out = open_memstream(&copy, ret_size) };

	if (!rewrite.out)
		return NULL;
	while (rewrite.at < rewrite.end)
		write_token(&rewrite);
	if (fclose(rewrite.out) == 0)
		return copy;
	free(copy);
	return NULL;
}

json_t *json_load_tolerant(const char *text, size_t size, struct lsn_error *err)
{
	json_error_t why, again;
	json_t *value = json_loadb(size ? text : "", size, JSON_ALLOW_NUL, &why);
	size_t copy_size = 0;

	if (value)
		return value;
	_cleanup_free_ char *copy = rewritten(text, size, &copy_size);
	if (copy && (value = json_loadb(copy, copy_size, JSON_ALLOW_NUL, &again)))
		return value;
	(void)lsn_error_set(err, -EINVAL, "line %d, byte %d of %zu: %s", why.line, why.position, size, why.text);
	return NULL;
}
