/* config_table.c - every section and key: type, range, default, help. The only place that knows
 * them; loading, printing and the manual follow from it. */
#include "broker.h"
#include "config_private.h"
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
static const char *const source_names[] = { "directory", "cdmi", NULL };
static const char *const output_names[] = { "discard", "capture", NULL };
static const char *const on_lost_names[] = { "report", "rerun", "executor", NULL };
static const char *const executor_on_lost_names[] = { "report", "rerun", NULL };

/* One table per section; IN(member) is where the value goes. */
#define IN(member) offsetof(struct config, member)

static const struct config_item listener_items[] = {
	{ "identity", &config_type_string, IN(identity), .def = "listener",
	  .help = "Name of this listener: 1 to 32 of a-z, 0-9 and '-'. It labels what is made outside (containers, "
		  "networks, the MQTT client id): two "
		  "listeners on one machine need two names." },
	{ "state_dir", &config_type_path, IN(state_dir), .def = LISTENER_STATEDIR, .def_text = "/var/lib/listenerd",
	  .help = "What must survive a reboot: the journal." },
	{ "run_dir", &config_type_path, IN(run_dir), .def = LISTENER_RUNDIR, .def_text = "/run/listenerd",
	  .help = "What must survive a restart of the daemon only: sockets, private copies of modules." },
	{ "libexec_dir", &config_type_path, IN(libexec_dir), .def = LISTENER_LIBDIR "/libexec",
	  .def_text = "PREFIX/lib/listenerd/libexec",
	  .help = "Where the helper programs are installed, such as sandbox-init." },
	{ "log_level", &config_type_enum, IN(log_level), LSN_LOG_ERROR, 0, level_names, .def = "info",
	  .help = "error, warning, notice, info or debug. Payloads are never logged above debug." },
	{ "drain", &config_type_duration, IN(drain_usec), 0, DAY_USEC, .def = "15s",
	  .help = "At SIGTERM wait so long for jobs that cannot be left behind running." },
	{ "record_unmatched", &config_type_bool, IN(record_unmatched), .def = "no",
	  .help = "Keep events that match no script in the journal too. Otherwise they are only counted." },
	{ "payload_max", &config_type_size, IN(payload_max_bytes), 1 * K, 256 * M, .def = "8M",
	  .help = "Events with a larger payload are recorded as rejected and never run." },
};

static const struct config_item broker_items[] = {
	{ "host", &config_type_string, IN(broker.host), .def = "localhost",
	  .help = "Name or address of the broker, or the absolute path of its unix socket." },
	{ "port", &config_type_uint, IN(broker.port), 1, 65535, .def_text = "1883, with tls 8883",
	  .help = "TCP port." },
	{ "client_id", &config_type_string, IN(broker.client_id), .def_text = "listenerd-IDENTITY",
	  .help = "The broker keeps our session, with what we have not yet acknowledged, under this name. Changing "
		  "it leaves the old session behind." },
	{ "user", &config_type_string, IN(broker.user), .help = "User name at the broker; none by default." },
	{ "password", &config_type_secret, IN(broker.password),
	  .help = "Better ${FILE:/path} or ${ENV:NAME} than the password itself." },
	{ "version", &config_type_enum, IN(broker.version), MQTT_V311, 0, version_names, .def = "3.1.1",
	  .help = "Protocol: 3.1.1 or 5." },
	{ "keepalive", &config_type_seconds, IN(broker.keepalive_sec), 5 * USEC_PER_SEC, 65535 * USEC_PER_SEC,
	  .def = "60s",
	  .help = "A connection silent for longer than this is pinged, and given up if no answer comes." },
	{ "tls", &config_type_bool, IN(broker.tls), .def = "no", .help = "Encrypt the connection." },
	{ "tls_verify", &config_type_bool, IN(broker.tls_verify), .def = "yes",
	  .help = "Check the broker's certificate and name. Do not turn this off." },
	{ "tls_ca_file", &config_type_path, IN(broker.tls_ca_file), .def_text = "the system's",
	  .help = "Certificates (PEM) of the authorities that are trusted." },
	{ "tls_cert_file", &config_type_path, IN(broker.tls_cert_file),
	  .help = "Our own certificate (PEM), if the broker asks for one." },
	{ "tls_key_file", &config_type_path, IN(broker.tls_key_file),
	  .help = "The key that belongs to tls_cert_file." },
	{ "subscriptions", &config_type_list, IN(broker.subscriptions),
	  .def = "create/# update/# delete/# update_object/# update_metadata/#",
	  .help = "Topic filters, separated by blanks or given in several lines. No two may overlap: the broker "
		  "would deliver an event once for each, and "
		  "scripts would run as often. $share/GROUP/FILTER is possible. update_object and update_metadata "
		  "are what older archives say for update." },
	{ "reconnect_min", &config_type_duration, IN(broker.reconnect_min_usec), 10 * USEC_PER_MSEC, DAY_USEC,
	  .def = "250ms",
	  .help = "Wait so long before the first attempt to connect again; it doubles with each failure, with some "
		  "jitter." },
	{ "reconnect_max", &config_type_duration, IN(broker.reconnect_max_usec), 10 * USEC_PER_MSEC, DAY_USEC,
	  .def = "30s", .help = "Never wait longer than this between attempts." },
	{ "receive_max", &config_type_uint, IN(broker.receive_max), 1, 65535, .def = "1000",
	  .help = "Events the broker may send before we acknowledge. MQTT 5 tells it so; with 3.1.1 the broker's "
		  "own limit holds (mosquitto: "
		  "max_inflight_messages). Whatever it is, the last 32768 events are recognised when they are sent "
		  "again; if this is more, as many as this." },
	{ "batch_max", &config_type_uint, IN(broker.batch_max), 1, 65535, .def = "1000",
	  .help = "Events stored with one commit of the journal at most." },
};

static const struct config_item journal_items[] = {
	{ "path", &config_type_path, IN(journal.path), .def_text = "STATE_DIR/journal.db",
	  .help = "The database (SQLite). Not on a network file system." },
	{ "size_max", &config_type_size, IN(journal.size_max_bytes), 16 * M, UINT64_MAX, .def = "4G",
	  .help = "Above this size nothing more is acknowledged: the broker holds new events until there is room." },
	{ "jobs_max", &config_type_uint64, IN(journal.jobs_max), 1, UINT64_MAX, .def = "1000000",
	  .help = "Likewise with so many unfinished jobs." },
	{ "disk_free_min", &config_type_size, IN(journal.disk_free_min_bytes), 0, UINT64_MAX, .def = "256M",
	  .help = "Likewise if less than this is free on the journal's file system." },
	{ "keep", &config_type_duration, IN(journal.keep_usec), 0, UINT64_MAX, .def = "7d",
	  .help = "Finished jobs and their events are kept this long ..." },
	{ "keep_jobs", &config_type_uint64, IN(journal.keep_jobs), 0, UINT64_MAX, .def = "100000",
	  .help = "... and at most so many." },
};

static const struct config_item scripts_items[] = {
	{ "source", &config_type_enum, IN(source.kind), SOURCE_DIRECTORY, 0, source_names, .def = "directory",
	  .help = "directory: files, each with its metadata in NAME.meta beside it. cdmi: a collection of the "
		  "archive." },
	{ "directory", &config_type_path, IN(source.directory), .def_text = "STATE_DIR/scripts",
	  .help = "Folder of the scripts; watched for changes." },
	{ "url", &config_type_string, IN(source.url),
	  .help = "Address of the archive's CDMI service, without the collection: "
		  "https://archive.example.org/api/cdmi" },
	{ "user", &config_type_string, IN(source.user),
	  .help = "User at the archive; needs to read the scripts collection only." },
	{ "password", &config_type_secret, IN(source.password),
	  .help = "Better ${FILE:/path} or ${ENV:NAME} than the password itself." },
	{ "ca_file", &config_type_path, IN(source.ca_file), .def_text = "the system's",
	  .help = "Certificates (PEM) of the authorities that are trusted." },
	{ "verify", &config_type_bool, IN(source.verify), .def = "yes",
	  .help = "Check the archive's certificate and name. Do not turn this off." },
	{ "timeout", &config_type_duration, IN(source.timeout_usec), 100 * USEC_PER_MSEC, 60 * MIN_USEC, .def = "10s",
	  .help = "One request to the archive may take this long." },
	{ "fetches", &config_type_uint, IN(source.fetches), 1, 64, .def = "4",
	  .help = "Requests to the archive at the same time." },
	{ "collection", &config_type_string, IN(source.collection), .def = "/scripts",
	  .help = "The archive's collection of scripts. Whatever the source, no event on it or below it runs a "
		  "script." },
	{ "recursive", &config_type_bool, IN(source.recursive), .def = "yes",
	  .help = "Scripts in sub-folders or sub-collections count too." },
	{ "rescan", &config_type_duration, IN(source.rescan_usec), 0, 365 * DAY_USEC, .def = "10min",
	  .help = "Look through the whole source at least so often; 0: only at the start and when asked." },
	{ "scripts_max", &config_type_uint64, IN(source.scripts_max), 1, 16 * M, .def = "100000",
	  .help = "More scripts than this are not registered." },
	{ "size_max", &config_type_size, IN(source.size_max), 1, 64 * M, .def = "1M",
	  .help = "A larger script is not registered." },
};

static const struct config_item limits_items[] = {
	{ "timeout", &config_type_duration, IN(policy.defaults.timeout_usec), 10 * USEC_PER_MSEC, 7 * DAY_USEC,
	  .def = "12s", .help = "Wall-clock time of a script that asks for none; then it is killed." },
	{ "timeout_max", &config_type_duration, IN(policy.timeout_max_usec), 10 * USEC_PER_MSEC, 7 * DAY_USEC,
	  .def = "12s", .help = "The most a script may ask for." },
	{ "memory", &config_type_size, IN(policy.defaults.memory_bytes), 8 * M, UINT64_MAX, .def = "128M",
	  .help = "Memory of a script that asks for none." },
	{ "memory_max", &config_type_size, IN(policy.memory_max_bytes), 8 * M, UINT64_MAX, .def = "128M",
	  .help = "The most a script may ask for." },
	{ "output", &config_type_enum, IN(policy.defaults.output), LSN_OUTPUT_DISCARD, 0, output_names,
	  .def = "discard",
	  .help = "discard: what scripts print goes to /dev/null. capture: a copy goes to the journal." },
	{ "capture_allowed", &config_type_bool, IN(policy.capture_allowed), .def = "yes",
	  .help = "May a script ask for output = capture." },
	{ "on_lost", &config_type_enum, IN(policy.defaults.on_lost), ON_LOST_REPORT, 0, on_lost_names,
	  .def = "executor",
	  .help = "When it cannot be known whether a job ran. report: leave it to an operator. rerun: run it again, "
		  "perhaps a second time. executor: as "
		  "the section of its executor says." },
	{ "on_lost_allowed", &config_type_bool, IN(policy.on_lost_allowed), .def = "yes",
	  .help = "May a script set on_lost." },
	{ "retries", &config_type_uint, IN(policy.defaults.retries), 0, 100, .def = "0",
	  .help = "Further attempts after one that failed." },
	{ "retries_max", &config_type_uint, IN(policy.retries_max), 0, 100, .def = "5",
	  .help = "The most a script may ask for." },
	{ "retry_delay", &config_type_duration, IN(policy.defaults.retry_delay_usec), 0, 7 * DAY_USEC, .def = "10s",
	  .help = "Wait before the second attempt; it doubles each time." },
	{ "retry_delay_max", &config_type_duration, IN(policy.retry_delay_max_usec), 0, 7 * DAY_USEC, .def = "1h",
	  .help = "It never grows beyond this." },
	{ "retry_on", &config_type_outcomes, IN(policy.defaults.retry_on), .def = "failure",
	  .help = "Which outcomes are worth another attempt: failure, signal, timeout, memory, cpu, output, "
		  "processes, error, lost." },
};

static const struct config_item dispatcher_items[] = {
	{ "max_running", &config_type_uint, IN(dispatch.running_max), 1, 100000, .def = "64",
	  .help = "Jobs at the same time." },
	{ "per_script", &config_type_uint, IN(dispatch.per_script_max), 1, 100000, .def = "16",
	  .help = "... of one script." },
	{ "window", &config_type_uint, IN(dispatch.window), 1, 100000, .def = "256",
	  .help = "Waiting jobs of one script kept in memory; the rest waits in the journal." },
	{ "default_executor", &config_type_name, IN(dispatch.default_executor), .def = "docker-sandbox",
	  .help = "The [executor NAME] that runs scripts no route and no choice of their own sends elsewhere." },
	{ "replay_rate", &config_type_rate, IN(dispatch.replay_rate_max), 1000, 1000000 * USEC_PER_SEC, .def = "50",
	  .help = "Replayed jobs per second at most." },
};

static const struct config_item executors_items[] = {
	{ "folder", &config_type_path, IN(executors.folder), .def = LISTENER_LIBDIR "/executors",
	  .def_text = "PREFIX/lib/listenerd/executors",
	  .help = "Folder of the modules, NAME.so. It and they must not be writable for anybody but root or the "
		  "listener's user." },
};

static const struct config_item control_items[] = {
	{ "socket", &config_type_path, IN(control.socket), .def_text = "RUN_DIR/control",
	  .help = "The socket listenerctl talks to." },
	{ "group", &config_type_string, IN(control.group), .def_text = "the daemon's own",
	  .help = "Unix group that may connect to it." },
	{ "readers", &config_type_list, IN(control.readers), .def = "",
	  .help = "Users, or groups as @NAME, that may look." },
	{ "operators", &config_type_list, IN(control.operators), .def = "",
	  .help = "Users, or groups as @NAME, that may do everything." },
};

static const struct config_item route_items[] = {
	{ "script", &config_type_string, offsetof(struct route_config, script), .def_text = "any",
	  .help = "The route holds for scripts whose name matches this pattern (as in a shell: * ? [a-z])." },
	{ "filter", &config_type_string, offsetof(struct route_config, filter), .def_text = "any",
	  .help = "The route holds for scripts whose own filter asks for nothing beyond this topic filter." },
	{ "executor", &config_type_name, offsetof(struct route_config, executor), .def_text = "required",
	  .help = "Where their jobs run." },
};

static const struct config_item executor_items[] = {
	{ "module", &config_type_name, offsetof(struct executor_config, module), .def_text = "NAME",
	  .help = "The module's file is MODULE.so." },
	{ "concurrency", &config_type_uint, offsetof(struct executor_config, concurrency), 1, 100000, .def = "16",
	  .help = "Jobs it gets at the same time." },
	{ "on_lost", &config_type_enum, offsetof(struct executor_config, on_lost), ON_LOST_REPORT, 0,
	  executor_on_lost_names, .def = "report",
	  .help = "What becomes of its jobs that are lost, where neither script nor [limits] say it." },
	{ "open", &config_type_bool, offsetof(struct executor_config, open), .def = "no",
	  .help = "May scripts choose it by their metadata key \"executor\"." },
};

#define ITEMS(array) .items = array, .item_count = ELEMENTSOF(array)

const struct config_section_type config_sections[] = {
	{ "listener", ITEMS(listener_items), .help = "The daemon itself." },
	{ "broker", ITEMS(broker_items), .help = "Where events come from." },
	{ "journal", ITEMS(journal_items), .help = "Where events, jobs and results are kept." },
	{ "scripts", ITEMS(scripts_items), .help = "Where scripts come from." },
	{ "limits", ITEMS(limits_items), .help = "What scripts get, and what their metadata may ask for." },
	{ "dispatcher", ITEMS(dispatcher_items), .help = "Which job starts when." },
	{ "route", "NAME", sizeof(struct route_config), offsetof(struct route_config, name), true, ITEMS(route_items),
	  .help = "Sends some scripts' jobs to one executor. Any number; the first that holds wins, in the order of "
		  "the files." },
	{ "executors", ITEMS(executors_items), .help = "Modules that run jobs." },
	{ "executor", "NAME", sizeof(struct executor_config), offsetof(struct executor_config, name), false, true,
	  ITEMS(executor_items),
	  .help = "One instance of a module. Without any such section there is one, docker-sandbox. All other keys "
		  "are the module's own: see "
		  "listenerd-MODULE(5), such as listenerd-docker-sandbox(5)." },
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
			/* A default in words stands in brackets, so that nobody (and no script)
			 * takes it for a value. */
			bool words = item->def_text && !item->def;
			(void)fprintf(out, "  %s =%s%s%s%s\n      %s\n", item->key, *def ? " " : "", words ? "(" : "",
				      def, words ? ")" : "", item->help);
		}
	}
}
