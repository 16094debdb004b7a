/* Exports something, but not lsn_executor. */
#include "plugin.h"

LSN_EXPORT const int lsn_executioner = 1;
