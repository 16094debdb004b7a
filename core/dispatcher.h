/* dispatcher.h - which job starts when and where. Owns all unfinished jobs that are in memory.
 *
 * Each script has a lane: its queued jobs in event order, a bounded window of them in memory, the rest in the journal. Lanes take turns, so that a busy
 * script cannot starve a quiet one. In a lane jobs start in order, but a job waits while an earlier job of the same script for the same object is
 * unfinished. Limits: all jobs, per executor, per script.
 *
 * The loop's turn calls it in this order (see turn.c):
 *     dispatcher_add()      for each new event and script: QUEUED, marked in the journal
 *     dispatcher_place()    QUEUED -> STARTING where an executor reserves a place: marked in the journal (the intent)
 *     journal_commit()
 *     dispatcher_launch()   STARTING -> RUNNING: submit(); results that are now safe are forgotten by their executors
 */
#ifndef CORE_DISPATCHER_H
#define CORE_DISPATCHER_H

#include "config.h"

struct dispatcher;

struct dispatcher_hooks {
	void (*turn)(void *data); /* something changed: have a turn soon */
	void *data;
};

int dispatcher_new(sd_event *loop, struct journal *journal, struct executors *executors, const struct dispatch_config *config,
		   const struct dispatcher_hooks *hooks, struct dispatcher **ret);
void dispatcher_free(struct dispatcher *dispatcher);
void dispatcher_set_config(struct dispatcher *dispatcher, const struct dispatch_config *config); /* borrowed until the next */
/* dispatcher_recover - after executors are loaded: ask them about jobs handed over by the last daemon, find the lanes that wait. */
int dispatcher_recover(struct dispatcher *dispatcher, struct lsn_error *err);
/* dispatcher_add - a job for EVENT and SCRIPT. REPLAY_OF: 0 or the job it repeats. */
int dispatcher_add(struct dispatcher *dispatcher, struct event *event, struct script *script, uint64_t replay_of, uint64_t *ret_id);
void dispatcher_place(struct dispatcher *dispatcher);
void dispatcher_launch(struct dispatcher *dispatcher);
/* dispatcher_ready, dispatcher_done - the hooks of executors.h. */
void dispatcher_ready(void *dispatcher, struct executor *executor);
void dispatcher_done(void *dispatcher, struct executor *executor, struct job *job, const struct lsn_result *result);
/* dispatcher_stop - take no more starts (shutdown). dispatcher_running - handed over and not done. */
void dispatcher_stop(struct dispatcher *dispatcher);
unsigned dispatcher_running(const struct dispatcher *dispatcher);
/* dispatcher_executor_for - name of the executor a script gets; ERR says what is wrong with its choice. */
int dispatcher_executor_for(const struct dispatch_config *config, const struct script *script, char ret[EXECUTOR_NAME_SIZE]);

#endif
