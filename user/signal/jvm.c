/* JVMs: which there are (jvm_find), how the safepoints of each are seen (jvm_library, jvm_process), and what becomes of a
 * record of one. */
#include "jvm.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "control.h"
#include "kernel/features.h"
#include "kernel/loader.h"
#include "kernel/maps.h"
#include "kernel/uprobe.h"
#include "signal/jvm_find.h"
#include "signal/jvm_library.h"
#include "signal/jvm_process.h"
#include "signal/jvm_series.h"
#include "signal/signal.h"

#include "jvm.skel.h"

#define PROC "/proc"

struct jvm {
	struct signal_ctx *ctx;
	struct jvm_bpf *skel;
	struct bpf_link *exit_link, *exec_link;
	struct control *control;
	struct jvm_find *find;
	struct jvm_libraries *libraries;
	struct jvm_processes *processes;
	struct jvm_series *series;
	__u64 start_ns;
	__u64 delivered;
};

/* ---- load */

/* Which programs this kernel takes, and how they are to be attached: that is decided before they are loaded. */
static int jvm_choose(struct jvm *j, struct why *why)
{
	const struct features *f = j->ctx->features;
	bool multi = features_have(f, FEAT(UPROBE_MULTI));
	bool probes = multi || features_have(f, FEAT(UPROBE));
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, j->skel->obj) {
		bool uprobe = bpf_program__type(prog) == BPF_PROG_TYPE_KPROBE;
		int err = bpf_program__set_autoload(prog, !uprobe || probes);

		if (err)
			return why_set(why, err, "cannot choose the program '%s': %s", bpf_program__name(prog),
				       strerror(-err));
		err = uprobe && probes ? uprobe_prepare(prog, multi, why) : 0;
		if (err)
			return err;
	}
	return 0;
}

static bool jvm_look(void *arg, __u32 pid)
{
	struct jvm *j = arg;

	return jvm_processes_look(j->processes, pid);
}

static int jvm_prepare(struct jvm *j, struct why *why)
{
	const struct features *f = j->ctx->features;
	const struct jvm_libraries_options libraries = {
		.proc = PROC,
		.obj = j->skel->obj,
		.attach = features_have(f, FEAT(UPROBE)) || features_have(f, FEAT(UPROBE_MULTI)),
		.multi = features_have(f, FEAT(UPROBE_MULTI)),
		.at_best = j->ctx->options->jvm_source,
	};
	struct jvm_processes_options processes = {
		.proc = PROC,
		.cgroup_mount = f->cgroup_mount,
		.obj = j->skel->obj,
		.at_best = j->ctx->options->jvm_source,
	};
	const struct jvm_find_options find = { .proc = PROC, .look = jvm_look, .arg = j };

	j->series = jvm_series_new(j->ctx->sink->aggregate, j->start_ns);
	j->libraries = jvm_libraries_new(&libraries);
	processes.libraries = j->libraries;
	processes.series = j->series;
	j->processes = j->series && j->libraries ? jvm_processes_new(&processes) : NULL;
	j->find = jvm_find_new(&find);
	return j->processes && j->find ? 0 : why_set(why, -ENOMEM, "no memory");
}

static void jvm_unload(struct signal_ctx *ctx);

/* From here on requests are worth a look at the clocks. A later process of a known file has one before we know it. */
static void jvm_publish(struct jvm *j)
{
	unsigned count = jvm_processes_count(j->processes);

	for (unsigned i = 0; jvm_libraries_at(j->libraries, i); i++)
		count++;
	__atomic_store_n(&j->control->jvms, count, __ATOMIC_RELAXED);
}

static int jvm_start(struct jvm *j, struct why *why)
{
	int err = loader_attach(j->skel->progs.jvm_exit, &j->exit_link, why);

	if (!err)
		err = loader_attach(j->skel->progs.jvm_exec, &j->exec_link, why);
	if (err)
		return err;
	err = jvm_find_all(j->find, time_now_ns());
	if (err)
		return why_set(why, err, "cannot list '" PROC "': %s", strerror(-err));
	jvm_publish(j);
	return 0;
}

static int jvm_load(struct signal_ctx *ctx, struct why *why)
{
	struct jvm *j = calloc(1, sizeof(*j));
	int err;

	if (!j)
		return why_set(why, -ENOMEM, "no memory");
	ctx->priv = j;
	j->ctx = ctx;
	j->start_ns = time_now_ns();
	j->control = kernel_maps_control(ctx->maps);
	j->skel = jvm_bpf__open();
	if (!j->skel) {
		err = why_set(why, -errno, "cannot open the object: %s", strerror(errno));
		goto out_unload;
	}
	err = loader_share(j->skel->obj, ctx->maps, why);
	if (!err)
		err = jvm_choose(j, why);
	if (!err)
		err = loader_load(j->skel->skeleton, why);
	if (!err)
		err = jvm_prepare(j, why);
	if (!err)
		err = jvm_start(j, why);
	if (!err)
		return 0;
out_unload:
	jvm_unload(ctx);
	return err;
}

static void jvm_detach(struct signal_ctx *ctx)
{
	struct jvm *j = ctx->priv;

	__atomic_store_n(&j->control->jvms, 0, __ATOMIC_RELAXED);
	if (j->processes)
		jvm_processes_detach(j->processes);
	bpf_link__destroy(j->exec_link);
	bpf_link__destroy(j->exit_link);
	j->exec_link = j->exit_link = NULL;
}

static void jvm_unload(struct signal_ctx *ctx)
{
	struct jvm *j = ctx->priv;

	jvm_detach(ctx);
	jvm_find_free(j->find);
	jvm_processes_free(j->processes);
	jvm_libraries_free(j->libraries);
	jvm_series_free(j->series);
	jvm_bpf__destroy(j->skel);
	free(j);
	ctx->priv = NULL;
}

/* ---- records */

/* One safepoint, in terms of what is known of its JVM. */
struct safepoint {
	char operation[4 * JVM_OPERATION_MAX + 1];
	__u64 sync_ns;
};

static void safepoint_read(struct jvm *j, const struct jvm_event *e, const struct jvm_process *p, struct safepoint *ret)
{
	const struct jvm_library *library = p ? jvm_process_library(p) : NULL;

	utf8_sanitise(e->operation, strnlen(e->operation, sizeof(e->operation)), ret->operation,
		      sizeof(ret->operation));
	ret->sync_ns = e->sync_ns;
	/* Exact, where the first moment we see after the threads have stopped comes later: an operation. */
	if (e->source == JVM_SOURCE_USDT && library && library->argument && e->argument <= e->duration_ns)
		ret->sync_ns = e->duration_ns - e->argument;
}

/* Names of the operations that collect garbage begin so. */
static bool operation_collects(const char *operation)
{
	static const char *const names[] = {
		"G1",
		"Parallel",
		"Serial",
		"GenCollect",
		"CMS_",
		"CGC_",
		"ZMark",
		"ZRelocate",
		"XMark",
		"XRelocate",
		"Shenandoah",
		"CollectForMetadataAllocation",
		"CollectForCodeCacheAllocation",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_starts(operation, names[i]))
			return true;
	return false;
}

static void jvm_span(struct signal_ctx *ctx, const struct jvm_event *e, const struct safepoint *s)
{
	struct span span = {
		.signal = SIGNAL_jvm,
		.pid = e->hdr.pid,
		.time_ns = e->hdr.time_ns,
		.cgroup_id = e->hdr.cgroup_id,
	};

	span_str(&span, "operation", *s->operation ? s->operation : NULL);
	if (s->sync_ns)
		span_uint(&span, "sync_ns", s->sync_ns);
	if (e->source == JVM_SOURCE_USDT)
		span_uint(&span, "operation_ns", e->operation_ns);
	span_uint(&span, "duration_ns", e->duration_ns);
	span_str(&span, "source", jvm_source_name(e->source));
	ctx->sink->span(ctx->sink, &span);
}

static int jvm_decode(struct signal_ctx *ctx, const struct event_hdr *hdr)
{
	const struct jvm_event *e = (const struct jvm_event *)hdr;
	struct jvm *j = ctx->priv;
	struct jvm_process *p;
	struct safepoint s;

	if (hdr->size_bytes != sizeof(*e))
		return -EBADMSG;
	if (e->kind == JVM_EVENT_STARTED) {
		jvm_find_soon(j->find, hdr->pid, hdr->time_ns);
		return 0;
	}
	if (e->kind != JVM_EVENT_SAFEPOINT || e->source >= JVM_SOURCE_MAX)
		return -EBADMSG;
	/* A new process of a file that we are attached to tells of itself. */
	p = jvm_processes_get(j->processes, hdr->pid);
	if (!p && jvm_processes_look(j->processes, hdr->pid))
		p = jvm_processes_get(j->processes, hdr->pid);
	safepoint_read(j, e, p, &s);
	jvm_series_safepoint(j->series, hdr->cgroup_id, e->source, s.operation, e->duration_ns, s.sync_ns);
	j->delivered++;
	if (p) {
		jvm_process_in(p, hdr->cgroup_id);
		if (!*s.operation || operation_collects(s.operation))
			jvm_process_stopped(j->processes, p, *s.operation, hdr->time_ns);
	}
	if (ctx->sink->spans)
		jvm_span(ctx, e, &s);
	return 0;
}

static void jvm_tick(struct signal_ctx *ctx, __u64 now_ns)
{
	struct jvm *j = ctx->priv;

	jvm_processes_tick(j->processes, now_ns);
	jvm_find_tick(j->find, now_ns);
	jvm_libraries_expire(j->libraries, now_ns);
	jvm_publish(j);
}

static int jvm_drain(struct signal_ctx *ctx, __u64 now_ns)
{
	struct jvm *j = ctx->priv;

	jvm_processes_read(j->processes, now_ns);
	jvm_publish(j);
	return 0;
}

static void jvm_forget(struct signal_ctx *ctx, __u64 cgroup_id)
{
	struct jvm *j = ctx->priv;

	jvm_series_forget(j->series, cgroup_id);
	jvm_processes_forget(j->processes, cgroup_id);
}

static void jvm_counts(struct signal_ctx *ctx, struct conservation *ret)
{
	struct jvm *j = ctx->priv;
	const struct jvm_count *count = &j->skel->bss->jvm_count;
	__u64 counted = jvm_processes_counted(j->processes);

	/* Written by the kernel half at any time, with atomic additions of whole words. */
	*ret = (struct conservation){
		.seen = __atomic_load_n(&count->seen, __ATOMIC_RELAXED) + counted,
		.delivered = j->delivered + counted,
		.lost[LOSS_RING] = __atomic_load_n(&count->lost_ring, __ATOMIC_RELAXED),
		.lost[LOSS_TABLE] = __atomic_load_n(&count->lost_table, __ATOMIC_RELAXED),
	};
}

static unsigned jvm_tables(struct signal_ctx *ctx, struct table_use *ret, unsigned room)
{
	struct jvm *j = ctx->priv;

	if (!room)
		return 0;
	ret[0] = (struct table_use){
		.name = "processes",
		.used = jvm_processes_count(j->processes),
		.max = JVM_PROCESSES_MAX,
	};
	return 1;
}

static unsigned jvm_watched(struct signal_ctx *ctx, struct watched *ret, unsigned room)
{
	struct jvm *j = ctx->priv;
	struct jvm_process_state state;
	unsigned count = 0;
	size_t pos = 0;

	while (jvm_processes_next(j->processes, &pos, &state)) {
		struct watched w = { .count = 1 };
		unsigned i;

		snprintf(w.name, sizeof(w.name), "%s%s%.200s", state.kind, *state.library ? ": " : "", state.library);
		str_copy(w.how, sizeof(w.how), jvm_source_name(state.source));
		str_copy(w.why, sizeof(w.why), state.why);
		for (i = 0; i < count; i++)
			if (!strcmp(ret[i].name, w.name) && !strcmp(ret[i].how, w.how) && !strcmp(ret[i].why, w.why))
				break;
		if (i < count)
			ret[i].count++;
		else if (count < room)
			ret[count++] = w;
	}
	return count;
}

static const struct metric *const jvm_metrics[] = {
	&jvm_safepoint_duration,  &jvm_safepoint_sync,	&jvm_safepoint_count, &jvm_safepoint_time,
	&jvm_safepoint_sync_time, &jvm_gc_duration,	&jvm_memory_used,     &jvm_memory_committed,
	&jvm_memory_limit,	  &jvm_memory_after_gc, &jvm_thread_count,    &jvm_class_count,
	&jvm_class_loaded,	  &jvm_class_unloaded,	&jvm_cpu_time,	      NULL,
};

static const struct column jvm_columns[] = {
	{ .field = "time", .title = "TIME", .width = -12, .format = COLUMN_TEXT },
	{ .field = "container", .title = "CONTAINER", .width = -30, .format = COLUMN_TEXT },
	{ .field = "pid", .title = "PID", .width = 8, .format = COLUMN_NUMBER },
	{ .field = "sync_ns", .title = "SYNC", .width = 8, .format = COLUMN_DURATION_NS },
	{ .field = "operation_ns", .title = "WORK", .width = 8, .format = COLUMN_DURATION_NS },
	{ .field = "duration_ns", .title = "STOPPED", .width = 8, .format = COLUMN_DURATION_NS },
	{ .field = "operation", .title = "OPERATION", .width = 0, .format = COLUMN_TEXT },
	{ .field = NULL },
};

const struct signal jvm_signal = {
	.name = "jvm",
	.text = signal_text_jvm,
	.id = SIGNAL_jvm,
	.needs = FEAT(PRIVILEGE) | FEAT(BTF) | FEAT(CGROUP2) | FEAT(RINGBUF) | FEAT(TP_BTF),
	.metrics = jvm_metrics,
	.columns = jvm_columns,
	.load = jvm_load,
	.unload = jvm_unload,
	.detach = jvm_detach,
	.decode = jvm_decode,
	.drain = jvm_drain,
	.tick = jvm_tick,
	.forget = jvm_forget,
	.counts = jvm_counts,
	.tables = jvm_tables,
	.watched = jvm_watched,
};
