/* near.h - scripts that do not run on a topic, although somebody may have meant them to. */
#ifndef CORE_NEAR_H
#define CORE_NEAR_H

#include "registry.h"

#define NEAR_SIZE 500

/* near_filter - why FILTER, which does not match TOPIC, nearly does: a slash at its beginning, the
 * case of its letters, one level, levels that are missing at its end.
 * False: it does not even nearly. */
bool near_filter(const char *filter, const char *topic, char ret[NEAR_SIZE]);

/* near_script - why ENTRY does not run on TOPIC, if it nearly does or is not active. */
bool near_script(const struct registry_entry *entry, const char *topic, char ret[NEAR_SIZE]);

#endif
