/* test_job.c - jobs: what executors see of them, their states, their results. */
#include "job.h"
#include "log.h"
#include "suite.h"
#include <signal.h>
#include <string.h>

static struct event *event;
static struct script *script;
static struct job *job;

static void setup(void)
{
	ck_assert_int_eq(event_new("create/resource/a", 17, "{}", 2, &event), 0);
	event->id = 5;
	script = calloc(1, sizeof *script);
	ck_assert_ptr_nonnull(script);
	script->refs = 1;
	script->name = strdup("a.py");
	script->filter = strdup("create/#");
	(void)snprintf(script->version, sizeof script->version, "%064d", 1);
	script->size = 100;
	script->settings = (struct script_settings){
		.timeout_usec = 12000000, .memory_bytes = 1 << 26, .output = OUTPUT_FAILURES, .input = LSN_INPUT_PIPE
	};
	ck_assert_int_eq(job_new(9, event, script, &job), 0);
}

static void teardown(void)
{
	job_unref(job);
	event_unref(event);
	script_unref(script);
}

/* said - of a failure with that message and that on stderr. */
static const char *said(const char *message, const void *err, size_t size, enum lsn_outcome outcome)
{
	static char text[LSN_MESSAGE_SIZE];
	struct lsn_result result = { .outcome = outcome, .err = err, .err_size = size };

	(void)snprintf(result.message, sizeof result.message, "%s", message);
	job_say_result(&result, text);
	return text;
}

START_TEST(test_job__the_last_line_says_why)
{
	static const char trace[] = "Traceback:\n  f()\nKeyError: 'nam'\n\n \n";
	char large[600];

	ck_assert_str_eq(said("", trace, sizeof trace - 1, LSN_OUTCOME_FAILURE), "KeyError: 'nam'");
	ck_assert_str_eq(said("over", trace, sizeof trace - 1, LSN_OUTCOME_MEMORY), "over");
	ck_assert_str_eq(said("", trace, sizeof trace - 1, LSN_OUTCOME_SUCCESS), "");
	ck_assert_str_eq(said("", "one line", 8, LSN_OUTCOME_FAILURE), "one line");
	ck_assert_str_eq(said("", NULL, 0, LSN_OUTCOME_FAILURE), "");
	ck_assert_str_eq(said("", "\n \r\n", 4, LSN_OUTCOME_FAILURE), "");
	ck_assert_str_eq(said("",
			      "\nb\xff"
			      "c",
			      4, LSN_OUTCOME_FAILURE),
			 "b?c");
	for (size_t i = 0; i < sizeof large; i++)
		large[i] = i % 2 ? '\xa4' : '\xc3'; /* a letter of two bytes */
	ck_assert_uint_eq(strlen(said("", large + 1, sizeof large - 1, LSN_OUTCOME_FAILURE)), 199);
	ck_assert_uint_eq(strlen(said("", large, sizeof large, LSN_OUTCOME_FAILURE)), 200);
	ck_assert_int_eq((unsigned char)said("", large, sizeof large, LSN_OUTCOME_FAILURE)[199], 0xa4);
}
END_TEST

START_TEST(test_job__new_is_queued_and_filled)
{
	ck_assert_int_eq(job->state, JOB_QUEUED);
	ck_assert_uint_eq(job->abi.version, LSN_ABI_VERSION);
	ck_assert_uint_eq(job->abi.size, sizeof(struct lsn_job));
	ck_assert_uint_eq(job->abi.id, 9);
	ck_assert_uint_eq(job->abi.event, 5);
	ck_assert_uint_eq(job->abi.attempt, 0);
	ck_assert_uint_eq(job->abi.output, LSN_OUTPUT_CAPTURE);
	ck_assert_uint_eq(job->abi.input, LSN_INPUT_PIPE);
	ck_assert_str_eq(job->abi.script, "a.py");
	ck_assert_str_eq(job->abi.script_version, script->version);
	ck_assert_str_eq(job->abi.topic, "create/resource/a");
	ck_assert_uint_eq(job->abi.topic_size, 17);
	ck_assert_int_eq(job->abi.payload_fd, -1);
	ck_assert_int_eq(job->abi.script_fd, -1);
	ck_assert_uint_eq(job->abi.payload_size, 2);
	ck_assert_uint_eq(job->abi.script_size, 100);
	ck_assert_uint_eq(job->abi.received_realtime_usec, event->received_realtime_usec);
	ck_assert_uint_eq(job->abi.timeout_usec, 12000000);
	ck_assert_uint_eq(job->abi.memory_bytes, 1 << 26);
	ck_assert_uint_eq(job->abi.output_limit_bytes, JOB_OUTPUT_LIMIT_BYTES);
	ck_assert_uint_eq(job->object, event_object(event));
	ck_assert_uint_gt(job->created_realtime_usec, 0);
}
END_TEST

START_TEST(test_job__holds_event_and_script)
{
	ck_assert_uint_eq(event->refs, 2);
	ck_assert_uint_eq(script->refs, 2);
	job_ref(job);
	ck_assert_ptr_null(job_unref(job));
	ck_assert_uint_eq(event->refs, 2);
	job = job_unref(job);
	ck_assert_uint_eq(event->refs, 1);
	ck_assert_uint_eq(script->refs, 1);
}
END_TEST

static const struct {
	enum job_state from, to;
} allowed[] = {
	{ JOB_QUEUED, JOB_STARTING },    { JOB_QUEUED, JOB_BACKOFF },      { JOB_QUEUED, JOB_FINISHED },
	{ JOB_BACKOFF, JOB_BACKOFF },    { JOB_STARTING, JOB_RUNNING },    { JOB_STARTING, JOB_QUEUED },
	{ JOB_STARTING, JOB_BACKOFF },   { JOB_STARTING, JOB_FINISHED },   { JOB_STARTING, JOB_LOST },
	{ JOB_RUNNING, JOB_QUEUED },     { JOB_RUNNING, JOB_BACKOFF },     { JOB_RUNNING, JOB_FINISHED },
	{ JOB_RUNNING, JOB_LOST },       { JOB_RECOVERING, JOB_RUNNING },  { JOB_RECOVERING, JOB_QUEUED },
	{ JOB_RECOVERING, JOB_BACKOFF }, { JOB_RECOVERING, JOB_FINISHED }, { JOB_RECOVERING, JOB_LOST },
	{ JOB_BACKOFF, JOB_QUEUED },     { JOB_BACKOFF, JOB_FINISHED },    { JOB_FINISHED, JOB_QUEUED },
	{ JOB_LOST, JOB_QUEUED },        { JOB_LOST, JOB_BACKOFF },        { JOB_LOST, JOB_FINISHED },
};
#define ALLOWED (sizeof allowed / sizeof allowed[0])

START_TEST(test_job__allowed_moves)
{
	for (size_t i = 0; i < ALLOWED; i++) {
		job->state = allowed[i].from;
		job_set_state(job, allowed[i].to);
		ck_assert_int_eq(job->state, allowed[i].to);
	}
}
END_TEST

START_TEST(test_job__forbidden_moves_abort)
{
	enum job_state from = (enum job_state)(_i / JOB_STATE_MAX), to = (enum job_state)(_i % JOB_STATE_MAX);

	for (size_t i = 0; i < ALLOWED; i++)
		if (allowed[i].from == from && allowed[i].to == to)
			(void)raise(SIGABRT); /* not this one's matter */
	(void)!freopen("/dev/null", "w", stderr);
	job->state = from;
	job_set_state(job, to);
}
END_TEST

START_TEST(test_job__result_is_a_copy)
{
	char out[] = "out", err[] = "error";
	struct lsn_result result = { .version = 1 << 16,
				     .size = sizeof result,
				     .outcome = LSN_OUTCOME_FAILURE,
				     .exit_status = 3,
				     .out = out,
				     .out_size = 3,
				     .err = err,
				     .err_size = 5 };

	memset(result.message, 'm', sizeof result.message);
	struct job_result *copy, *again;
	ck_assert_int_eq(job_result_new(&result, &copy), 0);
	memset(out, 0, sizeof out);
	memset(err, 0, sizeof err);
	ck_assert_mem_eq(copy->r.out, "out", 3);
	ck_assert_mem_eq(copy->r.err, "error", 5);
	ck_assert_int_eq(copy->r.exit_status, 3);
	ck_assert_uint_eq(strlen(copy->r.message), LSN_MESSAGE_SIZE - 1);
	result = (struct lsn_result){ .size = sizeof result, .outcome = 4711 };
	ck_assert_int_eq(job_result_new(&result, &again), 0);
	ck_assert_uint_eq(again->r.outcome, LSN_OUTCOME_ERROR);
	ck_assert_ptr_null(again->r.out);
	free(copy);
	free(again);
}
END_TEST

START_TEST(test_job__lists_know_their_length_and_jobs_their_list)
{
	struct jobs lane, other, stage;
	struct job *second;

	ck_assert_int_eq(job_new(3, event, script, &second), 0);
	jobs_init(&lane, JOBS_LANE);
	jobs_init(&other, JOBS_LANE);
	jobs_init(&stage, JOBS_STAGE);
	jobs_insert(&lane, job);
	jobs_insert(&lane, second); /* 3 before 9 */
	jobs_add(&stage, job);
	ck_assert_ptr_eq(jobs_first(&lane), second);
	ck_assert_uint_eq(lane.length, 2);
	ck_assert(job_is_in(job, &lane) && job_is_in(job, &stage) && !job_is_in(job, &other));
	jobs_take(job, JOBS_LANE);
	jobs_add(&other, job);
	ck_assert_uint_eq(lane.length, 1);
	ck_assert_uint_eq(other.length, 1);
	ck_assert_uint_eq(stage.length, 1);
	jobs_take(second, JOBS_STAGE); /* in none */
	ck_assert_uint_eq(stage.length, 1);
	job_unref(second);
}
END_TEST

START_TEST(test_job__everything_has_a_name)
{
	for (int i = 0; i < JOB_STATE_MAX; i++)
		ck_assert_ptr_nonnull(job_state_names[i]);
	for (int i = 0; i < LSN_OUTCOME_MAX; i++)
		ck_assert_ptr_nonnull(outcome_names[i]);
	ck_assert_str_eq(job_state_names[JOB_LOST], "lost");
	ck_assert_str_eq(outcome_names[LSN_OUTCOME_NOT_STARTED], "not-started");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("job");
	TCase *tc = tcase_create("job");

	log_init(LSN_LOG_ERROR);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_job__the_last_line_says_why);
	tcase_add_test(tc, test_job__new_is_queued_and_filled);
	tcase_add_test(tc, test_job__holds_event_and_script);
	tcase_add_test(tc, test_job__allowed_moves);
	tcase_add_loop_test_raise_signal(tc, test_job__forbidden_moves_abort, SIGABRT, 0,
					 JOB_STATE_MAX * JOB_STATE_MAX);
	tcase_add_test(tc, test_job__result_is_a_copy);
	tcase_add_test(tc, test_job__lists_know_their_length_and_jobs_their_list);
	tcase_add_test(tc, test_job__everything_has_a_name);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
