/* beside.c - what the simulated world has no use for: the stall meter, and children. Its loop
 * has no real time, and its executors are not loaded from files. */
#include "child.h"
#include "module.h"
#include "stall.h"
#include <errno.h>

void stall_source(const char *what, const char *name) { (void)what, (void)name; }

void stall_part(const char *what, const char *name, uint64_t usec) { (void)what, (void)name, (void)usec; }

void stall_commit(uint64_t usec) { (void)usec; }

void stall_get_figures(struct stall_figures *ret) { *ret = (struct stall_figures){ 0 }; }

int child_start(sd_event *loop, const struct child_task *task, void (*done)(void *data, const struct child_end *end),
		void *data, struct child **ret, struct lsn_error *err)
{
	(void)loop, (void)task, (void)done, (void)data, (void)ret;
	return lsn_error_set(err, -ENOSYS, "the simulation has no processes");
}

int child_wait(const struct child_task *task, void *buffer, struct child_end *ret, struct lsn_error *err)
{
	(void)task, (void)buffer, (void)ret;
	return lsn_error_set(err, -ENOSYS, "the simulation has no processes");
}

void child_cancel(struct child *child) { (void)child; }

int module_load_copy(struct module *module, struct lsn_error *err)
{
	(void)module, (void)err;
	return 0;
}

struct child_task module_trial_task(const struct module_trial *trial)
{
	(void)trial;
	return (struct child_task){ .kept_fd = -1 };
}

int module_trial_judge(const struct child_end *end, struct lsn_error *err)
{
	(void)end, (void)err;
	return 0;
}

int module_trial_now(const struct module_trial *trial, struct lsn_error *err)
{
	(void)trial, (void)err;
	return 0;
}
