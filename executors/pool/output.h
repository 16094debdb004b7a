/* output.h - a script's output that comes in pieces (SB_OUTPUT of protocol.h), because its sandbox
 * has a kernel of its own that hands out no descriptors.
 *
 * The pieces are hostile input. What they may add up to is set before the run. */
#ifndef POOL_OUTPUT_H
#define POOL_OUTPUT_H

#include <protocol.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct output {
	int fds[2]; /* stdout, stderr, as memfds; -1: no piece yet */
	uint64_t sizes[2]; /* bytes in them */
	uint64_t limit_bytes; /* of each */
};

/* output_init - nothing has come.
 * LIMIT_BYTES: what a stream may have. */
void output_init(struct output *output, uint64_t limit_bytes);

/* output_clear - forget what has come; the limit stays. */
void output_clear(struct output *output);

/* output_add - take FRAME, SIZE bytes with its head checked.
 * NULL, or what is wrong with it. */
const char *output_add(struct output *output, const void *frame, size_t size);

/* output_take - hand over what has come, sealed; nothing has come afterwards.
 * RET_FDS: the caller's, or -1 for a stream without a piece.
 * true: both streams are there. */
bool output_take(struct output *output, int ret_fds[2]);

/* output_frames_max - how many frames both streams take at most. */
unsigned output_frames_max(const struct output *output);

#endif
