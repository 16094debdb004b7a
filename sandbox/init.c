/* init.c - sandbox-init: PID 1 of a sandbox. Options, signals, the loop. See init.h for the
 * parts, protocol.h for the other side. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t now_usec(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

void say(const char *format, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, format);
	(void)vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	(void)dprintf(STDERR_FILENO, "sandbox-init: %s\n", line);
}

/* -------------------------------------------------------------------------------------- options */

static int parse_ports(struct options *o, const char *text)
{
	o->port_count = 0;
	while (*text) {
		char *end;
		errno = 0;
		unsigned long port = strtoul(text, &end, 10);
		if (end == text || errno || port == 0 || port > 65535 || (*end && *end != ',') ||
		    o->port_count == PORTS_MAX)
			return -EINVAL;
		o->ports[o->port_count++] = (uint16_t)port;
		text = *end ? end + 1 : end;
	}
	return 0;
}

static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (end == text || *end || errno || n > max || *text == '-')
		return -EINVAL;
	*ret = n;
	return 0;
}

static int apply_option(struct options *o, int c, const char *value)
{
	uint64_t n = 0;
	switch (c) {
	case 'c': o->control = value; return 0;
	case 'p': return parse_ports(o, value);
	case 'd': o->dns = true; return 0;
	case 'f': o->ftp_data = true; return 0;
	case 'y': o->python = value; return 0;
	case 'l': o->preload = value; return 0;
	case 'n': o->forkserver = false; return 0;
	case 'o':
		if (parse_number(value, 10 * 365 * 86400, &n) < 0)
			return -EINVAL;
		o->orphan_usec = n * USEC_PER_SEC;
		return 0;
	case 'r':
		if (parse_number(value, SB_PROTOCOL_VERSION, &n) < 0 || n == 0)
			return -EINVAL;
		o->protocol = (unsigned)n;
		return 0;
	case 'm':
		if (parse_number(value, 1000000000, &n) < 0 || n == 0)
			return -EINVAL;
		o->max_forks = (unsigned)n;
		return 0;
	default: return -EINVAL;
	}
}

static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option table[] = {
		{ "control", required_argument, NULL, 'c' },
		{ "ports", required_argument, NULL, 'p' },
		{ "dns", no_argument, NULL, 'd' },
		{ "ftp-data", no_argument, NULL, 'f' },
		{ "python", required_argument, NULL, 'y' },
		{ "preload", required_argument, NULL, 'l' },
		{ "no-forkserver", no_argument, NULL, 'n' },
		{ "orphan-timeout", required_argument, NULL, 'o' },
		{ "max-forks", required_argument, NULL, 'm' },
		{ "protocol", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	*o = (struct options){ .control = SB_CONTROL_SOCKET,
			       .preload = "",
			       .forkserver = true,
			       .orphan_usec = 60 * USEC_PER_SEC,
			       .max_forks = 1000,
			       .protocol = 1 };
	int c;
	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1)
		if (apply_option(o, c, optarg) < 0) {
			say("bad option or value: %s", optarg ? optarg : argv[optind - 1]);
			return -EINVAL;
		}
	if (optind < argc) {
		say("unexpected argument: %s", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

/* Where images keep it. PATH of the container is the image's business and not asked. */
static void find_python(struct options *o)
{
	static const char *const places[] = { "/usr/local/bin/python3", "/usr/bin/python3", "/bin/python3",
					      "/opt/python/bin/python3" };
	if (o->python) {
		if (access(o->python, X_OK) < 0) {
			say("--python %s: %s", o->python, strerror(errno));
			o->python = NULL;
		}
		return;
	}
	for (size_t i = 0; i < sizeof places / sizeof places[0] && !o->python; i++)
		if (access(places[i], X_OK) == 0)
			o->python = places[i];
}

/* --------------------------------------------------------------------------------------- set-up */

/* The Python side is handed on as a memfd: /listener itself stays out of the scripts' Landlock
 * domain. */
static int load_code(const char *path)
{
	static char text[256 * 1024];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, sizeof text);
	(void)close(fd);
	if (n <= 0 || (size_t)n == sizeof text)
		return -EIO;
	int mem = memfd_create("forkserver.py", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem < 0)
		return -errno;
	if (write(mem, text, (size_t)n) != n ||
	    fcntl(mem, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
		(void)close(mem);
		return -EIO;
	}
	return mem;
}

static int open_signals(void)
{
	sigset_t all;
	(void)sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
		return -errno;
	sigset_t wanted;
	(void)sigemptyset(&wanted);
	(void)sigaddset(&wanted, SIGCHLD);
	(void)sigaddset(&wanted, SIGTERM);
	(void)sigaddset(&wanted, SIGINT);
	int fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int set_up(struct init *in)
{
	int r = open_signals();
	if (r < 0)
		return r;
	in->signal_fd = r;
	(void)umask(022);
	in->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	in->frame = malloc(SB_FRAME_MAX);
	if (in->null_fd < 0 || !in->frame)
		return -ENOMEM;
	in->code_fd = load_code(SB_DIR "/forkserver.py");
	if (in->code_fd < 0) {
		say(SB_DIR "/forkserver.py: %s", strerror(-in->code_fd));
		return in->code_fd;
	}
	find_python(&in->options);
	if (!in->options.python)
		in->options.forkserver = false;
	routes_init(in);
	r = walls_init(in);
	run_prepare(in);
	cgroup_mark();
	return r;
}

/* ----------------------------------------------------------------------------------------- loop */

void reap(struct init *in)
{
	struct rusage ru;
	int status;
	pid_t pid;
	while ((pid = wait4(-1, &status, WNOHANG, &ru)) > 0) {
		if (in->run.pid == pid && in->run.phase != RUN_NONE)
			run_main_ended(in, status, &ru);
		else
			(void)server_exited(in, pid);
	}
}

/* Only kill() by a process outside of our pid namespace, which is the engine's, has SI_USER
 * without a sender: the kernel fills in both, and lets nobody else claim a code that is not
 * negative. A script cannot reach us in any case (run.c, kill_scripts()). */
static bool is_of_engine(const struct signalfd_siginfo *si)
{
	return si->ssi_signo != SIGCHLD && si->ssi_code == SI_USER && si->ssi_pid == 0;
}

static void read_signals(struct init *in)
{
	struct signalfd_siginfo si[16];
	ssize_t n;
	while ((n = read(in->signal_fd, si, sizeof si)) > 0)
		for (size_t i = 0; i < (size_t)n / sizeof si[0]; i++)
			if (is_of_engine(&si[i]))
				exit(0);
	reap(in);
	if (in->run.phase == RUN_KILLING || in->run.phase == RUN_SWEEPING)
		run_tick(in);
}

static uint64_t deadline_earliest(const struct init *in)
{
	uint64_t t = USEC_NEVER;
	if (in->run.phase != RUN_NONE)
		t = in->run.next_usec;
	if (in->control_fd < 0 && in->connect_usec < t)
		t = in->connect_usec;
	if (in->control_fd < 0 && in->state == SB_IDLE && in->away_usec + in->options.orphan_usec < t)
		t = in->away_usec + in->options.orphan_usec;
	if (in->run.phase == RUN_NONE && in->server_retry_usec < t)
		t = in->server_retry_usec;
	return t;
}

#define WATCHED 7

static void wait_for_something(struct init *in, struct pollfd fds[WATCHED])
{
	const int watched[WATCHED] = { in->signal_fd,       in->control_fd,      in->server.fd,     in->successor.fd,
				       in->run.out.pipe_fd, in->run.err.pipe_fd, in->run.in.pipe_fd };
	for (int i = 0; i < WATCHED; i++)
		fds[i] = (struct pollfd){ .fd = watched[i], .events = i < 6 ? POLLIN : POLLOUT };
	uint64_t when = deadline_earliest(in), now = now_usec();
	struct timespec ts, *timeout = NULL;
	if (when != USEC_NEVER) {
		uint64_t left = when > now ? when - now : 0;
		ts = (struct timespec){ .tv_sec = (time_t)(left / USEC_PER_SEC),
					.tv_nsec = (long)(left % USEC_PER_SEC) * 1000 };
		timeout = &ts;
	}
	if (ppoll(fds, WATCHED, timeout, NULL) <= 0)
		for (int i = 0; i < WATCHED; i++)
			fds[i].revents = 0;
}

static void loop_turn(struct init *in)
{
	struct pollfd fds[WATCHED];
	wait_for_something(in, fds);
	/* A descriptor may be closed by an earlier step of the same turn and its number be
	 * another's by then: compare before use. */
	if (fds[4].revents || fds[5].revents || fds[6].revents)
		run_pump(in);
	if (fds[2].revents && fds[2].fd == in->server.fd)
		server_read(in, &in->server);
	if (fds[3].revents && fds[3].fd == in->successor.fd)
		server_read(in, &in->successor);
	if (fds[0].revents)
		read_signals(in);
	if (in->run.phase != RUN_NONE && now_usec() >= in->run.next_usec)
		run_tick(in);
	if (fds[1].revents && fds[1].fd == in->control_fd)
		control_read(in);
	control_connect(in);
	server_keep(in);
	if (in->control_fd < 0 && in->state == SB_IDLE && now_usec() >= in->away_usec + in->options.orphan_usec) {
		say("no daemon has been connected for %llu s and no result is kept: ending",
		    (unsigned long long)(in->options.orphan_usec / USEC_PER_SEC));
		exit(0);
	}
}

int main(int argc, char **argv)
{
	static struct init in = { .ruleset_fd = -1,
				  .code_fd = -1,
				  .control_fd = -1,
				  .server_retry_usec = USEC_NEVER,
				  .server = { .fd = -1 },
				  .successor = { .fd = -1 },
				  .result_fds = { -1, -1 } };
	in.run.out.pipe_fd = in.run.out.mem_fd = in.run.err.pipe_fd = in.run.err.mem_fd = -1;
	in.run.in.pipe_fd = in.run.in.payload_fd = -1;
	if (parse_options(&in.options, argc, argv) < 0)
		return 2;
	int r = set_up(&in);
	if (r < 0) {
		say("cannot set up: %s", strerror(-r));
		return 1;
	}
	in.away_usec = now_usec();
	server_keep(&in); /* first: it warms up while we connect */
	control_connect(&in);
	for (;;)
		loop_turn(&in);
}
