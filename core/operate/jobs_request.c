/* jobs_request.c - see jobs_request.h. */
#include "jobs_request.h"
#include "control.h"
#include "job.h"
#include "journal.h"
#include "reply.h"
#include "script.h"
#include "topic.h"
#include <errno.h>
#include <string.h>

bool jobs_read_query(struct control_reply *reply, const json_t *request, struct journal_query *query)
{
	struct lsn_error err = { 0 };
	uint64_t limit = JOBS_LIMIT_DEFAULT;

	*query = (struct journal_query){ .state = -1, .outcome = -1 };
	if (!reply_get_string(reply, request, "script", &query->script) ||
	    !reply_get_string(reply, request, "topic", &query->topic) ||
	    !reply_get_word(reply, request, "state", job_state_names, JOB_STATE_MAX, &query->state) ||
	    !reply_get_word(reply, request, "outcome", outcome_names, LSN_OUTCOME_MAX, &query->outcome) ||
	    !reply_get_bool(reply, request, "failed", &query->failed) ||
	    !reply_get_bool(reply, request, "latest", &query->latest) ||
	    !reply_get_uint(reply, request, "since_realtime_usec", 0, INT64_MAX, &query->since_realtime_usec) ||
	    !reply_get_uint(reply, request, "until_realtime_usec", 0, INT64_MAX, &query->until_realtime_usec) ||
	    !reply_get_uint(reply, request, "before", 0, INT64_MAX, &query->before_id) ||
	    !reply_get_uint(reply, request, "limit", 1, JOBS_LIMIT_MAX, &limit))
		return false;
	if (query->topic && topic_check_filter(query->topic, strlen(query->topic), &err) < 0) {
		control_fail(reply, EINVAL, "topic: %s", err.message);
		return false;
	}
	query->limit = (unsigned)limit;
	return true;
}

size_t jobs_read_ids(struct control_reply *reply, const json_t *request, uint64_t ret[JOBS_LIMIT_MAX])
{
	const json_t *list = json_object_get(request, "jobs"), *value;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > JOBS_LIMIT_MAX) {
		control_fail(reply, EINVAL, "jobs must be a list of 1 to %d job ids", JOBS_LIMIT_MAX);
		return 0;
	}
	json_array_foreach (list, i, value) {
		if (!json_is_integer(value) || json_integer_value(value) <= 0) {
			control_fail(reply, EINVAL, "jobs must be a list of job ids: whole numbers above 0");
			return 0;
		}
		ret[i] = (uint64_t)json_integer_value(value);
	}
	return json_array_size(list);
}

json_t *jobs_verdict(uint64_t job, int r, const struct lsn_error *err)
{
	json_t *object = json_object();

	json_set_uint(object, "job", job);
	json_set_bool(object, "ok", r >= 0);
	if (r < 0)
		json_set_string(object, "message", err->message);
	return object;
}
