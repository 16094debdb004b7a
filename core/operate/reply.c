/* reply.c - see reply.h. */
#include "reply.h"
#include "util.h"
#include <errno.h>
#include <string.h>

bool reply_known_keys(struct control_reply *reply, const json_t *request, const char *const *keys)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)request, key, value) {
		bool known = streq(key, "command");
		for (size_t i = 0; !known && keys[i]; i++)
			known = streq(key, keys[i]);
		if (!known) {
			control_fail(reply, EINVAL, "unknown key '%.64s' in the request", key);
			return false;
		}
	}
	return true;
}

bool reply_get_string(struct control_reply *reply, const json_t *request, const char *key, const char **ret)
{
	const json_t *value = json_object_get(request, key);

	if (value && !json_is_string(value)) {
		control_fail(reply, EINVAL, "%s must be a string", key);
		return false;
	}
	if (value)
		*ret = json_string_value(value);
	return true;
}

bool reply_get_uint(struct control_reply *reply, const json_t *request, const char *key, uint64_t min, uint64_t max,
		    uint64_t *ret)
{
	const json_t *value = json_object_get(request, key);
	bool given = json_is_integer(value) && json_integer_value(value) >= 0;

	if (value &&
	    (!given || (uint64_t)json_integer_value(value) < min || (uint64_t)json_integer_value(value) > max)) {
		control_fail(reply, EINVAL, "%s must be a whole number, %llu to %llu", key, (unsigned long long)min,
			     (unsigned long long)max);
		return false;
	}
	if (value)
		*ret = (uint64_t)json_integer_value(value);
	return true;
}

bool reply_get_bool(struct control_reply *reply, const json_t *request, const char *key, bool *ret)
{
	const json_t *value = json_object_get(request, key);

	if (value && !json_is_boolean(value)) {
		control_fail(reply, EINVAL, "%s must be true or false", key);
		return false;
	}
	if (value)
		*ret = json_is_true(value);
	return true;
}

static void refuse_word(struct control_reply *reply, const char *key, const char *text, const char *const *words,
			size_t count)
{
	char all[300] = "", quoted[60];
	size_t used = 0;

	for (size_t i = 0; i < count && used < sizeof all; i++)
		used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", words[i]);
	control_fail(reply, EINVAL, "%s: %s is none of its words: %s", key,
		     str_quote(quoted, sizeof quoted, text, strlen(text)), all);
}

bool reply_get_word(struct control_reply *reply, const json_t *request, const char *key, const char *const *words,
		    size_t count, int *ret)
{
	const char *text = NULL;

	if (!reply_get_string(reply, request, key, &text))
		return false;
	if (!text)
		return true;
	for (size_t i = 0; i < count; i++) {
		if (streq(words[i], text)) {
			*ret = (int)i;
			return true;
		}
	}
	refuse_word(reply, key, text, words, count);
	return false;
}

void json_set_string(json_t *object, const char *key, const char *text)
{
	(void)control_set_bytes(object, key, text ? text : "", text ? strlen(text) : 0);
}

void json_set_uint(json_t *object, const char *key, uint64_t value)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

void json_set_bool(json_t *object, const char *key, bool value)
{
	(void)json_object_set_new(object, key, json_boolean(value));
}
