/* meta.h - the .meta file of a script, in the same folder: INI, keys at the top or in a section
 * [script].
 *
 *     # when to run
 *     topic = create/+/projects/#
 *     topic = update/+/projects/#
 *     timeout = 5s
 *
 * Only `topic` may stand there several times.
 * A value is everything after the first '=', without the blanks at its ends. It may contain '#',
 * ';', ':' and '=', and may have any length. Comments are whole lines that begin with '#' or
 * ';'. */
#ifndef CORE_META_H
#define CORE_META_H

#include "registry.h"

#define META_KEYS_MAX 32
#define META_SIZE_MAX ((size_t)128 << 10) /* bytes of a file: the longest topic and some */

struct meta {
	struct registry_meta keys[META_KEYS_MAX]; /* pointers into TEXT */
	size_t count;
	char *text;
};

/* meta_parse - SIZE bytes of TEXT (copied).
 * 0, -ENOMEM, or -EINVAL with line and reason in ERR.
 * NAME is the file's, for messages. */
int meta_parse(const char *name, const char *text, size_t size, struct meta *ret, struct lsn_error *err);
void meta_clear(struct meta *meta);
const char *meta_get(const struct meta *meta, const char *key); /* NULL: not there */

/* meta_get_more - the values of a key that is set several times, but for the first; RET ends with
 * NULL. */
void meta_get_more(const struct meta *meta, const char *key, const char *ret[META_KEYS_MAX]);

#endif
