/* prerequisites.c - one step after the other; whatever fails leads back to the step it belongs
 * to. */
#include "prerequisites.h"
#include "log_line.h"
#include "options.h"
#include "settings.h"

#include <errno.h>

#include <util.h>

#define RETRY_MIN_USEC USEC_PER_SEC
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)

const char *const prerequisite_names[PREREQ_STATE_MAX] = {
	[PREREQ_ENGINE] = "waiting for the engine",  [PREREQ_LIMITS] = "looking at the engine's limits",
	[PREREQ_IMAGE] = "looking for the image",    [PREREQ_NETWORK] = "looking for the network",
	[PREREQ_WALL] = "waiting for the port wall", [PREREQ_UP] = "up",
};

static void step(struct prerequisites *prereq, enum prerequisites_state state);

static void prereq_set_state(struct prerequisites *prereq, enum prerequisites_state state)
{
	bool was = prereq->state == PREREQ_UP;

	if (prereq->state == state)
		return;
	log_line(prereq->host, DEBUG, "prereq: %s -> %s", prerequisite_names[prereq->state], prerequisite_names[state]);
	prereq->state = state;
	if (state == PREREQ_UP) {
		prereq->retry_usec = 0;
		problem_clear(&prereq->problem);
	}
	if (was == (state == PREREQ_UP))
		return;
	prereq->since_realtime_usec = now_realtime_usec();
	prereq->hooks.changed(prereq->hooks.data);
}

static void retry_now(void *data)
{
	struct prerequisites *prereq = data;

	prereq->retry = NULL;
	if (engine_up(prereq->engine))
		step(prereq, prereq->state == PREREQ_LIMITS ? PREREQ_LIMITS : PREREQ_IMAGE);
}

static void retry_later(struct prerequisites *prereq)
{
	prereq->retry_usec = prereq->retry_usec ? prereq->retry_usec * 2 : RETRY_MIN_USEC;
	if (prereq->retry_usec > RETRY_MAX_USEC)
		prereq->retry_usec = RETRY_MAX_USEC;
	if (!prereq->retry)
		(void)prereq->host->timer(prereq->host->handle, prereq->retry_usec, retry_now, prereq, &prereq->retry);
}

static void prereq_trouble(struct prerequisites *prereq, const struct lsn_error *error)
{
	if (!streq(prereq->problem.text, error->message))
		log_line(prereq->host, ERROR, "no sandboxes can be made: %s", error->message);
	problem_set(&prereq->problem, error->message);
	retry_later(prereq);
}

static void network_there(void *data, const struct lsn_error *error)
{
	struct prerequisites *prereq = data;

	if (error)
		prereq_trouble(prereq, error);
	else
		step(prereq, PREREQ_WALL);
}

/* copy_string - of OBJECT's KEY, "" if there is none. */
static void copy_string(const json_t *object, const char *key, char *buf, size_t size)
{
	const char *value = json_string_value(json_object_get(object, key));

	(void)snprintf(buf, size, "%s", value ? value : "");
}

static void note_image(struct prerequisites *prereq, const json_t *image)
{
	const json_t *labels = json_object_get(json_object_get(image, "Config"), "Labels");
	char before[IMAGE_ID_SIZE];

	memcpy(before, prereq->image_id, sizeof before);
	copy_string(labels, ENGINE_LABEL_LIBRARIES, prereq->libraries, sizeof prereq->libraries);
	copy_string(image, "Id", prereq->image_id, sizeof prereq->image_id);
	copy_string(image, "Created", prereq->image_created, sizeof prereq->image_created);
	if (*before && !streq(before, prereq->image_id))
		prereq->hooks.renewed(prereq->hooks.data);
}

static void image_seen(void *data, const struct engine_reply *reply)
{
	struct prerequisites *prereq = data;
	struct lsn_error err = reply->error;

	prereq->call = NULL;
	if (reply->status == 200) {
		note_image(prereq, reply->json);
		step(prereq, prereq->settings->pool.network == NETWORK_NONE ? PREREQ_UP : PREREQ_NETWORK);
		return;
	}
	if (reply->status == 404)
		(void)lsn_error_set(&err, -ENOENT,
				    "image %s not found: build it with build-image, of the folder "
				    "lib/listenerd",
				    prereq->settings->image);
	prereq_trouble(prereq, &err);
}

static void info_seen(void *data, const struct engine_reply *reply)
{
	struct prerequisites *prereq = data;
	struct lsn_error err = reply->error;
	const char *lacks = reply->status == 200 ? engine_lacks(reply->json) : NULL;

	prereq->call = NULL;
	if (reply->status == 200 && !lacks) {
		engine_note_info(prereq->engine, reply->json);
		step(prereq, PREREQ_IMAGE);
		return;
	}
	if (lacks)
		(void)lsn_error_set(
			&err, -ENOTSUP,
			"the engine cannot limit %s: give its host that cgroup controller (docker info shows what "
			"is missing)",
			lacks);
	prereq_trouble(prereq, &err);
}

static int ask_for_image(struct prerequisites *prereq, engine_fn fn, struct engine_call **ret)
{
	char path[300];

	(void)snprintf(path, sizeof path, "/images/%s/json", prereq->settings->image);
	return engine_start(prereq->engine, "GET", path, NULL, fn, prereq, ret);
}

static int take_step(struct prerequisites *prereq, enum prerequisites_state state)
{
	switch (state) {
	case PREREQ_LIMITS: return engine_start(prereq->engine, "GET", "/info", NULL, info_seen, prereq, &prereq->call);
	case PREREQ_IMAGE: return ask_for_image(prereq, image_seen, &prereq->call);
	case PREREQ_NETWORK: return network_ensure(&prereq->network, prereq->engine, network_there, prereq);
	case PREREQ_WALL:
		return wall_up(prereq->wall)
			       ? 1
			       : wall_raise(prereq->wall, prereq->network.bridge, &prereq->settings->pool);
	default: return 0;
	}
}

static void step(struct prerequisites *prereq, enum prerequisites_state state)
{
	prereq_set_state(prereq, state);
	int r = take_step(prereq, state);
	if (r == 1)
		prereq_set_state(prereq, PREREQ_UP);
	if (r < 0) {
		struct lsn_error err;
		(void)lsn_error_set(&err, r, "%s: %s", prerequisite_names[state], strerror(-r));
		prereq_trouble(prereq, &err);
	}
}

static void drop_pending(struct prerequisites *prereq)
{
	engine_cancel(prereq->call);
	engine_cancel(prereq->look);
	prereq->call = prereq->look = NULL;
	network_done(&prereq->network);
	prereq->host->timer_cancel(prereq->host->handle, prereq->retry);
	prereq->retry = NULL;
}

static void engine_changed(void *data)
{
	struct prerequisites *prereq = data;

	drop_pending(prereq);
	images_listen(prereq->images, engine_up(prereq->engine));
	step(prereq, engine_up(prereq->engine) ? PREREQ_LIMITS : PREREQ_ENGINE);
}

/* An image that has gone is missed when a container cannot be made of it. */
static void image_looked_at(void *data, const struct engine_reply *reply)
{
	struct prerequisites *prereq = data;

	prereq->look = NULL;
	if (reply->status == 200)
		note_image(prereq, reply->json);
}

static void images_changed(void *data)
{
	struct prerequisites *prereq = data;

	if (prereq->state <= PREREQ_IMAGE) /* it is looked at in its turn */
		return;
	engine_cancel(prereq->look);
	prereq->look = NULL;
	(void)ask_for_image(prereq, image_looked_at, &prereq->look);
}

static void wall_changed(void *data)
{
	struct prerequisites *prereq = data;

	if (wall_up(prereq->wall) && prereq->state == PREREQ_WALL)
		prereq_set_state(prereq, PREREQ_UP);
	else if (!wall_up(prereq->wall) && prereq->state == PREREQ_UP) {
		prereq_set_state(prereq, PREREQ_WALL);
		retry_later(prereq); /* perhaps the network has gone with its bridge */
	}
	if (wall_up(prereq->wall))
		return;
	char text[256];
	(void)snprintf(text, sizeof text, "port wall: %.200s", wall_state(prereq->wall));
	problem_set(&prereq->problem, text);
}

void prerequisites_recheck(struct prerequisites *prereq)
{
	if (prereq->state != PREREQ_UP)
		return;
	drop_pending(prereq);
	step(prereq, PREREQ_IMAGE);
}

void prerequisites_change_wall(struct prerequisites *prereq)
{
	if (!prereq->wall || prereq->state < PREREQ_WALL)
		return; /* it is made in its turn, of what is known then */
	int r = wall_raise(prereq->wall, prereq->network.bridge, &prereq->settings->pool);
	if (r < 0)
		prereq_trouble(prereq, &(const struct lsn_error){ .code = r, .message = "port wall: out of memory" });
	prereq_set_state(prereq, PREREQ_WALL);
}

bool prerequisites_up(const struct prerequisites *prereq) { return prereq->state == PREREQ_UP; }

int prerequisites_init(struct prerequisites *prereq, const struct lsn_host *host, const struct settings *settings,
		       const struct prerequisites_hooks *hooks, struct lsn_error *err)
{
	const struct wall_hooks wall_hooks = { wall_changed, prereq };
	const struct engine_hooks engine_hooks = { engine_changed, prereq };
	const struct images_hooks images_hooks = { images_changed, prereq };

	*prereq = (struct prerequisites){ .host = host, .settings = settings, .hooks = *hooks };
	prereq->since_realtime_usec = now_realtime_usec();
	network_init(&prereq->network, host, settings);
	if (settings->pool.network == NETWORK_BRIDGE && wall_new(host, &wall_hooks, &prereq->wall) < 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	int r = images_new(host, settings->socket, &images_hooks, &prereq->images, err);
	if (r == 0)
		r = engine_new(host, settings->socket, settings->engine_timeout_usec, &engine_hooks, &prereq->engine,
			       err);
	if (r < 0) {
		images_free(prereq->images);
		wall_free(prereq->wall, false);
	}
	return r;
}

void prerequisites_done(struct prerequisites *prereq, bool remove_wall)
{
	drop_pending(prereq);
	images_free(prereq->images);
	engine_free(prereq->engine);
	wall_free(prereq->wall, remove_wall);
}

void prerequisites_drop(struct prerequisites *prereq)
{
	drop_pending(prereq);
	images_free(prereq->images);
	engine_free(prereq->engine);
	wall_leave(prereq->wall);
}
