/* What becomes of safepoints, collections and what several JVMs of one container have; and where an argument lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/snapshot.h"
#include "signal/jvm_library.h"
#include "signal/jvm_series.h"

static const struct point *point_of(const struct snapshot *snap, const struct metric *metric, __u64 cgroup_id,
				    const char *key, const char *value)
{
	const struct point *found = NULL;

	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];
		const struct attr *attr = NULL;

		for (unsigned k = 0; key && k < p->attrs_count; k++)
			if (!strcmp(p->attrs[k].key, key))
				attr = &p->attrs[k];

		if (p->metric != metric || p->cgroup_id != cgroup_id || (key && (!attr || strcmp(attr->str, value))))
			continue;
		assert_null(found);
		found = p;
	}
	return found;
}

static struct aggregate *aggregate_of_test(void)
{
	return aggregate_new(&(struct aggregate_options){ .series_max = 10000, .series_per_cgroup_max = 1000 });
}

static void names_of_operations_are_bounded(void **state)
{
	struct aggregate *agg = aggregate_of_test();
	struct jvm_series *s = jvm_series_new(agg, 1);
	struct snapshot *snap;
	char name[32];

	for (unsigned i = 0; i < JVM_NAMES_MAX + 23; i++) {
		snprintf(name, sizeof(name), "Made%u", i);
		jvm_series_safepoint(s, 7, JVM_SOURCE_USDT, name, 1000, 100);
	}
	snap = aggregate_take(agg, 10, 10);
	assert_int_equal(point_of(snap, &jvm_safepoint_duration, 7, "weir.jvm.operation", "other")->hist.count, 23);
	snapshot_unref(snap);
	jvm_series_free(s);
	aggregate_free(agg);
}

static void collections_between_two_looks_share_their_time(void **state)
{
	struct aggregate *agg = aggregate_of_test();
	struct jvm_series *s = jvm_series_new(agg, 1);
	const struct point *p;
	struct snapshot *snap;

	jvm_series_gc(s, 7, "G1 Young Generation", "end of minor GC", 3, 10000000);
	snap = aggregate_take(agg, 10, 10);
	p = point_of(snap, &jvm_gc_duration, 7, "jvm.gc.name", "G1 Young Generation");
	assert_int_equal(p->hist.count, 3);
	assert_int_equal(p->hist.sum_ns, 10000000);
	snapshot_unref(snap);
	jvm_series_free(s);
	aggregate_free(agg);
}

static void gauges_are_sums_over_the_jvms_of_a_container(void **state)
{
	struct aggregate *agg = aggregate_of_test();
	struct jvm_series *s = jvm_series_new(agg, 1);
	struct snapshot *snap;

	jvm_series_begin(s);
	jvm_series_memory(s, &jvm_memory_used, 7, "G1 Eden Space", true, 1000);
	jvm_series_memory(s, &jvm_memory_used, 7, "G1 Eden Space", true, 300);
	jvm_series_memory(s, &jvm_memory_used, 8, "G1 Eden Space", true, 50);
	jvm_series_threads(s, 7, true, 11);
	jvm_series_threads(s, 7, false, 2);
	jvm_series_end(s);
	snap = aggregate_take(agg, 10, 10);
	assert_int_equal(point_of(snap, &jvm_memory_used, 7, "jvm.memory.pool.name", "G1 Eden Space")->gauge, 1300);
	assert_int_equal(point_of(snap, &jvm_memory_used, 8, "jvm.memory.type", "heap")->gauge, 50);
	assert_int_equal(point_of(snap, &jvm_thread_count, 7, "jvm.thread.daemon", "true")->gauge, 11);
	snapshot_unref(snap);

	/* One of the two has ended. */
	jvm_series_begin(s);
	jvm_series_memory(s, &jvm_memory_used, 7, "G1 Eden Space", true, 300);
	jvm_series_end(s);
	snap = aggregate_take(agg, 20, 20);
	assert_int_equal(point_of(snap, &jvm_memory_used, 7, "jvm.memory.pool.name", "G1 Eden Space")->gauge, 300);
	assert_int_equal(point_of(snap, &jvm_memory_used, 8, "jvm.memory.type", "heap")->gauge, 0);
	snapshot_unref(snap);
	jvm_series_forget(s, 8);
	jvm_series_free(s);
	aggregate_free(agg);
}

static void an_argument_is_in_a_register_or_not_to_be_had(void **state)
{
#if defined(__x86_64__)
	/* Places in struct pt_regs of the kernel's uapi. */
	assert_int_equal(jvm_argument_register("8@%r12 8@%rdx -4@%eax"), 3);
	assert_int_equal(jvm_argument_register("8@%rdi"), 14);
	assert_int_equal(jvm_argument_register("-8@%r15 4@%ebx"), 0);
	assert_int_equal(jvm_argument_register("8@16(%rsp) 8@%rdx"), -ENOTSUP);
	assert_int_equal(jvm_argument_register("4@%eax"), -ENOTSUP);
	assert_int_equal(jvm_argument_register("8@%rdix"), -ENOTSUP);
	assert_int_equal(jvm_argument_register("8@$4096"), -ENOTSUP);
#endif
	assert_int_equal(jvm_argument_register(""), -ENOTSUP);
	assert_int_equal(jvm_argument_register("8@"), -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_operations_are_bounded),
		cmocka_unit_test(collections_between_two_looks_share_their_time),
		cmocka_unit_test(gauges_are_sums_over_the_jvms_of_a_container),
		cmocka_unit_test(an_argument_is_in_a_register_or_not_to_be_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
