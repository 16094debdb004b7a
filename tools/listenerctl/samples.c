/* samples.c - real events of an archive, and ones like them about another object.
 * tools/listenerctl/samples.txt has them: a line with the topic, a line with the payload. The tests
 * publish the same, and docs/events.md shows the same. */
#include "author.h"
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

#include <cleanup.h>
#include <util.h>

static const char text[] =
#include "samples.h"
	;

/* levels - the first COUNT levels of TOPIC, in bytes; all of it, if there are fewer. */
static size_t levels(const char *topic, size_t size, unsigned count)
{
	const char *at = topic, *end = topic + size;

	while (count-- > 0) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		if (!slash)
			return size;
		at = slash + 1;
	}
	return (size_t)(at - topic) - 1;
}

static size_t line_size(const char *line) { return strcspn(line, "\n"); }

bool sample_next(struct sample *sample)
{
	const char *line = sample->topic ? sample->payload + sample->payload_size + 1 : text;

	if (!*line)
		return false;
	sample->topic = line;
	sample->topic_size = line_size(line);
	sample->payload = line + sample->topic_size + 1;
	sample->payload_size = line_size(sample->payload);
	return true;
}

/* is_kind - of the operation or type WORD, or of both: "create", "resource", "create/resource". */
static bool is_kind(const struct sample *sample, const char *word)
{
	size_t operation = levels(sample->topic, sample->topic_size, 1);
	size_t both = levels(sample->topic, sample->topic_size, 2), size = strlen(word);
	const char *type = sample->topic + operation + 1;

	return (size == operation && memcmp(word, sample->topic, size) == 0) ||
	       (size == both - operation - 1 && memcmp(word, type, size) == 0) ||
	       (size == both && memcmp(word, sample->topic, size) == 0);
}

bool sample_next_of(struct sample *sample, const char *kind)
{
	while (sample_next(sample))
		if (!kind || is_kind(sample, kind))
			return true;
	return false;
}

/* ------------------------------------------------------------------------------ about an object */

struct place { /* a topic's parts */
	char *operation, *type, *identifier;
};

static void place_free(struct place *place)
{
	free(place->operation);
	free(place->type);
	free(place->identifier);
}

static bool place_read(const char *topic, struct place *ret)
{
	size_t size = strlen(topic), first = levels(topic, size, 1), both = levels(topic, size, 2);

	*ret = (struct place){ .operation = strndup(topic, first),
			       .type = strndup(topic + first + (first < size), both > first ? both - first - 1 : 0),
			       .identifier = strdup(both < size ? topic + both + 1 : "") };
	return ret->operation && ret->type && ret->identifier;
}

/* like - the sample of that operation and type; of an older archive's operation, such as
 * update_metadata, the one that it begins with. */
static bool like(const struct place *place, struct sample *ret)
{
	*ret = (struct sample){ 0 };
	while (sample_next(ret)) {
		size_t operation = levels(ret->topic, ret->topic_size, 1);
		size_t both = levels(ret->topic, ret->topic_size, 2);
		if (strncmp(place->operation, ret->topic, operation) == 0 &&
		    strlen(place->type) == both - operation - 1 &&
		    memcmp(place->type, ret->topic + operation + 1, both - operation - 1) == 0)
			return true;
	}
	return false;
}

/* move_state - one of "pre" and "post": its object is IDENTIFIER from now on. */
static void move_state(json_t *state, const struct place *place)
{
	const char *slash = strrchr(place->identifier, '/');
	bool by_uuid = streq(place->type, "user") && !str_startswith(place->operation, "update");

	if (json_object_size(state) == 0)
		return;
	if (json_object_get(state, "container")) {
		(void)json_object_set_new(
			state, "container",
			json_sprintf("/%.*s", slash ? (int)(slash - place->identifier) : 0, place->identifier));
		(void)json_object_set_new(state, "name", json_string(slash ? slash + 1 : place->identifier));
	} else {
		(void)json_object_set_new(state, by_uuid ? "uuid" : "name", json_string(place->identifier));
	}
}

/* moved - SAMPLE's payload, about the object of PLACE. */
static char *moved(const struct sample *sample, const struct place *place)
{
	json_t *payload = json_loadb(sample->payload, sample->payload_size, 0, NULL);

	move_state(json_object_get(payload, "pre"), place);
	move_state(json_object_get(payload, "post"), place);
	char *bytes = payload ? json_dumps(payload, JSON_ENSURE_ASCII) : NULL;
	json_decref(payload);
	return bytes;
}

char *sample_about(const char *topic)
{
	struct place place;
	struct sample sample;
	char *payload = NULL;

	if (place_read(topic, &place) && place.identifier[0] && like(&place, &sample))
		payload = moved(&sample, &place);
	place_free(&place);
	return payload;
}

/* --------------------------------------------------------------------------------- for a filter */

/* any_level - what stands for a wildcard as level NUMBER of a topic of TYPE. */
static const char *any_level(unsigned number, const char *type, bool last)
{
	static const char *const first[] = { "create", "resource" };

	if (number < ELEMENTSOF(first))
		return first[number];
	return last && streq(type, "resource") ? "example.csv" : "example";
}

/* topic_for - the shortest that FILTER matches and that is about an object. */
static char *topic_for(const char *filter, bool *ret_any)
{
	_cleanup_free_ char *copy = strdup(filter);
	char *rest = copy, *level, *topic = NULL;
	const char *type = "";
	size_t size;
	FILE *out = open_memstream(&topic, &size);
	bool all = false;

	*ret_any = false;
	for (unsigned number = 0; out && copy && (rest || (all && number < 3)); number++) {
		level = rest ? strsep(&rest, "/") : NULL;
		all = all || (level && streq(level, "#"));
		*ret_any = all || streq(level, "+");
		const char *word = *ret_any ? any_level(number, type, !rest) : level;
		(void)fprintf(out, "%s%s", number > 0 ? "/" : "", word);
		type = number == 1 ? word : type;
	}
	if (out)
		(void)fclose(out);
	return topic;
}

char *sample_topic(const char *filter)
{
	bool any;
	char *topic = topic_for(filter, &any);
	struct place place = { 0 };
	struct sample sample;

	/* what a user or a group is called differs: the sample knows */
	if (topic && any && place_read(topic, &place) && (streq(place.type, "user") || streq(place.type, "group")) &&
	    like(&place, &sample)) {
		free(topic);
		topic = strndup(sample.topic, sample.topic_size);
	}
	place_free(&place);
	return topic;
}

/* ------------------------------------------------------------------------------------ the command */

static void print_event(const char *topic, size_t topic_size, const char *payload, size_t payload_size)
{
	(void)printf("[%.*s] %.*s\n", (int)topic_size, topic, (int)payload_size, payload);
}

static enum exit_code explain_kinds(const char *word)
{
	struct sample sample = { 0 };
	_cleanup_free_ char *shown = text_escape(word, strlen(word), false);

	(void)fprintf(stderr, "listenerctl: '%s' is neither a topic of an archive nor a kind; the kinds are:",
		      shown ? shown : "?");
	while (sample_next(&sample))
		(void)fprintf(stderr, " %.*s", (int)levels(sample.topic, sample.topic_size, 2), sample.topic);
	(void)fprintf(stderr, "\n");
	return EXIT_USAGE;
}

enum exit_code run_sample(struct client *client, struct invocation *invocation)
{
	const char *word = invocation->word_count > 0 ? invocation->words[0] : NULL;
	_cleanup_free_ char *payload = word ? sample_about(word) : NULL;
	struct sample sample = { 0 };
	unsigned count = 0;

	(void)client;
	if (payload) {
		print_event(word, strlen(word), payload, strlen(payload));
		return EXIT_OK;
	}
	for (; sample_next_of(&sample, word); count++)
		print_event(sample.topic, sample.topic_size, sample.payload, sample.payload_size);
	return count > 0 ? EXIT_OK : explain_kinds(word);
}
