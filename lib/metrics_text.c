/* metrics_text.c - see metrics_text.h. */
#include "metrics_text.h"

#define UP_NAME "listenerd_up"
#define UP_HEADER "# HELP " UP_NAME " 1 if listenerd answers.\n# TYPE " UP_NAME " gauge\n"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++)
		if (*text == '\n')
			(void)fputs("\\n", out);
		else if (*text == '\\' || *text == '"')
			(void)fprintf(out, "\\%c", *text);
		else
			(void)putc(*text, out);
}

static void print_number(FILE *out, const json_t *number)
{
	if (json_is_integer(number))
		(void)fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
	else
		(void)fprintf(out, "%.15g", json_number_value(number));
}

static void print_label(FILE *out, const char *before, const char *name, const char *value)
{
	(void)fprintf(out, "%s%s=\"", before, name);
	print_escaped(out, value);
	(void)putc('"', out);
}

/* print_labels - those of SAMPLE, and LE (a bound, or NULL) as the last. */
static void print_labels(FILE *out, const json_t *sample, const char *le)
{
	json_t *labels = json_object_get(sample, "labels");
	const char *name, *before = "{";
	json_t *value;

	json_object_foreach (labels, name, value) {
		print_label(out, before, name, json_string_value(value) ? json_string_value(value) : "");
		before = ",";
	}
	if (le) {
		print_label(out, before, "le", le);
		before = ",";
	}
	(void)fputs(*before == ',' ? "} " : " ", out);
}

static void print_line(FILE *out, const char *name, const char *suffix, const json_t *sample, const json_t *value)
{
	(void)fprintf(out, "%s%s", name, suffix);
	print_labels(out, sample, NULL);
	print_number(out, value);
	(void)putc('\n', out);
}

static void print_histogram(FILE *out, const char *name, const json_t *sample)
{
	const json_t *count = json_object_get(sample, "count");
	json_t *bucket;
	char bound[32];
	size_t i;

	json_array_foreach (json_object_get(sample, "buckets"), i, bucket) {
		(void)snprintf(bound, sizeof bound, "%.15g", json_number_value(json_array_get(bucket, 0)));
		(void)fprintf(out, "%s_bucket", name);
		print_labels(out, sample, bound);
		print_number(out, json_array_get(bucket, 1));
		(void)putc('\n', out);
	}
	(void)fprintf(out, "%s_bucket", name);
	print_labels(out, sample, "+Inf");
	print_number(out, count);
	(void)putc('\n', out);
	print_line(out, name, "_sum", sample, json_object_get(sample, "sum"));
	print_line(out, name, "_count", sample, count);
}

/* print_help - quotation marks stay as they are there. */
static void print_help(FILE *out, const char *name, const char *help)
{
	(void)fprintf(out, "# HELP %s ", name);
	for (; *help; help++)
		if (*help == '\n' || *help == '\\')
			(void)fputs(*help == '\n' ? "\\n" : "\\\\", out);
		else
			(void)putc(*help, out);
	(void)putc('\n', out);
}

void metrics_print_row(FILE *out, const json_t *row)
{
	const char *name = text_of(row, "name");
	const json_t *sample;
	size_t i;

	print_help(out, name, text_of(row, "help"));
	(void)fprintf(out, "# TYPE %s %s\n", name, text_of(row, "type"));
	json_array_foreach (json_object_get(row, "samples"), i, sample) {
		if (json_object_get(sample, "buckets"))
			print_histogram(out, name, sample);
		else
			print_line(out, name, "", sample, json_object_get(sample, "value"));
	}
}

void metrics_print_away(FILE *out) { (void)fputs(UP_HEADER UP_NAME " 0\n", out); }
