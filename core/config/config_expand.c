/* config_expand.c - ${ENV:NAME} and ${FILE:/path} in values: the places where secrets come from. */
#include "config_private.h"

#include <cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <util.h>

#define SECRET_FILE_MAX 65536

/* systemd passes credentials in a folder that only the service can enter. Files in it may show
 * group bits (ACL masks). */
static bool is_credential(const char *path)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	size_t size = folder ? strlen(folder) : 0;

	return size > 0 && strncmp(path, folder, size) == 0 && path[size] == '/' && !strstr(path + size, "/..");
}

static int check_secret(int fd, const char *path, struct lsn_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return lsn_error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return lsn_error_set(err, -EINVAL, "%s is not a regular file", path);
	if (is_credential(path))
		return 0;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return lsn_error_set(err, -EACCES,
				     "%s belongs to user %u; it must belong to root or to the listener's user; remedy: "
				     "chown root %s",
				     path, st.st_uid, path);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return lsn_error_set(err, -EACCES,
				     "%s can be read or written by others (mode %03o); remedy: chmod 600 %s", path,
				     st.st_mode & 0777, path);
	return 0;
}

/* read_secret - the first line of PATH, without its end. */
static int read_secret(const char *path, char **ret, struct lsn_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t size, length;
	int r;

	if (*path != '/')
		return lsn_error_set(err, -EINVAL, "\"%.200s\" is not an absolute path", path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return lsn_error_set(err, -errno, "%s: %s", path, strerror(errno));
	r = check_secret(fd, path, err);
	if (r < 0)
		return r;
	r = read_fd_limited(fd, SECRET_FILE_MAX, &text, &size);
	if (r < 0)
		return lsn_error_set(err, r, "%s: %s", path, strerror(-r));
	length = strcspn(text, "\r\n");
	if (length > 0 && utf8_valid(text, length) && (text[length] != '\0' || length == size))
		*ret = strndup(text, length);
	else
		r = lsn_error_set(err, -EINVAL, "the first line of %s is empty or not text", path);
	if (r == 0 && !*ret)
		r = lsn_error_set(err, -ENOMEM, "out of memory");
	explicit_bzero(text, size);
	return r;
}

static int read_variable(const char *name, char **ret, struct lsn_error *err)
{
	const char *value = getenv(name);

	if (!value)
		return lsn_error_set(err, -ENOENT, "the environment variable %.100s is not set", name);
	if (!utf8_valid(value, strlen(value)) || strpbrk(value, "\r\n"))
		return lsn_error_set(err, -EINVAL, "the environment variable %.100s is not one line of text", name);
	*ret = strdup(value);
	return *ret ? 0 : lsn_error_set(err, -ENOMEM, "out of memory");
}

/* resolve - NAME of ${KIND:NAME}. */
static int resolve(bool from_file, const char *name, size_t size, char **ret, struct lsn_error *err)
{
	_cleanup_free_ char *copy = strndup(name, size);

	if (!copy)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	return from_file ? read_secret(copy, ret, err) : read_variable(copy, ret, err);
}

int config_expand(const char *text, char **ret, bool *ret_secret, struct lsn_error *err)
{
	_cleanup_free_ char *out = NULL;
	size_t size = 0;
	_cleanup_fclose_ FILE *f = open_memstream(&out, &size);
	bool secret = false;

	if (!f)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	while (*text) {
		bool file = str_startswith(text, "${FILE:"), env = str_startswith(text, "${ENV:");
		if (!file && !env) {
			(void)fputc(*text++, f);
			continue;
		}
		const char *name = strchr(text, ':') + 1, *end = strchr(name, '}');
		_cleanup_free_ char *value = NULL;
		if (!end || end == name)
			return lsn_error_set(err, -EINVAL, "\"%s\" is not complete; write %s",
					     file ? "${FILE:" : "${ENV:", file ? "${FILE:/path}" : "${ENV:NAME}");
		int r = resolve(file, name, (size_t)(end - name), &value, err);
		if (r < 0)
			return r;
		(void)fputs(value, f);
		secret = true;
		text = end + 1;
	}
	if (fclose(TAKE_PTR(f)) != 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*ret = TAKE_PTR(out);
	*ret_secret = secret;
	return 0;
}
