/* resolver_file.c - lines for resolvers, and what of the host's own file says nothing about
 * them. */
#include "resolver_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

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

/* is_text - FD holds TEXT already: resolvers in sandboxes need not read it again. */
static bool is_text(int fd, const char *text)
{
	char old[RESOLVER_FILE_MAX];
	ssize_t n = pread(fd, old, sizeof old, 0);

	return n >= 0 && (size_t)n == strlen(text) && memcmp(old, text, (size_t)n) == 0;
}

int resolver_file_write(int dir_fd, const struct options *options)
{
	_cleanup_free_ char *host = options_read_resolver_file(0);
	char text[RESOLVER_FILE_MAX];

	resolver_file_text(options, host, text);
	_cleanup_close_ int fd = openat(dir_fd, RESOLVER_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	size_t size = strlen(text);
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	if (is_text(fd, text))
		return 0;
	/* not through a file without any text: somebody may read it just now */
	ssize_t n = pwrite(fd, text, size, 0);
	if (n < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	return n == (ssize_t)size ? 0 : -EIO;
}

/* True: one of the host's files is another than at the last call. */
static bool watch_changed(struct resolver_watch *watch)
{
	struct resolver_watch now;

	memset(&now, 0, sizeof now); /* with what is between the members */
	for (size_t i = 0; i < RESOLVER_FILES; i++) {
		struct stat st;
		if (stat(options_resolver_files[i], &st) < 0)
			continue;
		now.seen[i].inode = st.st_ino;
		now.seen[i].device = st.st_dev;
		now.seen[i].size = st.st_size;
		now.seen[i].changed = st.st_ctim;
	}
	if (memcmp(&now, watch, sizeof now) == 0)
		return false;
	memcpy(watch, &now, sizeof now);
	return true;
}

static bool is_same_list(const struct str_list *a, const struct str_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!streq(a->items[i], b->items[i]))
			return false;
	return true;
}

int resolver_watch_follow(struct resolver_watch *watch, struct options *options, int dir_fd)
{
	struct str_list found = { 0 };
	struct options next = *options;

	if (!watch_changed(watch))
		return 0;
	int r = options->dns_of_host ? options_find_resolvers(&found) : 0;
	bool news = found.count > 0 && !is_same_list(&found, &options->dns);
	if (news)
		next.dns = found;
	if (r == 0)
		r = resolver_file_write(dir_fd, &next);
	if (r < 0 || !news) {
		str_list_clear(&found);
		return r;
	}
	str_list_clear(&options->dns);
	options->dns = found;
	return 1;
}
