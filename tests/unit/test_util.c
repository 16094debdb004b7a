/* test_util.c - lib/util.c, lib/parse.c, lib/file.c and core/log.c. */
#include "log.h"
#include "suite.h"

#include <cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <util.h>

START_TEST(test_util__durations_that_are_accepted)
{
	static const struct {
		const char *text;
		uint64_t usec;
	} cases[] = {
		{ "12", 12000000 },     { "12s", 12000000 },    { "500ms", 500000 },
		{ "0.5s", 500000 },     { "2min", 120000000 },  { "1h", 3600000000 },
		{ "7d", 604800000000 }, { "1.5", 1500000 },     { "0", 0 },
		{ "250us", 250 },       { "3 min", 180000000 }, { "0.000001", 1 },
		{ "1.5h", 5400000000 }, { "0.1ms", 100 },       { "0.33333333333333333333", 333333 },
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		uint64_t usec = 99;
		struct lsn_error err = { 0 };
		ck_assert_msg(parse_duration(cases[i].text, &usec, &err) == 0, "%s: %s", cases[i].text, err.message);
		ck_assert_msg(usec == cases[i].usec, "%s: %llu", cases[i].text, (unsigned long long)usec);
	}
}
END_TEST

START_TEST(test_util__durations_that_are_refused)
{
	static const char *const cases[] = { "",    "s",  "-1", "+1",   " 1",    "1 ",  "12 parsecs", "1.", ".5",
					     "1e3", "1m", "1S", "0x10", "1.5.5", "1s2", "12s ",       "inf" };
	struct lsn_error err;
	uint64_t usec = 7;

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		ck_assert_msg(parse_duration(cases[i], &usec, &err) == -EINVAL, "'%s' was taken", cases[i]);
		ck_assert_ptr_nonnull(strstr(err.message, "12s, 500ms"));
	}
	ck_assert_int_eq(parse_duration("99999999999999999999", &usec, &err), -ERANGE);
	ck_assert_int_eq(parse_duration("999999999999999999d", &usec, &err), -ERANGE);
	ck_assert_int_eq(parse_duration("18446744073709.9", &usec, NULL), -ERANGE);
	ck_assert_uint_eq(usec, 7);
}
END_TEST

START_TEST(test_util__sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "65536", 65536 },
		{ "64K", 65536 },
		{ "64k", 65536 },
		{ "64KB", 65536 },
		{ "64KiB", 65536 },
		{ "128M", 134217728 },
		{ "2G", 2147483648 },
		{ "1T", UINT64_C(1) << 40 },
		{ "5B", 5 },
		{ "8 MiB", 8388608 },
	};
	static const char *const bad[] = {
		"", "K", "-1", "1.5G", "64KK", "1iB", "1BB", "64 Kilo", "0x10", "64K ", "1Bi"
	};
	uint64_t bytes;
	struct lsn_error err;

	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		ck_assert_msg(parse_size(good[i].text, &bytes, &err) == 0, "%s", good[i].text);
		ck_assert_uint_eq(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		ck_assert_msg(parse_size(bad[i], &bytes, &err) == -EINVAL, "'%s' was taken", bad[i]);
	ck_assert_int_eq(parse_size("18446744073709551615", &bytes, &err), 0);
	ck_assert_int_eq(parse_size("18446744073709551616", &bytes, &err), -ERANGE);
	ck_assert_int_eq(parse_size("16777216T", &bytes, &err), -ERANGE);
}
END_TEST

START_TEST(test_util__bools_and_numbers)
{
	struct lsn_error err;
	bool b = false;
	uint64_t n = 0;

	ck_assert(parse_bool("yes", &b, NULL) == 0 && b);
	ck_assert(parse_bool("Off", &b, NULL) == 0 && !b);
	ck_assert(parse_bool("1", &b, NULL) == 0 && b);
	ck_assert_int_eq(parse_bool("maybe", &b, &err), -EINVAL);
	ck_assert_str_eq(err.message, "\"maybe\" is neither yes nor no");
	ck_assert_int_eq(parse_bool("", &b, &err), -EINVAL);
	ck_assert(parse_uint("65535", 65535, &n, NULL) == 0 && n == 65535);
	ck_assert_int_eq(parse_uint("65536", 65535, &n, &err), -ERANGE);
	ck_assert_str_eq(err.message, "\"65536\" is too large; the largest value is 65535");
	ck_assert_int_eq(parse_uint("18446744073709551616", UINT64_MAX, &n, &err), -ERANGE);
	ck_assert_int_eq(parse_uint("-1", 9, &n, &err), -EINVAL);
	ck_assert_int_eq(parse_uint("1x", 9, &n, &err), -EINVAL);
	ck_assert_int_eq(parse_uint("", 9, &n, &err), -EINVAL);
	ck_assert_uint_eq(n, 65535);
}
END_TEST

START_TEST(test_util__utf8)
{
	static const char *const good[] = { "",
					    "a",
					    "\xc2\x80",
					    "\xdf\xbf",
					    "\xe0\xa0\x80",
					    "\xed\x9f\xbf",
					    "\xee\x80\x80",
					    "\xef\xbf\xbf",
					    "\xf0\x90\x80\x80",
					    "\xf4\x8f\xbf\xbf",
					    "caf\xc3\xa9/\xe2\x82\xac" };
	static const char *const bad[] = {
		"\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",     "\xed\xa0\x80",
		"\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
		"\xc3",         "\xe2\x82",         "\xf0\x90\x80",     "a\xc3z",           "\xe2\x82z"
	};

	for (size_t i = 0; i < ELEMENTSOF(good); i++)
		ck_assert_msg(utf8_valid(good[i], strlen(good[i])), "good %zu", i);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		ck_assert_msg(!utf8_valid(bad[i], strlen(bad[i])), "bad %zu", i);
	ck_assert(!utf8_valid("a\0b", 3));
	ck_assert(!utf8_valid("\0", 1));
}
END_TEST

START_TEST(test_util__what_is_cut_ends_with_a_whole_character)
{
	static const char *const cut[][2] = {
		{ "", "" },
		{ "abc", "abc" },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "a\xc3", "a" },
		{ "a\xe2\x82", "a" },
		{ "a\xe2\x82\xac", "a\xe2\x82\xac" },
		{ "a\xf0\x9f\x98", "a" },
		{ "a\xf0", "a" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
	};

	for (size_t i = 0; i < ELEMENTSOF(cut); i++) {
		char text[16];
		(void)strcpy(text, cut[i][0]);
		utf8_trim(text);
		ck_assert_str_eq(text, cut[i][1]);
	}
}
END_TEST

START_TEST(test_util__quote)
{
	char buf[64], small[12];

	ck_assert_str_eq(str_quote(buf, sizeof buf, "plain", 5), "\"plain\"");
	ck_assert_str_eq(str_quote(buf, sizeof buf, NULL, 0), "\"\"");
	ck_assert_str_eq(str_quote(buf, sizeof buf, "a\"\\\n\0z", 6), "\"a\\\"\\\\\\x0a\\x00z\"");
	ck_assert_str_eq(str_quote(buf, sizeof buf, "\xc3\xa9\xff", 3), "\"\xc3\xa9\\xff\"");
	ck_assert_str_eq(str_quote(buf, sizeof buf,
				   "\xc2\x9b"
				   "1m",
				   4),
			 "\"\\xc2\\x9b1m\"");
	ck_assert_str_eq(str_quote(buf, sizeof buf, "\xe2\x80\xae", 3), "\"\\xe2\\x80\\xae\"");
	ck_assert_str_eq(str_quote(small, sizeof small, "123456789", 9), "\"123456789\"");
	ck_assert_str_eq(str_quote(small, sizeof small, "1234567890", 10), "\"123456\"...");
	/* Never more than the buffer, whatever is cut: sanitizers watch. */
	for (size_t size = 0; size <= 40; size++) {
		_cleanup_free_ char *exact = malloc(size ? size : 1);
		ck_assert_ptr_nonnull(exact);
		(void)str_quote(exact, size,
				"\xff\xff"
				"abc\xc3\xa9\xe2\x80\xae\"\\ and so on and on",
				30);
		if (size > 0)
			ck_assert_uint_lt(strlen(exact), size);
	}
}
END_TEST

START_TEST(test_util__small_strings)
{
	char hex[9];

	ck_assert(streq("a", "a") && !streq("a", "b") && streq(NULL, NULL) && !streq("a", NULL) && !streq(NULL, ""));
	ck_assert(str_startswith("abc", "ab") && str_startswith("abc", "") && !str_startswith("a", "ab"));
	hex_encode("\x00\x9f\xff\x10", 4, hex);
	ck_assert_str_eq(hex, "009fff10");
	uint64_t a = now_monotonic_usec(), b = now_monotonic_usec();
	ck_assert_uint_le(a, b);
	ck_assert_uint_gt(now_realtime_usec(), UINT64_C(1600000000) * USEC_PER_SEC);
}
END_TEST

START_TEST(test_util__memfd_is_sealed)
{
	_cleanup_close_ int fd = memfd_sealed("test", "hello", 5);
	_cleanup_close_ int empty = memfd_sealed("empty", NULL, 0);
	_cleanup_close_ int again = -1;
	char buf[8];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(empty, 0);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(write(fd, "x", 1), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(fd, 1), -1);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ck_assert_int_eq(read(fd, buf, sizeof buf), 5);
	again = fd_reopen(fd);
	ck_assert_int_ge(again, 0);
	ck_assert(fcntl(again, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(fcntl(again, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_int_eq(read(again, buf, sizeof buf), 5); /* own offset, at the start */
	ck_assert_int_eq(memcmp(buf, "hello", 5), 0);
	ck_assert_int_eq(fd_reopen(9999), -EBADF);
}
END_TEST

static char scratch[] = "/tmp/test_util.XXXXXX";

static void put_file(const char *name, const char *data, size_t size)
{
	char path[128];

	(void)snprintf(path, sizeof path, "%s/%s", scratch, name);
	_cleanup_fclose_ FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
}

START_TEST(test_util__read_file)
{
	_cleanup_free_ char *text = NULL, *proc = NULL, *zero = NULL;
	char path[128], *none = NULL;
	size_t size;

	put_file("a", "12345", 5);
	put_file("zero", "", 0);
	_cleanup_close_ int dir = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(read_file_limited(dir, "a", 5, &text, &size), 0);
	ck_assert_uint_eq(size, 5);
	ck_assert_str_eq(text, "12345");
	ck_assert_int_eq(read_file_limited(dir, "zero", 0, &zero, &size), 0);
	ck_assert_str_eq(zero, "");
	ck_assert_int_eq(read_file_limited(dir, "a", 4, &none, &size), -EFBIG);
	ck_assert_int_eq(read_file_limited(dir, "missing", 4, &none, &size), -ENOENT);
	ck_assert_int_eq(read_file_limited(AT_FDCWD, scratch, 4, &none, &size), -EISDIR);
	ck_assert_int_eq(symlinkat("a", dir, "link"), 0);
	ck_assert_int_eq(read_file_limited(dir, "link", 100, &none, &size), -ELOOP);
	ck_assert_int_eq(mkfifoat(dir, "fifo", 0600), 0);
	/* and does not hang */
	ck_assert_int_eq(read_file_limited(dir, "fifo", 100, &none, &size), -EINVAL);
	ck_assert_ptr_null(none);
	/* A file whose size stat() does not know. */
	ck_assert_int_eq(read_file_limited(AT_FDCWD, "/proc/self/status", 65536, &proc, &size), 0);
	ck_assert_uint_gt(size, 100);
	ck_assert_int_eq(read_file_limited(AT_FDCWD, "/proc/self/status", 100, &none, &size), -EFBIG);
	(void)snprintf(path, sizeof path, "%s/a", scratch);
	ck_assert_int_eq(mkdir_p(path, 0755), -ENOTDIR);
}
END_TEST

START_TEST(test_util__mkdir_p)
{
	char path[128];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/x/y//z", scratch);
	ck_assert_int_eq(mkdir_p(path, 0750), 0);
	ck_assert_int_eq(mkdir_p(path, 0750), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0750);
	(void)snprintf(path, sizeof path, "%s/trailing/", scratch);
	ck_assert_int_eq(mkdir_p(path, 0750), 0);
	ck_assert_int_eq(mkdir_p("", 0750), -EINVAL);
	ck_assert_int_eq(mkdir_p("/proc/nonsense/x", 0750), -ENOENT);
}
END_TEST

/* What log_line() writes to stderr, with JOURNAL_STREAM right or absent. */
static void capture_log(bool journal, void (*fn)(void), char *ret, size_t size)
{
	int pipe_fds[2], saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	char stream[64];
	struct stat st;
	ssize_t n;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	ck_assert_int_eq(fstat(pipe_fds[1], &st), 0);
	(void)snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino + !journal);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
	ck_assert_int_ge(dup2(pipe_fds[1], STDERR_FILENO), 0);
	log_init(LSN_LOG_INFO);
	fn();
	ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
	(void)close(saved);
	(void)close(pipe_fds[1]);
	n = read(pipe_fds[0], ret, size - 1);
	ret[n > 0 ? n : 0] = '\0';
	(void)close(pipe_fds[0]);
}

static void log_two(void)
{
	errno = EBUSY;
	log_warning("script=%s: hello\n<2>fake", "a.py");
	ck_assert_int_eq(errno, EBUSY);
	log_debug("not seen");
	log_error("%m");
}

static void log_long(void)
{
	_cleanup_free_ char *text = calloc(1, 100000);
	ck_assert_ptr_nonnull(text);
	memset(text, 'x', 99999);
	log_error("%s", text);
}

START_TEST(test_util__log)
{
	char text[8192];
	enum lsn_log_level level;

	capture_log(true, log_two, text, sizeof text);
	ck_assert_str_eq(text, "<4>script=a.py: hello <2>fake\n<3>Device or resource busy\n");
	capture_log(false, log_two, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "Z warning: script=a.py: hello <2>fake\n"));
	capture_log(true, log_long, text, sizeof text);
	ck_assert_uint_eq(strlen(text), 4096);
	ck_assert_int_eq(text[4095], '\n');
	ck_assert(log_level_parse("debug", &level) == 0 && level == LSN_LOG_DEBUG);
	ck_assert(log_level_parse("error", &level) == 0 && level == LSN_LOG_ERROR);
	ck_assert_int_eq(log_level_parse("loud", &level), -EINVAL);
}
END_TEST

static void remove_scratch(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)execlp("rm", "rm", "-rf", scratch, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
}

int main(void)
{
	Suite *suite = suite_create("util");
	TCase *tc = tcase_create("all");

	if (!mkdtemp(scratch))
		return 1;
	suite_add_tcase(suite, tc);
	tcase_add_test(tc, test_util__durations_that_are_accepted);
	tcase_add_test(tc, test_util__durations_that_are_refused);
	tcase_add_test(tc, test_util__sizes);
	tcase_add_test(tc, test_util__bools_and_numbers);
	tcase_add_test(tc, test_util__utf8);
	tcase_add_test(tc, test_util__what_is_cut_ends_with_a_whole_character);
	tcase_add_test(tc, test_util__quote);
	tcase_add_test(tc, test_util__small_strings);
	tcase_add_test(tc, test_util__memfd_is_sealed);
	tcase_add_test(tc, test_util__read_file);
	tcase_add_test(tc, test_util__mkdir_p);
	tcase_add_test(tc, test_util__log);
	int status = suite_run(suite);
	remove_scratch();
	return status;
}
