/* Weir's own numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/selfstat.h"

static struct aggregate *aggregate_of_test(void)
{
	struct aggregate_options options = { .series_max = 1000, .series_per_cgroup_max = 1000 };

	return aggregate_new(&options);
}

/* The point of metric @id whose attribute values are @first and @second; NULL: not there. */
static const struct point *point_find(const struct snapshot *snap, enum selfstat_id id, const char *first,
				      const char *second)
{
	const char *values[2] = { first, second };
	unsigned count = !!first + !!second;

	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];
		unsigned same = 0;

		if (p->metric != &selfstat_metrics[id] || p->attrs_count != count)
			continue;
		for (unsigned a = 0; a < count; a++)
			same += !strcmp(p->attrs[a].str, values[a]);
		if (same == count)
			return p;
	}
	return NULL;
}

static void every_row_is_a_complete_metric(void **state)
{
	for (int i = 0; i < SELFSTAT_MAX; i++) {
		const struct metric *m = &selfstat_metrics[i];

		assert_non_null(m->name);
		assert_non_null(strchr(m->name, '.'));
		assert_true(strlen(m->unit) > 0);
		assert_int_equal(m->text[strlen(m->text) - 1], '.');
		assert_true((m->scale != 0) == !strcmp(m->unit, "s"));
		assert_true(m->kind == METRIC_GAUGE || !m->updown);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(m->name, selfstat_metrics[j].name);
	}
}

static void every_loss_has_a_name(void **state)
{
	for (int i = 0; i < LOSS_MAX; i++) {
		assert_non_null(loss_reason_name((enum loss_reason)i));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(loss_reason_name((enum loss_reason)i),
						loss_reason_name((enum loss_reason)j));
	}
	assert_string_equal(loss_reason_name(LOSS_RING), "ring");
	assert_string_equal(loss_reason_name(LOSS_MEMORY), "memory");
	assert_string_equal(loss_reason_name(LOSS_MAX), "unknown");
}

static void conservation_is_exported_with_every_reason(void **state)
{
	struct aggregate *agg = aggregate_of_test();
	__u64 lost[LOSS_MAX] = { 0 };
	struct snapshot *snap;

	lost[LOSS_DEPTH] = 3;
	selfstat_signal(agg, "http", 100, 90, 7, lost, 55);
	snap = aggregate_take(agg, 1000, 2000);
	assert_int_equal(snap->points_count, 3 + LOSS_MAX);
	assert_int_equal(point_find(snap, SELFSTAT_signal_seen, "http", NULL)->sum, 100);
	assert_int_equal(point_find(snap, SELFSTAT_signal_delivered, "http", NULL)->sum, 90);
	assert_int_equal(point_find(snap, SELFSTAT_signal_filtered, "http", NULL)->sum, 7);
	assert_int_equal(point_find(snap, SELFSTAT_signal_lost, "http", "depth")->sum, 3);
	assert_int_equal(point_find(snap, SELFSTAT_signal_lost, "http", "ring")->sum, 0);
	assert_int_equal(point_find(snap, SELFSTAT_signal_lost, "http", "ring")->start_ns, 55);
	assert_int_equal(point_find(snap, SELFSTAT_signal_lost, "http", "ring")->cgroup_id, 0);
	assert_string_equal(point_find(snap, SELFSTAT_signal_lost, "http", "depth")->attrs[0].key, "signal");
	assert_string_equal(point_find(snap, SELFSTAT_signal_lost, "http", "depth")->attrs[1].key, "reason");
	snapshot_unref(snap);
	aggregate_free(agg);
}

static void *counter(void *arg)
{
	for (int i = 0; i < 10000; i++) {
		selfstat_count(SELFSTAT_export_attempts, "otlp", NULL, 1);
		selfstat_count(SELFSTAT_export_dropped, "otlp", "queue", 2);
	}
	return NULL;
}

static void counts_of_all_threads_are_published_once(void **state)
{
	struct aggregate *agg = aggregate_of_test();
	struct snapshot *snap;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, counter, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(selfstat_counted(SELFSTAT_export_attempts, "otlp", NULL), 40000);
	assert_int_equal(selfstat_counted(SELFSTAT_export_attempts, "file", NULL), 0);
	selfstat_publish(agg, 77);
	selfstat_publish(agg, 77);
	snap = aggregate_take(agg, 1000, 2000);
	assert_int_equal(point_find(snap, SELFSTAT_export_attempts, "otlp", NULL)->sum, 40000);
	assert_int_equal(point_find(snap, SELFSTAT_export_dropped, "otlp", "queue")->sum, 80000);
	assert_true(point_find(snap, SELFSTAT_intern_bytes, NULL, NULL)->gauge > 0);
	assert_true(point_find(snap, SELFSTAT_process_memory, NULL, NULL)->gauge > 100000);
	assert_true(point_find(snap, SELFSTAT_process_cpu, NULL, NULL)->sum > 0);
	assert_true(point_find(snap, SELFSTAT_series_count, NULL, NULL)->gauge > 0);
	assert_int_equal(point_find(snap, SELFSTAT_series_lost, NULL, NULL)->sum, 0);
	snapshot_unref(snap);
	aggregate_free(agg);
}

static void gauges_and_durations_are_values_of_cgroup_0(void **state)
{
	struct aggregate *agg = aggregate_of_test();
	struct snapshot *snap;

	selfstat_gauge(agg, SELFSTAT_table_used, "http", "http_stats", 5);
	selfstat_gauge(agg, SELFSTAT_table_used, "http", "http_stats", 4);
	selfstat_hist(agg, SELFSTAT_drain_duration, 1500000, 1);
	snap = aggregate_take(agg, 1000, 2000);
	assert_int_equal(snap->points_count, 2);
	assert_int_equal(point_find(snap, SELFSTAT_table_used, "http", "http_stats")->gauge, 4);
	assert_int_equal(point_find(snap, SELFSTAT_drain_duration, NULL, NULL)->hist.count, 1);
	snapshot_unref(snap);
	aggregate_free(agg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_a_complete_metric),
		cmocka_unit_test(every_loss_has_a_name),
		cmocka_unit_test(conservation_is_exported_with_every_reason),
		cmocka_unit_test(counts_of_all_threads_are_published_once),
		cmocka_unit_test(gauges_and_durations_are_values_of_cgroup_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
