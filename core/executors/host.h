/* host.h - the host services of listener/executor.h over sd-event: descriptor watches and timers
 * for one owner (an executor instance, or a part of the daemon that uses lib/http.h). Counts
 * what the owner still holds, so that leaks are seen when it goes. */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include <listener/executor.h>
#include <systemd/sd-event.h>

struct host;

struct host_hooks {
	void (*ready)(void *data); /* NULL: ignored */
	/* NULL: ready() is called instead */
	bool (*ready_for)(void *data, const char *script_version);
	/* NULL: not used */
	void (*done)(void *data, const struct lsn_job *job, const struct lsn_result *result);
	void *data;
};

/* host_new - strings are copied; RUN_DIR is created (0750).
 * HOOKS may be NULL.
 * Callbacks that take longer than 50 ms are logged with the owner's name. */
int host_new(sd_event *loop, const char *listener, const char *instance, const char *run_dir, const char *libexec_dir,
	     const struct host_hooks *hooks, struct host **ret, struct lsn_error *err);

/* host_free - drops what the owner left behind; returns how many watches and timers that were (0
 * is right). */
unsigned host_free(struct host *host);
const struct lsn_host *host_services(struct host *host);

#endif
