/* Loading, swapping and guarding executors: real modules, good and bad, from ../plugins and
 * ../../executors beside this program. Each test has a folder of modules and a run folder of its
 * own. */
#include "executors.h"

#include "log.h"
#include "module.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <util.h>

static sd_event *loop;
static struct executors *set;
static char base[64], folder[96], run_dir[96], plugins[PATH_MAX];
static struct lsn_error err;

static struct {
	unsigned done, ready;
	struct job *job;
	struct executor *executor;
	struct lsn_result result;
} seen;

static void on_done(void *data, struct run *run, const struct lsn_result *result)
{
	(void)data;
	seen.done++;
	seen.job = run->job;
	seen.executor = run->executor;
	seen.result = *result;
	ck_assert_int_eq(run->state, RUN_DONE);
}

static void on_ready(void *data, struct executor *executor)
{
	(void)data;
	(void)executor;
	seen.ready++;
}

/* ---------------------------------------------------------------------------------------- tools */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void setup(void)
{
	struct executors_hooks hooks = { .ready = on_ready, .done = on_done };

	log_init(LSN_LOG_ERROR);
	memset(&seen, 0, sizeof seen);
	memset(&err, 0, sizeof err);
	(void)snprintf(base, sizeof base, "/tmp/test_executors.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	(void)snprintf(folder, sizeof folder, "%s/executors", base);
	(void)snprintf(run_dir, sizeof run_dir, "%s/run", base);
	ck_assert_int_eq(mkdir(folder, 0755), 0);
	ck_assert_int_ge(sd_event_new(&loop), 0);
	ck_assert_int_eq(executors_new(loop, &hooks, &set), 0);
}

static void teardown(void)
{
	executors_free(set);
	set = NULL;
	sd_event_unref(loop);
	(void)nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void path_of(char *path, size_t size, const char *name) { (void)snprintf(path, size, "%s/%s.so", folder, name); }

/* Copy NAME.so into the folder; REVISION, one digit, makes another version of plugin `good`. */
static void install(const char *name, char revision)
{
	char path[PATH_MAX + 64], *data, *at;
	size_t size;

	(void)snprintf(path, sizeof path, "%s/%s%s.so", plugins, streq(name, "json-lines") ? "../../executors/" : "",
		       name);
	ck_assert_msg(read_file_limited(AT_FDCWD, path, 64 << 20, &data, &size) == 0, "%s is missing: build it first",
		      path);
	at = memmem(data, size, "revision-1", 10);
	if (at && revision)
		at[9] = revision;
	path_of(path, sizeof path, name);
	(void)unlink(path);
	FILE *file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, size, file), size);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
	free(data);
}

/* A configuration of sections "NAME" or "NAME=MODULE", each with the same OPTIONS ("key=value",
 * NULL-terminated list or NULL). */
struct setting {
	struct executors_config config;
	struct executor_config sections[4];
	struct lsn_option options[4];
	char text[4][128];
};

static void set_options(struct setting *s, const char *const *options)
{
	size_t count = 0;

	for (; options && options[count]; count++) {
		(void)snprintf(s->text[count], sizeof s->text[count], "%s", options[count]);
		char *value = strchr(s->text[count], '=');
		*value = 0;
		s->options[count] = (struct lsn_option){
			.key = s->text[count], .value = value + 1, .file = "test.ini", .line = (unsigned)count + 1
		};
	}
	for (size_t i = 0; i < s->config.executor_count; i++) {
		s->sections[i].options = count ? s->options : NULL;
		s->sections[i].option_count = count;
	}
}

static void make_setting(struct setting *s, const char *sections, const char *const *options)
{
	char text[128], *rest = text, *one;

	memset(s, 0, sizeof *s);
	s->config = (struct executors_config){ .folder = folder,
					       .run_dir = run_dir,
					       .libexec_dir = (char *)"/usr/libexec",
					       .listener = (char *)"test",
					       .executors = s->sections };
	(void)snprintf(text, sizeof text, "%s", sections);
	while ((one = strsep(&rest, " "))) {
		struct executor_config *section = &s->sections[s->config.executor_count++];
		char *module = strchr(one, '=');
		if (module)
			*module++ = 0;
		(void)snprintf(section->name, sizeof section->name, "%s", one);
		(void)snprintf(section->module, sizeof section->module, "%s", module ? module : "");
		section->concurrency = 8;
	}
	set_options(s, options);
}

static int prepare(const char *sections, const char *const *options)
{
	struct setting s;

	make_setting(&s, sections, options);
	return executors_prepare_now(set, &s.config, &err); /* copies: s may go */
}

static void apply(const char *sections, const char *const *options)
{
	int r = prepare(sections, options);

	ck_assert_msg(r == 0, "%s", err.message);
	executors_swap(set);
}

static struct executor *load(const char *name, const char *const *options)
{
	install(name, 0);
	apply(name, options);
	ck_assert_ptr_nonnull(executors_find(set, name));
	return executors_find(set, name);
}

/* NAME must be refused, with a message that holds SAYS. */
static void refused(const char *name, int code, const char *says)
{
	int r = prepare(name, NULL);

	ck_assert_msg(r == code, "code %d, expected %d: %s", r, code, err.message);
	ck_assert_msg(strstr(err.message, says) != NULL, "'%s' does not say '%s'", err.message, says);
	ck_assert_msg(strstr(err.message, name) != NULL, "'%s' does not name %s", err.message, name);
	ck_assert_ptr_null(executors_find(set, name));
}

static void turn(unsigned msec)
{
	while (sd_event_run(loop, msec * USEC_PER_MSEC) > 0)
		;
}

static void wait_done(unsigned count)
{
	uint64_t end = now_monotonic_usec() + 5 * USEC_PER_SEC;

	while (seen.done < count && now_monotonic_usec() < end)
		(void)sd_event_run(loop, USEC_PER_SEC / 10);
	ck_assert_uint_eq(seen.done, count);
}

static void make_job(struct job *job, uint64_t id, const char *topic)
{
	memset(job, 0, sizeof *job);
	job->abi = (struct lsn_job){ .version = LSN_ABI_VERSION,
				     .size = sizeof job->abi,
				     .id = id,
				     .event = 7,
				     .attempt = 1,
				     .script = "a.py",
				     .script_version = "abc",
				     .topic = topic,
				     .topic_size = strlen(topic),
				     .payload_fd = -1,
				     .script_fd = -1,
				     .timeout_usec = 1000000,
				     .memory_bytes = 1 << 20 };
	job->refs = 1000; /* it is the test's */
	job->state = JOB_STARTING;
}

static int reserve(struct executor *executor, struct job *job)
{
	return executor_reserve(executor, job, NULL, NULL, &job->run, &err);
}

static void start(struct executor *executor, struct job *job)
{
	ck_assert_msg(reserve(executor, job) == 0, "%s", err.message);
	ck_assert_ptr_eq(job->run->executor, executor);
	job->run->abi.payload_fd = job->abi.payload_fd;
	job->state = JOB_RUNNING;
	ck_assert_msg(executor_submit(job->run, &err) == 0, "%s", err.message);
}

static void find_fact(void *data, const char *key, const char *value)
{
	const char **fact = data;
	static char found[64];

	if (streq(key, fact[0])) {
		(void)snprintf(found, sizeof found, "%s", value);
		fact[1] = found;
	}
}

static const char *fact(struct executor *executor, const char *key)
{
	const char *facts[2] = { key, "" };

	executor_describe(executor, find_fact, (void *)facts);
	return facts[1];
}

static void count_one(void *data, struct executor *executor)
{
	(void)executor;
	++*(unsigned *)data;
}

static unsigned instances(void)
{
	unsigned count = 0;

	executors_each(set, count_one, &count);
	return count;
}

/* Fork, run WORK in the child, return its wait status. */
static int in_child(void (*work)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		work();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* ---------------------------------------------------------------------------------- bad modules */

START_TEST(test_executors__bad_modules_are_refused_with_a_reason)
{
	static const struct {
		const char *name;
		int code;
		const char *says;
	} bad[] = {
		{ "bad-no-symbol", -ELIBBAD, "exports no symbol lsn_executor" },
		{ "bad-major", -ELIBBAD, "built for executor ABI 2.0, this daemon has 1." },
		{ "bad-short-struct", -ELIBBAD, "says size =" },
		{ "bad-size-lies", -ELIBBAD, "bytes but says size" },
		{ "bad-name", -ELIBBAD, "calls itself 'somebody-else'" },
		{ "bad-no-submit", -ELIBBAD, "no submit()" },
		{ "bad-load-crashes", -ENOEXEC, "crashed while being loaded (signal 11" },
		{ "bad-load-exits", -ENOEXEC, "ended the process while being loaded (exit status 0)" },
		{ "bad-load-hangs", -ETIMEDOUT, "not loaded after 5 s" },
		{ "bad-init-fails", -EINVAL, "is not to my taste" },
	};
	static struct job job;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		install(bad[i].name, 0);
		refused(bad[i].name, bad[i].code, bad[i].says);
	}
	struct executor *executor = load("good", NULL); /* and the daemon serves on */
	make_job(&job, 1, "create/resource/a");
	start(executor, &job);
	wait_done(1);
}
END_TEST

START_TEST(test_executors__files_that_are_no_modules)
{
	char path[PATH_MAX];

	install("good", 0);
	refused("nothing-there", -ENOENT, "these modules exist: good");
	refused("Bad_Name", -EINVAL, "a name is 1 to 32 of");
	ck_assert_int_eq(prepare("good=../good", NULL), -EINVAL);
	path_of(path, sizeof path, "text");
	FILE *file = fopen(path, "we");
	ck_assert_int_ge(fputs("hello\n", file), 0);
	(void)fclose(file);
	refused("text", -ENOEXEC, "it will not load");
	path_of(path, sizeof path, "empty");
	(void)fclose(fopen(path, "we"));
	refused("empty", -ENOEXEC, "not a module");
	path_of(path, sizeof path, "folder");
	ck_assert_int_eq(mkdir(path, 0755), 0);
	refused("folder", -EINVAL, "not a regular file");
	path_of(path, sizeof path, "pipe");
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	refused("pipe", -EINVAL, "not a regular file");
	path_of(path, sizeof path, "link");
	ck_assert_int_eq(symlink("good.so", path), 0);
	refused("link", -EPERM, "is a symbolic link");
}
END_TEST

START_TEST(test_executors__files_others_can_write_are_refused)
{
	char path[PATH_MAX];

	install("good", 0);
	path_of(path, sizeof path, "good");
	ck_assert_int_eq(chmod(path, 0664), 0);
	refused("good", -EPERM, "by its group, who could put other code into the daemon: chmod go-w");
	ck_assert_int_eq(chmod(path, 0646), 0);
	refused("good", -EPERM, "by everybody");
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_int_eq(chmod(folder, 0777), 0);
	refused("good", -EPERM, folder);
	ck_assert_int_eq(chmod(folder, 0755), 0);
	if (geteuid() == 0) { /* only root can give files away */
		ck_assert_int_eq(chown(path, 4711, 0), 0);
		refused("good", -EPERM, "belongs to user 4711");
		ck_assert_int_eq(chown(path, 0, 0), 0);
		ck_assert_int_eq(chown(folder, 4711, 0), 0);
		refused("good", -EPERM, "belongs to user 4711");
		ck_assert_int_eq(chown(folder, 0, 0), 0);
	}
	apply("good", NULL);
}
END_TEST

static void prepare_crasher(void) { (void)prepare("bad-init-crashes", NULL); }

START_TEST(test_executors__crash_in_init_is_told_by_the_next_daemon)
{
	char marker[PATH_MAX], so[PATH_MAX];
	int status;

	install("bad-init-crashes", 0);
	status = in_child(prepare_crasher);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
	refused("bad-init-crashes", -ENOEXEC,
		"crashed the daemon inside init() and is not tried again: replace the module, or delete");
	refused("bad-init-crashes", -ENOEXEC, run_dir); /* still */
	(void)snprintf(marker, sizeof marker, "%s/bad-init-crashes.crashed", run_dir);
	ck_assert_int_eq(access(marker, F_OK), 0);

	/* Another version is tried: here a good module under the same section name. */
	install("good", 0);
	apply("bad-init-crashes=good", NULL);
	ck_assert_int_eq(access(marker, F_OK), -1);

	/* With the marker gone, the bad one too. */
	path_of(so, sizeof so, "bad-init-crashes");
	status = in_child(prepare_crasher);
	ck_assert(WIFSIGNALED(status));
}
END_TEST

/* ----------------------------------------------------------------------------------- the guards */

START_TEST(test_executors__second_done_is_ignored)
{
	struct executor *executor = load("bad-done-twice", NULL);
	static struct job job;

	make_job(&job, 1, "create/resource/a");
	start(executor, &job);
	ck_assert_uint_eq(executor_running(executor), 1);
	wait_done(1);
	turn(10);
	ck_assert_uint_eq(seen.done, 1);
	ck_assert_ptr_eq(seen.job, &job);
	ck_assert_uint_eq(seen.result.outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(executor_running(executor), 0);
}
END_TEST

START_TEST(test_executors__done_inside_submit_is_lost)
{
	struct executor *executor = load("bad-done-inside", NULL);
	static struct job job;

	make_job(&job, 1, "create/resource/a");
	start(executor, &job);
	ck_assert_uint_eq(seen.done, 0); /* not from inside submit() */
	wait_done(1);
	ck_assert_uint_eq(seen.result.outcome, LSN_OUTCOME_LOST);
	ck_assert_ptr_nonnull(strstr(seen.result.message, "before it had taken it"));

	job.abi.payload_size = 1; /* reports it, and refuses it: it is refused, once */
	ck_assert_int_eq(reserve(executor, &job), 0);
	ck_assert_int_eq(executor_submit(job.run, &err), -EIO);
	ck_assert_str_eq(err.message, "and yet it cannot be run");
	turn(10);
	ck_assert_uint_eq(seen.done, 1);
	ck_assert_uint_eq(executor_running(executor), 0);
}
END_TEST

START_TEST(test_executors__done_never_is_cut_off_at_the_end)
{
	struct executor *executor = load("bad-done-never", NULL);
	static struct job job;

	make_job(&job, 1, "create/resource/a");
	start(executor, &job);
	turn(10);
	ck_assert_uint_eq(executor_running(executor), 1);
	executor_cancel(job.run); /* not offered: nothing happens */
	ck_assert(!executor_detach(executor));
	executors_free(set);
	set = NULL;
	ck_assert_uint_eq(seen.done, 0);
}
END_TEST

static const struct lsn_result *result_for(struct executor *executor, const char *topic)
{
	static struct job job;
	unsigned before = seen.done;

	make_job(&job, 1, topic);
	job.abi.output = LSN_OUTPUT_CAPTURE;
	job.abi.output_limit_bytes = 1000;
	start(executor, &job);
	wait_done(before + 1);
	return &seen.result;
}

START_TEST(test_executors__results_that_are_none)
{
	struct executor *executor = load("bad-result", NULL);
	static const char *const lost[] = { "null", "major", "size", "outcome" };
	const struct lsn_result *result;

	for (size_t i = 0; i < ELEMENTSOF(lost); i++) {
		result = result_for(executor, lost[i]);
		ck_assert_msg(result->outcome == LSN_OUTCOME_LOST, "%s", lost[i]);
		ck_assert_str_ne(result->message, "");
	}
	result = result_for(executor, "short");
	ck_assert_uint_eq(result->outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_int_eq(result->signal, 0);
	ck_assert_uint_eq(result->size, sizeof *result);
	result = result_for(executor, "flood");
	ck_assert_uint_eq(result->out_size, 1000);
	ck_assert_uint_eq(result->out_truncated, 1);
	ck_assert(utf8_valid(result->message, strlen(result->message)));
	ck_assert_uint_eq(strlen(result->message), LSN_MESSAGE_SIZE - 1);
}
END_TEST

/* -------------------------------------------------------------------------------- life of a job */

START_TEST(test_executors__reserve_submit_done_forget)
{
	static const char *const options[] = { "delay_ms=1", NULL };
	struct executor *executor = load("good", options);
	static struct job job;

	ck_assert_str_eq(executor_name(executor), "good");
	ck_assert_uint_eq(strlen(executor_version(executor)), 12);
	make_job(&job, 1, "create/resource/a");
	start(executor, &job);
	ck_assert_str_eq(job.run->place, "good/0");
	wait_done(1);
	ck_assert_uint_eq(seen.result.duration_usec, 1000);
	turn(10);
	ck_assert_uint_ge(seen.ready, 1);
	executor_forget(job.run);
	ck_assert_str_eq(fact(executor, "forgets"), "1");
	ck_assert_str_eq(fact(executor, "submits"), "1");
}
END_TEST

START_TEST(test_executors__reserve_refuses_and_release_gives_back)
{
	static const char *const options[] = { "places=1", NULL };
	struct executor *executor = load("good", options);
	static struct job a, b;

	make_job(&a, 1, "t");
	make_job(&b, 2, "t");
	ck_assert_int_eq(reserve(executor, &a), 0);
	ck_assert_int_eq(reserve(executor, &b), -EAGAIN);
	executor_release(a.run);
	ck_assert_str_eq(fact(executor, "reserved"), "0");
	b.abi.script_size = 4711;
	ck_assert_int_eq(reserve(executor, &b), -EFBIG);
	ck_assert_str_eq(err.message, "such a script can never run here");
	b.abi.script_size = 4712;
	ck_assert_int_eq(reserve(executor, &b), 0);
	ck_assert_int_eq(executor_submit(b.run, &err), -EACCES);
	ck_assert_uint_eq(executor_running(executor), 0);
}
END_TEST

START_TEST(test_executors__concurrency_is_ours)
{
	struct executor *executor;
	struct setting s;
	static struct job jobs[3];

	install("bad-done-never", 0);
	make_setting(&s, "bad-done-never", NULL);
	s.sections[0].concurrency = 2;
	ck_assert_int_eq(executors_prepare_now(set, &s.config, &err), 0);
	executors_swap(set);
	executor = executors_find(set, "bad-done-never");
	for (unsigned i = 0; i < 3; i++)
		make_job(&jobs[i], i + 1, "t");
	start(executor, &jobs[0]);
	ck_assert_str_eq(jobs[0].run->place, ""); /* a module without reserve() */
	start(executor, &jobs[1]);
	ck_assert_int_eq(reserve(executor, &jobs[2]), -EAGAIN);
	s.sections[0].concurrency = 3; /* a new figure needs no new instance */
	s.sections[0].open = true;
	ck_assert_int_eq(executors_prepare_now(set, &s.config, &err), 0);
	executors_swap(set);
	ck_assert_ptr_eq(executors_find(set, "bad-done-never"), executor);
	ck_assert(executor_get_config(executor)->open);
	start(executor, &jobs[2]);
}
END_TEST

START_TEST(test_executors__cancel)
{
	static const char *const options[] = { "delay_ms=60000", NULL };
	struct executor *executor = load("good", options);
	static struct job job;

	make_job(&job, 1, "t");
	start(executor, &job);
	executor_cancel(job.run);
	ck_assert_uint_eq(seen.done, 1);
	ck_assert_uint_eq(seen.result.outcome, LSN_OUTCOME_CANCELLED);
	executor_cancel(job.run);
	ck_assert_str_eq(fact(executor, "cancels"), "1");
}
END_TEST

START_TEST(test_executors__recover)
{
	struct executor *executor = load("good", NULL);
	static struct job job;

	make_job(&job, 1, "t");
	job.state = JOB_RECOVERING;
	ck_assert_int_eq(executor_recover(executor, &job, &job.run, &err), -ENOENT);
	ck_assert_str_eq(err.message, "no place, no trace");
	ck_assert_int_eq(job.run->state, RUN_DONE);
	(void)snprintf(job.place, sizeof job.place, "good/0");
	ck_assert_int_eq(executor_recover(executor, &job, &job.run, &err), 0);
	ck_assert_ptr_eq(job.run->executor, executor);
	wait_done(1);
	executor = load("bad-done-never", NULL);
	ck_assert_int_eq(executor_recover(executor, &job, &job.run, &err), -ENOSYS);
}
END_TEST

START_TEST(test_executors__detach_leaves_jobs_behind)
{
	static const char *const options[] = { "delay_ms=1", NULL };
	struct executor *executor = load("good", options);
	static struct job job;

	make_job(&job, 1, "t");
	start(executor, &job);
	ck_assert(executor_detach(executor));
	turn(20); /* this module reports all the same */
	ck_assert_uint_eq(seen.done, 0);
	ck_assert_int_eq(reserve(executor, &job), -EAGAIN);
}
END_TEST

static void on_probe(void *data, enum lsn_probe_level level, const char *what, const char *remedy)
{
	ck_assert_int_eq(level, LSN_PROBE_OK);
	ck_assert_str_eq(what, "timers");
	ck_assert_ptr_null(remedy);
	++*(unsigned *)data;
}

static void on_probe_end(void *data) { *(unsigned *)data += 10; }

START_TEST(test_executors__probe_ends_once)
{
	struct executor *executor = load("good", NULL);
	unsigned count = 0;

	ck_assert_int_eq(executor_probe(executor, on_probe, on_probe_end, &count), 0);
	ck_assert_uint_eq(count, 11);
	executor = load("bad-done-never", NULL);
	ck_assert_int_eq(executor_probe(executor, on_probe, on_probe_end, &count), -ENOSYS);
}
END_TEST

/* --------------------------------------------------------------------------------------- reload */

START_TEST(test_executors__unchanged_sections_keep_their_instance)
{
	static const char *const options[] = { "delay_ms=1", NULL }, *const others[] = { "delay_ms=2", NULL };
	struct executor *executor = load("good", options);

	apply("good", options);
	ck_assert_ptr_eq(executors_find(set, "good"), executor);
	ck_assert_uint_eq(instances(), 1);
	apply("good", others);
	ck_assert_ptr_ne(executors_find(set, "good"), executor);
	turn(0);
	ck_assert_uint_eq(instances(), 1);
	apply("good second=good", others); /* two instances of one module */
	ck_assert_uint_eq(instances(), 2);
	ck_assert_str_eq(executor_version(executors_find(set, "good")),
			 executor_version(executors_find(set, "second")));
	ck_assert_ptr_ne(executors_find(set, "good"), executors_find(set, "second"));
}
END_TEST

START_TEST(test_executors__new_version_beside_the_old)
{
	static const char *const options[] = { "delay_ms=60000", NULL };
	struct executor *old = load("good", options), *new;
	char version[13];
	static struct job job, later;

	make_job(&job, 1, "t");
	start(old, &job);
	(void)snprintf(version, sizeof version, "%s", executor_version(old));
	install("good", '2');
	apply("good", options);
	new = executors_find(set, "good");
	ck_assert_ptr_ne(new, old);
	ck_assert_str_ne(executor_version(new), version);
	ck_assert_str_eq(fact(new, "revision"), "revision-2");
	/* both are in memory, each with its own code and data */
	ck_assert_str_eq(fact(old, "revision"), "revision-1");
	ck_assert(executor_draining(old));
	make_job(&later, 2, "t");
	ck_assert_int_eq(reserve(old, &later), -EAGAIN);
	start(new, &later);
	turn(0);
	ck_assert_uint_eq(instances(), 2);

	/* It ends with its last job, once the result is forgotten; and the dispatcher asks for
	 * the name. */
	executor_cancel(job.run);
	turn(0);
	ck_assert_uint_eq(instances(), 2);
	executor_forget(job.run);
	ck_assert_str_eq(fact(old, "forgets"), "1");
	ck_assert_str_eq(fact(new, "forgets"), "0");
	turn(0);
	ck_assert_uint_eq(instances(), 1);

	install("good", '1'); /* back again, after it was unloaded */
	apply("good", options);
	ck_assert_str_eq(executor_version(executors_find(set, "good")), version);
	ck_assert_str_eq(fact(executors_find(set, "good"), "revision"), "revision-1");
	executor_cancel(later.run);
}
END_TEST

START_TEST(test_executors__removed_section_drains)
{
	static const char *const options[] = { "delay_ms=1", NULL };
	struct executor *executor = load("good", options);
	static struct job job;

	make_job(&job, 1, "t");
	start(executor, &job);
	install("bad-done-never", 0);
	apply("bad-done-never", NULL);
	ck_assert_uint_eq(instances(), 2);
	wait_done(1);
	turn(0);
	ck_assert_ptr_eq(executors_find(set, "good"), executor); /* its result is not safe yet */
	ck_assert_int_eq(reserve(executor, &job), -EAGAIN);
	executor_forget(job.run);
	turn(0);
	ck_assert_ptr_null(executors_find(set, "good"));
	ck_assert_uint_eq(instances(), 1);
}
END_TEST

START_TEST(test_executors__failing_reload_changes_nothing)
{
	struct executor *executor = load("good", NULL);
	static struct job job;

	install("bad-init-fails", 0);
	install("good", '2');
	ck_assert_int_eq(prepare("good third=good bad-init-fails", NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "[executor bad-init-fails]"));
	executors_swap(set); /* nothing is prepared: nothing happens */
	ck_assert_ptr_eq(executors_find(set, "good"), executor);
	ck_assert_uint_eq(instances(), 1);
	ck_assert(!executor_draining(executor));
	ck_assert_str_eq(fact(executor, "revision"), "revision-1");
	make_job(&job, 1, "t");
	start(executor, &job);
	wait_done(1);
	ck_assert_int_eq(prepare("good good", NULL), -EINVAL);
	ck_assert_int_eq(prepare("GOOD=good", NULL), -EINVAL);
	ck_assert_int_eq(prepare("good third=good", NULL), 0);
	ck_assert_ptr_null(executors_find(set, "third"));
	executors_abandon(set);
	ck_assert_ptr_eq(executors_find(set, "good"), executor);
	ck_assert_uint_eq(instances(), 1);
}
END_TEST

START_TEST(test_executors__overwritten_file_does_not_hurt)
{
	static const char *const options[] = { "delay_ms=1", NULL };
	struct executor *executor = load("good", options);
	char path[PATH_MAX], zeros[4096] = { 0 };
	static struct job job;
	int fd;

	path_of(path, sizeof path, "good");
	fd = open(path, O_WRONLY | O_CLOEXEC); /* in place, as cp does */
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(write(fd, zeros, sizeof zeros), sizeof zeros);
	(void)close(fd);
	make_job(&job, 1, "t");
	start(executor, &job);
	wait_done(1);
	ck_assert_uint_eq(seen.result.outcome, LSN_OUTCOME_SUCCESS);
}
END_TEST

static unsigned count_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

START_TEST(test_executors__reloads_leak_nothing)
{
	unsigned before;

	(void)load("good", NULL);
	before = count_fds();
	for (char c = '2'; c < '8'; c++) {
		install("good", c);
		apply("good", NULL);
		turn(0);
		ck_assert_int_eq(fact(executors_find(set, "good"), "revision")[9], c);
	}
	ck_assert_uint_eq(instances(), 1);
	ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* ----------------------------------------------------------------------------------- json-lines */

static char lines_path[128], *lines_text;
static bool on_small_disk;

static struct executor *load_lines(void)
{
	static char option[160];
	static const char *const options[] = { option, "sync=yes", NULL };

	(void)snprintf(lines_path, sizeof lines_path, "%s%s/jobs.jsonl", base, on_small_disk ? "/small" : "");
	(void)snprintf(option, sizeof option, "path=%s", lines_path);
	return load("json-lines", options);
}

static const char *lines(void)
{
	size_t size;

	free(lines_text);
	lines_text = NULL;
	ck_assert_int_eq(read_file_limited(AT_FDCWD, lines_path, 1 << 20, &lines_text, &size), 0);
	return lines_text;
}

static void give_payload(struct job *job, const char *data, size_t size)
{
	job->abi.payload_fd = memfd_sealed("payload", data, size);
	job->abi.payload_size = size;
}

START_TEST(test_executors__json_lines_writes_jobs)
{
	struct executor *executor = load_lines();
	static struct job job;

	make_job(&job, 42, "create/resource/\xc3\xa4\"b");
	give_payload(&job, "{\"a\": 1}", 8);
	start(executor, &job);
	ck_assert_uint_eq(seen.done, 0);
	wait_done(1);
	(void)close(job.abi.payload_fd);
	ck_assert_uint_eq(seen.result.outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_str_eq(
		lines(),
		"{\"job\":42,\"attempt\":1,\"event\":7,\"script\":\"a.py\",\"version\":\"abc\",\"topic\":\"create/resource/\xc3\xa4\\\"b\","
		"\"received_usec\":0,\"payload\":\"{\\\"a\\\": 1}\"}\n");
	make_job(&job, 43, "t");
	give_payload(&job, "\xff\x00z", 3);
	start(executor, &job);
	wait_done(2);
	(void)close(job.abi.payload_fd);
	ck_assert_ptr_nonnull(strstr(lines(), "\n{\"job\":43,"));
	ck_assert_ptr_nonnull(strstr(lines(), "\"payload_base64\":\"/wB6\"}\n"));
	free(lines_text);
	lines_text = NULL;
}
END_TEST

/* What waits for the disk is bounded in bytes; one job more than that waits outside. */
START_TEST(test_executors__json_lines_bounds_what_waits)
{
	struct executor *executor = load_lines();
	static struct job jobs[3];
	size_t size = 10 << 20;
	char *text = calloc(1, size);

	memset(text, 'x', size);
	for (unsigned i = 0; i < 3; i++) {
		make_job(&jobs[i], i + 1, "t");
		jobs[i].abi.payload_size = size;
	}
	ck_assert_int_eq(reserve(executor, &jobs[0]), 0);
	ck_assert_int_eq(reserve(executor, &jobs[1]), -EAGAIN);
	executor_release(jobs[0].run);
	turn(0);
	ck_assert_uint_eq(seen.ready, 1); /* given back: there is room again */
	give_payload(&jobs[1], text, size);
	free(text);
	start(executor, &jobs[1]);
	ck_assert_int_eq(reserve(executor, &jobs[2]), -EAGAIN);
	wait_done(1);
	(void)close(jobs[1].abi.payload_fd);
	ck_assert_uint_eq(seen.result.outcome, LSN_OUTCOME_SUCCESS);
	turn(0);
	ck_assert_uint_eq(seen.ready, 2);
	ck_assert_int_eq(reserve(executor, &jobs[2]), 0);
	executor_release(jobs[2].run);
}
END_TEST

static uint32_t recovered(struct executor *executor, struct job *job)
{
	unsigned before = seen.done;
	int r;

	job->state = JOB_RECOVERING;
	r = executor_recover(executor, job, &job->run, &err);
	if (r < 0)
		return LSN_OUTCOME_LOST;
	wait_done(before + 1);
	return seen.result.outcome;
}

START_TEST(test_executors__json_lines_recovers)
{
	struct executor *executor = load_lines();
	static struct job written, other, lost;
	char moved[160];

	make_job(&written, 1, "t");
	make_job(&other, 11, "t");
	make_job(&lost, 3, "t");
	give_payload(&written, "", 0);
	ck_assert_int_eq(reserve(executor, &other), 0);
	memcpy(other.place, other.run->place, sizeof other.place);
	executor_release(other.run);
	start(executor, &written);
	wait_done(1);
	(void)close(written.abi.payload_fd);
	memcpy(written.place, written.run->place, sizeof written.place);
	ck_assert_uint_eq(recovered(executor, &written), LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(recovered(executor, &other), LSN_OUTCOME_NOT_STARTED);
	written.abi.attempt = 2; /* a later attempt is another line */
	ck_assert_uint_eq(recovered(executor, &written), LSN_OUTCOME_NOT_STARTED);
	written.abi.attempt = 1;
	/* Killed in the middle of a line: it was not written, and the next one does not stand
	 * behind half of it. */
	struct stat before, after;
	ck_assert_int_eq(stat(lines_path, &before), 0);
	FILE *file = fopen(lines_path, "ae");
	ck_assert_ptr_nonnull(file);
	(void)fprintf(file, "{\"job\":11,\"attempt\":%u,\"event", other.abi.attempt);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_uint_eq(recovered(executor, &other), LSN_OUTCOME_NOT_STARTED);
	ck_assert_int_eq(stat(lines_path, &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_uint_eq(recovered(executor, &written), LSN_OUTCOME_SUCCESS);
	(void)snprintf(lost.place, sizeof lost.place, "nonsense");
	ck_assert_uint_eq(recovered(executor, &lost), LSN_OUTCOME_LOST);
	(void)snprintf(moved, sizeof moved, "%s.1", lines_path);
	ck_assert_int_eq(rename(lines_path, moved), 0); /* rotated meanwhile: it cannot be known */
	ck_assert_uint_eq(recovered(executor, &other), LSN_OUTCOME_LOST);
	ck_assert_ptr_nonnull(strstr(err.message, "another file"));
}
END_TEST

static void fill_up(void)
{
	struct executor *executor;
	static struct job job;
	struct stat before, after;
	char *big = calloc(1, 100000);

	memset(big, 'x', 100000);
	executors_free(set); /* a loop does not work across fork() */
	sd_event_unref(loop);
	ck_assert_int_ge(sd_event_new(&loop), 0);
	ck_assert_int_eq(executors_new(loop, &(struct executors_hooks){ .done = on_done }, &set), 0);
	on_small_disk = true;
	executor = load_lines();
	for (uint64_t id = 1; id <= 2; id++) {
		make_job(&job, id, "t");
		give_payload(&job, big, id == 1 ? 10 : 100000);
		(void)stat(lines_path, &before);
		start(executor, &job);
		wait_done((unsigned)id);
	}
	(void)stat(lines_path, &after);
	free(big);
	executors_free(set);
	sd_event_unref(loop);
	if (seen.result.outcome != LSN_OUTCOME_ERROR || !strstr(seen.result.message, "No space left"))
		_exit(2);
	if (before.st_size == 0 || after.st_size != before.st_size) /* half a line is taken back */
		_exit(3);
	_exit(0);
}

/* A real full disk: a small tmpfs. */
START_TEST(test_executors__json_lines_disk_full)
{
	char command[256];
	int status;

	if (geteuid() != 0)
		return; /* needs root to mount */
	(void)snprintf(command, sizeof command, "mount -t tmpfs -o size=64k none %s/small", base);
	(void)snprintf(lines_path, sizeof lines_path, "%s/small", base);
	ck_assert_int_eq(mkdir(lines_path, 0755), 0);
	if (system(command) != 0)
		return; /* not allowed here */
	status = in_child(fill_up);
	(void)snprintf(command, sizeof command, "umount %s/small", base);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(test_executors__json_lines_refuses_bad_options)
{
	static const char *const none[] = { NULL }, *const unknown[] = { "path=/tmp/x", "colour=red", NULL },
				 *const relative[] = { "path=x", NULL }, *const maybe[] = { "sync=maybe", NULL },
				 *const device[] = { "path=/dev/null", NULL };
	const struct {
		const char *const *options;
		const char *says;
	} bad[] = { { none, "path is missing" },
		    { unknown, "test.ini:2: unknown key 'colour'" },
		    { relative, "test.ini:1: path: 'x' is not an absolute path" },
		    { maybe, "test.ini:1: sync: 'maybe' is neither yes nor no" },
		    { device, "cannot append to /dev/null: not a regular file" } };

	install("json-lines", 0);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		ck_assert_int_eq(prepare("audit=json-lines", bad[i].options), -EINVAL);
		ck_assert_msg(strstr(err.message, bad[i].says) != NULL, "'%s' does not say '%s'", err.message,
			      bad[i].says);
		ck_assert_ptr_nonnull(strstr(err.message, "[executor audit]"));
	}
}
END_TEST

/* ----------------------------------------------------------------------------------------- main */

/* This program is BUILD/tests/unit/test_executors; LISTENER_TEST_PLUGINS names another folder. */
static void find_plugins(void)
{
	const char *given = getenv("LISTENER_TEST_PLUGINS");
	ssize_t n = readlink("/proc/self/exe", plugins, sizeof plugins - 32);

	plugins[n > 0 ? n : 0] = 0;
	for (int up = 0; up < 2 && strrchr(plugins, '/'); up++)
		*strrchr(plugins, '/') = 0;
	if (given)
		(void)snprintf(plugins, sizeof plugins, "%s", given);
	else
		(void)strncat(plugins, "/plugins", 16);
}

int main(void)
{
	Suite *suite = suite_create("executors");
	TCase *tc = tcase_create("executors");

	find_plugins();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_executors__bad_modules_are_refused_with_a_reason);
	tcase_add_test(tc, test_executors__files_that_are_no_modules);
	tcase_add_test(tc, test_executors__files_others_can_write_are_refused);
	tcase_add_test(tc, test_executors__crash_in_init_is_told_by_the_next_daemon);
	tcase_add_test(tc, test_executors__second_done_is_ignored);
	tcase_add_test(tc, test_executors__done_inside_submit_is_lost);
	tcase_add_test(tc, test_executors__done_never_is_cut_off_at_the_end);
	tcase_add_test(tc, test_executors__results_that_are_none);
	tcase_add_test(tc, test_executors__reserve_submit_done_forget);
	tcase_add_test(tc, test_executors__reserve_refuses_and_release_gives_back);
	tcase_add_test(tc, test_executors__concurrency_is_ours);
	tcase_add_test(tc, test_executors__cancel);
	tcase_add_test(tc, test_executors__recover);
	tcase_add_test(tc, test_executors__detach_leaves_jobs_behind);
	tcase_add_test(tc, test_executors__probe_ends_once);
	tcase_add_test(tc, test_executors__unchanged_sections_keep_their_instance);
	tcase_add_test(tc, test_executors__new_version_beside_the_old);
	tcase_add_test(tc, test_executors__removed_section_drains);
	tcase_add_test(tc, test_executors__failing_reload_changes_nothing);
	tcase_add_test(tc, test_executors__overwritten_file_does_not_hurt);
	tcase_add_test(tc, test_executors__reloads_leak_nothing);
	tcase_add_test(tc, test_executors__json_lines_writes_jobs);
	tcase_add_test(tc, test_executors__json_lines_bounds_what_waits);
	tcase_add_test(tc, test_executors__json_lines_recovers);
	tcase_add_test(tc, test_executors__json_lines_disk_full);
	tcase_add_test(tc, test_executors__json_lines_refuses_bad_options);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
