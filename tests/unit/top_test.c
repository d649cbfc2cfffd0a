/* Rates and latencies between two snapshots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "view/top.h"
#include "view_fake.h"

#define S 1000000000ull

static const struct top_options by_rate = { .sort = TOP_RATE };

/* Before: 10 requests. Now: 30 more of 10 ms and 10 failed ones of 100 ms in 2 s, two routes; and a client. */
struct pair {
	struct fake before, now;
};

static void pair_init(struct pair *pair)
{
	struct point *point;

	fake_init(&pair->before, 100 * S);
	fake_requests(&pair->before, &fake_server, &fake_shop, 1, "/a", NULL, 10, 5);
	point = fake_point(&pair->before, &fake_bytes, &fake_shop, 1);
	point->sum = 1000;

	fake_init(&pair->now, 102 * S);
	point = fake_requests(&pair->now, &fake_server, &fake_shop, 1, "/a", NULL, 10, 5);
	for (int i = 0; i < 30; i++)
		assert_int_equal(hist_add(&point->hist, 10 * FAKE_MS), 0);
	fake_requests(&pair->now, &fake_server, &fake_shop, 1, "/b", "500", 10, 100);
	fake_requests(&pair->now, &fake_client, &fake_plain, 2, NULL, NULL, 4, 20);
	point = fake_point(&pair->now, &fake_bytes, &fake_shop, 1);
	point->sum = 5000;
	point = fake_point(&pair->now, &fake_active, &fake_shop, 1);
	point->gauge = 3;
}

static void pair_done(struct pair *pair)
{
	fake_done(&pair->before);
	fake_done(&pair->now);
}

static void cell_is(const struct top_table *table, size_t row, enum top_column column, const char *want)
{
	struct buf cell;

	buf_init(&cell, 1024);
	top_cell(table, &table->rows[row], column, &cell);
	assert_string_equal(cell.data, want);
	buf_done(&cell);
}

static bool near(double value, double want, double part)
{
	return value > want * (1 - part) && value < want * (1 + part);
}

static void rates_are_of_the_interval(void **state)
{
	struct top_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(top_table_init(&table, &pair.before.snap, &pair.now.snap, &by_rate), 0);
	assert_int_equal(table.interval_ns, 2 * S);
	assert_int_equal(table.rows_count, 2);
	assert_ptr_equal(table.rows[0].who, &fake_shop);
	assert_int_equal(table.rows[0].hist.count, 40);
	cell_is(&table, 0, TOP_CONTAINER, "prod/shop-7d9/shop");
	cell_is(&table, 0, TOP_ROLE, "server");
	cell_is(&table, 0, TOP_RATE, "20.0");
	cell_is(&table, 0, TOP_ERRORS, "25.0");
	cell_is(&table, 0, TOP_BYTES, "1.95K"); /* 4000 bytes in 2 s */
	cell_is(&table, 0, TOP_INFLIGHT, "3");
	/* 30 of 40 took 10 ms, the rest 100 ms; a slot is 9.05 % wide. */
	assert_true(near(hist_quantile_ns(&table.rows[0].hist, 0.5), 10e6, 0.0905));
	assert_true(near(hist_quantile_ns(&table.rows[0].hist, 0.9), 100e6, 0.0905));
	cell_is(&table, 0, TOP_MAX, "100ms");
	cell_is(&table, 1, TOP_CONTAINER, "run");
	cell_is(&table, 1, TOP_ROLE, "client");
	cell_is(&table, 1, TOP_RATE, "2.0");
	cell_is(&table, 1, TOP_BYTES, "-");
	cell_is(&table, 1, TOP_INFLIGHT, "0"); /* told of others, so known */
	top_table_done(&table);
	pair_done(&pair);
}

static void routes_are_ordered_by_count(void **state)
{
	struct top_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(top_table_init(&table, &pair.before.snap, &pair.now.snap, &by_rate), 0);
	assert_int_equal(table.rows[0].routes_count, 2);
	assert_string_equal(table.rows[0].routes[0].name, "/a");
	assert_int_equal(table.rows[0].routes[0].hist.count, 30);
	assert_int_equal(table.rows[0].routes[0].errors, 0);
	assert_string_equal(table.rows[0].routes[1].name, "/b");
	assert_int_equal(table.rows[0].routes[1].errors, 10);
	assert_string_equal(table.rows[1].routes[0].name, "-");
	top_table_done(&table);
	pair_done(&pair);
}

static void without_a_before_it_is_everything(void **state)
{
	struct top_table table;
	struct pair pair;

	pair_init(&pair);
	pair.now.snap.start_ns = 52 * S;
	assert_int_equal(top_table_init(&table, NULL, &pair.now.snap, &by_rate), 0);
	assert_int_equal(table.interval_ns, 50 * S);
	assert_int_equal(table.rows[0].hist.count, 50);
	cell_is(&table, 0, TOP_RATE, "1.0");
	top_table_done(&table);
	pair_done(&pair);
}

static void a_quiet_container_has_no_row(void **state)
{
	struct top_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(top_table_init(&table, &pair.now.snap, &pair.now.snap, &by_rate), 0);
	assert_int_equal(table.rows_count, 1); /* three are in flight */
	cell_is(&table, 0, TOP_RATE, "0.0");
	cell_is(&table, 0, TOP_ERRORS, "-");
	cell_is(&table, 0, TOP_P99, "-");
	top_table_done(&table);
	assert_int_equal(top_table_init(&table, &pair.now.snap, &pair.now.snap, &(struct top_options){ .quiet = true }),
			 0);
	assert_int_equal(table.rows_count, 2);
	assert_int_equal(table.rows[0].hist.count + table.rows[1].hist.count, 0);
	top_table_done(&table);
	pair_done(&pair);
}

/* The series of a cgroup that has ended are merged into its container's next one: nothing new has happened. */
static void moved_series_are_not_new_requests(void **state)
{
	struct fake before, now;
	struct top_table table;

	fake_init(&before, 1 * S);
	fake_requests(&before, &fake_server, &fake_shop, 7, "/a", NULL, 100, 5);
	fake_requests(&before, &fake_server, &fake_shop, 8, "/a", NULL, 1, 5);
	fake_init(&now, 2 * S);
	fake_requests(&now, &fake_server, &fake_shop, 8, "/a", NULL, 103, 5);
	assert_int_equal(top_table_init(&table, &before.snap, &now.snap, &by_rate), 0);
	assert_int_equal(table.rows_count, 1);
	cell_is(&table, 0, TOP_INFLIGHT, "-");
	assert_int_equal(table.rows[0].hist.count, 2);
	assert_int_equal(table.rows[0].routes[0].hist.count, 2);
	top_table_done(&table);
	fake_done(&before);
	fake_done(&now);
}

/* An agent that was restarted counts from zero: figures are low for one interval, never wrapped around. */
static void totals_that_fall_do_not_wrap(void **state)
{
	struct top_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(top_table_init(&table, &pair.now.snap, &pair.before.snap, &by_rate), 0);
	for (size_t i = 0; i < table.rows_count; i++) {
		assert_true(table.rows[i].hist.count <= 10);
		assert_true(table.rows[i].errors <= 10);
		assert_true(table.rows[i].bytes <= 1000);
	}
	top_table_done(&table);
	pair_done(&pair);
}

static void filters_choose_rows(void **state)
{
	static const struct {
		const char *container, *role, *search;
		size_t rows;
	} rows[] = {
		{ .rows = 2 },
		{ .container = "shop", .rows = 1 },
		{ .container = "111111111111", .rows = 1 },
		{ .container = "sho", .rows = 0 },
		{ .container = "*", .rows = 2 },
		{ .role = "client", .rows = 1 },
		{ .role = "client", .container = "shop", .rows = 0 },
		{ .search = "SHO", .rows = 1 },
		{ .search = "prod", .rows = 1 },
		{ .search = "11111", .rows = 1 },
		{ .search = "nothing", .rows = 0 },
		{ .search = "", .rows = 2 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct span_filter filter = {};
		struct top_options options = { .role = rows[i].role, .search = rows[i].search, .filter = &filter };
		struct top_table table;
		struct pair pair;

		assert_int_equal(span_filter_set(&filter, "container", rows[i].container ?: "", NULL), 0);
		pair_init(&pair);
		assert_int_equal(top_table_init(&table, &pair.before.snap, &pair.now.snap, &options), 0);
		if (table.rows_count != rows[i].rows)
			fail_msg("row %zu: %zu rows", i, table.rows_count);
		top_table_done(&table);
		pair_done(&pair);
	}
}

static void every_column_sorts_both_ways(void **state)
{
	for (unsigned column = 0; column < TOP_RETRANSMITS; column++) {
		const char *first[2];

		for (int ascending = 0; ascending < 2; ascending++) {
			struct top_options options = { .sort = column, .ascending = ascending };
			struct top_table table;
			struct pair pair;

			pair_init(&pair);
			assert_int_equal(top_table_init(&table, &pair.before.snap, &pair.now.snap, &options), 0);
			assert_int_equal(table.rows_count, 2);
			first[ascending] = table.rows[0].role;
			top_table_done(&table);
			pair_done(&pair);
		}
		assert_string_not_equal(first[0], first[1]); /* the two rows differ in every column */
	}
}

static void a_column_of_the_other_table_is_the_default_order(void **state)
{
	for (unsigned column = TOP_RETRANSMITS; column < TOP_COLUMN_MAX; column++) {
		struct top_options options = { .sort = column, .ascending = true };
		struct top_table table;
		struct pair pair;

		pair_init(&pair);
		assert_int_equal(top_table_init(&table, &pair.before.snap, &pair.now.snap, &options), 0);
		assert_int_equal(table.rows_count, 2);
		assert_int_equal(table.rows[0].hist.count, 40);
		top_table_done(&table);
		pair_done(&pair);
	}
}

/* "\u6c34" is two columns wide. Whatever names are like, all lines are as wide as the screen or a little less. */
static void columns_stay_aligned(void **state)
{
	static const char *const names[] = {
		"a", "\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34",
		"e\u0301tage", "a-very-long-name-of-a-container-that-does-not-fit-anywhere-0123456789"
	};

	for (unsigned width = 40; width <= 200; width += 7) {
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
			struct workload who = fake_plain;
			struct top_table table;
			struct fake now;
			struct buf out;

			who.container_name = names[i];
			fake_init(&now, S);
			fake_requests(&now, &fake_server, &who, 3, NULL, NULL, 5, 5);
			assert_int_equal(top_table_init(&table, NULL, &now.snap, &by_rate), 0);
			buf_init(&out, 1 << 16);
			top_text(&table, width, &out);
			for (char *at = out.data, *end; (end = strchr(at, '\n')); at = end + 1) {
				*end = '\0';
				assert_int_equal(utf8_width(at), width);
			}
			buf_done(&out);
			top_table_done(&table);
			fake_done(&now);
		}
	}
}

static void json_has_the_same_figures(void **state)
{
	struct top_table table;
	struct pair pair;
	json_t *rows, *row;

	pair_init(&pair);
	assert_int_equal(top_table_init(&table, &pair.before.snap, &pair.now.snap, &by_rate), 0);
	rows = top_rows_json(&table);
	assert_int_equal(json_array_size(rows), 2);
	row = json_array_get(rows, 0);
	assert_string_equal(json_string_value(json_object_get(json_object_get(row, "container"), "id")),
			    fake_shop.container_id);
	assert_int_equal(json_integer_value(json_object_get(row, "requests")), 40);
	assert_int_equal(json_integer_value(json_object_get(row, "errors")), 10);
	assert_true(json_number_value(json_object_get(row, "requests_per_s")) == 20.0);
	assert_true(json_number_value(json_object_get(row, "bytes_per_s")) == 2000.0);
	assert_int_equal(json_integer_value(json_object_get(row, "in_flight")), 3);
	row = json_array_get(rows, 1);
	assert_true(json_is_null(json_object_get(row, "bytes_per_s"))); /* not known is not zero */
	json_decref(rows);
	top_table_done(&table);
	pair_done(&pair);
}

static void a_thousand_containers(void **state)
{
	static struct workload who[1000];
	static char names[1000][16];
	struct point *points = calloc(2000, sizeof(*points));
	struct snapshot snap = { .refs = 1, .time_ns = S, .points = points, .points_count = 2000 };
	struct top_table table;

	assert_non_null(points);
	for (size_t i = 0; i < 2000; i++) {
		struct workload *w = &who[i % 1000];

		*w = fake_plain;
		snprintf(names[i % 1000], sizeof(names[0]), "/c%zu", i % 1000);
		w->cgroup = names[i % 1000];
		points[i] = (struct point){ .metric = &fake_server, .who = w, .cgroup_id = i };
		assert_int_equal(hist_add(&points[i].hist, i), 0);
	}
	assert_int_equal(top_table_init(&table, NULL, &snap, &by_rate), 0);
	assert_int_equal(table.rows_count, 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(table.rows[i].hist.count, 2);
	top_table_done(&table);
	for (size_t i = 0; i < 2000; i++)
		hist_done(&points[i].hist);
	free(points);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_are_of_the_interval),
		cmocka_unit_test(routes_are_ordered_by_count),
		cmocka_unit_test(without_a_before_it_is_everything),
		cmocka_unit_test(a_quiet_container_has_no_row),
		cmocka_unit_test(moved_series_are_not_new_requests),
		cmocka_unit_test(totals_that_fall_do_not_wrap),
		cmocka_unit_test(filters_choose_rows),
		cmocka_unit_test(every_column_sorts_both_ways),
		cmocka_unit_test(a_column_of_the_other_table_is_the_default_order),
		cmocka_unit_test(columns_stay_aligned),
		cmocka_unit_test(json_has_the_same_figures),
		cmocka_unit_test(a_thousand_containers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
