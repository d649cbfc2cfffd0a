/* The table of containers: what TCP and the scheduler tell of each between two snapshots, one row per container. Its rows
 * have what JVMs tell as well, for view/jvms.h. Pure. */
#ifndef WEIR_VIEW_CONTAINERS_H
#define WEIR_VIEW_CONTAINERS_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/snapshot.h"
#include "view/figures.h"
#include "view/top.h"

struct buf;

struct containers_table {
	__u64 interval_ns;
	bool measured;	    /* there is a series of TCP or the scheduler at all, whether or not it has a row */
	bool jvms_measured; /* the same of JVMs */
	size_t rows_count;
	struct containers_row *rows; /* owned */
};

/* Fills @table with what happened from @before to @now. @before NULL: since each series began. Rows without an event, a
 * connection, a wait, CPU time or a JVM are left out, unless the options want the quiet ones too. 0 or -ENOMEM (then @table
 * is empty). The snapshots must outlive the table. */
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
