/* test_broker.c - the connection against a real mosquitto of our own: acknowledgements held back
 * and released, sessions, reconnects, TLS, refusals, and the drop-in that is shipped for
 * mosquitto. Each test has its broker, on a free port of the loopback interface and on a unix
 * socket. */
#include "broker.h"
#include "broker_private.h"
#include "cleanup.h"
#include "suite.h"
#include "util.h"
#include "window.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEADLINE_USEC (20 * USEC_PER_SEC)
#ifndef SOURCE_DIR
#define SOURCE_DIR "."
#endif

/* ----------------------------------------------------------------------- a mosquitto of our own */

static char dir[64];
static unsigned port;
static pid_t server;
static char extra[1024]; /* further lines of its configuration */

static char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];
	(void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static pid_t spawn(const char *const argv[], const char *input)
{
	pid_t parent = getpid(), pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(126);
		int in = open(input ? input : "/dev/null", O_RDONLY),
		    out = open(path_of("output"), O_WRONLY | O_CREAT | O_APPEND, 0600);
		(void)dup2(in, 0);
		(void)dup2(out, 1);
		(void)dup2(out, 2);
		(void)execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	return pid;
}

static int finish(pid_t pid)
{
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const char *const argv[]) { return finish(spawn(argv, NULL)); }
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static unsigned free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	(void)close(fd);
	return ntohs(address.sin_port);
}

static bool listening(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;

	(void)close(fd);
	return yes;
}

/* The drop-in for production is in force in all tests. */
static void server_config(void)
{
	char text[4096];

	(void)snprintf(text, sizeof text,
		       "listener %u 127.0.0.1\n%s\n"
		       "listener 0 %s/socket\n"
		       "persistence_location %s/\nlog_dest file %s/log\nlog_type all\n%sinclude_dir %s/conf.d\n",
		       port, extra[0] ? extra : "allow_anonymous true", dir, dir, dir,
		       geteuid() == 0 ? "user root\n" : "", dir);
	write_file("mosquitto.conf", text);
	if (mkdir(path_of("conf.d"), 0700) == 0)
		ck_assert_int_eq(RUN("cp", SOURCE_DIR "/conf.d/mosquitto/listenerd.conf", path_of("conf.d")), 0);
}

static void server_start(void)
{
	uint64_t end = now_monotonic_usec() + DEADLINE_USEC;

	server_config();
	server = spawn((const char *const[]){ "mosquitto", "-c", path_of("mosquitto.conf"), NULL }, NULL);
	while (!listening()) {
		ck_assert_msg(waitpid(server, NULL, WNOHANG) == 0, "mosquitto does not start, see %s/log", dir);
		ck_assert_uint_lt(now_monotonic_usec(), end);
		(void)usleep(10000);
	}
}

static void server_stop(int sig)
{
	if (server > 0) {
		(void)kill(server, sig);
		(void)finish(server);
	}
	server = 0;
}

static void publish(const char *topic, const char *payload, int qos)
{
	char port_text[16], qos_text[4];

	(void)snprintf(port_text, sizeof port_text, "%u", port);
	(void)snprintf(qos_text, sizeof qos_text, "%d", qos);
	ck_assert_int_eq(
		RUN("mosquitto_pub", "-h", "127.0.0.1", "-p", port_text, "-t", topic, "-m", payload, "-q", qos_text),
		0);
}

/* publish_many - the numbers from FIRST, COUNT of them, each filled up to SIZE bytes, in the
 * background. */
static pid_t publish_many(unsigned first, unsigned count, int size)
{
	static char port_text[16];
	FILE *f = fopen(path_of("many"), "we");

	ck_assert_ptr_nonnull(f);
	for (unsigned i = 0; i < count; i++)
		(void)fprintf(f, "%-*u\n", size, first + i);
	ck_assert_int_eq(fclose(f), 0);
	(void)snprintf(port_text, sizeof port_text, "%u", port);
	return spawn((const char *const[]){ "mosquitto_pub", "-h", "127.0.0.1", "-p", port_text, "-t", "many", "-l",
					    "-q", "1", NULL },
		     path_of("many"));
}

/* ------------------------------------------------------------------ what the broker's user sees */

static sd_event *loop;
static struct broker *broker;
static struct broker_config config;
static char *filters[3];

static struct {
	bool auto_ack; /* acknowledge in hooks.batch() */
	bool pause_at_message;
	bool session_present;
	unsigned connected, disconnected, messages, batches, largest_batch, in_batch, out_of_order, retained, qos0;
	struct window *window; /* skip repeats */
	unsigned repeats;
	unsigned long next; /* of publish_many() */
	char text[1024]; /* payloads, "a b c " */
	char reason[160];
} seen;

static bool is_repeat(const struct broker_message *message)
{
	uint8_t digest[EVENT_DIGEST_SIZE];

	if (!seen.window)
		return false;
	window_digest(message->topic, strlen(message->topic), message->payload, message->payload_size, digest);
	if (window_ask(seen.window, message->packet_id, digest, message->dup) == WINDOW_REPEAT)
		return true;
	ck_assert_int_eq(window_add(seen.window, message->packet_id, digest, false), 0);
	return false;
}

static void on_message(void *data, const struct broker_message *message)
{
	size_t used = strlen(seen.text);

	(void)data;
	if (is_repeat(message)) {
		seen.repeats++;
		return;
	}
	seen.messages++;
	seen.in_batch++;
	seen.retained += message->retain;
	seen.qos0 += message->qos == 0;
	ck_assert_int_eq(message->packet_id == 0, message->qos == 0);
	if (strcmp(message->topic, "many") == 0) {
		char number[24] = "";
		memcpy(number, message->payload, message->payload_size < 20 ? message->payload_size : 20);
		seen.out_of_order += strtoul(number, NULL, 10) != seen.next++;
	} else if (used + message->payload_size + 2 < sizeof seen.text) {
		(void)snprintf(seen.text + used, sizeof seen.text - used, "%.*s ", (int)message->payload_size,
			       (const char *)message->payload);
	}
	if (seen.pause_at_message)
		broker_pause(broker, "enough");
}

static void on_batch(void *data)
{
	(void)data;
	seen.batches++;
	if (seen.in_batch > seen.largest_batch)
		seen.largest_batch = seen.in_batch;
	seen.in_batch = 0;
	if (seen.auto_ack)
		broker_ack(broker);
}

static void on_connected(void *data, bool session_present)
{
	(void)data;
	seen.connected++;
	seen.session_present = session_present;
	if (seen.window)
		window_connected(seen.window, session_present);
}

static void on_disconnected(void *data, const char *reason)
{
	(void)data;
	seen.disconnected++;
	(void)snprintf(seen.reason, sizeof seen.reason, "%s", reason);
}

static const struct broker_hooks hooks = {
	.message = on_message, .batch = on_batch, .connected = on_connected, .disconnected = on_disconnected
};

static char **stale; /* for the next start() */

static void start(void)
{
	struct lsn_error err = { 0 };

	memset(&seen, 0, sizeof seen);
	seen.auto_ack = true;
	ck_assert_msg(broker_new(loop, &config, TAKE_PTR(stale), &hooks, &broker, &err) == 0, "%s", err.message);
}

static void stop(void)
{
	broker_free(broker);
	broker = NULL;
}

/* WAIT_FOR - run the loop until CONDITION holds. */
#define WAIT_FOR(condition)                                                                                            \
	do {                                                                                                           \
		uint64_t end_ = now_monotonic_usec() + DEADLINE_USEC;                                                  \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(now_monotonic_usec() < end_, "never: %s (reason '%s')", #condition,              \
				      seen.reason);                                                                    \
			ck_assert_int_ge(sd_event_run(loop, 50 * USEC_PER_MSEC), 0);                                   \
		}                                                                                                      \
	} while (0)

static unsigned run_for(uint64_t usec)
{
	uint64_t end = now_monotonic_usec() + usec;
	unsigned wakeups = 0;

	for (uint64_t now; (now = now_monotonic_usec()) < end;)
		wakeups += sd_event_run(loop, end - now) > 0;
	return wakeups;
}

static enum broker_state state(void)
{
	struct broker_figures figures;
	broker_get_figures(broker, &figures);
	return figures.state;
}

static const char *error(void)
{
	static struct broker_figures figures;
	broker_get_figures(broker, &figures);
	return figures.error;
}

/* wait_subscribed - until the broker has answered each subscription. */
static void wait_subscribed(void)
{
	const char *reason;

	WAIT_FOR(seen.connected > 0);
	for (size_t i = 0; filters[i]; i++)
		WAIT_FOR(broker_get_grant(broker, i, &reason) != BROKER_GRANT_UNKNOWN);
}

static void setup(void)
{
	(void)snprintf(dir, sizeof dir, "/tmp/test-broker-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	port = free_port();
	extra[0] = 0;
	ck_assert_int_ge(sd_event_new(&loop), 0);
	filters[0] = (char *)"events/#";
	filters[1] = (char *)"many";
	filters[2] = NULL;
	config = (struct broker_config){
		.host = (char *)"127.0.0.1",
		.port = port,
		.client_id = (char *)"listener-test",
		.version = MQTT_V5,
		.keepalive_sec = 60,
		.tls_verify = true,
		.subscriptions = filters,
		.reconnect_min_usec = 20 * USEC_PER_MSEC,
		.reconnect_max_usec = 200 * USEC_PER_MSEC,
		.receive_max = 1000,
		.batch_max = 1000,
	};
}

static void teardown(void)
{
	stop();
	sd_event_unref(loop);
	server_stop(SIGKILL);
	(void)RUN("rm", "-rf", dir);
}

/* own_files - this test, a process of its own, sees these instead of the machine's. False: not
 * permitted. */
static bool own_files(const char *hosts, const char *resolv_conf)
{
	static const char *const names[] = { "hosts", "resolv.conf", "nsswitch.conf" };
	const char *texts[] = { hosts, resolv_conf, "hosts: files dns\n" };

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)fprintf(stderr, "skipped: no mount namespace without root\n");
		return false;
	}
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		char real[64], target[256];
		(void)snprintf(target, sizeof target, "/etc/%s", names[i]);
		write_file(names[i], texts[i]);
		const char *found = realpath(target, NULL);
		(void)snprintf(real, sizeof real, "%s", found ? found : target);
		ck_assert_int_eq(mount(path_of(names[i]), real, NULL, MS_BIND, NULL), 0);
	}
	return true;
}

/* own_network - nothing but a loopback interface. */
static bool own_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	return close(fd) == 0;
}

static const enum mqtt_version versions[] = { MQTT_V311, MQTT_V5 };

/* ----------------------------------------------------------------------------- acknowledgements */

START_TEST(test_broker__unacknowledged_comes_again_acknowledged_does_not)
{
	config.version = versions[_i];
	server_start();
	start();
	wait_subscribed();
	ck_assert(!seen.session_present);
	seen.auto_ack = false;
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
	publish("events/2", "b", 1); /* no more is read until broker_ack() */
	(void)run_for(200 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.messages, 1);
	stop();

	start();
	WAIT_FOR(seen.messages == 2);
	ck_assert(seen.session_present);
	ck_assert_str_eq(seen.text, "a b ");
	(void)run_for(100 * USEC_PER_MSEC);
	stop();

	start();
	publish("events/3", "c", 1);
	WAIT_FOR(seen.messages > 0);
	(void)run_for(200 * USEC_PER_MSEC);
	ck_assert_str_eq(seen.text, "c ");
	ck_assert(seen.session_present);
}
END_TEST

START_TEST(test_broker__pause_while_held_acknowledges_nothing)
{
	config.version = versions[_i];
	server_start();
	start();
	wait_subscribed();
	seen.auto_ack = false;
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
	broker_pause(broker, "journal full");
	ck_assert_int_eq(state(), BROKER_PAUSED);
	ck_assert_str_eq(seen.reason, "paused: journal full");
	broker_ack(broker); /* too late */
	(void)run_for(300 * USEC_PER_MSEC);
	ck_assert_int_eq(state(), BROKER_PAUSED);
	ck_assert_uint_eq(seen.connected, 1);
	broker_resume(broker);
	WAIT_FOR(seen.messages == 2);
	ck_assert(seen.session_present);
	ck_assert_str_eq(seen.text, "a a ");
	broker_ack(broker);
	broker_pause(broker, "again");
	WAIT_FOR(state() == BROKER_PAUSED);
	publish("events/1", "b", 1);
	broker_resume(broker);
	WAIT_FOR(seen.messages == 3);
	ck_assert_str_eq(seen.text, "a a b ");
}
END_TEST

START_TEST(test_broker__pause_from_within_a_message)
{
	server_start();
	start();
	wait_subscribed();
	seen.pause_at_message = true;
	publish("events/1", "a", 1);
	WAIT_FOR(state() == BROKER_PAUSED);
	ck_assert_uint_eq(seen.batches, 1);
	seen.pause_at_message = false;
	broker_resume(broker);
	WAIT_FOR(seen.messages == 2);
	ck_assert_str_eq(seen.text, "a a ");
}
END_TEST

/* The keepalive falls due while a batch is out: a PINGREQ would take the acknowledgement along. */
START_TEST(test_broker__ping_is_not_sent_while_held)
{
	config.keepalive_sec = 5;
	server_start();
	start();
	wait_subscribed();
	seen.auto_ack = false;
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
	(void)run_for(6 * USEC_PER_SEC);
	ck_assert_int_eq(state(), BROKER_CONNECTED);
	stop();
	start();
	WAIT_FOR(seen.messages == 1);
	ck_assert_str_eq(seen.text, "a ");
}
END_TEST

/* The broker gives us up while a batch is out. The acknowledgement comes too late, and must not
 * go out on the next connection. */
START_TEST(test_broker__late_acknowledgement_is_lost)
{
	config.keepalive_sec = 5;
	server_start();
	start();
	wait_subscribed();
	seen.auto_ack = false;
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
	WAIT_FOR(seen.disconnected == 1); /* after 7.5 s */
	broker_ack(broker);
	WAIT_FOR(seen.messages == 2);
	ck_assert(seen.session_present);
	ck_assert_str_eq(seen.text, "a a ");
}
END_TEST

/* What libmosquitto does by itself, should a client ever be used again: its queue is emptied. */
static unsigned raw_messages;
static bool raw_connected;
static void raw_on_message(struct mosquitto *mosq, void *data, const struct mosquitto_message *message)
{
	(void)mosq;
	(void)data;
	(void)message;
	raw_messages++;
}
static void raw_on_connect(struct mosquitto *mosq, void *data, int rc)
{
	(void)data;
	raw_connected = rc == 0;
	(void)mosquitto_subscribe(mosq, NULL, "events/#", 1);
}
static void raw_run(struct mosquitto *mosq, bool write_too, bool (*until)(void))
{
	uint64_t end = now_monotonic_usec() + DEADLINE_USEC;
	while (!until()) {
		ck_assert_uint_lt(now_monotonic_usec(), end);
		(void)mosquitto_loop_read(mosq, 1);
		if (write_too)
			(void)mosquitto_loop_write(mosq, 1);
		(void)usleep(1000);
	}
}
static bool raw_is_connected(void) { return raw_connected; }
static bool raw_has_message(void) { return raw_messages > 0; }

START_TEST(test_broker__libmosquitto_forgets_acks_on_reconnect)
{
	(void)mosquitto_lib_init();
	server_start();
	struct mosquitto *mosq = mosquitto_new("raw", false, NULL);
	(void)mosquitto_threaded_set(mosq, true);
	mosquitto_message_callback_set(mosq, raw_on_message);
	mosquitto_connect_callback_set(mosq, raw_on_connect);
	ck_assert_int_eq(mosquitto_connect(mosq, "127.0.0.1", (int)port, 60), 0);
	raw_run(mosq, true, raw_is_connected);
	(void)mosquitto_loop_write(mosq, 1);
	(void)usleep(100000);
	publish("events/1", "a", 1);
	raw_run(mosq, false, raw_has_message);
	ck_assert(mosquitto_want_write(mosq)); /* the acknowledgement */
	raw_messages = 0;
	raw_connected = false;
	ck_assert_int_eq(mosquitto_reconnect(mosq), 0);
	raw_run(mosq, true, raw_is_connected);
	raw_run(mosq, true, raw_has_message);
	mosquitto_destroy(mosq);
}
END_TEST

/* -------------------------------------------------------------------------------------- batches */

static bool server_has_logged(const char *text)
{
	_cleanup_free_ char *log = NULL;
	size_t size;

	return read_file_limited(AT_FDCWD, path_of("log"), (size_t)64 << 20, &log, &size) == 0 && strstr(log, text);
}

static void check_flood(unsigned count)
{
	wait_subscribed();
	pid_t publisher = publish_many(1, count, 100);
	seen.next = 1;
	WAIT_FOR(seen.messages == count);
	ck_assert_int_eq(finish(publisher), 0);
	ck_assert_uint_eq(seen.out_of_order, 0);
	ck_assert_uint_eq(seen.disconnected, 0);
	/* The orderly end: it writes out what the socket could not take yet. (broker_free()
	 * alone breaks off, as a death would.) */
	broker_quiesce(broker);
	WAIT_FOR(seen.disconnected == 1);
	stop();
	/* A client that comes back before the broker has read all that the last one sent throws
	 * it out. */
	WAIT_FOR(server_has_logged("Received DISCONNECT from listener-test"));
	start(); /* all acknowledged? */
	publish("events/1", "end", 1);
	WAIT_FOR(strstr(seen.text, "end "));
	ck_assert_uint_eq(seen.messages, 1);
}

START_TEST(test_broker__batches_keep_order_and_size)
{
	config.version = versions[_i];
	config.batch_max = 7;
	server_start();
	start();
	check_flood(5000);
	ck_assert_uint_le(seen.largest_batch, 7);
}
END_TEST

/* All of a backlog: what came while we were away, more than the broker may send without
 * acknowledgement. */
START_TEST(test_broker__backlog_is_read_in_full_batches)
{
	config.version = versions[_i];
	server_start();
	start();
	wait_subscribed();
	stop();
	ck_assert_int_eq(finish(publish_many(1, 5000, 100)), 0);
	start();
	seen.next = 1;
	uint64_t before = now_monotonic_usec();
	WAIT_FOR(seen.messages == 5000);
	(void)printf("backlog: %.0f publications/s in %u batches\n", 5000e6 / (double)(now_monotonic_usec() - before),
		     seen.batches);
	ck_assert_uint_eq(seen.out_of_order, 0);
}
END_TEST

START_TEST(test_broker__flags_are_passed_on)
{
	char port_text[16];

	server_start();
	(void)snprintf(port_text, sizeof port_text, "%u", port);
	ck_assert_int_eq(RUN("mosquitto_pub", "-p", port_text, "-t", "events/r", "-m", "state", "-r", "-q", "1"), 0);
	start();
	WAIT_FOR(seen.messages == 1);
	ck_assert_uint_eq(seen.retained, 1);
	(void)run_for(100 * USEC_PER_MSEC);
	/* Live, a retained publication is an event like any other. */
	ck_assert_int_eq(RUN("mosquitto_pub", "-p", port_text, "-t", "events/r", "-m", "live", "-r", "-q", "1"), 0);
	WAIT_FOR(seen.messages == 2);
	ck_assert_uint_eq(seen.retained, 1);
	/* MQTT 5: subscribing again on a resumed session brings no retained messages again. */
	stop();
	start();
	wait_subscribed();
	(void)run_for(200 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.messages, 0);
}
END_TEST

START_TEST(test_broker__empty_and_large_payloads)
{
	static char large[3000000 + 1];
	struct broker_figures figures;
	char port_text[16];

	server_start();
	start();
	wait_subscribed();
	(void)snprintf(port_text, sizeof port_text, "%u", port);
	ck_assert_int_eq(RUN("mosquitto_pub", "-p", port_text, "-t", "events/empty", "-n", "-q", "1"), 0);
	memset(large, 'x', sizeof large - 1);
	write_file("large", large);
	ck_assert_int_eq(RUN("mosquitto_pub", "-p", port_text, "-t", "events/large", "-f", path_of("large"), "-q", "1"),
			 0);
	WAIT_FOR(seen.messages == 2);
	broker_get_figures(broker, &figures);
	ck_assert_uint_eq(figures.bytes, sizeof large - 1);
	ck_assert_uint_eq(figures.messages, 2);
}
END_TEST

/* -------------------------------------------------------------------- the broker comes and goes */

START_TEST(test_broker__starts_without_a_broker)
{
	config.version = versions[_i];
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_str_eq(seen.reason, "Connection refused");
	(void)run_for(500 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.disconnected, 1); /* not told again and again */
	server_start();
	WAIT_FOR(seen.connected == 1);
	ck_assert_str_eq(error(), "");
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
}
END_TEST

START_TEST(test_broker__broker_restart_resumes_the_session)
{
	config.version = versions[_i];
	server_start();
	start();
	wait_subscribed();
	seen.auto_ack = false;
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
	server_stop(SIGTERM);
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_int_ne(state(), BROKER_CONNECTED);
	server_start();
	WAIT_FOR(seen.messages == 2);
	ck_assert_uint_eq(seen.connected, 2);
	ck_assert(seen.session_present);
	ck_assert_str_eq(seen.text, "a a ");
	broker_ack(broker);
	publish("events/1", "b", 1);
	WAIT_FOR(seen.messages == 3);
	ck_assert_str_eq(seen.text, "a a b ");
}
END_TEST

/* With the window: a broker that dies between our acknowledgement and its next save repeats what
 * we have run, and then uses packet ids again. */
START_TEST(test_broker__broker_restored_from_older_state)
{
	config.version = versions[_i];
	server_start();
	start();
	ck_assert_int_eq(window_new(1000, &seen.window), 0);
	wait_subscribed();
	seen.auto_ack = false;
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
	publish("events/1", "b", 1); /* on its way, not read */
	(void)kill(server, SIGUSR1); /* save now: a and b are unacknowledged */
	(void)usleep(300000);
	seen.auto_ack = true;
	broker_ack(broker);
	WAIT_FOR(seen.messages == 2);
	publish("events/1", "c", 1);
	WAIT_FOR(seen.messages == 3);
	(void)run_for(100 * USEC_PER_MSEC);
	server_stop(SIGKILL);
	server_start();
	WAIT_FOR(seen.repeats == 2);
	ck_assert(seen.session_present);
	publish("events/1", "d", 1); /* with c's packet id */
	publish("events/1", "a", 1); /* equal to the first, but another event */
	WAIT_FOR(seen.messages == 5);
	(void)run_for(100 * USEC_PER_MSEC);
	ck_assert_str_eq(seen.text, "a b c d a ");
	ck_assert_uint_eq(seen.repeats, 2);
	window_free(seen.window);
	seen.window = NULL;
}
END_TEST

/* The daemon dies after it has stored a batch, before it is acknowledged; equal events before
 * and after. */
START_TEST(test_broker__stored_and_not_acknowledged_is_a_repeat)
{
	struct window *window;

	config.version = versions[_i];
	server_start();
	ck_assert_int_eq(window_new(1000, &window), 0);
	start();
	seen.window = window;
	wait_subscribed();
	publish("events/1", "same", 1);
	WAIT_FOR(seen.messages == 1);
	seen.auto_ack = false;
	publish("events/1", "same", 1);
	WAIT_FOR(seen.messages == 2);
	stop(); /* the window is in the journal */
	start();
	seen.window = window;
	WAIT_FOR(seen.repeats == 1);
	publish("events/1", "same", 1);
	WAIT_FOR(seen.messages == 1);
	(void)run_for(100 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.repeats, 1);
	ck_assert_uint_eq(seen.messages, 1);
	window_free(window);
	seen.window = NULL;
}
END_TEST

START_TEST(test_broker__name_with_two_addresses)
{
	config.host = (char *)"localhost"; /* ::1 first, where nobody listens */
	server_start();
	start();
	WAIT_FOR(seen.connected == 1);
	ck_assert_uint_eq(seen.disconnected, 0);
	server_stop(SIGTERM);
	WAIT_FOR(seen.disconnected == 1);
	server_start();
	WAIT_FOR(seen.connected == 2);
}
END_TEST

/* The first address of the name refuses, the second is the broker's. (Addresses are sorted: the
 * one that is nearer to our own comes first.) */
START_TEST(test_broker__name_whose_first_address_refuses)
{
	unsigned other = free_port();

	if (!own_files("127.0.0.1 two.test\n127.0.0.2 two.test\n", "nameserver 127.0.0.1\n"))
		return;
	(void)snprintf(extra, sizeof extra, "allow_anonymous true\nlistener %u 127.0.0.2\n", other);
	server_start();
	config.host = (char *)"two.test";
	config.port = other;
	start();
	WAIT_FOR(seen.connected == 1);
	ck_assert_uint_eq(seen.disconnected, 0);
	stop();
	config.port = free_port();
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_str_eq(seen.reason, "127.0.0.1: Connection refused");
}
END_TEST

/* A name server that takes questions and never answers: the loop goes on, and whoever has enough
 * of it need not wait. */
START_TEST(test_broker__silent_name_server)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons(53) };

	if (!own_files("127.0.0.1 localhost\n", "nameserver 127.0.0.1\n") || !own_network())
		return;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	config.host = (char *)"broker.example";
	uint64_t before = now_monotonic_usec();
	start();
	for (unsigned i = 0; i < 20; i++) {
		uint64_t turn = now_monotonic_usec();
		ck_assert_int_ge(sd_event_run(loop, 20 * USEC_PER_MSEC), 0);
		ck_assert_uint_lt(now_monotonic_usec() - turn, 4 * USEC_PER_SEC); /* a resolver waits for 5 s */
	}
	ck_assert_int_eq(state(), BROKER_CONNECTING);
	broker_pause(broker, "test");
	ck_assert_int_eq(state(), BROKER_PAUSED);
	broker_resume(broker);
	(void)run_for(100 * USEC_PER_MSEC);
	ck_assert_int_eq(state(), BROKER_CONNECTING);
	stop();
	ck_assert_uint_lt(now_monotonic_usec() - before, 9 * USEC_PER_SEC); /* and asks twice */
	WAIT_FOR(waitpid(-1, NULL, WNOHANG) == -1); /* what is left of it is reaped */
	(void)close(fd);
}
END_TEST

START_TEST(test_broker__name_that_does_not_exist)
{
	config.host = (char *)"no-such-host.invalid";
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_ptr_nonnull(strstr(seen.reason, "cannot resolve 'no-such-host.invalid'"));
}
END_TEST

/* Connects, and then silence: neither blocks the loop nor spins. */
START_TEST(test_broker__silent_broker_costs_nothing)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	config.tls = _i;
	start();
	unsigned wakeups = run_for(USEC_PER_SEC);
	ck_assert_int_eq(state(), BROKER_CONNECTING);
	ck_assert_uint_le(wakeups, 5);
	broker_pause(broker, "test");
	ck_assert_int_eq(state(), BROKER_PAUSED);
	broker_resume(broker);
	(void)run_for(100 * USEC_PER_MSEC);
	ck_assert_int_eq(state(), BROKER_CONNECTING);
	(void)close(fd);
	WAIT_FOR(seen.disconnected == 2);
}
END_TEST

/* An address that swallows our SYN. */
START_TEST(test_broker__unreachable_address_does_not_block)
{
	config.host = (char *)"192.0.2.1"; /* for documentation: nobody is there */
	start();
	uint64_t before = now_monotonic_usec();
	(void)sd_event_run(loop, 0);
	(void)sd_event_run(loop, 0);
	ck_assert_uint_lt(now_monotonic_usec() - before, 200 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.connected, 0);
}
END_TEST

START_TEST(test_broker__idle_connection_pings_and_sleeps)
{
	config.keepalive_sec = 5;
	server_start();
	start();
	wait_subscribed();
	unsigned wakeups = run_for(11 * USEC_PER_SEC);
	ck_assert_int_eq(state(), BROKER_CONNECTED);
	ck_assert_uint_eq(seen.disconnected, 0);
	ck_assert_uint_le(wakeups, 6); /* two pings: timer and answer each */
	ck_assert_uint_ge(wakeups, 2);
}
END_TEST

START_TEST(test_broker__frozen_broker_is_noticed)
{
	config.keepalive_sec = 5;
	server_start();
	start();
	wait_subscribed();
	(void)kill(server, SIGSTOP);
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_str_eq(seen.reason, "the broker does not answer pings");
	(void)kill(server, SIGCONT);
	WAIT_FOR(seen.connected == 2);
}
END_TEST

/* ----------------------------------------------------------------------------- pausing, leaving */

START_TEST(test_broker__paused_broker_holds_the_events)
{
	config.version = versions[_i];
	server_start();
	start();
	wait_subscribed();
	broker_pause(broker, "journal full");
	WAIT_FOR(state() == BROKER_PAUSED);
	ck_assert_uint_eq(seen.disconnected, 1);
	publish("events/1", "zero", 0);
	publish("events/1", "one", 1);
	(void)run_for(300 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.messages, 0);
	broker_resume(broker);
	WAIT_FOR(seen.messages == 2);
	ck_assert_str_eq(seen.text, "zero one ");
	ck_assert(seen.session_present);
}
END_TEST

START_TEST(test_broker__quiesce_waits_for_the_acknowledgement)
{
	server_start();
	start();
	wait_subscribed();
	seen.auto_ack = false;
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages == 1);
	broker_quiesce(broker);
	(void)run_for(200 * USEC_PER_MSEC);
	ck_assert_int_eq(state(), BROKER_CONNECTED);
	broker_ack(broker);
	WAIT_FOR(state() == BROKER_DISCONNECTED);
	ck_assert_str_eq(seen.reason, "shutting down");
	(void)run_for(300 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.connected, 1);
	stop();
	start();
	publish("events/1", "b", 1);
	WAIT_FOR(seen.messages == 1);
	ck_assert_str_eq(seen.text, "b ");
}
END_TEST

START_TEST(test_broker__rival_with_the_same_client_id)
{
	char port_text[16];

	config.version = versions[_i];
	server_start();
	start();
	(void)snprintf(port_text, sizeof port_text, "%u", port);
	for (unsigned i = 1; i <= 5; i++) {
		WAIT_FOR(seen.connected == i);
		ck_assert_int_eq(RUN("mosquitto_pub", "-p", port_text, "-i", config.client_id, "-t", "x", "-n"), 0);
		WAIT_FOR(seen.disconnected == i);
		/* A broker that tells is believed at once, the silence of others is a guess. */
		bool told = strstr(seen.reason, "taken over") != NULL;
		ck_assert(versions[_i] == MQTT_V5 || !told);
		ck_assert_int_eq(strstr(seen.reason, "the same client id?") != NULL, told || i > 3);
	}
}
END_TEST

START_TEST(test_broker__old_subscriptions_are_dropped)
{
	server_start();
	start();
	wait_subscribed();
	stop();
	filters[1] = NULL;
	stale = calloc(2, sizeof *stale);
	stale[0] = strdup("many");
	start();
	wait_subscribed();
	publish("many", "1", 1);
	publish("events/1", "a", 1);
	WAIT_FOR(seen.messages > 0);
	(void)run_for(100 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.messages, 1);
	ck_assert_str_eq(seen.text, "a ");
}
END_TEST

/* ------------------------------------------------------------------------------------- refusals */

START_TEST(test_broker__wrong_password_is_told)
{
	config.version = versions[_i];
	ck_assert_int_eq(RUN("mosquitto_passwd", "-b", "-c", path_of("passwords"), "me", "right"), 0);
	(void)snprintf(extra, sizeof extra, "allow_anonymous false\npassword_file %s\n", path_of("passwords"));
	server_start();
	config.user = (char *)"me";
	config.password = (char *)"wrong";
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_ptr_nonnull(strstr(seen.reason, "the broker refuses the connection"));
	ck_assert_ptr_nonnull(strcasestr(seen.reason, "not authori"));
	ck_assert_str_eq(error(), seen.reason);
	(void)run_for(500 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.connected, 0);
	stop();
	config.password = (char *)"right";
	start();
	WAIT_FOR(seen.connected == 1);
}
END_TEST

START_TEST(test_broker__refused_subscription_is_told)
{
	config.version = versions[_i];
	write_file(
		"dynsec.json",
		"{\"defaultACLAccess\":{\"publishClientSend\":true,\"publishClientReceive\":true,\"subscribe\":false,"
		"\"unsubscribe\":true},\"anonymousGroup\":\"all\",\"groups\":[{\"groupname\":\"all\",\"roles\":[{\"rolename\":\"r\"}]}],"
		"\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":\"subscribePattern\",\"topic\":\"many\",\"allow\":true}]}]}");
	(void)snprintf(extra, sizeof extra,
		       "allow_anonymous true\nplugin "
		       "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\nplugin_opt_config_file %s\n",
		       path_of("dynsec.json"));
	server_start();
	start();
	WAIT_FOR(error()[0]);
	ck_assert_ptr_nonnull(strstr(error(), "refuses the subscription \"events/#\""));
	ck_assert_int_eq(state(), BROKER_CONNECTED);
	publish("many", "0", 1); /* the other one works */
	WAIT_FOR(seen.messages == 1);
}
END_TEST

START_TEST(test_broker__settings_that_cannot_work_are_refused)
{
	struct lsn_error err = { 0 };

	config.tls = true;
	config.tls_ca_file = (char *)"/nonexistent/ca.pem";
	ck_assert_int_eq(broker_new(loop, &config, NULL, &hooks, &broker, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent/ca.pem"));
	config.tls_ca_file = NULL;
	config.host = (char *)"/run/x";
	ck_assert_int_eq(broker_new(loop, &config, NULL, &hooks, &broker, &err), -EINVAL);
	config.tls = false;
	config.password = (char *)"x";
	ck_assert_int_eq(broker_new(loop, &config, NULL, &hooks, &broker, &err), -EINVAL);
	config.password = NULL;
	config.keepalive_sec = 1;
	ck_assert_int_eq(broker_new(loop, &config, NULL, &hooks, &broker, &err), -EINVAL);
	ck_assert_ptr_null(broker);
}
END_TEST

/* ----------------------------------------------------------------------------- unix socket, TLS */

START_TEST(test_broker__unix_socket)
{
	config.version = versions[_i];
	server_start();
	config.host = path_of("socket");
	config.port = 0;
	config.batch_max = 50;
	char host[128];
	(void)snprintf(host, sizeof host, "%s", config.host);
	config.host = host;
	start();
	check_flood(3000);
}
END_TEST

static void make_certificates(const char *name)
{
	char subject[128], san[128];

	(void)snprintf(subject, sizeof subject, "/CN=%s", name);
	(void)snprintf(san, sizeof san, "subjectAltName=%s:%s", name[0] >= '0' && name[0] <= '9' ? "IP" : "DNS", name);
	ck_assert_int_eq(RUN("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
			     "-nodes", "-days", "2", "-subj", "/CN=test CA", "-keyout", path_of("ca.key"), "-out",
			     path_of("ca.pem")),
			 0);
	ck_assert_int_eq(RUN("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
			     "-subj", subject, "-keyout", path_of("server.key"), "-out", path_of("server.csr")),
			 0);
	write_file("san", san);
	ck_assert_int_eq(
		RUN("sh", "-c",
		    "cd \"$0\" && openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
		    "-extfile san "
		    "-out server.pem",
		    dir),
		0);
}

static unsigned tls_port;
static void tls_server(const char *name)
{
	make_certificates(name);
	tls_port = free_port();
	(void)snprintf(extra, sizeof extra,
		       "allow_anonymous true\nlistener %u 127.0.0.1\ncertfile %s/server.pem\nkeyfile %s/server.key\n",
		       tls_port, dir, dir);
	server_start();
	static char ca[128];
	(void)snprintf(ca, sizeof ca, "%s/ca.pem", dir);
	config.port = tls_port;
	config.tls = true;
	config.tls_ca_file = ca;
}

START_TEST(test_broker__tls_floods_in_small_batches)
{
	config.version = versions[_i];
	tls_server("127.0.0.1");
	config.batch_max = 20;
	start();
	check_flood(5000);
}
END_TEST

START_TEST(test_broker__tls_by_name)
{
	tls_server("localhost");
	config.host = (char *)"localhost";
	start();
	WAIT_FOR(seen.connected == 1);
}
END_TEST

START_TEST(test_broker__tls_unknown_authority_is_refused)
{
	tls_server("127.0.0.1");
	config.tls_ca_file = NULL; /* the system's */
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_msg(strstr(seen.reason, "the broker's certificate is refused: ") != NULL, "%s", seen.reason);
	(void)run_for(300 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.connected, 0);
	stop();
	config.tls_verify = false;
	start();
	WAIT_FOR(seen.connected == 1);
}
END_TEST

START_TEST(test_broker__tls_other_name_is_refused)
{
	tls_server("elsewhere.example");
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_msg(strstr(seen.reason, "the broker's certificate is refused: ") != NULL, "%s", seen.reason);
	(void)run_for(300 * USEC_PER_MSEC);
	ck_assert_uint_eq(seen.connected, 0);
}
END_TEST

START_TEST(test_broker__tls_to_a_plain_port_is_told)
{
	tls_server("127.0.0.1");
	config.port = port;
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_uint_eq(seen.connected, 0);
	stop();
	config.port = tls_port;
	config.tls = false;
	start();
	WAIT_FOR(seen.disconnected == 1);
	stop();
	server_stop(SIGKILL);
	config.tls = true;
	start();
	WAIT_FOR(seen.disconnected == 1);
	ck_assert_str_eq(seen.reason, "Connection refused");
}
END_TEST

/* ---------------------------------------------------------------------------------- the drop-in */

START_TEST(test_broker__drop_in_makes_qos0_safe)
{
	config.version = versions[_i];
	server_start();
	start();
	wait_subscribed();
	publish("events/1", "live", 0);
	WAIT_FOR(seen.messages == 1);
	ck_assert_uint_eq(seen.qos0, 0);
	stop();
	publish("events/1", "away", 0);
	server_stop(SIGTERM);
	server_start();
	start();
	WAIT_FOR(seen.messages == 1);
	ck_assert_str_eq(seen.text, "away ");
	ck_assert_uint_eq(seen.qos0, 0);
}
END_TEST

/* As installed: the distribution's mosquitto.conf sets persistence, too, and then includes the
 * drop-in. */
START_TEST(test_broker__drop_in_fits_the_distributions_file)
{
	(void)snprintf(extra, sizeof extra, "allow_anonymous true\npersistence true\npid_file %s/pid", dir);
	server_start();
}
END_TEST

/* ------------------------------------------------------------------- configuration, descriptors */

static unsigned inheritable_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	for (struct dirent *e; (e = readdir(d));) {
		int fd = atoi(e->d_name), flags = fcntl(fd, F_GETFD);
		n += e->d_name[0] != '.' && flags >= 0 && !(flags & FD_CLOEXEC);
	}
	(void)closedir(d);
	return n;
}

START_TEST(test_broker__descriptors_are_not_inherited)
{
	server_start();
	unsigned before = inheritable_descriptors();
	start();
	wait_subscribed();
	ck_assert_uint_eq(inheritable_descriptors(), before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("broker");
	TCase *tc = tcase_create("broker");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 90);
	tcase_add_loop_test(tc, test_broker__unacknowledged_comes_again_acknowledged_does_not, 0, 2);
	tcase_add_loop_test(tc, test_broker__pause_while_held_acknowledges_nothing, 0, 2);
	tcase_add_test(tc, test_broker__pause_from_within_a_message);
	tcase_add_test(tc, test_broker__ping_is_not_sent_while_held);
	tcase_add_test(tc, test_broker__late_acknowledgement_is_lost);
	tcase_add_test(tc, test_broker__libmosquitto_forgets_acks_on_reconnect);
	tcase_add_loop_test(tc, test_broker__batches_keep_order_and_size, 0, 2);
	tcase_add_loop_test(tc, test_broker__backlog_is_read_in_full_batches, 0, 2);
	tcase_add_test(tc, test_broker__flags_are_passed_on);
	tcase_add_test(tc, test_broker__empty_and_large_payloads);
	tcase_add_loop_test(tc, test_broker__starts_without_a_broker, 0, 2);
	tcase_add_loop_test(tc, test_broker__broker_restart_resumes_the_session, 0, 2);
	tcase_add_loop_test(tc, test_broker__broker_restored_from_older_state, 0, 2);
	tcase_add_loop_test(tc, test_broker__stored_and_not_acknowledged_is_a_repeat, 0, 2);
	tcase_add_test(tc, test_broker__name_with_two_addresses);
	tcase_add_test(tc, test_broker__name_whose_first_address_refuses);
	tcase_add_test(tc, test_broker__silent_name_server);
	tcase_add_test(tc, test_broker__name_that_does_not_exist);
	tcase_add_loop_test(tc, test_broker__silent_broker_costs_nothing, 0, 2);
	tcase_add_test(tc, test_broker__unreachable_address_does_not_block);
	tcase_add_test(tc, test_broker__idle_connection_pings_and_sleeps);
	tcase_add_test(tc, test_broker__frozen_broker_is_noticed);
	tcase_add_loop_test(tc, test_broker__paused_broker_holds_the_events, 0, 2);
	tcase_add_test(tc, test_broker__quiesce_waits_for_the_acknowledgement);
	tcase_add_loop_test(tc, test_broker__rival_with_the_same_client_id, 0, 2);
	tcase_add_test(tc, test_broker__old_subscriptions_are_dropped);
	tcase_add_loop_test(tc, test_broker__wrong_password_is_told, 0, 2);
	tcase_add_loop_test(tc, test_broker__refused_subscription_is_told, 0, 2);
	tcase_add_test(tc, test_broker__settings_that_cannot_work_are_refused);
	tcase_add_loop_test(tc, test_broker__unix_socket, 0, 2);
	tcase_add_loop_test(tc, test_broker__tls_floods_in_small_batches, 0, 2);
	tcase_add_test(tc, test_broker__tls_by_name);
	tcase_add_test(tc, test_broker__tls_unknown_authority_is_refused);
	tcase_add_test(tc, test_broker__tls_other_name_is_refused);
	tcase_add_test(tc, test_broker__tls_to_a_plain_port_is_told);
	tcase_add_loop_test(tc, test_broker__drop_in_makes_qos0_safe, 0, 2);
	tcase_add_test(tc, test_broker__drop_in_fits_the_distributions_file);
	tcase_add_test(tc, test_broker__descriptors_are_not_inherited);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
