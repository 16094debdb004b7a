/* table.c - see table.h. */
#include "table.h"

#include <assert.h>
#include <stdlib.h>

static struct table_link **bucket_of(const struct table *table, uint64_t key)
{
	return &table->buckets[(key * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (table->size - 1)];
}

void table_init(struct table *table)
{
	*table = (struct table){ .size = TABLE_SIZE_MIN };
	table->buckets = table->few;
}

void table_done(struct table *table)
{
	if (table->buckets != table->few)
		free(table->buckets);
	table->buckets = NULL;
}

static void table_grow(struct table *table)
{
	struct table old = *table;
	struct table_link **buckets = calloc(2 * old.size, sizeof(struct table_link *));

	if (!buckets)
		return;
	old.buckets = table->buckets;
	table->buckets = buckets;
	table->size = 2 * old.size;
	for (size_t i = 0; i < old.size; i++) {
		for (struct table_link *link = old.buckets[i], *next; link; link = next) {
			struct table_link **bucket = bucket_of(table, link->key);
			next = link->next;
			link->next = *bucket;
			*bucket = link;
		}
	}
	if (old.buckets != table->few)
		free(old.buckets);
}

void table_add(struct table *table, struct table_link *link, uint64_t key)
{
	if (table->count >= 2 * table->size)
		table_grow(table);
	struct table_link **bucket = bucket_of(table, key);
	link->key = key;
	link->next = *bucket;
	*bucket = link;
	table->count++;
}

void table_remove(struct table *table, struct table_link *link)
{
	struct table_link **at = bucket_of(table, link->key);

	while (*at != link) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = link->next;
	link->next = NULL;
	table->count--;
}

static struct table_link *link_with(struct table_link *link, uint64_t key)
{
	while (link && link->key != key)
		link = link->next;
	return link;
}

struct table_link *table_find(const struct table *table, uint64_t key)
{
	return link_with(*bucket_of(table, key), key);
}

struct table_link *table_next(const struct table_link *link) { return link_with(link->next, link->key); }
