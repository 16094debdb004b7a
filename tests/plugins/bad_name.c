/* Calls itself something else than its file. */
#include "plugin.h"

PLUGIN("somebody-else", .detach = NULL)
