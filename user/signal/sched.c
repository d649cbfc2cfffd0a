/* Waits for a CPU: the kernel half counts them by container, here the counts become series; long ones come as records
 * too while somebody traces, and become spans.
 *
 * Reading order: load, records, drain, conservation, the descriptor. */
#include "sched.h"

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
#include "model/hist.h"
#include "model/selfstat.h"
#include "signal/sched_class.h"
#include "signal/sched_files.h"
#include "signal/sched_neighbours.h"
#include "signal/sched_series.h"
#include "signal/signal.h"

#include "sched.skel.h"

#define TABLE_MAX	10000
#define TASKS_MAX	65536 /* places for threads, 24 bytes each; a power of two */
#define LONG_NS		NS_PER_MS
#define TRACE_ALONE_NS	(10 * NS_PER_MS) /* shortest wait told of, when nobody says */
#define PID_MAX_DEFAULT 32768
#define LINKS_MAX	5

static const struct metric sched_untraced = {
	.name = "weir.sched.untraced",
	.unit = "{wait}",
	.text = "Waits that a trace does not show because the ring was full; they are counted all the same.",
	.kind = METRIC_SUM,
};
static const struct metric sched_unknown = {
	.name = "weir.sched.off_cpu.unknown",
	.unit = "{interval}",
	.text = "Times a thread came back to a CPU of whose leaving nothing was known: it is older than the agent, or another has its place.",
	.kind = METRIC_SUM,
};

struct sched {
	struct signal_ctx *ctx;
	struct sched_bpf *skel;
	struct bpf_link *links[LINKS_MAX];
	unsigned links_count;
	struct control *control;
	struct drain *drain;
	struct sched_neighbours *neighbours;
	struct sched_files *files;
	unsigned shards;
	struct sched_stat *stats; /* one entry of the table, zeros between uses */
	__u64 *overflowed;	  /* one a possible CPU: sched_cpu.overflow when last looked at */
	__u64 start_ns;
	struct sched_totals totals;
	__u64 entries; /* of the tables, read so far */
};

/* ---- load */

/* As many places as there can be threads, up to a bound: then each has its own. */
static unsigned tasks_count(void)
{
	__u64 pid_max = PID_MAX_DEFAULT;
	unsigned count = 1024;
	char text[32];
	FILE *file = fopen("/proc/sys/kernel/pid_max", "re");

	if (file) {
		if (fgets(text, sizeof(text), file)) {
			text[strcspn(text, "\n")] = '\0';
			if (str_to_u64(text, ~0u, &pid_max))
				pid_max = PID_MAX_DEFAULT;
		}
		fclose(file);
	}
	while (count < pid_max && count < TASKS_MAX)
		count *= 2;
	return count;
}

static unsigned shards_count(unsigned cpus)
{
	unsigned count = 1;

	while (count < cpus && count < SCHED_SHARDS_MAX)
		count *= 2;
	return count;
}

static int sched_resize(struct sched *s, unsigned cpus, unsigned tasks, struct why *why)
{
	const struct signal_options *options = s->ctx->options;
	__u32 bytes = s->shards * sizeof(struct sched_stat);
	int err = bpf_map__set_max_entries(s->skel->maps.sched_cpus, cpus);

	if (!err)
		err = bpf_map__set_max_entries(s->skel->maps.sched_tasks, tasks);
	if (!err)
		err = bpf_map__set_max_entries(s->skel->maps.sched_table,
					       options->table_max ? options->table_max : TABLE_MAX);
	if (!err)
		err = bpf_map__set_value_size(s->skel->maps.sched_table, bytes);
	if (!err)
		err = bpf_map__set_value_size(s->skel->maps.sched_zero, bytes);
	if (err)
		return why_set(why, err, "cannot set the size of a map: %s", strerror(-err));
	return 0;
}

static int sched_configure(struct sched *s, struct why *why)
{
	const struct signal_options *options = s->ctx->options;
	struct sched_config *config = (struct sched_config *)&s->skel->rodata->config;
	unsigned cpus = s->ctx->features->cpus, tasks = tasks_count();
	int args = loader_tracepoint_args("sched_switch");

	if (args < 3)
		return why_set(why, args < 0 ? args : -ENOTSUP, "the tracepoint sched_switch is not as expected");
	s->shards = shards_count(cpus);
	config->long_ns = LONG_NS;
	config->record_ns = LONG_NS;
	if (options->records)
		config->record_ns = options->min_ns ? options->min_ns : TRACE_ALONE_NS;
	config->look_ns = config->record_ns < LONG_NS ? config->record_ns : LONG_NS;
	config->shard_mask = s->shards - 1;
	config->task_mask = tasks - 1;
	config->shared = cpus > s->shards;
	config->switch_state = args > 3;
	config->syscalls = features_have(s->ctx->features, FEAT(TASK_PT_REGS));
	sched_class_fill((__u8 *)s->skel->rodata->sched_class_of);
	memcpy((void *)s->skel->rodata->hist_threshold, hist_thresholds(), HIST_TABLE * sizeof(__u64));
	return sched_resize(s, cpus, tasks, why);
}

static int sched_choose(struct sched *s, struct why *why)
{
	struct bpf_program *prog;
	int err = 0;

	bpf_object__for_each_program(prog, s->skel->obj) {
		err = err ?: loader_choose(s->skel->obj, bpf_program__name(prog), true, why);
	}
	return err;
}

static void table_entry(void *arg, const void *key, const void *value, void **mine);
static void table_forget(void *arg, void *mine);

static int sched_prepare(struct sched *s, struct why *why)
{
	const struct drain_options drain = {
		.map_fd = bpf_map__fd(s->skel->maps.sched_table),
		.key_bytes = sizeof(__u64),
		.value_bytes = s->shards * sizeof(struct sched_stat),
		.entries_max = bpf_map__max_entries(s->skel->maps.sched_table),
		.unlocked = true,
		.entry = table_entry,
		.forget = table_forget,
		.arg = s,
	};
	__u64 none = 0;

	s->drain = drain_new(&drain);
	s->stats = calloc(s->shards, sizeof(*s->stats));
	s->overflowed = calloc(s->ctx->features->cpus, sizeof(*s->overflowed));
	s->neighbours = sched_neighbours_new(bpf_map__fd(s->skel->maps.sched_pairs),
					     bpf_map__max_entries(s->skel->maps.sched_pairs), s->ctx->sink->aggregate,
					     s->start_ns);
	if (!s->drain || !s->stats || !s->overflowed || !s->neighbours)
		return why_set(why, -ENOMEM, "no memory");
	/* The entry that counts what has none of its own must be there before the table can be full. */
	if (bpf_map_update_elem(bpf_map__fd(s->skel->maps.sched_table), &none, s->stats, BPF_NOEXIST))
		return why_set(why, -errno, "cannot fill the table: %s", strerror(errno));
	return 0;
}

/* Entries for all that run already: the program makes them while it is read. Where it shows only a part of the threads
 * (a PID namespace of our own), the others are found missing and are added. */
static int sched_fill(struct sched *s, struct why *why)
{
	struct bpf_link *link;
	char nothing[64];
	int err, fd;

	err = loader_attach(s->skel->progs.sched_existing, &link, why);
	if (err)
		return err;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0) {
		err = why_set(why, -errno, "cannot walk the threads: %s", strerror(errno));
	} else {
		while (read(fd, nothing, sizeof(nothing)) > 0)
			;
		close(fd);
	}
	bpf_link__destroy(link);
	return err;
}

static int sched_attach(struct sched *s, struct why *why)
{
	/* First what makes entries, then those of all there are, then what counts. */
	struct bpf_program *progs[LINKS_MAX] = {
		s->skel->progs.sched_fork,	s->skel->progs.sched_attach,   s->skel->progs.sched_woken,
		s->skel->progs.sched_woken_new, s->skel->progs.sched_switched,
	};
	int err = 0;

	for (unsigned i = 0; !err && i < LINKS_MAX; i++) {
		if (progs[i] == s->skel->progs.sched_woken)
			err = sched_fill(s, why);
		if (!err)
			err = loader_attach(progs[i], &s->links[i], why);
		if (!err)
			s->links_count++;
	}
	return err;
}

static void sched_unload(struct signal_ctx *ctx);

static int sched_load(struct signal_ctx *ctx, struct why *why)
{
	struct sched *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return why_set(why, -ENOMEM, "no memory");
	ctx->priv = s;
	s->ctx = ctx;
	s->start_ns = time_now_ns();
	s->control = kernel_maps_control(ctx->maps);
	s->skel = sched_bpf__open();
	if (!s->skel) {
		err = why_set(why, -errno, "cannot open the object: %s", strerror(errno));
		goto out_unload;
	}
	err = loader_share(s->skel->obj, ctx->maps, why);
	if (!err)
		err = sched_configure(s, why);
	if (!err)
		err = sched_choose(s, why);
	if (!err)
		err = loader_load(s->skel->skeleton, why);
	if (!err)
		err = sched_prepare(s, why);
	if (!err)
		err = sched_files_new(ctx, &s->files, why);
	if (!err)
		err = sched_attach(s, why);
	if (err)
		goto out_unload;
	return 0;

out_unload:
	sched_unload(ctx);
	return err;
}

static void sched_detach(struct signal_ctx *ctx)
{
	struct sched *s = ctx->priv;

	while (s->links_count)
		bpf_link__destroy(s->links[--s->links_count]);
}

static void sched_unload(struct signal_ctx *ctx)
{
	struct sched *s = ctx->priv;

	if (!s)
		return;
	sched_detach(ctx);
	drain_free(s->drain);
	sched_neighbours_free(s->neighbours);
	sched_files_free(s->files);
	sched_bpf__destroy(s->skel);
	free(s->overflowed);
	free(s->stats);
	free(s);
	ctx->priv = NULL;
}

/* ---- records: lines of a trace; what they tell of is counted in the table */

static void comm_text(const char comm[SCHED_COMM_MAX], char ret[4 * SCHED_COMM_MAX + 1])
{
	utf8_sanitise(comm, strnlen(comm, SCHED_COMM_MAX), ret, 4 * SCHED_COMM_MAX + 1);
}

/* A thread of the kernel is in no container; the root is as near as it gets. */
static void span_culprit(struct sched *s, struct span *span, const struct sched_event *e, const char *comm)
{
	__u64 cgroup_id = e->culprit == SCHED_KEY_KERNEL ? 1 : e->culprit;

	span_str(span, "culprit.comm", comm);
	span_uint(span, "culprit.pid", e->culprit_pid);
	span_uint(span, "culprit.tid", e->culprit_tid);
	span_uint(span, "culprit.ran_ns", e->culprit_ran_ns);
	span_who(span, "culprit.container", cgroup_id);
}

static int sched_decode(struct signal_ctx *ctx, const struct event_hdr *hdr)
{
	const struct sched_event *e = (const struct sched_event *)hdr;
	char comm[4 * SCHED_COMM_MAX + 1], culprit[4 * SCHED_COMM_MAX + 1];
	struct span span = {
		.signal = SIGNAL_sched,
		.pid = hdr->pid,
		.time_ns = hdr->time_ns,
		.cgroup_id = hdr->cgroup_id,
	};

	if (hdr->size_bytes != sizeof(*e))
		return -EBADMSG;
	if (!ctx->sink->spans)
		return 0;
	comm_text(e->comm, comm);
	comm_text(e->culprit_comm, culprit);
	span_uint(&span, "tid", e->tid);
	span_str(&span, "comm", comm);
	span_uint(&span, "wait_ns", e->wait_ns);
	span_uint(&span, "duration_ns", e->wait_ns);
	span_uint(&span, "cpu", e->cpu);
	if (e->culprit != SCHED_KEY_IDLE)
		span_culprit(ctx->priv, &span, e, culprit);
	ctx->sink->span(ctx->sink, &span);
	return 0;
}

/* ---- drain */

static void table_entry(void *arg, const void *key, const void *value, void **mine)
{
	struct sched_series *series = *mine;
	struct sched *s = arg;

	if (!series)
		*mine = series = sched_series_new(s->ctx->sink->aggregate, *(const __u64 *)key, s->start_ns);
	if (series)
		sched_series_take(series, value, s->shards, s->control->interval, &s->totals);
}

static void table_forget(void *arg, void *mine)
{
	sched_series_free(mine);
}

static int cpu_read(struct sched *s, __u32 cpu, struct sched_cpu *ret)
{
	return bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.sched_cpus), &cpu, ret);
}

static void cpus_read(struct sched *s, struct sched_cpu *ret)
{
	struct sched_cpu one;

	*ret = (struct sched_cpu){ .key = 0 };
	for (__u32 cpu = 0; cpu < (unsigned)s->ctx->features->cpus; cpu++) {
		if (cpu_read(s, cpu, &one))
			continue;
		ret->filtered += one.filtered;
		ret->lost += one.lost;
		ret->unknown += one.unknown;
		ret->untraced += one.untraced;
	}
}

/* Gives entries to the cgroups that were found to have none. */
static void table_mend(struct sched *s)
{
	struct sched_cpu one;

	for (__u32 cpu = 0; cpu < (unsigned)s->ctx->features->cpus; cpu++) {
		if (cpu_read(s, cpu, &one) || one.overflow == s->overflowed[cpu])
			continue;
		s->overflowed[cpu] = one.overflow;
		/* A full table refuses; it is tried again with the next that is missed. */
		bpf_map_update_elem(bpf_map__fd(s->skel->maps.sched_table), &one.missed, s->stats, BPF_NOEXIST);
	}
}

static void sched_total(struct sched *s, const struct metric *metric, __u64 total)
{
	if (total)
		series_total(aggregate_series(s->ctx->sink->aggregate, metric, 0, NULL, 0, s->start_ns), total);
}

static int sched_drain(struct signal_ctx *ctx, __u64 now_ns)
{
	struct sched *s = ctx->priv;
	struct sched_cpu counts;
	int count = drain_read(s->drain), pairs;

	if (count < 0)
		return count;
	pairs = sched_neighbours_drain(s->neighbours);
	if (pairs < 0)
		return pairs;
	s->entries += count + pairs;
	table_mend(s);
	cpus_read(s, &counts);
	sched_total(s, &sched_untraced, counts.untraced);
	sched_total(s, &sched_unknown, counts.unknown);
	selfstat_total(ctx->sink->aggregate, SELFSTAT_drain_entries, ctx->signal->name, NULL, s->entries, s->start_ns);
	return 0;
}

static bool key_is(const void *key, const void *cgroup_id)
{
	return *(const __u64 *)key == *(const __u64 *)cgroup_id;
}

/* Its threads have ended long since: everything was read with the last drain. */
static void sched_forget(struct signal_ctx *ctx, __u64 cgroup_id)
{
	struct sched *s = ctx->priv;

	if (!cgroup_id)
		return;
	drain_delete(s->drain, key_is, &cgroup_id);
	/* An entry that was made since. */
	bpf_map_delete_elem(bpf_map__fd(s->skel->maps.sched_table), &cgroup_id);
	sched_neighbours_forget(s->neighbours, cgroup_id);
	sched_files_forget(s->files, cgroup_id);
}

/* ---- what the kernel counts in files */

static void sched_cgroup(struct signal_ctx *ctx, __u64 cgroup_id, const char *path, __u64 made_ns)
{
	struct sched *s = ctx->priv;

	sched_files_cgroup(s->files, cgroup_id, path, made_ns);
}

static void sched_restarted(struct signal_ctx *ctx, __u64 cgroup_id, __u64 time_ns)
{
	struct sched *s = ctx->priv;

	sched_files_restarted(s->files, cgroup_id, time_ns);
}

/* ---- conservation, of waits */

/* What was seen is the kernel half's word, each entry's read together with its histogram: between two readings threads go
 * on to wait. What was delivered is what came out of the histograms. */
static void sched_counts(struct signal_ctx *ctx, struct conservation *ret)
{
	struct sched *s = ctx->priv;
	struct sched_cpu counts;

	cpus_read(s, &counts);
	*ret = (struct conservation){
		.seen = s->totals.seen + counts.filtered + counts.lost,
		.delivered = s->totals.delivered,
		.filtered = counts.filtered,
		.lost[LOSS_TABLE] = counts.lost,
	};
}

static unsigned sched_tables(struct signal_ctx *ctx, struct table_use *ret, unsigned room)
{
	struct sched *s = ctx->priv;
	struct table_use uses[] = {
		{
			.name = "sched_table",
			.used = drain_count(s->drain),
			.max = bpf_map__max_entries(s->skel->maps.sched_table),
			.bytes = drain_count(s->drain) * (s->shards * sizeof(struct sched_stat) + 64) +
				 drain_used_bytes(s->drain),
		},
		{
			.name = "sched_pairs",
			.used = sched_neighbours_count(s->neighbours),
			.max = bpf_map__max_entries(s->skel->maps.sched_pairs),
			.bytes = bpf_map__max_entries(s->skel->maps.sched_pairs) * (sizeof(struct sched_pair) + 56),
		},
		{ .name = NULL }, /* the files */
	};
	unsigned count = sizeof(uses) / sizeof(uses[0]);

	sched_files_table(s->files, &uses[count - 1]);
	if (count > room)
		count = room;
	memcpy(ret, uses, count * sizeof(uses[0]));
	return count;
}

/* ---- the descriptor */

static const struct metric *const sched_metrics[] = {
	&sched_wait,	&sched_longest,	 &sched_neighbour,    &sched_off_cpu,
	&sched_unknown, &sched_untraced, SCHED_FILES_METRICS, NULL,
};

static const struct column sched_columns[] = {
	{ .field = "time", .title = "TIME", .width = -12, .format = COLUMN_TEXT },
	{ .field = "container", .title = "CONTAINER", .width = -20, .format = COLUMN_TEXT },
	{ .field = "pid", .title = "PID", .width = 7, .format = COLUMN_NUMBER },
	{ .field = "tid", .title = "TID", .width = 7, .format = COLUMN_NUMBER },
	{ .field = "comm", .title = "COMM", .width = -15, .format = COLUMN_TEXT },
	{ .field = "wait_ns", .title = "WAIT", .width = 7, .format = COLUMN_DURATION_NS },
	{ .field = "cpu", .title = "CPU", .width = 3, .format = COLUMN_NUMBER },
	{ .field = "culprit.comm", .title = "CULPRIT", .width = -15, .format = COLUMN_TEXT },
	{ .field = "culprit.container", .title = "CULPRIT-CONTAINER", .width = -20, .format = COLUMN_TEXT },
	{ .field = "event", .title = "EVENT", .width = 0, .format = COLUMN_TEXT },
	{ .field = NULL },
};

const struct signal sched_signal = {
	.name = "sched",
	.text = signal_text_sched,
	.id = SIGNAL_sched,
	.needs = FEAT(PRIVILEGE) | FEAT(BTF) | FEAT(CGROUP2) | FEAT(RINGBUF) | FEAT(TP_BTF) | FEAT(RUN_QUEUES),
	.metrics = sched_metrics,
	.columns = sched_columns,
	.load = sched_load,
	.unload = sched_unload,
	.detach = sched_detach,
	.decode = sched_decode,
	.drain = sched_drain,
	.cgroup = sched_cgroup,
	.restarted = sched_restarted,
	.forget = sched_forget,
	.counts = sched_counts,
	.tables = sched_tables,
};
