/* resolver_file.c - lines for resolvers, and what of the host's own file says nothing about
 * them. */
#include "resolver_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cleanup.h>
#include <util.h>

#define HOST_FILE "/etc/resolv.conf"
#define HOST_MAX (64u << 10)
#define LINE_SIZE 512

static void put_line(char *buf, const char *word, const char *rest, size_t size)
{
	size_t have = strlen(buf), need = strlen(word) + size + 2;

	if (have + need < RESOLVER_FILE_MAX)
		(void)snprintf(buf + have, RESOLVER_FILE_MAX - have, "%s %.*s\n", word, (int)size, rest);
}

static bool is_plain(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((text[i] < ' ' && text[i] != '\t') || text[i] > '~')
			return false;
	return size > 0 && size < LINE_SIZE;
}

static void put_host_line(char *buf, const char *line, size_t size)
{
	static const char *const words[] = { "search", "domain", "options" };

	for (size_t i = 0; i < ELEMENTSOF(words); i++) {
		size_t word = strlen(words[i]);
		if (size <= word || strncmp(line, words[i], word) != 0 || !strchr(" \t", line[word]))
			continue;
		size_t skip = word + strspn(line + word, " \t");
		if (skip < size && is_plain(line + skip, size - skip))
			put_line(buf, words[i], line + skip, size - skip);
	}
}

void resolver_file_text(const struct options *options, const char *host, char *buf)
{
	*buf = 0;
	for (size_t i = 0; i < options->dns.count; i++)
		put_line(buf, "nameserver", options->dns.items[i], strlen(options->dns.items[i]));
	for (const char *line = host; line && *line;) {
		size_t size = strcspn(line, "\n");
		put_host_line(buf, line, size);
		line += size + (line[size] == '\n');
	}
}

int resolver_file_write(int dir_fd, const struct options *options)
{
	_cleanup_free_ char *host = NULL;
	char text[RESOLVER_FILE_MAX];
	size_t size;

	/* may be a link, or not there */
	(void)read_file_limited(AT_FDCWD, HOST_FILE, HOST_MAX, &host, &size);
	resolver_file_text(options, host, text);
	_cleanup_close_ int fd =
		openat(dir_fd, RESOLVER_FILE ".new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	size = strlen(text);
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	if (write(fd, text, size) != (ssize_t)size)
		return errno ? -errno : -EIO;
	return renameat(dir_fd, RESOLVER_FILE ".new", dir_fd, RESOLVER_FILE) < 0 ? -errno : 0;
}
