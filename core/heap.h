/* heap.h - things by a 64-bit key, the smallest first: a pairing heap. The nodes stand inside
 * the things, so that inserting cannot fail. Inserting costs O(1), removing O(log n) on average. */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include <stdint.h>

struct heap_node {
	uint64_t key;
	struct heap_node *child; /* the first of them; its keys are not smaller */
	struct heap_node *next; /* sibling */
	struct heap_node *prev; /* sibling, or the parent of a first child */
};

struct heap {
	struct heap_node *root;
	unsigned length;
};

/* heap_insert - NODE must not stand in a heap. */
void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key);

/* heap_remove - NODE must stand in HEAP. */
void heap_remove(struct heap *heap, struct heap_node *node);

/* heap_first - a node with the smallest key, or NULL. */
static inline struct heap_node *heap_first(const struct heap *heap) { return heap->root; }

#endif
