/* config_check.c - names, defaults that depend on other keys, and checks that concern several
 * keys. */
#include "config_private.h"
#include "source.h"
#include "topic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <util.h>

/* -------------------------------------------------------------------------------------- look-up */

const struct config_section *config_find(const struct config_loader *loader, const char *type_name)
{
	const struct config_section *section;

	TAILQ_FOREACH (section, &loader->sections, link)
		if (streq(section->type->name, type_name))
			return section;
	return NULL;
}

int config_item_index(const struct config_section_type *type, const char *key)
{
	for (size_t i = 0; i < type->item_count; i++)
		if (streq(type->items[i].key, key))
			return (int)i;
	return -1;
}

/* -------------------------------------------------------------------------------------- derived */

__attribute__((format(printf, 2, 3))) static int derive(char **target, const char *format, ...)
{
	va_list ap;
	int n;

	if (*target)
		return 0;
	va_start(ap, format);
	n = vasprintf(target, format, ap);
	va_end(ap);
	if (n >= 0)
		return 0;
	*target = NULL;
	return -ENOMEM;
}

int config_derive(struct config *config, struct lsn_error *err)
{
	for (size_t i = 0; i < config->executors.executor_count; i++) {
		struct executor_config *e = &config->executors.executors[i];
		if (!e->module[0])
			memcpy(e->module, e->name, sizeof e->module);
	}
	if (config->broker.port == 0)
		config->broker.port = config->broker.tls ? 8883 : 1883;
	/* A key that was set to nothing stays empty: config_check() reports it. */
	if (!config->identity || !config->state_dir || !config->run_dir || !config->libexec_dir)
		return 0;
	if (derive(&config->broker.client_id, "listenerd-%s", config->identity) < 0 ||
	    derive(&config->journal.path, "%s/journal.db", config->state_dir) < 0 ||
	    derive(&config->source.directory, "%s/scripts", config->state_dir) < 0 ||
	    derive(&config->control.socket, "%s/control", config->run_dir) < 0 ||
	    derive(&config->executors.run_dir, "%s/executors", config->run_dir) < 0 ||
	    derive(&config->executors.libexec_dir, "%s", config->libexec_dir) < 0 ||
	    derive(&config->executors.listener, "%s", config->identity) < 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* --------------------------------------------------------------------------------------- checks */

int config_complain(const struct config_section *section, const char *key, struct lsn_error *err, const char *format,
		    ...)
{
	int index = key ? config_item_index(section->type, key) : -1;
	struct config_origin origin = index >= 0 ? section->origins[index] : section->place;
	char text[LSN_ERROR_MESSAGE_SIZE];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	(void)lsn_error_set(err, -EINVAL, "%s", text);
	if (key)
		(void)lsn_error_prefix(err, -EINVAL, "%s", key);
	if (origin.file)
		return lsn_error_prefix(err, -EINVAL, "%s:%u", origin.file, origin.line);
	return lsn_error_prefix(err, -EINVAL, "[%s]", section->heading);
}

/* set_one - of two keys that contradict each other, the one that was set: a default is not a
 * mistake of the operator. */
static const char *set_one(const struct config_section *section, const char *a, const char *b)
{
	int index = config_item_index(section->type, a);

	return index >= 0 && section->origins[index].file ? a : b;
}

static int check_listener(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	static const char *const keys[] = { "state_dir", "run_dir", "libexec_dir" };
	const char *const paths[] = { config->state_dir, config->run_dir, config->libexec_dir };

	if (!config->identity || !config_name_valid(config->identity, false))
		return config_complain(section, "identity", err,
				       "\"%s\" is not a name; use 1 to 32 of a-z, 0-9 and '-'",
				       config->identity ? config->identity : "");
	for (size_t i = 0; i < ELEMENTSOF(keys); i++)
		if (!paths[i])
			return config_complain(section, keys[i], err, "cannot be empty");
	return 0;
}

static int check_subscriptions(char *const *list, const struct config_section *section, struct lsn_error *err)
{
	struct lsn_error why;

	if (!list || !list[0])
		return config_complain(
			section, "subscriptions", err,
			"the list is empty, so no event would come; name at least one filter, such as create/#");
	for (size_t i = 0; list[i]; i++) {
		if (topic_check_subscription(list[i], strlen(list[i]), &why) < 0)
			return config_complain(section, "subscriptions", err, "\"%.100s\": %s", list[i], why.message);
		for (size_t j = 0; j < i; j++)
			if (topic_filters_overlap(topic_subscription_filter(list[i]),
						  topic_subscription_filter(list[j])))
				return config_complain(
					section, "subscriptions", err,
					"\"%.100s\" and \"%.100s\" overlap: the broker would deliver an event once "
					"for each of them, and scripts would run twice",
					list[j], list[i]);
	}
	return 0;
}

static int check_tls(const struct broker_config *b, const struct config_section *section, struct lsn_error *err)
{
	if (!b->tls_cert_file != !b->tls_key_file)
		return config_complain(section, b->tls_cert_file ? "tls_cert_file" : "tls_key_file", err,
				       "set tls_cert_file and tls_key_file together: %s is missing",
				       b->tls_cert_file ? "tls_key_file" : "tls_cert_file");
	if (b->tls)
		return 0;
	if (b->tls_cert_file || b->tls_ca_file)
		return config_complain(section, b->tls_cert_file ? "tls_cert_file" : "tls_ca_file", err,
				       "has no effect without tls = yes");
	return 0;
}

/* host_problem - why HOST can be no host, for people; NULL: it can. */
static const char *host_problem(const char *host)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
	unsigned char address[sizeof(struct in6_addr)];
	char scoped[INET6_ADDRSTRLEN] = "";

	if (host[0] == '/')
		return NULL;
	/* fe80::1%eth0 */
	(void)snprintf(scoped, sizeof scoped, "%.*s", (int)strcspn(host, "%"), host);
	if (inet_pton(AF_INET6, scoped, address) == 1)
		return NULL;
	if (strpbrk(host, "\"'"))
		return "leave the quotation marks out";
	if (strpbrk(host, " \t;#"))
		return "a host has no blanks; write a comment on a line of its own";
	if (strstr(host, "://"))
		return "leave the scheme out and write the port in the key port; for TLS set tls = yes";
	if (strpbrk(host, "[]"))
		return "leave the brackets out; write the port in the key port";
	if (strchr(host, '/'))
		return "the path of a unix socket begins with a slash";
	if (strchr(host, ':'))
		return "write the port in the key port";
	if (host[strspn(host, plain)] || strlen(host) > 253)
		return "a host is a name, an address or the path of a unix socket";
	return NULL;
}

static int check_host(const struct broker_config *b, const struct config_section *section, struct lsn_error *err)
{
	if (!b->host)
		return config_complain(section, "host", err, "cannot be empty");
	const char *problem = host_problem(b->host);
	return problem ? config_complain(section, "host", err, "\"%.200s\" is no host: %s", b->host, problem) : 0;
}

static int check_broker(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	const struct broker_config *b = &config->broker;

	int r = check_host(b, section, err);
	if (r < 0)
		return r;
	if (!b->client_id || strlen(b->client_id) > 65535)
		return config_complain(section, "client_id", err, "must have 1 to 65535 bytes");
	if (b->password && !b->user)
		return config_complain(section, "password", err, "there is a password but no user; set user too");
	if (b->reconnect_min_usec > b->reconnect_max_usec)
		return config_complain(section, set_one(section, "reconnect_min", "reconnect_max"), err,
				       "reconnect_min is longer than reconnect_max");
	r = check_tls(b, section, err);
	return r < 0 ? r : check_subscriptions(b->subscriptions, section, err);
}

static bool url_usable(const char *url)
{
	const char *host = str_startswith(url, "https://")  ? url + strlen("https://")
			   : str_startswith(url, "http://") ? url + strlen("http://")
							    : NULL;

	return host && *host && *host != '/' && *host != ':' && !strpbrk(url, " \t?#");
}

static int check_scripts(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	const struct source_config *s = &config->source;

	if (!s->collection || s->collection[0] != '/')
		return config_complain(section, "collection", err, "must be a path in the archive, such as /scripts");
	if (s->collection[strspn(s->collection, "/")] == '\0')
		return config_complain(section, "collection", err,
				       "must not be the whole archive, because then no event would ever run a script");
	if (s->password && !s->user)
		return config_complain(section, "password", err, "there is a password but no user; set user too");
	if (s->kind != SOURCE_CDMI)
		return 0;
	if (!s->url)
		return config_complain(section, "source", err, "cdmi needs the archive's address: set url");
	if (!url_usable(s->url))
		return config_complain(section, "url", err,
				       "\"%.200s\" is not an address like https://archive.example.org/api/cdmi",
				       s->url);
	if (strchr(s->url + strlen("https://"), '@'))
		return config_complain(section, "url", err,
				       "leave user and password out of the address; write them in the keys user and "
				       "password");
	return 0;
}

static int check_limits(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	const struct script_policy *p = &config->policy;

	if (p->defaults.timeout_usec > p->timeout_max_usec)
		return config_complain(section, set_one(section, "timeout", "timeout_max"), err,
				       "timeout is longer than timeout_max");
	if (p->defaults.memory_bytes > p->memory_max_bytes)
		return config_complain(section, set_one(section, "memory", "memory_max"), err,
				       "memory is more than memory_max");
	if (p->defaults.retries > p->retries_max)
		return config_complain(section, set_one(section, "retries", "retries_max"), err,
				       "retries is more than retries_max");
	if (p->defaults.retry_delay_usec > p->retry_delay_max_usec)
		return config_complain(section, set_one(section, "retry_delay", "retry_delay_max"), err,
				       "retry_delay is longer than retry_delay_max");
	return 0;
}

static const struct executor_config *executor_named(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->executors.executor_count; i++)
		if (streq(config->executors.executors[i].name, name))
			return &config->executors.executors[i];
	return NULL;
}

static int no_executor(const struct config *config, const struct config_section *section, const char *key,
		       const char *name, struct lsn_error *err)
{
	char all[200] = "";
	size_t used = 0;

	for (size_t i = 0; i < config->executors.executor_count && used < sizeof all; i++)
		used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "",
					 config->executors.executors[i].name);
	return config_complain(
		section, key, err, "there is no [executor %s]; these exist: %s%s", name, all,
		streq(name, "docker-sandbox") ? "; if any executor has a section, each executor needs one" : "");
}

static int check_dispatcher(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	if (!executor_named(config, config->dispatch.default_executor))
		return no_executor(config, section, "default_executor", config->dispatch.default_executor, err);
	return 0;
}

static int check_route(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	const struct route_config *route = section->base;
	struct lsn_error why;

	if (!route->executor[0])
		return config_complain(section, NULL, err, "route %s has no executor", route->name);
	if (!executor_named(config, route->executor))
		return no_executor(config, section, "executor", route->executor, err);
	if (route->filter && topic_check_filter(route->filter, strlen(route->filter), &why) < 0)
		return config_complain(section, "filter", err, "%s", why.message);
	return 0;
}

static int check_executor(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	const struct executor_config *e = section->base;

	(void)config;
	if (!config_name_valid(e->module[0] ? e->module : e->name, false))
		return config_complain(section, e->module[0] ? "module" : NULL, err,
				       "\"%s\" cannot be the name of a module (a-z, 0-9, '-'); set module",
				       e->module[0] ? e->module : e->name);
	return 0;
}

static int check_executors(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	return config->executors.folder ? 0 : config_complain(section, "folder", err, "cannot be empty");
}

static int check_people(char *const *list, const struct config_section *section, const char *key, struct lsn_error *err)
{
	for (size_t i = 0; list && list[i]; i++)
		if (streq(list[i], "@") || strpbrk(list[i], ",:/"))
			return config_complain(section, key, err,
					       "\"%.100s\" is neither a user nor a @group; separate names by blanks",
					       list[i]);
	return 0;
}

static int check_control(const struct config *config, const struct config_section *section, struct lsn_error *err)
{
	const struct control_config *c = &config->control;
	int r;

	if (c->socket && strlen(c->socket) > 107) /* sun_path */
		return config_complain(section, "socket", err,
				       "the path of a socket can have at most 107 bytes; choose a shorter one");
	r = check_people(c->readers, section, "readers", err);
	if (r >= 0)
		r = check_people(c->testers, section, "testers", err);
	return r < 0 ? r : check_people(c->operators, section, "operators", err);
}

int config_check(const struct config_loader *loader, struct lsn_error *err)
{
	static const struct {
		const char *name;
		int (*check)(const struct config *config, const struct config_section *section, struct lsn_error *err);
	} checks[] = {
		{ "listener", check_listener },   { "broker", check_broker },         { "scripts", check_scripts },
		{ "limits", check_limits },       { "executor", check_executor },     { "route", check_route },
		{ "executors", check_executors }, { "dispatcher", check_dispatcher }, { "control", check_control },
	};

	for (const struct config_section *section = TAILQ_FIRST(&loader->sections); section;
	     section = TAILQ_NEXT(section, link)) {
		for (size_t i = 0; i < ELEMENTSOF(checks); i++) {
			int r = streq(section->type->name, checks[i].name)
					? checks[i].check(loader->config, section, err)
					: 0;
			if (r < 0)
				return r;
		}
	}
	return 0;
}
