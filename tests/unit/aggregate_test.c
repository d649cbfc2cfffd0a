/* Series: each measurement counted once, bounds kept, memory that ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Compiled into the test, so that its allocations can fail on demand. */
static void *calloc_maybe(size_t count, size_t bytes);
#define calloc calloc_maybe
#include "model/aggregate.c"
#undef calloc

static bool no_memory;
static unsigned long calloc_count;

static void *calloc_maybe(size_t count, size_t bytes)
{
	calloc_count++;
	return no_memory ? NULL : calloc(count, bytes);
}

static const struct metric requests = { .name = "requests", .kind = METRIC_SUM };
static const struct metric latency = { .name = "latency", .kind = METRIC_HIST };
static const struct metric level = { .name = "level", .kind = METRIC_GAUGE };

static struct attr attr_int(const char *key, __s64 value)
{
	return (struct attr){ .key = intern_str(key), .type = ATTR_INT, .num = value };
}

static struct attr attr_str(const char *key, const char *value)
{
	return (struct attr){ .key = intern_str(key), .type = ATTR_STR, .str = intern_str(value) };
}

static struct aggregate *aggregate_of(unsigned series_max, unsigned per_cgroup_max)
{
	struct aggregate_options options = { .series_max = series_max, .series_per_cgroup_max = per_cgroup_max };
	struct aggregate *agg = aggregate_new(&options);

	assert_non_null(agg);
	return agg;
}

/* One request of cgroup @cgroup_id with the attribute id=@id. */
static struct series *request(struct aggregate *agg, __u64 cgroup_id, __s64 id)
{
	struct attr attr = attr_int("id", id);
	struct series *s = aggregate_series(agg, &requests, cgroup_id, &attr, 1, 100);

	series_add(s, 1);
	return s;
}

static bool is_overflow(const struct point *p)
{
	return p->attrs_count == 1 && !strcmp(p->attrs[0].key, "otel.metric.overflow") &&
	       p->attrs[0].type == ATTR_STR && !strcmp(p->attrs[0].str, "true");
}

struct totals {
	__u64 sum, overflow_sum;
	unsigned series, overflow_series;
};

/* Sums of @metric in @cgroup_id; ~0: in all. */
static struct totals totals_of(struct aggregate *agg, const struct metric *metric, __u64 cgroup_id)
{
	struct snapshot *snap = aggregate_take(agg, 1000, 2000);
	struct totals t = { 0 };

	assert_non_null(snap);
	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];

		if (p->metric != metric || (cgroup_id != ~0ull && p->cgroup_id != cgroup_id))
			continue;
		t.series++;
		t.sum += p->sum;
		t.overflow_series += is_overflow(p);
		t.overflow_sum += is_overflow(p) ? p->sum : 0;
	}
	snapshot_unref(snap);
	return t;
}

static void same_key_is_the_same_series(void **state)
{
	struct aggregate *agg = aggregate_of(100, 100);
	struct attr attrs[2] = { attr_str("method", "GET"), attr_int("status", 200) };
	struct series *s = aggregate_series(agg, &requests, 7, attrs, 2, 1);

	assert_ptr_equal(aggregate_series(agg, &requests, 7, attrs, 2, 99), s);
	assert_ptr_not_equal(aggregate_series(agg, &requests, 8, attrs, 2, 1), s);
	assert_ptr_not_equal(aggregate_series(agg, &requests, 7, attrs, 1, 1), s);
	assert_ptr_not_equal(aggregate_series(agg, &requests, 7, NULL, 0, 1), s);
	assert_ptr_not_equal(aggregate_series(agg, &latency, 7, attrs, 2, 1), s);
	attrs[1].num = 201;
	assert_ptr_not_equal(aggregate_series(agg, &requests, 7, attrs, 2, 1), s);
	attrs[1] = attr_str("status", "200");
	assert_ptr_not_equal(aggregate_series(agg, &requests, 7, attrs, 2, 1), s);
	attrs[1] = attr_int("status", 200);
	attrs[0] = attr_str("method", "POST");
	assert_ptr_not_equal(aggregate_series(agg, &requests, 7, attrs, 2, 1), s);
	attrs[0] = attr_str("verb", "GET");
	assert_ptr_not_equal(aggregate_series(agg, &requests, 7, attrs, 2, 1), s);
	assert_int_equal(aggregate_series_count(agg), 9);
	aggregate_free(agg);
}

static void snapshot_shows_what_was_measured(void **state)
{
	struct aggregate *agg = aggregate_of(100, 100);
	struct attr attr = attr_str("method", "GET");
	__u32 slots[HIST_SLOTS] = { [3] = 2, [90] = 5 };
	struct snapshot *snap;
	bool seen[3] = { false };

	series_add(aggregate_series(agg, &requests, 1, &attr, 1, 11), 3);
	series_add(aggregate_series(agg, &requests, 1, &attr, 1, 11), 4);
	series_add_hist(aggregate_series(agg, &latency, 2, NULL, 0, 12), 1000000);
	series_add_slots(aggregate_series(agg, &latency, 2, NULL, 0, 12), slots, 500, 8000000);
	series_set(aggregate_series(agg, &level, 3, NULL, 0, 13), -5);
	snap = aggregate_take(agg, 1000, 2000);
	assert_int_equal(snap->time_ns, 1000);
	assert_int_equal(snap->time_unix_ns, 2000);
	assert_int_equal(snap->points_count, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct point *p = &snap->points[i];

		assert_null(p->who);
		assert_int_equal(p->start_ns, 10 + p->cgroup_id);
		seen[p->cgroup_id - 1] = true;
		if (p->metric == &requests) {
			assert_int_equal(p->sum, 7);
			assert_int_equal(p->attrs_count, 1);
			assert_ptr_equal(p->attrs[0].str, attr.str);
		} else if (p->metric == &latency) {
			assert_int_equal(p->hist.count, 8);
			assert_int_equal(p->hist.sum_ns, 1000500);
			assert_int_equal(p->hist.max_ns, 8000000);
		} else {
			assert_ptr_equal(p->metric, &level);
			assert_int_equal(p->gauge, -5);
		}
	}
	assert_true(seen[0] && seen[1] && seen[2]);
	/* what comes later does not reach the snapshot */
	series_add_hist(aggregate_series(agg, &latency, 2, NULL, 0, 12), 1000000);
	for (size_t i = 0; i < 3; i++)
		if (snap->points[i].metric == &latency)
			assert_int_equal(snap->points[i].hist.count, 8);
	aggregate_free(agg);
	snapshot_unref(snap); /* and it outlives the aggregate */
}

static void total_never_goes_back(void **state)
{
	struct aggregate *agg = aggregate_of(100, 100);
	struct series *s = aggregate_series(agg, &requests, 1, NULL, 0, 1);

	series_total(s, 10);
	series_total(s, 7);
	assert_int_equal(totals_of(agg, &requests, 1).sum, 10);
	series_total(s, 11);
	assert_int_equal(totals_of(agg, &requests, 1).sum, 11);
	aggregate_free(agg);
}

static void cgroup_past_its_limit_has_one_overflow_series(void **state)
{
	struct aggregate *agg = aggregate_of(1000, 5);
	struct totals t;

	for (__s64 id = 0; id < 23; id++) {
		request(agg, 7, id);
		request(agg, 7, id);
	}
	request(agg, 8, 1);
	t = totals_of(agg, &requests, 7);
	assert_int_equal(t.series, 5 + 1);
	assert_int_equal(t.overflow_series, 1);
	assert_int_equal(t.sum, 46);
	assert_int_equal(t.overflow_sum, 36);
	assert_int_equal(totals_of(agg, &requests, 8).overflow_series, 0);
	/* another metric has a limit of its own */
	series_add_hist(aggregate_series(agg, &latency, 7, NULL, 0, 1), 5);
	assert_int_equal(totals_of(agg, &requests, 0).series, 0);
	aggregate_free(agg);
}

static void all_cgroups_past_the_limit_share_one_overflow_series(void **state)
{
	struct aggregate *agg = aggregate_of(20, 5);
	struct totals t;

	for (__u64 cgroup = 1; cgroup <= 1000; cgroup++)
		for (__s64 id = 0; id < 7; id++)
			request(agg, cgroup, id);
	t = totals_of(agg, &requests, ~0ull);
	assert_int_equal(t.sum, 7000);
	assert_int_equal(t.series, 20 + 1);
	t = totals_of(agg, &requests, 0);
	assert_int_equal(t.series, 1);
	assert_int_equal(t.overflow_series, 1);
	assert_true(t.sum >= 6900);
	/* a foreign cgroup costs nothing once the limit is reached */
	assert_true(agg->cgroups.count < 10);
	aggregate_free(agg);
}

static void forget_makes_room_again(void **state)
{
	struct aggregate *agg = aggregate_of(10, 4);
	struct aggregate_use use;

	for (int round = 0; round < 50; round++) {
		for (__u64 cgroup = 1; cgroup <= 2; cgroup++)
			for (__s64 id = 0; id < 6; id++)
				request(agg, cgroup, id);
		assert_int_equal(aggregate_series_count(agg), 10);
		assert_int_equal(totals_of(agg, &requests, 0).series, 0);
		aggregate_forget(agg, 1);
		assert_int_equal(aggregate_series_count(agg), 5);
		aggregate_forget(agg, 1);
		aggregate_forget(agg, 2);
		assert_int_equal(aggregate_series_count(agg), 0);
	}
	aggregate_use(agg, &use);
	assert_int_equal(use.series, 0);
	assert_int_equal(use.forgotten, 500);
	assert_int_equal(use.overflowed, 50 * 2 * 2);
	assert_int_equal(use.lost, 0);
	assert_int_equal(agg->series_bytes, 0);
	aggregate_free(agg);
}

static void series_that_comes_back_starts_later_than_it_was_reported(void **state)
{
	struct aggregate *agg = aggregate_of(10, 10);
	struct snapshot *snap;

	request(agg, 7, 1); /* could have counted since 100 */
	snapshot_unref(aggregate_take(agg, 5000, 0));
	aggregate_forget(agg, 7);
	request(agg, 7, 1);
	snap = aggregate_take(agg, 6000, 0);
	assert_int_equal(snap->points_count, 1);
	assert_true(snap->points[0].start_ns > 5000);
	assert_true(snap->points[0].start_ns <= 6000);
	assert_int_equal(snap->points[0].sum, 1);
	snapshot_unref(snap);
	aggregate_free(agg);
}

static void adding_to_a_known_series_allocates_nothing(void **state)
{
	struct aggregate *agg = aggregate_of(100, 100);
	struct attr attrs[2] = { attr_str("method", "GET"), attr_int("status", 200) };
	unsigned long before;

	series_add_hist(aggregate_series(agg, &latency, 7, attrs, 2, 1), 1000);
	before = calloc_count;
	for (int i = 0; i < 1000; i++)
		series_add_hist(aggregate_series(agg, &latency, 7, attrs, 2, 1), 1000);
	assert_int_equal(calloc_count, before);
	aggregate_free(agg);
}

static void without_memory_measurements_go_to_the_overflow_series(void **state)
{
	struct aggregate *agg = aggregate_of(100, 2);
	struct aggregate_use use;

	for (__s64 id = 0; id < 5; id++)
		request(agg, 7, id);
	no_memory = true;
	request(agg, 7, 0); /* known */
	request(agg, 7, 77);
	no_memory = false;
	assert_int_equal(totals_of(agg, &requests, 7).sum, 7);
	assert_int_equal(totals_of(agg, &requests, 7).overflow_sum, 4);
	aggregate_use(agg, &use);
	assert_int_equal(use.lost, 0);
	aggregate_free(agg);
}

static void without_memory_for_any_series_measurements_are_counted_as_lost(void **state)
{
	struct aggregate *agg = aggregate_of(100, 100);
	__u32 slots[HIST_SLOTS] = { [3] = 2, [90] = 5 };
	struct aggregate_use use;

	no_memory = true;
	request(agg, 7, 1);
	series_add_hist(aggregate_series(agg, &latency, 7, NULL, 0, 1), 5);
	series_add_slots(aggregate_series(agg, &latency, 7, NULL, 0, 1), slots, 1, 1);
	series_set(aggregate_series(agg, &level, 7, NULL, 0, 1), 1);
	series_total(aggregate_series(agg, &requests, 7, NULL, 0, 1), 1);
	no_memory = false;
	aggregate_use(agg, &use);
	assert_int_equal(use.lost, 1 + 1 + 7 + 1 + 1);
	assert_int_equal(use.series, 0);
	request(agg, 7, 1); /* and it recovers */
	assert_int_equal(totals_of(agg, &requests, 7).sum, 1);
	aggregate_free(agg);
}

/* Two series of one peer that has a list, and of one that would need it. */
static void without_memory_for_a_peer_measurements_go_to_the_overflow_series(void **state)
{
	struct aggregate *agg = aggregate_of(100, 100);
	struct attr attr = { .key = intern_str("peer"), .type = ATTR_CGROUP, .num = 20 };

	series_add(aggregate_series(agg, &requests, 7, &attr, 1, 100), 1);
	series_add(overflow_get(agg, use_get(agg, &requests), 7, 100), 1);
	no_memory = true;
	for (attr.num = 20; attr.num < 25; attr.num++)
		series_add(aggregate_series(agg, &requests, 7, &attr, 1, 100), 1);
	aggregate_forget_peer(agg, 20); /* needs none */
	no_memory = false;
	assert_int_equal(totals_of(agg, &requests, 7).sum, 7);
	assert_int_equal(totals_of(agg, &requests, 7).overflow_sum, 5);
	assert_int_equal(agg->peers.count, 1);
	aggregate_forget(agg, 7);
	assert_int_equal(agg->peers.count, 0);
	assert_int_equal(agg->series_bytes, 0);
	aggregate_free(agg);
}

static void a_thousand_containers_cost_less_than_two_megabytes(void **state)
{
	struct aggregate *agg = aggregate_of(100000, 1000);
	struct attr attrs[6] = {
		attr_str("http.request.method", "GET"),
		attr_int("http.response.status_code", 200),
		attr_str("http.route", "/"),
		attr_str("url.scheme", "http"),
		attr_str("network.protocol.version", "1.1"),
		attr_str("server.address", "10.0.0.1"),
	};
	struct aggregate_use use;

	for (__u64 cgroup = 1; cgroup <= 1000; cgroup++)
		for (int role = 0; role < 2; role++) {
			attrs[5].str = intern_str(role ? "a" : "b");
			for (__u64 ns = 100000; ns < 10000000; ns += ns / 3)
				series_add_hist(aggregate_series(agg, &latency, cgroup, attrs, 6, 1), ns);
		}
	aggregate_use(agg, &use);
	assert_int_equal(use.series, 2000);
	assert_true(use.bytes < 2u << 20);
	aggregate_free(agg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_key_is_the_same_series),
		cmocka_unit_test(snapshot_shows_what_was_measured),
		cmocka_unit_test(total_never_goes_back),
		cmocka_unit_test(cgroup_past_its_limit_has_one_overflow_series),
		cmocka_unit_test(all_cgroups_past_the_limit_share_one_overflow_series),
		cmocka_unit_test(forget_makes_room_again),
		cmocka_unit_test(series_that_comes_back_starts_later_than_it_was_reported),
		cmocka_unit_test(adding_to_a_known_series_allocates_nothing),
		cmocka_unit_test(without_memory_measurements_go_to_the_overflow_series),
		cmocka_unit_test(without_memory_for_any_series_measurements_are_counted_as_lost),
		cmocka_unit_test(without_memory_for_a_peer_measurements_go_to_the_overflow_series),
		cmocka_unit_test(a_thousand_containers_cost_less_than_two_megabytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
