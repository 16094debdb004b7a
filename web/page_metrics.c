/* page_metrics.c - /metrics for Prometheus, in the words of `listenerctl metrics`. When the daemon
 * does not answer, this is a figure, too: listenerd_up is 0. */
#include "pages.h"

#include <metrics_text.h>

#include "visit.h"

static json_t *metrics_question(const struct visit *visit, size_t index)
{
	(void)visit;
	return index ? NULL : visit_command("metrics");
}

static void metrics_print(FILE *out, struct visit *visit)
{
	size_t i;
	const json_t *row;
	if (visit->trouble[0]) {
		metrics_print_away(out);
		return;
	}
	/* What is cut or refused must not pass for whole: Prometheus counts it as a failed look. */
	if (visit_error(visit) || visit->answers[0].cut) {
		visit->status = 503;
		(void)fputs("# listenerd gave no figures, or too many\n", out);
		return;
	}
	json_array_foreach (visit_rows(visit, 0), i, row) {
		metrics_print_row(out, row);
	}
}

const struct page page_metrics = {
	.path = "/metrics",
	.title = "Metrics",
	.questions = { .next = metrics_question },
	.print = metrics_print,
	.type = METRICS_TEXT_TYPE,
};
