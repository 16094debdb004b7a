/* test_commands.c - the control commands, asked through a real control socket. */
#include "asking.h"
#include "dispatcher_private.h"
#include "executors_private.h"
#include "suite.h"

#define GOOD "[executor good]\nplaces = 4\ndelay_ms = 1\n[dispatcher]\nreplay_rate = 1000\n"

static void setup(void)
{
	serving_start(
		GOOD
		"[executor gone]\nmodule = good\ndelay_ms = 600000\n[route gone]\nscript = b.py\nexecutor = gone\n");
	serving_shell("mkdir %s/scripts", serving_folder);
	serving_write("scripts/a.py", "pass\n");
	serving_write("scripts/a.py.meta", "topic = create/#\n");
	serving_write("scripts/b.py", "pass\n");
	serving_write("scripts/b.py.meta", "topic = update/#\n");
	open_control();
}

static void teardown(void)
{
	close_control();
	serving_stop();
}

/* three - one job that succeeded (1), one that is lost (2), one that was cancelled (3). */
static void three(void)
{
	serving_until(registry_count(serving.registry, SCRIPT_ACTIVE) == 2);
	serving_publish("create/resource/x", 0);
	serving_until(serving_ended() == 1);
	serving_publish("update/resource/y", 0);
	serving_until(serving_figure("gone", "submits") == 1);
	dispatcher_stop(serving.dispatcher);
	serving_publish("create/resource/z", 0);
	serving_until(serving_jobs() == 3);
	says("{\"command\":\"cancel\",\"jobs\":[3]}", "{\"job\":3,\"ok\":true}");
	serving_until(serving_ended() == 2);
	ck_assert(executor_detach(executors_find(serving.executors, "gone")));
	close_control();
	serving_close();
	serving_configure(GOOD);
	serving_open();
	open_control();
	serving_until(serving_ended() == 3);
}

START_TEST(test_commands__status_and_what_there_is)
{
	three();
	says("{\"command\":\"status\"}", "\"state\":\"");
	ck_assert_ptr_nonnull(strstr(answer, "\"identity\":\"unit\""));
	ck_assert_uint_eq(rows("{\"command\":\"scripts\"}"), 2);
	says("{\"command\":\"scripts\",\"name\":\"a.py\"}", "\"topic\":\"create/#\"");
	ck_assert_uint_eq(rows("{\"command\":\"scripts\",\"name\":\"c.py\"}"), 0);
	says("{\"command\":\"executors\"}", "\"good\"");
	says("{\"command\":\"rescan\"}", "{\"end\":true}");
}
END_TEST

START_TEST(test_commands__jobs_by_what_they_are)
{
	three();
	ck_assert_uint_eq(rows("{\"command\":\"jobs\"}"), 3);
	ck_assert_uint_eq(rows("{\"command\":\"jobs\",\"limit\":2}"), 2);
	ck_assert_uint_eq(rows("{\"command\":\"jobs\",\"state\":\"lost\"}"), 1);
	ck_assert_uint_eq(rows("{\"command\":\"jobs\",\"outcome\":\"cancelled\"}"), 1);
	ck_assert_uint_eq(rows("{\"command\":\"jobs\",\"topic\":\"+/resource/x\"}"), 1);
	says("{\"command\":\"jobs\",\"topic\":\"a/#/b\"}", "\"code\":22");
	says("{\"command\":\"jobs\",\"state\":\"dead\"}", "none of its words");
	says("{\"command\":\"jobs\",\"limit\":-1}", "whole number");
	says("{\"command\":\"jobs\",\"colour\":1}", "unknown key 'colour'");
	says("{\"command\":\"show\",\"job\":1,\"payload\":true}", "\"payload\":\"{}\"");
	says("{\"command\":\"show\",\"job\":4711}", "\"code\":2,");
}
END_TEST

START_TEST(test_commands__retry_takes_what_did_not_succeed)
{
	three();
	says("{\"command\":\"retry\",\"jobs\":[1,2,3,4711]}", "{\"job\":2,\"ok\":true}");
	ck_assert_ptr_nonnull(strstr(answer, "{\"job\":3,\"ok\":true}"));
	ck_assert_ptr_nonnull(strstr(answer, "{\"job\":1,\"ok\":false,\"message\":\"job 1 succeeded"));
	ck_assert_ptr_nonnull(strstr(answer, "{\"job\":4711,\"ok\":false"));
	serving_until(serving_job(2).outcome == LSN_OUTCOME_SUCCESS && serving_job(3).outcome == LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_job(2).attempt, 2);
	ck_assert_uint_eq(serving_job(1).attempt, 1);
	says("{\"command\":\"retry\",\"jobs\":[]}", "1 to 1000");
	says("{\"command\":\"retry\",\"jobs\":[0]}", "above 0");
	says("{\"command\":\"cancel\",\"jobs\":[1]}", "\"ok\":false");
}
END_TEST

START_TEST(test_commands__replay_makes_new_jobs)
{
	three();
	says("{\"command\":\"replay\",\"jobs\":[1]}", "{\"job\":1,\"ok\":true,\"new_job\":");
	serving_until(serving_ended() == 4);
	says("{\"command\":\"jobs\",\"limit\":1}", "\"replay_of\":1");
	says("{\"command\":\"replay\"}", "at least one filter");
	says("{\"command\":\"replay\",\"topic\":\"create/#\",\"current\":true,\"limit\":2}", "\"ok\":true");
	serving_until(serving_ended() == 6);
}
END_TEST

/* failing - job 1 has failed twice, and its replay, job 2, has failed twice, too. */
static void failing(void)
{
	close_control();
	serving_close();
	serving_configure("[executor good]\nfails = 4\ndelay_ms = 1\n[limits]\nretries = 1\nretry_delay = 1ms\n"
			  "[dispatcher]\nreplay_rate = 1000000\n");
	serving_open();
	open_control();
	serving_until(registry_count(serving.registry, SCRIPT_ACTIVE) == 2);
	serving_publish("create/resource/x", 0);
	serving_until(serving_ended() == 1);
	says("{\"command\":\"replay\",\"jobs\":[1]}", "\"new_job\":2,");
	serving_until(serving_ended() == 2);
	ck_assert_uint_eq(serving_job(2).attempt, 2);
	ck_assert_int_eq(serving_job(2).outcome, LSN_OUTCOME_FAILURE);
}

START_TEST(test_commands__replay_runs_an_event_once)
{
	failing();
	says("{\"command\":\"jobs\",\"failed\":true,\"latest\":true}", "\"id\":2,");
	ck_assert_ptr_null(strstr(answer, "\"id\":1,"));
	says("{\"command\":\"replay\",\"failed\":true,\"dry_run\":true}",
	     "\"jobs\":2,\"replayed\":1,\"left_out\":1,\"refused\":0,\"dry_run\":true");
	ck_assert_uint_eq(serving_jobs(), 2);
	says("{\"command\":\"replay\",\"failed\":true,\"current\":true}", "\"replayed\":1,\"left_out\":1");
	ck_assert_ptr_nonnull(strstr(answer, "{\"job\":1,\"ok\":true,\"superseded_by\":2,"));
	serving_until(serving_ended() == 3);
	ck_assert_int_eq(serving_job(3).outcome, LSN_OUTCOME_SUCCESS);
	ck_assert_uint_eq(serving_job(3).replay_of, 2);
	says("{\"command\":\"replay\",\"failed\":true}", "\"replayed\":0,\"left_out\":2");
	says("{\"command\":\"replay\",\"failed\":true,\"again\":true}", "\"replayed\":2,\"left_out\":0");
	serving_until(serving_ended() == 5);
}
END_TEST

/* The new job waits for its commit when the second request looks for it. */
START_TEST(test_commands__replay_by_two_at_once_runs_an_event_once)
{
	static const char requests[] = "{\"command\":\"replay\",\"failed\":true}\n";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	failing();
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", serving.config->control.socket);
	ck_assert_int_eq(connect(other, (struct sockaddr *)&address, sizeof address), 0);
	ck_assert_int_eq(write(other, requests, sizeof requests - 1), sizeof requests - 1);
	says("{\"command\":\"replay\",\"failed\":true}", "\"end\":true");
	serving_until(serving_ended() == 3);
	says("{\"command\":\"replay\",\"failed\":true}", "\"replayed\":0,\"left_out\":2");
	ck_assert_uint_eq(serving_jobs(), 3);
	ck_assert_int_eq(close(other), 0);
}
END_TEST

/* Nobody knows whether it ran. */
START_TEST(test_commands__replay_of_what_failed_leaves_out_what_is_lost)
{
	three();
	says("{\"command\":\"jobs\",\"failed\":true}", "\"id\":2,");
	says("{\"command\":\"replay\",\"failed\":true,\"again\":true}",
	     "\"job\":2,\"ok\":true,\"message\":\"it is lost");
	ck_assert_uint_eq(serving_jobs(), 3);
	says("{\"command\":\"replay\",\"state\":\"lost\"}", "\"new_job\":");
}
END_TEST

/* Two who ask at the same time get no more between them than one. */
START_TEST(test_commands__replay_is_paced_for_all_together)
{
	three();
	serving.config->dispatch.replay_rate_max = 20;
	static const char requests[] = "{\"command\":\"replay\",\"jobs\":[1,1,1,1,1]}\n"
				       "{\"command\":\"replay\",\"jobs\":[1,1,1,1,1]}\n";
	uint64_t begun = now_monotonic_usec();
	ck_assert_int_eq(write(peer, requests, sizeof requests - 1), sizeof requests - 1);
	serving_until(serving_ended() == 13);
	ck_assert_uint_ge(now_monotonic_usec() - begun, 9 * USEC_PER_SEC / 20);
}
END_TEST

START_TEST(test_commands__replay_ends_with_the_daemon)
{
	three();
	serving.config->dispatch.replay_rate_max = 0.001;
	static const char request[] = "{\"command\":\"replay\",\"jobs\":[1,2,3]}\n";
	ck_assert_int_eq(write(peer, request, sizeof request - 1), (ssize_t)sizeof request - 1);
	serving_until(serving_jobs() == 4);
	/* The rest is cut off by the end of the test: nothing may leak then. */
}
END_TEST

START_TEST(test_commands__why_a_script_does_not_run)
{
	char text[300];

	three();
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"create/resource/x\"}", "\"runs\":true");
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"update/resource/x\"}", "does not match");
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"create/resource/scripts/x\"}",
	     "scripts collection");
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"other/x\"}", "does not subscribe");
	says("{\"command\":\"explain\",\"script\":\"c.py\",\"topic\":\"create/x\"}", "no script of that name");
	says("{\"command\":\"explain\",\"script\":\"b.py\"}", "needs a topic");
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"create/+\"}", "\"code\":22");
	(void)snprintf(text, sizeof text, "{\"command\":\"rejected\",\"limit\":5}");
	ck_assert_uint_eq(rows(text), 0);
	serving_publish("create/\xff", 0);
	serving_until(rows(text) == 1);
}
END_TEST

/* serve_with - from now on with CONFIG, and the two scripts. */
static void serve_with(const char *config)
{
	close_control();
	serving_close();
	serving_configure(config);
	serving_open();
	open_control();
	serving_until(registry_count(serving.registry, SCRIPT_ACTIVE) == 2);
}

/* An executor that names a problem: whoever is asked says it, and nobody says that all is well. */
START_TEST(test_commands__a_problem_is_told)
{
	says("{\"command\":\"conditions\"}", "{\"end\":true}");
	ck_assert_ptr_null(strstr(answer, "\"id\""));
	serve_with("[executor good]\nmodule = moody\nplaces = 0\nsick = 1\nsince = 1700000000\n");
	says("{\"command\":\"conditions\"}", "\"level\":\"warning\",\"since_realtime_usec\":1700000000000000");
	serving_publish("create/resource/x", 0);
	serving_until(serving_jobs() == 1);
	says("{\"command\":\"jobs\"}", "\"waits_for\":\"executor-down\",\"waits_text\":"
				       "\"executor good runs nothing: in a bad mood\"");
	says("{\"command\":\"conditions\"}", "\"level\":\"failure\"");
	says("{\"command\":\"status\"}", "\"conditions\":[{\"id\":\"executor-down\",\"subject\":\"good\"");
	says("{\"command\":\"show\",\"job\":1}", "\"waits_for\":\"executor-down\"");
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"create/resource/y\"}",
	     "\"runs\":false,\"rung\":\"place\"");
	says("{\"command\":\"explain\",\"topic\":\"create/resource/y\"}", "\"verdict\":\"waits\"");
	ck_assert_ptr_nonnull(strstr(answer, "in a bad mood"));
}
END_TEST

/* What a module says may be no UTF-8. */
START_TEST(test_commands__explain_after_a_raw_message)
{
	serve_with("[executor good]\nmodule = moody\nrefuse_reserve = 1\ncode = 22\nraw = 1\n");
	serving_publish("create/resource/x", 0);
	serving_until(serving_ended() == 1);
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"create/resource/y\"}",
	     "its last job is 1: error");
}
END_TEST

/* age_lanes - what is refused has been so for a minute more. age_executor - it has done nothing for
 * that long. */
static void age_lanes(void)
{
	struct lane *lane;

	TAILQ_FOREACH (lane, &serving.dispatcher->lanes, all)
		lane->stalled_since -= 61 * USEC_PER_SEC;
}

static void age_executor(void) { executors_find(serving.executors, "good")->worked_usec -= 61 * USEC_PER_SEC; }

static void says_not(const char *request, const char *words)
{
	ck_assert_msg(strstr(ask(request), words) == NULL, "%s\n%s is in\n%s", request, words, answer);
}

static void refused_for_long(const char *words)
{
	const struct lane *lane;

	serving_publish("create/resource/x", 0);
	serving_until((lane = TAILQ_FIRST(&serving.dispatcher->lanes)) && lane->stalled_since > 0);
	says_not("{\"command\":\"conditions\"}", "\"id\"");
	age_lanes();
	says_not("{\"command\":\"conditions\"}", "\"id\""); /* it has worked since */
	age_executor();
	says("{\"command\":\"conditions\"}", "\"id\":\"stuck\",\"subject\":\"good\",\"level\":\"failure\"");
	ck_assert_msg(strstr(answer, words) != NULL, "%s", answer);
}

START_TEST(test_commands__stuck_is_who_has_no_place_for_long)
{
	serve_with("[executor good]\nmodule = moody\nplaces = 0\n");
	refused_for_long("runs none and names no problem: it has no place now");
}
END_TEST

/* A shortage passes; one that does not is told, whether it is met at the place or at the start. */
START_TEST(test_commands__stuck_is_who_is_short_for_long)
{
	serve_with(_i ? "[executor good]\nmodule = moody\nrefuse = 100000\n"
		      : "[executor good]\nmodule = moody\nrefuse_reserve = 100000\n");
	refused_for_long("names no problem: in a bad mood");
	uint64_t asked = serving_figure("good", "asked");
	serving_until(serving_figure("good", "asked") > asked); /* still, when it was tried again */
	says("{\"command\":\"conditions\"}", "\"id\":\"stuck\"");
}
END_TEST

/* How old the job is says nothing about for how long it has been refused. */
START_TEST(test_commands__stuck_is_not_who_gets_an_old_job)
{
	serve_with("[executor good]\nmodule = moody\nplaces = 0\n");
	serving_publish("create/resource/x", 0);
	serving_until(serving_figure("good", "asked") > 0);
	age_executor();
	jobs_first(&TAILQ_FIRST(&serving.dispatcher->lanes)->queue)->created_realtime_usec -= 3600 * USEC_PER_SEC;
	says_not("{\"command\":\"conditions\"}", "\"id\"");
}
END_TEST

/* A job that was taken ends what came before. */
START_TEST(test_commands__stuck_ends_with_a_job_that_is_taken)
{
	serve_with("[executor good]\nmodule = moody\nrefuse_reserve = 1\ndelay_ms = 600000\n");
	serving_publish("create/resource/x", 0);
	serving_until(serving_figure("good", "asked") == 1);
	ck_assert_uint_gt(TAILQ_FIRST(&serving.dispatcher->lanes)->stalled_since, 0);
	age_executor();
	serving_until(serving_figure("good", "submits") == 1);
	ck_assert_uint_eq(TAILQ_FIRST(&serving.dispatcher->lanes)->stalled_since, 0);
	ck_assert_uint_lt(now_monotonic_usec() - executors_find(serving.executors, "good")->worked_usec,
			  30 * USEC_PER_SEC);
}
END_TEST

/* Its only place has a job that was given up. */
START_TEST(test_commands__stuck_is_who_swallows_jobs)
{
	serve_with("[executor good]\nmodule = moody\nplaces = 1\ndelay_ms = 600000\ngrace_ms = 100\n"
		   "[limits]\ntimeout = 10ms\n");
	serving_publish("create/resource/x", 0);
	serving_publish("create/resource/y", 0);
	serving_until(serving_jobs() == 2 && serving_job(1).state == JOB_LOST);
	age_lanes();
	age_executor();
	ck_assert_uint_eq(executor_running(executors_find(serving.executors, "good")), 1);
	says("{\"command\":\"conditions\"}", "\"id\":\"stuck\"");
}
END_TEST

/* The source says more than that it is away. */
START_TEST(test_commands__a_source_that_stops_nothing_is_not_away)
{
	struct source_figures figures;

	close_control();
	serving_close();
	serving_configure(GOOD "[scripts]\nscripts_max = 1\n");
	serving_open();
	open_control();
	serving_until((serving.source->ops->figures(serving.source, &figures), figures.scans > 0));
	says("{\"command\":\"conditions\"}", "\"id\":\"source-warning\"");
	ck_assert_ptr_nonnull(strstr(answer, "\"text\":\"there are 2 files in "));
	serving_shell("mv %1$s/scripts %1$s/elsewhere", serving_folder);
	says("{\"command\":\"rescan\"}", "{\"end\":true}");
	serving_until((serving.source->ops->figures(serving.source, &figures), streq(figures.state, "away")));
	says("{\"command\":\"conditions\"}", "\"id\":\"source-away\"");
	serving_shell("mv %1$s/elsewhere %1$s/scripts", serving_folder);
}
END_TEST

START_TEST(test_commands__explain_of_all_scripts)
{
	serving_until(registry_count(serving.registry, SCRIPT_ACTIVE) == 2);
	says("{\"command\":\"explain\",\"topic\":\"create/resource/x\"}",
	     "{\"script\":\"a.py\",\"verdict\":\"runs\",\"rung\":\"\"");
	ck_assert_ptr_nonnull(strstr(answer, "\"runs\":1,\"waits\":0,\"nearly\":0,\"others\":1"));
	says("{\"command\":\"explain\",\"topic\":\"Create/resource/x\"}", "\"verdict\":\"nearly\"");
	ck_assert_ptr_nonnull(strstr(answer, "upper and lower case"));
	says("{\"command\":\"explain\",\"topic\":\"create/+\"}", "\"code\":22");
	says("{\"command\":\"explain\",\"script\":\"a.py\",\"topic\":\"/create/x\"}", "did you mean create/x?");
}
END_TEST

START_TEST(test_commands__reload)
{
	says("{\"command\":\"reload\"}", "\"changed\":true");
	serving_write("conf.d/extra.ini", "[executor good]\nplaces = 4\nnonsense = 1\n");
	says("{\"command\":\"reload\"}", "extra.ini:3: unknown key 'nonsense'");
	serving_write("conf.d/extra.ini", "[listener]\nidentity = another\n[executor good]\n");
	says("{\"command\":\"reload\"}", "restart it");
	says("{\"command\":\"conditions\"}", "\"id\":\"reload-failed\"");
}
END_TEST

/* held - b.py is paused, and jobs 1 and 2 of it wait; a.py serves on as job 3. */
static void held(void)
{
	serving_until(registry_count(serving.registry, SCRIPT_ACTIVE) == 2);
	says("{\"command\":\"pause\",\"scripts\":[\"b.py\"],\"reason\":\"moving\"}", "\"ok\":true");
	serving_publish("update/resource/x", 0);
	serving_publish("update/resource/y", 0);
	serving_publish("create/resource/z", 0);
	serving_until(serving_ended() == 1);
	ck_assert_uint_eq(serving_jobs(), 3);
}

START_TEST(test_commands__a_pause_is_named_everywhere)
{
	held();
	says("{\"command\":\"holds\"}", "\"name\":\"b.py\"");
	ck_assert_ptr_nonnull(strstr(answer, "\"waiting\":2"));
	says("{\"command\":\"jobs\",\"script\":\"b.py\"}", "\"waits_for\":\"held\"");
	says("{\"command\":\"show\",\"job\":1}", "b.py is paused by ");
	says("{\"command\":\"status\"}", "\"held\":2");
	ck_assert_ptr_nonnull(strstr(answer, "\"oldest_waiting_usec\":0"));
	says("{\"command\":\"conditions\"}", "\"id\":\"held\"");
	ck_assert_ptr_nonnull(strstr(answer, "2 jobs wait"));
	ck_assert_ptr_nonnull(strstr(answer, "listenerctl resume b.py"));
	says("{\"command\":\"explain\",\"script\":\"b.py\",\"topic\":\"update/resource/x\"}", "\"runs\":false");
	ck_assert_ptr_nonnull(strstr(answer, "\"rung\":\"held\""));
	says("{\"command\":\"resume\",\"scripts\":[\"b.py\"]}", "\"ok\":true");
	serving_until(serving_figure("gone", "submits") == 2);
	ck_assert_uint_eq(rows("{\"command\":\"holds\"}"), 0);
}
END_TEST

START_TEST(test_commands__release_shows_and_discards)
{
	held();
	ck_assert_uint_eq(rows("{\"command\":\"release\",\"scripts\":[\"b.py\"]}"), 2);
	says("{\"command\":\"pause\",\"object\":\"update/resource/x\"}", "\"name\":\"resource/x\"");
	says("{\"command\":\"release\",\"scripts\":[\"b.py\"],\"discard\":true}", "{\"job\":2,\"ok\":true}");
	ck_assert_ptr_nonnull(strstr(answer, "\"jobs\":1,"));
	serving_until(serving_ended() == 2);
	ck_assert_int_eq(serving_job(2).outcome, LSN_OUTCOME_CANCELLED);
	says("{\"command\":\"jobs\",\"state\":\"queued\"}", "the object resource/x is paused");
	says("{\"command\":\"release\",\"object\":\"resource/x\",\"run\":true}", "\"jobs\":1");
	serving_until(serving_figure("gone", "submits") == 1);
}
END_TEST

START_TEST(test_commands__what_cannot_be_held_is_refused)
{
	says("{\"command\":\"pause\"}", "name either scripts");
	says("{\"command\":\"pause\",\"all\":true,\"executor\":\"good\"}", "name either scripts");
	says("{\"command\":\"pause\",\"scripts\":[]}", "1 to 100 names");
	says("{\"command\":\"pause\",\"scripts\":[7]}", "\"ok\":false");
	says("{\"command\":\"pause\",\"scripts\":\"a.py\"}", "1 to 100 names");
	says("{\"command\":\"pause\",\"executor\":\"goood\"}", "there is no executor 'goood'");
	says("{\"command\":\"pause\",\"object\":\"a/#\"}", "\"code\":22");
	says("{\"command\":\"pause\",\"all\":true,\"for_usec\":0}", "whole number");
	says("{\"command\":\"resume\",\"scripts\":[\"a.py\"]}", "there is no such pause");
	says("{\"command\":\"pause\",\"scripts\":[\"a*\"]}", "\"ok\":true");
	says("{\"command\":\"resume\",\"scripts\":[\"a.py\"]}", "listenerctl resume a*");
	says("{\"command\":\"release\",\"all\":true,\"run\":true}", "there is no such hold");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("commands");
	TCase *tc = tcase_create("commands");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_commands__status_and_what_there_is);
	tcase_add_test(tc, test_commands__jobs_by_what_they_are);
	tcase_add_test(tc, test_commands__retry_takes_what_did_not_succeed);
	tcase_add_test(tc, test_commands__replay_makes_new_jobs);
	tcase_add_test(tc, test_commands__replay_runs_an_event_once);
	tcase_add_test(tc, test_commands__replay_by_two_at_once_runs_an_event_once);
	tcase_add_test(tc, test_commands__replay_of_what_failed_leaves_out_what_is_lost);
	tcase_add_test(tc, test_commands__replay_is_paced_for_all_together);
	tcase_add_test(tc, test_commands__replay_ends_with_the_daemon);
	tcase_add_test(tc, test_commands__why_a_script_does_not_run);
	tcase_add_test(tc, test_commands__explain_after_a_raw_message);
	tcase_add_test(tc, test_commands__a_problem_is_told);
	tcase_add_test(tc, test_commands__explain_of_all_scripts);
	tcase_add_test(tc, test_commands__reload);
	tcase_add_test(tc, test_commands__stuck_is_who_has_no_place_for_long);
	tcase_add_loop_test(tc, test_commands__stuck_is_who_is_short_for_long, 0, 2);
	tcase_add_test(tc, test_commands__stuck_is_not_who_gets_an_old_job);
	tcase_add_test(tc, test_commands__stuck_ends_with_a_job_that_is_taken);
	tcase_add_test(tc, test_commands__stuck_is_who_swallows_jobs);
	tcase_add_test(tc, test_commands__a_source_that_stops_nothing_is_not_away);
	tcase_add_test(tc, test_commands__a_pause_is_named_everywhere);
	tcase_add_test(tc, test_commands__release_shows_and_discards);
	tcase_add_test(tc, test_commands__what_cannot_be_held_is_refused);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
