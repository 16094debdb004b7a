/* source_config.c - a copy of a source's configuration that outlives a reload. */
#include "source.h"
#include <errno.h>
#include <string.h>

int source_config_copy(const struct source_config *config, struct source_config *ret)
{
	struct source_config copy = *config;
	char **strings[] = { &copy.directory, &copy.url, &copy.user, &copy.password, &copy.ca_file, &copy.collection };
	const size_t count = sizeof strings / sizeof strings[0];
	int r = 0;

	for (size_t i = 0; i < count; i++)
		if (*strings[i] && !(*strings[i] = strdup(*strings[i])))
			r = -ENOMEM;
	if (r < 0) {
		source_config_clear(&copy);
		copy = (struct source_config){ .kind = config->kind };
	}
	*ret = copy;
	return r;
}
