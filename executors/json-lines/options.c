/* options.c - the table of settings: what they take, their defaults, what the manual says of
 * them. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int set_path(struct options *options, const char *value)
{
	if (value[0] != '/')
		return -EINVAL;
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(options->path);
	options->path = copy;
	return 0;
}

static int set_sync(struct options *options, const char *value)
{
	options->sync = strcasecmp(value, "yes") == 0;
	return options->sync || strcasecmp(value, "no") == 0 ? 0 : -EINVAL;
}

static const struct setting {
	const char *key, *fallback;
	int (*set)(struct options *options, const char *value);
	const char *refusal; /* of a value: "'VALUE' ..." */
	const char *meaning; /* for the manual */
} settings[] = {
	{ "path", "(required)", set_path, "is not an absolute path",
	  "The file to append to, by its absolute path. It is made if it does not exist. It must be a regular "
	  "file in a folder that the listener's user can write. It is opened again for each line, so you can "
	  "rotate it by renaming it." },
	{ "sync", "no", set_sync, "is neither yes nor no",
	  "yes: a job has succeeded when its line is on the disk. no: a job has succeeded when its line is "
	  "written; a power cut can lose the last lines." },
};
#define SETTINGS (sizeof settings / sizeof *settings)

int options_set(struct options *options, const struct lsn_option *option, struct lsn_error *err)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (strcmp(settings[i].key, option->key) == 0) {
			int r = settings[i].set(options, option->value);
			if (r == -ENOMEM)
				return lsn_error_set(err, r, "out of memory");
			return r == 0 ? 0
				      : lsn_error_set(err, r, "%s:%u: %s: '%s' %s", option->file, option->line,
						      option->key, option->value, settings[i].refusal);
		}
	return lsn_error_set(err, -EINVAL, "%s:%u: unknown key '%s'; see listenerd-json-lines(5)", option->file,
			     option->line, option->key);
}

void options_clear(struct options *options)
{
	free(options->path);
	*options = (struct options){ 0 };
}

void options_help(FILE *out)
{
	for (size_t i = 0; i < SETTINGS; i++)
		(void)fprintf(out, "  %s = %s\n      %s\n", settings[i].key, settings[i].fallback, settings[i].meaning);
}
