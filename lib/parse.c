/* parse.c - the parsers for settings of util.h. No floating point and no strtol(): every digit
 * is checked and every overflow seen. */
#include <util.h>

#include <errno.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const struct unit *unit_find(const struct unit *units, const char *name, bool fold)
{
	for (; units->name; units++)
		if (fold ? strcasecmp(units->name, name) == 0 : strcmp(units->name, name) == 0)
			return units;
	return NULL;
}

/* take_digits - the decimal number at *TEXT, which must have at least one digit. -EINVAL,
 * -ERANGE. */
static int take_digits(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	*text = p;
	*ret = value;
	return 0;
}

/* take_fraction - ".5" at *TEXT in parts of FACTOR, rounded down; nothing there is 0. */
static int take_fraction(const char **text, uint64_t factor, uint64_t *ret)
{
	const char *p = *text;
	unsigned __int128 value = 0, scale = 1;

	*ret = 0;
	if (*p != '.')
		return 0;
	if (!is_digit(*++p))
		return -EINVAL;
	for (; is_digit(*p); p++) {
		if (scale >= UINT64_C(1000000000000000)) /* beyond what any unit can show */
			continue;
		value = value * 10 + (unsigned)(*p - '0');
		scale *= 10;
	}
	*text = p;
	*ret = (uint64_t)(value * factor / scale);
	return 0;
}

/* A blank may stand between number and unit, but not after a bare number. */
static const char *skip_blank(const char *text) { return *text == ' ' && text[1] != '\0' ? text + 1 : text; }

static int scale_up(uint64_t whole, uint64_t fraction, uint64_t factor, uint64_t *ret)
{
	uint64_t value;

	if (__builtin_mul_overflow(whole, factor, &value) || __builtin_add_overflow(value, fraction, &value))
		return -ERANGE;
	*ret = value;
	return 0;
}

static int duration_parse(const char *text, uint64_t *ret_usec)
{
	static const struct unit units[] = {
		{ "", USEC_PER_SEC },          { "us", 1 },
		{ "ms", USEC_PER_MSEC },       { "s", USEC_PER_SEC },
		{ "min", 60 * USEC_PER_SEC },  { "h", 3600 * USEC_PER_SEC },
		{ "d", 86400 * USEC_PER_SEC }, { NULL, 0 },
	};
	const struct unit *unit;
	const char *fraction_at;
	uint64_t whole, fraction;
	int r;

	r = take_digits(&text, &whole);
	if (r < 0)
		return r;
	/* The unit behind the fraction decides what the fraction is worth: step over it first. */
	fraction_at = text;
	r = take_fraction(&text, 1, &fraction);
	if (r < 0)
		return r;
	text = skip_blank(text);
	unit = unit_find(units, text, false);
	if (!unit)
		return -EINVAL;
	(void)take_fraction(&fraction_at, unit->factor, &fraction);
	return scale_up(whole, fraction, unit->factor, ret_usec);
}

int parse_duration(const char *text, uint64_t *ret_usec, struct lsn_error *err)
{
	char quoted[64];
	int r = duration_parse(text, ret_usec);

	if (r == -ERANGE)
		return lsn_error_set(err, r, "%s is too long a duration",
				     str_quote(quoted, sizeof quoted, text, strlen(text)));
	if (r < 0)
		return lsn_error_set(err, r, "%s is not a duration; write 12s, 500ms, 2min, 1h or 7d",
				     str_quote(quoted, sizeof quoted, text, strlen(text)));
	return 0;
}

static int size_parse(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "K", UINT64_C(1) << 10 },
		{ "M", UINT64_C(1) << 20 },
		{ "G", UINT64_C(1) << 30 },
		{ "T", UINT64_C(1) << 40 },
		{ NULL, 0 },
	};
	char name[8] = "";
	const struct unit *unit;
	uint64_t whole;
	size_t length;
	int r;

	r = take_digits(&text, &whole);
	if (r < 0)
		return r;
	text = skip_blank(text);
	length = strlen(text);
	if (length > 3)
		return -EINVAL;
	memcpy(name, text, length);
	/* "KiB", "KB" */
	if ((length == 3 && strcasecmp(name + 1, "iB") == 0) || (length == 2 && (name[1] == 'B' || name[1] == 'b')))
		name[1] = '\0';
	unit = unit_find(units, name, true);
	if (!unit || (length > 1 && unit->factor == 1))
		return -EINVAL;
	return scale_up(whole, 0, unit->factor, ret_bytes);
}

int parse_size(const char *text, uint64_t *ret_bytes, struct lsn_error *err)
{
	char quoted[64];
	int r = size_parse(text, ret_bytes);

	if (r == -ERANGE)
		return lsn_error_set(err, r, "%s is too large a size",
				     str_quote(quoted, sizeof quoted, text, strlen(text)));
	if (r < 0)
		return lsn_error_set(err, r, "%s is not a size; write 65536, 64K, 128M or 2G",
				     str_quote(quoted, sizeof quoted, text, strlen(text)));
	return 0;
}

int parse_bool(const char *text, bool *ret, struct lsn_error *err)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };
	char quoted[64];

	for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*ret = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	return lsn_error_set(err, -EINVAL, "%s is neither yes nor no",
			     str_quote(quoted, sizeof quoted, text, strlen(text)));
}

int parse_uint(const char *text, uint64_t max, uint64_t *ret, struct lsn_error *err)
{
	const char *rest = text;
	char quoted[64];
	uint64_t value;
	int r = take_digits(&rest, &value);

	if (r == 0 && *rest != '\0')
		r = -EINVAL;
	if (r == -EINVAL)
		return lsn_error_set(err, r, "%s is not a number; write digits only",
				     str_quote(quoted, sizeof quoted, text, strlen(text)));
	if (r == -ERANGE || value > max)
		return lsn_error_set(err, -ERANGE, "%s is too large; the largest value is %llu",
				     str_quote(quoted, sizeof quoted, text, strlen(text)), (unsigned long long)max);
	*ret = value;
	return 0;
}
