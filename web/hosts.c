/* hosts.c - see hosts.h. */
#include "hosts.h"

#include <string.h>
#include <strings.h>

#include <util.h>

/* hosts_name - the length of the name that TEXT begins with: up to the port. */
static size_t hosts_name(const char *text)
{
	size_t size = strcspn(text, "]");
	return text[0] == '[' && text[size] ? size + 1 : strcspn(text, ":");
}

bool hosts_add(struct hosts *hosts, const char *name)
{
	if (!*name || name[hosts_name(name)])
		return false;
	for (size_t i = 0; i < HOSTS_MAX; i++) {
		if (hosts->names[i])
			continue;
		hosts->names[i] = name;
		return true;
	}
	return false;
}

bool hosts_allow(const struct hosts *hosts, const char *header)
{
	uint64_t port;
	size_t size = header ? hosts_name(header) : 0;
	if (!size || (header[size] && (header[size] != ':' || parse_uint(header + size + 1, 65535, &port, NULL) < 0)))
		return false;
	for (size_t i = 0; i < HOSTS_MAX && hosts->names[i]; i++)
		if (strlen(hosts->names[i]) == size && strncasecmp(hosts->names[i], header, size) == 0)
			return true;
	return false;
}
