/* config.h - the INI files: one table of section, key, parser, offset, default and help. The single
 * callback of inih walks it.
 *
 * config_load() reads FILE and then the *.ini of the folder `conf.d` in the same folder, in byte
 * order. A later file may set a key again (drop-in); one file may not set it twice. Errors name
 * file and line. For an unknown key they name the nearest valid one. "${ENV:NAME}" and
 * "${FILE:/path}" in values are replaced (FILE: the first line; refused if others can read or
 * write the file). '#' and ';' begin a comment only at the start of a line, so topics stay
 * whole. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "broker.h"
#include "control.h"
#include "dispatcher.h"
#include "executors.h"
#include "journal.h"
#include "log.h"
#include "source.h"

struct config {
	char *identity; /* [a-z0-9-]{1,32}; default "listener" */
	char *state_dir, *run_dir, *libexec_dir;
	enum lsn_log_level log_level;
	uint64_t drain_usec; /* at SIGTERM, wait this long for jobs that cannot continue alone */
	bool record_unmatched;
	uint64_t payload_max_bytes;
	struct broker_config broker;
	struct journal_config journal;
	struct source_config source;
	struct script_policy policy; /* executor_open and data are set by the daemon */
	struct dispatch_config dispatch;
	struct executors_config executors;
	struct control_config control;
	const char **hidden; /* executors' option values that came from ${...}: not printed */
	size_t hidden_count;
};

/* config_load - 0 and a whole configuration, or -EINVAL, -EACCES, -ENOENT, ... with file and
 * line in ERR. */
int config_load(const char *file, struct config **ret, struct lsn_error *err);

/* config_test - as config_load(), and then examine what the configuration names, without starting
 * anything: files, folders, users, groups, modules. Modules are loaded as the daemon would load
 * them, in at most 5 s each. Only their init() knows their own options, so these are not tested.
 * FOUND is called for each problem, with file and line. FATAL: the daemon would not start.
 * Returns how many are fatal, or what config_load() returns.
 * May block. */
int config_test(const char *file, void (*found)(void *data, bool fatal, const char *text), void *data,
		struct config **ret, struct lsn_error *err);

/* config_section_equal - do all keys of SECTION ("broker"; one without a label) have the same
 * values in A and B? */
bool config_section_equal(const struct config *a, const struct config *b, const char *section);

void config_free(struct config *config); /* NULL is allowed */

/* config_print - what the configuration means, as INI with every key and its effective value;
 * secrets as "(set)". */
void config_print(const struct config *config, FILE *out);

/* config_help - every section and key with default and meaning; the source of listenerd.ini(5). */
void config_help(FILE *out);

#endif
