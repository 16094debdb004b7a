/* log.c - see log.h. Each line leaves in one write(), so that lines of several processes on one
 * stderr do not mix. */
#include "log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <util.h>

#define LOG_LINE_MAX 4096

static const char *const level_names[] = {
	[LSN_LOG_ERROR] = "error", [LSN_LOG_WARNING] = "warning", [LSN_LOG_NOTICE] = "notice",
	[LSN_LOG_INFO] = "info",   [LSN_LOG_DEBUG] = "debug",
};

static enum lsn_log_level max_level_now = LSN_LOG_INFO;
static bool forced;
static enum { TARGET_UNKNOWN, TARGET_PLAIN, TARGET_JOURNAL } target = TARGET_UNKNOWN;

/* Is stderr the stream that systemd connected? It says which one in JOURNAL_STREAM
 * ("device:inode"): the variable alone is not enough, a shell started below a service inherits
 * it. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	/* NOLINTNEXTLINE(cert-err34-c): numbers that do not fit are no file's */
	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

void log_init(enum lsn_log_level max_level)
{
	if (!forced)
		max_level_now = max_level;
	target = stderr_is_journal() ? TARGET_JOURNAL : TARGET_PLAIN;
}

void log_force(enum lsn_log_level max_level)
{
	forced = false;
	log_init(max_level);
	forced = true;
}

enum lsn_log_level log_level(void) { return max_level_now; }

/* The start of a line: "<4>" for systemd, which adds the time itself, else time and level in
 * words. */
static size_t format_head(char *buf, size_t size, enum lsn_log_level level)
{
	uint64_t now = now_realtime_usec();
	time_t seconds = (time_t)(now / USEC_PER_SEC);
	struct tm tm;
	size_t n;

	if (target == TARGET_JOURNAL)
		return (size_t)snprintf(buf, size, "<%d>", (int)level);
	(void)gmtime_r(&seconds, &tm);
	n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
	unsigned msec = (unsigned)(now / USEC_PER_MSEC % 1000);
	return n + (size_t)snprintf(buf + n, size - n, ".%03uZ %s: ", msec, level_names[level]);
}

static void write_line(const char *line, size_t size)
{
	while (size > 0) {
		ssize_t n = write(STDERR_FILENO, line, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return; /* there is nobody left to tell */
		line += n;
		size -= (size_t)n;
	}
}

void log_linev(enum lsn_log_level level, const char *format, va_list ap)
{
	char line[LOG_LINE_MAX];
	int saved_errno = errno, n;
	size_t head, used;

	if (level > max_level_now)
		return;
	if (level < LSN_LOG_ERROR)
		level = LSN_LOG_ERROR; /* comes from a module: take no index on trust */
	if (target == TARGET_UNKNOWN)
		log_init(max_level_now);
	head = used = format_head(line, sizeof line, level);
	errno = saved_errno; /* for %m */
	n = vsnprintf(line + used, sizeof line - used, format, ap);
	if (n > 0)
		used += (size_t)n < sizeof line - used ? (size_t)n : sizeof line - used - 1;
	/* A text that brings its own line end could pass for another line, with another level. */
	for (size_t i = head; i < used; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
	while (used > head && line[used - 1] == ' ')
		used--;
	line[used++] = '\n';
	write_line(line, used);
	errno = saved_errno;
}

void log_line(enum lsn_log_level level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	log_linev(level, format, ap);
	va_end(ap);
}

int log_level_parse(const char *text, enum lsn_log_level *ret)
{
	for (size_t i = LSN_LOG_ERROR; i < ELEMENTSOF(level_names); i++) {
		if (streq(text, level_names[i])) {
			*ret = (enum lsn_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}
