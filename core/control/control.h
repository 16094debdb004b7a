/* control.h - the control socket: a stream socket; a request is one JSON object on a line, a
 * reply is one or more JSON objects on lines, the last with "end": true and, if it failed,
 * "error" {"code", "message"}. docs/control.md has every command.
 *
 *     {"command": "jobs", "state": "lost", "limit": 20}
 *
 * Peers are known by SO_PEERCRED and SO_PEERGROUPS: root, the daemon's own user, the socket's
 * group and [control] operators may do everything, testers may look and test scripts, readers may
 * look. Users and groups are looked
 * up when the configuration is taken, never in between: nothing here blocks but control_new().
 *
 * Loop thread only. A connection has one request at work at a time; further ones wait. In one turn
 * of the loop one request of one connection is run, or one slice of a stream (control_stream()),
 * at most 20 ms. */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include "control_access.h"
#include <jansson.h>
#include <stdbool.h>
#include <listener/error.h>
#include <systemd/sd-event.h>

#define CONTROL_REQUEST_MAX (64 * 1024) /* bytes of a request, newline included */
/* bytes a peer may leave unread before rows are left out */
#define CONTROL_ANSWER_MAX (8 * 1024 * 1024)
#define CONTROL_CONNECTIONS_MAX 64
/* of those who may only look; an operator always finds a place */
#define CONTROL_READERS_MAX (CONTROL_CONNECTIONS_MAX / 2)
#define CONTROL_USER_MAX 8 /* of one user who may only look */
#define CONTROL_FDS_MAX 3 /* descriptors that may come with a request */
/* without a request at work and without a byte moved */
#define CONTROL_IDLE_USEC (60 * UINT64_C(1000000))

struct control;

/* one request being answered; valid until control_end() or control_fail(), also if the peer or
 * the control goes first */
struct control_reply;

struct control_command {
	const char *name;
	enum control_right right;
	/* run - answer REQUEST (borrowed for the call) with control_send() any number of times,
	 * then control_end() or control_fail() once, now or later. */
	void (*run)(void *data, const json_t *request, struct control_reply *reply);
};

/* control_new - bind, listen and serve.
 * A socket file that nobody listens on is replaced; one that another process serves is
 * -EADDRINUSE.
 * CONFIG is borrowed for the call; COMMANDS end with a NULL name and must outlive the control. */
int control_new(sd_event *loop, const struct control_config *config, const struct control_command *commands, void *data,
		struct control **ret, struct lsn_error *err);

/* control_set_access - take over a new group, readers and operators without closing anything.
 * A changed socket path needs a control_new() (which may also replace the socket of this very
 * process) and a control_free() of the old.
 * On success ACCESS is the control's, and cleared.
 * On failure nothing has changed. */
int control_set_access(struct control *control, struct control_access *access, struct lsn_error *err);

/* control_free - closes all connections; replies not ended yet stay valid and go nowhere.
 * NULL is allowed. */
void control_free(struct control *control);

/* control_send - takes over OBJECT (NULL is allowed and ignored, as is one of more than the
 * answer may have: then control_end() reports it). */
void control_send(struct control_reply *reply, json_t *object);

/* control_flush - rows sent so far go out now: for answers that take seconds. */
void control_flush(struct control_reply *reply);

/* control_end - the reply is complete: sends {"end": true}. */
void control_end(struct control_reply *reply);

/* control_end_with - the reply is complete: sends OBJECT (taken over) with "end" added. */
void control_end_with(struct control_reply *reply, json_t *object);

/* control_fail - the reply ends with an error.
 * CODE: errno, either sign. */
void control_fail(struct control_reply *reply, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* control_stream - the answer takes longer than a millisecond or has many rows: make it in
 * steps.
 * STEP works for some milliseconds and returns true if there is more to do.
 * If STEP returns false, it has ended the reply or will end it later, and is not called again.
 * The loop serves others between two steps. The time between two steps is not bounded, because the
 * peer has to read.
 * DROP frees STATE. It is called in place of the next STEP when the peer has gone, and the reply
 * with it, possibly from inside control_stream().
 * What an operator has ordered is done to its end: DROP is not called. */
struct control_stream {
	bool (*step)(void *state);
	void (*drop)(void *state);
	void *state;
};
void control_stream(struct control_reply *reply, const struct control_stream *stream);

/* control_on_gone - the answer is worth nothing without its peer: when that goes, FN is called,
 * once, and ends the reply, now or later.
 * Not for streams. */
void control_on_gone(struct control_reply *reply, void (*fn)(void *data), void *data);

/* control_take_fd - the descriptor number INDEX (from 0) of those that came with the request, now
 * the caller's; -1: there is none.
 * What is not taken is closed with the reply. */
int control_take_fd(struct control_reply *reply, unsigned index);

/* control_may - may this peer use commands of RIGHT?
 * For commands whose options need more than the command. */
bool control_may(const struct control_reply *reply, enum control_right right);

/* control_peer_uid - who asks, as the kernel says. */
uid_t control_peer_uid(const struct control_reply *reply);

/* control_set_bytes - OBJECT[KEY] = the SIZE bytes at DATA as a string if they are UTF-8 (NUL
 * included), else OBJECT[KEY_base64].
 * 0, -ENOMEM. */
int control_set_bytes(json_t *object, const char *key, const void *data, size_t size);

#endif
