/* The table of requests: rates and latencies between two snapshots, one row per container and role. Pure: who takes
 * the snapshots and where the table is shown (view/screen.h, a pipe) is not known here. */
#ifndef WEIR_VIEW_TOP_H
#define WEIR_VIEW_TOP_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/hist.h"
#include "model/snapshot.h"
#include "view/filter.h"

struct buf;

/* What tables are sorted by: columns of this one up to TOP_INFLIGHT, of view/containers.h from TOP_RETRANSMITS on, of
 * view/jvms.h from TOP_STOPPED on, and TOP_CONTAINER of all. Order of the choice --sort in cmd/options.def. */
enum top_column {
	TOP_RATE,
	TOP_CONTAINER,
	TOP_ROLE,
	TOP_ERRORS,
	TOP_P50,
	TOP_P90,
	TOP_P99,
	TOP_MAX,
	TOP_BYTES,
	TOP_INFLIGHT,
	TOP_RETRANSMITS,
	TOP_RTT,
	TOP_FAILED,
	TOP_CONNS,
	TOP_RUNQ,
	TOP_CPU,
	TOP_THROTTLED,
	TOP_STOPPED,
	TOP_PAUSE,
	TOP_GC,
	TOP_HEAP,
	TOP_COLUMN_MAX
};

struct top_route {
	const char *name; /* interned */
	struct hist hist;
	__u64 errors;
};

struct top_row {
	const struct workload *who;
	const char *role; /* "server", "client" */
	struct hist hist; /* of the interval */
	__u64 errors;	  /* of the interval: status 5xx, and 4xx for a client, and exchanges without an answer */
	__u64 bytes;	  /* of the interval, both ways; valid when bytes_known */
	bool bytes_known;
	__s64 inflight; /* now; negative: not known */
	size_t routes_count;
	struct top_route *routes; /* by count, greatest first */
};

struct top_table {
	__u64 time_unix_ns;
	__u64 interval_ns;
	bool measured; /* there is a series of HTTP at all, whether or not it has a row */
	size_t rows_count;
	struct top_row *rows; /* owned */
};

struct top_options {
	enum top_column sort;		  /* of another table: the default order */
	bool ascending;			  /* else the greatest first; text columns the other way round */
	const char *role;		  /* "server", "client"; NULL: both; containers are not told apart by it */
	const struct span_filter *filter; /* its conditions on the workload; NULL: all */
	const char *search;		  /* part of a container's name, id, pod or namespace; NULL or "": all */
	bool quiet; /* rows that had requests earlier stay: a screen on which rows blink cannot be read */
};

/* Fills @table with what happened from @before to @now. @before NULL: since each series began. Rows without any request
 * and nothing in flight are left out, unless the options want the quiet ones too. 0 or -ENOMEM (then @table is empty). The snapshots must outlive the table. */
int top_table_init(struct top_table *table, const struct snapshot *before, const struct snapshot *now,
		   const struct top_options *options);
void top_table_done(struct top_table *table);

/* True for the columns of this table. */
bool top_sorts(enum top_column column);
const char *top_column_title(enum top_column column);
/* Text of one cell, without padding. */
void top_cell(const struct top_table *table, const struct top_row *row, enum top_column column, struct buf *out);
/* Header and rows, aligned to @width columns, one line each. */
void top_text(const struct top_table *table, unsigned width, struct buf *out);
/* An array with one object a row; NULL: no memory. */
json_t *top_rows_json(const struct top_table *table);

#endif
