/* init_guard.h - a crash inside a module's init() cannot be survived, but it can be told.
 *
 * While init() runs, a fatal signal writes one line to stderr and a marker
 * RUN_DIR/EXECUTOR.crashed with the module's hash, and then kills the daemon as it would have.
 * The next start finds the marker and refuses this version of the module with a message, instead
 * of dying in the same place again; another version (the file was replaced) removes the marker.
 * So does an operator who wants to try again. Killed from outside (SIGKILL, power) leaves no
 * marker: that says nothing about the module. A hang is the watchdog's: its SIGABRT is told like
 * a crash.
 *
 *     r = init_guard_check(...);            refused?
 *     init_guard_arm(...); init(); init_guard_disarm(); */
#ifndef CORE_INIT_GUARD_H
#define CORE_INIT_GUARD_H

#include "module.h"

/* init_guard_check - 0, or -ENOEXEC with the story if this version crashed the daemon before. */
int init_guard_check(const char *run_dir, const char *executor, const struct module *module, struct lsn_error *err);

/* One guard at a time, loop thread. */
void init_guard_arm(const char *run_dir, const char *executor, const struct module *module);
void init_guard_disarm(void);

#endif
