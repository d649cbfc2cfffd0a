#include "view/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void keys_done(struct keys *keys)
{
	free(keys->items);
	free(keys->slots);
	memset(keys, 0, sizeof(*keys));
}

static __u64 key_hash(const char *text, unsigned tag)
{
	return hash_mix(hash_bytes(text, strlen(text)), tag);
}

/* Slot of the key, or the free one where it belongs. At least half of the slots are free. */
static size_t key_slot(const struct keys *keys, const char *text, unsigned tag, __u64 hash)
{
	size_t slot = hash & (keys->slots_count - 1);

	while (keys->slots[slot]) {
		const struct key *key = &keys->items[keys->slots[slot] - 1];

		if (key->hash == hash && key->tag == tag && (key->text == text || !strcmp(key->text, text)))
			break;
		slot = (slot + 1) & (keys->slots_count - 1);
	}
	return slot;
}

static int keys_grow(struct keys *keys)
{
	size_t slots_count = keys->slots_count ? keys->slots_count * 2 : 64;
	struct key *items = realloc(keys->items, slots_count / 2 * sizeof(*items));
	__u32 *slots;

	if (!items)
		return -ENOMEM;
	keys->items = items;
	slots = calloc(slots_count, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(keys->slots);
	keys->slots = slots;
	keys->slots_count = slots_count;
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *key = &items[i];

		slots[key_slot(keys, key->text, key->tag, key->hash)] = i + 1;
	}
	return 0;
}

ssize_t keys_find(const struct keys *keys, const char *text, unsigned tag)
{
	size_t slot;

	if (!keys->slots_count)
		return -ENOENT;
	slot = key_slot(keys, text, tag, key_hash(text, tag));
	return keys->slots[slot] ? (ssize_t)keys->slots[slot] - 1 : -ENOENT;
}

ssize_t keys_index(struct keys *keys, const char *text, unsigned tag)
{
	__u64 hash = key_hash(text, tag);
	ssize_t found = keys_find(keys, text, tag);

	if (found >= 0)
		return found;
	if (keys->count >= keys->slots_count / 2 && keys_grow(keys))
		return -ENOMEM;
	keys->slots[key_slot(keys, text, tag, hash)] = keys->count + 1;
	keys->items[keys->count] = (struct key){ .text = text, .tag = tag, .hash = hash };
	return keys->count++;
}
