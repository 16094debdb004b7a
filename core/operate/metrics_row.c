/* metrics_row.c - see metrics_row.h. */
#include "metrics_row.h"
#include "reply.h"

struct metrics_row metrics_begin(struct control_reply *reply, const char *name, const char *type, const char *help)
{
	struct metrics_row row = { .reply = reply, .object = json_object(), .samples = json_array() };

	json_set_string(row.object, "name", name);
	json_set_string(row.object, "type", type);
	json_set_string(row.object, "help", help);
	return row;
}

void metrics_label(json_t *sample, const char *name, const char *word)
{
	json_set_string(json_object_get(sample, "labels"), name, word);
}

static json_t *sample_new(struct metrics_row *row, const char *name, const char *word)
{
	json_t *sample = json_object();

	(void)json_object_set_new(sample, "labels", json_object());
	if (name)
		metrics_label(sample, name, word);
	(void)json_array_append_new(row->samples, sample);
	return sample;
}

/* number_new - whole numbers stay whole. */
static json_t *number_new(double value)
{
	bool whole = value > -9e15 && value < 9e15 && (double)(int64_t)value == value;

	return whole ? json_integer((json_int_t)value) : json_real(value);
}

json_t *metrics_add(struct metrics_row *row, const char *name, const char *word, double value)
{
	json_t *sample = sample_new(row, name, word);

	(void)json_object_set_new(sample, "value", number_new(value));
	return sample;
}

void metrics_add_histogram(struct metrics_row *row, const char *name, const char *word,
			   const struct histogram *histogram, const struct histogram_bounds *bounds)
{
	json_t *sample = sample_new(row, name, word), *buckets = json_array();
	uint64_t count = 0;

	for (unsigned i = 0; i < bounds->count; i++) {
		count += histogram->counts[i];
		json_t *bucket = json_array();
		(void)json_array_append_new(bucket, number_new((double)bounds->usec[i] / 1e6));
		(void)json_array_append_new(bucket, json_integer((json_int_t)count));
		(void)json_array_append_new(buckets, bucket);
	}
	count += histogram->counts[bounds->count];
	(void)json_object_set_new(sample, "buckets", buckets);
	(void)json_object_set_new(sample, "sum", number_new((double)histogram->sum_usec / 1e6));
	json_set_uint(sample, "count", count);
}

void metrics_end(struct metrics_row *row)
{
	if (json_array_size(row->samples) == 0) {
		json_decref(row->object);
		json_decref(row->samples);
		return;
	}
	(void)json_object_set_new(row->object, "samples", row->samples);
	control_send(row->reply, row->object);
}

void metrics_one(struct control_reply *reply, const char *name, const char *type, const char *help, double value)
{
	struct metrics_row row = metrics_begin(reply, name, type, help);

	(void)metrics_add(&row, NULL, NULL, value);
	metrics_end(&row);
}
