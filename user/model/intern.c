#include "model/intern.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"

#define INTERN_CHUNK_BYTES (16u << 10)

struct chunk {
	struct chunk *next; /* so that a leak checker finds the full ones */
	char data[];
};

/* One table for the program: that is what lets every layer compare names by pointer. Chunks are never freed. */
static struct {
	pthread_mutex_t lock;
	struct map strings;
	struct chunk *chunks;
	char *free;
	size_t free_bytes;
	size_t chunk_bytes; /* all of them */
	unsigned long overflowed;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char overflow[] = INTERN_OVERFLOW;

struct key {
	const char *text;
	size_t bytes;
};

static bool string_is(const void *item, const void *key)
{
	const struct key *k = key;
	const char *text = item;

	return !strncmp(text, k->text, k->bytes) && !text[k->bytes];
}

static size_t used_bytes(void)
{
	return state.chunk_bytes + map_bytes(&state.strings);
}

/* Room for @bytes; NULL: no memory, or the limit. */
static char *room_take(size_t bytes)
{
	size_t chunk_bytes = bytes > INTERN_CHUNK_BYTES / 4 ? bytes : INTERN_CHUNK_BYTES;
	struct chunk *chunk;
	char *room;

	if (bytes <= state.free_bytes) {
		room = state.free;
		state.free += bytes;
		state.free_bytes -= bytes;
		return room;
	}
	if (chunk_bytes > INTERN_BYTES_MAX || used_bytes() + chunk_bytes > INTERN_BYTES_MAX)
		return NULL;
	chunk = malloc(sizeof(*chunk) + chunk_bytes);
	if (!chunk)
		return NULL;
	state.chunk_bytes += chunk_bytes;
	chunk->next = state.chunks;
	state.chunks = chunk;
	if (chunk_bytes == bytes)
		return chunk->data; /* a long string has its own chunk, the one in use goes on being filled */
	state.free = chunk->data + bytes;
	state.free_bytes = chunk_bytes - bytes;
	return chunk->data;
}

static const char *string_add(const struct key *key, __u64 hash)
{
	char *text;

	if (mem_equals_str(key->text, key->bytes, overflow))
		return overflow;
	/* The table doubles: it too must stay within the limit. */
	if (used_bytes() + map_bytes(&state.strings) > INTERN_BYTES_MAX)
		goto full;
	text = room_take(key->bytes + 1);
	if (!text)
		goto full;
	memcpy(text, key->text, key->bytes);
	text[key->bytes] = '\0';
	if (map_add(&state.strings, hash, text))
		goto full;
	return text;

full:
	state.overflowed++;
	return overflow;
}

const char *intern(const char *text, size_t bytes)
{
	struct key key = { .text = text, .bytes = strnlen(text, bytes) };
	__u64 hash = hash_bytes(key.text, key.bytes);
	const char *found;

	pthread_mutex_lock(&state.lock);
	found = map_find(&state.strings, hash, string_is, &key);
	if (!found)
		found = string_add(&key, hash);
	pthread_mutex_unlock(&state.lock);
	return found;
}

const char *intern_str(const char *text)
{
	return intern(text, strlen(text));
}

size_t intern_used_bytes(void)
{
	size_t bytes;

	pthread_mutex_lock(&state.lock);
	bytes = used_bytes();
	pthread_mutex_unlock(&state.lock);
	return bytes;
}

unsigned long intern_overflowed(void)
{
	unsigned long count;

	pthread_mutex_lock(&state.lock);
	count = state.overflowed;
	pthread_mutex_unlock(&state.lock);
	return count;
}
