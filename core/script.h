/* script.h - a script revision: immutable bytes (named by their SHA-256) with the filter and
 * settings they were registered with. Jobs hold a reference, so a job runs what matched it
 * however often the script changes meanwhile.
 *
 * Settings come from the script's metadata (directory: NAME.meta; archive: user metadata). The
 * administrator's policy says what a script may choose and caps the rest; asking for more than
 * allowed is an error the author sees in `listenerctl scripts`. */
#ifndef CORE_SCRIPT_H
#define CORE_SCRIPT_H

#include <cleanup.h>
#include <listener/executor.h>

#define SCRIPT_NAME_MAX 1024 /* bytes */
#define SCRIPT_VERSION_SIZE 65 /* 64 hex digits and NUL */
#define EXECUTOR_NAME_SIZE 33
#define SCRIPT_FILTERS_MAX 16

enum script_state {
	SCRIPT_ACTIVE,
	SCRIPT_NO_TOPIC, /* no `topic` metadata: registered by nobody's wish */
	SCRIPT_REFUSED, /* see reason */
	SCRIPT_FETCH_FAILED, /* see reason; an older revision may still serve */
	SCRIPT_STATE_MAX
};
extern const char *const script_state_names[SCRIPT_STATE_MAX];

/* What becomes of a job that is lost.
 * EXECUTOR: what the section of the executor that ran it says. */
enum on_lost { ON_LOST_REPORT, ON_LOST_RERUN, ON_LOST_EXECUTOR };

/* What is kept of what a script prints. An executor is asked to capture it unless it is discarded;
 * what of it is kept is decided when the outcome is known. */
enum output_kept { OUTPUT_DISCARD, OUTPUT_CAPTURE, OUTPUT_FAILURES, OUTPUT_KEPT_MAX };
extern const char *const output_names[OUTPUT_KEPT_MAX + 1]; /* "discard" and so on, NULL */

extern const char *const outcome_names[LSN_OUTCOME_MAX]; /* "success" to "not-started" */

struct script_settings {
	uint64_t timeout_usec;
	uint64_t memory_bytes;
	enum output_kept output;
	enum lsn_input_mode input;
	char executor[EXECUTOR_NAME_SIZE]; /* as asked for by the script; "" = the INI decides */
	enum on_lost on_lost;
	unsigned retries; /* further attempts after a failed one */
	uint64_t retry_delay_usec; /* before the second attempt; doubles each time */
	uint32_t retry_on; /* mask of 1 << enum lsn_outcome */
	bool loop_allowed; /* its runs may cause events that run it */
	uint64_t rate_period_usec; /* between two starts; 0: no matter */
};

/* What the administrator allows; from the INI. */
struct script_policy {
	struct script_settings defaults;
	uint64_t timeout_max_usec, memory_max_bytes, retry_delay_max_usec;
	unsigned retries_max;
	uint64_t output_max_bytes; /* kept of each stream, unless it is discarded */
	bool capture_allowed; /* may a script keep its output */
	bool on_lost_allowed; /* may a script set on_lost */
	bool loop_allowed; /* may a script set loop = allow */
	double rate_max; /* starts of a script per second; 0: no limit */
	size_t size_max; /* bytes of a script */
	/* executor_open - may scripts choose this executor? NULL: none. */
	bool (*executor_open)(void *data, const char *name);
	void *data;
};

struct script {
	unsigned refs;
	uint64_t revision; /* row in the journal, > 0 once stored */
	char *name; /* path below the source, "on_create.py" */
	char *filter; /* valid, normalised; the first, if it has several */
	/* the others: NUL-terminated, one behind the other, an empty one at the end; NULL: none */
	char *more_filters;
	uint64_t matched; /* the registry's: the last question that it answered */
	char version[SCRIPT_VERSION_SIZE];
	size_t size; /* bytes of content */
	struct script_settings settings;
};

struct script *script_ref(struct script *script);
struct script *script_copy(const struct script *script); /* one reference; NULL: out of memory */
struct script *script_unref(struct script *script); /* NULL is allowed; returns NULL */

/* script_filter_after - the filters in the author's order: AFTER NULL asks for the first.
 * NULL: there are no more. */
const char *script_filter_after(const struct script *script, const char *after);

/* script_filter_for - the first filter that matches TOPIC (valid), or NULL. */
const char *script_filter_for(const struct script *script, const char *topic);

/* filters_size - of such a block as more_filters, in bytes.
 * NULL: 0. */
size_t filters_size(const char *filters);

/* filters_after - the string behind FILTER in its block, or NULL. */
const char *filters_after(const char *filter);

/* script_settings_set - apply one metadata KEY = VALUE under POLICY.
 * 0; 1: not a key of ours (ignored in archives, an error in .meta files); -EINVAL / -EPERM with
 * a reason that names the limit. `topic` is not handled here. */
int script_settings_set(struct script_settings *settings, const struct script_policy *policy, const char *key,
			const char *value, struct lsn_error *err);

/* script_settings_check - are SETTINGS that were accepted once still within POLICY?
 * 0, -EPERM with the reason. */
int script_settings_check(const struct script_settings *settings, const struct script_policy *policy,
			  struct lsn_error *err);

/* script_check_content - non-empty, UTF-8 without NUL, within policy->size_max.
 * 0, -EINVAL, -EFBIG with the reason. */
int script_check_content(const void *content, size_t size, const struct script_policy *policy, struct lsn_error *err);

/* script_digest - SHA-256 as hex. */
void script_digest(const void *content, size_t size, char ret[SCRIPT_VERSION_SIZE]);

/* script_parse_retry_on - "failure timeout lost": names of outcomes, blank- or comma-separated,
 * into a mask. */
int script_parse_retry_on(const char *text, uint32_t *ret_mask, struct lsn_error *err);

DEFINE_CLEANUP(struct script *, script_unrefp, script_unref)
#define _cleanup_script_ _cleanup_(script_unrefp)

#endif
