/* Snapshots and spans: values that others keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "model/snapshot.h"
#include "model/span.h"

static void last_reference_frees_histograms_and_workloads(void **state)
{
	static const struct metric hist = { .name = "h", .kind = METRIC_HIST },
				   sum = { .name = "s", .kind = METRIC_SUM };
	struct workload *who = calloc(1, sizeof(*who));
	struct snapshot *snap = snapshot_new(2);

	who->refs = 1;
	snap->points[0] = (struct point){ .metric = &hist, .who = workload_ref(who) };
	hist_add(&snap->points[0].hist, 5);
	snap->points[1] = (struct point){ .metric = &sum, .sum = ~0ull, .who = workload_ref(who) };
	snap->points_count = 2;
	assert_int_equal(who->refs, 3);
	assert_ptr_equal(snapshot_ref(snap), snap);
	snapshot_unref(snap);
	assert_int_equal(who->refs, 3);
	assert_int_equal(snap->points[0].hist.count, 1);
	snapshot_unref(snap); /* the leak checker says whether all is gone */
	assert_int_equal(who->refs, 1);
	workload_unref(who);
	snapshot_unref(NULL);
}

static void empty_snapshot_is_one(void **state)
{
	struct snapshot *snap = snapshot_new(0);

	assert_int_equal(snap->refs, 1);
	assert_int_equal(snap->points_count, 0);
	snapshot_unref(snap);
}

static void span_field_is_found_by_name(void **state)
{
	struct span span = {
		.fields_count = 2,
		.fields = { { .name = "method", .str = "GET" }, { .name = "status", .type = FIELD_UINT, .unum = 200 } },
	};

	assert_int_equal(span_field(&span, "status")->unum, 200);
	assert_string_equal(span_field(&span, "method")->str, "GET");
	assert_null(span_field(&span, "path"));
	assert_null(span_field(&span, "meth"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_reference_frees_histograms_and_workloads),
		cmocka_unit_test(empty_snapshot_is_one),
		cmocka_unit_test(span_field_is_found_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
