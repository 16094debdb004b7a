/* near.c - see near.h. */
#include "near.h"
#include "script.h"
#include "topic.h"
#include "util.h"
#include <ctype.h>
#include <string.h>

#define FILTER_MAX 1024 /* bytes; of longer ones the case is not compared */

struct level {
	const char *text;
	size_t size;
};

static struct level level_at(const char *text) { return (struct level){ text, strcspn(text, "/") }; }

/* level_next - behind LEVEL; NULL: it was the last. */
static const char *level_next(struct level level)
{
	return level.text[level.size] ? level.text + level.size + 1 : NULL;
}

static bool level_is(struct level level, const char *word)
{
	return level.size == strlen(word) && memcmp(level.text, word, level.size) == 0;
}

static bool level_equal(struct level a, struct level b)
{
	return a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
}

static bool lower(const char *from, char to[FILTER_MAX])
{
	size_t i = 0;

	for (; from[i] && i < FILTER_MAX - 1; i++)
		to[i] = (char)tolower((unsigned char)from[i]);
	to[i] = 0;
	return !from[i];
}

static bool differs_in_case(const char *filter, const char *topic)
{
	char a[FILTER_MAX], b[FILTER_MAX];

	return lower(filter, a) && lower(topic, b) && topic_matches(a, b);
}

struct comparison {
	unsigned equal, different; /* levels, wildcards not counted */
	struct level wrong, right; /* the last that differ */
	unsigned number; /* of that level, from 1 */
	bool too_short; /* the filter ends before the topic does */
	bool too_long;
};

static void compare_levels(const char *filter, const char *topic, struct comparison *c)
{
	*c = (struct comparison){ 0 };
	for (unsigned number = 1; filter && topic; number++) {
		struct level a = level_at(filter), b = level_at(topic);
		if (level_is(a, "#"))
			return;
		bool any = level_is(a, "+"), equal = level_equal(a, b);
		c->equal += equal && !any;
		c->different += !equal && !any;
		if (!equal && !any) {
			c->wrong = a;
			c->right = b;
			c->number = number;
		}
		filter = level_next(a);
		topic = level_next(b);
	}
	c->too_short = topic;
	c->too_long = filter && strcmp(filter, "#") != 0;
}

bool near_filter(const char *filter, const char *topic, char ret[NEAR_SIZE])
{
	struct comparison c;
	size_t limit = 150; /* bytes of a level that are shown */

	ret[0] = 0;
	compare_levels(filter, topic, &c);
	if (filter[0] == '/' && topic_matches(filter + 1, topic))
		(void)snprintf(ret, NEAR_SIZE, "its filter begins with a slash, and topics do not");
	else if (differs_in_case(filter, topic))
		(void)snprintf(ret, NEAR_SIZE, "its filter differs from the topic in upper and lower case");
	else if (c.equal > 0 && c.different == 1 && !c.too_short && !c.too_long)
		(void)snprintf(ret, NEAR_SIZE, "level %u of its filter is '%.*s', the topic has '%.*s'", c.number,
			       (int)(c.wrong.size < limit ? c.wrong.size : limit), c.wrong.text,
			       (int)(c.right.size < limit ? c.right.size : limit), c.right.text);
	else if (c.equal > 1 && c.different == 0 && c.too_short)
		(void)snprintf(ret, NEAR_SIZE, "its filter ends before the topic does: it lacks /# or /+ at its end");
	utf8_trim(ret);
	return ret[0];
}

bool near_script(const struct registry_entry *entry, const char *topic, char ret[NEAR_SIZE])
{
	const char *filter = NULL;

	if (!entry->script) {
		(void)snprintf(ret, NEAR_SIZE, "%s: %.400s", script_state_names[entry->state], entry->reason);
		utf8_trim(ret);
		return true;
	}
	while ((filter = script_filter_after(entry->script, filter)))
		if (near_filter(filter, topic, ret))
			return true;
	return false;
}
