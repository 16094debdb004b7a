/* cdmi.c - see cdmi.h. */
#include "cdmi.h"
#include "cleanup.h"
#include "util.h"
#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

bool cdmi_name_ok(const char *name, size_t size)
{
	if (size == 0 || !utf8_valid(name, size) || memchr(name, '/', size))
		return false;
	if ((size == 1 && name[0] == '.') || (size == 2 && name[0] == '.' && name[1] == '.'))
		return false;
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return true;
}

static char *encode_path(char *to, const char *path)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;
		if (isalnum(c) || strchr("-._~/", c)) {
			*to++ = (char)c;
		} else {
			*to++ = '%';
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
		}
	}
	return to;
}

char *cdmi_url(const char *base, const char *path, enum cdmi_mode mode)
{
	size_t base_size = strlen(base);
	char *url = malloc(base_size + 3 * strlen(path) + 3), *end;

	if (!url)
		return NULL;
	while (base_size > 0 && base[base_size - 1] == '/')
		base_size--;
	memcpy(url, base, base_size);
	end = url + base_size;
	if (*path != '/')
		*end++ = '/';
	end = encode_path(end, path);
	if (mode == CDMI_CONTAINER && end[-1] != '/')
		*end++ = '/';
	*end = 0;
	return url;
}

bool cdmi_is_v2(const char *base)
{
	const char *at = strstr(base, "/cdmi/2");
	return at && (at[7] == 0 || at[7] == '.' || at[7] == '/');
}

const char *const *cdmi_headers(enum cdmi_mode mode, bool versioned)
{
#define VERSION "X-CDMI-Specification-Version: 1.1"
	static const char *const container[] = {"Accept: application/cdmi-container", VERSION, NULL};
	static const char *const container_v2[] = {"Accept: application/cdmi-container", NULL};
	static const char *const object[] = {"Accept: application/cdmi-object", VERSION, NULL};
	static const char *const object_v2[] = {"Accept: application/cdmi-object", NULL};
	static const char *const content[] = {"Accept: */*", NULL};
#undef VERSION
	if (mode == CDMI_CONTENT)
		return content;
	if (mode == CDMI_CONTAINER)
		return versioned ? container : container_v2;
	return versioned ? object : object_v2;
}

static enum cdmi_verdict verdict_of(long status)
{
	switch (status) {
	case 200: return CDMI_OK;
	case 404:
	case 410: return CDMI_GONE;
	case 403: return CDMI_DENIED;
	case 401: return CDMI_LOGIN;
	case 301:
	case 302:
	case 303:
	case 307:
	case 308: return CDMI_REFERENCE;
	case 0:
	case 408:
	case 429: return CDMI_RETRY;
	default: return status >= 500 ? CDMI_RETRY : CDMI_FAULT;
	}
}

static const char *remedy(enum cdmi_verdict verdict)
{
	switch (verdict) {
	case CDMI_GONE: return "there is nothing of that name";
	case CDMI_DENIED: return "the listener's account has no right to read it";
	case CDMI_LOGIN: return "the archive refuses the listener's account, check [scripts] user and password";
	case CDMI_REFERENCE: return "it is a reference, not a script";
	case CDMI_FAULT: return "the archive does not understand the request, check [scripts] url";
	default: return "the archive is in trouble";
	}
}

enum cdmi_verdict cdmi_judge(const struct http_reply *reply, enum cdmi_mode mode, json_t **ret, struct lsn_error *err)
{
	enum cdmi_verdict verdict = verdict_of(reply->status);
	json_error_t why;

	if (reply->status == 0)
		(void)lsn_error_set(err, reply->error.code, "%s", reply->error.message);
	else if (verdict != CDMI_OK)
		(void)lsn_error_set(err, -EIO, "HTTP status %ld: %s", reply->status, remedy(verdict));
	if (reply->status == 0 && reply->error.code == -EFBIG)
		return CDMI_BAD;
	if (verdict != CDMI_OK || mode == CDMI_CONTENT)
		return verdict;
	*ret = json_loadb(reply->body, reply->body_size, 0, &why);
	if (json_is_object(*ret))
		return CDMI_OK;
	json_decref(*ret);
	*ret = NULL;
	(void)lsn_error_set(err, -EINVAL, "the reply is no CDMI object: %s", why.text[0] ? why.text : "not a JSON object");
	return CDMI_BAD;
}

const json_t *cdmi_get(const json_t *object, const char *key)
{
	const json_t *exact = json_object_get(object, key);
	const char *name;
	json_t *value;

	if (exact)
		return exact;
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
		if (strcasecmp(name, key) == 0)
			return value;
	return NULL;
}

const json_t *cdmi_children(const json_t *container, struct lsn_error *err)
{
	const json_t *children = cdmi_get(container, "children");

	if (json_is_array(children))
		return children;
	(void)lsn_error_set(err, -EINVAL, "the reply has no list of children: is it a container?");
	return NULL;
}

const char *cdmi_topic(const json_t *object, const char **ret_problem)
{
	const json_t *metadata = cdmi_get(object, "metadata");
	const json_t *topic = json_is_object(metadata) ? json_object_get(metadata, "topic") : NULL;

	*ret_problem = NULL;
	if (json_is_array(topic) && json_array_size(topic) == 1)
		topic = json_array_get(topic, 0);
	if (!topic || json_is_null(topic))
		return NULL;
	if (json_is_string(topic) && *json_string_value(topic))
		return json_string_value(topic);
	*ret_problem = "its metadata 'topic' is not one string: give it exactly one";
	return NULL;
}

static int decode_base64(const char *text, size_t size, void **ret, size_t *ret_size)
{
	if (size % 4 != 0 || size > INT32_MAX)
		return -EINVAL;
	unsigned char *out = malloc(size / 4 * 3 + 1);
	if (!out)
		return -ENOMEM;
	int n = EVP_DecodeBlock(out, (const unsigned char *)text, (int)size);
	if (n < 0) {
		free(out);
		return -EINVAL;
	}
	for (size_t i = size; i > 0 && n > 0 && i > size - 2 && text[i - 1] == '='; i--)
		n--;
	*ret = out;
	*ret_size = (size_t)n;
	return 0;
}

int cdmi_value(const json_t *object, void **ret, size_t *ret_size, struct lsn_error *err)
{
	const json_t *value = cdmi_get(object, "value");
	const char *encoding = json_string_value(cdmi_get(object, "valuetransferencoding"));

	if (!value || json_is_null(value))
		return -ENODATA;
	if (encoding && streq(encoding, "json")) {
		char *text = json_dumps(value, JSON_ENCODE_ANY);
		if (!text)
			return -ENOMEM;
		*ret = text;
		*ret_size = strlen(text);
		return 0;
	}
	if (!json_is_string(value))
		return lsn_error_set(err, -EINVAL, "its value is not a string");
	if (encoding && streq(encoding, "base64")) {
		int r = decode_base64(json_string_value(value), json_string_length(value), ret, ret_size);
		return r == -EINVAL ? lsn_error_set(err, r, "its value is not base64 although it says so") : r;
	}
	*ret_size = json_string_length(value);
	*ret = malloc(*ret_size + 1);
	if (!*ret)
		return -ENOMEM;
	memcpy(*ret, json_string_value(value), *ret_size);
	return 0;
}
