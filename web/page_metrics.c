/* page_metrics.c - /metrics for Prometheus. */
#include "pages.h"

#include "value.h"
#include "visit.h"

#include <metrics_text.h>

static json_t *metrics_question(const struct visit *visit, size_t index)
{
	(void)visit;
	return index ? NULL : visit_command("metrics");
}

/* metrics_print - a daemon that is away is a figure, not an error of this page: Prometheus drops
 * what comes with an error. */
static void metrics_print(FILE *out, struct visit *visit)
{
	const char *error = visit->trouble[0] ? visit->trouble : visit_error(visit);
	const json_t *row;
	size_t i;

	if (visit->trouble[0]) {
		metrics_print_away(out);
		return;
	}
	if (error) {
		visit->status = 503;
		(void)fprintf(out, "# listenerd gives no figures: %s\n", error);
		return;
	}
	json_array_foreach (visit_rows(visit, 0), i, row)
		metrics_print_row(out, row);
}

const struct page page_metrics = {
	.path = "/metrics",
	.title = "Metrics",
	.questions = { .next = metrics_question },
	.print = metrics_print,
	.type = METRICS_TEXT_TYPE,
};
