/* script_names.h - the names of all scripts as they were at one moment, for answers that are made
 * in steps while scripts come and go. */
#ifndef CORE_SCRIPT_NAMES_H
#define CORE_SCRIPT_NAMES_H

#include "registry.h"

struct script_names {
	char **list;
	size_t count, next, capacity; /* next: where a step goes on */
	bool failed; /* out of memory: some are missing */
};

/* script_names_add - a copy of NAME. */
void script_names_add(struct script_names *names, const char *name);

/* script_names_take - those of REGISTRY, sorted. */
void script_names_take(struct script_names *names, struct registry *registry);
void script_names_clear(struct script_names *names);

#endif
