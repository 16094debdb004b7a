/* file.c - descriptors and files, see util.h. */
#include <util.h>

#include <cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int memfd_sealed(const char *name, const void *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, data, size);
	if (r < 0)
		return r;
	/* A memfd can be written by everybody at first. Seals protect its content, but not its
	 * times, from a process that gets a descriptor. */
	if (lseek(fd, 0, SEEK_SET) < 0 || fchmod(fd, 0444) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int fd_reopen(int fd)
{
	char path[64];
	int new_fd;

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	new_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (new_fd < 0)
		return errno == ENOENT ? -EBADF : -errno;
	return new_fd;
}

static int mkdir_one(const char *path, unsigned mode)
{
	struct stat st;

	if (mkdir(path, (mode_t)mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int mkdir_p(const char *path, unsigned mode)
{
	_cleanup_free_ char *copy = NULL;
	int r;

	if (*path == '\0')
		return -EINVAL;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		r = mkdir_one(copy, mode);
		*slash = '/';
		/* what is above may be read-only to us and yet be there */
		if (r < 0 && r != -EROFS && r != -EACCES)
			return r;
	}
	return mkdir_one(copy, mode);
}

/* read_all - up to MAX + 1 bytes of FD, so that the caller can tell "too large"; SIZE_HINT is
 * what stat() said. */
static int read_all(int fd, size_t max, size_t size_hint, char **ret, size_t *ret_size)
{
	size_t room = size_hint < max ? size_hint + 1 : max + 1, used = 0;
	_cleanup_free_ char *data = NULL;

	for (;;) {
		char *larger = realloc(data, room + 1);
		if (!larger)
			return -ENOMEM;
		data = larger;
		while (used < room) {
			ssize_t n = read(fd, data + used, room - used);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			if (n == 0) {
				data[used] = '\0';
				*ret = TAKE_PTR(data);
				*ret_size = used;
				return 0;
			}
			used += (size_t)n;
		}
		if (used > max)
			return -EFBIG;
		/* it grew, or is of a kind that has no size (/proc) */
		room = room > max / 2 ? max + 1 : room * 2;
	}
}

int read_fd_limited(int fd, size_t max, char **ret, size_t *ret_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (max >= SIZE_MAX / 2)
		max = SIZE_MAX / 2 - 1;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	return read_all(fd, max, (size_t)st.st_size, ret, ret_size);
}

int read_file_limited(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size)
{
	/* O_NONBLOCK: opening a fifo must not wait for a writer. */
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : read_fd_limited(fd, max, ret, ret_size);
}
