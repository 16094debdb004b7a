/* main.c - listener-web: the command line, the socket that systemd gives it, the loop. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include <place.h>
#include <util.h>

#include "hosts.h"
#include "link.h"
#include "server.h"
#include "visit.h"

#define MAIN_USAGE 64 /* EX_USAGE */

static void main_help(FILE *out)
{
	(void)fputs("listener-web - what listenerd does, as web pages\n\n"
		    "usage: listener-web [--socket PATH] [--host NAME]... [--output yes|no]\n\n"
		    "  --socket PATH     the control socket of listenerd (default: " LISTENER_RUNDIR "/control)\n"
		    "  --host NAME       a name under which the pages may be asked for, besides localhost,\n"
		    "                    127.0.0.1 and [::1]; may be given several times\n"
		    "  --output yes|no   show what scripts printed (default: no)\n"
		    "  --version, --help\n\n"
		    "It serves the socket that systemd gives it: systemctl start listener-web.socket.\n",
		    out);
}

static int main_mistake(const char *option, const char *value, const char *expected)
{
	char quoted[256];
	(void)fprintf(stderr, "listener-web: %s %s: %s\n", option,
		      str_quote(quoted, sizeof quoted, value, strlen(value)), expected);
	return MAIN_USAGE;
}

/* main_options - -1: go on; else the exit status. */
static int main_options(int argc, char **argv, struct hosts *hosts, struct site *site)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' }, { "host", required_argument, NULL, 'H' },
		{ "output", required_argument, NULL, 'o' }, { "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },         { 0 },
	};
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) >= 0;) {
		if (c == 's')
			site->socket = optarg;
		else if (c == 'H' && !hosts_add(hosts, optarg))
			return main_mistake("--host", optarg,
					    "write a name without a port, for example listener.example.org");
		else if (c == 'o' && parse_bool(optarg, &site->output, NULL) < 0)
			return main_mistake("--output", optarg, "write yes or no");
		else if (c == 'V' || c == 'h') {
			if (c == 'h')
				main_help(stdout);
			else
				(void)puts("listener-web " LISTENER_VERSION);
			return EXIT_SUCCESS;
		} else if (c == '?') {
			main_help(stderr);
			return MAIN_USAGE;
		}
	}
	return optind < argc ? main_mistake("argument", argv[optind], "there are only options: listener-web --help")
			     : -1;
}

/* main_listener - the one socket that was given, or -1 after a message. */
static int main_listener(void)
{
	int count = sd_listen_fds(1);
	if (count == 1 && sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, 1) > 0)
		return SD_LISTEN_FDS_START;
	(void)fprintf(
		stderr,
		"listener-web: it needs exactly one listening socket from whoever starts it, and got %d: use "
		"systemctl start listener-web.socket, or systemd-socket-activate -l 127.0.0.1:9732 listener-web\n",
		count < 0 ? 0 : count);
	return -1;
}

static int main_block_signals(sd_event *loop)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int r = sd_event_add_signal(loop, NULL, SIGTERM, NULL, NULL);
	return r < 0 ? r : sd_event_add_signal(loop, NULL, SIGINT, NULL, NULL);
}

static int main_serve(int listener, const struct hosts *hosts, const struct site *site)
{
	sd_event *loop = NULL;
	struct link *link = NULL;
	struct server *server = NULL;
	int r = sd_event_new(&loop);
	if (r >= 0)
		r = main_block_signals(loop);
	if (r >= 0)
		r = link_new(loop, site->socket, &link);
	if (r >= 0)
		r = server_new(loop, listener, hosts, site, link, &server);
	if (r >= 0) {
		(void)sd_notify(0, "READY=1");
		r = sd_event_loop(loop);
	}
	if (r < 0)
		(void)fprintf(stderr, "listener-web: cannot serve: %s\n", strerror(-r));
	link_free(link);
	server_free(server);
	(void)sd_event_unref(loop);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct hosts hosts = { .names = { "localhost", "127.0.0.1", "[::1]" } };
	struct site site = { .socket = LISTENER_RUNDIR "/control" };
	int status = main_options(argc, argv, &hosts, &site);
	if (status >= 0)
		return status;
	int listener = main_listener();
	return listener < 0 ? EXIT_FAILURE : main_serve(listener, &hosts, &site);
}
