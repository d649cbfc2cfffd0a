#include "view/containers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "view/containers_sums.h"
#include "view/rows.h"
#include "view/who.h"

/* ---- order */

struct order {
	enum containers_column column;
	bool ascending;
};

/* The column behind a choice of --sort; of another table's: the default. */
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
	case TOP_STOPPED ... TOP_COLUMN_MAX:
		break;
	}
	return CONTAINERS_CPU;
}

bool containers_sorts(enum top_column column)
{
	return column == TOP_CONTAINER || (column >= TOP_RETRANSMITS && column < TOP_STOPPED);
}

static int row_compare(const void *a, const void *b, void *arg)
{
	const struct order *order = arg;

	return figure_compare(a, b, order->column, order->ascending);
}

/* ---- the table */

/* The rows that are shown move to the front. */
static void table_take(struct containers_table *table, struct containers_sums *sums, bool quiet)
{
	table->measured = sums->measured;
	table->jvms_measured = sums->jvms_measured;
	table->rows = sums->rows;
	for (size_t i = 0; i < sums->rows_count; i++) {
		struct containers_row *row = &sums->rows[i];

		if (!quiet && containers_row_quiet(row))
			containers_row_done(row);
		else
			table->rows[table->rows_count++] = *row;
	}
}

int containers_table_init(struct containers_table *table, const struct snapshot *before, const struct snapshot *now,
			  const struct top_options *options)
{
	struct order order = { .column = sort_column(options->sort),
			       .ascending = containers_sorts(options->sort) && options->ascending };
	struct containers_sums sums;
	int err;

	*table = (struct containers_table){
		.interval_ns = now->time_ns - (before ? before->time_ns : now->start_ns),
	};
	err = containers_sums_init(&sums, before, now, options);
	if (err)
		return err;
	table_take(table, &sums, options->quiet);
	if (table->rows_count)
		qsort_r(table->rows, table->rows_count, sizeof(*table->rows), row_compare, &order);
	return 0;
}

void containers_table_done(struct containers_table *table)
{
	for (size_t i = 0; i < table->rows_count; i++)
		containers_row_done(&table->rows[i]);
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
	figure_print(row, column, table->interval_ns, out);
}

void containers_text(const struct containers_table *table, unsigned width, struct buf *out)
{
	layout_line(&layout, table, NULL, width, out);
	for (size_t i = 0; i < table->rows_count; i++)
		layout_line(&layout, table, &table->rows[i], width, out);
}

/* ---- as JSON */

json_t *containers_rows_json(const struct containers_table *table)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < table->rows_count; i++) {
		const struct containers_row *row = &table->rows[i];
		json_t *object = json_pack("{s:o, s:o, s:o, s:o}", "container", who_json(row->who), "tcp",
					   figures_json(row, OF_TCP, table->interval_ns), "sched",
					   figures_json(row, OF_SCHED, table->interval_ns), "jvm",
					   figures_json(row, OF_JVM, table->interval_ns));

		if (json_array_append_new(rows, object)) {
			json_decref(rows);
			return NULL;
		}
	}
	return rows;
}
