/* What TCP and the scheduler tell of each container between two snapshots, and both tables of weir top together. */
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
#include "view/tables.h"
#include "view_fake.h"

#define S 1000000000ull

static const struct metric retransmits = { .name = "weir.tcp.retransmits", .kind = METRIC_SUM };
static const struct metric connections = { .name = "weir.tcp.connections", .kind = METRIC_SUM };
static const struct metric resets = { .name = "weir.tcp.resets", .kind = METRIC_SUM };
static const struct metric drops = { .name = "weir.tcp.listen.drops", .kind = METRIC_SUM };
static const struct metric rtt = { .name = "weir.tcp.rtt.duration", .unit = "s", .kind = METRIC_HIST };
static const struct metric conns = { .name = "weir.tcp.active_connections", .kind = METRIC_GAUGE, .updown = true };
static const struct metric cpu = { .name = "container.cpu.time", .unit = "s", .kind = METRIC_SUM, .scale = 1e-9 };
static const struct metric throttled = {
	.name = "weir.container.cpu.throttled.time", .unit = "s", .kind = METRIC_SUM, .scale = 1e-9
};
static const struct metric runq = { .name = "weir.sched.run_queue.duration", .unit = "s", .kind = METRIC_HIST };
static const struct metric longest = {
	.name = "weir.sched.run_queue.longest", .unit = "s", .kind = METRIC_GAUGE, .scale = 1e-9
};
static const struct metric neighbour = {
	.name = "weir.sched.neighbour.time", .unit = "s", .kind = METRIC_SUM, .scale = 1e-9
};

static const struct top_options by_cpu = { .sort = TOP_CPU };

static void sum(struct fake *fake, const struct metric *metric, const struct workload *who, const char *key,
		const char *value, __u64 total)
{
	struct point *point = fake_point(fake, metric, who, who->cgroup_id);

	if (key)
		fake_attr(point, key, value);
	point->sum = total;
}

static void gauge(struct fake *fake, const struct metric *metric, const struct workload *who, const char *role,
		  __s64 value)
{
	struct point *point = fake_point(fake, metric, who, who->cgroup_id);

	if (role)
		fake_attr(point, "weir.tcp.role", role);
	point->gauge = value;
}

/* @count durations of @ms, and @slow of @slow_ms. */
static void durations(struct fake *fake, const struct metric *metric, const struct workload *who, unsigned count,
		      __u64 ms, unsigned slow, __u64 slow_ms)
{
	struct point *point = fake_requests(fake, metric, who, who->cgroup_id, NULL, NULL, count, ms);

	for (unsigned i = 0; i < slow; i++)
		assert_int_equal(hist_add(&point->hist, slow_ms * FAKE_MS), 0);
}

struct pair {
	struct fake before, now;
};

static void tcp_init(struct fake *fake, const struct workload *who, unsigned times)
{
	sum(fake, &retransmits, who, "weir.tcp.retransmit.cause", "timeout", 3 * times);
	sum(fake, &retransmits, who, "weir.tcp.retransmit.cause", "fast", 11 * times);
	sum(fake, &connections, who, "weir.tcp.role", "client", 40 * times);
	sum(fake, &connections, who, "weir.tcp.role", "server", 6 * times);
	sum(fake, &connections, who, "error.type", "connection_refused", 5 * times);
	sum(fake, &connections, who, "error.type", "timeout", 2 * times);
	sum(fake, &resets, who, NULL, NULL, 13 * times);
	sum(fake, &drops, who, NULL, NULL, times);
}

static void sched_init(struct fake *fake, const struct workload *who, unsigned times)
{
	sum(fake, &cpu, who, "cpu.mode", "user", times * S);
	sum(fake, &cpu, who, "cpu.mode", "system", times * S / 2);
	sum(fake, &throttled, who, NULL, NULL, times * S / 5);
	durations(fake, &runq, who, 98 * times, 1, 2 * times, 100);
	gauge(fake, &longest, who, NULL, 150 * FAKE_MS);
	/* "shop" itself is the longest, "batch" was before this interval, "run" is within it. */
	sum(fake, &neighbour, who, "weir.neighbour.name", "shop", 9 * times * S);
	sum(fake, &neighbour, who, "weir.neighbour.name", "batch", 5 * S);
	sum(fake, &neighbour, who, "weir.neighbour.name", "run", 2 * times * S);
	sum(fake, &neighbour, who, "weir.neighbour.name", "cron", times * S);
}

/* In 2 s everything of shop once again; the plain one has told nothing but of TCP. */
static void pair_init(struct pair *pair)
{
	fake_init(&pair->before, 100 * S);
	tcp_init(&pair->before, &fake_shop, 1);
	sched_init(&pair->before, &fake_shop, 1);
	durations(&pair->before, &rtt, &fake_shop, 50, 900, 0, 0);

	fake_init(&pair->now, 102 * S);
	tcp_init(&pair->now, &fake_shop, 2);
	sched_init(&pair->now, &fake_shop, 2);
	durations(&pair->now, &rtt, &fake_shop, 98, 10, 52, 900);
	gauge(&pair->now, &conns, &fake_shop, "client", 4);
	gauge(&pair->now, &conns, &fake_shop, "server", 3);
	sum(&pair->now, &retransmits, &fake_plain, NULL, NULL, 1);
}

static void pair_done(struct pair *pair)
{
	fake_done(&pair->before);
	fake_done(&pair->now);
}

static void cell_is(const struct containers_table *table, size_t row, enum containers_column column, const char *want)
{
	struct buf cell;

	buf_init(&cell, 1024);
	containers_cell(table, &table->rows[row], column, &cell);
	assert_string_equal(cell.data, want);
	buf_done(&cell);
}

static bool near(double value, double want)
{
	return value > want * (1 - 0.0905) && value < want * (1 + 0.0905); /* a slot is 9.05 % wide */
}

static void figures_are_of_the_interval(void **state)
{
	struct containers_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(containers_table_init(&table, &pair.before.snap, &pair.now.snap, &by_cpu), 0);
	assert_int_equal(table.interval_ns, 2 * S);
	assert_true(table.measured);
	assert_int_equal(table.rows_count, 2);
	assert_ptr_equal(table.rows[0].who, &fake_shop);
	cell_is(&table, 0, CONTAINERS_NAME, "prod/shop-7d9/shop");
	cell_is(&table, 0, CONTAINERS_RETRANSMITS, "7.0"); /* 14 in 2 s */
	cell_is(&table, 0, CONTAINERS_FAILED, "3.5");
	cell_is(&table, 0, CONTAINERS_CONNECTS, "23.0");
	cell_is(&table, 0, CONTAINERS_RESETS, "6.5");
	cell_is(&table, 0, CONTAINERS_DROPS, "0.5");
	cell_is(&table, 0, CONTAINERS_CONNS, "7");
	cell_is(&table, 0, CONTAINERS_CPU, "75.0"); /* 1.5 s of 2 s */
	cell_is(&table, 0, CONTAINERS_THROTTLED, "10.0");
	cell_is(&table, 0, CONTAINERS_RUNQ_MAX, "150ms");
	cell_is(&table, 0, CONTAINERS_NEIGHBOUR, "run");
	/* 98 of 100 took 10 ms, or waited for 1 ms. */
	assert_int_equal(table.rows[0].times[TIMES_RTT].count, 100);
	assert_true(near(hist_quantile_ns(&table.rows[0].times[TIMES_RTT], 0.50), 10e6));
	assert_true(near(hist_quantile_ns(&table.rows[0].times[TIMES_RTT], 0.99), 900e6));
	assert_int_equal(table.rows[0].times[TIMES_RUNQ].count, 100);
	assert_true(near(hist_quantile_ns(&table.rows[0].times[TIMES_RUNQ], 0.50), 1e6));
	assert_true(near(hist_quantile_ns(&table.rows[0].times[TIMES_RUNQ], 0.99), 100e6));
	containers_table_done(&table);
	pair_done(&pair);
}

/* Nothing was told of it by the scheduler, and no round trip: neither is 0. */
static void what_is_not_known_is_a_dash(void **state)
{
	static const enum containers_column unknown[] = {
		CONTAINERS_RTT_P50,  CONTAINERS_RTT_P99,  CONTAINERS_CPU,	CONTAINERS_RUNQ_P50,
		CONTAINERS_RUNQ_P99, CONTAINERS_RUNQ_MAX, CONTAINERS_THROTTLED, CONTAINERS_NEIGHBOUR,
	};
	struct containers_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(containers_table_init(&table, &pair.before.snap, &pair.now.snap, &by_cpu), 0);
	assert_ptr_equal(table.rows[1].who, &fake_plain);
	cell_is(&table, 1, CONTAINERS_RETRANSMITS, "0.5");
	cell_is(&table, 1, CONTAINERS_FAILED, "0.0");
	cell_is(&table, 1, CONTAINERS_CONNS, "0"); /* told of others, so known */
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		cell_is(&table, 1, unknown[i], "-");
	containers_table_done(&table);
	pair_done(&pair);
}

static void a_container_with_the_scheduler_only(void **state)
{
	struct containers_table table;
	struct fake now;

	fake_init(&now, 4 * S);
	durations(&now, &runq, &fake_plain, 3, 5, 0, 0);
	sum(&now, &neighbour, &fake_plain, "weir.neighbour.name", "run", S); /* itself */
	assert_int_equal(containers_table_init(&table, NULL, &now.snap, &by_cpu), 0);
	assert_int_equal(table.interval_ns, 4 * S);
	assert_int_equal(table.rows_count, 1);
	for (unsigned column = CONTAINERS_RETRANSMITS; column <= CONTAINERS_DROPS; column++)
		cell_is(&table, 0, column, "-");
	cell_is(&table, 0, CONTAINERS_CPU, "-"); /* it has run, but there is no series of it */
	cell_is(&table, 0, CONTAINERS_THROTTLED, "0.0");
	cell_is(&table, 0, CONTAINERS_RUNQ_MAX, "-");
	cell_is(&table, 0, CONTAINERS_RUNQ_P99, "5.00ms"); /* 2.97 of 3 from 4.646 ms to 5 ms: 4.996 ms */
	cell_is(&table, 0, CONTAINERS_NEIGHBOUR, "-");
	containers_table_done(&table);
	fake_done(&now);
}

static void of_neighbours_as_long_the_first_by_name(void **state)
{
	static const char *const names[] = { "c", "a", "b" };

	for (size_t first = 0; first < 3; first++) {
		struct containers_table table;
		struct fake now;

		fake_init(&now, S);
		for (size_t i = 0; i < 3; i++)
			sum(&now, &neighbour, &fake_shop, "weir.neighbour.name", names[(first + i) % 3], 7);
		sum(&now, &cpu, &fake_shop, NULL, NULL, 1);
		assert_int_equal(containers_table_init(&table, NULL, &now.snap, &by_cpu), 0);
		cell_is(&table, 0, CONTAINERS_NEIGHBOUR, "a");
		containers_table_done(&table);
		fake_done(&now);
	}
}

static void a_quiet_container_has_no_row(void **state)
{
	struct containers_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(containers_table_init(&table, &pair.now.snap, &pair.now.snap, &by_cpu), 0);
	assert_int_equal(table.rows_count, 1); /* seven are connected */
	cell_is(&table, 0, CONTAINERS_RETRANSMITS, "0.0");
	cell_is(&table, 0, CONTAINERS_CPU, "0.0");
	cell_is(&table, 0, CONTAINERS_RTT_P99, "-");
	cell_is(&table, 0, CONTAINERS_NEIGHBOUR, "-");
	containers_table_done(&table);
	assert_int_equal(containers_table_init(&table, &pair.before.snap, &pair.before.snap, &by_cpu), 0);
	assert_int_equal(table.rows_count, 0);
	assert_true(table.measured);
	containers_table_done(&table);
	assert_int_equal(containers_table_init(&table, &pair.now.snap, &pair.now.snap,
					       &(struct top_options){ .sort = TOP_CPU, .quiet = true }),
			 0);
	assert_int_equal(table.rows_count, 2);
	containers_table_done(&table);
	pair_done(&pair);
}

/* An agent that was restarted counts from zero: figures are low for one interval, never wrapped around. */
static void totals_that_fall_do_not_wrap(void **state)
{
	struct containers_table table;
	struct pair pair;

	pair_init(&pair);
	pair.before.snap.time_ns = 104 * S;
	assert_int_equal(containers_table_init(&table, &pair.now.snap, &pair.before.snap,
					       &(struct top_options){ .quiet = true }),
			 0);
	assert_int_equal(table.rows_count, 1);
	for (unsigned total = 0; total < TOTAL_MAX; total++)
		assert_int_equal(table.rows[0].totals[total], 0);
	assert_int_equal(table.rows[0].times[TIMES_RTT].count, 0);
	assert_int_equal(table.rows[0].times[TIMES_RUNQ].count, 0);
	assert_null(table.rows[0].neighbour);
	containers_table_done(&table);
	pair_done(&pair);
}

/* The series of a cgroup that has ended are merged into its container's next one: nothing new has happened. */
static void moved_series_are_not_new_events(void **state)
{
	struct workload old = fake_shop, new = fake_shop;
	struct containers_table table;
	struct fake before, now;

	old.cgroup_id = 7;
	new.cgroup_id = 8;
	fake_init(&before, 1 * S);
	sum(&before, &retransmits, &old, NULL, NULL, 100);
	sum(&before, &retransmits, &new, NULL, NULL, 1);
	durations(&before, &runq, &old, 20, 5, 0, 0);
	fake_init(&now, 2 * S);
	sum(&now, &retransmits, &new, NULL, NULL, 103);
	durations(&now, &runq, &new, 21, 5, 0, 0);
	assert_int_equal(containers_table_init(&table, &before.snap, &now.snap, &by_cpu), 0);
	assert_int_equal(table.rows_count, 1);
	cell_is(&table, 0, CONTAINERS_RETRANSMITS, "2.0");
	cell_is(&table, 0, CONTAINERS_CONNS, "-"); /* not told of anybody */
	assert_int_equal(table.rows[0].times[TIMES_RUNQ].count, 1);
	containers_table_done(&table);
	fake_done(&before);
	fake_done(&now);
}

static void filters_choose_rows(void **state)
{
	static const struct {
		const char *container, *role, *search;
		size_t rows;
	} rows[] = {
		{ .rows = 2 },
		{ .container = "shop", .rows = 1 },
		{ .container = "sho", .rows = 0 },
		{ .role = "client", .rows = 2 }, /* of requests, not of containers */
		{ .search = "PROD", .rows = 1 },
		{ .search = "nothing", .rows = 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct span_filter filter = {};
		struct top_options options = { .role = rows[i].role, .search = rows[i].search, .filter = &filter };
		struct containers_table table;
		struct pair pair;

		assert_int_equal(span_filter_set(&filter, "container", rows[i].container ?: "", NULL), 0);
		pair_init(&pair);
		assert_int_equal(containers_table_init(&table, &pair.before.snap, &pair.now.snap, &options), 0);
		if (table.rows_count != rows[i].rows)
			fail_msg("row %zu: %zu rows", i, table.rows_count);
		assert_true(table.measured);
		containers_table_done(&table);
		pair_done(&pair);
	}
}

/* Three containers: a has the most of everything, c the least, b is not known to the scheduler. By name: a, b, c. */
static void every_choice_sorts_both_ways(void **state)
{
	static const struct {
		enum top_column sort;
		const char *title, *down, *up;
	} rows[] = {
		{ .sort = TOP_CONTAINER, .title = "CONTAINER", .down = "abc", .up = "cba" },
		{ .sort = TOP_RETRANSMITS, .title = "RETR/S", .down = "abc", .up = "cba" },
		{ .sort = TOP_RTT, .title = "RTT99", .down = "abc", .up = "cba" },
		{ .sort = TOP_FAILED, .title = "FAIL/S", .down = "abc", .up = "bca" }, /* b and c are equal: by name */
		{ .sort = TOP_CONNS, .title = "CONN", .down = "abc", .up = "cba" },
		{ .sort = TOP_RUNQ, .title = "RUNQ99", .down = "acb", .up = "bca" },
		{ .sort = TOP_CPU, .title = "CPU%", .down = "acb", .up = "bca" },
		{ .sort = TOP_THROTTLED, .title = "THROT%", .down = "acb", .up = "bca" },
		{ .sort = TOP_RATE, .title = "CPU%", .down = "acb", .up = "acb" }, /* of other tables */
		{ .sort = TOP_P99, .title = "CPU%", .down = "acb", .up = "acb" },
		{ .sort = TOP_STOPPED, .title = "CPU%", .down = "acb", .up = "acb" },
		{ .sort = TOP_HEAP, .title = "CPU%", .down = "acb", .up = "acb" },
	};
	static const char *const names[] = { "c", "a", "b" };
	static const unsigned amounts[] = { 1, 3, 2 };
	struct workload who[3];
	struct fake now;

	fake_init(&now, S);
	for (unsigned i = 0; i < 3; i++) {
		who[i] = fake_plain;
		who[i].cgroup = who[i].service_name = names[i];
		sum(&now, &retransmits, &who[i], NULL, NULL, amounts[i]);
		sum(&now, &connections, &who[i], "error.type", "timeout", amounts[i] / 3);
		durations(&now, &rtt, &who[i], 1, amounts[i], 0, 0);
		gauge(&now, &conns, &who[i], NULL, amounts[i]);
		if (*names[i] == 'b')
			continue;
		sum(&now, &cpu, &who[i], NULL, NULL, amounts[i]);
		sum(&now, &throttled, &who[i], NULL, NULL, amounts[i]);
		durations(&now, &runq, &who[i], 1, amounts[i], 0, 0);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_string_equal(containers_sort_title(rows[i].sort), rows[i].title);
		for (int ascending = 0; ascending < 2; ascending++) {
			struct top_options options = { .sort = rows[i].sort, .ascending = ascending };
			struct containers_table table;
			char order[4] = "";

			assert_int_equal(containers_table_init(&table, NULL, &now.snap, &options), 0);
			assert_int_equal(table.rows_count, 3);
			for (size_t row = 0; row < 3; row++)
				order[row] = *table.rows[row].who->service_name;
			assert_string_equal(order, ascending ? rows[i].up : rows[i].down);
			containers_table_done(&table);
		}
	}
	fake_done(&now);
}

static void narrow_screens_drop_columns(void **state)
{
	static const struct {
		unsigned width;
		const char *titles;
	} rows[] = {
		{ .width = 40, .titles = "CONTAINER RETR/S RTT99 CPU%" },
		{ .width = 60, .titles = "CONTAINER RETR/S RTT50 RTT99 FAIL/S CPU% RUNQ99" },
		{ .width = 80, .titles = "CONTAINER RETR/S RTT50 RTT99 FAIL/S CPU% RUNQ99 NEIGHBOUR" },
		{ .width = 120,
		  .titles = "CONTAINER RETR/S RTT50 RTT99 FAIL/S CONN DROP/S CPU% RUNQ99 WAITMAX THROT% NEIGHBOUR" },
	};
	struct containers_table table;
	struct pair pair;

	pair_init(&pair);
	assert_int_equal(containers_table_init(&table, &pair.before.snap, &pair.now.snap, &by_cpu), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf out, titles;
		char *at;

		buf_init(&out, 1 << 16);
		buf_init(&titles, 1 << 16);
		containers_text(&table, rows[i].width, &out);
		for (char *line = out.data, *end; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			assert_int_equal(utf8_width(line), rows[i].width);
		}
		at = out.data;
		for (char *word; (word = strsep(&at, " "));)
			if (*word)
				buf_printf(&titles, "%s%s", titles.used ? " " : "", word);
		assert_string_equal(titles.data, rows[i].titles);
		buf_done(&titles);
		buf_done(&out);
	}
	for (unsigned width = 40; width <= 200; width++) {
		struct buf out;

		buf_init(&out, 1 << 16);
		containers_text(&table, width, &out);
		for (char *line = out.data, *end; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			assert_int_equal(utf8_width(line), width);
		}
		buf_done(&out);
	}
	containers_table_done(&table);
	pair_done(&pair);
}

static void json_has_the_same_figures(void **state)
{
	struct containers_table table;
	struct pair pair;
	json_t *rows, *row, *tcp, *sched;

	pair_init(&pair);
	assert_int_equal(containers_table_init(&table, &pair.before.snap, &pair.now.snap, &by_cpu), 0);
	rows = containers_rows_json(&table);
	assert_int_equal(json_array_size(rows), 2);
	row = json_array_get(rows, 0);
	tcp = json_object_get(row, "tcp");
	sched = json_object_get(row, "sched");
	assert_string_equal(json_string_value(json_object_get(json_object_get(row, "container"), "id")),
			    fake_shop.container_id);
	assert_int_equal(json_object_size(tcp), 8);
	assert_true(json_number_value(json_object_get(tcp, "retransmits_per_s")) == 7.0);
	assert_true(near(json_integer_value(json_object_get(tcp, "rtt_p50_ns")), 10e6));
	assert_true(near(json_integer_value(json_object_get(tcp, "rtt_p99_ns")), 900e6));
	assert_true(json_number_value(json_object_get(tcp, "connects_failed_per_s")) == 3.5);
	assert_true(json_number_value(json_object_get(tcp, "connections_per_s")) == 23.0);
	assert_int_equal(json_integer_value(json_object_get(tcp, "connections")), 7);
	assert_true(json_number_value(json_object_get(tcp, "resets_per_s")) == 6.5);
	assert_true(json_number_value(json_object_get(tcp, "listen_drops_per_s")) == 0.5);
	assert_int_equal(json_object_size(sched), 6);
	assert_true(json_number_value(json_object_get(sched, "cpu_percent")) == 75.0);
	assert_true(near(json_integer_value(json_object_get(sched, "run_queue_p50_ns")), 1e6));
	assert_true(near(json_integer_value(json_object_get(sched, "run_queue_p99_ns")), 100e6));
	assert_int_equal(json_integer_value(json_object_get(sched, "run_queue_max_ns")), 150 * FAKE_MS);
	assert_true(json_number_value(json_object_get(sched, "throttled_percent")) == 10.0);
	assert_string_equal(json_string_value(json_object_get(sched, "neighbour")), "run");
	assert_int_equal(json_object_size(row), 4);
	assert_true(json_is_null(json_object_get(row, "jvm")));
	row = json_array_get(rows, 1);
	assert_true(json_is_null(json_object_get(row, "sched")));
	tcp = json_object_get(row, "tcp");
	assert_true(json_number_value(json_object_get(tcp, "retransmits_per_s")) == 0.5);
	assert_true(json_is_null(json_object_get(tcp, "rtt_p50_ns")));
	assert_true(json_is_null(json_object_get(tcp, "rtt_p99_ns")));
	json_decref(rows);
	containers_table_done(&table);
	pair_done(&pair);
}

/* ---- both tables */

static void tables_of(const struct snapshot *before, const struct snapshot *now, struct buf *ret_text)
{
	struct top_tables tables;

	buf_reset(ret_text);
	assert_int_equal(top_tables_init(&tables, before, now, &(struct top_options){ .sort = TOP_RATE }), 0);
	top_tables_text(&tables, 80, ret_text);
	top_tables_done(&tables);
}

/* Number of lines; titles are those of the first one and of the one after the empty line. */
static unsigned lines_of(const struct buf *text)
{
	unsigned count = 0;

	for (const char *at = text->data; *at; at++)
		count += *at == '\n';
	return count;
}

static void a_table_without_rows_is_left_out(void **state)
{
	struct fake empty, requests, containers, both;
	struct buf text;

	fake_init(&empty, 2 * S);
	fake_init(&requests, 2 * S);
	fake_requests(&requests, &fake_server, &fake_shop, 1, NULL, NULL, 4, 20);
	fake_init(&containers, 2 * S);
	tcp_init(&containers, &fake_shop, 1);
	fake_init(&both, 2 * S);
	fake_requests(&both, &fake_server, &fake_shop, 1, NULL, NULL, 4, 20);
	tcp_init(&both, &fake_shop, 1);
	buf_init(&text, 1 << 16);

	tables_of(NULL, &both.snap, &text);
	assert_int_equal(lines_of(&text), 5);
	assert_true(strstr(text.data, "REQ/S") < strstr(text.data, "\n\nCONTAINER"));
	assert_true(strstr(text.data, "\n\nCONTAINER") < strstr(text.data, "RETR/S"));
	tables_of(NULL, &requests.snap, &text);
	assert_int_equal(lines_of(&text), 2);
	assert_non_null(strstr(text.data, "REQ/S"));
	tables_of(NULL, &containers.snap, &text);
	assert_int_equal(lines_of(&text), 2);
	assert_non_null(strstr(text.data, "RETR/S"));
	tables_of(NULL, &empty.snap, &text); /* nobody is to wonder about an empty output */
	assert_int_equal(lines_of(&text), 1);
	assert_non_null(strstr(text.data, "REQ/S"));
	tables_of(&both.snap, &both.snap, &text);
	assert_int_equal(lines_of(&text), 1);
	assert_non_null(strstr(text.data, "REQ/S"));
	tables_of(&containers.snap, &containers.snap, &text); /* HTTP is not observed */
	assert_int_equal(lines_of(&text), 1);
	assert_non_null(strstr(text.data, "RETR/S"));

	buf_done(&text);
	fake_done(&requests);
	fake_done(&containers);
	fake_done(&both);
}

static void one_object_has_both_tables(void **state)
{
	struct top_tables tables;
	struct pair pair;
	struct buf out;
	json_t *object;

	pair_init(&pair);
	fake_requests(&pair.now, &fake_server, &fake_shop, 1, NULL, NULL, 4, 20);
	assert_int_equal(top_tables_init(&tables, &pair.before.snap, &pair.now.snap, &by_cpu), 0);
	buf_init(&out, 1 << 16);
	assert_int_equal(top_tables_json(&tables, &out), 0);
	assert_ptr_equal(strchr(out.data, '\n'), out.data + out.used - 1); /* one line */
	object = json_loads(out.data, 0, NULL);
	assert_non_null(object);
	assert_int_equal(json_object_size(object), 4);
	assert_string_equal(json_string_value(json_object_get(object, "time")), "2023-11-14T22:15:02.000000000Z");
	assert_int_equal(json_integer_value(json_object_get(object, "interval_ns")), 2 * S);
	assert_int_equal(json_array_size(json_object_get(object, "rows")), 1);
	assert_int_equal(json_array_size(json_object_get(object, "containers")), 2);
	json_decref(object);
	buf_done(&out);
	top_tables_done(&tables);
	pair_done(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_of_the_interval),
		cmocka_unit_test(what_is_not_known_is_a_dash),
		cmocka_unit_test(a_container_with_the_scheduler_only),
		cmocka_unit_test(of_neighbours_as_long_the_first_by_name),
		cmocka_unit_test(a_quiet_container_has_no_row),
		cmocka_unit_test(totals_that_fall_do_not_wrap),
		cmocka_unit_test(moved_series_are_not_new_events),
		cmocka_unit_test(filters_choose_rows),
		cmocka_unit_test(every_choice_sorts_both_ways),
		cmocka_unit_test(narrow_screens_drop_columns),
		cmocka_unit_test(json_has_the_same_figures),
		cmocka_unit_test(a_table_without_rows_is_left_out),
		cmocka_unit_test(one_object_has_both_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
