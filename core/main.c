/* main.c - listenerd's command line. */
#include "config.h"
#include "daemon.h"
#include "files_limit.h"
#include "log.h"
#include "place.h"
#include "util.h"
#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#define MMAP_THRESHOLD_BYTES (256 * 1024)
#define DEFAULT_CONFIG LISTENER_SYSCONFDIR "/listenerd.ini"

static const char usage[] =
	"Usage: listenerd [OPTION]...\n"
	"Runs users' scripts, sandboxed, when MQTT events of a data archive match their topics. Stays in the "
	"foreground.\n"
	"\n"
	"  -c, --config FILE   configuration, with the *.ini of conf.d/ beside it (default: " DEFAULT_CONFIG ")\n"
	"  -t, --test          test the configuration and print it; exit status 0, or 78 if the "
	"daemon would not start\n"
	"      --help-config   print every section and key with default and meaning\n"
	"  -v, --verbose       log more (twice: everything)\n"
	"  -q, --quiet         log warnings and errors only; with -t, print what is wrong only\n"
	"      --version       print the version\n"
	"  -h, --help          print this text\n"
	"\n"
	"SIGHUP reloads the configuration. SIGTERM drains and stops, a second SIGTERM stops at once.\n"
	"See listenerd(8), listenerd.ini(5), listenerctl(1).\n";

struct arguments {
	const char *config;
	bool test, help_config;
	int verbosity;
};

enum { OPT_VERSION = 256, OPT_HELP_CONFIG };

/* parse_arguments - 1: go on; otherwise exit with *RET_STATUS. */
static bool parse_arguments(int argc, char **argv, struct arguments *args, int *ret_status)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "test", no_argument, NULL, 't' },
						 { "help-config", no_argument, NULL, OPT_HELP_CONFIG },
						 { "verbose", no_argument, NULL, 'v' },
						 { "quiet", no_argument, NULL, 'q' },
						 { "version", no_argument, NULL, OPT_VERSION },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	int c;

	*ret_status = 0;
	while ((c = getopt_long(argc, argv, "c:tvqh", options, NULL)) >= 0) {
		switch (c) {
		case 'c': args->config = optarg; break;
		case 't': args->test = true; break;
		case 'v': args->verbosity++; break;
		case 'q': args->verbosity = -1; break;
		case OPT_HELP_CONFIG: args->help_config = true; break;
		case OPT_VERSION: printf("listenerd %s\n", LISTENER_VERSION); return false;
		case 'h': fputs(usage, stdout); return false;
		default: *ret_status = EX_USAGE; return false;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "listenerd: unexpected argument '%s'; see listenerd --help\n", argv[optind]);
		*ret_status = EX_USAGE;
		return false;
	}
	return true;
}

/* Also after a reload the command line has the last word. */
static void apply_verbosity(int verbosity)
{
	if (verbosity < 0)
		log_force(LSN_LOG_WARNING);
	else if (verbosity > 0)
		log_force(verbosity == 1 ? LSN_LOG_INFO : LSN_LOG_DEBUG);
}

static void print_finding(void *data, bool fatal, const char *text)
{
	(void)data;
	fprintf(stderr, "listenerd: %s%s\n", fatal ? "" : "warning: ", text);
}

/* test - all that can be known without starting. Returns the exit status. */
static int test(const char *file, bool quiet)
{
	struct config *config = NULL;
	struct lsn_error err = { 0 };

	log_init(LSN_LOG_WARNING);
	int problems = config_test(file, print_finding, NULL, &config, &err);
	if (problems < 0) {
		print_finding(NULL, true, err.message);
		return EX_CONFIG;
	}
	if (!quiet)
		config_print(config, stdout);
	config_free(config);
	return problems > 0 ? EX_CONFIG : 0;
}

/* defer_hangup - a reload that is asked for while we start must not end us: the loop takes the
 * signal when there is one. */
static void defer_hangup(void)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* lower_capabilities - those we were given are for the helpers we start, to whom the ambient set
 * passes them (capabilities(7)): ours to use is none. Root keeps what root has. */
static void lower_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (geteuid() == 0 || syscall(SYS_capget, &head, data) < 0)
		return;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		data[i].effective = 0;
	(void)syscall(SYS_capset, &head, data);
}

/* is_permanent - starting again would end in the same way: somebody has to change a setting, make a
 * folder, give a permission, or look after the journal: it is a newer release's, another program's,
 * or damaged. */
static bool is_permanent(int code)
{
	switch (code) {
	case -EINVAL:
	case -ENOENT:
	case -ENOTDIR:
	case -EACCES:
	case -EPERM:
	case -EPROTONOSUPPORT:
	case -EMEDIUMTYPE:
	case -EUCLEAN: return true;
	default: return false;
	}
}

int main(int argc, char **argv)
{
	struct arguments args = { .config = DEFAULT_CONFIG };
	struct config *config = NULL;
	struct lsn_error err = { 0 };
	int status;

	if (!parse_arguments(argc, argv, &args, &status))
		return status;
	if (args.help_config) {
		config_help(stdout);
		return 0;
	}
	apply_verbosity(args.verbosity);
	if (args.test)
		return test(args.config, args.verbosity < 0);
	defer_hangup();
	lower_capabilities();
	files_limit_raise();
	/* A payload of megabytes goes back to the kernel when it is freed. By default the limit
	 * rises with the first one freed, and the rest stays ours for good. */
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
	if (config_load(args.config, &config, &err) < 0) {
		log_error("%s", err.message);
		return EX_CONFIG;
	}
	if (daemon_run(args.config, config, &err) < 0) {
		log_error("%s", err.message);
		return is_permanent(err.code) ? EX_CONFIG : 1;
	}
	return 0;
}
