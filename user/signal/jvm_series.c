#include "signal/jvm_series.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "model/intern.h"

#define GAUGES_MAX 20000

const struct metric jvm_safepoint_duration = {
	.name = "weir.jvm.safepoint.duration",
	.unit = "s",
	.text = "Pauses in which all threads of a JVM stood still at a safepoint, from the order to stop until they went on.",
	.kind = METRIC_HIST,
	.bounds = HIST_BOUNDS_SHORT,
};
const struct metric jvm_safepoint_sync = {
	.name = "weir.jvm.safepoint.sync.duration",
	.unit = "s",
	.text = "Time to safepoint: the part of a pause until the last thread had stopped.",
	.kind = METRIC_HIST,
	.bounds = HIST_BOUNDS_SHORT,
};
const struct metric jvm_safepoint_count = {
	.name = "weir.jvm.safepoints",
	.unit = "{safepoint}",
	.text = "Safepoints of JVMs of which only the sums are known (source counters).",
	.kind = METRIC_SUM,
};
const struct metric jvm_safepoint_time = {
	.name = "weir.jvm.safepoint.time",
	.unit = "s",
	.text = "Time stopped in these safepoints.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};
const struct metric jvm_safepoint_sync_time = {
	.name = "weir.jvm.safepoint.sync.time",
	.unit = "s",
	.text = "Time to safepoint in these.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};
const struct metric jvm_gc_duration = {
	.name = "jvm.gc.duration",
	.unit = "s",
	.text = "Duration of garbage collections, as far as they stopped the JVM.",
	.kind = METRIC_HIST,
	.bounds = HIST_BOUNDS_GC,
};
const struct metric jvm_memory_used = {
	.name = "jvm.memory.used",
	.unit = "By",
	.text = "Memory in use, by pool.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric jvm_memory_committed = {
	.name = "jvm.memory.committed",
	.unit = "By",
	.text = "Memory that the JVM has for a pool.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric jvm_memory_limit = {
	.name = "jvm.memory.limit",
	.unit = "By",
	.text = "What a pool may grow to, where it has a limit.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric jvm_memory_after_gc = {
	.name = "jvm.memory.used_after_last_gc",
	.unit = "By",
	.text = "Memory in use after the last collection of the pool.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric jvm_thread_count = {
	.name = "jvm.thread.count",
	.unit = "{thread}",
	.text = "Live Java threads.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric jvm_class_count = {
	.name = "jvm.class.count",
	.unit = "{class}",
	.text = "Classes loaded now.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric jvm_class_loaded = {
	.name = "jvm.class.loaded",
	.unit = "{class}",
	.text = "Classes loaded since the JVM started.",
	.kind = METRIC_SUM,
};
const struct metric jvm_class_unloaded = {
	.name = "jvm.class.unloaded",
	.unit = "{class}",
	.text = "Classes unloaded since the JVM started.",
	.kind = METRIC_SUM,
};
const struct metric jvm_cpu_time = {
	.name = "jvm.cpu.time",
	.unit = "s",
	.text = "CPU time of the JVM's process, as the kernel accounts it.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};

/* The sum of one gauge in the round that is being made. */
struct gauge {
	const struct metric *metric;
	__u64 cgroup_id;
	const char *pool; /* interned; NULL: none */
	bool flag;	  /* heap, or daemon */
	__u64 sum;
	bool met;
	struct series *series;
};

struct jvm_series {
	struct aggregate *aggregate;
	__u64 start_ns;
	struct map gauges;
	const char *names[JVM_NAMES_MAX]; /* interned */
	unsigned names_count;
	struct {
		const char *operation, *source, *gc_name, *gc_action, *pool, *type, *daemon, *heap, *non_heap, *yes,
			*no, *other;
	} text;
};

struct jvm_series *jvm_series_new(struct aggregate *aggregate, __u64 start_ns)
{
	struct jvm_series *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->aggregate = aggregate;
	s->start_ns = start_ns;
	s->text.operation = intern_str("weir.jvm.operation");
	s->text.source = intern_str("weir.jvm.source");
	s->text.gc_name = intern_str("jvm.gc.name");
	s->text.gc_action = intern_str("jvm.gc.action");
	s->text.pool = intern_str("jvm.memory.pool.name");
	s->text.type = intern_str("jvm.memory.type");
	s->text.daemon = intern_str("jvm.thread.daemon");
	s->text.heap = intern_str("heap");
	s->text.non_heap = intern_str("non_heap");
	s->text.yes = intern_str("true");
	s->text.no = intern_str("false");
	s->text.other = intern_str("other");
	return s;
}

void jvm_series_free(struct jvm_series *s)
{
	struct gauge *g;
	size_t pos = 0;

	if (!s)
		return;
	while ((g = map_next(&s->gauges, &pos)))
		free(g);
	map_done(&s->gauges);
	free(s);
}

const char *jvm_source_name(enum jvm_source source)
{
	static const char *const names[JVM_SOURCE_MAX] = {
		[JVM_SOURCE_NONE] = "none",	    [JVM_SOURCE_USDT] = "usdt",
		[JVM_SOURCE_SYMBOLS] = "symbols",   [JVM_SOURCE_WATCHPOINTS] = "watchpoints",
		[JVM_SOURCE_COUNTERS] = "counters",
	};

	return source < JVM_SOURCE_MAX ? names[source] : "none";
}

/* They come out of processes that may be anything, and what is interned stays. */
static const char *name_of(struct jvm_series *s, const char *name)
{
	for (unsigned i = 0; i < s->names_count; i++)
		if (!strcmp(s->names[i], name))
			return s->names[i];
	if (s->names_count == JVM_NAMES_MAX)
		return s->text.other;
	return s->names[s->names_count++] = intern_str(name);
}

static struct attr attr_str(const char *key, const char *str)
{
	return (struct attr){ .key = key, .type = ATTR_STR, .str = str };
}

void jvm_series_safepoint(struct jvm_series *s, __u64 cgroup_id, enum jvm_source source, const char *operation,
			  __u64 duration_ns, __u64 sync_ns)
{
	struct attr attrs[2] = { attr_str(s->text.source, intern_str(jvm_source_name(source))) };
	unsigned count = 1;

	if (*operation)
		attrs[count++] = attr_str(s->text.operation, name_of(s, operation));
	series_add_hist(aggregate_series(s->aggregate, &jvm_safepoint_duration, cgroup_id, attrs, count, s->start_ns),
			duration_ns);
	if (sync_ns)
		series_add_hist(aggregate_series(s->aggregate, &jvm_safepoint_sync, cgroup_id, attrs, count,
						 s->start_ns),
				sync_ns);
}

void jvm_series_counted(struct jvm_series *s, __u64 cgroup_id, __u64 count, __u64 stopped_ns, __u64 sync_ns)
{
	const struct attr attr = attr_str(s->text.source, intern_str(jvm_source_name(JVM_SOURCE_COUNTERS)));

	series_add(aggregate_series(s->aggregate, &jvm_safepoint_count, cgroup_id, &attr, 1, s->start_ns), count);
	series_add(aggregate_series(s->aggregate, &jvm_safepoint_time, cgroup_id, &attr, 1, s->start_ns), stopped_ns);
	series_add(aggregate_series(s->aggregate, &jvm_safepoint_sync_time, cgroup_id, &attr, 1, s->start_ns), sync_ns);
}

void jvm_series_gc(struct jvm_series *s, __u64 cgroup_id, const char *name, const char *action, __u64 count,
		   __u64 total_ns)
{
	const struct attr attrs[] = {
		attr_str(s->text.gc_name, name_of(s, name)),
		attr_str(s->text.gc_action, name_of(s, action)),
	};
	struct series *series = aggregate_series(s->aggregate, &jvm_gc_duration, cgroup_id, attrs, 2, s->start_ns);

	/* Of several since the last look only the sum is known. */
	for (__u64 i = 0; i < count; i++)
		series_add_hist(series, total_ns / count + (i == 0 ? total_ns % count : 0));
}

void jvm_series_add(struct jvm_series *s, const struct metric *metric, __u64 cgroup_id, __u64 new)
{
	if (new)
		series_add(aggregate_series(s->aggregate, metric, cgroup_id, NULL, 0, s->start_ns), new);
}

/* ---- gauges */

static __u64 gauge_hash(const struct gauge *g)
{
	return hash_mix(hash_mix((uintptr_t)g->metric, g->cgroup_id), hash_mix((uintptr_t)g->pool, g->flag));
}

static bool gauge_same(const void *item, const void *key)
{
	const struct gauge *a = item, *b = key;

	return a->metric == b->metric && a->cgroup_id == b->cgroup_id && a->pool == b->pool && a->flag == b->flag;
}

static struct series *gauge_series(struct jvm_series *s, const struct gauge *g)
{
	struct attr attrs[2];
	unsigned count = 0;

	if (g->pool) {
		attrs[count++] = attr_str(s->text.pool, g->pool);
		attrs[count++] = attr_str(s->text.type, g->flag ? s->text.heap : s->text.non_heap);
	} else if (g->metric == &jvm_thread_count) {
		attrs[count++] = attr_str(s->text.daemon, g->flag ? s->text.yes : s->text.no);
	}
	return aggregate_series(s->aggregate, g->metric, g->cgroup_id, attrs, count, s->start_ns);
}

static void gauge_add(struct jvm_series *s, const struct gauge *key, __u64 value)
{
	struct gauge *g = map_find(&s->gauges, gauge_hash(key), gauge_same, key);

	if (!g) {
		g = s->gauges.count < GAUGES_MAX ? malloc(sizeof(*g)) : NULL;
		if (!g)
			return;
		*g = *key;
		g->series = gauge_series(s, g);
		if (map_add(&s->gauges, gauge_hash(g), g)) {
			free(g);
			return;
		}
	}
	g->sum += value;
	g->met = true;
}

void jvm_series_begin(struct jvm_series *s)
{
	struct gauge *g;
	size_t pos = 0;

	while ((g = map_next(&s->gauges, &pos))) {
		g->sum = 0;
		g->met = false;
	}
}

void jvm_series_memory(struct jvm_series *s, const struct metric *metric, __u64 cgroup_id, const char *pool, bool heap,
		       __u64 bytes)
{
	const struct gauge key = { .metric = metric, .cgroup_id = cgroup_id, .pool = name_of(s, pool), .flag = heap };

	gauge_add(s, &key, bytes);
}

void jvm_series_threads(struct jvm_series *s, __u64 cgroup_id, bool daemon, __u64 count)
{
	const struct gauge key = { .metric = &jvm_thread_count, .cgroup_id = cgroup_id, .flag = daemon };

	gauge_add(s, &key, count);
}

void jvm_series_classes(struct jvm_series *s, __u64 cgroup_id, __u64 count)
{
	const struct gauge key = { .metric = &jvm_class_count, .cgroup_id = cgroup_id };

	gauge_add(s, &key, count);
}

/* A JVM that has ended has nothing any more. */
void jvm_series_end(struct jvm_series *s)
{
	struct gauge *g;
	size_t pos = 0;

	while ((g = map_next(&s->gauges, &pos)))
		series_set(g->series, g->met ? (__s64)g->sum : 0);
}

void jvm_series_forget(struct jvm_series *s, __u64 cgroup_id)
{
	struct gauge *g, **gone = s->gauges.count ? malloc(s->gauges.count * sizeof(*gone)) : NULL;
	size_t pos = 0, count = 0;

	if (!gone)
		return;
	while ((g = map_next(&s->gauges, &pos)))
		if (g->cgroup_id == cgroup_id)
			gone[count++] = g;
	while (count) {
		g = gone[--count];
		map_del(&s->gauges, gauge_hash(g), g);
		free(g);
	}
	free(gone);
}
