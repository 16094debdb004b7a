/* test_request.h - what the command test is asked to do, made ready: the script with its bytes, and
 * the event. docs/control.md, "test", has the keys.
 *
 * Descriptors that come with a request must be memfds that are sealed against any change. They are
 * memory: reading them waits for nobody, and nobody changes them meanwhile. */
#ifndef CORE_TEST_REQUEST_H
#define CORE_TEST_REQUEST_H

#include "content.h"
#include "event.h"
#include "script.h"
#include "wiring.h"

struct test_request {
	enum script_state state; /* what the script would be registered as, or is */
	struct lsn_error why; /* for people; "" if it is active */
	struct script *script; /* a reference; NULL: it is refused */
	struct content *bytes; /* likewise */
	struct event *event; /* NULL: only the script is asked about */
	struct content *payload; /* likewise */
	uint64_t wait_usec; /* for a place */
};

/* test_request_read - false: the reply has failed, and RET is cleared. */
bool test_request_read(struct daemon *daemon, const json_t *request, struct control_reply *reply,
		       struct test_request *ret);
void test_request_clear(struct test_request *request);

#endif
