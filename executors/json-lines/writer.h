/* writer.h - one thread that writes lines one after another: a disk may take long, and the loop
 * must not wait for it.
 *
 * The thread touches nothing of the host: it gets lines by a list and gives them back by another,
 * and an eventfd wakes the loop. */
#ifndef JSON_LINES_WRITER_H
#define JSON_LINES_WRITER_H

#include <listener/executor.h>
#include <sys/queue.h>

struct writer;

struct task { /* one line */
	const struct lsn_job *job;
	int fd; /* of the file; the writer closes it */
	bool sync;
	int result; /* 0 or negative errno, once it is written */
	void *data; /* the owner's */
	STAILQ_ENTRY(task) next;
};

/* Called from the loop for each line that has been written, or could not be. TASK is the owner's
 * again. */
typedef void (*task_done_fn)(struct task *task);

/* writer_new - 0 or negative errno. */
int writer_new(const struct lsn_host *host, task_done_fn done, struct writer **ret);

/* writer_put - have TASK done, after those before it. */
void writer_put(struct writer *writer, struct task *task);

/* writer_free - waits for the line that is being written. None may wait behind it. NULL is
 * allowed. */
void writer_free(struct writer *writer);

#endif
