/* plot.c - see plot.h. */
#include "plot.h"

#include <math.h>
#include <stdint.h>

#include <util.h>

#include "listing.h"
#include "value.h"

#define PLOT_WIDTH 600
#define PLOT_HEIGHT 120
#define PLOT_MARGIN 8

struct plot {
	uint64_t first_usec, last_usec; /* realtime */
	double low, high; /* log10 of run times in microseconds */
	unsigned count, failed;
};

static bool plot_has(const json_t *job) { return value_uint(job, "finished_realtime_usec") != 0; }

static double plot_log(const json_t *job)
{
	uint64_t usec = value_uint(job, "duration_usec");
	return log10(usec ? (double)usec : 1);
}

static void plot_measure(struct plot *plot, const json_t *rows)
{
	size_t i;
	const json_t *job;
	*plot = (struct plot){ .first_usec = UINT64_MAX, .low = 99 };
	json_array_foreach (rows, i, job) {
		uint64_t at_usec = value_uint(job, "finished_realtime_usec");
		if (!plot_has(job))
			continue;
		plot->count++;
		plot->failed += listing_failed(job);
		plot->first_usec = at_usec < plot->first_usec ? at_usec : plot->first_usec;
		plot->last_usec = at_usec > plot->last_usec ? at_usec : plot->last_usec;
		plot->low = fmin(plot->low, floor(plot_log(job)));
		plot->high = fmax(plot->high, ceil(plot_log(job) + 0.01));
	}
}

static unsigned plot_x(const struct plot *plot, const json_t *job)
{
	double span = (double)(plot->last_usec - plot->first_usec);
	double at = (double)(value_uint(job, "finished_realtime_usec") - plot->first_usec);
	return PLOT_MARGIN + (unsigned)(span > 0 ? at / span * (PLOT_WIDTH - 2 * PLOT_MARGIN) : 0);
}

static unsigned plot_y(const struct plot *plot, const json_t *job)
{
	double share = (plot_log(job) - plot->low) / (plot->high - plot->low);
	return PLOT_HEIGHT - PLOT_MARGIN - (unsigned)(share * (PLOT_HEIGHT - 2 * PLOT_MARGIN));
}

static void plot_dot(struct html *html, unsigned x, unsigned y)
{
	html_raw(html, "<circle class=\"ok\" r=\"3\" cx=\"");
	html_number(html, x);
	html_raw(html, "\" cy=\"");
	html_number(html, y);
	html_raw(html, "\"/>");
}

static void plot_cross(struct html *html, unsigned x, unsigned y)
{
	html_raw(html, "<path class=\"failed\" d=\"M");
	html_number(html, x);
	html_raw(html, " ");
	html_number(html, y);
	html_raw(html, "m-4 -4l8 8m0 -8l-8 8\"/>");
}

static void plot_run(struct html *html, const struct plot *plot, const json_t *job)
{
	html_raw(html, "<a href=\"/jobs/");
	html_number(html, value_uint(job, "id"));
	html_raw(html, "\" tabindex=\"-1\"><title>Job ");
	html_number(html, value_uint(job, "id"));
	html_raw(html, ", ");
	value_text(html, job, "script", VALUE_CELL_BYTES);
	html_raw(html, ": ");
	value_text(html, job, "outcome", VALUE_CELL_BYTES);
	html_raw(html, " after ");
	value_duration(html, job, "duration_usec");
	html_raw(html, "</title>");
	(listing_failed(job) ? plot_cross : plot_dot)(html, plot_x(plot, job), plot_y(plot, job));
	html_raw(html, "</a>\n");
}

/* plot_summary - the plot in words, for who cannot see it. */
static void plot_summary(struct html *html, const struct plot *plot)
{
	html_raw(html, "<figcaption>The last ");
	html_number(html, plot->count);
	html_raw(html, " runs, from ");
	value_html_time(html, plot->first_usec);
	html_raw(html, " to ");
	value_html_time(html, plot->last_usec);
	html_raw(html, ". Height: run time, logarithmic, from ");
	value_html_duration(html, (uint64_t)pow(10, plot->low));
	html_raw(html, " to ");
	value_html_duration(html, (uint64_t)pow(10, plot->high));
	html_raw(html, ". Crosses: ");
	html_number(html, plot->failed);
	html_raw(html, " failed.</figcaption></figure>\n");
}

void plot_runs(struct html *html, const json_t *rows)
{
	size_t i;
	const json_t *job;
	struct plot plot;
	plot_measure(&plot, rows);
	if (plot.count < 2)
		return;
	html_raw(html, "<figure><svg viewBox=\"0 0 ");
	html_number(html, PLOT_WIDTH);
	html_raw(html, " ");
	html_number(html, PLOT_HEIGHT);
	html_raw(html, "\" role=\"group\" aria-label=\"Run times of the last runs\">\n");
	json_array_foreach (rows, i, job) {
		if (plot_has(job))
			plot_run(html, &plot, job);
	}
	html_raw(html, "</svg>\n");
	plot_summary(html, &plot);
}
