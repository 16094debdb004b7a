/* util.h - small things every part uses: time, sizes, strings, descriptors. Depends on libc
 * only. */
#ifndef LIB_UTIL_H
#define LIB_UTIL_H

#include <listener/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))

/* The time. It is in clock.c, a file of its own, so that a test can replace it.
 * Nothing else in core/, lib/ and the executors asks a clock.
 *
 * now_monotonic_usec - for deadlines, delays, ages and limits within one life of the daemon.
 * It does not jump. It stops while the machine is suspended, as the scripts do.
 * now_realtime_usec - the wall clock, since the epoch: for people, and for what the next daemon
 * reads back.
 * It can be set by hours at any moment, so never wait by it. */
uint64_t now_monotonic_usec(void);

/* usec_add - the sum; UINT64_MAX, which is never, if that is one of them or the sum is larger. */
static inline uint64_t usec_add(uint64_t usec, uint64_t by_usec)
{
	uint64_t sum;

	return __builtin_add_overflow(usec, by_usec, &sum) ? UINT64_MAX : sum;
}
uint64_t now_realtime_usec(void);

/* errno_is_shortage - R, a negative errno, says that this process or this machine is short of
 * something, and nothing about whom it talked to. */
bool errno_is_shortage(int r);

bool streq(const char *a, const char *b); /* NULL equals NULL */
bool str_startswith(const char *s, const char *prefix);

/* utf8_valid - SIZE bytes at S are well-formed UTF-8 (no surrogates, no overlong forms) without
 * NUL. */
bool utf8_valid(const void *s, size_t size);

/* utf8_trim - TEXT, which was UTF-8, may have been cut: a last character that is not whole goes. */
void utf8_trim(char *text);

/* str_quote - a printable, quoted copy of S for logs and messages: control characters and
 * ill-formed bytes as \xNN, cut if BUF is too small.
 * Returns BUF. */
char *str_quote(char *buf, size_t buf_size, const void *s, size_t size);

/* hex_encode - 2*SIZE lower-case digits and a NUL into RET. */
void hex_encode(const void *data, size_t size, char *ret);

/* Parsers for settings.
 * The whole of TEXT must be used up.
 * They return 0 and set *RET, or -EINVAL / -ERANGE with ERR saying what would be accepted.
 *   parse_duration  "12s", "500ms", "2min", "1h", "7d"; a bare number is seconds; "0.5s" is allowed
 *   parse_size      "64K", "128M", "2G" (powers of 1024, an optional "B" or "iB"); a bare number is
 *                   bytes
 *   parse_bool      yes/no, true/false, on/off, 1/0
 *   parse_uint      decimal, 0 .. MAX */
int parse_duration(const char *text, uint64_t *ret_usec, struct lsn_error *err);
int parse_size(const char *text, uint64_t *ret_bytes, struct lsn_error *err);
int parse_bool(const char *text, bool *ret, struct lsn_error *err);
int parse_uint(const char *text, uint64_t max, uint64_t *ret, struct lsn_error *err);

/* memfd_sealed - a close-on-exec memfd holding SIZE bytes of DATA, sealed against any change.
 * Returns the descriptor or a negative errno.
 * NAME shows in /proc only. */
int memfd_sealed(const char *name, const void *data, size_t size);

/* fd_reopen - a new read-only open file description (own offset 0, close-on-exec) of what FD
 * refers to.
 * Descriptor or negative errno. */
int fd_reopen(int fd);

/* mkdir_p - create PATH and what leads to it; an existing folder is fine.
 * 0 or negative errno. */
int mkdir_p(const char *path, unsigned mode);

/* read_file_limited - the whole of the file NAME below the folder DIR_FD (AT_FDCWD allowed), at
 * most MAX bytes, following no link in the last component.
 * *RET is malloc()ed, NUL-terminated beyond *RET_SIZE.
 * 0, -EFBIG, -ELOOP, other negative errno. */
int read_file_limited(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size);

/* read_fd_limited - likewise of the open FD, from its offset on; -EINVAL if it is no regular
 * file. */
int read_fd_limited(int fd, size_t max, char **ret, size_t *ret_size);

#endif
