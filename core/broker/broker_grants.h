/* broker_grants.h - what becomes of each subscription: which ones the broker grants and which it
 * refuses, and how they are asked for.
 *
 * All are asked for in one SUBSCRIBE. Some brokers (RabbitMQ) close the connection instead of
 * saying which one they refuse: then each is asked for alone, and one that ends the connection
 * twice is left out for a while, so that the others are served.
 *
 *     grants_begin()       after CONNACK: nothing is granted yet
 *     grants_next()        -> SUBSCRIBE -> SUBACK -> grants_answered(), until nothing is left
 *     grants_lost()        the connection is over; true: because of a subscription
 */
#ifndef CORE_BROKER_GRANTS_H
#define CORE_BROKER_GRANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the broker says to a subscription: UNKNOWN while it has not answered, WEAK if it delivers at
 * QoS 0 only. */
enum broker_grant {
	BROKER_GRANT_UNKNOWN,
	BROKER_GRANT_GIVEN,
	BROKER_GRANT_WEAK,
	BROKER_GRANT_REFUSED,
	BROKER_GRANT_MAX
};
extern const char *const broker_grant_names[BROKER_GRANT_MAX];

#define BROKER_REASON_SIZE 160

struct grant {
	enum broker_grant state;
	bool asked; /* SUBSCRIBE is under way */
	unsigned ends; /* connections in a row that ended when it was asked for alone */
	uint64_t again_usec; /* refused: when to ask again, monotonic */
	uint64_t wait_usec; /* and how long to wait after that */
	char reason[BROKER_REASON_SIZE];
};

struct broker_grants {
	struct grant *list; /* in the order of the configuration */
	char **filters;
	size_t count;
	bool singly;
};

/* grants_new - FILTERS (NULL-terminated) are copied.
 * 0, -ENOMEM: grants_done() all the same. */
int grants_new(struct broker_grants *grants, char *const *filters);
void grants_done(struct broker_grants *grants);
void grants_begin(struct broker_grants *grants);

/* grants_next - which filters to ask for now: at most COUNT of them to FILTERS.
 * Returns how many; 0: none, or an answer is under way. */
size_t grants_next(struct broker_grants *grants, uint64_t now_usec, char **filters);

/* grants_answered - SUBACK's codes, in the order in which grants_next() gave the filters. */
void grants_answered(struct broker_grants *grants, int count, const int *codes, uint64_t now_usec);

/* grants_lost - the broker ended the connection.
 * Returns true and a REASON (SIZE bytes) if it did so while a subscription was under way. */
bool grants_lost(struct broker_grants *grants, uint64_t now_usec, char *reason, size_t size);

/* grants_due - when something is to be asked for again, monotonic; 0: nothing is. */
uint64_t grants_due(const struct broker_grants *grants);

/* grants_describe - the first refused subscription and how many there are; "" if there is none. */
void grants_describe(const struct broker_grants *grants, char *text, size_t size);

#endif
