/* Crashes as soon as it is opened. */
#include "plugin.h"

#include <signal.h>

__attribute__((constructor)) static void crash(void) { (void)raise(SIGSEGV); }

PLUGIN("bad-load-crashes", .detach = NULL)
