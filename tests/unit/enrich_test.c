/* Points of a snapshot get their workload, become one where they are one series, and are sorted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "identity/enrich.h"
#include "identity/identity.h"
#include "model/intern.h"
#include "model/snapshot.h"
#include "model/span.h"

#define ID1 "0c7b1f6d4e5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c"

static const struct metric a_sum = { .name = "a.sum", .unit = "1", .kind = METRIC_SUM };
static const struct metric b_hist = { .name = "b.hist", .unit = "s", .kind = METRIC_HIST };
static const struct metric c_gauge = { .name = "c.gauge", .unit = "1", .kind = METRIC_GAUGE };
static const struct metric d_updown = { .name = "d.updown", .unit = "1", .kind = METRIC_GAUGE, .updown = true };

struct lab {
	char mount[64];
	struct identity *id;
};

/* Containers and cgroups by made-up ids; nothing of them is in the (empty) tree. */
static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	strcpy(lab->mount, "/tmp/weir-enrich-XXXXXX");
	if (!mkdtemp(lab->mount))
		return -1;
	lab->id = identity_new(&(struct identity_options){ .cgroup_mount = lab->mount, .docker = "" }, NULL);
	identity_learn(lab->id, 1ull << 40, "/zoo", 0);
	identity_learn(lab->id, 2ull << 40, "/docker/" ID1, 0);
	identity_learn(lab->id, 3ull << 40, "/docker/" ID1 "/a", 0);
	identity_learn(lab->id, 4ull << 40, "/docker/" ID1 "/b", 0);
	identity_learn(lab->id, 5ull << 40, "/x/app", 0);
	identity_learn(lab->id, 6ull << 40, "/y/app", 0);
	*state = lab;
	return !lab->id;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	identity_free(lab->id);
	rmdir(lab->mount);
	free(lab);
	return 0;
}

static struct point *point_add(struct snapshot *snap, const struct metric *metric, __u64 cgroup, const char *route,
			       __s64 status)
{
	struct point *point = &snap->points[snap->points_count++];

	*point = (struct point){ .metric = metric, .cgroup_id = cgroup << 40, .start_ns = 100 + cgroup };
	point->attrs[point->attrs_count++] =
		(struct attr){ .key = intern_str("route"), .type = ATTR_STR, .str = intern_str(route) };
	point->attrs[point->attrs_count++] =
		(struct attr){ .key = intern_str("status"), .type = ATTR_INT, .num = status };
	return point;
}

static void enrich_sorts_by_workload_metric_and_attributes(void **state)
{
	struct lab *lab = *state;
	struct snapshot *snap = snapshot_new(16);
	static const struct {
		const char *service, *cgroup, *metric, *route;
		__s64 status;
	} want[] = {
		{ NULL, NULL, "a.sum", "/b", 200 },	 { "0c7b1f6d4e5a", "/docker/" ID1, "a.sum", "/a", 200 },
		{ "app", "/x/app", "a.sum", "/a", 200 }, { "app", "/x/app", "a.sum", "/a", 500 },
		{ "app", "/x/app", "a.sum", "/b", 200 }, { "app", "/x/app", "c.gauge", "/a", 200 },
		{ "app", "/y/app", "a.sum", "/a", 200 }, { "unknown", "", "a.sum", "/a", 200 },
		{ "zoo", "/zoo", "a.sum", "/a", 200 },
	};

	point_add(snap, &a_sum, 1, "/a", 200);
	point_add(snap, &a_sum, 6, "/a", 200);
	point_add(snap, &c_gauge, 5, "/a", 200);
	point_add(snap, &a_sum, 5, "/b", 200);
	point_add(snap, &a_sum, 99, "/a", 200);
	point_add(snap, &a_sum, 5, "/a", 500);
	point_add(snap, &a_sum, 0, "/b", 200);
	point_add(snap, &a_sum, 5, "/a", 200);
	point_add(snap, &a_sum, 2, "/a", 200);
	assert_int_equal(enrich(snap, lab->id), 0);
	assert_int_equal(snap->points_count, 9);
	for (unsigned i = 0; i < 9; i++) {
		const struct point *point = &snap->points[i];

		assert_string_equal(point->metric->name, want[i].metric);
		assert_string_equal(point->attrs[0].str, want[i].route);
		assert_int_equal(point->attrs[1].num, want[i].status);
		assert_int_equal(!point->who, !want[i].service);
		if (point->who) {
			assert_string_equal(point->who->service_name, want[i].service);
			assert_string_equal(point->who->cgroup, want[i].cgroup);
		}
	}
	assert_int_equal(snap->points[7].cgroup_id, IDENTITY_VANISHED);
	snapshot_unref(snap);
}

static void enrich_adds_up_cgroups_of_one_container(void **state)
{
	struct lab *lab = *state;
	struct snapshot *snap = snapshot_new(16);
	struct hist want = {};

	for (__u64 cgroup = 2; cgroup <= 4; cgroup++) {
		struct point *point = point_add(snap, &b_hist, cgroup, "/a", 200);

		for (__u64 i = 0; i < 10 * cgroup; i++) {
			assert_int_equal(hist_add(&point->hist, cgroup * NS_PER_MS), 0);
			assert_int_equal(hist_add(&want, cgroup * NS_PER_MS), 0);
		}
		point_add(snap, &a_sum, cgroup, "/a", 200)->sum = cgroup;
		point_add(snap, &c_gauge, cgroup, "/a", 200)->gauge = (__s64)(5 - cgroup);
		point_add(snap, &d_updown, cgroup, "/a", 200)->gauge = (__s64)cgroup;
	}
	point_add(snap, &a_sum, 3, "/a", 404)->sum = 7;
	assert_int_equal(enrich(snap, lab->id), 0);
	assert_int_equal(snap->points_count, 5);
	assert_int_equal(snap->points[0].sum, 2 + 3 + 4);
	assert_int_equal(snap->points[1].sum, 7);
	assert_int_equal(snap->points[2].hist.count, want.count);
	assert_int_equal(snap->points[2].hist.sum_ns, want.sum_ns);
	assert_int_equal(snap->points[2].hist.max_ns, 4 * NS_PER_MS);
	for (unsigned slot = 0; slot < HIST_SLOTS; slot++)
		assert_int_equal(hist_slot_count(&snap->points[2].hist, slot), hist_slot_count(&want, slot));
	assert_int_equal(snap->points[3].gauge, 3);
	assert_int_equal(snap->points[4].gauge, 2 + 3 + 4);
	for (unsigned i = 0; i < 5; i++)
		assert_string_equal(snap->points[i].who->container_id, ID1);
	assert_int_equal(snap->points[0].start_ns, 102); /* the earliest: totals began there */
	hist_done(&want);
	snapshot_unref(snap);
}

/* Same path, new cgroup, both in one snapshot, and nobody asked before. */
static void enrich_adds_up_a_restart_in_the_first_snapshot(void **state)
{
	struct lab *lab = *state;
	struct snapshot *snap = snapshot_new(2);

	identity_learn(lab->id, 7ull << 40, "/system.slice/web.service", 0);
	identity_learn(lab->id, 8ull << 40, "/system.slice/web.service", 0);
	point_add(snap, &a_sum, 7, "/a", 200)->sum = 1;
	point_add(snap, &a_sum, 8, "/a", 200)->sum = 2;
	assert_int_equal(enrich(snap, lab->id), 0);
	assert_int_equal(snap->points_count, 1);
	assert_int_equal(snap->points[0].sum, 3);
	assert_int_equal(snap->points[0].cgroup_id, 8ull << 40);
	snapshot_unref(snap);
}

static void enrich_leaves_the_agents_own_points_alone(void **state)
{
	struct lab *lab = *state;
	struct snapshot *snap = snapshot_new(2);

	point_add(snap, &a_sum, 0, "/a", 200);
	point_add(snap, &a_sum, 0, "/a", 200);
	assert_int_equal(enrich(snap, lab->id), 0);
	assert_int_equal(snap->points_count, 2);
	assert_null(snap->points[0].who);
	assert_int_equal(snap->points[0].cgroup_id, 0);
	snapshot_unref(snap);
	snap = snapshot_new(0);
	assert_int_equal(enrich(snap, lab->id), 0);
	snapshot_unref(snap);
}

static void snapshot_outlives_the_table(void **state)
{
	struct lab *lab = *state;
	struct snapshot *snap = snapshot_new(1);

	point_add(snap, &a_sum, 2, "/a", 200);
	assert_int_equal(enrich(snap, lab->id), 0);
	identity_free(lab->id);
	lab->id = NULL;
	assert_string_equal(snap->points[0].who->container_id, ID1);
	snapshot_unref(snap);
}

static int compare(const struct point *a, const struct point *b)
{
	int order = strcmp(a->who->cgroup, b->who->cgroup);

	if (!order)
		order = strcmp(a->metric->name, b->metric->name);
	if (!order)
		order = strcmp(a->attrs[0].str, b->attrs[0].str);
	return order ? order : (int)(a->attrs[1].num - b->attrs[1].num);
}

/* 10,000 points in a shuffled order: all are there, once, in order. */
static void enrich_sorts_ten_thousand_points(void **state)
{
	enum { POINTS = 10000 };
	struct lab *lab = *state;
	struct snapshot *snap = snapshot_new(POINTS);
	__u64 sum = 0;

	for (unsigned i = 0; i < POINTS; i++) {
		unsigned n = i * 7919u % POINTS; /* a prime: every n once */
		char text[32];

		snprintf(text, sizeof(text), "/r%u", n / 100 % 10);
		if (n < 100) {
			char path[32];

			snprintf(path, sizeof(path), "/many/%03u", n);
			identity_learn(lab->id, (100ull + n) << 40, path, 0);
		}
		point_add(snap, n / 1000 % 2 ? &a_sum : &c_gauge, 100 + n % 100, text, n / 2000)->sum = n;
	}
	assert_int_equal(enrich(snap, lab->id), 0);
	assert_int_equal(snap->points_count, POINTS);
	for (unsigned i = 0; i < POINTS; i++) {
		sum += snap->points[i].sum;
		if (i)
			assert_true(strcmp(snap->points[i - 1].who->service_name, snap->points[i].who->service_name) <
					    0 ||
				    compare(&snap->points[i - 1], &snap->points[i]) < 0);
	}
	assert_int_equal(sum, (__u64)POINTS * (POINTS - 1) / 2);
	snapshot_unref(snap);
}

static void point_name(struct point *point, __u64 other)
{
	point->attrs[point->attrs_count++] =
		(struct attr){ .key = intern_str("other"), .type = ATTR_CGROUP, .num = (__s64)other };
}

/* Cgroups 2 to 4 are of one container, 5 and 6 of two with one name, 99 of nobody. */
static void enrich_names_and_adds_up_other_containers(void **state)
{
	struct lab *lab = *state;
	struct snapshot *snap = snapshot_new(16);
	static const struct {
		const char *other;
		__u64 sum;
	} want[] = { { "0c7b1f6d4e5a", 4 + 8 }, { "app", 1 + 2 }, { "gone", 16 + 32 + 64 } };

	point_name(point_add(snap, &a_sum, 1, "/a", 200), 5ull << 40);
	snap->points[0].sum = 1;
	point_name(point_add(snap, &a_sum, 1, "/a", 200), 6ull << 40);
	snap->points[1].sum = 2;
	point_name(point_add(snap, &a_sum, 1, "/a", 200), 3ull << 40);
	snap->points[2].sum = 4;
	point_name(point_add(snap, &a_sum, 1, "/a", 200), 4ull << 40);
	snap->points[3].sum = 8;
	point_name(point_add(snap, &a_sum, 1, "/a", 200), ATTR_CGROUP_GONE);
	snap->points[4].sum = 16;
	point_name(point_add(snap, &a_sum, 1, "/a", 200), 99ull << 40);
	snap->points[5].sum = 32;
	point_name(point_add(snap, &a_sum, 1, "/a", 200), 98ull << 40);
	snap->points[6].sum = 64;
	/* Of the agent itself: equal ones would be two of one series too. */
	point_name(point_add(snap, &a_sum, 0, "/a", 200), 5ull << 40);
	point_name(point_add(snap, &a_sum, 0, "/a", 200), 6ull << 40);
	assert_int_equal(enrich(snap, lab->id), 0);
	identity_free(lab->id); /* the names stay */
	lab->id = NULL;
	assert_int_equal(snap->points_count, 4);
	assert_null(snap->points[0].who);
	assert_string_equal(snap->points[0].attrs[2].str, "app");
	for (unsigned i = 0; i < 3; i++) {
		const struct point *point = &snap->points[i + 1];

		assert_string_equal(point->who->service_name, "zoo");
		assert_int_equal(point->attrs_count, 3);
		assert_int_equal(point->attrs[2].type, ATTR_STR);
		assert_string_equal(point->attrs[2].str, want[i].other);
		assert_int_equal(point->sum, want[i].sum);
	}
	snapshot_unref(snap);
}

/* And keeps it, whatever becomes of the table. */
static void span_enrich_finds_who_a_field_names(void **state)
{
	struct lab *lab = *state;
	struct span span = {
		.fields_count = 4,
		.fields = {
			{ .name = "status", .type = FIELD_UINT, .unum = 2ull << 40 },
			{ .name = "peer", .type = FIELD_WHO, .cgroup_id = 3ull << 40 },
			{ .name = "culprit.container", .type = FIELD_WHO, .cgroup_id = 99ull << 40 },
			{ .name = "nobody", .type = FIELD_WHO, .cgroup_id = 0 },
		},
	};

	span_enrich(&span, lab->id);
	identity_free(lab->id);
	lab->id = NULL;
	assert_int_equal(span.fields[0].unum, 2ull << 40);
	assert_string_equal(span.fields[1].who->container_id, ID1);
	assert_string_equal(span.fields[2].who->service_name, "unknown");
	assert_null(span.fields[3].who);
	assert_true(field_known(&span.fields[2]) && !field_known(&span.fields[3]));
	span_enrich_undo(&span);
	assert_null(span.fields[1].who);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(enrich_sorts_by_workload_metric_and_attributes),
		TEST(enrich_adds_up_cgroups_of_one_container),
		TEST(enrich_adds_up_a_restart_in_the_first_snapshot),
		TEST(enrich_leaves_the_agents_own_points_alone),
		TEST(snapshot_outlives_the_table),
		TEST(enrich_sorts_ten_thousand_points),
		TEST(enrich_names_and_adds_up_other_containers),
		TEST(span_enrich_finds_who_a_field_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
