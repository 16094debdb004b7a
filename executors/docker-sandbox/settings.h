/* settings.h - the settings of one [executor NAME] section that uses docker-sandbox: the pool's
 * (options.h), and those that only a Docker Engine knows. */
#ifndef DOCKER_SANDBOX_SETTINGS_H
#define DOCKER_SANDBOX_SETTINGS_H

#include <stdio.h>

#include "options.h"

struct settings {
	struct options pool;
	char *socket, *image;
	char *runtime; /* "": the engine's own choice */
	char *network_name; /* "": chosen from the listener's and the instance's name */
	char *subnet; /* "": the engine chooses */
	bool ipv6;
	uint64_t engine_timeout_usec;
};

/* settings_parse - as options_parse(), with the keys of both tables. */
int settings_parse(const struct lsn_option *list, size_t count, struct settings *ret, struct lsn_error *err);
void settings_clear(struct settings *settings);

/* options_help - every key of both tables; for the manual. */
void options_help(FILE *out);

#endif
