/* Says that it is larger than it is: who believes it reads beyond the symbol. */
#include "plugin.h"

PLUGIN("bad-size-lies", .size = sizeof lsn_executor + 64)
