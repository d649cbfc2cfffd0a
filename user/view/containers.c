#include "view/containers.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "view/keys.h"
#include "view/rows.h"
#include "view/since.h"
#include "view/who.h"

#define ERROR_ATTRIBUTE	    "error.type"
#define NEIGHBOUR_ATTRIBUTE "weir.neighbour.name"
#define NOT_KNOWN	    (-1.0)

/* ---- sums over one snapshot, by container */

enum signal_of { OF_NOTHING, OF_TCP, OF_SCHED };

/* What of a row each metric is. */
enum use { USE_TOTAL, USE_CONNECTS, USE_NEIGHBOUR, USE_RTT, USE_RUNQ, USE_CONNS, USE_RUNQ_MAX, USE_MAX };

/* A snapshot of another version may have the name for something else. */
static const enum metric_kind use_kinds[USE_MAX] = {
	[USE_TOTAL] = METRIC_SUM, [USE_CONNECTS] = METRIC_SUM, [USE_NEIGHBOUR] = METRIC_SUM,  [USE_RTT] = METRIC_HIST,
	[USE_RUNQ] = METRIC_HIST, [USE_CONNS] = METRIC_GAUGE,  [USE_RUNQ_MAX] = METRIC_GAUGE,
};

static const struct known_metric {
	const char *name;
	enum signal_of of;
	enum use use;
	enum containers_total total; /* of USE_TOTAL */
} known_metrics[] = {
	{ .name = "weir.tcp.retransmits", .of = OF_TCP, .use = USE_TOTAL, .total = TOTAL_RETRANSMITS },
	{ .name = "weir.tcp.resets", .of = OF_TCP, .use = USE_TOTAL, .total = TOTAL_RESETS },
	{ .name = "weir.tcp.listen.drops", .of = OF_TCP, .use = USE_TOTAL, .total = TOTAL_DROPS },
	{ .name = "weir.tcp.connections", .of = OF_TCP, .use = USE_CONNECTS },
	{ .name = "weir.tcp.rtt.duration", .of = OF_TCP, .use = USE_RTT },
	{ .name = "weir.tcp.connection.count", .of = OF_TCP, .use = USE_CONNS },
	{ .name = "container.cpu.time", .of = OF_SCHED, .use = USE_TOTAL, .total = TOTAL_CPU_NS },
	{ .name = "weir.container.cpu.throttled.time", .of = OF_SCHED, .use = USE_TOTAL, .total = TOTAL_THROTTLED_NS },
	{ .name = "weir.sched.run_queue.duration", .of = OF_SCHED, .use = USE_RUNQ },
	{ .name = "weir.sched.run_queue.longest", .of = OF_SCHED, .use = USE_RUNQ_MAX },
	{ .name = "weir.sched.neighbour.time", .of = OF_SCHED, .use = USE_NEIGHBOUR },
};

struct neighbour {
	unsigned row;
	const char *name;
	__u64 time_ns;
};

/* All rows of one snapshot with their neighbours; the difference of two of them is the table. */
struct sums {
	const struct top_options *options;
	struct keys row_keys;
	struct keys neighbour_keys; /* tag: number of the row */
	size_t rows_cap, neighbours_cap;
	struct containers_row *rows;
	struct neighbour *neighbours;
	const struct metric *metric; /* the last one seen and its row above: points come sorted */
	const struct known_metric *known;
	bool measured, conns_known; /* of anybody */
};

static void row_done(struct containers_row *row)
{
	hist_done(&row->rtt);
	hist_done(&row->runq);
}

static void sums_done(struct sums *sums)
{
	for (size_t i = 0; i < sums->row_keys.count && i < sums->rows_cap; i++)
		row_done(&sums->rows[i]);
	free(sums->rows);
	free(sums->neighbours);
	keys_done(&sums->row_keys);
	keys_done(&sums->neighbour_keys);
}

static const struct known_metric *metric_known(struct sums *sums, const struct metric *metric)
{
	if (metric == sums->metric)
		return sums->known;
	sums->metric = metric;
	sums->known = NULL;
	for (size_t i = 0; i < sizeof(known_metrics) / sizeof(*known_metrics); i++)
		if (metric->kind == use_kinds[known_metrics[i].use] && !strcmp(metric->name, known_metrics[i].name))
			sums->known = &known_metrics[i];
	sums->measured |= sums->known != NULL;
	sums->conns_known |= sums->known && sums->known->use == USE_CONNS;
	return sums->known;
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
	sums->rows[index] = (struct containers_row){ .who = who, .conns = -1, .runq_max_ns = -1 };
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

static int row_add(struct sums *sums, size_t index, const struct known_metric *known, const struct point *point)
{
	struct containers_row *row = &sums->rows[index];

	switch (known->use) {
	case USE_TOTAL:
		row->totals[known->total] += point->sum;
		row->cpu_known |= known->total == TOTAL_CPU_NS;
		return 0;
	case USE_CONNECTS:
		row->totals[point_attr(point, ERROR_ATTRIBUTE) ? TOTAL_FAILED : TOTAL_CONNECTS] += point->sum;
		return 0;
	case USE_RTT:
		return hist_merge(&row->rtt, &point->hist);
	case USE_RUNQ:
		return hist_merge(&row->runq, &point->hist);
	case USE_CONNS:
		row->conns = (row->conns < 0 ? 0 : row->conns) + point->gauge;
		return 0;
	case USE_RUNQ_MAX: /* of several cgroups the longest is that of the container */
		if (point->gauge > row->runq_max_ns)
			row->runq_max_ns = point->gauge;
		return 0;
	case USE_NEIGHBOUR:
		return sums_neighbour(sums, index, point);
	case USE_MAX:
		break;
	}
	return 0;
}

static int sums_point(struct sums *sums, const struct point *point)
{
	const struct known_metric *known = metric_known(sums, point->metric);
	ssize_t index;

	if (!known || !rows_want(point->who, sums->options->filter, sums->options->search))
		return 0;
	index = sums_row(sums, point->who);
	if (index < 0)
		return index;
	sums->rows[index].tcp_known |= known->of == OF_TCP;
	sums->rows[index].sched_known |= known->of == OF_SCHED;
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
		hist_since(&row->rtt, &before->rows[i].rtt);
		hist_since(&row->runq, &before->rows[i].runq);
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

/* ---- figures */

enum unit { UNIT_TEXT, UNIT_RATE, UNIT_PERCENT, UNIT_DURATION, UNIT_COUNT };

static const struct figure {
	const char *key; /* in JSON */
	enum signal_of of;
	enum unit unit;
	enum containers_total total; /* of UNIT_RATE and UNIT_PERCENT */
	double quantile;	     /* of UNIT_DURATION, unless it is a maximum */
} figures[CONTAINERS_COLUMN_MAX] = {
	[CONTAINERS_RETRANSMITS] = { .key = "retransmits_per_s",
				     .of = OF_TCP,
				     .unit = UNIT_RATE,
				     .total = TOTAL_RETRANSMITS },
	[CONTAINERS_RTT_P50] = { .key = "rtt_p50_ns", .of = OF_TCP, .unit = UNIT_DURATION, .quantile = 0.50 },
	[CONTAINERS_RTT_P99] = { .key = "rtt_p99_ns", .of = OF_TCP, .unit = UNIT_DURATION, .quantile = 0.99 },
	[CONTAINERS_FAILED] = { .key = "connects_failed_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_FAILED },
	[CONTAINERS_CONNECTS] = { .key = "connections_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_CONNECTS },
	[CONTAINERS_CONNS] = { .key = "connections", .of = OF_TCP, .unit = UNIT_COUNT },
	[CONTAINERS_RESETS] = { .key = "resets_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_RESETS },
	[CONTAINERS_DROPS] = { .key = "listen_drops_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_DROPS },
	[CONTAINERS_CPU] = { .key = "cpu_percent", .of = OF_SCHED, .unit = UNIT_PERCENT, .total = TOTAL_CPU_NS },
	[CONTAINERS_RUNQ_P50] = { .key = "run_queue_p50_ns", .of = OF_SCHED, .unit = UNIT_DURATION, .quantile = 0.50 },
	[CONTAINERS_RUNQ_P99] = { .key = "run_queue_p99_ns", .of = OF_SCHED, .unit = UNIT_DURATION, .quantile = 0.99 },
	[CONTAINERS_RUNQ_MAX] = { .key = "run_queue_max_ns", .of = OF_SCHED, .unit = UNIT_DURATION },
	[CONTAINERS_THROTTLED] = { .key = "throttled_percent",
				   .of = OF_SCHED,
				   .unit = UNIT_PERCENT,
				   .total = TOTAL_THROTTLED_NS },
	[CONTAINERS_NEIGHBOUR] = { .key = "neighbour", .of = OF_SCHED, .unit = UNIT_TEXT },
};

static double row_duration(const struct containers_row *row, enum containers_column column)
{
	const struct hist *hist = figures[column].of == OF_TCP ? &row->rtt : &row->runq;

	if (column == CONTAINERS_RUNQ_MAX)
		return row->runq_max_ns < 0 ? NOT_KNOWN : row->runq_max_ns;
	return hist->count ? hist_quantile_ns(hist, figures[column].quantile) : NOT_KNOWN;
}

/* NOT_KNOWN is less than all that are known. */
static double row_figure(const struct containers_row *row, enum containers_column column, double seconds)
{
	const struct figure *figure = &figures[column];

	if (!(figure->of == OF_TCP ? row->tcp_known : row->sched_known))
		return NOT_KNOWN;
	switch (figure->unit) {
	case UNIT_RATE:
		return row->totals[figure->total] / seconds;
	case UNIT_PERCENT:
		if (column == CONTAINERS_CPU && !row->cpu_known)
			return NOT_KNOWN;
		return row->totals[figure->total] / 1e9 / seconds * 100;
	case UNIT_DURATION:
		return row_duration(row, column);
	case UNIT_COUNT:
		return row->conns < 0 ? NOT_KNOWN : row->conns;
	case UNIT_TEXT:
		break;
	}
	return NOT_KNOWN;
}

/* ---- order */

struct order {
	enum containers_column column;
	bool ascending;
};

/* The column behind a choice of --sort; of the other table's: the default. */
static enum containers_column sort_column(enum top_column sort)
{
	switch (sort) {
	case TOP_CONTAINER:
		return CONTAINERS_NAME;
	case TOP_RETRANSMITS:
		return CONTAINERS_RETRANSMITS;
	case TOP_RTT:
		return CONTAINERS_RTT_P99;
	case TOP_FAILED:
		return CONTAINERS_FAILED;
	case TOP_CONNS:
		return CONTAINERS_CONNS;
	case TOP_RUNQ:
		return CONTAINERS_RUNQ_P99;
	case TOP_THROTTLED:
		return CONTAINERS_THROTTLED;
	case TOP_RATE:
	case TOP_ROLE ... TOP_INFLIGHT:
	case TOP_CPU:
	case TOP_COLUMN_MAX:
		break;
	}
	return CONTAINERS_CPU;
}

bool containers_sorts(enum top_column column)
{
	return column == TOP_CONTAINER || column >= TOP_RETRANSMITS;
}

/* Names from a to z, numbers from the greatest; equal ones by name, so that rows do not jump about. */
static int row_compare(const void *a, const void *b, void *arg)
{
	const struct containers_row *left = a, *right = b;
	const struct order *order = arg;
	int names = strcmp(who_name(left->who), who_name(right->who));
	int result = names;

	if (order->column != CONTAINERS_NAME) {
		/* Any interval will do: it is the same for both. */
		double x = row_figure(left, order->column, 1), y = row_figure(right, order->column, 1);

		result = x < y ? 1 : x > y ? -1 : 0;
	}
	if (result)
		return order->ascending ? -result : result;
	return names ? names : strcmp(who_key(left->who), who_key(right->who));
}

/* ---- the table */

static bool row_quiet(const struct containers_row *row)
{
	for (unsigned total = 0; total < TOTAL_MAX; total++)
		if (row->totals[total])
			return false;
	return !row->rtt.count && !row->runq.count && row->conns <= 0;
}

static int table_take(struct containers_table *table, struct sums *sums)
{
	size_t count = sums->row_keys.count;

	table->rows = count ? calloc(count, sizeof(*table->rows)) : NULL;
	if (count && !table->rows)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct containers_row *row = &sums->rows[i];

		/* Where connections are told at all, those of whom nothing is told have none. */
		if (sums->conns_known && row->tcp_known && row->conns < 0)
			row->conns = 0;
		if (row_quiet(row) && !sums->options->quiet)
			continue;
		table->rows[table->rows_count++] = *row;
		memset(&row->rtt, 0, sizeof(row->rtt));
		memset(&row->runq, 0, sizeof(row->runq));
	}
	return 0;
}

int containers_table_init(struct containers_table *table, const struct snapshot *before, const struct snapshot *now,
			  const struct top_options *options)
{
	struct order order = { .column = sort_column(options->sort),
			       .ascending = containers_sorts(options->sort) && options->ascending };
	struct sums sums, old;
	int err;

	*table = (struct containers_table){
		.interval_ns = now->time_ns - (before ? before->time_ns : now->start_ns),
	};
	err = sums_init(&sums, now, options);
	if (err)
		return err;
	table->measured = sums.measured;
	err = sums_init(&old, before, options);
	if (!err) {
		sums_subtract(&sums, &old);
		err = sums_neighbours(&sums);
		if (!err)
			err = table_take(table, &sums);
		sums_done(&old);
	}
	sums_done(&sums);
	if (err)
		containers_table_done(table);
	else if (table->rows_count)
		qsort_r(table->rows, table->rows_count, sizeof(*table->rows), row_compare, &order);
	return err;
}

void containers_table_done(struct containers_table *table)
{
	for (size_t i = 0; i < table->rows_count; i++)
		row_done(&table->rows[i]);
	free(table->rows);
	memset(table, 0, sizeof(*table));
}

/* ---- as text */

static void cell_add(const void *table, const void *row, unsigned column, struct buf *out)
{
	containers_cell(table, row, column, out);
}

/* At 80 columns there are CONTAINER to FAIL/S, CPU%, RUNQ99 and NEIGHBOUR; what tells of a fault goes last. */
static const struct layout_column columns[] = {
	{ .title = "CONTAINER", .column = CONTAINERS_NAME, .left = true },
	{ .title = "RETR/S", .column = CONTAINERS_RETRANSMITS, .width = 6 },
	{ .title = "RTT50", .column = CONTAINERS_RTT_P50, .width = 6, .drop = 3 },
	{ .title = "RTT99", .column = CONTAINERS_RTT_P99, .width = 6 },
	{ .title = "FAIL/S", .column = CONTAINERS_FAILED, .width = 6, .drop = 2 },
	{ .title = "CONN", .column = CONTAINERS_CONNS, .width = 5, .drop = 7 },
	{ .title = "DROP/S", .column = CONTAINERS_DROPS, .width = 6, .drop = 8 },
	{ .title = "CPU%", .column = CONTAINERS_CPU, .width = 5 },
	{ .title = "RUNQ99", .column = CONTAINERS_RUNQ_P99, .width = 6, .drop = 1 },
	{ .title = "WAITMAX", .column = CONTAINERS_RUNQ_MAX, .width = 7, .drop = 6 },
	{ .title = "THROT%", .column = CONTAINERS_THROTTLED, .width = 6, .drop = 5 },
	{ .title = "NEIGHBOUR", .column = CONTAINERS_NEIGHBOUR, .width = 14, .drop = 4, .left = true },
};

static const struct layout layout = {
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(*columns),
	.rest_min = 18, /* there is one row a container, told by its name alone */
	.cell = cell_add,
};

const char *containers_sort_title(enum top_column sort)
{
	return layout_title(&layout, sort_column(sort));
}

void containers_cell(const struct containers_table *table, const struct containers_row *row,
		     enum containers_column column, struct buf *out)
{
	double value = row_figure(row, column, interval_seconds(table->interval_ns));
	char room[STR_NUMBER_ROOM];

	if (column == CONTAINERS_NAME)
		who_print(row->who, out);
	else if (column == CONTAINERS_NEIGHBOUR)
		buf_add_str(out, row->neighbour ? row->neighbour : "-");
	else if (value < 0)
		buf_add_char(out, '-');
	else if (figures[column].unit == UNIT_DURATION)
		buf_add_str(out, str_format_duration(value, room));
	else if (figures[column].unit == UNIT_COUNT)
		buf_add_str(out, str_format_count(value, room));
	else
		rate_print(value, out);
}

void containers_text(const struct containers_table *table, unsigned width, struct buf *out)
{
	layout_line(&layout, table, NULL, width, out);
	for (size_t i = 0; i < table->rows_count; i++)
		layout_line(&layout, table, &table->rows[i], width, out);
}

/* ---- as JSON */

static json_t *figure_json(const struct containers_row *row, enum containers_column column, double seconds)
{
	double value = row_figure(row, column, seconds);

	switch (figures[column].unit) {
	case UNIT_TEXT:
		return row->neighbour ? json_string(row->neighbour) : json_null();
	case UNIT_RATE:
	case UNIT_PERCENT:
		return value < 0 ? json_null() : json_real(value);
	case UNIT_DURATION:
	case UNIT_COUNT:
		return value < 0 ? json_null() : json_integer(llround(value));
	}
	return NULL;
}

/* NULL: no memory. */
static json_t *signal_json(const struct containers_row *row, enum signal_of of, double seconds)
{
	json_t *object;

	if (!(of == OF_TCP ? row->tcp_known : row->sched_known))
		return json_null();
	object = json_object();
	for (unsigned column = 0; column < CONTAINERS_COLUMN_MAX; column++) {
		if (figures[column].of != of)
			continue;
		if (json_object_set_new(object, figures[column].key, figure_json(row, column, seconds))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

json_t *containers_rows_json(const struct containers_table *table)
{
	double seconds = interval_seconds(table->interval_ns);
	json_t *rows = json_array();

	for (size_t i = 0; i < table->rows_count; i++) {
		const struct containers_row *row = &table->rows[i];
		json_t *object = json_pack("{s:o, s:o, s:o}", "container", who_json(row->who), "tcp",
					   signal_json(row, OF_TCP, seconds), "sched",
					   signal_json(row, OF_SCHED, seconds));

		if (json_array_append_new(rows, object)) {
			json_decref(rows);
			return NULL;
		}
	}
	return rows;
}
