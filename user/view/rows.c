#include "view/rows.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "view/who.h"

static bool text_holds(const char *text, const char *part)
{
	return strcasestr(text, part) != NULL;
}

bool rows_want(const struct workload *who, const struct span_filter *filter, const char *search)
{
	if (!who) /* the agent itself serves no containers */
		return false;
	if (filter && !span_filter_match_workload(filter, who))
		return false;
	return !search || !*search || text_holds(who->container_name, search) ||
	       text_holds(who->service_name, search) || text_holds(who->pod_name, search) ||
	       text_holds(who->namespace_name, search) || !strncmp(who->container_id, search, strlen(search));
}

const struct attr *point_attr(const struct point *point, const char *key)
{
	for (unsigned i = 0; i < point->attrs_count; i++)
		if (!strcmp(point->attrs[i].key, key))
			return &point->attrs[i];
	return NULL;
}

int rows_room(void **items, size_t *cap, size_t size, size_t index)
{
	size_t cap_new = *cap ? *cap * 2 : 16;
	char *bigger;

	if (index < *cap)
		return 0;
	bigger = realloc(*items, cap_new * size);
	if (!bigger)
		return -ENOMEM;
	memset(bigger + *cap * size, 0, (cap_new - *cap) * size);
	*items = bigger;
	*cap = cap_new;
	return 0;
}

double interval_seconds(__u64 interval_ns)
{
	return interval_ns ? interval_ns / 1e9 : 1;
}

__s64 gauge_add(__s64 sum, __s64 gauge)
{
	const __s64 most = 1ll << 62; /* a double holds it, and two of them do not wrap */

	sum = sum < 0 ? 0 : sum < most ? sum : most;
	gauge = gauge < 0 ? 0 : gauge;
	return gauge < most - sum ? sum + gauge : most;
}

/* ---- columns */

const char *layout_title(const struct layout *layout, unsigned column)
{
	for (size_t i = 0; i < layout->columns_count; i++)
		if (layout->columns[i].column == column)
			return layout->columns[i].title;
	return "";
}

/* Columns of which .drop is less than *ret_drop stay; returns the width of the one that takes what is left. */
static unsigned layout_fit(const struct layout *layout, unsigned width, unsigned *ret_drop)
{
	unsigned drop = 0, rest = 0;

	for (size_t i = 0; i < layout->columns_count; i++)
		if (layout->columns[i].drop > drop)
			drop = layout->columns[i].drop;
	for (drop++; drop; drop--) {
		unsigned used = 0;

		for (size_t i = 0; i < layout->columns_count; i++)
			if (layout->columns[i].width && layout->columns[i].drop < drop)
				used += layout->columns[i].width + 1;
		rest = width > used ? width - used : 0;
		if (rest >= layout->rest_min)
			break;
	}
	*ret_drop = drop ? drop : 1;
	return rest >= layout->rest_min ? rest : layout->rest_min;
}

unsigned layout_width(const struct layout *layout, unsigned column, unsigned width)
{
	unsigned drop;
	unsigned rest = layout_fit(layout, width, &drop);

	for (size_t i = 0; i < layout->columns_count; i++)
		if (layout->columns[i].column == column && layout->columns[i].drop < drop)
			return layout->columns[i].width ? layout->columns[i].width : rest;
	return 0;
}

void layout_line(const struct layout *layout, const void *table, const void *row, unsigned width, struct buf *out)
{
	struct buf cell;
	bool first = true;

	buf_init(&cell, 4096);
	for (size_t i = 0; i < layout->columns_count; i++) {
		const struct layout_column *column = &layout->columns[i];
		unsigned columns = layout_width(layout, column->column, width);

		if (!columns)
			continue;
		buf_reset(&cell);
		if (row)
			layout->cell(table, row, column->column, &cell);
		else
			buf_add_str(&cell, column->title);
		if (!first)
			buf_add_char(out, ' ');
		first = false;
		cell_print(out, cell.data, columns, /* right */ !column->left);
	}
	buf_add_char(out, '\n');
	buf_done(&cell);
}

/* ---- figures */

void rate_print(double rate, struct buf *out)
{
	char room[STR_NUMBER_ROOM];

	if (rate >= 99999.5)
		buf_add_str(out, str_format_count((__u64)(rate + 0.5), room));
	else
		buf_printf(out, rate < 99.95 ? "%.1f" : "%.0f", rate);
}

json_t *quantile_json(const struct hist *hist, double q)
{
	return json_integer((json_int_t)llround(hist_quantile_ns(hist, q)));
}
