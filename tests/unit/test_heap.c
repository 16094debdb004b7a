/* Things by their key, the smallest first. */
#include "heap.h"
#include "suite.h"
#include <stdbool.h>

#define COUNT 2000

static struct heap heap;
static struct heap_node nodes[COUNT];
static bool in[COUNT];

static uint64_t smallest(void)
{
	uint64_t key = UINT64_MAX;

	for (size_t i = 0; i < COUNT; i++)
		if (in[i] && nodes[i].key < key)
			key = nodes[i].key;
	return key;
}

START_TEST(test_heap__empty)
{
	heap = (struct heap){ 0 };
	ck_assert_ptr_null(heap_first(&heap));
}
END_TEST

START_TEST(test_heap__smallest_first_whatever_comes_and_goes)
{
	unsigned random = 1, length = 0;

	heap = (struct heap){ 0 };
	for (unsigned step = 0; step < 20000; step++) {
		random = random * 1664525 + 1013904223;
		size_t i = (random >> 8) % COUNT;
		if (in[i])
			heap_remove(&heap, &nodes[i]);
		else
			heap_insert(&heap, &nodes[i], (random >> 4) % 500);
		in[i] = !in[i];
		length = in[i] ? length + 1 : length - 1;
		ck_assert_uint_eq(heap.length, length);
		if (step % 16 == 0 && length > 0)
			ck_assert_uint_eq(heap_first(&heap)->key, smallest());
	}
	for (uint64_t last = 0; length > 0; length--) {
		struct heap_node *node = heap_first(&heap);
		ck_assert_uint_ge(node->key, last);
		last = node->key;
		heap_remove(&heap, node);
	}
	ck_assert_ptr_null(heap_first(&heap));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap");
	TCase *tcase = tcase_create("heap");

	tcase_add_test(tcase, test_heap__empty);
	tcase_add_test(tcase, test_heap__smallest_first_whatever_comes_and_goes);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
