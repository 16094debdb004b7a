/* A child process that the test plays. */
#include "control_lookup_stubs.h"

struct played played;

int child_start(sd_event *loop, const struct child_task *task, void (*done)(void *data, const struct child_end *end),
		void *data, struct child **ret, struct lsn_error *err)
{
	(void)loop;
	(void)err;
	played = (struct played){ .task = *task, .done = done, .data = data };
	*ret = NULL;
	return 0;
}

void child_cancel(struct child *child) { (void)child; }

const char *child_say_end(const siginfo_t *how, char ret[CHILD_END_SIZE])
{
	(void)snprintf(ret, CHILD_END_SIZE, "%d", how->si_status);
	return ret;
}
