/* What a cgroup that has gone counted is added to another cgroup of the same container, and what others have counted of
 * it to what they count of who is gone. */
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

/* ---- the other container, which an attribute names */

static struct series *peer_series(struct aggregate *agg, const struct metric *metric, __u64 cgroup_id,
				  const char *route, __u64 peer, __u64 start_ns)
{
	struct attr attrs[2] = {
		{ .key = intern_str("route"), .type = ATTR_STR, .str = intern_str(route) },
		{ .key = intern_str("peer"), .type = ATTR_CGROUP, .num = (__s64)peer },
	};

	return aggregate_series(agg, metric, cgroup_id, attrs, 2, start_ns);
}

static const struct point *peer_find_point(const struct snapshot *snap, const struct metric *metric, __u64 cgroup_id,
					   const char *route, __u64 peer)
{
	const struct point *found = NULL;

	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];

		if (p->metric != metric || p->cgroup_id != cgroup_id || p->attrs_count != 2 ||
		    p->attrs[0].str != intern_str(route) || (__u64)p->attrs[1].num != peer)
			continue;
		assert_null(found); /* one a key */
		assert_int_equal(p->attrs[1].type, ATTR_CGROUP);
		found = p;
	}
	return found;
}

static void forgotten_peers_share_one_series_and_totals_stay(void **state)
{
	struct aggregate *agg =
		aggregate_new(&(struct aggregate_options){ .series_max = 100, .series_per_cgroup_max = 100 });
	struct aggregate_use use;
	const struct point *point;
	struct snapshot *snap;

	series_add(peer_series(agg, &requests, 7, "/a", 20, 50), 3);
	series_add(peer_series(agg, &requests, 7, "/a", 21, 40), 5);
	series_add(peer_series(agg, &requests, 7, "/b", 20, 60), 7);
	series_add(peer_series(agg, &requests, 8, "/a", 20, 50), 11);
	series_add(peer_series(agg, &requests, 8, "/a", 22, 50), 13);
	series_add(series(agg, &requests, 7, "/a", 50), 17); /* names nobody */
	for (unsigned i = 0; i < 23; i++)
		series_add_hist(peer_series(agg, &duration, 7, "/a", 20, 50), NS_PER_MS);
	for (unsigned i = 0; i < 7; i++)
		series_add_hist(peer_series(agg, &duration, 7, "/a", 21, 50), 4 * NS_PER_MS);
	series_set(peer_series(agg, &active, 7, "/a", 20, 50), 2);

	assert_true(aggregate_has_peer(agg, 20));
	aggregate_forget_peer(agg, 20);
	assert_false(aggregate_has_peer(agg, 20));
	assert_false(aggregate_has_peer(agg, 7));
	aggregate_forget_peer(agg, 20); /* nobody names it any more */
	aggregate_forget_peer(agg, 7);	/* and it nobody */
	aggregate_forget_peer(agg, 21);
	snap = aggregate_take(agg, 100, 100);
	assert_int_equal(snap->points_count, 6);
	point = peer_find_point(snap, &requests, 7, "/a", ATTR_CGROUP_GONE);
	assert_int_equal(point->sum, 3 + 5);
	assert_int_equal(point->start_ns, 40);
	assert_int_equal(peer_find_point(snap, &requests, 7, "/b", ATTR_CGROUP_GONE)->sum, 7);
	assert_int_equal(peer_find_point(snap, &requests, 8, "/a", ATTR_CGROUP_GONE)->sum, 11);
	assert_int_equal(peer_find_point(snap, &requests, 8, "/a", 22)->sum, 13);
	point = peer_find_point(snap, &duration, 7, "/a", ATTR_CGROUP_GONE);
	assert_int_equal(point->hist.count, 30);
	assert_int_equal(point->hist.sum_ns, 23 * NS_PER_MS + 7 * 4 * NS_PER_MS);
	assert_int_equal(point->hist.max_ns, 4 * NS_PER_MS);
	assert_null(peer_find_point(snap, &active, 7, "/a", ATTR_CGROUP_GONE));
	snapshot_unref(snap);

	/* The series found by its new key is the same one. */
	series_add(peer_series(agg, &requests, 7, "/a", ATTR_CGROUP_GONE, 50), 1);
	assert_int_equal(aggregate_series_count(agg), 6);
	aggregate_use(agg, &use);
	assert_int_equal(use.forgotten, 1 + 1 + 1); /* two were added to others, and the gauge */
	assert_int_equal(use.lost, 0);
	aggregate_forget(agg, 7);
	aggregate_forget(agg, 8);
	assert_int_equal(aggregate_series_count(agg), 0);
	aggregate_forget_peer(agg, 22);
	aggregate_free(agg);
}

/* A thousand peers, one after the other, in a cgroup that has room for three: each is counted, none is refused. */
static void peers_that_come_and_go_need_no_room(void **state)
{
	struct aggregate *agg =
		aggregate_new(&(struct aggregate_options){ .series_max = 100, .series_per_cgroup_max = 3 });
	struct aggregate_use use;
	struct snapshot *snap;

	for (__u64 peer = 1000; peer < 2000; peer++) {
		series_add(peer_series(agg, &requests, 7, "/a", peer, 50), 1);
		series_add(peer_series(agg, &requests, 7, "/a", peer + 1000, 50), 1);
		aggregate_forget_peer(agg, peer);
		aggregate_forget_peer(agg, peer + 1000);
	}
	aggregate_use(agg, &use);
	assert_int_equal(use.overflowed, 0);
	snap = aggregate_take(agg, 100, 100);
	assert_int_equal(snap->points_count, 1);
	assert_int_equal(peer_find_point(snap, &requests, 7, "/a", ATTR_CGROUP_GONE)->sum, 2000);
	snapshot_unref(snap);
	aggregate_free(agg);
}

/* Full: what is beyond is in the overflow series, which names nobody, and no forgetting needs room. */
static void full_cgroups_forget_peers_too(void **state)
{
	struct aggregate *agg =
		aggregate_new(&(struct aggregate_options){ .series_max = 4, .series_per_cgroup_max = 2 });
	struct snapshot *snap;
	__u64 sum = 0;

	for (__u64 cgroup = 7; cgroup <= 9; cgroup++)
		for (__u64 peer = 20; peer < 25; peer++)
			series_add(peer_series(agg, &requests, cgroup, "/a", peer, 50), 1);
	for (__u64 peer = 20; peer < 25; peer++)
		aggregate_forget_peer(agg, peer);
	snap = aggregate_take(agg, 100, 100);
	for (size_t i = 0; i < snap->points_count; i++)
		sum += snap->points[i].sum;
	assert_int_equal(sum, 15);
	assert_int_equal(peer_find_point(snap, &requests, 7, "/a", ATTR_CGROUP_GONE)->sum, 2);
	snapshot_unref(snap);
	/* What two have become one for is room again. */
	series_add(peer_series(agg, &requests, 7, "/a", 30, 50), 100);
	snap = aggregate_take(agg, 200, 200);
	assert_int_equal(peer_find_point(snap, &requests, 7, "/a", 30)->sum, 100);
	snapshot_unref(snap);
	aggregate_free(agg);
}

static void heir_of_a_peer_is_named_in_its_place(void **state)
{
	struct aggregate *agg =
		aggregate_new(&(struct aggregate_options){ .series_max = 100, .series_per_cgroup_max = 100 });
	struct snapshot *snap;

	series_add(peer_series(agg, &requests, 7, "/a", 20, 50), 1);
	series_add(peer_series(agg, &requests, 7, "/a", 21, 50), 2);
	series_add(peer_series(agg, &requests, 7, "/b", 20, 50), 4);
	series_add(peer_series(agg, &requests, 20, "/a", 20, 50), 8); /* one that talks to itself */
	aggregate_bequeath_peer(agg, 20, 21);
	aggregate_bequeath(agg, 20, 21);
	snap = aggregate_take(agg, 100, 100);
	assert_int_equal(snap->points_count, 3);
	assert_int_equal(peer_find_point(snap, &requests, 7, "/a", 21)->sum, 3);
	assert_int_equal(peer_find_point(snap, &requests, 7, "/b", 21)->sum, 4);
	assert_int_equal(peer_find_point(snap, &requests, 21, "/a", 21)->sum, 8);
	snapshot_unref(snap);
	aggregate_forget_peer(agg, 21);
	aggregate_forget(agg, 21);
	snap = aggregate_take(agg, 200, 200);
	assert_int_equal(snap->points_count, 2);
	assert_int_equal(peer_find_point(snap, &requests, 7, "/a", ATTR_CGROUP_GONE)->sum, 3);
	snapshot_unref(snap);
	aggregate_free(agg);
}

/* Reported under its name before: should it be named again, that total begins anew, and later. */
static void series_of_a_forgotten_peer_starts_later_when_it_comes_back(void **state)
{
	struct aggregate *agg =
		aggregate_new(&(struct aggregate_options){ .series_max = 100, .series_per_cgroup_max = 100 });
	const struct point *point;
	struct snapshot *snap;

	series_add(peer_series(agg, &requests, 7, "/a", 20, 50), 5);
	snapshot_unref(aggregate_take(agg, 1000, 1000));
	aggregate_forget_peer(agg, 20);
	series_add(peer_series(agg, &requests, 7, "/a", 20, 50), 1);
	snap = aggregate_take(agg, 2000, 2000);
	point = peer_find_point(snap, &requests, 7, "/a", 20);
	assert_int_equal(point->sum, 1);
	assert_true(point->start_ns > 1000);
	point = peer_find_point(snap, &requests, 7, "/a", ATTR_CGROUP_GONE);
	assert_int_equal(point->sum, 5);
	assert_int_equal(point->start_ns, 50);
	snapshot_unref(snap);
	aggregate_free(agg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aggregate_bequeath_keeps_totals),
		cmocka_unit_test(aggregate_bequeath_stays_within_bounds),
		cmocka_unit_test(forgotten_peers_share_one_series_and_totals_stay),
		cmocka_unit_test(peers_that_come_and_go_need_no_room),
		cmocka_unit_test(full_cgroups_forget_peers_too),
		cmocka_unit_test(heir_of_a_peer_is_named_in_its_place),
		cmocka_unit_test(series_of_a_forgotten_peer_starts_later_when_it_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
