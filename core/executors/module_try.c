/* module_try.c - a module is opened in a child first. Constructors run when a library is opened;
 * one that crashes, hangs or exits must cost us a process, not the daemon; and check() may ask a
 * service that hangs. The child reports a whole struct lsn_error, also for success (code 0): a
 * child that ends without one did not get through. */
#include "child.h"
#include "cleanup.h"
#include "module.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <util.h>

#define TRIAL_SECONDS 5

static void trial_work(int report_fd, int kept_fd, const void *data)
{
	const struct module_trial *trial = data;
	struct lsn_executor_module abi;
	struct lsn_error report = { 0 };
	char path[32];
	void *library;

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", kept_fd);
	report.code = module_open(path, trial->module->name, &library, &abi, &report);
	if (report.code == 0 && trial->check && abi.check)
		report.code = abi.check(trial->options, trial->option_count, &report);
	if (write(report_fd, &report, sizeof report) != (ssize_t)sizeof report)
		_exit(1);
}

struct child_task module_trial_task(const struct module_trial *trial)
{
	return (struct child_task){ .name = "module-trial",
				    .work = trial_work,
				    .data = trial,
				    .kept_fd = trial->module->fd,
				    .limit_usec = TRIAL_SECONDS * USEC_PER_SEC };
}

int module_trial_judge(const struct child_end *end, struct lsn_error *err)
{
	struct lsn_error report;

	if (end->timeout)
		return lsn_error_set(err, -ETIMEDOUT,
				     "it was not loaded after %d s: does one of its constructors, or its check(), "
				     "hang?",
				     TRIAL_SECONDS);
	if (end->report_size == sizeof report) {
		memcpy(&report, end->report, sizeof report);
		report.message[sizeof report.message - 1] = 0;
		return report.code < 0 ? lsn_error_set(err, report.code, "%s", report.message) : 0;
	}
	if (end->how.si_code == CLD_KILLED || end->how.si_code == CLD_DUMPED)
		return lsn_error_set(err, -ENOEXEC, "it crashed while being loaded (signal %d, %s)", end->how.si_status,
				     strsignal(end->how.si_status));
	return lsn_error_set(err, -ENOEXEC, "it ended the process while being loaded (exit status %d)",
			     end->how.si_status);
}

int module_trial_now(const struct module_trial *trial, struct lsn_error *err)
{
	const struct child_task task = module_trial_task(trial);
	char buffer[CHILD_REPORT_MAX];
	struct child_end end;

	int r = child_wait(&task, buffer, &end, err);
	return r < 0 ? r : module_trial_judge(&end, err);
}

int module_load(struct module_list *loaded, const char *folder, const char *name, struct module **ret,
		struct lsn_error *err)
{
	_cleanup_module_ struct module *module = NULL;
	struct module_trial trial = { 0 };

	int r = module_find(loaded, folder, name, &module, err);
	trial.module = module;
	if (r == 0 && !module->library)
		r = module_trial_now(&trial, err);
	if (r == 0)
		r = module_load_copy(module, err);
	if (r == 0)
		*ret = TAKE_PTR(module);
	return r;
}
