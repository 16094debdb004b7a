/* test_cdmi.c - URLs, headers, verdicts and parsers of core/source/cdmi/cdmi.c. */
#include "cdmi.h"
#include "json_tolerant.h"
#include "suite.h"

#include <cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <util.h>

static void is_url(const char *base, const char *path, enum cdmi_mode mode, const char *should)
{
	_cleanup_free_ char *url = cdmi_url(base, path, mode);

	ck_assert_str_eq(url, should);
}

START_TEST(test_cdmi__url_of_container_has_its_slash)
{
	is_url("http://h/api/cdmi", "/scripts", CDMI_CONTAINER, "http://h/api/cdmi/scripts/");
	is_url("http://h/api/cdmi/", "/scripts/", CDMI_CONTAINER, "http://h/api/cdmi/scripts/");
	is_url("http://h/api/cdmi//", "scripts//sub/", CDMI_CONTAINER, "http://h/api/cdmi/scripts/sub/");
	is_url("http://h", "", CDMI_CONTAINER, "http://h/");
	is_url("http://h/api/cdmi", "/scripts", CDMI_CHILDREN, "http://h/api/cdmi/scripts/?children");
}
END_TEST

START_TEST(test_cdmi__url_encodes_all_but_unreserved)
{
	is_url("http://h/cdmi", "/scripts/a.py", CDMI_OBJECT, "http://h/cdmi/scripts/a.py");
	is_url("http://h/cdmi", "/s/?#% +;&=:@!$'()*,[]\"", CDMI_CONTENT,
	       "http://h/cdmi/s/%3F%23%25%20%2B%3B%26%3D%3A%40%21%24%27%28%29%2A%2C%5B%5D%22");
	is_url("http://h/cdmi", "/s/AZaz09-._~", CDMI_OBJECT, "http://h/cdmi/s/AZaz09-._~");
	is_url("http://h/cdmi", "/s/\xc3\xa9\xf0\x9f\x98\x80", CDMI_OBJECT, "http://h/cdmi/s/%C3%A9%F0%9F%98%80");
}
END_TEST

START_TEST(test_cdmi__names)
{
	static const struct {
		const char *name;
		size_t size;
		bool ok;
	} rows[] = { { "a.py", 4, true },     { "", 0, false },     { ".", 1, false },     { "..", 2, false },
		     { "...", 3, true },      { ".a", 2, true },    { "a/b", 3, false },   { "/", 1, false },
		     { "a\0b", 3, false },    { "a\nb", 3, false }, { "a\x7f", 2, false }, { "\xff", 1, false },
		     { "\xc3\xa9", 2, true }, { "a?", 2, true },    { "#", 1, true },      { " ", 1, true },
		     { "%2e%2e", 6, true } };

	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		ck_assert_msg(cdmi_name_ok(rows[i].name, rows[i].size) == rows[i].ok, "row %zu", i);
}
END_TEST

/* becomes - TEXT is read, and is SHOULD in compact form; NULL: it is not read. */
static void becomes(const char *text, const char *should)
{
	struct lsn_error err = { 0 };
	json_t *value = json_load_tolerant(text, strlen(text), &err);
	_cleanup_free_ char *is = value ? json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(value);
	if (!should) {
		ck_assert_msg(!is, "%s: read as %s", text, is);
		ck_assert(err.message[0]);
		return;
	}
	ck_assert_msg(is, "%s: %s", text, err.message);
	ck_assert_str_eq(is, should);
}

START_TEST(test_cdmi__json_of_python)
{
	becomes("{\"a\": [1, 2.5, true, null, \"x\"]}", "{\"a\":[1,2.5,true,null,\"x\"]}");
	becomes("{\"n\": 10000000000000000000}", "{\"n\":\"10000000000000000000\"}");
	becomes("{\"n\": -9223372036854775808}", "{\"n\":-9223372036854775808}");
	becomes("{\"n\": [-9223372036854775809,1e400 , -1e400]}",
		"{\"n\":[\"-9223372036854775809\",\"1e400\",\"-1e400\"]}");
	becomes("{\"n\":NaN,\"i\":Infinity,\"j\":-Infinity,\"t\":true}",
		"{\"n\":\"NaN\",\"i\":\"Infinity\",\"j\":\"-Infinity\",\"t\":true}");
	becomes("{\"n\":.5, \"o\":01, \"x\":0x1F}", "{\"n\":\".5\",\"o\":\"01\",\"x\":\"0x1F\"}");
	becomes("{\"h\":\"a\\ud800b\",\"l\":\"\\udc00\"}", "{\"h\":\"a\\uFFFDb\",\"l\":\"\\uFFFD\"}");
	becomes("{\"h\":\"\\ud800\\ud83d\\ude00\"}", "{\"h\":\"\\uFFFD\\uD83D\\uDE00\"}");
	becomes("{\"h\":\"\\ud800\\\\udc00\"}", "{\"h\":\"\\uFFFD\\\\udc00\"}");
	becomes("{\"\\ud800\" : 1}", "{\"\\uFFFD\":1}");
	becomes("{\"k\\u0000\": \"v\\u0000\"}", "{\"k\\uFFFD\":\"v\\u0000\"}");
	becomes("{\"t\":\"a\tb\nc\"}", "{\"t\":\"a\\tb\\nc\"}");
	becomes("{\"u\":\"\xff\xc3\xa9\xed\xa0\x80\"}", "{\"u\":\"\\uFFFD\\u00E9\\uFFFD\\uFFFD\\uFFFD\"}");
	becomes("{\"s\":\"NaN, [1e999] \\\" {\",\"n\":NaN}", "{\"s\":\"NaN, [1e999] \\\" {\",\"n\":\"NaN\"}");
}
END_TEST

START_TEST(test_cdmi__json_that_is_none)
{
	static const char *const texts[] = { "",
					     " ",
					     "{",
					     "}",
					     "{]",
					     "[1",
					     "{\"a\"}",
					     "{\"a\":1,}",
					     "{\"a\":\"b}",
					     "{\"a\":\"b\\",
					     "{\"a\":\"\\u12\"}",
					     "{\"a\":NaN",
					     "<html>",
					     "{\"a\":1}x",
					     "{\"\\" };

	for (size_t i = 0; i < ELEMENTSOF(texts); i++)
		becomes(texts[i], NULL);
}
END_TEST

/* Deeper than any parser goes, with a string in it that looks like the end. */
START_TEST(test_cdmi__json_nested_deeply)
{
	enum { DEPTH = 5000 };
	char text[2 * DEPTH + 64];
	size_t n = (size_t)snprintf(text, sizeof text, "{\"a\":");

	memset(text + n, '[', DEPTH);
	n += DEPTH;
	n += (size_t)snprintf(text + n, sizeof text - n, "\"]]\\\"}\"");
	memset(text + n, ']', DEPTH);
	n += DEPTH;
	(void)snprintf(text + n, sizeof text - n, ",\"topic\":\"create/#\"}");
	json_t *value = json_load_tolerant(text, strlen(text), NULL);
	ck_assert(json_is_array(json_object_get(value, "a")));
	ck_assert_str_eq(json_string_value(json_object_get(value, "topic")), "create/#");
	json_decref(value);
}
END_TEST

static bool has_header(const char *const *headers, const char *header)
{
	for (; *headers; headers++)
		if (streq(*headers, header))
			return true;
	return false;
}

START_TEST(test_cdmi__headers)
{
	const char *version = "X-CDMI-Specification-Version: 1.1";

	ck_assert(has_header(cdmi_headers(CDMI_CONTAINER, true), version));
	ck_assert(has_header(cdmi_headers(CDMI_OBJECT, true), version));
	ck_assert(!has_header(cdmi_headers(CDMI_CONTENT, true), version));
	ck_assert(has_header(cdmi_headers(CDMI_CONTENT, true), "Accept: */*"));
	ck_assert(has_header(cdmi_headers(CDMI_CONTAINER, true), "Accept: application/cdmi-container"));
	ck_assert(has_header(cdmi_headers(CDMI_OBJECT, true), "Accept: application/cdmi-object"));
	for (int mode = CDMI_CONTAINER; mode <= CDMI_CONTENT; mode++)
		ck_assert(!has_header(cdmi_headers((enum cdmi_mode)mode, false), version));
	ck_assert(has_header(cdmi_headers(CDMI_CONTENT, false), "Accept: application/octet-stream"));
}
END_TEST

START_TEST(test_cdmi__version_2_is_seen_in_the_path)
{
	ck_assert(cdmi_is_v2("https://h/cdmi/2.0.0"));
	ck_assert(cdmi_is_v2("https://h/cdmi/2.0.0/"));
	ck_assert(cdmi_is_v2("https://h/x/cdmi/2"));
	ck_assert(!cdmi_is_v2("https://h/cdmi/20"));
	ck_assert(!cdmi_is_v2("https://h/api/cdmi"));
	ck_assert(!cdmi_is_v2("https://h/cdmi/1.1"));
}
END_TEST

/* ------------------------------------------------------------------------------------- verdicts */

static enum cdmi_verdict judge(long status, const char *body, enum cdmi_mode mode, struct lsn_error *err)
{
	const struct http_reply reply = {
		.status = status, .body = body, .body_size = strlen(body), .content_type = "", .location = ""
	};
	json_t *object = NULL;
	enum cdmi_verdict verdict = cdmi_judge(&reply, mode, &object, err);

	ck_assert((object != NULL) == (verdict == CDMI_OK && mode != CDMI_CONTENT));
	json_decref(object);
	return verdict;
}

START_TEST(test_cdmi__every_status)
{
	static const struct {
		long status;
		enum cdmi_verdict verdict;
	} rows[] = { { 200, CDMI_OK },        { 301, CDMI_MOVED },     { 307, CDMI_MOVED }, { 308, CDMI_MOVED },
		     { 302, CDMI_REFERENCE }, { 303, CDMI_REFERENCE }, { 401, CDMI_LOGIN }, { 403, CDMI_DENIED },
		     { 404, CDMI_GONE },      { 410, CDMI_GONE },      { 400, CDMI_FAULT }, { 405, CDMI_FAULT },
		     { 406, CDMI_FAULT },     { 408, CDMI_RETRY },     { 429, CDMI_RETRY }, { 500, CDMI_RETRY },
		     { 502, CDMI_RETRY },     { 503, CDMI_RETRY },     { 504, CDMI_RETRY }, { 599, CDMI_RETRY },
		     { 204, CDMI_FAULT },     { 418, CDMI_FAULT } };

	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		for (int mode = CDMI_CONTAINER; mode <= CDMI_CONTENT; mode++) {
			struct lsn_error err = { 0 };
			ck_assert_msg(judge(rows[i].status, "{}", (enum cdmi_mode)mode, &err) == rows[i].verdict,
				      "status %ld", rows[i].status);
			ck_assert((err.code == 0) == (rows[i].verdict == CDMI_OK));
			if (err.code)
				ck_assert_ptr_nonnull(strstr(err.message, "status"));
		}
}
END_TEST

START_TEST(test_cdmi__error_bodies_are_not_read)
{
	struct lsn_error err = { 0 };

	ck_assert_int_eq(judge(404, "{\"detail\": \"x\"}", CDMI_OBJECT, &err), CDMI_GONE);
	ck_assert_int_eq(judge(500, "<h1>Server Error (500)</h1>", CDMI_OBJECT, &err), CDMI_RETRY);
	ck_assert_int_eq(judge(302, "{\"reference\": \"http://x/\"}", CDMI_OBJECT, &err), CDMI_REFERENCE);
}
END_TEST

START_TEST(test_cdmi__a_200_that_is_not_cdmi)
{
	static const char *const bodies[] = { "", "<html>", "[]", "\"x\"", "null", "{", "{}x", "{\"a\":\xff}", "nan" };

	for (size_t i = 0; i < ELEMENTSOF(bodies); i++) {
		struct lsn_error err = { 0 };
		ck_assert_msg(judge(200, bodies[i], CDMI_OBJECT, &err) == CDMI_BAD, "%s", bodies[i]);
		ck_assert_int_ne(err.code, 0);
		ck_assert_int_eq(judge(200, bodies[i], CDMI_CONTENT, &err), CDMI_OK);
	}
}
END_TEST

START_TEST(test_cdmi__a_description_is_no_content)
{
	struct http_reply reply = { .status = 200,
				    .body = "{}",
				    .body_size = 2,
				    .content_type = "Application/CDMI-object; charset=utf-8",
				    .location = "" };
	struct lsn_error err = { 0 };

	ck_assert_int_eq(cdmi_judge(&reply, CDMI_CONTENT, NULL, &err), CDMI_BAD);
	reply.content_type = "text/x-python";
	ck_assert_int_eq(cdmi_judge(&reply, CDMI_CONTENT, NULL, &err), CDMI_OK);
}
END_TEST

START_TEST(test_cdmi__no_reply)
{
	struct http_reply reply = {
		.body = "", .content_type = "", .location = "", .error = { -ECONNREFUSED, "GET x: refused" }
	};
	struct lsn_error err = { 0 };

	ck_assert_int_eq(cdmi_judge(&reply, CDMI_CONTENT, NULL, &err), CDMI_RETRY);
	ck_assert_int_eq(err.code, -ECONNREFUSED);
	ck_assert_str_eq(err.message, "GET x: refused");
	reply.error.code = -EFBIG;
	ck_assert_int_eq(cdmi_judge(&reply, CDMI_CONTENT, NULL, &err), CDMI_BAD);
}
END_TEST

START_TEST(test_cdmi__moved_says_where)
{
	struct http_reply reply = {
		.status = 301, .body = "", .content_type = "", .location = "http://evil\n.example.org/"
	};
	struct lsn_error err = { 0 };

	ck_assert_int_eq(cdmi_judge(&reply, CDMI_CONTENT, NULL, &err), CDMI_MOVED);
	ck_assert_ptr_nonnull(strstr(err.message, "evil\\x0a.example"));
}
END_TEST

/* -------------------------------------------------------------------------------------- members */

static json_t *object;

static json_t *load(const char *text)
{
	json_decref(object);
	object = json_loads(text, JSON_ALLOW_NUL, NULL);
	ck_assert_ptr_nonnull(object);
	return object;
}

static void unload(void)
{
	json_decref(object);
	object = NULL;
}

START_TEST(test_cdmi__keys_in_any_case)
{
	load("{\"ValueTransferEncoding\": \"a\", \"valuetransferencoding\": \"b\", \"valueRange\": \"0-1\"}");
	ck_assert_str_eq(json_string_value(cdmi_get(object, "valuetransferencoding")), "b");
	ck_assert_str_eq(json_string_value(cdmi_get(object, "valuerange")), "0-1");
	ck_assert_ptr_null(cdmi_get(object, "value"));
	ck_assert_ptr_null(cdmi_get(json_null(), "value"));
}
END_TEST

START_TEST(test_cdmi__children)
{
	struct lsn_error err = { 0 };

	ck_assert_uint_eq(json_array_size(cdmi_children(load("{\"children\": [\"sub/\", \"a.py\"]}"), &err)), 2);
	ck_assert_ptr_nonnull(cdmi_children(load("{\"children\": []}"), &err));
	ck_assert_int_eq(err.code, 0);
	ck_assert_ptr_null(cdmi_children(load("{\"children\": {\"a\": 1}}"), &err));
	ck_assert_int_eq(err.code, -EINVAL);
	ck_assert_ptr_null(cdmi_children(load("{}"), &err));
}
END_TEST

START_TEST(test_cdmi__topic)
{
	static const struct {
		const char *json, *topic;
		bool problem;
	} rows[] = {
		{ "{\"metadata\": {\"topic\": \"create/#\"}}", "create/#", false },
		{ "{\"metadata\": {\"topic\": [\"create/#\"]}}", "create/#", false },
		{ "{\"Metadata\": {\"topic\": \"create/#\"}}", "create/#", false },
		{ "{\"metadata\": {\"Topic\": \"create/#\"}}", NULL, false },
		{ "{\"metadata\": {}}", NULL, false },
		{ "{\"metadata\": []}", NULL, false },
		{ "{}", NULL, false },
		{ "{\"metadata\": {\"topic\": \"\"}}", NULL, false },
		{ "{\"metadata\": {\"topic\": []}}", NULL, false },
		{ "{\"metadata\": {\"topic\": null}}", NULL, false },
		{ "{\"metadata\": {\"topic\": [\"a\", \"b\"]}}", "a b", false },
		{ "{\"metadata\": {\"topic\": [\"\", \"a,b c\", null, \"d\"]}}", "a,b c d", false },
		{ "{\"metadata\": {\"topic\": [\"\", \"\"]}}", NULL, false },
		{ "{\"metadata\": {\"topic\": [\"a\", 5]}}", NULL, true },
		{ "{\"metadata\": {\"topic\": [\"a\", \"b\\u0000c\"]}}", NULL, true },
		{ "{\"metadata\": {\"topic\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}}", NULL, true },
		{ "{\"metadata\": {\"topic\": [[\"a\"]]}}", NULL, true },
		{ "{\"metadata\": {\"topic\": 5}}", NULL, true },
		{ "{\"metadata\": {\"topic\": true}}", NULL, true },
		{ "{\"metadata\": {\"topic\": {\"a\": 1}}}", NULL, true },
		{ "{\"metadata\": {\"topic\": \"a\\u0000b\"}}", NULL, true },
	};
	const char *problem, *topics[SCRIPT_FILTERS_MAX + 1];

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		char text[64] = "";
		size_t count = cdmi_topics(load(rows[i].json), topics, &problem);
		for (size_t k = 0; k < count; k++)
			(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k ? " " : "",
				       topics[k]);
		ck_assert_ptr_null(topics[count]);
		ck_assert_msg(streq(text, rows[i].topic ? rows[i].topic : ""), "%s", rows[i].json);
		ck_assert_msg((problem != NULL) == rows[i].problem, "%s", rows[i].json);
	}
}
END_TEST

static void is_value(const char *json, const char *should, size_t size)
{
	_cleanup_free_ void *value = NULL;
	struct lsn_error err = { 0 };
	size_t value_size;

	ck_assert_msg(cdmi_value(load(json), &value, &value_size, &err) == 0, "%s: %s", json, err.message);
	ck_assert_uint_eq(value_size, size);
	ck_assert_mem_eq(value, should, size);
}

static void is_no_value(const char *json, int code)
{
	void *value;
	size_t size;

	ck_assert_msg(cdmi_value(load(json), &value, &size, NULL) == code, "%s", json);
}

START_TEST(test_cdmi__inline_values)
{
	is_value("{\"value\": \"pass\\n\"}", "pass\n", 5);
	is_value("{\"value\": \"\"}", "", 0);
	is_value("{\"value\": \"\\u00e9\", \"valuetransferencoding\": \"utf-8\"}", "\xc3\xa9", 2);
	is_value("{\"value\": \"a\\u0000b\", \"valueTransferEncoding\": \"utf-8\"}", "a\0b", 3);
	is_value("{\"value\": \"cGFzcwo=\", \"valuetransferencoding\": \"base64\"}", "pass\n", 5);
	is_value("{\"value\": \"cGFz\\r\\n cwo=\\n\", \"valuetransferencoding\": \"base64\"}", "pass\n", 5);
	is_value("{\"value\": \"YQ==\", \"valuetransferencoding\": \"base64\"}", "a", 1);
	is_value("{\"value\": \"\", \"valuetransferencoding\": \"base64\"}", "", 0);
	is_value("{\"value\": {\"a\": [1]}, \"valuetransferencoding\": \"json\"}", "{\"a\": [1]}", 10);
	is_no_value("{}", -ENODATA);
	is_no_value("{\"value\": null}", -ENODATA);
	is_no_value("{\"value\": 5}", -EINVAL);
	is_no_value("{\"value\": [\"a\"]}", -EINVAL);
}
END_TEST

START_TEST(test_cdmi__base64_is_exact)
{
	static const char *const bad[] = { "a",    "ab",       "abc",  "a===",       "====",    "ab=c",
					   "=abc", "ab==cdef", "abc-", "ab\\u0000c", "cGFz*wo=" };
	char json[128];

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		(void)snprintf(json, sizeof json, "{\"value\": \"%s\", \"valuetransferencoding\": \"base64\"}", bad[i]);
		is_no_value(json, -EINVAL);
	}
}
END_TEST

START_TEST(test_cdmi__hashes)
{
	uint64_t hash = cdmi_metadata_hash(load("{\"metadata\": {\"topic\": \"a\", \"x\": [1, 2], \"cdmi_acl\": []}}"));

	ck_assert_uint_eq(hash, cdmi_metadata_hash(load(
					"{\"metadata\": {\"cdmi_atime\": \"now\", \"x\": [1, 2], \"topic\": \"a\"}}")));
	ck_assert_uint_ne(hash, cdmi_metadata_hash(load("{\"metadata\": {\"topic\": \"b\", \"x\": [1, 2]}}")));
	ck_assert_uint_ne(hash, cdmi_metadata_hash(load("{\"metadata\": {\"topic\": \"a\", \"x\": [2, 1]}}")));
	ck_assert_uint_eq(0, cdmi_content_hash(load("{\"metadata\": {\"topic\": \"a\"}}")));
	hash = cdmi_content_hash(load("{\"metadata\": {\"cdmi_size\": \"5\", \"topic\": \"a\"}}"));
	ck_assert_uint_ne(hash, 0);
	ck_assert_uint_ne(hash, cdmi_content_hash(load("{\"metadata\": {\"cdmi_size\": \"6\"}}")));
	ck_assert_uint_eq(0, cdmi_content_hash(load("{}")));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("cdmi");
	Suite *suite = suite_create("cdmi");

	tcase_add_checked_fixture(tc, NULL, unload);
	tcase_add_test(tc, test_cdmi__url_of_container_has_its_slash);
	tcase_add_test(tc, test_cdmi__url_encodes_all_but_unreserved);
	tcase_add_test(tc, test_cdmi__names);
	tcase_add_test(tc, test_cdmi__headers);
	tcase_add_test(tc, test_cdmi__version_2_is_seen_in_the_path);
	tcase_add_test(tc, test_cdmi__every_status);
	tcase_add_test(tc, test_cdmi__error_bodies_are_not_read);
	tcase_add_test(tc, test_cdmi__a_200_that_is_not_cdmi);
	tcase_add_test(tc, test_cdmi__a_description_is_no_content);
	tcase_add_test(tc, test_cdmi__no_reply);
	tcase_add_test(tc, test_cdmi__moved_says_where);
	tcase_add_test(tc, test_cdmi__keys_in_any_case);
	tcase_add_test(tc, test_cdmi__children);
	tcase_add_test(tc, test_cdmi__topic);
	tcase_add_test(tc, test_cdmi__inline_values);
	tcase_add_test(tc, test_cdmi__base64_is_exact);
	tcase_add_test(tc, test_cdmi__hashes);
	tcase_add_test(tc, test_cdmi__json_of_python);
	tcase_add_test(tc, test_cdmi__json_that_is_none);
	tcase_add_test(tc, test_cdmi__json_nested_deeply);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
