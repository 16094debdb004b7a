/* table.h - a hash table of things by a 64-bit key. The links stand inside the things, so that
 * adding cannot fail: a table that finds no memory to grow only gets slower.
 *
 *     struct thing { struct table_link link; ... };
 *     table_add(&table, &thing->link, key);
 *     for (link = table_find(&table, key); link; link = table_next(link))
 *         thing = container_of(link, struct thing, link);
 *     table_remove(&table, &thing->link);
 *
 * A key may stand for several things. */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define TABLE_SIZE_MIN 64

struct table_link {
	struct table_link *next; /* in the same bucket */
	uint64_t key;
};

struct table {
	struct table_link **buckets; /* few, or malloc()ed */
	size_t size; /* a power of two */
	size_t count;
	struct table_link *few[TABLE_SIZE_MIN];
};

#define container_of(member, type, name) ((type *)(void *)((char *)(member)-offsetof(type, name)))

/* table_init - TABLE must not move afterwards. */
void table_init(struct table *table);

/* table_done - frees the buckets, not the things. */
void table_done(struct table *table);

/* table_add - LINK must not stand in a table. */
void table_add(struct table *table, struct table_link *link, uint64_t key);

/* table_remove - LINK must stand in TABLE. */
void table_remove(struct table *table, struct table_link *link);

/* table_find - one of the things with KEY, or NULL. table_next - another one with the key of
 * LINK, or NULL. */
struct table_link *table_find(const struct table *table, uint64_t key);
struct table_link *table_next(const struct table_link *link);

#endif
