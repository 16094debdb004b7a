/* control_private.h - what control.c (the listening socket, who may connect) and
 * control_connection.c (a connection, its requests and replies) share. */
#ifndef CORE_CONTROL_PRIVATE_H
#define CORE_CONTROL_PRIVATE_H

#include "control.h"
#include "control_access.h"

#include <sys/queue.h>

struct buffer {
	char *data;
	size_t size, capacity;
};

/* One peer.
 * It is freed by connections_work() or control_free() only, never below a call a command may be
 * in; so a command may send, end and fail whatever became of the peer. */
struct connection {
	struct control *control;
	int fd; /* -1: the peer has gone */
	struct ucred peer;
	bool may[CONTROL_RIGHT_MAX];
	int fds[CONTROL_FDS_MAX]; /* descriptors that came, for the next request */
	unsigned fd_count;
	sd_event_source *io;
	struct buffer in, out;
	size_t out_sent; /* bytes of out already written */
	struct control_reply *reply; /* the request at work, or NULL */
	uint64_t active_usec; /* when a byte moved last */
	bool eof; /* the peer sends nothing more */
	bool hung_up; /* and does not read */
	bool closing; /* close when all is written */
	bool dead; /* of no more use; a stream of an operator still runs to its end */
	bool queued; /* in control->work */
	LIST_ENTRY(connection) list; /* of control->connections, or of control->dead */
	TAILQ_ENTRY(connection) work;
};
LIST_HEAD(connection_list, connection);
TAILQ_HEAD(connection_queue, connection);

struct control {
	sd_event *loop;
	const struct control_command *commands;
	void *data;
	char *path;
	struct control_access access;
	int fd;
	dev_t device; /* of the socket file that is ours */
	ino_t inode;
	sd_event_source *io, *tick;
	sd_event_source *slice; /* soon, while somebody waits in `work` */
	unsigned connection_count; /* not the dead ones */
	size_t answer_bytes; /* unread, all connections */
	struct connection_list connections, dead;
	/* requests and streams to go on with: one of them in each turn of the loop */
	struct connection_queue work;
};

/* connection_new - takes over FD if it succeeds; NULL with errno set if not. */
struct connection *connection_new(struct control *control, int fd);

/* connection_refuse - say why, and close. */
void connection_refuse(struct connection *connection, int code, const char *message);

/* connection_kill - close it; what it asked for is dropped, unless it is an operator's request,
 * which goes on. */
void connection_kill(struct connection *connection);

/* connection_is_idle - it has not moved a byte since BEFORE_USEC (monotonic), and not because of
 * us. */
bool connection_is_idle(const struct connection *connection, uint64_t before_usec);

/* connections_work - a slice for the one that waits longest. */
void connections_work(struct control *control);

/* connections_free - all of them, with their streams. */
void connections_free(struct control *control);

#endif
