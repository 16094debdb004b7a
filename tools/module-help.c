/* module-help.c - prints the keys of one module's section as "listenerd --help-config" prints
 * the daemon's own.
 *
 * mk/manuals.mk builds it once for each module that has a table of keys, with the files of that
 * table; tools/config-doc reads what it prints. */
#include <stdio.h>

void options_help(FILE *out); /* the module's */

int main(void)
{
	options_help(stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}
