/* Script settings, content checks, digests, and .meta files. */
#include <errno.h>
#include <util.h>

#include "meta.h"
#include "script.h"
#include "suite.h"

static bool open_gpu(void *data, const char *name)
{
	(void)data;
	return strcmp(name, "gpu") == 0;
}

static const struct script_policy policy = {
	.defaults = { .timeout_usec = 12 * USEC_PER_SEC,
		      .memory_bytes = 128 << 20,
		      .retry_on = 1 << LSN_OUTCOME_FAILURE },
	.timeout_max_usec = 60 * USEC_PER_SEC,
	.memory_max_bytes = 256 << 20,
	.retry_delay_max_usec = 3600 * USEC_PER_SEC,
	.retries_max = 5,
	.rate_max = 100,
	.size_max = 1000,
	.executor_open = open_gpu,
};

static struct script_settings settings;
static struct lsn_error err;

static int set(const char *key, const char *value)
{
	err = (struct lsn_error){ 0 };
	return script_settings_set(&settings, &policy, key, value, &err);
}

START_TEST(test_script__settings_that_are_allowed)
{
	settings = policy.defaults;
	ck_assert_int_eq(set("timeout", "60s"), 0);
	ck_assert_uint_eq(settings.timeout_usec, 60 * USEC_PER_SEC);
	ck_assert_int_eq(set("timeout", "500ms"), 0);
	ck_assert_int_eq(set("memory", "256M"), 0);
	ck_assert_uint_eq(settings.memory_bytes, 256 << 20);
	ck_assert_int_eq(set("output", "discard"), 0);
	ck_assert_int_eq(set("stdin", "pipe"), 0);
	ck_assert_int_eq(settings.input, LSN_INPUT_PIPE);
	ck_assert_int_eq(set("stdin", "file"), 0);
	ck_assert_int_eq(settings.input, LSN_INPUT_FILE);
	ck_assert_int_eq(set("executor", "gpu"), 0);
	ck_assert_str_eq(settings.executor, "gpu");
	ck_assert_int_eq(set("on_lost", "report"), 0);
	ck_assert_int_eq(set("retries", "5"), 0);
	ck_assert_int_eq(set("retry_delay", "1h"), 0);
	ck_assert_int_eq(set("retry_on", "failure, timeout memory"), 0);
	ck_assert_uint_eq(settings.retry_on,
			  1 << LSN_OUTCOME_FAILURE | 1 << LSN_OUTCOME_TIMEOUT | 1 << LSN_OUTCOME_MEMORY);
	ck_assert_int_eq(set("loop", "hold"), 0);
	ck_assert_int_eq(set("rate", "100/s"), 0);
	ck_assert_uint_eq(settings.rate_period_usec, 10 * USEC_PER_MSEC);
	ck_assert_int_eq(set("rate", "0.5/min"), 0);
	ck_assert_uint_eq(settings.rate_period_usec, 120 * USEC_PER_SEC);
	ck_assert_int_eq(set("colour", "red"), 1);
	ck_assert_int_eq(script_settings_check(&settings, &policy, NULL), 0);
}
END_TEST

START_TEST(test_script__settings_that_are_refused_and_why)
{
	static const struct {
		const char *key, *value;
		int code;
		const char *message;
	} cases[] = {
		{ "timeout", "10min", -EPERM, "timeout = 10min: the administrator allows at most 60s" },
		{ "timeout", "0", -EINVAL, "at least" },
		{ "timeout", "soon", -EINVAL, "timeout" },
		{ "timeout", "", -EINVAL, "timeout" },
		{ "timeout", "-1s", -EINVAL, "timeout" },
		{ "memory", "1G", -EPERM, "memory = 1G: the administrator allows at most 256M" },
		{ "memory", "1K", -EINVAL, "at least 1M" },
		{ "memory", "99999999999999999999", -EINVAL, "memory" },
		{ "output", "capture", -EPERM, "administrator" },
		{ "output", "failures", -EPERM, "administrator" },
		{ "output", "Discard", -EINVAL, "discard, capture or failures" },
		{ "stdin", "Pipe", -EINVAL, "pipe or file" },
		{ "stdin", "", -EINVAL, "pipe or file" },
		{ "loop", "allow", -EPERM, "the administrator does not allow" },
		{ "loop", "yes", -EINVAL, "hold or allow" },
		{ "rate", "200/s", -EPERM, "at most 100/s" },
		{ "rate", "10", -EINVAL, "such as 10/s" },
		{ "rate", "0/s", -EINVAL, "such as 10/s" },
		{ "rate", "-1/s", -EINVAL, "such as 10/s" },
		{ "rate", "1/y", -EINVAL, "such as 10/s" },
		{ "rate", "", -EINVAL, "such as 10/s" },
		{ "executor", "docker-sandbox", -EPERM, "executor = docker-sandbox" },
		{ "executor", "", -EINVAL, "name" },
		{ "executor", "../gpu", -EINVAL, "name" },
		{ "executor", "gpu/", -EINVAL, "name" },
		{ "executor", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -EINVAL, "name" },
		{ "on_lost", "rerun", -EPERM, "administrator" },
		{ "on_lost", "x", -EINVAL, "report or rerun" },
		{ "retries", "6", -EPERM, "at most 5" },
		{ "retries", "-1", -EINVAL, "retries" },
		{ "retry_delay", "2h", -EPERM, "at most 3600s" },
		{ "retry_on", "success", -EINVAL, "outcome" },
		{ "retry_on", "failure,cancelled", -EINVAL, "outcome" },
		{ "retry_on", "lost", -EPERM, "administrator" },
		{ "output", "\x1b[31m\xff", -EINVAL, "\\x1b" },
	};
	settings = policy.defaults;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		int r = set(cases[i].key, cases[i].value);
		ck_assert_msg(r == cases[i].code || (cases[i].code == -EINVAL && r == -ERANGE), "%s = %s: %d",
			      cases[i].key, cases[i].value, r);
		ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s", err.message);
	}
	ck_assert_int_eq(memcmp(&settings, &policy.defaults, sizeof settings), 0);
}
END_TEST

START_TEST(test_script__settings_under_a_tighter_policy)
{
	struct script_policy tighter = policy;
	settings = policy.defaults;
	ck_assert_int_eq(set("timeout", "40s"), 0);
	ck_assert_int_eq(set("executor", "gpu"), 0);
	tighter.timeout_max_usec = 30 * USEC_PER_SEC;
	ck_assert_int_eq(script_settings_check(&settings, &tighter, &err), -EPERM);
	ck_assert_ptr_nonnull(strstr(err.message, "30s"));
	tighter = policy;
	tighter.executor_open = NULL;
	ck_assert_int_eq(script_settings_check(&settings, &tighter, &err), -EPERM);
}
END_TEST

START_TEST(test_script__content)
{
	char big[1001];
	memset(big, 'x', sizeof big);
	ck_assert_int_eq(script_check_content("print(1)\n", 9, &policy, &err), 0);
	ck_assert_int_eq(script_check_content("", 0, &policy, &err), -EINVAL);
	ck_assert_int_eq(script_check_content("a\0b", 3, &policy, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "offset 1"));
	ck_assert_int_eq(script_check_content("caf\xe9", 4, &policy, &err), -EINVAL);
	ck_assert_int_eq(script_check_content(big, 1000, &policy, &err), 0);
	ck_assert_int_eq(script_check_content(big, 1001, &policy, &err), -EFBIG);
}
END_TEST

START_TEST(test_script__digest)
{
	char hex[SCRIPT_VERSION_SIZE];
	script_digest("abc", 3, hex);
	ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	script_digest(NULL, 0, hex);
	ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
END_TEST

static struct meta meta;

static int parse(const char *text)
{
	err = (struct lsn_error){ 0 };
	return meta_parse("a.py.meta", text, strlen(text), &meta, &err);
}

START_TEST(test_script__meta_values_survive)
{
	ck_assert_int_eq(
		parse("# a comment\r\n; another\n\n topic = create/+/a;b ;c/x=y: z/# \ntimeout=5s\n[script]\nmemory "
		      "=  64M\n"),
		0);
	ck_assert_str_eq(meta_get(&meta, "topic"), "create/+/a;b ;c/x=y: z/#");
	ck_assert_str_eq(meta_get(&meta, "timeout"), "5s");
	ck_assert_str_eq(meta_get(&meta, "memory"), "64M");
	ck_assert_ptr_null(meta_get(&meta, "output"));
	ck_assert_uint_eq(meta.count, 3);
	meta_clear(&meta);
	const char *more[META_KEYS_MAX];
	ck_assert_int_eq(parse("topic = a\ntimeout = 1s\ntopic = b, c\n[script]\ntopic = d\n"), 0);
	ck_assert_str_eq(meta_get(&meta, "topic"), "a");
	meta_get_more(&meta, "topic", more);
	ck_assert_str_eq(more[0], "b, c");
	ck_assert_str_eq(more[1], "d");
	ck_assert_ptr_null(more[2]);
	meta_clear(&meta);
	ck_assert_int_eq(parse("\xef\xbb\xbftopic = #"), 0);
	ck_assert_str_eq(meta_get(&meta, "topic"), "#");
	meta_clear(&meta);
	ck_assert_int_eq(parse("topic ="), 0);
	ck_assert_str_eq(meta_get(&meta, "topic"), "");
	meta_clear(&meta);
	ck_assert_int_eq(parse(""), 0);
	ck_assert_uint_eq(meta.count, 0);
	meta_clear(&meta);
}
END_TEST

START_TEST(test_script__meta_of_any_length)
{
	char *text = malloc(70000);
	int n = sprintf(text, "topic = create/");
	memset(text + n, 'a', 65000);
	strcpy(text + n + 65000, "/#\ntimeout = 1s\n");
	ck_assert_int_eq(parse(text), 0);
	ck_assert_uint_eq(strlen(meta_get(&meta, "topic")), 7 + 65000 + 2);
	ck_assert_str_eq(meta_get(&meta, "timeout"), "1s");
	meta_clear(&meta);
	free(text);
}
END_TEST

START_TEST(test_script__meta_errors_name_the_line)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "timeout = 1s\ntimeout = 2s\n", "a.py.meta:2" },
		{ "topic\n", "a.py.meta:1" },
		{ "\n\n= x\n", "a.py.meta:3" },
		{ "[other]\ntopic = a\n", "a.py.meta:2" },
		{ "[script\ntopic = a", "a.py.meta:" },
		{ "a:b = c\n", "a.py.meta:1" },
		{ "topic = \xff\n", "UTF-8" },
		{ "a ;b = c\n", "a.py.meta:1" },
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		ck_assert_msg(parse(cases[i].text) == -EINVAL, "%s", cases[i].text);
		ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s: %s", cases[i].text, err.message);
	}
	ck_assert_int_eq(meta_parse("m", "a = \0", 5, &meta, &err), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("script");
	TCase *tc = tcase_create("script");
	tcase_add_test(tc, test_script__settings_that_are_allowed);
	tcase_add_test(tc, test_script__settings_that_are_refused_and_why);
	tcase_add_test(tc, test_script__settings_under_a_tighter_policy);
	tcase_add_test(tc, test_script__content);
	tcase_add_test(tc, test_script__digest);
	tcase_add_test(tc, test_script__meta_values_survive);
	tcase_add_test(tc, test_script__meta_of_any_length);
	tcase_add_test(tc, test_script__meta_errors_name_the_line);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
