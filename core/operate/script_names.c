/* script_names.c - see script_names.h. */
#include "script_names.h"
#include <stdlib.h>
#include <string.h>

void script_names_add(struct script_names *names, const char *name)
{
	if (names->count == names->capacity) {
		size_t capacity = names->capacity ? names->capacity * 2 : 64;
		char **larger = reallocarray(names->list, capacity, sizeof *larger);
		names->failed |= !larger;
		if (!larger)
			return;
		names->list = larger;
		names->capacity = capacity;
	}
	names->list[names->count] = strdup(name);
	names->failed |= !names->list[names->count];
	names->count += names->list[names->count] != NULL;
}

static void take_name(void *data, const struct registry_entry *entry) { script_names_add(data, entry->name); }

void script_names_take(struct script_names *names, struct registry *registry)
{
	registry_each(registry, take_name, names);
}

void script_names_clear(struct script_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->list[i]);
	free(names->list);
	*names = (struct script_names){ 0 };
}
