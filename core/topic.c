/* topic.c - see topic.h. Plain walks over levels, no allocation; the router has its own, faster
 * way to many filters. */
#include "topic.h"

#include <errno.h>
#include <util.h>

/* ------------------------------------------------------------------------------------- validity */

static int check_text(const char *what, const char *text, size_t size, struct lsn_error *err)
{
	if (size == 0)
		return lsn_error_set(err, -EINVAL, "a %s cannot be empty", what);
	if (size > TOPIC_MAX)
		return lsn_error_set(err, -EINVAL, "a %s has at most %d bytes, this one has %zu", what, TOPIC_MAX,
				     size);
	if (memchr(text, '\0', size))
		return lsn_error_set(err, -EINVAL, "a %s cannot hold a NUL byte", what);
	if (!utf8_valid(text, size))
		return lsn_error_set(err, -EINVAL, "the %s is not well-formed UTF-8", what);
	return 0;
}

int topic_check_name(const char *topic, size_t size, struct lsn_error *err)
{
	int r = check_text("topic", topic, size, err);
	if (r < 0)
		return r;
	if (memchr(topic, '+', size) || memchr(topic, '#', size))
		return lsn_error_set(err, -EINVAL, "a topic cannot hold '+' or '#'");
	return 0;
}

static int check_wildcards(const char *filter, size_t size, struct lsn_error *err)
{
	for (size_t i = 0; i < size; i++) {
		if (filter[i] != '+' && filter[i] != '#')
			continue;
		bool starts = i == 0 || filter[i - 1] == '/';
		bool ends = i + 1 == size || filter[i + 1] == '/';
		if (!starts || !ends)
			return lsn_error_set(err, -EINVAL,
					     "'%c' must stand alone between slashes, as in \"create/+/projects/#\"",
					     filter[i]);
		if (filter[i] == '#' && i + 1 != size)
			return lsn_error_set(err, -EINVAL,
					     "'#' can only be the last level, as in \"create/+/projects/#\"");
	}
	return 0;
}

static bool starts_share(const char *text, size_t size) { return size >= 7 && memcmp(text, "$share/", 7) == 0; }

int topic_check_filter(const char *filter, size_t size, struct lsn_error *err)
{
	int r = check_text("topic filter", filter, size, err);
	if (r < 0)
		return r;
	if (starts_share(filter, size))
		return lsn_error_set(
			err, -EINVAL,
			"\"$share/...\" is for the listener's own subscription, not for a script's filter");
	return check_wildcards(filter, size, err);
}

int topic_check_subscription(const char *text, size_t size, struct lsn_error *err)
{
	if (!starts_share(text, size))
		return topic_check_filter(text, size, err);
	int r = check_text("subscription", text, size, err);
	if (r < 0)
		return r;
	const char *group = text + 7, *end = text + size;
	const char *slash = memchr(group, '/', (size_t)(end - group));
	if (!slash || slash == group || slash + 1 == end)
		return lsn_error_set(err, -EINVAL, "a shared subscription is written $share/GROUP/FILTER");
	for (const char *p = group; p < slash; p++)
		if (*p == '+' || *p == '#')
			return lsn_error_set(err, -EINVAL, "the group of a shared subscription cannot hold '+' or '#'");
	return check_wildcards(slash + 1, (size_t)(end - slash - 1), err);
}

const char *topic_subscription_filter(const char *subscription)
{
	const char *slash = starts_share(subscription, strlen(subscription)) ? strchr(subscription + 7, '/') : NULL;
	return slash ? slash + 1 : subscription;
}

size_t topic_normalise_filter(char *filter)
{
	char *out = filter;
	for (const char *in = filter; *in; in++)
		if (*in != '/' || (out > filter && out[-1] != '/'))
			*out++ = *in;
	if (out > filter && out[-1] == '/')
		out--;
	*out = '\0';
	return (size_t)(out - filter);
}

/* ------------------------------------------------------------------------------------- matching */

/* How many bytes A and B have in common at their start, at most MAX; by words, because this is
 * where the router's hits end up. */
static size_t common_prefix(const char *a, const char *b, size_t max)
{
	size_t i = 0;
	for (; i + 8 <= max; i += 8) {
		uint64_t x, y;
		memcpy(&x, a + i, 8);
		memcpy(&y, b + i, 8);
		if (x != y)
			break;
	}
	while (i < max && a[i] == b[i])
		i++;
	return i;
}

bool topic_matches_sized(const char *filter, size_t filter_size, const char *name, size_t name_size)
{
	const char *f = filter, *n = name, *f_end = filter + filter_size, *n_end = name + name_size;
	if (name_size > 0 && *n == '$' && filter_size > 0 && (*f == '+' || *f == '#'))
		return false;
	for (;;) {
		/* A valid name holds no wildcard, so the first difference is where one stands,
		 * if it stands anywhere. */
		size_t f_left = (size_t)(f_end - f), n_left = (size_t)(n_end - n);
		size_t same = common_prefix(f, n, f_left < n_left ? f_left : n_left);
		f += same;
		n += same;
		if (f == f_end)
			return n == n_end;
		if (*f == '#')
			return true;
		if (*f != '+')
			return n == n_end && f_end - f == 2 && f[0] == '/' && f[1] == '#';
		f++;
		while (n < n_end && *n != '/')
			n++;
	}
}

bool topic_matches(const char *filter, const char *name)
{
	return topic_matches_sized(filter, strlen(filter), name, strlen(name));
}

/* A level of a filter: P points at it; SIZE its bytes. */
struct level {
	const char *p;
	size_t size;
};

static struct level level_at(const char *p) { return (struct level){ p, strcspn(p, "/") }; }

/* The level after L; p is NULL after the last. */
static struct level level_next(struct level l)
{
	if (l.p[l.size] == '\0')
		return (struct level){ NULL, 0 };
	return level_at(l.p + l.size + 1);
}

static bool level_is(struct level l, char wildcard) { return l.p && l.size == 1 && *l.p == wildcard; }

static bool level_equal(struct level a, struct level b) { return a.size == b.size && memcmp(a.p, b.p, a.size) == 0; }

/* A leading wildcard does not match names that begin with '$', so it shares none with a filter
 * that does. */
static bool dollar_apart(const char *wild, const char *other)
{
	return (*wild == '+' || *wild == '#') && *other == '$';
}

bool topic_filters_overlap(const char *a, const char *b)
{
	if (dollar_apart(a, b) || dollar_apart(b, a))
		return false;
	if ((strcmp(a, "/#") == 0 && strcmp(b, "+") == 0) || (strcmp(a, "+") == 0 && strcmp(b, "/#") == 0))
		return false; /* they would share the empty name, which is none */
	struct level x = level_at(a), y = level_at(b);
	for (; x.p && y.p; x = level_next(x), y = level_next(y)) {
		if (level_is(x, '#') || level_is(y, '#'))
			return true;
		if (!level_is(x, '+') && !level_is(y, '+') && !level_equal(x, y))
			return false;
	}
	return (!x.p || level_is(x, '#')) && (!y.p || level_is(y, '#'));
}

bool topic_filter_covers(const char *a, const char *b)
{
	if (dollar_apart(a, b))
		return false;
	/* The same names, and easier to compare: '#' stands for the level before it, too, but no
	 * name is empty. */
	if (strcmp(b, "#") == 0)
		b = "+/#";
	else if (strcmp(b, "/#") == 0)
		b = "/+/#";
	struct level x = level_at(a), y = level_at(b);
	for (; x.p && y.p; x = level_next(x), y = level_next(y)) {
		if (level_is(x, '#'))
			return true;
		if (level_is(y, '#'))
			return false;
		if (!level_is(x, '+') && (level_is(y, '+') || !level_equal(x, y)))
			return false;
	}
	return !y.p && (!x.p || level_is(x, '#'));
}

/* ------------------------------------------------------------------------ the archive's grammar */

static bool segment_is(const char *p, size_t size, const char *word)
{
	return strlen(word) == size && memcmp(p, word, size) == 0;
}

static enum topic_operation parse_operation(const char *p, size_t size)
{
	static const struct {
		const char *word;
		enum topic_operation operation;
	} words[] = {
		{ "create", TOPIC_CREATE },          { "update", TOPIC_UPDATE }, { "update_object", TOPIC_UPDATE },
		{ "update_metadata", TOPIC_UPDATE }, { "delete", TOPIC_DELETE },
	};
	for (size_t i = 0; i < ELEMENTSOF(words); i++)
		if (segment_is(p, size, words[i].word))
			return words[i].operation;
	return TOPIC_OPERATION_OTHER;
}

static enum topic_object parse_object(const char *p, size_t size)
{
	static const char *const words[] = {
		[TOPIC_COLLECTION] = "collection",
		[TOPIC_RESOURCE] = "resource",
		[TOPIC_USER] = "user",
		[TOPIC_GROUP] = "group",
	};
	for (size_t i = 0; i < ELEMENTSOF(words); i++)
		if (segment_is(p, size, words[i]))
			return (enum topic_object)i;
	return TOPIC_OBJECT_OTHER;
}

/* level_take - the level at *AT, which then points behind its slash, or to END. */
static struct level level_take(const char **at, const char *end)
{
	const char *slash = memchr(*at, '/', (size_t)(end - *at));
	struct level level = { *at, (size_t)((slash ? slash : end) - *at) };

	*at = slash ? slash + 1 : end;
	return level;
}

void topic_split(enum topic_dialect dialect, const char *topic, size_t size, struct topic_parts *ret)
{
	const char *at = topic, *end = topic + size;
	struct level operation = level_take(&at, end), status = { "success", 7 };

	if (dialect == TOPIC_RADON)
		status = level_take(&at, end);
	struct level object = level_take(&at, end);
	*ret = (struct topic_parts){ .operation = parse_operation(operation.p, operation.size),
				     .object = parse_object(object.p, object.size),
				     .done = segment_is(status.p, status.size, "success") };
	if (dialect == TOPIC_DRASTIC && (ret->object == TOPIC_COLLECTION || ret->object == TOPIC_RESOURCE))
		(void)level_take(&at, end);
	ret->ident = at;
	ret->ident_size = (size_t)(end - at);
}

/* A path read as the publisher would write it into a topic, but with no empty levels left: '+'
 * and '#' fall out, runs of slashes are one, none leads or trails. */
struct path {
	const char *p, *end;
	bool started;
};

/* The next byte, or -1 at the end. */
static int path_next(struct path *path)
{
	bool slash = false;
	for (; path->p < path->end; path->p++) {
		if (*path->p == '/') {
			slash = true;
		} else if (*path->p != '+' && *path->p != '#') {
			if (slash && path->started)
				return '/'; /* and the byte itself next time */
			path->started = true;
			return (unsigned char)*path->p++;
		}
	}
	return -1;
}

bool topic_below(const struct topic_parts *parts, const char *root)
{
	if (parts->object != TOPIC_COLLECTION && parts->object != TOPIC_RESOURCE)
		return false;
	struct path r = { root, root + strlen(root), false },
		    i = { parts->ident, parts->ident + parts->ident_size, false };
	bool all = true; /* ROOT is the archive's root: everything is below it */
	for (;;) {
		int c = path_next(&r), d = path_next(&i);
		if (c == -1)
			return all || d == -1 || d == '/';
		if (c != d)
			return false;
		all = false;
	}
}
