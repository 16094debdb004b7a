/* line.h - the file of json-lines.c: one job is one JSON object on one line. */
#ifndef JSON_LINES_LINE_H
#define JSON_LINES_LINE_H

#include <listener/executor.h>

/* line_open - PATH to append to; it is made if need be.
 * Regular files only: a pipe that nobody reads would block whoever writes.
 * A descriptor or negative errno. */
int line_open(const char *path);

/* line_check - can PATH be opened? 0 or negative errno. */
int line_check(const char *path);

/* line_place - name PATH's file and its size: a line that is written from now on stands in this
 * file at or after this size. */
int line_place(const char *path, char place[LSN_PLACE_SIZE]);

/* line_append - write JOB's line to FD completely or not at all. SYNC: also wait until it is on the
 * disk. It takes as long as the disk does; any thread may call it.
 * 0 or negative errno; -ENOMEM: nothing was written. */
int line_append(int fd, const struct lsn_job *job, bool sync);

/* line_find - was JOB's line written completely after line_place() returned PLACE? A half line that
 * a dead process left is removed.
 * 1, 0, -ESTALE if it is another file now, other negative errno. */
int line_find(const char *path, const struct lsn_job *job, const char *place);

#endif
