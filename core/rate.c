/* rate.c - see rate.h. */
#include "rate.h"
#include <string.h>

/* rate_move - to the slot of now: those in between had nothing. */
static void rate_move(struct rate *rate, uint64_t slot)
{
	if (slot - rate->slot >= RATE_SLOTS)
		memset(rate->amounts, 0, sizeof rate->amounts);
	else
		for (uint64_t i = rate->slot + 1; i <= slot; i++)
			rate->amounts[i % RATE_SLOTS] = 0;
	rate->slot = slot;
}

void rate_add(struct rate *rate, uint64_t slot_usec, uint64_t now_usec, uint64_t amount)
{
	uint64_t slot = now_usec / slot_usec;

	if (slot != rate->slot)
		rate_move(rate, slot);
	uint32_t *to = &rate->amounts[slot % RATE_SLOTS];
	*to = amount > UINT32_MAX - *to ? UINT32_MAX : *to + (uint32_t)amount;
}

double rate_per_second(const struct rate *rate, uint64_t slot_usec, uint64_t now_usec)
{
	struct rate now = *rate;
	uint64_t sum = 0;

	rate_move(&now, now_usec / slot_usec);
	for (unsigned i = 0; i < RATE_SLOTS; i++)
		sum += now.amounts[i];
	return (double)sum * 1e6 / (double)((RATE_SLOTS - 1) * slot_usec + now_usec % slot_usec);
}
