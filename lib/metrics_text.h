/* metrics_text.h - the rows of the control command `metrics` as Prometheus' text format. */
#ifndef LIB_METRICS_TEXT_H
#define LIB_METRICS_TEXT_H

#include <jansson.h>
#include <stdio.h>

#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* metrics_print_row - one family: its help, its type, its samples. */
void metrics_print_row(FILE *out, const json_t *row);

/* metrics_print_away - the one figure of a daemon that does not answer. */
void metrics_print_away(FILE *out);

#endif
