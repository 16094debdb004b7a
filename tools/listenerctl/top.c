/* top.c - see top.h. */
#include "top.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

#define FRAME_LINES 4 /* of a screen: titles, total, a blank line, the cursor */

static const struct column columns[] = {
	{ "SCRIPT", "script", CELL_TEXT },
	{ "/s", "jobs_per_sec_1min", CELL_REAL },
	{ "/min", "jobs_per_min_15min", CELL_REAL },
	{ "RUN", "running", CELL_NUMBER },
	{ "WAIT", "waiting", CELL_NUMBER },
	{ "OLDEST", "oldest_waiting_usec", CELL_SPAN },
	{ "FAIL%", "failed_percent", CELL_REAL },
	{ "MEDIAN", "took_median_usec", CELL_SPAN },
	{ "95%", "took_95_usec", CELL_SPAN },
	{ "DELAY", "delay_median_usec", CELL_SPAN },
	{ "CPU s/min", "cpu_sec_per_min", CELL_REAL },
	{ "MEM", "rss_max_bytes", CELL_BYTES },
	{ "LAST", "last_outcome", CELL_TEXT },
	{ NULL, NULL, CELL_TEXT },
};

static const struct {
	const char *word, *key;
} orders[] = {
	{ "rate", "jobs_per_sec_1min" }, { "waiting", "waiting" },         { "time", "took_95_usec" },
	{ "failed", "failed_percent" },  { "delay", "delay_median_usec" }, { "cpu", "cpu_sec_per_min" },
};

static const char *order = "jobs_per_sec_1min";
static json_int_t rounds; /* 0: not said */

static int take_order(json_t *request)
{
	const char *word = json_string_value(json_object_get(request, "by"));

	for (size_t i = 0; word && i < ELEMENTSOF(orders); i++)
		if (streq(orders[i].word, word)) {
			order = orders[i].key;
			return json_object_del(request, "by");
		}
	if (!word)
		return 0;
	(void)fprintf(stderr, "listenerctl: --by takes rate, waiting, time, failed, delay or cpu, not '%s'\n", word);
	return -1;
}

int top_options(json_t *request)
{
	const json_t *count = json_object_get(request, "count");

	if (count && json_integer_value(count) < 1) {
		(void)fprintf(stderr, "listenerctl: --count takes a number from 1 on\n");
		return -1;
	}
	rounds = json_integer_value(count);
	(void)json_object_del(request, "count");
	return take_order(request);
}

/* failed_percent - of the attempts that ended, without those that somebody cancelled. */
static double failed_percent(const json_t *outcomes)
{
	json_int_t all = 0, good = json_integer_value(json_object_get(outcomes, "success"));
	const char *name;
	json_t *count;

	json_object_foreach ((json_t *)outcomes, name, count)
		if (!streq(name, "cancelled"))
			all += json_integer_value(count);
	return all > 0 ? 100.0 * (double)(all - good) / (double)all : 0;
}

static void set_times_60(json_t *row, const char *key, const char *from)
{
	(void)json_object_set_new(row, key, json_real(60 * json_real_value(json_object_get(row, from))));
}

static json_t *figures_row(const json_t *object, const char *name)
{
	json_t *row = json_copy((json_t *)object);

	if (name)
		(void)json_object_set_new(row, "script", json_string(name));
	set_times_60(row, "jobs_per_min_15min", "jobs_per_sec_15min");
	set_times_60(row, "cpu_sec_per_min", "cpu_per_sec_15min");
	(void)json_object_set_new(row, "failed_percent",
				  json_real(failed_percent(json_object_get(object, "outcomes"))));
	return row;
}

struct screen {
	json_t *rows; /* array */
	json_t *total;
};

static void add_row(void *data, const json_t *object)
{
	bool others = json_is_true(json_object_get(object, "others"));

	(void)json_array_append_new(((struct screen *)data)->rows, figures_row(object, others ? "others" : NULL));
}

static void add_total(void *data, const json_t *object)
{
	((struct screen *)data)->total = figures_row(object, "total");
}

static int compare_key(const json_t *a, const json_t *b, const char *key)
{
	double x = json_number_value(json_object_get(a, key)), y = json_number_value(json_object_get(b, key));

	return (x < y) - (x > y);
}

static int by_order(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int r = compare_key(x, y, order);

	r = r ? r : compare_key(x, y, "last_realtime_usec");
	return r ? r
		 : strcmp(json_string_value(json_object_get(x, "script")) ?: "",
			  json_string_value(json_object_get(y, "script")) ?: "");
}

/* lines_max - rows that fit on the terminal; SIZE_MAX: there is none. */
static size_t lines_max(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row <= FRAME_LINES)
		return SIZE_MAX;
	return size.ws_row - FRAME_LINES;
}

static void screen_print(const struct screen *screen)
{
	size_t count = json_array_size(screen->rows), most = lines_max();
	_cleanup_free_ const json_t **sorted = calloc(count + 1, sizeof *sorted);
	struct table *table = table_new(columns);

	if (!sorted)
		abort();
	for (size_t i = 0; i < count; i++)
		sorted[i] = json_array_get(screen->rows, i);
	qsort(sorted, count, sizeof *sorted, by_order);
	for (size_t i = 0; i < count && i < most; i++)
		table_add(table, sorted[i]);
	table_add(table, screen->total);
	table_print(table, stdout, "");
	table_free(table);
}

static enum exit_code show_once(struct client *client, const json_t *request, bool clear)
{
	struct screen screen = { .rows = json_array() };
	enum exit_code code = client_ask(client, json_copy((json_t *)request), add_row, add_total, &screen);

	if (code == EXIT_OK && clear)
		(void)printf("\033[H\033[J");
	if (code == EXIT_OK)
		screen_print(&screen);
	(void)fflush(stdout);
	json_decref(screen.rows);
	json_decref(screen.total);
	return code;
}

enum exit_code top_run(struct client *client, const json_t *request)
{
	bool terminal = isatty(STDOUT_FILENO);
	json_int_t left = rounds ? rounds : terminal ? INT64_MAX : 1;
	enum exit_code code = show_once(client, request, terminal && left > 1);

	while (code == EXIT_OK && --left > 0 && !ferror(stdout)) {
		(void)sleep(1);
		code = show_once(client, request, terminal);
	}
	return code;
}
