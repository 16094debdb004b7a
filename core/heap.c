/* heap.c - see heap.h. After Fredman, Sedgewick, Sleator, Tarjan: The pairing heap (1986). */
#include "heap.h"

#include <stddef.h>

/* meld - A and B, each without siblings, become one. Either may be NULL. */
static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
	if (!a || !b)
		return a ? a : b;
	if (b->key < a->key) {
		struct heap_node *c = a;
		a = b;
		b = c;
	}
	b->prev = a;
	b->next = a->child;
	if (a->child)
		a->child->prev = b;
	a->child = b;
	return a;
}

/* meld_all - NODE and its siblings: in pairs from the left, then the pairs from the right. */
static struct heap_node *meld_all(struct heap_node *node)
{
	struct heap_node *pairs = NULL, *all = NULL;

	while (node) {
		struct heap_node *a = node, *b = node->next, *rest = b ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b)
			b->next = b->prev = NULL;
		struct heap_node *pair = meld(a, b);
		pair->next = pairs;
		pairs = pair;
		node = rest;
	}
	while (pairs) {
		struct heap_node *pair = pairs;
		pairs = pairs->next;
		pair->next = NULL;
		all = meld(all, pair);
	}
	return all;
}

void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key)
{
	*node = (struct heap_node){ .key = key };
	heap->root = meld(heap->root, node);
	heap->length++;
}

static void cut(struct heap_node *node)
{
	if (node->prev->child == node)
		node->prev->child = node->next;
	else
		node->prev->next = node->next;
	if (node->next)
		node->next->prev = node->prev;
	node->next = node->prev = NULL;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	struct heap_node *children = meld_all(node->child);

	node->child = NULL;
	if (node == heap->root) {
		heap->root = children;
	} else {
		cut(node);
		heap->root = meld(heap->root, children);
	}
	heap->length--;
}
