/* Ends the process that opens it, with success. */
#include "plugin.h"

#include <unistd.h>

__attribute__((constructor)) static void leave(void) { _exit(0); }

PLUGIN("bad-load-exits", .detach = NULL)
