/* source_cdmi_scan.c - a full scan: list the collection, folder by folder, have every script
 * looked at, and when all has been seen withdraw the rest. */
#include "cleanup.h"
#include "http.h"
#include "log.h"
#include "registry.h"
#include "script.h"
#include "source_cdmi_private.h"
#include "util.h"
#include <errno.h>
#include <string.h>

#define NAME_BYTES 256 /* of a listing, per script */
#define FOLDERS_MAX 10000

/* leave_out - something is not read, for a reason that will not pass by itself. */
static void leave_out(struct cdmi_source *source, const char *what)
{
	source->scan.noted = true;
	source_note(source, what);
}

/* ------------------------------------------------------------------------- what a listing names */

static bool add_folder(struct cdmi_source *source, const char *path)
{
	if (strlen(path) > SCRIPT_NAME_MAX || ++source->scan.folders > FOLDERS_MAX) {
		leave_out(source, "the collection has too many sub-collections, or too deep ones: some are not read");
		return true;
	}
	if (!name_push(&source->scan.todo, path))
		return false;
	source->scan.left++;
	return true;
}

static struct fetch *add_fetch(struct cdmi_source *source, const char *name)
{
	struct fetch *fetch = fetch_get(source, name);

	if (fetch && !fetch->scan) {
		fetch->scan = true;
		source->scan.left++;
	}
	return fetch;
}

/* has_room - as many scripts as allowed, in the archive's order. */
static bool has_room(struct cdmi_source *source)
{
	if (++source->scan.scripts <= source->base.config->scripts_max)
		return true;
	source->full = true;
	if (source->scan.scripts == source->base.config->scripts_max + 1)
		leave_out(source,
			  "the collection holds more scripts than [scripts] scripts_max allows: the rest is not read");
	return false;
}

static bool add_script(struct cdmi_source *source, const char *path)
{
	struct fetch *fetch;

	if (!has_room(source))
		return true;
	if (!(fetch = add_fetch(source, path)))
		return false;
	fetch->content |= source->scan.deep;
	fetch_go(fetch);
	return true;
}

/* add_unusable - a child that cannot be requested is shown as a refused script. */
static bool add_unusable(struct cdmi_source *source, const char *parent, const char *name, size_t size)
{
	_cleanup_free_ char *path = NULL;
	char quoted[200];
	struct fetch *fetch;

	if (!has_room(source))
		return true;
	if (asprintf(&path, "%s%s", parent, str_quote(quoted, sizeof quoted, name, size)) < 0) {
		path = NULL;
		return false;
	}
	if (!(fetch = add_fetch(source, path)))
		return false;
	fetch_end_now(fetch, "its name cannot be used: no slash, no control character, not \".\" or \"..\"");
	return true;
}

/* add_child - sub-collections end in a slash. */
static bool add_child(struct cdmi_source *source, const char *parent, const char *name, size_t size)
{
	bool folder = size > 0 && name[size - 1] == '/';
	_cleanup_free_ char *path = NULL;

	if (folder && !source->base.config->recursive)
		return true;
	if (!cdmi_name_ok(name, size - folder))
		return add_unusable(source, parent, name, size);
	if (asprintf(&path, "%s%s", parent, name) < 0) {
		path = NULL;
		return false;
	}
	return folder ? add_folder(source, path) : add_script(source, path);
}

static bool add_children(struct cdmi_source *source, const char *parent, const json_t *children)
{
	const json_t *child;
	size_t i;

	json_array_foreach (children, i, child) {
		bool ok = json_is_string(child)
				  ? add_child(source, parent, json_string_value(child), json_string_length(child))
				  : add_unusable(source, parent, "(not a string)", 14);
		if (!ok)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------------------- listings */

/* not_listed - 404, 403 and references of sub-collections leave them out; all else means that
 * the archive cannot be worked with. */
static void not_listed(struct cdmi_source *source, const char *parent, enum cdmi_verdict verdict,
		       const struct lsn_error *err)
{
	char what[600];

	if (verdict == CDMI_GONE && *parent)
		return; /* it may go while we look */
	(void)snprintf(what, sizeof what, "cannot list %s/%s: %s%s", source->root, parent, err->message,
		       verdict == CDMI_GONE ? ", check [scripts] url and collection" : "");
	if (*parent && (verdict == CDMI_DENIED || verdict == CDMI_REFERENCE))
		leave_out(source, what);
	else
		source_fail(source, what, verdict == CDMI_LOGIN);
}

/* try_otherwise - a server may refuse to list the children alone, or refuse the version header
 * (CDMI 2.0), which all others need. Each once per scan. */
static bool try_otherwise(struct cdmi_source *source, const char *parent, long status)
{
	struct scan *scan = &source->scan;

	if (*parent || (status != 400 && status != 406 && status != 200))
		return false;
	if (!scan->everything) {
		scan->everything = true;
		return add_folder(source, parent);
	}
	if (scan->other_dialect || status == 200 || (source->versioned && status == 406))
		return false;
	scan->other_dialect = true;
	source->versioned = !source->versioned;
	return add_folder(source, parent);
}

static void take_listing(struct cdmi_source *source, const char *parent, const struct http_reply *reply)
{
	struct lsn_error err = { 0 };
	json_t *object = NULL;
	enum cdmi_verdict verdict = cdmi_judge(reply, CDMI_CONTAINER, &object, &err);
	const json_t *children = verdict == CDMI_OK ? cdmi_children(object, &err) : NULL;

	if (children) {
		source->strikes = 0;
		if (!add_children(source, parent, children))
			source_fail(source, "out of memory", false);
	} else if (!try_otherwise(source, parent, reply->status)) {
		not_listed(source, parent, verdict == CDMI_OK ? CDMI_BAD : verdict, &err);
	}
	json_decref(object);
}

static void on_listing(void *data, const struct http_reply *reply)
{
	struct cdmi_source *source = data;
	_cleanup_free_ char *parent = TAKE_PTR(source->scan.listing_path);

	source->scan.listing = NULL;
	take_listing(source, parent, reply);
	source->scan.left--;
	source->step(source);
}

static int list_folder(struct cdmi_source *source, const char *path)
{
	_cleanup_free_ char *whole = NULL, *url = NULL;
	/* The collection's metadata is not asked for: it is of no use here, and anybody's. */
	enum cdmi_mode mode = source->scan.everything ? CDMI_CONTAINER : CDMI_CHILDREN;

	if (asprintf(&whole, "%s/%s", source->root, path) < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	if (!(source->scan.listing_path = strdup(path)) || !(url = cdmi_url(source->base.config->url, whole, mode)))
		return -ENOMEM;
	const struct http_request request = { .method = "GET",
					      .url = url,
					      .headers = cdmi_headers(mode, source->versioned),
					      .timeout_usec = source->base.config->timeout_usec,
					      .max_body = NAME_BYTES * source->base.config->scripts_max +
							  ((size_t)1 << 20) };
	return http_start(source->http, &request, on_listing, source, &source->scan.listing);
}

/* One listing at a time. */
void scan_next(struct cdmi_source *source)
{
	struct name_item *folder = STAILQ_FIRST(&source->scan.todo);
	char what[200];

	if (!folder || source->scan.listing || source->trouble.set)
		return;
	STAILQ_REMOVE_HEAD(&source->scan.todo, link);
	int r = list_folder(source, folder->name);
	free(folder);
	if (r < 0) {
		(void)snprintf(what, sizeof what, "cannot ask for the scripts collection, check [scripts] url: %s",
			       strerror(-r));
		source_fail(source, what, false);
	}
}

/* -------------------------------------------------------------------------------- a scan's life */

void scan_start(struct cdmi_source *source, bool deep)
{
	struct scan *scan = &source->scan;

	source->deep_due |= deep;
	if (scan->running) {
		scan->again = true;
		return;
	}
	scan->running = true;
	scan->deep = source->deep_due;
	source->deep_due = false;
	scan->noted = source->full = false;
	scan->everything = scan->other_dialect = false;
	scan->scripts = scan->folders = 0;
	if (!add_folder(source, ""))
		source_fail(source, "out of memory", false);
}

static void scan_done(struct cdmi_source *source)
{
	names_clear(&source->scan.todo);
	names_clear(&source->scan.seen);
	source->scan.running = false;
	source->figures.errors += source->scan.errors;
	source->scan.errors = 0;
	source->figures.scans++;
}

void scan_abort(struct cdmi_source *source)
{
	struct fetch *fetch;

	if (source->scan.listing)
		http_cancel(source->scan.listing);
	source->scan.listing = NULL;
	free(TAKE_PTR(source->scan.listing_path));
	TAILQ_FOREACH (fetch, &source->all, all)
		fetch->scan = false;
	source->scan.left = 0;
	source->deep_due |= source->scan.running && source->scan.deep;
	source->scan.again = false; /* there will be another in any case */
	if (source->scan.running)
		scan_done(source);
}

bool scan_is_over(const struct cdmi_source *source) { return source->scan.running && source->scan.left == 0; }

bool scan_store(struct cdmi_source *source)
{
	struct lsn_error err = { 0 };
	struct name_item *item;

	registry_begin(source->registry);
	STAILQ_FOREACH (item, &source->scan.seen, link)
		registry_keep(source->registry, item->name);
	if (offer_commit(source, true, &err) < 0) {
		source_fail(source, err.message, false);
		return false;
	}
	scan_done(source);
	source->stored = true;
	return true;
}
