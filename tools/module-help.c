/* module-help.c - prints the keys of one module's section as "listenerd --help-config" prints
 * the daemon's own.
 *
 * mk/manuals.mk builds it once for each folder of executors/ that has an options.c, with that
 * folder's options.h; tools/config-doc reads what it prints. */
#include "options.h"

int main(void)
{
	options_help(stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}
