/* advice.h - what an author may not have meant: a filter that no event can reach, or that looks
 * like a slip.
 *
 * Such a script is active all the same; the advice is shown with it. Of several filters the first
 * that needs advice is named. */
#ifndef CORE_ADVICE_H
#define CORE_ADVICE_H

#include "config.h"
#include "script.h"

#define ADVICE_SIZE 600

/* advise - what is to be said about an active SCRIPT's filter and settings.
 * BUF (ADVICE_SIZE bytes) becomes "" if there is nothing.
 * Returns true if no event can run the script as things are, false if it is only suspicious or
 * well. */
bool advise(const struct config *config, const struct script *script, char *buf);

#endif
