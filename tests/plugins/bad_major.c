/* Built for another major version. */
#include "plugin.h"

PLUGIN("bad-major", .version = (uint32_t)(LSN_ABI_MAJOR + 1) << 16)
