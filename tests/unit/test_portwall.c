/* test_portwall.c - the port wall's helper without the kernel: requests, networks as ranges, the
 * data of what is denied, and the messages that rules become. */
#include <errno.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <util.h>

#include "../../executors/pool/portwall/nft_picture.h"
#include "../../executors/pool/portwall/wall_denied.h"
#include "../../executors/pool/portwall/wall_ranges.h"
#include "../../executors/pool/portwall/wall_rules.h"
#include "suite.h"

#define UP "up table=listenerd_a_b_1 bridge=lsn01234567 ports=80,22 dns=10.0.0.1 allow= deny=10.0.0.0/8 ftp=off"

START_TEST(test_portwall__request)
{
	static struct wall_request r;
	ck_assert_int_eq(wall_request_parse(UP, &r, NULL), 0);
	ck_assert(r.up && r.port_count == 2 && r.dns_count == 1 && r.allow_count == 0 && r.deny_count == 1 &&
		  !r.ftp_related);
	ck_assert_uint_eq(r.deny[0].bits, 8);
	ck_assert_int_eq(wall_request_parse("down table=listenerd_a_b_1", &r, NULL), 0);
	ck_assert(!r.up && streq(r.table, "listenerd_a_b_1"));
}
END_TEST

START_TEST(test_portwall__request_refusals)
{
	static const char *const bad[] = {
		"",
		" ",
		"down",
		"down ",
		"down table=filter",
		"up",
		"up ",
		"up table=listenerd_a bridge=",
		"up table=listenerd_A bridge=lsn01234567",
		"up table=filter bridge=lsn01234567",
		"up table=listenerd_a;x bridge=lsn01234567",
		"up table=listenerd_a bridge=lsn0123456",
		"up table=listenerd_a bridge=lsn0123456g",
		"up table=listenerd_a bridge=docker0",
		UP " more",
		UP " ports=81",
		UP " ports=80,80",
		UP " ports=80,",
		UP " ports=,80",
		UP " ports=080000",
		UP " dns=10.0.0.1/8",
		UP " dns=10.0.0.1,,10.0.0.2",
		UP " allow=10.0.0.0/33",
		UP " allow=x",
		UP " ftp=yes",
		UP "  ftp=off",
		UP " deny=10.0.0.0/-1",
		UP " deny=10.0.0.0/",
		UP " connections=",
		UP " connections=-1",
		UP " connections=1000001",
		UP "\n",
	};
	static struct wall_request r;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		ck_assert_msg(wall_request_parse(bad[i], &r, NULL) < 0, "%s", bad[i]);
}
END_TEST

static struct wall_net net_of(const char *text)
{
	struct wall_net net = { 0 };
	ck_assert_msg(wall_net_parse(text, true, &net) == 0, "%s", text);
	return net;
}

/* Ranges as text, "FIRST-LAST " for each. */
static const char *ranges_of(int family, const char *const *nets, size_t count)
{
	static char text[1024];
	struct wall_ranges ranges = { .count = 0 };
	char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < count; i++) {
		struct wall_net net = net_of(nets[i]);
		ck_assert_int_eq(wall_ranges_add(&ranges, family, &net, 1), 0);
	}
	wall_ranges_merge(&ranges, family == AF_INET ? 4 : 16);
	*text = 0;
	for (size_t i = 0; i < ranges.count; i++) {
		(void)inet_ntop(family, ranges.list[i].first, first, sizeof first);
		(void)inet_ntop(family, ranges.list[i].last, last, sizeof last);
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s-%s ", first, last);
	}
	return text;
}

START_TEST(test_portwall__ranges)
{
	static const char *const four[] = { "10.1.0.0/16", "192.168.0.0/25", "10.0.0.0/8", "192.168.0.128/25",
					    "224.0.0.0/3", "fd00::/8",       "1.2.3.4",    "255.255.255.255" };
	static const char *const six[] = { "ff00::/8", "fd00::/16", "fd01::/16", "10.0.0.0/8", "::1" };

	ck_assert_str_eq(
		ranges_of(AF_INET, four, ELEMENTSOF(four)),
		"1.2.3.4-1.2.3.4 10.0.0.0-10.255.255.255 192.168.0.0-192.168.0.255 224.0.0.0-255.255.255.255 ");
	ck_assert_str_eq(ranges_of(AF_INET6, six, ELEMENTSOF(six)),
			 "::1-::1 fd00::-fd01:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
			 "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ");
	ck_assert_str_eq(ranges_of(AF_INET, (const char *const[]){ "0.0.0.0/0" }, 1), "0.0.0.0-255.255.255.255 ");
	ck_assert_str_eq(ranges_of(AF_INET, NULL, 0), "");
}
END_TEST

/* A slip in the data would leave a hole without a word. */
START_TEST(test_portwall__denied_data)
{
	for (size_t i = 0; i < wall_denied_count; i++) {
		(void)net_of(wall_denied[i].network);
		ck_assert(*wall_denied[i].what && *wall_denied[i].source);
	}
	for (size_t i = 0; i < wall_carrier_count; i++) {
		struct wall_net net = net_of(wall_carriers[i].network);
		ck_assert_int_eq(net.family, AF_INET6);
		ck_assert_uint_eq(net.bits % 8, 0);
		ck_assert_uint_le(wall_carriers[i].offset, 12);
		ck_assert(*wall_carriers[i].what && *wall_carriers[i].source);
	}
}
END_TEST

/* The longest request there can be, everything in one transaction. */
static void write_all(struct nft *t, const struct wall_request *req)
{
	wall_rules(t, req, req->table, false);
	wall_rules_early(t, req, req->table);
	wall_rules_count(t, req, req->table);
	wall_rules(t, req, req->table, true);
	wall_rules_bridge(t, req, req->table);
}

static void fill(struct wall_net *list, size_t count, const char *format)
{
	for (size_t i = 0; i < count; i++) {
		char text[64];
		(void)snprintf(text, sizeof text, format, (unsigned)i);
		list[i] = net_of(text);
	}
}

START_TEST(test_portwall__longest_request_fits)
{
	static struct wall_request r;
	const void *bytes;
	size_t size;

	ck_assert_int_eq(
		wall_request_parse(UP " ports=80,443,21,22,25,587,465 ftp=related connections=1000000", &r, NULL), 0);
	fill(r.deny, r.deny_count = WALL_LIST_MAX, "fd00:%x::/64");
	fill(r.allow, r.allow_count = WALL_LIST_MAX, "fc00:%x::/64");
	fill(r.dns, r.dns_count = 8, "2000:%x::1");
	struct nft *t = nft_new();
	write_all(t, &r);
	ck_assert_int_eq(nft_bytes(t, &bytes, &size), 0);
	ck_assert_uint_gt(size, 60000);
	nft_free(t);
	t = nft_new();
	for (int i = 0; i < 3; i++)
		write_all(t, &r);
	ck_assert_int_eq(nft_bytes(t, &bytes, &size), -ENOBUFS);
	nft_free(t);
}
END_TEST

/* Whole messages, none about a table that is not the listener's. */
START_TEST(test_portwall__messages)
{
	static struct wall_request r;
	const void *bytes;
	size_t size, at = 0, messages = 0;

	ck_assert_int_eq(wall_request_parse(UP, &r, NULL), 0);
	struct nft *t = nft_new();
	write_all(t, &r);
	ck_assert_int_eq(nft_bytes(t, &bytes, &size), 0);
	for (const struct nlmsghdr *h; (h = nft_message_next(bytes, size, &at)); messages++)
		if (h->nlmsg_type >> 8)
			ck_assert(nft_names(h, h->nlmsg_len, r.table));
	ck_assert_uint_eq(at, size);
	ck_assert_uint_gt(messages, 50);
	nft_free(t);
}
END_TEST

static struct nft_picture picture_of(const struct wall_request *r)
{
	static struct nft_painter painter;
	const void *bytes;
	size_t size, at = 0;
	struct nft *t = nft_new();

	painter = (struct nft_painter){ .table = r->table };
	write_all(t, r);
	ck_assert_int_eq(nft_bytes(t, &bytes, &size), 0);
	for (const struct nlmsghdr *h; (h = nft_message_next(bytes, size, &at));)
		if (h->nlmsg_type >> 8)
			nft_paint(&painter, h);
	nft_free(t);
	ck_assert_int_eq(painter.error, 0);
	return painter.picture;
}

START_TEST(test_portwall__pictures)
{
	static struct wall_request r;

	ck_assert_int_eq(wall_request_parse(UP, &r, NULL), 0);
	struct nft_picture one = picture_of(&r), same = picture_of(&r);
	ck_assert(nft_pictures_equal(&one, &same));
	r.ports[0] = 443;
	struct nft_picture other = picture_of(&r), none = { 0 };
	ck_assert(!nft_pictures_equal(&one, &other));
	ck_assert(!nft_pictures_equal(&none, &none));
	free(one.bytes);
	free(same.bytes);
	free(other.bytes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("portwall");
	TCase *tc = tcase_create("portwall");
	tcase_add_test(tc, test_portwall__request);
	tcase_add_test(tc, test_portwall__request_refusals);
	tcase_add_test(tc, test_portwall__ranges);
	tcase_add_test(tc, test_portwall__denied_data);
	tcase_add_test(tc, test_portwall__longest_request_fits);
	tcase_add_test(tc, test_portwall__messages);
	tcase_add_test(tc, test_portwall__pictures);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
