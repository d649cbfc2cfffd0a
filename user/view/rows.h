/* What the tables of weir top have in common: whose series they count, arrays that grow with their keys, columns that fit
 * the screen. */
#ifndef WEIR_VIEW_ROWS_H
#define WEIR_VIEW_ROWS_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/hist.h"
#include "model/snapshot.h"
#include "view/filter.h"

struct buf;

/* True for a container that the filter's conditions on the workload let through and that @search is a part of: of its
 * name, id, pod or namespace. NULL: all. Never true for the agent itself (@who NULL). */
bool rows_want(const struct workload *who, const struct span_filter *filter, const char *search);
/* Attribute of that key; NULL: the point has none. */
const struct attr *point_attr(const struct point *point, const char *key);
/* Doubles @items when number @index does not fit. The new part is zero. 0 or -ENOMEM. */
int rows_room(void **items, size_t *cap, size_t size, size_t index);
/* What totals of an interval are divided by; never 0. */
double interval_seconds(__u64 interval_ns);

/* @sum and what another series of it has now. What is negative counts as nothing: neither a sum that is not known yet nor
 * what a process tells of itself. Never more than 1 << 62. */
__s64 gauge_add(__s64 sum, __s64 gauge);

/* In the order of the screen. */
struct layout_column {
	const char *title;
	unsigned column; /* the table's own number of it */
	unsigned width;	 /* 0: what is left; one column has it */
	unsigned drop;	 /* the greater, the sooner it makes room on a narrow screen; 0: it stays */
	bool left;	 /* text; numbers are aligned right */
};

struct layout {
	const struct layout_column *columns;
	size_t columns_count;
	unsigned rest_min; /* least width of the column that takes what is left */
	/* Text of one cell, without padding. */
	void (*cell)(const void *table, const void *row, unsigned column, struct buf *out);
};

const char *layout_title(const struct layout *layout, unsigned column);
/* Width of a column on a screen of @width; 0: it is not shown. */
unsigned layout_width(const struct layout *layout, unsigned column, unsigned width);
/* One line, aligned to @width columns. @row NULL: the titles. */
void layout_line(const struct layout *layout, const void *table, const void *row, unsigned width, struct buf *out);

/* At most five characters up to a million a second. */
void rate_print(double rate, struct buf *out);
/* Whole nanoseconds. */
json_t *quantile_json(const struct hist *hist, double q);

#endif
