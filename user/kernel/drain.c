#include "kernel/drain.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"

#define BATCH_BYTES (64u << 10) /* of values a system call */
#define BATCH_MAX   4096	/* entries: one bucket must fit into a batch */

struct drained {
	void *mine;
	__u64 turn; /* read that found it last */
	char key[]; /* key_bytes */
};

struct drain {
	struct drain_options options;
	struct map known;
	unsigned batch; /* 0: the kernel has none, key by key */
	__u64 turn;
	char *keys, *values;
	unsigned count;
};

struct drained_key {
	const void *key;
	unsigned bytes;
};

static bool drained_same(const void *item, const void *key)
{
	const struct drained *e = item;
	const struct drained_key *k = key;

	return memcmp(e->key, k->key, k->bytes) == 0;
}

static struct drained *drain_find(const struct drain *d, const void *key, __u64 *ret_hash)
{
	*ret_hash = hash_bytes(key, d->options.key_bytes);
	return map_find(&d->known, *ret_hash, drained_same,
			&(struct drained_key){ .key = key, .bytes = d->options.key_bytes });
}

/* An entry that cannot be remembered for want of memory is not shown: its counts stay in the kernel, to be found by a
 * later read. */
static void drain_entry(struct drain *d, const void *key, const void *value)
{
	struct drained *e;
	__u64 hash;

	e = drain_find(d, key, &hash);
	if (!e) {
		e = calloc(1, sizeof(*e) + d->options.key_bytes);
		if (!e)
			return;
		memcpy(e->key, key, d->options.key_bytes);
		if (map_add(&d->known, hash, e)) {
			free(e);
			return;
		}
	}
	d->count++;
	e->turn = d->turn;
	d->options.entry(d->options.arg, key, value, &e->mine);
}

static int drain_set_batch(struct drain *d, unsigned batch)
{
	char *keys, *values;

	keys = realloc(d->keys, (size_t)batch * d->options.key_bytes);
	if (!keys)
		return -ENOMEM;
	d->keys = keys;
	values = realloc(d->values, (size_t)batch * d->options.value_bytes);
	if (!values)
		return -ENOMEM;
	d->values = values;
	d->batch = batch;
	return 0;
}

static unsigned batch_first(unsigned value_bytes)
{
	unsigned count = BATCH_BYTES / value_bytes;

	return count < 8 ? 8 : count > 256 ? 256 : count;
}

static __u64 drain_flags(const struct drain *d)
{
	return d->options.unlocked ? 0 : BPF_F_LOCK;
}

struct drain *drain_new(const struct drain_options *options)
{
	struct drain *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->options = *options;
	/* Two at least: without batches that is where a key and its successor lie. */
	if (drain_set_batch(d, batch_first(options->value_bytes))) {
		drain_free(d);
		return NULL;
	}
	return d;
}

void drain_free(struct drain *d)
{
	struct drained *e;
	size_t pos = 0;

	if (!d)
		return;
	while ((e = map_next(&d->known, &pos))) {
		d->options.forget(d->options.arg, e->mine);
		free(e);
	}
	map_done(&d->known);
	free(d->keys);
	free(d->values);
	free(d);
}

/* The position of a batch is a bucket number, kept where a key would be: 4 bytes, but the kernel may copy a key. */
union batch_pos {
	__u32 bucket;
	char key[64];
};

static int drain_batches(struct drain *d)
{
	DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = drain_flags(d));
	union batch_pos at = { 0 }, next = { 0 };
	bool first = true;
	__u32 count;
	int err;

	do {
		count = d->batch;
		err = bpf_map_lookup_batch(d->options.map_fd, first ? NULL : &at, &next, d->keys, d->values, &count,
					   &opts);
		if (err == -ENOSPC && d->batch < BATCH_MAX) { /* a bucket with more entries than fit */
			int nomem = drain_set_batch(d, d->batch * 2);

			if (nomem)
				return nomem;
			continue;
		}
		if (err && err != -ENOENT) /* -ENOENT: that was the last batch */
			return err;
		for (__u32 i = 0; i < count; i++)
			drain_entry(d, d->keys + (size_t)i * d->options.key_bytes,
				    d->values + (size_t)i * d->options.value_bytes);
		at = next;
		first = false;
	} while (err != -ENOENT);
	return 0;
}

/* Without batches. Keys that go away while we walk (only we delete) would restart it; the bound ends it all the same. */
static int drain_keys(struct drain *d)
{
	char *key = d->keys, *next = d->keys + d->options.key_bytes;
	unsigned left = 2 * d->options.entries_max + 2;
	const char *at = NULL;

	while (left-- && !bpf_map_get_next_key(d->options.map_fd, at, next)) {
		memcpy(key, next, d->options.key_bytes);
		at = key;
		if (!bpf_map_lookup_elem_flags(d->options.map_fd, key, d->values, drain_flags(d)))
			drain_entry(d, key, d->values);
	}
	return 0;
}

/* Takes out those for which @doomed says so. Returns how many, or -ENOMEM. */
static int drain_sweep(struct drain *d, bool (*doomed)(const struct drained *e, const void *arg), const void *arg,
		       bool in_kernel)
{
	struct drained *e, **list;
	unsigned count = 0;
	size_t pos = 0;

	if (!d->known.count)
		return 0;
	list = malloc(d->known.count * sizeof(*list));
	if (!list)
		return -ENOMEM;
	while ((e = map_next(&d->known, &pos)))
		if (doomed(e, arg))
			list[count++] = e;
	for (unsigned i = 0; i < count; i++) {
		e = list[i];
		if (in_kernel)
			bpf_map_delete_elem(d->options.map_fd, e->key);
		map_del(&d->known, hash_bytes(e->key, d->options.key_bytes), e);
		d->options.forget(d->options.arg, e->mine);
		free(e);
	}
	free(list);
	return (int)count;
}

static bool drained_gone(const struct drained *e, const void *turn)
{
	return e->turn != *(const __u64 *)turn;
}

int drain_read(struct drain *d)
{
	int err = 0;

	d->count = 0;
	d->turn++;
	if (d->batch)
		err = drain_batches(d);
	/* Batches of hash maps: 057996380a42 (5.6). Nothing has been read when they are refused. */
	if (d->batch && (err == -EINVAL || err == -ENOTSUP || err == -524) && !d->count)
		d->batch = 0;
	if (!d->batch)
		err = drain_keys(d);
	if (!err && d->options.evicting)
		drain_sweep(d, drained_gone, &d->turn, false);
	return err ? err : (int)d->count;
}

struct key_match {
	bool (*match)(const void *key, const void *arg);
	const void *arg;
};

static bool drained_matches(const struct drained *e, const void *arg)
{
	const struct key_match *m = arg;

	return m->match(e->key, m->arg);
}

int drain_delete(struct drain *d, bool (*match)(const void *key, const void *arg), const void *arg)
{
	const struct key_match m = { .match = match, .arg = arg };

	return drain_sweep(d, drained_matches, &m, true);
}

size_t drain_used_bytes(const struct drain *d)
{
	return sizeof(*d) + map_bytes(&d->known) +
	       d->known.count * (sizeof(struct drained) + d->options.key_bytes + 16) +
	       (size_t)d->batch * (d->options.key_bytes + d->options.value_bytes);
}

unsigned drain_count(const struct drain *d)
{
	return d->count;
}
