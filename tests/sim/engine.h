/* engine.h - what the invariants ask the executors. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

struct execution;
struct execution *engine_execution(uint64_t job, uint32_t attempt); /* NULL: it never began */
bool engine_runs(uint64_t job, uint32_t attempt); /* it runs now */

bool engine_succeeded(uint64_t job, uint32_t attempt);

#endif
