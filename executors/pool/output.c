/* output.c - pieces of output, put together in memory files. */
#include "output.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

void output_init(struct output *output, uint64_t limit_bytes)
{
	*output = (struct output){ .fds = { -1, -1 }, .limit_bytes = limit_bytes };
}

void output_clear(struct output *output)
{
	for (int i = 0; i < 2; i++)
		if (output->fds[i] >= 0)
			(void)close(output->fds[i]);
	output_init(output, output->limit_bytes);
}

/* Only the last piece of a stream may be small: the number of frames is bounded with the bytes. */
static const char *piece_check(const struct output *output, const struct sb_output *piece, size_t size)
{
	if (size < sizeof *piece || size > sizeof *piece + SB_OUTPUT_MAX || piece->stream > 1)
		return "a piece of output of the wrong size or stream";
	if (output->sizes[piece->stream] % SB_OUTPUT_MAX != 0)
		return "a piece of output after the last one";
	if (size - sizeof *piece > output->limit_bytes - output->sizes[piece->stream])
		return "more output than it was asked for";
	return NULL;
}

const char *output_add(struct output *output, const void *frame, size_t size)
{
	const struct sb_output *piece = frame;
	const char *wrong = piece_check(output, piece, size);

	if (wrong)
		return wrong;
	int *fd = &output->fds[piece->stream];
	size_t bytes = size - sizeof *piece;
	if (*fd < 0)
		*fd = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0 || write(*fd, piece + 1, bytes) != (ssize_t)bytes)
		return "output that there is no room for";
	output->sizes[piece->stream] += bytes;
	return NULL;
}

bool output_take(struct output *output, int ret_fds[2])
{
	bool whole = true;

	for (int i = 0; i < 2; i++) {
		ret_fds[i] = output->fds[i];
		if (ret_fds[i] < 0 || fcntl(ret_fds[i], F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0)
			whole = false;
	}
	output_init(output, output->limit_bytes);
	return whole;
}

unsigned output_frames_max(const struct output *output)
{
	return 2 * (unsigned)(output->limit_bytes / SB_OUTPUT_MAX + 1);
}
