/* options.c - the table of settings: their parsers, their defaults, what the manual says of
 * them. */
#include "options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include <cleanup.h>
#include <util.h>

#define LIST_MAX 256 /* items of any list */
#define RESOLVER_TEXT_MAX ((size_t)64 << 10)

/* ---------------------------------------------------------------------------------------- lists */

void str_list_clear(struct str_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct str_list){ 0 };
}

int str_list_add(struct str_list *list, const char *text, size_t size)
{
	char **items = reallocarray(list->items, list->count + 1, sizeof *items);
	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->count] = strndup(text, size);
	if (!items[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

typedef int (*item_fn)(const char *item, char *ret, size_t ret_size, struct lsn_error *err);

/* Splits VALUE at commas and blanks; CHECK writes each item's plain form. */
static int parse_list(const char *value, struct str_list *list, item_fn check, struct lsn_error *err)
{
	struct str_list items = { 0 };
	int r = 0;

	for (const char *p = value; r == 0;) {
		p += strspn(p, ", \t");
		size_t n = strcspn(p, ", \t");
		if (n == 0)
			break;
		char item[128], plain[128];
		if (n >= sizeof item || items.count >= LIST_MAX) {
			r = lsn_error_set(err, -EINVAL, "too long; at most %d items of %zu bytes", LIST_MAX,
					  sizeof item - 1);
			break;
		}
		memcpy(item, p, n);
		item[n] = 0;
		p += n;
		r = check(item, plain, sizeof plain, err);
		if (r == 0)
			r = str_list_add(&items, plain, strlen(plain));
	}
	if (r < 0) {
		str_list_clear(&items);
		return r;
	}
	str_list_clear(list);
	*list = items;
	return 0;
}

static int check_port(const char *item, char *ret, size_t ret_size, struct lsn_error *err)
{
	static const char *const known[PORTS_MAX] = { "80", "443", "21", "22", "25", "587", "465" };

	for (size_t i = 0; i < PORTS_MAX; i++)
		if (streq(item, known[i])) {
			(void)snprintf(ret, ret_size, "%s", item);
			return 0;
		}
	return lsn_error_set(err, -EINVAL, "port '%s' cannot be opened; choose from 80, 443, 21, 22, 25, 587, 465",
			     item);
}

static int check_address(const char *item, char *ret, size_t ret_size, struct lsn_error *err)
{
	unsigned char bytes[16];

	for (size_t i = 0; i < 2; i++) {
		int family = i ? AF_INET6 : AF_INET;
		if (inet_pton(family, item, bytes) == 1)
			return inet_ntop(family, bytes, ret, (socklen_t)ret_size) ? 0 : -errno;
	}
	return lsn_error_set(err, -EINVAL, "'%s' is not an IP address", item);
}

/* "10.0.0.0/8" or an address; bits beyond the prefix are cleared. */
int option_check_prefix(const char *item, char *ret, size_t ret_size, struct lsn_error *err)
{
	char address[64], plain[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	const char *slash = strchr(item, '/');
	size_t n = slash ? (size_t)(slash - item) : strlen(item);

	if (n >= sizeof address)
		return lsn_error_set(err, -EINVAL, "'%s' is not a network; write 10.0.0.0/8", item);
	memcpy(address, item, n);
	address[n] = 0;
	int family = strchr(address, ':') ? AF_INET6 : AF_INET;
	uint64_t bits = family == AF_INET ? 32 : 128, most = bits;
	if (inet_pton(family, address, bytes) != 1 || (slash && parse_uint(slash + 1, most, &bits, NULL) < 0))
		return lsn_error_set(err, -EINVAL, "'%s' is not a network; write 10.0.0.0/8 or fd00::/8", item);
	for (uint64_t bit = bits; bit < most; bit++)
		bytes[bit / 8] &= (unsigned char)~(0x80u >> (bit % 8));
	if (!inet_ntop(family, bytes, plain, sizeof plain))
		return -errno;
	(void)snprintf(ret, ret_size, "%s/%u", plain, (unsigned)bits);
	return 0;
}

static int check_module(const char *item, char *ret, size_t ret_size, struct lsn_error *err)
{
	for (const char *p = item; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.')
			return lsn_error_set(err, -EINVAL, "'%s' is not the name of a Python module", item);
	(void)snprintf(ret, ret_size, "%s", item);
	return 0;
}

static int option_parse_ports(const char *value, void *field, struct lsn_error *err)
{
	return parse_list(value, field, check_port, err);
}
static int parse_addresses(const char *value, void *field, struct lsn_error *err)
{
	return parse_list(value, field, check_address, err);
}
static int parse_prefixes(const char *value, void *field, struct lsn_error *err)
{
	return parse_list(value, field, option_check_prefix, err);
}
static int parse_modules(const char *value, void *field, struct lsn_error *err)
{
	return parse_list(value, field, check_module, err);
}

/* -------------------------------------------------------------------------------- single values */

int option_set_string(char **field, const char *value)
{
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int parse_network(const char *value, void *field, struct lsn_error *err)
{
	if (streq(value, "host"))
		return lsn_error_set(
			err, -EINVAL,
			"'host' would leave UDP and other protocols open: nothing on this system can hold them "
			"there; use "
			"'bridge' or 'none'");
	if (!streq(value, "bridge") && !streq(value, "none"))
		return lsn_error_set(err, -EINVAL, "'%s' is neither 'bridge' nor 'none'", value);
	*(unsigned *)field = streq(value, "none") ? NETWORK_NONE : NETWORK_BRIDGE;
	return 0;
}

static int parse_choice(const char *value, void *field, const char *zero, const char *one, struct lsn_error *err)
{
	if (!streq(value, zero) && !streq(value, one))
		return lsn_error_set(err, -EINVAL, "'%s' is neither '%s' nor '%s'", value, zero, one);
	*(unsigned *)field = streq(value, one);
	return 0;
}
static int parse_reuse(const char *value, void *field, struct lsn_error *err)
{
	return parse_choice(value, field, "script", "never", err);
}
static int parse_pool_min(const char *value, void *field, struct lsn_error *err)
{
	if (streq(value, "auto")) {
		*(uint64_t *)field = POOL_MIN_AUTO;
		return 0;
	}
	return parse_uint(value, 1000000, field, err);
}
/* "25%" or "4G". */
static int parse_share(const char *value, void *field, struct lsn_error *err)
{
	struct share share = { 0 };
	char digits[8];
	size_t n = strlen(value);
	uint64_t percent = 0;
	int r;

	if (n > 1 && n < sizeof digits && value[n - 1] == '%') {
		(void)snprintf(digits, sizeof digits, "%.*s", (int)n - 1, value);
		r = parse_uint(digits, 100, &percent, NULL);
		share.percent = (unsigned)percent;
	} else
		r = parse_size(value, &share.bytes, NULL);
	if (r < 0 || (share.bytes == 0 && share.percent == 0))
		return lsn_error_set(err, -EINVAL, "'%.40s' is not an amount of memory; write 25%% or 4G", value);
	*(struct share *)field = share;
	return 0;
}
static int parse_start(const char *value, void *field, struct lsn_error *err)
{
	return parse_choice(value, field, "fork", "exec", err);
}
static int parse_landlock(const char *value, void *field, struct lsn_error *err)
{
	return parse_choice(value, field, "use", "require", err);
}
static int option_parse_ftp(const char *value, void *field, struct lsn_error *err)
{
	unsigned choice = 0;
	int r = parse_choice(value, &choice, "off", "related", err);
	if (r == 0)
		*(bool *)field = choice;
	return r;
}
int option_parse_flag(const char *value, void *field, struct lsn_error *err) { return parse_bool(value, field, err); }
static int parse_count(const char *value, void *field, struct lsn_error *err)
{
	return parse_uint(value, 1000000, field, err);
}
int option_parse_time(const char *value, void *field, struct lsn_error *err)
{
	return parse_duration(value, field, err);
}
static int parse_bytes(const char *value, void *field, struct lsn_error *err) { return parse_size(value, field, err); }

/* "0.5", "2": CPUs, to a thousandth. */
static int parse_cpus(const char *value, void *field, struct lsn_error *err)
{
	uint64_t usec = 0;

	if (!*value || strspn(value, "0123456789.") != strlen(value) || parse_duration(value, &usec, NULL) < 0 ||
	    usec < 10000 || usec > 1024 * USEC_PER_SEC)
		return lsn_error_set(err, -EINVAL, "'%s' is not a number of CPUs; write 0.5 or 2", value);
	*(uint64_t *)field = usec * 1000; /* nano CPUs */
	return 0;
}

/* ---------------------------------------------------------------------------------------- table */

static const struct option_row rows[] = {
#define S(key, fallback, parse, field, meaning)                                                                        \
	{                                                                                                              \
		key, fallback, parse, offsetof(struct options, field), meaning                                         \
	}
	S("network", "bridge", parse_network, network,
	  "bridge: sandboxes have a network of their own, behind the port wall. none: sandboxes have no "
	  "network at all, which is the safest; the keys about ports and addresses then have no effect."),
	S("ports", "80, 443, 21, 22, 25, 587, 465", option_parse_ports, ports,
	  "TCP ports that scripts may connect to. You can leave out some of these seven, but you cannot add "
	  "others. Example: ports = 443, 587"),
	S("dns", "", parse_addresses, dns,
	  "Addresses of the name servers that scripts may ask, eight at most. Example: 192.0.2.53. Empty: up "
	  "to three name servers of this host that are not on its loopback interface, from the next job on "
	  "also when they have changed. If there are none, scripts cannot resolve names."),
	S("allow_networks", "", parse_prefixes, allow_networks,
	  "Networks and addresses that scripts may connect to. If any is listed, all others are refused, "
	  "except the name servers. Empty: any address. Example: 10.1.0.0/16, fd00::/8"),
	S("deny_networks", "", parse_prefixes, deny_networks,
	  "Networks and addresses that scripts must not connect to, even if allow_networks names them. "
	  "Loopback, link-local, multicast and reserved addresses are always refused. Name servers are never "
	  "refused. Example: 10.0.0.0/8"),
	S("ftp_data", "off", option_parse_ftp, ftp_related,
	  "off: scripts can open the control connection of FTP (port 21) only. related: scripts can also open "
	  "the data connection of passive FTP that the server has named."),
	S("connections", "4096", parse_count, connections,
	  "How many connections and DNS questions a sandbox may have open at the same time, and how many may "
	  "begin at once. After that many have begun, only a twentieth of the number may begin each second. "
	  "Further ones are refused, so that no script fills this host's table of connections. Example: with "
	  "4096, about 205 per second. 0: no limit."),
	S("pool_min", "auto", parse_pool_min, pool_min,
	  "How many spares are kept. A spare is a warm sandbox that no script has used yet. auto: one spare "
	  "for each registered script that has no sandbox, at least 1 and up to half of what pool_memory "
	  "allows; so the first event of a script finds a spare. 0: the first job of a script waits until a "
	  "container has started."),
	S("pool_max", "0", parse_count, pool_max,
	  "The most sandboxes, and so the most jobs at the same time. 0: as many as pool_memory, the addresses of "
	  "the network and the open files of the daemon allow. If all are in use, the idle sandbox whose script is "
	  "used least is ended to make room."),
	S("pool_memory", "25%", parse_share, pool_memory,
	  "How much memory the sandboxes may take together while they wait for jobs: a share of this "
	  "machine's memory, such as 25%, or an amount, such as 4G. One sandbox takes about 10 MB; "
	  "`listenerctl executors` shows the figure. When the machine is short of memory, a quarter of the "
	  "idle sandboxes is ended. If memory is still short after two seconds, another quarter is ended. "
	  "This key does not limit what scripts use while they run; [limits] does."),
	S("starting", "2", parse_count, starting,
	  "How many containers may be starting at the same time, at least 1. A larger number fills the pool "
	  "faster and gives this machine more work."),
	S("idle_timeout", "10min", option_parse_time, idle_timeout_usec,
	  "A sandbox that has had no job for this time is ended. The spares of pool_min stay. 0: never."),
	S("reuse", "script", parse_reuse, reuse,
	  "script: a sandbox runs further jobs of the same version of its script. never: each job gets a "
	  "container that no job has used, so one container is started per job. docs/security.md says "
	  "what one run can learn from an earlier one."),
	S("max_jobs", "10000", parse_count, max_jobs,
	  "A sandbox ends after this many jobs, at least 1. Each sandbox gets a limit up to an eighth lower, "
	  "so that the sandboxes of one script do not all end together."),
	S("max_age", "1h", option_parse_time, max_age_usec,
	  "A sandbox that is older than this ends when it has no job. 0: never."),
	S("start", "fork", parse_start, start,
	  "fork: a Python script is forked from an interpreter that is already running. exec: each job starts "
	  "an interpreter of its own, which takes about 12 ms more. Scripts in other languages are always "
	  "started with exec."),
	S("preload", "json", parse_modules, preload,
	  "Python modules that every warm sandbox imports once, so that scripts import them without delay. "
	  "Modules that the image does not have are left out. Example: preload = json, requests. Empty: none."),
	S("cpus", "1", parse_cpus, nano_cpus, "How many CPUs a sandbox may use, from 0.01 to 1024. Examples: 0.5, 2"),
	S("pids", "64", parse_count, pids,
	  "The most processes and threads in a sandbox, at least 8. Three of them do not belong to the script. "
	  "A script that fails because of this limit has the outcome processes."),
	S("nofile", "256", parse_count, nofile, "The most open files of each process of a script, at least 16."),
	S("cpu_time", "0", option_parse_time, cpu_time_usec,
	  "The most CPU time of each process of a script, rounded up to whole seconds. A process that uses "
	  "more is killed, and the outcome is cpu. 0: no limit except the script's timeout."),
	S("grace", "1s", option_parse_time, grace_usec,
	  "When the time limit of a script has passed, or when its job is cancelled, the script gets SIGTERM. "
	  "After this further time everything that is left of the script is killed."),
	S("orphan_grace", "5min", option_parse_time, orphan_grace_usec,
	  "When the listener has gone, an idle sandbox waits this time for the next listener and then ends. "
	  "Fractions of a second are dropped. A sandbox with a job finishes the job and keeps the result "
	  "until a listener has fetched it."),
	S("memory", "128M", parse_bytes, memory_bytes,
	  "The script memory that the first spares are made for. Later spares are made for the memory that "
	  "the latest job asked for. A spare of another size is changed before its first job. This key limits "
	  "nothing; [limits] does."),
	S("memory_overhead", "64M", parse_bytes, memory_overhead_bytes,
	  "Memory of a container in addition to the memory of its script. The init process and the warm "
	  "interpreter need about 25M of it."),
	S("landlock", "use", parse_landlock, landlock,
	  "use: apply as many Landlock rules as the kernel offers. require: no job runs in a sandbox that "
	  "could not apply the rules for files and, if it has a network, for TCP ports (Linux 6.7 or later)."),
	S("start_timeout", "30s", option_parse_time, start_timeout_usec,
	  "A sandbox that is not ready after this time is given up. It must not be 0."),
#undef S
};

const struct option_table options_pool = { .rows = rows, .count = ELEMENTSOF(rows) };

void option_table_help(const struct option_table *table, FILE *out)
{
	for (size_t i = 0; i < table->count; i++) {
		const char *fallback = table->rows[i].fallback;
		(void)fprintf(out, "  %s =%s%s\n      %s\n", table->rows[i].key, *fallback ? " " : "", fallback,
			      table->rows[i].meaning);
	}
}

void options_clear(struct options *o)
{
	str_list_clear(&o->ports);
	str_list_clear(&o->dns);
	str_list_clear(&o->allow_networks);
	str_list_clear(&o->deny_networks);
	str_list_clear(&o->preload);
	*o = (struct options){ 0 };
}

int options_resolvers(const char *text, struct str_list *list)
{
	for (const char *line = text; *line;) {
		size_t size = strcspn(line, "\n");
		char word[16], address[64], plain[64];
		char copy[256];
		(void)snprintf(copy, sizeof copy, "%.*s", (int)(size < 255 ? size : 255), line);
		line += size + (line[size] == '\n');
		if (sscanf(copy, " %15s %63s", word, address) != 2 || !streq(word, "nameserver"))
			continue;
		if (check_address(address, plain, sizeof plain, NULL) < 0 || str_startswith(plain, "127.") ||
		    streq(plain, "::1"))
			continue;
		if (list->count >= 3) /* as many as resolv.conf(5) uses */
			break;
		if (str_list_add(list, plain, strlen(plain)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Sandboxes are on this host: its resolvers are what a container without settings would use, too.
 * A stub on loopback cannot be reached from a container; systemd-resolved keeps the real ones
 * beside it. */
const char *const options_resolver_files[RESOLVER_FILES] = { "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf" };

char *options_read_resolver_file(size_t i)
{
	/* may be a link; a fifo must not be waited for */
	_cleanup_close_ int fd = open(options_resolver_files[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *text = NULL;
	size_t size;

	if (fd >= 0)
		(void)read_fd_limited(fd, RESOLVER_TEXT_MAX, &text, &size);
	return text;
}

int options_find_resolvers(struct str_list *list)
{
	for (size_t i = 0; i < RESOLVER_FILES && list->count == 0; i++) {
		_cleanup_free_ char *text = options_read_resolver_file(i);
		if (text && options_resolvers(text, list) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int find_own_resolvers(struct options *o)
{
	o->dns_of_host = true;
	return options_find_resolvers(&o->dns);
}

static int check_whole(const struct options *o, struct lsn_error *err)
{
	if (o->pool_max > 0 && o->pool_min != POOL_MIN_AUTO && o->pool_min > o->pool_max)
		return lsn_error_set(err, -EINVAL, "pool_min is larger than pool_max");
	if (o->starting == 0 || o->max_jobs == 0 || o->pids < 8 || o->nofile < 16)
		return lsn_error_set(err, -EINVAL,
				     "the least for starting and max_jobs is 1, for pids 8, for nofile 16");
	if (o->dns.count > RESOLVERS_MAX)
		return lsn_error_set(err, -EINVAL, "dns: at most %d resolvers", RESOLVERS_MAX);
	if (o->start_timeout_usec == 0)
		return lsn_error_set(err, -EINVAL, "start_timeout must not be 0");
	return 0;
}

static int option_apply(const struct option_table *table, void *fields, const struct lsn_option *option,
			struct lsn_error *err)
{
	for (size_t i = 0; i < table->count; i++)
		if (streq(table->rows[i].key, option->key)) {
			int r = table->rows[i].parse(option->value, (char *)fields + table->rows[i].offset, err);
			if (r == -ENOMEM)
				return lsn_error_set(err, r, "out of memory");
			return r < 0 ? lsn_error_prefix(err, r, "%s:%u: %s", option->file, option->line, option->key)
				     : 0;
		}
	return -ENOENT;
}

static int table_defaults(const struct option_table *table, void *fields, struct lsn_error *err)
{
	int r = 0;

	for (size_t i = 0; i < table->count && r == 0; i++)
		r = table->rows[i].parse(table->rows[i].fallback, (char *)fields + table->rows[i].offset, err);
	return r;
}

/* OPTION goes into the first of both tables that has its key. */
static int option_read(const struct option_table *own, void *own_fields, struct options *o,
		       const struct lsn_option *option, struct lsn_error *err)
{
	int r = option_apply(own, own_fields, option, err);

	if (r == -ENOENT)
		r = option_apply(&options_pool, o, option, err);
	if (r == -ENOENT)
		return lsn_error_set(err, -EINVAL, "%s:%u: unknown key '%s'; see %s(5)", option->file, option->line,
				     option->key, own->manual);
	return r;
}

int options_parse(const struct lsn_option *list, size_t count, const struct option_table *own, void *own_fields,
		  struct options *ret, struct lsn_error *err)
{
	struct options o = { 0 };
	int r = table_defaults(&options_pool, &o, err);

	if (r == 0)
		r = table_defaults(own, own_fields, err);
	for (size_t i = 0; i < count && r == 0; i++)
		r = option_read(own, own_fields, &o, &list[i], err);
	if (r == 0)
		r = check_whole(&o, err);
	if (r == 0 && o.dns.count == 0 && o.network == NETWORK_BRIDGE)
		r = find_own_resolvers(&o);
	if (r < 0) {
		options_clear(&o);
		return r;
	}
	*ret = o;
	return 0;
}
