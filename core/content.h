/* content.h - bytes of scripts and payloads as sealed memfds that runs share.
 *
 * Contents are found by name: a script's version, or an event's id (see
 * content_name_of_event()). The last few that nobody uses are kept for the next run; how many is
 * bounded in number and in bytes. */
#ifndef CORE_CONTENT_H
#define CORE_CONTENT_H

#include "cleanup.h"
#include "script.h"
#include "table.h"
#include <stddef.h>
#include <sys/queue.h>

struct contents;

struct content {
	unsigned refs; /* 0: kept for the next */
	int fd;
	size_t size;
	char name[SCRIPT_VERSION_SIZE];
	struct contents *set; /* NULL: that has gone */
	struct table_link link;
	TAILQ_ENTRY(content) entry; /* of those kept, or of those in use */
};

/* contents_new - keep at most COUNT contents that nobody uses, and at most BYTES of them.
 * 0, -ENOMEM. */
int contents_new(unsigned count, size_t bytes, struct contents **ret);

/* contents_free - what is in use stays valid until it is given back. */
void contents_free(struct contents *set);

/* contents_find - one reference, or NULL. */
struct content *contents_find(struct contents *set, const char *name);

/* contents_make - a new one under NAME, which there must not be yet.
 * Returns 0 and one reference, or a negative errno. */
int contents_make(struct contents *set, const char *name, const void *bytes, size_t size, struct content **ret);

/* contents_trim - close all that nobody uses.
 * Returns how many. */
unsigned contents_trim(struct contents *set);

/* content_adopt - of FD (taken over on success), a sealed memfd of SIZE bytes; one reference.
 * It has no name and is in no set.
 * 0, -ENOMEM. */
int content_adopt(int fd, size_t size, struct content **ret);

struct content *content_ref(struct content *content);

/* content_unref - NULL is allowed.
 * Returns NULL. */
struct content *content_unref(struct content *content);

/* content_name_of_event - the name of an event's payload. */
void content_name_of_event(uint64_t event, char ret[SCRIPT_VERSION_SIZE]);

DEFINE_CLEANUP(struct content *, content_unrefp, content_unref)
#define _cleanup_content_ _cleanup_(content_unrefp)

#endif
