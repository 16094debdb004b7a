/* commands_test.c - the control command test: an author tries a script where it would run. */
#include "commands.h"
#include "control.h"
#include "dispatcher.h"
#include "reply.h"
#include "script.h"
#include "script_row.h"
#include "test_jobs.h"
#include "test_request.h"
#include "topic.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>

struct tested { /* from the order to the answer */
	struct daemon *daemon;
	struct control_reply *reply;
	struct test_job *job;
	json_t *object;
};

/* add_verdict - what the script would be registered as. */
static void add_verdict(const struct daemon *daemon, json_t *object, const struct test_request *test)
{
	json_set_string(object, "state", script_state_names[test->state]);
	json_set_string(object, "reason", test->why.message);
	if (test->script && test->state != SCRIPT_REFUSED) {
		json_set_string(object, "name", test->script->name);
		script_add_settings(daemon, object, test->script);
	}
	if (test->state == SCRIPT_NO_TOPIC) { /* what stands there is a stand-in */
		(void)json_object_del(object, "topic");
		(void)json_object_del(object, "topics");
	}
}

static void add_run(json_t *object, const struct test_job_end *end)
{
	const struct lsn_result *result = end->result;
	const struct journal_run_row row = { .attempt = 1,
					     .executor = end->executor,
					     .place = end->place,
					     .message = result->message,
					     .outcome = (int)result->outcome,
					     .exit_status = result->exit_status,
					     .signal = result->signal,
					     .started_realtime_usec = result->started_realtime_usec,
					     .duration_usec = result->duration_usec,
					     .user_usec = result->user_usec,
					     .system_usec = result->system_usec,
					     .max_rss_bytes = result->max_rss_bytes,
					     .out = result->out,
					     .err = result->err,
					     .out_size = result->out_size,
					     .err_size = result->err_size,
					     .out_truncated = result->out_truncated,
					     .err_truncated = result->err_truncated };

	json_set_uint(object, "job", end->job);
	json_set_uint(object, "event", end->event);
	json_set_uint(object, "waited_usec", end->waited_usec);
	(void)json_object_set_new(object, "run", run_object(&row));
}

static void on_test_end(void *data, const struct test_job_end *end)
{
	struct tested *tested = data;

	if (end->result) {
		add_run(tested->object, end);
		control_end_with(tested->reply, tested->object);
	} else {
		json_decref(tested->object);
		control_fail(tested->reply, end->err->code, "%s", end->err->message);
	}
	free(tested);
}

/* on_gone - who asked has gone: nobody would see what comes of it. */
static void on_gone(void *data)
{
	struct tested *tested = data;

	test_job_cancel(tested->job);
	control_fail(tested->reply, ECANCELED, "nobody is left to read it");
	json_decref(tested->object);
	free(tested);
}

static void test_run(struct daemon *daemon, struct control_reply *reply, const struct test_request *test,
		     json_t *object)
{
	struct tested *tested = calloc(1, sizeof *tested);
	struct lsn_error err = { 0 };
	const struct test_job_order order = { .script = test->script,
					      .event = test->event,
					      .payload = test->payload,
					      .bytes = test->bytes,
					      .executor =
						      dispatcher_executor_for(&daemon->config->dispatch, test->script),
					      .wait_usec = test->wait_usec,
					      .tests_max = daemon->config->control.tests,
					      .fn = on_test_end,
					      .data = tested };
	int r = tested ? test_jobs_start(daemon->tests, &order, &tested->job, &err)
		       : lsn_error_set(&err, -ENOMEM, "out of memory");

	if (r < 0) {
		free(tested);
		json_decref(object);
		control_fail(reply, r, "%s", err.message);
		return;
	}
	tested->daemon = daemon;
	tested->reply = reply;
	tested->object = object;
	control_on_gone(reply, on_gone, tested);
}

void command_test(void *data, const json_t *request, struct control_reply *reply)
{
	struct daemon *daemon = data;
	struct test_request test;

	if (!test_request_read(daemon, request, reply, &test))
		return;
	json_t *object = json_object();
	add_verdict(daemon, object, &test);
	if (!test.event) {
		control_end_with(reply, object);
	} else if (!test.script || test.state == SCRIPT_REFUSED) {
		control_fail(reply, EPERM, "the script is refused: %s", test.why.message);
		json_decref(object);
	} else {
		json_set_string(object, "topic_tested", test.event->topic);
		json_set_bool(object, "matches",
			      test.state != SCRIPT_NO_TOPIC &&
				      script_filter_for(test.script, test.event->topic) != NULL);
		test_run(daemon, reply, &test, object);
	}
	test_request_clear(&test);
}
