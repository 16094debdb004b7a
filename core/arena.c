/* arena.c - see arena.h. */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* the first; each further one is twice as large, until huge */
#define CHUNK_MIN_BYTES ((size_t)4 << 10)

struct arena_chunk {
	struct arena_chunk *next;
	size_t bytes;
};
_Static_assert(sizeof(struct arena_chunk) % ARENA_GRANULE == 0, "what follows a chunk's head is aligned");

void *huge_map(size_t bytes)
{
	/* Older kernels do not align by themselves: take too much, give back what stands over. */
	char *p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	size_t before = (HUGE_BYTES - (uintptr_t)p % HUGE_BYTES) % HUGE_BYTES;
	if (before > 0)
		(void)munmap(p, before);
	(void)munmap(p + before + bytes, HUGE_BYTES - before);
	(void)madvise(p + before, bytes, MADV_HUGEPAGE); /* fine without */
	return p + before;
}

void huge_unmap(void *p, size_t bytes) { (void)munmap(p, bytes); }

static int add_chunk(struct arena *arena)
{
	size_t bytes = arena->chunks ? arena->chunks->bytes * 2 : CHUNK_MIN_BYTES;
	if (bytes > HUGE_BYTES)
		bytes = HUGE_BYTES;
	struct arena_chunk *chunk = bytes == HUGE_BYTES ? huge_map(bytes) : malloc(bytes);
	if (!chunk)
		return -1;
	chunk->next = arena->chunks;
	chunk->bytes = bytes;
	arena->chunks = chunk;
	arena->next = (char *)(chunk + 1);
	arena->left = bytes - sizeof *chunk;
	return 0;
}

static size_t class_of(size_t size) { return (size + ARENA_GRANULE - 1) / ARENA_GRANULE; }

/* The rest of a chunk is not wasted: it becomes a spare thing. */
static void keep_rest(struct arena *arena)
{
	size_t class = arena->left / ARENA_GRANULE;
	if (class == 0 || class >= ARENA_CLASSES)
		return;
	memcpy(arena->next, &arena->spare[class], sizeof(void *));
	arena->spare[class] = arena->next;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	size_t class = class_of(size), bytes = class * ARENA_GRANULE;
	void *p;
	if (class >= ARENA_CLASSES) {
		p = malloc(size);
	} else if (arena->spare[class]) {
		p = arena->spare[class];
		memcpy(&arena->spare[class], p, sizeof(void *));
	} else {
		if (arena->left < bytes) {
			keep_rest(arena);
			arena->left = 0;
			if (add_chunk(arena) < 0)
				return NULL;
		}
		p = arena->next;
		arena->next += bytes;
		arena->left -= bytes;
	}
	if (p)
		arena->bytes += bytes;
	return p;
}

void arena_free(struct arena *arena, void *p, size_t size)
{
	size_t class = class_of(size);
	arena->bytes -= class * ARENA_GRANULE;
	if (class >= ARENA_CLASSES) {
		free(p);
		return;
	}
	memcpy(p, &arena->spare[class], sizeof(void *));
	arena->spare[class] = p;
}

void arena_done(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;
		arena->chunks = chunk->next;
		if (chunk->bytes == HUGE_BYTES)
			huge_unmap(chunk, HUGE_BYTES);
		else
			free(chunk);
	}
	*arena = (struct arena){ .chunks = NULL };
}
