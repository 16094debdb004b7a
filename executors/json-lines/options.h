/* options.h - the settings of one [executor NAME] section that uses json-lines. */
#ifndef JSON_LINES_OPTIONS_H
#define JSON_LINES_OPTIONS_H

#include <stdio.h>

#include <listener/executor.h>

struct options {
	char *path; /* NULL: not given */
	bool sync;
};

/* options_set - take one option; an earlier value of its key is freed.
 * 0, or -EINVAL / -ENOMEM with ERR naming file and line. */
int options_set(struct options *options, const struct lsn_option *option, struct lsn_error *err);
void options_clear(struct options *options);

/* options_help - every key with default and meaning, in the lines of "listenerd --help-config":
 * the manual is made from it. */
void options_help(FILE *out);

#endif
