/* hold.c - see hold.h. */
#include "hold.h"
#include "util.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const hold_scope_names[HOLD_SCOPE_MAX] = {
	[HOLD_ALL] = "all", [HOLD_EXECUTOR] = "executor", [HOLD_SCRIPT] = "script", [HOLD_OBJECT] = "object"
};
const char *const hold_kind_names[HOLD_KIND_MAX] = { [HOLD_PAUSE] = "pause", [HOLD_LOOP] = "loop" };

void holds_init(struct holds *holds)
{
	*holds = (struct holds){ 0 };
	TAILQ_INIT(&holds->list);
	table_init(&holds->objects);
}

void holds_done(struct holds *holds)
{
	struct hold *hold;

	while ((hold = TAILQ_FIRST(&holds->list))) {
		holds_remove(holds, hold);
		free(hold);
	}
	table_done(&holds->objects);
}

void holds_add(struct holds *holds, struct hold *hold)
{
	TAILQ_INSERT_TAIL(&holds->list, hold, link);
	holds->count++;
	if (hold->scope == HOLD_OBJECT)
		table_add(&holds->objects, &hold->by_object, hold->object);
	else
		holds->wide++;
}

void holds_remove(struct holds *holds, struct hold *hold)
{
	TAILQ_REMOVE(&holds->list, hold, link);
	holds->count--;
	if (hold->scope == HOLD_OBJECT)
		table_remove(&holds->objects, &hold->by_object);
	else
		holds->wide--;
}

static bool is_like(const struct hold *a, const struct hold *b)
{
	if (a->scope != b->scope || a->kind != b->kind)
		return false;
	return a->scope == HOLD_OBJECT ? a->object == b->object : streq(a->name, b->name);
}

struct hold *holds_like(const struct holds *holds, const struct hold *like)
{
	struct hold *hold;

	TAILQ_FOREACH (hold, &holds->list, link)
		if (is_like(hold, like))
			return hold;
	return NULL;
}

struct hold *holds_get(const struct holds *holds, uint64_t id)
{
	struct hold *hold;

	TAILQ_FOREACH (hold, &holds->list, link)
		if (hold->id == id)
			return hold;
	return NULL;
}

bool hold_covers(const struct hold *hold, const char *script, const char *executor, uint64_t object)
{
	switch (hold->scope) {
	case HOLD_ALL: return true;
	case HOLD_EXECUTOR: return streq(hold->name, executor);
	case HOLD_SCRIPT: return streq(hold->name, script) || fnmatch(hold->name, script, 0) == 0;
	default: return hold->object == object;
	}
}

const struct hold *holds_find(const struct holds *holds, const char *script, const char *executor, uint64_t object)
{
	struct table_link *link = object && holds->objects.count ? table_find(&holds->objects, object) : NULL;
	const struct hold *hold;

	if (link)
		return container_of(link, struct hold, by_object);
	if (holds->wide == 0)
		return NULL;
	TAILQ_FOREACH (hold, &holds->list, link)
		if (hold->scope != HOLD_OBJECT && hold_covers(hold, script, executor, object))
			return hold;
	return NULL;
}

bool holds_has_object(const struct holds *holds, uint64_t object)
{
	return holds->objects.count > 0 && table_find(&holds->objects, object);
}

/* ------------------------------------------------------------------------------------- as words */

static void tell_subject(const struct hold *hold, char *ret, size_t size)
{
	static const char *const before[HOLD_SCOPE_MAX] = {
		[HOLD_ALL] = "every script", [HOLD_EXECUTOR] = "executor ", [HOLD_OBJECT] = "the object "
	};
	const char *left = before[hold->scope];

	(void)snprintf(ret, size, "%s%.200s", left ? left : "", hold->name);
	utf8_trim(ret);
}

static void tell_who(const struct hold *hold, char *ret, size_t size)
{
	if (hold->by_uid == 0)
		(void)snprintf(ret, size, "root");
	else
		(void)snprintf(ret, size, "user %" PRId64, hold->by_uid);
}

void hold_tell(const struct hold *hold, char ret[HOLD_TEXT_SIZE])
{
	char subject[240], who[32];
	const char *reason = hold->reason;

	tell_subject(hold, subject, sizeof subject);
	tell_who(hold, who, sizeof who);
	if (hold->kind == HOLD_LOOP)
		(void)snprintf(ret, HOLD_TEXT_SIZE, "%s is held: %s", subject, reason);
	else
		(void)snprintf(ret, HOLD_TEXT_SIZE, "%s is paused by %s%s%s%s", subject, who, *reason ? " (\"" : "",
			       reason, *reason ? "\")" : "");
	utf8_trim(ret);
}

void hold_remedy(const struct hold *hold, char ret[HOLD_TEXT_SIZE])
{
	const char *verb = hold->kind == HOLD_LOOP ? "release --run" : "resume";

	static const char *const option[HOLD_SCOPE_MAX] = {
		[HOLD_ALL] = "--all", [HOLD_EXECUTOR] = "--executor ", [HOLD_OBJECT] = "--object "
	};
	const char *left = option[hold->scope];

	(void)snprintf(ret, HOLD_TEXT_SIZE, "listenerctl %s %s%.120s", verb, left ? left : "", hold->name);
	utf8_trim(ret);
}
