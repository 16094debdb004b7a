/* meta.c - see meta.h.
 *
 * inih reads lines of at most 200 bytes and takes " ;" for the start of a comment, so it would
 * cut topics. Therefore it gets every line with the value replaced by the number of the line.
 * inih checks the syntax, and the value is looked up by that number. */
#include "meta.h"

#include <errno.h>
#include <ini.h>
#include <util.h>

#define LINES_MAX 1000u
#define KEY_MAX 64 /* bytes; leaves inih's line room for the rest */

struct reader {
	char *next; /* not yet read */
	unsigned line;
	char *values[LINES_MAX + 1]; /* by line, from 1 */
	struct meta *meta;
	const char *name;
	struct lsn_error *err;
	int failed; /* -EINVAL, set with ERR */
};

static int complain(struct reader *reader, const char *what)
{
	if (!reader->failed)
		reader->failed = lsn_error_set(reader->err, -EINVAL, "%s:%u: %s", reader->name, reader->line, what);
	return reader->failed;
}

/* Cuts the next line out of the text; NULL at the end. */
static char *take_line(struct reader *reader)
{
	if (!*reader->next)
		return NULL;
	char *line = reader->next, *end = strchrnul(line, '\n');
	reader->next = *end ? end + 1 : end;
	*end = '\0';
	return line;
}

static char *trim(char *text)
{
	text += strspn(text, " \t\r");
	size_t size = strlen(text);
	while (size > 0 && strchr(" \t\r", text[size - 1]))
		text[--size] = '\0';
	return text;
}

/* inih's fgets(). */
static char *read_line(char *out, int size, void *stream)
{
	struct reader *reader = stream;
	char *line = reader->failed ? NULL : take_line(reader);
	if (!line)
		return NULL;
	if (++reader->line > LINES_MAX) {
		(void)complain(reader, "the file has too many lines");
		return NULL;
	}
	line = trim(line);
	if (*line == '#' || *line == ';' || *line == '\0') {
		(void)snprintf(out, (size_t)size, "\n");
		return out;
	}
	if (*line == '[') {
		(void)snprintf(out, (size_t)size, "%.60s\n", line);
		return out;
	}
	char *equals = strchr(line, '=');
	if (!equals || equals == line || equals - line > KEY_MAX) {
		(void)complain(reader, "this line is not KEY = VALUE");
		return NULL;
	}
	*equals = '\0';
	reader->values[reader->line] = trim(equals + 1);
	(void)snprintf(out, (size_t)size, "%s = %u\n", line, reader->line);
	return out;
}

/* inih's handler: 1 = fine. */
static int on_key(void *data, const char *section, const char *key, const char *value)
{
	struct reader *reader = data;
	struct meta *meta = reader->meta;
	char *text = reader->values[reader->line];
	char number[16];
	(void)snprintf(number, sizeof number, "%u", reader->line);
	if (*section && !streq(section, "script"))
		return complain(reader, "the only section that is allowed is [script]"), 0;
	/* A ':' in the key would make inih split there. */
	if (!text || !streq(value, number))
		return complain(reader, "this line is not KEY = VALUE"), 0;
	if (meta_get(meta, key) && !streq(key, "topic"))
		return complain(reader, "the key is already set above"), 0;
	if (meta->count == META_KEYS_MAX)
		return complain(reader, "the file has too many keys"), 0;
	char *copy = text - strlen(key) - 1; /* there is room: the key stood before the '=' */
	memmove(copy, key, strlen(key) + 1);
	meta->keys[meta->count++] = (struct registry_meta){ copy, text };
	return 1;
}

int meta_parse(const char *name, const char *text, size_t size, struct meta *ret, struct lsn_error *err)
{
	struct meta meta = { .text = NULL };
	struct reader reader = { .meta = &meta, .name = name, .err = err };
	if (size > META_SIZE_MAX || !utf8_valid(text, size))
		return lsn_error_set(err, -EINVAL, size > META_SIZE_MAX ? "%s is too large" : "%s is not UTF-8 text",
				     name);
	meta.text = strndup(text, size);
	if (!meta.text)
		return -ENOMEM;
	reader.next = meta.text;
	if (str_startswith(reader.next, "\xef\xbb\xbf"))
		reader.next += 3;
	int r = ini_parse_stream(read_line, &reader, on_key, &reader);
	if (r == -2)
		r = -ENOMEM;
	else if (reader.failed)
		r = reader.failed;
	else if (r != 0)
		r = lsn_error_set(err, -EINVAL, "%s:%d: this is neither KEY = VALUE nor [script]", name, r);
	if (r < 0) {
		meta_clear(&meta);
		return r;
	}
	*ret = meta;
	return 0;
}

void meta_clear(struct meta *meta)
{
	free(meta->text);
	*meta = (struct meta){ .text = NULL };
}

const char *meta_get(const struct meta *meta, const char *key)
{
	for (size_t i = 0; i < meta->count; i++)
		if (streq(meta->keys[i].key, key))
			return meta->keys[i].value;
	return NULL;
}

void meta_get_more(const struct meta *meta, const char *key, const char *ret[META_KEYS_MAX])
{
	bool first = true;

	for (size_t i = 0; i < meta->count; i++) {
		if (!streq(meta->keys[i].key, key))
			continue;
		if (!first)
			*ret++ = meta->keys[i].value;
		first = false;
	}
	*ret = NULL;
}
