/* broker_config.c - copy, compare and free the broker's settings. */
#include "broker_private.h"
#include "cleanup.h"
#include "util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void strv_free(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}

/* strv_copy - NULL stays NULL. */
static int strv_copy(char *const *list, char ***ret)
{
	size_t n = 0;

	*ret = NULL;
	if (!list)
		return 0;
	while (list[n])
		n++;
	char **copy = calloc(n + 1, sizeof *copy);
	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(list[i]);
		if (!copy[i]) {
			strv_free(copy);
			return -ENOMEM;
		}
	}
	*ret = copy;
	return 0;
}

static bool strv_equal(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	while (*a && streq(*a, *b))
		a++, b++;
	return !*a && !*b;
}

static int str_copy(const char *s, char **ret)
{
	*ret = s ? strdup(s) : NULL;
	return s && !*ret ? -ENOMEM : 0;
}

bool broker_config_is_unix(const struct broker_config *config) { return config->host && config->host[0] == '/'; }

int broker_config_copy(const struct broker_config *config, struct broker_config *ret)
{
	struct broker_config copy = *config;
	int r = 0;

	r |= str_copy(config->host, &copy.host);
	r |= str_copy(config->client_id, &copy.client_id);
	r |= str_copy(config->user, &copy.user);
	r |= str_copy(config->password, &copy.password);
	r |= str_copy(config->tls_ca_file, &copy.tls_ca_file);
	r |= str_copy(config->tls_cert_file, &copy.tls_cert_file);
	r |= str_copy(config->tls_key_file, &copy.tls_key_file);
	r |= strv_copy(config->subscriptions, &copy.subscriptions);
	r |= strv_copy(config->unsubscribe, &copy.unsubscribe);
	if (r)
		broker_config_clear(&copy);
	*ret = copy;
	return r ? -ENOMEM : 0;
}

bool broker_config_equal(const struct broker_config *a, const struct broker_config *b)
{
	return streq(a->host, b->host) && a->port == b->port && streq(a->client_id, b->client_id) &&
	       streq(a->user, b->user) && streq(a->password, b->password) && a->version == b->version &&
	       a->keepalive_sec == b->keepalive_sec && a->tls == b->tls && a->tls_verify == b->tls_verify &&
	       streq(a->tls_ca_file, b->tls_ca_file) && streq(a->tls_cert_file, b->tls_cert_file) &&
	       streq(a->tls_key_file, b->tls_key_file) && strv_equal(a->subscriptions, b->subscriptions) &&
	       a->reconnect_min_usec == b->reconnect_min_usec && a->reconnect_max_usec == b->reconnect_max_usec &&
	       a->receive_max == b->receive_max && a->batch_max == b->batch_max;
}

void broker_config_clear(struct broker_config *config)
{
	if (config->password)
		explicit_bzero(config->password, strlen(config->password));
	char *strings[] = { config->host,        config->client_id,     config->user,        config->password,
			    config->tls_ca_file, config->tls_cert_file, config->tls_key_file };
	for (size_t i = 0; i < ELEMENTSOF(strings); i++)
		free(strings[i]);
	strv_free(config->subscriptions);
	strv_free(config->unsubscribe);
	memset(config, 0, sizeof *config);
}
