/* arena.h - memory for very many small objects of one owner, in a few large pieces. An object
 * has no header. The pieces are huge pages where the kernel has them: with a million objects,
 * half the cost of reading one is to find its page. The memory of a freed object is used again
 * for objects of the same size. The pieces go back to the system in arena_done() only. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <stddef.h>

#define ARENA_GRANULE 16u
#define ARENA_CLASSES 33u /* up to 512 bytes; larger things come from malloc() */

struct arena_chunk;
struct arena {
	struct arena_chunk *chunks;
	char *next; /* unused rest of the newest chunk */
	size_t left;
	void *spare[ARENA_CLASSES]; /* freed things by size */
	size_t bytes; /* in use, rounded as they are stored */
};

/* arena_alloc - SIZE bytes (above 0), aligned to 16, not cleared. An arena of zeros is ready.
 * NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t size);

/* arena_free - SIZE is the one that arena_alloc() was given. */
void arena_free(struct arena *arena, void *p, size_t size);

/* arena_done - frees all objects of at most 512 bytes.
 * Larger ones must have been freed before. */
void arena_done(struct arena *arena);

/* huge_map - BYTES (a multiple of 2 MiB) of zeros, aligned to 2 MiB, with huge pages if the kernel
 * has them.
 * NULL: no memory. */
void *huge_map(size_t bytes);

/* huge_unmap - gives back what huge_map() returned; BYTES are the same. */
void huge_unmap(void *p, size_t bytes);
#define HUGE_BYTES ((size_t)2 << 20)

#endif
