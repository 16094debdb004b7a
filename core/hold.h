/* hold.h - what stands between queued jobs and their places: a pause on an operator's word. A job
 * that is held stays QUEUED; what runs is not touched. docs/control.md, "holds", has the scopes.
 *
 * A hold names the scripts of its scope, an executor, or one object. It also covers what comes
 * later. */
#ifndef CORE_HOLD_H
#define CORE_HOLD_H

#include "table.h"
#include <stdbool.h>
#include <sys/queue.h>

#define HOLD_NAME_SIZE 1056 /* a script's name or a pattern; of longer objects so much is kept */
#define HOLD_REASON_SIZE 256
#define HOLD_TEXT_SIZE 512 /* of hold_tell() and hold_remedy() */
#define HOLDS_MAX 1000
#define HOLD_BY_LISTENER (-1)

/* stored as numbers: only add at the end */
enum hold_scope { HOLD_ALL, HOLD_EXECUTOR, HOLD_SCRIPT, HOLD_OBJECT, HOLD_SCOPE_MAX };
enum hold_kind { HOLD_PAUSE, HOLD_LOOP, HOLD_KIND_MAX };
extern const char *const hold_scope_names[HOLD_SCOPE_MAX];
extern const char *const hold_kind_names[HOLD_KIND_MAX];

struct hold {
	uint64_t id; /* of its row; 0: it has none */
	enum hold_scope scope;
	enum hold_kind kind;
	/* HOLD_EXECUTOR: its name; HOLD_SCRIPT: fnmatch() pattern on the script's name;
	 * HOLD_OBJECT: the topic below its operation, for people; else "" */
	char name[HOLD_NAME_SIZE];
	uint64_t object; /* HOLD_OBJECT: event_object() */
	char reason[HOLD_REASON_SIZE]; /* "": none was given */
	int64_t by_uid; /* who asked for it, or HOLD_BY_LISTENER */
	uint64_t since_realtime_usec, until_realtime_usec; /* until 0: until it is ended */
	TAILQ_ENTRY(hold) link;
	struct table_link by_object;
};
TAILQ_HEAD(hold_list, hold);

struct holds {
	struct hold_list list; /* by id */
	struct table objects; /* those of HOLD_OBJECT */
	unsigned count;
	unsigned wide; /* those of other scopes */
};

void holds_init(struct holds *holds);
void holds_done(struct holds *holds); /* frees them */

/* holds_add - HOLD (malloc()ed) is taken over. holds_remove - it is the caller's again. */
void holds_add(struct holds *holds, struct hold *hold);
void holds_remove(struct holds *holds, struct hold *hold);

/* holds_like - the one with the scope, kind and name or object of HOLD, or NULL. */
struct hold *holds_like(const struct holds *holds, const struct hold *hold);
struct hold *holds_get(const struct holds *holds, uint64_t id);

/* hold_covers - jobs of SCRIPT for EXECUTOR about OBJECT ("", 0: not known). */
bool hold_covers(const struct hold *hold, const char *script, const char *executor, uint64_t object);

/* holds_find - the first that covers such a job, or NULL.
 * Costs next to nothing while there is none. */
const struct hold *holds_find(const struct holds *holds, const char *script, const char *executor, uint64_t object);

/* holds_has_object - is there a hold of that very object? */
bool holds_has_object(const struct holds *holds, uint64_t object);

/* hold_tell - what HOLD does, and who said so, in one sentence. */
void hold_tell(const struct hold *hold, char ret[HOLD_TEXT_SIZE]);

/* hold_remedy - the command that ends it. */
void hold_remedy(const struct hold *hold, char ret[HOLD_TEXT_SIZE]);

#endif
