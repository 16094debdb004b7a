/* ladder.h - the questions that an event and a script meet, in their order. The first whose answer
 * is no is why a script does not run. */
#ifndef CORE_LADDER_H
#define CORE_LADDER_H

#include "wiring.h"

enum rung {
	RUNG_ARRIVED, /* has such an event come lately? Only told: it does not keep the next from running */
	RUNG_TAKEN, /* does the listener get and take such an event? */
	RUNG_KNOWN, /* does the source offer a script of that name? */
	RUNG_ACTIVE, /* is it active, or why was it refused? */
	RUNG_FILTER, /* does one of its filters match? */
	RUNG_HELD, /* does no hold keep its jobs? */
	RUNG_PLACE, /* would it start at once, or what does it wait for? */
	RUNG_RUN, /* how did its last job end? */
	RUNG_MAX
};
extern const char *const rung_names[RUNG_MAX];

struct rung_answer {
	bool asked; /* what comes after a no is not asked */
	bool ok;
	char text[640];
};

struct ladder {
	const char *script, *topic; /* borrowed */
	const struct registry_entry *entry; /* NULL: unknown; valid until the registry changes */
	bool shielded, subscribed; /* the topic is */
	const char *filter; /* the one that matches, or the first; NULL: it has none */
	bool matches;
	const char *executor; /* of the script; NULL: there is none */
	struct wait wait; /* RUNG_PLACE */
	struct rung_answer rungs[RUNG_MAX];
};

/* ladder_climb - TOPIC (valid) and SCRIPT (a name), up to RUNG_PLACE. */
void ladder_climb(const struct daemon *daemon, const char *script, const char *topic, struct ladder *ret);

/* ladder_rung - the first that says no; RUNG_MAX: none. */
enum rung ladder_rung(const struct ladder *ladder);

/* ladder_taken - RUNG_TAKEN alone, for TOPIC. */
void ladder_taken(const struct daemon *daemon, const char *topic, struct ladder *ret);

/* ladder_why - in one sentence. */
const char *ladder_why(const struct ladder *ladder);

/* ladder_array - the rungs that were asked, as in docs/control.md. */
json_t *ladder_array(const struct ladder *ladder);

#endif
