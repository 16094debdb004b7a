/* probe.c - what `listenerctl doctor` asks of this executor: the engine and what it says about
 * itself, and what a script in a real sandbox finds open and closed. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include <protocol.h>
#include <cleanup.h>
#include <util.h>

#include "engine.h"
#include "executor.h"
#include "options.h"
#include "settings.h"
#include "pool.h"
#include "prerequisites.h"
#include "room.h"
#include "selftest.h"
#include "wall.h"

/* Misses are many if they are one in ten of at least so many jobs. */
#define MISSES_PERCENT 10
#define MISSES_OF_MIN 50
#define CALL_USEC (2500 * USEC_PER_MSEC)

struct probe {
	struct instance *in;
	lsn_probe_fn fn;
	void (*end)(void *data);
	void *data;
	struct engine_call *call;
	/* of the call: a hung engine is not waited for as long as engine_timeout */
	struct lsn_timer *limit;
	struct selftest *selftest;
};

/* REMEDY NULL: OK. */
__attribute__((format(printf, 4, 5))) static void tell(const struct probe *p, enum lsn_probe_level level,
						       const char *remedy, const char *format, ...)
{
	char text[500];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	p->fn(p->data, level, text, remedy);
}

static void probe_end(struct probe *p)
{
	void (*end)(void *data) = p->end;
	void *data = p->data;

	p->in->probe = NULL;
	selftest_free(p->selftest);
	free(p);
	end(data);
}

/* ---------------------------------------------------------------------------------------- walls */

static void tell_landlock(const struct probe *p)
{
	const struct pool *pool = &p->in->pool;
	static const struct {
		unsigned abi;
		const char *lacks;
	} steps[] = { { 1, "all rules: read-only mounts alone protect files, the port wall alone restricts ports" },
		      { 4, "rules for TCP ports: the port wall alone restricts them (needs Linux 6.7)" },
		      { 6, "scopes: namespaces and user ids alone restrict abstract sockets and signals (needs Linux "
			   "6.12)" } };

	if (!pool->landlock_known) {
		tell(p, LSN_PROBE_WARNING, "look at the executor's problem with `listenerctl executors`",
		     "Landlock: no sandbox has been warm yet");
		return;
	}
	for (size_t i = 0; i < ELEMENTSOF(steps); i++)
		if (pool->landlock_abi < steps[i].abi) {
			tell(p, LSN_PROBE_WARNING, "a later kernel gives the second wall; see docs/security.md",
			     "Landlock ABI %u lacks %s", pool->landlock_abi, steps[i].lacks);
			return;
		}
	if (pool->walls & SB_WALL_LANDLOCK_FS)
		tell(p, LSN_PROBE_OK, NULL, "Landlock ABI %u: files, TCP ports, abstract sockets, signals",
		     pool->landlock_abi);
	else
		tell(p, LSN_PROBE_WARNING,
		     "see that the seccomp.json in [listener] libexec_dir is the one that was "
		     "installed with the daemon",
		     "Landlock ABI %u is there, but sandboxes could not use it", pool->landlock_abi);
}

static void tell_open(const struct probe *p, const struct selftest_report *r)
{
	const struct options *o = &p->in->settings.pool;
	const char *seen = r->seen[SELFTEST_OPEN];
	unsigned port = r->port[SELFTEST_OPEN];
	bool narrowed = o->allow_networks.count + o->deny_networks.count > 0;

	if (streq(seen, "open"))
		tell(p, LSN_PROBE_OK, NULL, "from a sandbox: TCP port %u of %s is open", port, r->gateway);
	else if (narrowed)
		tell(p, LSN_PROBE_OK, NULL,
		     "from a sandbox: TCP port %u of %s gives %s; allow_networks or deny_networks may want it so", port,
		     r->gateway, seen);
	else if (!r->listening[SELFTEST_OPEN] && streq(seen, "ECONNREFUSED"))
		tell(p, LSN_PROBE_OK, NULL, "from a sandbox: TCP port %u of %s is reached, but nobody listens there",
		     port, r->gateway);
	else
		tell(p, LSN_PROBE_FAILURE,
		     "a firewall of this host may reject what comes from the bridge of the sandboxes: see `nft list "
		     "ruleset`",
		     "from a sandbox: TCP port %u of %s, which should be open, gives %s", port, r->gateway,
		     *seen ? seen : "no answer");
}

static void tell_closed(const struct probe *p, const struct selftest_report *r)
{
	const char *tcp = r->seen[SELFTEST_CLOSED], *udp = r->seen[SELFTEST_UDP];
	static const char remedy[] = "stop the listener, and report a hole as docs/security.md says";

	if (streq(tcp, "open"))
		tell(p, LSN_PROBE_FAILURE, remedy, "from a sandbox: TCP port %u of %s is OPEN and must not be",
		     r->port[SELFTEST_CLOSED], r->gateway);
	else
		tell(p, LSN_PROBE_OK, NULL, "from a sandbox: TCP port %u of %s is closed (%s%s)",
		     r->port[SELFTEST_CLOSED], r->gateway, *tcp ? tcp : "no answer",
		     streq(tcp, "EACCES")         ? ", by Landlock"
		     : streq(tcp, "ECONNREFUSED") ? ", by the port wall"
						  : "");
	if (streq(udp, "open") || r->arrived)
		tell(p, LSN_PROBE_FAILURE, remedy, "from a sandbox: UDP port %u of %s is OPEN and must not be",
		     r->port[SELFTEST_UDP], r->gateway);
	else
		tell(p, LSN_PROBE_OK, NULL, "from a sandbox: UDP is closed by the port wall (%s)",
		     *udp ? udp : "no answer");
	if (!r->listening[SELFTEST_CLOSED] || !r->listening[SELFTEST_UDP])
		tell(p, LSN_PROBE_WARNING, "try again",
		     "port %u of %s could not be listened at: that it is closed proves little",
		     r->port[SELFTEST_CLOSED], r->gateway);
}

/* is_switched_off - a setting of the kernel; one that cannot be read says nothing. */
static bool is_switched_off(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	return file && fgetc(file) == '0';
}

/* tell_forwarding - an engine switches it on, unless it was told not to; something may switch it
 * off later. */
static void tell_forwarding(const struct probe *p)
{
	static const char remedy[] = "sysctl -w net.ipv4.ip_forward=1, and keep it in /etc/sysctl.d";
	static const char remedy_ipv6[] = "sysctl -w net.ipv6.conf.all.forwarding=1, and keep it in /etc/sysctl.d";

	if (is_switched_off("/proc/sys/net/ipv4/ip_forward"))
		tell(p, LSN_PROBE_FAILURE, remedy,
		     "this machine forwards no packets (net.ipv4.ip_forward = 0): scripts reach no other machine");
	if (p->in->settings.ipv6 && is_switched_off("/proc/sys/net/ipv6/conf/all/forwarding"))
		tell(p, LSN_PROBE_FAILURE, remedy_ipv6,
		     "this machine forwards no IPv6 packets: scripts reach no other machine by IPv6");
}

static void tell_site(const struct probe *p)
{
	const struct prerequisites *prereq = &p->in->prereq;
	bool up = prerequisites_up(prereq);

	tell(p, up ? LSN_PROBE_OK : LSN_PROBE_FAILURE, up ? NULL : "mend what the text names; it is tried again",
	     "sandboxes: %s%s%.250s", prerequisite_names[prereq->state], *prereq->problem.text ? ": " : "",
	     prereq->problem.text);
	if (!prereq->wall)
		tell(p, LSN_PROBE_OK, NULL, "sandboxes have no network");
	else if (wall_up(prereq->wall))
		tell(p, LSN_PROBE_OK, NULL, "port wall: %.250s", wall_state(prereq->wall));
	else
		tell(p, LSN_PROBE_FAILURE, wall_remedy(prereq->wall), "port wall: %.250s", wall_state(prereq->wall));
	if (prereq->wall)
		tell_forwarding(p);
}

/* Which key would help, when jobs often wait for a sandbox to be made. */
static const char *remedy_for(const struct pool_figures *f)
{
	static const char *const remedies[ROOM_LIMIT_MAX] = {
		[ROOM_POOL_MAX] = "raise pool_max, or set it to 0",
		[ROOM_MEMORY] = "raise pool_memory",
		[ROOM_ADDRESSES] = "set subnet to a larger network, such as 172.30.0.0/20",
		[ROOM_DESCRIPTORS] = "raise LimitNOFILE of the daemon",
		[ROOM_PRESSURE] = "give the machine more memory",
	};

	if (f->total - f->ending >= f->most)
		return remedies[f->limit];
	return "raise pool_min, so that more spares are ready, and idle_timeout, so that sandboxes stay";
}

static void tell_pool(const struct probe *p)
{
	const struct pool *pool = &p->in->pool;
	const struct pool_counts *c = &pool->recent;
	uint64_t jobs = c->hits + c->spares + c->misses;
	struct pool_figures f;

	pool_get_figures(pool, &f);
	if (jobs < MISSES_OF_MIN || c->misses * 100 < jobs * MISSES_PERCENT)
		tell(p, LSN_PROBE_OK, NULL,
		     "sandboxes: %u, room for %u by %s; of the last %" PRIu64 " jobs %" PRIu64
		     " waited for one to be made",
		     f.total, f.most, room_limit_names[f.limit], jobs, c->misses);
	else
		tell(p, LSN_PROBE_WARNING, remedy_for(&f),
		     "of the last %" PRIu64 " jobs %" PRIu64
		     " waited for a sandbox to be made: %u scripts are in use, there is room for %u sandboxes by %s",
		     jobs, c->misses, f.tenants, f.most, room_limit_names[f.limit]);
}

static void trial_tried(void *data, const struct selftest_report *r)
{
	struct probe *p = data;

	tell_site(p);
	if (r->problem)
		tell(p, LSN_PROBE_FAILURE, "see `listenerctl executors` and the daemon's log",
		     "no script can be run: %s", r->problem);
	else
		tell(p, LSN_PROBE_OK, NULL, "image %s runs Python %s", p->in->settings.image, r->python);
	if (!r->problem && *r->missing)
		tell(p, LSN_PROBE_WARNING, "take it out of preload, or make an image that has it",
		     "image %s has no Python module %s: it is not preloaded", p->in->settings.image, r->missing);
	if (!r->problem && r->uncounted_sockets)
		tell(p, LSN_PROBE_WARNING,
		     "boot with control groups of version 2 (systemd.unified_cgroup_hierarchy=1); see "
		     "docs/security.md, What a kernel cannot count",
		     "what scripts keep in the buffers of sockets is in no memory limit");
	if (!r->problem && !engine_splits_stamps(p->in->prereq.engine) &&
	    !is_switched_off("/proc/sys/net/core/tstamp_allow_data"))
		tell(p, LSN_PROBE_WARNING,
		     "sysctl -w net.core.tstamp_allow_data=0, and keep it in /etc/sysctl.d; see "
		     "docs/security.md, What a kernel cannot count",
		     "packets that scripts have time stamped are in no memory limit");
	if (!r->problem && r->doors) {
		tell_open(p, r);
		tell_closed(p, r);
	} else if (!r->problem && p->in->settings.pool.network == NETWORK_BRIDGE)
		tell(p, LSN_PROBE_WARNING, "listener and engine must share a network namespace",
		     "the bridge %s has no address here: ports were not tried", p->in->prereq.network.bridge);
	tell_landlock(p);
	tell_pool(p);
	probe_end(p);
}

/* --------------------------------------------------------------------------------------- engine */

static void probe_drop_call(struct probe *p)
{
	engine_cancel(p->call);
	p->call = NULL;
	p->in->host->timer_cancel(p->in->host->handle, p->limit);
	p->limit = NULL;
}

static void tell_engine_away(struct probe *p, const struct lsn_error *why)
{
	const char *remedy = "start the Docker Engine: systemctl start docker";

	if (why->code == -EACCES)
		remedy = "make the listener's user a member of the socket's group, then restart listenerd";
	else if (why->code == -ETIMEDOUT)
		remedy = "see the engine's log (journalctl -u docker); if it stays silent, restart it";

	tell(p, LSN_PROBE_FAILURE, remedy, "engine at %.120s: %.350s", p->in->settings.socket, why->message);
	probe_end(p);
}

static void call_ran_out(void *data)
{
	struct probe *p = data;

	p->limit = NULL;
	probe_drop_call(p);
	tell_engine_away(p, &(const struct lsn_error){ .code = -ETIMEDOUT,
						       .message = "it accepts a connection, but "
								  "does not answer" });
}

static void info_replied(void *data, const struct engine_reply *reply)
{
	struct probe *p = data;
	struct instance *in = p->in;

	p->call = NULL;
	probe_drop_call(p);
	if (reply->status != 200) {
		tell_engine_away(p, &reply->error);
		return;
	}
	/* may be known before engine_version() */
	const char *version = json_string_value(json_object_get(reply->json, "ServerVersion"));
	char quoted[64];
	(void)str_quote(quoted, sizeof quoted, version ? version : "?", strlen(version ? version : "?"));
	bool live = json_is_true(json_object_get(reply->json, "LiveRestoreEnabled"));
	tell(p, LSN_PROBE_OK, NULL, "engine %s, live-restore %s", quoted, live ? "on" : "off");
	if (!live)
		tell(p, LSN_PROBE_WARNING,
		     "set \"live-restore\": true in /etc/docker/daemon.json, then systemctl reload docker",
		     "a restart of the engine ends running jobs");
	if (!json_is_true(json_object_get(reply->json, "SwapLimit")))
		tell(p, LSN_PROBE_WARNING, "swapoff, or boot with swapaccount=1",
		     "the engine cannot limit swap: a script may use swap beyond its memory");
	int r = selftest_start(&in->pool, in->prereq.network.bridge, in->prereq.problem.text, trial_tried, p,
			       &p->selftest);
	if (r < 0)
		trial_tried(p, &(const struct selftest_report){ .problem = strerror(-r) });
}

int probe_start(void *instance, lsn_probe_fn fn, void (*end)(void *data), void *data)
{
	struct instance *in = instance;
	struct probe *p = in->probe ? NULL : calloc(1, sizeof *p);

	if (!p)
		return in->probe ? -EBUSY : -ENOMEM;
	*p = (struct probe){ .in = in, .fn = fn, .end = end, .data = data };
	int r = engine_start(in->prereq.engine, "GET", "/info", NULL, info_replied, p, &p->call);
	if (r == 0)
		r = in->host->timer(in->host->handle, CALL_USEC, call_ran_out, p, &p->limit);
	if (r < 0) {
		probe_drop_call(p);
		free(p);
		return r;
	}
	in->probe = p;
	return 0;
}

void probe_cancel(struct instance *in)
{
	if (!in->probe)
		return;
	probe_drop_call(in->probe);
	selftest_free(in->probe->selftest);
	free(in->probe);
	in->probe = NULL;
}
