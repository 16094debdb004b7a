/* driver.c - a small host for one executor module: loads it as listenerd does, over
 * core/executors/host.c and sd-event, and lets a test script hand it jobs over stdin. It keeps no
 * journal; that is the test's part.
 *
 *   driver MODULE.so RUN_DIR LIBEXEC_DIR LISTENER [KEY=VALUE]...
 *
 *   job ID SCRIPT_FILE TOPIC PAYLOAD TIMEOUT_MS MEMORY_BYTES CAPTURE
 *                       queue a job; offered until reserve() takes it
 *   recover ID SCRIPT_FILE TOPIC PAYLOAD TIMEOUT_MS MEMORY_BYTES CAPTURE PLACE STARTED_USEC
 *   cancel ID | keep ID (no forget for it) | expect N | describe | probe | detach | quit
 *
 * It writes: started, reserved ID PLACE, running ID, done ID OUTCOME EXIT SIGNAL DURATION_USEC
 * OUT_HEX ERR_HEX MESSAGE, refused ID MESSAGE, describe KEY VALUE, probe LEVEL WHAT, end. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/queue.h>
#include <sys/random.h>

#include <openssl/sha.h>

#include <cleanup.h>
#include <listener/executor.h>
#include <util.h>

#include "host.h"
#include "log.h"

enum state { WAITING, SUBMITTED, DONE };

struct job {
	struct lsn_job abi;
	enum state state;
	bool keep;
	bool stalled; /* put off: not offered before the module says so */
	char place[LSN_PLACE_SIZE];
	char version[65];
	TAILQ_ENTRY(job) link;
};

static TAILQ_HEAD(job_list, job) jobs = TAILQ_HEAD_INITIALIZER(jobs);
static const struct lsn_executor_module *module;
static void *instance;
static sd_event *loop;
static sd_event_source *offer_source;

__attribute__((format(printf, 1, 2))) static void out(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	(void)vprintf(format, ap);
	va_end(ap);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void finished(struct job *job)
{
	if (!job->keep && module->forget)
		module->forget(instance, job->abi.id, job->place);
	TAILQ_REMOVE(&jobs, job, link);
	(void)close(job->abi.payload_fd);
	(void)close(job->abi.script_fd);
	free((void *)job->abi.script);
	free((void *)job->abi.topic);
	free(job);
}

static void offer_one(struct job *job)
{
	struct lsn_error err = { 0 };
	int r = module->reserve(instance, &job->abi, job->place, &err);

	job->stalled = r == -EAGAIN;
	if (job->stalled)
		return;
	if (r == 0) {
		out("reserved %llu %s", (unsigned long long)job->abi.id, job->place);
		r = module->submit(instance, &job->abi, &err);
	}
	if (r < 0)
		out("refused %llu %s", (unsigned long long)job->abi.id, err.message);
	else
		out("running %llu", (unsigned long long)job->abi.id);
	job->state = r < 0 ? DONE : SUBMITTED;
}

static bool alike(const struct job *a, const struct job *b)
{
	return streq(a->version, b->version) && a->abi.memory_bytes == b->abi.memory_bytes;
}

/* As the host does: only the first of a script's jobs is offered, and it says how many stand
 * behind it. */
static bool is_first(struct job *job)
{
	const struct job *other = job;

	while ((other = TAILQ_PREV(other, job_list, link)))
		if (other->state == WAITING && alike(other, job))
			return false;
	job->abi.waiting = 0;
	for (other = job; other; other = TAILQ_NEXT(other, link))
		job->abi.waiting += other->state == WAITING && alike(other, job);
	return true;
}

/* Once per turn, after everything else: what done() and ready() left to do. */
static int offer(sd_event_source *source, void *data)
{
	(void)source, (void)data;
	for (struct job *job = TAILQ_FIRST(&jobs), *next; job; job = next) {
		next = TAILQ_NEXT(job, link);
		if (job->state == DONE)
			finished(job);
	}
	for (struct job *job = TAILQ_FIRST(&jobs); job; job = TAILQ_NEXT(job, link))
		if (job->state == WAITING && is_first(job) && !job->stalled)
			offer_one(job);
	return 0;
}

static void offer_soon(void) { (void)sd_event_source_set_enabled(offer_source, SD_EVENT_ONESHOT); }

static void on_ready(void *data)
{
	struct job *job;

	(void)data;
	TAILQ_FOREACH (job, &jobs, link)
		job->stalled = false;
	offer_soon();
}

static bool on_ready_for(void *data, const char *version)
{
	struct job *job;

	(void)data;
	TAILQ_FOREACH (job, &jobs, link)
		if (job->state == WAITING && job->stalled && (!version || streq(job->version, version))) {
			job->stalled = false;
			offer_soon();
			return true;
		}
	return false;
}

static char *hex_of(const void *bytes, size_t size)
{
	char *ret = malloc(2 * size + 2);
	hex_encode(bytes, size, ret);
	if (size == 0)
		memcpy(ret, "-", 2);
	return ret;
}

static void on_done(void *data, const struct lsn_job *abi, const struct lsn_result *r)
{
	static const char *const names[LSN_OUTCOME_MAX] = { "success",   "failure", "signal", "timeout",
							    "memory",    "cpu",     "output", "processes",
							    "cancelled", "error",   "lost",   "not-started" };
	_cleanup_free_ char *o = hex_of(r->out ? r->out : "", r->out_size),
			    *e = hex_of(r->err ? r->err : "", r->err_size);
	struct job *job;

	(void)data;
	TAILQ_FOREACH (job, &jobs, link)
		if (&job->abi == abi)
			break;
	if (!job || job->state != SUBMITTED) {
		out("broken done for a job that is not out");
		return;
	}
	out("done %llu %s %d %d %llu %s %s %s", (unsigned long long)abi->id, names[r->outcome], r->exit_status,
	    r->signal, (unsigned long long)r->duration_usec, o, e, r->message);
	job->state = DONE;
	offer_soon();
}

static int memfd_of_file(const char *path, char version[65], uint64_t *ret_size)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	unsigned char digest[SHA256_DIGEST_LENGTH];
	int r = read_file_limited(AT_FDCWD, path, 1 << 20, &text, &size);

	if (r < 0)
		return r;
	(void)SHA256((unsigned char *)text, size, digest);
	hex_encode(digest, sizeof digest, version);
	*ret_size = size;
	return memfd_sealed("script", text, size);
}

static struct job *parse_job(char **words)
{
	struct job *job = calloc(1, sizeof *job);
	const char *base = strrchr(words[1], '/');

	job->abi = (struct lsn_job){ .version = LSN_ABI_VERSION,
				     .size = sizeof job->abi,
				     .id = strtoull(words[0], NULL, 10),
				     .attempt = 1,
				     .script = strdup(base ? base + 1 : words[1]),
				     .topic = strdup(words[2]),
				     .topic_size = strlen(words[2]),
				     .payload_size = strlen(words[3]),
				     .timeout_usec = strtoull(words[4], NULL, 10) * USEC_PER_MSEC,
				     .memory_bytes = strtoull(words[5], NULL, 10),
				     .output = (uint32_t)strtoul(words[6], NULL, 10),
				     .input = LSN_INPUT_PIPE,
				     .output_limit_bytes = 65536,
				     .received_realtime_usec = now_realtime_usec() };
	job->abi.event = job->abi.id + 1000;
	job->abi.script_version = job->version;
	job->abi.script_fd = memfd_of_file(words[1], job->version, &job->abi.script_size);
	job->abi.payload_fd = memfd_sealed("payload", words[3], strlen(words[3]));
	if (job->abi.script_fd < 0 || job->abi.payload_fd < 0)
		abort();
	TAILQ_INSERT_TAIL(&jobs, job, link);
	return job;
}

static struct job *find(const char *id)
{
	struct job *job;
	TAILQ_FOREACH (job, &jobs, link)
		if (job->abi.id == strtoull(id, NULL, 10))
			return job;
	return NULL;
}

static void describe_line(void *data, const char *key, const char *value)
{
	(void)data;
	out("describe %s %s", key, value);
}

static void probe_line(void *data, enum lsn_probe_level level, const char *what, const char *remedy)
{
	(void)data;
	out("probe %d %s%s%s", level, what, remedy ? " - " : "", remedy ? remedy : "");
}

static void probe_end(void *data)
{
	(void)data;
	out("end");
}

static void recover(char **words)
{
	struct job *job = parse_job(words);
	struct lsn_error err = { 0 };

	job->abi.started_realtime_usec = strtoull(words[8], NULL, 10);
	(void)snprintf(job->place, sizeof job->place, "%s", words[7]);
	job->state = SUBMITTED;
	if (module->recover(instance, &job->abi, job->place, &err) < 0) {
		out("refused %s %s", words[0], err.message);
		job->state = DONE;
	}
}

static void command(char *line)
{
	char *words[16] = { 0 };
	size_t count = 0;

	for (char *word; count < 16 && (word = strsep(&line, "\t"));)
		words[count++] = word;
	const char *verb = words[0];
	struct job *job = count == 2 ? find(words[1]) : NULL;
	if (streq(verb, "job") && count == 8) {
		(void)parse_job(words + 1);
		offer_soon();
	} else if (streq(verb, "recover") && count == 10)
		recover(words + 1);
	else if (streq(verb, "cancel") && job)
		module->cancel(instance, &job->abi);
	else if (streq(verb, "keep") && job)
		job->keep = true;
	else if (streq(verb, "expect") && count == 2)
		module->expect(instance, strtoull(words[1], NULL, 10));
	else if (streq(verb, "describe")) {
		module->describe(instance, describe_line, NULL);
		out("end");
	} else if (streq(verb, "probe"))
		(void)module->probe(instance, probe_line, probe_end, NULL);
	else if (streq(verb, "detach") || streq(verb, "quit")) {
		if (*verb == 'd')
			module->detach(instance);
		(void)sd_event_exit(loop, 0);
	} else
		out("broken command %s", verb);
}

static int on_stdin(sd_event_source *source, int fd, uint32_t events, void *data)
{
	static char text[1 << 20];
	static size_t size;
	ssize_t n = read(fd, text + size, sizeof text - size - 1);

	(void)source, (void)events, (void)data;
	if (n <= 0)
		return sd_event_exit(loop, 0);
	size += (size_t)n;
	for (char *end; (end = memchr(text, '\n', size));) {
		*end = 0;
		command(text);
		size -= (size_t)(end + 1 - text);
		memmove(text, end + 1, size);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct lsn_option options[64];
	size_t count = 0;
	struct lsn_error err = { 0 };
	const struct host_hooks hooks = { .ready = on_ready, .ready_for = on_ready_for, .done = on_done };
	struct host *host = NULL;

	if (argc < 5)
		return 2;
	for (int i = 5; i < argc && count < 64; i++) {
		char *value = strchr(argv[i], '=');
		if (!value)
			return 2;
		*value++ = 0;
		options[count++] = (struct lsn_option){
			.key = argv[i], .value = value, .file = "driver.ini", .line = (unsigned)i
		};
	}
	log_init(getenv("DRIVER_DEBUG") ? LSN_LOG_DEBUG : LSN_LOG_INFO);
	void *so = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	module = so ? dlsym(so, LSN_EXECUTOR_SYMBOL) : NULL;
	if (!module) {
		(void)fprintf(stderr, "%s\n", dlerror());
		return 2;
	}
	if (sd_event_new(&loop) < 0 || host_new(loop, argv[4], "sandbox", argv[2], argv[3], &hooks, &host, &err) < 0)
		return 2;
	(void)sd_event_add_defer(loop, &offer_source, offer, NULL);
	(void)sd_event_source_set_priority(offer_source, SD_EVENT_PRIORITY_IDLE);
	(void)sd_event_source_set_enabled(offer_source, SD_EVENT_OFF);
	(void)sd_event_add_io(loop, NULL, STDIN_FILENO, EPOLLIN, on_stdin, NULL);
	int r = module->check ? module->check(options, count, &err) : 0;
	if (r == 0)
		r = module->init(host_services(host), options, count, &instance, &err);
	if (r < 0) {
		out("refused init %s", err.message);
		return 1;
	}
	out("started");
	r = sd_event_loop(loop);
	module->free(instance);
	while (!TAILQ_EMPTY(&jobs)) {
		struct job *job = TAILQ_FIRST(&jobs);
		job->keep = true;
		finished(job);
	}
	unsigned left = host_free(host);
	(void)sd_event_source_unref(offer_source);
	(void)sd_event_unref(loop);
	out("left %u", left);
	return left > 0 || r < 0;
}
