/* subscriptions.c - see subscriptions.h. One filter a line; filters cannot hold a newline that a
 * broker would take. */
#include "subscriptions.h"
#include "cleanup.h"
#include "util.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define NOTE_MAX ((size_t)1 << 20) /* bytes read */

void subscriptions_free(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}
DEFINE_CLEANUP(char **, subscriptions_freep, subscriptions_free)

static bool is_one_of(char *const *list, const char *text)
{
	for (; list && *list; list++)
		if (streq(*list, text))
			return true;
	return false;
}

static size_t count_lines(const char *text)
{
	size_t n = 1;
	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* stale_of - the lines of NOTE that are not WANTED. */
static int stale_of(char *note, char *const *wanted, char ***ret)
{
	_cleanup_(subscriptions_freep) char **list = calloc(count_lines(note) + 1, sizeof *list);
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	for (char *rest = note, *line; (line = strsep(&rest, "\n"));) {
		if (!*line || is_one_of(wanted, line) || is_one_of(list, line))
			continue;
		if (!(list[n++] = strdup(line)))
			return -ENOMEM;
	}
	*ret = TAKE_PTR(list);
	return 0;
}

static void write_list(FILE *file, char *const *list)
{
	for (; list && *list; list++)
		(void)fprintf(file, "%s\n", *list);
}

static int write_note(const char *path, char *const *wanted, char *const *stale)
{
	char temporary[PATH_MAX];
	(void)snprintf(temporary, sizeof temporary, "%s.new", path);
	FILE *file = fopen(temporary, "we");

	if (!file)
		return -errno;
	write_list(file, wanted);
	write_list(file, stale);
	bool ok = fflush(file) == 0 && fdatasync(fileno(file)) == 0;
	int r = ok ? 0 : -errno;
	if (fclose(file) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) != 0)
		r = -errno;
	return r;
}

int subscriptions_note(const char *state_dir, char *const *wanted, char ***ret_stale, struct lsn_error *err)
{
	_cleanup_(subscriptions_freep) char **stale = NULL;
	_cleanup_free_ char *note = NULL;
	char path[PATH_MAX];
	size_t size;

	(void)snprintf(path, sizeof path, "%s/subscriptions", state_dir);
	if (read_file_limited(AT_FDCWD, path, NOTE_MAX, &note, &size) < 0 && !(note = strdup("")))
		return lsn_error_set(err, -ENOMEM, "out of memory");
	int r = stale_of(note, wanted, &stale);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	r = write_note(path, wanted, stale);
	if (r < 0)
		return lsn_error_set(err, r, "cannot write %s: %s", path, strerror(-r));
	*ret_stale = TAKE_PTR(stale);
	return 0;
}
