/* probe.c - what `listenerctl doctor` asks of this executor: the engine and what it says about itself, image, network, walls. */
#include <errno.h>
#include <stdlib.h>

#include <util.h>

#include "executor.h"

struct probe {
	struct instance *in;
	lsn_probe_fn fn;
	void (*end)(void *data);
	void *data;
	struct engine_call *call;
};

static void probe_end(struct probe *p)
{
	void (*end)(void *data) = p->end;
	void *data = p->data;

	p->in->probe = NULL;
	free(p);
	end(data);
}

static void probe_walls(struct probe *p)
{
	struct instance *in = p->in;
	char text[400];

	if (in->site.wall) {
		(void)snprintf(text, sizeof text, "port wall: %.250s", wall_state(in->site.wall));
		p->fn(p->data, wall_up(in->site.wall) ? LSN_PROBE_OK : LSN_PROBE_FAILURE, text,
		      wall_up(in->site.wall) ? NULL : "see the message; portwall needs CAP_NET_ADMIN and the engine's network namespace");
	}
	if (!in->pool.landlock_known)
		p->fn(p->data, LSN_PROBE_WARNING, "no sandbox has been warm yet", "look at the executor's problem with `listenerctl executors`");
	else {
		bool tcp = in->pool.landlock_abi >= 4;
		(void)snprintf(text, sizeof text, "Landlock ABI %u%s", in->pool.landlock_abi, tcp ? "" : ": no TCP port rules");
		p->fn(p->data, tcp ? LSN_PROBE_OK : LSN_PROBE_WARNING, text,
		      tcp ? NULL : "Linux 6.7 or later gives the second wall; the port wall holds without it");
	}
}

static void info_replied(void *data, const struct engine_reply *reply)
{
	struct probe *p = data;
	const struct instance *in = p->in;
	char text[400];

	p->call = NULL;
	if (reply->status != 200) {
		(void)snprintf(text, sizeof text, "engine at %.120s: %.200s", in->options.socket, reply->error.message);
		p->fn(p->data, LSN_PROBE_FAILURE, text, "start the Docker Engine, and see that the listener may use its socket");
		probe_end(p);
		return;
	}
	bool live = json_is_true(json_object_get(reply->json, "LiveRestoreEnabled"));
	(void)snprintf(text, sizeof text, "engine %s, live-restore %s", engine_version(in->site.engine), live ? "on" : "off");
	p->fn(p->data, LSN_PROBE_OK, text, NULL);
	if (!live)
		p->fn(p->data, LSN_PROBE_WARNING, "a restart of the engine ends running jobs", "\"live-restore\": true in /etc/docker/daemon.json");
	(void)snprintf(text, sizeof text, "sandboxes: %s%s%.250s", site_state_names[in->site.state], *in->site.problem ? ": " : "",
		       in->site.problem);
	p->fn(p->data, site_up(&in->site) ? LSN_PROBE_OK : LSN_PROBE_FAILURE, text, site_up(&in->site) ? NULL : "see the message");
	probe_walls(p);
	probe_end(p);
}

int probe_start(void *instance, lsn_probe_fn fn, void (*end)(void *data), void *data)
{
	struct instance *in = instance;
	struct probe *p = in->probe ? NULL : calloc(1, sizeof *p);

	if (!p)
		return in->probe ? -EBUSY : -ENOMEM;
	*p = (struct probe){ .in = in, .fn = fn, .end = end, .data = data };
	int r = engine_start(in->site.engine, "GET", "/info", NULL, info_replied, p, &p->call);
	if (r < 0) {
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
	engine_cancel(in->probe->call);
	free(in->probe);
	in->probe = NULL;
}
