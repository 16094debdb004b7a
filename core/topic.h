/* topic.h - MQTT topic names and filters (MQTT 3.1.1 and 5, sections 4.7), and the archive's own
 * grammar of topics.
 *
 * Valid name:   1..65535 bytes of well-formed UTF-8 without NUL, '+' and '#'. Empty levels are
 *               levels ("a//b", "/").
 * Valid filter: as a name, but '+' may stand as a whole level and '#' as the whole last level.
 *   "create/+/test/#"  "#"  "+/+"  valid;   "a#"  "a/#/b"  "a+/b"  ""  invalid.
 * A "$share/GROUP/FILTER" is a valid subscription but not a script's filter.
 * A leading '+' or '#' does not match names that begin with '$'; "a/#" matches "a". */
#ifndef CORE_TOPIC_H
#define CORE_TOPIC_H

#include <listener/error.h>
#include <stdbool.h>
#include <stddef.h>

#define TOPIC_MAX 65535

/* 0, or -EINVAL with a reason for people. */
int topic_check_name(const char *topic, size_t size, struct lsn_error *err);
int topic_check_filter(const char *filter, size_t size, struct lsn_error *err);

/* topic_check_subscription - a filter, or a well-formed $share/GROUP/FILTER. */
int topic_check_subscription(const char *text, size_t size, struct lsn_error *err);

/* topic_subscription_filter - the filter of a valid SUBSCRIPTION: what follows "$share/GROUP/",
 * or all of it. */
const char *topic_subscription_filter(const char *subscription);

/* topic_normalise_filter - drop empty levels as the archive's publisher does ("/create//a/" ->
 * "create/a"), in place.
 * Returns the new size. */
size_t topic_normalise_filter(char *filter);

/* topic_matches - FILTER (valid) matches NAME (valid): the plain rule, for tests and single
 * questions. */
bool topic_matches(const char *filter, const char *name);
bool topic_matches_sized(const char *filter, size_t filter_size, const char *name, size_t name_size);

/* topic_filters_overlap - some name is matched by both (valid filters). */
bool topic_filters_overlap(const char *a, const char *b);

/* topic_filter_covers - every name that B matches is matched by A too (valid filters).
 * "+/#" covers "#" and "/+/#" covers "/#", for no name is empty. */
bool topic_filter_covers(const char *a, const char *b);

/* Whose topics: Indigo's "operation/type/ident"; Drastic's, with the object's UUID before the
 * path of a collection or resource; Radon's, with "request", "success" or "fail" before the
 * type. */
enum topic_dialect { TOPIC_INDIGO, TOPIC_DRASTIC, TOPIC_RADON };

enum topic_operation { TOPIC_CREATE, TOPIC_UPDATE, TOPIC_DELETE, TOPIC_OPERATION_OTHER };
enum topic_object { TOPIC_COLLECTION, TOPIC_RESOURCE, TOPIC_USER, TOPIC_GROUP, TOPIC_OBJECT_OTHER };

/* What "operation/type/ident" says; pointers into the topic. update_object and update_metadata
 * are TOPIC_UPDATE. */
struct topic_parts {
	enum topic_operation operation;
	enum topic_object object;
	const char *ident; /* after the second slash; "" if there is none (the root collection) */
	size_t ident_size;
	bool done; /* it has happened: false if it was only asked for, or failed (Radon) */
};
void topic_split(enum topic_dialect dialect, const char *topic, size_t size, struct topic_parts *ret);

/* topic_below - IDENT of a collection or resource topic is the collection ROOT ("/scripts", any
 * number of slashes) itself or lies below.
 * The publisher deletes '#' and '+' from topics, so they are left out of the comparison on both
 * sides: a collection "/scripts+" cannot be told from "/scripts". */
bool topic_below(const struct topic_parts *parts, const char *root);

#endif
