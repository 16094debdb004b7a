/* feed.c - the payload goes into the pipe that is a script's stdin. A pipe has room for 64 KiB:
 * most payloads are in it before the script begins, and nothing is left to do. The rest follows
 * from init's loop whenever the script has made room.
 *
 * The bytes are copied. splice() would lend the script the pages of the memfd, which other jobs of
 * the same event read too. */
#include "init.h"
#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void feed_close(struct feed *feed)
{
	if (feed->pipe_fd >= 0)
		(void)close(feed->pipe_fd);
	if (feed->payload_fd >= 0)
		(void)close(feed->payload_fd);
	*feed = (struct feed){ .pipe_fd = -1, .payload_fd = -1 };
}

/* feed_some - true: there may be room for more. */
static bool feed_some(struct feed *feed)
{
	static char buf[64 * 1024];
	ssize_t size = pread(feed->payload_fd, buf, sizeof buf, (off_t)feed->at);
	ssize_t n = size > 0 ? write(feed->pipe_fd, buf, (size_t)size) : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) { /* EPIPE: nobody reads any more */
		feed_close(feed);
		return false;
	}
	feed->at += (uint64_t)n;
	if (feed->at == feed->size)
		feed_close(feed);
	return feed->pipe_fd >= 0 && n == size;
}

/* A few buffers per call, so that a script that reads fast does not keep the loop from its other
 * duties. */
void feed_write(struct feed *feed)
{
	for (int i = 0; i < 4 && feed->pipe_fd >= 0; i++)
		if (!feed_some(feed))
			return;
}

int feed_open(struct feed *feed, int payload_fd, uint64_t size, int *ret_read_fd)
{
	int ends[2], r = script_pipe(ends, 1);
	if (r < 0)
		return r;
	*feed = (struct feed){ .pipe_fd = ends[1], .payload_fd = payload_fd, .size = size };
	feed->payload_fd = fcntl(payload_fd, F_DUPFD_CLOEXEC, HIGH_FD);
	if (feed->payload_fd < 0) {
		r = -errno;
		feed_close(feed);
		(void)close(ends[0]);
		return r;
	}
	feed_write(feed);
	*ret_read_fd = ends[0];
	return 0;
}
