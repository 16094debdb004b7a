/* record.h - what became of the last publications: a ring in memory, for people who ask whether
 * an event has arrived. Nothing depends on it; with the daemon it is gone. */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_ENTRIES 4096 /* 1.2 MB, made with the first */
#define RECORD_TOPIC_SIZE 256 /* of longer topics so much is kept, the NUL included */

enum decision {
	DECISION_MATCHED, /* at least one job */
	DECISION_UNMATCHED, /* no filter matches */
	DECISION_SHIELDED, /* about the scripts collection */
	DECISION_RETAINED, /* state, not an event */
	DECISION_REPEATED, /* sent again, and known */
	DECISION_REJECTED, /* cannot be an event */
	DECISION_DOCTOR, /* published by doctor, to see whether it comes */
	DECISION_MAX
};
extern const char *const decision_names[DECISION_MAX];

struct record_entry {
	uint64_t realtime_usec;
	uint64_t event; /* its id; 0: it is not in the journal */
	size_t payload_size;
	unsigned jobs;
	enum decision decision;
	int qos;
	char topic[RECORD_TOPIC_SIZE];
};

struct record {
	struct record_entry *entries; /* NULL: none yet */
	uint64_t count; /* that were ever added */
};

/* record_add - TOPIC (TOPIC_SIZE bytes) and what else ENTRY says but the topic.
 * Without memory it is left out. */
void record_add(struct record *record, const struct record_entry *entry, const char *topic, size_t topic_size);

/* record_each - newest first, until FN returns false. */
void record_each(const struct record *record, bool (*fn)(void *data, const struct record_entry *entry), void *data);

/* record_get - the entry that was added as number NUMBER, from 1 on; NULL: it is gone, or not there
 * yet. */
const struct record_entry *record_get(const struct record *record, uint64_t number);

/* record_reach - the record is whole from then on; 0: from the start of the daemon on. */
uint64_t record_reach(const struct record *record);
void record_clear(struct record *record);

#endif
