/* control.h - the daemon's end of a sandbox's control socket (protocol.h): listens in the
 * sandbox's folder, accepts init, sends and receives frames.
 *
 * What comes in is hostile. Here it is checked frame by frame (size, magic, type, descriptors
 * and their kind, numbers in range); whether a frame is due is the sandbox's state machine's to
 * decide (sandbox.c). One frame is taken per turn of the loop. Every descriptor received is
 * closed after the hook. */
#ifndef POOL_CONTROL_H
#define POOL_CONTROL_H

#include <listener/executor.h>
#include <protocol.h>

#include "output.h"

#define CONTROL_CONNECTS_MAX 32 /* between two results: more is a flood */
/* on one connection and for one job, besides output, likewise: three are usual */
#define CONTROL_FRAMES_MAX 128

struct control_hooks { /* any may call control_close() */
	void (*hello)(void *data, const struct sb_hello *hello);
	/* USED_BYTES: memory that the sandbox takes, as it says; 0: it does not say. */
	void (*ready)(void *data, uint64_t used_bytes);
	/* FDS: stdout and stderr (regular, sealed, at least as large as RESULT says, however they
	 * came), or both -1. Borrowed. */
	void (*result)(void *data, const struct sb_result *result, const int fds[2]);
	void (*closed)(void *data); /* the connection has ended; another may come */
	void (*violation)(void *data, const char *what);
	void *data;
};

struct control {
	const struct lsn_host *host;
	struct control_hooks hooks;
	int listen_fd, fd; /* -1: none */
	struct lsn_watch *listen_watch, *watch;
	unsigned connects, frames;
	struct output output; /* what has come of it in pieces */
};

/* control_open - bind "socket" in the folder DIR_FD (an old one is removed) for GID and listen.
 * 0 or negative errno; then nothing is left open. */
int control_open(struct control *control, const struct lsn_host *host, int dir_fd, const struct control_hooks *hooks);
void control_close(struct control *control); /* twice is fine */
bool control_connected(const struct control *control);

/* control_expect - a run whose output is at most LIMIT_BYTES a stream is there already. */
void control_expect(struct control *control, uint64_t limit_bytes);

struct control_run {
	uint64_t grace_usec, cpu_usec;
	uint32_t nofile;
	bool exec;
};

/* control_send_run - 0; -ENOTCONN, -E2BIG (strings too long), other negative errno: nothing was
 * sent. */
int control_send_run(struct control *control, const struct lsn_job *job, const struct control_run *run);

/* SB_FORGET, SB_CANCEL */
int control_send_job(struct control *control, enum sb_type type, uint64_t job);

/* control_check_result - is FRAME (SIZE bytes) with FD_COUNT descriptors a result that makes
 * sense in itself? One of version 1 is shorter than a struct sb_result.
 * NULL, or what is wrong. */
const char *control_check_result(const void *frame, size_t size, size_t fd_count);

#endif
