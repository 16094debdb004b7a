/* script_row.h - what a row of `scripts` says of a revision, for all commands that show one. */
#ifndef CORE_SCRIPT_ROW_H
#define CORE_SCRIPT_ROW_H

#include "script.h"
#include "wiring.h"

/* script_add_settings - to OBJECT: filters, version, executor, limits of SCRIPT. */
void script_add_settings(const struct daemon *daemon, json_t *object, const struct script *script);

#endif
