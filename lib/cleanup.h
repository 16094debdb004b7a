/* cleanup.h - free by attribute, hand over with one visible step.
 *
 *     _cleanup_free_ char *name = strdup(x);
 *     ...
 *     *ret_name = TAKE_PTR(name);
 *
 * Declare initialised, return early, take when ownership moves. */
#ifndef LIB_CLEANUP_H
#define LIB_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

#define TAKE_PTR(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) taken_ = (p);                                                                            \
		(p) = NULL;                                                                                            \
		taken_;                                                                                                \
	})
#define TAKE_FD(fd)                                                                                                    \
	({                                                                                                             \
		int taken_ = (fd);                                                                                     \
		(fd) = -1;                                                                                             \
		taken_;                                                                                                \
	})

/* DEFINE_CLEANUP(struct x *, x_freep, x_free) - for destructors that accept NULL. */
#define DEFINE_CLEANUP(type, name, func)                                                                               \
	__attribute__((unused)) static inline void name(type *p) { func(*p); }

__attribute__((unused)) static inline void free_cleanup(void *p) { free(*(void **)p); }
__attribute__((unused)) static inline void close_cleanup(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
__attribute__((unused)) static inline void fclose_cleanup(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define _cleanup_free_ _cleanup_(free_cleanup)
#define _cleanup_close_ _cleanup_(close_cleanup)
#define _cleanup_fclose_ _cleanup_(fclose_cleanup)

#endif
