/* network.c - the bridge network: no traffic between containers, a bridge whose name we know, so
 * that the port wall can name it. */
#include "network.h"

#include <errno.h>
#include <stdlib.h>

#include <cleanup.h>
#include <util.h>

#include "log_line.h"
#include "room.h"
#include "wall_request.h"

#define OPTION_BRIDGE "com.docker.network.bridge.name"
#define OPTION_ICC "com.docker.network.bridge.enable_icc"
#define OPTION_MASQUERADE "com.docker.network.bridge.enable_ip_masquerade"

static uint64_t hash(uint64_t seed, const char *text)
{
	for (; *text; text++)
		seed = (seed ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return (seed ^ 0xff) * UINT64_C(0x100000001b3);
}

/* Different settings give a different network, beside the old one while that is still in use. */
void network_init(struct network *network, const struct lsn_host *host, const struct settings *settings)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	*network = (struct network){ .host = host, .settings = settings, .addresses = ROOM_UNLIMITED };
	h = hash(hash(hash(h, host->listener), host->instance), settings->network_name);
	h = hash(hash(h, settings->subnet), settings->ipv6 ? "6" : "4");
	(void)snprintf(network->bridge, sizeof network->bridge, WALL_BRIDGE_PREFIX "%08x", (unsigned)(h ^ h >> 32));
	if (*settings->network_name)
		(void)snprintf(network->name, sizeof network->name, "%.120s", settings->network_name);
	else
		(void)snprintf(network->name, sizeof network->name, "listener-%s-%s-%s", host->listener, host->instance,
			       network->bridge + 3);
}

static void network_finish(struct network *network, const struct lsn_error *error)
{
	network->done(network->data, error);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

/* Is what bears the name ours, and as we would make it? */
static int check(const struct network *network, const json_t *json, struct lsn_error *err)
{
	const json_t *options = json_object_get(json, "Options"), *labels = json_object_get(json, "Labels");

	if (!streq(text_of(labels, ENGINE_LABEL_LISTENER), network->host->listener) ||
	    !streq(text_of(labels, ENGINE_LABEL_INSTANCE), network->host->instance))
		return lsn_error_set(err, -EEXIST,
				     "network %s exists and is not this listener's: choose another network_name",
				     network->name);
	if (!streq(text_of(json, "Driver"), "bridge") || !streq(text_of(options, OPTION_BRIDGE), network->bridge) ||
	    !streq(text_of(options, OPTION_ICC), "false"))
		return lsn_error_set(err, -EEXIST,
				     "network %s was made with other settings: remove it (docker network rm %s)",
				     network->name, network->name);
	return 0;
}

static json_t *ipam(const struct network *network)
{
	json_t *config = json_array();
	const char *subnet = network->settings->subnet, *hex = network->bridge + 3;
	char ula[64];

	if (*subnet)
		(void)json_array_append_new(config, json_pack("{s:s}", "Subnet", subnet));
	if (network->settings->ipv6) {
		(void)snprintf(ula, sizeof ula, "fd%.2s:%.4s:%.2s00::/64", hex, hex + 2, hex + 6);
		(void)json_array_append_new(config, json_pack("{s:s}", "Subnet", ula));
	}
	return json_pack("{s:s, s:o}", "Driver", "default", "Config", config);
}

static json_t *spec(const struct network *network)
{
	return json_pack("{s:s, s:s, s:b, s:b, s:b, s:o, s:{s:s, s:s, s:s}, s:{s:s, s:s}}", "Name", network->name,
			 "Driver", "bridge", "CheckDuplicate", 1, "Internal", 0, "EnableIPv6",
			 (int)network->settings->ipv6, "IPAM", ipam(network), "Options", OPTION_BRIDGE, network->bridge,
			 OPTION_ICC, "false", OPTION_MASQUERADE, "true", "Labels", ENGINE_LABEL_LISTENER,
			 network->host->listener, ENGINE_LABEL_INSTANCE, network->host->instance);
}

/* How many sandboxes its IPv4 addresses suffice for. */
static uint32_t count_addresses(const json_t *json)
{
	const json_t *config = json_object_get(json_object_get(json, "IPAM"), "Config"), *item;
	size_t i;

	json_array_foreach (config, i, item) {
		uint32_t count = room_addresses(text_of(item, "Subnet"));
		if (count > 0)
			return count;
	}
	return ROOM_UNLIMITED;
}

static int network_look(struct network *network, const char *method, engine_fn fn)
{
	char path[160];

	(void)snprintf(path, sizeof path, "/networks/%s", network->name);
	return engine_start(network->engine, method, path, NULL, fn, network, &network->call);
}

static void addresses_counted(void *data, const struct engine_reply *reply)
{
	struct network *network = data;

	network->call = NULL;
	if (reply->status == 200)
		network->addresses = count_addresses(reply->json);
	network_finish(network, NULL);
}

static void network_created(void *data, const struct engine_reply *reply)
{
	struct network *network = data;
	struct lsn_error err = reply->error;

	network->call = NULL;
	if (reply->status != 201) {
		(void)lsn_error_prefix(&err, err.code, "network %s", network->name);
		network_finish(network, &err);
		return;
	}
	log_line(network->host, INFO, "network %s (bridge %s) made", network->name, network->bridge);
	network->broken = false;
	if (network_look(network, "GET", addresses_counted) < 0) /* the engine has chosen them */
		network_finish(network, NULL);
}

static void make(struct network *network)
{
	struct lsn_error err;

	if (engine_start(network->engine, "POST", "/networks/create", spec(network), network_created, network,
			 &network->call) == 0)
		return;
	(void)lsn_error_set(&err, -ENOMEM, "out of memory");
	network_finish(network, &err);
}

static void network_removed(void *data, const struct engine_reply *reply)
{
	struct network *network = data;

	network->call = NULL;
	if (reply->status == 204 || reply->status == 404)
		make(network);
	else if (reply->status == 403) { /* containers are in it, so it is whole */
		network->broken = false;
		network_finish(network, NULL);
	} else
		network_finish(network, &reply->error);
}

static void inspected(void *data, const struct engine_reply *reply)
{
	struct network *network = data;
	struct lsn_error err = reply->error;

	network->call = NULL;
	if (reply->status == 404) {
		make(network);
		return;
	}
	if (reply->status == 200 && network->broken && check(network, reply->json, &err) == 0) {
		log_line(network->host, WARNING,
			 "no container starts in network %s, which the engine lists: making it anew", network->name);
		if (network_look(network, "DELETE", network_removed) == 0)
			return;
		(void)lsn_error_set(&err, -ENOMEM, "out of memory");
	} else if (reply->status == 200 && check(network, reply->json, &err) == 0) {
		network->addresses = count_addresses(reply->json);
		network_finish(network, NULL);
		return;
	}
	network_finish(network, &err);
}

static void network_drop_call(struct network *network)
{
	engine_cancel(network->call);
	network->call = NULL;
}

int network_ensure(struct network *network, struct engine *engine,
		   void (*done)(void *data, const struct lsn_error *error), void *data)
{
	network_drop_call(network);
	network->engine = engine;
	network->done = done;
	network->data = data;
	return network_look(network, "GET", inspected);
}

static void old_network_removed(void *data, const struct engine_reply *reply) { (void)data, (void)reply; }

/* A network in use cannot be removed, so asking is harmless. */
static void networks_listed(void *data, const struct engine_reply *reply)
{
	struct network *network = data;
	size_t i;
	json_t *item;

	network->prune = NULL;
	if (reply->status != 200)
		return;
	json_array_foreach (reply->json, i, item) {
		const char *id = text_of(item, "Id"), *name = text_of(item, "Name");
		char path[160];
		if (strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64 || !*name || streq(name, network->name))
			continue;
		(void)snprintf(path, sizeof path, "/networks/%s", id);
		(void)engine_start(network->engine, "DELETE", path, NULL, old_network_removed, NULL, NULL);
	}
}

void network_prune(struct network *network, struct engine *engine)
{
	_cleanup_free_ char *path = engine_path_own(network->host, "/networks?filters=");

	engine_cancel(network->prune);
	network->prune = NULL;
	network->engine = engine;
	if (path)
		(void)engine_start(engine, "GET", path, NULL, networks_listed, network, &network->prune);
}

void network_done(struct network *network)
{
	network_drop_call(network);
	engine_cancel(network->prune);
	network->prune = NULL;
}
