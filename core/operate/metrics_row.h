/* metrics_row.h - rows of the control command `metrics`: families of samples, as monitoring systems
 * know them. A family is begun, gets its samples, and is sent. */
#ifndef CORE_METRICS_ROW_H
#define CORE_METRICS_ROW_H

#include "control.h"
#include "histogram.h"

struct metrics_row {
	struct control_reply *reply;
	json_t *object, *samples;
};

/* metrics_begin - TYPE: gauge, counter, histogram. */
struct metrics_row metrics_begin(struct control_reply *reply, const char *name, const char *type, const char *help);

/* metrics_add - a sample with the label NAME = WORD (NAME NULL: none); RET may get more labels.
 * metrics_add_histogram - likewise, in seconds. */
json_t *metrics_add(struct metrics_row *row, const char *name, const char *word, double value);
void metrics_add_histogram(struct metrics_row *row, const char *name, const char *word,
			   const struct histogram *histogram, const struct histogram_bounds *bounds);

/* metrics_label - one more label of SAMPLE. */
void metrics_label(json_t *sample, const char *name, const char *word);

/* metrics_end - sent; a family without samples is left out. */
void metrics_end(struct metrics_row *row);

/* metrics_one - a family with one sample without labels. */
void metrics_one(struct control_reply *reply, const char *name, const char *type, const char *help, double value);

#endif
