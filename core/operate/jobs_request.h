/* jobs_request.h - what requests about jobs have in common: filters, lists of ids, verdicts. */
#ifndef CORE_JOBS_REQUEST_H
#define CORE_JOBS_REQUEST_H

#include "journal.h"
#include "reply.h"

#define JOBS_LIMIT_DEFAULT 50
#define JOBS_LIMIT_MAX 1000

/* the keys that jobs_read_query() reads, for reply_known_keys() */
#define JOBS_QUERY_KEYS                                                                                                \
	"script", "topic", "state", "outcome", "failed", "latest", "since_realtime_usec", "until_realtime_usec",       \
		"before", "limit"

/* jobs_read_query - the filters of REQUEST; its strings stay the request's.
 * False: the reply has failed. */
bool jobs_read_query(struct control_reply *reply, const json_t *request, struct journal_query *ret);

/* jobs_read_ids - the list `jobs` of REQUEST; returns how many.
 * 0: the reply has failed. */
size_t jobs_read_ids(struct control_reply *reply, const json_t *request, uint64_t ret[JOBS_LIMIT_MAX]);

/* jobs_verdict - a row: what became of JOB.
 * R negative: nothing, and ERR says why. */
json_t *jobs_verdict(uint64_t job, int r, const struct lsn_error *err);

#endif
