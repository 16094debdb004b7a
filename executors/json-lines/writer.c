/* writer.c - see writer.h. */
#include "writer.h"
#include "line.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

STAILQ_HEAD(task_list, task);

struct writer {
	const struct lsn_host *host;
	task_done_fn done;
	struct lsn_watch *watch;
	int fd; /* eventfd: something is written */
	pthread_t thread;
	bool runs; /* the thread */
	/* the rest is shared with the thread */
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool stop;
	struct task_list waiting, written;
};

/* writer_next - the thread waits for the next line; NULL: no more. The mutex is held. */
static struct task *writer_next(struct writer *writer)
{
	struct task *task;

	while (!writer->stop && STAILQ_EMPTY(&writer->waiting))
		(void)pthread_cond_wait(&writer->wake, &writer->mutex);
	if (writer->stop)
		return NULL;
	task = STAILQ_FIRST(&writer->waiting);
	STAILQ_REMOVE_HEAD(&writer->waiting, next);
	return task;
}

static void *writer_run(void *data)
{
	struct writer *writer = data;
	struct task *task;

	(void)pthread_mutex_lock(&writer->mutex);
	while ((task = writer_next(writer))) {
		(void)pthread_mutex_unlock(&writer->mutex);
		task->result = line_append(task->fd, task->job, task->sync);
		(void)pthread_mutex_lock(&writer->mutex);
		if (STAILQ_EMPTY(&writer->written))
			(void)eventfd_write(writer->fd, 1);
		STAILQ_INSERT_TAIL(&writer->written, task, next);
	}
	(void)pthread_mutex_unlock(&writer->mutex);
	return NULL;
}

static void on_written(void *data, int fd, uint32_t events)
{
	struct writer *writer = data;
	struct task_list written = STAILQ_HEAD_INITIALIZER(written);
	struct task *task;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(fd, &count);
	(void)pthread_mutex_lock(&writer->mutex);
	STAILQ_CONCAT(&written, &writer->written);
	(void)pthread_mutex_unlock(&writer->mutex);
	while ((task = STAILQ_FIRST(&written))) {
		STAILQ_REMOVE_HEAD(&written, next);
		close(task->fd);
		writer->done(task);
	}
}

/* writer_start - signals are the loop's affair: the thread takes none. */
static int writer_start(struct writer *writer)
{
	sigset_t all, before;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = -pthread_create(&writer->thread, NULL, writer_run, writer);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	writer->runs = r == 0;
	return r;
}

void writer_put(struct writer *writer, struct task *task)
{
	(void)pthread_mutex_lock(&writer->mutex);
	STAILQ_INSERT_TAIL(&writer->waiting, task, next);
	(void)pthread_cond_signal(&writer->wake);
	(void)pthread_mutex_unlock(&writer->mutex);
}

static void writer_stop(struct writer *writer)
{
	(void)pthread_mutex_lock(&writer->mutex);
	writer->stop = true;
	(void)pthread_cond_signal(&writer->wake);
	(void)pthread_mutex_unlock(&writer->mutex);
	(void)pthread_join(writer->thread, NULL);
}

void writer_free(struct writer *writer)
{
	if (!writer)
		return;
	if (writer->runs)
		writer_stop(writer);
	writer->host->unwatch(writer->host->handle, writer->watch);
	if (writer->fd >= 0)
		close(writer->fd);
	(void)pthread_cond_destroy(&writer->wake);
	(void)pthread_mutex_destroy(&writer->mutex);
	free(writer);
}

int writer_new(const struct lsn_host *host, task_done_fn done, struct writer **ret)
{
	struct writer *writer = calloc(1, sizeof *writer);

	if (!writer)
		return -ENOMEM;
	writer->host = host;
	writer->done = done;
	STAILQ_INIT(&writer->waiting);
	STAILQ_INIT(&writer->written);
	(void)pthread_mutex_init(&writer->mutex, NULL);
	(void)pthread_cond_init(&writer->wake, NULL);
	writer->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = writer->fd < 0 ? -errno : 0;
	if (r == 0)
		r = host->watch(host->handle, writer->fd, LSN_WATCH_READ, on_written, writer, &writer->watch);
	if (r == 0)
		r = writer_start(writer);
	if (r < 0) {
		writer_free(writer);
		return r;
	}
	*ret = writer;
	return 0;
}
