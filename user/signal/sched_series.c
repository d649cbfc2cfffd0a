#include "signal/sched_series.h"

#include <stdlib.h>
#include <string.h>

#include "model/intern.h"
#include "signal/sched_class.h"

const struct metric sched_wait = {
	.name = "weir.sched.run_queue.duration",
	.unit = "s",
	.text = "Waits of threads that could run for a CPU, as the kernel accounts them in schedstat.",
	.kind = METRIC_HIST,
	.bounds = HIST_BOUNDS_SHORT,
};
const struct metric sched_longest = {
	.name = "weir.sched.run_queue.longest",
	.unit = "s",
	.text = "Longest wait for a CPU that ended in the last interval.",
	.kind = METRIC_GAUGE,
	.scale = 1e-9,
};
const struct metric sched_off_cpu = {
	.name = "weir.sched.off_cpu.time",
	.unit = "s",
	.text = "Time that threads were off the CPU, by reason, counted when they are back: preempted, io, lock (in futex), sleep, poll, other. Waits for a CPU are in preempted only.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};
const struct metric sched_neighbour = {
	.name = "weir.sched.neighbour.time",
	.unit = "s",
	.text = "Time that waits of 1 ms and more stood behind threads of that container, on the CPU where the wait ended.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};

struct sched_series {
	struct aggregate *aggregate;
	__u64 cgroup_id;
	__u64 start_ns;
	struct series *wait, *longest, *unnamed, *off[SCHED_CLASS_MAX];
	__u64 count, sum_ns, unnamed_ns, off_ns[SCHED_CLASS_MAX];
	__u32 slots[HIST_SLOTS];
};

struct sched_series *sched_series_new(struct aggregate *aggregate, __u64 cgroup_id, __u64 start_ns)
{
	struct sched_series *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->aggregate = aggregate;
	s->cgroup_id = cgroup_id;
	s->start_ns = start_ns;
	return s;
}

void sched_series_free(struct sched_series *s)
{
	free(s);
}

static struct series *series_of(struct sched_series *s, const struct metric *metric, const struct attr *own)
{
	struct attr attrs[2];
	unsigned count = 0;

	if (own)
		attrs[count++] = *own;
	if (!s->cgroup_id)
		attrs[count++] = (struct attr){
			.key = intern_str("otel.metric.overflow"),
			.type = ATTR_STR,
			.str = intern_str("true"),
		};
	return aggregate_series(s->aggregate, metric, s->cgroup_id, attrs, count, s->start_ns);
}

static void off_take(struct sched_series *s, unsigned class, __u64 total)
{
	const struct attr reason = {
		.key = intern_str("weir.sched.reason"),
		.type = ATTR_STR,
		.str = intern_str(sched_class_name(class)),
	};

	if (total == s->off_ns[class])
		return;
	if (!s->off[class])
		s->off[class] = series_of(s, &sched_off_cpu, &reason);
	series_add(s->off[class], total - s->off_ns[class]);
	s->off_ns[class] = total;
}

static void unnamed_take(struct sched_series *s, __u64 total)
{
	if (total == s->unnamed_ns)
		return;
	if (!s->unnamed)
		s->unnamed = sched_neighbour_series(s->aggregate, s->cgroup_id, SCHED_KEY_IDLE, s->start_ns);
	series_add(s->unnamed, total - s->unnamed_ns);
	s->unnamed_ns = total;
}

/* The counters of 32 bits may wrap, and so may their sum. Returns how many are new. */
static __u64 slots_take(struct sched_series *s, const struct sched_stat *shards, unsigned count, __u32 *ret_new)
{
	__u64 sum = 0;

	for (unsigned slot = 0; slot < HIST_SLOTS; slot++) {
		__u32 total = 0;

		for (unsigned i = 0; i < count; i++)
			total += shards[i].slots[slot];
		ret_new[slot] = total - s->slots[slot];
		s->slots[slot] = total;
		sum += ret_new[slot];
	}
	return sum;
}

/* A wait is counted by its slot, which the kernel half adds last: the sums may be ahead by those that are being added. */
void sched_series_take(struct sched_series *s, const struct sched_stat *shards, unsigned count, __u64 interval,
		       struct sched_totals *totals)
{
	__u64 seen = 0, sum_ns = 0, unnamed_ns = 0, max_ns = 0, off_ns[SCHED_CLASS_MAX] = { 0 }, waits;
	__u32 new[HIST_SLOTS];

	for (unsigned i = 0; i < count; i++) {
		seen += shards[i].count;
		sum_ns += shards[i].sum_ns;
		unnamed_ns += shards[i].unnamed_ns;
		if (shards[i].max_interval == interval && shards[i].max_ns > max_ns)
			max_ns = shards[i].max_ns;
		for (unsigned class = 0; class < SCHED_CLASS_MAX; class ++)
			off_ns[class] += shards[i].off_ns[class];
	}
	for (unsigned class = 0; class < SCHED_CLASS_MAX; class ++)
		off_take(s, class, off_ns[class]);
	unnamed_take(s, unnamed_ns);
	waits = slots_take(s, shards, count, new);
	totals->seen += seen - s->count;
	totals->delivered += waits;
	s->count = seen;
	if (!s->wait && !waits)
		return;
	if (!s->wait) {
		s->wait = series_of(s, &sched_wait, NULL);
		s->longest = series_of(s, &sched_longest, NULL);
	}
	if (waits)
		series_add_slots(s->wait, new, sum_ns - s->sum_ns, max_ns);
	series_set(s->longest, (__s64)max_ns);
	if (waits)
		s->sum_ns = sum_ns;
}

struct series *sched_neighbour_series(struct aggregate *aggregate, __u64 victim, __u64 culprit, __u64 start_ns)
{
	struct attr name = { .key = intern_str("weir.neighbour.name"), .type = ATTR_STR };

	if (culprit == SCHED_KEY_KERNEL) {
		name.str = intern_str("kernel");
	} else if (culprit == SCHED_KEY_IDLE) {
		name.str = intern_str("_OTHER");
	} else {
		name.type = ATTR_CGROUP;
		name.num = (__s64)culprit;
	}
	return aggregate_series(aggregate, &sched_neighbour, victim, &name, 1, start_ns);
}
