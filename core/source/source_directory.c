/* source_directory.c - scripts in a folder: one file per script, its metadata in NAME.meta
 * (meta.h).
 *
 * Scripts reach the registry in two ways:
 * - A full scan lists the folder (and with `recursive` the folders below), reads each file in
 *   slices of a few milliseconds, and at the end withdraws what has gone. It runs at the start,
 *   when inotify has lost events, when folders appear or disappear, on `rescan` and on demand.
 * - Between scans inotify names what may have changed. A name is read when it has not changed for a
 *   moment. So a save of an editor is one change, and a file that is still being copied is not read
 *   half.
 *
 * Watches are set before a folder is listed, so no change is missed in between. No descriptor of
 * the folder is kept, because it would keep a deleted folder alive, and we would not notice. The
 * way to the folder is watched too (path_watch.h). If the folder cannot be opened, the registry
 * keeps what it has, and we try again. */
#include "cleanup.h"
#include "folder_walk.h"
#include "log.h"
#include "path_watch.h"
#include "registry.h"
#include "script.h"
#include "script_file.h"
#include "soon.h"
#include "source.h"
#include "stall.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <util.h>

#define QUIET_USEC (100 * USEC_PER_MSEC) /* after a change that seems complete */
#define WRITING_USEC (500 * USEC_PER_MSEC) /* after one that does not: the writer may go on */
#define QUIET_MAX_USEC (400 * USEC_PER_MSEC) /* however often it changes, look after so long */
#define WRITING_MAX_USEC (10 * USEC_PER_SEC)
#define SLICE_USEC (4 * USEC_PER_MSEC) /* of a full scan, per turn of the loop */
#define RETRY_MIN_USEC (1 * USEC_PER_SEC)
#define RETRY_MAX_USEC (4 * USEC_PER_SEC)
#define PENDING_MAX 1000u /* names; beyond that a full scan is cheaper */
#define FOLDERS_MAX 1000u
#define READ_TRIES 3
#define WATCH_MASK                                                                                                     \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |                \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define LOST_MASK (IN_Q_OVERFLOW | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)

struct folder { /* that is watched */
	struct directory_source *source;
	sd_event_source *watch;
	char *prefix; /* "" or "sub/" */
};

struct pending { /* a name to be looked at */
	char *name;
	uint64_t first, due; /* monotonic */
	bool writing;
};

struct names {
	char **list;
	size_t count, capacity;
};

struct directory_source {
	struct source base;
	sd_event *loop;
	struct registry *registry;
	void (*changed)(void *data);
	void *data;
	char *path;

	sd_event_source *timer, *work;
	struct path_watch *way; /* to the folder */
	struct folder **folders;
	size_t folder_count;
	struct stat root; /* the folder that was scanned */
	struct pending *pending;
	size_t pending_count;
	uint64_t scan_at; /* monotonic, 0: not planned */
	uint64_t retry_usec;

	/* deep: read also what seems unchanged; scan_deep: the next one */
	bool scanning, deep, scan_deep;
	struct folder_walk *walk; /* the names are still being collected */
	struct names scan;
	size_t scan_next;
	struct lsn_error scan_error; /* something that does not stop the scan, but is to be shown */
	struct source_figures figures;
};

static struct directory_source *directory_of(struct source *base) { return (struct directory_source *)base; }

static void timer_rearm(struct directory_source *source);

/* ---------------------------------------------------------------------------------------- names */

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->list[i]);
	free(names->list);
	*names = (struct names){ NULL, 0, 0 };
}

static int names_add(struct names *names, const char *prefix, const char *base)
{
	if (names->count == names->capacity) {
		size_t capacity = names->capacity ? names->capacity * 2 : 64;
		char **list = reallocarray(names->list, capacity, sizeof *list);
		if (!list)
			return -ENOMEM;
		names->list = list;
		names->capacity = capacity;
	}
	char *name = NULL;
	if (asprintf(&name, "%s%s", prefix, base) < 0)
		return -ENOMEM;
	names->list[names->count++] = name;
	return 0;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void note_trouble(struct directory_source *source, const struct lsn_error *err)
{
	source->figures.errors++;
	(void)snprintf(source->figures.error, sizeof source->figures.error, "%.255s", err->message);
}

static void set_state(struct directory_source *source, const char *state)
{
	(void)snprintf(source->figures.state, sizeof source->figures.state, "%s", state);
}

/* ----------------------------------------------------------------------------------- one script */

static int open_root(const struct directory_source *source, struct stat *ret_st, struct lsn_error *err)
{
	_cleanup_close_ int fd = open(source->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, ret_st) < 0) {
		int r = -errno;
		return lsn_error_set(err, r, "the scripts folder %s cannot be opened: %s", source->path, strerror(-r));
	}
	return TAKE_FD(fd);
}

/* The folder of NAME, level by level and following no link. Descriptor or negative errno;
 * *RET_BASE is the last component. */
static int open_folder_of(int root, const char *name, const char **ret_base)
{
	_cleanup_close_ int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
	for (const char *slash; fd >= 0 && (slash = strchr(name, '/')); name = slash + 1) {
		char level[NAME_MAX + 1];
		if ((size_t)(slash - name) >= sizeof level)
			return -ENOENT;
		(void)snprintf(level, sizeof level, "%.*s", (int)(slash - name), name);
		int next = openat(fd, level, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
		(void)close(fd);
		fd = next;
	}
	*ret_base = name;
	return fd < 0 ? -errno : TAKE_FD(fd);
}

static void look_plan(struct directory_source *source, const char *name, bool writing);
static bool is_being_written(const struct directory_source *source, const char *name);

static size_t entries_known(const struct directory_source *source)
{
	size_t n = 0;
	for (int state = 0; state < SCRIPT_STATE_MAX; state++)
		n += registry_count(source->registry, (enum script_state)state);
	return n;
}

static int offer_problem(struct directory_source *source, const char *name, const char *problem, struct lsn_error *err)
{
	const struct registry_offer offer = {
		.name = name, .source_key = "", .meta_strict = true, .problem = problem, .problem_is_fetch = true
	};
	source->figures.errors++;
	return registry_offer(source->registry, &offer, err);
}

static int offer_file(struct directory_source *source, const char *name, struct script_file *file,
		      struct lsn_error *err)
{
	struct registry_offer offer;
	int r = script_file_read(file, source->base.config->size_max, &offer);
	source->figures.fetches++;
	if (r < 0)
		return r;
	offer.name = name;
	if (script_file_fresh(file)) {
		/* It could change again without a difference in its times: store no mark, and
		 * read it once more. */
		offer.source_key = "";
		look_plan(source, name, false);
	}
	return registry_offer(source->registry, &offer, err);
}

/* Looks at the file BASE in FOLDER and tells the registry. -EAGAIN: it changed meanwhile. Other
 * errors are the registry's. */
static int look_once(struct directory_source *source, int folder, const char *base, const char *name,
		     struct lsn_error *err)
{
	_cleanup_(script_file_clear) struct script_file file;
	struct lsn_error why = { 0 };
	int r = script_file_look(folder, base, &file, &why);
	if (r == -ENOENT) {
		registry_withdraw(source->registry, name);
		return 0;
	}
	if (r < 0)
		return offer_problem(source, name, why.message, err);
	const struct registry_entry *entry = registry_find(source->registry, name);
	if (entry && !source->deep && entry->state != SCRIPT_FETCH_FAILED && streq(entry->source_key, file.key)) {
		registry_keep(source->registry, name);
		return 0;
	}
	return offer_file(source, name, &file, err);
}

static int entry_look(struct directory_source *source, int root, const char *name, struct lsn_error *err)
{
	if (is_being_written(source, name)) {
		registry_keep(source->registry, name);
		return 0;
	}
	const char *base = NULL;
	_cleanup_close_ int folder = open_folder_of(root, name, &base);
	if (folder == -ENOENT) {
		registry_withdraw(source->registry, name);
		return 0;
	}
	if (folder < 0)
		return offer_problem(source, name, "its folder cannot be opened", err);
	int r = -EAGAIN;
	for (unsigned i = 0; i < READ_TRIES && r == -EAGAIN; i++)
		r = look_once(source, folder, base, name, err);
	if (r == -EAGAIN) {
		look_plan(source, name, true);
		r = offer_problem(
			source, name,
			"it was changed while it was being read; it will be read again when it no longer changes", err);
	}
	return r;
}

/* Ends an update of the registry and says so to who must know. 1: a full one has more to do,
 * call again. */
static int finish_update(struct directory_source *source, bool full, uint64_t generation, struct lsn_error *err)
{
	int r = full ? registry_end(source->registry, full, err) : registry_end_all(source->registry, full, err);
	if (r >= 0 && registry_generation(source->registry) != generation && source->changed)
		source->changed(source->data);
	return r;
}

/* ------------------------------------------------------------------------------------- watching */

static void plan_scan(struct directory_source *source, uint64_t delay_usec)
{
	uint64_t at = now_monotonic_usec() + delay_usec;
	if (!source->scan_at || at < source->scan_at)
		source->scan_at = at;
	timer_rearm(source);
}

static void pending_drop(struct directory_source *source, size_t i)
{
	free(source->pending[i].name);
	source->pending[i] = source->pending[--source->pending_count];
}

/* Drops the names; if KEEP_WRITING not those whose writer is not done. */
static void pending_clear(struct directory_source *source, bool keep_writing)
{
	for (size_t i = source->pending_count; i-- > 0;)
		if (!keep_writing || !source->pending[i].writing)
			pending_drop(source, i);
}

static bool is_being_written(const struct directory_source *source, const char *name)
{
	for (size_t i = 0; i < source->pending_count; i++)
		if (source->pending[i].writing && streq(source->pending[i].name, name))
			return true;
	return false;
}

static struct pending *pending_of(struct directory_source *source, const char *name)
{
	for (size_t i = 0; i < source->pending_count; i++)
		if (streq(source->pending[i].name, name))
			return &source->pending[i];
	if (source->pending_count >= PENDING_MAX)
		return NULL;
	struct pending *list = reallocarray(source->pending, source->pending_count + 1, sizeof *list);
	if (!list)
		return NULL;
	source->pending = list;
	struct pending *p = &list[source->pending_count];
	*p = (struct pending){ .name = strdup(name), .first = now_monotonic_usec() };
	if (!p->name)
		return NULL;
	source->pending_count++;
	return p;
}

/* Look at NAME soon; WRITING: somebody may still be writing it. */
static void look_plan(struct directory_source *source, const char *name, bool writing)
{
	uint64_t now = now_monotonic_usec();
	struct pending *p = pending_of(source, name);
	if (!p) {
		plan_scan(source, QUIET_USEC);
		return;
	}
	uint64_t due = now + (writing ? WRITING_USEC : QUIET_USEC),
		 limit = p->first + (writing ? WRITING_MAX_USEC : QUIET_MAX_USEC);
	if (p->writing && !writing) /* it is complete now: the patience counts from here */
		p->first = now;
	else if (due > limit)
		due = limit > now ? limit : now;
	p->due = due;
	p->writing = writing;
	timer_rearm(source);
}

static void on_name(struct folder *folder, const struct inotify_event *event)
{
	struct directory_source *source = folder->source;
	char name[PATH_MAX + NAME_MAX];
	const char *suffix = strrchr(event->name, '.');
	size_t size = strlen(event->name);
	if (suffix && suffix > event->name && streq(suffix, ".meta"))
		size -= 5;
	int n = snprintf(name, sizeof name, "%s%.*s", folder->prefix, (int)size, event->name);
	if (n < 0 || (size_t)n >= sizeof name || script_file_ignored(name + strlen(folder->prefix)))
		return;
	bool writing = (event->mask & (IN_CREATE | IN_MODIFY)) && !(event->mask & IN_CLOSE_WRITE);
	if ((event->mask & IN_ATTRIB) && is_being_written(source, name))
		return; /* a chmod in the middle of a copy does not make it complete */
	look_plan(source, name, writing);
}

static int on_inotify(sd_event_source *event_source, const struct inotify_event *event, void *data)
{
	stall_source("scripts folder", "changes");
	struct folder *folder = data;
	(void)event_source;
	if ((event->mask & LOST_MASK) || event->len == 0)
		plan_scan(folder->source, QUIET_USEC);
	else if (event->mask & IN_ISDIR) {
		if (folder->source->base.config->recursive)
			plan_scan(folder->source, QUIET_USEC);
	} else
		on_name(folder, event);
	return 0;
}

static void folders_clear(struct directory_source *source)
{
	for (size_t i = 0; i < source->folder_count; i++) {
		sd_event_source_disable_unref(source->folders[i]->watch);
		free(source->folders[i]->prefix);
		free(source->folders[i]);
	}
	free(source->folders);
	source->folders = NULL;
	source->folder_count = 0;
}

static int watch_folder(struct directory_source *source, int fd, const char *prefix, struct lsn_error *err)
{
	if (source->folder_count >= FOLDERS_MAX)
		return lsn_error_set(err, -EMFILE, "there are more than %u folders below %s", FOLDERS_MAX,
				     source->path);
	struct folder **list = reallocarray(source->folders, source->folder_count + 1, sizeof(struct folder *));
	if (!list)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	source->folders = list;
	_cleanup_free_ struct folder *folder = calloc(1, sizeof *folder);
	_cleanup_free_ char *copy = strdup(prefix);
	if (!folder || !copy)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	folder->source = source;
	int r = sd_event_add_inotify_fd(source->loop, &folder->watch, fd, WATCH_MASK, on_inotify, folder);
	if (r < 0) /* out of watches, say: the rescans will have to do */
		return lsn_error_set(err, r, "%s/%s cannot be watched for changes: %s", source->path, prefix,
				     strerror(-r));
	folder->prefix = TAKE_PTR(copy);
	list[source->folder_count++] = TAKE_PTR(folder);
	return 0;
}

/* ---------------------------------------------------------------------------------- a full scan */

/* What does not stop a scan is shown, the first of it. */
static void scan_trouble(struct directory_source *source, const struct lsn_error *err)
{
	if (!source->scan_error.code)
		source->scan_error = *err;
}

static void keep_below(void *data, const struct registry_entry *entry)
{
	const void *const *context = data;
	if (str_startswith(entry->name, context[1]))
		registry_keep((struct registry *)context[0], entry->name);
}

static void on_folder(void *data, int fd, const char *prefix)
{
	struct lsn_error err = { 0 };

	if (watch_folder(data, fd, prefix, &err) < 0)
		scan_trouble(data, &err);
}

static int on_file(void *data, const char *prefix, const char *base)
{
	return names_add(&((struct directory_source *)data)->scan, prefix, base);
}

static void on_closed_folder(void *data, const char *prefix, int error)
{
	struct directory_source *source = data;
	struct lsn_error err = { 0 };

	(void)lsn_error_set(&err, error, "the folder %s/%s cannot be opened: %s", source->path, prefix,
			    strerror(-error));
	scan_trouble(source, &err);
	const void *context[] = { source->registry, prefix };
	registry_each(source->registry, keep_below, context);
}

/* Too many: those that are registered stay, then in order of their names, up to the limit. */
static void limit_names(struct directory_source *source)
{
	struct names *names = &source->scan, chosen = { NULL, 0, 0 };
	struct lsn_error err = { 0 };
	if (names->count <= source->base.config->scripts_max)
		return;
	(void)lsn_error_set(
		&err, -E2BIG,
		"there are %zu files in %s, more than [scripts] scripts_max = %zu: the others are not registered",
		names->count, source->path, source->base.config->scripts_max);
	scan_trouble(source, &err);
	chosen.list = calloc(source->base.config->scripts_max + 1, sizeof(char *));
	for (int known = 1; chosen.list && known >= 0; known--)
		for (size_t i = 0; i < names->count && chosen.count < source->base.config->scripts_max; i++)
			if (names->list[i] && (registry_find(source->registry, names->list[i]) != NULL) == known)
				chosen.list[chosen.count++] = TAKE_PTR(names->list[i]);
	names_clear(names);
	chosen.capacity = chosen.count;
	*names = chosen;
}

static void scan_clear(struct directory_source *source)
{
	if (source->scanning)
		registry_begin(source->registry); /* forget the half of it */
	source->scanning = false;
	folder_walk_free(source->walk);
	source->walk = NULL;
	names_clear(&source->scan);
}

static void scan_failed(struct directory_source *source, const char *state, const struct lsn_error *err)
{
	if (!streq(source->figures.error, err->message) || !streq(source->figures.state, state))
		log_warning("%s", err->message);
	note_trouble(source, err);
	set_state(source, state);
	scan_clear(source);
	plan_scan(source, source->retry_usec);
	source->retry_usec = source->retry_usec * 2 < RETRY_MAX_USEC ? source->retry_usec * 2 : RETRY_MAX_USEC;
}

static int cannot_list(const struct directory_source *source, int r, struct lsn_error *err)
{
	return lsn_error_set(err, r, "the scripts folder %s cannot be listed: %s", source->path, strerror(-r));
}

static void on_way(void *data) { plan_scan(data, QUIET_USEC); }

/* watch_way - a link on the way to the folder may be replaced, or something mounted there. Without
 * memory for it the rescans will have to do. */
static void watch_way(struct directory_source *source)
{
	path_watch_free(source->way);
	source->way = NULL;
	int r = path_watch_new(source->loop, source->path, on_way, source, &source->way);
	if (r < 0)
		log_warning("the way to %s cannot be watched for changes: %s", source->path, strerror(-r));
}

static int walk_start(struct directory_source *source, struct lsn_error *err)
{
	const struct folder_walk_hooks hooks = { source, on_folder, on_file, on_closed_folder };
	_cleanup_close_ int root = open_root(source, &source->root, err);

	if (root < 0)
		return root;
	int r = folder_walk_new(root, source->base.config->recursive, &hooks, &source->walk);
	return r < 0 ? cannot_list(source, r, err) : 0;
}

static void scan_start(struct directory_source *source)
{
	struct lsn_error err = { 0 };
	source->scan_at = 0;
	source->scan_error = (struct lsn_error){ 0 };
	folders_clear(source);
	names_clear(&source->scan);
	watch_way(source);
	if (walk_start(source, &err) < 0) {
		scan_failed(source, "away", &err);
		return;
	}
	/* the scan reads them all, except those that are better read later */
	pending_clear(source, true);
	registry_begin(source->registry);
	source->scan_next = 0;
	source->scanning = true;
	source->deep = source->scan_deep;
	source->scan_deep = false;
	set_state(source, "scanning");
	soon(source->work);
}

/* walk_on - collect names. 1: there are more, or a turn has been used for them. */
static int walk_on(struct directory_source *source, uint64_t until_usec, struct lsn_error *err)
{
	int r = folder_walk_go_on(source->walk, until_usec);

	if (r < 0)
		return cannot_list(source, r, err);
	if (r > 0)
		return r;
	folder_walk_free(source->walk);
	source->walk = NULL;
	if (source->scan.count > 0)
		qsort(source->scan.list, source->scan.count, sizeof(char *), compare_names);
	limit_names(source);
	return 1;
}

/* scan_end - false: what it has found is more than one turn can store, so it goes on. */
static bool scan_end(struct directory_source *source)
{
	uint64_t generation = registry_generation(source->registry);
	struct lsn_error err = { 0 };
	int r = finish_update(source, true, generation, &err);
	if (r > 0)
		return false;
	size_t count = source->scan.count;
	bool deep = source->deep;
	source->scanning = source->deep = false;
	names_clear(&source->scan);
	if (r < 0) {
		source->scan_deep |= deep;
		(void)lsn_error_prefix(&err, r, "the scan of %s could not be stored", source->path);
		scan_failed(source, "away", &err);
		return true;
	}
	source->figures.scans++;
	source->figures.scanned_realtime_usec = now_realtime_usec();
	source->retry_usec = RETRY_MIN_USEC;
	set_state(source, "current");
	source->figures.error[0] = '\0';
	if (source->scan_error.code) {
		note_trouble(source, &source->scan_error);
		log_warning("%s", source->scan_error.message);
	}
	log_debug("scanned %s: %zu files", source->path, count);
	if (source->base.config->rescan_usec)
		plan_scan(source, source->base.config->rescan_usec);
	else
		timer_rearm(source);
	return true;
}

static bool scan_has_more(const struct directory_source *source)
{
	return source->walk || source->scan_next < source->scan.count;
}

/* look_on - read the files that were found. 1: there are more. */
static int look_on(struct directory_source *source, uint64_t until_usec, struct lsn_error *err)
{
	struct stat st = { 0 };
	_cleanup_close_ int root = open_root(source, &st, err);

	if (root < 0)
		return root;
	if (st.st_ino != source->root.st_ino || st.st_dev != source->root.st_dev)
		return lsn_error_set(err, -ESTALE, "the scripts folder %s was replaced during the scan", source->path);
	while (scan_has_more(source)) {
		int r = entry_look(source, root, source->scan.list[source->scan_next++], err);
		if (r < 0)
			return r;
		if (now_monotonic_usec() >= until_usec)
			break;
	}
	return scan_has_more(source);
}

static int on_work(sd_event_source *event_source, uint64_t usec, void *data)
{
	struct directory_source *source = data;
	uint64_t until = now_monotonic_usec() + SLICE_USEC;
	struct lsn_error err = { 0 };

	(void)event_source;
	(void)usec;
	stall_source("scripts folder", source->walk ? "names" : "scan");
	int r = source->walk ? walk_on(source, until, &err) : look_on(source, until, &err);
	if (r < 0)
		scan_failed(source, "away", &err);
	else if (r > 0 || !scan_end(source))
		soon(source->work);
	return 0;
}

/* ----------------------------------------------------------------------------------------- time */

static void timer_rearm(struct directory_source *source)
{
	uint64_t next = source->scan_at;
	for (size_t i = 0; i < source->pending_count; i++)
		if (!next || source->pending[i].due < next)
			next = source->pending[i].due;
	/* During a scan everything waits for its end, which rearms. */
	if (!next || source->scanning) {
		(void)sd_event_source_set_enabled(source->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time(source->timer, next);
	(void)sd_event_source_set_enabled(source->timer, SD_EVENT_ONESHOT);
}

/* Takes the names that are due out of the list. */
static int take_due(struct directory_source *source, struct names *ret)
{
	uint64_t now = now_monotonic_usec();
	for (size_t i = 0; i < source->pending_count;) {
		if (source->pending[i].due > now) {
			i++;
			continue;
		}
		if (names_add(ret, "", source->pending[i].name) < 0)
			return -ENOMEM;
		pending_drop(source, i);
	}
	return 0;
}

static int look_at_names(struct directory_source *source, int root, const struct names *names, struct lsn_error *err)
{
	size_t room = source->base.config->scripts_max > entries_known(source)
			      ? source->base.config->scripts_max - entries_known(source)
			      : 0;
	int r = 0;
	for (size_t i = 0; r >= 0 && i < names->count; i++) {
		if (!registry_find(source->registry, names->list[i])) {
			if (room == 0) {
				log_warning("there are already [scripts] scripts_max = %zu scripts: a new one "
					    "is not registered",
					    source->base.config->scripts_max);
				continue;
			}
			room--;
		}
		r = entry_look(source, root, names->list[i], err);
	}
	return r;
}

static void look_at_pending(struct directory_source *source)
{
	struct lsn_error err = { 0 };
	struct stat st = { 0 };
	_cleanup_(names_clear) struct names names = { NULL, 0, 0 };
	uint64_t generation = registry_generation(source->registry);
	_cleanup_close_ int root = open_root(source, &st, &err);
	if (root < 0 || st.st_ino != source->root.st_ino || st.st_dev != source->root.st_dev ||
	    take_due(source, &names) < 0) {
		pending_clear(source, false); /* they would be due for as long as the folder is gone */
		scan_start(source); /* the folder is another one, or gone: all is looked at */
		return;
	}
	if (names.count == 0)
		return;
	registry_begin(source->registry);
	int r = look_at_names(source, root, &names, &err);
	if (r >= 0)
		r = finish_update(source, false, generation, &err);
	if (r < 0) {
		registry_begin(source->registry);
		log_warning("changed scripts could not be stored, trying again: %s", err.message);
		note_trouble(source, &err);
		plan_scan(source, RETRY_MIN_USEC);
	}
}

static int on_timer(sd_event_source *event_source, uint64_t usec, void *data)
{
	stall_source("scripts folder", "names");
	struct directory_source *source = data;
	(void)event_source;
	(void)usec;
	if (!source->scanning) {
		if (source->scan_at && source->scan_at <= now_monotonic_usec())
			scan_start(source);
		else
			look_at_pending(source);
	}
	timer_rearm(source);
	return 0;
}

/* ----------------------------------------------------------------------------------- the source */

static void directory_free(struct source *base)
{
	struct directory_source *source = directory_of(base);
	folders_clear(source);
	path_watch_free(source->way);
	sd_event_source_disable_unref(source->timer);
	sd_event_source_disable_unref(source->work);
	scan_clear(source);
	pending_clear(source, false);
	free(source->pending);
	free(source->path);
	free(source);
}

static void directory_rescan(struct source *base) { plan_scan(directory_of(base), 0); }

static void directory_revalidate(struct source *base)
{
	directory_of(base)->scan_deep = true;
	plan_scan(directory_of(base), 0);
}

/* Events are about the archive's collection. Our scripts are in a folder, which inotify watches. */
static void directory_event(struct source *base, const char *topic, size_t topic_size, const void *payload,
			    size_t payload_size)
{
	(void)base;
	(void)topic;
	(void)topic_size;
	(void)payload;
	(void)payload_size;
}

static bool directory_busy_for(struct source *base, const char *topic, size_t topic_size)
{
	(void)base;
	(void)topic;
	(void)topic_size;
	return false;
}

static void directory_figures(const struct source *base, struct source_figures *ret)
{
	*ret = ((const struct directory_source *)base)->figures;
}

int source_directory_new(sd_event *loop, const struct source_config *config, struct registry *registry,
			 void (*changed)(void *data), void *data, struct source **ret, struct lsn_error *err)
{
	static const struct source_ops ops = {
		.free = directory_free,
		.rescan = directory_rescan,
		.revalidate = directory_revalidate,
		.event = directory_event,
		.busy_for = directory_busy_for,
		.figures = directory_figures,
	};
	struct directory_source *source = calloc(1, sizeof *source);
	if (!source)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	source->base.ops = &ops;
	source->base.config = config;
	source->loop = loop;
	source->registry = registry;
	source->changed = changed;
	source->data = data;
	source->retry_usec = RETRY_MIN_USEC;
	source->figures.kind = "directory";
	(void)snprintf(source->figures.where, sizeof source->figures.where, "%s", config->directory);
	set_state(source, "scanning");
	source->path = strdup(config->directory);
	int r = source->path ? 0 : -ENOMEM;
	if (r >= 0)
		r = sd_event_add_time(loop, &source->timer, CLOCK_MONOTONIC, 0, 10 * USEC_PER_MSEC, on_timer, source);
	if (r >= 0)
		r = sd_event_source_set_enabled(source->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = soon_new(loop, on_work, source, &source->work);
	if (r < 0) {
		directory_free(&source->base);
		return lsn_error_set(err, r, "the scripts folder %s: %s", config->directory, strerror(-r));
	}
	plan_scan(source, 0);
	*ret = &source->base;
	return 0;
}
