/* The table of containers: what TCP and the scheduler tell of each between two snapshots, one row per container. Pure.
 * A figure is not known, and never 0, where its signal has no series of the container. */
#ifndef WEIR_VIEW_CONTAINERS_H
#define WEIR_VIEW_CONTAINERS_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/hist.h"
#include "model/snapshot.h"
#include "view/top.h"

struct buf;

/* Figures of a row, each signal's in the order of its JSON object. Not all of them have a column on the screen. */
enum containers_column {
	CONTAINERS_NAME,
	CONTAINERS_RETRANSMITS,
	CONTAINERS_RTT_P50,
	CONTAINERS_RTT_P99,
	CONTAINERS_FAILED,
	CONTAINERS_CONNECTS,
	CONTAINERS_CONNS,
	CONTAINERS_RESETS,
	CONTAINERS_DROPS,
	CONTAINERS_CPU,
	CONTAINERS_RUNQ_P50,
	CONTAINERS_RUNQ_P99,
	CONTAINERS_RUNQ_MAX,
	CONTAINERS_THROTTLED,
	CONTAINERS_NEIGHBOUR,
	CONTAINERS_COLUMN_MAX
};

/* What is counted up, by container. */
enum containers_total {
	TOTAL_RETRANSMITS,
	TOTAL_FAILED,
	TOTAL_CONNECTS,
	TOTAL_RESETS,
	TOTAL_DROPS,
	TOTAL_CPU_NS,
	TOTAL_THROTTLED_NS,
	TOTAL_MAX
};

struct containers_row {
	const struct workload *who;
	bool tcp_known, sched_known; /* there is a series of the signal */
	bool cpu_known;
	__u64 totals[TOTAL_MAX]; /* of the interval */
	struct hist rtt, runq;	 /* of the interval */
	__s64 conns;		 /* now; negative: not known */
	__s64 runq_max_ns;	 /* negative: not known */
	const char *neighbour;	 /* interned; who ran the longest while this one waited; NULL: nobody else */
};

struct containers_table {
	__u64 interval_ns;
	bool measured; /* there is a series of TCP or the scheduler at all, whether or not it has a row */
	size_t rows_count;
	struct containers_row *rows; /* owned */
};

/* Fills @table with what happened from @before to @now. @before NULL: since each series began. Rows without an event, a
 * connection, a wait or CPU time are left out, unless the options want the quiet ones too. 0 or -ENOMEM (then @table is
 * empty). The snapshots must outlive the table. */
int containers_table_init(struct containers_table *table, const struct snapshot *before, const struct snapshot *now,
			  const struct top_options *options);
void containers_table_done(struct containers_table *table);

/* True for what this table can be sorted by; it is sorted by CPU time when asked for anything else. */
bool containers_sorts(enum top_column column);
/* Title of the column behind a choice of --sort. */
const char *containers_sort_title(enum top_column sort);
/* Text of one cell, without padding; "-": not known. */
void containers_cell(const struct containers_table *table, const struct containers_row *row,
		     enum containers_column column, struct buf *out);
/* Header and rows, aligned to @width columns, one line each. */
void containers_text(const struct containers_table *table, unsigned width, struct buf *out);
/* An array with one object a row; NULL: no memory. */
json_t *containers_rows_json(const struct containers_table *table);

#endif
