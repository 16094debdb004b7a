/* line.c - see line.h. The file is opened for each line, so that it can be rotated by renaming
 * it. */
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
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

/* A line that grows. The payload is written into it by us: jansson takes 150 ms for 8 MB, and the
 * daemon does nothing else meanwhile. */
struct line {
	char *text;
	size_t size;
};

/* is_text - UTF-8, NUL bytes included. */
static bool is_text(const char *bytes, size_t size)
{
	json_t *value = json_stringn(bytes, size);

	json_decref(value);
	return value;
}

/* must_escape - C cannot stand in a JSON string (RFC 8259, 7). */
static inline bool must_escape(unsigned char c) { return c < 0x20 || c == '"' || c == '\\'; }

/* escape_write - what stands for C; RET has room for 7 bytes. */
static size_t escape_write(unsigned char c, char ret[7])
{
	static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";
	const char *found = c ? strchr(letters, c) : NULL;

	return (size_t)(found ? snprintf(ret, 7, "\\%c", found[1]) : snprintf(ret, 7, "\\u%04x", c));
}

static void line_add(struct line *line, const char *bytes, size_t size)
{
	memcpy(line->text + line->size, bytes, size);
	line->size += size;
}

/* escape_all - BYTES as the inside of a JSON string; LINE NULL: only measured. Returns its size. */
static size_t escape_all(struct line *line, const char *bytes, size_t size)
{
	size_t from = 0, total = size;
	char instead[7];

	for (size_t at = 0; at < size; at++) {
		if (!must_escape((unsigned char)bytes[at]))
			continue;
		size_t length = escape_write((unsigned char)bytes[at], instead);
		if (line) {
			line_add(line, bytes + from, at - from);
			line_add(line, instead, length);
		}
		total += length - 1;
		from = at + 1;
	}
	if (line)
		line_add(line, bytes + from, size - from);
	return total;
}

/* job_head - all but the payload, as an object without its end. line_find() looks for its
 * beginning; jansson keeps the order of members. */
static char *job_head(const struct lsn_job *job)
{
	json_t *object = json_pack("{sI si sI ss ss ss% sI}", "job", (json_int_t)job->id, "attempt", (int)job->attempt,
				   "event", (json_int_t)job->event, "script", job->script, "version",
				   job->script_version, "topic", job->topic, job->topic_size, "received_usec",
				   (json_int_t)job->received_realtime_usec);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	if (text)
		text[strlen(text) - 1] = 0;
	return text;
}

static int line_build(struct line *ret, const char *head, const char *key, const char *payload, size_t size)
{
	char name[40];
	size_t head_size = strlen(head), name_size = (size_t)snprintf(name, sizeof name, ",\"%s\":\"", key);

	*ret = (struct line){ .text = malloc(head_size + name_size + escape_all(NULL, payload, size) + 3) };
	if (!ret->text)
		return -ENOMEM;
	line_add(ret, head, head_size);
	line_add(ret, name, name_size);
	(void)escape_all(ret, payload, size);
	line_add(ret, "\"}\n", 3);
	return 0;
}

/* line_encode - likewise in base64. */
static int line_encode(struct line *ret, const char *head, const unsigned char *payload, size_t size)
{
	char *base64 = malloc(4 * ((size + 2) / 3) + 1);
	int r = -ENOMEM;

	if (base64)
		r = line_build(ret, head, "payload_base64", base64,
			       (size_t)EVP_EncodeBlock((unsigned char *)base64, payload, (int)size));
	free(base64);
	return r;
}

/* line_of - JOB's line, its end included: the payload as text if it is UTF-8, else in base64. */
static int line_of(const struct lsn_job *job, struct line *ret)
{
	size_t size = (size_t)job->payload_size;
	char *head = job_head(job), *payload = malloc(size + 1);
	int r = -ENOMEM;

	/* pread(): the descriptor's offset is shared with others. */
	if (head && payload && pread(job->payload_fd, payload, size, 0) != (ssize_t)size)
		r = -EIO;
	else if (head && payload)
		r = is_text(payload, size) ? line_build(ret, head, "payload", payload, size)
					   : line_encode(ret, head, (unsigned char *)payload, size);
	free(head);
	free(payload);
	return r;
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
	struct line line = { 0 };
	struct stat st;
	int r = job->payload_size <= PAYLOAD_MAX ? line_of(job, &line) : -EFBIG;

	if (r >= 0)
		r = open_file(path, &st);
	if (r >= 0) {
		int fd = r;
		r = write_line(fd, line.text, line.size, st.st_size, sync);
		close(fd);
	}
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
