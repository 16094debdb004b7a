/* A struct that ends before what version 1.0 had. */
#include "plugin.h"

PLUGIN("bad-short-struct", .size = offsetof(struct lsn_executor_module, submit))
