/* cdmi.h - reading CDMI over HTTP: URLs, headers and replies, as Indigo serves them, and as the
 * standards 1.0.2 to 2.0 and Indigo's relatives do. No requests are made here.
 *
 * Rules that are easy to miss (all from the public Indigo code):
 * - A CDMI read needs X-CDMI-Specification-Version and an explicit Accept.
 * - Indigo never returns the value in a CDMI read. The content needs a second, plain GET *without*
 *   that header.
 * - The URL of a container ends in a slash.
 * - A reference object answers 302 without Location, and must not be followed.
 * - CDMI 2.0 has its version in the path and accepts no version header. */
#ifndef CORE_CDMI_H
#define CORE_CDMI_H

#include "http.h"
#include "script.h"
#include <jansson.h>

/* What a reply means to somebody who mirrors scripts. */
enum cdmi_verdict {
	CDMI_OK,
	CDMI_GONE, /* 404 */
	CDMI_DENIED, /* 403 */
	CDMI_LOGIN, /* 401: no fast retry */
	CDMI_REFERENCE, /* 302, 303: an object that stands for something elsewhere, not a script */
	/* 301, 307, 308 that lib/http.c did not follow: another host, a downgrade, or too many */
	CDMI_MOVED,
	CDMI_FAULT, /* 400, 405, 406: ours or the configuration's */
	CDMI_RETRY, /* 5xx, no whole reply */
	CDMI_BAD, /* 200 with something that is not CDMI, or too large */
};

enum cdmi_mode {
	CDMI_CONTAINER,
	/* a container's list of children alone; a server may refuse this with 400 or 406 */
	CDMI_CHILDREN,
	CDMI_OBJECT,
	CDMI_CONTENT,
};

/* cdmi_url - BASE ("https://host/api/cdmi") and archive PATH ("/scripts/a b.py"), each name
 * percent-encoded; a container gets its slash. malloc()ed, NULL: no memory. */
char *cdmi_url(const char *base, const char *path, enum cdmi_mode mode);

/* cdmi_headers - for http_request.
 * VERSIONED: send X-CDMI-Specification-Version (not to 2.0 servers, which choose by Accept). */
const char *const *cdmi_headers(enum cdmi_mode mode, bool versioned);

/* cdmi_is_v2 - the URL's path names a 2.x version. */
bool cdmi_is_v2(const char *base);

/* cdmi_name_ok - a name of one level that can be fetched safely: not empty, no slash, no
 * control, valid UTF-8, neither "." nor "..". */
bool cdmi_name_ok(const char *name, size_t size);

/* cdmi_judge - status and, for OK in container and object mode, that the body is a JSON object
 * (parsed into *RET, caller decrefs); in content mode, that it is not a description of the
 * object instead.
 * ERR: for people.
 * RET may be NULL with CDMI_CONTENT. */
enum cdmi_verdict cdmi_judge(const struct http_reply *reply, enum cdmi_mode mode, json_t **ret, struct lsn_error *err);

/* cdmi_get - a member by name: exact first, then in any case (valueTransferEncoding).
 * NULL if absent. */
const json_t *cdmi_get(const json_t *object, const char *key);

/* cdmi_children - the array of names; NULL with ERR if it is none. */
const json_t *cdmi_children(const json_t *container, struct lsn_error *err);

/* cdmi_topics - metadata.topic: a non-empty string, or a list of strings.
 * RET: the strings, NULL at the end; they are OBJECT's.
 * Returns how many; 0: none, or *RET_PROBLEM says what is wrong with them. */
size_t cdmi_topics(const json_t *object, const char *ret[SCRIPT_FILTERS_MAX + 1], const char **ret_problem);

/* cdmi_value - the inline value, decoded.
 * 0: *RET malloc()ed, NUL-terminated beyond its size; -ENODATA: none; -EINVAL: cannot be
 * decoded; -ENOMEM. */
int cdmi_value(const json_t *object, void **ret, size_t *ret_size, struct lsn_error *err);

/* cdmi_metadata_hash - a mark of the user's own metadata (what Indigo calls cdmi_* is left out),
 * whatever the order of its keys. */
uint64_t cdmi_metadata_hash(const json_t *object);

/* cdmi_content_hash - a mark of what a server tells of the content: cdmi_mtime, cdmi_size,
 * cdmi_hash, cdmi_version.
 * Indigo tells nothing: 0. */
uint64_t cdmi_content_hash(const json_t *object);

#endif
