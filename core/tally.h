/* tally.h - what scripts and executors did since the daemon's start, in memory. It is for people
 * and for monitoring; nothing depends on it, and with the daemon it is gone.
 *
 * An entry is made when a script has its first job, and stays. After TALLY_SCRIPTS_MAX scripts, and
 * without memory, all further ones share one entry. */
#ifndef CORE_TALLY_H
#define CORE_TALLY_H

#include "histogram.h"
#include "rate.h"
#include "script.h"

#include <listener/executor.h>
#include <sys/queue.h>

#define TALLY_SCRIPTS_MAX 10000 /* 6 MB */

struct tally_script {
	char *name; /* NULL: of all that have no entry of their own */
	uint64_t jobs, replayed; /* made; replayed: of them, on somebody's word */
	uint64_t runs[LSN_OUTCOME_MAX]; /* attempts that ended */
	uint64_t run_usec, cpu_usec, rss_max_bytes;
	uint64_t last_job, last_realtime_usec; /* whose attempt ended last, and when */
	enum lsn_outcome last_outcome;
	struct rate fast, slow; /* of jobs */
	struct rate cpu; /* usec, slow */
	struct recent took, delay; /* of runs; from job made to handed over, of first attempts */
};

struct tally_executor {
	STAILQ_ENTRY(tally_executor) next;
	char name[EXECUTOR_NAME_SIZE];
	uint64_t runs[LSN_OUTCOME_MAX];
	struct histogram took, delay; /* histogram_waits */
};

struct tally {
	void *by_name; /* tsearch() tree */
	struct tally_script **scripts; /* in the order of their first jobs; no entry ever goes */
	size_t count, capacity;
	struct tally_script others;
	STAILQ_HEAD(, tally_executor) executors;
};

void tally_init(struct tally *tally);
void tally_done(struct tally *tally);

/* tally_script - the entry of the script NAME, made on first use; never NULL. */
struct tally_script *tally_script(struct tally *tally, const char *name);

/* tally_find - the same, but NULL if there is none. */
const struct tally_script *tally_find(const struct tally *tally, const char *name);

/* tally_made - a job of SCRIPT. */
void tally_made(struct tally_script *script, bool replay);

/* tally_started - the first attempt of a job of SCRIPT was handed over to EXECUTOR, DELAY_USEC
 * after the job was made. */
void tally_started(struct tally *tally, struct tally_script *script, const char *executor, uint64_t delay_usec);

/* tally_ended - an attempt of JOB came to RESULT. */
void tally_ended(struct tally *tally, struct tally_script *script, const char *executor, uint64_t job,
		 const struct lsn_result *result);

/* tally_add - what FROM has done, to SUM (whose name stays). */
void tally_add(struct tally_script *sum, const struct tally_script *from);

#endif
