/* source_cdmi.c - scripts that live in a CDMI collection: full scans, events on the collection, and what is known about the source.
 *
 * A scan lists the collection and reads every object's metadata. Content is read when it is new: for objects the registry has no content of, when an event said
 * that it changed (its `url` does exactly then), and for all objects in a deep scan: at start, and when the broker kept no session, because then events
 * may have been missed. What a scan did not see is withdrawn only at the end of a scan that saw everything. */
#include "log.h"
#include "source_cdmi_private.h"
#include "topic.h"
#include "util.h"
#include <errno.h>
#include <search.h>
#include <string.h>

#define BACKOFF_MIN_USEC USEC_PER_SEC
#define BACKOFF_MAX_USEC (60 * USEC_PER_SEC)
#define LOGIN_BACKOFF_USEC (30 * USEC_PER_SEC)
#define FLUSH_COUNT 64
#define NAME_BYTES 256 /* of a listing, per script */
#define FOLDERS_MAX 10000

static void scan_start(struct cdmi_source *source, bool deep);
static void scan_check(struct cdmi_source *source);

static struct cdmi_source *cdmi_of(const struct source *source) { return (struct cdmi_source *)(uintptr_t)source; }

/* ------------------------------------------------------------------------------------------------- state */

static void on_rescan_timer(void *data)
{
	struct cdmi_source *source = data;
	source->rescan_timer = NULL;
	scan_start(source, source->figures.scanned_realtime_usec == 0);
}

static void rescan_in(struct cdmi_source *source, uint64_t delay_usec)
{
	if (source->rescan_timer)
		source->services->timer_cancel(source->services->handle, source->rescan_timer);
	source->rescan_timer = NULL;
	if (delay_usec && source->services->timer(source->services->handle, delay_usec, on_rescan_timer, source, &source->rescan_timer) < 0)
		log_error("out of memory: no rescan of the scripts collection by time");
}

void source_trouble(struct cdmi_source *source, const char *what)
{
	source->figures.errors++;
	source->scan_failed |= source->scanning;
	if (!streq(source->figures.error, what))
		log_warning("source=cdmi: %s", what);
	(void)snprintf(source->figures.error, sizeof source->figures.error, "%s", what);
	(void)snprintf(source->figures.state, sizeof source->figures.state, "away");
	if (!source->scanning)
		rescan_in(source, source->backoff_usec);
}

static void note_seen(struct cdmi_source *source, const char *name)
{
	size_t size = strlen(name) + 1;
	struct seen *seen = malloc(sizeof *seen + size);

	if (!seen) {
		source_trouble(source, "out of memory");
		return;
	}
	memcpy(seen->name, name, size);
	STAILQ_INSERT_TAIL(&source->seen, seen, link);
}

static void forget_seen(struct cdmi_source *source)
{
	struct seen *seen;

	while ((seen = STAILQ_FIRST(&source->seen))) {
		STAILQ_REMOVE_HEAD(&source->seen, link);
		free(seen);
	}
}

/* ------------------------------------------------------------------------------------------------- to the registry */

static size_t collect_meta(const json_t *object, struct registry_meta *meta, size_t max)
{
	json_t *metadata = (json_t *)(uintptr_t)cdmi_get(object, "metadata"), *value;
	const char *key;
	size_t count = 0;

	json_object_foreach(metadata, key, value)
	{
		if (json_is_array(value) && json_array_size(value) == 1)
			value = json_array_get(value, 0);
		if (json_is_string(value) && !streq(key, "topic") && count < max)
			meta[count++] = (struct registry_meta){key, json_string_value(value)};
	}
	return count;
}

static int offer_fetch(struct cdmi_source *source, struct fetch *fetch, struct lsn_error *err)
{
	struct registry_meta meta[64];
	struct registry_offer offer = {.name = fetch->name, .meta = meta};
	char mark[512];
	const char *problem;

	if (fetch->end == FETCH_GONE) {
		registry_withdraw(source->registry, fetch->name);
		return 0;
	}
	fetch_mark(fetch, mark, sizeof mark);
	offer.source_key = mark;
	if (fetch->end != FETCH_OFFER) {
		offer.problem = fetch->problem;
		offer.problem_is_fetch = fetch->end == FETCH_AWAY;
	} else {
		offer.topic = cdmi_topic(fetch->object, &problem);
		offer.content = fetch->value;
		offer.size = fetch->value_size;
		offer.meta_count = collect_meta(fetch->object, meta, ELEMENTSOF(meta));
	}
	return registry_offer(source->registry, &offer, err);
}

/* flush - hand what has ended to the registry, in one transaction. */
static void flush(struct cdmi_source *source)
{
	struct lsn_error err = {0};
	struct fetch *fetch;
	int r = 0;

	if (source->done_count == 0)
		return;
	registry_begin(source->registry);
	TAILQ_FOREACH(fetch, &source->done, link)
		if (r >= 0)
			r = offer_fetch(source, fetch, &err);
	int end = registry_end(source->registry, false, &err);
	if (r < 0 || end < 0)
		source_trouble(source, err.message);
	while ((fetch = TAILQ_FIRST(&source->done))) {
		if (source->scanning && fetch->end != FETCH_GONE)
			note_seen(source, fetch->name);
		if (fetch->scan)
			source->scan_left--;
		if (fetch->again) { /* announced again between its end and this flush */
			TAILQ_REMOVE(&source->done, fetch, link);
			source->done_count--;
			fetch->done = fetch->again = fetch->scan = false;
			fetch_go(fetch);
		} else {
			fetch_drop(fetch);
		}
	}
	source->changed(source->changed_data);
}

void source_fetched(struct cdmi_source *source, struct fetch *fetch)
{
	if (fetch->event || source->done_count >= FLUSH_COUNT || (source->flying == 0 && TAILQ_EMPTY(&source->queue)))
		flush(source);
	scan_check(source);
}

/* ------------------------------------------------------------------------------------------------- scan */

static void add_folder(struct cdmi_source *source, const char *parent, const char *name)
{
	struct folder *folder = calloc(1, sizeof *folder);

	if (!folder || asprintf(&folder->path, "%s%s", parent, name) < 0) {
		free(folder);
		source_trouble(source, "out of memory");
		return;
	}
	STAILQ_INSERT_TAIL(&source->folders, folder, link);
	source->scan_left++;
}

static void add_script(struct cdmi_source *source, const char *parent, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s", parent, name) < 0) {
		path = NULL;
		source_trouble(source, "out of memory");
		return;
	}
	struct fetch *fetch = fetch_get(source, path);
	if (!fetch) {
		source_trouble(source, "out of memory");
		return;
	}
	if (!fetch->scan) {
		fetch->scan = true;
		source->scan_left++;
	}
	fetch_go(fetch);
}

/* add_child - sub-collections end in a slash. */
static void add_child(struct cdmi_source *source, const char *parent, const char *name, size_t size)
{
	bool folder = size > 0 && name[size - 1] == '/';
	char quoted[200];

	if (!cdmi_name_ok(name, size - folder)) {
		log_warning("source=cdmi: the child %s of %s%s has a name that cannot be fetched, ignoring", str_quote(quoted, sizeof quoted, name, size),
			    source->config.collection, parent);
		return;
	}
	if (folder) {
		if (source->config.recursive && source->scan_left < FOLDERS_MAX)
			add_folder(source, parent, name);
		return;
	}
	if (++source->scan_count > source->config.scripts_max) {
		if (source->scan_count == source->config.scripts_max + 1)
			source_trouble(source, "the collection holds more scripts than [scripts] scripts_max allows: the rest is not read");
		return;
	}
	add_script(source, parent, name);
}

static void list_next(struct cdmi_source *source);

static void on_listing(void *data, const struct http_reply *reply)
{
	struct cdmi_source *source = data;
	_cleanup_free_ char *parent = TAKE_PTR(source->listing_path);
	struct lsn_error err = {0};
	json_t *object = NULL, *child;
	size_t i;

	source->listing = NULL;
	enum cdmi_verdict verdict = cdmi_judge(reply, CDMI_CONTAINER, &object, &err);
	const json_t *children = verdict == CDMI_OK ? cdmi_children(object, &err) : NULL;
	if (reply->status == 400 && source->versioned && *parent == 0) { /* a CDMI 2.0 server does not take the header */
		source->versioned = false;
		add_folder(source, "", "");
	} else if (children) {
		json_array_foreach(children, i, child) if (json_is_string(child))
			add_child(source, parent, json_string_value(child), json_string_length(child));
	} else if (verdict != CDMI_GONE || *parent == 0) { /* a sub-collection may go while we look */
		char what[400];
		(void)snprintf(what, sizeof what, "cannot list %s/%s: %.200s", source->config.collection, parent, err.message);
		if (verdict == CDMI_LOGIN)
			source->backoff_usec = LOGIN_BACKOFF_USEC;
		source_trouble(source, what);
	}
	json_decref(object);
	source->scan_left--;
	list_next(source);
	scan_check(source);
}

static int list_folder(struct cdmi_source *source, const char *path)
{
	_cleanup_free_ char *whole = NULL, *url = NULL;

	if (asprintf(&whole, "%s/%s", source->config.collection, path) < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	if (!(url = cdmi_url(source->config.url, whole, CDMI_CONTAINER)))
		return -ENOMEM;
	const struct http_request request = {.method = "GET",
					     .url = url,
					     .headers = cdmi_headers(CDMI_CONTAINER, source->versioned),
					     .timeout_usec = source->config.timeout_usec,
					     .max_body = NAME_BYTES * source->config.scripts_max + ((size_t)1 << 20)};
	return http_start(source->http, &request, on_listing, source, &source->listing);
}

/* list_next - one listing at a time. */
static void list_next(struct cdmi_source *source)
{
	struct folder *folder;

	while (!source->listing && (folder = STAILQ_FIRST(&source->folders))) {
		STAILQ_REMOVE_HEAD(&source->folders, link);
		source->listing_path = folder->path;
		free(folder);
		if (list_folder(source, source->listing_path) >= 0)
			return;
		free(TAKE_PTR(source->listing_path));
		source->scan_left--;
		source_trouble(source, "out of memory");
	}
}

static void scan_start(struct cdmi_source *source, bool deep)
{
	if (source->scanning) {
		source->scan_again = true;
		source->scan_again_deep |= deep;
		return;
	}
	source->scanning = true;
	source->deep = deep;
	source->scan_failed = false;
	source->scan_left = 0;
	source->scan_count = 0;
	forget_seen(source);
	rescan_in(source, 0);
	(void)snprintf(source->figures.state, sizeof source->figures.state, "scanning");
	add_folder(source, "", "");
	list_next(source);
	scan_check(source);
}

static void scan_succeeded(struct cdmi_source *source)
{
	struct lsn_error err = {0};
	struct seen *seen;

	registry_begin(source->registry);
	STAILQ_FOREACH(seen, &source->seen, link)
		registry_keep(source->registry, seen->name);
	if (registry_end(source->registry, true, &err) < 0) {
		source_trouble(source, err.message);
		return;
	}
	if (source->figures.error[0])
		log_notice("source=cdmi: the archive can be read again");
	source->figures.error[0] = 0;
	source->figures.scanned_realtime_usec = now_realtime_usec();
	source->backoff_usec = BACKOFF_MIN_USEC;
	(void)snprintf(source->figures.state, sizeof source->figures.state, "current");
}

/* scan_check - is the scan over? */
static void scan_check(struct cdmi_source *source)
{
	if (!source->scanning || source->scan_left > 0)
		return;
	if (!source->scan_failed)
		scan_succeeded(source);
	source->scanning = false;
	source->figures.scans++;
	forget_seen(source);
	if (source->scan_failed) {
		(void)snprintf(source->figures.state, sizeof source->figures.state, "away");
		rescan_in(source, source->backoff_usec);
		source->backoff_usec = source->backoff_usec * 2 < BACKOFF_MAX_USEC ? source->backoff_usec * 2 : BACKOFF_MAX_USEC;
	} else {
		rescan_in(source, source->config.rescan_usec);
	}
	source->changed(source->changed_data);
	if (source->scan_again) {
		bool deep = source->scan_again_deep;
		source->scan_again = source->scan_again_deep = false;
		scan_start(source, deep);
	}
}

/* ------------------------------------------------------------------------------------------------- events */

struct news { /* what an event says about the collection */
	struct topic_parts parts;
	json_t *payload;
	const json_t *state, *pre, *post; /* state: post, or pre of a delete */
	char path[2 * SCRIPT_NAME_MAX]; /* relative to the collection; "" is the collection itself */
};

static const json_t *filled_object(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_is_object(value) && json_object_size(value) > 0 ? value : NULL;
}

/* collapse - PATH without empty levels, with one leading slash and none at the end. */
static void collapse(const char *path, char *to, size_t size)
{
	size_t used = 0;

	while (*path && used + 1 < size) {
		if (*path != '/' || (path[1] && path[1] != '/')) {
			if (used == 0 && *path != '/')
				to[used++] = '/';
			if (used + 1 < size)
				to[used++] = *path;
		}
		path++;
	}
	to[used] = 0;
}

/* news_path - from the payload, because topics lose '#', '+' and surplus slashes. False: not below the collection. */
static bool news_path(const struct cdmi_source *source, struct news *news)
{
	const char *container = json_string_value(json_object_get(news->state, "container"));
	const char *name = json_string_value(json_object_get(news->state, "name"));
	char whole[3 * SCRIPT_NAME_MAX], path[3 * SCRIPT_NAME_MAX], root[SCRIPT_NAME_MAX];

	if (!container || !name || strlen(container) + strlen(name) + 2 > sizeof whole)
		return false;
	(void)snprintf(whole, sizeof whole, "%s/%s", container, name);
	collapse(whole, path, sizeof path);
	collapse(source->config.collection, root, sizeof root);
	size_t size = strlen(path), root_size = strlen(root);
	if (news->parts.object == TOPIC_RESOURCE && size > 0 && path[size - 1] == '?')
		path[--size] = 0; /* references carry a mark in payloads but not in listings */
	if (strncmp(path, root, root_size) != 0 || (path[root_size] != '/' && path[root_size] != 0))
		return false;
	const char *rest = path + root_size + (path[root_size] == '/');
	if (strlen(rest) >= sizeof news->path)
		return false;
	memcpy(news->path, rest, strlen(rest) + 1);
	return true;
}

static void drop_below(struct cdmi_source *source, const char *prefix)
{
	struct fetch *fetch, *next;

	for (fetch = TAILQ_FIRST(&source->all); fetch; fetch = next) {
		next = TAILQ_NEXT(fetch, all);
		if (!str_startswith(fetch->name, prefix))
			continue;
		source->scan_left -= fetch->scan;
		fetch_drop(fetch);
	}
}

/* withdraw - at once: a deleted script must not fire for the next event. BELOW: PATH is a folder. */
static void withdraw(struct cdmi_source *source, const char *path, bool below)
{
	_cleanup_free_ char *prefix = NULL;
	struct lsn_error err = {0};

	if (asprintf(&prefix, "%s%s", path, below && *path ? "/" : "") < 0) {
		prefix = NULL;
		scan_start(source, false);
		return;
	}
	struct fetch *fetch = below ? NULL : fetch_find(source, path);
	if (fetch) {
		source->scan_left -= fetch->scan;
		fetch_drop(fetch);
	}
	if (below)
		drop_below(source, prefix);
	registry_begin(source->registry);
	if (!below)
		registry_withdraw(source->registry, path);
	else if (*prefix)
		registry_withdraw_below(source->registry, prefix);
	if (registry_end(source->registry, below && !*prefix, &err) < 0)
		source_trouble(source, err.message);
	if (source->scanning)
		source->scan_again = true; /* its listing may be from before */
	source->changed(source->changed_data);
	scan_check(source);
}

/* announce_filter - what the event says the script's filter will be: publications that match it wait for the fetch. */
static void announce_filter(struct fetch *fetch, const struct news *news)
{
	const char *problem;
	const char *topic = cdmi_topic(news->state, &problem);

	free(fetch->filter);
	fetch->filter = topic ? strdup(topic) : NULL;
	if (!fetch->filter)
		return;
	(void)topic_normalise_filter(fetch->filter);
	if (topic_check_filter(fetch->filter, strlen(fetch->filter), NULL) < 0) {
		free(fetch->filter);
		fetch->filter = NULL;
	}
}

/* announce_content - `url` changes exactly when the content does. */
static void announce_content(struct cdmi_source *source, struct fetch *fetch, const struct news *news)
{
	const struct registry_entry *entry = registry_find(source->registry, fetch->name);
	const char *url = json_string_value(json_object_get(news->state, "url"));
	const char *before = news->pre ? json_string_value(json_object_get(news->pre, "url")) : NULL;
	char stored[512] = "";

	if (entry)
		(void)mark_url(entry->source_key, stored, sizeof stored);
	bool same = url && (stored[0] ? streq(url, stored) : before && streq(url, before));
	fetch->content |= !same;
	free(fetch->url);
	fetch->url = url && strlen(url) < 300 && !strchr(url, ' ') ? strdup(url) : NULL;
}

static void refresh(struct cdmi_source *source, const struct news *news)
{
	struct fetch *fetch = fetch_get(source, news->path);

	if (!fetch) {
		source_trouble(source, "out of memory");
		return;
	}
	source->announced += !fetch->event;
	fetch->event = true;
	fetch->attempts = 0;
	announce_filter(fetch, news);
	announce_content(source, fetch, news);
	fetch_go(fetch);
}

static bool name_is_ours(const struct cdmi_source *source, const char *path)
{
	const char *at = path, *slash;

	if (strlen(path) > SCRIPT_NAME_MAX || (strchr(path, '/') && !source->config.recursive))
		return false;
	while ((slash = strchr(at, '/'))) {
		if (!cdmi_name_ok(at, (size_t)(slash - at)))
			return false;
		at = slash + 1;
	}
	return cdmi_name_ok(at, strlen(at));
}

static void on_news(struct cdmi_source *source, struct news *news)
{
	bool delete = news->parts.operation == TOPIC_DELETE;

	if (!news_path(source, news)) {
		scan_start(source, false); /* it concerns the collection, but how is not said */
	} else if (news->parts.object == TOPIC_COLLECTION) {
		if (delete)
			withdraw(source, news->path, true);
		else if (news->parts.operation == TOPIC_CREATE || !*news->path)
			scan_start(source, false);
	} else if (*news->path && name_is_ours(source, news->path)) {
		if (delete)
			withdraw(source, news->path, false);
		else
			refresh(source, news);
	}
}

static void cdmi_event(struct source *base, const char *topic, size_t topic_size, const void *payload, size_t payload_size)
{
	struct cdmi_source *source = cdmi_of(base);
	struct news news = {0};

	topic_split(topic, topic_size, &news.parts);
	news.payload = json_loadb(payload_size ? payload : "", payload_size, 0, NULL);
	news.pre = filled_object(news.payload, "pre");
	news.post = filled_object(news.payload, "post");
	news.state = news.post ? news.post : news.pre;
	on_news(source, &news);
	json_decref(news.payload);
}

static bool cdmi_busy_for(struct source *base, const char *topic, size_t topic_size)
{
	struct cdmi_source *source = cdmi_of(base);
	struct fetch *fetch;

	(void)topic_size;
	if (source->announced == 0)
		return false;
	TAILQ_FOREACH(fetch, &source->all, all) {
		if (!fetch->event)
			continue;
		const struct registry_entry *entry = registry_find(source->registry, fetch->name);
		if ((fetch->filter && topic_matches(fetch->filter, topic)) || (entry && entry->script && topic_matches(entry->script->filter, topic)))
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------------------------------------- source */

static void cdmi_rescan(struct source *base) { scan_start(cdmi_of(base), false); }

static void cdmi_revalidate(struct source *base) { scan_start(cdmi_of(base), true); }

static void cdmi_figures(const struct source *base, struct source_figures *ret) { *ret = cdmi_of(base)->figures; }

static void cdmi_free(struct source *base)
{
	struct cdmi_source *source = cdmi_of(base);
	struct folder *folder;
	struct fetch *fetch;

	rescan_in(source, 0);
	if (source->listing)
		http_cancel(source->listing);
	while ((fetch = TAILQ_FIRST(&source->all)))
		fetch_drop(fetch);
	while ((folder = STAILQ_FIRST(&source->folders))) {
		STAILQ_REMOVE_HEAD(&source->folders, link);
		free(folder->path);
		free(folder);
	}
	forget_seen(source);
	free(source->listing_path);
	http_free(source->http);
	(void)host_free(source->host);
	source_config_clear(&source->config);
	free(source);
}

static const struct source_ops cdmi_ops = {
	.free = cdmi_free,
	.rescan = cdmi_rescan,
	.revalidate = cdmi_revalidate,
	.event = cdmi_event,
	.busy_for = cdmi_busy_for,
	.figures = cdmi_figures,
};

int source_cdmi_new(sd_event *loop, const struct source_config *config, struct registry *registry, void (*changed)(void *data), void *data,
		    struct source **ret, struct lsn_error *err)
{
	struct cdmi_source *source = calloc(1, sizeof *source);

	if (!source)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	source->base.ops = &cdmi_ops;
	source->registry = registry;
	source->changed = changed;
	source->changed_data = data;
	source->versioned = !cdmi_is_v2(config->url);
	source->backoff_usec = BACKOFF_MIN_USEC;
	TAILQ_INIT(&source->all);
	TAILQ_INIT(&source->queue);
	TAILQ_INIT(&source->done);
	STAILQ_INIT(&source->folders);
	STAILQ_INIT(&source->seen);
	source->figures.kind = "cdmi";
	(void)snprintf(source->figures.where, sizeof source->figures.where, "%s%s", config->url, config->collection);
	int r = source_config_copy(config, &source->config);
	if (r < 0)
		(void)lsn_error_set(err, r, "out of memory");
	else
		r = host_new(loop, "", "cdmi", "", "", NULL, &source->host, err);
	if (r >= 0) {
		source->services = host_services(source->host);
		const struct http_options options = {.user = config->user,
						     .password = config->password,
						     .ca_file = config->ca_file,
						     .verify = config->verify,
						     .max_connections = config->fetches,
						     .max_redirects = 2};
		r = http_new(source->services, &options, &source->http, err);
	}
	if (r < 0) {
		(void)host_free(source->host);
		source_config_clear(&source->config);
		free(source);
		return r;
	}
	scan_start(source, true);
	*ret = &source->base;
	return 0;
}
