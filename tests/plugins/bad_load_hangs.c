/* Never comes back from being opened. */
#include "plugin.h"

#include <unistd.h>

__attribute__((constructor)) static void hang(void)
{
	for (;;)
		(void)pause();
}

PLUGIN("bad-load-hangs", .detach = NULL)
