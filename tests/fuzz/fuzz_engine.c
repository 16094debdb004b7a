/* fuzz_engine.c - what the Docker Engine answers, through all of docker-sandbox that reads it:
 * the search for the engine, image, network, containers. The HTTP client is replaced by one that
 * gives the next piece of the input as the reply: a byte for the status, two of size, the body. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <http.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor.h"
#include "fuzz_host.h"

#define EXCHANGES_MAX 128

struct http_exchange {
	http_fn fn; /* NULL: free */
	void *data;
};

struct http {
	int unused;
};

static struct http_exchange exchanges[EXCHANGES_MAX];
static struct http http;
static int run_dir_fd = -1;
static char folder[64];

int http_new(const struct lsn_host *host, const struct http_options *options, struct http **ret, struct lsn_error *err)
{
	(void)host, (void)options, (void)err;
	*ret = &http;
	return 0;
}

void http_free(struct http *h)
{
	(void)h;
	memset(exchanges, 0, sizeof exchanges);
}

int http_start(struct http *h, const struct http_request *request, http_fn fn, void *data, struct http_exchange **ret)
{
	(void)h;
	for (const char *p = request->url; *p; p++)
		must((unsigned char)*p > ' ' && (unsigned char)*p < 0x7f);
	for (size_t i = 0; i < EXCHANGES_MAX; i++)
		if (!exchanges[i].fn) {
			exchanges[i] = (struct http_exchange){ fn, data };
			if (ret)
				*ret = &exchanges[i];
			return 0;
		}
	return -ENOMEM;
}

void http_cancel(struct http_exchange *exchange)
{
	if (exchange)
		*exchange = (struct http_exchange){ 0 };
}

/* The oldest question gets the next answer. */
static bool answer(const uint8_t **at, const uint8_t *end)
{
	static const long statuses[] = { 200, 201, 204, 404, 409, 500, 0, 304 };
	size_t i = 0;

	if (end - *at < 3)
		return false;
	size_t size = (*at)[1] | (size_t)(*at)[2] << 8;
	long status = statuses[**at & 7];
	bool fire = **at & 8;
	*at += 3;
	if (size > (size_t)(end - *at))
		size = (size_t)(end - *at);
	char *body = fuzz_copy(*at, size);
	*at += size;
	while (i < EXCHANGES_MAX && !exchanges[i].fn)
		i++;
	if (i < EXCHANGES_MAX) {
		struct http_exchange exchange = exchanges[i];
		struct http_reply reply = {
			.status = status, .body = body, .body_size = size, .content_type = "", .location = ""
		};
		if (status == 0)
			(void)lsn_error_set(&reply.error, -ECONNREFUSED, "nobody there");
		exchanges[i] = (struct http_exchange){ 0 };
		exchange.fn(exchange.data, &reply);
	}
	free(body);
	bool fired = fire && fuzz_host_fire();
	return i < EXCHANGES_MAX || fired;
}

static void clean(void)
{
	char command[128];

	(void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
	(void)!system(command);
}

static void prepare(void)
{
	(void)snprintf(folder, sizeof folder, "/tmp/fuzz-engine.XXXXXX");
	must(mkdtemp(folder));
	run_dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(run_dir_fd >= 0);
	fuzz_host.run_dir = folder;
	must(atexit(clean) == 0);
}

static void prerequisites_changed(void *data)
{
	struct instance *in = data;

	pool_set_up(&in->pool, prerequisites_up(&in->prereq));
}

static void image_renewed(void *data) { pool_renew(&((struct instance *)data)->pool, "there is a newer image"); }

static void janitor_begun(void *data)
{
	struct instance *in = data;

	network_prune(&in->prereq.network, in->prereq.engine);
}

static void probe_says(void *data, enum lsn_probe_level verdict, const char *text, const char *remedy)
{
	(void)data, (void)verdict, (void)remedy;
	must(text);
}

static void probe_ended(void *data) { (void)data; }

static void start(struct instance *in, bool bridge)
{
	static char seccomp[] = "{}";
	struct lsn_option options[] = {
		{ .file = "f", .line = 1, .key = "network", .value = bridge ? "bridge" : "none" },
		{ .file = "f", .line = 2, .key = "dns", .value = "192.0.2.1" }
	};
	struct lsn_error err;

	memset(in, 0, sizeof *in);
	in->host = &fuzz_host;
	must(settings_parse(options, 2, &in->settings, &err) == 0);
	const struct prerequisites_hooks hooks = { prerequisites_changed, image_renewed, in };
	must(prerequisites_init(&in->prereq, &fuzz_host, &in->settings, &hooks, &err) == 0);
	struct sandbox_env env = { .host = &fuzz_host,
				   .options = &in->settings.pool,
				   .backend = &in->containers.backend,
				   .run_dir_fd = run_dir_fd };
	containers_init(&in->containers, &fuzz_host, &in->settings, &in->prereq, seccomp);
	must(pool_init(&in->pool, &env, in->prereq.wall, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct instance in;
	const uint8_t *at = data + 1, *end = data + size;

	if (size < 1)
		return 0;
	if (run_dir_fd < 0)
		prepare();
	start(&in, data[0] & 1);
	if (data[0] & 2)
		janitor_run(&in.janitor, &in.pool, janitor_begun, &in);
	if (data[0] & 4)
		(void)probe_start(&in, probe_says, probe_ended, NULL);
	for (int i = 0; i < 64 && answer(&at, end); i++)
		;
	probe_cancel(&in);
	janitor_done(&in.janitor);
	(void)pool_done(&in.pool, true, 0);
	containers_done(&in.containers);
	prerequisites_done(&in.prereq, false);
	settings_clear(&in.settings);
	fuzz_host_reset();
	return 0;
}
