/* The kernel's statistics as series: from when they count, what is made of what, over a made-up cgroup2 tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "kernel/features.h"
#include "model/aggregate.h"
#include "signal/sched_files.h"

#define A    7
#define MADE 1000 /* when A was made, where that is known */

struct lab {
	char dir[64];
	struct sink sink;
	struct features features;
	struct signal signal;
	struct signal_ctx ctx;
	struct sched_files *files;
	struct snapshot *snap;
	struct span span;
	unsigned spans;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void lab_write(const struct lab *lab, const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/a", lab->dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/a/%s", lab->dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void lab_cpu(const struct lab *lab, unsigned user, unsigned system, unsigned periods, unsigned throttled)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "user_usec %u\nsystem_usec %u\nnr_periods %u\nnr_throttled %u\nthrottled_usec %u\n", user, system,
		 periods, throttled, throttled * 10);
	lab_write(lab, "cpu.stat", text);
}

static void lab_look(struct lab *lab, __u64 cgroup_id, __u64 made_ns)
{
	sched_files_cgroup(lab->files, cgroup_id, "/a", made_ns);
	snapshot_unref(lab->snap);
	lab->snap = aggregate_take(lab->sink.aggregate, time_now_ns(), time_now_ns());
	assert_non_null(lab->snap);
}

/* @value: of the last attribute; NULL: any. */
static const struct point *lab_find(const struct lab *lab, const struct metric *metric, __u64 cgroup_id,
				    const char *value)
{
	for (size_t i = 0; i < lab->snap->points_count; i++) {
		const struct point *point = &lab->snap->points[i];

		if (point->metric == metric && point->cgroup_id == cgroup_id &&
		    (!value || !strcmp(point->attrs[point->attrs_count - 1].str, value)))
			return point;
	}
	return NULL;
}

static __u64 lab_sum(const struct lab *lab, const struct metric *metric, const char *value)
{
	const struct point *point = lab_find(lab, metric, A, value);

	assert_non_null(point);
	return point->sum;
}

static void lab_span(struct sink *sink, const struct span *span)
{
	struct lab *lab = (struct lab *)((char *)sink - offsetof(struct lab, sink));

	lab->span = *span;
	lab->spans++;
}

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct why why = {};

	strcpy(lab->dir, "/tmp/weir-sched-files-XXXXXX");
	if (!mkdtemp(lab->dir))
		return -1;
	lab->signal.id = 3;
	lab->sink.span = lab_span;
	lab->sink.aggregate =
		aggregate_new(&(struct aggregate_options){ .series_max = 100000, .series_per_cgroup_max = 100 });
	lab->ctx = (struct signal_ctx){ .signal = &lab->signal, .features = &lab->features, .sink = &lab->sink };
	str_copy(lab->features.cgroup_mount, sizeof(lab->features.cgroup_mount), lab->dir);
	*state = lab;
	return lab->sink.aggregate ? sched_files_new(&lab->ctx, &lab->files, &why) : -1;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	snapshot_unref(lab->snap);
	sched_files_free(lab->files);
	aggregate_free(lab->sink.aggregate);
	nftw(lab->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(lab);
	return 0;
}

static void series_begin_at_the_first_look(void **state)
{
	struct lab *lab = *state;
	__u64 before_ns = time_now_ns(), after_ns;

	lab_cpu(lab, 1000, 500, 0, 0);
	lab_look(lab, A, 0);
	after_ns = time_now_ns();
	assert_int_equal(lab->snap->points_count, 0);

	lab_cpu(lab, 1023, 500, 0, 0);
	lab_look(lab, A, 0);
	assert_int_equal(lab->snap->points_count, 2);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "user"), 23 * NS_PER_US);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "system"), 0);
	assert_in_range(lab_find(lab, &sched_cpu_time, A, "user")->start_ns, before_ns, after_ns);
	assert_string_equal(lab_find(lab, &sched_cpu_time, A, "user")->attrs[0].key, "cpu.mode");

	lab_cpu(lab, 1029, 511, 0, 0);
	lab_look(lab, A, 0);
	lab_look(lab, A, 0);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "user"), 29 * NS_PER_US);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "system"), 11 * NS_PER_US);
}

static void series_of_a_new_cgroup_begin_with_it(void **state)
{
	struct lab *lab = *state;

	lab_cpu(lab, 1000, 500, 7, 3);
	lab_look(lab, A, MADE);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "user"), 1000 * NS_PER_US);
	assert_int_equal(lab_sum(lab, &sched_periods, NULL), 7);
	assert_int_equal(lab_sum(lab, &sched_throttled_periods, NULL), 3);
	assert_int_equal(lab_sum(lab, &sched_throttled_time, NULL), 30 * NS_PER_US);
	assert_int_equal(lab_find(lab, &sched_throttled_time, A, NULL)->start_ns, MADE);
	assert_int_equal(lab->snap->points_count, 5);
}

/* Told as soon as there is a quota, also when it is kept. */
static void throttling_is_shown_with_a_quota_only(void **state)
{
	struct lab *lab = *state;

	lab_cpu(lab, 1000, 500, 0, 0);
	lab_look(lab, A, 0);
	assert_null(lab_find(lab, &sched_periods, A, NULL));
	lab_cpu(lab, 1000, 500, 5, 0);
	lab_look(lab, A, 0);
	assert_int_equal(lab_sum(lab, &sched_periods, NULL), 5);
	assert_int_equal(lab_sum(lab, &sched_throttled_periods, NULL), 0);
	assert_int_equal(lab_sum(lab, &sched_throttled_time, NULL), 0);
}

static void pressure_is_shown_by_resource(void **state)
{
	struct lab *lab = *state;

	lab_write(lab, "cpu.pressure", "some total=10\nfull total=1\n");
	lab_write(lab, "memory.pressure", "some total=10\nfull total=1\n");
	lab_write(lab, "io.pressure", "some total=10\nfull total=1\n");
	lab_look(lab, A, 0);
	lab_write(lab, "cpu.pressure", "some total=17\n");
	lab_write(lab, "io.pressure", "some total=13\nfull total=3\n");
	lab_look(lab, A, 0);
	assert_int_equal(lab->snap->points_count, 3);
	for (size_t i = 0; i < lab->snap->points_count; i++) {
		const struct point *point = &lab->snap->points[i];
		bool cpu = !strcmp(point->attrs[0].str, "cpu"), full = !strcmp(point->attrs[1].str, "full");

		assert_ptr_equal(point->metric, &sched_stall_time);
		assert_string_equal(point->attrs[0].key, "resource");
		assert_string_equal(point->attrs[1].key, "stall_type");
		assert_true(cpu || !strcmp(point->attrs[0].str, "io"));
		assert_false(cpu && full); /* not known */
		assert_int_equal(point->sum, (cpu ? 7 : full ? 2 : 3) * NS_PER_US);
	}
}

static void series_never_fall(void **state)
{
	struct lab *lab = *state;

	lab_cpu(lab, 1000, 0, 0, 0);
	lab_look(lab, A, 0);
	lab_cpu(lab, 1100, 0, 0, 0);
	lab_look(lab, A, 0);
	lab_cpu(lab, 10, 0, 0, 0); /* another cgroup at its place */
	lab_look(lab, A, 0);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "user"), 100 * NS_PER_US);
	lab_cpu(lab, 15, 0, 0, 0);
	lab_look(lab, A, 0);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "user"), 105 * NS_PER_US);
	lab_write(lab, "cpu.stat", "user_usec 99999999999999999999\nsystem_usec"); /* nonsense */
	lab_look(lab, A, 0);
	lab_cpu(lab, 16, 0, 0, 0);
	lab_look(lab, A, 0);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "user"), 106 * NS_PER_US);
}

/* The cgroup of the next start inherits what the one before has counted, and goes on. */
static void series_of_a_restarted_container_go_on(void **state)
{
	struct lab *lab = *state;

	lab_cpu(lab, 1000, 0, 0, 0);
	lab_look(lab, A + 1, MADE);
	lab_cpu(lab, 3, 0, 0, 0);
	lab_look(lab, A, MADE + 1);
	sched_files_restarted(lab->files, A, MADE + 1);
	sched_files_forget(lab->files, A + 1);
	aggregate_bequeath(lab->sink.aggregate, A + 1, A);
	lab_cpu(lab, 7, 0, 0, 0);
	lab_look(lab, A, MADE + 1);
	assert_int_equal(lab_sum(lab, &sched_cpu_time, "user"), 1007 * NS_PER_US);
	assert_int_equal(lab_sum(lab, &sched_restarts, NULL), 1);
}

static void restarts_are_told_to_whom_wants_them(void **state)
{
	struct lab *lab = *state;

	sched_files_restarted(lab->files, A, 23);
	assert_int_equal(lab->spans, 0);
	lab->sink.spans = true;
	sched_files_restarted(lab->files, A, 29);
	assert_int_equal(lab->spans, 1);
	assert_int_equal(lab->span.signal, 3);
	assert_int_equal(lab->span.cgroup_id, A);
	assert_int_equal(lab->span.time_ns, 29);
	assert_string_equal(span_field(&lab->span, "event")->str, "restart");
	lab_look(lab, A, 0);
	assert_int_equal(lab_sum(lab, &sched_restarts, NULL), 2);
}

static void a_cgroup_that_has_gone_makes_nothing(void **state)
{
	struct lab *lab = *state;

	lab_look(lab, A, MADE);
	assert_int_equal(lab->snap->points_count, 0);
	sched_files_forget(lab->files, A);
	sched_files_forget(lab->files, A);
	sched_files_forget(lab->files, A + 1);
	sched_files_free(NULL);
}

static void state_is_bounded_and_freed(void **state)
{
	struct lab *lab = *state;
	struct table_use use;

	lab_cpu(lab, 1000, 0, 0, 0);
	for (__u64 i = 1; i <= SCHED_FILES_MAX + 100; i++)
		sched_files_cgroup(lab->files, i, "/a", 0);
	sched_files_table(lab->files, &use);
	assert_int_equal(use.used, SCHED_FILES_MAX);
	assert_int_equal(use.max, SCHED_FILES_MAX);
	for (__u64 i = 1; i <= SCHED_FILES_MAX + 100; i++)
		sched_files_forget(lab->files, i);
	sched_files_table(lab->files, &use);
	assert_int_equal(use.used, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(series_begin_at_the_first_look),
		TEST(series_of_a_new_cgroup_begin_with_it),
		TEST(throttling_is_shown_with_a_quota_only),
		TEST(pressure_is_shown_by_resource),
		TEST(series_never_fall),
		TEST(series_of_a_restarted_container_go_on),
		TEST(restarts_are_told_to_whom_wants_them),
		TEST(a_cgroup_that_has_gone_makes_nothing),
		TEST(state_is_bounded_and_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
