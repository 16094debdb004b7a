/* source.c - what all kinds of sources have in common. */
#include "source.h"

#include <util.h>

void source_free(struct source *source)
{
	if (source)
		source->ops->free(source);
}

bool source_config_equal(const struct source_config *a, const struct source_config *b)
{
	return a->kind == b->kind && streq(a->directory, b->directory) && streq(a->url, b->url) &&
	       streq(a->user, b->user) && streq(a->password, b->password) && streq(a->ca_file, b->ca_file) &&
	       a->verify == b->verify && a->timeout_usec == b->timeout_usec && a->fetches == b->fetches &&
	       streq(a->collection, b->collection) && a->recursive == b->recursive &&
	       a->rescan_usec == b->rescan_usec && a->scripts_max == b->scripts_max && a->size_max == b->size_max;
}

void source_config_clear(struct source_config *config)
{
	if (config->password)
		explicit_bzero(config->password, strlen(config->password));
	char **strings[] = { &config->directory, &config->url,     &config->user,
			     &config->password,  &config->ca_file, &config->collection };
	for (size_t i = 0; i < ELEMENTSOF(strings); i++) {
		free(*strings[i]);
		*strings[i] = NULL;
	}
}
