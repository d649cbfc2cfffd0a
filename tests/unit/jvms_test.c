/* What JVMs tell of each container between two snapshots: the table of JVMs, and their part of a container's JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "view/heap.h"
#include "view/tables.h"
#include "view_fake.h"

#define S   1000000000ull
#define MIB (1ll << 20)

static const struct metric pauses = { .name = "weir.jvm.safepoint.duration", .unit = "s", .kind = METRIC_HIST };
static const struct metric sync_times = { .name = "weir.jvm.safepoint.sync.duration",
					  .unit = "s",
					  .kind = METRIC_HIST };
static const struct metric safepoints = { .name = "weir.jvm.safepoints", .kind = METRIC_SUM };
static const struct metric stopped = {
	.name = "weir.jvm.safepoint.time", .unit = "s", .kind = METRIC_SUM, .scale = 1e-9
};
static const struct metric collections = { .name = "jvm.gc.duration", .unit = "s", .kind = METRIC_HIST };
static const struct metric used = { .name = "jvm.memory.used", .unit = "By", .kind = METRIC_GAUGE, .updown = true };
static const struct metric limit = { .name = "jvm.memory.limit", .unit = "By", .kind = METRIC_GAUGE, .updown = true };
static const struct metric threads = { .name = "jvm.thread.count", .kind = METRIC_GAUGE, .updown = true };
static const struct metric cpu = { .name = "container.cpu.time", .unit = "s", .kind = METRIC_SUM, .scale = 1e-9 };

static const struct top_options by_stopped = { .sort = TOP_STOPPED };

static void durations(struct fake *fake, const struct metric *metric, const struct workload *who, const char *operation,
		      unsigned count, __u64 ms)
{
	struct point *point = fake_requests(fake, metric, who, who->cgroup_id, NULL, NULL, count, ms);

	fake_attr(point, "weir.jvm.source", "usdt");
	fake_attr(point, "weir.jvm.operation", operation);
}

static void sum(struct fake *fake, const struct metric *metric, const struct workload *who, __u64 total)
{
	fake_point(fake, metric, who, who->cgroup_id)->sum = total;
}

static void memory(struct fake *fake, const struct metric *metric, const struct workload *who, const char *pool,
		   const char *type, __s64 bytes)
{
	struct point *point = fake_point(fake, metric, who, who->cgroup_id);

	fake_attr(point, "jvm.memory.pool.name", pool);
	fake_attr(point, "jvm.memory.type", type);
	point->gauge = bytes;
}

static void threads_of(struct fake *fake, const struct workload *who, const char *daemon, __s64 count)
{
	struct point *point = fake_point(fake, &threads, who, who->cgroup_id);

	fake_attr(point, "jvm.thread.daemon", daemon);
	point->gauge = count;
}

/* G1 with 256 MiB, of which 200 are used. */
static void heap_init(struct fake *fake, const struct workload *who)
{
	memory(fake, &used, who, "G1 Eden Space", "heap", 64 * MIB);
	memory(fake, &used, who, "G1 Survivor Space", "heap", 8 * MIB);
	memory(fake, &used, who, "G1 Old Gen", "heap", 128 * MIB);
	memory(fake, &used, who, "Metaspace", "non_heap", 50 * MIB);
	memory(fake, &limit, who, "G1 Old Gen", "heap", 256 * MIB);
	memory(fake, &limit, who, "Metaspace", "non_heap", 99 * MIB);
}

struct pair {
	struct fake before, now;
};

/* In 2 s the JVM of shop had 90 pauses of 2 ms and 8 of 30 ms, the latter collections. Of run only sums are known: 6
 * pauses of 50 ms. */
static void pair_init(struct pair *pair)
{
	fake_init(&pair->before, 100 * S);
	durations(&pair->before, &pauses, &fake_shop, "Cleanup", 10, 2);
	durations(&pair->before, &pauses, &fake_shop, "HeapDumper", 1, 5000);
	durations(&pair->before, &sync_times, &fake_shop, "Cleanup", 10, 1);
	durations(&pair->before, &collections, &fake_shop, "", 2, 70);
	threads_of(&pair->before, &fake_shop, "true", 40);
	sum(&pair->before, &safepoints, &fake_plain, 100);
	sum(&pair->before, &stopped, &fake_plain, 5 * S);

	fake_init(&pair->now, 102 * S);
	durations(&pair->now, &pauses, &fake_shop, "Cleanup", 100, 2);
	durations(&pair->now, &pauses, &fake_shop, "HeapDumper", 1, 5000);
	durations(&pair->now, &pauses, &fake_shop, "G1CollectForAllocation", 8, 30);
	durations(&pair->now, &sync_times, &fake_shop, "Cleanup", 100, 1);
	durations(&pair->now, &sync_times, &fake_shop, "G1CollectForAllocation", 8, 20);
	durations(&pair->now, &collections, &fake_shop, "", 2, 70);
	durations(&pair->now, &collections, &fake_shop, "young", 8, 30);
	heap_init(&pair->now, &fake_shop);
	threads_of(&pair->now, &fake_shop, "true", 11);
	threads_of(&pair->now, &fake_shop, "false", 6);
	sum(&pair->now, &safepoints, &fake_plain, 106);
	sum(&pair->now, &stopped, &fake_plain, 5 * S + 6 * 50 * FAKE_MS);
}

static void pair_done(struct pair *pair)
{
	fake_done(&pair->before);
	fake_done(&pair->now);
}

static void tables_init(struct top_tables *tables, const struct snapshot *before, const struct snapshot *now,
			const struct top_options *options)
{
	assert_int_equal(top_tables_init(tables, before, now, options), 0);
	assert_int_equal(tables->jvms.interval_ns, tables->containers.interval_ns);
}

static void cell_is(const struct top_tables *tables, size_t row, enum containers_column column, const char *want)
{
	struct buf cell;

	buf_init(&cell, 1024);
	figure_print(tables->jvms.rows[row], column, tables->jvms.interval_ns, &cell);
	assert_string_equal(cell.data, want);
	buf_done(&cell);
}

static bool near(double value, double want)
{
	return value > want * (1 - 0.0905) && value < want * (1 + 0.0905); /* a slot is 9.05 % wide */
}

static json_t *jvm_json(const struct top_tables *tables, size_t row, json_t **ret_rows)
{
	*ret_rows = containers_rows_json(&tables->containers);
	return json_object_get(json_array_get(*ret_rows, row), "jvm");
}

static void figures_are_of_the_interval(void **state)
{
	struct top_tables tables;
	struct pair pair;

	pair_init(&pair);
	tables_init(&tables, &pair.before.snap, &pair.now.snap, &by_stopped);
	assert_true(tables.jvms.measured);
	assert_false(tables.containers.measured);
	assert_int_equal(tables.jvms.rows_count, 2);
	assert_ptr_equal(tables.jvms.rows[0]->who, &fake_shop);
	cell_is(&tables, 0, CONTAINERS_NAME, "prod/shop-7d9/shop");
	cell_is(&tables, 0, CONTAINERS_STOPPED, "21.0"); /* 90 * 2 ms + 8 * 30 ms of 2 s */
	cell_is(&tables, 0, CONTAINERS_SAFEPOINTS, "49.0");
	cell_is(&tables, 0, CONTAINERS_GC, "12.0");
	cell_is(&tables, 0, CONTAINERS_HEAP_USED, "200M");
	cell_is(&tables, 0, CONTAINERS_HEAP_LIMIT, "256M");
	cell_is(&tables, 0, CONTAINERS_THREADS, "17");
	top_tables_done(&tables);
	pair_done(&pair);
}

/* The one of 5 s was before. */
static void the_longest_is_of_the_interval(void **state)
{
	struct top_tables tables;
	struct pair pair;
	json_t *rows, *jvm;

	pair_init(&pair);
	tables_init(&tables, &pair.before.snap, &pair.now.snap, &(struct top_options){ .sort = TOP_CONTAINER });
	jvm = jvm_json(&tables, 1, &rows); /* after run */
	assert_true(near(json_integer_value(json_object_get(jvm, "pause_max_ns")), 30e6));
	assert_true(near(json_integer_value(json_object_get(jvm, "sync_max_ns")), 20e6));
	json_decref(rows);
	top_tables_done(&tables);
	/* Since the series began, the longest is known exactly. */
	tables_init(&tables, NULL, &pair.now.snap, &by_stopped);
	assert_ptr_equal(tables.jvms.rows[0]->who, &fake_shop);
	cell_is(&tables, 0, CONTAINERS_PAUSE_MAX, "5.00s");
	cell_is(&tables, 0, CONTAINERS_SYNC_MAX, "20.0ms");
	top_tables_done(&tables);
	pair_done(&pair);
}

/* A JVM that tells but sums has no distribution, and nothing is known of its heap. */
static void what_is_not_known_is_a_dash(void **state)
{
	static const enum containers_column unknown[] = {
		CONTAINERS_PAUSE_P50, CONTAINERS_PAUSE_P99, CONTAINERS_PAUSE_MAX, CONTAINERS_SYNC_P99,
		CONTAINERS_SYNC_MAX,  CONTAINERS_GC,	    CONTAINERS_HEAP_USED, CONTAINERS_HEAP_LIMIT,
		CONTAINERS_THREADS,   CONTAINERS_CPU,	    CONTAINERS_CONNS,
	};
	struct top_tables tables;
	struct pair pair;

	pair_init(&pair);
	tables_init(&tables, &pair.before.snap, &pair.now.snap, &by_stopped);
	assert_ptr_equal(tables.jvms.rows[1]->who, &fake_plain);
	cell_is(&tables, 1, CONTAINERS_STOPPED, "15.0");
	cell_is(&tables, 1, CONTAINERS_SAFEPOINTS, "3.0");
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		cell_is(&tables, 1, unknown[i], "-");
	top_tables_done(&tables);
	pair_done(&pair);
}

static void counters_without_safepoints(void **state)
{
	struct top_tables tables;
	struct fake now;

	fake_init(&now, S);
	heap_init(&now, &fake_shop);
	tables_init(&tables, NULL, &now.snap, &by_stopped);
	assert_int_equal(tables.jvms.rows_count, 1);
	cell_is(&tables, 0, CONTAINERS_STOPPED, "-"); /* nobody looks */
	cell_is(&tables, 0, CONTAINERS_SAFEPOINTS, "-");
	cell_is(&tables, 0, CONTAINERS_GC, "0.0"); /* it has not collected yet */
	cell_is(&tables, 0, CONTAINERS_THREADS, "-");
	top_tables_done(&tables);
	fake_done(&now);
}

/* Two JVMs in one container, one of which tells sums. */
static void jvms_of_a_container_count_together(void **state)
{
	struct top_tables tables;
	struct fake now;

	fake_init(&now, S);
	durations(&now, &pauses, &fake_shop, "Cleanup", 5, 100);
	sum(&now, &safepoints, &fake_shop, 15);
	sum(&now, &stopped, &fake_shop, 750 * FAKE_MS);
	tables_init(&tables, NULL, &now.snap, &by_stopped);
	assert_int_equal(tables.jvms.rows_count, 1);
	cell_is(&tables, 0, CONTAINERS_STOPPED, "125");
	cell_is(&tables, 0, CONTAINERS_SAFEPOINTS, "20.0");
	cell_is(&tables, 0, CONTAINERS_PAUSE_MAX, "100ms");
	top_tables_done(&tables);
	fake_done(&now);
}

/* An agent that was restarted counts from zero: figures are low for one interval, never wrapped around. */
static void totals_that_fall_do_not_wrap(void **state)
{
	struct top_tables tables;
	struct pair pair;

	pair_init(&pair);
	pair.before.snap.time_ns = 104 * S;
	tables_init(&tables, &pair.now.snap, &pair.before.snap, &by_stopped);
	assert_int_equal(tables.jvms.rows_count, 1); /* there are threads */
	cell_is(&tables, 0, CONTAINERS_STOPPED, "0.0");
	cell_is(&tables, 0, CONTAINERS_SAFEPOINTS, "0.0");
	cell_is(&tables, 0, CONTAINERS_GC, "0.0");
	cell_is(&tables, 0, CONTAINERS_PAUSE_MAX, "-");
	top_tables_done(&tables);
	pair_done(&pair);
}

/* ---- whose rows there are */

static void containers_without_a_jvm_have_no_row(void **state)
{
	struct top_tables tables;
	struct fake now;

	fake_init(&now, S);
	sum(&now, &cpu, &fake_plain, S);
	tables_init(&tables, NULL, &now.snap, &(struct top_options){ .sort = TOP_STOPPED, .quiet = true });
	assert_int_equal(tables.containers.rows_count, 1);
	assert_int_equal(tables.jvms.rows_count, 0);
	assert_false(tables.jvms.measured);
	top_tables_done(&tables);
	fake_done(&now);
}

static void a_jvm_that_has_ended_has_no_row(void **state)
{
	struct top_tables tables;
	struct fake now;

	fake_init(&now, S);
	sum(&now, &cpu, &fake_shop, S);
	memory(&now, &used, &fake_shop, "G1 Old Gen", "heap", 0);
	threads_of(&now, &fake_shop, "false", 0);
	tables_init(&tables, NULL, &now.snap, &by_stopped);
	assert_int_equal(tables.containers.rows_count, 1); /* the container goes on */
	assert_int_equal(tables.jvms.rows_count, 0);
	assert_true(tables.jvms.measured);
	top_tables_done(&tables);
	tables_init(&tables, NULL, &now.snap, &(struct top_options){ .sort = TOP_STOPPED, .quiet = true });
	assert_int_equal(tables.jvms.rows_count, 1);
	cell_is(&tables, 0, CONTAINERS_THREADS, "0");
	top_tables_done(&tables);
	fake_done(&now);
}

/* Three JVMs: a has the most of everything, c the least, of b only the heap is known. */
static void every_choice_sorts_both_ways(void **state)
{
	static const struct {
		enum top_column sort;
		const char *title, *down, *up;
	} rows[] = {
		{ .sort = TOP_CONTAINER, .title = "CONTAINER", .down = "abc", .up = "cba" },
		{ .sort = TOP_STOPPED, .title = "STOP%", .down = "acb", .up = "bca" },
		{ .sort = TOP_PAUSE, .title = "PAUSEMAX", .down = "acb", .up = "bca" },
		{ .sort = TOP_GC, .title = "GC%", .down = "acb", .up = "bca" },
		{ .sort = TOP_HEAP, .title = "HEAP", .down = "abc", .up = "cba" },
		{ .sort = TOP_RATE, .title = "STOP%", .down = "acb", .up = "acb" }, /* of other tables */
		{ .sort = TOP_THROTTLED, .title = "STOP%", .down = "acb", .up = "acb" },
	};
	static const char *const names[] = { "c", "a", "b" };
	static const unsigned amounts[] = { 1, 3, 2 };
	struct workload who[3];
	struct fake now;

	fake_init(&now, S);
	for (unsigned i = 0; i < 3; i++) {
		who[i] = fake_plain;
		who[i].cgroup = who[i].service_name = names[i];
		memory(&now, &used, &who[i], "ZHeap", "heap", amounts[i] * MIB);
		if (*names[i] == 'b')
			continue;
		durations(&now, &pauses, &who[i], "Cleanup", 1, amounts[i] * 10);
		durations(&now, &collections, &who[i], "", 1, amounts[i]);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_string_equal(jvms_sort_title(rows[i].sort), rows[i].title);
		for (int ascending = 0; ascending < 2; ascending++) {
			struct top_options options = { .sort = rows[i].sort, .ascending = ascending };
			struct top_tables tables;
			char order[4] = "";

			tables_init(&tables, NULL, &now.snap, &options);
			assert_int_equal(tables.jvms.rows_count, 3);
			for (size_t row = 0; row < 3; row++)
				order[row] = *tables.jvms.rows[row]->who->service_name;
			assert_string_equal(order, ascending ? rows[i].up : rows[i].down);
			top_tables_done(&tables);
		}
	}
	fake_done(&now);
}

/* Each choice of --sort is a column of one table, but the name of all. */
static void each_choice_is_of_one_table(void **state)
{
	for (unsigned column = 0; column < TOP_COLUMN_MAX; column++)
		assert_int_equal(top_sorts(column) + containers_sorts(column) + jvms_sorts(column),
				 column == TOP_CONTAINER ? 3 : 1);
}

/* ---- heaps */

/* Pools as JMX has them with each collector, and the heap that they make: jvm.md's limits are of -Xmx256m. */
static void heaps_of_all_collectors(void **state)
{
	static const struct {
		const char *title;
		struct {
			const char *pool;
			__s64 used, limit; /* negative: no series */
		} pools[4];
		__s64 used, limit;
	} rows[] = {
		{ .title = "nothing told", .used = -1, .limit = -1 },
		{ .title = "G1",
		  .pools = { { "G1 Eden Space", 60, -1 }, { "G1 Survivor Space", 4, -1 }, { "G1 Old Gen", 36, 256 } },
		  .used = 100,
		  .limit = 256 },
		{ .title = "Parallel",
		  .pools = { { "PS Eden Space", 30, 65 }, { "PS Survivor Space", 7, 10 }, { "PS Old Gen", 13, 171 } },
		  .used = 50,
		  .limit = 246 },
		{ .title = "Serial of JDK 25",
		  .pools = { { "Eden Space", -1, 68 }, { "Survivor Space", 2, 8 }, { "Tenured Gen", 20, 171 } },
		  .used = -1,
		  .limit = 247 },
		{ .title = "Shenandoah", .pools = { { "Shenandoah", 17, 256 } }, .used = 17, .limit = 256 },
		{ .title = "ZGC", .pools = { { "ZHeap", 17, 256 } }, .used = 17, .limit = 256 },
		{ .title = "ZGC with generations",
		  .pools = { { "ZGC Young Generation", 17, 256 }, { "ZGC Old Generation", 10, 256 } },
		  .used = 27,
		  .limit = 256 },
		{ .title = "no limit", .pools = { { "Tenured Gen", 20, -1 } }, .used = 20, .limit = -1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct heap heap = {};
		struct fake fake;

		fake_init(&fake, S);
		for (size_t j = 0; j < 4 && rows[i].pools[j].pool; j++) {
			memory(&fake, &used, &fake_shop, rows[i].pools[j].pool, "heap", rows[i].pools[j].used);
			if (rows[i].pools[j].used >= 0)
				heap_add_used(&heap, &fake.points[fake.snap.points_count - 1]);
			memory(&fake, &limit, &fake_shop, rows[i].pools[j].pool, "heap", rows[i].pools[j].limit);
			if (rows[i].pools[j].limit >= 0)
				heap_add_limit(&heap, &fake.points[fake.snap.points_count - 1]);
		}
		if (heap_used(&heap) != rows[i].used || heap_limit(&heap) != rows[i].limit)
			fail_msg("%s: %lld of %lld", rows[i].title, heap_used(&heap), heap_limit(&heap));
	}
}

/* They come out of a file that the JVM's owner can write. */
static void figures_that_cannot_be_do_no_harm(void **state)
{
	struct top_tables tables;
	struct fake now;

	fake_init(&now, S);
	for (unsigned i = 0; i < 3; i++) {
		memory(&now, &used, &fake_shop, "G1 Old Gen", "heap", INT64_MAX);
		memory(&now, &limit, &fake_shop, "ZGC Old Generation", "heap", i ? INT64_MAX : INT64_MIN);
		memory(&now, &limit, &fake_shop, "G1 Old Gen", "heap", INT64_MAX);
		threads_of(&now, &fake_shop, "true", INT64_MIN);
	}
	fake_attr(fake_point(&now, &used, &fake_shop, 1), "jvm.memory.type", "other"); /* and has no pool */
	fake_point(&now, &limit, &fake_shop, 1)->gauge = 7;			       /* and has no type */
	tables_init(&tables, NULL, &now.snap, &by_stopped);
	assert_int_equal(tables.jvms.rows_count, 1);
	assert_int_equal(heap_limit(&tables.jvms.rows[0]->heap), 1ll << 62);
	cell_is(&tables, 0, CONTAINERS_THREADS, "0");
	top_tables_done(&tables);
	fake_done(&now);
}

/* ---- as text and as JSON */

static void narrow_screens_drop_columns(void **state)
{
	static const struct {
		unsigned width;
		const char *titles;
	} rows[] = {
		{ .width = 40, .titles = "CONTAINER STOP% PAUSEMAX HEAP" },
		{ .width = 60, .titles = "CONTAINER STOP% PAUSEMAX GC% HEAP HEAPMAX" },
		{ .width = 80, .titles = "CONTAINER STOP% SAFE/S PAUSE99 PAUSEMAX SYNCMAX GC% HEAP HEAPMAX" },
		{ .width = 100, .titles = "CONTAINER STOP% SAFE/S PAUSE99 PAUSEMAX SYNCMAX GC% HEAP HEAPMAX THREADS" },
	};
	struct top_tables tables;
	struct pair pair;

	pair_init(&pair);
	tables_init(&tables, &pair.before.snap, &pair.now.snap, &by_stopped);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf out, titles;
		char *at;

		buf_init(&out, 1 << 16);
		buf_init(&titles, 1 << 16);
		jvms_text(&tables.jvms, rows[i].width, &out);
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
	top_tables_done(&tables);
	pair_done(&pair);
}

static void json_has_the_same_figures(void **state)
{
	static const char *const unknown[] = { "pause_p50_ns",	  "pause_p99_ns",     "pause_max_ns",
					       "sync_p99_ns",	  "sync_max_ns",      "gc_percent",
					       "heap_used_bytes", "heap_limit_bytes", "threads" };
	struct top_tables tables;
	struct pair pair;
	json_t *rows, *jvm;

	pair_init(&pair);
	tables_init(&tables, &pair.before.snap, &pair.now.snap, &(struct top_options){ .sort = TOP_CONTAINER });
	jvm = jvm_json(&tables, 1, &rows); /* after run */
	assert_int_equal(json_object_size(jvm), 11);
	assert_true(json_number_value(json_object_get(jvm, "stopped_percent")) == 21.0);
	assert_true(json_number_value(json_object_get(jvm, "safepoints_per_s")) == 49.0);
	assert_true(near(json_integer_value(json_object_get(jvm, "pause_p50_ns")), 2e6));
	assert_true(near(json_integer_value(json_object_get(jvm, "pause_p99_ns")), 30e6));
	assert_true(near(json_integer_value(json_object_get(jvm, "pause_max_ns")), 30e6));
	assert_true(near(json_integer_value(json_object_get(jvm, "sync_p99_ns")), 20e6));
	assert_true(near(json_integer_value(json_object_get(jvm, "sync_max_ns")), 20e6));
	assert_true(json_number_value(json_object_get(jvm, "gc_percent")) == 12.0);
	assert_int_equal(json_integer_value(json_object_get(jvm, "heap_used_bytes")), 200 * MIB);
	assert_int_equal(json_integer_value(json_object_get(jvm, "heap_limit_bytes")), 256 * MIB);
	assert_int_equal(json_integer_value(json_object_get(jvm, "threads")), 17);
	assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "tcp")));
	assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "sched")));
	json_decref(rows);
	jvm = jvm_json(&tables, 0, &rows);
	assert_int_equal(json_object_size(jvm), 11);
	assert_true(json_number_value(json_object_get(jvm, "safepoints_per_s")) == 3.0);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		assert_true(json_is_null(json_object_get(jvm, unknown[i])));
	json_decref(rows);
	top_tables_done(&tables);
	pair_done(&pair);
}

static void text_is(const struct snapshot *before, const struct snapshot *now, unsigned lines, const char *first,
		    const char *last)
{
	struct top_tables tables;
	struct buf text;
	unsigned count = 0;

	buf_init(&text, 1 << 16);
	tables_init(&tables, before, now, &(struct top_options){ .sort = TOP_RATE });
	top_tables_text(&tables, 80, &text);
	for (const char *at = text.data; *at; at++)
		count += *at == '\n';
	assert_int_equal(count, lines);
	assert_non_null(strstr(text.data, first));
	assert_non_null(strstr(text.data, last));
	assert_true(strstr(text.data, first) <= strstr(text.data, last));
	assert_true(last == first || strstr(strstr(text.data, first), "\n\nCONTAINER") < strstr(text.data, last));
	top_tables_done(&tables);
	buf_done(&text);
}

static void the_table_is_shown_where_there_are_jvms(void **state)
{
	struct fake jvm, both, all;

	fake_init(&jvm, S);
	heap_init(&jvm, &fake_shop);
	fake_init(&both, S);
	sum(&both, &cpu, &fake_plain, S);
	heap_init(&both, &fake_shop);
	fake_init(&all, S);
	fake_requests(&all, &fake_server, &fake_plain, 2, NULL, NULL, 4, 20);
	sum(&all, &cpu, &fake_plain, S);
	heap_init(&all, &fake_shop);

	text_is(NULL, &jvm.snap, 2, "STOP%", "STOP%"); /* no table of dashes */
	text_is(NULL, &both.snap, 3 + 1 + 2, "RETR/S", "STOP%");
	text_is(NULL, &all.snap, 2 + 1 + 3 + 1 + 2, "REQ/S", "STOP%");
	for (size_t i = 0; i < jvm.snap.points_count; i++)
		jvm.points[i].gauge = 0;
	text_is(NULL, &jvm.snap, 1, "STOP%", "STOP%"); /* titles alone: it has ended */
	for (size_t i = 0; i < both.snap.points_count; i++)
		both.points[i].gauge = 0;
	text_is(&both.snap, &both.snap, 1, "RETR/S", "RETR/S");

	fake_done(&jvm);
	fake_done(&both);
	fake_done(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_of_the_interval),
		cmocka_unit_test(the_longest_is_of_the_interval),
		cmocka_unit_test(what_is_not_known_is_a_dash),
		cmocka_unit_test(counters_without_safepoints),
		cmocka_unit_test(jvms_of_a_container_count_together),
		cmocka_unit_test(totals_that_fall_do_not_wrap),
		cmocka_unit_test(containers_without_a_jvm_have_no_row),
		cmocka_unit_test(a_jvm_that_has_ended_has_no_row),
		cmocka_unit_test(every_choice_sorts_both_ways),
		cmocka_unit_test(each_choice_is_of_one_table),
		cmocka_unit_test(heaps_of_all_collectors),
		cmocka_unit_test(figures_that_cannot_be_do_no_harm),
		cmocka_unit_test(narrow_screens_drop_columns),
		cmocka_unit_test(json_has_the_same_figures),
		cmocka_unit_test(the_table_is_shown_where_there_are_jvms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
