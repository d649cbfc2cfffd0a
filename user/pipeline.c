/* The stages, wired. Reading order: the picture (pipeline_turn), records on their way, snapshots, start, stop. */
#include "pipeline.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/time.h"
#include "base/why.h"
#include "control.h"
#include "export/outputs.h"
#include "identity/cgroup.h"
#include "identity/enrich.h"
#include "identity/identity.h"
#include "kernel/maps.h"
#include "model/selfstat.h"

/* Under which name the life cycle of cgroups, which no row of signals.def stands for, is accounted. */
#define CGROUP_SIGNAL "cgroup"

/* Reading the files of all cgroups may take this part of one CPU, and this much at once. 1,200 of them take 50 ms: every
 * 10 s that is far from it, but somebody who asks for snapshots as fast as they come gets these figures every 3 s. */
#define CGROUPS_PART	 50
#define CGROUPS_BURST_NS (500 * NS_PER_MS)

struct running {
	struct signal_ctx ctx;
	bool loaded;
	struct why why; /* when not loaded */
};

struct pipeline {
	struct pipeline_options options;
	struct loop *loop;
	struct features features;
	struct kernel_maps *maps;
	struct reader *reader;
	struct running signals[SIGNAL_MAX];
	struct sink sink;
	struct aggregate *aggregate;
	struct identity *identity;
	struct outputs outputs;
	__u64 start_ns;
	__s64 wall_offset_ns;
	unsigned records_wanted[SIGNAL_MAX]; /* how many ask for every record; [0]: of all signals */
	int timer, tick_timer;
	bool started;
	__u64 cgroups_delivered; /* records of the life cycle of cgroups */
	__s64 cgroups_budget_ns; /* what reading their files may take now; below 0: not yet */
	__u64 cgroups_ns;	 /* when that was reckoned */
};

/* ---- the picture: kernel records have been decoded as they came; once an interval, the rest */

static void pipeline_drain(struct pipeline *p);
static void pipeline_publish(struct pipeline *p);
static struct snapshot *pipeline_take(struct pipeline *p);
static void pipeline_expire(struct pipeline *p);

static void pipeline_turn(struct pipeline *p)
{
	struct snapshot *snap;

	pipeline_drain(p);	 /* kernel tables -> series */
	pipeline_publish(p);	 /* our own counts -> series */
	snap = pipeline_take(p); /* series -> snapshot, cgroup ids -> containers */
	if (snap)
		outputs_write(&p->outputs, snap); /* snapshot -> everybody */
	snapshot_unref(snap);
	pipeline_expire(p); /* what is gone is forgotten */
}

static void pipeline_interval(void *arg, __u64 late)
{
	struct pipeline *p = arg;

	pipeline_turn(p);
	log_flush(loop_now_ns(p->loop));
}

/* Signals that look more often than once an interval; without an interval (trace) nobody else makes them look. */
static void pipeline_tick(void *arg, __u64 late)
{
	struct pipeline *p = arg;

	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];

		if (r->loaded && r->ctx.signal->tick)
			r->ctx.signal->tick(&r->ctx, loop_now_ns(p->loop));
	}
}

/* ---- records on their way: ring -> decode -> series and spans */

static int pipeline_cgroup(struct pipeline *p, const struct event_hdr *hdr)
{
	struct cgroup_change change;
	int err = kernel_maps_decode(hdr, &change);

	if (err)
		return err;
	p->cgroups_delivered++;
	if (!change.made)
		identity_gone(p->identity, change.cgroup_id);
	else if (*change.path)
		identity_learn(p->identity, change.cgroup_id, change.path, change.time_ns);
	return 0;
}

static int pipeline_decode(void *arg, const struct event_hdr *hdr)
{
	struct pipeline *p = arg;
	struct running *r = &p->signals[hdr->signal];

	if (hdr->signal == SIGNAL_NONE)
		return pipeline_cgroup(p, hdr);
	return r->loaded && r->ctx.signal->decode ? r->ctx.signal->decode(&r->ctx, hdr) : -EBADMSG;
}

static const char *span_text(const struct span *span, const char *name)
{
	const struct field *field = span_field(span, name);

	return field && field->type == FIELD_STR && field->str ? field->str : "";
}

static void pipeline_span(struct sink *sink, const struct span *span)
{
	struct pipeline *p = (struct pipeline *)((char *)sink - offsetof(struct pipeline, sink));
	/* Kept, because looking up the containers that its fields name may change what the table holds. */
	const struct workload *who = workload_ref(identity_lookup(p->identity, span->cgroup_id));
	struct span known = *span;

	if (!known.pid && known.socket_cookie)
		known.pid = identity_pid(p->identity, known.cgroup_id, known.socket_cookie, span_text(span, "local"),
					 span_text(span, "peer"));
	span_enrich(&known, p->identity);
	outputs_span(&p->outputs, &known, who);
	span_enrich_undo(&known);
	workload_unref(who);
}

/* Records are asked for while somebody both wants them and can take them. */
static void pipeline_set_records(struct pipeline *p)
{
	__u32 wanted = 0;

	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		if (p->records_wanted[0] || p->records_wanted[id])
			wanted |= 1u << id;
	p->sink.spans = wanted && outputs_take_spans(&p->outputs);
	if (p->maps)
		__atomic_store_n(&kernel_maps_control(p->maps)->records, wanted, __ATOMIC_RELEASE);
}

void pipeline_want_records(struct pipeline *p, unsigned signal, bool wanted)
{
	if (signal >= SIGNAL_MAX)
		return;
	if (wanted)
		p->records_wanted[signal]++;
	else if (p->records_wanted[signal])
		p->records_wanted[signal]--;
	pipeline_set_records(p);
}

void pipeline_mute(struct pipeline *p, unsigned signal, __u64 cgroup_id)
{
	struct running *r;

	if (signal >= SIGNAL_MAX)
		return;
	r = &p->signals[signal];
	if (r->loaded && r->ctx.signal->mute)
		r->ctx.signal->mute(&r->ctx, cgroup_id);
}

/* ---- snapshots */

static void cgroup_each(void *arg, __u64 cgroup_id, const char *path, __u64 made_ns)
{
	struct pipeline *p = arg;

	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];

		if (r->loaded && r->ctx.signal->cgroup)
			r->ctx.signal->cgroup(&r->ctx, cgroup_id, path, made_ns);
	}
}

static void pipeline_cgroups(struct pipeline *p)
{
	__u64 begin_ns = time_now_ns();
	bool wanted = false;

	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		wanted |= p->signals[id].loaded && p->signals[id].ctx.signal->cgroup;
	p->cgroups_budget_ns += (__s64)((begin_ns - p->cgroups_ns) / CGROUPS_PART);
	if (!p->cgroups_ns || p->cgroups_budget_ns > (__s64)CGROUPS_BURST_NS)
		p->cgroups_budget_ns = (__s64)CGROUPS_BURST_NS;
	p->cgroups_ns = begin_ns;
	if (!wanted || p->cgroups_budget_ns < 0)
		return;
	identity_each(p->identity, cgroup_each, p);
	p->cgroups_budget_ns -= (__s64)(time_now_ns() - begin_ns);
}

static void pipeline_restarted(void *arg, __u64 cgroup_id, __u64 made_ns)
{
	struct pipeline *p = arg;

	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];

		if (r->loaded && r->ctx.signal->restarted)
			r->ctx.signal->restarted(&r->ctx, cgroup_id, made_ns ? made_ns : time_now_ns());
	}
}

static void pipeline_drain(struct pipeline *p)
{
	__u64 begin_ns = time_now_ns();

	reader_drain(p->reader);
	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];
		int err = r->loaded && r->ctx.signal->drain ? r->ctx.signal->drain(&r->ctx, begin_ns) : 0;

		if (err)
			log_warn("%s: cannot read the kernel's table (%s), trying again next time", r->ctx.signal->name,
				 strerror(-err));
	}
	/* Only now: a maximum belongs to the interval in which it is read. */
	kernel_maps_control(p->maps)->interval++;
	pipeline_cgroups(p);
	selfstat_hist(p->aggregate, SELFSTAT_drain_duration, time_now_ns() - begin_ns, p->start_ns);
}

static void running_publish(struct pipeline *p, struct running *r)
{
	struct table_use uses[PIPELINE_TABLES_MAX];
	const char *name = r->ctx.signal->name;
	struct conservation counts;
	unsigned count;

	if (r->ctx.signal->counts) {
		r->ctx.signal->counts(&r->ctx, &counts);
		selfstat_signal(p->aggregate, name, counts.seen, counts.delivered, counts.filtered, counts.lost,
				p->start_ns);
	}
	count = r->ctx.signal->tables ? r->ctx.signal->tables(&r->ctx, uses, PIPELINE_TABLES_MAX) : 0;
	for (unsigned i = 0; i < count; i++) {
		selfstat_gauge(p->aggregate, SELFSTAT_table_used, name, uses[i].name, uses[i].used);
		selfstat_gauge(p->aggregate, SELFSTAT_table_limit, name, uses[i].name, uses[i].max);
	}
}

static void reader_publish(struct pipeline *p)
{
	struct reader_counts counts;

	reader_counts(p->reader, &counts);
	for (unsigned id = 0; id < SIGNAL_MAX; id++)
		if (id == SIGNAL_NONE || signals[id])
			selfstat_total(p->aggregate, SELFSTAT_reader_records,
				       id == SIGNAL_NONE ? CGROUP_SIGNAL : signals[id]->name, NULL, counts.records[id],
				       p->start_ns);
	selfstat_total(p->aggregate, SELFSTAT_reader_bad, "size", NULL, counts.bad_size, p->start_ns);
	selfstat_total(p->aggregate, SELFSTAT_reader_bad, "signal", NULL, counts.bad_signal, p->start_ns);
	selfstat_total(p->aggregate, SELFSTAT_reader_bad, "record", NULL, counts.bad_record, p->start_ns);
	selfstat_total(p->aggregate, SELFSTAT_reader_bytes, NULL, NULL, counts.bytes, p->start_ns);
}

static void cgroups_publish(struct pipeline *p)
{
	__u64 lost[LOSS_MAX] = { 0 };
	struct identity_use use;
	__u64 seen;

	kernel_maps_counts(p->maps, &seen, &lost[LOSS_RING]);
	selfstat_signal(p->aggregate, CGROUP_SIGNAL, seen, p->cgroups_delivered, 0, lost, p->start_ns);
	identity_use(p->identity, &use);
	selfstat_gauge(p->aggregate, SELFSTAT_identity_count, NULL, NULL, use.cgroups);
	selfstat_total(p->aggregate, SELFSTAT_identity_missed, NULL, NULL, use.missed, p->start_ns);
	selfstat_total(p->aggregate, SELFSTAT_identity_refused, NULL, NULL, use.refused, p->start_ns);
}

static void pipeline_publish(struct pipeline *p)
{
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		if (p->signals[id].loaded)
			running_publish(p, &p->signals[id]);
	reader_publish(p);
	cgroups_publish(p);
	selfstat_gauge(p->aggregate, SELFSTAT_loop_longest, NULL, NULL, loop_take_longest_ns(p->loop));
	selfstat_publish(p->aggregate, p->start_ns);
}

static struct snapshot *pipeline_take(struct pipeline *p)
{
	__u64 now_ns = time_now_ns();
	struct snapshot *snap;

	p->wall_offset_ns = time_wall_offset_ns();
	snap = aggregate_take(p->aggregate, now_ns, now_ns + p->wall_offset_ns);
	if (!snap || enrich(snap, p->identity)) {
		log_warn("no memory for a snapshot, continuing without this one");
		snapshot_unref(snap);
		return NULL;
	}
	snap->start_ns = p->start_ns;
	return snap;
}

/* Of who is named in an attribute, the name is all that is shown. As long as somebody else has it, such as another replica,
 * what was counted under it stays under it: a total that falls looks like one that began anew. */
static void pipeline_forget_peer(struct pipeline *p, __u64 cgroup_id, __u64 heir)
{
	if (!aggregate_has_peer(p->aggregate, cgroup_id))
		return;
	if (!heir)
		heir = identity_namesake(p->identity, cgroup_id);
	if (heir)
		aggregate_bequeath_peer(p->aggregate, cgroup_id, heir);
	else
		aggregate_forget_peer(p->aggregate, cgroup_id);
}

static void pipeline_forget(void *arg, __u64 cgroup_id, __u64 heir)
{
	struct pipeline *p = arg;

	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];

		if (r->loaded && r->ctx.signal->forget)
			r->ctx.signal->forget(&r->ctx, cgroup_id);
	}
	pipeline_forget_peer(p, cgroup_id, heir);
	if (heir)
		aggregate_bequeath(p->aggregate, cgroup_id, heir);
	else
		aggregate_forget(p->aggregate, cgroup_id);
}

static void pipeline_expire(struct pipeline *p)
{
	identity_expire(p->identity, time_now_ns(), pipeline_forget, p);
}

struct snapshot *pipeline_snapshot(struct pipeline *p)
{
	struct snapshot *snap;

	if (!p->started)
		return NULL;
	pipeline_drain(p);
	pipeline_publish(p);
	snap = pipeline_take(p);
	/* Who takes no interval has nobody else to do this. */
	if (!p->options.interval_ns)
		pipeline_expire(p);
	return snap;
}

/* ---- start: the picture from top to bottom */

int pipeline_new(const struct pipeline_options *options, struct pipeline **ret, struct why *why)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return why_set(why, -ENOMEM, "no memory");
	p->options = *options;
	if (!p->options.signals)
		p->options.signals = ~0u;
	if (!p->options.flush_ns)
		p->options.flush_ns = PIPELINE_FLUSH_NS;
	if (!p->options.series_max)
		p->options.series_max = PIPELINE_SERIES_MAX;
	if (!p->options.series_per_cgroup_max)
		p->options.series_per_cgroup_max = PIPELINE_SERIES_PER_CGROUP_MAX;
	p->timer = p->tick_timer = -1;
	p->start_ns = time_now_ns();
	p->wall_offset_ns = time_wall_offset_ns();
	p->records_wanted[0] = options->signal.records;
	p->sink.span = pipeline_span;
	p->sink.aggregate = aggregate_new(&(struct aggregate_options){
		.series_max = p->options.series_max,
		.series_per_cgroup_max = p->options.series_per_cgroup_max,
	});
	p->aggregate = p->sink.aggregate;
	err = p->aggregate ? loop_new(&p->loop, why) : why_set(why, -ENOMEM, "no memory");
	if (err) {
		pipeline_free(p);
		return err;
	}
	*ret = p;
	return 0;
}

struct loop *pipeline_loop(struct pipeline *p)
{
	return p->loop;
}

int pipeline_add_output(struct pipeline *p, struct output *out)
{
	int err = outputs_add(&p->outputs, out);

	if (!err)
		pipeline_set_records(p);
	return err;
}

/* What this machine allows; without cgroups there is nobody to attribute anything to. */
static int start_probe(struct pipeline *p, struct why *why)
{
	char mount[sizeof(p->features.cgroup_mount)];
	struct why no_mount = { "" };
	const char *root = p->options.cgroup_root;

	if (!root && !cgroup_find_mount(NULL, mount, sizeof(mount), &no_mount))
		root = mount;
	features_probe(&p->features, root);
	return features_check(&p->features, FEAT(PRIVILEGE) | FEAT(BTF) | FEAT(CGROUP2) | FEAT(RINGBUF), why);
}

static int start_signal(struct pipeline *p, struct running *r, const struct signal *signal)
{
	int err;

	r->ctx = (struct signal_ctx){
		.signal = signal,
		.options = &p->options.signal,
		.features = &p->features,
		.maps = p->maps,
		.sink = &p->sink,
	};
	err = features_check(&p->features, signal->needs, &r->why);
	if (!err)
		err = signal->load(&r->ctx, &r->why);
	r->loaded = !err;
	return err;
}

static int start_signals(struct pipeline *p, struct why *why)
{
	unsigned loaded = 0;
	int first_err = 0;

	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];
		int err;

		if (!signals[id] || !(p->options.signals & 1u << id))
			continue;
		err = start_signal(p, r, signals[id]);
		loaded += !err;
		if (!err)
			continue;
		if (!first_err)
			first_err = why_set(why, err, "%.40s: %.460s", signals[id]->name, r->why.text);
		if (p->options.required)
			return first_err;
		log_warn("%s: %s; continuing without it", signals[id]->name, r->why.text);
	}
	if (loaded)
		return 0;
	return first_err ? first_err : why_set(why, -EINVAL, "no signal was chosen");
}

static int start_tick(struct pipeline *p, struct why *why)
{
	bool wanted = false;

	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		wanted |= p->signals[id].loaded && p->signals[id].ctx.signal->tick;
	if (!wanted)
		return 0;
	p->tick_timer = loop_add_timer(p->loop, NS_PER_S, NS_PER_S, pipeline_tick, p);
	return p->tick_timer < 0 ? why_set(why, p->tick_timer, "cannot make a timer: %s", strerror(-p->tick_timer)) : 0;
}

int pipeline_start(struct pipeline *p, struct why *why)
{
	int err = start_probe(p, why);

	if (err)
		return err;
	/* Cgroups made from here on are told of; those made before, the walk of identity_new() finds. */
	err = kernel_maps_open(&(struct kernel_maps_options){ .ring_bytes = 0 }, &p->features, &p->maps, why);
	if (err)
		return err;
	pipeline_set_records(p);
	p->identity = identity_new(
		&(struct identity_options){
			.cgroup_mount = p->features.cgroup_mount,
			.restarted = pipeline_restarted,
			.restarted_arg = p,
		},
		why);
	if (!p->identity)
		return -ENOMEM;
	err = reader_open(p->loop, p->maps, pipeline_decode, p, &p->reader, why);
	if (err)
		return err;
	err = start_signals(p, why);
	if (err)
		return err;
	pipeline_cgroups(p); /* what their files say counts from here */
	if (p->options.interval_ns) {
		p->timer =
			loop_add_timer(p->loop, p->options.interval_ns, p->options.interval_ns, pipeline_interval, p);
		if (p->timer < 0)
			return why_set(why, p->timer, "cannot make a timer: %s", strerror(-p->timer));
	}
	err = start_tick(p, why);
	if (err)
		return err;
	/* Loading has read the kernel's types several times over: give that memory back. */
	malloc_trim(0);
	p->started = true;
	return 0;
}

int pipeline_run(struct pipeline *p)
{
	return loop_run(p->loop);
}

void pipeline_stop(struct pipeline *p)
{
	loop_stop(p->loop);
}

/* ---- stop: detach hooks, drain, last snapshot, flush, free */

static void pipeline_end(struct pipeline *p)
{
	if (p->timer >= 0)
		loop_del_timer(p->loop, p->timer);
	if (p->tick_timer >= 0)
		loop_del_timer(p->loop, p->tick_timer);
	kernel_maps_detach(p->maps);
	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];

		if (r->loaded && r->ctx.signal->detach)
			r->ctx.signal->detach(&r->ctx);
	}
	pipeline_turn(p);
	outputs_flush(&p->outputs, time_now_ns() + p->options.flush_ns);
	p->started = false;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	if (p->started)
		pipeline_end(p);
	outputs_free(&p->outputs);
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		if (p->signals[id].loaded)
			p->signals[id].ctx.signal->unload(&p->signals[id].ctx);
	reader_close(p->reader);
	kernel_maps_close(p->maps);
	identity_free(p->identity);
	aggregate_free(p->aggregate);
	loop_free(p->loop);
	free(p);
}

/* ---- what others ask */

bool pipeline_ready(struct pipeline *p, struct why *why)
{
	if (!p->started)
		return why_set(why, false, "starting");
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		if (signals[id] && (p->options.signals & 1u << id) && p->options.required && !p->signals[id].loaded)
			return why_set(why, false, "%s: %.400s", signals[id]->name, p->signals[id].why.text);
	return true;
}

void pipeline_status(struct pipeline *p, struct pipeline_status *ret)
{
	*ret = (struct pipeline_status){
		.start_ns = p->start_ns,
		.interval_ns = p->options.interval_ns,
		.series_max = p->options.series_max,
		.series_per_cgroup_max = p->options.series_per_cgroup_max,
	};
	aggregate_use(p->aggregate, &ret->series);
	if (!p->started)
		return;
	pipeline_drain(p);
	reader_counts(p->reader, &ret->reader);
	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct running *r = &p->signals[id];
		struct signal_status *to = &ret->signals[ret->signals_count];

		if (!signals[id])
			continue;
		ret->signals_count++;
		to->signal = signals[id];
		to->running = r->loaded;
		snprintf(to->why, sizeof(to->why), "%s",
			 p->options.signals & 1u << id ? r->why.text : "not asked for (--signals)");
		if (r->loaded && r->ctx.signal->counts)
			r->ctx.signal->counts(&r->ctx, &to->counts);
		if (r->loaded && r->ctx.signal->tables)
			to->tables_count = r->ctx.signal->tables(&r->ctx, to->tables, PIPELINE_TABLES_MAX);
		if (r->loaded && r->ctx.signal->watched)
			to->watched_count = r->ctx.signal->watched(&r->ctx, to->watched, PIPELINE_WATCHED_MAX);
	}
}

const struct features *pipeline_features(const struct pipeline *p)
{
	return &p->features;
}

struct identity *pipeline_identity(const struct pipeline *p)
{
	return p->identity;
}

__s64 pipeline_wall_offset_ns(const struct pipeline *p)
{
	return p->wall_offset_ns;
}
