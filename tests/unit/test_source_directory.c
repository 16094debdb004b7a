/* The directory source, with real files, inotify and journal. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <util.h>

#include "log.h"
#include "script_file.h"
#include "source.h"
#include "suite.h"

static char base[64], scripts[96], database[96];
static sd_event *loop;
static struct journal *journal;
static struct registry *registry;
static struct source *source;
static struct source_config config;
static struct script_policy policy;
static unsigned changes;

static void on_changed(void *data)
{
	(void)data;
	changes++;
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
	char command[1000];
	va_list ap;
	int n = snprintf(command, sizeof command, "cd %s; ", base);
	va_start(ap, format);
	(void)vsnprintf(command + n, sizeof command - (size_t)n, format, ap);
	va_end(ap);
	ck_assert_msg(system(command) == 0, "%s", command);
}

static void start(void)
{
	struct lsn_error err = { 0 };
	ck_assert_msg(source_directory_new(loop, &config, registry, on_changed, NULL, &source, &err) == 0, "%s",
		      err.message);
}

static void setup(void)
{
	struct lsn_error err = { 0 };
	log_init(LSN_LOG_ERROR);
	strcpy(base, "/tmp/test_source.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	(void)snprintf(scripts, sizeof scripts, "%s/s", base);
	(void)snprintf(database, sizeof database, "%s/journal.db", base);
	ck_assert_int_eq(mkdir(scripts, 0755), 0);
	const struct journal_config journal_config = {
		.path = database,
		.size_max_bytes = UINT64_C(1) << 30,
		.jobs_max = 1000,
		.keep_usec = USEC_PER_SEC,
		.keep_jobs = 10,
	};
	policy = (struct script_policy){
		.defaults = { .timeout_usec = 12 * USEC_PER_SEC, .memory_bytes = 128 << 20 },
		.timeout_max_usec = 60 * USEC_PER_SEC,
		.memory_max_bytes = 256 << 20,
		.size_max = 1 << 20,
	};
	config = (struct source_config){
		.kind = SOURCE_DIRECTORY, .directory = scripts, .scripts_max = 1000, .size_max = 1 << 20
	};
	ck_assert_msg(journal_open(&journal_config, &journal, &err) == 0, "%s", err.message);
	ck_assert_int_eq(registry_new(journal, &policy, &registry), 0);
	ck_assert_int_eq(sd_event_new(&loop), 0);
}

static void teardown(void)
{
	source_free(source);
	source = NULL;
	sd_event_unref(loop);
	registry_free(registry);
	journal_close(journal);
	run("chmod -R u+rwX . && rm -rf %s", base);
}

static void turn(uint64_t usec)
{
	uint64_t until = now_monotonic_usec() + usec;
	for (uint64_t now = now_monotonic_usec(); now < until; now = now_monotonic_usec())
		ck_assert_int_ge(sd_event_run(loop, until - now), 0);
}

static enum script_state state_of(const char *name)
{
	const struct registry_entry *entry = registry_find(registry, name);
	return entry ? entry->state : SCRIPT_STATE_MAX; /* MAX: unknown */
}

static const char *reason_of(const char *name)
{
	const struct registry_entry *entry = registry_find(registry, name);
	return entry ? entry->reason : "";
}

/* Runs the loop until NAME is in STATE; more than a second is too long. Returns how long it
 * took. */
static uint64_t await(const char *name, enum script_state state)
{
	uint64_t begin = now_monotonic_usec();
	while (state_of(name) != state && now_monotonic_usec() < begin + 30 * USEC_PER_SEC)
		ck_assert_int_ge(sd_event_run(loop, 50000), 0);
	ck_assert_msg(state_of(name) == state, "%s is %d, not %d: %s", name, (int)state_of(name), (int)state,
		      reason_of(name));
	return now_monotonic_usec() - begin;
}

static void await_in_time(const char *name, enum script_state state)
{
	uint64_t took = await(name, state);
	ck_assert_msg(took < USEC_PER_SEC, "%s took %llu us", name, (unsigned long long)took);
}

static struct source_figures figures(void)
{
	struct source_figures f;
	source->ops->figures(source, &f);
	return f;
}

static void await_state(const char *state)
{
	uint64_t until = now_monotonic_usec() + 30 * USEC_PER_SEC;
	while (!streq(figures().state, state) && now_monotonic_usec() < until)
		ck_assert_int_ge(sd_event_run(loop, 50000), 0);
	ck_assert_str_eq(figures().state, state);
}

static void await_scans(uint64_t scans)
{
	uint64_t until = now_monotonic_usec() + 30 * USEC_PER_SEC;
	while (figures().scans < scans && now_monotonic_usec() < until)
		ck_assert_int_ge(sd_event_run(loop, 50000), 0);
	ck_assert_uint_ge(figures().scans, scans);
}

static void quiet_start(void)
{
	turn(60000); /* files made a moment ago would be looked at twice */
	start();
	await_state("current");
}

START_TEST(test_source_directory__what_is_there_at_the_start)
{
	run("printf 'print(1)' > s/a.py; echo 'topic = create/+/p/#' > s/a.py.meta; echo x > s/no.py; echo x > "
	    "s/x~; echo x > s/.hid; echo x > s/#y#; "
	    "echo x > s/b.swp; mkdir s/sub; echo x > s/sub/c.py; echo 'topic = a/#/b' > s/bad.py.meta; echo x > "
	    "s/bad.py; ln -s a.py s/link.py; "
	    "mkfifo s/fifo; printf 'a\\0b' > s/nul.py; echo 'topic = #' > s/nul.py.meta; echo 'colour = red' > "
	    "s/key.py.meta; echo x > s/key.py; "
	    "echo x > s/ml.py; ln -s a.py.meta s/ml.py.meta; head -c 1048577 /dev/zero | tr '\\0' x > s/big.py; "
	    "echo 'topic = #' > s/big.py.meta");
	quiet_start();
	ck_assert_int_eq(state_of("a.py"), SCRIPT_ACTIVE);
	ck_assert_str_eq(registry_find(registry, "a.py")->script->filter, "create/+/p/#");
	ck_assert_int_eq(state_of("no.py"), SCRIPT_NO_TOPIC);
	ck_assert_ptr_nonnull(strstr(reason_of("no.py"), "no.py.meta"));
	ck_assert_int_eq(state_of("bad.py"), SCRIPT_REFUSED);
	ck_assert_int_eq(state_of("link.py"), SCRIPT_REFUSED);
	ck_assert_ptr_nonnull(strstr(reason_of("link.py"), "symbolic link"));
	ck_assert_int_eq(state_of("ml.py"), SCRIPT_REFUSED);
	ck_assert_ptr_nonnull(strstr(reason_of("ml.py"), "ml.py.meta is a symbolic link"));
	ck_assert_int_eq(state_of("fifo"), SCRIPT_REFUSED);
	ck_assert_int_eq(state_of("nul.py"), SCRIPT_REFUSED);
	ck_assert_int_eq(state_of("key.py"), SCRIPT_NO_TOPIC);
	ck_assert_int_eq(state_of("big.py"), SCRIPT_REFUSED);
	ck_assert_ptr_nonnull(strstr(reason_of("big.py"), "1048576"));
	ck_assert_int_eq(state_of("sub/c.py"), SCRIPT_STATE_MAX);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE) + registry_count(registry, SCRIPT_NO_TOPIC) +
				  registry_count(registry, SCRIPT_REFUSED),
			  9);
	ck_assert_str_eq(figures().error, "");
	ck_assert_uint_gt(changes, 0);
}
END_TEST

START_TEST(test_source_directory__changes_take_effect_within_a_second)
{
	quiet_start();
	run("printf 'print(1)' > s/a.py");
	await_in_time("a.py", SCRIPT_NO_TOPIC);
	run("echo 'topic = #' > s/a.py.meta");
	await_in_time("a.py", SCRIPT_ACTIVE);
	char old[SCRIPT_VERSION_SIZE];
	strcpy(old, registry_find(registry, "a.py")->script->version);
	/* An editor's way: a new file renamed over the old one. */
	run("printf 'print(2)' > s/.a.py.swp; mv s/.a.py.swp s/a.py");
	uint64_t begin = now_monotonic_usec();
	while (streq(registry_find(registry, "a.py")->script->version, old) &&
	       now_monotonic_usec() < begin + USEC_PER_SEC)
		ck_assert_int_ge(sd_event_run(loop, 50000), 0);
	ck_assert_str_ne(registry_find(registry, "a.py")->script->version, old);
	run("ln s/a.py s/hard.py; echo 'topic = +' > s/hard.py.meta");
	await_in_time("hard.py", SCRIPT_ACTIVE);
	run("rm s/a.py.meta");
	await_in_time("a.py", SCRIPT_NO_TOPIC);
	run("rm s/a.py; mv s/hard.py s/moved.py");
	await_in_time("a.py", SCRIPT_STATE_MAX);
	await_in_time("hard.py", SCRIPT_STATE_MAX);
	await_in_time("moved.py", SCRIPT_NO_TOPIC);
}
END_TEST

START_TEST(test_source_directory__a_file_being_copied_is_not_read_half)
{
	quiet_start();
	char path[128];
	run("echo 'topic = #' > s/a.py.meta");
	(void)snprintf(path, sizeof path, "%s/a.py", scripts);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_int_eq(write(fd, "print(1)\n", 9), 9);
		turn(150000);
		ck_assert_int_eq(state_of("a.py"), SCRIPT_STATE_MAX);
	}
	/* A scan or a chmod in the middle makes no difference. */
	source->ops->rescan(source);
	ck_assert_int_eq(fchmod(fd, 0600), 0);
	ck_assert_int_eq(write(fd, "print(1)\n", 9), 9);
	turn(200000);
	ck_assert_int_eq(state_of("a.py"), SCRIPT_STATE_MAX);
	(void)close(fd);
	await_in_time("a.py", SCRIPT_ACTIVE);
	ck_assert_uint_eq(registry_find(registry, "a.py")->script->size, 81);
}
END_TEST

/* There are no rescans in these: what is noticed is noticed by itself. */
START_TEST(test_source_directory__a_link_that_is_swapped)
{
	run("rmdir s && mkdir one two && ln -s one s; echo pass > one/a.py; echo topic=create/# > one/a.py.meta; "
	    "echo pass > two/b.py; echo topic=create/# > two/b.py.meta");
	start();
	await("a.py", SCRIPT_ACTIVE);
	run("ln -s two new && mv -T new s");
	await("b.py", SCRIPT_ACTIVE);
	ck_assert_int_eq(state_of("a.py"), SCRIPT_STATE_MAX);
	run("rm s; ln -s %s/one s", base);
	await("a.py", SCRIPT_ACTIVE);
	ck_assert_int_eq(state_of("b.py"), SCRIPT_STATE_MAX);
}
END_TEST

/* Kubernetes' way: the folder is MOUNT/..data, a link that is replaced by a rename. */
START_TEST(test_source_directory__a_link_on_the_way_is_swapped)
{
	char path[sizeof base + sizeof "/way/m/..data"];
	(void)snprintf(path, sizeof path, "%s/way/m/..data", base);
	config.directory = path;
	run("mkdir -p real/m/..1 real/m/..2 other/m/..3 && ln -s real way && ln -s ..1 real/m/..data && "
	    "ln -s ..3 other/m/..data; for n in real/m/..1/a real/m/..2/b other/m/..3/c; do "
	    "echo pass > $n.py; echo topic=create/# > $n.py.meta; done");
	start();
	await("a.py", SCRIPT_ACTIVE);
	run("ln -s ..2 real/m/..tmp && mv -T real/m/..tmp real/m/..data && rm -r real/m/..1");
	await("b.py", SCRIPT_ACTIVE);
	ck_assert_int_eq(state_of("a.py"), SCRIPT_STATE_MAX);
	run("ln -s other new && mv -T new way");
	await("c.py", SCRIPT_ACTIVE);
	ck_assert_int_eq(state_of("b.py"), SCRIPT_STATE_MAX);
	run("mv other gone");
	await_state("away");
	run("mv gone other");
	await_state("current");
}
END_TEST

START_TEST(test_source_directory__a_folder_that_is_mounted_over)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		return; /* cannot mount */
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	run("echo pass > s/a.py; echo topic=create/# > s/a.py.meta");
	start();
	await("a.py", SCRIPT_ACTIVE);
	run("mkdir other; echo pass > other/b.py; echo topic=create/# > other/b.py.meta; mount --bind other s");
	await("b.py", SCRIPT_ACTIVE);
	ck_assert_int_eq(state_of("a.py"), SCRIPT_STATE_MAX);
	run("umount s");
	await("a.py", SCRIPT_ACTIVE);
}
END_TEST

START_TEST(test_source_directory__rescans_read_only_what_changed)
{
	for (unsigned i = 0; i < 50; i++)
		run("echo 'print(%u)' > s/s%u.py; echo 'topic = create/#' > s/s%u.py.meta", i, i, i);
	quiet_start();
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 50);
	turn(300000);
	uint64_t fetches = figures().fetches;
	unsigned before = changes;
	source->ops->rescan(source);
	await_scans(2);
	ck_assert_uint_eq(figures().fetches, fetches);
	ck_assert_uint_eq(changes, before);
	/* Also over a restart. */
	source_free(source);
	registry_free(registry);
	ck_assert_int_eq(registry_new(journal, &policy, &registry), 0);
	ck_assert_int_eq(registry_load(registry, NULL), 0);
	start();
	await_scans(1);
	ck_assert_uint_eq(figures().fetches, 0);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 50);
	source->ops->revalidate(source);
	await_scans(2);
	ck_assert_uint_eq(figures().fetches, 50);
}
END_TEST

START_TEST(test_source_directory__folder_missing_then_there_then_replaced)
{
	run("rmdir s");
	start();
	await_state("away");
	ck_assert_ptr_nonnull(strstr(figures().error, "cannot be opened"));
	run("mkdir new; echo 1 > new/a.py; echo 'topic = #' > new/a.py.meta; mv new s");
	(void)await("a.py", SCRIPT_ACTIVE);
	ck_assert_str_eq(figures().error, "");
	/* Another folder in its place. */
	run("mkdir new; echo 1 > new/b.py; echo 'topic = #' > new/b.py.meta; mv s old; mv new s");
	(void)await("b.py", SCRIPT_ACTIVE);
	ck_assert_int_eq(state_of("a.py"), SCRIPT_STATE_MAX);
	run("echo 1 > s/c.py");
	await_in_time("c.py", SCRIPT_NO_TOPIC);
	/* Gone: what is registered serves on. */
	run("rm -r s");
	await_state("away");
	turn(200000);
	ck_assert_int_eq(figures().errors > 0, 1);
	run("mkdir s; echo 1 > s/d.py");
	(void)await("d.py", SCRIPT_NO_TOPIC);
	await_in_time("d.py", SCRIPT_NO_TOPIC);
	ck_assert_int_eq(state_of("b.py"), SCRIPT_STATE_MAX);
}
END_TEST

/* A name that was due when the folder went must not keep the loop awake. */
START_TEST(test_source_directory__a_folder_that_goes_with_a_change_costs_nothing)
{
	unsigned turns = 0;

	quiet_start();
	run("echo 1 >%s/a.py && echo 'topic = x' >%s/a.py.meta", scripts, scripts);
	turn(10 * USEC_PER_MSEC); /* it has seen the change */
	run("rm -r %s", scripts);
	await_state("away");
	for (uint64_t end = now_monotonic_usec() + USEC_PER_SEC; now_monotonic_usec() < end; turns++)
		(void)sd_event_run(loop, 100 * USEC_PER_MSEC);
	ck_assert_uint_lt(turns, 100);
}
END_TEST

START_TEST(test_source_directory__subfolders)
{
	config.recursive = true;
	run("mkdir -p s/sub/deep s/.git; echo 1 > s/sub/deep/a.py; echo 'topic = #' > s/sub/deep/a.py.meta; echo 1 "
	    "> s/.git/x.py; mkdir out; echo 1 > out/o.py; "
	    "ln -s ../out s/outside");
	quiet_start();
	ck_assert_int_eq(state_of("sub/deep/a.py"), SCRIPT_ACTIVE);
	ck_assert_int_eq(state_of(".git/x.py"), SCRIPT_STATE_MAX);
	ck_assert_int_eq(state_of("outside/o.py"), SCRIPT_STATE_MAX);
	ck_assert_int_eq(state_of("outside"), SCRIPT_REFUSED);
	run("mkdir s/more");
	turn(300000);
	run("echo 1 > s/more/b.py");
	await_in_time("more/b.py", SCRIPT_NO_TOPIC);
	run("echo 1 > s/sub/deep/c.py");
	await_in_time("sub/deep/c.py", SCRIPT_NO_TOPIC);
	run("mv s/sub s/other");
	await_in_time("other/deep/a.py", SCRIPT_ACTIVE);
	await_in_time("sub/deep/a.py", SCRIPT_STATE_MAX);
	run("rm -r s/other");
	await_in_time("other/deep/a.py", SCRIPT_STATE_MAX);
	/* A folder swapped for a link to the outside between two looks. */
	run("mv s/more m; mkdir evil; echo 1 > evil/b.py; ln -s ../evil s/more");
	await_in_time("more/b.py", SCRIPT_STATE_MAX);
	await_in_time("more", SCRIPT_REFUSED);
}
END_TEST

START_TEST(test_source_directory__limit_of_scripts)
{
	config.scripts_max = 3;
	run("for i in b c d e f; do echo 1 > s/$i.py; done");
	quiet_start();
	ck_assert_uint_eq(registry_count(registry, SCRIPT_NO_TOPIC), 3);
	ck_assert_int_eq(state_of("b.py"), SCRIPT_NO_TOPIC);
	ck_assert_int_eq(state_of("e.py"), SCRIPT_STATE_MAX);
	ck_assert_ptr_nonnull(strstr(figures().error, "scripts_max"));
	/* A newcomer does not push out who is there. */
	run("echo 1 > s/a.py");
	turn(300000);
	source->ops->rescan(source);
	await_scans(2);
	ck_assert_int_eq(state_of("a.py"), SCRIPT_STATE_MAX);
	ck_assert_int_eq(state_of("d.py"), SCRIPT_NO_TOPIC);
	run("rm s/b.py");
	await_in_time("b.py", SCRIPT_STATE_MAX);
	source->ops->rescan(source);
	await_scans(3);
	ck_assert_int_eq(state_of("a.py"), SCRIPT_NO_TOPIC);
}
END_TEST

START_TEST(test_source_directory__a_storm_of_files)
{
	quiet_start();
	run("for i in $(seq 1 2500); do echo 1 > s/$i.py; done");
	config.scripts_max = 1000;
	uint64_t until = now_monotonic_usec() + 20 * USEC_PER_SEC;
	while (registry_count(registry, SCRIPT_NO_TOPIC) < 1000 && now_monotonic_usec() < until)
		ck_assert_int_ge(sd_event_run(loop, 50000), 0);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_NO_TOPIC), 1000);
	run("rm -r s; mkdir s; echo 1 > s/last.py");
	(void)await("last.py", SCRIPT_NO_TOPIC);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_NO_TOPIC), 1);
}
END_TEST

static int on_waiting(sd_event_source *event_source, int fd, uint32_t revents, void *data)
{
	(void)event_source, (void)fd, (void)revents;
	if (registry_count(registry, SCRIPT_ACTIVE) == 0)
		++*(unsigned *)data;
	return 0;
}

/* While many files are looked at, the loop has time for a descriptor that is readable. */
START_TEST(test_source_directory__a_scan_leaves_time_for_others)
{
	int ends[2];
	unsigned turns = 0;
	sd_event_source *waiting;

	run("cd s && for i in $(seq 1000); do echo 'topic = create/#' >$i.py.meta; echo pass >$i.py; done");
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	ck_assert_int_ge(sd_event_add_io(loop, &waiting, ends[0], EPOLLIN, on_waiting, &turns), 0);
	start();
	for (uint64_t end = now_monotonic_usec() + 20 * USEC_PER_SEC; registry_count(registry, SCRIPT_ACTIVE) < 1000;) {
		ck_assert_uint_lt(now_monotonic_usec(), end);
		ck_assert_int_ge(sd_event_run(loop, 10 * USEC_PER_MSEC), 0);
	}
	ck_assert_uint_gt(turns, 5);
	sd_event_source_disable_unref(waiting);
	(void)close(ends[0]);
	(void)close(ends[1]);
}
END_TEST

START_TEST(test_source_directory__unreadable_files)
{
	if (geteuid() == 0)
		return; /* nothing is unreadable to root; the directory's tests run as a user too */
	run("echo 1 > s/a.py; echo 'topic = #' > s/a.py.meta");
	quiet_start();
	ck_assert_int_eq(state_of("a.py"), SCRIPT_ACTIVE);
	turn(300000);
	run("chmod 0 s/a.py");
	await_in_time("a.py", SCRIPT_FETCH_FAILED);
	ck_assert_ptr_nonnull(registry_find(registry, "a.py")->script);
	run("chmod 644 s/a.py");
	await_in_time("a.py", SCRIPT_ACTIVE);
}
END_TEST

START_TEST(test_source_directory__names_of_files)
{
	static const char *const ignored[] = { ".x",  "x~",    "x.swp", "x.tmp", "x.meta",
					       "#x#", "x.pyc", ".",     "..",    "__pycache__" };
	static const char *const taken[] = { "x", "x.py", "x.sh", "swp", "x y", "tmp", "x#" };
	for (size_t i = 0; i < ELEMENTSOF(ignored); i++)
		ck_assert_msg(script_file_ignored(ignored[i]), "%s", ignored[i]);
	for (size_t i = 0; i < ELEMENTSOF(taken); i++)
		ck_assert_msg(!script_file_ignored(taken[i]), "%s", taken[i]);
	run("printf 1 > \"s/bad$(printf '\\377')name.py\"; printf 1 > \"s/new\nline.py\"; echo 1 > 's/good näme.py'");
	quiet_start();
	ck_assert_uint_eq(registry_count(registry, SCRIPT_REFUSED), 2);
	ck_assert_int_eq(state_of("good näme.py"), SCRIPT_NO_TOPIC);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_directory");
	TCase *tc = tcase_create("source_directory");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_source_directory__what_is_there_at_the_start);
	tcase_add_test(tc, test_source_directory__changes_take_effect_within_a_second);
	tcase_add_test(tc, test_source_directory__a_file_being_copied_is_not_read_half);
	tcase_add_test(tc, test_source_directory__a_link_that_is_swapped);
	tcase_add_test(tc, test_source_directory__a_link_on_the_way_is_swapped);
	tcase_add_test(tc, test_source_directory__a_folder_that_is_mounted_over);
	tcase_add_test(tc, test_source_directory__rescans_read_only_what_changed);
	tcase_add_test(tc, test_source_directory__folder_missing_then_there_then_replaced);
	tcase_add_test(tc, test_source_directory__a_folder_that_goes_with_a_change_costs_nothing);
	tcase_add_test(tc, test_source_directory__subfolders);
	tcase_add_test(tc, test_source_directory__limit_of_scripts);
	tcase_add_test(tc, test_source_directory__a_storm_of_files);
	tcase_add_test(tc, test_source_directory__a_scan_leaves_time_for_others);
	tcase_add_test(tc, test_source_directory__unreadable_files);
	tcase_add_test(tc, test_source_directory__names_of_files);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
