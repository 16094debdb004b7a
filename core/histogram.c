/* histogram.c - see histogram.h. */
#include "histogram.h"

#define MSEC UINT64_C(1000)
#define SEC UINT64_C(1000000)
#define RECENT_FIRST_USEC UINT64_C(128) /* the bound of the first bucket */
#define RECENT_SHIFT 6 /* half of it is 1 << RECENT_SHIFT */

const struct histogram_bounds histogram_waits = {
	16,
	{ 1 * MSEC, 2500, 5 * MSEC, 10 * MSEC, 25 * MSEC, 50 * MSEC, 100 * MSEC, 250 * MSEC, 500 * MSEC, 1 * SEC,
	  2500 * MSEC, 5 * SEC, 10 * SEC, 30 * SEC, 60 * SEC, 300 * SEC },
};
const struct histogram_bounds histogram_writes = {
	13,
	{ 100, 250, 500, 1 * MSEC, 2500, 5 * MSEC, 10 * MSEC, 25 * MSEC, 50 * MSEC, 100 * MSEC, 250 * MSEC, 500 * MSEC,
	  1 * SEC },
};

void histogram_add(struct histogram *histogram, const struct histogram_bounds *bounds, uint64_t usec)
{
	unsigned i = 0;

	while (i < bounds->count && usec > bounds->usec[i])
		i++;
	histogram->counts[i]++;
	histogram->sum_usec += usec;
}

static unsigned recent_bucket(uint64_t usec)
{
	unsigned bucket = usec < RECENT_FIRST_USEC ? 0 : 63 - RECENT_SHIFT - (unsigned)__builtin_clzll(usec);

	return bucket < RECENT_BUCKETS ? bucket : RECENT_BUCKETS - 1;
}

static void recent_halve(struct recent *recent)
{
	recent->total = 0;
	for (unsigned i = 0; i < RECENT_BUCKETS; i++)
		recent->total += recent->counts[i] /= 2;
}

void recent_add(struct recent *recent, uint64_t usec)
{
	recent->counts[recent_bucket(usec)]++;
	if (++recent->total >= RECENT_MAX)
		recent_halve(recent);
}

void recent_merge(struct recent *recent, const struct recent *from)
{
	for (unsigned i = 0; i < RECENT_BUCKETS; i++)
		recent->counts[i] += from->counts[i];
	recent->total += from->total;
}

uint64_t recent_quantile(const struct recent *recent, double q)
{
	double wanted = q * recent->total, before = 0;

	if (recent->total == 0)
		return 0;
	for (unsigned i = 0; i < RECENT_BUCKETS; i++) {
		double own = recent->counts[i], upper = (double)(RECENT_FIRST_USEC << i);
		double lower = i ? upper / 2 : 0;
		if (own > 0 && before + own >= wanted)
			return (uint64_t)(lower + (upper - lower) * (wanted - before) / own);
		before += own;
	}
	return RECENT_FIRST_USEC << (RECENT_BUCKETS - 1);
}
