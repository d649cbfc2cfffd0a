/* Histograms merged and drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "view/hist.h"
#include "view_fake.h"

#define S      1000000000ull
#define METRIC "http.server.request.duration"

static void fill(struct fake *fake)
{
	fake_init(fake, 10 * S);
	fake_requests(fake, &fake_server, &fake_shop, 1, "/a", NULL, 7, 10);
	fake_requests(fake, &fake_server, &fake_shop, 1, "/b", "500", 2, 100);
	fake_requests(fake, &fake_server, &fake_shop, 9, "/a", NULL, 4, 20);
	fake_requests(fake, &fake_server, &fake_plain, 2, "/a", NULL, 1, 30);
	fake_requests(fake, &fake_client, &fake_plain, 2, NULL, NULL, 50, 30);
}

static void groups_are_by_what_was_asked(void **state)
{
	static const struct {
		enum hist_by by;
		const char *names[2];
		__u64 counts[2];
	} rows[] = {
		{ HIST_BY_CONTAINER, { "shop", "run" }, { 13, 1 } },
		{ HIST_BY_POD, { "shop-7d9", "-" }, { 13, 1 } },
		{ HIST_BY_NAMESPACE, { "prod", "-" }, { 13, 1 } },
		{ HIST_BY_ROUTE, { "/a", "/b" }, { 12, 2 } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct hist_groups groups;
		struct fake now;

		fill(&now);
		assert_int_equal(hist_groups_init(&groups, NULL, &now.snap, METRIC, rows[i].by, NULL), 0);
		assert_int_equal(groups.groups_count, 2);
		for (size_t j = 0; j < 2; j++) {
			assert_string_equal(groups.groups[j].name, rows[i].names[j]);
			assert_int_equal(groups.groups[j].hist.count, rows[i].counts[j]);
		}
		hist_groups_done(&groups);
		fake_done(&now);
	}
}

static void only_the_interval_counts(void **state)
{
	struct hist_groups groups;
	struct fake before, now;

	fill(&before);
	fill(&now);
	assert_int_equal(hist_add(&now.points[0].hist, 40 * FAKE_MS), 0);
	assert_int_equal(hist_groups_init(&groups, &before.snap, &now.snap, METRIC, HIST_BY_ROUTE, NULL), 0);
	assert_int_equal(groups.groups_count, 1);
	assert_string_equal(groups.groups[0].name, "/a");
	assert_int_equal(groups.groups[0].hist.count, 1);
	assert_true(hist_quantile_ns(&groups.groups[0].hist, 0.5) > 36e6);
	assert_true(hist_quantile_ns(&groups.groups[0].hist, 0.5) < 44e6);
	hist_groups_done(&groups);
	fake_done(&before);
	fake_done(&now);
}

static void filters_apply(void **state)
{
	struct span_filter filter = {};
	struct hist_groups groups;
	struct fake now;

	assert_int_equal(span_filter_set(&filter, "namespace", "pr*", NULL), 0);
	fill(&now);
	assert_int_equal(hist_groups_init(&groups, NULL, &now.snap, METRIC, HIST_BY_CONTAINER, &filter), 0);
	assert_int_equal(groups.groups_count, 1);
	hist_groups_done(&groups);
	assert_int_equal(hist_groups_init(&groups, NULL, &now.snap, "no.such.metric", HIST_BY_CONTAINER, NULL), 0);
	assert_int_equal(groups.groups_count, 0);
	hist_groups_done(&groups);
	fake_done(&now);
}

/* The counts beside the bars, at every width and number of lines, add up to the count of the histogram. */
static void bars_show_every_value_once(void **state)
{
	for (unsigned lines = 1; lines <= 40; lines++) {
		struct hist hist = {};
		struct buf out;
		__u64 sum = 0;
		unsigned count = 0;

		for (__u64 v = 1; v < 1ull << 45; v = v * 3 + 1) /* from below the first slot to above the last */
			assert_int_equal(hist_add(&hist, v), 0);
		for (int i = 0; i < 90; i++)
			assert_int_equal(hist_add(&hist, 10 * FAKE_MS), 0);
		buf_init(&out, 1 << 16);
		hist_draw(&hist, 100, lines, &out);
		for (const char *at = out.data; *at; at += strcspn(at, "\n") + 1) {
			unsigned long long number;

			count++;
			if (sscanf(at, "%*s .. %*s %llu", &number) == 1) /* else "..." for empty ones */
				sum += number;
		}
		if (lines >= 8) { /* fewer bars than that cannot hold so wide a range */
			assert_true(count <= lines);
			assert_int_equal(sum, hist.count);
		}
		buf_done(&out);
		hist_done(&hist);
	}
}

static void text_tells_counts_and_quantiles(void **state)
{
	struct hist_groups groups;
	struct fake now;
	struct buf out;

	fill(&now);
	assert_int_equal(hist_groups_init(&groups, NULL, &now.snap, METRIC, HIST_BY_CONTAINER, NULL), 0);
	buf_init(&out, 1 << 16);
	hist_groups_text(&groups, METRIC, 100, &out);
	assert_true(str_starts(out.data, METRIC "\n"));
	assert_non_null(strstr(out.data, "prod/shop-7d9/shop (111111111111)\n"));
	assert_non_null(strstr(out.data, "count 13   p50 "));
	assert_non_null(strstr(out.data, "max 100ms"));
	buf_done(&out);
	hist_groups_done(&groups);
	fake_done(&now);
}

static void json_buckets_add_up(void **state)
{
	struct hist_groups groups;
	struct fake now;
	struct buf out;
	json_t *object;
	json_int_t sum = 0;

	fill(&now);
	assert_int_equal(hist_groups_init(&groups, NULL, &now.snap, METRIC, HIST_BY_POD, NULL), 0);
	buf_init(&out, 1 << 16);
	assert_int_equal(hist_groups_json(&groups, METRIC, &out), 0);
	*strchr(out.data, '\n') = '\0';
	object = json_loads(out.data, 0, NULL);
	assert_non_null(object);
	assert_string_equal(json_string_value(json_object_get(object, "metric")), METRIC);
	assert_string_equal(json_string_value(json_object_get(json_object_get(object, "pod"), "uid")),
			    fake_shop.pod_uid);
	assert_int_equal(json_integer_value(json_object_get(object, "count")), 13);
	assert_int_equal(json_integer_value(json_object_get(object, "sum_ns")), (7 * 10 + 2 * 100 + 4 * 20) * FAKE_MS);
	for (size_t i = 0; i < json_array_size(json_object_get(object, "buckets")); i++) {
		json_t *bucket = json_array_get(json_object_get(object, "buckets"), i);

		assert_true(json_integer_value(json_object_get(bucket, "le_ns")) >= (json_int_t)(10 * FAKE_MS));
		sum += json_integer_value(json_object_get(bucket, "count"));
	}
	assert_int_equal(sum, 13);
	json_decref(object);
	buf_done(&out);
	hist_groups_done(&groups);
	fake_done(&now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_are_by_what_was_asked),
		cmocka_unit_test(only_the_interval_counts),
		cmocka_unit_test(filters_apply),
		cmocka_unit_test(bars_show_every_value_once),
		cmocka_unit_test(text_tells_counts_and_quantiles),
		cmocka_unit_test(json_buckets_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
