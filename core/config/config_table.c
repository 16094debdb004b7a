/* config_table.c - every section and key: type, range, default, help. No other place has them:
 * loading, printing and the manual use this table. */
#include "broker.h"
#include "config_private.h"
#include "topic.h"
#include "log.h"
#include "place.h"
#include "script.h"
#include "source.h"

#include <string.h>
#include <util.h>

#define MIN_USEC (60 * USEC_PER_SEC)
#define DAY_USEC (86400 * USEC_PER_SEC)
#define K UINT64_C(1024)
#define M (K * K)
#define G (K * M)

static const char *const level_names[] = { "error", "warning", "notice", "info", "debug", NULL };
static const char *const version_names[] = { "3.1.1", "5", NULL };
static const char *const dialect_names[] = { "indigo", "drastic", "radon", NULL };
static const char *const source_names[] = { "directory", "cdmi", NULL };
static const char *const input_names[] = { "file", "pipe", NULL };
static const char *const on_lost_names[] = { "report", "rerun", "executor", NULL };
static const char *const executor_on_lost_names[] = { "report", "rerun", NULL };

/* One table per section; IN(member) is where the value goes. */
#define IN(member) offsetof(struct config, member)

static const struct config_item listener_items[] = {
	{ "identity", &config_type_string, IN(identity), .def = "listener",
	  .help = "Name of this listener: 1 to 32 characters of a-z, 0-9 and '-'. Containers, networks "
		  "and the MQTT client id carry it. Two listeners on one machine need two different names." },
	{ "state_dir", &config_type_path, IN(state_dir), .def = LISTENER_STATEDIR, .def_text = "/var/lib/listenerd",
	  .help = "Folder for what must survive a reboot: the journal and, by default, the scripts." },
	{ "run_dir", &config_type_path, IN(run_dir), .def = LISTENER_RUNDIR, .def_text = "/run/listenerd",
	  .help = "Folder for what must survive a restart of the daemon, but not a reboot: sockets and "
		  "the folders of the sandboxes." },
	{ "libexec_dir", &config_type_path, IN(libexec_dir), .def = LISTENER_LIBDIR "/libexec",
	  .def_text = "PREFIX/lib/listenerd/libexec", .help = "Folder of the helper programs, such as sandbox-init." },
	{ "log_level", &config_type_enum, IN(log_level), LSN_LOG_ERROR, 0, level_names, .def = "info",
	  .help = "The least important messages that are logged: error, warning, notice, info or debug. "
		  "Example: with warning, only errors and warnings are logged. Payloads are logged at "
		  "debug only." },
	{ "drain", &config_type_duration, IN(drain_usec), 0, DAY_USEC, .def = "15s",
	  .help = "At SIGTERM, how long listenerd waits for running jobs that cannot continue without "
		  "it. Jobs that still run after this time are reported as lost. Jobs of docker-sandbox "
		  "continue in their sandboxes, so nothing waits for them; the next start takes them over." },
	{ "record_unmatched", &config_type_bool, IN(record_unmatched), .def = "no",
	  .help = "yes: the journal keeps events that match no script too. no: such events are only "
		  "counted." },
	{ "payload_max", &config_type_size, IN(payload_max_bytes), 1 * K, 256 * M, .def = "8M",
	  .help = "The largest payload of an event. An event with a larger payload runs no script; "
		  "`listenerctl rejected` shows it. Example: 64M" },
};

static const struct config_item broker_items[] = {
	{ "host", &config_type_string, IN(broker.host), .def = "localhost",
	  .help = "Name or address of the broker, or the absolute path of its unix socket. Examples: "
		  "broker.example.org, 192.0.2.7, /run/mosquitto/mosquitto.sock" },
	{ "port", &config_type_uint, IN(broker.port), 1, 65535, .def_text = "1883, with tls 8883",
	  .help = "TCP port of the broker." },
	{ "client_id", &config_type_string, IN(broker.client_id), .def_text = "listenerd-IDENTITY",
	  .help = "The broker keeps a session under this name. The session holds the events that "
		  "listenerd has not acknowledged yet. If you change the name, the events of the old session "
		  "are never delivered." },
	{ "user", &config_type_string, IN(broker.user), .help = "User name at the broker. Empty: none." },
	{ "password", &config_type_secret, IN(broker.password),
	  .help = "Password at the broker. Write ${FILE:/path} or ${ENV:NAME} rather than the password "
		  "itself." },
	{ "version", &config_type_enum, IN(broker.version), MQTT_V311, 0, version_names, .def = "3.1.1",
	  .help = "MQTT version: 3.1.1 or 5." },
	{ "keepalive", &config_type_seconds, IN(broker.keepalive_sec), 5 * USEC_PER_SEC, 65535 * USEC_PER_SEC,
	  .def = "60s",
	  .help = "If the connection has been silent for this time, listenerd sends a ping. If the "
		  "broker does not answer the ping, listenerd connects again." },
	{ "tls", &config_type_bool, IN(broker.tls), .def = "no",
	  .help = "yes: the connection is encrypted (TLS), and the default of port is 8883. no: it is "
		  "not encrypted." },
	{ "tls_verify", &config_type_bool, IN(broker.tls_verify), .def = "yes",
	  .help = "yes: check the certificate and the name of the broker. no: accept any certificate, "
		  "so that anybody on the network can pretend to be the broker." },
	{ "tls_ca_file", &config_type_path, IN(broker.tls_ca_file), .def_text = "the system's",
	  .help = "File with the certificates (PEM) of the authorities to trust." },
	{ "tls_cert_file", &config_type_path, IN(broker.tls_cert_file),
	  .help = "File with the certificate (PEM) of this listener, if the broker asks for one." },
	{ "tls_key_file", &config_type_path, IN(broker.tls_key_file),
	  .help = "File with the private key for tls_cert_file." },
	{ "subscriptions", &config_type_list, IN(broker.subscriptions),
	  .def = "create/# update/# delete/# update_object/# update_metadata/#",
	  .help = "Topic filters of the events to receive, separated by blanks or in several lines. No "
		  "two may overlap, because the broker would deliver an event once for each of them. "
		  "Example: create/# and create/resource/# overlap. $share/GROUP/FILTER is possible. "
		  "Older archives publish update_object and update_metadata instead of update." },
	{ "reconnect_min", &config_type_duration, IN(broker.reconnect_min_usec), 10 * USEC_PER_MSEC, DAY_USEC,
	  .def = "250ms",
	  .help = "Wait before the first new attempt to connect. The wait doubles after each failure, "
		  "up to reconnect_max, and varies at random. Example: with 250ms the waits are about "
		  "0.25, 0.5, 1 and 2 seconds." },
	{ "reconnect_max", &config_type_duration, IN(broker.reconnect_max_usec), 10 * USEC_PER_MSEC, DAY_USEC,
	  .def = "30s", .help = "The longest wait between two attempts to connect." },
	{ "receive_max", &config_type_uint, IN(broker.receive_max), 1, 65535, .def = "1000",
	  .help = "How many events the broker may send before listenerd acknowledges them. With MQTT 5 "
		  "listenerd tells the broker. With 3.1.1 the broker's own limit applies (mosquitto: "
		  "max_inflight_messages). Re-sent events are recognised among the last 32768 events, or among "
		  "the last receive_max events if that is more." },
	{ "batch_max", &config_type_uint, IN(broker.batch_max), 1, 65535, .def = "1000",
	  .help = "The most events that one commit of the journal stores." },
};

static const struct config_item journal_items[] = {
	{ "path", &config_type_path, IN(journal.path), .def_text = "STATE_DIR/journal.db",
	  .help = "The database file (SQLite). It must be on a local file system." },
	{ "size_max", &config_type_size, IN(journal.size_max_bytes), 16 * M, UINT64_MAX, .def = "4G",
	  .help = "When the journal is larger than this, listenerd takes no events until there is room. "
		  "The broker keeps the events." },
	{ "jobs_max", &config_type_uint64, IN(journal.jobs_max), 1, UINT64_MAX, .def = "1000000",
	  .help = "When there are more unfinished jobs than this, listenerd takes no events until jobs "
		  "have ended. The broker keeps the events." },
	{ "disk_free_min", &config_type_size, IN(journal.disk_free_min_bytes), 0, UINT64_MAX, .def = "256M",
	  .help = "When less than this is free on the journal's file system, listenerd takes no events "
		  "until there is room. The broker keeps the events." },
	{ "keep", &config_type_duration, IN(journal.keep_usec), 0, UINT64_MAX, .def = "7d",
	  .help = "How long jobs and their events are kept after they ended. Lost jobs count as ended. "
		  "Example: 30d" },
	{ "keep_jobs", &config_type_uint64, IN(journal.keep_jobs), 0, UINT64_MAX, .def = "100000",
	  .help = "The most ended jobs that are kept. The oldest are deleted first. Lost jobs do not "
		  "count; they stay until keep has passed." },
};

static const struct config_item scripts_items[] = {
	{ "source", &config_type_enum, IN(source.kind), SOURCE_DIRECTORY, 0, source_names, .def = "directory",
	  .help = "directory: files in a folder, each with its metadata in NAME.meta. cdmi: a "
		  "collection of the archive." },
	{ "directory", &config_type_path, IN(source.directory), .def_text = "STATE_DIR/scripts",
	  .help = "Folder of the scripts. A change in the folder takes effect at once. This includes a "
		  "link on the path of the folder that is replaced, and a file system that is mounted "
		  "there. Links inside the folder are refused, because they could lead to files that "
		  "are no scripts. Kubernetes mounts a ConfigMap as such links; there name the folder "
		  "that Kubernetes replaces as a whole, MOUNT/..data." },
	{ "url", &config_type_string, IN(source.url),
	  .help = "Address of the archive's CDMI service, without the collection. Example: "
		  "https://archive.example.org/api/cdmi" },
	{ "user", &config_type_string, IN(source.user),
	  .help = "User name at the archive. The user must be able to read the scripts collection and "
		  "needs no other right." },
	{ "password", &config_type_secret, IN(source.password),
	  .help = "Password at the archive. Write ${FILE:/path} or ${ENV:NAME} rather than the "
		  "password itself." },
	{ "ca_file", &config_type_path, IN(source.ca_file), .def_text = "the system's",
	  .help = "File with the certificates (PEM) of the authorities to trust." },
	{ "verify", &config_type_bool, IN(source.verify), .def = "yes",
	  .help = "yes: check the certificate and the name of the archive. no: accept any certificate, "
		  "so that anybody on the network can pretend to be the archive." },
	{ "timeout", &config_type_duration, IN(source.timeout_usec), 100 * USEC_PER_MSEC, 60 * MIN_USEC, .def = "10s",
	  .help = "The longest time of one request to the archive." },
	{ "fetches", &config_type_uint, IN(source.fetches), 1, 64, .def = "4",
	  .help = "The most requests to the archive at the same time." },
	{ "collection", &config_type_string, IN(source.collection), .def = "/scripts",
	  .help = "The archive's collection of scripts. No event on this collection, or on anything "
		  "below it, runs a script. This holds for every source." },
	{ "events", &config_type_enum, IN(source.events), TOPIC_INDIGO, 0, dialect_names, .def = "indigo",
	  .help = "Which archive publishes the events. indigo: topics are operation/type/path. "
		  "drastic: the UUID of the object is before the path. radon: request, success or fail is "
		  "before the type. With the right value, changes of scripts take effect at once, and no event "
		  "on the scripts collection runs a script. The filters of scripts are compared with the "
		  "topics as they are published." },
	{ "recursive", &config_type_bool, IN(source.recursive), .def = "yes",
	  .help = "yes: scripts in sub-folders or sub-collections are registered too. Their names are "
		  "paths, such as sub/a.py. no: only scripts directly in the folder or collection are "
		  "registered." },
	{ "rescan", &config_type_duration, IN(source.rescan_usec), 0, 365 * DAY_USEC, .def = "10min",
	  .help = "The longest time between two scans of the whole source. 0: scan at the start and on "
		  "listenerctl rescan only." },
	{ "scripts_max", &config_type_uint64, IN(source.scripts_max), 1, 16 * M, .def = "100000",
	  .help = "The most scripts that are registered. Further scripts are refused." },
	{ "size_max", &config_type_size, IN(source.size_max), 1, 64 * M, .def = "1M",
	  .help = "The largest script, in bytes. A larger script is refused." },
};

static const struct config_item limits_items[] = {
	{ "timeout", &config_type_duration, IN(policy.defaults.timeout_usec), 10 * USEC_PER_MSEC, 7 * DAY_USEC,
	  .def = "12s",
	  .help = "The longest run time (wall clock) of a script whose metadata have no timeout. A "
		  "script that takes longer is killed, and the outcome is timeout." },
	{ "timeout_max", &config_type_duration, IN(policy.timeout_max_usec), 10 * USEC_PER_MSEC, 7 * DAY_USEC,
	  .def = "12s",
	  .help = "The longest timeout a script may ask for. Example: with timeout_max = 1min, a script "
		  "with timeout = 30s is registered, and a script with timeout = 2min is refused." },
	{ "memory", &config_type_size, IN(policy.defaults.memory_bytes), 8 * M, UINT64_MAX, .def = "128M",
	  .help = "The most memory of a script whose metadata have no memory. A script that needs more "
		  "is killed, and the outcome is memory." },
	{ "memory_max", &config_type_size, IN(policy.memory_max_bytes), 8 * M, UINT64_MAX, .def = "128M",
	  .help = "The most memory a script may ask for. Example: with memory_max = 256M, a script with "
		  "memory = 512M is refused." },
	{ "output", &config_type_enum, IN(policy.defaults.output), OUTPUT_DISCARD, 0, output_names, .def = "discard",
	  .help = "discard: what scripts print is thrown away. capture: the first output_max bytes of "
		  "each stream are kept in the journal. failures: the same, but only of runs that did not "
		  "succeed. With failures, authors see why a script failed, and runs that succeed leave "
		  "nothing behind." },
	{ "output_max", &config_type_size, IN(policy.output_max_bytes), 1 * K, 256 * K, .def = "64K",
	  .help = "How much of standard output and how much of standard error is kept with output = "
		  "capture or failures. What is beyond is thrown away, the kept part is marked as truncated, and "
		  "the script goes on. A new value counts for attempts that begin later." },
	{ "stdin", &config_type_enum, IN(policy.defaults.input), LSN_INPUT_FILE, 0, input_names, .def = "pipe",
	  .help = "What standard input is for a script whose metadata have no stdin. pipe: the payload "
		  "comes through a pipe, as from a shell. file: the payload is a file that can be read "
		  "again from its start. The bytes are the same." },
	{ "capture_allowed", &config_type_bool, IN(policy.capture_allowed), .def = "yes",
	  .help = "yes: a script may ask for output = capture or output = failures. no: a script that "
		  "asks for it is refused, unless output above is the same." },
	{ "on_lost", &config_type_enum, IN(policy.defaults.on_lost), ON_LOST_REPORT, 0, on_lost_names,
	  .def = "executor",
	  .help = "What happens to a job when listenerd cannot know whether it ran. report: the job "
		  "stays lost until an operator acts. rerun: the job runs again, perhaps for the second time. "
		  "executor: the section of its executor decides." },
	{ "on_lost_allowed", &config_type_bool, IN(policy.on_lost_allowed), .def = "yes",
	  .help = "yes: a script may set on_lost. no: a script that sets it is refused." },
	{ "retries", &config_type_uint, IN(policy.defaults.retries), 0, 100, .def = "0",
	  .help = "How many further attempts a job gets if the metadata of its script have no retries. "
		  "retry_on says after which outcomes." },
	{ "retries_max", &config_type_uint, IN(policy.retries_max), 0, 100, .def = "5",
	  .help = "The most retries a script may ask for." },
	{ "retry_delay", &config_type_duration, IN(policy.defaults.retry_delay_usec), 0, 7 * DAY_USEC, .def = "10s",
	  .help = "Wait before the second attempt. The wait doubles before each further attempt, up to "
		  "retry_delay_max. Example: with 10s and retries = 3 the waits are 10, 20 and 40 "
		  "seconds." },
	{ "retry_delay_max", &config_type_duration, IN(policy.retry_delay_max_usec), 0, 7 * DAY_USEC, .def = "1h",
	  .help = "The longest wait between two attempts." },
	{ "retry_on", &config_type_outcomes, IN(policy.defaults.retry_on), .def = "failure",
	  .help = "The outcomes after which there is another attempt, separated by blanks: failure, "
		  "signal, timeout, memory, cpu, output, processes, error, lost. Example: retry_on = "
		  "failure timeout" },
	{ "loop_allowed", &config_type_bool, IN(policy.loop_allowed), .def = "no",
	  .help = "yes: a script may set loop = allow, so that its runs do not count when the listener looks "
		  "for scripts that cause their own events. no: a script that sets it is refused." },
	{ "rate_max", &config_type_rate, IN(policy.rate_max), 0, 1000000 * USEC_PER_SEC, .def = "0",
	  .help = "The most starts of each script per second; 0: no limit. A script may ask for fewer with "
		  "rate in its metadata. Example: with rate_max = 100, a script with rate = 200/s is refused." },
};

static const struct config_item dispatcher_items[] = {
	{ "max_running", &config_type_uint, IN(dispatch.running_max), 1, 100000, .def = "64",
	  .help = "The most jobs that run at the same time." },
	{ "per_script", &config_type_uint, IN(dispatch.per_script_max), 1, 100000, .def = "16",
	  .help = "The most jobs of one script that run at the same time." },
	{ "window", &config_type_uint, IN(dispatch.window), 1, 100000, .def = "256",
	  .help = "How many waiting jobs of one script are kept in memory. Further jobs wait in the "
		  "journal, so this limits memory and not the number of jobs." },
	{ "loop_limit", &config_type_uint, IN(dispatch.loop_limit), 0, 1000, .def = "24",
	  .help = "Scripts that cause their own events: after so many events in a row about one object that came "
		  "while a script ran on it, the jobs about that object are held until an operator releases them. "
		  "0: nothing is braked and nothing is held." },
	{ "storm_warn", &config_type_uint, IN(dispatch.storm_warn), 0, 1000000000, .def = "50000",
	  .help = "So many waiting jobs of one script are a warning in `listenerctl status` and `check`. 0: no "
		  "number is." },
	{ "default_executor", &config_type_name, IN(dispatch.default_executor), .def = "docker-sandbox",
	  .help = "The executor for scripts that name none and match no [route]." },
	{ "replay_rate", &config_type_rate, IN(dispatch.replay_rate_max), 1000, 1000000 * USEC_PER_SEC, .def = "50",
	  .help = "The most jobs that `listenerctl replay` creates per second. Example: with 50, a "
		  "replay of 3000 jobs takes a minute." },
};

static const struct config_item executors_items[] = {
	{ "folder", &config_type_path, IN(executors.folder), .def = LISTENER_LIBDIR "/executors",
	  .def_text = "PREFIX/lib/listenerd/executors",
	  .help = "Folder of the modules, NAME.so. Only root or the listener's user may be able to "
		  "write the folder and the modules." },
};

static const struct config_item control_items[] = {
	{ "socket", &config_type_path, IN(control.socket), .def_text = "RUN_DIR/control",
	  .help = "The unix socket that listenerctl connects to." },
	{ "group", &config_type_string, IN(control.group), .def_text = "the daemon's own",
	  .help = "Unix group whose members may use every command." },
	{ "readers", &config_type_list, IN(control.readers), .def = "",
	  .help = "Users, or groups as @NAME, that may use the commands that only show something. "
		  "Example: readers = alice @staff" },
	{ "testers", &config_type_list, IN(control.testers), .def = "",
	  .help = "Users, or groups as @NAME, that may do what readers may, and run listenerctl test. A "
		  "tester can run any program in a sandbox, on the network that scripts have." },
	{ "tests", &config_type_uint, IN(control.tests), 0, 64, .def = "2",
	  .help = "How many runs of listenerctl test there may be at the same time, beside those of "
		  "max_running. 0: none." },
	{ "operators", &config_type_list, IN(control.operators), .def = "",
	  .help = "Users, or groups as @NAME, that may use every command. Example: operators = bob "
		  "@admins" },
};

static const struct config_item route_items[] = {
	{ "script", &config_type_string, offsetof(struct route_config, script), .def_text = "any",
	  .help = "The route applies to scripts whose name matches this pattern. *, ? and [a-z] mean "
		  "what they mean in a shell. Example: audit-*" },
	{ "filter", &config_type_filter, offsetof(struct route_config, filter), .def_text = "any",
	  .help = "The route applies to scripts whose topic filter selects nothing outside this topic "
		  "filter. Example: delete/# applies to a script with delete/user/#. It does not apply "
		  "to a script with +/user/#. Empty levels are left out, as in the filters of scripts." },
	{ "executor", &config_type_name, offsetof(struct route_config, executor), .def_text = "required",
	  .help = "Name of the executor that runs their jobs." },
};

static const struct config_item executor_items[] = {
	{ "module", &config_type_name, offsetof(struct executor_config, module), .def_text = "NAME",
	  .help = "The module to load. Its file is MODULE.so in [executors] folder." },
	{ "concurrency", &config_type_uint, offsetof(struct executor_config, concurrency), 1, 100000, .def = "16",
	  .help = "The most jobs that the executor gets at the same time." },
	{ "on_lost", &config_type_enum, offsetof(struct executor_config, on_lost), ON_LOST_REPORT, 0,
	  executor_on_lost_names, .def = "report",
	  .help = "What happens to a lost job if neither its script nor [limits] decides. report: the "
		  "job stays lost until an operator acts. rerun: the job runs again." },
	{ "open", &config_type_bool, offsetof(struct executor_config, open), .def = "no",
	  .help = "yes: a script may choose this executor with its metadata key executor. no: a script "
		  "that chooses it is refused. Example of metadata: executor = offline" },
};

#define ITEMS(array) .items = array, .item_count = ELEMENTSOF(array)

const struct config_section_type config_sections[] = {
	{ "listener", ITEMS(listener_items), .help = "The daemon itself." },
	{ "broker", ITEMS(broker_items), .help = "Where events come from." },
	{ "journal", ITEMS(journal_items), .help = "Where events, jobs and results are stored." },
	{ "scripts", ITEMS(scripts_items), .help = "Where scripts come from." },
	{ "limits", ITEMS(limits_items), .help = "What scripts get, and what their metadata may ask for." },
	{ "dispatcher", ITEMS(dispatcher_items), .help = "Which job starts when." },
	{ "route", "NAME", sizeof(struct route_config), offsetof(struct route_config, name), true, ITEMS(route_items),
	  .help = "Sends the jobs of some scripts to one executor. There may be any number of routes. "
		  "The first one that applies is used, in the order of the files." },
	{ "executors", ITEMS(executors_items), .help = "Modules that run jobs." },
	{ "executor", "NAME", sizeof(struct executor_config), offsetof(struct executor_config, name), false, true,
	  ITEMS(executor_items),
	  .help = "One instance of a module. Without any such section there is one instance, "
		  "docker-sandbox. All other keys belong to the module: see listenerd-MODULE(5), such as "
		  "listenerd-docker-sandbox(5)." },
	{ "control", ITEMS(control_items), .help = "The control socket." },
};
const size_t config_section_count = ELEMENTSOF(config_sections);

/* ---------------------------------------------------------------------------- printing and help */

static void print_items(const struct config_section_type *type, const void *base, FILE *out)
{
	for (size_t i = 0; i < type->item_count; i++)
		type->items[i].type->print(&type->items[i], (const char *)base + type->items[i].offset, out);
}

static bool is_hidden(const struct config *config, const char *value)
{
	for (size_t i = 0; i < config->hidden_count; i++)
		if (config->hidden[i] == value)
			return true;
	return false;
}

static void print_executor(const struct config *config, const struct config_section_type *type,
			   const struct executor_config *e, FILE *out)
{
	(void)fprintf(out, "\n[executor %s]\n", e->name);
	print_items(type, e, out);
	for (size_t i = 0; i < e->option_count; i++) {
		const char *value = is_hidden(config, e->options[i].value) ? "(set)" : e->options[i].value;
		(void)fprintf(out, "%s =%s%s\n", e->options[i].key, *value ? " " : "", value);
	}
}

void config_print(const struct config *config, FILE *out)
{
	for (size_t i = 0; i < config_section_count; i++) {
		const struct config_section_type *type = &config_sections[i];
		if (!type->label) {
			(void)fprintf(out, "%s[%s]\n", i ? "\n" : "", type->name);
			print_items(type, config, out);
		} else if (type->options) {
			for (size_t n = 0; n < config->executors.executor_count; n++)
				print_executor(config, type, &config->executors.executors[n], out);
		} else {
			for (size_t n = 0; n < config->dispatch.route_count; n++) {
				(void)fprintf(out, "\n[%s %s]\n", type->name, config->dispatch.routes[n].name);
				print_items(type, &config->dispatch.routes[n], out);
			}
		}
	}
}

void config_help(FILE *out)
{
	for (size_t i = 0; i < config_section_count; i++) {
		const struct config_section_type *type = &config_sections[i];
		(void)fprintf(out, "%s[%s%s%s]\n  %s\n", i ? "\n" : "", type->name, type->label ? " " : "",
			      type->label ? type->label : "", type->help);
		for (size_t n = 0; n < type->item_count; n++) {
			const struct config_item *item = &type->items[n];
			const char *def = item->def_text ? item->def_text : item->def ? item->def : "";
			/* A default in words is printed in brackets, so that nobody, and no
			 * script, takes it for a value. */
			bool words = item->def_text && !item->def;
			(void)fprintf(out, "  %s =%s%s%s%s\n      %s\n", item->key, *def ? " " : "", words ? "(" : "",
				      def, words ? ")" : "", item->help);
		}
	}
}
