/* A listener's drops are those of its living sockets plus those of closed ones. The closed ones are read first: a socket
 * that closes in between is missing until the next look, and never counted twice. */
#include "signal/tcp_listen.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "base/why.h"
#include "kernel/drain.h"
#include "kernel/iter.h"
#include "model/address.h"
#include "model/intern.h"

const struct metric tcp_listen_drops = {
	.name = "weir.tcp.listen.drops",
	.unit = "{drop}",
	.text = "SYNs and finished handshakes that a listening socket dropped, because its accept queue was full or for want of memory.",
	.kind = METRIC_SUM,
};
const struct metric tcp_listen_queue = {
	.name = "weir.tcp.listen.queue.length",
	.unit = "{connection}",
	.text = "Connections that wait for accept(2).",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric tcp_listen_limit = {
	.name = "weir.tcp.listen.queue.limit",
	.unit = "{connection}",
	.text = "How many connections may wait for accept(2): the backlog of listen(2), or net.core.somaxconn.",
	.kind = METRIC_GAUGE,
	.updown = true,
};

struct listener {
	struct tcp_listener_key key;
	bool living;  /* the last look found it */
	__u64 drops;  /* of its living sockets, by the look going on */
	__u64 closed; /* of its closed ones */
	__u64 told;
	__u64 queue, limit;
	struct series *drops_series, *queue_series, *limit_series;
};

struct tcp_listen {
	struct tcp_listen_options options;
	struct bpf_link *link;
	struct drain *drain; /* of the closed ones */
	struct map listeners;
	const char *key_address, *key_port;
};

static bool listener_same(const void *item, const void *key)
{
	return !memcmp(&((const struct listener *)item)->key, key, sizeof(struct tcp_listener_key));
}

static __u64 key_hash(const struct tcp_listener_key *key)
{
	return hash_bytes(key, sizeof(*key));
}

static struct series *listener_series(struct tcp_listen *l, const struct listener *n, const struct metric *metric)
{
	char text[ADDRESS_ROOM];
	const struct attr attrs[] = {
		{ .key = l->key_address, .type = ATTR_STR, .str = intern_str(address_text(n->key.address, text)) },
		{ .key = l->key_port, .type = ATTR_INT, .num = n->key.port },
	};

	return aggregate_series(l->options.aggregate, metric, n->key.cgroup_id, attrs, 2, l->options.start_ns);
}

/* NULL: no room or no memory; it is looked at again next time. */
static struct listener *listener_get(struct tcp_listen *l, const struct tcp_listener_key *key)
{
	__u64 hash = key_hash(key);
	struct listener *n = map_find(&l->listeners, hash, listener_same, key);

	if (n || l->listeners.count >= TCP_LISTENERS_MAX)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->key = *key;
	if (map_add(&l->listeners, hash, n)) {
		free(n);
		return NULL;
	}
	n->drops_series = listener_series(l, n, &tcp_listen_drops);
	n->queue_series = listener_series(l, n, &tcp_listen_queue);
	n->limit_series = listener_series(l, n, &tcp_listen_limit);
	return n;
}

static void closed_entry(void *arg, const void *key, const void *value, void **mine)
{
	struct listener *n = listener_get(arg, key);

	if (n)
		memcpy(&n->closed, value, sizeof(n->closed));
}

static void closed_forget(void *arg, void *mine)
{
}

int tcp_listen_new(const struct tcp_listen_options *options, struct tcp_listen **ret, struct why *why)
{
	struct tcp_listen *l = calloc(1, sizeof(*l));
	const struct drain_options closed = {
		.map_fd = options->closed_map_fd,
		.key_bytes = sizeof(struct tcp_listener_key),
		.value_bytes = sizeof(__u64),
		.entries_max = TCP_LISTENERS_MAX,
		.unlocked = true,
		.entry = closed_entry,
		.forget = closed_forget,
		.arg = l,
	};
	int err;

	if (!l)
		return why_set(why, -ENOMEM, "no memory");
	l->options = *options;
	l->key_address = intern_str("network.local.address");
	l->key_port = intern_str("network.local.port");
	l->drain = drain_new(&closed);
	err = l->drain ? iter_attach(options->walk, options->walk_map_fd, &l->link, why)
		       : why_set(why, -ENOMEM, "no memory");
	if (err) {
		tcp_listen_free(l);
		return err;
	}
	*ret = l;
	return 0;
}

void tcp_listen_free(struct tcp_listen *l)
{
	struct listener *n;
	size_t pos = 0;

	if (!l)
		return;
	drain_free(l->drain);
	bpf_link__destroy(l->link);
	while ((n = map_next(&l->listeners, &pos)))
		free(n);
	map_done(&l->listeners);
	free(l);
}

static void listeners_remove(struct tcp_listen *l, bool (*doomed)(const struct listener *n, const void *arg),
			     const void *arg)
{
	struct listener *n, **list = l->listeners.count ? malloc(l->listeners.count * sizeof(*list)) : NULL;
	size_t pos = 0, count = 0;

	if (!list)
		return;
	while ((n = map_next(&l->listeners, &pos)))
		if (doomed(n, arg))
			list[count++] = n;
	while (count) {
		n = list[--count];
		map_del(&l->listeners, key_hash(&n->key), n);
		free(n);
	}
	free(list);
}

/* It has closed and never dropped: nothing about it must be remembered. Programs that listen on ever new ports would
 * fill the table otherwise. */
static bool listener_unused(const struct listener *n, const void *arg)
{
	return !n->living && !n->told && !n->closed;
}

static void living_row(void *arg, const void *row)
{
	const struct tcp_listener *r = row;
	struct tcp_listener_key key = { .cgroup_id = r->cgroup_id, .port = r->port };
	struct listener *n;

	memcpy(key.address, r->address, sizeof(key.address));
	n = listener_get(arg, &key);
	if (!n)
		return;
	n->living = true;
	n->drops += r->drops;
	n->queue += r->queue;
	n->limit += r->limit;
}

static void listener_tell(struct tcp_listen *l, struct listener *n,
			  void (*dropped)(void *arg, const struct tcp_listener *listener, __u64 drops), void *arg)
{
	struct tcp_listener row = { .cgroup_id = n->key.cgroup_id, .port = n->key.port };
	__u64 now = n->closed + n->drops, new = now > n->told ? now - n->told : 0;

	series_set(n->queue_series, n->queue);
	series_set(n->limit_series, n->limit);
	if (!new)
		return;
	n->told = now;
	series_add(n->drops_series, new);
	if (!dropped)
		return;
	memcpy(row.address, n->key.address, sizeof(row.address));
	row.drops = now;
	row.queue = n->queue;
	row.limit = n->limit;
	dropped(arg, &row, new);
}

int tcp_listen_read(struct tcp_listen *l, void (*dropped)(void *arg, const struct tcp_listener *listener, __u64 drops),
		    void *arg)
{
	struct listener *n;
	size_t pos = 0;
	int err;

	err = drain_read(l->drain);
	if (err < 0)
		return err;
	while ((n = map_next(&l->listeners, &pos))) {
		n->living = false;
		n->drops = n->queue = n->limit = 0;
	}
	err = iter_run(l->link, sizeof(struct tcp_listener), living_row, l);
	pos = 0;
	while ((n = map_next(&l->listeners, &pos)))
		listener_tell(l, n, dropped, arg);
	listeners_remove(l, listener_unused, NULL);
	return err;
}

static bool key_of_cgroup(const void *key, const void *cgroup_id)
{
	return ((const struct tcp_listener_key *)key)->cgroup_id == *(const __u64 *)cgroup_id;
}

static bool listener_of_cgroup(const struct listener *n, const void *cgroup_id)
{
	return n->key.cgroup_id == *(const __u64 *)cgroup_id;
}

void tcp_listen_forget(struct tcp_listen *l, __u64 cgroup_id)
{
	drain_delete(l->drain, key_of_cgroup, &cgroup_id);
	listeners_remove(l, listener_of_cgroup, &cgroup_id);
}
