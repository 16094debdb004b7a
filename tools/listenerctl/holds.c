/* holds.c - what holds, pause, resume and release say. */
#include "ctl.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include <cleanup.h>
#include <util.h>

static const char *string_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

/* set_text - ROW[KEY] = TEXT, or "?" if that cannot be. */
static void set_text(json_t *row, const char *key, json_t *text)
{
	(void)json_object_set_new(row, key, text ? text : json_string("?"));
}

static void set_scope(json_t *row)
{
	const char *scope = string_of(row, "scope"), *name = string_of(row, "name");

	if (strcmp(scope, "all") == 0)
		set_text(row, "shown", json_string("all scripts"));
	else if (strcmp(scope, "script") == 0)
		set_text(row, "shown", json_string(name));
	else
		set_text(row, "shown", json_sprintf("%s %s", scope, name));
}

static void set_by(json_t *row)
{
	const json_t *uid = json_object_get(row, "by_uid");
	const struct passwd *user = json_is_integer(uid) ? getpwuid((uid_t)json_integer_value(uid)) : NULL;

	if (user)
		set_text(row, "by", json_string(user->pw_name));
	else if (json_is_integer(uid))
		set_text(row, "by", json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(uid)));
}

static void set_waiting(json_t *row)
{
	uint64_t now = now_realtime_usec(), oldest = (uint64_t)number_of(row, "oldest_realtime_usec");
	const char *more = json_is_true(json_object_get(row, "more_waiting")) ? "+" : "";

	set_text(row, "waiting_shown", json_sprintf("%" JSON_INTEGER_FORMAT "%s", number_of(row, "waiting"), more));
	if (oldest && now > oldest)
		(void)json_object_set_new(row, "oldest_usec", json_integer((json_int_t)(now - oldest)));
	if (number_of(row, "until_realtime_usec") == 0)
		(void)json_object_del(row, "until_realtime_usec");
}

/* hold_shown - ROW with what people read of it. */
static json_t *hold_shown(const json_t *row)
{
	json_t *copy = json_copy((json_t *)row);

	set_scope(copy);
	set_by(copy);
	set_waiting(copy);
	return copy;
}

void add_hold(void *table, const json_t *row)
{
	json_t *shown = hold_shown(row);

	table_add(table, shown);
	json_decref(shown);
}

static void print_field(const json_t *row, const char *left, const char *key, enum cell_kind kind, const char *right)
{
	_cleanup_free_ char *text = cell_text(row, key, kind);

	if (text && strcmp(text, "-") != 0)
		(void)printf("%s%s%s", left, text, right);
}

/* print_refused_row - true: ROW says that it was not done. */
static bool print_refused_row(struct done_count *count, const json_t *row)
{
	bool ok = json_is_true(json_object_get(row, "ok"));

	count->rows++;
	count->failed += !ok;
	if (!ok) {
		print_field(row, "", "name", CELL_TEXT, ": ");
		print_field(row, "", "message", CELL_TEXT, "\n");
	}
	return !ok;
}

void print_paused(void *count, const json_t *row)
{
	if (print_refused_row(count, row))
		return;
	json_t *shown = hold_shown(row);
	print_field(shown, "", "shown", CELL_TEXT, " is held");
	print_field(shown, " until ", "until_realtime_usec", CELL_TIME, "");
	print_field(shown, "; ", "waiting_shown", CELL_TEXT, " jobs wait, what runs goes on, what comes is kept\n");
	json_decref(shown);
}

void print_resumed(void *count, const json_t *row)
{
	if (print_refused_row(count, row))
		return;
	json_t *shown = hold_shown(row);
	print_field(shown, "", "shown", CELL_TEXT, " goes on; ");
	print_field(shown, "", "waiting_shown", CELL_TEXT, " jobs waited\n");
	json_decref(shown);
}

void print_kept(void *count, const json_t *row)
{
	((struct done_count *)count)->rows++;
	print_field(row, "job ", "id", CELL_NUMBER, "");
	print_field(row, "  ", "received_realtime_usec", CELL_TIME, "");
	print_field(row, "  ", "script", CELL_TEXT, "");
	print_field(row, "  ", "topic", CELL_TEXT, "\n");
}

void print_would_release(void *count, const json_t *object)
{
	(void)count;
	print_field(object, "", "jobs", CELL_NUMBER, " jobs are kept; --run lets them go, --discard cancels them\n");
}

void print_released(void *count, const json_t *object)
{
	bool cancelled = ((struct done_count *)count)->rows > 0 || !json_object_get(object, "hold");

	print_field(object, "", "jobs", CELL_NUMBER,
		    cancelled ? " jobs cancelled; the hold has ended\n" : " jobs go on; the hold has ended\n");
}
