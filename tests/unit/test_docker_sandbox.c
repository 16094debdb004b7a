/* test_docker_sandbox.c - the parts of docker-sandbox that read what others wrote: settings,
 * results, replies. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include <jansson.h>
#include <util.h>

#include "../../executors/docker-sandbox/contract.h"
#include "../../executors/pool/control.h"
#include "../../executors/pool/resolver_file.h"
#include "../../executors/docker-sandbox/engine.h"
#include "../../executors/docker-sandbox/settings.h"
#include "../../executors/pool/options.h"
#include "suite.h"

static int parse_one(const char *key, const char *value, struct settings *ret, struct lsn_error *err)
{
	struct lsn_option option = { .key = key, .value = value, .file = "x.ini", .line = 7 };
	return settings_parse(&option, 1, ret, err);
}

START_TEST(test_docker_sandbox__options_defaults)
{
	struct settings o;
	ck_assert_int_eq(settings_parse(NULL, 0, &o, NULL), 0);
	ck_assert_str_eq(o.socket, "/var/run/docker.sock");
	ck_assert_uint_eq(o.pool.ports.count, 7);
	ck_assert_uint_eq(o.pool.network, NETWORK_BRIDGE);
	ck_assert(!o.pool.ftp_related && !o.ipv6);
	ck_assert_uint_eq(o.pool.nano_cpus, 1000000000);
	settings_clear(&o);
}
END_TEST

/* What Docker 20.10 tells of a host without a controller; one that does not tell at all is not
 * believed either. */
START_TEST(test_docker_sandbox__limits_an_engine_lacks)
{
	static const struct {
		const char *info, *lacks;
	} cases[] = {
		{ "{\"MemoryLimit\": true, \"SwapLimit\": false, \"CpuCfsPeriod\": true, \"CpuCfsQuota\": true, "
		  "\"PidsLimit\": true}",
		  NULL },
		{ "{\"MemoryLimit\": false, \"CpuCfsQuota\": true, \"PidsLimit\": true}", "memory" },
		{ "{\"MemoryLimit\": true, \"CpuCfsQuota\": true, \"PidsLimit\": false}", "processes (pids)" },
		{ "{\"MemoryLimit\": true, \"CpuCfsQuota\": null, \"PidsLimit\": true}", "CPU time (cpu)" },
		{ "[]", "memory" },
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		json_t *info = json_loads(cases[i].info, 0, NULL);
		const char *lacks = engine_lacks(info);
		ck_assert_ptr_nonnull(info);
		if (cases[i].lacks)
			ck_assert_str_eq(lacks, cases[i].lacks);
		else
			ck_assert_ptr_null(lacks);
		json_decref(info);
	}
	ck_assert_str_eq(engine_lacks(NULL), "memory");
}
END_TEST

START_TEST(test_docker_sandbox__options_values)
{
	struct settings o;
	ck_assert_int_eq(parse_one("ports", " 443,80  22", &o, NULL), 0);
	ck_assert_uint_eq(o.pool.ports.count, 3);
	ck_assert_str_eq(o.pool.ports.items[2], "22");
	settings_clear(&o);
	ck_assert_int_eq(parse_one("ports", "", &o, NULL), 0);
	ck_assert_uint_eq(o.pool.ports.count, 0);
	settings_clear(&o);
	ck_assert_int_eq(parse_one("deny_networks", "10.1.2.3/8, fd00:1::5/32,192.0.2.1", &o, NULL), 0);
	ck_assert_str_eq(o.pool.deny_networks.items[0], "10.0.0.0/8");
	ck_assert_str_eq(o.pool.deny_networks.items[1], "fd00:1::/32");
	ck_assert_str_eq(o.pool.deny_networks.items[2], "192.0.2.1/32");
	settings_clear(&o);
	ck_assert_int_eq(parse_one("cpus", "0.25", &o, NULL), 0);
	ck_assert_uint_eq(o.pool.nano_cpus, 250000000);
	settings_clear(&o);
	ck_assert_int_eq(parse_one("pool_memory", "40%", &o, NULL), 0);
	ck_assert_uint_eq(o.pool.pool_memory.percent, 40);
	ck_assert_uint_eq(o.pool.pool_min, POOL_MIN_AUTO);
	settings_clear(&o);
	ck_assert_int_eq(parse_one("pool_memory", "2G", &o, NULL), 0);
	ck_assert_uint_eq(o.pool.pool_memory.percent, 0);
	ck_assert_uint_eq(o.pool.pool_memory.bytes, UINT64_C(2) << 30);
	settings_clear(&o);
	ck_assert_int_eq(parse_one("socket", "unix:///run/x.sock", &o, NULL), 0);
	ck_assert_str_eq(o.socket, "/run/x.sock");
	settings_clear(&o);
}
END_TEST

START_TEST(test_docker_sandbox__options_refusals)
{
	static const char *const bad[][2] = {
		{ "port", "80" },
		{ "ports", "80,81" },
		{ "network", "host" },
		{ "network", "Bridge" },
		{ "socket", "tcp://x" },
		{ "socket", "docker.sock" },
		{ "image", "" },
		{ "image", "a b" },
		{ "image", "../x" },
		{ "dns", "resolver" },
		{ "allow_networks", "10.0.0.0/33" },
		{ "deny_networks", "::/129" },
		{ "pool_max", "-1" },
		{ "pool_min", "many" },
		{ "pool_memory", "0" },
		{ "pool_memory", "0%" },
		{ "pool_memory", "101%" },
		{ "pool_memory", "%" },
		{ "pool_memory", "a quarter" },
		{ "reuse", "sometimes" },
		{ "pids", "-1" },
		{ "cpus", "1s" },
		{ "cpus", "0" },
		{ "cpus", "." },
		{ "landlock", "yes" },
		{ "ftp_data", "on" },
		{ "preload", "os,os.path;x" },
		{ "dns", "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 10.0.0.9" },
		{ "subnet", "fd00::/64" },
		{ "memory", "lots" },
		{ "grace", "" },
		{ "nofile", "3" },
	};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct settings o;
		struct lsn_error err = { 0 };
		ck_assert_msg(parse_one(bad[i][0], bad[i][1], &o, &err) < 0, "%s = %s", bad[i][0], bad[i][1]);
		ck_assert_int_ne(err.code, 0);
		ck_assert_uint_gt(strlen(err.message), 0);
	}
}
END_TEST

START_TEST(test_docker_sandbox__options_resolvers)
{
	struct str_list list = { 0 };
	ck_assert_int_eq(
		options_resolvers(
			"# x\nnameserver 127.0.0.53\nnameserver ::1\n nameserver\t10.0.0.1 \nsearch a\nnameserver "
			"fe80::1%eth0\n"
			"nameserver 2001:db8::1",
			&list),
		0);
	ck_assert_uint_eq(list.count, 2);
	ck_assert_str_eq(list.items[0], "10.0.0.1");
	ck_assert_str_eq(list.items[1], "2001:db8::1");
	str_list_clear(&list);
}
END_TEST

static struct sb_result good_result(void)
{
	return (struct sb_result){ .head = { SB_MAGIC, SB_RESULT, SB_PROTOCOL_VERSION, sizeof(struct sb_result), 0 },
				   .job = 1,
				   .clean = 1 };
}

START_TEST(test_docker_sandbox__results)
{
	struct sb_result r = good_result();
	ck_assert_ptr_null(control_check_result(&r, sizeof r, 0));
	ck_assert_ptr_null(control_check_result(&r, sizeof r, 2));
	ck_assert_ptr_nonnull(control_check_result(&r, sizeof r, 1));
	ck_assert_ptr_nonnull(control_check_result(&r, sizeof r - 1, 0));
	ck_assert_ptr_nonnull(control_check_result(&r, SB_RESULT_SIZE_1, 0));
	r.head.version = 1; /* an older sandbox, found after a restart */
	ck_assert_ptr_null(control_check_result(&r, SB_RESULT_SIZE_1, 0));
	ck_assert_ptr_nonnull(control_check_result(&r, sizeof r, 0));
	r = good_result();
	r.out_size = 1;
	ck_assert_ptr_nonnull(control_check_result(&r, sizeof r, 0));
	r = good_result();
	memset(r.message, 'x', sizeof r.message);
	ck_assert_ptr_nonnull(control_check_result(&r, sizeof r, 0));
	for (uint32_t outcome = 0; outcome < 20; outcome++) {
		r = good_result();
		r.outcome = outcome;
		r.exit_status = outcome == LSN_OUTCOME_FAILURE ? 3 : 0;
		r.signal = outcome == LSN_OUTCOME_SIGNAL ? 11 : 0;
		bool fine = !control_check_result(&r, sizeof r, 0);
		ck_assert_int_eq(fine, outcome < LSN_OUTCOME_LOST);
		r.exit_status = 256;
		ck_assert(control_check_result(&r, sizeof r, 0) || outcome == LSN_OUTCOME_SIGNAL);
		r.exit_status = 0;
		r.signal = 65;
		ck_assert_ptr_nonnull(control_check_result(&r, sizeof r, 0));
	}
}
END_TEST

static int version_of(const char *text, char ret[16])
{
	json_t *json = json_loads(text, 0, NULL);
	int r = engine_api_version(json, ret, NULL);
	json_decref(json);
	return r;
}

START_TEST(test_docker_sandbox__api_version)
{
	char v[16];
	ck_assert_int_eq(version_of("{\"ApiVersion\": \"1.41\", \"MinAPIVersion\": \"1.12\"}", v), 0);
	ck_assert_str_eq(v, "1.41");
	ck_assert_int_eq(version_of("{\"ApiVersion\": \"1.47\"}", v), 0);
	ck_assert_str_eq(v, "1.41");
	ck_assert_int_eq(version_of("{\"ApiVersion\": \"1.52\", \"MinAPIVersion\": \"1.44\"}", v), 0);
	ck_assert_str_eq(v, "1.44");
	ck_assert_int_eq(version_of("{\"ApiVersion\": \"1.40\"}", v), -EPROTONOSUPPORT);
	ck_assert_int_eq(version_of("{\"ApiVersion\": 1.41}", v), -EPROTO);
	ck_assert_int_eq(version_of("{\"ApiVersion\": \"1.41/../x\"}", v), -EPROTO);
	ck_assert_int_eq(version_of("[]", v), -EPROTO);
	ck_assert_int_eq(engine_api_version(NULL, v, NULL), -EPROTO);
}
END_TEST

START_TEST(test_docker_sandbox__engine_text)
{
	char buf[300], *escaped = engine_escape("{\"a\":[\"b=\xc3\xa4\"]}");
	ck_assert_str_eq(escaped, "%7B%22a%22%3A%5B%22b%3D%C3%A4%22%5D%7D");
	free(escaped);
	engine_message(NULL, 500, buf, sizeof buf);
	ck_assert_str_eq(buf, "the engine answered 500");
	json_t *json = json_pack("{s:s}", "message", "no\nsuch");
	engine_message(json, 404, buf, sizeof buf);
	ck_assert_ptr_nonnull(strstr(buf, "404"));
	ck_assert_ptr_null(strchr(buf, '\n'));
	json_decref(json);
}
END_TEST

/* ASKED_HOST and KEPT_HOST are members of HostConfig; the wall that is not kept, or NULL. */
static const char *weakened(const char *asked_host, const char *kept_host)
{
	static struct lsn_error err;
	json_t *asked = json_pack("{s:s, s:o}", "User", "0:7", "HostConfig", json_loads(asked_host, 0, NULL));
	json_t *kept =
		json_pack("{s:{s:s}, s:o}", "Config", "User", "0:7", "HostConfig", json_loads(kept_host, 0, NULL));
	int r = contract_check(asked, kept, &err);

	json_decref(asked);
	json_decref(kept);
	return r < 0 ? err.message : NULL;
}

START_TEST(test_docker_sandbox__contract)
{
	static const struct {
		const char *asked, *kept, *wall;
	} cases[] = {
		{ "{\"Memory\": 5, \"IpcMode\": \"none\"}", "{\"Memory\": 5, \"IpcMode\": \"none\", \"More\": 1}",
		  NULL },
		{ "{\"Memory\": 5}", "{\"Memory\": 0}", "memory limit" },
		{ "{\"Memory\": 5}", "{}", "memory limit" },
		{ "{\"CapAdd\": [\"KILL\", \"SETUID\"]}", "{\"CapAdd\": [\"CAP_SETUID\", \"CAP_KILL\"]}", NULL },
		{ "{\"CapAdd\": [\"KILL\"]}", "{\"CapAdd\": [\"KILL\", \"SYS_ADMIN\"]}", "CapAdd" },
		{ "{\"MaskedPaths\": [\"/a\"]}", "{\"MaskedPaths\": [\"/b\", \"/a\"]}", NULL },
		{ "{\"MaskedPaths\": [\"/a\"]}", "{\"MaskedPaths\": null}", "masked paths" },
		{ "{\"Ulimits\": [{\"Name\": \"core\", \"Hard\": 1}]}",
		  "{\"Ulimits\": [{\"Name\": \"core\", \"Soft\": 1, \"Hard\": 1}]}", NULL },
		{ "{\"Ulimits\": [{\"Name\": \"core\", \"Hard\": 1}]}",
		  "{\"Ulimits\": [{\"Name\": \"core\", \"Hard\": 0}]}", "Ulimits" },
		{ "{}", "{\"Tmpfs\": {}}", NULL },
		{ "{}", "{\"Tmpfs\": {\"/tmp\": \"rw\"}}", "file systems" },
		{ "{\"IpcMode\": \"none\"}", "[]", "shared memory" },
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		const char *told = weakened(cases[i].asked, cases[i].kept);
		ck_assert_msg(!told == !cases[i].wall, "%s %s: %s", cases[i].asked, cases[i].kept,
			      told ? told : "kept");
		ck_assert(!told || strstr(told, cases[i].wall));
	}
	ck_assert_int_eq(contract_check(NULL, NULL, NULL), 0); /* nothing was asked */
}
END_TEST

START_TEST(test_docker_sandbox__resolver_file)
{
	char *addresses[] = { (char *)"192.0.2.53", (char *)"2001:db8::53" }, text[RESOLVER_FILE_MAX];
	struct options o = { .dns = { addresses, 2 } };

	resolver_file_text(
		&o, "# x\nnameserver 127.0.0.53\nsearch  example.org sub\noptions edns0\nsearchx y\nsearch\n", text);
	ck_assert_str_eq(text,
			 "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org sub\noptions edns0\n");
	resolver_file_text(&(struct options){ 0 }, "search \x01\ndomain a", text);
	ck_assert_str_eq(text, "domain a\n");
	resolver_file_text(&(struct options){ 0 }, NULL, text);
	ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("docker_sandbox");
	TCase *tc = tcase_create("docker_sandbox");
	tcase_add_test(tc, test_docker_sandbox__options_defaults);
	tcase_add_test(tc, test_docker_sandbox__limits_an_engine_lacks);
	tcase_add_test(tc, test_docker_sandbox__options_values);
	tcase_add_test(tc, test_docker_sandbox__options_refusals);
	tcase_add_test(tc, test_docker_sandbox__options_resolvers);
	tcase_add_test(tc, test_docker_sandbox__results);
	tcase_add_test(tc, test_docker_sandbox__api_version);
	tcase_add_test(tc, test_docker_sandbox__engine_text);
	tcase_add_test(tc, test_docker_sandbox__contract);
	tcase_add_test(tc, test_docker_sandbox__resolver_file);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
