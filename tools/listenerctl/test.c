/* test.c - the command test: a script is tried where it would run. First the daemon says what the
 * script would be registered as; then it runs, once for each event. What the script writes goes
 * where it would go from a shell; all that we say goes to standard error. */
#include "author.h"
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define SCRIPT_SIZE_MAX ((size_t)64 << 20) /* bytes; the daemon allows less */
#define META_SIZE_MAX ((size_t)1 << 20)
#define SHOWN_MAX 100 /* bytes of an event */

struct tried {
	struct client *client;
	bool json;
	const char *name; /* the script's */
	int script_fd, meta_fd; /* memfds; -1: none */
	bool registered; /* what is sent is a new version of a registered script */
	json_t *settings; /* borrowed; NULL: none */
	json_t *verdict; /* what it would be registered as */
	json_int_t job; /* whose event it is; 0: none */
	json_int_t wait_usec; /* -1: as the daemon likes */
	int status; /* the exit status */
};

/* ---------------------------------------------------------------------------------- what is sent */

/* send_file - PATH as a memfd; -ENOENT: it is not there. Other errors are printed. */
static int send_file(const char *path, size_t max)
{
	_cleanup_free_ char *bytes = NULL;
	size_t size = 0;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : read_fd_limited(fd, max, &bytes, &size);

	if (r >= 0)
		r = memfd_sealed("listenerctl", bytes, size);
	if (r < 0 && r != -ENOENT)
		(void)fprintf(stderr, "listenerctl: %s cannot be read: %s\n", path, strerror(-r));
	return r;
}

/* open_files - the script, and FILE.meta if there is one. */
static bool open_files(struct tried *tried, const char *path)
{
	_cleanup_free_ char *meta = NULL;

	tried->script_fd = send_file(path, SCRIPT_SIZE_MAX);
	if (tried->script_fd == -ENOENT)
		(void)fprintf(stderr, "listenerctl: there is no file %s; a registered script: --script NAME\n", path);
	if (tried->script_fd < 0 || tried->registered)
		return tried->script_fd >= 0;
	if (asprintf(&meta, "%s.meta", path) < 0)
		meta = NULL;
	tried->meta_fd = meta ? send_file(meta, META_SIZE_MAX) : -ENOMEM;
	return tried->meta_fd >= 0 || tried->meta_fd == -ENOENT;
}

static void add_part(json_t *names, int fds[CLIENT_FDS_MAX], const char *name, int fd)
{
	if (fd < 0)
		return;
	fds[json_array_size(names)] = fd;
	(void)json_array_append_new(names, json_string(name));
}

static void keep_verdict(void *data, const json_t *object)
{
	struct tried *tried = data;

	tried->verdict = json_incref((json_t *)(uintptr_t)object);
}

/* try_ask - about the script alone (LAST is keep_verdict), or to run it: with PAYLOAD_FD, or the
 * payload of a job. */
static enum exit_code try_ask(struct tried *tried, const char *topic, int payload_fd, object_fn last)
{
	json_t *request = json_pack("{sssb}", "command", "test", "examine", last == keep_verdict);
	json_t *names = json_array();
	int fds[CLIENT_FDS_MAX];

	add_part(names, fds, "payload", payload_fd);
	add_part(names, fds, "script", tried->script_fd);
	add_part(names, fds, "meta", tried->meta_fd);
	client_attach(tried->client, fds, (unsigned)json_array_size(names));
	(void)json_object_set_new(request, "descriptors", names);
	if (tried->name)
		(void)json_object_set_new(request, "script", json_string(tried->name));
	if (tried->registered)
		(void)json_object_set_new(request, "registered", json_true());
	if (tried->settings)
		(void)json_object_set(request, "settings", tried->settings);
	if (topic)
		(void)json_object_set_new(request, "topic", json_string(topic));
	if (tried->job)
		(void)json_object_set_new(request, "job", json_integer(tried->job));
	if (tried->wait_usec >= 0)
		(void)json_object_set_new(request, "wait_usec", json_integer(tried->wait_usec));
	return client_ask(tried->client, request, NULL, last, tried);
}

/* -------------------------------------------------------------------------------- what is printed */

static void say_cell(const json_t *object, const char *left, const char *key, enum cell_kind kind, const char *right)
{
	_cleanup_free_ char *cell = cell_text(object, key, kind);

	if (cell && !streq(cell, "-"))
		(void)fprintf(stderr, "%s%s%s", left, cell, right);
}

static bool has_state(const json_t *verdict, const char *state)
{
	const char *word = json_string_value(json_object_get(verdict, "state"));

	return word && streq(word, state);
}

/* say_verdict - of the registration. */
static void say_verdict(const struct tried *tried)
{
	const json_t *verdict = tried->verdict;
	bool active = has_state(verdict, "active"), local = tried->script_fd >= 0;
	const char *plain = tried->name ? tried->name : json_string_value(json_object_get(verdict, "name"));
	_cleanup_free_ char *name = plain ? text_escape(plain, strlen(plain), false) : NULL;

	(void)fprintf(stderr, "%s %s%s: ", name ? name : "?", local ? "would " : "is ",
		      active                           ? local ? "be registered" : "registered"
		      : has_state(verdict, "no-topic") ? local ? "not be registered" : "not registered"
		      : has_state(verdict, "refused")  ? local ? "be refused" : "refused"
						       : "not registered now");
	if (!active)
		say_cell(verdict, "", "reason", CELL_TEXT, "\n");
	else
		say_cell(verdict, "", "topics", CELL_FIRST, ", ");
	if (has_state(verdict, "refused"))
		return;
	say_cell(verdict, active ? "" : "  it runs with ", "timeout_usec", CELL_DURATION, "");
	say_cell(verdict, ", ", "memory_bytes", CELL_BYTES, "");
	say_cell(verdict, ", on ", "executor", CELL_TEXT, "\n");
}

static void say_event(const struct event *event)
{
	size_t size = event->payload_size < SHOWN_MAX ? event->payload_size : SHOWN_MAX;
	_cleanup_free_ char *topic = text_escape(event->topic, strlen(event->topic), false);
	_cleanup_free_ char *begin = strndup(event->payload, size);
	if (begin)
		utf8_trim(begin);
	_cleanup_free_ char *payload = begin ? text_escape(begin, strlen(begin), false) : NULL;

	(void)fprintf(stderr, "[%s] %s%s%s\n", topic ? topic : "?", payload ? payload : "?",
		      size < event->payload_size ? " and so on" : "",
		      event->sample ? "   (a sample; --event FILE for yours)" : "");
}

static void write_bytes(FILE *out, const char *bytes, size_t size)
{
	_cleanup_free_ char *shown = isatty(fileno(out)) ? text_escape(bytes, size, true) : NULL;

	if (shown)
		(void)fputs(shown, out);
	else
		(void)fwrite(bytes, 1, size, out);
	(void)fflush(out);
}

/* print_stream - what the script has written, as it has written it; on a terminal without what
 * would give it orders. */
static void print_stream(const json_t *run, const char *key, FILE *out)
{
	char name[32];
	const json_t *plain = json_object_get(run, key);

	if (plain) {
		write_bytes(out, json_string_value(plain), json_string_length(plain));
		return;
	}
	(void)snprintf(name, sizeof name, "%s_base64", key);
	const json_t *encoded = json_object_get(run, name);
	size_t size = json_string_length(encoded);
	_cleanup_free_ unsigned char *bytes = malloc(size + 3);
	if (size == 0 || !bytes)
		return;
	const char *code = json_string_value(encoded);
	int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)code, (int)size);
	decoded -= (code[size - 1] == '=') + (code[size - 2] == '=');
	if (decoded > 0)
		write_bytes(out, (const char *)bytes, (size_t)decoded);
}

static void say_cut(const json_t *run, const char *key, const char *title)
{
	if (json_is_true(json_object_get(run, key)))
		(void)fprintf(stderr, "%s is cut here: a test shows 256 KiB\n", title);
}

static bool outcome_is(const json_t *run, const char *word)
{
	const char *outcome = json_string_value(json_object_get(run, "outcome"));

	return outcome && streq(outcome, word);
}

static void say_end(const json_t *object, const json_t *run)
{
	say_cell(run, "", "outcome", CELL_TEXT, "");
	if (outcome_is(run, "signal"))
		say_cell(run, ": signal ", "signal", CELL_NUMBER, "");
	else if (outcome_is(run, "failure") || outcome_is(run, "processes"))
		say_cell(run, ": exit status ", "exit_status", CELL_NUMBER, "");
	say_cell(run, " after ", "duration_usec", CELL_DURATION, "");
	say_cell(run, ", ", "max_rss_bytes", CELL_BYTES, "");
	say_cell(run, ": ", "message", CELL_TEXT, "");
	if (json_integer_value(json_object_get(object, "waited_usec")) > 1000000)
		say_cell(object, "; a place came after ", "waited_usec", CELL_DURATION, "");
	(void)fprintf(stderr, "\n");
	if (json_is_false(json_object_get(object, "matches")) && has_state(object, "active"))
		(void)fprintf(stderr, "its topics do not match this one: such an event would not run it\n");
}

/* ------------------------------------------------------------------------------------ what it came to */

static int status_of(const json_t *run)
{
	const char *outcome = json_string_value(json_object_get(run, "outcome"));
	int status = (int)json_integer_value(json_object_get(run, "exit_status"));
	int signal = (int)json_integer_value(json_object_get(run, "signal"));

	if (!outcome || streq(outcome, "error") || streq(outcome, "lost") || streq(outcome, "not-started"))
		return TEST_NOT_MADE;
	if (streq(outcome, "timeout"))
		return TEST_TIMEOUT;
	if (signal > 0)
		return 128 + signal;
	if (streq(outcome, "success"))
		return 0;
	return status > 0 ? status : 128 + 9; /* a limit: it was killed */
}

static void print_tried(void *data, const json_t *object)
{
	struct tried *tried = data;
	const json_t *run = json_object_get(object, "run");
	int status = status_of(run);

	tried->status = tried->status ? tried->status : status;
	if (tried->json) {
		json_t *copy = json_copy((json_t *)(uintptr_t)object);
		(void)json_object_del(copy, "end");
		(void)json_dumpf(copy, stdout, JSON_COMPACT);
		(void)putchar('\n');
		json_decref(copy);
		return;
	}
	print_stream(run, "out", stdout);
	print_stream(run, "err", stderr);
	say_cut(run, "out_truncated", "stdout");
	say_cut(run, "err_truncated", "stderr");
	say_end(object, run);
}

/* --------------------------------------------------------------------------------------- events */

/* fill_event - what is not told is made up: the topic after the script's first filter, the payload
 * after the topic. */
static bool fill_event(const struct tried *tried, struct event *event)
{
	const char *filter = json_string_value(json_object_get(tried->verdict, "topic"));

	if (!event->topic)
		event->topic = sample_topic(filter ? filter : "#");
	if (event->payload || !event->topic)
		return event->topic;
	event->payload = sample_about(event->topic);
	event->sample = event->payload;
	if (!event->payload)
		event->payload = strdup("{}");
	event->payload_size = event->payload ? strlen(event->payload) : 0;
	return event->payload;
}

static enum exit_code try_event(struct tried *tried, struct event *event)
{
	if (!tried->job && !fill_event(tried, event)) {
		(void)fprintf(stderr, "listenerctl: out of memory\n");
		return EXIT_FAILED;
	}
	if (!tried->job && !tried->json)
		say_event(event);
	_cleanup_close_ int fd = tried->job ? -1 : memfd_sealed("payload", event->payload, event->payload_size);
	if (!tried->job && fd < 0) {
		(void)fprintf(stderr, "listenerctl: no room for the payload: %s\n", strerror(-fd));
		return EXIT_FAILED;
	}
	return try_ask(tried, event->topic, fd, print_tried);
}

/* take_events - from the options and words: none means one that is made up. */
static bool take_events(struct invocation *invocation, char *const *words, struct events *ret)
{
	const char *file = json_string_value(json_object_get(invocation->request, "event"));
	bool ok = true;

	if (file)
		return events_read(file, ret);
	ok = events_add(ret, words[0] ? strdup(words[0]) : NULL, strdup(words[0] && words[1] ? words[1] : ""), 0);
	if (!ok)
		return false;
	struct event *event = &ret->list[0];
	event->payload_size = strlen(event->payload);
	if (!words[0] || !words[1]) {
		free(event->payload);
		event->payload = NULL;
	}
	return true;
}

static void try_events(struct tried *tried, struct events *events)
{
	for (size_t i = 0; i < events->count; i++) {
		if (try_event(tried, &events->list[i]) != EXIT_OK) {
			tried->status = TEST_NOT_MADE;
			return;
		}
	}
	if (!tried->json)
		(void)fprintf(stderr, "This was a real run: what the script did over the network is done.\n");
}

/* -------------------------------------------------------------------------------------- the command */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* try_script - registered or not, then with each event. */
static void try_script(struct tried *tried, struct events *events)
{
	client_set_patience(tried->client, 0); /* it may take as long as scripts may run */
	if (try_ask(tried, NULL, -1, keep_verdict) != EXIT_OK)
		return;
	if (!tried->json)
		say_verdict(tried);
	if (has_state(tried->verdict, "refused")) {
		tried->status = TEST_REFUSED;
		if (tried->json)
			print_json_row(tried->verdict);
		return;
	}
	tried->status = 0;
	try_events(tried, events);
}

enum exit_code run_test(struct client *client, struct invocation *invocation)
{
	json_t *request = invocation->request;
	const char *script = json_string_value(json_object_get(request, "script"));
	const char *as = json_string_value(json_object_get(request, "as"));
	const json_t *wait = json_object_get(request, "wait_usec");
	bool local = !script && invocation->word_count > 0;
	struct tried tried = { .client = client,
			       .json = invocation->json,
			       .name = script  ? script
				       : as    ? as
				       : local ? base_name(invocation->words[0])
					       : NULL,
			       .script_fd = -1,
			       .meta_fd = -1,
			       .registered = as,
			       .settings = json_object_get(request, "settings"),
			       .job = json_integer_value(json_object_get(request, "job")),
			       .wait_usec = wait ? json_integer_value(wait) : -1,
			       .status = TEST_NOT_MADE };
	struct events events = { 0 };

	if ((!local || open_files(&tried, invocation->words[0])) &&
	    take_events(invocation, invocation->words + (local ? 1 : 0), &events))
		try_script(&tried, &events);
	events_clear(&events);
	json_decref(tried.verdict);
	if (tried.script_fd >= 0)
		(void)close(tried.script_fd);
	if (tried.meta_fd >= 0)
		(void)close(tried.meta_fd);
	return (enum exit_code)tried.status;
}
