/* record.c - see record.h. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

const char *const decision_names[DECISION_MAX] = {
	[DECISION_MATCHED] = "matched",   [DECISION_UNMATCHED] = "unmatched", [DECISION_SHIELDED] = "shielded",
	[DECISION_RETAINED] = "retained", [DECISION_REPEATED] = "repeated",   [DECISION_REJECTED] = "rejected",
	[DECISION_DOCTOR] = "doctor",
};

void record_add(struct record *record, const struct record_entry *entry, const char *topic, size_t topic_size)
{
	size_t kept = topic_size < RECORD_TOPIC_SIZE - 1 ? topic_size : RECORD_TOPIC_SIZE - 1;

	/* Pages that are not written yet take no memory: a quiet daemon has few of them. */
	if (!record->entries && !(record->entries = calloc(RECORD_ENTRIES, sizeof *record->entries)))
		return;
	struct record_entry *to = &record->entries[record->count++ % RECORD_ENTRIES];
	memcpy(to, entry, offsetof(struct record_entry, topic));
	memcpy(to->topic, topic, kept);
	to->topic[kept] = 0;
}

void record_each(const struct record *record, bool (*fn)(void *data, const struct record_entry *entry), void *data)
{
	uint64_t first = record->count > RECORD_ENTRIES ? record->count - RECORD_ENTRIES : 0;

	for (uint64_t i = record->count; i > first; i--)
		if (!fn(data, &record->entries[(i - 1) % RECORD_ENTRIES]))
			return;
}

const struct record_entry *record_get(const struct record *record, uint64_t number)
{
	if (number == 0 || number > record->count || record->count - number >= RECORD_ENTRIES)
		return NULL;
	return &record->entries[(number - 1) % RECORD_ENTRIES];
}

uint64_t record_reach(const struct record *record)
{
	return record->count > RECORD_ENTRIES ? record->entries[record->count % RECORD_ENTRIES].realtime_usec : 0;
}

void record_clear(struct record *record)
{
	free(record->entries);
	*record = (struct record){ 0 };
}
