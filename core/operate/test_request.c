/* test_request.c - see test_request.h. */
#include "test_request.h"
#include "commands.h"
#include "cleanup.h"
#include "control.h"
#include "control_access.h"
#include "journal.h"
#include "meta.h"
#include "registry.h"
#include "reply.h"
#include "topic.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define WAIT_DEFAULT_USEC (60 * USEC_PER_SEC)
#define WAIT_MAX_USEC (3600 * USEC_PER_SEC)
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

enum part { PART_PAYLOAD, PART_SCRIPT, PART_META, PART_MAX };
static const char *const part_names[PART_MAX] = {
	[PART_PAYLOAD] = "payload", [PART_SCRIPT] = "script", [PART_META] = "meta"
};

struct reading {
	struct daemon *daemon;
	const json_t *request;
	struct content *parts[PART_MAX]; /* NULL: not sent */
	const char *name, *topic; /* the request's, or the next two */
	char *job_name, *job_topic;
	uint64_t job, job_event; /* 0: none */
	struct test_request *test;
	struct lsn_error err;
};

/* ----------------------------------------------------------------------------------- descriptors */

/* part_adopt - FD is taken over in any case. */
static int part_adopt(struct reading *reading, enum part part, int fd)
{
	_cleanup_close_ int own = fd;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (fd < 0)
		return lsn_error_set(&reading->err, -EINVAL, "the descriptor of %s did not come with the request",
				     part_names[part]);
	if (reading->parts[part])
		return lsn_error_set(&reading->err, -EINVAL, "descriptors: %s stands there twice", part_names[part]);
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0)
		return lsn_error_set(&reading->err, -EINVAL,
				     "the descriptor of %s is not a memfd that is sealed against shrinking, growing "
				     "and writing",
				     part_names[part]);
	int r = content_adopt(own, (size_t)st.st_size, &reading->parts[part]);
	if (r >= 0)
		(void)TAKE_FD(own);
	return r < 0 ? lsn_error_set(&reading->err, r, "out of memory") : 0;
}

static int part_of(const char *name)
{
	for (int part = 0; name && part < PART_MAX; part++)
		if (streq(name, part_names[part]))
			return part;
	return -1;
}

static int read_parts(struct reading *reading, struct control_reply *reply)
{
	const json_t *list = json_object_get(reading->request, "descriptors"), *value;
	size_t i;

	if (list && !json_is_array(list))
		return lsn_error_set(&reading->err, -EINVAL, "descriptors must be a list of payload, script, meta");
	json_array_foreach (list, i, value) {
		int part = part_of(json_string_value(value));
		if (part < 0)
			return lsn_error_set(&reading->err, -EINVAL,
					     "descriptors must be a list of payload, script, meta");
		int r = part_adopt(reading, (enum part)part, control_take_fd(reply, (unsigned)i));
		if (r < 0)
			return r;
	}
	return 0;
}

/* part_map - its bytes, to be read only; NULL with size 0, or -ENOMEM. */
static int part_map(struct reading *reading, enum part part, const void **ret)
{
	const struct content *content = reading->parts[part];

	*ret = NULL;
	if (content->size == 0)
		return 0;
	void *bytes = mmap(NULL, content->size, PROT_READ, MAP_PRIVATE, content->fd, 0);
	if (bytes == MAP_FAILED)
		return lsn_error_set(&reading->err, -ENOMEM, "out of memory");
	*ret = bytes;
	return 0;
}

static void part_unmap(const struct reading *reading, enum part part, const void *bytes)
{
	if (bytes)
		(void)munmap((void *)(uintptr_t)bytes, reading->parts[part]->size);
}

/* ------------------------------------------------------------------------------------ the script */

/* new_version - of SCRIPT, with the bytes of the request. */
static int new_version(struct reading *reading, const void *bytes, size_t size)
{
	struct test_request *test = reading->test;

	if (script_check_content(bytes, size, &reading->daemon->config->policy, &test->why) < 0) {
		test->state = SCRIPT_REFUSED;
		return 0;
	}
	script_digest(bytes, size, test->script->version);
	test->script->size = size;
	return 0;
}

/* script_examine - the bytes of the request with the metadata of the request, or without any. */
static int script_examine(struct reading *reading, const void *bytes, const struct meta *meta)
{
	const char *more[META_KEYS_MAX];
	struct registry_offer offer = { .name = reading->name,
					.content = bytes ? bytes : "",
					.size = reading->parts[PART_SCRIPT]->size,
					.topic = meta_get(meta, "topic"),
					.more_topics = more,
					.meta = meta->keys,
					.meta_count = meta->count,
					.meta_strict = true };
	struct test_request *test = reading->test;

	meta_get_more(meta, "topic", more);
	int r = registry_examine(reading->daemon->registry, &offer, &test->state, &test->script, &test->why);
	return r < 0 ? lsn_error_set(&reading->err, r, "out of memory") : 0;
}

static int script_examine_with_meta(struct reading *reading, const void *bytes)
{
	struct meta meta = { .text = NULL };
	const void *text = NULL;
	char name[SCRIPT_NAME_MAX + 8];
	int r = 0;

	if (reading->parts[PART_META]) {
		(void)snprintf(name, sizeof name, "%.*s.meta", SCRIPT_NAME_MAX, reading->name);
		r = part_map(reading, PART_META, &text);
		if (r < 0)
			return r;
		r = meta_parse(name, text ? text : "", reading->parts[PART_META]->size, &meta, &reading->test->why);
		part_unmap(reading, PART_META, text);
	}
	if (r == -EINVAL) {
		reading->test->state = SCRIPT_REFUSED;
		return 0;
	}
	r = r < 0 ? lsn_error_set(&reading->err, r, "out of memory") : script_examine(reading, bytes, &meta);
	meta_clear(&meta);
	return r;
}

/* take_registered - a copy of what is registered under that name; -ENOENT: nothing is. */
static int take_registered(struct reading *reading)
{
	struct test_request *test = reading->test;
	const struct registry_entry *entry = registry_find(reading->daemon->registry, reading->name);

	if (!entry)
		return lsn_error_set(&reading->err, -ENOENT,
				     "there is no script of that name; listenerctl scripts lists them");
	test->state = entry->state;
	(void)lsn_error_set(&test->why, 0, "%s", entry->reason);
	test->script = entry->script ? script_copy(entry->script) : NULL;
	if (entry->script && !test->script)
		return lsn_error_set(&reading->err, -ENOMEM, "out of memory");
	return 0;
}

static int take_bytes(void *data, const void *bytes, size_t size)
{
	struct reading *reading = data;
	_cleanup_close_ int fd = memfd_sealed("script", bytes, size);
	int r = fd < 0 ? fd : content_adopt(fd, size, &reading->test->bytes);

	if (r >= 0)
		(void)TAKE_FD(fd);
	return r;
}

/* read_registered - the version that is registered. */
static int read_registered(struct reading *reading)
{
	int r = take_registered(reading);

	if (r < 0 || !reading->test->script)
		return r;
	return journal_read_script(reading->daemon->journal, reading->test->script->version, take_bytes, reading,
				   &reading->err);
}

/* read_sent - the bytes that came, as what METADATA, or if none came the registered one, makes of
 * them. */
static int read_sent(struct reading *reading, bool as_registered)
{
	const void *bytes;
	int r = part_map(reading, PART_SCRIPT, &bytes);

	if (r < 0)
		return r;
	if (as_registered)
		r = take_registered(reading);
	if (r >= 0 && as_registered && reading->test->script)
		r = new_version(reading, bytes, reading->parts[PART_SCRIPT]->size);
	else if (r >= 0 && !as_registered)
		r = script_examine_with_meta(reading, bytes);
	part_unmap(reading, PART_SCRIPT, bytes);
	if (r >= 0)
		reading->test->bytes = TAKE_PTR(reading->parts[PART_SCRIPT]);
	return r;
}

/* read_settings - those that the request sets, beside the script's own. */
static int read_settings(struct reading *reading)
{
	const json_t *settings = json_object_get(reading->request, "settings");
	struct test_request *test = reading->test;
	const char *key;
	json_t *value;

	if (settings && !json_is_object(settings))
		return lsn_error_set(&reading->err, -EINVAL, "settings must be an object: {\"timeout\": \"5s\"}");
	json_object_foreach ((json_t *)(uintptr_t)settings, key, value) {
		if (!json_is_string(value))
			return lsn_error_set(&reading->err, -EINVAL, "settings: every value must be a string");
		if (!test->script || test->state == SCRIPT_REFUSED)
			continue;
		int r = script_settings_set(&test->script->settings, &reading->daemon->config->policy, key,
					    json_string_value(value), &test->why);
		if (r > 0)
			(void)lsn_error_set(&test->why, r, "%s is not a key that a test can set", key);
		if (r != 0)
			test->state = SCRIPT_REFUSED;
	}
	return 0;
}

static int read_script(struct reading *reading)
{
	bool as_registered = json_is_true(json_object_get(reading->request, "registered"));

	if (!reading->name || !reading->name[0])
		return lsn_error_set(&reading->err, -EINVAL, "script is missing: the name of the script");
	int r = reading->parts[PART_SCRIPT] ? read_sent(reading, as_registered) : read_registered(reading);
	return r < 0 ? r : read_settings(reading);
}

/* ------------------------------------------------------------------------------------- the event */

static bool take_job(void *data, const struct journal_job_row *row)
{
	struct reading *reading = data;

	reading->job_event = row->event;
	reading->job_name = strdup(row->script);
	reading->job_topic = strdup(row->topic);
	return false;
}

/* read_job - what the request does not say the job does. */
static int read_job(struct reading *reading)
{
	if (!reading->job)
		return 0;
	int r = jobs_find(reading->daemon->journal, reading->job, take_job, reading, &reading->err);
	if (r >= 0 && (!reading->job_name || !reading->job_topic))
		r = lsn_error_set(&reading->err, -ENOMEM, "out of memory");
	if (!reading->name)
		reading->name = reading->job_name;
	if (!reading->topic)
		reading->topic = reading->job_topic;
	return r;
}

static int take_payload(void *data, const void *bytes, size_t size)
{
	struct reading *reading = data;
	_cleanup_close_ int fd = memfd_sealed("payload", bytes, size);
	int r = fd < 0 ? fd : content_adopt(fd, size, &reading->test->payload);

	if (r >= 0)
		(void)TAKE_FD(fd);
	return r;
}

static int read_payload(struct reading *reading)
{
	uint64_t max = reading->daemon->config->payload_max_bytes;

	if (!reading->parts[PART_PAYLOAD])
		return journal_read_payload(reading->daemon->journal, reading->job_event, take_payload, reading,
					    &reading->err);
	if (reading->parts[PART_PAYLOAD]->size > max)
		return lsn_error_set(&reading->err, -EFBIG, "payload of %zu bytes is over payload_max = %llu",
				     reading->parts[PART_PAYLOAD]->size, (unsigned long long)max);
	reading->test->payload = TAKE_PTR(reading->parts[PART_PAYLOAD]);
	return 0;
}

static int read_event(struct reading *reading)
{
	size_t size = reading->topic ? strlen(reading->topic) : 0;

	if (json_is_true(json_object_get(reading->request, "examine")))
		return 0;
	if (!reading->parts[PART_PAYLOAD] && !reading->job)
		return lsn_error_set(&reading->err, -EINVAL,
				     "there is no payload: it comes as a descriptor, or job "
				     "names the job that had it");
	if (!reading->topic)
		return lsn_error_set(&reading->err, -EINVAL, "topic is missing");
	int r = topic_check_name(reading->topic, size, &reading->err);
	if (r < 0)
		return lsn_error_prefix(&reading->err, r, "topic");
	r = read_payload(reading);
	if (r >= 0 && event_new(reading->topic, size, NULL, 0, &reading->test->event) < 0)
		r = lsn_error_set(&reading->err, -ENOMEM, "out of memory");
	return r;
}

/* ------------------------------------------------------------------------------------- all of it */

static int request_read(struct reading *reading, struct control_reply *reply)
{
	int r = read_parts(reading, reply);

	if (r >= 0)
		r = read_job(reading);
	if (r >= 0)
		r = read_script(reading);
	return r < 0 ? r : read_event(reading);
}

static void reading_clear(struct reading *reading)
{
	for (int part = 0; part < PART_MAX; part++)
		(void)content_unref(reading->parts[part]);
	free(reading->job_name);
	free(reading->job_topic);
}

bool test_request_read(struct daemon *daemon, const json_t *request, struct control_reply *reply,
		       struct test_request *ret)
{
	static const char *const keys[] = { "descriptors", "script", "registered", "settings", "topic",
					    "wait_usec",   "job",    "examine",    NULL };
	struct reading reading = { .daemon = daemon, .request = request, .test = ret };
	bool flag;

	*ret = (struct test_request){ .wait_usec = WAIT_DEFAULT_USEC };
	if (!reply_known_keys(reply, request, keys) || !reply_get_string(reply, request, "script", &reading.name) ||
	    !reply_get_bool(reply, request, "registered", &flag) || !reply_get_bool(reply, request, "examine", &flag) ||
	    !reply_get_string(reply, request, "topic", &reading.topic) ||
	    !reply_get_uint(reply, request, "wait_usec", 0, WAIT_MAX_USEC, &ret->wait_usec) ||
	    !reply_get_uint(reply, request, "job", 1, INT64_MAX - 1, &reading.job))
		return false;
	if (reading.job && !control_may(reply, CONTROL_OPERATE)) {
		control_fail(reply, EACCES, "only operators may test with the payload of a job");
		return false;
	}
	int r = request_read(&reading, reply);
	if (r < 0) {
		control_fail(reply, r, "%s", reading.err.message);
		test_request_clear(ret);
	}
	reading_clear(&reading);
	return r >= 0;
}

void test_request_clear(struct test_request *request)
{
	(void)script_unref(request->script);
	(void)content_unref(request->bytes);
	(void)event_unref(request->event);
	(void)content_unref(request->payload);
	*request = (struct test_request){ 0 };
}
