/* spec.c - what a sandbox's container is made of. Read it together with docs/security.md: each
 * line is a wall. */
#include "spec.h"

#include <protocol.h>
#include <util.h>

#include "engine.h"
#include "options.h"
#include "resolver_file.h"

/* Docker's own list, which ours replaces, and what a script has no business with. /dev/pts:
 * opening ptmx makes a file there that the script owns. */
static const char *const masked[] = {
	"/proc/asound",
	"/proc/acpi",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/interrupts",
	"/proc/pressure",
	"/proc/kallsyms",
	"/proc/modules",
	"/proc/swaps",
	"/proc/slabinfo",
	"/proc/vmallocinfo",
	"/sys/firmware",
	"/sys/devices/virtual/powercap",
	"/sys/kernel",
	"/sys/module",
	"/sys/class",
	"/sys/block",
	"/dev/pts",
	"/dev/mqueue",
	"/dev/shm",
};
static const char *const read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

/* SETUID and SETGID to become nobody, KILL to end nobody's processes, SETPCAP to empty the
 * bounding set, and in a network NET_ADMIN to narrow its routes. Init drops the last two first. */
static const char *const capabilities[] = { "SETUID", "SETGID", "KILL", "SETPCAP", "NET_ADMIN" };

/* What of a sandbox's memory its sockets may have more, where control groups do not count them. */
#define SOCKET_SHARE 8

static json_t *strings(const char *const *list, size_t count)
{
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(array, json_string(list[i]));
	return array;
}

static json_t *string_list(const struct str_list *list)
{
	return strings((const char *const *)list->items, list->count);
}

static void add_format(json_t *array, const char *format, const char *value)
{
	char *text;
	if (asprintf(&text, format, value) < 0)
		return;
	(void)json_array_append_new(array, json_string(text));
	free(text);
}

static bool str_list_has(const struct str_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i], text))
			return true;
	return false;
}

static json_t *entrypoint(const struct spec *spec)
{
	const struct options *o = &spec->settings->pool;
	json_t *argv = json_array();
	char ports[64] = "", preload[4096] = "", orphan[32];
	size_t size = 0;

	for (size_t i = 0; spec->network && i < o->ports.count; i++)
		(void)snprintf(ports + strlen(ports), sizeof ports - strlen(ports), "%s%s", i ? "," : "",
			       o->ports.items[i]);
	for (size_t i = 0; i < o->preload.count && size + 140 < sizeof preload; i++)
		size += (size_t)snprintf(preload + size, sizeof preload - size, "%s%s", i ? "," : "",
					 o->preload.items[i]);
	(void)snprintf(orphan, sizeof orphan, "%llu", (unsigned long long)(o->orphan_grace_usec / USEC_PER_SEC));
	(void)json_array_append_new(argv, json_string(SB_DIR "/sandbox-init"));
	add_format(argv, "--ports=%s", ports);
	add_format(argv, "--orphan-timeout=%s", orphan);
	(void)json_array_append_new(argv, json_string("--protocol=3"));
	if (*preload)
		add_format(argv, "--preload=%s", preload);
	if (spec->network && o->dns.count > 0)
		(void)json_array_append_new(argv, json_string("--dns"));
	if (spec->network && o->ftp_related && str_list_has(&o->ports, "21"))
		(void)json_array_append_new(argv, json_string("--ftp-data"));
	if (o->start == START_EXEC)
		(void)json_array_append_new(argv, json_string("--no-forkserver"));
	return argv;
}

static json_t *binds(const struct spec *spec)
{
	json_t *array = json_array();
	add_format(array, "%s:" SB_DIR ":ro", spec->host->libexec_dir);
	add_format(array, "%s:" SB_CONTROL_DIR ":ro", spec->folder);
	if (spec->network)
		add_format(array, "%s/" RESOLVER_FILE ":/etc/resolv.conf:ro", spec->host->run_dir);
	/* gVisor's runsc lays a file system in memory over an empty /tmp that nobody has mounted */
	if (*spec->settings->runtime)
		add_format(array, "%s/" SPEC_EMPTY_FOLDER ":/tmp:ro", spec->host->run_dir);
	return array;
}

static json_t *security(const struct spec *spec)
{
	json_t *array = json_pack("[s]", "no-new-privileges");
	add_format(array, "seccomp=%s", spec->seccomp);
	return array;
}

static json_t *ulimits(const struct options *o)
{
	/* core 1: with 0 the kernel would still start the helper of a core_pattern that is a
	 * pipe. nofile is init's own; a script's is set per run. */
	json_int_t nofile = (json_int_t)o->nofile < 1024 ? 1024 : (json_int_t)o->nofile;
	return json_pack("[{s:s,s:i,s:i},{s:s,s:i,s:i},{s:s,s:I,s:I}]", "Name", "msgqueue", "Soft", 0, "Hard", 0,
			 "Name", "core", "Soft", 1, "Hard", 1, "Name", "nofile", "Soft", nofile, "Hard", nofile);
}

static json_t *update(json_t *object, json_t *more)
{
	if (!object || !more || json_object_update(object, more) < 0) {
		json_decref(object);
		object = NULL;
	}
	json_decref(more);
	return object;
}

/* What any container of ours has. */
static json_t *common_host_config(const struct spec *spec, uint64_t memory_bytes)
{
	const struct options *o = &spec->settings->pool;
	json_t *c = json_pack("{s:b, s:s, s:o, s:s, s:{s:s}, s:I, s:I, s:o}", "ReadonlyRootfs", 1, "CapDrop", "ALL",
			      "SecurityOpt", security(spec), "IpcMode", "none", "LogConfig", "Type", "none",
			      "PidsLimit", (json_int_t)o->pids, "NanoCpus", (json_int_t)o->nano_cpus, "Ulimits",
			      ulimits(o));
	json_t *more = json_pack("{s:i, s:b, s:b, s:{s:s}, s:s, s:s, s:b, s:b, s:o, s:o}", "OomScoreAdj", 500, "Init",
				 0, "AutoRemove", 0, "RestartPolicy", "Name", "no", "CgroupnsMode", "private",
				 "UsernsMode", "host", "Privileged", 0, "PublishAllPorts", 0, "MaskedPaths",
				 strings(masked, ELEMENTSOF(masked)), "ReadonlyPaths",
				 strings(read_only, ELEMENTSOF(read_only)));
	return update(update(c, more), spec_memory(memory_bytes, spec->limit_sockets));
}

/* For the engine's own name server, which a script can ask although its resolv.conf names ours.
 * Without any the engine would take this host's, and ask it from the host's side of the wall: so
 * it gets one that nobody has (RFC 5737). */
static json_t *resolvers(const struct str_list *dns)
{
	return dns->count > 0 ? string_list(dns) : json_pack("[s]", "192.0.2.1");
}

/* NAME NULL: none. Resolvers are the namespace's: who joins one brings none. */
static void set_network(json_t *config, const struct spec *spec)
{
	char text[160];

	if (!config)
		return;
	(void)snprintf(text, sizeof text, "%s%s", spec->netns ? "container:" : "",
		       spec->netns     ? spec->netns
		       : spec->network ? spec->network
				       : "none");
	(void)json_object_set_new(config, "NetworkMode", json_string(text));
	if (*spec->settings->runtime)
		(void)json_object_set_new(config, "Runtime", json_string(spec->settings->runtime));
	/* A time stamp that a script asks for brings a copy of its packet, which no limit counts.
	 * Another runtime may know no such setting. */
	if (spec->deny_stamps && !spec->netns && !*spec->settings->runtime)
		(void)json_object_set_new(config, "Sysctls", json_pack("{s:s}", "net.core.tstamp_allow_data", "0"));
	if (spec->network && !spec->netns)
		(void)json_object_set_new(config, "Dns", resolvers(&spec->settings->pool.dns));
}

static json_t *host_config(const struct spec *spec)
{
	json_t *c = update(common_host_config(spec, spec->memory_bytes),
			   json_pack("{s:o, s:o}", "Binds", binds(spec), "CapAdd",
				     strings(capabilities, ELEMENTSOF(capabilities) - !spec->network)));
	set_network(c, spec);
	return c;
}

static json_t *labels(const struct spec *spec)
{
	return json_pack("{s:s, s:s, s:s}", ENGINE_LABEL_LISTENER, spec->host->listener, ENGINE_LABEL_INSTANCE,
			 spec->host->instance, ENGINE_LABEL_SANDBOX, spec->id);
}

json_t *spec_create(const struct spec *spec)
{
	char user[32];

	(void)snprintf(user, sizeof user, "0:%u", spec->gid);
	json_t *body = json_pack("{s:s, s:s, s:o, s:[], s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:{s:[s]}, s:o, s:o}",
				 "Image", spec->settings->image, "User", user, "Entrypoint", entrypoint(spec), "Cmd",
				 "WorkingDir", SB_SCRIPTS_DIR, "AttachStdin", 0, "AttachStdout", 0, "AttachStderr", 0,
				 "OpenStdin", 0, "Tty", 0, "NetworkDisabled", spec->network == NULL, "Healthcheck",
				 "Test", "NONE", "Labels", labels(spec), "HostConfig", host_config(spec));
	if (body && !spec->netns)
		(void)json_object_set_new(body, "Hostname", json_string("sandbox"));
	return body;
}

/* Enough memory for the engine's own starter; the sleeper needs next to none. It is process 1
 * and so deaf to SIGTERM. */
json_t *spec_netns(const struct spec *spec, unsigned seconds)
{
	json_t *config = common_host_config(spec, 64u << 20);
	char user[32], text[16];

	set_network(config, spec);
	(void)snprintf(user, sizeof user, "%d:%d", SB_SCRIPT_UID, SB_SCRIPT_GID);
	(void)snprintf(text, sizeof text, "%u", seconds);
	return json_pack("{s:s, s:s, s:[s, s], s:[], s:s, s:s, s:s, s:{s:[s]}, s:o, s:o}", "Image",
			 spec->settings->image, "User", user, "Entrypoint", "sleep", text, "Cmd", "WorkingDir", "/",
			 "Hostname", "sandbox", "StopSignal", "SIGKILL", "Healthcheck", "Test", "NONE", "Labels",
			 labels(spec), "HostConfig", config);
}

json_t *spec_memory(uint64_t memory_bytes, bool limit_sockets)
{
	json_t *body =
		json_pack("{s:I, s:I}", "Memory", (json_int_t)memory_bytes, "MemorySwap", (json_int_t)memory_bytes);

	if (body && limit_sockets)
		(void)json_object_set_new(body, "KernelMemoryTCP",
					  json_integer((json_int_t)memory_bytes / SOCKET_SHARE));
	return body;
}
