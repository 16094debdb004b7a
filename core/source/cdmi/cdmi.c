/* cdmi.c - see cdmi.h. */
#include "cdmi.h"
#include "cleanup.h"
#include "json_tolerant.h"
#include "util.h"
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

/* encode_path - all but RFC 3986's unreserved characters. The levels' slashes stay; empty levels
 * go, as the archive itself drops them. */
static char *encode_path(char *to, const char *path)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~",
			  hex[] = "0123456789ABCDEF";

	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;
		if (c == '/' && path[1] == '/')
			continue;
		if (c == '/' || strchr(plain, c)) {
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
	static const char children[] = "?children";
	size_t base_size = strlen(base);
	bool container = mode == CDMI_CONTAINER || mode == CDMI_CHILDREN;
	char *url = malloc(base_size + 3 * strlen(path) + 3 + sizeof children), *end;

	if (!url)
		return NULL;
	while (base_size > 0 && base[base_size - 1] == '/')
		base_size--;
	end = mempcpy(url, base, base_size);
	if (*path != '/')
		*end++ = '/';
	end = encode_path(end, path);
	if (container && end[-1] != '/')
		*end++ = '/';
	if (mode == CDMI_CHILDREN)
		end = mempcpy(end, children, sizeof children - 1);
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
	static const char *const container[] = { "Accept: application/cdmi-container", VERSION, NULL };
	static const char *const container_v2[] = { "Accept: application/cdmi-container", NULL };
	static const char *const object[] = { "Accept: application/cdmi-object", VERSION, NULL };
	static const char *const object_v2[] = { "Accept: application/cdmi-object", NULL };
	static const char *const content[] = { "Accept: */*", NULL };
	static const char *const content_v2[] = { "Accept: application/octet-stream", NULL };
#undef VERSION
	if (mode == CDMI_CONTENT)
		return versioned ? content : content_v2;
	if (mode == CDMI_CONTAINER || mode == CDMI_CHILDREN)
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
	case 302:
	case 303: return CDMI_REFERENCE;
	case 301:
	case 307:
	case 308: return CDMI_MOVED;
	case 0:
	case 408:
	case 429: return CDMI_RETRY;
	default: return status >= 500 ? CDMI_RETRY : CDMI_FAULT;
	}
}

static const char *status_remedy(enum cdmi_verdict verdict)
{
	switch (verdict) {
	case CDMI_GONE: return "there is nothing of that name";
	case CDMI_DENIED: return "the listener's account has no right to read it";
	case CDMI_LOGIN: return "the archive refuses the listener's account, check [scripts] user and password";
	case CDMI_REFERENCE: return "it is a reference, not a script";
	case CDMI_MOVED:
		return "it is redirected too often, to another host or to plain http, which is not followed: check "
		       "[scripts] url";
	case CDMI_FAULT: return "the archive does not understand the request, check [scripts] url";
	default: return "the archive cannot deliver it now";
	}
}

static bool is_description(const char *content_type)
{
	static const char prefix[] = "application/cdmi-";
	return strncasecmp(content_type, prefix, sizeof prefix - 1) == 0;
}

/* body_parse - what came with status 200. Whether the address is wrong cannot be known if the
 * server calls its reply CDMI. */
static enum cdmi_verdict body_parse(const struct http_reply *reply, json_t **ret, struct lsn_error *err)
{
	bool described = is_description(reply->content_type);
	const char *advice = described ? "" : "; is [scripts] url the address of the archive's CDMI service?";
	struct lsn_error why = { 0 };

	*ret = json_load_tolerant(reply->body, reply->body_size, &why);
	if (json_is_object(*ret))
		return CDMI_OK;
	if (*ret)
		(void)lsn_error_set(err, -EINVAL, "the reply is JSON, but not an object%s", advice);
	else
		(void)lsn_error_set(err, -EINVAL, "the reply is not JSON (%s)%s", why.message, advice);
	json_decref(*ret);
	*ret = NULL;
	return CDMI_BAD;
}

enum cdmi_verdict cdmi_judge(const struct http_reply *reply, enum cdmi_mode mode, json_t **ret, struct lsn_error *err)
{
	enum cdmi_verdict verdict = verdict_of(reply->status);
	char quoted[160];

	if (reply->status == 0) {
		(void)lsn_error_set(err, reply->error.code, "%s", reply->error.message);
		return reply->error.code == -EFBIG ? CDMI_BAD : CDMI_RETRY;
	}
	if (verdict == CDMI_MOVED && *reply->location)
		(void)lsn_error_set(err, -EIO, "HTTP status %ld to %s: %s", reply->status,
				    str_quote(quoted, sizeof quoted, reply->location, strlen(reply->location)),
				    status_remedy(verdict));
	else if (verdict != CDMI_OK)
		(void)lsn_error_set(err, -EIO, "HTTP status %ld: %s", reply->status, status_remedy(verdict));
	if (verdict != CDMI_OK)
		return verdict;
	if (mode != CDMI_CONTENT && ret)
		return body_parse(reply, ret, err);
	if (!is_description(reply->content_type))
		return CDMI_OK;
	(void)lsn_error_set(err, -EINVAL, "the archive sends its description instead of its content");
	return CDMI_BAD;
}

const json_t *cdmi_get(const json_t *object, const char *key)
{
	const json_t *exact = json_object_get(object, key);
	const char *name;
	json_t *value;

	if (exact)
		return exact;
	json_object_foreach ((json_t *)(uintptr_t)object, name, value)
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

static bool is_empty(const json_t *value)
{
	return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

static const char *topic_problem(const json_t *topic)
{
	if (!json_is_string(topic))
		return "its metadata \"topic\" is neither a string nor a list of strings";
	if (strlen(json_string_value(topic)) != json_string_length(topic))
		return "its metadata \"topic\" holds a NUL character";
	return NULL;
}

size_t cdmi_topics(const json_t *object, const char *ret[SCRIPT_FILTERS_MAX + 1], const char **ret_problem)
{
	const json_t *topic = json_object_get(cdmi_get(object, "metadata"), "topic");
	size_t values = json_is_array(topic) ? json_array_size(topic) : 1, count = 0;

	*ret_problem = values > SCRIPT_FILTERS_MAX ? "its metadata \"topic\" is a list of more than 16" : NULL;
	for (size_t i = 0; i < values && !*ret_problem; i++) {
		const json_t *value = json_is_array(topic) ? json_array_get(topic, i) : topic;
		if (is_empty(value)) /* a line of a form that was left empty */
			continue;
		*ret_problem = topic_problem(value);
		ret[count++] = json_string_value(value);
	}
	count = *ret_problem ? 0 : count;
	ret[count] = NULL;
	return count;
}

/* -------------------------------------------------------------------------------- inline values */

static char *without_blanks(const char *text, size_t size, size_t *ret_size)
{
	char *copy = malloc(size + 1);

	*ret_size = 0;
	for (size_t i = 0; copy && i < size; i++)
		if (!strchr(" \t\r\n", text[i]) || !text[i])
			copy[(*ret_size)++] = text[i];
	if (copy)
		copy[*ret_size] = 0;
	return copy;
}

/* Folded base64 is taken; anything else that is not exact is not, although EVP_DecodeBlock()
 * would make something of it. */
static int decode_base64(const char *text, size_t size, void **ret, size_t *ret_size)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	_cleanup_free_ char *clean = without_blanks(text, size, &size);
	_cleanup_free_ unsigned char *out = clean ? malloc(size / 4 * 3 + 4) : NULL;

	if (!out)
		return -ENOMEM;
	size_t pad = size - strspn(clean, alphabet);
	if (size % 4 != 0 || size > INT32_MAX || pad > 2 || strspn(clean + size - pad, "=") != pad)
		return -EINVAL;
	int n = EVP_DecodeBlock(out, (const unsigned char *)clean, (int)size);
	if (n < (int)pad)
		return -EINVAL;
	*ret_size = (size_t)n - pad;
	out[*ret_size] = 0;
	*ret = TAKE_PTR(out);
	return 0;
}

static int dump_json(const json_t *value, void **ret, size_t *ret_size)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY);

	if (!text)
		return -ENOMEM;
	*ret = text;
	*ret_size = strlen(text);
	return 0;
}

int cdmi_value(const json_t *object, void **ret, size_t *ret_size, struct lsn_error *err)
{
	const json_t *value = cdmi_get(object, "value");
	const char *encoding = json_string_value(cdmi_get(object, "valuetransferencoding"));

	if (!value || json_is_null(value))
		return -ENODATA;
	if (encoding && streq(encoding, "json"))
		return dump_json(value, ret, ret_size);
	if (!json_is_string(value))
		return lsn_error_set(err, -EINVAL, "its value is not a string");
	size_t size = json_string_length(value);
	if (encoding && streq(encoding, "base64")) {
		int r = decode_base64(json_string_value(value), size, ret, ret_size);
		return r == -EINVAL
			       ? lsn_error_set(err, r,
					       "its value is not base64, although its valuetransferencoding says so")
			       : r;
	}
	char *copy = malloc(size + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, json_string_value(value), size);
	copy[size] = 0;
	*ret = copy;
	*ret_size = size;
	return 0;
}

/* ---------------------------------------------------------------------------------------- marks */

static int hash_in(const char *data, size_t size, void *hash)
{
	uint64_t *h = hash;

	for (size_t i = 0; i < size; i++)
		*h = (*h ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
	return 0;
}

static uint64_t hash_member(const char *key, const json_t *value)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	(void)hash_in(key, strlen(key) + 1, &hash);
	(void)json_dump_callback(value, hash_in, &hash, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
	return hash;
}

uint64_t cdmi_metadata_hash(const json_t *object)
{
	json_t *metadata = (json_t *)(uintptr_t)cdmi_get(object, "metadata"), *value;
	const char *key;
	uint64_t sum = 0; /* a sum has no order */

	json_object_foreach (metadata, key, value)
		if (!str_startswith(key, "cdmi_"))
			sum += hash_member(key, value);
	return sum;
}

uint64_t cdmi_content_hash(const json_t *object)
{
	static const char *const keys[] = { "cdmi_mtime", "cdmi_size", "cdmi_hash", "cdmi_version" };
	const json_t *metadata = cdmi_get(object, "metadata"), *value;
	uint64_t sum = 0;

	for (size_t i = 0; i < ELEMENTSOF(keys); i++)
		if ((value = json_object_get(metadata, keys[i])))
			sum += hash_member(keys[i], value);
	return sum;
}
