/* site.c - one step after the other; whatever fails leads back to the step it belongs to. */
#include "site.h"

#include <errno.h>

#include <util.h>

#include "say.h"

#define RETRY_MIN_USEC USEC_PER_SEC
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)

const char *const site_state_names[SITE_STATE_MAX] = {
	[SITE_ENGINE] = "waiting for the engine", [SITE_LIMITS] = "looking at the engine's limits", [SITE_IMAGE] = "looking for the image",
	[SITE_NETWORK] = "looking for the network", [SITE_WALL] = "waiting for the port wall", [SITE_UP] = "up",
};

static void step(struct site *site, enum site_state state);

static void set_state(struct site *site, enum site_state state)
{
	bool was = site->state == SITE_UP;

	if (site->state == state)
		return;
	say(site->host, DEBUG, "site: %s -> %s", site_state_names[site->state], site_state_names[state]);
	site->state = state;
	if (state == SITE_UP) {
		site->retry_usec = 0;
		*site->problem = 0;
	}
	if (was != (state == SITE_UP))
		site->changed(site->data);
}

static void retry_now(void *data)
{
	struct site *site = data;

	site->retry = NULL;
	if (engine_up(site->engine))
		step(site, site->state == SITE_LIMITS ? SITE_LIMITS : SITE_IMAGE);
}

static void retry_later(struct site *site)
{
	site->retry_usec = site->retry_usec ? site->retry_usec * 2 : RETRY_MIN_USEC;
	if (site->retry_usec > RETRY_MAX_USEC)
		site->retry_usec = RETRY_MAX_USEC;
	if (!site->retry)
		(void)site->host->timer(site->host->handle, site->retry_usec, retry_now, site, &site->retry);
}

static void trouble(struct site *site, const struct lsn_error *error)
{
	if (!streq(site->problem, error->message))
		say(site->host, ERROR, "no sandboxes can be made: %s", error->message);
	(void)snprintf(site->problem, sizeof site->problem, "%.250s", error->message);
	retry_later(site);
}

static void network_there(void *data, const struct lsn_error *error)
{
	struct site *site = data;

	if (error)
		trouble(site, error);
	else
		step(site, SITE_WALL);
}

static void image_seen(void *data, const struct engine_reply *reply)
{
	struct site *site = data;
	struct lsn_error err = reply->error;

	site->call = NULL;
	if (reply->status == 200) {
		step(site, site->options->network == NETWORK_NONE ? SITE_UP : SITE_NETWORK);
		return;
	}
	if (reply->status == 404)
		(void)lsn_error_set(&err, -ENOENT, "image %s not found: build it with `tools/build-image`", site->options->image);
	trouble(site, &err);
}

static void info_seen(void *data, const struct engine_reply *reply)
{
	struct site *site = data;
	struct lsn_error err = reply->error;
	const char *lacks = reply->status == 200 ? engine_lacks(reply->json) : NULL;

	site->call = NULL;
	if (reply->status == 200 && !lacks) {
		step(site, SITE_IMAGE);
		return;
	}
	if (lacks)
		(void)lsn_error_set(&err, -ENOTSUP, "the engine cannot limit %s: give its host that cgroup controller (docker info shows what is missing)", lacks);
	trouble(site, &err);
}

static int take_step(struct site *site, enum site_state state)
{
	char path[300];

	switch (state) {
	case SITE_LIMITS:
		return engine_start(site->engine, "GET", "/info", NULL, info_seen, site, &site->call);
	case SITE_IMAGE:
		(void)snprintf(path, sizeof path, "/images/%s/json", site->options->image);
		return engine_start(site->engine, "GET", path, NULL, image_seen, site, &site->call);
	case SITE_NETWORK:
		return network_ensure(&site->network, site->engine, network_there, site);
	case SITE_WALL:
		return wall_up(site->wall) ? 1 : wall_raise(site->wall, site->network.bridge, site->options);
	default:
		return 0;
	}
}

static void step(struct site *site, enum site_state state)
{
	set_state(site, state);
	int r = take_step(site, state);
	if (r == 1)
		set_state(site, SITE_UP);
	if (r < 0) {
		struct lsn_error err;
		(void)lsn_error_set(&err, r, "%s: %s", site_state_names[state], strerror(-r));
		trouble(site, &err);
	}
}

static void drop_pending(struct site *site)
{
	engine_cancel(site->call);
	site->call = NULL;
	network_done(&site->network);
	site->host->timer_cancel(site->host->handle, site->retry);
	site->retry = NULL;
}

static void engine_changed(void *data)
{
	struct site *site = data;

	drop_pending(site);
	step(site, engine_up(site->engine) ? SITE_LIMITS : SITE_ENGINE);
}

static void wall_changed(void *data)
{
	struct site *site = data;

	if (wall_up(site->wall) && site->state == SITE_WALL)
		set_state(site, SITE_UP);
	else if (!wall_up(site->wall) && site->state == SITE_UP) {
		set_state(site, SITE_WALL);
		retry_later(site); /* perhaps the network has gone with its bridge */
	}
	if (!wall_up(site->wall))
		(void)snprintf(site->problem, sizeof site->problem, "port wall: %.200s", wall_state(site->wall));
}

void site_recheck(struct site *site)
{
	if (site->state != SITE_UP)
		return;
	drop_pending(site);
	step(site, SITE_IMAGE);
}

bool site_up(const struct site *site)
{
	return site->state == SITE_UP;
}

int site_init(struct site *site, const struct lsn_host *host, const struct options *options, void (*changed)(void *data), void *data,
	      struct lsn_error *err)
{
	struct wall_hooks wall_hooks = { wall_changed, site };
	struct engine_hooks engine_hooks = { engine_changed, site };

	*site = (struct site){ .host = host, .options = options, .changed = changed, .data = data };
	network_init(&site->network, host, options);
	if (options->network == NETWORK_BRIDGE && wall_new(host, &wall_hooks, &site->wall) < 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	int r = engine_new(host, options->socket, options->engine_timeout_usec, &engine_hooks, &site->engine, err);
	if (r < 0)
		wall_free(site->wall, false);
	return r;
}

void site_done(struct site *site, bool remove_wall)
{
	drop_pending(site);
	engine_free(site->engine);
	wall_free(site->wall, remove_wall);
}
