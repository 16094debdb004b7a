/* events.c - events as files have them: see author.h. mosquitto_sub writes this form, too:
 *
 *     mosquitto_sub -t 'create/#' -F '[%t] %p' */
#include "author.h"
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define FILE_MAX ((size_t)64 << 20) /* bytes */

bool events_add(struct events *events, char *topic, char *payload, size_t payload_size)
{
	struct event *larger = reallocarray(events->list, events->count + 1, sizeof *larger);

	if (!larger || !payload) {
		free(topic);
		free(payload);
		events->list = larger ? larger : events->list;
		(void)fprintf(stderr, "listenerctl: out of memory\n");
		return false;
	}
	events->list = larger;
	struct event *event = &events->list[events->count++];

	*event = (struct event){ .topic = topic, .payload = payload, .payload_size = payload_size };
	return true;
}

void events_clear(struct events *events)
{
	for (size_t i = 0; i < events->count; i++) {
		free(events->list[i].topic);
		free(events->list[i].payload);
	}
	free(events->list);
	*events = (struct events){ 0 };
}

/* payload_of - LINE is "[TOPIC] PAYLOAD": its payload, or NULL. A topic may hold "] ", so one that
 * an object follows is looked for first. */
static const char *payload_of(const char *line, size_t *ret_topic_size)
{
	const char *end;

	if (line[0] != '[')
		return NULL;
	end = strstr(line, "] {");
	if (!end)
		end = strstr(line, "] ");
	if (!end)
		return NULL;
	*ret_topic_size = (size_t)(end - line) - 1;
	return end + 2;
}

/* is_json - all of it: then it is a payload, even if it begins with a bracket. */
static bool is_json(const char *bytes, size_t size)
{
	json_t *value = json_loadb(bytes, size, JSON_DECODE_ANY, NULL);

	json_decref(value);
	return value;
}

static bool read_line(struct events *events, const char *path, size_t number, const char *line)
{
	size_t topic_size = 0;
	const char *payload = payload_of(line, &topic_size);

	if (!payload) {
		(void)fprintf(stderr, "listenerctl: %s:%zu: this line is not [TOPIC] PAYLOAD\n", path, number);
		return false;
	}
	return events_add(events, strndup(line + 1, topic_size), strdup(payload), strlen(payload));
}

static bool read_lines(struct events *events, const char *path, char *bytes)
{
	size_t number = 1;

	for (char *rest = bytes, *line; (line = strsep(&rest, "\n")); number++)
		if (*line && !read_line(events, path, number, line))
			return false;
	return true;
}

/* read_stream - a pipe, or what is no regular file. */
static int read_stream(int fd, char **ret, size_t *ret_size)
{
	char *bytes = NULL;
	size_t size = 0, capacity = 0;
	ssize_t n = 1;

	while (n > 0 && size <= FILE_MAX) {
		if (capacity - size < 2) {
			capacity = capacity ? capacity * 2 : 65536;
			char *larger = realloc(bytes, capacity);
			if (!larger)
				break;
			bytes = larger;
		}
		n = read(fd, bytes + size, capacity - size - 1);
		size += n > 0 ? (size_t)n : 0;
	}
	if (n != 0) {
		int r = n < 0 ? -errno : size > FILE_MAX ? -EFBIG : -ENOMEM;
		free(bytes);
		return r;
	}
	bytes[size] = '\0';
	*ret = bytes;
	*ret_size = size;
	return 0;
}

bool events_read(const char *path, struct events *ret)
{
	bool standard = streq(path, "-");
	_cleanup_close_ int fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *bytes = NULL;
	size_t size = 0, topic_size;
	int r = fd < 0 ? -errno : read_stream(fd, &bytes, &size);

	if (r < 0) {
		(void)fprintf(stderr, "listenerctl: %s cannot be read: %s\n", standard ? "standard input" : path,
			      strerror(-r));
		return false;
	}
	bool text = memchr(bytes, '\0', size) == NULL;
	if (text && !is_json(bytes, size) && payload_of(bytes, &topic_size))
		return read_lines(ret, path, bytes);
	return events_add(ret, NULL, TAKE_PTR(bytes), size);
}
