/* line.c - see line.h. The file is opened for each line, so that it can be rotated by renaming
 * it. */
#include "line.h"
#include "json_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAYLOAD_MAX (256u << 20) /* bytes; more does not fit into one line sensibly */

int line_open(const char *path)
{
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
	struct stat st;
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;

	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

int line_check(const char *path)
{
	int fd = line_open(path);

	return fd < 0 ? fd : close(fd);
}

int line_place(const char *path, char place[LSN_PLACE_SIZE])
{
	int fd = line_open(path);
	struct stat st = { 0 };

	if (fd < 0)
		return fd;
	int r = fstat(fd, &st) < 0 ? -errno : 0;
	(void)snprintf(place, LSN_PLACE_SIZE, "%ju:%ju:%jd", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
		       (intmax_t)st.st_size);
	close(fd);
	return r;
}

/* A line that grows. The payload is written into it by us: jansson takes 150 ms for 8 MB, and
 * who waits for the line waits as long. */
struct line {
	char *text;
	size_t size;
};

static void line_add(struct line *line, const char *bytes, size_t size)
{
	memcpy(line->text + line->size, bytes, size);
	line->size += size;
}

/* is_test - a daemon of 1.2 knows no tests. */
static bool is_test(const struct lsn_job *job)
{
	return job->size >= offsetof(struct lsn_job, test) + sizeof job->test && job->test;
}

/* job_head - all but the payload, as an object without its end. line_find() looks for its
 * beginning; jansson keeps the order of members. */
static char *job_head(const struct lsn_job *job)
{
	json_t *object = json_pack("{sI si sI ss ss ss% sI}", "job", (json_int_t)job->id, "attempt", (int)job->attempt,
				   "event", (json_int_t)job->event, "script", job->script, "version",
				   job->script_version, "topic", job->topic, job->topic_size, "received_usec",
				   (json_int_t)job->received_realtime_usec);
	if (object && is_test(job))
		(void)json_object_set_new(object, "test", json_true());
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	if (text)
		text[strlen(text) - 1] = 0;
	return text;
}

/* line_begin - a line with room for SIZE_MAX bytes of payload: up to its first byte. */
static int line_begin(struct line *ret, const char *head, const char *key, size_t size_max)
{
	char name[40];
	size_t head_size = strlen(head), name_size = (size_t)snprintf(name, sizeof name, ",\"%s\":\"", key);

	*ret = (struct line){ .text = malloc(head_size + name_size + size_max + 4) };
	if (!ret->text)
		return -ENOMEM;
	line_add(ret, head, head_size);
	line_add(ret, name, name_size);
	return 0;
}

static void line_end(struct line *line) { line_add(line, "\"}\n", 3); }

static int line_of_text(struct line *ret, const char *head, const char *payload, size_t size)
{
	size_t escaped_size = json_text_size(payload, size);
	int r = line_begin(ret, head, "payload", escaped_size);

	if (r < 0)
		return r;
	json_text_escape(payload, size, ret->text + ret->size);
	ret->size += escaped_size;
	line_end(ret);
	return 0;
}

static int line_of_bytes(struct line *ret, const char *head, const char *payload, size_t size)
{
	int r = line_begin(ret, head, "payload_base64", 4 * ((size + 2) / 3));

	if (r < 0)
		return r;
	ret->size += (size_t)EVP_EncodeBlock((unsigned char *)ret->text + ret->size, (const unsigned char *)payload,
					     (int)size);
	line_end(ret);
	return 0;
}

/* payload_map - the payload without a copy; it is sealed, so nobody can cut it meanwhile. */
static int payload_map(const struct lsn_job *job, const char **ret)
{
	size_t size = (size_t)job->payload_size;
	void *map;

	*ret = "";
	if (size == 0)
		return 0;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, job->payload_fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret = map;
	return 0;
}

static void payload_unmap(const struct lsn_job *job, const char *payload)
{
	if (job->payload_size > 0)
		(void)munmap((void *)(uintptr_t)payload, (size_t)job->payload_size);
}

/* line_of - JOB's line, its end included: the payload as text if it is UTF-8, else in base64. */
static int line_of(const struct lsn_job *job, struct line *ret)
{
	size_t size = (size_t)job->payload_size;
	const char *payload;
	int r = payload_map(job, &payload);

	if (r < 0)
		return r;
	char *head = job_head(job);
	if (!head)
		r = -ENOMEM;
	else
		r = json_text_is(payload, size) ? line_of_text(ret, head, payload, size)
						: line_of_bytes(ret, head, payload, size);
	free(head);
	payload_unmap(job, payload);
	return r;
}

/* write_locked - one write() of the whole line. If only a part was written, it is removed, so
 * that the file holds whole lines only. */
static int write_locked(int fd, const struct line *line, bool sync)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	ssize_t n = write(fd, line->text, line->size);
	int r = n == (ssize_t)line->size ? 0 : n < 0 ? -errno : -ENOSPC;
	if (r == 0 && sync && fdatasync(fd) < 0)
		r = -errno;
	if (r < 0 && n > 0 && ftruncate(fd, st.st_size) < 0)
		r = -errno;
	return r;
}

/* The lock keeps other instances from writing in between: each has a thread of its own. It would
 * stay until the loop closes FD, and the loop may be busy. */
static int write_line(int fd, const struct line *line, bool sync)
{
	(void)flock(fd, LOCK_EX); /* a file system without locks has none */
	int r = write_locked(fd, line, sync);
	(void)flock(fd, LOCK_UN);
	return r;
}

int line_append(int fd, const struct lsn_job *job, bool sync)
{
	struct line line = { 0 };
	int r = job->payload_size <= PAYLOAD_MAX ? line_of(job, &line) : -EFBIG;

	if (r >= 0)
		r = write_line(fd, &line, sync);
	free(line.text);
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

	/* errno: for want of memory getline() ends without an error of the stream */
	while ((errno = 0, n = getline(&line, &size, file)) > 0 && line[n - 1] == '\n') {
		found |= strncmp(line, start, length) == 0;
		at += n;
	}
	if (n < 0 && !feof(file))
		found = errno ? -errno : -EIO;
	free(line);
	if (n > 0 && ftruncate(fileno(file), at) < 0)
		return -errno;
	return found;
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
	fd = line_open(path);
	if (fd < 0)
		return fd;
	FILE *file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	(void)flock(fd, LOCK_EX);
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_dev != device || st.st_ino != inode || st.st_size < size)
		r = -ESTALE;
	else
		r = fseeko(file, (off_t)size, SEEK_SET) < 0 ? -errno : scan(file, job);
	(void)fclose(file);
	return r;
}
