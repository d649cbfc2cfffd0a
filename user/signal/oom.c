/* Kills by the out-of-memory handler: one record each, one counter per container. The smallest complete signal: what a
 * new one looks like. */
#include "oom.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "control.h"
#include "kernel/features.h"
#include "kernel/loader.h"
#include "signal/signal.h"

#include "oom.skel.h"

static const struct metric oom_kills = {
	.name = "weir.oom.kills",
	.unit = "{kill}",
	.text = "Processes killed because memory ran out.",
	.kind = METRIC_SUM,
};

struct oom {
	struct oom_bpf *skel;
	struct bpf_link *link;
	__u64 start_ns;
	__u64 delivered;
};

/* Opens, shares and loads with the one program @name. */
static int oom_load_flavour(struct signal_ctx *ctx, const char *name, struct why *why)
{
	struct oom *o = ctx->priv;
	int err;

	o->skel = oom_bpf__open();
	if (!o->skel)
		return why_set(why, -errno, "cannot open the object: %s", strerror(errno));
	err = loader_share(o->skel->obj, ctx->maps, why);
	if (!err)
		err = loader_choose(o->skel->obj, name, true, why);
	if (!err)
		err = loader_load(o->skel->skeleton, why);
	if (!err)
		err = loader_attach(bpf_object__find_program_by_name(o->skel->obj, name), &o->link, why);
	if (err) {
		oom_bpf__destroy(o->skel);
		o->skel = NULL;
	}
	return err;
}

static void oom_detach(struct signal_ctx *ctx)
{
	struct oom *o = ctx->priv;

	bpf_link__destroy(o->link);
	o->link = NULL;
}

static void oom_unload(struct signal_ctx *ctx)
{
	struct oom *o = ctx->priv;

	oom_detach(ctx);
	oom_bpf__destroy(o->skel);
	free(o);
	ctx->priv = NULL;
}

static int oom_load(struct signal_ctx *ctx, struct why *why)
{
	struct oom *o = calloc(1, sizeof(*o));

	if (!o)
		return why_set(why, -ENOMEM, "no memory");
	ctx->priv = o;
	o->start_ns = time_now_ns();
	/* The verifier tells which arguments the tracepoint has: a number is not let through as a task. */
	if (oom_load_flavour(ctx, "oom_victim", why)) {
		int err = oom_load_flavour(ctx, "oom_victim_number", why);

		if (err) {
			oom_unload(ctx);
			return err;
		}
	}
	return 0;
}

static void oom_span(struct signal_ctx *ctx, const struct oom_event *e)
{
	char command[4 * OOM_COMMAND_MAX + 1];
	struct span span = {
		.signal = SIGNAL_oom,
		.pid = e->hdr.pid,
		.time_ns = e->hdr.time_ns,
		.cgroup_id = e->hdr.cgroup_id,
		.fields_count = 1,
		.fields = { { .name = "command", .type = FIELD_STR, .str = command } },
	};

	utf8_sanitise(e->command, strnlen(e->command, sizeof(e->command)), command, sizeof(command));
	ctx->sink->span(ctx->sink, &span);
}

static int oom_decode(struct signal_ctx *ctx, const struct event_hdr *hdr)
{
	const struct oom_event *e = (const struct oom_event *)hdr;
	struct oom *o = ctx->priv;

	if (hdr->size_bytes != sizeof(*e))
		return -EBADMSG;
	series_add(aggregate_series(ctx->sink->aggregate, &oom_kills, hdr->cgroup_id, NULL, 0, o->start_ns), 1);
	o->delivered++;
	if (ctx->sink->spans)
		oom_span(ctx, e);
	return 0;
}

static void oom_counts(struct signal_ctx *ctx, struct conservation *ret)
{
	struct oom *o = ctx->priv;

	/* Written by the kernel half at any time, with atomic additions of whole words. */
	*ret = (struct conservation){
		.seen = __atomic_load_n(&o->skel->bss->oom_count.seen, __ATOMIC_RELAXED),
		.delivered = o->delivered,
		.lost[LOSS_RING] = __atomic_load_n(&o->skel->bss->oom_count.lost, __ATOMIC_RELAXED),
	};
}

static const struct metric *const oom_metrics[] = { &oom_kills, NULL };

static const struct column oom_columns[] = {
	{ .field = "time", .title = "TIME", .width = -12, .format = COLUMN_TEXT },
	{ .field = "container", .title = "CONTAINER", .width = -30, .format = COLUMN_TEXT },
	{ .field = "pid", .title = "PID", .width = 8, .format = COLUMN_NUMBER },
	{ .field = "command", .title = "COMMAND", .width = 0, .format = COLUMN_TEXT },
	{ .field = NULL },
};

const struct signal oom_signal = {
	.name = "oom",
	.text = signal_text_oom,
	.id = SIGNAL_oom,
	.needs = FEAT(PRIVILEGE) | FEAT(BTF) | FEAT(CGROUP2) | FEAT(RINGBUF) | FEAT(TP_BTF),
	.metrics = oom_metrics,
	.columns = oom_columns,
	.load = oom_load,
	.unload = oom_unload,
	.detach = oom_detach,
	.decode = oom_decode,
	.counts = oom_counts,
};
