/* The table of JVMs: those rows of the table of containers of which the signal jvm tells something. Pure. */
#ifndef WEIR_VIEW_JVMS_H
#define WEIR_VIEW_JVMS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "view/containers.h"

struct buf;

struct jvms_table {
	__u64 interval_ns;
	bool measured; /* there is a series of JVMs at all, whether or not it has a row */
	size_t rows_count;
	const struct containers_row **rows; /* the array is owned; the rows are those of @containers */
};

/* @containers must outlive the table, and is made with the same @options. Containers without a JVM are left out; so are
 * those whose JVMs have ended, unless the options want the quiet ones too. 0 or -ENOMEM (then @table is empty). */
int jvms_table_init(struct jvms_table *table, const struct containers_table *containers,
		    const struct top_options *options);
void jvms_table_done(struct jvms_table *table);

/* True for what this table can be sorted by; it is sorted by the time stopped when asked for anything else. */
bool jvms_sorts(enum top_column column);
/* Title of the column behind a choice of --sort. */
const char *jvms_sort_title(enum top_column sort);
/* Header and rows, aligned to @width columns, one line each. */
void jvms_text(const struct jvms_table *table, unsigned width, struct buf *out);

#endif
