/* Rows of `metrics` as Prometheus' text. */
#include "suite.h"

#include <metrics_text.h>
#include <string.h>

static char text[4096];

static const char *printed(const char *row)
{
	json_t *object = json_loads(row, 0, NULL);
	FILE *out = fmemopen(text, sizeof text, "w");

	ck_assert_ptr_nonnull(object);
	metrics_print_row(out, object);
	(void)fclose(out);
	json_decref(object);
	return text;
}

START_TEST(test_metrics_text__numbers)
{
	ck_assert_str_eq(printed("{\"name\":\"x\",\"type\":\"gauge\",\"help\":\"What.\",\"samples\":["
				 "{\"labels\":{},\"value\":9007199254740993},{\"labels\":{},\"value\":0.0025},"
				 "{\"labels\":{},\"value\":-1}]}"),
			 "# HELP x What.\n# TYPE x gauge\nx 9007199254740993\nx 0.0025\nx -1\n");
}
END_TEST

START_TEST(test_metrics_text__labels_cannot_break_out)
{
	ck_assert_str_eq(
		printed("{\"name\":\"x\",\"type\":\"counter\",\"help\":\"a\\nb\\\\c \\\"d\\\"\",\"samples\":[{"
			"\"labels\":{\"script\":\"a\\\"} 1\\nx{b=\\\"\\\\\",\"outcome\":\"success\"},\"value\":1}]}"),
		"# HELP x a\\nb\\\\c \"d\"\n# TYPE x counter\n"
		"x{script=\"a\\\"} 1\\nx{b=\\\"\\\\\",outcome=\"success\"} 1\n");
}
END_TEST

START_TEST(test_metrics_text__histograms)
{
	ck_assert_str_eq(printed("{\"name\":\"x\",\"type\":\"histogram\",\"help\":\"\",\"samples\":[{\"labels\":"
				 "{\"e\":\"d\"},\"buckets\":[[0.001,1],[300,3]],\"sum\":1.5,\"count\":4}]}"),
			 "# HELP x \n# TYPE x histogram\n"
			 "x_bucket{e=\"d\",le=\"0.001\"} 1\nx_bucket{e=\"d\",le=\"300\"} 3\n"
			 "x_bucket{e=\"d\",le=\"+Inf\"} 4\nx_sum{e=\"d\"} 1.5\nx_count{e=\"d\"} 4\n");
	ck_assert_ptr_nonnull(strstr(printed("{\"name\":\"x\",\"samples\":[{\"labels\":{},\"buckets\":[[1,0]],"
					     "\"sum\":0,\"count\":0}]}"),
				     "x_bucket{le=\"1\"} 0\nx_bucket{le=\"+Inf\"} 0\nx_sum 0\nx_count 0\n"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics_text");
	TCase *tc = tcase_create("metrics_text");

	tcase_add_test(tc, test_metrics_text__numbers);
	tcase_add_test(tc, test_metrics_text__labels_cannot_break_out);
	tcase_add_test(tc, test_metrics_text__histograms);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
