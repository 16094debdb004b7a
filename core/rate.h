/* rate.h - how much there was lately: a ring of RATE_SLOTS sums, one for each stretch of time. What
 * is older is forgotten when somebody adds or asks; no timer is needed. */
#ifndef CORE_RATE_H
#define CORE_RATE_H

#include <stdint.h>

#define RATE_SLOTS 16 /* the current one, and 15 whole ones before it */
#define RATE_FAST_USEC UINT64_C(4000000) /* of a slot, so that 15 are a minute */
#define RATE_SLOW_USEC UINT64_C(60000000) /* likewise, so that 15 are a quarter of an hour */

struct rate {
	uint64_t slot; /* number of the latest */
	uint32_t amounts[RATE_SLOTS]; /* by the number of the slot modulo RATE_SLOTS */
};

/* rate_add - AMOUNT now (monotonic). SLOT_USEC: how long a slot is, the same in each call.
 * A sum that is too large for a slot stays at the largest number. */
void rate_add(struct rate *rate, uint64_t slot_usec, uint64_t now_usec, uint64_t amount);

/* rate_per_second - the mean of the last 15 slots and the one that has begun. */
double rate_per_second(const struct rate *rate, uint64_t slot_usec, uint64_t now_usec);

#endif
