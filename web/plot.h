/* plot.h - plots as SVG inside the page, with a title and a text that says the same. */
#ifndef WEB_PLOT_H
#define WEB_PLOT_H

#include "html.h"

#include <jansson.h>

/* plot_runs - ROWS (of jobs, newest first) as dots: when they ended, and how long they ran, on a
 * logarithmic scale. A failed run is a cross; each is a link to its job.
 * Writes nothing for fewer than two. */
void plot_runs(struct html *html, const json_t *rows);

#endif
