/* test_html.c - nothing that goes through the writer becomes markup, an attribute's end or a
 * character that a browser obeys. */
#include "html.h"

#include <stdio.h>
#include <string.h>

#include "base64.h"
#include "suite.h"

static const char *written(struct html *html)
{
	static char text[65536];
	ck_assert_uint_lt(html->size, sizeof text);
	memcpy(text, html->text, html->size);
	text[html->size] = 0;
	html_free(html);
	return text;
}

START_TEST(test_html__each_kind_of_character)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *text;
	} cases[] = {
		{ "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 17, "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "<&>\"'", 5, "&lt;&amp;&gt;&quot;&#39;" },
		{ "a\0b\n\t\x7f", 6, "a\\u{0}b\\u{a}\\u{9}\\u{7f}" },
		{ "\xe2\x80\xae\xe2\x80\x8b\xc2\x85", 8, "\\u{202e}\\u{200b}\\u{85}" },
		{ "\xff<\xc3", 3, "\\xff&lt;\\xc3" },
		{ "\xc0\xbc\xed\xa0\x80", 5, "\\xc0\\xbc\\xed\\xa0\\x80" },
		{ "\xf3\xa0\x80\xa1", 4, "\\u{e0021}" },
		{ "\xe2\x80", 2, "\\xe2\\x80" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct html html = { 0 };
		html_bytes(&html, cases[i].bytes, cases[i].size, SIZE_MAX);
		ck_assert_str_eq(written(&html), cases[i].text);
	}
}
END_TEST

START_TEST(test_html__every_byte_alone)
{
	for (int c = 0; c < 256; c++) {
		struct html html = { 0 };
		char byte = (char)c;
		html_lines(&html, &byte, 1, SIZE_MAX);
		const char *text = written(&html);
		ck_assert(strpbrk(text, "<>\"'") == NULL);
		for (; *text; text++)
			ck_assert(*text == '\n' || *text == '\t' || (*text >= ' ' && *text < 0x7f));
	}
}
END_TEST

START_TEST(test_html__cut_between_characters)
{
	struct html html = { 0 };
	html_bytes(&html, "ab\xe2\x82\xac<d", 7, 3);
	ck_assert_str_eq(written(&html), "ab\xe2\x82\xac [2 more bytes]");
	html_bytes(&html, "abc", 3, 3);
	ck_assert_str_eq(written(&html), "abc");
}
END_TEST

START_TEST(test_html__segment)
{
	struct html html = { 0 };
	html_segment(&html, "a/b?c=d&e\"<\xff #.py~");
	ck_assert_str_eq(written(&html), "a%2Fb%3Fc%3Dd%26e%22%3C%FF%20%23.py~");
}
END_TEST

START_TEST(test_html__ends_at_its_limit)
{
	struct html html = { 0 };
	for (unsigned i = 0; i <= HTML_BYTES_MAX / 8; i++)
		html_raw(&html, "12345678");
	ck_assert(html.overflow);
	ck_assert_uint_eq(html.size, HTML_BYTES_MAX);
	html_free(&html);
	ck_assert(!html.overflow);
}
END_TEST

START_TEST(test_html__base64)
{
	static const char *const cases[][2] = { { "", "" },        { "eA==", "x" },        { "eHk=", "xy" },
						{ "eHl6", "xyz" }, { "/+8=", "\xff\xef" }, { "eH!!", "x" } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t size = 99;
		char *bytes = base64_decode(cases[i][0], strlen(cases[i][0]), &size);
		ck_assert_uint_eq(size, strlen(cases[i][1]));
		ck_assert(memcmp(bytes, cases[i][1], size) == 0);
		free(bytes);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("html");
	TCase *tests = tcase_create("html");
	tcase_add_test(tests, test_html__each_kind_of_character);
	tcase_add_test(tests, test_html__every_byte_alone);
	tcase_add_test(tests, test_html__cut_between_characters);
	tcase_add_test(tests, test_html__segment);
	tcase_add_test(tests, test_html__ends_at_its_limit);
	tcase_add_test(tests, test_html__base64);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
