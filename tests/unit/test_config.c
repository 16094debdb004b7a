/* test_config.c - core/config*.c on real files. */
#include "config.h"
#include "suite.h"

#include <cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <util.h>

static char folder[] = "/tmp/test_config.XXXXXX";
static struct config *config;
static struct lsn_error err;

static void run_rm(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)execlp("rm", "rm", "-rf", folder, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
}

static void setup(void)
{
	char path[64];

	memset(&err, 0, sizeof err);
	config = NULL;
	(void)umask(022);
	run_rm(); /* what a failed case left */
	ck_assert_int_eq(mkdir(folder, 0755), 0);
	(void)snprintf(path, sizeof path, "%s/conf.d", folder);
	ck_assert_int_eq(mkdir(path, 0755), 0);
}

static void teardown(void)
{
	config_free(config);
	config = NULL;
	run_rm();
}

static const char *path_of(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void put_bytes(const char *name, const char *text, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen(path_of(name), "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, size, f), size);
}

static void put(const char *name, const char *text) { put_bytes(name, text, strlen(text)); }

static int load(void)
{
	config_free(config);
	config = NULL;
	return config_load(path_of("listenerd.ini"), &config, &err);
}

static void load_text(const char *text)
{
	put("listenerd.ini", text);
	int r = load();
	ck_assert_msg(r == 0, "%s", err.message);
}

/* refuse - TEXT must fail, with MESSAGE behind the folder's name. */
static void refuse(const char *text, const char *message)
{
	put("listenerd.ini", text);
	int r = load();
	ck_assert_msg(r < 0, "was taken: %s", text);
	ck_assert_msg(strncmp(err.message, folder, strlen(folder)) == 0, "no file: %s", err.message);
	ck_assert_msg(strstr(err.message, message) != NULL, "not \"%s\" but \"%s\"", message, err.message);
	ck_assert_ptr_null(config);
}

START_TEST(test_config__an_empty_file_is_all_defaults)
{
	load_text("");
	ck_assert_str_eq(config->identity, "listener");
	ck_assert_str_eq(config->broker.host, "localhost");
	ck_assert_uint_eq(config->broker.port, 1883);
	ck_assert_str_eq(config->broker.client_id, "listenerd-listener");
	ck_assert_ptr_null(config->broker.user);
	ck_assert_uint_eq(config->broker.keepalive_sec, 60);
	ck_assert(config->broker.tls_verify && !config->broker.tls);
	ck_assert_str_eq(config->broker.subscriptions[0], "create/#");
	ck_assert_str_eq(config->broker.subscriptions[2], "delete/#");
	ck_assert_str_eq(config->broker.subscriptions[4], "update_metadata/#");
	ck_assert_ptr_null(config->broker.subscriptions[5]);
	ck_assert_uint_eq(config->policy.defaults.timeout_usec, 12 * USEC_PER_SEC);
	ck_assert_int_eq(config->policy.defaults.output, OUTPUT_DISCARD);
	ck_assert_int_eq(config->policy.defaults.input, LSN_INPUT_PIPE);
	ck_assert_uint_eq(config->policy.defaults.retry_on, 1U << LSN_OUTCOME_FAILURE);
	ck_assert_uint_eq(config->executors.executor_count, 1);
	ck_assert_str_eq(config->executors.executors[0].name, "docker-sandbox");
	ck_assert_str_eq(config->executors.executors[0].module, "docker-sandbox");
	ck_assert_uint_eq(config->executors.executors[0].option_count, 0);
	ck_assert_str_eq(config->executors.listener, "listener");
	ck_assert_ptr_nonnull(strstr(config->journal.path, "/journal.db"));
	ck_assert_str_eq(config->source.collection, "/scripts");
	ck_assert_int_eq(config->log_level, LSN_LOG_INFO);
	ck_assert(config->dispatch.replay_rate_max == 50.0);
	ck_assert_uint_eq(config->source.scripts_max, 100000);
}
END_TEST

START_TEST(test_config__every_kind_of_value)
{
	load_text("# comment\n; comment\n[listener]\nidentity = node-7\nlog_level=debug\nrecord_unmatched = "
		  "yes\npayload_max = 1M\n"
		  "state_dir = /srv/l\n[broker]\nhost: /run/mosquitto.sock\nversion = 5\nkeepalive = 2min\ntls = yes\n"
		  "[limits]\ntimeout_max = 1h\nretry_on = failure timeout lost\noutput = capture\non_lost = rerun\n"
		  "[dispatcher]\nreplay_rate = 0.5\nmax_running = 7\ndefault_executor = gpu\n"
		  "[executor gpu]\nmodule = docker-sandbox\nopen = yes\nconcurrency = 3\nimage = x:y\nempty =\n"
		  "[route b]\nscript = b*\nexecutor = gpu\n[route a]\nfilter = create/+/a/#\nexecutor = gpu\n");
	ck_assert_str_eq(config->identity, "node-7");
	ck_assert_int_eq(config->log_level, LSN_LOG_DEBUG);
	ck_assert(config->record_unmatched);
	ck_assert_uint_eq(config->payload_max_bytes, 1 << 20);
	ck_assert_str_eq(config->journal.path, "/srv/l/journal.db");
	ck_assert_str_eq(config->broker.host, "/run/mosquitto.sock");
	ck_assert_str_eq(config->broker.client_id, "listenerd-node-7");
	ck_assert_int_eq(config->broker.version, MQTT_V5);
	ck_assert_uint_eq(config->broker.keepalive_sec, 120);
	ck_assert_uint_eq(config->broker.port, 8883);
	ck_assert_uint_eq(config->policy.defaults.retry_on,
			  1U << LSN_OUTCOME_FAILURE | 1U << LSN_OUTCOME_TIMEOUT | 1U << LSN_OUTCOME_LOST);
	ck_assert_int_eq(config->policy.defaults.output, OUTPUT_CAPTURE);
	ck_assert_int_eq(config->policy.defaults.on_lost, ON_LOST_RERUN);
	ck_assert(config->dispatch.replay_rate_max == 0.5);
	ck_assert_uint_eq(config->executors.executor_count, 1);
	const struct executor_config *gpu = &config->executors.executors[0];
	ck_assert(gpu->open && gpu->concurrency == 3);
	ck_assert_str_eq(gpu->module, "docker-sandbox");
	ck_assert_uint_eq(gpu->option_count, 2);
	ck_assert_str_eq(gpu->options[0].key, "image");
	ck_assert_str_eq(gpu->options[0].value, "x:y");
	ck_assert_uint_eq(gpu->options[0].line, 27);
	ck_assert_str_eq(gpu->options[0].file, path_of("listenerd.ini"));
	ck_assert_str_eq(gpu->options[1].value, "");
	ck_assert_uint_eq(config->dispatch.route_count, 2);
	ck_assert_str_eq(config->dispatch.routes[0].name, "b"); /* file order, not the alphabet's */
	ck_assert_ptr_null(config->dispatch.routes[0].filter);
	ck_assert_str_eq(config->dispatch.routes[1].filter, "create/+/a/#");
}
END_TEST

START_TEST(test_config__values_survive_byte_for_byte)
{
	static const char *const values[] = { "create/+/a#b",
					      "a ; b",
					      "a;b",
					      "a # b",
					      "#",
					      ";",
					      ";x # y ; z",
					      "x = y = z",
					      "a:b=c",
					      "=",
					      "\"quoted\"",
					      "'q'",
					      "back\\slash",
					      "caf\xc3\xa9",
					      "100% ${nothing} $HOME",
					      "tab\there",
					      "[x]" };
	char text[512];

	for (size_t i = 0; i < ELEMENTSOF(values); i++) {
		(void)snprintf(text, sizeof text, "[executor docker-sandbox]\nvalue = %s\nother = 1\n", values[i]);
		load_text(text);
		ck_assert_str_eq(config->executors.executors[0].options[0].value, values[i]);
		ck_assert_uint_eq(config->executors.executors[0].option_count, 2);
	}
	load_text("[broker]\nuser = a ; b # c\n[scripts]\ncollection = /s;cripts\n");
	ck_assert_str_eq(config->broker.user, "a ; b # c");
	ck_assert_str_eq(config->source.collection, "/s;cripts");
}
END_TEST

START_TEST(test_config__long_lines)
{
	_cleanup_free_ char *text = NULL, *value = malloc(65536), *huge = malloc(200000);

	ck_assert(value && huge);
	memset(value, 'v', 65535);
	value[65535] = '\0';
	ck_assert_int_gt(asprintf(&text, "[executor docker-sandbox]\nlong = %s\nshort = 1\n", value), 0);
	load_text(text);
	ck_assert_str_eq(config->executors.executors[0].options[0].value, value);
	ck_assert_uint_eq(config->executors.executors[0].options[1].line, 3);
	memset(huge, 'v', 200000);
	memcpy(huge, "[broker]\nhost = ", 16);
	huge[199999] = '\0';
	refuse(huge, "listenerd.ini:2: the line is longer than");
}
END_TEST

START_TEST(test_config__line_ends_and_blanks)
{
	load_text("\r\n[broker]\r\n\r\nhost = h1 \t \r\nuser=u\r\n");
	ck_assert_str_eq(config->broker.host, "h1");
	ck_assert_str_eq(config->broker.user, "u");
	load_text("[broker]\nhost = last-line-without-end");
	ck_assert_str_eq(config->broker.host, "last-line-without-end");
	load_text("[broker]  \n  host = indented-first-key\n");
	ck_assert_str_eq(config->broker.host, "indented-first-key");
}
END_TEST

START_TEST(test_config__lists)
{
	load_text("[broker]\nsubscriptions = a/# b/#\nsubscriptions = c/#\n   d/#\te/#\n");
	static const char *const expected[] = { "a/#", "b/#", "c/#", "d/#", "e/#" };
	for (size_t i = 0; i < 5; i++)
		ck_assert_str_eq(config->broker.subscriptions[i], expected[i]);
	ck_assert_ptr_null(config->broker.subscriptions[5]);
	/* A drop-in's list takes the place of the old one. */
	put("conf.d/1.ini", "[broker]\nsubscriptions = x/#\n[control]\noperators = @adm root\n");
	ck_assert_int_eq(load(), 0);
	ck_assert_str_eq(config->broker.subscriptions[0], "x/#");
	ck_assert_ptr_null(config->broker.subscriptions[1]);
	ck_assert_str_eq(config->control.operators[1], "root");
	ck_assert_ptr_nonnull(config->control.readers);
	ck_assert_ptr_null(config->control.readers[0]);
}
END_TEST

START_TEST(test_config__drop_ins)
{
	put("listenerd.ini", "[broker]\nhost = main\nuser = main\n[executor e]\nmodule = json-lines\npath = "
			     "/a\n[dispatcher]\ndefault_executor = e\n");
	put("conf.d/20-b.ini", "[broker]\nhost = twenty\n[executor e]\npath = /b\n");
	put("conf.d/10-a.ini", "[broker]\nhost = ten\nport = 99\n[executor e]\nopen = yes\n[executor f]\n");
	put("conf.d/ignored.conf", "nonsense\n");
	put("conf.d/.hidden.ini", "nonsense\n");
	int r = load();
	ck_assert_msg(r == 0, "%s", err.message);
	ck_assert_str_eq(config->broker.host, "twenty");
	ck_assert_str_eq(config->broker.user, "main");
	ck_assert_uint_eq(config->broker.port, 99);
	ck_assert_uint_eq(config->executors.executor_count, 2);
	const struct executor_config *e = &config->executors.executors[0];
	ck_assert_str_eq(e->options[0].value, "/b");
	ck_assert_ptr_nonnull(strstr(e->options[0].file, "conf.d/20-b.ini"));
	ck_assert_uint_eq(e->options[0].line, 4);
	ck_assert_uint_eq(e->option_count, 1);
	ck_assert(e->open);
	ck_assert_str_eq(e->module, "json-lines");
	put("conf.d/20-b.ini", "[broker]\nhost = twenty\n\nhots = x\n");
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(
		strstr(err.message, "/conf.d/20-b.ini:4: unknown key \"hots\" in [broker]; did you mean \"host\"?"));
}
END_TEST

START_TEST(test_config__mistakes_in_the_text)
{
	refuse("[limits]\ntimout = 3s\n", ".ini:2: unknown key \"timout\" in [limits]; did you mean \"timeout\"?");
	refuse("[limits]\n\n# x\nhost = 3s\n", ".ini:4: unknown key \"host\" in [limits]; it belongs in [broker]");
	refuse("[limits]\nzzzzzzzzzzzz = 3s\n", ".ini:2: unknown key \"zzzzzzzzzzzz\" in [limits]; see");
	refuse("[brokre]\n", ".ini:1: unknown section [brokre]; did you mean [broker]?");
	refuse("[Broker]\n", ".ini:1: unknown section [Broker]; did you mean [broker]?");
	refuse("[]\n", ".ini:1: unknown section []");
	refuse("[broker main]\n", ".ini:1: unknown section [broker main]; [broker] takes no name");
	refuse("[executor]\n", ".ini:1: [executor] needs a name: [executor NAME]");
	refuse("[executor Not Good]\n", ".ini:1: [executor Not Good]: \"Not Good\" is not a name");
	refuse("[executor 123456789012345678901234567890123]\n", "is not a name");
	refuse("[route]\n", ".ini:1: [route] needs a name: [route NAME]");
	refuse("[broker\nhost = x\n", ".ini:1: the section name has no ']'");
	refuse("[broker] host = x\n", ".ini:1: there is text after the ']' of the section name");
	refuse("[broker]\n  [limits]\n", ".ini:2: the line is indented");
	refuse("host = x\n", ".ini:1: \"host\" is set before any [section]; put it below the section it belongs to");
	refuse("[broker]\nhost\n", ".ini:2: neither \"key = value\"");
	refuse("[broker]\nhost\n[nonsense]\n", ".ini:2: neither \"key = value\"");
	refuse("[broker]\n= x\n", ".ini:2: the key is missing before '='");
	refuse("[broker]\nhost = a\nport = 1\nhost = b\n", ".ini:4: host is already set in this section, at line 2");
	refuse("[broker]\nhost = a\n  port = 1\n", ".ini:3: the line is indented, so it continues \"host\"");
	refuse("[broker]\nhost = a\n[limits]\n[broker]\nport = 1\n",
	       ".ini:4: section [broker] is already in this file, at line 1");
	refuse("[executor a]\n[executor  a]\n", ".ini:2: section [executor a] is already in this file, at line 1");
	refuse("[executor a]\nx = 1\nx = 2\n", ".ini:3: x is already set in this section, at line 2");
	refuse("[broker]\n\xef\xbb\xbf"
	       "host = a\n",
	       ".ini:2: "); /* only at the beginning */
	refuse("[broker]\nhost = \xff\n", ".ini:2: the line is not UTF-8 text");
	refuse("[an unbelievably long heading that inih would cut somewhere in the middle]\n",
	       ".ini:1: the section name is too long");
	put_bytes("listenerd.ini", "[broker]\nhost = a\0b\n", 20);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, ".ini:2: the line is not UTF-8 text"));
}
END_TEST

START_TEST(test_config__byte_order_mark)
{
	load_text("\xef\xbb\xbf[broker]\nhost = a\n");

	ck_assert_str_eq(config->broker.host, "a");
	load_text("\xef\xbb\xbf# nothing else");
	ck_assert_str_eq(config->broker.host, "localhost");
}
END_TEST

START_TEST(test_config__hosts)
{
	static const char *const good[] = { "localhost",         "127.0.0.1",           "::1",         "fe80::1%eth0",
					    "mq_1.example.org.", "/run/mosquitto.sock", "/run/a b;c:1" };
	static const struct {
		const char *host, *remedy;
	} bad[] = {
		{ "\"127.0.0.1\"", "quotation marks" },
		{ "'localhost'", "quotation marks" },
		{ "mqtt://localhost", "scheme" },
		{ "mqtts://h:8883", "scheme" },
		{ "localhost:1883", "port" },
		{ "127.0.0.1:1883", "port" },
		{ "[::1]", "brackets" },
		{ "[::1]:1883", "brackets" },
		{ "localhost ; comment", "comment" },
		{ "localhost # comment", "comment" },
		{ "localhost;x", "comment" },
		{ "run/mosquitto.sock", "slash" },
		{ "h\xc3\xb6st", "name" },
		{ "a,b", "name" },
	};
	char text[200];

	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		(void)snprintf(text, sizeof text, "[broker]\nhost = %s\n", good[i]);
		load_text(text);
		ck_assert_str_eq(config->broker.host, good[i]);
	}
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		(void)snprintf(text, sizeof text, "[broker]\nhost = %s\n", bad[i].host);
		refuse(text, ".ini:2: host: ");
		refuse(text, bad[i].remedy);
	}
}
END_TEST

START_TEST(test_config__filters_of_routes_are_normalised)
{
	load_text("[executor e]\n[dispatcher]\ndefault_executor = e\n"
		  "[route r]\nfilter = /create//+/projects/#\nexecutor = e\n");

	ck_assert_str_eq(config->dispatch.routes[0].filter, "create/+/projects/#");
	refuse("[executor e]\n[dispatcher]\ndefault_executor = e\n[route r]\nfilter = //\nexecutor = e\n",
	       ".ini:5: filter: ");
}
END_TEST

START_TEST(test_config__mistakes_in_values)
{
	refuse("[limits]\ntimeout = 12 parsecs\n",
	       ".ini:2: timeout: \"12 parsecs\" is not a duration; write 12s, 500ms");
	refuse("[limits]\ntimeout = 0\n", ".ini:2: timeout: the value must be between 10ms and 7d");
	refuse("[limits]\nmemory = 12X\n", ".ini:2: memory: \"12X\" is not a size");
	refuse("[limits]\nmemory = 1M\n", ".ini:2: memory: the smallest value is 8M");
	refuse("[limits]\noutput = captrue\n",
	       ".ini:2: output: \"captrue\" is not one of discard, capture, failures; did you mean capture?");
	refuse("[limits]\nretry_on = failure sometimes\n", ".ini:2: retry_on: ");
	refuse("[broker]\nport = 0\n", ".ini:2: port: the value must be between 1 and 65535");
	refuse("[broker]\nport = 65536\n", ".ini:2: port: the value must be between 1 and 65535");
	refuse("[broker]\nport =\n", ".ini:2: port: \"\" is not a number");
	refuse("[broker]\ntls = perhaps\n", ".ini:2: tls: \"perhaps\" is neither yes nor no");
	refuse("[broker]\nkeepalive = 1s\n", ".ini:2: keepalive: the value must be between 5s and 65535s");
	refuse("[broker]\nkeepalive = 10500ms\n", ".ini:2: keepalive: only whole seconds");
	refuse("[broker]\nversion = 4\n", ".ini:2: version: \"4\" is not one of 3.1.1, 5");
	refuse("[journal]\npath = journal.db\n", ".ini:2: path: \"journal.db\" is not an absolute path");
	refuse("[dispatcher]\nreplay_rate = fast\n", ".ini:2: replay_rate: \"fast\" is not a number");
	refuse("[dispatcher]\ndefault_executor = No Name\n", ".ini:2: default_executor: \"No Name\" is not a name");
}
END_TEST

START_TEST(test_config__mistakes_between_keys)
{
	refuse("[listener]\nidentity = Not good\n", ".ini:2: identity: \"Not good\" is not a name");
	refuse("[listener]\nstate_dir =\n", ".ini:2: state_dir: cannot be empty");
	refuse("[broker]\nsubscriptions =\n", ".ini:2: subscriptions: the list is empty");
	refuse("[broker]\nsubscriptions = a/# b/#/c\n", ".ini:2: subscriptions: \"b/#/c\":");
	refuse("[broker]\nsubscriptions = a/# +/b\n", ".ini:2: subscriptions: \"a/#\" and \"+/b\" overlap");
	refuse("[broker]\nsubscriptions = a/#\nsubscriptions = $share/g/a/b\n",
	       ".ini:3: subscriptions: \"a/#\" and \"$share/g/a/b\" overlap");
	refuse("[broker]\npassword = x\n", ".ini:2: password: there is a password but no user; set user too");
	refuse("[broker]\ntls = yes\ntls_cert_file = /a\n",
	       ".ini:3: tls_cert_file: set tls_cert_file and tls_key_file together");
	refuse("[broker]\ntls_ca_file = /a\n", ".ini:2: tls_ca_file: has no effect without tls");
	refuse("[broker]\nreconnect_max = 100ms\n",
	       ".ini:2: reconnect_max: reconnect_min is longer than reconnect_max");
	refuse("[scripts]\nsource = cdmi\n", ".ini:2: source: cdmi needs the archive's address");
	refuse("[scripts]\nsource = cdmi\nurl = archive/api\n", ".ini:3: url: \"archive/api\" is not an address");
	refuse("[scripts]\nsource = cdmi\nurl = https://me:pw@archive/api\n",
	       ".ini:3: url: leave user and password out");
	refuse("[scripts]\ncollection = /\n", ".ini:2: collection: must not be the whole archive");
	refuse("[limits]\ntimeout = 30s\n", ".ini:2: timeout: timeout is longer than timeout_max");
	refuse("[limits]\ntimeout_max = 3s\n", ".ini:2: timeout_max: timeout is longer than timeout_max");
	refuse("[limits]\nmemory_max = 64M\n", ".ini:2: memory_max: memory is more than memory_max");
	refuse("[dispatcher]\ndefault_executor = gpu\n",
	       ".ini:2: default_executor: there is no [executor gpu]; these exist: docker-sandbox");
	refuse("[route r]\nscript = *\nexecutor = gpu\n", ".ini:3: executor: there is no [executor gpu]");
	refuse("[route r]\nscript = *\n", ".ini:1: route r has no executor");
	refuse("[route r]\nfilter = a#\nexecutor = docker-sandbox\n", ".ini:2: filter: ");
	refuse("[executor under_score]\n[dispatcher]\ndefault_executor = under_score\n",
	       ".ini:1: \"under_score\" cannot be the name of a module");
	refuse("[control]\ntesters = a:b\n", ".ini:2: testers: \"a:b\" is neither a user nor a @group");
	refuse("[control]\ntests = 65\n", ".ini:2: tests: ");
	refuse("[control]\noperators = a,b\n", ".ini:2: operators: \"a,b\" is neither a user nor a @group");
	/* A default that does not fit names its section, for there is no line. */
	put("listenerd.ini", "[executor e]\n");
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_str_eq(err.message,
			 "[dispatcher]: default_executor: there is no [executor docker-sandbox]; these exist: e; "
			 "if any executor has a section, each executor needs one");
}
END_TEST

static void note_finding(void *data, bool fatal, const char *text)
{
	char *all = data;
	(void)snprintf(all + strlen(all), 4000 - strlen(all), "%s%s\n", fatal ? "fatal " : "", text);
}

START_TEST(test_config__what_it_names_is_looked_for)
{
	static const char *const told[] = {
		"fatal %1$s/listenerd.ini:2: state_dir: the folder %1$s/file cannot be written: ",
		"%1$s/listenerd.ini:4: libexec_dir: there is no folder %1$s/no-libexec",
		"fatal %1$s/listenerd.ini:7: tls_ca_file: %1$s/no-ca cannot be read: No such file",
		"fatal %1$s/listenerd.ini:9: path: there is no folder %1$s/nowhere",
		"%1$s/listenerd.ini:11: directory: there is no folder %1$s/no-scripts",
		"fatal %1$s/listenerd.ini:13: readers: there is no user 'no-such-user'",
		"fatal %1$s/listenerd.ini:16: there is no %1$s/no-such.so"
	};
	char text[2000], all[4000] = "", line[300];

	put("file", "");
	(void)snprintf(text, sizeof text,
		       "[listener]\nstate_dir = %1$s/file\nrun_dir = %1$s/new/run\nlibexec_dir = "
		       "%1$s/no-libexec\n[broker]\ntls = yes\ntls_ca_file = %1$s/no-ca\n"
		       "[journal]\npath = %1$s/nowhere/journal.db\n[scripts]\ndirectory = "
		       "%1$s/no-scripts\n[control]\nreaders = root no-such-user\n"
		       "[executors]\nfolder = %1$s\n[executor no-such]\n[dispatcher]\ndefault_executor = no-such\n",
		       folder);
	put("listenerd.ini", text);
	ck_assert_int_eq(config_test(path_of("listenerd.ini"), note_finding, all, &config, &err), 5);
	for (size_t i = 0; i < ELEMENTSOF(told); i++) {
		(void)snprintf(line, sizeof line, told[i], folder);
		ck_assert_msg(strstr(all, line) != NULL, "%s\nis not in\n%s", line, all);
	}
	/* It only looks. */
	ck_assert_int_lt(access(path_of("new"), F_OK), 0);
	config_free(TAKE_PTR(config));
	put("listenerd.ini", "[broker]\nport = many\n");
	ck_assert_int_eq(config_test(path_of("listenerd.ini"), note_finding, all, &config, &err), -EINVAL);
}
END_TEST

START_TEST(test_config__secrets)
{
	char text[512], *printed = NULL;
	size_t size;

	put("secret", "s3cret # = ;\nsecond line\n");
	ck_assert_int_eq(chmod(path_of("secret"), 0600), 0);
	ck_assert_int_eq(setenv("TEST_CONFIG_USER", "me", 1), 0);
	(void)snprintf(text, sizeof text,
		       "[broker]\nuser = ${ENV:TEST_CONFIG_USER}-x\npassword = ${FILE:%s/secret}\n"
		       "[executor docker-sandbox]\ntoken = ${FILE:%s/secret}\nplain = p\n",
		       folder, folder);
	load_text(text);
	ck_assert_str_eq(config->broker.user, "me-x");
	ck_assert_str_eq(config->broker.password, "s3cret # = ;");
	ck_assert_str_eq(config->executors.executors[0].options[0].value, "s3cret # = ;");
	FILE *f = open_memstream(&printed, &size);
	config_print(config, f);
	(void)fclose(f);
	ck_assert_ptr_null(strstr(printed, "s3cret"));
	ck_assert_ptr_nonnull(strstr(printed, "\npassword = (set)\n"));
	ck_assert_ptr_nonnull(strstr(printed, "\ntoken = (set)\n"));
	ck_assert_ptr_nonnull(strstr(printed, "\nplain = p\n"));
	free(printed);
	ck_assert_int_eq(chmod(path_of("secret"), 0640), 0);
	refuse(text, "secret can be read or written by others (mode 640); remedy: chmod 600");
	ck_assert_ptr_nonnull(strstr(err.message, "listenerd.ini:3: password: "));
	if (geteuid() == 0) {
		ck_assert_int_eq(chmod(path_of("secret"), 0600), 0);
		ck_assert_int_eq(chown(path_of("secret"), 1234, 0), 0);
		refuse(text, "secret belongs to user 1234");
	}
	refuse("[broker]\nuser = ${ENV:TEST_CONFIG_NONE}\n",
	       ".ini:2: user: the environment variable TEST_CONFIG_NONE is not set");
	refuse("[broker]\nuser = ${FILE:/nonexistent}\n", ".ini:2: user: /nonexistent: No such file");
	refuse("[broker]\nuser = ${FILE:relative}\n", ".ini:2: user: \"relative\" is not an absolute path");
	refuse("[broker]\nuser = ${FILE:/dev/null}\n", ".ini:2: user: /dev/null is not a regular file");
	refuse("[broker]\nuser = ${ENV:X\n", ".ini:2: user: \"${ENV:\" is not complete");
	put("secret", "\n");
	ck_assert(geteuid() != 0 || chown(path_of("secret"), 0, 0) == 0);
	ck_assert_int_eq(chmod(path_of("secret"), 0600), 0);
	refuse(text, "is empty or not text");
}
END_TEST

START_TEST(test_config__credentials_of_systemd)
{
	char text[256];

	put("secret", "from systemd\n");
	ck_assert_int_eq(chmod(path_of("secret"), 0440), 0); /* an ACL's mask shows like this */
	(void)snprintf(text, sizeof text, "[broker]\nuser = ${FILE:%s/secret}\n", folder);
	refuse(text, "can be read or written by others");
	ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
	load_text(text);
	ck_assert_str_eq(config->broker.user, "from systemd");
}
END_TEST

START_TEST(test_config__files_that_cannot_be_trusted)
{
	ck_assert_int_eq(load(), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.message, "listenerd.ini: No such file"));
	put("listenerd.ini", "");
	ck_assert_int_eq(chmod(path_of("listenerd.ini"), 0664), 0);
	ck_assert_int_eq(load(), -EACCES);
	ck_assert_ptr_nonnull(strstr(err.message, "can be written by others (mode 664); remedy: chmod go-w "));
	ck_assert_int_eq(chmod(path_of("listenerd.ini"), 0644), 0);
	ck_assert_int_eq(chmod(path_of("conf.d"), 0777), 0);
	ck_assert_int_eq(load(), -EACCES);
	ck_assert_ptr_nonnull(strstr(err.message, "conf.d can be written by others (mode 777)"));
	ck_assert_int_eq(chmod(path_of("conf.d"), 0755), 0);
	put("conf.d/1.ini", "");
	ck_assert_int_eq(chmod(path_of("conf.d/1.ini"), 0666), 0);
	ck_assert_int_eq(load(), -EACCES);
	ck_assert_int_eq(chmod(path_of("conf.d/1.ini"), 0644), 0);
	ck_assert_int_eq(load(), 0);
	ck_assert_int_eq(mkdir(path_of("conf.d/2.ini"), 0755), 0);
	ck_assert_int_eq(load(), -EISDIR);
	config_free(config);
	config = NULL;
}
END_TEST

START_TEST(test_config__inih_is_left_as_it_was)
{
	int line_max = ini_max_line;
	load_text("[broker]\nhost = x\n");
	ck_assert(ini_allow_inline_comments);
	ck_assert(ini_use_stack);
	ck_assert_int_eq(ini_max_line, line_max);
}
END_TEST

static char *print_config(void)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	config_print(config, f);
	(void)fclose(f);
	return text;
}

/* What config_print() writes loads to the same again. */
START_TEST(test_config__printed_and_loaded_again)
{
	load_text("[listener]\nidentity = x\n[broker]\nsubscriptions = a/# b/+/c\ntls = yes\nkeepalive = "
		  "90s\n[limits]\ntimeout_max = 90s\ntimeout = 1500ms\n"
		  "retry_on = lost timeout\n[dispatcher]\nreplay_rate = 0.25\n[executor docker-sandbox]\nk = v ; w # "
		  "=\n[executor two]\n"
		  "[route r]\nscript = x*\nexecutor = two\n[control]\nreaders = @a b\n[journal]\nkeep = 36h\nsize_max "
		  "= 1500M\n");
	_cleanup_free_ char *first = print_config();
	load_text(first);
	_cleanup_free_ char *second = print_config();
	ck_assert_str_eq(first, second);
	ck_assert_ptr_nonnull(strstr(first, "\nkeep = 36h\n"));
	ck_assert_ptr_nonnull(strstr(first, "\ntimeout = 1500ms\n"));
	ck_assert_ptr_nonnull(strstr(first, "\nk = v ; w # =\n"));
}
END_TEST

/* The shipped file shows every key of the help with its default, and none else. */
START_TEST(test_config__the_shipped_file_is_complete)
{
	const char *name = getenv("LISTENER_CONF") ? getenv("LISTENER_CONF") : "conf.d/listenerd.ini";
	_cleanup_free_ char *shipped = NULL, *help = NULL;
	size_t size;

	ck_assert_int_eq(read_file_limited(AT_FDCWD, name, 1 << 20, &shipped, &size), 0);
	FILE *f = open_memstream(&help, &size);
	config_help(f);
	(void)fclose(f);
	for (char *line = help, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		char *equals = strchr(line, '=');
		if (line[0] == '[' && !strchr(line, ' '))
			ck_assert_msg(strstr(shipped, line) != NULL, "%s is missing in %s", line, name);
		if (strncmp(line, "  ", 2) != 0 || line[2] == ' ' || !equals ||
		    memchr(line + 2, ' ', (size_t)(equals - line - 3)))
			continue;
		char key[64];
		(void)snprintf(key, sizeof key, "\n#%.*s=", (int)(equals - line - 2), line + 2);
		ck_assert_msg(strstr(shipped, key) != NULL, "%s is missing in %s", key + 1, name);
	}
	load_text(shipped);
}
END_TEST

/* Every key of every unnamed section: another value makes just that section differ. */
START_TEST(test_config__sections_are_compared_by_their_keys)
{
	static const char *const sections[] = { "listener", "broker",     "journal",   "scripts",
						"limits",   "dispatcher", "executors", "control" };
	static const struct {
		const char *section, *line;
	} changes[] = {
		{ "listener", "log_level = debug" },
		{ "listener", "record_unmatched = yes" },
		{ "broker", "host = example.org" },
		{ "broker", "port = 1884" },
		{ "broker", "user = u\npassword = secret" },
		{ "broker", "version = 5" },
		{ "broker", "tls = yes\nport = 1883" },
		{ "broker", "subscriptions = create/#" },
		{ "broker", "subscriptions = create/# update/# delete/# update_object/# update_metadata/+" },
		{ "broker", "reconnect_min = 300ms" },
		{ "scripts", "recursive = no" },
		{ "scripts", "user = u\npassword = p" },
		{ "scripts", "size_max = 2M" },
		{ "limits", "retry_on = lost" },
		{ "dispatcher", "replay_rate = 3.5" },
		{ "dispatcher", "default_executor = docker-sandbox\nmax_running = 3" },
	};
	struct config *plain;
	char text[256];

	load_text("");
	plain = TAKE_PTR(config);
	load_text("");
	for (size_t s = 0; s < ELEMENTSOF(sections); s++)
		ck_assert(config_section_equal(plain, config, sections[s]));
	for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
		(void)snprintf(text, sizeof text, "[%s]\n%s\n", changes[i].section, changes[i].line);
		load_text(text);
		for (size_t s = 0; s < ELEMENTSOF(sections); s++)
			ck_assert_msg(config_section_equal(plain, config, sections[s]) !=
					      streq(sections[s], changes[i].section),
				      "%s: [%s]", text, sections[s]);
	}
	config_free(plain);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("all");

	if (!mkdtemp(folder))
		return 1;
	run_rm();
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_config__an_empty_file_is_all_defaults);
	tcase_add_test(tc, test_config__sections_are_compared_by_their_keys);
	tcase_add_test(tc, test_config__every_kind_of_value);
	tcase_add_test(tc, test_config__values_survive_byte_for_byte);
	tcase_add_test(tc, test_config__long_lines);
	tcase_add_test(tc, test_config__line_ends_and_blanks);
	tcase_add_test(tc, test_config__lists);
	tcase_add_test(tc, test_config__drop_ins);
	tcase_add_test(tc, test_config__mistakes_in_the_text);
	tcase_add_test(tc, test_config__byte_order_mark);
	tcase_add_test(tc, test_config__hosts);
	tcase_add_test(tc, test_config__filters_of_routes_are_normalised);
	tcase_add_test(tc, test_config__mistakes_in_values);
	tcase_add_test(tc, test_config__mistakes_between_keys);
	tcase_add_test(tc, test_config__what_it_names_is_looked_for);
	tcase_add_test(tc, test_config__secrets);
	tcase_add_test(tc, test_config__credentials_of_systemd);
	tcase_add_test(tc, test_config__files_that_cannot_be_trusted);
	tcase_add_test(tc, test_config__inih_is_left_as_it_was);
	tcase_add_test(tc, test_config__printed_and_loaded_again);
	tcase_add_test(tc, test_config__the_shipped_file_is_complete);
	int status = suite_run(suite);
	run_rm();
	return status;
}
