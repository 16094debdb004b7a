/* test_output.c - output in pieces, from a sandbox that may be hostile. */
#include "../../executors/pool/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "suite.h"

#define LIMIT (SB_OUTPUT_MAX * UINT64_C(2) + 10)

static struct {
	struct sb_output head;
	char bytes[SB_OUTPUT_MAX + 1];
} frame;

static const char *add(struct output *output, uint32_t stream, size_t size)
{
	frame.head.stream = stream;
	memset(frame.bytes, 'a' + (int)stream, sizeof frame.bytes);
	return output_add(output, &frame, sizeof frame.head + size);
}

START_TEST(test_output__whole)
{
	struct output output;
	int fds[2];
	char text[16] = "";

	output_init(&output, LIMIT);
	ck_assert(!output_take(&output, fds));
	ck_assert_ptr_null(add(&output, 0, SB_OUTPUT_MAX));
	ck_assert_ptr_null(add(&output, 0, 3));
	ck_assert_ptr_null(add(&output, 1, 0)); /* an empty stream has come too */
	ck_assert(output_take(&output, fds));
	ck_assert_int_eq(pread(fds[0], text, sizeof text, SB_OUTPUT_MAX), 3);
	ck_assert_str_eq(text, "aaa");
	ck_assert_int_eq(pread(fds[1], text, sizeof text, 0), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_lt(write(fds[i], "x", 1), 0); /* sealed */
		ck_assert_int_eq(close(fds[i]), 0);
	}
	ck_assert(!output_take(&output, fds)); /* handed over once */
	ck_assert_int_eq(fds[0], -1);
}
END_TEST

START_TEST(test_output__half_is_none)
{
	struct output output;
	int fds[2];

	output_init(&output, LIMIT);
	ck_assert_ptr_null(add(&output, 1, 5));
	ck_assert(!output_take(&output, fds));
	ck_assert_int_eq(fds[0], -1);
	ck_assert_int_ge(fds[1], 0);
	(void)close(fds[1]);
}
END_TEST

START_TEST(test_output__refused)
{
	struct output output;

	output_init(&output, LIMIT);
	ck_assert_ptr_nonnull(output_add(&output, &frame, sizeof frame.head - 1));
	ck_assert_ptr_nonnull(add(&output, 0, SB_OUTPUT_MAX + 1));
	ck_assert_ptr_nonnull(add(&output, 2, 1));
	ck_assert_ptr_null(add(&output, 0, SB_OUTPUT_MAX));
	ck_assert_ptr_null(add(&output, 0, SB_OUTPUT_MAX));
	ck_assert_ptr_nonnull(add(&output, 0, 11)); /* beyond the limit */
	ck_assert_ptr_null(add(&output, 0, 10));
	ck_assert_ptr_nonnull(add(&output, 0, 0)); /* after the last */
	output_clear(&output);
	ck_assert_ptr_null(add(&output, 0, 1)); /* the limit stays, the bytes do not */
	ck_assert_uint_eq(output_frames_max(&output), 6);
	output_init(&output, 0);
	ck_assert_ptr_nonnull(add(&output, 0, 1)); /* no output is expected */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("output");
	TCase *tc = tcase_create("output");
	tcase_add_test(tc, test_output__whole);
	tcase_add_test(tc, test_output__half_is_none);
	tcase_add_test(tc, test_output__refused);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
