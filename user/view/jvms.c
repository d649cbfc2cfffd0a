#include "view/jvms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "view/rows.h"

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
	case TOP_PAUSE:
		return CONTAINERS_PAUSE_MAX;
	case TOP_GC:
		return CONTAINERS_GC;
	case TOP_HEAP:
		return CONTAINERS_HEAP_USED;
	case TOP_RATE:
	case TOP_ROLE ... TOP_THROTTLED:
	case TOP_STOPPED:
	case TOP_COLUMN_MAX:
		break;
	}
	return CONTAINERS_STOPPED;
}

bool jvms_sorts(enum top_column column)
{
	return column == TOP_CONTAINER || column >= TOP_STOPPED;
}

static int row_compare(const void *a, const void *b, void *arg)
{
	const struct containers_row *const *left = a, *const *right = b;
	const struct order *order = arg;

	return figure_compare(*left, *right, order->column, order->ascending);
}

/* ---- the table */

int jvms_table_init(struct jvms_table *table, const struct containers_table *containers,
		    const struct top_options *options)
{
	struct order order = { .column = sort_column(options->sort),
			       .ascending = jvms_sorts(options->sort) && options->ascending };
	size_t count = containers->rows_count;
	const struct containers_row **rows = count ? calloc(count, sizeof(*rows)) : NULL;

	*table = (struct jvms_table){};
	if (count && !rows)
		return -ENOMEM;
	table->interval_ns = containers->interval_ns;
	table->measured = containers->jvms_measured;
	table->rows = rows;
	for (size_t i = 0; i < count; i++) {
		const struct containers_row *row = &containers->rows[i];

		if (row->jvm_known && (options->quiet || !containers_row_jvm_quiet(row)))
			rows[table->rows_count++] = row;
	}
	if (table->rows_count)
		qsort_r(rows, table->rows_count, sizeof(*rows), row_compare, &order);
	return 0;
}

void jvms_table_done(struct jvms_table *table)
{
	free(table->rows);
	memset(table, 0, sizeof(*table));
}

/* ---- as text */

static void cell_add(const void *arg, const void *row, unsigned column, struct buf *out)
{
	const struct jvms_table *table = arg;

	figure_print(row, column, table->interval_ns, out);
}

/* At 80 columns all but THREADS; how long it stood still, at most and in all, goes last, and the heap. */
static const struct layout_column columns[] = {
	{ .title = "CONTAINER", .column = CONTAINERS_NAME, .left = true },
	{ .title = "STOP%", .column = CONTAINERS_STOPPED, .width = 5 },
	{ .title = "SAFE/S", .column = CONTAINERS_SAFEPOINTS, .width = 6, .drop = 5 },
	{ .title = "PAUSE99", .column = CONTAINERS_PAUSE_P99, .width = 7, .drop = 3 },
	{ .title = "PAUSEMAX", .column = CONTAINERS_PAUSE_MAX, .width = 8 },
	{ .title = "SYNCMAX", .column = CONTAINERS_SYNC_MAX, .width = 7, .drop = 4 },
	{ .title = "GC%", .column = CONTAINERS_GC, .width = 5, .drop = 1 },
	{ .title = "HEAP", .column = CONTAINERS_HEAP_USED, .width = 6 },
	{ .title = "HEAPMAX", .column = CONTAINERS_HEAP_LIMIT, .width = 7, .drop = 2 },
	{ .title = "THREADS", .column = CONTAINERS_THREADS, .width = 7, .drop = 6 },
};

static const struct layout layout = {
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(*columns),
	.rest_min = 18, /* as in the table of containers */
	.cell = cell_add,
};

const char *jvms_sort_title(enum top_column sort)
{
	return layout_title(&layout, sort_column(sort));
}

void jvms_text(const struct jvms_table *table, unsigned width, struct buf *out)
{
	layout_line(&layout, table, NULL, width, out);
	for (size_t i = 0; i < table->rows_count; i++)
		layout_line(&layout, table, table->rows[i], width, out);
}
