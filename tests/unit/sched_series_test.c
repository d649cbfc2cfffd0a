#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "model/aggregate.h"
#include "model/intern.h"
#include "signal/sched_class.h"
#include "signal/sched_series.h"

#define CGROUP 4711
#define SHARDS 2

struct fixture {
	struct aggregate *aggregate;
	struct sched_series *series;
	struct sched_totals totals;
	struct sched_stat shards[SHARDS];
};

static int setup_of(void **state, __u64 cgroup_id)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->aggregate = aggregate_new(&(struct aggregate_options){ .series_max = 100, .series_per_cgroup_max = 50 });
	f->series = sched_series_new(f->aggregate, cgroup_id, 1000);
	assert_non_null(f->series);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_of(state, CGROUP);
}

static int setup_overflow(void **state)
{
	return setup_of(state, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sched_series_free(f->series);
	aggregate_free(f->aggregate);
	free(f);
	return 0;
}

static void take(struct fixture *f, __u64 interval)
{
	sched_series_take(f->series, f->shards, SHARDS, interval, &f->totals);
}

/* The one point of @metric whose attribute (if @value is given) is @value; NULL: none. The snapshot is the caller's. */
static const struct point *point(const struct snapshot *snap, const struct metric *metric, const char *value)
{
	const struct point *found = NULL;

	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];

		if (p->metric != metric || (value && (!p->attrs_count || strcmp(p->attrs[0].str, value))))
			continue;
		assert_null(found);
		found = p;
	}
	return found;
}

static void wait_add(struct sched_stat *shard, unsigned slot, __u64 ns)
{
	shard->count++;
	shard->sum_ns += ns;
	shard->slots[slot]++;
}

static void nothing_counted_makes_no_series(void **state)
{
	struct fixture *f = *state;

	take(f, 1);
	assert_int_equal(aggregate_series_count(f->aggregate), 0);
	assert_int_equal(f->totals.seen, 0);
}

static void shards_add_up_and_nothing_counts_twice(void **state)
{
	struct fixture *f = *state;
	struct snapshot *snap;

	for (unsigned i = 0; i < 23; i++)
		wait_add(&f->shards[0], 3, 10);
	for (unsigned i = 0; i < 7; i++)
		wait_add(&f->shards[1], HIST_SLOTS - 1, 100);
	take(f, 1);
	take(f, 1);
	wait_add(&f->shards[1], 3, 11);
	take(f, 1);
	snap = aggregate_take(f->aggregate, 2000, 2000);
	assert_int_equal(point(snap, &sched_wait, NULL)->hist.count, 31);
	assert_int_equal(point(snap, &sched_wait, NULL)->hist.sum_ns, 23 * 10 + 7 * 100 + 11);
	assert_int_equal(hist_slot_count(&point(snap, &sched_wait, NULL)->hist, 3), 24);
	assert_int_equal(f->totals.seen, 31);
	assert_int_equal(f->totals.delivered, 31);
	snapshot_unref(snap);
}

static void counters_of_32_bits_may_wrap(void **state)
{
	struct fixture *f = *state;

	f->shards[0].slots[5] = UINT32_MAX - 1;
	f->shards[0].count = UINT32_MAX - 1;
	f->shards[1].slots[5] = 1;
	f->shards[1].count = 1;
	take(f, 1);
	assert_int_equal(f->totals.delivered, UINT32_MAX);
	for (unsigned i = 0; i < 5; i++)
		wait_add(&f->shards[0], 5, 1);
	take(f, 1);
	assert_int_equal(f->totals.delivered, (__u64)UINT32_MAX + 5);
	assert_int_equal(f->totals.seen, (__u64)UINT32_MAX + 5);
}

static void the_longest_is_of_its_interval_only(void **state)
{
	struct fixture *f = *state;
	struct snapshot *snap;

	wait_add(&f->shards[0], 9, 500);
	f->shards[0].max_ns = 500;
	f->shards[0].max_interval = 7;
	f->shards[1].max_ns = 900;
	f->shards[1].max_interval = 6;
	take(f, 7);
	snap = aggregate_take(f->aggregate, 2000, 2000);
	assert_int_equal(point(snap, &sched_longest, NULL)->gauge, 500);
	snapshot_unref(snap);
	take(f, 8);
	snap = aggregate_take(f->aggregate, 3000, 3000);
	assert_int_equal(point(snap, &sched_longest, NULL)->gauge, 0);
	assert_int_equal(point(snap, &sched_wait, NULL)->hist.max_ns, 500);
	snapshot_unref(snap);
}

static void each_reason_is_a_series_of_its_own(void **state)
{
	static const char *const names[SCHED_CLASS_MAX] = { "other", "preempted", "io", "lock", "sleep", "poll" };
	struct fixture *f = *state;
	struct snapshot *snap;

	for (unsigned class = 0; class < SCHED_CLASS_MAX; class ++) {
		f->shards[0].off_ns[class] = 100 + class;
		f->shards[1].off_ns[class] = 1000;
	}
	take(f, 1);
	f->shards[0].off_ns[SCHED_CLASS_LOCK] += 7;
	take(f, 1);
	snap = aggregate_take(f->aggregate, 2000, 2000);
	for (unsigned class = 0; class < SCHED_CLASS_MAX; class ++)
		assert_int_equal(point(snap, &sched_off_cpu, names[class])->sum,
				 1100 + class + (class == SCHED_CLASS_LOCK ? 7 : 0));
	snapshot_unref(snap);
}

static void what_has_no_entry_says_that_it_overflowed(void **state)
{
	struct fixture *f = *state;
	struct snapshot *snap;

	wait_add(&f->shards[0], 0, 1);
	f->shards[1].off_ns[SCHED_CLASS_IO] = 5;
	take(f, 1);
	snap = aggregate_take(f->aggregate, 2000, 2000);
	assert_string_equal(point(snap, &sched_wait, NULL)->attrs[0].key, "otel.metric.overflow");
	assert_int_equal(point(snap, &sched_off_cpu, "io")->attrs_count, 2);
	snapshot_unref(snap);
}

static void neighbours_are_a_container_the_kernel_or_nobody_known(void **state)
{
	struct fixture *f = *state;
	struct snapshot *snap;

	series_add(sched_neighbour_series(f->aggregate, CGROUP, 42, 1000), 3);
	f->shards[0].unnamed_ns = 11;
	take(f, 1);
	take(f, 1);
	snap = aggregate_take(f->aggregate, 2000, 2000);
	assert_int_equal(snap->points_count, 2);
	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];

		assert_ptr_equal(p->attrs[0].key, intern_str("weir.neighbour.name"));
		if (p->attrs[0].type == ATTR_CGROUP) {
			assert_int_equal(p->attrs[0].num, 42);
			assert_int_equal(p->sum, 3);
		} else {
			assert_string_equal(p->attrs[0].str, "_OTHER");
			assert_int_equal(p->sum, 11);
		}
	}
	snapshot_unref(snap);
	series_add(sched_neighbour_series(f->aggregate, CGROUP, SCHED_KEY_KERNEL, 1000), 5);
	snap = aggregate_take(f->aggregate, 2000, 2000);
	assert_int_equal(snap->points_count, 3);
	snapshot_unref(snap);
}

static void system_calls_have_their_class(void **state)
{
	static const struct {
		unsigned number;
		enum sched_class class;
	} cases[] = {
		{ SYS_futex, SCHED_CLASS_LOCK },
		{ SYS_nanosleep, SCHED_CLASS_SLEEP },
		{ SYS_clock_nanosleep, SCHED_CLASS_SLEEP },
		{ SYS_ppoll, SCHED_CLASS_POLL },
		{ SYS_epoll_pwait, SCHED_CLASS_POLL },
		{ SYS_read, SCHED_CLASS_OTHER },
		{ SYS_wait4, SCHED_CLASS_OTHER },
		{ SCHED_SYSCALL_MAX - 1, SCHED_CLASS_OTHER },
	};
	__u8 table[SCHED_SYSCALL_MAX];

	sched_class_fill(table);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(table[cases[i].number], cases[i].class);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_counted_makes_no_series, setup, teardown),
		cmocka_unit_test_setup_teardown(shards_add_up_and_nothing_counts_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(counters_of_32_bits_may_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(the_longest_is_of_its_interval_only, setup, teardown),
		cmocka_unit_test_setup_teardown(each_reason_is_a_series_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(what_has_no_entry_says_that_it_overflowed, setup_overflow, teardown),
		cmocka_unit_test_setup_teardown(neighbours_are_a_container_the_kernel_or_nobody_known, setup, teardown),
		cmocka_unit_test(system_calls_have_their_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
