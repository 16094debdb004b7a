/* script_row.c - see script_row.h. */
#include "script_row.h"
#include "dispatcher.h"
#include "reply.h"

static json_t *filters_array(const struct script *script)
{
	json_t *array = json_array();
	const char *filter = NULL;

	while ((filter = script_filter_after(script, filter)))
		(void)json_array_append_new(array, json_string(filter));
	return array;
}

void script_add_settings(const struct daemon *daemon, json_t *object, const struct script *script)
{
	const struct script_settings *settings = &script->settings;

	json_set_string(object, "topic", script->filter);
	(void)json_object_set_new(object, "topics", filters_array(script));
	json_set_string(object, "version", script->version);
	json_set_uint(object, "size_bytes", script->size);
	json_set_string(object, "executor", dispatcher_executor_for(&daemon->config->dispatch, script));
	json_set_uint(object, "timeout_usec", settings->timeout_usec);
	json_set_uint(object, "memory_bytes", settings->memory_bytes);
	json_set_string(object, "output",
			output_names[settings->output < OUTPUT_KEPT_MAX ? settings->output : OUTPUT_DISCARD]);
	json_set_string(object, "stdin", settings->input == LSN_INPUT_PIPE ? "pipe" : "file");
	json_set_uint(object, "retries", settings->retries);
	json_set_uint(object, "rate_period_usec", settings->rate_period_usec);
	json_set_string(object, "loop", settings->loop_allowed ? "allow" : "hold");
	static const char *const on_lost[] = {
		[ON_LOST_REPORT] = "report", [ON_LOST_RERUN] = "rerun", [ON_LOST_EXECUTOR] = "executor"
	};
	json_set_string(object, "on_lost",
			on_lost[settings->on_lost <= ON_LOST_EXECUTOR ? settings->on_lost : ON_LOST_REPORT]);
}
