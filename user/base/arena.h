/* Memory for things that end together: allocate by moving a pointer, free all at once. Not for more than one thread. */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* the newest, which is allocated from, first */
	size_t used;		    /* bytes allocated in all chunks */
	size_t max;
};

void arena_init(struct arena *arena, size_t bytes_max);
void arena_done(struct arena *arena);  /* frees all; may be used again */
void arena_reset(struct arena *arena); /* forgets all, keeps the first chunk */
/* Zeroed and aligned for anything. NULL: no memory, or the maximum is reached. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* @count items of @bytes; NULL also when the product is too great. */
void *arena_array(struct arena *arena, size_t count, size_t bytes);
char *arena_str(struct arena *arena, const char *text);

#endif
