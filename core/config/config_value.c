/* config_value.c - the kinds of values: how each is parsed, printed and freed. See
 * config_private.h. */
#include "config_private.h"
#include "job.h"
#include "script.h"
#include "topic.h"

#include <errno.h>
#include <string.h>
#include <suggest.h>
#include <util.h>

/* ---------------------------------------------------------------------------- strings and names */

static int parse_string(const struct config_item *item, void *target, const char *text, bool append,
			struct lsn_error *err)
{
	char **string = target, *copy = NULL;

	(void)item;
	(void)append;
	if (*text) { /* an empty value unsets */
		copy = strdup(text);
		if (!copy)
			return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	free(*string);
	*string = copy;
	return 0;
}

static void print_string(const struct config_item *item, const void *target, FILE *out)
{
	const char *const *string = target;

	(void)fprintf(out, "%s =%s%s\n", item->key, *string ? " " : "", *string ? *string : "");
}

static void clear_string(void *target)
{
	char **string = target;

	free(*string);
	*string = NULL;
}

static void print_secret(const struct config_item *item, const void *target, FILE *out)
{
	const char *const *string = target;

	(void)fprintf(out, "%s =%s\n", item->key, *string ? " (set)" : "");
}

static void clear_secret(void *target)
{
	char **string = target;

	if (*string)
		explicit_bzero(*string, strlen(*string));
	clear_string(target);
}

/* A topic filter is compared with those of scripts, which have no empty levels. "/" and the like
 * are no filter, and stay for config_check() to refuse. */
static int parse_filter(const struct config_item *item, void *target, const char *text, bool append,
			struct lsn_error *err)
{
	char **string = target;
	int r = parse_string(item, target, text, append, err);

	if (r == 0 && *string)
		(void)topic_normalise_filter(*string);
	return r;
}

static int parse_path(const struct config_item *item, void *target, const char *text, bool append,
		      struct lsn_error *err)
{
	if (*text && *text != '/')
		return lsn_error_set(err, -EINVAL, "\"%.200s\" is not an absolute path", text);
	return parse_string(item, target, text, append, err);
}

bool config_name_valid(const char *name, bool underscore)
{
	size_t length = strspn(name, underscore ? "abcdefghijklmnopqrstuvwxyz0123456789-_"
						: "abcdefghijklmnopqrstuvwxyz0123456789-");

	return length > 0 && length < EXECUTOR_NAME_SIZE && name[length] == '\0';
}

static int parse_name(const struct config_item *item, void *target, const char *text, bool append,
		      struct lsn_error *err)
{
	(void)item;
	(void)append;
	if (!config_name_valid(text, true))
		return lsn_error_set(err, -EINVAL, "\"%.64s\" is not a name; use 1 to 32 of a-z, 0-9, '-' and '_'",
				     text);
	(void)snprintf(target, EXECUTOR_NAME_SIZE, "%s", text);
	return 0;
}

static void print_name(const struct config_item *item, const void *target, FILE *out)
{
	(void)fprintf(out, "%s = %s\n", item->key, (const char *)target);
}

/* -------------------------------------------------------------------------------------- numbers */

static int parse_boolean(const struct config_item *item, void *target, const char *text, bool append,
			 struct lsn_error *err)
{
	(void)item;
	(void)append;
	return parse_bool(text, target, err);
}

static void print_boolean(const struct config_item *item, const void *target, FILE *out)
{
	(void)fprintf(out, "%s = %s\n", item->key, *(const bool *)target ? "yes" : "no");
}

/* The shortest way to write VALUE with one of UNITS, exactly. */
static void format_units(char *buf, size_t size, uint64_t value, const uint64_t *factors, const char *const *names)
{
	size_t i = 0;

	while (value % factors[i] != 0 || (value == 0 && factors[i + 1] != 0))
		i++;
	(void)snprintf(buf, size, "%llu%s", (unsigned long long)(value / factors[i]), names[i]);
}

static void format_duration(char *buf, size_t size, uint64_t usec)
{
	static const uint64_t factors[] = {
		86400 * USEC_PER_SEC, 3600 * USEC_PER_SEC, 60 * USEC_PER_SEC, USEC_PER_SEC, USEC_PER_MSEC, 1, 0
	};
	static const char *const names[] = { "d", "h", "min", "s", "ms", "us" };

	if (usec == 0)
		(void)snprintf(buf, size, "0s");
	else
		format_units(buf, size, usec, factors, names);
}

static void format_size(char *buf, size_t size, uint64_t bytes)
{
	static const uint64_t factors[] = { UINT64_C(1) << 40, 1 << 30, 1 << 20, 1 << 10, 1, 0 };
	static const char *const names[] = { "T", "G", "M", "K", "" };

	format_units(buf, size, bytes, factors, names);
}

typedef void (*format_fn)(char *buf, size_t size, uint64_t value);

static void format_plain(char *buf, size_t size, uint64_t value)
{
	(void)snprintf(buf, size, "%llu", (unsigned long long)value);
}

static int check_range(const struct config_item *item, uint64_t value, format_fn format, struct lsn_error *err)
{
	char low[32], high[32];

	if (value >= item->min && value <= item->max)
		return 0;
	format(low, sizeof low, item->min);
	format(high, sizeof high, item->max);
	if (item->max == UINT64_MAX)
		return lsn_error_set(err, -ERANGE, "the smallest value is %s", low);
	return lsn_error_set(err, -ERANGE, "the value must be between %s and %s", low, high);
}

static int parse_u64(const struct config_item *item, const char *text, uint64_t *ret, struct lsn_error *err)
{
	int r = parse_uint(text, UINT64_MAX, ret, err);

	return r < 0 ? r : check_range(item, *ret, format_plain, err);
}

static int parse_uint64(const struct config_item *item, void *target, const char *text, bool append,
			struct lsn_error *err)
{
	uint64_t value;
	int r = parse_u64(item, text, &value, err);

	(void)append;
	if (r == 0)
		*(uint64_t *)target = value;
	return r;
}

static void print_uint64(const struct config_item *item, const void *target, FILE *out)
{
	(void)fprintf(out, "%s = %llu\n", item->key, (unsigned long long)*(const uint64_t *)target);
}

static int parse_unsigned(const struct config_item *item, void *target, const char *text, bool append,
			  struct lsn_error *err)
{
	uint64_t value;
	int r = parse_u64(item, text, &value, err); /* the table keeps max within an unsigned */

	(void)append;
	if (r == 0)
		*(unsigned *)target = (unsigned)value;
	return r;
}

static void print_unsigned(const struct config_item *item, const void *target, FILE *out)
{
	(void)fprintf(out, "%s = %u\n", item->key, *(const unsigned *)target);
}

static int parse_usec(const struct config_item *item, void *target, const char *text, bool append,
		      struct lsn_error *err)
{
	uint64_t value;
	int r = parse_duration(text, &value, err);

	(void)append;
	if (r == 0)
		r = check_range(item, value, format_duration, err);
	if (r == 0)
		*(uint64_t *)target = value;
	return r;
}

static void print_usec(const struct config_item *item, const void *target, FILE *out)
{
	char text[32];

	format_duration(text, sizeof text, *(const uint64_t *)target);
	(void)fprintf(out, "%s = %s\n", item->key, text);
}

static int parse_seconds(const struct config_item *item, void *target, const char *text, bool append,
			 struct lsn_error *err)
{
	uint64_t value;
	int r = parse_usec(item, &value, text, append, err);

	if (r == 0 && value % USEC_PER_SEC != 0)
		r = lsn_error_set(err, -EINVAL, "only whole seconds are possible here");
	if (r == 0)
		*(unsigned *)target = (unsigned)(value / USEC_PER_SEC);
	return r;
}

static void print_seconds(const struct config_item *item, const void *target, FILE *out)
{
	(void)fprintf(out, "%s = %us\n", item->key, *(const unsigned *)target);
}

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "sizes are parsed as uint64_t");

static int parse_bytes(const struct config_item *item, void *target, const char *text, bool append,
		       struct lsn_error *err)
{
	uint64_t value;
	int r = parse_size(text, &value, err);

	(void)append;
	if (r == 0)
		r = check_range(item, value, format_size, err);
	if (r == 0)
		*(uint64_t *)target = value;
	return r;
}

static void print_bytes(const struct config_item *item, const void *target, FILE *out)
{
	char text[32];

	format_size(text, sizeof text, *(const uint64_t *)target);
	(void)fprintf(out, "%s = %s\n", item->key, text);
}

/* A number per second with decimals: the same digits a duration may have, which are checked
 * there. */
static int parse_rate(const struct config_item *item, void *target, const char *text, bool append,
		      struct lsn_error *err)
{
	uint64_t millionths;

	(void)append;
	if (text[strspn(text, "0123456789.")] != '\0' || parse_duration(text, &millionths, NULL) < 0)
		return lsn_error_set(err, -EINVAL, "\"%.64s\" is not a number; write 50 or 0.5", text);
	if (millionths < item->min || millionths > item->max)
		return lsn_error_set(err, -ERANGE, "the value must be between %g and %g", (double)item->min / 1e6,
				     (double)item->max / 1e6);
	*(double *)target = (double)millionths / 1e6;
	return 0;
}

static void print_rate(const struct config_item *item, const void *target, FILE *out)
{
	(void)fprintf(out, "%s = %.10g\n", item->key, *(const double *)target);
}

/* ------------------------------------------------------------------------------ words and lists */

static int parse_enum(const struct config_item *item, void *target, const char *text, bool append,
		      struct lsn_error *err)
{
	char all[200] = "";
	size_t used = 0;

	(void)append;
	for (size_t i = 0; item->names[i]; i++) {
		if (streq(text, item->names[i])) {
			*(int *)target = (int)(item->min + i);
			return 0;
		}
		used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", item->names[i]);
	}
	const char *near = suggest_from(text, item->names);
	return lsn_error_set(err, -EINVAL, "\"%.64s\" is not one of %s%s%s%s", text, all, near ? "; did you mean " : "",
			     near ? near : "", near ? "?" : "");
}

static void print_enum(const struct config_item *item, const void *target, FILE *out)
{
	(void)fprintf(out, "%s = %s\n", item->key, item->names[(uint64_t) * (const int *)target - item->min]);
}

static size_t list_length(char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static void clear_list(void *target)
{
	char ***list = target;

	for (size_t i = 0; *list && (*list)[i]; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
}

static int list_add(char ***list, const char *word, size_t size)
{
	size_t n = list_length(*list);
	char **longer = realloc(*list, (n + 2) * sizeof *longer);

	if (!longer)
		return -ENOMEM;
	*list = longer;
	longer[n] = size > 0 ? strndup(word, size) : NULL;
	longer[n + 1] = NULL;
	return size > 0 && !longer[n] ? -ENOMEM : 0;
}

static int parse_list(const struct config_item *item, void *target, const char *text, bool append,
		      struct lsn_error *err)
{
	static const char blanks[] = " \t";
	int r;

	(void)item;
	if (!append)
		clear_list(target);
	r = list_add(target, "", 0); /* an empty list is a list */
	for (text += strspn(text, blanks); *text && r == 0; text += strspn(text, blanks)) {
		size_t size = strcspn(text, blanks);
		r = list_add(target, text, size);
		text += size;
	}
	return r < 0 ? lsn_error_set(err, r, "out of memory") : 0;
}

static void print_list(const struct config_item *item, const void *target, FILE *out)
{
	char *const *list = *(char **const *)target;

	if (list_length(list) == 0)
		(void)fprintf(out, "%s =\n", item->key);
	for (size_t i = 0; list && list[i]; i++)
		(void)fprintf(out, "%s = %s\n", item->key, list[i]);
}

static int parse_outcomes(const struct config_item *item, void *target, const char *text, bool append,
			  struct lsn_error *err)
{
	(void)item;
	(void)append;
	return script_parse_retry_on(text, target, err);
}

static void print_outcomes(const struct config_item *item, const void *target, FILE *out)
{
	uint32_t mask = *(const uint32_t *)target;

	(void)fprintf(out, "%s =", item->key);
	for (unsigned i = 0; i < LSN_OUTCOME_MAX; i++)
		if (mask & (UINT32_C(1) << i))
			(void)fprintf(out, " %s", outcome_names[i]);
	(void)fputc('\n', out);
}

/* ------------------------------------------------------------------------------------ equality */

static bool equal_string(const void *a, const void *b) { return streq(*(char *const *)a, *(char *const *)b); }

static bool equal_name(const void *a, const void *b) { return streq((const char *)a, (const char *)b); }

static bool equal_bool(const void *a, const void *b) { return *(const bool *)a == *(const bool *)b; }

static bool equal_unsigned(const void *a, const void *b) { return *(const unsigned *)a == *(const unsigned *)b; }

static bool equal_uint64(const void *a, const void *b) { return *(const uint64_t *)a == *(const uint64_t *)b; }

static bool equal_rate(const void *a, const void *b) { return memcmp(a, b, sizeof(double)) == 0; }

static bool equal_list(const void *a, const void *b)
{
	char *const *p = *(char **const *)a, *const *q = *(char **const *)b;
	size_t n = list_length(p);

	if (n != list_length(q))
		return false;
	while (n > 0 && streq(p[n - 1], q[n - 1]))
		n--;
	return n == 0;
}

const struct config_type config_type_string = { parse_string, print_string, equal_string, clear_string, false };
const struct config_type config_type_secret = { parse_string, print_secret, equal_string, clear_secret, false };
const struct config_type config_type_filter = { parse_filter, print_string, equal_string, clear_string, false };
const struct config_type config_type_path = { parse_path, print_string, equal_string, clear_string, false };
const struct config_type config_type_name = { parse_name, print_name, equal_name, NULL, false };
const struct config_type config_type_bool = { parse_boolean, print_boolean, equal_bool, NULL, false };
const struct config_type config_type_uint = { parse_unsigned, print_unsigned, equal_unsigned, NULL, false };
const struct config_type config_type_uint64 = { parse_uint64, print_uint64, equal_uint64, NULL, false };
const struct config_type config_type_duration = { parse_usec, print_usec, equal_uint64, NULL, false };
const struct config_type config_type_seconds = { parse_seconds, print_seconds, equal_unsigned, NULL, false };
const struct config_type config_type_size = { parse_bytes, print_bytes, equal_uint64, NULL, false };
const struct config_type config_type_rate = { parse_rate, print_rate, equal_rate, NULL, false };
const struct config_type config_type_enum = { parse_enum, print_enum, equal_unsigned, NULL, false };
const struct config_type config_type_list = { parse_list, print_list, equal_list, clear_list, true };
const struct config_type config_type_outcomes = { parse_outcomes, print_outcomes, equal_unsigned, NULL, false };
