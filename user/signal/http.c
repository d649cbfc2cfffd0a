/* HTTP/1: records of single exchanges and the in-kernel table of repeated ones become series; records become spans when
 * somebody looks. Owns the payload source bpf/l7.bpf.c.
 *
 * Reading order: load, decode (labels, spans), drain (differences), conservation, the descriptor. */
#include "http.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "control.h"
#include "kernel/drain.h"
#include "kernel/features.h"
#include "kernel/loader.h"
#include "kernel/maps.h"
#include "model/address.h"
#include "model/hist.h"
#include "model/intern.h"
#include "model/selfstat.h"
#include "model/slots.h"
#include "signal/http_active.h"
#include "signal/http_series.h"
#include "signal/http_stopped.h"
#include "signal/signal.h"

#include "l7.skel.h"

#define TABLE_MAX	10000
#define SCRATCH_PER_CPU 4 /* SLOTS of l7.bpf.c */
/* Telling the kernel half a label costs a system call: this many a second at most, and as many at once. */
#define LABELS_PER_S 2000
/* Records that were in the ring when the label was told still arrive; after this it must have been evicted. */
#define LABEL_AGAIN_NS (200 * NS_PER_MS)
#define LINKS_MAX      4

static const struct metric http_unrouted = {
	.name = "weir.http.unrouted",
	.unit = "{request}",
	.text = "Requests counted in the kernel because the ring was full: their route and server address are lost, the rest is exact.",
	.kind = METRIC_SUM,
};
static const struct metric http_gaps = {
	.name = "weir.http.gaps",
	.unit = "{gap}",
	.text = "Times one direction of a connection lost its place in the stream, by reason.",
	.kind = METRIC_SUM,
};
static const struct metric http_connections = {
	.name = "weir.http.connections",
	.unit = "{connection}",
	.text = "Connections by what became of them: recognised, ignored (not HTTP/1, or not of the role asked for), parked and adopted (first data on a listener), resynchronised.",
	.kind = METRIC_SUM,
};

/* What was taken over of one entry of the table: the counts so far. */
struct taken {
	struct http_series series;
	struct series *unrouted; /* entry without label */
	__u64 count, sum_ns, request_bytes, response_bytes;
	struct slots slots;
};

/* One of the array http_cells: what goes to one key, and what was taken over of it. */
struct cell {
	struct http_key key; /* all zero: free */
	void *taken;
};

struct http {
	struct signal_ctx *ctx;
	struct l7_bpf *skel;
	struct bpf_link *links[LINKS_MAX];
	unsigned links_count;
	struct control *control;
	struct http_lookup *lookup;
	struct drain *drain;
	struct cell *cells; /* HTTP_CELLS */
	unsigned cells_used;
	struct http_active *active; /* NULL: this kernel cannot list connections */
	struct http_stopped_series *stopped;
	struct http_count *cpu_counts; /* one a possible CPU, scratch for reading */
	__u64 start_ns;
	__u64 decoded, bad, drained;	    /* exchanges */
	__u64 tokens, tokens_ns;	    /* for labels */
	__u64 entries;			    /* of the table, read so far */
	const char *key_reason, *key_state; /* interned */
};

/* ---- load */

static int http_configure(struct http *h, struct why *why)
{
	const struct signal_options *options = h->ctx->options;
	struct http_config *config = (struct http_config *)&h->skel->rodata->config;
	int cpus = h->ctx->features->cpus, err;

	config->roles = options->roles ? options->roles : 1u << HTTP_ROLE_SERVER | 1u << HTTP_ROLE_CLIENT;
	config->labels = !options->records;
	config->shadow = !features_have(h->ctx->features, FEAT(TP_BTF_SK_STORAGE));
	config->tasks = features_have(h->ctx->features, FEAT(SENDER));
	if (options->kernel_filters) {
		config->min_ns = options->min_ns;
		config->status_min = options->status_min;
		config->status_max = options->status_max;
		config->cgroups = 1;
	}
	memcpy((void *)h->skel->rodata->hist_threshold, hist_thresholds(), HIST_TABLE * sizeof(__u64));
	err = bpf_map__set_max_entries(h->skel->maps.scratch, cpus * SCRATCH_PER_CPU);
	if (!err)
		err = bpf_map__set_max_entries(h->skel->maps.http_table,
					       options->table_max ? options->table_max : TABLE_MAX);
	if (!err && !config->shadow)
		err = bpf_map__set_max_entries(h->skel->maps.l7_shadows, 1);
	if (err)
		return why_set(why, err, "cannot set the size of a map: %s", strerror(-err));
	return 0;
}

/* Which of the programs that serve one end this kernel takes; a kernel that takes none does without. */
static int http_choose(struct http *h, struct why *why)
{
	const struct features *f = h->ctx->features;
	bool storage = features_have(f, FEAT(TP_BTF_SK_STORAGE));
	const struct {
		const char *program;
		bool load;
	} choices[] = {
		{ "l7_state", storage },
		{ "l7_state_cookie", !storage && features_have(f, FEAT(TP_BTF)) },
		{ "l7_inflight", features_have(f, FEAT(SK_STORAGE_ITER)) },
		{ "l7_inflight_files", features_have(f, FEAT(SOCK_WALK)) && !features_have(f, FEAT(SK_STORAGE_ITER)) },
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(choices) / sizeof(choices[0]); i++)
		if (bpf_object__find_program_by_name(h->skel->obj, choices[i].program))
			err = loader_choose(h->skel->obj, choices[i].program, choices[i].load, why);
	return err;
}

/* The entry that counts what has no room of its own must be there before the table can be full. */
static int http_reserve_overflow(struct http *h, struct why *why)
{
	struct http_key key = { .cgroup_id = 0 };
	struct http_stat stat = { .count = 0 };

	if (bpf_map_update_elem(bpf_map__fd(h->skel->maps.http_table), &key, &stat, BPF_NOEXIST))
		return why_set(why, -errno, "cannot fill the table: %s", strerror(errno));
	return 0;
}

static int http_attach_one(struct http *h, const char *name, bool cgroup, struct why *why)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(h->skel->obj, name);
	int err;

	if (!prog || !bpf_program__autoload(prog))
		return 0;
	err = cgroup ? loader_attach_cgroup(prog, kernel_maps_cgroup_fd(h->ctx->maps), &h->links[h->links_count], why)
		     : loader_attach(prog, &h->links[h->links_count], why);
	if (!err)
		h->links_count++;
	return err;
}

/* What ends connections first, so that nothing begins that could not end; answers before requests, so that none of the
 * first answers is without its request. */
static int http_attach(struct http *h, struct why *why)
{
	int err = http_attach_one(h, "l7_state", false, why);

	if (!err)
		err = http_attach_one(h, "l7_state_cookie", false, why);
	if (!err)
		err = http_attach_one(h, "l7_ingress", true, why);
	if (!err)
		err = http_attach_one(h, "l7_egress", true, why);
	return err;
}

static void table_entry(void *arg, const void *key, const void *value, void **mine);
static void table_forget(void *arg, void *mine);

static int http_prepare(struct http *h, struct why *why)
{
	const struct signal_options *options = h->ctx->options;
	const struct routes_options routes = {
		.off = !options->routes,
		.patterns = options->route_patterns,
		.per_cgroup_max = options->routes_per_cgroup_max,
	};
	const struct drain_options drain = {
		.map_fd = bpf_map__fd(h->skel->maps.http_table),
		.key_bytes = sizeof(struct http_key),
		.value_bytes = sizeof(struct http_stat),
		.entries_max = bpf_map__max_entries(h->skel->maps.http_table),
		.entry = table_entry,
		.forget = table_forget,
		.arg = h,
	};
	const struct http_stopped_options stopped = {
		.map = h->skel->maps.http_stopped,
		.control = h->control,
		.aggregate = h->ctx->sink->aggregate,
		.start_ns = h->start_ns,
	};
	int err;

	err = http_lookup_new(h->ctx->sink->aggregate, &routes, h->start_ns, &h->lookup, why);
	if (err)
		return err;
	h->drain = drain_new(&drain);
	h->cells = calloc(HTTP_CELLS, sizeof(*h->cells));
	h->cpu_counts = calloc(h->ctx->features->cpus, sizeof(*h->cpu_counts));
	if (!h->drain || !h->cells || !h->cpu_counts)
		return why_set(why, -ENOMEM, "no memory");
	if (bpf_program__autoload(h->skel->progs.l7_inflight))
		err = http_active_new(h->skel->progs.l7_inflight, bpf_map__fd(h->skel->maps.l7_conns),
				      h->ctx->sink->aggregate, h->start_ns, &h->active, why);
	else if (bpf_program__autoload(h->skel->progs.l7_inflight_files))
		err = http_active_new(h->skel->progs.l7_inflight_files, -1, h->ctx->sink->aggregate, h->start_ns,
				      &h->active, why);
	if (!err)
		err = http_stopped_new(&stopped, &h->stopped, why);
	return err ? err : http_reserve_overflow(h, why);
}

static void cells_free(struct http *h);
static void http_unload(struct signal_ctx *ctx);

static int http_load(struct signal_ctx *ctx, struct why *why)
{
	struct http *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return why_set(why, -ENOMEM, "no memory");
	ctx->priv = h;
	h->ctx = ctx;
	h->start_ns = time_now_ns();
	h->tokens_ns = h->start_ns;
	h->control = kernel_maps_control(ctx->maps);
	h->key_reason = intern_str("reason");
	h->key_state = intern_str("state");
	h->skel = l7_bpf__open();
	if (!h->skel) {
		err = why_set(why, -errno, "cannot open the HTTP object: %s", strerror(errno));
		goto out_unload;
	}
	err = loader_share(h->skel->obj, ctx->maps, why);
	if (!err)
		err = http_configure(h, why);
	if (!err)
		err = http_choose(h, why);
	if (!err)
		err = loader_load(h->skel->skeleton, why);
	if (!err)
		err = http_prepare(h, why);
	if (!err)
		err = http_attach(h, why);
	if (err)
		goto out_unload;
	return 0;

out_unload:
	http_unload(ctx);
	return err;
}

static void http_detach(struct signal_ctx *ctx)
{
	struct http *h = ctx->priv;

	while (h->links_count)
		bpf_link__destroy(h->links[--h->links_count]);
}

static void http_unload(struct signal_ctx *ctx)
{
	struct http *h = ctx->priv;

	if (!h)
		return;
	http_detach(ctx);
	drain_free(h->drain);
	cells_free(h);
	http_active_free(h->active);
	http_stopped_free(h->stopped);
	http_lookup_free(h->lookup);
	l7_bpf__destroy(h->skel);
	free(h->cpu_counts);
	free(h);
	ctx->priv = NULL;
}

/* ---- decode */

static bool http_event_valid(const struct http_event *e)
{
	return e->hdr.size_bytes == sizeof(*e) && e->line_bytes <= HTTP_LINE_MAX && e->method < HTTP_METHOD_MAX &&
	       (e->role == HTTP_ROLE_SERVER || e->role == HTTP_ROLE_CLIENT) && e->version < HTTP_VERSION_MAX &&
	       e->error < HTTP_ERROR_MAX;
}

/* Token bucket on the clock of the records: no clock is read here. */
static bool http_label_allowed(struct http *h, __u64 now_ns)
{
	__u64 earned;

	if (now_ns > h->tokens_ns) {
		earned = (now_ns - h->tokens_ns) / (NS_PER_S / LABELS_PER_S);
		h->tokens += earned;
		h->tokens_ns += earned * (NS_PER_S / LABELS_PER_S);
		if (h->tokens >= LABELS_PER_S) {
			h->tokens = LABELS_PER_S;
			h->tokens_ns = now_ns;
		}
	}
	if (!h->tokens)
		return false;
	h->tokens--;
	return true;
}

/* Gives the label's cell to what @e was, if nobody has it: under one label most exchanges are alike. Before the label is
 * told, so that all that is counted under it finds the cell. */
static void cell_give(struct http *h, const struct http_event *e, __u32 label)
{
	const struct http_stat stat = {
		.key = {
			.cgroup_id = e->hdr.cgroup_id,
			.label = label,
			.status = e->status,
			.method = e->method,
			.role = e->role,
			.version = e->version,
			.error = e->error,
		},
	};
	__u32 index = label % HTTP_CELLS;
	struct cell *cell = &h->cells[index];

	if (cell->key.role != HTTP_ROLE_NONE)
		return;
	if (bpf_map_update_elem(bpf_map__fd(h->skel->maps.http_cells), &index, &stat, BPF_ANY))
		return;
	cell->key = stat.key;
	h->cells_used++;
}

/* From now on the kernel half counts this path by itself. */
static void http_tell_label(struct http *h, const struct http_event *e, struct http_found *found)
{
	const struct http_label_key key = { .cgroup_id = e->hdr.cgroup_id, .path_hash = e->path_hash };

	if (found->label == HTTP_LABEL_NONE || !h->skel->rodata->config.labels ||
	    h->control->records & 1u << SIGNAL_http)
		return;
	if (found->labelled_ns && e->hdr.time_ns < found->labelled_ns + LABEL_AGAIN_NS)
		return;
	if (!http_label_allowed(h, e->hdr.time_ns))
		return;
	cell_give(h, e, found->label);
	/* A failure costs one more record: it is tried again. */
	bpf_map_update_elem(bpf_map__fd(h->skel->maps.http_labels), &key, &found->label, BPF_ANY);
	found->labelled_ns = e->hdr.time_ns;
}

/* The method as it came, when it is none that we know. */
static const char *span_method(const struct http_event *e, char *ret, size_t room)
{
	struct request_line line;

	if (e->method != HTTP_METHOD_OTHER || request_line_parse(e->line, e->line_bytes, &line))
		return http_method_name(e->method);
	utf8_sanitise(line.method.data, line.method.bytes, ret, room);
	return ret;
}

static void http_span(struct http *h, const struct http_event *e, const struct http_found *found)
{
	struct span span = {
		.signal = SIGNAL_http,
		.pid = e->hdr.pid,
		.time_ns = e->hdr.time_ns,
		.cgroup_id = e->hdr.cgroup_id,
		.socket_cookie = e->socket_cookie,
	};
	char path_text[4 * HTTP_LINE_MAX + 1] = "", method[4 * HTTP_LINE_MAX + 1];
	char local[ADDRESS_ROOM], peer[ADDRESS_ROOM];
	struct slice path;

	if (http_event_target(e, &path))
		utf8_sanitise(path.data, path.bytes, path_text, sizeof(path_text));
	span_str(&span, "role", e->role == HTTP_ROLE_CLIENT ? "client" : "server");
	span_str(&span, "method", span_method(e, method, sizeof(method)));
	span_str(&span, "path", path_text);
	span_str(&span, "route", found->route);
	span_str(&span, "version", http_version_name(e->version));
	span_uint(&span, "status", e->status);
	span_str(&span, "error", http_error_type(e->role, e->error, e->status));
	span_uint(&span, "ttfb_ns", e->ttfb_ns);
	span_uint(&span, "duration_ns", e->duration_ns);
	span_uint(&span, "stopped_ns", e->stopped_ns);
	span_uint(&span, "request_bytes", e->request_bytes);
	span_uint(&span, "response_bytes", e->response_bytes);
	span_str(&span, "local", address_port_text(e->local, e->local_port, local));
	span_str(&span, "peer", address_port_text(e->peer, e->peer_port, peer));
	span_uint(&span, "rtt_ns", e->rtt_us * NS_PER_US);
	h->ctx->sink->span(h->ctx->sink, &span);
}

static int http_decode(struct signal_ctx *ctx, const struct event_hdr *hdr)
{
	const struct http_event *e = (const struct http_event *)hdr;
	struct http *h = ctx->priv;
	struct http_found *found;

	if (!http_event_valid(e)) {
		h->bad++;
		return -EBADMSG;
	}
	found = http_lookup_event(h->lookup, e);
	series_add_hist(found->series.duration, e->duration_ns);
	http_series_add_bytes(h->lookup, &found->series, e->request_bytes, e->response_bytes);
	h->decoded++;
	/* The first of its kind comes this way, and what the kernel half counts by itself does not. */
	if (h->active && !found->labelled_ns)
		http_active_show(h->active, e->hdr.cgroup_id, e->role);
	http_tell_label(h, e, found);
	if (ctx->sink->spans)
		http_span(h, e, found);
	return 0;
}

/* ---- drain */

static struct taken *taken_new(struct http *h, const struct http_key *key)
{
	struct taken *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	if (!http_lookup_key(h->lookup, key, &t->series) && key->role != HTTP_ROLE_NONE)
		t->unrouted =
			aggregate_series(h->ctx->sink->aggregate, &http_unrouted, key->cgroup_id, NULL, 0, h->start_ns);
	return t;
}

/* An exchange is counted by its slot, which the kernel half adds last: count and sum may be ahead of it by those that
 * are being added on another CPU, and fall into the next difference. */
static void table_entry(void *arg, const void *key, const void *value, void **mine)
{
	const struct http_stat *stat = value;
	__u32 new[HIST_SLOTS];
	struct http *h = arg;
	struct taken *t = *mine;
	__u64 sum;

	if (!t && stat->count)
		*mine = t = taken_new(h, key);
	if (!t || (stat->count == t->count && stat->count == t->slots.sum))
		return;
	sum = slots_take(&t->slots, stat->slots, new);
	series_add_slots(t->series.duration, new, stat->sum_ns - t->sum_ns,
			 stat->max_interval == h->control->interval ? stat->max_ns : 0);
	http_series_add_bytes(h->lookup, &t->series, stat->request_bytes - t->request_bytes,
			      stat->response_bytes - t->response_bytes);
	if (t->unrouted)
		series_add(t->unrouted, sum);
	t->count = stat->count;
	t->sum_ns = stat->sum_ns;
	t->request_bytes = stat->request_bytes;
	t->response_bytes = stat->response_bytes;
	h->drained += sum;
}

static void table_forget(void *arg, void *mine)
{
	struct taken *t = mine;

	if (!t)
		return;
	slots_done(&t->slots);
	free(t);
}

static void cells_drain(struct http *h)
{
	struct http_stat stat;

	for (__u32 i = 0; i < HTTP_CELLS; i++) {
		struct cell *cell = &h->cells[i];

		if (cell->key.role == HTTP_ROLE_NONE)
			continue;
		if (!bpf_map_lookup_elem_flags(bpf_map__fd(h->skel->maps.http_cells), &i, &stat, BPF_F_LOCK))
			table_entry(h, &cell->key, &stat, &cell->taken);
	}
}

/* @cgroup_id has gone: what it had is free for others. */
static void cells_forget(struct http *h, __u64 cgroup_id)
{
	const struct http_stat free_stat = { .count = 0 };

	for (__u32 i = 0; i < HTTP_CELLS; i++) {
		struct cell *cell = &h->cells[i];

		if (cell->key.role == HTTP_ROLE_NONE || cell->key.cgroup_id != cgroup_id)
			continue;
		bpf_map_update_elem(bpf_map__fd(h->skel->maps.http_cells), &i, &free_stat, BPF_ANY);
		table_forget(h, cell->taken);
		*cell = (struct cell){ .taken = NULL };
		h->cells_used--;
	}
}

static void cells_free(struct http *h)
{
	for (unsigned i = 0; h->cells && i < HTTP_CELLS; i++)
		table_forget(h, h->cells[i].taken);
	free(h->cells);
}

static void http_read_counts(struct http *h, struct http_count *ret)
{
	__u32 zero = 0;

	*ret = (struct http_count){ .seen = 0 };
	if (bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.http_counts), &zero, h->cpu_counts))
		return;
	for (int cpu = 0; cpu < h->ctx->features->cpus; cpu++) {
		const __u64 *from = (const __u64 *)&h->cpu_counts[cpu];
		__u64 *to = (__u64 *)ret;

		for (size_t i = 0; i < sizeof(*ret) / sizeof(*to); i++)
			to[i] += from[i];
	}
}

static void http_total(struct http *h, const struct metric *metric, const char *key, const char *value, __u64 total)
{
	struct attr attr = { .key = key, .type = ATTR_STR, .str = intern_str(value) };

	if (total)
		series_total(aggregate_series(h->ctx->sink->aggregate, metric, 0, &attr, 1, h->start_ns), total);
}

static void http_publish(struct http *h)
{
	struct http_count counts;

	selfstat_total(h->ctx->sink->aggregate, SELFSTAT_drain_entries, h->ctx->signal->name, NULL, h->entries,
		       h->start_ns);
	selfstat_total(h->ctx->sink->aggregate, SELFSTAT_route_overflow, NULL, NULL,
		       http_lookup_route_overflow(h->lookup), h->start_ns);
	http_read_counts(h, &counts);
	for (int i = 0; i < LOSS_MAX; i++)
		http_total(h, &http_gaps, h->key_reason, loss_reason_name(i), counts.gaps[i]);
	http_total(h, &http_connections, h->key_state, "recognised", counts.connections);
	http_total(h, &http_connections, h->key_state, "ignored", counts.ignored);
	http_total(h, &http_connections, h->key_state, "parked", counts.parked);
	http_total(h, &http_connections, h->key_state, "adopted", counts.adopted);
	http_total(h, &http_connections, h->key_state, "resynchronised", counts.resyncs);
}

static int http_drain(struct signal_ctx *ctx, __u64 now_ns)
{
	struct http *h = ctx->priv;
	int count = drain_read(h->drain), err = count < 0 ? count : 0;

	cells_drain(h);
	if (count > 0)
		h->entries += count + h->cells_used;
	if (!err)
		err = http_stopped_read(h->stopped);
	if (h->active && !err) {
		h->skel->bss->l7_listing = h->skel->bss->l7_listing % 255 + 1;
		err = http_active_sample(h->active);
	}
	http_publish(h);
	return err;
}

static bool key_of_cgroup(const void *key, const void *cgroup_id)
{
	return ((const struct http_key *)key)->cgroup_id == *(const __u64 *)cgroup_id;
}

/* A full map mutes no more: those cgroups are filtered in user space as before. */
static void http_mute(struct signal_ctx *ctx, __u64 cgroup_id)
{
	struct http *h = ctx->priv;
	__u8 one = 1;

	if (ctx->options->kernel_filters)
		bpf_map_update_elem(bpf_map__fd(h->skel->maps.http_cgroups), &cgroup_id, &one, BPF_ANY);
}

static void http_forget(struct signal_ctx *ctx, __u64 cgroup_id)
{
	struct http *h = ctx->priv;

	if (cgroup_id)
		drain_delete(h->drain, key_of_cgroup, &cgroup_id);
	http_stopped_forget(h->stopped, cgroup_id);
	cells_forget(h, cgroup_id);
	http_lookup_forget(h->lookup, cgroup_id);
	if (h->active)
		http_active_forget(h->active, cgroup_id);
}

/* ---- conservation */

/* seen, filtered and lost are the kernel half's word; delivered is what really came out here. That they add up is
 * therefore a check and not a definition. */
static void http_counts(struct signal_ctx *ctx, struct conservation *ret)
{
	struct http *h = ctx->priv;
	struct http_count counts;

	http_read_counts(h, &counts);
	*ret = (struct conservation){
		.seen = counts.seen,
		.delivered = h->decoded + h->drained,
		.filtered = counts.filtered,
	};
	memcpy(ret->lost, counts.lost, sizeof(ret->lost));
	ret->lost[LOSS_PARSE] += h->bad;
}

static unsigned http_tables(struct signal_ctx *ctx, struct table_use *ret, unsigned room)
{
	struct http *h = ctx->priv;
	const struct table_use uses[] = {
		{
			.name = "http_table",
			.used = drain_count(h->drain) + h->cells_used,
			.max = bpf_map__max_entries(h->skel->maps.http_table) + HTTP_CELLS,
			.bytes = drain_count(h->drain) * (sizeof(struct http_key) + sizeof(struct http_stat) + 48) +
				 drain_used_bytes(h->drain) +
				 HTTP_CELLS * (sizeof(struct http_stat) + sizeof(struct cell)),
		},
		{
			.name = "http_stopped",
			.used = http_stopped_used(h->stopped),
			.max = bpf_map__max_entries(h->skel->maps.http_stopped),
			.bytes = http_stopped_bytes(h->stopped),
		},
		{
			.name = "labels",
			.used = http_lookup_labels(h->lookup),
			.max = HTTP_LABELS_MAX,
			.bytes = http_lookup_bytes(h->lookup),
		},
	};
	unsigned count = sizeof(uses) / sizeof(uses[0]);

	if (count > room)
		count = room;
	memcpy(ret, uses, count * sizeof(uses[0]));
	return count;
}

/* ---- the descriptor */

static const struct metric *const http_metrics[] = {
	&http_server_duration, &http_client_duration,
	&http_server_io,       &http_client_io,
	&http_server_active,   &http_client_active,
	&http_server_stopped,  &http_client_stopped,
	&http_unrouted,	       &http_gaps,
	&http_connections,     NULL,
};

static const struct column http_columns[] = {
	{ .field = "time", .title = "TIME", .width = -12, .format = COLUMN_TEXT },
	{ .field = "container", .title = "CONTAINER", .width = -20, .format = COLUMN_TEXT },
	{ .field = "role", .title = "ROLE", .width = -6, .format = COLUMN_TEXT },
	{ .field = "method", .title = "METHOD", .width = -6, .format = COLUMN_TEXT },
	{ .field = "status", .title = "STATUS", .width = 6, .format = COLUMN_NUMBER },
	{ .field = "ttfb_ns", .title = "TTFB", .width = 7, .format = COLUMN_DURATION_NS },
	{ .field = "duration_ns", .title = "DURATION", .width = 8, .format = COLUMN_DURATION_NS },
	{ .field = "response_bytes", .title = "BYTES", .width = 6, .format = COLUMN_BYTES },
	{ .field = "peer", .title = "PEER", .width = -21, .format = COLUMN_TEXT },
	{ .field = "path", .title = "PATH", .width = -24, .format = COLUMN_TEXT },
	{ .field = "error", .title = "ERROR", .width = 0, .format = COLUMN_TEXT },
	{ .field = "stopped_ns", .title = "stopped", .rare = true, .format = COLUMN_DURATION_NS },
	{ .field = NULL },
};

const struct signal http_signal = {
	.name = "http",
	.text = signal_text_http,
	.id = SIGNAL_http,
	.needs = FEAT(PRIVILEGE) | FEAT(BTF) | FEAT(CGROUP2) | FEAT(RINGBUF) | FEAT(CGROUP_SKB) | FEAT(SK_STORAGE),
	.metrics = http_metrics,
	.columns = http_columns,
	.load = http_load,
	.unload = http_unload,
	.detach = http_detach,
	.decode = http_decode,
	.drain = http_drain,
	.mute = http_mute,
	.forget = http_forget,
	.counts = http_counts,
	.tables = http_tables,
};
