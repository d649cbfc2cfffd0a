#include "view/containers_sums.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "view/keys.h"
#include "view/rows.h"
#include "view/since.h"
#include "view/who.h"

#define ERROR_ATTRIBUTE	    "error.type"
#define NEIGHBOUR_ATTRIBUTE "weir.neighbour.name"

/* ---- sums over one snapshot, by container */

/* What of a row each metric is. */
enum use {
	USE_TOTAL,
	USE_CONNECTS,
	USE_NEIGHBOUR,
	USE_TIMES,
	USE_PAUSES,
	USE_COLLECTIONS,
	USE_CONNS,
	USE_RUNQ_MAX,
	USE_HEAP_USED,
	USE_HEAP_LIMIT,
	USE_THREADS,
	USE_MAX
};

/* A snapshot of another version may have the name for something else. */
static const enum metric_kind use_kinds[USE_MAX] = {
	[USE_TOTAL] = METRIC_SUM,	 [USE_CONNECTS] = METRIC_SUM,	[USE_NEIGHBOUR] = METRIC_SUM,
	[USE_TIMES] = METRIC_HIST,	 [USE_PAUSES] = METRIC_HIST,	[USE_COLLECTIONS] = METRIC_HIST,
	[USE_CONNS] = METRIC_GAUGE,	 [USE_RUNQ_MAX] = METRIC_GAUGE, [USE_HEAP_USED] = METRIC_GAUGE,
	[USE_HEAP_LIMIT] = METRIC_GAUGE, [USE_THREADS] = METRIC_GAUGE,
};

static const struct known_metric {
	const char *name;
	enum figure_of of;
	enum use use;
	enum containers_total total; /* of USE_TOTAL */
	enum containers_times times; /* of USE_TIMES */
} known_metrics[] = {
	{ .name = "weir.tcp.retransmits", .of = OF_TCP, .use = USE_TOTAL, .total = TOTAL_RETRANSMITS },
	{ .name = "weir.tcp.resets", .of = OF_TCP, .use = USE_TOTAL, .total = TOTAL_RESETS },
	{ .name = "weir.tcp.listen.drops", .of = OF_TCP, .use = USE_TOTAL, .total = TOTAL_DROPS },
	{ .name = "weir.tcp.connections", .of = OF_TCP, .use = USE_CONNECTS },
	{ .name = "weir.tcp.rtt.duration", .of = OF_TCP, .use = USE_TIMES, .times = TIMES_RTT },
	{ .name = "weir.tcp.active_connections", .of = OF_TCP, .use = USE_CONNS },
	{ .name = "container.cpu.time", .of = OF_SCHED, .use = USE_TOTAL, .total = TOTAL_CPU_NS },
	{ .name = "weir.container.cpu.throttled.time", .of = OF_SCHED, .use = USE_TOTAL, .total = TOTAL_THROTTLED_NS },
	{ .name = "weir.sched.run_queue.duration", .of = OF_SCHED, .use = USE_TIMES, .times = TIMES_RUNQ },
	{ .name = "weir.sched.run_queue.longest", .of = OF_SCHED, .use = USE_RUNQ_MAX },
	{ .name = "weir.sched.neighbour.time", .of = OF_SCHED, .use = USE_NEIGHBOUR },
	{ .name = "weir.jvm.safepoint.duration", .of = OF_JVM, .use = USE_PAUSES },
	{ .name = "weir.jvm.safepoint.sync.duration", .of = OF_JVM, .use = USE_TIMES, .times = TIMES_SYNC },
	{ .name = "weir.jvm.safepoints", .of = OF_JVM, .use = USE_TOTAL, .total = TOTAL_SAFEPOINTS },
	{ .name = "weir.jvm.safepoint.time", .of = OF_JVM, .use = USE_TOTAL, .total = TOTAL_STOPPED_NS },
	{ .name = "jvm.gc.duration", .of = OF_JVM, .use = USE_COLLECTIONS },
	{ .name = "jvm.memory.used", .of = OF_JVM, .use = USE_HEAP_USED },
	{ .name = "jvm.memory.limit", .of = OF_JVM, .use = USE_HEAP_LIMIT },
	{ .name = "jvm.thread.count", .of = OF_JVM, .use = USE_THREADS },
};

struct neighbour {
	unsigned row;
	const char *name;
	__u64 time_ns;
};

/* All rows of one snapshot with their neighbours; the difference of two of them is what has happened. */
struct sums {
	const struct top_options *options;
	struct keys row_keys;
	struct keys neighbour_keys; /* tag: number of the row */
	size_t rows_cap, neighbours_cap;
	struct containers_row *rows;
	struct neighbour *neighbours;
	const struct metric *metric; /* the last one seen and its row above: points come sorted */
	const struct known_metric *known;
	bool measured, jvms_measured, conns_known; /* of anybody */
};

static void sums_done(struct sums *sums)
{
	for (size_t i = 0; sums->rows && i < sums->row_keys.count; i++)
		containers_row_done(&sums->rows[i]);
	free(sums->rows);
	free(sums->neighbours);
	keys_done(&sums->row_keys);
	keys_done(&sums->neighbour_keys);
}

static const struct known_metric *metric_known(struct sums *sums, const struct metric *metric)
{
	const struct known_metric *known = NULL;

	if (metric == sums->metric)
		return sums->known;
	for (size_t i = 0; i < sizeof(known_metrics) / sizeof(*known_metrics); i++)
		if (metric->kind == use_kinds[known_metrics[i].use] && !strcmp(metric->name, known_metrics[i].name))
			known = &known_metrics[i];
	sums->metric = metric;
	sums->known = known;
	sums->measured |= known && known->of != OF_JVM;
	sums->jvms_measured |= known && known->of == OF_JVM;
	sums->conns_known |= known && known->use == USE_CONNS;
	return known;
}

static ssize_t sums_row(struct sums *sums, const struct workload *who)
{
	size_t count = sums->row_keys.count;
	ssize_t index = keys_index(&sums->row_keys, who_key(who), 0);

	if (index < 0 || (size_t)index < count)
		return index;
	if (rows_room((void **)&sums->rows, &sums->rows_cap, sizeof(*sums->rows), index)) {
		sums->row_keys.count = count;
		return -ENOMEM;
	}
	sums->rows[index] = (struct containers_row){ .who = who, .conns = -1, .runq_max_ns = -1, .threads = -1 };
	return index;
}

static int sums_neighbour(struct sums *sums, size_t row, const struct point *point)
{
	const struct attr *name = point_attr(point, NEIGHBOUR_ATTRIBUTE);
	size_t count = sums->neighbour_keys.count;
	ssize_t index;

	if (!name || name->type != ATTR_STR)
		return 0;
	index = keys_index(&sums->neighbour_keys, name->str, row);
	if (index < 0)
		return index;
	if ((size_t)index == count) {
		if (rows_room((void **)&sums->neighbours, &sums->neighbours_cap, sizeof(*sums->neighbours), index)) {
			sums->neighbour_keys.count = count;
			return -ENOMEM;
		}
		sums->neighbours[index] = (struct neighbour){ .row = row, .name = name->str };
	}
	sums->neighbours[index].time_ns += point->sum;
	return 0;
}

static void row_count(struct containers_row *row, enum containers_total total, __u64 value)
{
	row->totals[total] += value;
	row->totals_known |= 1u << total;
}

/* The totals hold the pauses of all JVMs of the container, also of those that tell but sums; the distribution does not. */
static int row_pauses(struct containers_row *row, const struct hist *pauses)
{
	row_count(row, TOTAL_SAFEPOINTS, pauses->count);
	row_count(row, TOTAL_STOPPED_NS, pauses->sum_ns);
	return hist_merge(&row->times[TIMES_PAUSES], pauses);
}

static int row_add(struct sums *sums, size_t index, const struct known_metric *known, const struct point *point)
{
	struct containers_row *row = &sums->rows[index];

	switch (known->use) {
	case USE_TOTAL:
		row_count(row, known->total, point->sum);
		return 0;
	case USE_CONNECTS:
		row_count(row, point_attr(point, ERROR_ATTRIBUTE) ? TOTAL_FAILED : TOTAL_CONNECTS, point->sum);
		return 0;
	case USE_NEIGHBOUR:
		return sums_neighbour(sums, index, point);
	case USE_TIMES:
		return hist_merge(&row->times[known->times], &point->hist);
	case USE_PAUSES:
		return row_pauses(row, &point->hist);
	case USE_COLLECTIONS:
		row_count(row, TOTAL_GC_NS, point->hist.sum_ns);
		return 0;
	case USE_CONNS:
		row->conns = gauge_add(row->conns, point->gauge);
		return 0;
	case USE_RUNQ_MAX: /* of several cgroups the longest is that of the container */
		if (point->gauge > row->runq_max_ns)
			row->runq_max_ns = point->gauge;
		return 0;
	case USE_HEAP_USED:
		heap_add_used(&row->heap, point);
		return 0;
	case USE_HEAP_LIMIT:
		heap_add_limit(&row->heap, point);
		return 0;
	case USE_THREADS:
		row->threads = gauge_add(row->threads, point->gauge);
		return 0;
	case USE_MAX:
		break;
	}
	return 0;
}

static int sums_point(struct sums *sums, const struct point *point)
{
	const struct known_metric *known = metric_known(sums, point->metric);
	struct containers_row *row;
	ssize_t index;

	if (!known || !rows_want(point->who, sums->options->filter, sums->options->search))
		return 0;
	index = sums_row(sums, point->who);
	if (index < 0)
		return index;
	row = &sums->rows[index];
	row->tcp_known |= known->of == OF_TCP;
	row->sched_known |= known->of == OF_SCHED;
	row->jvm_known |= known->of == OF_JVM;
	return row_add(sums, index, known, point);
}

static int sums_init(struct sums *sums, const struct snapshot *snap, const struct top_options *options)
{
	*sums = (struct sums){ .options = options };
	for (size_t i = 0; snap && i < snap->points_count; i++) {
		int err = sums_point(sums, &snap->points[i]);

		if (err) {
			sums_done(sums);
			*sums = (struct sums){};
			return err;
		}
	}
	return 0;
}

/* ---- the difference */

/* Totals of containers are taken away, not series by series: when a cgroup has ended, its series are merged into those
 * of its container's next one, and must not show as new events. */
static void sums_subtract(struct sums *now, const struct sums *before)
{
	for (size_t i = 0; i < before->row_keys.count; i++) {
		ssize_t index = keys_find(&now->row_keys, before->row_keys.items[i].text, 0);
		struct containers_row *row;

		if (index < 0)
			continue;
		row = &now->rows[index];
		for (unsigned total = 0; total < TOTAL_MAX; total++)
			row->totals[total] = total_since(row->totals[total], before->rows[i].totals[total]);
		for (unsigned times = 0; times < TIMES_MAX; times++)
			hist_since(&row->times[times], &before->rows[i].times[times]);
	}
	for (size_t i = 0; i < before->neighbour_keys.count; i++) {
		const struct neighbour *old = &before->neighbours[i];
		ssize_t row = keys_find(&now->row_keys, before->row_keys.items[old->row].text, 0);
		ssize_t index = row < 0 ? row : keys_find(&now->neighbour_keys, old->name, row);

		if (index >= 0)
			now->neighbours[index].time_ns = total_since(now->neighbours[index].time_ns, old->time_ns);
	}
}

/* Containers have the names of their services there. Of two that ran as long, the first by name: it must not flicker. */
static int sums_neighbours(struct sums *sums)
{
	size_t rows_count = sums->row_keys.count;
	__u64 *longest_ns = rows_count ? calloc(rows_count, sizeof(*longest_ns)) : NULL;

	if (rows_count && !longest_ns)
		return -ENOMEM;
	for (size_t i = 0; i < sums->neighbour_keys.count; i++) {
		const struct neighbour *neighbour = &sums->neighbours[i];
		struct containers_row *row = &sums->rows[neighbour->row];
		__u64 *longest = &longest_ns[neighbour->row];

		if (!neighbour->time_ns || neighbour->time_ns < *longest ||
		    !strcmp(neighbour->name, row->who->service_name))
			continue;
		if (neighbour->time_ns > *longest || strcmp(neighbour->name, row->neighbour) < 0)
			row->neighbour = neighbour->name;
		*longest = neighbour->time_ns;
	}
	free(longest_ns);
	return 0;
}

/* Where connections are told at all, those of whom nothing is told have none. */
static void sums_conns(struct sums *sums)
{
	for (size_t i = 0; sums->conns_known && i < sums->row_keys.count; i++)
		if (sums->rows[i].tcp_known && sums->rows[i].conns < 0)
			sums->rows[i].conns = 0;
}

int containers_sums_init(struct containers_sums *ret, const struct snapshot *before, const struct snapshot *now,
			 const struct top_options *options)
{
	struct sums sums, old;
	int err;

	*ret = (struct containers_sums){};
	err = sums_init(&sums, now, options);
	if (err)
		return err;
	err = sums_init(&old, before, options);
	if (!err) {
		sums_subtract(&sums, &old);
		sums_conns(&sums);
		err = sums_neighbours(&sums);
		sums_done(&old);
	}
	if (!err) {
		*ret = (struct containers_sums){
			.measured = sums.measured,
			.jvms_measured = sums.jvms_measured,
			.rows_count = sums.row_keys.count,
			.rows = sums.rows,
		};
		sums.rows = NULL;
	}
	sums_done(&sums);
	return err;
}

void containers_sums_done(struct containers_sums *sums)
{
	for (size_t i = 0; i < sums->rows_count; i++)
		containers_row_done(&sums->rows[i]);
	free(sums->rows);
	memset(sums, 0, sizeof(*sums));
}
