/* Things by their key, several under one. */
#include "table.h"
#include "suite.h"

#define COUNT 3000

struct thing {
	unsigned number;
	struct table_link link;
};

START_TEST(test_table__finds_what_was_added_and_not_what_was_removed)
{
	static struct thing things[COUNT];
	struct table table;

	table_init(&table);
	for (unsigned i = 0; i < COUNT; i++) {
		things[i].number = i;
		table_add(&table, &things[i].link, i / 3);
	}
	for (unsigned i = 0; i < COUNT; i += 3)
		table_remove(&table, &things[i].link);
	ck_assert_uint_eq(table.count, COUNT / 3 * 2);
	for (unsigned key = 0; key < COUNT / 3; key++) {
		unsigned found = 0;
		for (struct table_link *link = table_find(&table, key); link; link = table_next(link)) {
			ck_assert_uint_eq(container_of(link, struct thing, link)->number / 3, key);
			ck_assert_uint_ne(container_of(link, struct thing, link)->number % 3, 0);
			found++;
		}
		ck_assert_uint_eq(found, 2);
	}
	ck_assert_ptr_null(table_find(&table, COUNT));
	table_done(&table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("table");
	TCase *tcase = tcase_create("table");

	tcase_add_test(tcase, test_table__finds_what_was_added_and_not_what_was_removed);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
