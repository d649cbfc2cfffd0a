/* Snapshot -> OTLP messages. With WEIR_TEST_OUTPUT=dir the bodies are written there, for other people's decoders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/why.h"
#include "export/otlp_pack.h"
#include "fake.h"
#include "otlp_metrics.pb-c.h"

typedef Weir__Otlp__ExportMetricsServiceRequest Request;
typedef Weir__Otlp__ResourceMetrics Resource;
typedef Weir__Otlp__Metric Metric;

static void pack_all(struct otlp_packer *packer, const struct snapshot *snap, struct buf *out)
{
	struct resources resources;

	assert_int_equal(resources_init(&resources, snap), 0);
	for (size_t i = 0; i < resources.count; i++)
		assert_int_equal(otlp_pack(packer, snap, &resources.items[i], resources.items[i].points,
					   resources.items[i].count, out),
				 0);
	resources_done(&resources);
}

static Request *pack(enum otlp_histogram form, const char *service_name, const char *extra, const struct snapshot *snap,
		     const char *name)
{
	const char *dir = getenv("WEIR_TEST_OUTPUT");
	struct otlp_packer packer;
	struct otlp_pairs pairs;
	Request *request;
	struct buf body;

	assert_int_equal(otlp_pairs_parse(&pairs, extra, NULL), 0);
	assert_int_equal(otlp_packer_init(&packer, form, service_name, &pairs), 0);
	buf_init(&body, 1 << 20);
	pack_all(&packer, snap, &body);
	request = weir__otlp__export_metrics_service_request__unpack(NULL, body.used, (unsigned char *)body.data);
	assert_non_null(request);
	if (dir) {
		char path[4096];
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", dir, name);
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(body.data, 1, body.used, file), body.used);
		fclose(file);
	}
	buf_done(&body);
	otlp_packer_done(&packer);
	return request;
}

static void request_free(Request *request)
{
	weir__otlp__export_metrics_service_request__free_unpacked(request, NULL);
}

static const char *attr(Weir__Otlp__KeyValue **attrs, size_t count, const char *key)
{
	const char *found = NULL;

	for (size_t i = 0; i < count; i++)
		if (strcmp(attrs[i]->key, key) == 0) {
			assert_null(found); /* keys must be unique */
			assert_int_equal(attrs[i]->value->value_case, WEIR__OTLP__ANY_VALUE__VALUE_STRING_VALUE);
			found = attrs[i]->value->string_value;
		}
	return found;
}

static void assert_resource(const Resource *resource, const char *key, const char *want)
{
	const char *have = attr(resource->resource->attributes, resource->resource->n_attributes, key);

	if (!want != !have || (want && strcmp(want, have) != 0))
		fail_msg("%s is %s", key, have ? have : "missing");
}

static const Metric *metric(const Resource *resource, const char *name)
{
	const Metric *found = NULL;

	assert_int_equal(resource->n_scope_metrics, 1);
	for (size_t i = 0; i < resource->scope_metrics[0]->n_metrics; i++)
		if (strcmp(resource->scope_metrics[0]->metrics[i]->name, name) == 0) {
			assert_null(found); /* one metric a name */
			found = resource->scope_metrics[0]->metrics[i];
		}
	if (!found)
		fail_msg("no metric %s", name);
	return found;
}

static void resources_say_who_is_measured(void **state)
{
	struct snapshot *snap = fake_snapshot();
	Request *request = pack(OTLP_HISTOGRAM_EXPLICIT, "my-agent",
				"service.name=other,service.namespace=obs,deployment.environment.name=t%20est,"
				"container.id=agents,k8s.pod.name=weir-x,k8s.node.name=n7,host.name=node7",
				snap, "explicit.pb");

	assert_int_equal(request->n_resource_metrics, 4);
	assert_resource(request->resource_metrics[0], "service.name", "my-agent");
	assert_resource(request->resource_metrics[0], "service.namespace", "obs");
	assert_resource(request->resource_metrics[0], "service.version", WEIR_VERSION);
	assert_resource(request->resource_metrics[0], "telemetry.sdk.name", "weir");
	assert_resource(request->resource_metrics[0], "container.id", "agents");
	assert_resource(request->resource_metrics[1], "k8s.node.name", "n7");
	assert_resource(request->resource_metrics[1], "k8s.pod.name", NULL);
	/* What the environment says of a service, pod or container is the agent's own, the rest is everybody's. */
	assert_resource(request->resource_metrics[3], "service.name", "cart");
	assert_resource(request->resource_metrics[3], "service.namespace", NULL);
	assert_resource(request->resource_metrics[3], "service.instance.id", FAKE_ID);
	assert_resource(request->resource_metrics[3], "deployment.environment.name", "t est");
	assert_resource(request->resource_metrics[3], "host.name", "node7");
	assert_resource(request->resource_metrics[3], "container.id", FAKE_ID);
	assert_resource(request->resource_metrics[3], "container.name", "cart");
	assert_resource(request->resource_metrics[3], "container.runtime.name", "containerd");
	assert_resource(request->resource_metrics[3], "k8s.pod.uid", fake_pod.pod_uid);
	assert_resource(request->resource_metrics[3], "k8s.pod.name", "cart-7d9");
	assert_resource(request->resource_metrics[3], "k8s.namespace.name", "shop");
	/* No container: no attribute, and an instance of its own for each path. */
	assert_resource(request->resource_metrics[1], "container.id", NULL);
	assert_resource(request->resource_metrics[1], "weir.cgroup", fake_odd1.cgroup);
	assert_string_not_equal(attr(request->resource_metrics[1]->resource->attributes,
				     request->resource_metrics[1]->resource->n_attributes, "service.instance.id"),
				attr(request->resource_metrics[2]->resource->attributes,
				     request->resource_metrics[2]->resource->n_attributes, "service.instance.id"));
	for (size_t i = 0; i < request->n_resource_metrics; i++) {
		const Weir__Otlp__ScopeMetrics *scope = request->resource_metrics[i]->scope_metrics[0];

		assert_string_equal(scope->scope->name, "weir");
		assert_string_equal(scope->scope->version, WEIR_VERSION);
		assert_string_equal(scope->schema_url, OTLP_SCHEMA_URL);
	}
	request_free(request);
	snapshot_unref(snap);
}

static void numbers_keep_kind_and_unit(void **state)
{
	struct snapshot *snap = fake_snapshot();
	Request *request = pack(OTLP_HISTOGRAM_EXPLICIT, NULL, "", snap, "explicit2.pb");
	const Metric *cpu = metric(request->resource_metrics[0], "process.cpu.time");
	const Metric *load = metric(request->resource_metrics[0], "weir.loop.load");
	const Metric *lost = metric(request->resource_metrics[0], "weir.signal.lost");
	const Metric *active = metric(request->resource_metrics[1], "http.server.active_requests");

	assert_resource(request->resource_metrics[0], "service.name", "weir");
	assert_string_equal(cpu->unit, "s");
	assert_int_equal(cpu->data_case, WEIR__OTLP__METRIC__DATA_SUM);
	assert_true(cpu->sum->is_monotonic);
	assert_int_equal(cpu->sum->aggregation_temporality, 2);
	assert_int_equal(cpu->sum->data_points[0]->value_case, WEIR__OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE);
	assert_true(cpu->sum->data_points[0]->as_double == 1.23456789);
	assert_int_equal(load->data_case, WEIR__OTLP__METRIC__DATA_GAUGE);
	assert_true(load->gauge->data_points[0]->as_double == -0.75);
	assert_int_equal(lost->sum->data_points[0]->as_int, 18446744073709551557ull >> 2);
	assert_string_equal(attr(lost->sum->data_points[0]->attributes, 1, "signal"), "http");
	assert_int_equal(active->data_case, WEIR__OTLP__METRIC__DATA_SUM);
	assert_false(active->sum->is_monotonic);
	assert_int_equal(active->sum->data_points[0]->as_int, -2);
	request_free(request);
	snapshot_unref(snap);
}

static void times_are_one_for_all_and_starts_do_not_move(void **state)
{
	struct snapshot *snap = fake_snapshot();
	struct otlp_packer packer;
	__u64 starts[2];

	assert_int_equal(otlp_packer_init(&packer, OTLP_HISTOGRAM_EXPLICIT, NULL, NULL), 0);
	for (int turn = 0; turn < 2; turn++) {
		const Weir__Otlp__HistogramDataPoint *point;
		Request *request;
		struct buf body;

		buf_init(&body, 1 << 20);
		pack_all(&packer, snap, &body);
		request =
			weir__otlp__export_metrics_service_request__unpack(NULL, body.used, (unsigned char *)body.data);
		point = metric(request->resource_metrics[3], "http.server.request.duration")->histogram->data_points[0];
		assert_int_equal(point->time_unix_nano, snap->time_unix_ns);
		assert_int_equal(
			metric(request->resource_metrics[0], "process.cpu.time")->sum->data_points[0]->time_unix_nano,
			snap->time_unix_ns);
		starts[turn] = point->start_time_unix_nano;
		request_free(request);
		buf_done(&body);
		/* A minute later, and somebody has set the clock forward by an hour. */
		snap->time_ns += 60000000000;
		snap->time_unix_ns += 60000000000 + 3600000000000;
	}
	assert_int_equal(starts[0], 1700000000000000000 + 1000000000 + 8);
	assert_int_equal(starts[1], starts[0]);
	otlp_packer_done(&packer);
	snapshot_unref(snap);
}

static void explicit_histograms_are_those_of_the_convention(void **state)
{
	static const double bounds[] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 };
	static const __u64 counts[] = { 2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 };
	struct snapshot *snap = fake_snapshot();
	Request *request = pack(OTLP_HISTOGRAM_EXPLICIT, NULL, NULL, snap, "explicit3.pb");
	const Metric *of = metric(request->resource_metrics[3], "http.server.request.duration");
	const Weir__Otlp__HistogramDataPoint *point = of->histogram->data_points[0];

	assert_int_equal(of->histogram->aggregation_temporality, 2);
	assert_int_equal(of->histogram->n_data_points, 2);
	assert_int_equal(point->count, 5);
	assert_true(point->sum == 250.040001001);
	assert_int_equal(point->n_explicit_bounds, 14);
	assert_int_equal(point->n_bucket_counts, 15);
	for (size_t i = 0; i < 15; i++) {
		assert_int_equal(point->bucket_counts[i], counts[i]);
		if (i < 14)
			assert_true(point->explicit_bounds[i] == bounds[i]);
	}
	assert_int_equal(point->_min_case, 0);
	assert_int_equal(point->_max_case, 0);
	assert_int_equal(point->n_attributes, 3);
	assert_int_equal(point->attributes[1]->value->value_case, WEIR__OTLP__ANY_VALUE__VALUE_INT_VALUE);
	assert_int_equal(point->attributes[1]->value->int_value, 200);
	/* A series that has counted nothing says so, it does not leave out its sum. */
	point = of->histogram->data_points[1];
	assert_int_equal(point->count, 0);
	assert_int_equal(point->_sum_case, WEIR__OTLP__HISTOGRAM_DATA_POINT___SUM_SUM);
	assert_int_equal(point->n_bucket_counts, 15);
	request_free(request);
	snapshot_unref(snap);
}

static void explicit_histograms_have_the_boundaries_of_their_metric(void **state)
{
	static const double bounds[] = { 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 0.001, 0.0025,
					 0.005, 0.01,  0.025, 0.05,   0.1,    0.25,   0.5,   1 };
	static const __u64 counts[] = { 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1 };
	static const __u64 durations[] = { 10000, 10001, 100000, 1000000000, 1000000001 };
	const Weir__Otlp__HistogramDataPoint *point;
	struct snapshot *snap = snapshot_new(2);
	Request *request;

	fake_request(snap, &fake_pod, "GET", 200, fake_durations, 5);
	fake_point(snap, &fake_wait, &fake_pod);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(hist_add(&snap->points[1].hist, durations[i]), 0);
	request = pack(OTLP_HISTOGRAM_EXPLICIT, NULL, NULL, snap, "explicit4.pb");
	point = metric(request->resource_metrics[0], "weir.wait")->histogram->data_points[0];
	assert_int_equal(point->n_explicit_bounds, 16);
	assert_int_equal(point->n_bucket_counts, 17);
	assert_int_equal(point->count, 5);
	assert_memory_equal(point->explicit_bounds, bounds, sizeof(bounds));
	assert_memory_equal(point->bucket_counts, counts, sizeof(counts));
	point = metric(request->resource_metrics[0], "http.server.request.duration")->histogram->data_points[0];
	assert_int_equal(point->n_explicit_bounds, 14);
	assert_int_equal(point->n_bucket_counts, 15);
	request_free(request);
	snapshot_unref(snap);
}

/* Index of the bucket by definition, with no table: base^i < value <= base^(i+1). */
static int index_of(double seconds)
{
	int i = -400;

	while (__builtin_exp2((i + 1) / 8.0) < seconds)
		i++;
	return i;
}

static void exponential_histograms_have_fixed_scale_and_the_right_indexes(void **state)
{
	struct snapshot *snap = fake_snapshot();
	Request *request = pack(OTLP_HISTOGRAM_EXPONENTIAL, NULL, NULL, snap, "exponential.pb");
	const Metric *of = metric(request->resource_metrics[3], "http.server.request.duration");
	const Weir__Otlp__ExponentialHistogramDataPoint *point = of->exponential_histogram->data_points[0];
	__u64 total = point->zero_count;

	assert_int_equal(of->exponential_histogram->aggregation_temporality, 2);
	assert_int_equal(point->scale, 3);
	assert_int_equal(point->count, 5);
	assert_true(point->sum == 250.040001001);
	/* 1 us is below the first bucket. */
	assert_int_equal(point->zero_count, 1);
	assert_true(point->zero_threshold == __builtin_exp2(-17));
	assert_non_null(point->positive);
	assert_null(point->negative);
	assert_int_equal(point->positive->offset, index_of(0.005));
	assert_int_equal(point->positive->bucket_counts[0], 2);
	assert_int_equal(point->positive->bucket_counts[index_of(0.03) - index_of(0.005)], 1);
	/* 250 s is above the last whole bucket: counted in the one above it. */
	assert_int_equal(point->positive->offset + (int)point->positive->n_bucket_counts - 1, HIST_EXP_MAX + 1);
	for (size_t i = 0; i < point->positive->n_bucket_counts; i++)
		total += point->positive->bucket_counts[i];
	assert_int_equal(total, 5);
	point = of->exponential_histogram->data_points[1];
	assert_int_equal(point->count, 0);
	assert_null(point->positive);
	request_free(request);
	snapshot_unref(snap);
}

static void pairs_are_read_as_the_specification_says(void **state)
{
	static const struct {
		const char *text;
		int count;		 /* -1: refused whole */
		const char *key, *value; /* of the last */
	} rows[] = {
		{ NULL, 0, NULL, NULL },
		{ "", 0, NULL, NULL },
		{ " ", 0, NULL, NULL },
		{ "a=b", 1, "a", "b" },
		{ " a = b ", 1, "a", "b" },
		{ "a=b,c=d", 2, "c", "d" },
		{ "a=b,,c=d,", 2, "c", "d" },
		{ "a=", 1, "a", "" },
		{ "Authorization=Basic%20dXNlcjpwYXNz=", 1, "Authorization", "Basic dXNlcjpwYXNz=" },
		{ "a=%2C%3D%25", 1, "a", ",=%" },
		{ "a=%C3%A9", 1, "a", "\xc3\xa9" },
		{ "a%2e=x", 1, "a.", "x" },
		{ "a", -1, NULL, NULL },
		{ "=b", -1, NULL, NULL },
		{ "a=b,c", -1, NULL, NULL },
		{ "a=%", -1, NULL, NULL },
		{ "a=%4", -1, NULL, NULL },
		{ "a=%zz", -1, NULL, NULL },
		{ "a=%00", -1, NULL, NULL },
		{ "a=%0d%0aX: y", -1, NULL, NULL },
		{ "a=%ff", -1, NULL, NULL },
		{ "a=\xff", -1, NULL, NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct otlp_pairs pairs;
		struct why why = {};
		int err = otlp_pairs_parse(&pairs, rows[i].text, &why);

		if (err != (rows[i].count < 0 ? -EINVAL : 0) || (err && !why.text[0]))
			fail_msg("'%s': %d", rows[i].text, err);
		assert_int_equal(pairs.count, rows[i].count < 0 ? 0 : rows[i].count);
		if (rows[i].count > 0) {
			assert_string_equal(pairs.items[rows[i].count - 1].key, rows[i].key);
			assert_string_equal(pairs.items[rows[i].count - 1].value, rows[i].value);
		}
		otlp_pairs_done(&pairs);
	}
}

static void too_many_pairs_are_refused(void **state)
{
	struct otlp_pairs pairs;
	struct buf text;

	buf_init(&text, 4096);
	for (int i = 0; i < OTLP_ATTRS_MAX; i++)
		buf_printf(&text, "k%d=v,", i);
	assert_int_equal(otlp_pairs_parse(&pairs, text.data, NULL), 0);
	assert_int_equal(pairs.count, OTLP_ATTRS_MAX);
	otlp_pairs_done(&pairs);
	buf_add_str(&text, "one=more");
	assert_int_equal(otlp_pairs_parse(&pairs, text.data, NULL), -EINVAL);
	assert_int_equal(pairs.count, 0);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resources_say_who_is_measured),
		cmocka_unit_test(numbers_keep_kind_and_unit),
		cmocka_unit_test(times_are_one_for_all_and_starts_do_not_move),
		cmocka_unit_test(explicit_histograms_are_those_of_the_convention),
		cmocka_unit_test(explicit_histograms_have_the_boundaries_of_their_metric),
		cmocka_unit_test(exponential_histograms_have_fixed_scale_and_the_right_indexes),
		cmocka_unit_test(pairs_are_read_as_the_specification_says),
		cmocka_unit_test(too_many_pairs_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
