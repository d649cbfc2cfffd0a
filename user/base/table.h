/* Text tables with aligned columns, and bars. Everything is drawn into a struct buf, nothing to a terminal. */
#ifndef WEIR_BASE_TABLE_H
#define WEIR_BASE_TABLE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define TABLE_COLUMNS_MAX 16

struct table_column {
	const char *title;
	bool right;	    /* numbers: aligned right */
	unsigned width_min; /* 0: as wide as its widest cell */
	unsigned width_max; /* 0: no limit; longer cells are cut and end in an ellipsis */
};

/* Yours; columns are borrowed until table_done. */
struct table {
	const struct table_column *columns;
	unsigned columns_count;
	unsigned rows_count;
	unsigned widths[TABLE_COLUMNS_MAX];
	struct buf cells; /* each NUL-terminated, row by row */
};

void table_init(struct table *t, const struct table_column *columns, unsigned columns_count);
void table_done(struct table *t);
/* Copies columns_count cells (valid UTF-8; NULL is empty). 0, -ENOMEM or -ENOBUFS (a table holds 16 MiB of text). */
int table_add(struct table *t, const char *const *cells);
/* Title line, then the rows, two spaces between columns, no spaces at the end of a line. */
int table_print(const struct table *t, struct buf *out);

/* A bar of at most @width columns for @value of @max; a value above 0 shows at least something. @ascii: '#', otherwise
 * block characters in eighths. Not padded. */
int bar_print(struct buf *out, __u64 value, __u64 max, unsigned width, bool ascii);

struct bar {
	__u64 low, high; /* (low, high] in nanoseconds; high ~0: no bound */
	__u64 count;
};

/* One line a bucket: bounds as durations, count, bar. Empty buckets before the first and after the last are left out,
 * runs of empty ones in between become one line with "...". */
int bars_print(struct buf *out, const struct bar *bars, unsigned count, unsigned width, bool ascii);

#endif
