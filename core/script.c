/* script.c - see script.h. */
#include "script.h"
#include "topic.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <util.h>

const char *const outcome_names[LSN_OUTCOME_MAX] = {
	[LSN_OUTCOME_SUCCESS] = "success",     [LSN_OUTCOME_FAILURE] = "failure",
	[LSN_OUTCOME_SIGNAL] = "signal",       [LSN_OUTCOME_TIMEOUT] = "timeout",
	[LSN_OUTCOME_MEMORY] = "memory",       [LSN_OUTCOME_CPU] = "cpu",
	[LSN_OUTCOME_OUTPUT] = "output",       [LSN_OUTCOME_PROCESSES] = "processes",
	[LSN_OUTCOME_CANCELLED] = "cancelled", [LSN_OUTCOME_ERROR] = "error",
	[LSN_OUTCOME_LOST] = "lost",           [LSN_OUTCOME_NOT_STARTED] = "not-started",
};

const char *const output_names[OUTPUT_KEPT_MAX + 1] = {
	[OUTPUT_DISCARD] = "discard", [OUTPUT_CAPTURE] = "capture", [OUTPUT_FAILURES] = "failures"
};

#define MEMORY_MIN_BYTES (UINT64_C(1) << 20)

const char *const script_state_names[SCRIPT_STATE_MAX] = {
	[SCRIPT_ACTIVE] = "active",
	[SCRIPT_NO_TOPIC] = "no-topic",
	[SCRIPT_REFUSED] = "refused",
	[SCRIPT_FETCH_FAILED] = "fetch-failed",
};

struct script *script_ref(struct script *script)
{
	assert(script->refs > 0);
	script->refs++;
	return script;
}

static char *copy_filters(const char *filters)
{
	size_t size = filters_size(filters);
	char *copy = malloc(size);

	return copy ? memcpy(copy, filters, size) : NULL;
}

struct script *script_copy(const struct script *script)
{
	struct script *copy = calloc(1, sizeof *copy);

	if (!copy)
		return NULL;
	*copy = *script;
	copy->refs = 1;
	copy->name = strdup(script->name);
	copy->filter = strdup(script->filter);
	copy->more_filters = script->more_filters ? copy_filters(script->more_filters) : NULL;
	if (!copy->name || !copy->filter || (script->more_filters && !copy->more_filters))
		return script_unref(copy);
	return copy;
}

struct script *script_unref(struct script *script)
{
	if (!script)
		return NULL;
	assert(script->refs > 0);
	if (--script->refs > 0)
		return NULL;
	free(script->name);
	free(script->filter);
	free(script->more_filters);
	free(script);
	return NULL;
}

/* ------------------------------------------------------------------------------------- filters */

const char *filters_after(const char *filter)
{
	const char *next = filter + strlen(filter) + 1;

	return *next ? next : NULL;
}

size_t filters_size(const char *filters)
{
	const char *end = filters;

	while (end && *end)
		end += strlen(end) + 1;
	return filters ? (size_t)(end - filters) + 1 : 0;
}

const char *script_filter_after(const struct script *script, const char *after)
{
	if (!after)
		return script->filter;
	return after == script->filter ? script->more_filters : filters_after(after);
}

const char *script_filter_for(const struct script *script, const char *topic)
{
	const char *filter = NULL;

	while ((filter = script_filter_after(script, filter)))
		if (topic_matches(filter, topic))
			return filter;
	return NULL;
}

/* -------------------------------------------------------------------------------------- content */

void script_digest(const void *content, size_t size, char ret[SCRIPT_VERSION_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
	unsigned digest_size = 0;
	/* It cannot fail but for memory; then a name that no content has is better than a wrong
	 * one. */
	if (EVP_Digest(content ? content : "", size, digest, &digest_size, EVP_sha256(), NULL) != 1)
		abort();
	hex_encode(digest, 32, ret);
}

int script_check_content(const void *content, size_t size, const struct script_policy *policy, struct lsn_error *err)
{
	if (size == 0)
		return lsn_error_set(err, -EINVAL, "the script is empty");
	if (size > policy->size_max)
		return lsn_error_set(err, -EFBIG, "the script has %zu bytes: the administrator allows at most %zu",
				     size, policy->size_max);
	const char *nul = memchr(content, '\0', size);
	if (nul)
		return lsn_error_set(err, -EINVAL, "the script has a NUL byte at offset %zu: it is not text",
				     (size_t)(nul - (const char *)content));
	if (!utf8_valid(content, size))
		return lsn_error_set(err, -EINVAL, "the script is not UTF-8: save it in that encoding");
	return 0;
}

/* ------------------------------------------------------------------------------------- settings */

/* "60s", "500ms", as an author would write it. */
static const char *format_duration(uint64_t usec, char *buf, size_t size)
{
	if (usec % USEC_PER_SEC == 0)
		(void)snprintf(buf, size, "%llus", (unsigned long long)(usec / USEC_PER_SEC));
	else
		(void)snprintf(buf, size, "%llums", (unsigned long long)(usec / USEC_PER_MSEC));
	return buf;
}

static const char *format_bytes(uint64_t bytes, char *buf, size_t size)
{
	if (bytes && bytes % (UINT64_C(1) << 30) == 0)
		(void)snprintf(buf, size, "%lluG", (unsigned long long)(bytes >> 30));
	else if (bytes && bytes % (UINT64_C(1) << 20) == 0)
		(void)snprintf(buf, size, "%lluM", (unsigned long long)(bytes >> 20));
	else
		(void)snprintf(buf, size, "%llu bytes", (unsigned long long)bytes);
	return buf;
}

struct setting { /* one KEY = VALUE being applied */
	struct script_settings *settings;
	const struct script_policy *policy;
	const char *key, *value;
	struct lsn_error *err;
};

static int settings_refuse(const struct setting *s, int code, const char *why)
{
	char quoted[64];
	size_t size = strnlen(s->value, 40);
	str_quote(quoted, sizeof quoted, s->value, size);
	/* str_quote() marks its bounds; in "timeout = 10min" they only stand in the way. */
	size_t n = strlen(quoted);
	if (n >= 2 && quoted[n - 1] == quoted[0]) {
		quoted[n - 1] = '\0';
		return lsn_error_set(s->err, code, "%s = %s: %s", s->key, quoted + 1, why);
	}
	return lsn_error_set(s->err, code, "%s = %s: %s", s->key, quoted, why);
}

static int parse_limited_duration(const struct setting *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	char limit[32], why[96];
	uint64_t usec;
	struct lsn_error err = { 0 };
	int r = parse_duration(s->value, &usec, &err);
	if (r < 0)
		return lsn_error_set(s->err, -EINVAL, "%s: %s", s->key, err.message);
	if (usec < min) {
		(void)snprintf(why, sizeof why, "it must be at least %s", format_duration(min, limit, sizeof limit));
		return settings_refuse(s, -EINVAL, why);
	}
	if (usec > max) {
		(void)snprintf(why, sizeof why, "the administrator allows at most %s",
			       format_duration(max, limit, sizeof limit));
		return settings_refuse(s, -EPERM, why);
	}
	*ret = usec;
	return 0;
}

static int set_timeout(const struct setting *s)
{
	return parse_limited_duration(s, USEC_PER_MSEC, s->policy->timeout_max_usec, &s->settings->timeout_usec);
}

static int set_retry_delay(const struct setting *s)
{
	return parse_limited_duration(s, 0, s->policy->retry_delay_max_usec, &s->settings->retry_delay_usec);
}

static int set_memory(const struct setting *s)
{
	char limit[32], why[96];
	uint64_t bytes;
	struct lsn_error err = { 0 };
	int r = parse_size(s->value, &bytes, &err);
	if (r < 0)
		return lsn_error_set(s->err, -EINVAL, "%s: %s", s->key, err.message);
	if (bytes < MEMORY_MIN_BYTES)
		return settings_refuse(s, -EINVAL, "it must be at least 1M");
	if (bytes > s->policy->memory_max_bytes) {
		(void)snprintf(why, sizeof why, "the administrator allows at most %s",
			       format_bytes(s->policy->memory_max_bytes, limit, sizeof limit));
		return settings_refuse(s, -EPERM, why);
	}
	s->settings->memory_bytes = bytes;
	return 0;
}

/* may_keep - OUTPUT, which a script asks for. What it would have without asking it may have. */
static bool may_keep(const struct script_policy *policy, enum output_kept output)
{
	enum output_kept own = policy->defaults.output;

	return policy->capture_allowed || output == OUTPUT_DISCARD || output == own || own == OUTPUT_CAPTURE;
}

static int set_output(const struct setting *s)
{
	int output = OUTPUT_DISCARD;

	while (output < OUTPUT_KEPT_MAX && !streq(s->value, output_names[output]))
		output++;
	if (output == OUTPUT_KEPT_MAX)
		return settings_refuse(s, -EINVAL, "it must be discard, capture or failures");
	if (!may_keep(s->policy, (enum output_kept)output))
		return settings_refuse(s, -EPERM, "the administrator does not allow scripts to keep their output");
	s->settings->output = (enum output_kept)output;
	return 0;
}

static int set_stdin(const struct setting *s)
{
	if (streq(s->value, "pipe"))
		s->settings->input = LSN_INPUT_PIPE;
	else if (streq(s->value, "file"))
		s->settings->input = LSN_INPUT_FILE;
	else
		return settings_refuse(s, -EINVAL, "it must be pipe or file");
	return 0;
}

static bool executor_is_open(const struct script_policy *policy, const char *name)
{
	return policy->executor_open && policy->executor_open(policy->data, name);
}

static int set_executor(const struct setting *s)
{
	size_t size = strlen(s->value);
	if (size == 0 || size >= EXECUTOR_NAME_SIZE ||
	    strspn(s->value, "abcdefghijklmnopqrstuvwxyz0123456789_-") != size)
		return settings_refuse(s, -EINVAL, "it is not the name of an executor");
	if (!executor_is_open(s->policy, s->value))
		return settings_refuse(s, -EPERM,
				       "the administrator has not opened an executor of this name to scripts");
	memcpy(s->settings->executor, s->value, size + 1);
	return 0;
}

static int set_on_lost(const struct setting *s)
{
	enum on_lost on_lost;
	if (streq(s->value, "report"))
		on_lost = ON_LOST_REPORT;
	else if (streq(s->value, "rerun"))
		on_lost = ON_LOST_RERUN;
	else
		return settings_refuse(s, -EINVAL, "it must be report or rerun");
	if (!s->policy->on_lost_allowed && on_lost != s->policy->defaults.on_lost)
		return settings_refuse(s, -EPERM, "the administrator does not allow scripts to set it");
	s->settings->on_lost = on_lost;
	return 0;
}

static int set_retries(const struct setting *s)
{
	char why[96];
	uint64_t retries;
	struct lsn_error err = { 0 };
	int r = parse_uint(s->value, UINT32_MAX, &retries, &err);
	if (r < 0)
		return lsn_error_set(s->err, -EINVAL, "%s: %s", s->key, err.message);
	if (retries > s->policy->retries_max) {
		(void)snprintf(why, sizeof why, "the administrator allows at most %u", s->policy->retries_max);
		return settings_refuse(s, -EPERM, why);
	}
	s->settings->retries = (unsigned)retries;
	return 0;
}

static int set_retry_on(const struct setting *s)
{
	const uint32_t lost = UINT32_C(1) << LSN_OUTCOME_LOST;
	uint32_t mask = 0;
	struct lsn_error err = { 0 };
	int r = script_parse_retry_on(s->value, &mask, &err);
	if (r < 0)
		return lsn_error_set(s->err, r, "%s: %s", s->key, err.message);
	if ((mask & lost) && !s->policy->on_lost_allowed && !(s->policy->defaults.retry_on & lost))
		return settings_refuse(s, -EPERM, "the administrator does not allow scripts to retry after lost");
	s->settings->retry_on = mask;
	return 0;
}

static int set_loop(const struct setting *s)
{
	bool allow = streq(s->value, "allow");

	if (!allow && !streq(s->value, "hold"))
		return settings_refuse(s, -EINVAL, "it must be hold or allow");
	if (allow && !s->policy->loop_allowed)
		return settings_refuse(s, -EPERM, "the administrator does not allow scripts to cause their own events");
	s->settings->loop_allowed = allow;
	return 0;
}

/* parse_rate - "10/s", "0.5/s", "6/min", "100/h" as the time between two. */
static bool parse_rate(const char *text, uint64_t *ret_period)
{
	static const struct {
		const char *unit;
		double usec;
	} units[] = { { "/s", 1e6 }, { "/min", 60e6 }, { "/h", 3600e6 }, { "/d", 86400e6 } };
	char *end;
	double rate = strspn(text, "0123456789.") > 0 ? strtod(text, &end) : 0;

	for (size_t i = 0; rate > 0 && i < ELEMENTSOF(units); i++)
		if (streq(end, units[i].unit) && units[i].usec / rate >= 1 && units[i].usec / rate <= 86400e6 * 366) {
			*ret_period = (uint64_t)(units[i].usec / rate);
			return true;
		}
	return false;
}

static int set_rate(const struct setting *s)
{
	char why[96];
	uint64_t period;

	if (!parse_rate(s->value, &period))
		return settings_refuse(s, -EINVAL, "it must be a number and a time, such as 10/s, 6/min or 100/h");
	if (s->policy->rate_max > 0 && (double)period < (double)(uint64_t)(1e6 / s->policy->rate_max)) {
		(void)snprintf(why, sizeof why, "the administrator allows at most %g/s", s->policy->rate_max);
		return settings_refuse(s, -EPERM, why);
	}
	s->settings->rate_period_usec = period;
	return 0;
}

int script_settings_set(struct script_settings *settings, const struct script_policy *policy, const char *key,
			const char *value, struct lsn_error *err)
{
	static const struct {
		const char *key;
		int (*set)(const struct setting *s);
	} table[] = {
		{ "timeout", set_timeout },
		{ "memory", set_memory },
		{ "output", set_output },
		{ "executor", set_executor },
		{ "on_lost", set_on_lost },
		{ "retries", set_retries },
		{ "retry_delay", set_retry_delay },
		{ "retry_on", set_retry_on },
		{ "stdin", set_stdin },
		{ "loop", set_loop },
		{ "rate", set_rate },
	};
	const struct setting s = { settings, policy, key, value, err };
	for (size_t i = 0; i < ELEMENTSOF(table); i++)
		if (streq(key, table[i].key))
			return table[i].set(&s);
	return 1;
}

int script_settings_check(const struct script_settings *settings, const struct script_policy *policy,
			  struct lsn_error *err)
{
	char limit[32];
	if (settings->timeout_usec > policy->timeout_max_usec &&
	    settings->timeout_usec != policy->defaults.timeout_usec)
		return lsn_error_set(err, -EPERM, "timeout: the administrator allows at most %s now",
				     format_duration(policy->timeout_max_usec, limit, sizeof limit));
	if (settings->memory_bytes > policy->memory_max_bytes &&
	    settings->memory_bytes != policy->defaults.memory_bytes)
		return lsn_error_set(err, -EPERM, "memory: the administrator allows at most %s now",
				     format_bytes(policy->memory_max_bytes, limit, sizeof limit));
	if (settings->executor[0] && !streq(settings->executor, policy->defaults.executor) &&
	    !executor_is_open(policy, settings->executor))
		return lsn_error_set(err, -EPERM, "executor = %s: the administrator no longer opens it to scripts",
				     settings->executor);
	if (!may_keep(policy, settings->output))
		return lsn_error_set(err, -EPERM, "output = %s: the administrator no longer allows it",
				     output_names[settings->output]);
	if (settings->on_lost != policy->defaults.on_lost && !policy->on_lost_allowed)
		return lsn_error_set(err, -EPERM, "on_lost: the administrator no longer allows scripts to set it");
	if (settings->loop_allowed && !policy->loop_allowed)
		return lsn_error_set(err, -EPERM, "loop = allow: the administrator no longer allows it");
	if (settings->retries > policy->retries_max && settings->retries != policy->defaults.retries)
		return lsn_error_set(err, -EPERM, "retries: the administrator allows at most %u now",
				     policy->retries_max);
	return 0;
}

int script_parse_retry_on(const char *text, uint32_t *ret_mask, struct lsn_error *err)
{
	uint32_t mask = 0;
	for (const char *p = text + strspn(text, " \t,"); *p; p += strspn(p, " \t,")) {
		size_t size = strcspn(p, " \t,");
		unsigned outcome = 0;
		while (outcome < LSN_OUTCOME_MAX &&
		       !(strlen(outcome_names[outcome]) == size && memcmp(outcome_names[outcome], p, size) == 0))
			outcome++;
		/* After a success there is nothing to repeat; a cancelled job was ended on an
		 * operator's word; one that did not start is started anyway. */
		if (outcome == LSN_OUTCOME_MAX || outcome == LSN_OUTCOME_SUCCESS || outcome == LSN_OUTCOME_CANCELLED ||
		    outcome == LSN_OUTCOME_NOT_STARTED) {
			char quoted[48];
			return lsn_error_set(err, -EINVAL,
					     "%s is not an outcome that can be retried; use failure, signal, timeout, "
					     "memory, cpu, output, processes, "
					     "error or lost",
					     str_quote(quoted, sizeof quoted, p, size));
		}
		mask |= UINT32_C(1) << outcome;
		p += size;
	}
	*ret_mask = mask;
	return 0;
}
