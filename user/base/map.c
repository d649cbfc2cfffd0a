#include "base/map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define MAP_CAP_FIRST 8

void map_done(struct map *m)
{
	free(m->slots);
	*m = (struct map){ 0 };
}

void *map_find(const struct map *m, __u64 hash, bool (*same)(const void *item, const void *key), const void *key)
{
	if (!m->cap)
		return NULL;
	for (size_t i = hash & (m->cap - 1); m->slots[i].item; i = (i + 1) & (m->cap - 1))
		if (m->slots[i].hash == hash && same(m->slots[i].item, key))
			return m->slots[i].item;
	return NULL;
}

static void slot_put(struct map_slot *slots, size_t cap, struct map_slot slot)
{
	size_t i = slot.hash & (cap - 1);

	while (slots[i].item)
		i = (i + 1) & (cap - 1);
	slots[i] = slot;
}

int map_add(struct map *m, __u64 hash, void *item)
{
	/* At most three quarters full: a search for what is not there ends soon. */
	if ((m->count + 1) * 4 > m->cap * 3) {
		size_t cap = m->cap ? m->cap * 2 : MAP_CAP_FIRST;
		struct map_slot *slots = calloc(cap, sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		for (size_t i = 0; i < m->cap; i++)
			if (m->slots[i].item)
				slot_put(slots, cap, m->slots[i]);
		free(m->slots);
		m->slots = slots;
		m->cap = cap;
	}
	slot_put(m->slots, m->cap, (struct map_slot){ .hash = hash, .item = item });
	m->count++;
	return 0;
}

/* Moves what comes after into the gap as far as its own place allows, so no tombstone is needed. */
void map_del(struct map *m, __u64 hash, const void *item)
{
	size_t mask = m->cap - 1;
	size_t gap = hash & mask;

	while (m->slots[gap].item != item) {
		assert(m->slots[gap].item);
		gap = (gap + 1) & mask;
	}
	for (size_t i = (gap + 1) & mask; m->slots[i].item; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;

		if (((i - home) & mask) < ((i - gap) & mask))
			continue; /* its place is behind the gap: there it would not be found */
		m->slots[gap] = m->slots[i];
		gap = i;
	}
	m->slots[gap].item = NULL;
	m->count--;
}

void *map_next(const struct map *m, size_t *pos)
{
	while (*pos < m->cap) {
		void *item = m->slots[(*pos)++].item;

		if (item)
			return item;
	}
	return NULL;
}

size_t map_bytes(const struct map *m)
{
	return m->cap * sizeof(*m->slots);
}
