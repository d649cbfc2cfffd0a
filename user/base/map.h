/* A hash table of pointers: open addressing, no allocation per item, items and keys are the caller's. Grows by
 * doubling; the caller bounds the number of items. */
#ifndef WEIR_BASE_MAP_H
#define WEIR_BASE_MAP_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct map_slot {
	__u64 hash;
	void *item; /* NULL: free */
};

struct map {
	struct map_slot *slots;
	size_t cap; /* 0 or a power of two */
	size_t count;
};

/* A zeroed struct map is empty and ready. */
void map_done(struct map *m); /* frees the table, not the items */
/* @same compares an item with @key; called only for equal hashes. NULL: not there. */
void *map_find(const struct map *m, __u64 hash, bool (*same)(const void *item, const void *key), const void *key);
/* Does not look for an equal one. 0 or -ENOMEM. */
int map_add(struct map *m, __u64 hash, void *item);
/* Takes @item out; it must be there. */
void map_del(struct map *m, __u64 hash, const void *item);
/* All items in no order: *pos is 0 at first; NULL at the end. The map must not change in between. */
void *map_next(const struct map *m, size_t *pos);
size_t map_bytes(const struct map *m);

#endif
