/* script_file.c - see script_file.h. */
#include "script_file.h"
#include "cleanup.h"
#include "registry.h"

#include <errno.h>
#include <fcntl.h>
#include <util.h>

#define FRESH_USEC (50 * USEC_PER_MSEC) /* more than the tick that file times are made of */

static bool ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n > m && strcmp(s + n - m, suffix) == 0;
}

bool script_file_ignored(const char *base)
{
	static const char *const suffixes[] = { "~",    ".meta", ".swp",  ".swo",  ".swx",
						".tmp", ".bak",  ".orig", ".part", ".pyc" };
	if (base[0] == '.' || base[0] == '\0' || base[0] == '#' || streq(base, "__pycache__"))
		return true;
	for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
		if (ends_with(base, suffixes[i]))
			return true;
	return false;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* mtime:ctime:size:inode; the change time, because a mtime can be set back and a copy can keep
 * it. */
static int print_key(char *buf, size_t size, const struct stat *st)
{
	return snprintf(buf, size, "%lld.%09ld:%lld.%09ld:%lld:%llu", (long long)st->st_mtim.tv_sec,
			st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec, (long long)st->st_size,
			(unsigned long long)st->st_ino);
}

int script_file_look(int folder, const char *base, struct script_file *ret, struct lsn_error *err)
{
	*ret = (struct script_file){ .folder = folder, .base = base };
	if (fstatat(folder, base, &ret->script, AT_SYMLINK_NOFOLLOW) < 0) {
		int r = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG ? -ENOENT : -errno;
		return lsn_error_set(err, r, "it cannot be looked at: %s", strerror(-r));
	}
	if (S_ISDIR(ret->script.st_mode))
		return lsn_error_set(err, -ENOENT, "it is a folder");
	(void)snprintf(ret->meta_name, sizeof ret->meta_name, "%s.meta", base);
	ret->has_meta = fstatat(folder, ret->meta_name, &ret->meta, AT_SYMLINK_NOFOLLOW) == 0;
	if (!ret->has_meta && errno != ENOENT && errno != ENAMETOOLONG) {
		int r = -errno;
		return lsn_error_set(err, r, "%s cannot be looked at: %s", ret->meta_name, strerror(-r));
	}
	int n = print_key(ret->key, sizeof ret->key, &ret->script);
	if (ret->has_meta) {
		ret->key[n++] = '+';
		(void)print_key(ret->key + n, sizeof ret->key - (size_t)n, &ret->meta);
	}
	return 0;
}

static bool stat_fresh(const struct stat *st, uint64_t now)
{
	uint64_t changed = (uint64_t)st->st_ctim.tv_sec * USEC_PER_SEC + (uint64_t)st->st_ctim.tv_nsec / 1000;
	return changed + FRESH_USEC > now && changed < now + FRESH_USEC;
}

bool script_file_fresh(const struct script_file *file)
{
	uint64_t now = now_realtime_usec();
	return stat_fresh(&file->script, now) || (file->has_meta && stat_fresh(&file->meta, now));
}

static int check_kind(const char *name, const struct stat *st, struct lsn_error *err)
{
	if (S_ISREG(st->st_mode))
		return 0;
	return lsn_error_set(err, -EINVAL, "%s is %s: only regular files are read, so put a copy there", name,
			     S_ISLNK(st->st_mode) ? "a symbolic link" : "not a regular file");
}

/* Reads the whole file if it is still what SEEN says, before and after. -EAGAIN: it is not. */
static int read_unchanged(int folder, const char *name, const struct stat *seen, char **ret)
{
	_cleanup_close_ int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	size_t size = (size_t)seen->st_size, got = 0;
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? -EAGAIN : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!same_file(&st, seen))
		return -EAGAIN;
	_cleanup_free_ char *content = malloc(size + 1);
	if (!content)
		return -ENOMEM;
	while (got <= size) {
		ssize_t n = read(fd, content + got, size + 1 - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	if (got != size || fstat(fd, &st) < 0 || !same_file(&st, seen))
		return -EAGAIN;
	content[size] = '\0';
	*ret = TAKE_PTR(content);
	return 0;
}

/* 0; -EAGAIN, -ENOMEM; other: the problem is in ERR. */
static int read_one(const struct script_file *file, const char *name, const struct stat *st, size_t max, char **ret,
		    struct lsn_error *err)
{
	int r = check_kind(name, st, err);
	if (r < 0)
		return r;
	if ((uint64_t)st->st_size > max)
		return lsn_error_set(err, -EFBIG, "%s has %lld bytes: at most %zu are allowed", name,
				     (long long)st->st_size, max);
	r = read_unchanged(file->folder, name, st, ret);
	if (r < 0)
		(void)lsn_error_set(err, r, "%s cannot be read: %s", name, strerror(-r));
	return r;
}

static int read_both(struct script_file *file, size_t size_max, struct lsn_error *err)
{
	int r = read_one(file, file->base, &file->script, size_max, &file->content, err);
	if (r < 0 || !file->has_meta)
		return r;
	_cleanup_free_ char *text = NULL;
	r = read_one(file, file->meta_name, &file->meta, META_SIZE_MAX, &text, err);
	if (r < 0)
		return r;
	return meta_parse(file->meta_name, text, (size_t)file->meta.st_size, &file->parsed, err);
}

int script_file_read(struct script_file *file, size_t size_max, struct registry_offer *ret)
{
	int r = read_both(file, size_max, &file->problem);
	if (r == -EAGAIN || r == -ENOMEM)
		return r;
	*ret = (struct registry_offer){ .meta_strict = true, .source_key = file->key };
	if (r < 0) {
		ret->problem = file->problem.message;
		ret->problem_is_fetch = r != -EINVAL && r != -EFBIG;
		return 0;
	}
	ret->content = file->content;
	ret->size = (size_t)file->script.st_size;
	ret->topic = meta_get(&file->parsed, "topic");
	meta_get_more(&file->parsed, "topic", file->more_topics);
	ret->more_topics = file->more_topics;
	ret->meta = file->parsed.keys;
	ret->meta_count = file->parsed.count;
	return 0;
}

void script_file_clear(struct script_file *file)
{
	free(file->content);
	file->content = NULL;
	meta_clear(&file->parsed);
}
