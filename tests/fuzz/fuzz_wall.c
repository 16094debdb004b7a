/* fuzz_wall.c - requests to portwall, the privileged helper: what it accepts names nothing but
 * the listener's own, and opens nothing but the seven. */
#include "fuzz.h"

#include "wall_rules.h"

static void check(const struct wall_request *req)
{
	must(strncmp(req->table, WALL_TABLE_PREFIX, strlen(WALL_TABLE_PREFIX)) == 0);
	must(strlen(req->table) < WALL_TABLE_MAX);
	must(req->table[strspn(req->table, "abcdefghijklmnopqrstuvwxyz0123456789_")] == 0);
	must(strncmp(req->bridge, WALL_BRIDGE_PREFIX, strlen(WALL_BRIDGE_PREFIX)) == 0 && strlen(req->bridge) == 11);
	must(req->port_count <= 7 && req->dns_count <= 8 && req->allow_count <= WALL_LIST_MAX &&
	     req->deny_count <= WALL_LIST_MAX);
	for (size_t i = 0; i < req->port_count; i++) {
		uint16_t p = req->ports[i];
		must(p == 80 || p == 443 || p == 21 || p == 22 || p == 25 || p == 587 || p == 465);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wall_request req;
	struct lsn_error err = { 0 };
	const void *bytes;
	size_t bytes_size;
	char *line = fuzz_copy(data, size);

	if (wall_request_parse(line, &req, &err) == 0 && req.up) {
		check(&req);
		struct nft *t = nft_new();
		wall_rules(t, &req, req.table, true);
		wall_rules_early(t, &req, req.table);
		wall_rules_count(t, &req, req.table);
		wall_rules_bridge(t, &req, req.table);
		must(nft_bytes(t, &bytes, &bytes_size) == 0);
		nft_free(t);
	} else if (!req.up && err.code < 0)
		must(err.message[0]);
	free(line);
	return 0;
}
