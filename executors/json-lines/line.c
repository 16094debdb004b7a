/* line.c - see line.h. The file is opened for each line, so that it can be rotated by renaming
 * it. */
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAYLOAD_MAX (256u << 20) /* bytes; more does not fit into one line sensibly */

static int open_file(const char *path, struct stat *ret)
{
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
	int r = fd < 0 || fstat(fd, ret) < 0 ? -errno : S_ISREG(ret->st_mode) ? 0 : -EINVAL;

	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

int line_check(const char *path)
{
	struct stat st;
	int fd = open_file(path, &st);

	return fd < 0 ? fd : close(fd);
}

int line_place(const char *path, char place[LSN_PLACE_SIZE])
{
	struct stat st;
	int fd = open_file(path, &st);

	if (fd < 0)
		return fd;
	(void)snprintf(place, LSN_PLACE_SIZE, "%ju:%ju:%jd", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
		       (intmax_t)st.st_size);
	return close(fd);
}

/* The payload as text if it is UTF-8, else in base64. NULL: no memory. */
static json_t *payload_json(const struct lsn_job *job, const char **ret_key)
{
	size_t size = (size_t)job->payload_size;
	unsigned char *payload = malloc(size + 1), *base64 = malloc(4 * ((size + 2) / 3) + 1);
	json_t *value = NULL;

	/* pread(): the descriptor's offset is shared with others. */
	if (payload && base64 && pread(job->payload_fd, payload, size, 0) == (ssize_t)size) {
		*ret_key = "payload";
		value = json_stringn((char *)payload, size); /* NULL if it is not UTF-8 */
		if (!value) {
			*ret_key = "payload_base64";
			value = json_stringn((char *)base64, (size_t)EVP_EncodeBlock(base64, payload, (int)size));
		}
	}
	free(payload);
	free(base64);
	return value;
}

/* line_find() looks for this beginning; jansson keeps the order of members. */
static char *job_line(const struct lsn_job *job)
{
	const char *key = "payload";
	json_t *payload = payload_json(job, &key);
	json_t *object = json_pack("{sI si sI ss ss ss% sI so}", "job", (json_int_t)job->id, "attempt",
				   (int)job->attempt, "event", (json_int_t)job->event, "script", job->script, "version",
				   job->script_version, "topic", job->topic, job->topic_size, "received_usec",
				   (json_int_t)job->received_realtime_usec, key, payload);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}

/* One write() of the whole line. If only a part was written, that part is removed, so that the
 * file holds whole lines only. */
static int write_line(int fd, const char *line, size_t size, off_t end, bool sync)
{
	ssize_t n = write(fd, line, size);
	int r = n == (ssize_t)size ? 0 : n < 0 ? -errno : -ENOSPC;

	if (r == 0 && sync && fdatasync(fd) < 0)
		r = -errno;
	if (r < 0 && n > 0 && ftruncate(fd, end) < 0)
		r = -errno;
	return r;
}

int line_append(const char *path, const struct lsn_job *job, bool sync)
{
	char *text = job->payload_size <= PAYLOAD_MAX ? job_line(job) : NULL, *line = NULL;
	int length = text ? asprintf(&line, "%s\n", text) : -1;
	int r = job->payload_size <= PAYLOAD_MAX ? -ENOMEM : -EFBIG;
	struct stat st;

	if (length >= 0)
		r = open_file(path, &st);
	if (r >= 0) {
		int fd = r;
		r = write_line(fd, line, (size_t)length, st.st_size, sync);
		close(fd);
	}
	free(text);
	if (length >= 0)
		free(line);
	return r;
}

/* Does a line from here on begin as JOB's line does? If a process died in write_line(), there is
 * a line without an end. Such a line was not written, and is removed. */
static int scan(FILE *file, const struct lsn_job *job)
{
	char start[80], *line = NULL;
	size_t size = 0, length = (size_t)snprintf(start, sizeof start, "{\"job\":%" PRIu64 ",\"attempt\":%u,", job->id,
						   job->attempt);
	off_t at = ftello(file);
	int found = 0;
	ssize_t n;

	while ((n = getline(&line, &size, file)) > 0 && line[n - 1] == '\n') {
		found |= strncmp(line, start, length) == 0;
		at += n;
	}
	free(line);
	if (n > 0 && ftruncate(fileno(file), at) < 0)
		return -errno;
	return ferror(file) ? -EIO : found;
}

int line_find(const char *path, const struct lsn_job *job, const char *place)
{
	uintmax_t device, inode;
	intmax_t size;
	struct stat st;
	int fd, r;

	/* NOLINTNEXTLINE(cert-err34-c): line_place() wrote it, and the file is compared with it */
	if (sscanf(place, "%ju:%ju:%jd", &device, &inode, &size) != 3)
		return -EINVAL;
	fd = open_file(path, &st);
	if (fd < 0)
		return fd;
	FILE *file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	if (st.st_dev != device || st.st_ino != inode || st.st_size < size)
		r = -ESTALE;
	else
		r = fseeko(file, (off_t)size, SEEK_SET) < 0 ? -errno : scan(file, job);
	(void)fclose(file);
	return r;
}
