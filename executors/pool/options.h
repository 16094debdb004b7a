/* options.h - the settings of one [executor NAME] section that uses docker-sandbox.
 *
 * One table (options.c) holds key, default, parser and meaning. Whatever the table does not
 * know, or its parser does not accept, is refused with file and line. Ports and networks are
 * checked here, so that everything behind this header can take them as well-formed. */
#ifndef DOCKER_SANDBOX_OPTIONS_H
#define DOCKER_SANDBOX_OPTIONS_H

#include <stdio.h>

#include <listener/executor.h>

#define POOL_MIN_AUTO UINT64_MAX
#define RESOLVERS_MAX 8 /* as many as the port wall takes */
#define PORTS_MAX 7 /* 80, 443, 21, 22, 25, 587, 465: may be narrowed, never widened */

enum network_mode { NETWORK_BRIDGE, NETWORK_NONE };
enum reuse_mode { REUSE_SCRIPT, REUSE_NEVER };
enum start_mode { START_FORK, START_EXEC };
enum landlock_mode { LANDLOCK_USE, LANDLOCK_REQUIRE };

struct str_list {
	char **items;
	size_t count;
};

struct share {
	uint64_t bytes;
	unsigned percent; /* of this machine's memory; > 0: then BYTES is nothing */
};

struct options {
	char *socket, *image;
	char *runtime; /* "": the engine's own choice */
	unsigned network; /* enum network_mode */
	char *network_name; /* "": chosen from the listener's and the instance's name */
	char *subnet; /* "": the engine chooses */
	struct str_list ports; /* decimal, of the seven */
	/* addresses; after options_parse() never loopback ones unless the operator wrote them */
	struct str_list dns;
	struct str_list allow_networks, deny_networks; /* prefixes; allow empty: all */
	bool ftp_related, ipv6;
	uint64_t connections; /* of one sandbox at the same time; 0: no limit */
	uint64_t pool_min; /* POOL_MIN_AUTO: as many as scripts may want */
	uint64_t pool_max; /* 0: no limit of its own */
	struct share pool_memory; /* what all sandboxes may take together */
	uint64_t starting;
	uint64_t idle_timeout_usec;
	unsigned reuse; /* enum reuse_mode */
	uint64_t max_jobs, max_age_usec;
	unsigned start; /* enum start_mode */
	struct str_list preload; /* names of Python modules */
	uint64_t nano_cpus;
	uint64_t pids, nofile;
	uint64_t cpu_time_usec; /* 0: no limit of its own */
	uint64_t grace_usec, orphan_grace_usec;
	uint64_t memory_bytes; /* what a sandbox is made for before its script is known */
	uint64_t memory_overhead_bytes;
	unsigned landlock; /* enum landlock_mode */
	uint64_t start_timeout_usec, engine_timeout_usec;
};

/* options_parse - defaults, then COUNT options over them.
 * 0, or -EINVAL / -ENOMEM with ERR naming file and line; then nothing is left to free. */
int options_parse(const struct lsn_option *list, size_t count, struct options *ret, struct lsn_error *err);
void options_clear(struct options *options);

/* options_help - every key with default and meaning, in the lines of "listenerd --help-config". */
void options_help(FILE *out);

/* options_resolvers - the name servers of the resolv.conf text TEXT that are not loopback
 * addresses are appended to LIST.
 * 0, -ENOMEM. */
int options_resolvers(const char *text, struct str_list *list);
void str_list_clear(struct str_list *list);
int str_list_add(struct str_list *list, const char *text, size_t size);

#endif
