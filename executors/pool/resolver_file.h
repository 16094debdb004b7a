/* resolver_file.h - the /etc/resolv.conf of sandboxes: the resolvers that the port wall opens,
 * and no others, so that names are asked for there and not by way of a name server of the
 * backend. */
#ifndef POOL_RESOLVER_FILE_H
#define POOL_RESOLVER_FILE_H

#include <sys/types.h>
#include <time.h>

#include "options.h"

#define RESOLVER_FILE "resolv.conf" /* in the instance's folder below run_dir */
#define RESOLVER_FILE_MAX 4096

/* resolver_file_text - what stands in it, into BUF of RESOLVER_FILE_MAX bytes: a nameserver line
 * for each of OPTIONS->dns, and the search, domain and options lines of HOST, the text of the
 * host's own file (NULL: none).
 * Lines that are odd or do not fit are left out. */
void resolver_file_text(const struct options *options, const char *host, char *buf);

/* resolver_file_write - put it into the folder DIR_FD, readable for all.
 * The file stays the same one, so sandboxes that are there see the new text, too.
 * 0 or a negative errno. */
int resolver_file_write(int dir_fd, const struct options *options);

/* what the host's files looked like when they were last read */
struct resolver_watch {
	struct {
		ino_t inode;
		dev_t device;
		off_t size;
		struct timespec changed;
	} seen[RESOLVER_FILES];
};

/* resolver_watch_follow - if a file of the host's has been changed or replaced since the last call,
 * or at the first call with a WATCH that is all zero: the file in DIR_FD follows, and so does
 * OPTIONS->dns if it was found there.
 * A host that names no name server any more leaves OPTIONS->dns as it was.
 * 1: OPTIONS->dns has changed, and the port wall must follow; 0; or a negative errno.
 * Costs two system calls if nothing has changed. */
int resolver_watch_follow(struct resolver_watch *watch, struct options *options, int dir_fd);

#endif
