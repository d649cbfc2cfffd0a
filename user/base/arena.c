#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* Below malloc's threshold for mapping, so that resetting and filling again does not go to the kernel. */
#define CHUNK_BYTES (64u << 10)

struct arena_chunk {
	struct arena_chunk *next;
	size_t room, used;
	alignas(max_align_t) char data[];
};

void arena_init(struct arena *arena, size_t bytes_max)
{
	*arena = (struct arena){ .max = bytes_max };
}

void arena_done(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	arena->used = 0;
}

void arena_reset(struct arena *arena)
{
	struct arena_chunk *keep = arena->chunks;

	while (keep && keep->next) {
		struct arena_chunk *next = keep->next;

		free(keep);
		keep = next;
	}
	if (keep)
		keep->used = 0;
	arena->chunks = keep;
	arena->used = 0;
}

static struct arena_chunk *chunk_add(struct arena *arena, size_t bytes)
{
	size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
	struct arena_chunk *chunk = malloc(sizeof(*chunk) + room);

	if (!chunk)
		return NULL;
	chunk->next = arena->chunks;
	chunk->room = room;
	chunk->used = 0;
	arena->chunks = chunk;
	return chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	const size_t align = alignof(max_align_t);
	struct arena_chunk *chunk = arena->chunks;
	char *ret;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + align - 1) / align * align;
	if (bytes > arena->max - arena->used)
		return NULL;
	if (!chunk || bytes > chunk->room - chunk->used)
		chunk = chunk_add(arena, bytes);
	if (!chunk)
		return NULL;
	ret = chunk->data + chunk->used;
	chunk->used += bytes;
	arena->used += bytes;
	return memset(ret, 0, bytes);
}

void *arena_array(struct arena *arena, size_t count, size_t bytes)
{
	size_t product;

	return __builtin_mul_overflow(count, bytes, &product) ? NULL : arena_alloc(arena, product);
}

char *arena_str(struct arena *arena, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *ret = arena_alloc(arena, bytes);

	return ret ? memcpy(ret, text, bytes) : NULL;
}
