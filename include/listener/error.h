/* listener/error.h - an error a person can act on.
 *
 * A function that takes `struct lsn_error *err` fills it when it fails and leaves it alone when
 * it succeeds. ERR may be NULL. The buffer belongs to the caller, holds no pointers and needs no
 * freeing. Lower layers say what went wrong (lsn_error_set), upper layers say where
 * (lsn_error_prefix): "conf.d/20-docker.ini:7: timeout: '12 parsecs' is not a duration; write
 * 12s, 500ms or 2min". Needs libc only. */
#ifndef LISTENER_ERROR_H
#define LISTENER_ERROR_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LSN_ERROR_MESSAGE_SIZE 512

struct lsn_error {
	int code; /* negative errno, 0 = no error */
	/* NUL-terminated UTF-8, no trailing newline; cut if too long */
	char message[LSN_ERROR_MESSAGE_SIZE];
};

/* lsn_error_set - store CODE (a negative errno) and the formatted message in ERR; returns CODE,
 * so that a caller can write `return lsn_error_set(err, -EINVAL, "...")`. Never fails. */
__attribute__((format(printf, 3, 4), unused)) static inline int lsn_error_set(struct lsn_error *err, int code,
									      const char *format, ...)
{
	if (err) {
		va_list ap;
		va_start(ap, format);
		err->code = code;
		(void)vsnprintf(err->message, sizeof err->message, format, ap);
		va_end(ap);
	}
	return code;
}

/* lsn_error_prefix - put the formatted text and ": " before ERR's message; returns CODE
 * unchanged. */
__attribute__((format(printf, 3, 4), unused)) static inline int lsn_error_prefix(struct lsn_error *err, int code,
										 const char *format, ...)
{
	if (err) {
		char old[LSN_ERROR_MESSAGE_SIZE];
		va_list ap;
		memcpy(old, err->message, sizeof old);
		va_start(ap, format);
		int n = vsnprintf(err->message, sizeof err->message, format, ap);
		va_end(ap);
		if (n >= 0 && (size_t)n < sizeof err->message - 3) {
			int room = (int)sizeof err->message - n - 3; /* what does not fit is cut */
			(void)snprintf(err->message + n, sizeof err->message - (size_t)n, ": %.*s", room, old);
		}
	}
	return code;
}

#endif
