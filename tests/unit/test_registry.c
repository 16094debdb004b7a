/* The registry on a real journal. */
#include <errno.h>
#include <util.h>

#include "log.h"
#include "registry.h"
#include "suite.h"

static char folder[64], database[96];
static struct journal *journal;
static struct registry *registry;
static struct lsn_error err;
static bool gpu_open;

static bool executor_open(void *data, const char *name)
{
	(void)data;
	return gpu_open && strcmp(name, "gpu") == 0;
}

static struct script_policy policy;

static void open_all(void)
{
	const struct journal_config config = {
		.path = database,
		.size_max_bytes = UINT64_C(1) << 30,
		.jobs_max = 1000,
		.keep_usec = USEC_PER_SEC,
		.keep_jobs = 10,
	};
	err = (struct lsn_error){ 0 };
	ck_assert_msg(journal_open(&config, &journal, &err) == 0, "%s", err.message);
	ck_assert_int_eq(registry_new(journal, &policy, &registry), 0);
	ck_assert_msg(registry_load(registry, &err) == 0, "%s", err.message);
}

static void close_all(void)
{
	registry_free(registry);
	journal_close(journal);
}

static void reopen(void)
{
	close_all();
	open_all();
}

static void setup(void)
{
	policy = (struct script_policy){
		.defaults = { .timeout_usec = 12 * USEC_PER_SEC, .memory_bytes = 128 << 20 },
		.timeout_max_usec = 60 * USEC_PER_SEC,
		.memory_max_bytes = 256 << 20,
		.size_max = 100000,
		.executor_open = executor_open,
	};
	log_init(LSN_LOG_ERROR);
	gpu_open = true;
	strcpy(folder, "/tmp/test_registry.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(database, sizeof database, "%s/journal.db", folder);
	open_all();
}

static void teardown(void)
{
	char command[160];
	close_all();
	(void)snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static struct registry_offer offer_of(const char *name, const char *topic, const char *content)
{
	return (struct registry_offer){ .name = name,
					.topic = topic,
					.content = content,
					.size = content ? strlen(content) : 0,
					.source_key = "k1" };
}

static void give(const struct registry_offer *offer)
{
	registry_begin(registry);
	ck_assert_msg(registry_offer(registry, offer, &err) == 0, "%s", err.message);
	ck_assert_msg(registry_end_all(registry, false, &err) == 0, "%s", err.message);
}

static void give_simple(const char *name, const char *topic, const char *content)
{
	struct registry_offer offer = offer_of(name, topic, content);
	give(&offer);
}

static const struct registry_entry *find(const char *name)
{
	const struct registry_entry *entry = registry_find(registry, name);
	ck_assert_msg(entry != NULL, "%s", name);
	return entry;
}

static int copy_start(void *text, const void *bytes, size_t size)
{
	memcpy(text, bytes, size < 8 ? size : 8);
	return (int)size;
}

static void collect(void *data, struct script *script) { strcat(strcat(data, script->name), " "); }

static const char *match(const char *topic)
{
	static char names[1000];
	names[0] = '\0';
	(void)registry_match(registry, topic, strlen(topic), collect, names);
	return names;
}

static void give_topics(const char *name, const char *topic, const char *const *more)
{
	struct registry_offer offer = offer_of(name, topic, "print(1)");
	offer.more_topics = more;
	give(&offer);
}

static void matches_each(const char *what)
{
	ck_assert_msg(streq(match("create/resource/x"), "a.py "), "%s", what);
	ck_assert_msg(streq(match("update/resource/x"), "a.py "), "%s", what);
	ck_assert_msg(streq(match("delete/resource/x"), ""), "%s", what);
}

/* However many of its filters an event matches, the script gets it once. */
START_TEST(test_registry__several_topics)
{
	static const char *const more[] = { "/update//resource/#", "+/resource/x", "create/#", NULL },
				 *const changed[] = { "delete/#", NULL };
	const char *filter = NULL, *const all[] = { "create/#", "update/resource/#", "+/resource/x", "create/#" };

	give_topics("a.py", "create/#", more);
	for (size_t i = 0; i < ELEMENTSOF(all); i++) {
		filter = script_filter_after(find("a.py")->script, filter);
		ck_assert_msg(filter && streq(filter, all[i]), "%zu: %s", i, filter ? filter : "none");
	}
	ck_assert_ptr_null(script_filter_after(find("a.py")->script, filter));
	ck_assert_str_eq(match("create/resource/x"), "a.py ");
	ck_assert_str_eq(match("delete/resource/x"), "a.py ");
	ck_assert_str_eq(match("delete/resource/y"), "");
	ck_assert_str_eq(script_filter_for(find("a.py")->script, "update/resource/x"), "update/resource/#");
	uint64_t revision = find("a.py")->script->revision;
	give_topics("a.py", "create/#", more);
	close_all();
	open_all();
	ck_assert_uint_eq(find("a.py")->script->revision, revision);
	ck_assert_str_eq(match("update/resource/y"), "a.py ");
	give_topics("a.py", "create/#", changed);
	ck_assert_uint_ne(find("a.py")->script->revision, revision);
	ck_assert_str_eq(match("update/resource/y"), "");
	ck_assert_str_eq(match("delete/resource/y"), "a.py ");
	give_simple("a.py", "update/#", "print(1)");
	ck_assert_str_eq(match("create/resource/x"), "");
	ck_assert_str_eq(match("delete/resource/x"), "");
}
END_TEST

START_TEST(test_registry__a_bad_topic_of_several_is_named)
{
	static const char *const more[] = { "update/#", "a/#/b", NULL }, *const good[] = { "update/resource/#", NULL };
	const char *many[SCRIPT_FILTERS_MAX + 1] = { NULL };

	give_topics("a.py", "create/#", good);
	give_topics("a.py", "create/#", more);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
	ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "topic 3 of 3: topic = \"a/#/b\""));
	ck_assert_str_eq(match("update/resource/x"), "");
	for (size_t i = 0; i < SCRIPT_FILTERS_MAX - 1; i++)
		many[i] = "update/resource/#";
	give_topics("a.py", "create/#", many);
	matches_each("the most topics that are allowed");
	many[SCRIPT_FILTERS_MAX - 1] = "x";
	give_topics("a.py", "create/#", many);
	ck_assert_str_eq(find("a.py")->reason, "it has 17 topics: at most 16 are allowed");
	ck_assert_str_eq(match("create/resource/x"), "");
}
END_TEST

START_TEST(test_registry__a_script_comes_changes_and_goes)
{
	give_simple("a.py", "/create//+/p/#", "print(1)");
	const struct registry_entry *entry = find("a.py");
	ck_assert_int_eq(entry->state, SCRIPT_ACTIVE);
	ck_assert_str_eq(entry->reason, "");
	ck_assert_str_eq(entry->source_key, "k1");
	ck_assert_str_eq(entry->script->filter, "create/+/p/#");
	ck_assert_uint_gt(entry->script->revision, 0);
	ck_assert_uint_eq(entry->script->size, 8);
	ck_assert_str_eq(match("create/resource/p/x"), "a.py ");

	_cleanup_script_ struct script *old = script_ref((struct script *)entry->script);
	give_simple("a.py", "update/#", "print(2)");
	ck_assert_str_eq(match("create/resource/p/x"), "");
	ck_assert_str_eq(match("update/user/u"), "a.py ");
	/* Who holds the old revision still has its bytes. */
	char text[16] = "";
	ck_assert_int_eq(journal_read_script(journal, old->version, copy_start, text, &err), 8);
	ck_assert_str_eq(text, "print(1)");

	registry_begin(registry);
	registry_withdraw(registry, "a.py");
	registry_withdraw(registry, "never.py");
	ck_assert_str_eq(match("update/user/u"), "a.py ");
	ck_assert_int_eq(registry_end_all(registry, false, &err), 0);
	ck_assert_str_eq(match("update/user/u"), "");
	ck_assert_ptr_null(registry_find(registry, "a.py"));
	reopen();
	ck_assert_ptr_null(registry_find(registry, "a.py"));
}
END_TEST

START_TEST(test_registry__an_update_in_progress_is_not_seen)
{
	give_simple("a.py", "#", "1");
	struct registry_offer offer = offer_of("b.py", "#", "2"), change = offer_of("a.py", "update/#", "1");
	registry_begin(registry);
	ck_assert_int_eq(registry_offer(registry, &offer, &err), 0);
	ck_assert_int_eq(registry_offer(registry, &change, &err), 0);
	ck_assert_str_eq(match("create/x"), "a.py ");
	ck_assert_ptr_null(registry_find(registry, "b.py"));
	ck_assert_str_eq(find("a.py")->script->filter, "#");
	/* Begun anew: what was gathered is forgotten. */
	registry_begin(registry);
	ck_assert_int_eq(registry_end_all(registry, false, &err), 0);
	ck_assert_ptr_null(registry_find(registry, "b.py"));
	ck_assert_str_eq(match("create/x"), "a.py ");
}
END_TEST

START_TEST(test_registry__the_same_offer_changes_nothing)
{
	give_simple("a.py", "#", "1");
	const struct script *script = find("a.py")->script;
	uint64_t generation = registry_generation(registry), updated = find("a.py")->updated_realtime_usec;
	give_simple("a.py", "#", "1");
	struct registry_offer touched = offer_of("a.py", "#", "1");
	touched.source_key = "k2";
	give(&touched);
	ck_assert_ptr_eq(find("a.py")->script, script);
	ck_assert_str_eq(find("a.py")->source_key, "k2");
	ck_assert_uint_eq(registry_generation(registry), generation);
	ck_assert_uint_eq(find("a.py")->updated_realtime_usec, updated);
	give_simple("a.py", "#", "12");
	ck_assert_uint_gt(registry_generation(registry), generation);
}
END_TEST

START_TEST(test_registry__keys_that_were_meant_otherwise)
{
	static const char *const topics[] = { "Topic", "topci", "TOPIC", "topics" }, *const others[] = { "Timeout",
													 "retires",
													 "outputs" };
	struct registry_offer offer = offer_of("a.py", NULL, "1");
	struct registry_meta meta = { "", "create/#" };
	offer.meta = &meta;
	offer.meta_count = 1;
	for (size_t i = 0; i < ELEMENTSOF(topics); i++) {
		meta.key = topics[i];
		offer.meta_strict = true;
		give(&offer);
		ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
		ck_assert_ptr_nonnull(strstr(find("a.py")->reason, topics[i]));
		ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "did you mean topic?"));
		offer.meta_strict = false; /* an archive's, which may hold anything */
		give(&offer);
		ck_assert_int_eq(find("a.py")->state, SCRIPT_NO_TOPIC);
		ck_assert_ptr_nonnull(strstr(find("a.py")->reason, topics[i]));
	}
	offer.topic = "create/#";
	offer.meta_strict = true;
	for (size_t i = 0; i < ELEMENTSOF(others); i++) {
		meta.key = others[i];
		give(&offer);
		ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
		ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "did you mean"));
	}
	offer.topic = NULL;
	offer.meta_strict = false;
	meta.key = "title";
	give(&offer);
	ck_assert_ptr_null(strstr(find("a.py")->reason, "title"));
}
END_TEST

START_TEST(test_registry__reasons)
{
	static const struct registry_meta long_timeout = { "timeout", "10min" }, unknown = { "colour", "red" },
					  closed = { "executor", "root" };
	struct registry_offer offer = offer_of("a.py", NULL, "1");
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_NO_TOPIC);
	ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "metadata \"topic\""));
	offer.meta_strict = true;
	give(&offer);
	ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "a.py.meta"));
	offer.topic = "a/#/b";
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
	ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "last level"));
	offer.topic = "//";
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
	offer.topic = "#";
	offer.meta_count = 1;
	offer.meta = &long_timeout;
	give(&offer);
	ck_assert_str_eq(find("a.py")->reason, "timeout = 10min: the administrator allows at most 60s");
	offer.meta = &closed;
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
	offer.meta = &unknown;
	give(&offer);
	ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "colour"));
	ck_assert_str_eq(match("x"), "");
	offer.meta_strict = false;
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_ACTIVE);
	give_simple("b.py", "#", "caf\xe9");
	ck_assert_ptr_nonnull(strstr(find("b.py")->reason, "UTF-8"));
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 1);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_REFUSED), 1);
	reopen();
	ck_assert_ptr_nonnull(strstr(find("b.py")->reason, "UTF-8"));
	ck_assert_str_eq(match("x"), "a.py ");
}
END_TEST

START_TEST(test_registry__a_refused_change_stops_the_old_revision_and_a_failed_fetch_does_not)
{
	give_simple("a.py", "#", "1");
	struct registry_offer offer = {
		.name = "a.py", .source_key = "k2", .problem = "the server said 500", .problem_is_fetch = true
	};
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_FETCH_FAILED);
	ck_assert_str_eq(find("a.py")->source_key, "");
	ck_assert_str_eq(match("x"), "a.py ");
	reopen();
	ck_assert_int_eq(find("a.py")->state, SCRIPT_FETCH_FAILED);
	ck_assert_str_eq(match("x"), "a.py ");
	offer.problem_is_fetch = false;
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
	ck_assert_ptr_null(find("a.py")->script);
	ck_assert_str_eq(match("x"), "");
	give_simple("a.py", "#", "1");
	ck_assert_str_eq(match("x"), "a.py ");
}
END_TEST

START_TEST(test_registry__metadata_alone)
{
	static const struct registry_meta timeout = { "timeout", "3s" };
	give_simple("a.py", "#", "1");
	char version[SCRIPT_VERSION_SIZE];
	strcpy(version, find("a.py")->script->version);
	struct registry_offer offer = offer_of("a.py", "update/#", NULL);
	offer.meta = &timeout;
	offer.meta_count = 1;
	give(&offer);
	const struct script *script = find("a.py")->script;
	ck_assert_str_eq(script->version, version);
	ck_assert_uint_eq(script->size, 1);
	ck_assert_uint_eq(script->settings.timeout_usec, 3 * USEC_PER_SEC);
	ck_assert_str_eq(match("update/x"), "a.py ");
	/* Without its topic it is forgotten, so later metadata cannot revive it without its
	 * content. */
	offer.topic = NULL;
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_NO_TOPIC);
	offer.topic = "#";
	give(&offer);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_FETCH_FAILED);
	ck_assert_str_eq(find("a.py")->source_key, "");
	give_simple("a.py", "#", "1");
	ck_assert_int_eq(find("a.py")->state, SCRIPT_ACTIVE);
}
END_TEST

START_TEST(test_registry__names)
{
	static const char *const bad[] = { "",  "../a.py", "a/../b", "a//b",    "/a",   "a/",
					   ".", "a/.",     "a\nb",   "caf\xe9", "a\x7f" };
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		give_simple(bad[i], "#", "1");
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 0);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_REFUSED), ELEMENTSOF(bad));
	ck_assert_ptr_nonnull(strstr(find("\"a\\x0ab\"")->reason, "rename"));
	registry_begin(registry);
	registry_keep(registry, "a\nb");
	registry_keep(registry, "../a.py");
	registry_withdraw(registry, "../a.py");
	ck_assert_int_eq(registry_end_all(registry, true, &err), 0);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_REFUSED), 1);
	give_simple("sub/caf\xc3\xa9 #+.py", "#", "1");
	give_simple("..a/b..", "#", "1");
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 2);
}
END_TEST

static void join(void *data, const struct registry_entry *entry) { strcat(strcat(data, entry->name), " "); }

START_TEST(test_registry__full_scans_and_folders)
{
	char names[200] = "";
	static const char *const all[] = { "b", "a", "sub/x", "sub/deep/y", "subx", "c" };
	for (size_t i = 0; i < ELEMENTSOF(all); i++)
		give_simple(all[i], "#", "1");
	registry_each(registry, join, names);
	ck_assert_str_eq(names, "a b c sub/deep/y sub/x subx ");
	registry_begin(registry);
	registry_withdraw_below(registry, "sub/");
	ck_assert_int_eq(registry_end_all(registry, false, &err), 0);
	names[0] = '\0';
	registry_each(registry, join, names);
	ck_assert_str_eq(names, "a b c subx ");
	struct registry_offer offer = offer_of("d", "#", "1");
	registry_begin(registry);
	registry_keep(registry, "a");
	registry_keep(registry, "unknown");
	ck_assert_int_eq(registry_offer(registry, &offer, &err), 0);
	ck_assert_int_eq(registry_end_all(registry, true, &err), 0);
	names[0] = '\0';
	registry_each(registry, join, names);
	ck_assert_str_eq(names, "a d ");
	/* What was kept once must be kept again. */
	registry_begin(registry);
	ck_assert_int_eq(registry_end_all(registry, true, &err), 0);
	ck_assert_str_eq(match("x"), "");
	reopen();
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 0);
}
END_TEST

START_TEST(test_registry__serves_from_the_journal)
{
	static const struct registry_meta meta[] = { { "timeout", "5s" }, { "executor", "gpu" } };
	struct registry_offer offer = offer_of("a.py", "create/+/p/#", "print(1)");
	offer.meta = meta;
	offer.meta_count = 2;
	give(&offer);
	reopen();
	const struct registry_entry *entry = find("a.py");
	ck_assert_str_eq(entry->source_key, "k1");
	ck_assert_uint_eq(entry->script->settings.timeout_usec, 5 * USEC_PER_SEC);
	ck_assert_str_eq(entry->script->settings.executor, "gpu");
	ck_assert_str_eq(match("create/resource/p/x"), "a.py ");
	/* An executor that is closed now is not used, even before the first scan. */
	gpu_open = false;
	reopen();
	ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
	ck_assert_str_eq(find("a.py")->source_key, "");
	ck_assert_str_eq(match("create/resource/p/x"), "");
}
END_TEST

START_TEST(test_registry__another_policy_has_scripts_judged_again)
{
	static const struct registry_meta timeout = { "timeout", "40s" };
	struct registry_offer offer = offer_of("a.py", "#", "1");
	offer.meta = &timeout;
	offer.meta_count = 1;
	give(&offer);
	give_simple("b.py", "#", "1");
	policy.defaults.timeout_usec = 20 * USEC_PER_SEC;
	registry_set_policy(registry, &policy);
	ck_assert_str_eq(find("b.py")->source_key, "");
	give_simple("b.py", "#", "1");
	ck_assert_str_eq(find("b.py")->source_key, "k1");
	ck_assert_uint_eq(find("b.py")->script->settings.timeout_usec, 20 * USEC_PER_SEC);
	/* Also when it changed while we were away. */
	policy.defaults.timeout_usec = 10 * USEC_PER_SEC;
	reopen();
	ck_assert_str_eq(find("b.py")->source_key, "");
	/* What a source merely keeps is held to the limits. */
	policy.timeout_max_usec = 30 * USEC_PER_SEC;
	registry_set_policy(registry, &policy);
	registry_begin(registry);
	registry_keep(registry, "a.py");
	registry_keep(registry, "b.py");
	ck_assert_int_eq(registry_end_all(registry, true, &err), 0);
	ck_assert_int_eq(find("a.py")->state, SCRIPT_REFUSED);
	ck_assert_ptr_nonnull(strstr(find("a.py")->reason, "30s"));
	ck_assert_str_eq(match("x"), "b.py ");
}
END_TEST

START_TEST(test_registry__an_update_that_the_journal_does_not_take)
{
	give_simple("a.py", "create/#", "1");
	/* A transaction of somebody else is in the way. */
	ck_assert_int_eq(journal_scripts_begin(journal, &err), 0);
	struct registry_offer change = offer_of("a.py", "update/#", "2"), more = offer_of("b.py", "#", "3");
	registry_begin(registry);
	ck_assert_int_eq(registry_offer(registry, &change, &err), 0);
	ck_assert_int_eq(registry_offer(registry, &more, &err), 0);
	ck_assert_int_lt(registry_end_all(registry, true, &err), 0);
	ck_assert_str_eq(match("create/x"), "a.py ");
	ck_assert_str_eq(match("update/x"), "");
	ck_assert_ptr_null(registry_find(registry, "b.py"));
	(void)journal_scripts_end(journal, false, NULL);
	registry_begin(registry);
	ck_assert_int_eq(registry_offer(registry, &change, &err), 0);
	ck_assert_int_eq(registry_end_all(registry, true, &err), 0);
	ck_assert_str_eq(match("update/x"), "a.py ");
}
END_TEST

START_TEST(test_registry__much_content_at_once)
{
	char *content = malloc(90001), name[32];
	ck_assert_ptr_nonnull(content);
	registry_begin(registry);
	for (unsigned i = 0; i < 200; i++) {
		memset(content, 'a' + (int)(i % 26), 90000);
		content[90000] = '\0';
		(void)snprintf(content, 20, "%u\n", i);
		content[strlen(content)] = 'x';
		(void)snprintf(name, sizeof name, "s%03u.py", i);
		struct registry_offer offer = offer_of(name, "#", NULL);
		offer.content = content;
		offer.size = 90000;
		ck_assert_int_eq(registry_offer(registry, &offer, &err), 0);
	}
	ck_assert_str_eq(match("x"), "");
	ck_assert_int_eq(registry_end_all(registry, true, &err), 0);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 200);
	reopen();
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), 200);
	char text[16] = "";
	ck_assert_int_eq(journal_read_script(journal, find("s123.py")->script->version, copy_start, text, &err), 90000);
	ck_assert_mem_eq(text, "123\n", 4);
	free(content);
}
END_TEST

/* A first scan of many scripts must not hold up the loop: it is stored and put in force in
 * parts. */
static void offer_many(unsigned count, const char *what)
{
	char name[32], content[32];

	registry_begin(registry);
	for (unsigned i = 0; i < count; i++) {
		(void)snprintf(name, sizeof name, "s%05u.py", i);
		(void)snprintf(content, sizeof content, "print(%s%u)", what, i);
		struct registry_offer offer = offer_of(name, "create/#", NULL);
		offer.content = content;
		offer.size = strlen(content);
		ck_assert_int_eq(registry_offer(registry, &offer, &err), 0);
	}
}

START_TEST(test_registry__a_large_update_is_cut_in_parts)
{
	enum { COUNT = 6000 };
	size_t active = 0;
	unsigned parts = 1;
	int r;

	offer_many(COUNT, "1");
	while ((r = registry_end(registry, true, &err)) > 0) {
		parts++;
		ck_assert_uint_gt(registry_count(registry, SCRIPT_ACTIVE), active);
		active = registry_count(registry, SCRIPT_ACTIVE);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_uint_gt(parts, 1);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), COUNT);
	reopen();
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), COUNT);

	/* One that begins anew in the middle leaves all in force, the new or the old. */
	offer_many(COUNT, "2");
	ck_assert_int_eq(registry_end(registry, true, &err), 1);
	registry_begin(registry);
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), COUNT);
	reopen();
	ck_assert_uint_eq(registry_count(registry, SCRIPT_ACTIVE), COUNT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry");
	TCase *tc = tcase_create("registry");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_registry__a_script_comes_changes_and_goes);
	tcase_add_test(tc, test_registry__several_topics);
	tcase_add_test(tc, test_registry__a_bad_topic_of_several_is_named);
	tcase_add_test(tc, test_registry__an_update_in_progress_is_not_seen);
	tcase_add_test(tc, test_registry__the_same_offer_changes_nothing);
	tcase_add_test(tc, test_registry__keys_that_were_meant_otherwise);
	tcase_add_test(tc, test_registry__reasons);
	tcase_add_test(tc, test_registry__a_refused_change_stops_the_old_revision_and_a_failed_fetch_does_not);
	tcase_add_test(tc, test_registry__metadata_alone);
	tcase_add_test(tc, test_registry__names);
	tcase_add_test(tc, test_registry__full_scans_and_folders);
	tcase_add_test(tc, test_registry__serves_from_the_journal);
	tcase_add_test(tc, test_registry__another_policy_has_scripts_judged_again);
	tcase_add_test(tc, test_registry__an_update_that_the_journal_does_not_take);
	tcase_add_test(tc, test_registry__much_content_at_once);
	tcase_add_test(tc, test_registry__a_large_update_is_cut_in_parts);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
