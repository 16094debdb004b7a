/* control.h - the control socket: a stream socket; a request is one JSON object on a line, a reply is one or more JSON objects on lines, the last with
 * "end": true and, if it failed, "error" {"code", "message"}. docs/control.md has every command.
 *
 *     {"command": "jobs", "state": "lost", "limit": 20}
 *
 * Peers are known by SO_PEERCRED: root, the daemon's own user and [control] operators may do everything, readers may look. */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include "config.h"
#include <jansson.h>

struct control;
struct control_reply; /* one request being answered; valid until control_end() */

enum control_right { CONTROL_READ, CONTROL_OPERATE };

struct control_command {
	const char *name;
	enum control_right right;
	/* run - answer REQUEST (borrowed) with control_send() any number of times, then control_end() or control_fail() once, now or later. */
	void (*run)(void *data, const json_t *request, struct control_reply *reply);
};

/* COMMANDS end with a NULL name. */
int control_new(sd_event *loop, const struct control_config *config, const struct control_command *commands, void *data, struct control **ret,
		struct lsn_error *err);
void control_free(struct control *control);
/* control_send - takes over OBJECT. Replies are bounded: a peer that does not read is dropped. */
void control_send(struct control_reply *reply, json_t *object);
void control_end(struct control_reply *reply);
void control_fail(struct control_reply *reply, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
