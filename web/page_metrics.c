/* page_metrics.c - /metrics for Prometheus. */
#include "pages.h"

#include "value.h"
#include "visit.h"

static json_t *metrics_question(const struct visit *visit, size_t index)
{
	(void)visit;
	return index ? NULL : visit_command("metrics");
}

static void metrics_print(FILE *out, struct visit *visit)
{
	const char *error = visit->trouble[0] ? visit->trouble : visit_error(visit);
	visit->status = 503;
	(void)fprintf(out, "# listenerd gives no figures: %s\n", error ? error : "this page cannot read them");
}

const struct page page_metrics = {
	.path = "/metrics",
	.title = "Metrics",
	.questions = { .next = metrics_question },
	.print = metrics_print,
	.type = "text/plain; version=0.0.4; charset=utf-8",
};
