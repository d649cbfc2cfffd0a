#include "signal/tcp_series.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "model/intern.h"
#include "model/slots.h"

const struct metric tcp_retransmits = {
	.name = "weir.tcp.retransmits",
	.unit = "{segment}",
	.text = "Segments sent again, by what made the kernel do so and by where the other end is.",
	.kind = METRIC_SUM,
};
const struct metric tcp_retransmit_io = {
	.name = "weir.tcp.retransmit.io",
	.unit = "By",
	.text = "Payload sent again.",
	.kind = METRIC_SUM,
};
const struct metric tcp_spurious = {
	.name = "weir.tcp.spurious_retransmits",
	.unit = "{segment}",
	.text = "Segments sent again for nothing, as the receiver told (DSACK).",
	.kind = METRIC_SUM,
};
const struct metric tcp_connections = {
	.name = "weir.tcp.connections",
	.unit = "{connection}",
	.text = "Connections established, and with error.type those that never were.",
	.kind = METRIC_SUM,
};
const struct metric tcp_active_connections = {
	.name = "weir.tcp.active_connections",
	.unit = "{connection}",
	.text = "Connections that are established now.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric tcp_resets = {
	.name = "weir.tcp.resets",
	.unit = "{reset}",
	.text = "Resets (RST) sent and received; one that refuses a connect counts as a failed connection instead.",
	.kind = METRIC_SUM,
};
const struct metric tcp_io = {
	.name = "weir.tcp.io",
	.unit = "By",
	.text = "Payload sent, each byte once, and received in order.",
	.kind = METRIC_SUM,
};
const struct metric tcp_out_of_order = {
	.name = "weir.tcp.out_of_order",
	.unit = "{segment}",
	.text = "Segments received out of order.",
	.kind = METRIC_SUM,
};
const struct metric tcp_window_limited = {
	.name = "weir.tcp.receive_window_limited.time",
	.unit = "s",
	.text = "Time in which there was something to send and the receiver's window was full, zero window included.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};
const struct metric tcp_rtt_duration = {
	.name = "weir.tcp.rtt.duration",
	.unit = "s",
	.text = "Smoothed round-trip time: of each connection that carried data, once an interval and at its end.",
	.kind = METRIC_HIST,
	.bounds = HIST_BOUNDS_SHORT,
	.scale = 1e-9,
};
const struct metric tcp_rtt_min = {
	.name = "weir.tcp.rtt.min",
	.unit = "s",
	.text = "Least round-trip time of the connections that carried data in the last interval.",
	.kind = METRIC_GAUGE,
	.scale = 1e-9,
};

static const char *const role_names[TCP_ROLE_MAX] = { [TCP_ROLE_CLIENT] = "client", [TCP_ROLE_SERVER] = "server" };

static const char *const retransmit_names[TCP_RETRANSMIT_MAX] = {
	[TCP_RETRANSMIT_FAST] = "fast",
	[TCP_RETRANSMIT_TIMEOUT] = "timeout",
	[TCP_RETRANSMIT_PROBE] = "tail_loss_probe",
	[TCP_RETRANSMIT_SYN] = "syn",
	[TCP_RETRANSMIT_SYN_ACK] = "syn_ack",
};

static const char *const failure_names[TCP_FAILURE_MAX] = {
	[TCP_FAILURE_OTHER] = "_OTHER",
	[TCP_FAILURE_REFUSED] = "refused",
	[TCP_FAILURE_TIMED_OUT] = "timed_out",
	[TCP_FAILURE_HOST_UNREACHABLE] = "host_unreachable",
	[TCP_FAILURE_NET_UNREACHABLE] = "net_unreachable",
	[TCP_FAILURE_RESET] = "reset",
	[TCP_FAILURE_ABORTED] = "aborted",
	[TCP_FAILURE_NO_ADDRESS] = "address_not_available",
};

static const char *const class_names[TCP_CLASS_MAX] = {
	[TCP_CLASS_NONE] = "none",	   [TCP_CLASS_LOOPBACK] = "loopback", [TCP_CLASS_LINK_LOCAL] = "link_local",
	[TCP_CLASS_PRIVATE] = "private",   [TCP_CLASS_PUBLIC] = "public",     [TCP_CLASS_CONTAINER] = "container",
	[TCP_CLASS_OVERFLOW] = "overflow",
};

const char *tcp_role_name(unsigned role)
{
	return role_names[role < TCP_ROLE_MAX ? role : TCP_ROLE_CLIENT];
}

const char *tcp_retransmit_name(unsigned type)
{
	return type < TCP_RETRANSMIT_MAX ? retransmit_names[type] : "_OTHER";
}

const char *tcp_failure_name(unsigned failure)
{
	return failure_names[failure < TCP_FAILURE_MAX ? failure : TCP_FAILURE_OTHER];
}

const char *tcp_class_name(unsigned class)
{
	return class_names[class < TCP_CLASS_MAX ? class : TCP_CLASS_NONE];
}

/* Attribute keys and values, interned once. */
struct names {
	const char *type, *role, *error, *direction, *class, *name, *overflow;
	const char *receive, *transmit, *yes;
	const char *types[TCP_RETRANSMIT_MAX], *roles[TCP_ROLE_MAX], *failures[TCP_FAILURE_MAX],
		*classes[TCP_CLASS_MAX];
};

struct group {
	struct tcp_key key;
	struct tcp_stat stat;	    /* as last read */
	struct tcp_sums live, told; /* of the last walk; and what was delivered of both together */
	__u64 live_walk;
	__u64 live_count[TCP_ROLE_MAX];
	struct slots rtt;
	__u64 rtt_sum_ns;
	bool doomed;	/* to be forgotten as soon as its connections have ended */
	bool peer_gone; /* and because it is the other end's cgroup that is gone */
};

/* What is summed over all other ends of a container. */
struct owner {
	__u64 cgroup_id;
	__u64 segments;
	__s64 active[TCP_ROLE_MAX];
	bool shown[TCP_ROLE_MAX]; /* there is a series */
};

struct tcp_series {
	struct aggregate *aggregate;
	__u64 start_ns, jiffy_ns;
	unsigned groups_max; /* one table each for living and for ended connections may have other keys */
	__u64 events;
	__u64 walk;	 /* published last */
	unsigned doomed; /* groups */
	struct names names;
	struct map groups, owners;
};

/* ---- groups and owners */

static __u64 key_hash(const struct tcp_key *key)
{
	return hash_bytes(key, sizeof(*key));
}

static bool group_same(const void *item, const void *key)
{
	return !memcmp(&((const struct group *)item)->key, key, sizeof(struct tcp_key));
}

/* NULL: no room; then the kernel keeps the counts, and nothing of them is delivered. */
static struct group *group_get(struct tcp_series *s, const struct tcp_key *key)
{
	__u64 hash = key_hash(key);
	struct group *g = map_find(&s->groups, hash, group_same, key);

	if (g || s->groups.count >= s->groups_max)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->key = *key;
	if (map_add(&s->groups, hash, g)) {
		free(g);
		return NULL;
	}
	return g;
}

static void group_free(struct group *g)
{
	slots_done(&g->rtt);
	free(g);
}

static bool owner_same(const void *item, const void *key)
{
	return ((const struct owner *)item)->cgroup_id == *(const __u64 *)key;
}

static struct owner *owner_find(const struct tcp_series *s, __u64 cgroup_id)
{
	return map_find(&s->owners, hash_mix(cgroup_id, 0), owner_same, &cgroup_id);
}

static struct owner *owner_get(struct tcp_series *s, __u64 cgroup_id)
{
	struct owner *o = owner_find(s, cgroup_id);

	if (o || s->owners.count >= s->groups_max)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->cgroup_id = cgroup_id;
	if (map_add(&s->owners, hash_mix(cgroup_id, 0), o)) {
		free(o);
		return NULL;
	}
	return o;
}

static void names_init(struct names *n)
{
	n->type = intern_str("type");
	n->role = intern_str("role");
	n->error = intern_str("error.type");
	n->direction = intern_str("network.io.direction");
	n->class = intern_str("weir.peer.class");
	n->name = intern_str("weir.peer.name");
	n->overflow = intern_str("otel.metric.overflow");
	n->receive = intern_str("receive");
	n->transmit = intern_str("transmit");
	n->yes = intern_str("true");
	for (unsigned i = 0; i < TCP_RETRANSMIT_MAX; i++)
		n->types[i] = intern_str(retransmit_names[i]);
	for (unsigned i = 0; i < TCP_ROLE_MAX; i++)
		n->roles[i] = intern_str(role_names[i]);
	for (unsigned i = 0; i < TCP_FAILURE_MAX; i++)
		n->failures[i] = intern_str(failure_names[i]);
	for (unsigned i = 0; i < TCP_CLASS_MAX; i++)
		n->classes[i] = intern_str(class_names[i]);
}

struct tcp_series *tcp_series_new(struct aggregate *aggregate, unsigned table_max, __u64 start_ns, __u64 jiffy_ns)
{
	struct tcp_series *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->aggregate = aggregate;
	s->groups_max = 2 * table_max;
	s->start_ns = start_ns;
	s->jiffy_ns = jiffy_ns;
	names_init(&s->names);
	return s;
}

void tcp_series_free(struct tcp_series *s)
{
	struct group *g;
	struct owner *o;
	size_t pos = 0;

	if (!s)
		return;
	while ((g = map_next(&s->groups, &pos)))
		group_free(g);
	map_done(&s->groups);
	pos = 0;
	while ((o = map_next(&s->owners, &pos)))
		free(o);
	map_done(&s->owners);
	free(s);
}

/* ---- attributes */

struct attrs {
	struct attr items[ATTRS_MAX];
	unsigned count;
};

static void attrs_str(struct attrs *a, const char *key, const char *str)
{
	a->items[a->count++] = (struct attr){ .key = key, .type = ATTR_STR, .str = str };
}

/* Where the other end is: a class of addresses, or which container of this machine. */
static void attrs_peer(const struct tcp_series *s, struct attrs *a, const struct group *g)
{
	unsigned class = g->key.class < TCP_CLASS_MAX ? g->key.class : TCP_CLASS_NONE;

	if (class == TCP_CLASS_OVERFLOW) {
		attrs_str(a, s->names.overflow, s->names.yes);
		return;
	}
	attrs_str(a, s->names.class, s->names.classes[class]);
	if (class == TCP_CLASS_CONTAINER)
		a->items[a->count++] = (struct attr){ .key = s->names.name,
						      .type = ATTR_CGROUP,
						      .num = g->peer_gone ? ATTR_CGROUP_GONE : g->key.peer_cgroup };
}

static struct series *series_get(struct tcp_series *s, const struct group *g, const struct metric *metric,
				 const struct attrs *a)
{
	return aggregate_series(s->aggregate, metric, g->key.cgroup_id, a->items, a->count, s->start_ns);
}

/* What is new of one counter; nothing is not worth a series. @key NULL: no attribute of its own. */
static void group_add(struct tcp_series *s, const struct group *g, const struct metric *metric, const char *key,
		      const char *value, bool peer, __u64 new)
{
	struct attrs a = { .count = 0 };

	if (!new)
		return;
	if (key)
		attrs_str(&a, key, value);
	if (peer)
		attrs_peer(s, &a, g);
	series_add(series_get(s, g, metric, &a), new);
}

static void group_connections(struct tcp_series *s, const struct group *g, unsigned role, const char *error, __u64 new)
{
	struct attrs a = { .count = 0 };

	if (!new)
		return;
	attrs_str(&a, s->names.role, s->names.roles[role]);
	if (error)
		attrs_str(&a, s->names.error, error);
	attrs_peer(s, &a, g);
	series_add(series_get(s, g, &tcp_connections, &a), new);
}

/* ---- what is counted as it happens */

static void stat_retransmits(struct tcp_series *s, struct group *g, const struct tcp_stat *now)
{
	__u64 segments = 0;
	struct owner *o;

	for (unsigned i = 0; i < TCP_RETRANSMIT_MAX; i++) {
		segments += now->segments[i] - g->stat.segments[i];
		group_add(s, g, &tcp_retransmits, s->names.type, s->names.types[i], true,
			  now->segments[i] - g->stat.segments[i]);
		group_add(s, g, &tcp_retransmit_io, s->names.type, s->names.types[i], true,
			  now->bytes[i] - g->stat.bytes[i]);
	}
	o = segments ? owner_get(s, g->key.cgroup_id) : NULL;
	if (o)
		o->segments += segments;
}

void tcp_series_stat(struct tcp_series *s, const struct tcp_key *key, const struct tcp_stat *stat)
{
	struct group *g = group_get(s, key);

	if (!g)
		return;
	s->events += stat->events - g->stat.events;
	stat_retransmits(s, g, stat);
	for (unsigned role = 0; role < TCP_ROLE_MAX; role++)
		for (unsigned i = 0; i < TCP_FAILURE_MAX; i++)
			group_connections(s, g, role, s->names.failures[i],
					  stat->failed[role][i] - g->stat.failed[role][i]);
	group_add(s, g, &tcp_resets, s->names.direction, s->names.receive, false, stat->resets[0] - g->stat.resets[0]);
	group_add(s, g, &tcp_resets, s->names.direction, s->names.transmit, false, stat->resets[1] - g->stat.resets[1]);
	g->stat = *stat;
}

/* ---- what is read of living connections */

void tcp_series_live(struct tcp_series *s, const struct tcp_key *key, const struct tcp_live *live, __u64 walk)
{
	struct group *g;

	if (live->walk != walk)
		return;
	g = group_get(s, key);
	if (!g)
		return;
	g->live_walk = walk;
	g->live = live->sums;
	memcpy(g->live_count, live->count, sizeof(g->live_count));
}

void tcp_series_rtt(struct tcp_series *s, const struct tcp_key *key, const struct tcp_rtt *rtt, __u64 walk)
{
	struct group *g = group_get(s, key);
	struct attrs a = { .count = 0 };
	__u32 new[HIST_SLOTS];

	if (!g)
		return;
	attrs_peer(s, &a, g);
	/* Counted by the slots, which the kernel half adds last: the sum may be ahead by one that is on its way. */
	if (slots_take(&g->rtt, rtt->slots, new)) {
		series_add_slots(series_get(s, g, &tcp_rtt_duration, &a), new, rtt->sum_ns - g->rtt_sum_ns, 0);
		g->rtt_sum_ns = rtt->sum_ns;
	}
	if (rtt->min_walk == walk)
		series_set(series_get(s, g, &tcp_rtt_min, &a), rtt->min_ns);
}

/* A sum over ended and living connections never falls, but for one that ended between two looks: it waits. */
static __u64 sum_new(__u64 *told, __u64 closed, __u64 live)
{
	__u64 now = closed + live, new = now > *told ? now - *told : 0;

	*told += new;
	return new;
}

static void group_publish(struct tcp_series *s, struct group *g, __u64 walk)
{
	const struct tcp_sums none = { .bytes_sent = 0 }, *closed = &g->stat.closed;
	const struct tcp_sums *live = g->live_walk == walk ? &g->live : &none;
	struct tcp_sums *told = &g->told;

	for (unsigned role = 0; role < TCP_ROLE_MAX; role++)
		group_connections(s, g, role, NULL,
				  sum_new(&told->opened[role], closed->opened[role], live->opened[role]));
	group_add(s, g, &tcp_io, s->names.direction, s->names.transmit, true,
		  sum_new(&told->bytes_sent, closed->bytes_sent, live->bytes_sent));
	group_add(s, g, &tcp_io, s->names.direction, s->names.receive, true,
		  sum_new(&told->bytes_received, closed->bytes_received, live->bytes_received));
	group_add(s, g, &tcp_spurious, NULL, NULL, true, sum_new(&told->spurious, closed->spurious, live->spurious));
	group_add(s, g, &tcp_out_of_order, NULL, NULL, true,
		  sum_new(&told->out_of_order, closed->out_of_order, live->out_of_order));
	group_add(s, g, &tcp_window_limited, NULL, NULL, true,
		  s->jiffy_ns * sum_new(&told->window_limited, closed->window_limited, live->window_limited));
}

static void owners_publish(struct tcp_series *s)
{
	struct owner *o;
	size_t pos = 0;

	while ((o = map_next(&s->owners, &pos)))
		for (unsigned role = 0; role < TCP_ROLE_MAX; role++) {
			struct attrs a = { .count = 0 };

			if (!o->active[role] && !o->shown[role])
				continue;
			o->shown[role] = true;
			attrs_str(&a, s->names.role, s->names.roles[role]);
			if (!o->cgroup_id)
				attrs_str(&a, s->names.overflow, s->names.yes);
			series_set(aggregate_series(s->aggregate, &tcp_active_connections, o->cgroup_id, a.items,
						    a.count, s->start_ns),
				   o->active[role]);
		}
}

void tcp_series_publish(struct tcp_series *s, __u64 walk)
{
	struct owner *o;
	struct group *g;
	size_t pos = 0;

	s->walk = walk;
	while ((o = map_next(&s->owners, &pos)))
		memset(o->active, 0, sizeof(o->active));
	pos = 0;
	while ((g = map_next(&s->groups, &pos))) {
		group_publish(s, g, walk);
		if (g->live_walk != walk)
			continue;
		o = owner_get(s, g->key.cgroup_id);
		for (unsigned role = 0; o && role < TCP_ROLE_MAX; role++)
			o->active[role] += (__s64)g->live_count[role];
	}
	owners_publish(s);
}

/* ---- the end of a container */

/* Takes out those for which @match says so. */
static void groups_remove(struct tcp_series *s, bool (*match)(struct tcp_series *s, struct group *g, const void *arg),
			  const void *arg, void (*removed)(void *arg, const struct tcp_key *key), void *removed_arg)
{
	struct group *g, **list = s->groups.count ? malloc(s->groups.count * sizeof(*list)) : NULL;
	size_t pos = 0, count = 0;

	if (!list)
		return;
	while ((g = map_next(&s->groups, &pos)))
		if (match(s, g, arg))
			list[count++] = g;
	while (count) {
		g = list[--count];
		s->doomed -= g->doomed;
		map_del(&s->groups, key_hash(&g->key), g);
		if (removed)
			removed(removed_arg, &g->key);
		group_free(g);
	}
	free(list);
}

static bool group_lives(const struct tcp_series *s, const struct group *g)
{
	return g->live_walk && g->live_walk == s->walk;
}

static bool group_of_cgroup(struct tcp_series *s, struct group *g, const void *cgroup_id)
{
	__u64 id = *(const __u64 *)cgroup_id;
	bool peer = g->key.peer_cgroup && g->key.peer_cgroup == id;

	if (g->key.cgroup_id != id && !peer)
		return false;
	g->peer_gone |= peer;
	if (!group_lives(s, g))
		return true;
	s->doomed += !g->doomed;
	g->doomed = true;
	return false;
}

void tcp_series_forget(struct tcp_series *s, __u64 cgroup_id)
{
	struct owner *o = owner_find(s, cgroup_id);

	if (o) {
		map_del(&s->owners, hash_mix(cgroup_id, 0), o);
		free(o);
	}
	groups_remove(s, group_of_cgroup, &cgroup_id, NULL, NULL);
}

bool tcp_series_keeps(const struct tcp_series *s, const struct tcp_key *key)
{
	const struct group *g = s->doomed ? map_find(&s->groups, key_hash(key), group_same, key) : NULL;

	return g && g->doomed;
}

/* One walk without it is not enough: a connection that ended just before is among the ended ones in the next round. */
static bool group_ended(struct tcp_series *s, struct group *g, const void *arg)
{
	return g->doomed && s->walk - g->live_walk > 1;
}

void tcp_series_bury(struct tcp_series *s, void (*buried)(void *arg, const struct tcp_key *key), void *arg)
{
	if (s->doomed)
		groups_remove(s, group_ended, NULL, buried, arg);
}

__u64 tcp_series_events(const struct tcp_series *s)
{
	return s->events;
}

__u64 tcp_series_segments(const struct tcp_series *s, __u64 cgroup_id)
{
	const struct owner *o = owner_find(s, cgroup_id);

	return o ? o->segments : 0;
}

size_t tcp_series_bytes(const struct tcp_series *s)
{
	return sizeof(*s) + map_bytes(&s->groups) + map_bytes(&s->owners) + s->groups.count * sizeof(struct group) +
	       s->owners.count * sizeof(struct owner);
}
