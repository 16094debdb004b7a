/* resolver_file.h - the /etc/resolv.conf of sandboxes: the resolvers that the port wall opens,
 * and no others, so that names are asked for there and not by way of a name server of the
 * backend. */
#ifndef POOL_RESOLVER_FILE_H
#define POOL_RESOLVER_FILE_H

#include <stddef.h>

#include "options.h"

#define RESOLVER_FILE "resolv.conf" /* in the instance's folder below run_dir */
#define RESOLVER_FILE_MAX 4096

/* resolver_file_text - what stands in it, into BUF of RESOLVER_FILE_MAX bytes: a nameserver line
 * for each of OPTIONS->dns, and the search, domain and options lines of HOST, the text of the
 * host's own file (NULL: none).
 * Lines that are odd or do not fit are left out. */
void resolver_file_text(const struct options *options, const char *host, char *buf);

/* resolver_file_write - put it into the folder DIR_FD, readable for all; sandboxes that run keep
 * the old one.
 * 0 or a negative errno. */
int resolver_file_write(int dir_fd, const struct options *options);

#endif
