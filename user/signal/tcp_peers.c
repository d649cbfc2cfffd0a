#include "signal/tcp_peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "base/why.h"
#include "kernel/drain.h"
#include "model/address.h"
#include "model/intern.h"
#include "signal/tcp_series.h"
#include "tcp.h"

#define OWNERS_MAX 20000

const struct metric tcp_peer_retransmits = {
	.name = "weir.tcp.peer.retransmits",
	.unit = "{segment}",
	.text = "Segments sent again, by address of the other end: those that needed most, and the rest as other.",
	.kind = METRIC_SUM,
};

/* A container. */
struct owner {
	__u64 cgroup_id;
	unsigned named; /* addresses that became labels */
	__u64 named_segments;
	__u64 rest; /* told so far */
};

/* One address of it, as long as the kernel remembers it. */
struct peer {
	__u64 cgroup_id;
	__u64 segments;	   /* as last read */
	const char *label; /* interned; NULL: part of the rest */
};

struct tcp_peers {
	struct aggregate *aggregate;
	__u64 start_ns;
	struct drain *drain;
	struct map owners;
	unsigned labels;
	const char *key_address, *other;
};

static bool owner_same(const void *item, const void *key)
{
	return ((const struct owner *)item)->cgroup_id == *(const __u64 *)key;
}

static struct owner *owner_get(struct tcp_peers *p, __u64 cgroup_id)
{
	__u64 hash = hash_mix(cgroup_id, 0);
	struct owner *o = map_find(&p->owners, hash, owner_same, &cgroup_id);

	if (o || p->owners.count >= OWNERS_MAX)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->cgroup_id = cgroup_id;
	if (map_add(&p->owners, hash, o)) {
		free(o);
		return NULL;
	}
	return o;
}

static void peers_add(struct tcp_peers *p, __u64 cgroup_id, const char *label, __u64 segments)
{
	struct attr attr = { .key = p->key_address, .type = ATTR_STR, .str = label };

	series_add(aggregate_series(p->aggregate, &tcp_peer_retransmits, cgroup_id, &attr, 1, p->start_ns), segments);
}

static bool owner_names(const struct tcp_peers *p, const struct owner *o, __u64 segments)
{
	if (p->labels >= TCP_PEERS_ALL || o->named >= TCP_PEERS_MAX)
		return false;
	return o->named < TCP_PEERS_FIRST || segments > o->named_segments / o->named;
}

static void peer_entry(void *arg, const void *key, const void *value, void **mine)
{
	const struct tcp_peer_key *k = key;
	const struct tcp_peer *v = value;
	struct tcp_peers *p = arg;
	struct peer *peer = *mine;
	char text[ADDRESS_ROOM];
	struct owner *o;
	__u64 new;

	if (!peer)
		*mine = peer = calloc(1, sizeof(*peer));
	o = owner_get(p, k->cgroup_id);
	if (!peer || !o)
		return;
	/* Fewer than before: the kernel had forgotten this address and met it again. */
	new = v->segments >= peer->segments ? v->segments - peer->segments : v->segments;
	peer->cgroup_id = k->cgroup_id;
	peer->segments = v->segments;
	if (!new)
		return;
	if (!peer->label && owner_names(p, o, v->segments)) {
		peer->label = intern_str(address_text(k->address, text));
		o->named++;
		p->labels++;
	}
	if (!peer->label)
		return;
	peers_add(p, k->cgroup_id, peer->label, new);
	o->named_segments += new;
}

static void peer_forget(void *arg, void *mine)
{
	free(mine);
}

int tcp_peers_new(int map_fd, unsigned entries_max, struct aggregate *aggregate, __u64 start_ns, struct tcp_peers **ret,
		  struct why *why)
{
	struct tcp_peers *p = calloc(1, sizeof(*p));
	const struct drain_options options = {
		.map_fd = map_fd,
		.key_bytes = sizeof(struct tcp_peer_key),
		.value_bytes = sizeof(struct tcp_peer),
		.entries_max = entries_max,
		.unlocked = true,
		.evicting = true,
		.entry = peer_entry,
		.forget = peer_forget,
		.arg = p,
	};

	if (!p)
		return why_set(why, -ENOMEM, "no memory");
	p->aggregate = aggregate;
	p->start_ns = start_ns;
	p->key_address = intern_str("network.peer.address");
	p->other = intern_str("other");
	p->drain = drain_new(&options);
	if (!p->drain) {
		tcp_peers_free(p);
		return why_set(why, -ENOMEM, "no memory");
	}
	*ret = p;
	return 0;
}

void tcp_peers_free(struct tcp_peers *p)
{
	struct owner *o;
	size_t pos = 0;

	if (!p)
		return;
	drain_free(p->drain);
	while ((o = map_next(&p->owners, &pos)))
		free(o);
	map_done(&p->owners);
	free(p);
}

int tcp_peers_read(struct tcp_peers *p)
{
	int count = drain_read(p->drain);

	return count < 0 ? count : 0;
}

void tcp_peers_publish(struct tcp_peers *p, const struct tcp_series *totals)
{
	struct owner *o;
	size_t pos = 0;

	while ((o = map_next(&p->owners, &pos))) {
		__u64 total = tcp_series_segments(totals, o->cgroup_id);
		__u64 rest = total > o->named_segments ? total - o->named_segments : 0;

		if (rest <= o->rest)
			continue;
		peers_add(p, o->cgroup_id, p->other, rest - o->rest);
		o->rest = rest;
	}
}

static bool key_of_cgroup(const void *key, const void *cgroup_id)
{
	return ((const struct tcp_peer_key *)key)->cgroup_id == *(const __u64 *)cgroup_id;
}

void tcp_peers_forget(struct tcp_peers *p, __u64 cgroup_id)
{
	__u64 hash = hash_mix(cgroup_id, 0);
	struct owner *o = map_find(&p->owners, hash, owner_same, &cgroup_id);

	drain_delete(p->drain, key_of_cgroup, &cgroup_id);
	if (!o)
		return;
	map_del(&p->owners, hash, o);
	free(o);
}
