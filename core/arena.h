/* arena.h - memory for very many small things of one owner, in a few large pieces: no header per
 * thing, and huge pages where the kernel has them, because with a million things half the cost
 * of touching one is finding its page. What is freed serves things of the same size again;
 * pieces go back to the system with the arena only. */
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

/* An arena of zeros is ready. arena_alloc - 16-byte aligned, not cleared; NULL: no memory.
 * SIZE > 0 is told again to arena_free(). */
void *arena_alloc(struct arena *arena, size_t size);
void arena_free(struct arena *arena, void *p, size_t size);

/* arena_done - all things of at most 512 bytes are gone; larger ones must have been freed
 * before. */
void arena_done(struct arena *arena);

/* huge_map - BYTES (a multiple of 2 MiB) of zeros, aligned to 2 MiB, with huge pages if there
 * are.
 * NULL: no memory. huge_unmap - the opposite. */
void *huge_map(size_t bytes);
void huge_unmap(void *p, size_t bytes);
#define HUGE_BYTES ((size_t)2 << 20)

#endif
