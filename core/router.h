/* router.h - which values are registered under a filter that matches a topic. A trie over
 * levels; work per topic grows with its levels and the filters that match, not with the filters
 * that exist. Registration and removal cost about one lookup; no step ever touches all filters
 * at once (growing a table is spread over later operations).
 *
 * The router borrows filters for the call and owns nothing of the values: they are opaque
 * pointers, several may share a filter, a value may be registered under one filter once. Loop
 * thread only. */
#ifndef CORE_ROUTER_H
#define CORE_ROUTER_H

#include <stddef.h>
#include <stdint.h>

struct router;

/* Must not add, remove or match. */
typedef void (*router_match_fn)(void *data, void *value);

int router_new(struct router **ret); /* 0, -ENOMEM */
void router_free(struct router *router);

/* router_add - FILTER is valid (topic_check_filter).
 * 0, -EEXIST (this value under this filter), -ENOMEM. */
int router_add(struct router *router, const char *filter, size_t size, void *value);

/* router_remove - 0, -ENOENT. */
int router_remove(struct router *router, const char *filter, size_t size, void *value);

/* router_match - call FN for every value whose filter matches TOPIC (valid name), each once, in
 * no order.
 * Returns how many. */
size_t router_match(const struct router *router, const char *topic, size_t size, router_match_fn fn, void *data);
size_t router_count(const struct router *router); /* registered values */

/* in use, the filters' text included, for figures */
size_t router_memory_bytes(const struct router *router);

#endif
