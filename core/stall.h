/* stall.h - the stall meter: how long each turn of the loop took, and what took it.
 *
 * stall_loop() runs the loop instead of sd_event_loop() and reads the clock once a turn.
 * Whoever is called by the loop names itself first:
 *
 *     stall_source("broker");
 *
 * A part of a turn that is timed anyway is noted with stall_part(): if it took most of the turn,
 * it is named as well. The journal's commit is counted apart: a disk may take its time, nothing
 * else may.
 *
 * One loop, one thread: the meter is the process's, as the log is. */
#ifndef CORE_STALL_H
#define CORE_STALL_H

#include <stdint.h>
#include <systemd/sd-event.h>

#define STALL_CAUSE_SIZE 96
#define STALL_LIMIT_USEC UINT64_C(50000) /* a turn may take so long */
/* a commit that takes longer means a disk in trouble */
#define STALL_COMMIT_LIMIT_USEC UINT64_C(1000000)

struct stall_figures { /* of the last hour, the current minute included */
	uint64_t turn_usec; /* the longest turn, without commits */
	char turn_cause[STALL_CAUSE_SIZE]; /* "control: jobs"; "" if there was none */
	uint64_t turn_realtime_usec; /* when it ended */
	uint64_t commit_usec; /* the longest commit */
	uint64_t commit_realtime_usec;
	uint64_t over_limit; /* turns above STALL_LIMIT_USEC */
};

/* stall_loop - run LOOP until it is asked to exit.
 * Its exit code, or a negative errno. */
int stall_loop(sd_event *loop);

/* stall_source - the source that is being served: WHAT (borrowed until the turn ends), and a
 * NAME of that kind (borrowed for the call, cut after 47 bytes; NULL: none). */
void stall_source(const char *what, const char *name);

/* stall_part - of the current turn USEC went to WHAT and its NAME (NULL: none), both borrowed for
 * the call. */
void stall_part(const char *what, const char *name, uint64_t usec);

/* stall_commit - of the current turn USEC went to a commit of the journal. */
void stall_commit(uint64_t usec);

void stall_get_figures(struct stall_figures *ret);

#endif
