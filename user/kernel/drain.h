/* Reads a hash map of monotone counters, entry by entry, and keeps something of the caller's for each key, so that it can
 * take differences. Values are copied under the spin lock that they carry (BPF_F_LOCK), or, without one, word by word; in
 * batches where the kernel has them, else key by key. What the values mean is the caller's. */
#ifndef WEIR_KERNEL_DRAIN_H
#define WEIR_KERNEL_DRAIN_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct drain;

struct drain_options {
	int map_fd;
	unsigned key_bytes, value_bytes;
	unsigned entries_max;
	bool unlocked; /* values carry no lock: each counter is whole, one may be ahead of another */
	bool evicting; /* the kernel may delete keys (LRU): those that a read does not find are forgotten */
	/* Called for each entry found. @mine: where the caller keeps what it remembers of this key, NULL at first. */
	void (*entry)(void *arg, const void *key, const void *value, void **mine);
	void (*forget)(void *arg, void *mine); /* the key has been deleted; @mine may be NULL */
	void *arg;
};

struct drain *drain_new(const struct drain_options *options); /* NULL: no memory */
void drain_free(struct drain *d);
/* Entries read, or negative errno (then some may have been read: that is harmless, differences are not lost). */
int drain_read(struct drain *d);
/* Deletes the keys for which @match says so, in the map and here. Returns how many. */
int drain_delete(struct drain *d, bool (*match)(const void *key, const void *arg), const void *arg);
size_t drain_used_bytes(const struct drain *d);
unsigned drain_count(const struct drain *d); /* entries found by the last read */

#endif
