/* histogram.h - how long things took, in two kinds. A histogram counts for ever, with limits that a
 * monitoring system knows. `Recent` is small, forgets slowly, and is asked for quantiles. Neither
 * allocates. */
#ifndef CORE_HISTOGRAM_H
#define CORE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS_MAX 16

struct histogram_bounds {
	unsigned count;
	uint64_t usec[HISTOGRAM_BOUNDS_MAX]; /* ascending: bucket i has what took at most so long */
};
extern const struct histogram_bounds histogram_waits; /* 1 ms to 300 s */
extern const struct histogram_bounds histogram_writes; /* 0.1 ms to 1 s */

struct histogram {
	uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1]; /* the last: longer than all bounds */
	uint64_t sum_usec;
};

/* histogram_add - BOUNDS: the same in each call. */
void histogram_add(struct histogram *histogram, const struct histogram_bounds *bounds, uint64_t usec);

#define RECENT_BUCKETS 24 /* each twice as wide as the one before: up to 128 us, 256 us, to 18 min */
#define RECENT_MAX 1000 /* then all counts are halved */

struct recent {
	uint32_t counts[RECENT_BUCKETS];
	uint32_t total;
};
void recent_add(struct recent *recent, uint64_t usec);

/* recent_quantile - Q of the latest 500 to 1,000 took at most so long, 0 < Q <= 1; interpolated
 * within its bucket. 0: there were none. */
uint64_t recent_quantile(const struct recent *recent, double q);

/* recent_merge - what FROM has, too; nothing is forgotten. */
void recent_merge(struct recent *recent, const struct recent *from);

#endif
