/* content.c - see content.h. */
#include "content.h"
#include "util.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TAILQ_HEAD(content_list, content);

struct contents {
	struct table by_name;
	struct content_list used;
	struct content_list kept; /* the one given back last comes last */
	unsigned kept_count, count_max;
	size_t kept_bytes, bytes_max;
};

/* FNV-1a */
static uint64_t key_of(const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return hash;
}

int contents_new(unsigned count, size_t bytes, struct contents **ret)
{
	struct contents *set = calloc(1, sizeof *set);

	if (!set)
		return -ENOMEM;
	table_init(&set->by_name);
	TAILQ_INIT(&set->used);
	TAILQ_INIT(&set->kept);
	set->count_max = count;
	set->bytes_max = bytes;
	*ret = set;
	return 0;
}

static void content_close(struct content *content)
{
	(void)close(content->fd);
	free(content);
}

static void kept_remove(struct contents *set, struct content *content)
{
	TAILQ_REMOVE(&set->kept, content, entry);
	set->kept_count--;
	set->kept_bytes -= content->size;
}

static void kept_drop_oldest(struct contents *set)
{
	struct content *content = TAILQ_FIRST(&set->kept);

	kept_remove(set, content);
	table_remove(&set->by_name, &content->link);
	content_close(content);
}

unsigned contents_trim(struct contents *set)
{
	unsigned count = set->kept_count;

	while (set->kept_count > 0)
		kept_drop_oldest(set);
	return count;
}

void contents_free(struct contents *set)
{
	struct content *content;

	if (!set)
		return;
	(void)contents_trim(set);
	TAILQ_FOREACH (content, &set->used, entry)
		content->set = NULL;
	table_done(&set->by_name);
	free(set);
}

struct content *contents_find(struct contents *set, const char *name)
{
	for (struct table_link *link = table_find(&set->by_name, key_of(name)); link; link = table_next(link)) {
		struct content *content = container_of(link, struct content, link);
		if (!streq(content->name, name))
			continue;
		if (content->refs++ == 0) {
			kept_remove(set, content);
			TAILQ_INSERT_TAIL(&set->used, content, entry);
		}
		return content;
	}
	return NULL;
}

int contents_make(struct contents *set, const char *name, const void *bytes, size_t size, struct content **ret)
{
	struct content *content = calloc(1, sizeof *content);

	if (!content)
		return -ENOMEM;
	content->fd = memfd_sealed("content", bytes, size);
	if (content->fd < 0) {
		int r = content->fd;
		free(content);
		return r;
	}
	content->refs = 1;
	content->size = size;
	content->set = set;
	(void)snprintf(content->name, sizeof content->name, "%s", name);
	table_add(&set->by_name, &content->link, key_of(content->name));
	TAILQ_INSERT_TAIL(&set->used, content, entry);
	*ret = content;
	return 0;
}

int content_adopt(int fd, size_t size, struct content **ret)
{
	struct content *content = calloc(1, sizeof *content);

	if (!content)
		return -ENOMEM;
	*content = (struct content){ .refs = 1, .fd = fd, .size = size };
	*ret = content;
	return 0;
}

struct content *content_ref(struct content *content)
{
	assert(content->refs > 0);
	content->refs++;
	return content;
}

struct content *content_unref(struct content *content)
{
	if (!content)
		return NULL;
	assert(content->refs > 0);
	if (--content->refs > 0)
		return NULL;
	struct contents *set = content->set;
	if (!set) {
		content_close(content);
		return NULL;
	}
	TAILQ_REMOVE(&set->used, content, entry);
	TAILQ_INSERT_TAIL(&set->kept, content, entry);
	set->kept_count++;
	set->kept_bytes += content->size;
	while (set->kept_count > set->count_max || set->kept_bytes > set->bytes_max)
		kept_drop_oldest(set);
	return NULL;
}

void content_name_of_event(uint64_t event, char ret[SCRIPT_VERSION_SIZE])
{
	(void)snprintf(ret, SCRIPT_VERSION_SIZE, "event-%" PRIu64, event);
}
