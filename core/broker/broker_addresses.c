/* broker_addresses.c - which of the host's addresses is tried next, and which of their failures
 * is worth telling. */
#include "broker_private.h"

#include <arpa/inet.h>
#include <string.h>

#include <util.h>

bool broker_config_is_unix(const struct broker_config *config) { return config->host && config->host[0] == '/'; }

bool broker_addresses_needed(const struct broker_config *config)
{
	unsigned char address[sizeof(struct in6_addr)];

	return !broker_config_is_unix(config) && inet_pton(AF_INET, config->host, address) != 1 &&
	       inet_pton(AF_INET6, config->host, address) != 1 && !strchr(config->host, '%');
}

void broker_addresses_set(struct broker_addresses *addresses, const struct broker_config *config,
			  const struct resolved *found)
{
	*addresses = (struct broker_addresses){ .list.count = 1 };
	if (found)
		addresses->list = *found;
	else
		(void)snprintf(addresses->list.addresses[0], sizeof addresses->list.addresses[0], "%s", config->host);
}

const char *broker_addresses_current(const struct broker_addresses *addresses)
{
	return addresses->list.addresses[addresses->next];
}

static void addresses_note(struct broker_addresses *addresses, enum broker_reach reach, const char *reason)
{
	if (addresses->reason[0] && reach <= addresses->best)
		return;
	addresses->best = reach;
	if (addresses->list.count > 1)
		(void)snprintf(addresses->reason, sizeof addresses->reason, "%s: %s",
			       broker_addresses_current(addresses), reason);
	else
		(void)snprintf(addresses->reason, sizeof addresses->reason, "%s", reason);
}

bool broker_addresses_failed(struct broker_addresses *addresses, enum broker_reach reach, char *reason, size_t size)
{
	if (addresses->list.count == 0)
		return false;
	addresses_note(addresses, reach, reason);
	if (++addresses->next < addresses->list.count)
		return true;
	(void)snprintf(reason, size, "%s", addresses->reason);
	*addresses = (struct broker_addresses){ 0 };
	return false;
}
