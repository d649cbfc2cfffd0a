/* TCP: tables, walks and records of the kernel half become series and spans. What the tables mean stands in
 * tcp_series.c, listeners in tcp_listen.c, addresses in tcp_peers.c.
 *
 * Reading order: load, decode (spans), drain, conservation, the descriptor. */
#include "tcp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "control.h"
#include "kernel/drain.h"
#include "kernel/features.h"
#include "kernel/iter.h"
#include "kernel/loader.h"
#include "kernel/maps.h"
#include "model/address.h"
#include "model/hist.h"
#include "model/intern.h"
#include "model/slots.h"
#include "signal/signal.h"
#include "signal/tcp_listen.h"
#include "signal/tcp_peers.h"
#include "signal/tcp_series.h"

#include "tcp.skel.h"

#define LINKS_MAX 10
#define TABLE_MAX 10000

static const struct metric tcp_handshake = {
	.name = "weir.tcp.handshake.duration",
	.unit = "s",
	.text = "Client: from the first SYN until the connection is established. Server: the round-trip time of SYN-ACK and ACK.",
	.kind = METRIC_HIST,
	.bounds = HIST_BOUNDS_SHORT,
	.scale = 1e-9,
};
static const struct metric tcp_duration = {
	.name = "weir.tcp.connection.duration",
	.unit = "s",
	.text = "From established to the end of the connection.",
	.kind = METRIC_HIST,
	.scale = 1e-9,
};
static const struct metric tcp_recovery = {
	.name = "weir.tcp.recovery.duration",
	.unit = "s",
	.text = "Time lost to one loss: from the first transmission of the segment (reckoned back from the second) to the acknowledgement that ends the recovery.",
	.kind = METRIC_HIST,
	.scale = 1e-9,
};
static const struct metric tcp_untraced = {
	.name = "weir.tcp.untraced",
	.unit = "{event}",
	.text = "Events that were counted and whose line of trace was lost, because the ring was full.",
	.kind = METRIC_SUM,
};
static const struct metric tcp_stateless = {
	.name = "weir.tcp.unfollowed",
	.unit = "{connection}",
	.text = "Connections that are not counted, because the kernel had no memory for their state.",
	.kind = METRIC_SUM,
};

struct tcp {
	struct signal_ctx *ctx;
	struct tcp_bpf *skel;
	struct bpf_link *links[LINKS_MAX];
	unsigned links_count;
	struct bpf_link *walk;
	struct drain *table, *lives, *rtts, *hists;
	struct tcp_series *series;
	struct tcp_peers *peers;
	struct tcp_listen *listen;
	__u64 start_ns;
	__u64 bad; /* records that could not be understood */
	const char *key_role, *roles[TCP_ROLE_MAX];
};

/* ---- load */

/* Length of the kernel's tick: the coarse clock advances by it. */
static __u64 tcp_jiffy_ns(void)
{
	struct timespec tick;

	return clock_getres(CLOCK_MONOTONIC_COARSE, &tick) ? 4 * NS_PER_MS : tick.tv_sec * NS_PER_S + tick.tv_nsec;
}

static unsigned tcp_table_max(const struct tcp *t)
{
	return t->ctx->options->table_max ? t->ctx->options->table_max : TABLE_MAX;
}

static int tcp_configure(struct tcp *t, struct why *why)
{
	bool storage = features_have(t->ctx->features, FEAT(TP_BTF_SK_STORAGE));
	struct tcp_config *config = (struct tcp_config *)&t->skel->rodata->config;
	unsigned table_max = tcp_table_max(t);
	int err;

	config->jiffy_ns = tcp_jiffy_ns();
	config->storage = storage;
	memcpy((void *)t->skel->rodata->hist_threshold, hist_thresholds(), HIST_TABLE * sizeof(__u64));
	t->skel->bss->tcp_walk_number = 1; /* 0 is "never" */
	/* Whatever the first of these has no room for comes to none of the others. */
	err = bpf_map__set_max_entries(t->skel->maps.tcp_table, table_max);
	if (!err)
		err = bpf_map__set_max_entries(t->skel->maps.tcp_lives, table_max);
	if (!err)
		err = bpf_map__set_max_entries(t->skel->maps.tcp_rtts, table_max);
	if (!err && storage) {
		err = bpf_map__set_max_entries(t->skel->maps.tcp_conns_hash, 1);
		if (!err)
			err = bpf_map__set_max_entries(t->skel->maps.tcp_listenings_hash, 1);
	}
	return err ? why_set(why, err, "cannot set the size of a map: %s", strerror(-err)) : 0;
}

/* Which programs serve one end on this kernel. */
static int tcp_choose(struct tcp *t, struct why *why)
{
	const struct features *f = t->ctx->features;
	bool storage = features_have(f, FEAT(TP_BTF_SK_STORAGE));
	bool listing = features_have(f, FEAT(SK_STORAGE_ITER));
	bool congestion = features_have(f, FEAT(TP_CONGESTION));
	const struct {
		const char *program;
		bool load;
	} choices[] = {
		{ "tcp_state", true },
		{ "tcp_state_again", storage }, /* where there is none, the kernel leaves no program out */
		{ "tcp_destroyed", storage },
		{ "tcp_retransmit", true },
		{ "tcp_retransmit_syn_ack", true },
		{ "tcp_reset_sent", true },
		{ "tcp_reset_received", true },
		{ "tcp_congestion", congestion },
		{ "tcp_acknowledged", !congestion },
		{ "tcp_walk", storage && listing },
		{ "tcp_listeners", storage && listing },
		{ "tcp_walk_files", storage && !listing },
		{ "tcp_listeners_files", storage && !listing },
		{ "tcp_walk_hash", !storage },
		{ "tcp_listeners_hash", !storage },
		{ "tcp_find", features_have(f, FEAT(SOCK_FROM_FILE)) && storage },
		{ "tcp_find_hash", !storage },
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(choices) / sizeof(choices[0]); i++)
		err = loader_choose(t->skel->obj, choices[i].program, choices[i].load, why);
	return err;
}

static void stat_entry(void *arg, const void *key, const void *value, void **mine)
{
	struct tcp *t = arg;

	tcp_series_stat(t->series, key, value);
}

static void live_entry(void *arg, const void *key, const void *value, void **mine)
{
	struct tcp *t = arg;

	tcp_series_live(t->series, key, value, t->skel->bss->tcp_walk_number);
}

static void rtt_entry(void *arg, const void *key, const void *value, void **mine)
{
	struct tcp *t = arg;

	tcp_series_rtt(t->series, key, value, t->skel->bss->tcp_walk_number);
}

/* What is taken over of one histogram of whole connections. */
struct taken {
	struct slots slots;
	__u64 sum_ns;
};

static void hist_entry(void *arg, const void *key, const void *value, void **mine)
{
	static const struct metric *const metrics[TCP_HIST_MAX] = {
		[TCP_HIST_HANDSHAKE] = &tcp_handshake,
		[TCP_HIST_DURATION] = &tcp_duration,
		[TCP_HIST_RECOVERY] = &tcp_recovery,
	};
	const struct tcp_hist_key *k = key;
	const struct tcp_hist *h = value;
	struct taken *taken = *mine;
	__u32 new[HIST_SLOTS];
	struct tcp *t = arg;
	struct attr attr;

	if (k->kind >= TCP_HIST_MAX || k->role >= TCP_ROLE_MAX)
		return;
	if (!taken)
		*mine = taken = calloc(1, sizeof(*taken));
	if (!taken || !slots_take(&taken->slots, h->slots, new))
		return;
	attr = (struct attr){ .key = t->key_role, .type = ATTR_STR, .str = t->roles[k->role] };
	series_add_slots(aggregate_series(t->ctx->sink->aggregate, metrics[k->kind], k->cgroup_id, &attr, 1,
					  t->start_ns),
			 new, h->sum_ns - taken->sum_ns, 0);
	taken->sum_ns = h->sum_ns;
}

static void hist_forget(void *arg, void *mine)
{
	struct taken *taken = mine;

	if (taken)
		slots_done(&taken->slots);
	free(taken);
}

static void nothing_forget(void *arg, void *mine)
{
}

static int tcp_drains(struct tcp *t, struct why *why)
{
	struct drain_options options = { .unlocked = true, .arg = t, .forget = nothing_forget };

	options.map_fd = bpf_map__fd(t->skel->maps.tcp_table);
	options.entries_max = bpf_map__max_entries(t->skel->maps.tcp_table);
	options.key_bytes = sizeof(struct tcp_key);
	options.value_bytes = sizeof(struct tcp_stat);
	options.entry = stat_entry;
	t->table = drain_new(&options);
	options.map_fd = bpf_map__fd(t->skel->maps.tcp_lives);
	options.value_bytes = sizeof(struct tcp_live);
	options.entry = live_entry;
	t->lives = drain_new(&options);
	options.map_fd = bpf_map__fd(t->skel->maps.tcp_rtts);
	options.value_bytes = sizeof(struct tcp_rtt);
	options.entry = rtt_entry;
	t->rtts = drain_new(&options);
	options.map_fd = bpf_map__fd(t->skel->maps.tcp_hists);
	options.key_bytes = sizeof(struct tcp_hist_key);
	options.value_bytes = sizeof(struct tcp_hist);
	options.entry = hist_entry;
	options.forget = hist_forget;
	t->hists = drain_new(&options);
	return t->table && t->lives && t->rtts && t->hists ? 0 : why_set(why, -ENOMEM, "no memory");
}

static int tcp_walks(struct tcp *t, struct why *why)
{
	const struct {
		struct bpf_program *connections, *listeners;
		int connections_fd, listeners_fd;
	} ways[] = {
		{ t->skel->progs.tcp_walk, t->skel->progs.tcp_listeners, bpf_map__fd(t->skel->maps.tcp_conns),
		  bpf_map__fd(t->skel->maps.tcp_listenings) },
		{ t->skel->progs.tcp_walk_files, t->skel->progs.tcp_listeners_files, -1, -1 },
		{ t->skel->progs.tcp_walk_hash, t->skel->progs.tcp_listeners_hash,
		  bpf_map__fd(t->skel->maps.tcp_conns_hash), bpf_map__fd(t->skel->maps.tcp_listenings_hash) },
	}, *way = ways;
	struct tcp_listen_options listen = {
		.closed_map_fd = bpf_map__fd(t->skel->maps.tcp_listeners_closed),
		.aggregate = t->ctx->sink->aggregate,
		.start_ns = t->start_ns,
	};
	int err;

	while (!bpf_program__autoload(way->connections)) /* one was chosen */
		way++;
	listen.walk = way->listeners;
	listen.walk_map_fd = way->listeners_fd;
	err = iter_attach(way->connections, way->connections_fd, &t->walk, why);
	return err ? err : tcp_listen_new(&listen, &t->listen, why);
}

static int tcp_prepare(struct tcp *t, struct why *why)
{
	struct tcp_key overflow = { .class = TCP_CLASS_OVERFLOW };
	struct tcp_stat stat = { .events = 0 };
	int err;

	/* What counts for others when the table is full must be there before it can be. */
	if (bpf_map_update_elem(bpf_map__fd(t->skel->maps.tcp_table), &overflow, &stat, BPF_NOEXIST))
		return why_set(why, -errno, "cannot fill the table: %s", strerror(errno));
	t->series = tcp_series_new(t->ctx->sink->aggregate, tcp_table_max(t), t->start_ns,
				   t->skel->rodata->config.jiffy_ns);
	if (!t->series)
		return why_set(why, -ENOMEM, "no memory");
	err = tcp_peers_new(bpf_map__fd(t->skel->maps.tcp_peers), bpf_map__max_entries(t->skel->maps.tcp_peers),
			    t->ctx->sink->aggregate, t->start_ns, &t->peers, why);
	if (!err)
		err = tcp_drains(t, why);
	return err ? err : tcp_walks(t, why);
}

static int tcp_attach(struct tcp *t, struct why *why)
{
	/* What ends connections first, so that none begins that could not end. */
	struct bpf_program *const programs[] = {
		t->skel->progs.tcp_state,
		t->skel->progs.tcp_state_again,
		t->skel->progs.tcp_destroyed,
		t->skel->progs.tcp_congestion,
		t->skel->progs.tcp_acknowledged,
		t->skel->progs.tcp_retransmit,
		t->skel->progs.tcp_retransmit_syn_ack,
		t->skel->progs.tcp_reset_sent,
		t->skel->progs.tcp_reset_received,
	};
	int err = 0;

	_Static_assert(sizeof(programs) / sizeof(programs[0]) <= LINKS_MAX, "room for each link");
	for (size_t i = 0; !err && i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (!bpf_program__autoload(programs[i]))
			continue;
		err = loader_attach(programs[i], &t->links[t->links_count], why);
		t->links_count += !err;
	}
	return err;
}

/* Sockets older than the programs. What begins while we look is found by both, once. */
static int tcp_find_old(struct tcp *t, struct why *why)
{
	struct bpf_program *find = t->skel->rodata->config.storage ? t->skel->progs.tcp_find
								   : t->skel->progs.tcp_find_hash;
	struct bpf_link *link;
	int err;

	if (!bpf_program__autoload(find))
		return 0;
	err = iter_attach(find, -1, &link, why);
	if (err)
		return err;
	err = iter_run(link, 0, NULL, NULL);
	bpf_link__destroy(link);
	t->skel->bss->tcp_found = !err;
	return err ? why_set(why, err, "cannot look for open sockets: %s", strerror(-err)) : 0;
}

static void tcp_unload(struct signal_ctx *ctx);

static int tcp_load(struct signal_ctx *ctx, struct why *why)
{
	struct tcp *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return why_set(why, -ENOMEM, "no memory");
	ctx->priv = t;
	t->ctx = ctx;
	t->start_ns = time_now_ns();
	t->key_role = intern_str("role");
	for (unsigned i = 0; i < TCP_ROLE_MAX; i++)
		t->roles[i] = intern_str(tcp_role_name(i));
	t->skel = tcp_bpf__open();
	if (!t->skel) {
		err = why_set(why, -errno, "cannot open the object: %s", strerror(errno));
		goto out_unload;
	}
	err = loader_share(t->skel->obj, ctx->maps, why);
	if (!err)
		err = tcp_configure(t, why);
	if (!err)
		err = tcp_choose(t, why);
	if (!err)
		err = loader_load(t->skel->skeleton, why);
	if (!err)
		err = tcp_prepare(t, why);
	if (!err)
		err = tcp_attach(t, why);
	if (!err)
		err = tcp_find_old(t, why);
	if (err)
		goto out_unload;
	return 0;

out_unload:
	tcp_unload(ctx);
	return err;
}

static void tcp_detach(struct signal_ctx *ctx)
{
	struct tcp *t = ctx->priv;

	while (t->links_count)
		bpf_link__destroy(t->links[--t->links_count]);
}

static void tcp_unload(struct signal_ctx *ctx)
{
	struct tcp *t = ctx->priv;

	tcp_detach(ctx);
	drain_free(t->table);
	drain_free(t->lives);
	drain_free(t->rtts);
	drain_free(t->hists);
	tcp_peers_free(t->peers);
	tcp_listen_free(t->listen);
	tcp_series_free(t->series);
	bpf_link__destroy(t->walk);
	tcp_bpf__destroy(t->skel);
	free(t);
	ctx->priv = NULL;
}

/* ---- decode */

static const char *const event_names[TCP_EVENT_MAX] = {
	[TCP_EVENT_RETRANSMIT] = "retransmit",
	[TCP_EVENT_CONNECT_FAILED] = "connect_failed",
	[TCP_EVENT_RESET] = "reset",
	[TCP_EVENT_CLOSE] = "close",
};

/* As the kernel and everybody's tools call them; numbers as in the kernel. */
static const char *state_name(unsigned state)
{
	static const char *const names[] = {
		NULL,	 "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2",    "time_wait",
		"close", "close_wait",	"last_ack", "listen",	"closing",   "new_syn_recv",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : NULL;
}

/* Nothing to tell is no field. */
static void span_known(struct span *span, const char *name, __u64 value)
{
	if (value)
		span_uint(span, name, value);
}

static void span_details(struct span *span, const struct tcp_event *e)
{
	switch (e->kind) {
	case TCP_EVENT_RETRANSMIT:
		span_str(span, "type", tcp_retransmit_name(e->type));
		span_uint(span, "segments", e->segments);
		span_uint(span, "bytes", e->bytes_sent);
		break;
	case TCP_EVENT_CONNECT_FAILED:
		span_str(span, "type", tcp_failure_name(e->type));
		span_uint(span, "segments", e->segments);
		break;
	case TCP_EVENT_RESET:
		span_str(span, "type", e->type ? "sent" : "received");
		break;
	case TCP_EVENT_CLOSE:
		span_uint(span, "segments", e->segments);
		span_uint(span, "bytes", e->bytes_sent);
		span_uint(span, "bytes_received", e->bytes_received);
		span_uint(span, "lost_ns", e->lost_ns);
		break;
	}
}

static void tcp_span(struct tcp *t, const struct tcp_event *e)
{
	char local[ADDRESS_ROOM], peer[ADDRESS_ROOM];
	struct span span = {
		.signal = SIGNAL_tcp,
		.pid = e->hdr.pid,
		.time_ns = e->hdr.time_ns,
		.cgroup_id = e->hdr.cgroup_id,
		.socket_cookie = e->socket_cookie,
	};

	span_str(&span, "role", tcp_role_name(e->role));
	span_str(&span, "event", event_names[e->kind]);
	span_details(&span, e);
	span_str(&span, "state", state_name(e->state));
	span_known(&span, "duration_ns", e->duration_ns);
	span_known(&span, "rtt_ns", e->rtt_us * NS_PER_US);
	span_known(&span, "rtt_min_ns", e->rtt_min_us * NS_PER_US);
	if (e->local_port || e->peer_port) { /* a reset may have no socket */
		span_str(&span, "local", address_port_text(e->local, e->local_port, local));
		span_str(&span, "peer", address_port_text(e->peer, e->peer_port, peer));
		span_str(&span, "peer_class", tcp_class_name(e->class));
	}
	span_who(&span, "peer_container", e->class == TCP_CLASS_CONTAINER ? e->peer_cgroup : 0);
	t->ctx->sink->span(t->ctx->sink, &span);
}

/* Records are for who traces: what they tell of is counted in the tables. */
static int tcp_decode(struct signal_ctx *ctx, const struct event_hdr *hdr)
{
	const struct tcp_event *e = (const struct tcp_event *)hdr;
	struct tcp *t = ctx->priv;

	if (hdr->size_bytes != sizeof(*e) || !e->kind || e->kind >= TCP_EVENT_MAX)
		return -EBADMSG;
	if (ctx->sink->spans)
		tcp_span(t, e);
	return 0;
}

static void tcp_dropped(void *arg, const struct tcp_listener *listener, __u64 drops)
{
	char local[ADDRESS_ROOM];
	struct tcp *t = arg;
	struct span span = {
		.signal = SIGNAL_tcp,
		.time_ns = time_now_ns(),
		.cgroup_id = listener->cgroup_id,
	};

	span_str(&span, "role", tcp_role_name(TCP_ROLE_SERVER));
	span_str(&span, "event", "overflow");
	span_uint(&span, "drops", drops);
	span_str(&span, "state", state_name(10));
	span_uint(&span, "queue", listener->queue);
	span_uint(&span, "limit", listener->limit);
	span_str(&span, "local", address_port_text(listener->address, listener->port, local));
	t->ctx->sink->span(t->ctx->sink, &span);
}

/* ---- drain */

/* Overflows have no hook: while somebody watches, they are looked for more often than once an interval. */
static void tcp_tick(struct signal_ctx *ctx, __u64 now_ns)
{
	bool wanted = kernel_maps_control(ctx->maps)->records & 1u << SIGNAL_tcp;
	struct tcp *t = ctx->priv;

	if (wanted && ctx->sink->spans)
		tcp_listen_read(t->listen, tcp_dropped, t);
}

static void tcp_total(struct tcp *t, const struct metric *metric, const __u64 *total)
{
	__u64 now = __atomic_load_n(total, __ATOMIC_RELAXED);

	if (now)
		series_total(aggregate_series(t->ctx->sink->aggregate, metric, 0, NULL, 0, t->start_ns), now);
}

static bool key_is(const void *key, const void *other)
{
	return !memcmp(key, other, sizeof(struct tcp_key));
}

static void key_buried(void *arg, const struct tcp_key *key)
{
	struct tcp *t = arg;

	drain_delete(t->table, key_is, key);
	drain_delete(t->lives, key_is, key);
	drain_delete(t->rtts, key_is, key);
}

/* The order is that of tcp_series.h and tcp_peers.h: the ended before the living, totals before their parts. */
static int tcp_drain(struct signal_ctx *ctx, __u64 now_ns)
{
	struct tcp *t = ctx->priv;
	__u64 walk = t->skel->bss->tcp_walk_number;
	int err = drain_read(t->table);

	if (err >= 0)
		err = tcp_peers_read(t->peers);
	if (err >= 0)
		err = iter_run(t->walk, 0, NULL, NULL);
	if (err >= 0)
		err = drain_read(t->lives);
	if (err >= 0)
		err = drain_read(t->rtts);
	if (err >= 0)
		err = drain_read(t->hists);
	if (err >= 0)
		err = tcp_listen_read(t->listen, ctx->sink->spans ? tcp_dropped : NULL, t);
	tcp_series_publish(t->series, walk);
	tcp_peers_publish(t->peers, t->series);
	tcp_series_bury(t->series, key_buried, t);
	tcp_total(t, &tcp_untraced, &t->skel->bss->tcp_count.untold);
	tcp_total(t, &tcp_stateless, &t->skel->bss->tcp_count.stateless);
	/* From here on it is the next one's: also the least round-trip time of what ends before it. */
	t->skel->bss->tcp_walk_number = walk + 1;
	return err < 0 ? err : 0;
}

struct gone {
	__u64 cgroup_id;
	const struct tcp_series *series;
};

static bool key_names_cgroup(const void *key, const void *arg)
{
	const struct gone *gone = arg;
	const struct tcp_key *k = key;

	return (k->cgroup_id == gone->cgroup_id || k->peer_cgroup == gone->cgroup_id) &&
	       !tcp_series_keeps(gone->series, k);
}

static bool hist_of_cgroup(const void *key, const void *cgroup_id)
{
	return ((const struct tcp_hist_key *)key)->cgroup_id == *(const __u64 *)cgroup_id;
}

static void tcp_forget(struct signal_ctx *ctx, __u64 cgroup_id)
{
	struct tcp *t = ctx->priv;
	const struct gone gone = { .cgroup_id = cgroup_id, .series = t->series };

	if (!cgroup_id)
		return;
	tcp_series_forget(t->series, cgroup_id);
	drain_delete(t->table, key_names_cgroup, &gone);
	drain_delete(t->lives, key_names_cgroup, &gone);
	drain_delete(t->rtts, key_names_cgroup, &gone);
	drain_delete(t->hists, hist_of_cgroup, &cgroup_id);
	tcp_peers_forget(t->peers, cgroup_id);
	tcp_listen_forget(t->listen, cgroup_id);
}

/* ---- conservation */

/* Since 05b24ff9b2cf (6.2) the kernel leaves a run out when the same program is already running on that CPU, in a task
 * that the softirq has interrupted. It counts them. */
static __u64 tcp_missed(const struct tcp *t)
{
	struct bpf_program *prog;
	__u64 missed = 0;

	bpf_object__for_each_program(prog, t->skel->obj) {
		struct bpf_prog_info info = { .type = 0 };
		__u32 bytes = sizeof(info);
		int fd = bpf_program__fd(prog);

		/* What one of these leaves out another one does. */
		if (prog == t->skel->progs.tcp_state || prog == t->skel->progs.tcp_state_again ||
		    prog == t->skel->progs.tcp_destroyed)
			continue;
		/* A program that looks for old sockets or walks does not count. */
		if (fd >= 0 && bpf_program__expected_attach_type(prog) == BPF_TRACE_RAW_TP &&
		    !bpf_obj_get_info_by_fd(fd, &info, &bytes))
			missed += info.recursion_misses;
	}
	return missed;
}

static void tcp_counts(struct signal_ctx *ctx, struct conservation *ret)
{
	struct tcp *t = ctx->priv;
	const struct tcp_count *count = &t->skel->bss->tcp_count;
	__u64 missed = tcp_missed(t);

	*ret = (struct conservation){
		.seen = __atomic_load_n(&count->seen, __ATOMIC_RELAXED) + missed,
		.delivered = tcp_series_events(t->series),
		.lost[LOSS_TABLE] = __atomic_load_n(&count->lost_table, __ATOMIC_RELAXED),
		.lost[LOSS_BUSY] = missed,
	};
}

static unsigned tcp_tables(struct signal_ctx *ctx, struct table_use *ret, unsigned room)
{
	struct tcp *t = ctx->priv;
	const struct {
		const char *name;
		const struct drain *drain;
		const struct bpf_map *map;
	} tables[] = {
		{ "tcp_table", t->table, t->skel->maps.tcp_table },
		{ "tcp_lives", t->lives, t->skel->maps.tcp_lives },
		{ "tcp_rtts", t->rtts, t->skel->maps.tcp_rtts },
		{ "tcp_hists", t->hists, t->skel->maps.tcp_hists },
	};
	unsigned count = 0;

	for (; count < sizeof(tables) / sizeof(tables[0]) && count < room; count++)
		ret[count] = (struct table_use){
			.name = tables[count].name,
			.used = drain_count(tables[count].drain),
			.max = bpf_map__max_entries(tables[count].map),
			.bytes = drain_count(tables[count].drain) * (bpf_map__key_size(tables[count].map) +
								     bpf_map__value_size(tables[count].map) + 48) +
				 drain_used_bytes(tables[count].drain),
		};
	return count;
}

/* ---- the descriptor */

static const struct metric *const tcp_metrics[] = {
	&tcp_retransmits,
	&tcp_retransmit_io,
	&tcp_spurious,
	&tcp_peer_retransmits,
	&tcp_recovery,
	&tcp_rtt_duration,
	&tcp_rtt_min,
	&tcp_connections,
	&tcp_active_connections,
	&tcp_handshake,
	&tcp_duration,
	&tcp_resets,
	&tcp_io,
	&tcp_out_of_order,
	&tcp_window_limited,
	&tcp_listen_drops,
	&tcp_listen_queue,
	&tcp_listen_limit,
	&tcp_untraced,
	&tcp_stateless,
	NULL,
};

static const struct column tcp_columns[] = {
	{ .field = "time", .title = "TIME", .width = -12, .format = COLUMN_TEXT },
	{ .field = "container", .title = "CONTAINER", .width = -20, .format = COLUMN_TEXT },
	{ .field = "event", .title = "EVENT", .width = -14, .format = COLUMN_TEXT },
	{ .field = "type", .title = "TYPE", .width = -15, .format = COLUMN_TEXT },
	{ .field = "state", .title = "STATE", .width = -11, .format = COLUMN_TEXT },
	{ .field = "segments", .title = "SEGS", .width = 4, .format = COLUMN_NUMBER },
	{ .field = "bytes", .title = "BYTES", .width = 6, .format = COLUMN_BYTES },
	{ .field = "bytes_received", .title = "RECV", .width = 6, .format = COLUMN_BYTES },
	{ .field = "rtt_ns", .title = "RTT", .width = 7, .format = COLUMN_DURATION_NS },
	{ .field = "duration_ns", .title = "DURATION", .width = 8, .format = COLUMN_DURATION_NS },
	{ .field = "drops", .title = "DROPS", .width = 5, .format = COLUMN_NUMBER },
	{ .field = "local", .title = "LOCAL", .width = -21, .format = COLUMN_TEXT },
	{ .field = "peer", .title = "PEER", .width = -21, .format = COLUMN_TEXT },
	{ .field = "peer_container", .title = "PEER CONTAINER", .width = 0, .format = COLUMN_TEXT },
	{ .field = NULL },
};

const struct signal tcp_signal = {
	.name = "tcp",
	.text = signal_text_tcp,
	.id = SIGNAL_tcp,
	.needs = FEAT(PRIVILEGE) | FEAT(BTF) | FEAT(CGROUP2) | FEAT(RINGBUF) | FEAT(TP_BTF) | FEAT(SOCK_WALK),
	.metrics = tcp_metrics,
	.columns = tcp_columns,
	.load = tcp_load,
	.unload = tcp_unload,
	.detach = tcp_detach,
	.decode = tcp_decode,
	.drain = tcp_drain,
	.tick = tcp_tick,
	.forget = tcp_forget,
	.counts = tcp_counts,
	.tables = tcp_tables,
};
