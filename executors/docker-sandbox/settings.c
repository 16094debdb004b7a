/* settings.c - the table of the settings that only a Docker Engine knows. */
#include "settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include <util.h>

static int parse_socket(const char *value, void *field, struct lsn_error *err)
{
	if (str_startswith(value, "unix://"))
		value += strlen("unix://");
	if (*value != '/' || strlen(value) > 107)
		return lsn_error_set(err, -EINVAL, "'%s' is not the absolute path of a unix socket", value);
	return option_set_string(field, value);
}

/* An image or network name goes into URLs: only characters that need no escaping. */
static int parse_name(const char *value, void *field, struct lsn_error *err)
{
	for (const char *p = value; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._/:@-", *p))
			return lsn_error_set(err, -EINVAL, "'%s' is not a name the engine accepts", value);
	if (strstr(value, "..") || strlen(value) > 200)
		return lsn_error_set(err, -EINVAL, "'%s' is not a name the engine accepts", value);
	return option_set_string(field, value);
}

static int parse_image(const char *value, void *field, struct lsn_error *err)
{
	return *value ? parse_name(value, field, err) : lsn_error_set(err, -EINVAL, "the name of an image is missing");
}

static int parse_subnet(const char *value, void *field, struct lsn_error *err)
{
	char plain[64] = "";

	if (*value) {
		int r = option_check_prefix(value, plain, sizeof plain, err);
		if (r < 0)
			return r;
		if (strchr(plain, ':'))
			return lsn_error_set(err, -EINVAL, "'%s': write an IPv4 network", value);
	}
	return option_set_string(field, plain);
}

static const struct option_row rows[] = {
#define S(key, fallback, parse, field, meaning)                                                                        \
	{                                                                                                              \
		key, fallback, parse, offsetof(struct settings, field), meaning                                        \
	}
	S("socket", "/var/run/docker.sock", parse_socket, socket,
	  "Unix socket of the Docker Engine: an absolute path, with or without unix:// in front. The "
	  "listener's user must be allowed to use it."),
	S("image", "listener-sandbox:latest", parse_image, image,
	  "Name or id of the image of the sandboxes. The engine must have it already, because nothing is "
	  "pulled. If the name comes to mean another image, the next job gets a sandbox of that one. The tool "
	  "build-image makes the default image."),
	S("runtime", "", parse_name, runtime,
	  "Name of the OCI runtime of the sandboxes, as the engine knows it. Empty: the engine's default. "
	  "docs/security.md says what is known about runtimes other than runc."),
	S("network_name", "", parse_name, network_name,
	  "Name of the network of the sandboxes in the engine. If no network has this name, it is made. A "
	  "network that does not belong to this listener is refused. Empty: the name is made from the names "
	  "of the listener and of the section."),
	S("subnet", "", parse_subnet, subnet,
	  "IPv4 network of the sandboxes, with an address for each of them. Example: 172.30.0.0/22. Empty: the "
	  "engine chooses one."),
	S("ipv6", "no", option_parse_flag, ipv6,
	  "yes: sandboxes get an IPv6 address (of fd00::/8) as well. no: they get an IPv4 address only. The "
	  "port wall covers IPv4 and IPv6 in both cases. What scripts can reach by IPv6 depends on the "
	  "engine's address translation (ip6tables)."),
	S("engine_timeout", "30s", option_parse_time, engine_timeout_usec,
	  "A request to the engine that is not answered after this time has failed. It must not be 0."),
#undef S
};
static const struct option_table table = { .rows = rows,
					   .count = ELEMENTSOF(rows),
					   .manual = "listenerd-docker-sandbox" };

void options_help(FILE *out)
{
	option_table_help(&table, out);
	option_table_help(&options_pool, out);
}

void settings_clear(struct settings *s)
{
	options_clear(&s->pool);
	free(s->socket);
	free(s->image);
	free(s->runtime);
	free(s->network_name);
	free(s->subnet);
	*s = (struct settings){ 0 };
}

int settings_parse(const struct lsn_option *list, size_t count, struct settings *ret, struct lsn_error *err)
{
	struct settings s = { 0 };
	int r = options_parse(list, count, &table, &s, &s.pool, err);

	if (r == 0 && s.engine_timeout_usec == 0)
		r = lsn_error_set(err, -EINVAL, "engine_timeout must not be 0");
	if (r < 0) {
		settings_clear(&s);
		return r;
	}
	*ret = s;
	return 0;
}
