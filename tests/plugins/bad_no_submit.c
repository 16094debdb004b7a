/* Lacks what every executor needs. */
#include "plugin.h"

PLUGIN("bad-no-submit", .submit = NULL)
