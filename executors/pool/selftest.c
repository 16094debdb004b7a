/* selftest.c - doors opened, a script sent to them, its report read. What it prints is a
 * sandbox's word: bounded and quoted. */
#include "selftest.h"
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <jansson.h>

#include <cleanup.h>
#include <util.h>

#define LIMIT_USEC (17 * USEC_PER_SEC)
#define RUN_USEC (8 * USEC_PER_SEC)
#define OFFER_USEC (100 * USEC_PER_MSEC)
#define OUTPUT_MAX 4096

struct selftest {
	struct pool *pool;
	const char *bridge, *hindrance;
	selftest_fn fn;
	void *data;
	struct lsn_job job;
	struct lsn_timer *offer, *limit;
	int fds[SELFTEST_DOORS];
	bool submitted;
	struct selftest_report report;
	char problem[256];
};

static const char *const door_names[SELFTEST_DOORS] = {
	[SELFTEST_OPEN] = "open", [SELFTEST_CLOSED] = "closed", [SELFTEST_UDP] = "udp"
};

/* Every attempt has 2 s: three of them end before the run does. */
static const char script[] =
	"import errno, json, socket, sys\n"
	"print('python', sys.version.split()[0], flush=True)\n"
	"task = json.loads(sys.stdin.read())\n"
	"for module in task['modules']:\n"
	"    try:\n"
	"        __import__(module)\n"
	"    except Exception:\n"
	"        print('missing', module, flush=True)\n"
	"try:\n"
	"    with open('/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes') as f:\n"
	"        if int(f.read()) > 1 << 50:\n"
	"            print('uncounted sockets', flush=True)\n"
	"except (OSError, ValueError):\n"
	"    pass # control groups of version 2 count sockets among the rest\n"
	"for name, kind, host, port in task['doors']:\n"
	"    try:\n"
	"        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)\n"
	"        s.settimeout(2)\n"
	"        s.connect((host, port))\n"
	"        if kind == 'udp':\n"
	"            s.send(b'listener')\n"
	"            s.settimeout(0.5)\n"
	"            s.recv(1)\n"
	"        print(name, 'open', flush=True)\n"
	"    except socket.timeout:\n"
	"        print(name, 'silence', flush=True)\n"
	"    except OSError as e:\n"
	"        print(name, errno.errorcode.get(e.errno, 'error'), flush=True)\n";

/* ---------------------------------------------------------------------------------------- doors */

static bool find_gateway(const char *bridge, struct in_addr *ret)
{
	struct ifaddrs *list = NULL;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *a = list; a && !found; a = a->ifa_next)
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET && streq(a->ifa_name, bridge)) {
			struct sockaddr_in in;
			memcpy(&in, a->ifa_addr, sizeof in);
			*ret = in.sin_addr;
			found = true;
		}
	freeifaddrs(list);
	return found;
}

/* Listen there. *RET_FD: -1 if somebody else does already. False: nobody listens, and we may
 * not. */
static bool open_door(int type, struct in_addr address, unsigned port, int *ret_fd)
{
	const struct sockaddr_in where = { .sin_family = AF_INET,
					   .sin_port = htons((uint16_t)port),
					   .sin_addr = address };
	_cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	*ret_fd = -1;
	if (fd < 0)
		return false;
	/* a selftest a moment ago */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)&where, sizeof where) < 0)
		return errno == EADDRINUSE;
	if (type == SOCK_STREAM && listen(fd, 8) < 0)
		return errno == EADDRINUSE;
	*ret_fd = TAKE_FD(fd);
	return true;
}

static void open_doors(struct selftest *t)
{
	const struct options *o = t->pool->options;
	struct selftest_report *r = &t->report;
	struct in_addr gateway;

	*r = (struct selftest_report){ 0 };
	if (o->network != NETWORK_BRIDGE || o->ports.count == 0 || !find_gateway(t->bridge, &gateway))
		return;
	(void)inet_ntop(AF_INET, &gateway, r->gateway, sizeof r->gateway);
	r->doors = true;
	/* Without the right to bind low ports one that is taken by somebody will do as well. */
	for (size_t i = 0; i < o->ports.count && !r->listening[SELFTEST_OPEN]; i++) {
		r->port[SELFTEST_OPEN] = (unsigned)strtoul(o->ports.items[i], NULL, 10);
		r->listening[SELFTEST_OPEN] =
			open_door(SOCK_STREAM, gateway, r->port[SELFTEST_OPEN], &t->fds[SELFTEST_OPEN]);
	}
	r->port[SELFTEST_CLOSED] = r->port[SELFTEST_UDP] = SELFTEST_CLOSED_PORT;
	r->listening[SELFTEST_CLOSED] = open_door(SOCK_STREAM, gateway, SELFTEST_CLOSED_PORT, &t->fds[SELFTEST_CLOSED]);
	r->listening[SELFTEST_UDP] = open_door(SOCK_DGRAM, gateway, SELFTEST_CLOSED_PORT, &t->fds[SELFTEST_UDP]);
}

/* And what is the run's own. */
static void close_doors(struct selftest *t)
{
	char byte;

	t->report.arrived |= t->fds[SELFTEST_UDP] >= 0 && recv(t->fds[SELFTEST_UDP], &byte, 1, MSG_DONTWAIT) >= 0;
	for (size_t i = 0; i < SELFTEST_DOORS; i++) {
		if (t->fds[i] >= 0)
			(void)close(t->fds[i]);
		t->fds[i] = -1;
	}
	if (t->job.payload_fd >= 0)
		(void)close(t->job.payload_fd);
	t->job.payload_fd = -1;
}

/* ----------------------------------------------------------------------------------- the report */

static void read_line(struct selftest_report *r, const char *line)
{
	char name[16], value[sizeof r->missing];

	if (sscanf(line, "%15s %63s", name, value) != 2)
		return;
	for (char *p = value; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			*p = '?';
	if (streq(name, "python"))
		(void)snprintf(r->python, sizeof r->python, "%s", value);
	if (streq(name, "uncounted") && streq(value, "sockets"))
		r->uncounted_sockets = true;
	if (streq(name, "missing") && !*r->missing)
		(void)snprintf(r->missing, sizeof r->missing, "%s", value);
	for (size_t i = 0; i < SELFTEST_DOORS; i++)
		if (streq(name, door_names[i]))
			(void)snprintf(r->seen[i], sizeof r->seen[i], "%.31s", value);
}

static void read_report(struct selftest_report *r, const void *bytes, size_t size)
{
	char text[OUTPUT_MAX + 1], *rest = text, *line;

	size = size < OUTPUT_MAX ? size : OUTPUT_MAX;
	if (size > 0)
		memcpy(text, bytes, size);
	text[size] = 0;
	while ((line = strsep(&rest, "\n")))
		read_line(r, line);
}

static void selftest_finish(struct selftest *t, const char *problem)
{
	const struct lsn_host *host = t->pool->env.host;

	host->timer_cancel(host->handle, t->limit);
	host->timer_cancel(host->handle, t->offer);
	t->limit = t->offer = NULL;
	close_doors(t);
	t->report.problem = problem;
	t->fn(t->data, &t->report);
}

static void selftest_ran(void *data, const struct lsn_result *result)
{
	struct selftest *t = data;

	t->submitted = false;
	read_report(&t->report, result->out, result->out_size);
	if (result->outcome == LSN_OUTCOME_SUCCESS && *t->report.python) {
		selftest_finish(t, NULL);
		return;
	}
	(void)snprintf(t->problem, sizeof t->problem,
		       "a sandbox ran the selftest script, and it failed (outcome %u, exit status %d): %.120s",
		       result->outcome, result->exit_status, result->message);
	selftest_finish(t, t->problem);
}

/* ----------------------------------------------------------------------------------------- life */

/* What the script shall try: {"modules": [NAME...], "doors": [[NAME, KIND, HOST, PORT]...]};
 * NULL: no memory. */
static char *make_task(const struct selftest *t)
{
	const struct selftest_report *r = &t->report;
	const struct str_list *preload = &t->pool->options->preload;
	json_t *modules = json_array(), *doors = json_array();

	for (size_t i = 0; i < preload->count; i++)
		(void)json_array_append_new(modules, json_string(preload->items[i]));
	for (int i = 0; r->doors && i < SELFTEST_DOORS; i++)
		(void)json_array_append_new(doors, json_pack("[sssi]", door_names[i], i == SELFTEST_UDP ? "udp" : "tcp",
							     r->gateway, (int)r->port[i]));
	json_t *task = json_pack("{soso}", "modules", modules, "doors", doors);
	char *text = json_dumps(task, JSON_COMPACT);
	json_decref(task);
	return text;
}

/* With a sandbox reserved the network is there for certain. */
static int selftest_submit(struct selftest *t)
{
	struct pool *pool = t->pool;
	struct lsn_error err = { 0 };

	open_doors(t);
	_cleanup_free_ char *task = make_task(t);
	t->job.payload_size = task ? strlen(task) : 0;
	t->job.payload_fd = task ? memfd_sealed("payload", task, strlen(task)) : -ENOMEM;
	if (t->job.payload_fd < 0) {
		pool_release(pool, &t->job);
		return t->job.payload_fd;
	}
	return pool_submit(pool, &t->job, &err);
}

static void selftest_offer(void *data)
{
	struct selftest *t = data;
	const struct lsn_host *host = t->pool->env.host;
	char place[LSN_PLACE_SIZE];
	struct lsn_error err = { 0 };

	t->offer = NULL;
	if (pool_reserve(t->pool, &t->job, place, &err) == 0)
		t->submitted = selftest_submit(t) == 0;
	if (t->submitted)
		return;
	close_doors(t);
	(void)host->timer(host->handle, OFFER_USEC, selftest_offer, t, &t->offer);
}

static void ran_out(void *data)
{
	struct selftest *t = data;
	const struct pool *pool = t->pool;

	t->limit = NULL;
	(void)snprintf(t->problem, sizeof t->problem, "%s: %.150s",
		       t->submitted ? "the selftest script did not end in time" : "no sandbox became free in time",
		       *t->hindrance         ? t->hindrance
		       : *pool->problem.text ? pool->problem.text
					     : "all are busy, or a start takes long");
	selftest_finish(t, t->problem);
}

static int make_job(struct selftest *t)
{
	/* no script has such a version: nobody else gets its sandbox */
	static const char version[] = "selftest";

	t->job = (struct lsn_job){ .version = LSN_ABI_VERSION,
				   .size = sizeof t->job,
				   .id = POOL_OWN_JOB,
				   .event = POOL_OWN_JOB,
				   .attempt = 1,
				   .output = LSN_OUTPUT_CAPTURE,
				   .input = LSN_INPUT_PIPE,
				   .script = "selftest.py",
				   .script_version = version,
				   .topic = "doctor",
				   .topic_size = 6,
				   .payload_fd = -1,
				   .script_size = sizeof script - 1,
				   .timeout_usec = RUN_USEC,
				   .memory_bytes = t->pool->memory_bytes,
				   .output_limit_bytes = OUTPUT_MAX };
	t->job.script_fd = memfd_sealed("selftest", script, sizeof script - 1);
	return t->job.script_fd < 0 ? t->job.script_fd : 0;
}

int selftest_start(struct pool *pool, const char *bridge, const char *hindrance, selftest_fn fn, void *data,
		   struct selftest **ret)
{
	const struct lsn_host *host = pool->env.host;
	struct selftest *t = pool->own_done ? NULL : calloc(1, sizeof *t);

	if (!t)
		return pool->own_done ? -EBUSY : -ENOMEM;
	*t = (struct selftest){ .pool = pool,
				.bridge = bridge,
				.hindrance = hindrance,
				.fn = fn,
				.data = data,
				.fds = { -1, -1, -1 },
				.job = { .script_fd = -1, .payload_fd = -1 } };
	int r = make_job(t);
	if (r == 0)
		r = host->timer(host->handle, LIMIT_USEC, ran_out, t, &t->limit);
	if (r == 0)
		r = host->timer(host->handle, 0, selftest_offer, t, &t->offer);
	if (r < 0) {
		selftest_free(t);
		return r;
	}
	pool->own_done = selftest_ran;
	pool->own_data = t;
	*ret = t;
	return 0;
}

void selftest_free(struct selftest *t)
{
	if (!t)
		return;
	const struct lsn_host *host = t->pool->env.host;

	if (t->pool->own_data == t) {
		if (t->submitted)
			pool_drop_own(t->pool);
		t->pool->own_done = NULL;
		t->pool->own_data = NULL;
	}
	host->timer_cancel(host->handle, t->limit);
	host->timer_cancel(host->handle, t->offer);
	close_doors(t);
	if (t->job.script_fd >= 0)
		(void)close(t->job.script_fd);
	free(t);
}
