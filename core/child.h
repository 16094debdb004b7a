/* child.h - work that may block, done in a process of its own beside the loop: looking up a name,
 * opening a strange library, asking a service that may hang.
 *
 *     static void look(int report_fd, int kept_fd, const void *data) { ... write_all(report_fd,
 *     ...); }
 *     static void looked(void *data, const struct child_end *end) { ... }
 *
 *     const struct child_task task = { .name = "look", .work = look, .data = &question, ... };
 *     child_start(loop, &task, looked, me, &child, &err);
 *
 * The child is a fork of this process, which has one thread: WORK may call whatever it likes. It
 * has no descriptor of ours but the two it is given; standard input, output and error are
 * /dev/null. It is killed when its time is over, when it is cancelled, and when we end. */
#ifndef CORE_CHILD_H
#define CORE_CHILD_H

#include <listener/error.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define CHILD_REPORT_MAX 16384 /* bytes; a pipe takes as much without a reader */

struct child;

struct child_task {
	const char *name; /* of the process, at most 15 bytes */
	/* work - in the child; DATA is what it was at the call. What it writes to REPORT_FD is
	 * the report. */
	void (*work)(int report_fd, int kept_fd, const void *data);
	const void *data;
	int kept_fd; /* stays open in the child; -1: none */
	uint64_t limit_usec; /* above 0 */
};

struct child_end {
	const void *report; /* borrowed for the call */
	size_t report_size; /* bytes, 0..CHILD_REPORT_MAX */
	bool timeout; /* it was stopped after limit_usec */
	siginfo_t how; /* how it ended, as waitid() tells; nothing of it is known after a timeout */
};

/* child_start - run TASK (copied, its data not kept) and call DONE(data, end) once, on the loop
 * thread, never from inside.
 * SIGCHLD is blocked from here on, which the loop needs.
 * 0, or a negative errno with ERR: no process or no descriptor could be had. */
int child_start(sd_event *loop, const struct child_task *task, void (*done)(void *data, const struct child_end *end),
		void *data, struct child **ret, struct lsn_error *err);

/* child_wait - the same for a caller that may block: before there is a loop.
 * RET->report points into BUFFER, which has room for CHILD_REPORT_MAX bytes. */
int child_wait(const struct child_task *task, void *buffer, struct child_end *ret, struct lsn_error *err);

#define CHILD_END_SIZE 48

/* child_say_end - how a child ended, for a message: "with exit status 1", "by signal 11". */
const char *child_say_end(const siginfo_t *how, char ret[CHILD_END_SIZE]);

/* child_cancel - kill it; DONE is not called.
 * NULL is allowed.
 * Does not wait: the loop reaps it. */
void child_cancel(struct child *child);

#endif
