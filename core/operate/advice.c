/* advice.c - see advice.h. */
#include "advice.h"
#include "suggest.h"
#include "topic.h"
#include "util.h"

#include <string.h>

static const char *const operations[] = { "create", "update", "delete", "update_object", "update_metadata", NULL };
static const char *const objects[] = { "collection", "resource", "user", "group", NULL };

static bool is_one_of(const char *const *list, const char *word)
{
	for (; *list; list++)
		if (streq(*list, word))
			return true;
	return false;
}

static bool is_wildcard(const char *level) { return streq(level, "+") || streq(level, "#"); }

static bool can_be_delivered(const struct config *config, const char *filter)
{
	for (char **s = config->broker.subscriptions; s && *s; s++)
		if (topic_filters_overlap(topic_subscription_filter(*s), filter))
			return true;
	return false;
}

/* ------------------------------------------------------------------------------- odd characters */

/* odd_at - the character at AT is a blank or cannot be seen: its size in bytes, 0 if it is
 * neither. */
static size_t odd_at(const char *at)
{
	static const char *const odd[] = { " ",
					   "\t",
					   "\xc2\xa0",
					   "\xc2\xad",
					   "\xe1\x9a\x80",
					   "\xe2\x80\xa8",
					   "\xe2\x80\xa9",
					   "\xe2\x80\xaf",
					   "\xe2\x81\x9f",
					   "\xe2\x81\xa0",
					   "\xe3\x80\x80",
					   "\xef\xbb\xbf" };

	for (size_t i = 0; i < ELEMENTSOF(odd); i++)
		if (str_startswith(at, odd[i]))
			return strlen(odd[i]);
	/* U+2000 to U+200F */
	return at[0] == '\xe2' && at[1] == '\x80' && (unsigned char)at[2] >= 0x80 && (unsigned char)at[2] <= 0x8f ? 3
														  : 0;
}

/* ends_level - AT is the beginning or the end of a level of FILTER. */
static bool ends_level(const char *filter, const char *at)
{
	return at == filter || at[-1] == '/' || *at == '/' || !*at;
}

/* find_odd - a blank or an invisible character where it is hardly meant. */
static const char *find_odd(const char *filter)
{
	for (const char *c = filter; *c; c++) {
		size_t size = odd_at(c);
		if (size > 0 && (ends_level(filter, c) || ends_level(filter, c + size)))
			return c;
	}
	return NULL;
}

static bool is_quote(char c) { return c == '"' || c == '\'' || c == '`'; }

/* has_combining - a letter and its accent as two characters: U+0300 to U+036F. */
static bool has_combining(const char *filter)
{
	for (const unsigned char *c = (const unsigned char *)filter; *c; c++)
		if ((c[0] == 0xcc && c[1] >= 0x80) || (c[0] == 0xcd && c[1] >= 0x80 && c[1] <= 0xaf))
			return true;
	return false;
}

/* --------------------------------------------------------------------------------- what is near */

/* strip - FILTER without quotation marks and odd characters at its ends. */
static void strip(const char *filter, char *buf, size_t size)
{
	size_t n, last;

	while (is_quote(*filter) || odd_at(filter) > 0)
		filter += is_quote(*filter) ? 1 : odd_at(filter);
	(void)snprintf(buf, size, "%s", filter);
	do {
		n = last = strlen(buf);
		if (n > 0 && is_quote(buf[n - 1]))
			buf[--last] = 0;
		for (size_t k = 1; k <= 3 && k <= n && last == n; k++)
			if (odd_at(buf + n - k) == k)
				buf[last = n - k] = 0;
	} while (last < n);
}

/* corrected - WORD if it may stand there, or the nearest word that may, or WORD. */
static const char *corrected(const char *word, const char *const *list)
{
	if (is_wildcard(word) || is_one_of(list, word))
		return word;
	const char *near = suggest_from(word, list);
	return near ? near : word;
}

/* find_near - a filter like FILTER whose first two levels are what archives publish. False:
 * there is none, or it is FILTER itself. */
static bool find_near(const char *filter, char *buf, size_t size)
{
	char plain[1024], first[32], second[32];

	if (strlen(filter) >= sizeof plain)
		return false;
	strip(filter, plain, sizeof plain);
	size_t one = strcspn(plain, "/");
	const char *rest = plain + one + (plain[one] == '/');
	size_t two = strcspn(rest, "/");
	if (one >= sizeof first || two >= sizeof second)
		return false;
	(void)snprintf(first, sizeof first, "%.*s", (int)one, plain);
	(void)snprintf(second, sizeof second, "%.*s", (int)two, rest);
	(void)snprintf(buf, size, "%s%s%s%s", corrected(first, operations), plain[one] ? "/" : "",
		       corrected(second, objects), rest + two);
	return !streq(buf, filter);
}

/* ------------------------------------------------------------------------------------ judgement */

/* is_shielded - all resources and collections that FILTER matches are the scripts collection's.
 * PEOPLE: its second level is '+', so a user or a group could match as well. */
static bool is_shielded(enum topic_dialect dialect, const char *filter, const char *collection, bool *ret_people)
{
	struct topic_parts parts;

	topic_split(dialect, filter, strlen(filter), &parts);
	*ret_people = parts.object == TOPIC_OBJECT_OTHER && parts.ident - filter >= 3 &&
		      str_startswith(parts.ident - 3, "/+/");
	if (*ret_people)
		parts.object = TOPIC_RESOURCE;
	/* The levels that name the collection must stand there as they are: a '+' matches its
	 * neighbours as well. */
	const char *level = parts.ident;
	for (const char *c = collection + strspn(collection, "/"); *c; c += strspn(c, "/")) {
		size_t size = strcspn(level, "/"), wanted = strcspn(c, "/");
		if (size != wanted || strncmp(level, c, size) != 0)
			return false;
		level += size + (level[size] == '/');
		c += wanted;
	}
	return topic_below(&parts, collection);
}

/* suspect - what looks like a slip in a filter that can be reached. */
static void suspect(const struct config *config, const char *filter, char *buf)
{
	char near[1100], quoted[200], second[32];
	const char *slash = strchr(filter, '/');
	size_t size = strlen(filter), first = slash ? (size_t)(slash - filter) : size;
	char operation[32] = "";

	(void)snprintf(operation, sizeof operation, "%.*s", (int)first, filter);
	(void)snprintf(second, sizeof second, "%.*s", slash ? (int)strcspn(slash + 1, "/") : 0, slash ? slash + 1 : "");
	if (is_quote(filter[0]) || is_quote(filter[size - 1]))
		(void)snprintf(buf, ADVICE_SIZE,
			       "the quotation mark belongs to the filter; leave it out if the topic has none");
	else if (find_odd(filter))
		(void)snprintf(buf, ADVICE_SIZE,
			       "a level of the filter begins or ends with a blank or an invisible character: %s",
			       str_quote(quoted, sizeof quoted, find_odd(filter), odd_at(find_odd(filter))));
	else if (has_combining(filter))
		(void)snprintf(buf, ADVICE_SIZE,
			       "the filter has a letter and its accent as two characters (NFD); a topic with one "
			       "character (NFC) does not match");
	else if (config->source.events != TOPIC_RADON && *second && is_one_of(operations, operation) &&
		 !is_wildcard(second) && !is_one_of(objects, second) && find_near(filter, near, sizeof near) &&
		 can_be_delivered(config, near))
		(void)snprintf(buf, ADVICE_SIZE, "Indigo publishes no topics %s/%s; did you mean %.200s?", operation,
			       second, near);
}

/* advise_filter - true: no event matches FILTER. */
static bool advise_filter(const struct config *config, const char *filter, char *buf)
{
	char near[1100];
	bool people;

	buf[0] = 0;
	if (!can_be_delivered(config, filter)) {
		bool found = find_near(filter, near, sizeof near) && can_be_delivered(config, near);
		(void)snprintf(buf, ADVICE_SIZE,
			       "no event can run it: no subscription of the listener delivers such topics%s%.300s%s",
			       found ? "; did you mean " : "", found ? near : "",
			       found ? "?" : ", see [broker] subscriptions");
		return true;
	}
	if (is_shielded(config->source.events, filter, config->source.collection, &people)) {
		(void)snprintf(buf, ADVICE_SIZE, "%s: events on the scripts collection %.200s run no scripts",
			       people ? "only a user or a group can run it" : "no event can run it",
			       config->source.collection);
		return !people;
	}
	suspect(config, filter, buf);
	return false;
}

static const char *covering_filter(const struct script *script, const char *filter)
{
	const char *other = NULL;
	bool before = true; /* of two that are equal the later adds nothing */

	while ((other = script_filter_after(script, other))) {
		if (other == filter)
			before = false;
		else if (topic_filter_covers(other, filter) && (before || !topic_filter_covers(filter, other)))
			return other;
	}
	return NULL;
}

/* advise_redundant - filters that another one covers. */
static void advise_redundant(const struct script *script, char *buf)
{
	const char *filter = NULL, *other;
	char quoted[2][200];

	while (script->more_filters && (filter = script_filter_after(script, filter))) {
		other = covering_filter(script, filter);
		if (!other)
			continue;
		(void)snprintf(buf, ADVICE_SIZE, "topic %s adds nothing: %s matches all that it does",
			       str_quote(quoted[0], sizeof quoted[0], filter, strlen(filter)),
			       str_quote(quoted[1], sizeof quoted[1], other, strlen(other)));
		return;
	}
}

/* advise_filters - of each filter; true: no event matches any of them. */
static bool advise_filters(const struct config *config, const struct script *script, char *buf)
{
	const char *filter = NULL;
	char one[ADVICE_SIZE], quoted[200];
	bool stuck = true;

	while ((filter = script_filter_after(script, filter))) {
		stuck &= advise_filter(config, filter, one);
		if (one[0] && !buf[0] && script->more_filters)
			(void)snprintf(buf, ADVICE_SIZE, "topic %s: %.380s",
				       str_quote(quoted, sizeof quoted, filter, strlen(filter)), one);
		else if (one[0] && !buf[0])
			memcpy(buf, one, sizeof one);
	}
	return stuck;
}

bool advise(const struct config *config, const struct script *script, char *buf)
{
	buf[0] = 0;
	if (advise_filters(config, script, buf))
		return true;
	if (!buf[0])
		advise_redundant(script, buf);
	if (!buf[0] && script->settings.retries > 0 && (script->settings.retry_on & UINT32_C(1) << LSN_OUTCOME_OUTPUT))
		(void)snprintf(buf, ADVICE_SIZE, "retry_on = output has no effect: output is cut, and ends no job");
	return false;
}
