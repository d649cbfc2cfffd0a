/* What a cgroup that has gone counted is added to another cgroup of the same container. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "model/aggregate.h"
#include "model/intern.h"

static const struct metric requests = { .name = "test.requests", .unit = "1", .kind = METRIC_SUM };
static const struct metric duration = { .name = "test.duration", .unit = "s", .kind = METRIC_HIST };
static const struct metric active = { .name = "test.active", .unit = "1", .kind = METRIC_GAUGE, .updown = true };

static struct series *series(struct aggregate *agg, const struct metric *metric, __u64 cgroup_id, const char *route,
			     __u64 start_ns)
{
	struct attr attr = { .key = intern_str("route"), .type = ATTR_STR, .str = intern_str(route) };

	return aggregate_series(agg, metric, cgroup_id, &attr, 1, start_ns);
}

static const struct point *point_find(const struct snapshot *snap, const struct metric *metric, __u64 cgroup_id,
				      const char *route)
{
	for (size_t i = 0; i < snap->points_count; i++)
		if (snap->points[i].metric == metric && snap->points[i].cgroup_id == cgroup_id &&
		    snap->points[i].attrs[0].str == intern_str(route))
			return &snap->points[i];
	return NULL;
}

static void aggregate_bequeath_keeps_totals(void **state)
{
	struct aggregate *agg =
		aggregate_new(&(struct aggregate_options){ .series_max = 100, .series_per_cgroup_max = 100 });
	struct snapshot *snap;
	const struct point *point;

	series_add(series(agg, &requests, 7, "/a", 50), 3);
	series_add(series(agg, &requests, 7, "/b", 60), 5);
	series_add(series(agg, &requests, 8, "/a", 90), 10);
	series_set(series(agg, &active, 7, "/a", 50), 2);
	for (unsigned i = 0; i < 23; i++)
		series_add_hist(series(agg, &duration, 7, "/a", 50), NS_PER_MS);
	for (unsigned i = 0; i < 7; i++)
		series_add_hist(series(agg, &duration, 8, "/a", 90), 4 * NS_PER_MS);

	aggregate_bequeath(agg, 7, 8);
	snap = aggregate_take(agg, 100, 100);
	assert_int_equal(snap->points_count, 3);
	point = point_find(snap, &requests, 8, "/a");
	assert_int_equal(point->sum, 13);
	assert_int_equal(point->start_ns, 50);
	point = point_find(snap, &requests, 8, "/b");
	assert_int_equal(point->sum, 5);
	assert_int_equal(point->start_ns, 60);
	point = point_find(snap, &duration, 8, "/a");
	assert_int_equal(point->hist.count, 30);
	assert_int_equal(point->hist.sum_ns, 23 * NS_PER_MS + 7 * 4 * NS_PER_MS);
	assert_int_equal(point->hist.max_ns, 4 * NS_PER_MS);
	snapshot_unref(snap);

	aggregate_bequeath(agg, 99, 8); /* nobody */
	assert_int_equal(aggregate_series_count(agg), 3);
	aggregate_free(agg);
}

/* When the heir has no room of its own, its overflow series counts. */
static void aggregate_bequeath_stays_within_bounds(void **state)
{
	struct aggregate *agg =
		aggregate_new(&(struct aggregate_options){ .series_max = 100, .series_per_cgroup_max = 2 });
	struct snapshot *snap;
	__u64 sum = 0;

	series_add(series(agg, &requests, 7, "/a", 50), 1);
	series_add(series(agg, &requests, 7, "/b", 50), 2);
	series_add(series(agg, &requests, 8, "/c", 50), 4);
	series_add(series(agg, &requests, 8, "/d", 50), 8);
	aggregate_bequeath(agg, 7, 8);
	snap = aggregate_take(agg, 100, 100);
	assert_int_equal(snap->points_count, 3);
	for (size_t i = 0; i < snap->points_count; i++)
		sum += snap->points[i].sum;
	assert_int_equal(sum, 15);
	snapshot_unref(snap);

	/* An overflow series goes to the overflow series of the heir, be there one or not. */
	aggregate_bequeath(agg, 8, 9);
	aggregate_bequeath(agg, 9, 10);
	series_add(series(agg, &requests, 10, "/e", 50), 16);
	series_add(series(agg, &requests, 10, "/f", 50), 32);
	snap = aggregate_take(agg, 200, 200);
	assert_int_equal(snap->points_count, 3);
	for (size_t i = sum = 0; i < snap->points_count; i++)
		sum += snap->points[i].sum;
	assert_int_equal(sum, 63);
	snapshot_unref(snap);
	aggregate_free(agg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aggregate_bequeath_keeps_totals),
		cmocka_unit_test(aggregate_bequeath_stays_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
