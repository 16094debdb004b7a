/* test_jobs.c - see test_jobs.h. */
#include "test_jobs.h"
#include "dispatcher.h"
#include "job.h"
#include "log.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_USEC (100 * USEC_PER_MSEC) /* after a refusal that passes by itself */
#define PROBLEM_USEC (5 * USEC_PER_SEC) /* a problem that ends within this time is waited for */
#define MINOR 3 /* of the ABI: since then executors are told of test jobs */

enum test_state {
	TEST_WAITING, /* for a place */
	TEST_RUNNING, /* handed over */
	TEST_ENDING, /* likewise, and told to end: by whom asked for it, or because it is overdue */
};

struct test_job {
	TAILQ_ENTRY(test_job) link;
	struct test_jobs *tests;
	enum test_state state;
	struct job *job; /* a reference; it is in no list of the dispatcher's */
	struct run *run; /* TEST_RUNNING, TEST_ENDING */
	struct content *payload, *bytes; /* references */
	char executor[EXECUTOR_NAME_SIZE];
	char place[LSN_PLACE_SIZE];
	uint64_t since_usec, waited_usec;
	uint64_t again_usec; /* TEST_WAITING: it was refused for a reason that passes by itself; 0: it was not */
	uint64_t due_usec; /* the end of its patience; RUNNING: its executor is overdue */
	uint64_t grace_usec; /* of its executor */
	uint64_t wait_usec;
	char refusal[LSN_ERROR_MESSAGE_SIZE]; /* why it has no place */
	test_job_end_fn fn; /* NULL: nobody wants to know, or has been told */
	void *data;
};

struct test_jobs {
	struct journal *journal;
	struct executors *executors;
	struct test_jobs_hooks hooks;
	TAILQ_HEAD(test_job_list, test_job) list;
	unsigned count;
	bool stopped;
};

/* ---------------------------------------------------------------------------------- life and end */

static void test_free(struct test_job *test)
{
	TAILQ_REMOVE(&test->tests->list, test, link);
	test->tests->count--;
	(void)job_unref(test->job);
	(void)content_unref(test->payload);
	(void)content_unref(test->bytes);
	free(test);
}

/* test_tell - how it ended, to whom asked. */
static void test_tell(struct test_job *test, const struct lsn_result *result, const struct lsn_error *err)
{
	const struct test_job_end end = { .result = result,
					  .err = err,
					  .job = test->job->abi.id,
					  .event = test->job->abi.event,
					  .waited_usec = test->waited_usec,
					  .executor = test->executor,
					  .place = test->place };
	test_job_end_fn fn = test->fn;

	test->fn = NULL;
	if (!fn)
		return;
	log_info("test job=%" PRIu64 " script=%s executor=%s outcome=%s%s%s", test->job->abi.id,
		 test->job->script->name, test->executor, result ? outcome_names[result->outcome] : "none",
		 err ? ": " : "", err ? err->message : "");
	fn(test->data, &end);
}

/* test_fail - it comes to nothing. */
static void test_fail(struct test_job *test, const struct lsn_error *err)
{
	test_tell(test, NULL, err);
	test_free(test);
}

int test_jobs_new(struct journal *journal, struct executors *executors, const struct test_jobs_hooks *hooks,
		  struct test_jobs **ret)
{
	struct test_jobs *tests = calloc(1, sizeof *tests);

	if (!tests)
		return -ENOMEM;
	tests->journal = journal;
	tests->executors = executors;
	tests->hooks = *hooks;
	TAILQ_INIT(&tests->list);
	*ret = tests;
	return 0;
}

void test_jobs_free(struct test_jobs *tests)
{
	if (!tests)
		return;
	while (!TAILQ_EMPTY(&tests->list))
		test_free(TAILQ_FIRST(&tests->list));
	free(tests);
}

/* ---------------------------------------------------------------------------------------- start */

/* tests_check - may there be one more, at an executor of that name? */
static int tests_check(const struct test_jobs *tests, const struct test_job_order *order, struct lsn_error *err)
{
	struct executor *executor = executors_find(tests->executors, order->executor);

	if (tests->stopped)
		return lsn_error_set(err, -ESHUTDOWN, "the daemon is stopping");
	if (order->tests_max == 0)
		return lsn_error_set(err, -EBUSY,
				     "no scripts are tested here: the administrator has set [control] "
				     "tests = 0");
	if (tests->count >= order->tests_max)
		return lsn_error_set(err, -EBUSY,
				     "%u tests run or wait already, and [control] tests allows no more; "
				     "try again later",
				     tests->count);
	if (!executor)
		return lsn_error_set(err, -ENOENT, "there is no executor %s", order->executor);
	if ((executor_module(executor)->version & 0xffff) < MINOR)
		return lsn_error_set(err, -EPROTONOSUPPORT,
				     "executor %s cannot tell a script that it is only a test: its module was built "
				     "for an older listenerd",
				     order->executor);
	return 0;
}

/* make_job - like the dispatcher's, but that all output comes back and the script is told. */
static int make_job(const struct test_jobs *tests, const struct test_job_order *order, struct job **ret)
{
	order->event->id = journal_next_event_id(tests->journal);
	int r = job_new(journal_next_job_id(tests->journal), order->event, order->script, ret);

	if (r < 0)
		return r;
	struct lsn_job *abi = &(*ret)->abi;
	abi->attempt = 1;
	abi->waiting = 1;
	abi->output = LSN_OUTPUT_CAPTURE;
	abi->output_limit_bytes = JOB_OUTPUT_LIMIT_MAX_BYTES;
	abi->payload_size = order->payload->size;
	abi->test = 1;
	return 0;
}

int test_jobs_start(struct test_jobs *tests, const struct test_job_order *order, struct test_job **ret,
		    struct lsn_error *err)
{
	int r = tests_check(tests, order, err);
	if (r < 0)
		return r;
	struct test_job *test = calloc(1, sizeof *test);
	if (!test || make_job(tests, order, &test->job) < 0) {
		free(test);
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	test->tests = tests;
	test->payload = content_ref(order->payload);
	test->bytes = content_ref(order->bytes);
	(void)snprintf(test->executor, sizeof test->executor, "%s", order->executor);
	test->since_usec = now_monotonic_usec();
	test->wait_usec = order->wait_usec;
	test->due_usec = test->since_usec + order->wait_usec;
	test->fn = order->fn;
	test->data = order->data;
	TAILQ_INSERT_TAIL(&tests->list, test, link);
	tests->count++;
	tests->hooks.turn(tests->hooks.data);
	*ret = test;
	return 0;
}

/* --------------------------------------------------------------------------------------- places */

static void test_note_refusal(struct test_job *test, const struct lsn_error *err)
{
	(void)snprintf(test->refusal, sizeof test->refusal, "%s", err->message);
}

/* test_hand_over - EXECUTOR has a place for it: 0. Or it says why not: a negative errno, ERR. */
static int test_hand_over(struct test_job *test, struct executor *executor, struct lsn_error *err)
{
	struct content *payload = content_ref(test->payload), *bytes = content_ref(test->bytes);
	struct run *run;
	int r = executor_reserve(executor, test->job, payload, bytes, &run, err);

	if (r < 0) {
		(void)content_unref(payload);
		(void)content_unref(bytes);
		return r;
	}
	memcpy(test->place, run->place, sizeof test->place);
	r = executor_submit(run, err);
	if (r >= 0)
		test->run = run;
	return r;
}

static void test_begin(struct test_job *test)
{
	uint64_t now = now_monotonic_usec();

	test->state = TEST_RUNNING;
	test->waited_usec = now - test->since_usec;
	test->grace_usec = executor_grace_usec(test->run);
	test->due_usec = test->grace_usec == LSN_NEVER
				 ? LSN_NEVER
				 : usec_add(usec_add(now, test->job->abi.timeout_usec), test->grace_usec / 2);
}

/* find_executor - NULL: there is none, or it runs nothing now; then *RET_R is a passing reason to
 * wait, or another negative errno, with ERR. Else it is 0. */
static struct executor *find_executor(const struct test_job *test, int *ret_r, struct lsn_error *err)
{
	struct executor *executor = executors_find(test->tests->executors, test->executor);

	*ret_r = 0;
	if (!executor) {
		*ret_r = lsn_error_set(err, -ENOENT, "there is no executor %s any more", test->executor);
		return NULL;
	}
	const char *problem = executor_get_health(executor)->problem;
	if (!problem[0])
		return executor;
	bool soon = now_monotonic_usec() < test->since_usec + PROBLEM_USEC;
	*ret_r = lsn_error_set(err, soon ? -EIO : -EHOSTDOWN, "executor %s runs nothing: %s", test->executor, problem);
	return NULL;
}

/* test_place - TEST may be gone afterwards. */
static void test_place(struct test_job *test)
{
	struct lsn_error err = { 0 };
	int r;
	struct executor *executor = find_executor(test, &r, &err);

	test->again_usec = 0;
	if (executor)
		r = test_hand_over(test, executor, &err);
	if (r >= 0) {
		test_begin(test);
	} else if (r == -EAGAIN || dispatcher_is_passing(r)) {
		test_note_refusal(test, &err);
		test->again_usec = r == -EAGAIN ? 0 : now_monotonic_usec() + AGAIN_USEC;
	} else {
		test_fail(test, &err);
	}
}

/* test_ring - its time is over. TEST may be gone afterwards. */
static void test_ring(struct test_job *test)
{
	struct lsn_error err;

	if (test->state == TEST_WAITING) {
		(void)lsn_error_set(&err, -ETIMEDOUT, "executor %s has had no place for %.3g s: %s", test->executor,
				    (double)test->wait_usec / 1e6, test->refusal);
		test_fail(test, &err);
	} else if (test->state == TEST_RUNNING) {
		test->state = TEST_ENDING;
		test->due_usec = usec_add(test->due_usec, test->grace_usec / 2);
		executor_cancel(test->run);
	} else { /* the run is the executor's until it reports it, perhaps never */
		test->due_usec = LSN_NEVER;
		(void)lsn_error_set(&err, -ETIMEDOUT, "executor %s has not reported the end of the test",
				    test->executor);
		test_tell(test, NULL, &err);
	}
}

void test_jobs_place(struct test_jobs *tests)
{
	struct test_job *test, *next;

	for (test = TAILQ_FIRST(&tests->list); test; test = next) {
		next = TAILQ_NEXT(test, link);
		uint64_t now = now_monotonic_usec();
		if (now >= test->due_usec)
			test_ring(test);
		else if (test->state == TEST_WAITING && now >= test->again_usec)
			test_place(test);
	}
}

uint64_t test_jobs_next_usec(const struct test_jobs *tests)
{
	const struct test_job *test;
	uint64_t next = UINT64_MAX;

	TAILQ_FOREACH (test, &tests->list, link) {
		if (test->due_usec < next)
			next = test->due_usec;
		if (test->again_usec && test->again_usec < next)
			next = test->again_usec;
	}
	return next;
}

bool test_jobs_want(struct test_jobs *tests, const struct executor *executor, const char *script_version)
{
	const struct test_job *test;

	TAILQ_FOREACH (test, &tests->list, link) {
		if (test->state != TEST_WAITING || !streq(test->executor, executor_name(executor)) ||
		    (script_version && !streq(script_version, test->job->abi.script_version)))
			continue;
		tests->hooks.turn(tests->hooks.data);
		return true;
	}
	return false;
}

/* ----------------------------------------------------------------------------------------- ends */

static struct test_job *test_of(const struct test_jobs *tests, const struct run *run)
{
	struct test_job *test;

	TAILQ_FOREACH (test, &tests->list, link)
		if (test->run == run)
			return test;
	return NULL;
}

/* test_again - the script certainly never began: another place. */
static void test_again(struct test_job *test, const struct lsn_result *result)
{
	struct lsn_error err = { 0 };
	uint64_t now = now_monotonic_usec();

	(void)lsn_error_set(&err, -EAGAIN, "the script did not begin: %s", result->message);
	test_note_refusal(test, &err);
	test->state = TEST_WAITING;
	test->due_usec = test->since_usec + test->wait_usec;
	test->again_usec = now + AGAIN_USEC;
	test->tests->hooks.turn(test->tests->hooks.data);
}

bool test_jobs_done(struct test_jobs *tests, struct run *run, const struct lsn_result *result)
{
	struct test_job *test = test_of(tests, run);

	if (!test)
		return false;
	test->run = NULL;
	if (result->outcome == LSN_OUTCOME_NOT_STARTED && test->state == TEST_RUNNING) {
		executor_forget(run);
		test_again(test, result);
		return true;
	}
	test_tell(test, result, NULL);
	executor_forget(run);
	test_free(test);
	return true;
}

void test_job_cancel(struct test_job *test)
{
	test->fn = NULL;
	if (test->state == TEST_WAITING) {
		test_free(test);
		return;
	}
	if (test->state == TEST_ENDING)
		return;
	log_info("test job=%" PRIu64 " script=%s: nobody waits for it any more, cancelling", test->job->abi.id,
		 test->job->script->name);
	test->state = TEST_ENDING;
	executor_cancel(test->run); /* may report it, and so end it, at once */
}

bool test_jobs_idle(const struct test_jobs *tests) { return tests->count == 0; }

void test_jobs_stop(struct test_jobs *tests)
{
	struct test_job *test, *next;
	struct lsn_error err;

	tests->stopped = true;
	(void)lsn_error_set(&err, -ESHUTDOWN, "the daemon is stopping");
	for (test = TAILQ_FIRST(&tests->list); test; test = next) {
		next = TAILQ_NEXT(test, link);
		test_tell(test, NULL, &err);
		test_job_cancel(test);
	}
}
