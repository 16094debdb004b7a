/* The JSON texts of json-lines, against a reader that is not ours. */
#include "suite.h"

#include "../../executors/json-lines/json_text.c"

#include <stdlib.h>

#define TEXT_MAX 400
#define ROUNDS 20000

static unsigned seed = 1;

static unsigned draw(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % below;
}

/* draw_text - mostly plain, so that whole pieces are; returns its size. */
static size_t draw_text(char ret[TEXT_MAX])
{
	static const char *const others[] = { "\"",
					      "\\",
					      "\n",
					      "\x01",
					      "\x1f",
					      "\x7f",
					      "/",
					      "\b\f\r\t",
					      "\xc3\xa4",
					      "\xe2\x82\xac",
					      "\xf0\x9f\x98\x80",
					      "\xff",
					      "\xc0\x80",
					      "\xed\xa0\x80" };
	size_t size = 0, end = draw(TEXT_MAX - 8);
	unsigned rare = 1 + draw(100);

	while (size < end) {
		const char *one = draw(rare) ? "x" : others[draw(sizeof others / sizeof *others)];
		if (one[0] == 'x' && draw(200) == 0)
			ret[size++] = 0;
		memcpy(ret + size, one, strlen(one));
		size += strlen(one);
	}
	return size;
}

static json_t *read_back(const char *text, size_t size)
{
	size_t inside = json_text_size(text, size);
	char *quoted = malloc(inside + 2);

	ck_assert_ptr_nonnull(quoted);
	quoted[0] = quoted[inside + 1] = '"';
	json_text_escape(text, size, quoted + 1);
	ck_assert_int_eq(quoted[inside + 1], '"');
	json_t *value = json_loadb(quoted, inside + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	free(quoted);
	return value;
}

START_TEST(test_json_text__is_read_back)
{
	char text[TEXT_MAX];
	unsigned texts = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t size = draw_text(text);
		json_t *expected = json_stringn(text, size);
		ck_assert_int_eq(json_text_is(text, size), expected != NULL);
		if (expected) {
			json_t *value = read_back(text, size);
			ck_assert_msg(json_equal(value, expected), "seed 1, round %u", i);
			json_decref(value);
			texts++;
		}
		json_decref(expected);
	}
	ck_assert_uint_gt(texts, ROUNDS / 10);
	ck_assert_uint_lt(texts, ROUNDS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json_text");
	TCase *t = tcase_create("json_text");

	tcase_add_test(t, test_json_text__is_read_back);
	suite_add_tcase(suite, t);
	return suite_run(suite);
}
