/* resolve.c - see resolve.h: getaddrinfo() in a child. It knows all that the system knows
 * (hosts, DNS, mDNS, files of the site), and nothing but a process can be stopped while it
 * waits. */
#include "resolve.h"
#include "child.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

/* three servers are asked twice for five seconds by then */
#define RESOLVE_LIMIT_USEC (30 * USEC_PER_SEC)

struct resolve {
	struct child *child;
	char *name;
	resolve_fn fn;
	void *data;
};

struct report {
	struct lsn_error err;
	struct resolved found;
};

/* --------------------------------------------------------------------------------- in the child */

static bool is_known(const struct resolved *found, const char *address)
{
	for (unsigned i = 0; i < found->count; i++)
		if (streq(found->addresses[i], address))
			return true;
	return false;
}

static void take_addresses(const struct addrinfo *list, struct resolved *found)
{
	for (const struct addrinfo *a = list; a && found->count < RESOLVE_ADDRESSES_MAX; a = a->ai_next) {
		char *text = found->addresses[found->count];
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, RESOLVE_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0 &&
		    !is_known(found, text))
			found->count++;
	}
}

int resolve_now(const char *name, struct resolved *ret, struct lsn_error *err)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;

	int code = getaddrinfo(name, NULL, &hints, &list);
	if (code)
		return lsn_error_set(err, -EHOSTUNREACH, "cannot resolve '%s': %s", name,
				     code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
	*ret = (struct resolved){ 0 };
	take_addresses(list, ret);
	freeaddrinfo(list);
	return ret->count > 0 ? 0 : lsn_error_set(err, -EHOSTUNREACH, "cannot resolve '%s': it has no address", name);
}

static void look_up(int report_fd, int kept_fd, const void *name)
{
	struct report report = { 0 };

	(void)kept_fd;
	(void)resolve_now(name, &report.found, &report.err);
	if (write(report_fd, &report, sizeof report) != (ssize_t)sizeof report)
		_exit(1);
}

/* -------------------------------------------------------------------------------- in the daemon */

static void resolve_free(struct resolve *resolve)
{
	free(resolve->name);
	free(resolve);
}

/* no_report - the child ended without one. */
static void no_report(const struct child_end *end, const char *name, struct lsn_error *err)
{
	char how[CHILD_END_SIZE];

	if (end->timeout)
		(void)lsn_error_set(err, -ETIMEDOUT, "cannot resolve '%s': no name server has answered for %d s", name,
				    (int)(RESOLVE_LIMIT_USEC / USEC_PER_SEC));
	else
		(void)lsn_error_set(err, -EIO, "cannot resolve '%s': the process for it ended %s", name,
				    child_say_end(&end->how, how));
}

static void on_looked_up(void *data, const struct child_end *end)
{
	struct resolve *resolve = data;
	resolve_fn fn = resolve->fn;
	struct report report = { 0 };

	if (end->report_size == sizeof report)
		memcpy(&report, end->report, sizeof report);
	else
		no_report(end, resolve->name, &report.err);
	data = resolve->data;
	resolve_free(resolve);
	fn(data, report.err.code ? NULL : &report.found, &report.err);
}

int resolve_start(sd_event *loop, const char *name, resolve_fn fn, void *data, struct resolve **ret,
		  struct lsn_error *err)
{
	const struct child_task task = {
		.name = "resolve", .work = look_up, .data = name, .kept_fd = -1, .limit_usec = RESOLVE_LIMIT_USEC
	};
	struct resolve *resolve = calloc(1, sizeof *resolve);

	if (!resolve)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*resolve = (struct resolve){ .name = strdup(name), .fn = fn, .data = data };
	int r = resolve->name ? child_start(loop, &task, on_looked_up, resolve, &resolve->child, err)
			      : lsn_error_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		resolve_free(resolve);
		return lsn_error_prefix(err, r, "cannot resolve '%s'", name);
	}
	*ret = resolve;
	return 0;
}

void resolve_cancel(struct resolve *resolve)
{
	if (!resolve)
		return;
	child_cancel(resolve->child);
	resolve_free(resolve);
}
