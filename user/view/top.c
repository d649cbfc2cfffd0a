#include "view/top.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "view/keys.h"
#include "view/rows.h"
#include "view/since.h"
#include "view/who.h"

#define ROUTE_ATTRIBUTE "http.route"
#define ERROR_ATTRIBUTE "error.type"
#define NO_ROUTE	"-"

static const char *const roles[] = { "server", "client" };

/* What of a row each metric is. */
enum top_use { USE_DURATION, USE_BYTES, USE_INFLIGHT };

static const struct top_metric {
	const char *name;
	unsigned role;
	enum top_use use;
} top_metrics[] = {
	{ .name = "http.server.request.duration", .role = 0, .use = USE_DURATION },
	{ .name = "http.client.request.duration", .role = 1, .use = USE_DURATION },
	{ .name = "weir.http.server.io", .role = 0, .use = USE_BYTES },
	{ .name = "weir.http.client.io", .role = 1, .use = USE_BYTES },
	{ .name = "http.server.active_requests", .role = 0, .use = USE_INFLIGHT },
	{ .name = "http.client.active_requests", .role = 1, .use = USE_INFLIGHT },
};

/* ---- sums over one snapshot, by container and role */

struct sum_route {
	unsigned row;
	struct top_route route;
};

/* All rows of one snapshot with their routes; the difference of two of them is the table. */
struct sums {
	const struct top_options *options;
	struct keys row_keys;
	struct keys route_keys; /* tag: number of the row */
	size_t rows_cap, routes_cap;
	struct top_row *rows;
	struct sum_route *routes;
	const struct metric *metric; /* the last one seen and its row above: points come sorted */
	const struct top_metric *known;
	bool measured; /* there was one of ours, whoever it is about */
};

static void sums_done(struct sums *sums)
{
	for (size_t i = 0; i < sums->row_keys.count && i < sums->rows_cap; i++)
		hist_done(&sums->rows[i].hist);
	for (size_t i = 0; i < sums->route_keys.count && i < sums->routes_cap; i++)
		hist_done(&sums->routes[i].route.hist);
	free(sums->rows);
	free(sums->routes);
	keys_done(&sums->row_keys);
	keys_done(&sums->route_keys);
}

static const struct top_metric *metric_known(struct sums *sums, const struct metric *metric)
{
	if (metric == sums->metric)
		return sums->known;
	sums->metric = metric;
	sums->known = NULL;
	for (size_t i = 0; i < sizeof(top_metrics) / sizeof(*top_metrics); i++)
		if (!strcmp(metric->name, top_metrics[i].name))
			sums->known = &top_metrics[i];
	sums->measured |= sums->known != NULL;
	return sums->known;
}

static ssize_t sums_row(struct sums *sums, const struct workload *who, unsigned role)
{
	size_t count = sums->row_keys.count;
	ssize_t index = keys_index(&sums->row_keys, who_key(who), role);

	if (index < 0 || (size_t)index < count)
		return index;
	if (rows_room((void **)&sums->rows, &sums->rows_cap, sizeof(*sums->rows), index)) {
		sums->row_keys.count = count;
		return -ENOMEM;
	}
	sums->rows[index] = (struct top_row){ .who = who, .role = roles[role], .inflight = -1 };
	return index;
}

static ssize_t sums_route(struct sums *sums, size_t row, const char *name)
{
	size_t count = sums->route_keys.count;
	ssize_t index = keys_index(&sums->route_keys, name, row);

	if (index < 0 || (size_t)index < count)
		return index;
	if (rows_room((void **)&sums->routes, &sums->routes_cap, sizeof(*sums->routes), index)) {
		sums->route_keys.count = count;
		return -ENOMEM;
	}
	sums->routes[index] = (struct sum_route){ .row = row, .route.name = name };
	return index;
}

static int sums_duration(struct sums *sums, size_t row, const struct point *point)
{
	const struct attr *route = point_attr(point, ROUTE_ATTRIBUTE);
	ssize_t index;
	__u64 errors = point_attr(point, ERROR_ATTRIBUTE) ? point->hist.count : 0;

	sums->rows[row].errors += errors;
	if (hist_merge(&sums->rows[row].hist, &point->hist))
		return -ENOMEM;
	index = sums_route(sums, row, route && route->type == ATTR_STR ? route->str : NO_ROUTE);
	if (index < 0)
		return index;
	sums->routes[index].route.errors += errors;
	return hist_merge(&sums->routes[index].route.hist, &point->hist);
}

static int sums_point(struct sums *sums, const struct point *point)
{
	const struct top_metric *known = metric_known(sums, point->metric);
	const char *role = sums->options->role;
	struct top_row *row;
	ssize_t index;

	if (!known || (role && strcmp(role, roles[known->role])) ||
	    !rows_want(point->who, sums->options->filter, sums->options->search))
		return 0;
	index = sums_row(sums, point->who, known->role);
	if (index < 0)
		return index;
	row = &sums->rows[index];
	if (known->use == USE_DURATION && point->metric->kind == METRIC_HIST)
		return sums_duration(sums, index, point);
	if (known->use == USE_BYTES && point->metric->kind == METRIC_SUM) {
		row->bytes += point->sum;
		row->bytes_known = true;
	} else if (known->use == USE_INFLIGHT && point->metric->kind == METRIC_GAUGE) {
		row->inflight = (row->inflight < 0 ? 0 : row->inflight) + point->gauge;
	}
	return 0;
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
 * of its container's next one, and must not show as new requests. */
static void sums_subtract(struct sums *now, const struct sums *before)
{
	for (size_t i = 0; i < before->row_keys.count; i++) {
		const struct key *key = &before->row_keys.items[i];
		ssize_t index = keys_find(&now->row_keys, key->text, key->tag);
		struct top_row *row;

		if (index < 0)
			continue;
		row = &now->rows[index];
		hist_since(&row->hist, &before->rows[i].hist);
		row->errors = total_since(row->errors, before->rows[i].errors);
		row->bytes = total_since(row->bytes, before->rows[i].bytes);
	}
	for (size_t i = 0; i < before->route_keys.count; i++) {
		const struct sum_route *old = &before->routes[i];
		const struct key *key = &before->row_keys.items[old->row];
		ssize_t row = keys_find(&now->row_keys, key->text, key->tag);
		ssize_t index = row < 0 ? row : keys_find(&now->route_keys, old->route.name, row);

		if (index < 0)
			continue;
		hist_since(&now->routes[index].route.hist, &old->route.hist);
		now->routes[index].route.errors = total_since(now->routes[index].route.errors, old->route.errors);
	}
}

/* ---- order */

bool top_sorts(enum top_column column)
{
	return column < TOP_RETRANSMITS;
}

struct order {
	enum top_column sort;
	bool ascending;
};

static double row_quantile(const struct top_row *row, enum top_column column)
{
	static const double quantiles[TOP_COLUMN_MAX] = {
		[TOP_P50] = 0.50, [TOP_P90] = 0.90, [TOP_P99] = 0.99, [TOP_MAX] = 1.00
	};

	return hist_quantile_ns(&row->hist, quantiles[column]);
}

static double row_number(const struct top_row *row, enum top_column column)
{
	switch (column) {
	case TOP_RATE:
		return row->hist.count;
	case TOP_ERRORS:
		return row->hist.count ? (double)row->errors / row->hist.count : 0;
	case TOP_BYTES:
		return row->bytes;
	case TOP_INFLIGHT:
		return row->inflight;
	case TOP_P50:
	case TOP_P90:
	case TOP_P99:
	case TOP_MAX:
		return row_quantile(row, column);
	case TOP_CONTAINER:
	case TOP_ROLE:
	case TOP_RETRANSMITS ... TOP_COLUMN_MAX: /* of other tables */
		break;
	}
	return 0;
}

/* Text columns from a to z, numbers from the greatest; equal ones by name, so that rows do not jump about. */
static int row_compare(const void *a, const void *b, void *arg)
{
	const struct top_row *left = a, *right = b;
	const struct order *order = arg;
	double x = row_number(left, order->sort), y = row_number(right, order->sort);
	int names = strcmp(who_name(left->who), who_name(right->who));
	int roles_order = strcmp(right->role, left->role); /* server first */
	int result = 0;

	if (order->sort == TOP_CONTAINER)
		result = names;
	else if (order->sort == TOP_ROLE)
		result = roles_order;
	else if (x < y || x > y)
		result = x < y ? 1 : -1;
	if (result)
		return order->ascending ? -result : result;
	if (names)
		return names;
	return roles_order ? roles_order : strcmp(who_key(left->who), who_key(right->who));
}

static int route_compare(const void *a, const void *b)
{
	const struct top_route *left = a, *right = b;

	if (left->hist.count != right->hist.count)
		return left->hist.count < right->hist.count ? 1 : -1;
	return strcmp(left->name, right->name);
}

/* ---- the table */

/* Where requests in flight are told at all, those of whom nothing is told have none. */
static void sums_inflight(struct sums *sums)
{
	bool known = false;

	for (size_t i = 0; i < sums->row_keys.count; i++)
		known |= sums->rows[i].inflight >= 0;
	for (size_t i = 0; known && i < sums->row_keys.count; i++)
		if (sums->rows[i].inflight < 0)
			sums->rows[i].inflight = 0;
}

/* Moves the routes of row @index out of the sums. */
static int row_take_routes(struct top_row *row, struct sums *sums, size_t index)
{
	size_t count = 0;

	for (size_t i = 0; i < sums->route_keys.count; i++)
		count += sums->routes[i].row == index && sums->routes[i].route.hist.count;
	if (!count)
		return 0;
	row->routes = calloc(count, sizeof(*row->routes));
	if (!row->routes)
		return -ENOMEM;
	for (size_t i = 0; i < sums->route_keys.count; i++) {
		struct top_route *route = &sums->routes[i].route;

		if (sums->routes[i].row != index || !route->hist.count)
			continue;
		row->routes[row->routes_count++] = *route;
		memset(&route->hist, 0, sizeof(route->hist));
	}
	qsort(row->routes, row->routes_count, sizeof(*row->routes), route_compare);
	return 0;
}

static int table_take(struct top_table *table, struct sums *sums)
{
	size_t count = sums->row_keys.count;

	table->rows = count ? calloc(count, sizeof(*table->rows)) : NULL;
	if (count && !table->rows)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct top_row *row = &sums->rows[i];

		if (!row->hist.count && row->inflight <= 0 && !sums->options->quiet)
			continue;
		if (row_take_routes(row, sums, i))
			return -ENOMEM;
		table->rows[table->rows_count++] = *row;
		memset(&row->hist, 0, sizeof(row->hist));
	}
	return 0;
}

int top_table_init(struct top_table *table, const struct snapshot *before, const struct snapshot *now,
		   const struct top_options *options)
{
	bool own = top_sorts(options->sort);
	struct order order = { .sort = own ? options->sort : TOP_RATE, .ascending = own && options->ascending };
	struct sums sums, old;
	int err;

	*table = (struct top_table){
		.time_unix_ns = now->time_unix_ns,
		.interval_ns = now->time_ns - (before ? before->time_ns : now->start_ns),
	};
	err = sums_init(&sums, now, options);
	if (err)
		return err;
	table->measured = sums.measured;
	err = sums_init(&old, before, options);
	if (!err) {
		sums_subtract(&sums, &old);
		sums_inflight(&sums);
		err = table_take(table, &sums);
		sums_done(&old);
	}
	sums_done(&sums);
	if (err)
		top_table_done(table);
	else if (table->rows_count)
		qsort_r(table->rows, table->rows_count, sizeof(*table->rows), row_compare, &order);
	return err;
}

void top_table_done(struct top_table *table)
{
	for (size_t i = 0; i < table->rows_count; i++) {
		struct top_row *row = &table->rows[i];

		for (size_t j = 0; j < row->routes_count; j++)
			hist_done(&row->routes[j].hist);
		free(row->routes);
		hist_done(&row->hist);
	}
	free(table->rows);
	memset(table, 0, sizeof(*table));
}

/* ---- as text */

static void cell_add(const void *table, const void *row, unsigned column, struct buf *out)
{
	top_cell(table, row, column, out);
}

static const struct layout_column columns[] = {
	{ .title = "CONTAINER", .column = TOP_CONTAINER, .left = true },
	{ .title = "ROLE", .column = TOP_ROLE, .width = 6, .drop = 1, .left = true },
	{ .title = "REQ/S", .column = TOP_RATE, .width = 7 },
	{ .title = "ERR%", .column = TOP_ERRORS, .width = 5 },
	{ .title = "P50", .column = TOP_P50, .width = 7, .drop = 2 },
	{ .title = "P90", .column = TOP_P90, .width = 7, .drop = 4 },
	{ .title = "P99", .column = TOP_P99, .width = 7 },
	{ .title = "MAX", .column = TOP_MAX, .width = 7, .drop = 3 },
	{ .title = "BYTES/S", .column = TOP_BYTES, .width = 7, .drop = 5 },
	{ .title = "ACTIVE", .column = TOP_INFLIGHT, .width = 6, .drop = 6 },
};

static const struct layout layout = {
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(*columns),
	.rest_min = 14,
	.cell = cell_add,
};

const char *top_column_title(enum top_column column)
{
	return layout_title(&layout, column);
}

void top_cell(const struct top_table *table, const struct top_row *row, enum top_column column, struct buf *out)
{
	double seconds = interval_seconds(table->interval_ns);
	char room[STR_NUMBER_ROOM];

	switch (column) {
	case TOP_CONTAINER:
		who_print(row->who, out);
		break;
	case TOP_ROLE:
		buf_add_str(out, row->role);
		break;
	case TOP_RATE:
		rate_print(row->hist.count / seconds, out);
		break;
	case TOP_ERRORS:
		if (row->hist.count)
			buf_printf(out, "%.1f", 100.0 * row->errors / row->hist.count);
		else
			buf_add_char(out, '-');
		break;
	case TOP_P50:
	case TOP_P90:
	case TOP_P99:
	case TOP_MAX:
		buf_add_str(out, row->hist.count ? str_format_duration(row_quantile(row, column), room) : "-");
		break;
	case TOP_BYTES:
		buf_add_str(out, row->bytes_known ? str_format_bytes(row->bytes / seconds, room) : "-");
		break;
	case TOP_INFLIGHT:
		buf_add_str(out, row->inflight >= 0 ? str_format_count(row->inflight, room) : "-");
		break;
	case TOP_RETRANSMITS ... TOP_COLUMN_MAX: /* of other tables */
		break;
	}
}

void top_text(const struct top_table *table, unsigned width, struct buf *out)
{
	layout_line(&layout, table, NULL, width, out);
	for (size_t i = 0; i < table->rows_count; i++)
		layout_line(&layout, table, &table->rows[i], width, out);
}

/* ---- as JSON */

static json_t *routes_json(const struct top_row *row)
{
	json_t *array = json_array();

	for (size_t i = 0; i < row->routes_count; i++) {
		const struct top_route *route = &row->routes[i];
		json_t *object = json_pack("{s:s, s:I, s:I, s:o, s:o, s:o}", "route", route->name, "requests",
					   (json_int_t)route->hist.count, "errors", (json_int_t)route->errors, "p50_ns",
					   quantile_json(&route->hist, 0.50), "p99_ns",
					   quantile_json(&route->hist, 0.99), "max_ns",
					   quantile_json(&route->hist, 1.00));

		if (json_array_append_new(array, object)) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *row_json(const struct top_table *table, const struct top_row *row)
{
	double seconds = interval_seconds(table->interval_ns);
	double requests = row->hist.count;

	return json_pack("{s:o, s:s, s:I, s:I, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "container",
			 who_json(row->who), "role", row->role, "requests", (json_int_t)row->hist.count, "errors",
			 (json_int_t)row->errors, "requests_per_s", requests / seconds, "error_percent",
			 row->hist.count ? 100.0 * row->errors / requests : 0.0, "p50_ns",
			 quantile_json(&row->hist, 0.50), "p90_ns", quantile_json(&row->hist, 0.90), "p99_ns",
			 quantile_json(&row->hist, 0.99), "max_ns", quantile_json(&row->hist, 1.00), "bytes_per_s",
			 row->bytes_known ? json_real(row->bytes / seconds) : json_null(), "in_flight",
			 row->inflight >= 0 ? json_integer(row->inflight) : json_null(), "routes", routes_json(row));
}

json_t *top_rows_json(const struct top_table *table)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < table->rows_count; i++) {
		if (json_array_append_new(rows, row_json(table, &table->rows[i]))) {
			json_decref(rows);
			return NULL;
		}
	}
	return rows;
}
