/* resolve.h - the addresses of a name, looked up beside the loop: a name server may be silent
 * for a minute. */
#ifndef CORE_RESOLVE_H
#define CORE_RESOLVE_H

#include <listener/error.h>
#include <systemd/sd-event.h>

#define RESOLVE_ADDRESSES_MAX 16
#define RESOLVE_ADDRESS_SIZE 64 /* "fe80::1%interface" and NUL */

struct resolve;

struct resolved {
	unsigned count; /* 1..RESOLVE_ADDRESSES_MAX */
	/* numeric, in the order to try, none twice */
	char addresses[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_SIZE];
};

/* resolve_start - look NAME up; FN is called once, from the loop, with FOUND, or with NULL and
 * ERR.
 * The struct is gone when FN is called.
 * 0, or a negative errno with ERR: then FN is not called. */
typedef void (*resolve_fn)(void *data, const struct resolved *found, const struct lsn_error *err);
int resolve_start(sd_event *loop, const char *name, resolve_fn fn, void *data, struct resolve **ret,
		  struct lsn_error *err);

/* resolve_now - the same for a process that may block.
 * 0; -EHOSTUNREACH with ERR. */
int resolve_now(const char *name, struct resolved *ret, struct lsn_error *err);

/* resolve_cancel - FN will not be called.
 * NULL is allowed. */
void resolve_cancel(struct resolve *resolve);

#endif
