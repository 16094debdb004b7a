/* options.h - the settings of an [executor NAME] section that every executor with a pool has.
 *
 * One table (options.c) holds key, default, parser and meaning. An executor brings a table of its
 * own for what only its backend knows. Whatever neither table knows, or a parser does not accept,
 * is refused with file and line. Ports and networks are checked here, so that everything behind
 * this header can take them as well-formed. */
#ifndef POOL_OPTIONS_H
#define POOL_OPTIONS_H

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
	unsigned network; /* enum network_mode */
	struct str_list ports; /* decimal, of the seven */
	/* addresses; after options_parse() never loopback ones unless the operator wrote them */
	struct str_list dns;
	bool dns_of_host; /* dns is what options_find_resolvers() found */
	struct str_list allow_networks, deny_networks; /* prefixes; allow empty: all */
	bool ftp_related;
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
	uint64_t start_timeout_usec;
};

/* A parser of a value: 0; -ENOMEM; -EINVAL with ERR. FIELD then stays as it was. */
typedef int (*option_fn)(const char *value, void *field, struct lsn_error *err);

struct option_row {
	const char *key, *fallback;
	option_fn parse;
	size_t offset; /* of the field in its struct */
	const char *meaning; /* for the manual */
};

struct option_table {
	const struct option_row *rows;
	size_t count;
	const char *manual; /* page of section 5 */
};
extern const struct option_table options_pool;

/* options_parse - the defaults of both tables, then COUNT options over them.
 * OWN_FIELDS: the struct that OWN's offsets mean, all zero. After a failure, what is in it is the
 * caller's to free.
 * 0, or -EINVAL / -ENOMEM with ERR naming file and line; then RET has nothing to free. */
int options_parse(const struct lsn_option *list, size_t count, const struct option_table *own, void *own_fields,
		  struct options *ret, struct lsn_error *err);
void options_clear(struct options *options);

/* option_table_help - every key with default and meaning, in the lines of
 * "listenerd --help-config". */
void option_table_help(const struct option_table *table, FILE *out);

/* Parts of parsers. option_check_prefix - "10.0.0.0/8" or an address; bits beyond the prefix are
 * cleared in RET. */
int option_check_prefix(const char *item, char *ret, size_t ret_size, struct lsn_error *err);
int option_set_string(char **field, const char *value);
int option_parse_flag(const char *value, void *field, struct lsn_error *err);
int option_parse_time(const char *value, void *field, struct lsn_error *err);

/* options_resolvers - the name servers of the resolv.conf text TEXT that are not loopback
 * addresses are appended to LIST.
 * 0, -ENOMEM. */
int options_resolvers(const char *text, struct str_list *list);

/* options_resolver_files - where this host says what its name servers are: the first file that
 * names one counts. */
#define RESOLVER_FILES 2
extern const char *const options_resolver_files[RESOLVER_FILES];

/* options_read_resolver_file - the text of number I of them; NULL: it is not there, or no file.
 * The caller frees it. */
char *options_read_resolver_file(size_t i);

/* options_find_resolvers - append what they name now.
 * Does not block.
 * 0, -ENOMEM. */
int options_find_resolvers(struct str_list *list);
void str_list_clear(struct str_list *list);
int str_list_add(struct str_list *list, const char *text, size_t size);

#endif
