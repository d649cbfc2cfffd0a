/* Numbers keys in the order in which they are first seen: the index of a view that groups series. A key is a text and a
 * small number. Texts are borrowed and must outlive it. */
#ifndef WEIR_VIEW_KEYS_H
#define WEIR_VIEW_KEYS_H

#include <linux/types.h>
#include <stddef.h>
#include <sys/types.h>

struct key {
	const char *text;
	unsigned tag;
	__u64 hash;
};

struct keys {
	size_t count;
	struct key *items;
	size_t slots_count; /* a power of two, or 0 */
	__u32 *slots;	    /* index + 1; 0: free */
};

/* All zero is a valid empty one. */
void keys_done(struct keys *keys);
/* Number of the key; the next free one (then keys->count grows) when it is new; -ENOMEM. */
ssize_t keys_index(struct keys *keys, const char *text, unsigned tag);
/* The same without making one: -ENOENT. */
ssize_t keys_find(const struct keys *keys, const char *text, unsigned tag);

#endif
